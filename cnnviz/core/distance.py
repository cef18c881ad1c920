"""How far two outputs are apart: sums of squares, over blocks that stay in the cache.

Differences are taken in float32 and their squares summed by BLAS, a block at a time, the blocks
in float64. Where float32 could overflow or lose small squares, all of it is done in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.statistics import over_blocks
from cnnviz.core.types import Pair

Maps = NDArray[Any]
"""(C, H, W), float32 or 8-bit samples."""

BLOCK = 1 << 15  # values compared at a time
_ORDINARY = (1e-12, 1e12)  # mean squares: float32 holds the squares of differences


class Part(NamedTuple):
    """A rectangle of the new maps, and how far from it in the old ones its equal is looked for."""

    rows: tuple[int, int, int]  # first, stop, and the way to the old ones
    columns: tuple[int, int, int]

    def of_new(self, maps: Maps) -> Maps:
        """Return the rectangle of (…, H, W) new maps."""
        (top, bottom, _), (left, right, _) = self
        return maps[..., top:bottom, left:right]

    def of_old(self, maps: Maps) -> Maps:
        """Return its equal of (…, H, W) old maps."""
        (top, bottom, down), (left, right, across) = self
        return maps[..., top + down : bottom + down, left + across : right + across]


def moved_parts(size: Pair, offset: Pair, *, circular: bool) -> list[Part]:
    """Return which parts of maps moved down and right by `offset` are which of the old ones.

    Circular: ``[y, x] -> [y − down mod H, x − right mod W]``, for offsets from 0 and below the
    size. Otherwise the one part that was there before, whichever way they moved.

    >>> moved_parts((3, 5), (0, -2), circular=False)
    [Part(rows=(0, 3, 0), columns=(0, 3, 2))]
    """
    lines = []
    for length, step in zip(size, offset, strict=True):
        lines.append([(max(step, 0), min(length, length + step), -step)])
        if circular and step:
            lines[-1].append((0, step, length - step))
    return [Part(rows, columns) for rows, columns in product(*lines)]


@dataclass(frozen=True, eq=False)
class Reference:
    """An output to compare others with: its values, and the energy (sum of squares) of them."""

    values: Maps
    energy: NDArray[np.float64]  # (H, W): Σ over channels of values²

    @classmethod
    def of(cls, values: NDArray[Any]) -> Reference:
        """Look at maps (C, H, W), or a vector (N,), which counts as N maps of one value."""
        maps = values if values.ndim == 3 else values.reshape(-1, 1, 1)
        energy = np.zeros(maps.shape[1:])
        with np.errstate(all="ignore"):
            for plane in maps:
                energy += np.square(plane, dtype=np.float64)
        return cls(maps, energy)

    @property
    def norm(self) -> float:
        """The L2 norm of all values."""
        return math.sqrt(self.energy.sum())

    def distances(self, new: NDArray[Any], parts: Sequence[Part] = ()) -> tuple[float, float]:
        """Return Σ (new − old)² over everything, and over the `parts`, each against its equal.

        The new output's values are read once, block by block. NaN where some value is NaN or
        infinite.
        """
        old, new = self.values, new.reshape(self.values.shape)
        low, high = _ORDINARY
        ordinary = low < self.energy.sum() / old.size < high
        blocks = list(_blocks(old.shape))
        channels, first, last = blocks[0]  # no other is larger
        largest = old[channels, first:last].size

        def make_worker() -> Callable[[tuple[slice, int, int]], tuple[float, float]]:
            room = np.empty(largest, np.float32 if ordinary else np.float64)

            def compare(block: tuple[slice, int, int]) -> tuple[float, float]:
                channels, top, bottom = block
                every = Part((top, bottom, 0), (0, old.shape[2], 0))
                within = [
                    Part((max(first, top), min(stop, bottom), down), columns)
                    for (first, stop, down), columns in parts
                    if max(first, top) < min(stop, bottom)
                ]
                after, before = new[channels], old[channels]
                own, moved = (
                    _square_sum([(part.of_new(after), part.of_old(before)) for part in each], room)
                    for each in ([every], within)
                )
                return own, moved

            return compare

        sums = over_blocks(blocks, make_worker, new.size)
        return sum(own for own, _ in sums), sum(moved for _, moved in sums)


def relative(distance: float, energy: float) -> float | None:
    """Return ‖difference‖ / ‖reference‖ from their squares: 0 where both are 0, None for none.

    >>> relative(1, 4), relative(0, 0), relative(1, 0), relative(float("nan"), 1)
    (0.5, 0.0, None, None)
    """
    if not (math.isfinite(distance) and math.isfinite(energy)):
        return None
    if energy == 0:
        return 0.0 if distance == 0 else None
    return math.sqrt(distance / energy)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, int, int]]:
    """Cut maps into blocks of whole rows, (channels, first, stop): of small maps several each."""
    channels, height, width = shape
    together, rows = max(1, BLOCK // (height * width)), min(height, max(1, BLOCK // width))
    for channel, top in product(range(0, channels, together), range(0, height, rows)):
        yield slice(channel, channel + together), top, min(top + rows, height)


def _square_sum(pairs: Sequence[tuple[Maps, Maps]], room: NDArray[Any]) -> float:
    """Return Σ (new − old)² over pairs of equal shape; `room` holds all their differences."""
    filled = 0
    for new, old in pairs:
        differences = room[filled : filled + new.size].reshape(new.shape)
        np.subtract(new, old, out=differences, dtype=room.dtype)
        filled += new.size
    flat = room[:filled]
    total = float(flat @ flat)
    if not math.isfinite(total) and room.dtype != np.float64:  # too large, or truly infinite
        return _square_sum(pairs, np.empty(filled))
    return total
