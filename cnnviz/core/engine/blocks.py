"""Pooling in two passes, block by block: down each window's rows, then along its columns.

    #cYjx  = ⊕_i x[c, Y·s + i·d, x],   cYX = ⊕_j of that[c, Y, X·s + j·d]

A block is a box of the output; its cells are the box's span of the padded image, small enough for
the cache, in which neighbouring blocks overlap. No block depends on the number of threads, so
neither does any result.

A band of rows is one long vector, which is what ufuncs are fastest at, and a window grows over it
by doubling, in at most 2·log2(taps) passes:

    #S_1[p] = x[p],   S_2n[p] = S_n[p] ⊕ S_n[p + n],   S_n+1[p] = S_n[p] ⊕ x[p + n]

A window that would wrap around into the next row gives a value that nothing reads. A sum's cells
pass through as few additions, so float32 keeps their digits. Down the rows there are two ways:
`doubling` as well, or `rowwise`, one row after another and only where windows start.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import pairwise, product
from math import ceil, inf, prod
from typing import Any, Literal, NamedTuple

import numpy as np

from cnnviz.core.border import padded_band
from cnnviz.core.engine.modes import PoolProblem, Values
from cnnviz.core.engine.plan import Algorithm
from cnnviz.core.threads import share, that_fit
from cnnviz.core.types import Pair, Tensor
from cnnviz.core.window import view

BLOCK = 1 << 19  # cells: 2 MiB. Smaller ones make threads wait for each other's GIL
LARGEST = 4  # times that, where windows overlap so much that small blocks repeat the work
WASTE = 1.5  # cells read per cell passed on, from which on larger blocks are worth their cost
STRIPS = 1.5  # what cutting rows into strips costs, beside what it saves
LINE = 16  # buffers start at whole cache lines
ROUNDINGS = 24  # additions to trust float32 with: an error of at most 24 · 2⁻²⁴ = 1.4e-6

CellType = type[np.floating[Any]]

Index = tuple[slice, slice, slice]
"""Channels, rows and columns of an output."""

Maps = tuple[Tensor, Tensor]
"""What is read and what is written: (C, H, W) and (C, rows, columns)."""


class Piece(NamedTuple):
    """A part of a window, joined on its own: its first tap and its taps, down and along."""

    first: Pair
    taps: Pair


class Layout(NamedTuple):
    """How an output is cut into blocks: so many channels × rows × columns each."""

    block: tuple[int, int, int]
    span: Pair  # rows and columns of the cells of a block's maps
    pieces: tuple[Piece, ...]


def doublings(taps: int, *, repeats: bool) -> Iterator[tuple[bool, int]]:
    """List the steps by which a window grows from one cell to `taps`.

    A step is whether it is joined with itself (or else with one cell), and how many cells further
    on. Where a cell may be joined twice, two windows that overlap make the last step.

    >>> list(doublings(7, repeats=False))
    [(True, 1), (False, 2), (True, 3), (False, 6)]
    >>> list(doublings(7, repeats=True))
    [(True, 1), (True, 2), (True, 3)]
    """
    span = 1
    if repeats:
        while span < taps:
            shift = min(span, taps - span)
            yield True, shift
            span += shift
        return
    for bit in f"{taps:b}"[1:]:
        yield True, span
        span *= 2
        if bit == "1":
            yield False, span
            span += 1


def _run(problem: PoolProblem, maps: Maps, threads: int, *, rowwise: bool) -> None:
    """Pool block by block."""
    try:
        _pool(problem, maps, threads, rowwise, _cell_type(problem, rowwise))
    except FloatingPointError:  # a sum beyond float32's range, though its mean may be within
        _pool(problem, maps, threads, rowwise, np.float64)


def _pool(problem: PoolProblem, maps: Maps, threads: int, rowwise: bool, dtype: CellType) -> None:
    layout = _layout(problem, dtype)
    channels, rows, columns = (
        [slice(start, min(start + step, length)) for start in range(0, length, step)]
        for length, step in zip(problem.output_shape, layout.block, strict=True)
    )
    height, width = layout.span
    arrays = 6 + (len(layout.pieces) > 1) + problem.rule.temporaries
    if layout.block[2] == problem.output_shape[2]:  # rows are read whole
        arrays -= 2
        width = max(width, problem.pads[1] + problem.size[1] + problem.pads[3])
    size = -(-layout.block[0] * height * width // LINE) * LINE
    workers = that_fit(threads, arrays * size * np.dtype(dtype).itemsize)
    worker = partial(_Worker, problem, maps, rowwise, layout.pieces, size, dtype)
    share(list(product(channels, rows, columns)), worker, workers)


def _cell_type(problem: PoolProblem, rowwise: bool) -> CellType:
    """Return float32 where its sums are exact enough, else float64."""
    if problem.rule.extreme:
        return np.float32
    rows, columns = problem.window.kernel_size
    down = rows - 1 if rowwise else len(list(doublings(rows, repeats=False)))
    roundings = down + len(list(doublings(columns, repeats=False)))
    return np.float64 if problem.rule.prepare or roundings > ROUNDINGS else np.float32


class _Worker:
    """What pools blocks in one thread, in its own memory."""

    def __init__(
        self,
        problem: PoolProblem,
        maps: Maps,
        rowwise: bool,
        pieces: tuple[Piece, ...],
        size: int,
        dtype: CellType,
    ) -> None:
        self.problem, self.pieces, self.rowwise = problem, pieces, rowwise
        self.x, self.out = maps
        self.buffers = list(np.empty((3, size), dtype))
        # float32 that overflows is a reason to start over; extremes cannot.
        trusting = dtype is np.float32 and not problem.rule.extreme
        self.over: Literal["raise", "ignore"] = "raise" if trusting else "ignore"

    def __call__(self, block: Index) -> None:
        """Pool one block; the pieces of a huge window one after another."""
        rule, out = self.problem.rule, self.out[block]
        # NaN from ∞ − ∞, or from a window that wraps around and is never read, is no news.
        with np.errstate(over=self.over, under="ignore", invalid="ignore"):
            joined = self.join(block, self.pieces[0])
            if len(self.pieces) > 1:
                joined = joined.copy()
                for piece in self.pieces[1:]:
                    rule.join(joined, self.join(block, piece), out=joined)
            if rule.mean:
                self.divide(joined, block, out)
            else:
                joined = rule.finish(joined) if rule.finish else joined
                np.copyto(out, joined, casting="same_kind")

    def divide(self, joined: Values, block: Index, out: Tensor) -> None:
        """Write sums divided by the cells that each window counts, which are few numbers."""
        down, along = self.problem.counts[0][block[1]], self.problem.counts[1][block[2]]
        cells = along[:1] if along.min() == along.max() else along
        edges = [0, *(np.flatnonzero(np.diff(down)) + 1).tolist(), len(down)]
        for first, stop in pairwise(edges):  # rows of windows that count equally many rows
            divisor = (down[first] * cells).astype(joined.dtype)
            rows = slice(first, stop)
            np.divide(joined[:, rows], divisor, out=out[:, rows], casting="same_kind")

    def join(self, block: Index, piece: Piece) -> Values:
        """Join the cells of a piece of each window: (channels, rows, columns) of a buffer."""
        (down, along), dilation = self.problem.window.stride, self.problem.window.dilation
        shape = maps, rows, _ = tuple(span.stop - span.start for span in block)
        cells = self.cells(block, piece)
        _, height, width = cells.shape
        if self.rowwise:
            flat, height = self.by_rows(cells, piece.taps[0], rows), rows
        else:
            flat = self.slide(cells.reshape(-1), piece.taps[0], dilation[0] * width)
            if down > 1:  # only the rows where windows start are joined along
                starts = view(flat, (maps, rows, width), (height * width, down * width, 1))
                flat, height = self.others(flat)[0][: starts.size], rows
                np.copyto(flat.reshape(starts.shape), starts)
        flat = self.slide(flat, piece.taps[1], dilation[1])
        return view(flat, shape, (height * width, width, along))

    def cells(self, block: Index, piece: Piece) -> Values:
        """Return a block's cells, prepared for the mode, as they stand in the image if they can."""
        problem, (buffer, *_) = self.problem, self.buffers
        (top, bottom), columns = (_span(problem, block, piece, axis) for axis in (0, 1))
        if columns[0] == 0 and block[2].stop == problem.output_shape[2]:
            # Whole rows follow one another: they need no copy where nothing is added.
            columns = (0, max(columns[1], sum(problem.pads[1::2]) + problem.size[1]))
        cells = padded_band(
            self.x[block[0]], problem.pads, top, bottom, problem.padding_mode, problem.fill,
            columns=columns, beyond=problem.rule.neutral,
            memory=buffer if buffer.dtype == np.float32 else None,
        )  # fmt: skip
        prepare = problem.rule.prepare
        ready = buffer.dtype == cells.dtype and prepare is None
        if ready and (self.rowwise or cells.flags.c_contiguous):
            return cells
        own = buffer[: cells.size].reshape(cells.shape)
        np.copyto(own, cells)
        if prepare is not None:
            prepare(own)
        return own

    def by_rows(self, cells: Values, taps: int, rows: int) -> Values:
        """Join the rows of each window one after another, only where windows start."""
        join, stride, gap = (
            self.problem.rule.join, self.problem.window.stride[0], self.problem.window.dilation[0]
        )  # fmt: skip
        maps, _, width = cells.shape
        flat = self.buffers[1][: maps * rows * width]
        tall, last = flat.reshape(maps, rows, width), (rows - 1) * stride + 1
        first, *others = (cells[:, i * gap : i * gap + last : stride] for i in range(taps))
        if not others:
            np.copyto(tall, first)
        for index, other in enumerate(others):
            join(tall if index else first, other, out=tall)
        return flat

    def slide(self, cells: Values, taps: int, shift: int) -> Values:
        """Join `taps` flat cells, `shift` apart, from each on where a window fits.

        The result is the start of a buffer, or `cells` itself for windows of one cell.
        """
        join, joined, length = self.problem.rule.join, cells, cells.size
        target, other = (buffer[:length] for buffer in self.others(cells)[:2])
        for by_itself, further in doublings(taps, repeats=self.problem.rule.extreme):
            ahead = further * shift
            if by_itself:
                length -= ahead
                join(joined[:length], joined[ahead : ahead + length], out=target[:length])
                joined, target, other = target, other, target
            else:  # in place: half the memory traffic, and the same value
                length = cells.size - ahead
                join(joined[:length], cells[ahead:], out=joined[:length])
        return joined[:length]

    def others(self, used: Values) -> list[Values]:
        """Return the buffers that hold nothing of `used`."""
        return [buffer for buffer in self.buffers if not np.may_share_memory(buffer, used)]


