"""Robust ranges: scales narrowed to what all but a few of the values drawn lie in.

One outlier, or the frame that zero padding makes, then no longer makes all else pale or black.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from cnnviz.core.types import Pair, Row
from cnnviz.view.maps import Numbers, count_outside
from cnnviz.view.scale import Scale

BEYOND = 0.005
"""The share of the values drawn that a robust range may leave out, at most."""

Inner = tuple[slice, slice]
"""Rows and columns of a map."""


def inner(row: Row) -> Inner:
    """Return the rows and columns of a stage's maps whose windows read no padding."""
    size = row.output_shape[1:] if len(row.output_shape) == 3 else (1, 1)
    pads, steps = row.effective_padding or (0, 0, 0, 0), row.effective_stride or (1, 1)
    rows, columns = (
        slice(ceil(max(before, 0) / step), length - ceil(max(after, 0) / step))
        for before, after, step, length in zip(pads[:2], pads[2:], steps, size, strict=True)
    )
    return rows, columns


def robust_scale(scale: Scale, values: Numbers) -> Scale:
    """Narrow a scale so that all but at most 0.5 % of the finite values lie on it.

    One outlier, or a frame of padding, then no longer makes all else pale or black. The scale
    stays as it is where its values do not allow a narrower one: where there are few of them, or
    where nearly all are 0.

    >>> import numpy as np
    >>> robust_scale(Scale(-9, 9, "rdbu"), np.r_[np.full(995, -2.0), np.full(5, 9.0)])
    Scale(low=-2.0, high=2.0, colormap='rdbu')
    >>> robust_scale(Scale(0, 9, "gray"), np.float32([1, 2, 9]))
    Scale(low=0, high=9, colormap='gray')
    """
    values = values[np.isfinite(values)]
    if scale.diverging:
        values = np.abs(values)
    out = int(BEYOND * values.size) // (1 if scale.diverging or scale.low >= 0 else 2)
    if not out:
        return scale
    last = values.size - 1 - out
    high = float(np.partition(values, last)[last])
    if scale.diverging:
        return Scale(-high, high, scale.colormap) if 0 < high < scale.reach else scale
    low = scale.low if scale.low >= 0 else float(np.partition(values, out)[out])
    low, high = max(low, scale.low), min(high, scale.high)
    return Scale(low, high, scale.colormap) if low < high else scale


def narrowed(
    values: Numbers, scales: Sequence[Scale], within: Inner, down: Pair
) -> tuple[list[Scale], float]:
    """Return robust scales of what is drawn, and which share of it lies beyond them.

    Parameters
    ----------
    values : (N, rows, columns)
        What is drawn: a number for each block of `down` values.
    scales : N
        Maps of one scale are measured together.
    within : (slice, slice)
        Rows and columns of the maps that are measured, if they are at least half of them.
    down : (int, int)
        Rows and columns of a block.
    """
    spans = (
        slice(-(-span.start // step), span.stop // step)
        for span, step in zip(within, down, strict=True)
    )
    part = values[(slice(None), *spans)]
    if 2 * part.size < values.size:
        part = values
    if len(set(scales)) == 1:
        narrow = [robust_scale(scales[0], part)] * len(scales)
    else:
        narrow = [robust_scale(scale, of) for scale, of in zip(scales, part, strict=True)]
    beyond = sum(
        count_outside(plane, scale)
        for plane, scale, full in zip(values, narrow, scales, strict=True)
        if scale != full
    )
    return narrow, beyond / values.size


def beyond_note(share: float, way_out: str = " (--range full: nothing does)") -> list[str]:
    """Say how much of what is drawn lies past the ends of the bar, if anything does."""
    if not share:
        return []
    text = f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
    return [f"{text} of what is drawn lies beyond the ends of the bar{way_out}"]
