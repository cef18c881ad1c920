"""A handwritten digit, as MNIST shows it: 20 pixels long, centred by mass in 28x28."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnviz.core.types import Pair, Tensor
from cnnviz.files.preparation.ink import grown, strokes, threshold, to_unit, without_paper
from cnnviz.files.preparation.sizes import within

SIZE, LONGEST = 28, 20
_FAINTEST = 0.1  # of the ink: the soft edges of strokes end here


Resample = Callable[[Tensor, Pair], Tensor]
"""What resamples planes to a size: Pillow's work, which this room does without."""


def fit_digit(tensor: Tensor, resample: Resample) -> Tensor:
    """Find a digit, brighter than its paper, and lay it into 28x28 pixels of 0..1.

    LeCun, Cortes & Burges describe MNIST so: the digits were "size normalized to fit in a 20x20
    pixel box while preserving their aspect ratio", and centred "by computing the center of mass of
    the pixels, and translating the image so as to position this point at the center of the 28x28
    field".

    Parameters
    ----------
    tensor : Tensor
        (C, H, W); the scale of its values does not matter.
    resample : callable
        From planes and a size to planes of that size.

    Returns
    -------
    Tensor
        (1, 28, 28): paper 0, full ink 1; all 0 if there is nothing to be seen.
    """
    field = np.zeros((1, SIZE, SIZE), np.float32)
    ink = without_paper(to_unit(tensor))
    level = threshold(ink)
    if level <= 0 or not (ink > level).any():
        return field
    drawing = strokes(ink, level)
    ink = np.clip(ink / np.median(ink[drawing]), 0, 1) * grown(drawing)
    rows, columns = (np.flatnonzero((ink > _FAINTEST).any(axis)) for axis in (1, 0))
    box = ink[np.newaxis, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    digit = resample(box.astype(np.float32), within((box.shape[1], box.shape[2]), LONGEST))
    digit /= digit.max()  # strokes thinner than a pixel came out faint
    top, left = (
        min(max(round(SIZE / 2 - _centre(digit.sum((0, axis)))), 0), SIZE - length)
        for axis, length in zip((2, 1), digit.shape[1:], strict=True)
    )
    field[:, top : top + digit.shape[1], left : left + digit.shape[2]] = digit
    return field


def _centre(masses: Tensor) -> float:
    """Return the centre of masses along a line, in pixels."""
    return float(np.arange(len(masses)) @ masses / masses.sum())
