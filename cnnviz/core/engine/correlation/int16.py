"""Integers of 16 bits: flat passes over 8-bit samples, for kernels of small whole numbers.

    Σ |w| · 255 ≤ 32,767

A line of int16 takes half the time of one of float32, and the sums are the same (see `whole`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine.correlation import flat
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.types import Samples

LARGEST = np.iinfo(np.int16).max // np.iinfo(np.uint8).max
"""The largest Σ |w| whose sums of samples fit."""


def supports(problem: Correlation) -> bool:
    """Tell whether there are samples to add up, whole weights, and no sum that overflows."""
    return (
        isinstance(problem.x, Samples)
        and problem.x.unit == 1
        and problem.fill.is_integer()
        and 0 <= problem.fill <= np.iinfo(np.uint8).max
        and flat.supports(problem)
        and problem.planes is not None
        and problem.planes.mix is None
        and all(
            each.whole and each.scale.is_integer() and each.reach * max(each.scale, 1) <= LARGEST
            for each in problem.recipes or ()
        )
    )


def work(problem: Correlation) -> Mapping[str, float]:
    """Count what flat passes count: the units differ, not the quantities."""
    return flat.work(problem)


def run(problem: Correlation, output: NDArray[Any], threads: int) -> None:
    """Fill `output` (O, rows, columns): float32, or int16 if nothing is to be scaled."""
    flat.run(problem, output, threads, np.int16)
