"""Cross-correlation by kernels that are columns times rows, one direction after the other.

    weight[k, c, i, j] = mix[c] · Σ_r down[k, r, i] · along[k, r, j]        (r < 1, 2 or 3)
    between[r, y, x]   = Σ_i down[k, r, i] · Σ_c mix[c] · I(c, y·s + i·d, x)
    S(k, y, x)         = Σ_r Σ_j along[k, r, j] · between[r, y, x·s + j·d]

kh + kw multiplications a value instead of kh · kw. Each direction is a product with a band
matrix, which holds the same taps in every row, each time a stride further on:

    ⎡a b c · ·⎤         BLAS turns 5 rows of an image into 3 rows of output at once; its zeros
    ⎢· a b c ·⎥         cost less than anything NumPy could do tap by tap. Stride and dilation
    ⎣· · a b c⎦         only move the taps.

Channels that share a kernel up to a factor are mixed first. The zeros of a band matrix spread NaN
and infinities beyond their windows, as NaN: never into a finite value.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cnnviz.core.border import BORDERS
from cnnviz.core.engine.plan import MAC, SMALL_PRODUCT, Algorithm
from cnnviz.core.engine.planes import mixed
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.settings import Padding
from cnnviz.core.threads import share, that_fit
from cnnviz.core.types import Tensor

DOWN, ALONG = 8, 16  # values one band matrix yields, down the columns and along the rows
BAND_BYTES = 2 << 20  # of what lies between the two directions
FEWEST_BANDS = 4  # of small images: there is something to share
WORKER_BYTES = 24 << 20  # a thread's padded rows and buffers


def _supports(problem: Correlation) -> bool:
    """Return whether the weights are few columns times rows, and a band fits in memory."""
    if max(problem.kernel_size) == 1 or _worker_bytes(problem) > WORKER_BYTES:
        return False
    return problem.factors is not None


def _work(problem: Correlation) -> float:
    """Count multiply-adds (the band matrices' zeros too), values written between, and bands."""
    (rows, columns), width = problem.size, _between_width(problem)
    macs = width * _taken(problem, 0, DOWN) + columns * _taken(problem, 1, ALONG)
    terms = sum(len(downs) for downs, _ in problem.factors or ())
    mixes = 0 if problem.depth == 1 else problem.channels
    bands = -(-rows // _band_rows(problem))
    return (
        MAC * terms * rows * macs
        + 0.006 * terms * rows * (width + columns)
        + 0.2 * mixes * rows * width
        + 0.3 * problem.outputs
        + 12_000 * terms * bands
        + 11_000 * (bands * problem.groups + 1)
    )


def _run(problem: Correlation, output: Tensor, threads: int) -> None:
    """Write the correlation into `output`, (O, rows, columns)."""
    rows, step = problem.size[0], _band_rows(problem)
    items = [
        (group, first, min(first + step, rows))
        for first in range(0, rows, step)
        for group in range(problem.groups)
    ]
    stride, dilation = problem.window.stride, problem.window.dilation
    matrices = []
    for factors in problem.factors or ():
        down, along = (
            _band_matrices(factors[axis], (DOWN, ALONG)[axis], stride[axis], dilation[axis])
            for axis in (0, 1)
        )
        matrices.append((down, np.ascontiguousarray(along.swapaxes(1, 2))))
    worker = partial(_Worker, problem, matrices, output)
    share(items, worker, that_fit(threads, _worker_bytes(problem)))


# --- work


class _Worker:
    """One thread's: the buffers between the two directions."""

    def __init__(
        self, problem: Correlation, matrices: list[tuple[Tensor, Tensor]], output: Tensor
    ) -> None:
        self.problem, self.matrices, self.output = problem, matrices, output
        self.source, self.left = _without_sides(problem)
        rows = _band_rows(problem)
        # Columns that nothing is written to are padding with zeros, or lie beyond the padding.
        between = np.zeros((rows, _between_width(problem)), np.float32)
        self.buffers = (between, *np.empty((2, rows, problem.size[1]), np.float32))

    def __call__(self, item: tuple[int, int, int]) -> None:
        """Compute output rows first … stop−1 of the filters of a group."""
        (group, first, stop), problem = item, self.problem
        # The group's channels, mixed; BLAS wants neighbours side by side.
        depth, planes = problem.depth, problem.planes
        rows = self.source.band(first, stop, slice(group * depth, (group + 1) * depth))
        if planes is not None and planes.mix is not None:
            rows = mixed(rows, planes.mix)
        plane = rows[0] if rows.strides[2] == rows.itemsize else np.ascontiguousarray(rows[0])
        between, total, term = (buffer[: stop - first] for buffer in self.buffers)
        each = problem.filters // problem.groups
        for k in range(group * each, (group + 1) * each):
            for r, (down, along) in enumerate(zip(*self.matrices[k], strict=True)):
                _down(plane, down, problem.window.stride[0], between[:, self.left :])
                self._pad(between, plane.shape[1])
                _along(between, along, problem.window.stride[1], term if r else total)
                if r:
                    total += term
            # Straight into the output, `_along` would wait for memory at every few values.
            problem.finish(total[None], slice(k, k + 1))
            self.output[k, first:stop] = total

    def _pad(self, between: Tensor, width: int) -> None:
        """Fill in the columns beside the image: padding is the same before and after `_down`."""
        find = BORDERS[self.problem.padding_mode].source
        if find is not None:
            right = self.problem.padded_width - self.left - width
            for at in (np.arange(-self.left, 0), np.arange(width, width + right)):
                between[:, self.left + at] = between[:, self.left + find(at, width)]


def _down(plane: Tensor, band: Tensor, stride: int, into: Tensor) -> None:
    """Correlate down the columns: into[y, x] = Σ_i taps[i] · plane[y·stride + i, x]."""
    (step, taken), (rows, width) = band.shape, (len(into), plane.shape[1])
    whole, rest = divmod(rows, step)
    down, right = plane.strides
    # One call for all pieces: between calls, threads wait for each other.
    pieces = -(-width * band.size // SMALL_PRODUCT)
    across = width // pieces
    edge = pieces * across
    shape = (pieces, whole, taken, across)
    blocks = as_strided(plane, shape, (across * right, step * stride * down, down, right))
    done = into[: whole * step, :edge].reshape(whole, step, pieces, across)
    np.matmul(band, blocks, out=done.transpose(2, 0, 1, 3))
    if rest:
        tail = plane[whole * step * stride :, :edge]
        np.matmul(band[:rest, : len(tail)], tail, out=into[whole * step :, :edge])
    if edge < width:
        _down(plane[:, edge:], band, stride, into[:, edge:])


def _along(between: Tensor, band: Tensor, stride: int, into: Tensor) -> None:
    """Correlate along the rows: into[y, x] = Σ_j between[y, x·stride + j] · taps[j]."""
    (taken, step), (rows, columns) = band.shape, into.shape
    whole, rest = divmod(columns, step)
    down, right = between.strides
    if whole:
        blocks = as_strided(between, (whole, rows, taken), (step * stride * right, down, right))
        done = into[:, : whole * step].reshape(rows, whole, step)
        np.matmul(blocks, band, out=done.swapaxes(0, 1))
    if rest:
        first, taken = whole * step * stride, taken - (step - rest) * stride
        tail = between[:, first : first + taken]
        np.matmul(tail, band[:taken, :rest], out=into[:, whole * step :])


def _without_sides(problem: Correlation) -> tuple[Correlation, int]:
    """Return the problem without padding left and right, and how much there was on the left.

    What stands there is found by copying columns, or is 0, after the first direction too; so
    most bands need no padded copy. Only for a constant it would have to be computed.
    """
    top, left, bottom, _ = problem.pads
    if problem.fill != 0:
        return problem, 0
    padding = Padding("explicit", (top, 0, bottom, 0))
    return replace(problem, window=replace(problem.window, padding=padding)), left


# --- sizes


def _taken(problem: Correlation, axis: int, step: int) -> int:
    """Return how many values along an axis yield `step` outputs."""
    return (step - 1) * problem.window.stride[axis] + problem.window.extent[axis]


def _between_width(problem: Correlation) -> int:
    return max(problem.padded_width, _taken(problem, 1, problem.size[1]))


def _band_rows(problem: Correlation) -> int:
    """Return how many output rows are computed at a time: whole steps of the band matrix."""
    fits = BAND_BYTES // (4 * _between_width(problem))
    fits = min(fits, problem.size[0] // FEWEST_BANDS)
    return min(max(1, fits // DOWN) * DOWN, problem.size[0])


def _worker_bytes(problem: Correlation) -> int:
    rows = _band_rows(problem)
    padded = (problem.depth + 1) * _taken(problem, 0, rows)
    return 4 * _between_width(problem) * (2 * rows + padded)


def _band_matrices(taps: Tensor, step: int, stride: int, dilation: int) -> Tensor:
    """Return (terms, step, taken): row y holds tap i in column y·stride + i·dilation."""
    terms, count = taps.shape
    bands = np.zeros((terms, step, (step - 1) * stride + (count - 1) * dilation + 1), np.float32)
    for row in range(step):
        bands[:, row, row * stride :][:, : (count - 1) * dilation + 1 : dilation] = taps
    return bands


SEPARABLE = Algorithm(
    "separable",
    "planes that are few columns times rows, one direction after the other",
    _supports,
    _work,
    _run,
    error=2e-6,
)
