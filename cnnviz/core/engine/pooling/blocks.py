"""Cutting a pooling into blocks small enough for the cache, and huge windows into pieces.

A block is a box of the output; its cells are the box's span of the padded image, in which
neighbouring blocks overlap. Nothing here depends on the number of threads, so neither does any
result.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import ceil, inf, prod
from typing import NamedTuple

from cnnviz.core.engine.pooling.problem import PoolProblem
from cnnviz.core.types import Pair

BLOCK = 1 << 19  # cells: 2 MiB. Smaller ones make threads wait for each other's GIL
LARGEST = 4  # times that, where windows overlap so much that small blocks repeat the work
WASTE = 1.5  # cells read per cell passed on, from which on larger blocks are worth their cost
STRIPS = 1.5  # what cutting rows into strips costs, beside what it saves


Index = tuple[slice, slice, slice]
"""Channels, rows and columns of an output."""


class Piece(NamedTuple):
    """A part of a window, joined on its own: its first tap and its taps, down and along."""

    first: Pair
    taps: Pair


class Layout(NamedTuple):
    """How an output is cut into blocks: so many channels × rows × columns each."""

    block: tuple[int, int, int]
    span: Pair  # rows and columns of the cells of a block's maps
    pieces: tuple[Piece, ...]

    @property
    def cells(self) -> int:
        """Cells of the largest block."""
        return self.block[0] * self.span[0] * self.span[1]

    def blocks(self, problem: PoolProblem) -> list[Index]:
        """List the blocks of the output, as its index."""
        maps, rows, columns = (
            [slice(start, min(start + step, length)) for start in range(0, length, step)]
            for length, step in zip(problem.output_shape, self.block, strict=True)
        )
        return list(product(maps, rows, columns))


@lru_cache(maxsize=256)
def lay_out(problem: PoolProblem, budget: int) -> Layout:
    """Choose blocks of about `budget` cells.

    Where windows overlap so much that small blocks would read most cells again and again, blocks
    grow up to LARGEST times that.
    """
    largest = budget * LARGEST
    pieces = tuple(_pieces(problem, largest // 4))
    channels, rows, columns = problem.output_shape
    whole = _span(problem, pieces[0].taps, (rows, columns))
    if prod(whole) <= budget:
        together = _even_parts(channels, budget // prod(whole))
        return Layout((together, rows, columns), whole, pieces)
    while True:
        waste, size = min(_sizes(problem, pieces[0].taps, budget), default=(inf, (1, 1)))
        if waste < WASTE or budget >= largest:
            return Layout((1, *size), _span(problem, pieces[0].taps, size), pieces)
        budget *= 2


def _sizes(problem: PoolProblem, taps: Pair, budget: int) -> Iterator[tuple[float, Pair]]:
    """List sizes of blocks within `budget` cells: (cells read per cell moved on, size)."""
    _, rows, columns = problem.output_shape
    down, along = problem.window.stride
    parts = 1
    while parts < 2 * columns:
        across = ceil(columns / parts)
        height, width = _span(problem, taps, (1, across))
        fitting = (budget // width - height) // down + 1
        if fitting > 0:
            size = (_even_parts(rows, fitting), across)
            used = size[0] * down * size[1] * along
            waste = prod(_span(problem, taps, size)) / used
            yield waste * (STRIPS if parts > 1 else 1), size
        parts *= 2


def _even_parts(length: int, most: int) -> int:
    """Return how much of `length` makes parts of at most `most`, in an even number if several."""
    parts = ceil(length / most)
    return ceil(length / (parts + parts % 2)) if parts > 1 else length


def _span(problem: PoolProblem, taps: Pair, size: Pair) -> Pair:
    """Return the rows and columns that `size` windows of `taps` span; columns made even."""
    height, width = (
        (count - 1) * stride + (tap - 1) * dilation + 1
        for count, stride, tap, dilation in zip(
            size, problem.window.stride, taps, problem.window.dilation, strict=True
        )
    )
    return (height, width + width % 2)


def _pieces(problem: PoolProblem, most: int) -> Iterator[Piece]:
    """Cut a window that spans more than `most` cells into pieces that do not."""
    kernel, taps = problem.window.kernel_size, problem.window.kernel_size
    while prod(taps) > 1 and prod(span := _span(problem, taps, (1, 1))) > most:
        if taps[1] == 1 or (span[0] >= span[1] and taps[0] > 1):
            taps = (ceil(taps[0] / 2), taps[1])
        else:
            taps = (taps[0], ceil(taps[1] / 2))
    for i, j in product(range(0, kernel[0], taps[0]), range(0, kernel[1], taps[1])):
        yield Piece((i, j), (min(taps[0], kernel[0] - i), min(taps[1], kernel[1] - j)))
