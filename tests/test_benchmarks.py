"""The benchmarks' parts that need no quiet machine: cases, and how they take turns."""

from collections import Counter

import numpy as np
import pytest

from tests.benchmarks import compare, processes
from tests.benchmarks.cases import PASSES, cases
from tests.benchmarks.timing import Ratio, Rounds, interleave

CASES = list(cases())


def test_every_case_has_a_name_of_its_own_and_known_peers():
    everything = [*CASES, *processes.processes()]
    assert max(Counter(case.name for case in everything).values()) == 1
    for case in CASES:
        assert case.targets.keys() <= case.build(tiny=True).peers.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_agree_with_the_peers_at_hand(case):
    bench = case.build(tiny=True)
    ours = bench.values(bench.ours())
    assert ours.dtype in (np.float32, np.int16)
    for name in {"cv2", "cv2 separable", "scipy", PASSES} & case.targets.keys():
        pytest.importorskip(compare.MODULES.get(name, name))
        peer = bench.peers[name]()
        theirs = peer.values(peer.call())
        compare.mismatch(case.name, name, ours, theirs, bench.tolerance)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "case", [case for case in CASES if "torch" in case.targets], ids=lambda case: case.name
)
def test_cases_agree_with_torch(case):
    pytest.importorskip("torch")
    bench = case.build(tiny=True)
    peer = bench.peers["torch"]()
    theirs = peer.values(peer.call())
    compare.mismatch(case.name, "torch", bench.values(bench.ours()), theirs, bench.tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_come_out_the_same_without_their_algorithm(case):
    bench = case.build(tiny=True)
    if bench.without is not None:
        compare.mismatch(
            case.name, "without", bench.ours(), np.asarray(bench.without()), bench.tolerance
        )


def test_contenders_take_turns():
    order = []
    calls = {"one": lambda: order.append("one"), "two": lambda: order.append("two")}
    seconds = interleave(calls, {"one": 9.0, "two": 9.0}, Rounds(glacial=2), against="one")
    assert order == ["one", "two"] * 2
    assert Ratio.of(seconds["one"], [1.0, 1.0]).median < 1
