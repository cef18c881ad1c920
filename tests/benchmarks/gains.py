"""``--gains``: how many times longer a case takes without the algorithm that computes it.

An algorithm stays in the engine while a case, or a command that people run, takes 1.3 times longer
without it. The figures stand beside its line in ``core/engine/correlate.py`` and ``pool.py``.
"""

from __future__ import annotations

from tests.benchmarks.cases import Case
from tests.benchmarks.timing import Ratio, Rounds, interleave, once


def line(case: Case, rounds: Rounds) -> str:
    """Measure a case with and without its algorithm, in turns; empty if there is no other."""
    bench = case.build(tiny=False)
    if bench.without is None:
        return ""
    calls = {"with": bench.ours, "without": bench.without}
    for call in calls.values():
        call()
    seconds = interleave(
        calls, {name: once(call) for name, call in calls.items()}, rounds, against="with"
    )
    ratio = Ratio.of(seconds["without"], seconds["with"])
    spread = f"({ratio.low:.2f} to {ratio.high:.2f})"
    return f"{case.name:<34} {bench.plan():<14} {ratio.median:6.2f} times longer without {spread}"
