"""Fitting what each quantity of an algorithm's work costs, to measured times.

    seconds ≈ Σ units[q] · work[q],   units ≥ 0,   the RELATIVE error as small as can be

Plans compare times that lie near each other, whether of microseconds or of seconds: so an error
counts by its share of the time; one of a time far from the best counts less, and an outlier too.
Errors that made a plan choose badly count more and more; the fit that misled least is kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

import cnnviz
from cnnviz.core.engine.plan import PRECISIONS, SERIAL, SMALL
from tests.benchmarks import engine
from tests.benchmarks.drawing import Drawn
from tests.benchmarks.measuring import Measured
from tests.benchmarks.regret import GOOD, choices

COSTS = Path(cnnviz.__file__).parent / "core" / "engine" / "costs.json"
STEPS = 30  # of reweighting
SMOOTH = 0.1  # relative errors below it count by their square, those above as they are
ROUNDS = 25  # of fitting
EMPHASES = ((1.2, 1.3, inf), (1.3, 1.3, 4.0))
"""A choice so many times worse than the best has the errors behind it count so many times more in
the next round, up to so many times in all."""
FAR = 3.0  # times the best: from there on a time's error counts less

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """What was fitted for one algorithm, and how well."""

    units: Mapping[str, float]  # nanoseconds
    serial: float
    problems: Sequence[Drawn]
    ratios: Vector  # predicted / measured, of one thread

    @property
    def errors(self) -> Vector:
        """Relative errors, the same for twice and for half the time."""
        errors: Vector = np.exp(np.abs(np.log(self.ratios))) - 1
        return errors

    def quantile(self, share: float) -> float:
        """Return a quantile of the relative errors."""
        return float(np.quantile(self.errors, share))


def fit(measurements: Sequence[Measured]) -> dict[str, Fit]:
    """Fit every algorithm that was measured, again and again: errors that mislead count more."""
    best, least = dict[str, Fit](), (inf, inf)
    for misled, more, most in EMPHASES:
        emphasis: dict[tuple[Drawn, str], float] = defaultdict(lambda: 1.0)
        for _ in range(ROUNDS):
            fits = _fit_all(measurements, emphasis)
            with engine.pricing({**engine.costs(), **profile(fits)}):
                made = [each for name in PRECISIONS for each in choices(measurements, name)]
            regrets = np.array([each.regret for each in made])
            loss = (float((regrets > GOOD).sum()), float(np.log(regrets).sum()))
            if loss < least:
                best, least = fits, loss
            for each in made:
                for name in (each.chosen, each.best) if each.regret > misled else ():
                    key = (each.problem, name)
                    emphasis[key] = min(emphasis[key] * more, most)
    return best


def _fit_all(
    measurements: Sequence[Measured], emphasis: Mapping[tuple[Drawn, str], float]
) -> dict[str, Fit]:
    rows = defaultdict[str, list[tuple[Measured, float]]](list)
    for each in measurements:
        best = min(min(times.values()) for times in each.seconds.values())
        for name in each.work:
            closeness = min(1.0, FAR * best / min(each.seconds[name].values()))
            rows[name].append((each, closeness * emphasis[each.problem, name]))
    return {name: _fit_one(name, given) for name, given in sorted(rows.items())}


def _fit_one(name: str, rows: Sequence[tuple[Measured, float]]) -> Fit:
    names = sorted(rows[0][0].work[name])
    work = np.array([[each.work[name][key] for key in names] for each, _ in rows])
    times = np.array([each.seconds[name][1] * 1e9 for each, _ in rows])
    weights = np.array([closeness for _, closeness in rows])
    units = solve(work, times, weights)
    predicted = np.maximum(work @ units, 1e-3)
    return Fit(
        dict(zip(names, units.tolist(), strict=True)),
        _serial(name, rows),
        [each.problem for each, _ in rows],
        predicted / times,
    )


def solve(work: Vector, times: Vector, weights: Vector) -> Vector:
    """Return non-negative costs of a unit of each column of `work`.

    Rows are scaled by 1 / √(time · predicted), at last: √(p / t) − √(t / p) is as far from 0 for
    half the time as for twice. The plain 1 / time would rather predict too little than too much.
    """
    from scipy.optimize import nnls

    columns = work.max(axis=0)
    columns[columns == 0] = 1  # a quantity that no problem has costs nothing
    scaled, scale = work / columns, times.copy()
    balance = weights.copy()
    units = np.zeros(len(columns))
    for _ in range(STEPS):
        rows = np.sqrt(balance) / scale
        units = nnls(scaled * rows[:, None], times * rows)[0]
        predicted = np.maximum(scaled @ units, 0.02 * times)
        scale = np.sqrt(times * predicted)
        errors = np.abs(predicted - times) / scale
        balance = weights / np.maximum(errors, SMOOTH)
    found: Vector = units / columns
    return found


def _serial(name: str, rows: Sequence[tuple[Measured, float]]) -> float:
    """Return the share of time that threads do not divide: the median of large problems."""
    shares = []
    for each, closeness in rows:
        times = each.seconds[name]
        threads = max(times)
        if threads > 1 and times[1] * 1e9 > 2 * SMALL and closeness > 0.3:
            shares.append((times[threads] / times[1] - 1 / threads) / (1 - 1 / threads))
    return min(max(median(shares), 0.0), 1.0) if shares else 0.0


def profile(fits: Mapping[str, Fit]) -> dict[str, dict[str, float]]:
    """Return what costs.json holds of a processor, to four digits."""
    return {
        name: {key: _rounded(cost) for key, cost in {**each.units, SERIAL: each.serial}.items()}
        for name, each in fits.items()
    }


def write(core: str, fitted: Mapping[str, Mapping[str, float]], path: Path = COSTS) -> None:
    """Replace a processor's costs of the algorithms fitted; all others stay as they are.

    A processor's first profile takes what was not fitted from another, so that nothing is missing.
    """
    profiles = json.loads(path.read_text("utf-8"))
    others = next(iter(profiles.values()), {})
    profiles[core] = {**others, **profiles.get(core, {}), **fitted}
    blocks = []
    for name in sorted(profiles):
        lines = [
            f"    {json.dumps(each)}: {json.dumps(dict(sorted(units.items())))}"
            for each, units in sorted(profiles[name].items())
        ]
        blocks.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }")
    text = "{\n" + ",\n".join(blocks) + "\n}\n"
    if text != path.read_text("utf-8"):
        path.write_text(text, "utf-8")


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def report(fits: Mapping[str, Fit]) -> str:
    """Return how far predictions are from times, and where they are furthest, by algorithm."""
    lines = [f"{'algorithm':<11} {'n':>4} {'median':>7} {'90 %':>6} {'max':>6}  nanoseconds a unit"]
    for name, each in fits.items():
        costs = {**each.units, SERIAL: each.serial}
        units = ", ".join(f"{key} {cost:.4g}" for key, cost in costs.items())
        lines.append(
            f"{name:<11} {len(each.problems):>4} {each.quantile(0.5):>7.0%} "
            f"{each.quantile(0.9):>6.0%} {each.quantile(1):>6.0%}  {units}"
        )
        order = np.argsort(each.ratios)
        for word, worst in (("too little", order[:2]), ("too much", order[::-1][:2])):
            cases = "; ".join(f"{each.problems[at]} ×{each.ratios[at]:.2f}" for at in worst)
            lines.append(f"{'':<13}predicted {word}: {cases}")
    return "\n".join(lines)
