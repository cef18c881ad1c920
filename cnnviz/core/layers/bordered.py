"""What layers whose windows reach beyond the edge share: the border's options, and single windows.

A layer computes all windows at once through the engine. Here are some of them: which pixels they
read, pieces of padded map that the engine can slide over, and the terms of one window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnviz.core.border import BEYOND, BORDERS, NUMBER, check_border, sources
from cnnviz.core.cells import Cells, Excerpt, Indices, runs
from cnnviz.core.explanation import Doubles, Terms
from cnnviz.core.layers.base import plane, settings
from cnnviz.core.options import choice, number, option
from cnnviz.core.types import Pair, Tensor
from cnnviz.core.window import Window

JOINED = 8
"""Windows not asked for are computed too where no more than so many lie between two that are."""


@settings
class Bordered:
    """The options of layers that read beyond the edge."""

    padding_mode: str = option(choice(BORDERS), "what lies beyond the edge", default="zeros")
    pad_value: float = option(number(), "the padding of mode constant", default=0.0)

    def check_border(self, window: Window, size: Pair) -> None:
        """Raise CnnvizError when a mirror or wrap would reach past the image it copies from."""
        check_border(self.padding_mode, window.pads(size), size)

    @property
    def fill(self) -> float:
        """The number that pads, where one does."""
        return self.pad_value if self.padding_mode == "constant" else 0.0

    def window_cells(self, window: Window, size: Pair, cells: Cells, channels: Indices) -> Cells:
        """Return the pixels that the windows at some cells read."""
        axes = []
        for axis in (0, 1):
            read = self._sources(window, size, axis, window.taps(size, axis, cells.axes[1 + axis]))
            axes.append(np.unique(read[read >= 0]))
        return Cells((channels, axes[0], axes[1]))

    def slide(
        self,
        window: Window,
        excerpt: Excerpt,
        cells: Cells,
        channels: Indices,
        make: Callable[[Tensor], Tensor],
        *,
        beyond: float = 0.0,
        fill: float | None = None,
    ) -> Tensor:
        """Return the windows at some cells of each map that `make` makes.

        `make` slides the window at its stride over a padded piece (channels, h, w), without
        padding. `fill` pads, in place of the layer's own number; `beyond` is past the padding.
        """
        size, blocks = plane(excerpt.shape), []
        fill = self.fill if fill is None else fill
        for rows in runs(cells.axes[1], JOINED):
            down, line = self._run(window, size, 0, rows), []
            for columns in runs(cells.axes[2], JOINED):
                along = self._run(window, size, 1, columns)
                made = make(excerpt.tile(down, along, fill, beyond, channels))
                line.append(made[:, (rows - rows[0])[:, None], columns - columns[0]])
            blocks.append(line)
        return np.ascontiguousarray(np.block(blocks))

    def _run(self, window: Window, size: Pair, axis: int, run: Indices) -> Indices:
        """Return the pixels from the first cell of a run's first window to its last's last."""
        stride, before = window.stride[axis], window.pads(size)[axis]
        start, last = int(run[0]) * stride - before, int(run[-1]) * stride - before
        return self._sources(window, size, axis, np.arange(start, last + window.extent[axis]))

    def _sources(self, window: Window, size: Pair, axis: int, at: Indices) -> Indices:
        pads = window.pads(size)
        return sources(at, size[axis], (pads[axis], pads[axis + 2]), self.padding_mode)

    def window_terms(
        self,
        window: Window,
        excerpt: Excerpt,
        at: tuple[int, ...],
        channels: Indices,
        *,
        weight: Tensor | None = None,
        fill: float | None = None,
        part: Callable[[Doubles], Doubles] | None = None,
    ) -> Terms:
        """Return a term for each cell of one window over some channels, row by row.

        Cells past the padding are none. `weight` is (channels, kh, kw); without one a term's part
        is its value, or what `part` makes of it.
        """
        size = plane(excerpt.shape)
        taps = [window.taps(size, axis, np.array([at[1 + axis]]))[0] for axis in (0, 1)]
        lines = [self._sources(window, size, axis, taps[axis]) for axis in (0, 1)]
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
        value[~number_pads] = excerpt.gather(*cell[~number_pads].T)
        cell[number_pads, 1:] = -1
        weights = None
        if weight is not None:
            weights = weight[:, kept[0]][:, :, kept[1]].astype(np.float64).reshape(-1)
        with np.errstate(all="ignore"):
            parts = value if weights is None else value * weights
            if part is not None:
                parts = part(parts)
        return Terms(
            value,
            parts,
            cell,
            padding=padding.reshape(-1),
            weight=weights,
            place=np.stack([one.reshape(-1) for one in places[1:]], axis=1),
        )
