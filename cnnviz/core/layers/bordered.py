"""What layers with windows beyond the edge share: the border's options, and single windows.

A layer computes all windows at once through the engine. Here is which pixels they read, and the
terms of one of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnviz.core.arithmetic import Doubles, Terms
from cnnviz.core.border import BEYOND, BORDERS, NUMBER, check_border, sources
from cnnviz.core.field import Reach
from cnnviz.core.layers.base import Layer, plane, settings
from cnnviz.core.settings import choice, number, option
from cnnviz.core.types import Pair, Shape, Tensor
from cnnviz.core.window import Window


@settings
class Bordered(Layer):
    """Layers of windows that read beyond the edge."""

    padding_mode: str = option(choice(BORDERS), "what lies beyond the edge", default="zeros")
    pad_value: float = option(number(), "the padding of mode constant", default=0.0)

    def output_plane(self, shape: Shape) -> Pair:
        """Return how many windows stand on maps of `shape`, down and along.

        CnnvizError if none fits, or a mirror or wrap would reach past the image it copies from.
        """
        window, size = self.window(shape), plane(shape)
        assert window is not None  # noqa: S101 - for mypy
        check_border(self.padding_mode, window.pads(size), size)
        return window.output_size(size)

    @property
    def fill(self) -> float:
        """The number that pads, where one does."""
        return self.pad_value if self.padding_mode == "constant" else 0.0

    def window_reads(self, window: Window, size: Pair) -> tuple[Reach, Reach]:
        """Return the rows and the columns of an image of `size` that the windows read."""
        pads = window.pads(size)
        down, along = (
            Reach(
                window.stride[axis],
                -pads[axis],
                window.extent[axis] - 1 - pads[axis],
                window.dilation[axis],
                border=self.padding_mode,
                after=pads[axis + 2],
            )
            for axis in (0, 1)
        )
        return down, along

    def window_terms(
        self,
        window: Window,
        x: Tensor,
        at: tuple[int, ...],
        channels: range,
        *,
        weight: Tensor | None = None,
        fill: float | None = None,
        part: Callable[[Doubles], Doubles] | None = None,
    ) -> Terms:
        """Return a term for each cell of one window over some channels, row by row.

        Cells past the padding are none. `weight` is (channels, kh, kw). A term's part is its value,
        times its weight if it has one; or what `part` makes of the value.
        """
        size = plane(x.shape)
        taps = [window.taps(size, axis, np.array([at[1 + axis]]))[0] for axis in (0, 1)]
        pads = window.pads(size)
        lines = [
            sources(taps[axis], size[axis], (pads[axis], pads[axis + 2]), self.padding_mode)
            for axis in (0, 1)
        ]
        kept = [line != BEYOND for line in lines]
        grid = np.meshgrid(channels, *(line[k] for line, k in zip(lines, kept, strict=True)),
                           indexing="ij")  # fmt: skip
        places = np.meshgrid(channels, *map(np.flatnonzero, kept), indexing="ij")
        outside = [
            ((tap < 0) | (tap >= length))[k]
            for tap, length, k in zip(taps, size, kept, strict=True)
        ]
        padding = np.broadcast_to(outside[0][:, None] | outside[1], grid[0].shape)
        cell = np.stack([one.reshape(-1) for one in grid], axis=1)
        number_pads = (cell == NUMBER).any(axis=1)
        value = np.full(len(cell), self.fill if fill is None else fill, np.float64)
        value[~number_pads] = x[tuple(cell[~number_pads].T)]
        cell[number_pads, 1:] = -1
        weights = None
        if weight is not None:
            weights = weight[:, kept[0]][:, :, kept[1]].astype(np.float64).reshape(-1)
        with np.errstate(all="ignore"):
            parts = None if part is None else part(value)
        return Terms(
            value,
            cell,
            part=parts,
            padding=padding.reshape(-1),
            weight=weights,
            place=np.stack([one.reshape(-1) for one in places[1:]], axis=1),
        )
