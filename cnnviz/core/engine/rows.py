"""Row bands: copy each input row kw times, shifted, and let one matrix product sum the rest.

    B[r, (c, j), X] = x[c, r, X·s + j·d]            kw copies of a row, not kh·kw
    S(k, y, X)      = Σ W[k, (i, c, j)] · B[y·s + i, (c, j), X]

The rows under one output row stand one after another in B, so that (i, c, j) is one axis with one
stride: a matrix that BLAS reads where it is. With a single filter, several output rows share a
product: their weights form a band matrix, output row r using rows r·s … r·s + kh − 1.

    ⎡ W₀ W₁ W₂  0  ⎤   two output rows of a 3×3 filter: each Wᵢ is a row of taps
    ⎣  0 W₀ W₁ W₂ ⎦

The zeros there multiply pixels beside the window: what is not finite spreads, and is noticed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cnnviz.core.engine.plan import MAC, SHORT, SMALL_PRODUCT, Algorithm, lanes
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.threads import Band, cut, share, that_fit
from cnnviz.core.types import Tensor

BAND_BYTES = 4 << 20  # of B: the calls for smaller ones cost more than leaving the cache does
LARGEST = 16 << 20  # of B for a single output row; wider images are for `windows`
TOGETHER = 4  # output rows of a single filter that one product yields
CACHE_BYTES = 3 << 19  # of a product's pixels: more are read from beyond the second-level cache
NARROW = 64  # columns: narrower strips are not worth a product of their own


def _supports(problem: Correlation) -> bool:
    """Windows without gaps between their rows; rows that fit into a few megabytes."""
    shifts = problem.kernel_size != (1, 1) or problem.window.stride != (1, 1)
    fits = _row_bytes(problem) * problem.extent[0] <= LARGEST
    return shifts and fits and problem.window.dilation[0] == 1


def _work(problem: Correlation) -> float:
    """Count copies, multiply-adds (with those of the band's zeros), and bands."""
    together, each = _together(problem), problem.filters // problem.groups
    (rows, columns), (kh, kw), stride = problem.size, problem.kernel_size, problem.window.stride
    padded_height = problem.pads[0] + problem.x.shape[1] + problem.pads[2]
    copies = min(rows * stride[0], padded_height) * problem.channels * kw
    inflated = _height(problem, together) / kh
    taken, width = problem.depth * problem.taps * inflated, _strip_width(problem)
    macs = problem.macs * inflated * lanes(columns)
    read = macs / max(each * together, 4)  # of B, for the products
    weights = 0.0
    if each * together * taken * width > SMALL_PRODUCT:  # BLAS copies both factors first
        products = rows * problem.groups / together * -(-columns // width)
        weights = products * each * together * taken
    return (
        MAC * macs
        + (0.086 if 4 * taken * width > CACHE_BYTES else 0.011) * read
        + 0.18 * copies * columns / kw
        + (0.018 if stride[1] == 1 else 0.22) * copies * columns
        + 20 * copies
        + 0.14 * weights
        + (0.12 if taken <= SHORT else 0.023) * problem.outputs
        + 45_000 * (_row_bytes(problem) * stride[0] * rows / BAND_BYTES + 1)
    )


def _run(problem: Correlation, output: Tensor, threads: int) -> None:
    """Fill `output` (O, rows, columns), a band of rows at a time."""
    rows, columns = problem.size
    together, width = _together(problem), _strip_width(problem)
    matrices = {count: _band_matrix(problem, count) for count in {together, 1}}
    lefts = range(0, columns, width)
    row_bytes = _row_bytes(problem) // columns * width
    step = row_bytes * problem.window.stride[0]
    bands = cut(rows, step, BAND_BYTES, threads, multiple=together)
    tallest = _height(problem, bands[0][1])
    taps = (problem.depth, problem.kernel_size[1])

    def make_worker() -> Callable[[Band], None]:
        copies = np.empty((problem.groups, tallest, *taps, width), np.float32)

        def worker(band: Band) -> None:
            first, stop = band
            middle = first + (stop - first) // together * together
            source = problem.band(first, stop)
            for left in lefts:
                right = min(left + width, columns)
                _copy_shifted(problem, source, left, copies)
                for begin, end, count in ((first, middle, together), (middle, stop, 1)):
                    if begin < end:
                        target = output[:, begin:end, left:right]
                        _multiply(problem, matrices[count], copies, begin - first, target)
            problem.finish(output[:, first:stop], confined=together == 1)

        return worker

    share(bands, make_worker, that_fit(threads, 2 * tallest * row_bytes))


def _multiply(
    problem: Correlation, matrix: Tensor, copies: Tensor, first: int, target: Tensor
) -> None:
    """Fill `target` (O, rows, columns) from B, from its output row `first` on."""
    (_, rows, width), each = target.shape, problem.filters // problem.groups
    count, stride = matrix.shape[1] // each, problem.window.stride[0]
    groups, _, depth, kw, _ = copies.shape
    row_step = copies.strides[1]
    shape = (groups, rows // count, _height(problem, count) * depth * kw, width)
    steps = (copies.strides[0], count * stride * row_step, *copies.strides[3:])
    under = np.ndarray(shape, np.float32, copies, first * stride * row_step, steps)
    if count > 1:  # one filter a group: its output rows follow one another
        sums = target.reshape(groups, -1, count, width)
    else:
        sums = target.reshape(groups, each, rows, width).swapaxes(1, 2)
    np.matmul(matrix[:, None], under, out=sums)


def _band_matrix(problem: Correlation, count: int) -> Tensor:
    """Return the weights of `count` output rows: (groups, O / groups · count, taps between them).

    The last axis is (row, channel of the group, tap along the row).
    """
    stride, (kh, kw) = problem.window.stride[0], problem.kernel_size
    groups, depth = problem.groups, problem.depth
    weight = problem.weight.reshape(groups, -1, depth, kh, kw).swapaxes(2, 3)
    each = weight.shape[1]
    matrix = np.zeros((groups, each, count, _height(problem, count), depth, kw), np.float32)
    for row in range(count):
        matrix[:, :, row, row * stride : row * stride + kh] = weight
    return matrix.reshape(groups, each * count, -1)


# --- sizes


def _together(problem: Correlation) -> int:
    """Return how many output rows one product yields."""
    return min(TOGETHER, problem.size[0]) if problem.filters == problem.groups else 1


def _height(problem: Correlation, count: int) -> int:
    """Return how many input rows `count` output rows see."""
    return (count - 1) * problem.window.stride[0] + problem.kernel_size[0]


def _row_bytes(problem: Correlation) -> int:
    return 4 * problem.channels * problem.kernel_size[1] * problem.size[1]


def _strip_width(problem: Correlation) -> int:
    """Return how many columns go together: products small enough to be quick, if not narrow."""
    columns, together = problem.size[1], _together(problem)
    each = problem.filters // problem.groups
    taps = _height(problem, together) * problem.depth * problem.kernel_size[1]
    most = SMALL_PRODUCT // (each * together * taps)
    return columns if most < NARROW else -(-columns // -(-columns // most))


def _copy_shifted(problem: Correlation, source: Tensor, left: int, copies: Tensor) -> None:
    """Write B for padded rows, from output column `left` on, to the front of `copies`."""
    groups, _, depth, kw, width = copies.shape
    stride, dilation = problem.window.stride[1], problem.window.dilation[1]
    rows = source[..., left * stride :].reshape(groups, depth, source.shape[1], -1).swapaxes(1, 2)
    columns, step = min(width, problem.size[1] - left), rows.strides[3]
    shape = (*rows.shape[:3], kw, columns)
    every = as_strided(rows, shape, (*rows.strides[:3], dilation * step, stride * step))
    copies[:, : rows.shape[1], ..., :columns] = every


ROWS = Algorithm(
    "rows",
    "every row copied once a column of the kernel; rows of windows without gaps",
    _supports,
    _work,
    _run,
    error=2e-6,
)
