"""How far two outputs are apart: sums of squares, over blocks that stay in the cache.

Differences are taken in float32 and their squares summed by BLAS, a block at a time, the blocks
in float64. Where float32 could overflow or lose small squares, all of it is done in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.statistics import THREADED
from cnnviz.core.threads import share, thread_count

Maps = NDArray[Any]
"""(C, H, W), float32 or 8-bit samples."""

BLOCK = 1 << 15  # values compared at a time
_ORDINARY = (1e-12, 1e12)  # mean squares whose differences' squares float32 holds


class Part(NamedTuple):
    """A rectangle of the new maps, and how far from it in the old ones its equal is looked for."""

    rows: tuple[int, int]  # first, stop
    columns: tuple[int, int]
    down: int  # new[y, x] is compared with old[y + down, x + right]
    right: int


class _Block(NamedTuple):
    channels: slice
    rows: tuple[int, int]


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
        new = new.reshape(self.values.shape)
        low, high = _ORDINARY
        mean_square = self.energy.sum() / self.values.size
        kind = np.float32 if low < mean_square < high else np.float64
        blocks = _blocks(self.values.shape)
        sums = dict[int, tuple[float, float]]()

        def make() -> Callable[[int], None]:
            size = max(math.prod(_view(new, block).shape) for block in blocks)
            scratch = np.empty(size, kind)

            def look(index: int) -> None:
                with np.errstate(all="ignore"):  # which is each thread's own
                    sums[index] = _compare(new, self.values, blocks[index], parts, scratch)

            return look

        share(range(len(blocks)), make, thread_count() if new.size >= THREADED else 1)
        own, moved = zip(*(sums[index] for index in range(len(blocks))), strict=True)
        return sum(own), sum(moved)


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


def _blocks(shape: tuple[int, ...]) -> list[_Block]:
    """Cut maps into blocks of whole rows: several maps together if they are small."""
    channels, height, width = shape
    if height * width <= BLOCK:
        step = BLOCK // (height * width)
        return [_Block(slice(at, at + step), (0, height)) for at in range(0, channels, step)]
    rows = max(1, BLOCK // width)
    return [
        _Block(slice(channel, channel + 1), (top, min(top + rows, height)))
        for channel in range(channels)
        for top in range(0, height, rows)
    ]


def _view(maps: Maps, block: _Block) -> Maps:
    return maps[block.channels, slice(*block.rows)]


def _compare(
    new: Maps, old: Maps, block: _Block, parts: Sequence[Part], scratch: NDArray[Any]
) -> tuple[float, float]:
    """Return a block's share of both sums."""
    in_place = [(_view(new, block), _view(old, block))]
    moved = []
    for part in parts:
        top, bottom = max(part.rows[0], block.rows[0]), min(part.rows[1], block.rows[1])
        if top < bottom:
            left, right = part.columns
            old_rows = slice(top + part.down, bottom + part.down)
            old_columns = slice(left + part.right, right + part.right)
            moved.append(
                (
                    new[block.channels, top:bottom, left:right],
                    old[block.channels, old_rows, old_columns],
                )
            )
    return _square_sum(in_place, scratch), _square_sum(moved, scratch)


def _square_sum(pairs: Sequence[tuple[Maps, Maps]], scratch: NDArray[Any]) -> float:
    """Return Σ (new − old)² over pairs of equal shape, which together fit into `scratch`."""
    filled = 0
    for new, old in pairs:
        room = scratch[filled : filled + new.size].reshape(new.shape)
        np.subtract(new, old, out=room, dtype=scratch.dtype)
        filled += new.size
    flat = scratch[:filled]
    total = float(flat @ flat)
    if not math.isfinite(total) and scratch.dtype != np.float64:  # too large, or truly infinite
        return _square_sum(pairs, np.empty(filled))
    return total
