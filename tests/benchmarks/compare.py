"""Running cases: check that results agree, take turns, and tell the ratios."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from statistics import median

import numpy as np

from tests.benchmarks.cases import PASSES, Bench, Case
from tests.benchmarks.peers import Array, Contender
from tests.benchmarks.timing import Ratio, Rounds, extra_memory, interleave, once

OURS = "cnnviz"
MODULES = {"cv2 separable": "cv2", PASSES: "cnnviz"}


@dataclass(frozen=True)
class Result:
    """A line of the table."""

    case: str
    peer: str
    how: str
    ours: float  # seconds
    theirs: float
    ratio: Ratio
    target: float | None
    plan: str
    gflops: float | None
    share: float | None  # of the peak of sgemm
    extra: int | None  # bytes beside input and output
    rounds: int

    @property
    def met(self) -> bool | None:
        """Whether the ratio is good enough; None where none is asked for."""
        return None if self.target is None else self.ratio.median <= self.target

    def record(self) -> dict[str, object]:
        """Return what --json prints."""
        return {**asdict(self), "met": self.met}


def run(case: Case, rounds: Rounds, peak: float) -> Iterator[Result]:
    """Measure a case beside all of its peers that are installed.

    Raises
    ------
    AssertionError
        If a peer's result is another than ours.
    """
    bench = case.build(tiny=False)
    first = once(bench.ours)
    expected = {OURS: min(first, once(bench.ours))}
    contenders = {OURS: bench.ours}
    hows: dict[str, str] = {}
    for name in case.targets:
        if find_spec(MODULES.get(name, name)) is None:
            continue
        peer = bench.peers[name]()
        if peer is None:
            continue
        expected[name] = check(case.name, name, bench, peer)
        contenders[name], hows[name] = peer.call, peer.how
    seconds = interleave(contenders, expected, rounds, against=OURS)
    ours = median(seconds[OURS])
    gflops = 2 * bench.macs / ours * 1e-9 if bench.macs else None
    plan, extra = bench.plan(), extra_memory(bench.ours)
    for name, how in hows.items():
        yield Result(
            case.name,
            name,
            how,
            ours,
            median(seconds[name]),
            Ratio.of(seconds[OURS], seconds[name]),
            case.targets[name],
            plan,
            gflops,
            gflops / peak if gflops else None,
            extra,
            len(seconds[name]),
        )


def check(case: str, name: str, bench: Bench, peer: Contender) -> float:
    """Return about how long a peer's call takes, whose result has to be ours."""
    started = time.perf_counter()
    result = peer.call()
    seconds = time.perf_counter() - started
    mismatch(case, name, bench.values(bench.ours()), peer.values(result), bench.tolerance)
    return seconds if seconds > 1 else min(seconds, once(peer.call))


def mismatch(case: str, name: str, ours: Array, theirs: Array, tolerance: float) -> None:
    """Raise AssertionError where two libraries' results differ by more than rounding."""
    assert ours.shape == theirs.shape, f"{case}: {name} yields {theirs.shape}, not {ours.shape}"
    scale = float(np.abs(theirs).max())
    worst = float(np.abs(ours.astype(np.float32) - theirs).max())
    assert worst <= tolerance * scale, f"{case}: {name} differs by {worst:g} of {scale:g}"
