"""How pictures are prepared for a network, beyond their size: planes, ink and paper, fits.

The words are here for all to read, without Pillow; `cnnviz.files.images` acts on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pair, Tensor

COLORS = {"gray": ("gray",), "rgb": ("red", "green", "blue"), "bgr": ("blue", "green", "red")}
"""The planes a picture is taken apart into."""

INVERSIONS = ("never", "always", "auto")

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""A part of a picture in its pixels: left, top, right, bottom."""
Resample = Callable[[Tensor, Pair], Tensor]
"""What resamples planes to a size: Pillow's work, which this file does without."""


# --- sizes: to lie within one, or to cover one and be cut --------------------------------------


def within(size: Pair, longest: int) -> Pair:
    """Return the size of the same proportions with `longest` as its longer side, at least 1.

    >>> within((300, 400), 20), within((1, 1000), 20)
    ((15, 20), (1, 20))
    """
    rows, columns = (max(1, round(side * longest / max(size))) for side in size)
    return rows, columns


def covering(size: Pair, target: Pair) -> Pair:
    """Return the smallest size of the same proportions that covers `target`.

    The other side is rounded down, as by torchvision's ``Resize`` of the shorter side.

    >>> covering((300, 451), (256, 256)), covering((10, 10), (20, 30))
    ((256, 384), (30, 30))
    """
    (rows, columns), (height, width) = size, target
    if height * columns >= width * rows:
        return height, columns * height // rows
    return rows * width // columns, width


def middle(size: Pair, covered: Pair, part: Pair) -> Box:
    """Return what ends up in the middle `part` once the picture is scaled to cover `covered`.

    Halves are rounded as by torchvision's ``CenterCrop``.

    >>> middle((100, 300), (10, 10), (10, 10))
    (100.0, 0.0, 200.0, 100.0)
    """
    spans = []
    for side, scaled, kept in zip(size, covering(size, covered), part, strict=True):
        start = round((scaled - kept) / 2)
        spans.append((start * side / scaled, min((start + kept) * side / scaled, side)))
    (top, bottom), (left, right) = spans
    return left, top, right, bottom


# --- ink and paper: which is lighter, what light fell on the paper, where strokes are -----------

_ALONG = 64  # the paper is measured at no more points a side
_ROUNDS = 15
_UNLIKELY = 0.02  # the weight of what is brighter than the paper supposed so far: it may be ink
_FARTHEST = (0.3, 0.2, 0.15, 0.1, 0.1, 0.1)  # what is still brighter by this much is ink
_LINKED = 0.05  # a piece with this share of the largest one's pixels belongs to the drawing
_WHOLE_SIDE = 0.9  # a piece along this share of a side is no drawing, but what the paper lies on


def inverted(values: NDArray[Any], how: str, white: float | None) -> NDArray[Any]:
    """Make dark strokes on a light ground light on dark, or the other way round.

    Parameters
    ----------
    values : NDArray
        (C, H, W).
    how : str
        ``never``, ``always``, or ``auto``: if `is_dark_on_light`.
    white : float, optional
        What becomes 0; where no value is white, the lightest and darkest change places.

    Returns
    -------
    NDArray
        ``white - values``, of the same type.
    """
    if how == "never" or (how == "auto" and not is_dark_on_light(values)):
        return values
    if white is None:
        finite = values[np.isfinite(values)].astype(np.float64)
        white = finite.min() + finite.max() if finite.size else 0.0
    with np.errstate(all="ignore"):  # NaN and infinities stay what they are
        return np.asarray(white - values, values.dtype)


def is_dark_on_light(values: NDArray[Any]) -> bool:
    """Return whether the darkest spot is further from the border's median than the lightest is.

    A spot is the mean of 3x3 pixels, over all channels; the border is a sixteenth of the shorter
    side wide. The border is taken for ground, and strokes for what differs most from it.
    """
    plane = to_unit(values)
    margin = max(1, min(plane.shape) // 16)
    inner = np.zeros(plane.shape, np.bool_)
    inner[margin:-margin, margin:-margin] = True
    ground = np.median(plane[~inner])
    spots = _spots(plane)
    return bool(ground - spots.min() > spots.max() - ground)


def to_unit(values: NDArray[Any]) -> Plane:
    """Return the mean of the channels, moved and scaled to 0..1; NaN and infinities become 0."""
    with np.errstate(all="ignore"):
        plane = values.mean(axis=0, dtype=np.float64)
    finite = np.isfinite(plane)
    if not finite.any():
        return np.zeros(plane.shape)
    low, high = plane[finite].min(), plane[finite].max()
    return np.where(finite, plane - low, 0.0) / (high - low or 1.0)


def _spots(plane: Plane) -> Plane:
    rows = np.pad(plane, 1, "edge")
    columns = rows[:-2] + rows[1:-1] + rows[2:]
    return (columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]) / 9


