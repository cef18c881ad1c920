"""Pooling in two passes: first down each window's rows, then along its columns.

    #cYjx  = ⊕_i x[c, Y·s + i·d, x],   cYX = ⊕_j of that[c, Y, X·s + j·d]

⊕ is maximum, minimum, sum or the sum of powers under their root, none of which cares in which
order a window's cells meet. Sums are kept in float64, so that a large window loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import check_border, padded_band
from cnnviz.core.engine.correlation import bands
from cnnviz.core.types import Pair, Tensor
from cnnviz.core.window import Window

BAND_BYTES = 8 << 20

Values = NDArray[np.floating[Any]]
Counts = NDArray[np.intp] | int
Join = Callable[[Values, Values, float], Values]


@dataclass(frozen=True)
class PoolMode:
    """One way to make a window into a number: prepare its cells, join them, finish."""

    join: Join  # (joined so far, next cells, norm_type); may write into the first
    neutral: float  # what padding holds, so that it changes nothing
    dtype: type[np.floating[Any]]
    prepare: Callable[[Values], Values]
    finish: Callable[[Values, Counts], Values]  # (joined, cells counted)


REDUCTIONS: Mapping[str, np.ufunc] = {"max": np.maximum, "min": np.minimum, "avg": np.add}
"""The modes that pool whole maps and bins too, and what joins two cells of theirs."""


def _joining(mode: str) -> Join:
    ufunc = REDUCTIONS[mode]

    def join(one: Values, two: Values, _norm_type: float) -> Values:
        joined: Values = ufunc(one, two, out=one)
        return joined

    return join


def _join_norms(one: Values, two: Values, norm_type: float) -> Values:
    """Return (one^p + two^p)^(1/p), scaled by the larger so that no power overflows."""
    larger, smaller = np.maximum(one, two), np.minimum(one, two)
    share = np.zeros(larger.shape)
    np.divide(smaller, larger, out=share, where=(larger > 0) & (larger < np.inf))
    joined: Values = larger * (1 + share**norm_type) ** (1 / norm_type)
    return joined


def _keep(cells: Values) -> Values:
    return cells


def _done(joined: Values, _counted: Counts) -> Values:
    return joined


def _mean(total: Values, counted: Counts) -> Values:
    return total / counted


POOL_MODES: Mapping[str, PoolMode] = {
    "max": PoolMode(_joining("max"), -np.inf, np.float32, _keep, _done),
    "min": PoolMode(_joining("min"), np.inf, np.float32, _keep, _done),
    "avg": PoolMode(_joining("avg"), 0.0, np.float64, _keep, _mean),
    # A norm of norms is the norm, so it goes in two passes like the others.
    "lp": PoolMode(_join_norms, 0.0, np.float64, np.abs, _done),
}


def pool(
    x: Tensor,
    window: Window,
    mode: str,
    *,
    padding_mode: str = "zeros",
    pad_value: float = 0.0,
    count_include_pad: bool = False,
    norm_type: float = 2.0,
) -> Tensor:
    """Make each window of each map into one number.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    window : Window
        May use ceil mode; cells beyond the padding never count.
    mode : str
        ``max``, ``min``, ``avg`` or ``lp`` (the `norm_type`-th root of Σ|x|^norm_type).
    padding_mode : str
        ``zeros`` pads with cells that never win and, unless `count_include_pad`, never count;
        every other mode pads with values, which take part like pixels.
    count_include_pad : bool
        Whether zero padding counts in an average's divisor.

    Returns
    -------
    Tensor
        (C, rows, columns).

    Raises
    ------
    CnnvizError
        If the window does not fit, or some window lies on padding alone.
    """
    rule = POOL_MODES[mode]
    channels, height, width = x.shape
    size = (height, width)
    rows, columns = window.output_size(size)
    pads = window.pads(size)
    check_border(padding_mode, pads, size)
    if padding_mode == "zeros":
        window.require_pixels(size)
    fill = pad_value if padding_mode == "constant" else rule.neutral
    include_pad = count_include_pad or padding_mode != "zeros"
    down, along = window.counts(size, include_pad=include_pad)

    (kh, kw), (sh, sw), (dh, dw) = window.kernel_size, window.stride, window.dilation
    # Ceil mode's last windows may hang over the padded image, below and to the right.
    padded_width = pads[1] + width + pads[3]
    hangs = max((columns - 1) * sw + window.extent[1] - padded_width, 0)
    output = np.empty((channels, rows, columns), np.float32)
    row_bytes = channels * (padded_width + hangs) * sh * np.dtype(rule.dtype).itemsize
    for first, stop in bands(rows, row_bytes, BAND_BYTES):
        top, bottom = first * sh, (stop - 1) * sh + window.extent[0]
        band = padded_band(
            x, pads, top, bottom, padding_mode, fill, beyond=rule.neutral, hangs=hangs
        )
        cells = rule.prepare(band)
        tall = _combine(rule, cells, 1, (kh, sh, dh), stop - first, norm_type)
        wide = _combine(rule, tall, 2, (kw, sw, dw), columns, norm_type)
        output[:, first:stop] = rule.finish(wide, down[first:stop, None] * along[None, :])
    return output


def _combine(
    rule: PoolMode,
    cells: Values,
    axis: int,
    window: tuple[int, int, int],
    count: int,
    norm_type: float,
) -> Values:
    """Join the cells of each of `count` windows (taps, stride, dilation) along `axis`."""
    taps, stride, dilation = window

    def tap(index: int) -> Values:
        start = index * dilation
        along = slice(start, start + (count - 1) * stride + 1, stride)
        return cells[:, along] if axis == 1 else cells[:, :, along]

    combined: Values = tap(0).astype(rule.dtype)
    for index in range(1, taps):
        combined = rule.join(combined, tap(index), norm_type)
    return combined


def global_pool(x: Tensor, mode: str) -> Tensor:
    """Make each whole map into one number: (C, H, W) -> (C, 1, 1)."""
    rule, ufunc = POOL_MODES[mode], REDUCTIONS[mode]
    best = ufunc.reduce(x, axis=(1, 2), keepdims=True, dtype=rule.dtype)
    return rule.finish(best, x[0].size).astype(np.float32)


def adaptive_bins(length: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each of `count` bins of an axis starts and stops, as PyTorch cuts them.

    Bin i spans ⌊i·L / count⌋ … ⌈(i+1)·L / count⌉; bins overlap where count does not divide L.
    """
    index = np.arange(count)
    return index * length // count, -(-(index + 1) * length // count)


def adaptive_pool(x: Tensor, output_size: Pair, mode: str) -> Tensor:
    """Pool to a fixed size: (C, H, W) -> (C, rows, columns), bins as in `adaptive_bins`."""
    rule, ufunc = POOL_MODES[mode], REDUCTIONS[mode]
    _, height, width = x.shape
    row_bins, column_bins = (
        adaptive_bins(height, output_size[0]),
        adaptive_bins(width, output_size[1]),
    )
    tall = np.empty((x.shape[0], output_size[0], width), rule.dtype)
    for i, (start, stop) in enumerate(zip(*row_bins, strict=True)):
        ufunc.reduce(x[:, start:stop], axis=1, dtype=rule.dtype, out=tall[:, i])
    output = np.empty((x.shape[0], *output_size), np.float32)
    rows = row_bins[1] - row_bins[0]
    for j, (start, stop) in enumerate(zip(*column_bins, strict=True)):
        column = ufunc.reduce(tall[:, :, start:stop], axis=2)
        output[:, :, j] = rule.finish(column, rows * (stop - start))
    return output
