"""Flat passes: a kernel of few taps as additions of long shifted lines.

    S(y, X) = scale · Σⱼ b[j] · ( Σᵢ a[i] · x[y + i·d, X + j·d] )       a ⊗ b = the kernel / scale
            = scale · Σᵢⱼ w[i, j] · x[y + i·d, X + j·d]                 where that is cheaper

Additions run along whole bands of rows as one line (see `planes`), several times quicker than row
by row. At the end of a row a line runs into the next one: the few outputs of windows across the
left or right edge come out wrong, and are computed anew from those windows.

Taps of weight 0 are left out, and with them a NaN beneath: the input is watched for it instead.

`int16` does the same on integers of 16 bits, in half the time: over 8-bit samples, for kernels of
small whole numbers, Σ |w| · 255 ≤ 32,767.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import padded_band
from cnnviz.core.engine.plan import Algorithm
from cnnviz.core.engine.planes import Line, Planes, Recipe, mixed
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.engine.windows import weigh
from cnnviz.core.threads import Band, cut, share, that_fit
from cnnviz.core.types import Samples

BAND_BYTES = 1 << 21  # of a line: shorter ones make two threads slower than one
EDGE_BYTES = 4 << 20  # of the windows along an edge that are computed anew together
LARGEST = np.iinfo(np.int16).max // np.iinfo(np.uint8).max  # Σ |w| up to which sums of samples fit

DType = type[np.float32 | np.int16]


def _supports(problem: Correlation) -> bool:
    """One-plane kernels of few taps that move by one pixel over an image wider than they are."""
    extent, pads = problem.extent, problem.pads
    return (
        problem.window.stride == (1, 1)
        and problem.x.shape[2] >= 2 * extent[1]
        and max(pads[1], pads[3]) < extent[1]
        and problem.recipes is not None
    )


def _fits_int16(problem: Correlation) -> bool:
    """Return whether there are samples to add up, whole weights, and no sum that overflows."""
    return (
        isinstance(problem.x, Samples)
        and problem.x.unit == 1
        and problem.fill.is_integer()
        and 0 <= problem.fill <= np.iinfo(np.uint8).max
        and _supports(problem)
        and problem.planes is not None
        and problem.planes.mix is None
        and all(
            each.whole and each.scale.is_integer() and each.reach * max(each.scale, 1) <= LARGEST
            for each in problem.recipes or ()
        )
    )


def _work(problem: Correlation, dtype: DType = np.float32) -> float:
    """Count the values passed over, those copied, the bands' calls, and the windows mended."""
    rows, width = problem.size[0], problem.x.shape[2]
    passes = sum(each.passes for each in problem.recipes or ())
    mixes = 0 if problem.planes is None or problem.planes.mix is None else problem.channels
    mended = problem.size[1] - (width - problem.extent[1] + 1)
    bands = problem.filters * (4 * rows * width / BAND_BYTES + 1)
    mending = 1.05 * rows * mended * problem.channels * problem.taps + 38_000 * min(mended, 2)
    if dtype is np.int16:
        return 0.04 * rows * width * passes + 0.23 * problem.outputs + 32_000 * bands + mending
    values = rows * width * (0.06 * passes + 0.24 * mixes)
    return values + 0.11 * problem.outputs + 29_000 * bands + mending


def _run(
    problem: Correlation, output: NDArray[Any], threads: int, dtype: DType = np.float32
) -> None:
    """Fill `output` (O, rows, columns), a band of rows at a time, by lines of `dtype`."""
    planes, recipes = problem.planes, problem.recipes
    assert planes is not None  # noqa: S101 - `_supports` said so
    assert recipes is not None  # noqa: S101
    width, (rows, _) = problem.x.shape[2], problem.size
    each = problem.filters // problem.groups
    bands = cut(rows, width * np.dtype(dtype).itemsize, BAND_BYTES, threads)
    longest = (bands[0][1] + problem.extent[0]) * width

    def make_worker() -> Callable[[Band], None]:
        own, *spare = (np.empty(longest, dtype) for _ in range(4))

        def worker(band: Band) -> None:
            first, stop = band
            source, channel = _source(problem, planes, band, 0, own), 0
            for index, recipe in enumerate(recipes):
                target = output[index, first:stop]
                if not recipe.sums:
                    target[...] = 0
                    continue
                if planes.mix is None and index // each != channel:
                    channel = index // each
                    source = _source(problem, planes, band, channel, own)
                _pass_over(source, recipe, problem, target, spare)
            problem.finish(output[:, first:stop], confined=True)

        return worker

    lines = 4 if planes.mix is None else 5 + len(planes.mix)
    share(bands, make_worker, that_fit(threads, lines * longest * np.dtype(dtype).itemsize))
    _mend_edges(problem, output, threads)


