"""Which maps of a stage come first: those that vary most, or those that answer most strongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cnnviz.core.statistics import BLOCK, over_blocks
from cnnviz.core.types import Tensor


def rank_maps(maps: Tensor, by: str) -> list[int]:
    """Return the channels of (C, H, W) maps by a measure, the largest first.

    Equal maps keep the order of their channels. A map whose measure is NaN comes last: one that
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


def _maxima(maps: Tensor) -> Tensor:
    maxima: Tensor = maps.reshape(len(maps), -1).max(axis=1)  # a NaN wins
    return maxima


MEASURES: Mapping[str, Callable[[Tensor], Tensor]] = {"variance": _deviations, "max": _maxima}
"""What maps are ranked by; each measures all maps at once."""
