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

from collections.abc import Callable, Mapping

import numpy as np

from cnnviz.core.border import BORDERS
from cnnviz.core.engine.bands import LANES, Band, cut, rounded_up
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.threads import share, that_fit
from cnnviz.core.types import Tensor

BAND_BYTES = 3 << 19  # of B: about the size of a second-level cache
LARGEST = 16 << 20  # of B for a single output row; wider images are for `windows`
TOGETHER = 4  # output rows of a single filter that one product yields


def supports(problem: Correlation) -> bool:
    """Windows without gaps between their rows; rows that fit into a few megabytes."""
    shifts = problem.kernel_size != (1, 1) or problem.window.stride != (1, 1)
    fits = _row_bytes(problem) * problem.extent[0] <= LARGEST
    return shifts and fits and problem.window.dilation[0] == 1


def work(problem: Correlation) -> Mapping[str, float]:
    """Count copies, multiply-adds (with those of the band's zeros), and products."""
    together, each = _together(problem), problem.filters // problem.groups
    (rows, columns), (kh, kw) = problem.size, problem.kernel_size
    inflated = ((together - 1) * problem.window.stride[0] + kh) / kh
    read = min(rows * problem.window.stride[0], problem.padded_height) * problem.channels * kw
    macs = problem.macs * inflated * rounded_up(columns, LANES) / columns
    products = rows * problem.groups / together
    inner = macs / max(each * together, 4)  # what is read for the multiply-adds
    read_at_once = 4 * problem.depth * problem.taps * inflated * columns
    return {
        "copied": read * columns,
        "copies": read,
        "macs": macs,
        "inner": inner,
        "far": inner if read_at_once > BAND_BYTES else 0,  # beyond the cache
        "weights": products * each * together * problem.depth * problem.taps * inflated,
        "products": products,
        "bands": _row_bytes(problem) * problem.window.stride[0] * rows / BAND_BYTES + 1,
    }


def run(problem: Correlation, output: Tensor, threads: int) -> None:
    """Fill `output` (O, rows, columns), a band of rows at a time."""
    rows, columns = problem.size
    stride, kh = problem.window.stride[0], problem.kernel_size[0]
    groups, depth, kw = problem.groups, problem.depth, problem.kernel_size[1]
    together = _together(problem)
    matrices = {count: band_matrix(problem, count) for count in {together, 1}}
    grouped = output.reshape(groups, -1, rows, columns)
    bands = cut(rows, _row_bytes(problem) * stride, BAND_BYTES, threads, multiple=together)
    tallest = (bands[0][1] - 1) * stride + kh

    def make_worker() -> Callable[[Band], None]:
        copies = np.empty((groups, tallest, depth, kw, columns), np.float32)
        row_step = copies.strides[1]

        def products(first: int, stop: int, begin: int, count: int) -> None:
            """Compute rows first … stop−1 by products of `count` rows; B begins at row `begin`."""
            height = (count - 1) * stride + kh
            shape = (groups, (stop - first) // count, height * depth * kw, columns)
            steps = (copies.strides[0], count * stride * row_step, *copies.strides[3:])
            at = (first - begin) * stride * row_step
            under = np.ndarray(shape, np.float32, copies, at, steps)
            target = grouped[:, :, first:stop]
            if count > 1:  # one filter a group: its output rows follow one another
                target = target.reshape(groups, -1, count, columns)
            else:
                target = target.swapaxes(1, 2)
            np.matmul(matrices[count][:, None], under, out=target)

        def worker(band: Band) -> None:
            first, stop = band
            _copy_shifted(problem, first, stop, copies)
            middle = first + (stop - first) // together * together
            if middle > first:
                products(first, middle, first, together)
            if stop > middle:
                products(middle, stop, first, 1)
            problem.finish(output[:, first:stop], confined=together == 1)

        return worker

    share(bands, make_worker, that_fit(threads, 2 * tallest * _row_bytes(problem)))


def band_matrix(problem: Correlation, count: int) -> Tensor:
    """Return the weights of `count` output rows: (groups, O / groups · count, taps between them).

    The last axis is (row, channel of the group, tap along the row).
    """
    stride, (kh, kw) = problem.window.stride[0], problem.kernel_size
    groups, depth = problem.groups, problem.depth
    weight = problem.weight.reshape(groups, -1, depth, kh, kw).swapaxes(2, 3)
    each = weight.shape[1]
    matrix = np.zeros((groups, each, count, (count - 1) * stride + kh, depth, kw), np.float32)
    for row in range(count):
        matrix[:, :, row, row * stride : row * stride + kh] = weight
    return matrix.reshape(groups, each * count, -1)


def _together(problem: Correlation) -> int:
    """Return how many output rows one product yields."""
    return min(TOGETHER, problem.size[0]) if problem.filters == problem.groups else 1


def _row_bytes(problem: Correlation) -> int:
    return 4 * problem.channels * problem.kernel_size[1] * problem.size[1]


def _copy_shifted(problem: Correlation, first: int, stop: int, copies: Tensor) -> None:
    """Write B for output rows first … stop−1 to the front of `copies`.

    Columns beyond the image are filled in here: a padded copy of the rows would cost as much as
    one of B's.
    """
    groups, _, depth, kw, columns = copies.shape
    stride, dilation = problem.window.stride[1], problem.window.dilation[1]
    band = problem.band(first, stop, sides=False)
    width, height = band.shape[2], band.shape[1]
    rows = band.reshape(groups, depth, height, width).swapaxes(1, 2)
    source = BORDERS[problem.padding_mode].source
    for tap in range(kw):
        target, shift = copies[:, :height, :, tap], tap * dilation - problem.pads[1]
        # Column X reads pixel X·stride + shift; these are the columns whose pixel there is.
        begin = min(max(-(shift // stride), 0), columns)
        end = min(max((width - 1 - shift) // stride + 1, begin), columns)
        start = begin * stride + shift
        target[..., begin:end] = rows[..., start : start + (end - begin - 1) * stride + 1 : stride]
        for beyond in (np.arange(begin), np.arange(end, columns)):
            if beyond.size and source is None:
                target[..., beyond] = problem.fill
            elif beyond.size and source is not None:
                target[..., beyond] = rows[..., source(beyond * stride + shift, width)]