def _pass_over(
    source: Line,
    recipe: Recipe,
    problem: Correlation,
    target: NDArray[Any],
    spare: Sequence[Line],
) -> None:
    """Write the sums over `source`, rows as one line, to `target` (rows, columns)."""
    rows, columns = target.shape
    width, wide, left = problem.x.shape[2], problem.extent[1], problem.pads[1]
    shifts = (problem.window.dilation[0] * width, problem.window.dilation[1])
    size = rows * width
    last = size - (wide - 1)  # windows that begin later reach beyond the line's end
    line, other, scratch = spare
    straight = columns == width and target.flags.c_contiguous and target.dtype == source.dtype
    *before, final = recipe.sums
    needed = last + sum(each.span(shifts) for each in recipe.sums)
    for taps in before:
        needed -= taps.span(shifts)  # what the sums that follow will read
        taps.over(source, shifts, line[:needed], scratch[:needed])
        source, line, other = line, other, line
    out = target.reshape(-1)[left : left + last] if straight else line[:last]
    final.over(source, shifts, out, scratch[:last])
    inside = width - wide + 1
    if not straight:
        target[:, left : left + inside] = line[:size].reshape(rows, width)[:, :inside]
    target[:, :left] = target[:, left + inside :] = 0  # until they are mended
    if recipe.scale != 1:
        target *= target.dtype.type(recipe.scale)


def _source(problem: Correlation, planes: Planes, band: Band, channel: int, own: Line) -> Line:
    """Return the rows under a band as one line: a view of the input, if it can be one, or `own`."""
    top, _, bottom, _ = problem.pads
    start, stop = band[0], band[1] - 1 + problem.extent[0]
    pads, mode, fill = (top, 0, bottom, 0), problem.padding_mode, problem.fill
    if planes.mix is None:
        x = problem.x[channel : channel + 1]
        rows = padded_band(x, pads, start, stop, mode, fill, dtype=own.dtype.type, memory=own)
    else:
        rows = mixed(padded_band(problem.x, pads, start, stop, mode, fill), planes.mix)
    rows = np.ascontiguousarray(rows)
    if rows.dtype == np.float32:
        problem.watch(rows)
    return rows.reshape(-1)


def _mend_edges(problem: Correlation, output: NDArray[Any], threads: int) -> None:
    """Compute the output columns next to the padding from their own windows."""
    left, (rows, columns) = problem.pads[1], problem.size
    right = left + problem.x.shape[2] - problem.extent[1] + 1
    edges = [(first, stop) for first, stop in ((0, left), (right, columns)) if first < stop]
    window_bytes = 4 * problem.channels * problem.taps * max(left, columns - right)
    bands = cut(rows, window_bytes, EDGE_BYTES)
    pieces = [(*band, *edge) for edge in edges for band in bands]

    def worker(piece: tuple[int, int, int, int]) -> None:
        first, stop, begin, end = piece
        patch = problem.band(first, stop, columns=(begin, end))
        target = output[:, first:stop, begin:end]
        weigh(problem, problem.window.views(patch), target)
        problem.finish(target, confined=True)

    share(pieces, lambda: worker, threads if len(pieces) > len(edges) else 1)


FLAT = Algorithm(
    "flat",
    "few taps of one plane at stride 1, as additions of long lines",
    _supports,
    _work,
    _run,
    error=2e-6,
)
INT16 = Algorithm(
    "int16",
    "small whole taps over 8-bit samples at stride 1, without rounding",
    _fits_int16,
    partial(_work, dtype=np.int16),
    partial(_run, dtype=np.int16),
    error=4e-7,
)
