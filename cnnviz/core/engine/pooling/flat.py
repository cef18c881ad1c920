"""Pooling in two passes: first down each window's rows, then along its columns.

    #cYjx  = ⊕_i x[c, Y·s + i·d, x],   cYX = ⊕_j of that[c, Y, X·s + j·d]

Down there are two ways (`down`); along, windows always grow by doubling over flat vectors.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine.pooling import blocks
from cnnviz.core.engine.pooling.blocks import Index, Layout, Piece, lay_out
from cnnviz.core.engine.pooling.cells import read_cells
from cnnviz.core.engine.pooling.down import BY_DOUBLING, Down, others
from cnnviz.core.engine.pooling.modes import Values
from cnnviz.core.engine.pooling.problem import PoolProblem
from cnnviz.core.engine.pooling.scratch import scratch
from cnnviz.core.engine.pooling.sliding import Pass, doublings, slide
from cnnviz.core.threads import share
from cnnviz.core.types import Pair, Tensor

ROUNDINGS = 24  # additions to trust float32 with: an error of at most 24 · 2⁻²⁴ = 1.4e-6
MEMORY = 48 << 20  # bytes all threads' buffers may take together
LINE = 16  # buffers start at whole cache lines

CellType = type[np.floating[Any]]


def cell_type(problem: PoolProblem, down: Down) -> CellType:
    """Return float32 where its sums are exact enough, else float64."""
    if problem.rule.exact:
        return np.float32
    rows, columns = problem.window.kernel_size
    roundings = down.roundings(rows) + BY_DOUBLING.roundings(columns)
    return np.float64 if problem.rule.in_double or roundings > ROUNDINGS else np.float32


def layout(problem: PoolProblem, dtype: CellType) -> Layout:
    """Return how the output is cut when cells are of `dtype`."""
    float32s = np.dtype(dtype).itemsize / 4
    return lay_out(problem, max(int(blocks.BLOCK * problem.rule.thrift / float32s), 1))


class Maps(NamedTuple):
    """What is read and what is written."""

    x: Tensor  # (C, H, W)
    out: Tensor  # (C, rows, columns)


def pool_flat(problem: PoolProblem, maps: Maps, threads: int, down: Down) -> None:
    """Pool block by block."""
    try:
        _pool(problem, maps, threads, down, cell_type(problem, down))
    except FloatingPointError:  # a sum beyond float32's range, though its mean may be within
        _pool(problem, maps, threads, down, np.float64)


def _pool(problem: PoolProblem, maps: Maps, threads: int, down: Down, dtype: CellType) -> None:
    cut = layout(problem, dtype)
    size = -(-cut.cells // LINE) * LINE
    count = 3 if len(cut.pieces) == 1 else 4
    bytes_each = count * size * np.dtype(dtype).itemsize
    workers = min(threads, int(MEMORY * problem.rule.thrift) // bytes_each)
    with ExitStack() as loans:

        def make_worker() -> Worker:
            memory = loans.enter_context(scratch(bytes_each))
            buffers = list(memory.view(dtype).reshape(count, size))
            return Worker(problem, maps, down, cut.pieces, buffers)

        share(cut.blocks(problem), make_worker, max(workers, 1))


class Ready(NamedTuple):
    """Passes made ready for blocks of one shape."""

    cells: Values  # (n, h, w): where a block's cells are read to
    down: list[Pass]  # from there to `tall`
    along: list[Pass]  # from `tall` to `joined`
    joined: Values  # (n, rows, columns)
    pairs: NDArray[np.uint64] | None  # the same, each with the cell that follows it


@dataclass
class Worker:
    """What pools blocks in one thread, in its own memory."""

    problem: PoolProblem
    maps: Maps
    down: Down
    pieces: tuple[Piece, ...]
    buffers: list[Values]
    ready: dict[object, Ready] = field(default_factory=dict)

    def __call__(self, block: Index) -> None:
        """Pool one block; the pieces of a huge window one after another."""
        rule, out = self.problem.rule, self.maps.out[block]
        trusting = self.buffers[0].dtype == np.float32 and not rule.exact
        over: Literal["raise", "ignore"] = "raise" if trusting else "ignore"
        # NaN from ∞ − ∞, or from a window that wraps around and is never read, is no news.
        with np.errstate(over=over, under="ignore", invalid="ignore"):
            joined = self.join(block, self.pieces[0], out)
            if len(self.pieces) > 1:
                total = self.buffers[-1][: out.size].reshape(out.shape)
                np.copyto(total, joined)
                for piece in self.pieces[1:]:
                    rule.join(total, self.join(block, piece, out), out=total)
                joined = total
            if rule.finish is not None:
                rule.finish(joined, self.problem.runs(block[1]), self.problem.along[block[2]], out)
            elif joined is not out:
                np.copyto(out, joined, casting="same_kind")

    def join(self, block: Index, piece: Piece, out: Tensor) -> Values:
        """Join the cells of a piece of each window; the result is `out` or in a buffer."""
        shape = tuple(span.stop - span.start for span in block)
        spans = _span(self.problem, block, piece, 0), _span(self.problem, block, piece, 1)
        seen = self.see(block[0], piece, *spans)
        key = (shape, piece.taps, seen is None)
        ready = self.ready.get(key)
        passes = None
        if ready is None:
            ready = self.ready[key] = self.make_ready(shape, piece, spans, seen)
        elif seen is not None:  # other cells, so other views of them, to the same place
            taps, rows = piece.taps[0], shape[1]
            passes, _ = self.down.join(self.problem, seen, taps, rows, self.buffers[1:3])
        if seen is None:
            (down, (left, _)), width = spans, ready.cells.shape[2]
            read_cells(self.problem, self.maps.x[block[0]], down, (left, left + width), ready.cells)
        for call in (*(passes or ready.down), *ready.along):
            call()
        if ready.pairs is None or len(self.pieces) > 1:
            return ready.joined
        _copy_firsts(ready.pairs, out)
        return out

    def see(self, maps: slice, piece: Piece, rows: Pair, columns: Pair) -> Values | None:
        """Return a block's cells as they stand in the image; None if they must be read."""
        if (
            self.buffers[0].dtype != self.maps.x.dtype
            or self.problem.rule.prepare is not None
            or not 0 <= rows[0] < rows[1] <= self.maps.x.shape[1]
            or not 0 <= columns[0] < columns[1] <= self.maps.x.shape[2]
        ):
            return None
        view = self.maps.x[maps, slice(*rows), slice(*columns)]
        if self.down.flat and not (view.flags.c_contiguous and piece.taps[0] > 1):
            return None
        return view

    def make_ready(
        self, shape: tuple[int, ...], piece: Piece, spans: tuple[Pair, Pair], seen: Values | None
    ) -> Ready:
        """Cut the views of all passes over a block of `shape`."""
        problem, stride, unit = (
            self.problem, self.problem.window.stride[1], self.problem.window.dilation[1]
        )  # fmt: skip
        if seen is None:
            height, width = (stop - start for start, stop in spans)
            width += width % 2  # even, so that columns can be taken in pairs
            cells = self.buffers[0][: shape[0] * height * width].reshape(shape[0], height, width)
        else:
            cells = seen
        down, tall = self.down.join(problem, cells, piece.taps[0], shape[1], self.buffers[1:3])
        steps = doublings(piece.taps[1], repeats=problem.rule.repeats)
        spare = others(self.buffers[:3], tall.flat)
        along, wide = slide(tall.flat, steps, unit, problem.rule.join, spare)
        pairs = None
        if stride == 2 and along and wide.dtype == np.float32 and not tall.row % 2:
            buffer = next(buffer for buffer in spare if np.may_share_memory(buffer, wide))
            pairs = tall.pairs(buffer, shape)
        return Ready(cells, down, along, tall.windows(wide, shape, stride), pairs)


def _copy_firsts(pairs: NDArray[np.uint64], out: Tensor) -> None:
    """Copy the first of each pair of values.

    Casting 64 bits to 32 is vectorised; reading every second value is not.
    """
    if sys.byteorder == "big":
        pairs = pairs >> np.uint64(32)
    np.copyto(out.view(np.uint32), pairs, casting="unsafe")


def _span(problem: PoolProblem, block: Index, piece: Piece, axis: int) -> Pair:
    """Return where the cells of a block start and stop along an axis of the image."""
    stride, dilation = problem.window.stride[axis], problem.window.dilation[axis]
    windows, offset = block[1 + axis], piece.first[axis] * dilation - problem.pads[axis]
    last = (windows.stop - 1) * stride + (piece.taps[axis] - 1) * dilation
    return (windows.start * stride + offset, last + 1 + offset)
