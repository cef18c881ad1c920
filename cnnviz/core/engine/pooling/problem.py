"""What is to be pooled: shapes and settings, without the pixels."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import check_border
from cnnviz.core.engine.pooling.modes import POOL_MODES, Counts, PoolMode
from cnnviz.core.types import Pads, Pair, Shape
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError, unknown


@dataclass(frozen=True)
class PoolProblem:
    """A pooling to do on maps of some shape."""

    shape: Shape  # (C, H, W)
    window: Window
    mode: str
    padding_mode: str = "zeros"
    pad_value: float = 0.0
    count_include_pad: bool = False
    norm_type: float = 2.0

    def check(self) -> None:
        """Raise CnnvizError if the window does not fit, or some window holds padding alone.

        It is a RequestError if there is no such mode or norm.
        """
        if self.mode not in POOL_MODES:
            raise unknown("pooling mode", self.mode, list(POOL_MODES))
        if not self.norm_type > 0:
            raise RequestError(f"norm_type is {self.norm_type}", hint="give a number above 0")
        if len(self.shape) != 3 or not min(self.shape):
            raise CnnvizError(f"x has shape {self.shape}", hint="give (channels, rows, columns)")
        check_border(self.padding_mode, self.pads, self.size)
        if self.padding_mode == "zeros":
            self.window.require_pixels(self.size)

    @cached_property
    def rule(self) -> PoolMode:
        """The rules of the mode."""
        return POOL_MODES[self.mode](self.norm_type)

    @property
    def size(self) -> Pair:
        """The maps' (rows, columns)."""
        return (self.shape[1], self.shape[2])

    @cached_property
    def pads(self) -> Pads:
        """Padding (top, left, bottom, right) in pixels."""
        return self.window.pads(self.size)

    @cached_property
    def output_shape(self) -> tuple[int, int, int]:
        """(C, rows, columns)."""
        return (self.shape[0], *self.window.output_size(self.size))

    @cached_property
    def counts(self) -> tuple[Counts, ...]:
        """How many cells of each window count, down and along."""
        include = self.count_include_pad or self.padding_mode != "zeros"
        return self.window.counts(self.size, include_pad=include)

    @cached_property
    def along(self) -> NDArray[np.float64]:
        """How many columns of each window count."""
        return self.counts[1].astype(np.float64)

    def runs(self, rows: slice) -> list[tuple[slice, int]]:
        """Cut `rows` of the output where windows count other numbers of rows: (run, number)."""
        down, edges = self.counts[0], self._edges
        inner = edges[bisect_right(edges, rows.start) : bisect_left(edges, rows.stop)]
        cuts = [rows.start, *inner, rows.stop]
        return [
            (slice(first - rows.start, stop - rows.start), int(down[first]))
            for first, stop in pairwise(cuts)
        ]

    @cached_property
    def _edges(self) -> list[int]:
        edges: list[int] = (np.flatnonzero(np.diff(self.counts[0])) + 1).tolist()
        return edges

    @property
    def fill(self) -> float:
        """What padding holds where it is one number."""
        return self.pad_value if self.padding_mode == "constant" else self.rule.neutral

    @cached_property
    def inside(self) -> bool:
        """Whether every window lies on the image."""
        reach = [
            (count - 1) * stride + extent <= length
            for count, stride, extent, length in zip(
                self.output_shape[1:],
                self.window.stride,
                self.window.extent,
                self.size,
                strict=True,
            )
        ]
        return all(reach) and self.pads[:2] == (0, 0)
