"""The benchmarks' parts that need no quiet machine: cases, drawn problems, fitting."""

import json
from collections import Counter

import numpy as np
import pytest

from cnnviz.core.engine import correlation
from cnnviz.core.engine.plan import choose
from tests.benchmarks import compare, fitting, processes
from tests.benchmarks.cases import PASSES, cases
from tests.benchmarks.drawing import Drawn, drawn
from tests.benchmarks.measuring import Measured, load, measure, save
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


def test_drawn_problems_are_many_and_always_the_same():
    problems = drawn()
    assert problems == drawn()
    assert len(set(problems)) == len(problems) >= 200
    assert {each.region for each in problems} == {"image", "network", "pool"}
    assert all(Drawn.read(json.loads(json.dumps(each.record()))) == each for each in problems)


@pytest.mark.parametrize("region", ["image", "network", "pool"])
def test_measurements_come_back_from_a_file(region, tmp_path):
    problem = min(
        (each for each in drawn() if each.region == region), key=lambda each: np.prod(each.shape)
    )
    measured = measure(problem)
    assert measured.seconds
    from cnnviz.core.engine.plan import blas_core

    save([measured], tmp_path / "times.json", {"blas": blas_core()})
    (again,) = load(tmp_path / "times.json")
    assert (again.problem, again.seconds) == (measured.problem, measured.seconds)
    assert again.work.keys() == measured.work.keys()


def test_costs_are_found_again_beside_outliers():
    rng = np.random.default_rng(0)
    work = 10 ** rng.uniform(3, 8, (80, 3))
    units = np.array([0.5, 0.0, 12.0])
    times = work @ units * rng.uniform(0.95, 1.05, 80)
    times[:5] *= 4
    assert fitting.solve(work, times, np.ones(80)) == pytest.approx(units, rel=0.1, abs=0.02)


def test_a_profile_can_be_planned_with(tmp_path):
    problems = [each for each in drawn() if each.region == "network"][:3]
    measurements = []
    for each in problems:
        stated = each.subject().fresh()
        able = [name for name, a in correlation.ALGORITHMS.items() if a.supports(stated)]
        measurements.append(Measured(each, {name: {1: 2e-3, 2: 1.2e-3} for name in able}))
    fits = fitting.fit(measurements)
    fitted = fitting.profile(fits)
    path = tmp_path / "costs.json"
    path.write_text('{"Other": {"flat": {"calls": 1.0}}}')
    fitting.write("Here", fitted, path)
    first = path.read_text()
    fitting.write("Here", fitted, path)
    assert path.read_text() == first
    profiles = json.loads(first)
    assert profiles["Other"] == {"flat": {"calls": 1.0}}
    assert profiles["Here"] == {**profiles["Other"], **fitted}
    for each in measurements:
        for name in each.work:
            assert fitted[name].keys() == {*each.work[name], "serial"}
            assert fitted[name]["serial"] == pytest.approx(0.2)


def test_costs_of_the_package_name_the_quantities_that_algorithms_count():
    profiles = json.loads(fitting.COSTS.read_text("utf-8"))
    for problem in drawn(quick=True):
        subject = problem.subject()
        stated = subject.fresh()
        for name, each in subject.algorithms.items():
            if each.supports(stated):
                for costs in profiles.values():
                    assert costs[name].keys() - {"serial"} == each.work(stated).keys()
        assert choose(subject.algorithms, stated).seconds > 0


def test_contenders_take_turns():
    order = []
    calls = {"one": lambda: order.append("one"), "two": lambda: order.append("two")}
    seconds = interleave(calls, {"one": 9.0, "two": 9.0}, Rounds(glacial=2), against="one")
    assert order == ["one", "two"] * 2
    assert Ratio.of(seconds["one"], [1.0, 1.0]).median < 1
