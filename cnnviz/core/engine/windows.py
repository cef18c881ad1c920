"""Cross-correlation by windows and one matrix product a band: the reference.

    #gijYXyx,gkij -> gkYX        (g group, i channel of the group, j·· window cell, k filter)

Every window of a band of output rows is copied into one column (im2col), and a single matrix
product weighs them all; 1×1 filters at stride 1 read the pixels where they are. Each output value
is one dot product over its own window, so NaN and infinities reach the outputs of windows
that cover them and no others.
"""

from __future__ import annotations

import numpy as np

from cnnviz.core.engine.plan import MAC, SHORT, SMALL_PRODUCT, Algorithm, lanes
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.threads import Band, cut, share, split, that_fit
from cnnviz.core.types import Tensor

BAND_BYTES = 4 << 20  # the columns of one band: calls cost more than leaving the cache does
PIXEL_BYTES = 1 << 20  # of 1×1 filters' input: one thread's second-level cache
PIXELS = 2048  # of such a band at least
FEW_PIXELS = 512  # of a map: threads share its filters, for narrower products would be slow


def _work(problem: Correlation) -> float:
    """Count the columns' values, the products and the calls."""
    rows, columns = problem.size
    copies = problem.channels * problem.taps * rows
    bands = 4 * copies * columns / BAND_BYTES + 1
    macs = problem.macs * lanes(rows * columns / bands)
    each = problem.filters // problem.groups
    short = problem.depth * problem.taps <= SHORT
    return (
        MAC * macs
        + 0.088 * macs / max(each, 4)  # what is read for them
        + (0.062 if problem.window.stride[1] == 1 else 0.26) * copies * columns
        + 3 * copies
        + (0.2 if short else 0.045) * problem.outputs
        + bands * (19_000 + 95 * problem.groups + 0.15 * problem.weight.size)
    )


def _run(problem: Correlation, output: Tensor, threads: int) -> None:
    """Fill `output` (O, rows, columns), a band of rows at a time."""
    rows, columns = problem.size
    window_bytes = 4 * problem.channels * problem.taps
    small = rows * columns <= FEW_PIXELS and problem.groups == 1
    count = min(threads, problem.filters) if small else 1
    parts = [slice(*part) for part in split(problem.filters, problem.filters, count)]
    band_bytes = BAND_BYTES
    if problem.taps == 1:  # mostly nothing is copied: the fewer outputs leave the cache the better
        few = max(PIXELS, SMALL_PRODUCT // (problem.filters // problem.groups * problem.depth))
        band_bytes = min(PIXEL_BYTES, window_bytes * few)
    pieces = [
        (band, left, right, part)
        for band in cut(rows, window_bytes * columns, band_bytes, 1 if small else threads)
        # Almost always the whole width; large kernels on wide images go a piece of it at a time.
        for left, right in cut(columns, window_bytes * (band[1] - band[0]), BAND_BYTES)
        for part in parts
    ]

    def worker(piece: tuple[Band, int, int, slice]) -> None:
        (first, stop), left, right, part = piece
        read = problem.band(first, stop, columns=(left, right))
        target = output[part, first:stop, left:right]
        weigh(problem, problem.window.views(read), target, part)
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


def weigh(
    problem: Correlation, every: Tensor, target: Tensor, filters: slice = slice(None)
) -> None:
    """Weigh windows (C, kh, kw, rows, columns) into `target` (filters, rows, columns).

    With several groups it must be all of the filters.
    """
    groups = problem.groups
    cells = every.reshape(groups, problem.depth * problem.taps, -1)
    weight = problem.weight[filters].reshape(groups, -1, cells.shape[1])
    # Of one term there is nothing to sum, and matmul would not use BLAS.
    multiply = np.multiply if cells.shape[1] == 1 else np.matmul
    _, down, along = target.strides
    if down == target.shape[2] * along:  # rows follow one another: written where they belong
        multiply(weight, cells, out=target.reshape(groups, weight.shape[1], -1))
    else:
        target[...] = multiply(weight, cells).reshape(target.shape)


WINDOWS = Algorithm(
    "windows",
    "every window copied into a column, one matrix product a band",
    lambda problem: True,  # noqa: ARG005 - every problem
    _work,
    _run,
    error=2e-6,
)
