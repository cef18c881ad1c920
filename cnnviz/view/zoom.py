"""How large a map is shown: values averaged to fewer, or drawn several pixels large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pair
from cnnviz.view.maps import Numbers, block_extremes, block_means

_LARGE = 4
"""What is enlarged fewer times fills its room, if that is asked for: the steps are not seen."""

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) of some values or pixels, the last two not counted."""


@dataclass(frozen=True)
class Zoom:
    """How large a map is shown: blocks of `down` values averaged, each drawn `up` pixels large.

    Or `nearest`: so many values are as long as `up` pixels, and a pixel shows the block it is in.
    """

    down: Pair  # (rows, columns)
    up: Pair
    signed: bool = False  # a block is its value of largest magnitude, not its mean
    nearest: bool = False

    @property
    def block(self) -> Pair:
        """How many values, (rows, columns), become one."""
        if not self.nearest:
            return self.down
        side = max(1, round(self.down[0] / self.up[0]))
        return side, side

    def reduced(self, plane: Numbers) -> Numbers:
        """Return a number for each block of a map (rows, columns)."""
        return (block_extremes if self.signed else block_means)(plane, self.block)

    def shown(self, size: Pair) -> Pair:
        """Return how many pixels high and wide a map of `size` is drawn."""
        rows, columns = (
            math.ceil(length * up / down) if self.nearest else math.ceil(length / down) * up
            for length, down, up in zip(size, self.down, self.up, strict=True)
        )
        return rows, columns

    def blocks(self, size: Pair) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return which block each row and each column of pixels shows of a map of `size`."""
        rows, columns = (
            np.arange(length) * down // (up * block)
            for length, down, up, block in zip(
                self.shown(size), self.down, self.up, self.block, strict=True
            )
        )
        return rows, columns

    def box(self, box: Box, x: int = 0, y: int = 0) -> Box:
        """Return the pixels of some values, at least one, if the map's first pixel is (x, y)."""
        (down, across), (high, wide) = self.down, self.up
        top, left = y + math.floor(box[0] * high / down), x + math.floor(box[1] * wide / across)
        bottom, right = y + math.ceil(box[2] * high / down), x + math.ceil(box[3] * wide / across)
        return top, left, max(bottom, top + 1), max(right, left + 1)

    @property
    def text(self) -> str:
        """The zoom in words."""
        (down_rows, down_columns), (up_rows, up_columns) = self.down, self.up
        if down_rows == down_columns > 1:
            how = "largest, by magnitude," if self.signed else "mean"
            return f"shown at 1/{down_rows} (a pixel is the {how} of {down_rows} x {down_rows})"
        if down_rows == down_columns and up_rows == up_columns:
            return f"enlarged {up_rows} times" if up_rows > 1 else "shown pixel for pixel"
        how = "each value of largest magnitude" if self.signed else "each mean"
        block = f"{how} of {down_rows} x {down_columns} values" if self.averages else "a value"
        return f"{block} is drawn {up_rows} high and {up_columns} wide"

    @property
    def averages(self) -> bool:
        """Whether a pixel may show other than one value: a mean, or one of several."""
        return max(self.down) > 1


def choose_zoom(size: Pair, room: Pair, least: int, *, most: int = 384, fill: bool = False) -> Zoom:
    """Choose the largest whole zoom that fits into the room, within reason.

    A map is shown at least `least` pixels long, and enlarged to no more than `most` (a value to no
    more than 96). A map more than eight times longer than wide would be a hair: it is stretched.
    With `fill` a large map takes all of the room, by whatever factor.
    """
    longer = max(size)
    fits = min(space // length for space, length in zip(room, size, strict=True))
    if fill and fits < _LARGE and longer <= 8 * min(size):
        space, length = min(zip(room, size, strict=True), key=lambda pair: pair[0] / pair[1])
        return Zoom((length, length), (space, space), nearest=True)
    up = max(min(fits, most // longer, 96), math.ceil(least / longer), 1)
    down = 1
    if up == 1 and fits < 1:
        needed = max(
            math.ceil(length / max(space, 1)) for space, length in zip(room, size, strict=True)
        )
        down = min(needed, max(1, longer // 24))
    if longer <= 8 * min(size) or math.ceil(min(size) / down) * up >= 24:
        return Zoom((down, down), (up, up))
    along = 0 if size[0] >= size[1] else 1
    space = max(room[along], 24)
    down = math.ceil(longer / space)
    up = max(1, min(space // longer, 24))
    thick = max(math.ceil(24 / min(size)), min(up, room[1 - along] // min(size)))
    return Zoom((down, 1), (up, thick)) if along == 0 else Zoom((1, down), (thick, up))