def _span(problem: PoolProblem, block: Index, piece: Piece, axis: int) -> Pair:
    """Return where the cells of a block start and stop along an axis of the padded image."""
    windows, gap = block[1 + axis], problem.window.dilation[axis]
    start = windows.start * problem.window.stride[axis] + piece.first[axis] * gap
    last = (windows.stop - 1 - windows.start) * problem.window.stride[axis]
    return start, start + last + (piece.taps[axis] - 1) * gap + 1


# --- layout


def _layout(problem: PoolProblem, dtype: CellType) -> Layout:
    """Return how the output is cut when cells are of `dtype`."""
    return _cut(problem, BLOCK // (np.dtype(dtype).itemsize // 4))


@lru_cache(maxsize=256)
def _cut(problem: PoolProblem, budget: int) -> Layout:
    """Choose blocks of about `budget` cells.

    Where windows overlap so much that small blocks would read most cells again and again, blocks
    grow up to LARGEST times that.
    """
    largest = budget * LARGEST
    pieces = tuple(_pieces(problem, largest // 4))
    channels, rows, columns = problem.output_shape
    whole = _reach(problem, pieces[0].taps, (rows, columns))
    if prod(whole) <= budget:
        together = _even_parts(channels, budget // prod(whole))
        return Layout((together, rows, columns), whole, pieces)
    while True:
        waste, size = min(_sizes(problem, pieces[0].taps, budget), default=(inf, (1, 1)))
        if waste < WASTE or budget >= largest:
            return Layout((1, *size), _reach(problem, pieces[0].taps, size), pieces)
        budget *= 2


def _sizes(problem: PoolProblem, taps: Pair, budget: int) -> Iterator[tuple[float, Pair]]:
    """List sizes of blocks within `budget` cells: (cells read per cell moved on, size)."""
    _, rows, columns = problem.output_shape
    down, along = problem.window.stride
    parts = 1
    while parts < 2 * columns:
        across = ceil(columns / parts)
        height, width = _reach(problem, taps, (1, across))
        fitting = (budget // width - height) // down + 1
        if fitting > 0:
            size = (_even_parts(rows, fitting), across)
            used = size[0] * down * size[1] * along
            waste = prod(_reach(problem, taps, size)) / used
            yield waste * (STRIPS if parts > 1 else 1), size
        parts *= 2


def _even_parts(length: int, most: int) -> int:
    """Return how much of `length` makes parts of at most `most`, in an even number if several."""
    parts = ceil(length / most)
    return ceil(length / (parts + parts % 2)) if parts > 1 else length


def _reach(problem: PoolProblem, taps: Pair, size: Pair) -> Pair:
    """Return the rows and columns that `size` windows of `taps` span."""
    height, width = (
        (count - 1) * stride + (tap - 1) * dilation + 1
        for count, stride, tap, dilation in zip(
            size, problem.window.stride, taps, problem.window.dilation, strict=True
        )
    )
    return height, width


def _pieces(problem: PoolProblem, most: int) -> Iterator[Piece]:
    """Cut a window that spans more than `most` cells into pieces that do not."""
    kernel, taps = problem.window.kernel_size, problem.window.kernel_size
    while prod(taps) > 1 and prod(span := _reach(problem, taps, (1, 1))) > most:
        if taps[1] == 1 or (span[0] >= span[1] and taps[0] > 1):
            taps = (ceil(taps[0] / 2), taps[1])
        else:
            taps = (taps[0], ceil(taps[1] / 2))
    for i, j in product(range(0, kernel[0], taps[0]), range(0, kernel[1], taps[1])):
        yield Piece((i, j), (min(taps[0], kernel[0] - i), min(taps[1], kernel[1] - j)))


# --- algorithms


@lru_cache(maxsize=256)
def _work(problem: PoolProblem, *, rowwise: bool) -> float:
    """Count the values all passes go over, the rows of those that are not flat, and calls."""
    rule, dtype = problem.rule, _cell_type(problem, rowwise)
    layout = _layout(problem, dtype)
    taps, (maps, rows, columns), (height, width) = layout.pieces[0].taps, layout.block, layout.span
    in_place = problem.inside and dtype is np.float32 and (rowwise or taps[0] > 1)
    cells, tall = maps * height * width, maps * rows * width
    flat, apart = 0, max(taps[0] - 1, 1)
    if not rowwise:
        flat = len(list(doublings(taps[0], repeats=rule.extreme)))
        apart = int(problem.window.stride[0] > 1)
    along = len(list(doublings(taps[1], repeats=rule.extreme)))
    copies = not in_place
    values = (copies + flat) * cells + apart * tall + along * (tall if apart else cells)
    values = (values + maps * rows * columns) * np.dtype(dtype).itemsize // 4
    prepared = 0.5 * cells if rule.prepare else 0.0  # powers, say
    lines = maps * (copies * height + (apart + 1) * rows)
    calls = copies + flat + apart + along + 1
    blocks = len(layout.pieces) * prod(
        -(-length // step) for length, step in zip(problem.output_shape, layout.block, strict=True)
    )
    if rowwise:
        return blocks * (0.145 * values + prepared + 8.2 * lines + 700 * calls)
    return blocks * (0.095 * values + prepared + 6.6 * lines + 5000 * calls)


ROWWISE = Algorithm[PoolProblem](
    "rowwise",
    "each window's rows joined one after another, its columns by doubling",
    lambda problem: True,  # noqa: ARG005 - every problem
    partial(_work, rowwise=True),
    partial(_run, rowwise=True),
    error=ROUNDINGS * 2.0**-24,
)
DOUBLING = Algorithm[PoolProblem](
    "doubling",
    "ever larger windows joined in flat passes over whole bands of rows",
    lambda problem: True,  # noqa: ARG005 - every problem
    partial(_work, rowwise=False),
    partial(_run, rowwise=False),
    error=ROUNDINGS * 2.0**-24,
)
