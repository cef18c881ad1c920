"""Two ways to join the rows of windows: one after another, or by doubling.

#cYjx = ⊕_i x[c, Y·s + i·d, x]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine.pooling.modes import Values
from cnnviz.core.engine.pooling.problem import PoolProblem
from cnnviz.core.engine.pooling.sliding import Pass, doublings, slide
from cnnviz.core.types import Pair


class Tall(NamedTuple):
    """Windows joined downwards: value (c, Y, x) is flat[c·map + Y·row + x]."""

    flat: Values
    map: int
    row: int

    def windows(
        self, flat: NDArray[Any], shape: tuple[int, ...], step: int = 1, first: int = 0
    ) -> NDArray[Any]:
        """View values of `flat` laid out like this: every `step`-th column from `first` on."""
        size = flat.itemsize
        strides = (self.map * size, self.row * size, step * size)
        return np.ndarray(shape, flat.dtype, flat.data, first * size, strides)

    def pairs(self, buffer: Values, shape: tuple[int, ...]) -> NDArray[np.uint64]:
        """View each two float32 in a row of `buffer` as one 64-bit integer; rows are even."""
        half = Tall(self.flat, self.map // 2, self.row // 2)
        return half.windows(buffer.view(np.uint64), shape)


Joined = tuple[list[Pass], Tall]


class Down(NamedTuple):
    """A way to join rows."""

    join: Callable[[PoolProblem, Values, int, int, Sequence[Values]], Joined]
    # (problem, cells (n, h, w), taps, rows, two buffers) -> (passes to call, where they lead)
    flat: bool  # needs its cells without gaps
    passes: Callable[[PoolProblem, int], Pair]  # for so many taps: over cells, over windows' rows
    roundings: Callable[[int], int]  # at most, in a sum of so many rows


def by_rows(
    problem: PoolProblem, cells: Values, taps: int, rows: int, spare: Sequence[Values]
) -> Joined:
    """Join the rows of each window one after another, only where windows start."""
    join, stride, dilation = problem.rule.join, problem.window.stride[0], problem.window.dilation[0]
    maps, _, width = cells.shape
    row = width + width % 2  # even, so that columns can be taken in pairs
    flat = spare[0][: maps * rows * row]
    every = flat.reshape(maps, rows, row)
    tall, last = every[:, :, :width], (rows - 1) * stride + 1
    first, *others = (
        cells[:, start : start + last : stride] for start in range(0, taps * dilation, dilation)
    )
    passes: list[Pass] = [partial(every[:, :, width:].fill, problem.rule.neutral)]
    passes = passes if width % 2 else []
    if others:
        passes.append(partial(join, first, others[0], out=tall))
    else:
        passes.append(partial(np.copyto, tall, first))
    passes += [partial(join, tall, other, out=tall) for other in others[1:]]
    return passes, Tall(flat, rows * row, row)


def by_doubling(
    problem: PoolProblem, cells: Values, taps: int, rows: int, spare: Sequence[Values]
) -> Joined:
    """Join ever taller windows at every row, then keep the rows where windows start."""
    stride, unit = problem.window.stride[0], problem.window.dilation[0] * cells.shape[2]
    maps, height, width = cells.shape
    steps = doublings(taps, repeats=problem.rule.repeats)
    passes, flat = slide(cells.reshape(-1), steps, unit, problem.rule.join, spare)
    if stride == 1:
        return passes, Tall(flat, height * width, width)
    kept = Tall(others(spare, flat)[0][: maps * rows * width], rows * width, width)
    shape, starts = (maps, rows, width), Tall(flat, height * width, stride * width)
    passes.append(partial(np.copyto, kept.windows(kept.flat, shape), starts.windows(flat, shape)))
    return passes, kept


def others(buffers: Sequence[Values], used: Values) -> list[Values]:
    """Return the buffers that hold nothing of `used`."""
    return [buffer for buffer in buffers if not np.may_share_memory(buffer, used)]


BY_ROWS = Down(
    by_rows,
    flat=False,
    passes=lambda _, taps: (0, max(taps - 1, 1)),
    roundings=lambda taps: taps - 1,
)
BY_DOUBLING = Down(
    by_doubling,
    flat=True,
    passes=lambda problem, taps: (
        len(list(doublings(taps, repeats=problem.rule.repeats))),
        int(problem.window.stride[0] > 1),
    ),
    roundings=lambda taps: len(list(doublings(taps, repeats=False))),
)