def without_paper(plane: Plane) -> Plane:
    """Subtract the light that falls unevenly on the ground, which is darker than the strokes.

    The ground is a surface of second degree in row and column. Asymmetric least squares (Eilers &
    Boelens, "Baseline correction with asymmetric least squares smoothing", 2005) find it roughly:
    what lies above the surface found so far hardly counts, for it may be a stroke. Then an
    asymmetric truncated quadratic cost (Mazet et al., "Background removal from spectra by designing
    and minimising a non-quadratic cost function", 2005) settles it: what is near or below counts
    fully, what is far above not at all. What is below the surface becomes 0.
    """
    rows, columns = (np.linspace(-1, 1, side) for side in plane.shape)
    steps = tuple(slice(None, None, -(-side // _ALONG)) for side in plane.shape)
    seen, terms = plane[steps], _terms(rows[steps[0]], columns[steps[1]])
    ground = np.zeros(len(terms))
    above = np.zeros(seen.shape)
    for _ in range(_ROUNDS):
        ground = _fitted(terms, seen, np.where(above > 0, _UNLIKELY, 1 - _UNLIKELY))
        above = seen - np.tensordot(ground, terms, 1)
    for farthest in _FARTHEST:
        ground = _fitted(terms, seen, np.where(above > farthest, 0.0, 1.0))
        above = seen - np.tensordot(ground, terms, 1)
    return np.clip(plane - np.tensordot(ground, _terms(rows, columns), 1), 0, None)


def _fitted(terms: Plane, seen: Plane, weights: Plane) -> Plane:
    """Return the factors of the terms by weighted least squares."""
    root = np.sqrt(weights)
    found = np.linalg.lstsq((terms * root).reshape(len(terms), -1).T, (seen * root).ravel())[0]
    return np.asarray(found, np.float64)


def _terms(rows: Plane, columns: Plane) -> Plane:
    """Return 1, y, x, y², yx, x² at every point, (6, rows, columns)."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([np.ones_like(y), y, x, y * y, y * x, x * x])


def threshold(ink: Plane) -> float:
    """Return the value halfway between paper, which is 0, and the mean of what lies above it.

    Ridler & Calvard, "Picture thresholding using an iterative selection method", 1978, beginning
    at half of the brightest spot. Unlike Otsu's, it does not mind that strokes are few.
    """
    level, before = float(_spots(ink).max()) / 2, -1.0
    for _ in range(_ROUNDS):
        above = ink[ink > level]
        if level == before or not above.size:
            break
        level, before = float(above.mean()) / 2, level
    return level


def strokes(ink: Plane, level: float) -> Mask:
    """Return where the drawing is: the pieces above `level`, without specks and dark surroundings.

    Pieces are pixels that touch, at corners too. Those much smaller than the largest are specks;
    one along a whole side of the picture is what the paper lies on, if others are left.
    """
    pieces = _pieces(ink > level)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    drawn = sizes.copy()
    for side in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        drawn[np.bincount(side, minlength=len(sizes)) >= _WHOLE_SIDE * len(side)] = 0
    if drawn.max() < _LINKED * sizes.max():
        drawn = sizes
    kept: Mask = drawn >= max(1, _LINKED * drawn.max())
    return kept[pieces]


def _pieces(mask: Mask) -> NDArray[np.intp]:
    """Return 0 outside a mask; within each piece of it the largest number of a pixel, from 1 on."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        # A label is the number of a pixel, and that pixel may have a larger label by now.
        roots = np.concatenate(([0], grown(labels).ravel() * mask.ravel()))
        spread = roots[roots[1:]].reshape(mask.shape)
        if np.array_equal(spread, labels):
            return labels
        labels = spread


def grown(plane: NDArray[Any]) -> Any:
    """Return the largest value of each 3x3 neighbourhood."""
    rows = np.pad(plane, 1, "edge")
    columns = np.maximum(np.maximum(rows[:-2], rows[1:-1]), rows[2:])
    return np.maximum(np.maximum(columns[:, :-2], columns[:, 1:-1]), columns[:, 2:])


# --- fits: find what a picture shows, and make it as large as a network expects it -------------

SIZE, LONGEST = 28, 20
_FAINTEST = 0.1  # of the ink: the soft edges of strokes end here


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
