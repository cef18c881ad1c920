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
from weakref import WeakKeyDictionary

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cnnviz.core.border import BORDERS
from cnnviz.core.engine.bands import SMALL_PRODUCT
from cnnviz.core.engine.plan import MAC, Algorithm
from cnnviz.core.engine.planes import Matrix, mixed, remembered
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.options import Padding
from cnnviz.core.threads import share, that_fit
from cnnviz.core.types import Tensor

DOWN, ALONG = 8, 16  # values one band matrix yields, down the columns and along the rows
BAND_BYTES = 2 << 20  # of what lies between the two directions
FEWEST_BANDS = 4  # of small images: there is something to share
WORKER_BYTES = 24 << 20  # a thread's padded rows and buffers


def _supports(problem: Correlation) -> bool:
    """Tell whether the weights are few columns times rows, and a band fits in memory."""
    if max(problem.kernel_size) == 1 or _worker_bytes(problem) > WORKER_BYTES:
        return False
    return _filters(problem) is not None


def _work(problem: Correlation) -> float:
    """Count multiply-adds (the band matrices' zeros too), values written between, and bands."""
    (rows, columns), width = problem.size, _between_width(problem)
    macs = width * _taken(problem, 0, DOWN) + columns * _taken(problem, 1, ALONG)
    terms = sum(len(downs) for filters in _filters(problem) or [] for _, downs, _ in filters)
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
    worker = partial(_Worker, problem, _filters(problem) or [], output)
    share(items, worker, that_fit(threads, _worker_bytes(problem)))


# --- work


