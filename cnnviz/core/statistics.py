"""Facts about many values: cheap passes over blocks that stay in the cache, on several threads.

The blocks are the same however many threads there are, and what is found in them is joined in
their order, so that the facts never depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from cnnviz.core.threads import share, thread_count
from cnnviz.core.types import Samples, Statistics, Tensor

BLOCK = 1 << 18  # values worked on at a time: they and a float64 copy stay in the cache
THREADED = 1 << 20  # fewer values are looked at sooner than a second thread is started

Block = TypeVar("Block")
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


def over_blocks(
    blocks: Sequence[Block], make_worker: Callable[[], Callable[[Block], Found]], size: int
) -> list[Found]:
    """Return what workers find in each block of `size` values, in order; many share the threads.

    `make_worker` is called in each thread, so that its buffers are that thread's own.
    """
    found = dict[int, Found]()

    def make() -> Callable[[int], None]:
        worker = make_worker()

        def look(index: int) -> None:
            with np.errstate(all="ignore"):  # which is each thread's own
                found[index] = worker(blocks[index])

        return look

    share(range(len(blocks)), make, thread_count() if size >= THREADED else 1)
    return [found[index] for index in range(len(blocks))]


def blocks_of(size: int) -> list[slice]:
    """Cut `size` values into blocks."""
    return [slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def statistics_of(values: Tensor) -> Statistics:
    """Return facts about the values; the mean is summed in float64.

    >>> statistics_of(np.array([0, 1, 2, np.inf], np.float32))
    Statistics(min=0.0, max=2.0, mean=1.0, zeros=0.25, nonfinite=1)
    """
    flat = values.reshape(-1)

    def make_worker() -> Callable[[slice], _Facts]:
        doubles, flags = np.empty(BLOCK), np.empty(BLOCK, np.bool_)

        def facts(at: slice) -> _Facts:
            block = flat[at]
            low, high = float(block.min()), float(block.max())  # a NaN wins both
            zeros = 0
            if not (low > 0 or high < 0):
                zeros = int(np.count_nonzero(np.equal(block, 0, out=flags[: block.size])))
            if not (math.isfinite(low) and math.isfinite(high)):
                block = block[np.isfinite(block)]
                low, high = _ends(block)
            exact = doubles[: block.size]
            exact[...] = block  # NumPy sums float64 pairwise, and faster than float32 into float64
            return _Facts(low, high, float(exact.sum()), zeros, block.size)

        return facts

    blocks = over_blocks(blocks_of(flat.size), make_worker, flat.size)
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
    flat = values.reshape(-1)
    found = over_blocks(blocks_of(flat.size), lambda: lambda at: _ends(flat[at]), flat.size)
    low, high = min(low for low, _ in found), max(high for _, high in found)
    return (low, high) if low <= high else (None, None)


def _ends(block: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest finite value; inf, -inf without any."""
    if not block.size:
        return math.inf, -math.inf
    low, high = float(block.min()), float(block.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    return _ends(block[np.isfinite(block)])


# --- which maps come first ---------------------------------------------------------------------


def rank_maps(maps: Tensor, by: str) -> list[int]:
    """Return the channels of (C, H, W) maps by a measure, the largest first.

    Equal maps keep the order of their channels. A map with a measure of NaN comes last: one that
    holds a NaN, and by variance also one that holds an infinity.

    Parameters
    ----------
    maps : (C, H, W)
    by : str
        A name in `MEASURES`.

    Examples
    --------
    >>> maps = np.array([[[3, 3]], [[-9, 1]], [[0, 1]], [[3, 2]]], np.float32)
    >>> rank_maps(maps, "variance"), rank_maps(maps, "max")
    ([1, 2, 3, 0], [0, 3, 1, 2])
    """
    with np.errstate(invalid="ignore"):
        order: list[int] = np.argsort(-MEASURES[by](maps), kind="stable").tolist()
    return order


def _deviations(maps: Tensor) -> Tensor:
    """Return each map's standard deviation, in one pass over blocks that stay in the cache.

    As float32 it puts maps in the order of their variances, but never overflows, and maps of the
    same values in other places are equal: their sums differ by roundings in float64 only.
    """
    planes = maps.reshape(len(maps), -1)
    size = planes.shape[1]
    together = max(1, BLOCK // size)
    groups = [slice(start, start + together) for start in range(0, len(planes), together)]

    def make_worker() -> Callable[[slice], Tensor]:
        room = np.empty(min(BLOCK, planes.size))

        def measure(group: slice) -> Tensor:
            rows = planes[group]
            # Sums of what is left without the map's first value: exactly 0 of a constant map, and
            # no digits are lost where values differ little.
            first = rows[:, :1].astype(np.float64)
            total, squares = np.zeros(len(rows)), np.zeros(len(rows))
            for start in range(0, size, BLOCK):
                block = rows[:, start : start + BLOCK]
                rest = np.subtract(block, first, out=room[: block.size].reshape(block.shape))
                total += rest.sum(axis=1)
                squares += np.einsum("cp,cp->c", rest, rest)
            variances = (squares - total * total / size) / size
            return np.sqrt(np.maximum(variances, 0)).astype(np.float32)

        return measure

    return np.concatenate(over_blocks(groups, make_worker, planes.size))


MEASURES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "variance": _deviations,
    "max": lambda maps: maps.max(axis=(1, 2)),  # a NaN wins
}
"""What maps are ranked by; each measures all maps at once."""
