"""Fits: what finds the thing a picture shows, and makes it as large as a network expects it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cnnviz.core.types import Tensor
from cnnviz.files.preparation.digit import Resample, fit_digit


class Fit(NamedTuple):
    """One way to fit.

    Attributes
    ----------
    summary : str
        What it does, for help and README.
    longest : int
        What the longer side of a larger picture is scaled down to first.
    shape : tuple
        The channels and size it makes of any picture.
    run : callable
        From a tensor (C, H, W), strokes brighter than their ground, and what resamples planes, to
        one of that shape.
    """

    summary: str
    longest: int
    shape: tuple[int, int, int]
    run: Callable[[Tensor, Resample], Tensor]


FITS = {
    "digit": Fit(
        "the strokes of a handwritten digit, freed from their paper, scaled to 20 pixels and "
        "centred by mass in 28x28, as MNIST's are",
        512,
        (1, 28, 28),
        fit_digit,
    )
}
"""Every fit by its name."""