class _Worker:
    """One thread's: the buffers between the two directions."""

    def __init__(self, problem: Correlation, filters: list[list[_Filter]], output: Tensor) -> None:
        self.problem, self.filters, self.output = problem, filters, output
        self.source, self.left = _without_sides(problem)
        rows = _band_rows(problem)
        # Columns that nothing is written to are padding with zeros, or lie beyond the padding.
        between = np.zeros((rows, _between_width(problem)), np.float32)
        self.buffers = (between, *np.empty((2, rows, problem.size[1]), np.float32))

    def __call__(self, item: tuple[int, int, int]) -> None:
        """Compute output rows first … stop−1 of the filters of a group."""
        (group, first, stop), problem = item, self.problem
        plane = self._plane(group, first, stop)
        between, total, term = (buffer[: stop - first] for buffer in self.buffers)
        for k, downs, alongs in self.filters[group]:
            for r, (down, along) in enumerate(zip(downs, alongs, strict=True)):
                _down(plane, down, problem.window.stride[0], between[:, self.left :])
                self._pad(between, plane.shape[1])
                _along(between, along, problem.window.stride[1], term if r else total)
                if r:
                    total += term
            # Straight into the output, `_along` would wait for memory at every few values.
            problem.finish(total[None], slice(k, k + 1))
            self.output[k, first:stop] = total

    def _plane(self, group: int, first: int, stop: int) -> Tensor:
        """Return the mixture of a group's padded input rows under output rows first … stop−1."""
        depth, planes = self.problem.depth, self.problem.planes
        rows = self.source.band(first, stop, slice(group * depth, (group + 1) * depth))
        if planes is not None and planes.mix is not None:
            rows = mixed(rows, planes.mix)
        # BLAS wants neighbours side by side.
        return rows[0] if rows.strides[2] == rows.itemsize else np.ascontiguousarray(rows[0])

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
    """Return a problem whose rows come without padding left and right, and the left padding.

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


# --- factors

MOST_TERMS = 3
ROUNDING = 4e-7  # relative; of weights and factors that are float32
CANCELLATION = 5  # how far the sizes of terms may exceed the weight they add up to, or the mean one
TINY = float(np.finfo(np.float32).tiny)


_Filter = tuple[int, Tensor, Tensor]  # its number, its terms' band matrices down and along
_known: WeakKeyDictionary[Correlation, list[list[_Filter]] | None] = WeakKeyDictionary()


def _filters(problem: Correlation) -> list[list[_Filter]] | None:
    """Factor the filters of each group, or return None if one has no factors; only once."""
    if problem not in _known:
        _known[problem] = _factored(problem)
    return _known[problem]


def _factored(problem: Correlation) -> list[list[_Filter]] | None:
    stride, dilation = problem.window.stride, problem.window.dilation
    groups: list[list[_Filter]] = [[] for _ in range(problem.groups)]
    if problem.planes is None:
        return None
    for k, kernel in enumerate(problem.planes.kernels):
        factors = factor(kernel)
        if factors is None:
            return None
        down, along = (
            _band_matrices(factors[axis], (DOWN, ALONG)[axis], stride[axis], dilation[axis])
            for axis in (0, 1)
        )
        along = np.ascontiguousarray(along.swapaxes(1, 2))
        groups[k * problem.groups // problem.filters].append((k, down, along))
    return groups


def _band_matrices(taps: Tensor, step: int, stride: int, dilation: int) -> Tensor:
    """Return (terms, step, taken): row y holds tap i in column y·stride + i·dilation."""
    terms, count = taps.shape
    bands = np.zeros((terms, step, (step - 1) * stride + (count - 1) * dilation + 1), np.float32)
    for row in range(step):
        bands[:, row, row * stride :][:, : (count - 1) * dilation + 1 : dilation] = taps
    return bands


@remembered
def factor(plane: Matrix) -> tuple[Tensor, Tensor] | None:
    """Write a kernel as a sum of a few columns times rows.

    Parameters
    ----------
    plane : array, (kh, kw)
        float32 values.

    Returns
    -------
    (downs, alongs) or None
        float32 arrays of shapes (terms, kh) and (terms, kw): plane[i, j] is
        Σ_r downs[r, i] · alongs[r, j] but for float32's rounding; exactly, if one column and one
        row of whole numbers will do. None if that takes too many terms, or ones that cancel.

    Examples
    --------
    >>> sobel = np.outer([1, 2, 1], [-1.0, 0, 1])
    >>> [part.tolist() for part in factor(sobel)]
    [[[1.0, 2.0, 1.0]], [[-1.0, 0.0, 1.0]]]
    """
    worthwhile = max(1, (plane.size - 1) // sum(plane.shape))
    for terms in range(1, 1 + min(MOST_TERMS, worthwhile)):
        downs, alongs = _one_term(plane) if terms == 1 else _by_svd(plane, terms)
        factors = downs.astype(np.float32), alongs.astype(np.float32)
        if _is_faithful(plane, *factors):
            return factors
    return None


def _is_faithful(plane: Matrix, downs: Tensor, alongs: Tensor) -> bool:
    """Tell whether factors give a kernel, without sums in which large terms cancel.

    The error of an output is bounded by what each weight's terms add up to in size; zeros must
    come from zeros, for what they meet must not be seen at all.
    """
    products = np.einsum("ri,rj->rij", downs, alongs, dtype=np.float64)
    sizes, magnitude = np.abs(products).sum(0), np.abs(plane)
    bound = CANCELLATION * np.maximum(magnitude, magnitude.mean()) * (plane != 0)
    return bool(
        (np.abs(products.sum(0) - plane) <= ROUNDING * sizes + TINY).all()
        and (sizes <= bound + TINY).all()
    )


def _one_term(plane: Matrix) -> tuple[Matrix, Matrix]:
    """Find the column and the row of a plane of rank 1; whole numbers if it is made of them."""
    row, column = np.unravel_index(np.abs(plane).argmax(), plane.shape)
    strongest = plane[row, column]
    if not strongest:
        return np.zeros((1, len(plane))), np.zeros((1, plane.shape[1]))
    along = plane[row]
    if (plane == np.rint(plane)).all() and abs(strongest) < 1 << 24:
        along = along / np.gcd.reduce(along.astype(np.int64))
        along *= np.sign(along[np.flatnonzero(along)[-1]])
        down = plane[:, column] / along[column]
        return down[None], along[None]
    # Each tap is the mean of its own row (column), so that small ones are as precise as large.
    down = plane @ along
    along = down @ plane / np.vdot(down, down)
    balance = np.sqrt(np.abs(along).max() / np.abs(down).max())
    return down[None] * balance, along[None] / balance


def _by_svd(plane: Matrix, terms: int) -> tuple[Matrix, Matrix]:
    left, strengths, right = np.linalg.svd(plane, full_matrices=False)
    roots = np.sqrt(strengths[:terms])
    return (left[:, :terms] * roots).T, right[:terms] * roots[:, None]


SEPARABLE = Algorithm(
    "separable",
    "planes that are few columns times rows, one direction after the other",
    _supports,
    _work,
    _run,
    error=2e-6,
)
