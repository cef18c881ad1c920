"""Regret: how much longer the plan's choice takes than the best that was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnviz.core.engine.plan import PRECISIONS, choose
from tests.benchmarks import engine
from tests.benchmarks.drawing import Drawn
from tests.benchmarks.measuring import Measured

GOOD = 1.3


@dataclass(frozen=True)
class Choice:
    """What a plan chose, beside what would have been best."""

    problem: Drawn
    chosen: str
    best: str
    seconds: float
    least: float
    least_of_all: float  # with any number of threads

    @property
    def regret(self) -> float:
        """1 where the plan chose the best."""
        return self.seconds / self.least


def choices(measurements: Sequence[Measured], precision: str) -> list[Choice]:
    """Plan every measured problem anew, by the costs in force."""
    found = []
    for each in measurements:
        stated = each.stated
        # An algorithm whose costs are unknown cannot be chosen.
        table = {n: a for n, a in each.subject.algorithms.items() if n in engine.costs()}
        able = {
            name: each.seconds[name]
            for name in each.work
            if name in table and table[name].error <= PRECISIONS[precision]
        }
        if not able:
            continue
        plan = choose(table, stated, precision=precision)
        threads = {name: choose(table, stated, algorithm=name).threads for name in able}
        seconds = {name: _with_threads(times, threads[name]) for name, times in able.items()}
        best = min(seconds, key=seconds.__getitem__)
        # An algorithm that was hopeless enough not to be measured is as bad as that.
        chosen = seconds.get(plan.algorithm, 25 * seconds[best])
        every = min(min(times.values()) for times in able.values())
        found.append(Choice(each.problem, plan.algorithm, best, chosen, seconds[best], every))
    return found


def _with_threads(times: dict[int, float], threads: int) -> float:
    return times.get(threads, times[1])


def report(measurements: Sequence[Measured]) -> str:
    """Return the quantiles of regret, the worst problems and who is best where."""
    lines = []
    for precision in PRECISIONS:
        made = choices(measurements, precision)
        lines += ["", f"{precision}: {_quantiles(made)}"]
        for region in sorted({each.problem.region for each in made}):
            lines.append(
                f"  {region:<8} {_quantiles([c for c in made if c.problem.region == region])}"
            )
        loss = np.array([each.least / each.least_of_all for each in made])
        lines.append(
            f"  number of threads chosen: costs {np.median(loss):.2f} in the median, "
            f"{np.quantile(loss, 0.9):.2f} in the worst tenth"
        )
        lines.append("  the worst:")
        worst = sorted(made, key=lambda each: -each.regret)[:10]
        lines += [
            f"    {each.regret:5.2f}  {each.problem}: {each.chosen} {each.seconds * 1e3:.3g} ms, "
            f"{each.best} {each.least * 1e3:.3g} ms"
            for each in worst
            if each.regret > 1
        ]
        lines += ["  best at:", *_owners(made)]
    planning = np.array([each.planning for each in measurements])
    lines.append(
        f"\nplanning takes {np.median(planning) * 1e6:.0f} µs in the median, "
        f"{planning.max() * 1e3:.2g} ms at most "
        f"({measurements[int(planning.argmax())].problem})"
    )
    return "\n".join(lines)


def _quantiles(made: Sequence[Choice]) -> str:
    regrets = np.array([each.regret for each in made])
    middle, tenth, hundredth = np.quantile(regrets, [0.5, 0.9, 0.99])
    return (
        f"{len(made):>3} problems, regret {middle:.2f} in the median, 90 % {tenth:.2f}, "
        f"99 % {hundredth:.2f}, at most {regrets.max():.2f}; "
        f"{np.mean(regrets <= GOOD):.1%} within {GOOD}"
    )


def _owners(made: Sequence[Choice]) -> list[str]:
    owned = defaultdict[str, list[Choice]](list)
    for each in made:
        owned[each.best].append(each)
    lines = []
    for name, own in sorted(owned.items(), key=lambda item: -len(item[1])):
        own.sort(key=lambda each: each.least)
        examples = [own[0], own[len(own) // 2], own[-1]] if len(own) > 2 else own
        lines.append(
            f"    {name:<11} {len(own):>3}: " + "; ".join(str(each.problem) for each in examples)
        )
    return lines
