"""Cross-correlation by windows and one matrix product a band: the reference.

    #gijYXyx,gkij -> gkYX        (g group, i channel of the group, j·· window cell, k filter)

Every window of a band of output rows is copied into one column (im2col), and a single matrix
product weighs them all. Each output value is one dot product over its own window, so NaN and
infinities reach the outputs whose window covers them and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from cnnviz.core.engine.bands import FEW_PIXELS, LANES, SHORT, Band, cut, parts, rounded_up
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.threads import share, that_fit
from cnnviz.core.types import Tensor

BAND_BYTES = 4 << 20  # the columns of one band: calls cost more than leaving the cache does


def supports(problem: Correlation) -> bool:
    """Every problem."""
    del problem
    return True


def work(problem: Correlation) -> Mapping[str, float]:
    """Count the columns' values, the products and the calls."""
    rows, columns = problem.size
    copies = problem.channels * problem.taps * rows
    bands = 4 * copies * columns / BAND_BYTES + 1
    width = rows * columns / bands
    macs = problem.macs * rounded_up(width, LANES) / width
    return {
        "read": prod(problem.x.shape),
        "columns": copies * columns,
        "strided": copies * columns if problem.window.stride[1] > 1 else 0,
        "copies": copies,
        "macs": macs,
        "inner": macs / max(problem.filters // problem.groups, 4),  # what is read for them
        "weights": bands * problem.filters * problem.depth * problem.taps,
        "outputs": problem.outputs,
        "short": problem.outputs if problem.depth * problem.taps <= SHORT else 0,
        "products": bands * problem.groups,
        "bands": bands,
    }


def run(problem: Correlation, output: Tensor, threads: int) -> None:
    """Fill `output` (O, rows, columns), a band of rows at a time."""
    rows, columns = problem.size
    window_bytes = 4 * problem.channels * problem.taps
    small = rows * columns <= FEW_PIXELS and problem.groups == 1
    filters = parts(problem.filters, threads if small else 1)
    pieces = [
        (band, left, right, part)
        for band in cut(rows, window_bytes * columns, BAND_BYTES, 1 if small else threads)
        # Almost always the whole width; large kernels on wide images go a piece of it at a time.
        for left, right in cut(columns, window_bytes * (band[1] - band[0]), BAND_BYTES)
        for part in filters
    ]

    def worker(piece: tuple[Band, int, int, slice]) -> None:
        (first, stop), left, right, part = piece
        whole = right - left == columns
        read = problem.band(first, stop) if whole else problem.patch((first, stop), (left, right))
        target = output[part, first:stop, left:right]
        target[...] = weigh(problem, problem.window.views(read), part)
        problem.finish(target, part, confined=True)

    share(pieces, lambda: worker, that_fit(threads, _worker_bytes(problem, *pieces[0][:3])))


def _worker_bytes(problem: Correlation, band: Band, left: int, right: int) -> int:
    """Return the bytes of a piece's padded input, columns and sums."""
    size = (band[1] - band[0], right - left)
    down, along = (
        (count - 1) * stride + extent
        for count, stride, extent in zip(size, problem.window.stride, problem.extent, strict=True)
    )
    cells = problem.channels * problem.taps + problem.filters
    return 4 * (problem.channels * down * along + size[0] * size[1] * cells)


def weigh(problem: Correlation, every: Tensor, filters: slice = slice(None)) -> Tensor:
    """Weigh windows (C, kh, kw, rows, columns) with filters: (filters, rows, columns).

    With several groups it must be all of them.
    """
    groups = problem.groups
    cells = every.reshape(groups, problem.depth * problem.taps, -1)
    sums: Tensor = problem.weight[filters].reshape(groups, -1, cells.shape[1]) @ cells
    return sums.reshape(-1, *every.shape[3:])
