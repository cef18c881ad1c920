"""What is pooled, and what pooling makes of a window's cells: a mode is one row of POOL_MODES.

    #Y = finish(⊕_i prepare(x[i]))

⊕ does not care in which order cells meet, so windows may be joined row by row, in halves, in
pieces: whichever is fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import check_border
from cnnviz.core.types import Pads, Pair, Shape
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError, unknown

Values = NDArray[np.floating[Any]]
Join = Callable[..., Values]


class PoolMode(NamedTuple):
    """One way to make a window's cells into a number."""

    join: Join  # join(one, two, out=...): ⊕, value by value
    neutral: float = 0.0  # what padding holds, so that it changes nothing
    extreme: bool = False  # a cell may be joined twice without harm, and no join rounds
    mean: bool = False  # divided by the number of cells in the end
    prepare: Callable[[Values], object] | None = None  # of cells, in place, in float64
    finish: Callable[[Values], Values] | None = None
    temporaries: int = 0  # arrays that a join makes


def _norm(norm_type: float) -> PoolMode:
    """Return the rules of the `norm_type`-norm."""
    if norm_type > LARGEST_POWER:  # a norm of norms is the norm
        return PoolMode(_joining_norms(norm_type), prepare=_magnitude, temporaries=4)
    if norm_type == 1:
        return PoolMode(np.add, prepare=_magnitude)

    def power(cells: Values) -> None:
        _magnitude(cells)
        np.power(cells, norm_type, out=cells)

    return PoolMode(np.add, prepare=power, finish=lambda joined: joined ** (1 / norm_type))


LARGEST_POWER = 6.0  # of any float32: its power and their sums are still float64s, not 0 or ∞


def _magnitude(cells: Values) -> None:
    np.abs(cells, out=cells)


def _joining_norms(norm_type: float) -> Join:
    def join(one: Values, two: Values, out: Values) -> Values:
        """Return (one^p + two^p)^(1/p), scaled by the larger so that no power overflows."""
        larger, share = np.maximum(one, two), np.zeros(one.shape)
        np.divide(np.minimum(one, two), larger, out=share, where=(larger > 0) & (larger < np.inf))
        np.power(share, norm_type, out=share)
        share += 1
        np.power(share, 1 / norm_type, out=share)
        return np.multiply(larger, share, out=out)

    return join


POOL_MODES: Mapping[str, Callable[[float], PoolMode]] = {
    "max": lambda _: PoolMode(np.maximum, -np.inf, extreme=True),
    "min": lambda _: PoolMode(np.minimum, np.inf, extreme=True),
    "avg": lambda _: PoolMode(np.add, mean=True),
    "lp": _norm,
}
"""The rules of each mode, given the p of a norm."""


@dataclass(frozen=True)
class PoolProblem:
    """A pooling to do on maps of some shape: the settings, without the pixels."""

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
    def counts(self) -> tuple[Values, Values]:
        """How many cells of each window count, down and along, as float64."""
        include = self.count_include_pad or self.padding_mode != "zeros"
        down, along = self.window.counts(self.size, include_pad=include)
        return down.astype(np.float64), along.astype(np.float64)

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
