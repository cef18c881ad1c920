"""Facts about many values: cheap passes over blocks that stay in the cache, on several threads.

The blocks are the same however many threads there are, and what they tell is joined in their
order, so that the facts never depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from cnnviz.core.threads import share, thread_count
from cnnviz.core.types import Samples, Statistics, Tensor

BLOCK = 1 << 18  # values worked on at a time: they and a float64 copy stay in the cache
THREADED = 1 << 20  # fewer values are looked at sooner than a second thread is started

Found = TypeVar("Found")

Ends = tuple[float | None, float | None]
"""(smallest, largest) of the finite values; None where there is none."""


class _Facts(NamedTuple):
    """What is known of one block."""

    low: float  # of the finite values; inf, -inf without any
    high: float
    total: float
    zeros: int
    finite: int


def statistics_of(values: Tensor) -> Statistics:
    """Return facts about the values; the mean is summed in float64.

    >>> statistics_of(np.array([0, 1, 2, np.inf], np.float32))
    Statistics(min=0.0, max=2.0, mean=1.0, zeros=0.25, nonfinite=1)
    """
    blocks = _look_at(values, _facts_worker)
    finite = sum(block.finite for block in blocks)
    return Statistics(
        min=min(block.low for block in blocks) if finite else None,
        max=max(block.high for block in blocks) if finite else None,
        mean=sum(block.total for block in blocks) / finite if finite else None,
        zeros=sum(block.zeros for block in blocks) / values.size,
        nonfinite=values.size - finite,
    )


def finite_range(values: Tensor | Samples) -> Ends:
    """Return the smallest and the largest finite value.

    >>> finite_range(np.array([3, np.nan, -1], np.float32))
    (-1.0, 3.0)
    """
    if isinstance(values, Samples):  # every sample is finite, and the division keeps their order
        unit = np.float32(values.unit)
        ends = (values.values.min(), values.values.max())
        smallest, largest = (float(np.float32(end) / unit) for end in ends)
        return smallest, largest
    blocks = _look_at(values, lambda: _ends)
    low, high = min(low for low, _ in blocks), max(high for _, high in blocks)
    return (low, high) if low <= high else (None, None)


def over_blocks(size: int, make_worker: Callable[[], Callable[[slice], object]]) -> None:
    """Have workers go over `size` values block by block, in several threads if they are many.

    `make_worker` is called in each thread, so that its buffers are that thread's own.
    """
    blocks = [slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]
    if size >= THREADED:
        share(blocks, make_worker, thread_count())
        return
    worker = make_worker()
    for block in blocks:
        worker(block)


def _look_at(values: Tensor, make_worker: Callable[[], Callable[[Tensor], Found]]) -> list[Found]:
    """Return what a worker says of each block, in order."""
    flat = values.reshape(-1)
    found = dict[int, Found]()

    def make() -> Callable[[slice], None]:
        worker = make_worker()

        def look(block: slice) -> None:
            with np.errstate(all="ignore"):  # which is each thread's own
                found[block.start] = worker(flat[block])

        return look

    over_blocks(flat.size, make)
    return [found[start] for start in sorted(found)]


def _facts_worker() -> Callable[[Tensor], _Facts]:
    doubles = np.empty(BLOCK)
    flags = np.empty(BLOCK, np.bool_)

    def facts(block: Tensor) -> _Facts:
        low, high = float(block.min()), float(block.max())  # a NaN wins both
        zeros = 0
        if not (low > 0 or high < 0):
            zeros = int(np.count_nonzero(np.equal(block, 0, out=flags[: block.size])))
        if not (math.isfinite(low) and math.isfinite(high)):
            block = block[np.isfinite(block)]
            if not block.size:
                return _Facts(math.inf, -math.inf, 0.0, zeros, 0)
            low, high = float(block.min()), float(block.max())
        exact = doubles[: block.size]
        exact[...] = block  # NumPy sums float64 pairwise, and faster than float32 into float64
        return _Facts(low, high, float(exact.sum()), zeros, block.size)

    return facts


def _ends(block: Tensor) -> tuple[float, float]:
    low, high = float(block.min()), float(block.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    block = block[np.isfinite(block)]
    return (float(block.min()), float(block.max())) if block.size else (math.inf, -math.inf)
