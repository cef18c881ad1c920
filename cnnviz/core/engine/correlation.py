"""Cross-correlation by windows and one matrix product a band.

    #gijYXyx,gkij -> gkYX        (g group, i channel of the group, j·· window cell, k filter)

Every window of a band of output rows is copied into one column, and a single matrix product
weighs them all. Each output value is one dot product over its own window, so NaN and infinities
reach the outputs whose window covers them and no others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnviz.core.border import check_border, padded_band
from cnnviz.core.types import Tensor
from cnnviz.core.window import Window

BAND_BYTES = 8 << 20  # the columns of one band: large enough for BLAS, small enough to forget


def correlate(
    x: Tensor,
    weight: Tensor,
    window: Window,
    *,
    bias: Tensor | None = None,
    groups: int = 1,
    padding_mode: str = "zeros",
    pad_value: float = 0.0,
) -> Tensor:
    """Slide filters over maps: S(k, y, x) = Σ I(c, y·s + i·d, x·s + j·d) · W(k, c, i, j).

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    weight : Tensor
        (O, C / groups, kh, kw); not flipped.
    window : Window
        Its kernel size is (kh, kw).
    bias : Tensor, optional
        (O,), added to every value of its map.
    groups : int
        Filters of group g see only the channels of group g, as in PyTorch.
    padding_mode : str
        One of ``core.border.BORDERS``.
    pad_value : float
        The padding of mode ``constant``.

    Returns
    -------
    Tensor
        (O, rows, columns).

    Raises
    ------
    CnnvizError
        If the window does not fit, or a mirror needs more pixels than there are.
    """
    channels, height, width = x.shape
    filters, depth, kh, kw = weight.shape
    rows, columns = window.output_size((height, width))
    pads = window.pads((height, width))
    check_border(padding_mode, pads, (height, width))
    fill = pad_value if padding_mode == "constant" else 0.0

    taps = depth * kh * kw
    matrix = np.ascontiguousarray(weight, np.float32).reshape(groups, filters // groups, taps)
    output = np.empty((filters, rows, columns), np.float32)
    grouped = output.reshape(groups, filters // groups, rows, columns)
    window_bytes = channels * kh * kw * x.itemsize
    for first, stop in bands(rows, window_bytes * columns, BAND_BYTES):
        top = first * window.stride[0]
        bottom = (stop - 1) * window.stride[0] + window.extent[0]
        band = padded_band(x, pads, top, bottom, padding_mode, fill)
        every = window.views(band)
        # Almost always the whole width; large kernels on wide images go a piece of it at a time.
        for left, right in bands(columns, window_bytes * (stop - first), BAND_BYTES):
            piece = every[..., left:right]
            product = matrix @ piece.reshape(groups, taps, -1)
            if bias is not None:
                product += bias.reshape(groups, filters // groups, 1)
            grouped[:, :, first:stop, left:right] = product.reshape(
                *product.shape[:2], *piece.shape[-2:]
            )
    return output


def bands(rows: int, row_bytes: int, band_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut `rows` into (first, stop) bands of about `band_bytes`, one row at the least."""
    step = max(1, min(rows, band_bytes // max(row_bytes, 1)))
    for first in range(0, rows, step):
        yield first, min(first + step, rows)
