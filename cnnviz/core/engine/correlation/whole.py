"""Sums of whole numbers: 8-bit samples under kernels that are whole multiples of some unit.

    Σ w · sample / unit  =  (step / unit) · Σ (w / step) · sample          w / step whole

float32 holds whole numbers up to 2²⁴, so whatever adds them up adds without rounding: equal parts
cancel to 0 exactly, and the only rounding is the last, of the result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnnviz.core.engine.correlation.passes import whole_multiples
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.types import Samples

LARGEST = 1 << 24  # of float32's whole numbers without gaps
MOST_WEIGHTS = 1 << 14  # that are looked at: chosen kernels have fewer


def as_whole(problem: Correlation) -> Correlation:
    """Return the same problem in whole numbers, scaled in the end; or itself if it has none."""
    x, fill = problem.x, problem.fill
    if not isinstance(x, Samples) or problem.weight.size > MOST_WEIGHTS:
        return problem
    if not (fill * x.unit).is_integer() or abs(fill * x.unit) > np.iinfo(np.uint8).max:
        return problem
    weight = np.empty_like(problem.weight)
    scales = np.empty(problem.filters)
    for index, filter_ in enumerate(problem.weight.astype(np.float64)):
        if not np.isfinite(filter_).all():
            return problem
        whole, step = whole_multiples(filter_) if filter_.any() else (filter_, 1.0)
        reach = np.abs(whole).sum() * np.iinfo(np.uint8).max
        if reach >= LARGEST or not (whole == np.rint(whole)).all():
            return problem
        weight[index], scales[index] = whole, step
    return replace(
        problem,
        x=Samples(x.values),
        weight=weight,
        pad_value=fill * x.unit,
        scales=scales.astype(np.float32),
        unit=x.unit,
    )
