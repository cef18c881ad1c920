"""Exact integers: flat passes of int16 over 8-bit samples, for kernels of small whole numbers.

    S = scale / unit · Σ w · sample             Σ |w| · 255 ≤ 32,767

Nothing is rounded until the very end, when the whole number becomes the nearest float32 (or stays
one); and a line of int16 takes half the time of one of float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine.correlation import flat
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.types import Samples

LARGEST = np.iinfo(np.int16).max // np.iinfo(np.uint8).max
"""The largest Σ |w| whose sums of samples fit."""


def supports(problem: Correlation) -> bool:
    """8-bit samples, whole weights but for a scale, padding that is a sample, no overflow."""
    return (
        isinstance(problem.x, Samples)
        and (problem.fill * problem.x.unit).is_integer()
        and 0 <= problem.fill * problem.x.unit <= np.iinfo(np.uint8).max
        and flat.supports(problem)
        and problem.planes is not None
        and problem.planes.mix is None
        and all(
            each.whole and each.reach * max(each.scale, 1) <= LARGEST
            for each in problem.recipes or ()
        )
    )


def work(problem: Correlation) -> Mapping[str, float]:
    """Count what flat passes count: the units differ, not the quantities."""
    return flat.work(problem)


def run(problem: Correlation, output: NDArray[Any], threads: int) -> None:
    """Fill `output` (O, rows, columns) with float32; or int16, if samples are values (unit 1)."""
    samples = problem.x
    assert isinstance(samples, Samples)  # noqa: S101 - `supports` said so
    unit = samples.unit
    raw = replace(problem, x=Samples(samples.values), pad_value=problem.fill * unit)
    flat.run(raw, output, threads, np.int16, unit)
