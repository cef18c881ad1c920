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

_ROUNDS = 15
_SMALL = 128  # pixels of the longer side that tell which is lighter, ink or paper
_GRAIN = 85  # of them to each blur that frees strokes from noise
_SHADE = 0.1  # of full light at least is what ink is measured by
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
    """Return whether narrow dark things stand out more than narrow light ones, over all channels.

    Of a picture without either kind the other is looked at: what is left are strokes, while a
    shadow's edge, or a table beside the paper, is as wide as the rest.
    """
    plane = to_unit(values)
    step = max(1, max(plane.shape) // _SMALL)
    rows, columns = (side // step for side in plane.shape)
    if rows and columns:
        cells = plane[: rows * step, : columns * step].reshape(rows, step, columns, step)
        plane = cells.mean((1, 3))
    lit, unlit = without_narrow(plane), -without_narrow(-plane)
    dark, light = -without_narrow(-lit) - lit, unlit - without_narrow(unlit)
    return bool(dark.max() > light.max())


def without_narrow(plane: Plane) -> Plane:
    """Return a plane without what is bright and narrower than a quarter of its longer side.

    A morphological opening by a square (Serra, "Image Analysis and Mathematical Morphology", 1982):
    it follows the edge of a shadow, which is wide on both its sides. Along the picture's edges what
    is brighter than both its ends is ink that touches them. Where pixels are few, soft edges make
    strokes wide: four more are allowed for them.
    """
    side = max(plane.shape) // 4 + 4
    framed = np.pad(plane, 1, "edge")
    for lines in (framed, framed.T):
        for line in (lines[0], lines[-1]):
            back = np.minimum.accumulate(line[::-1])[::-1]
            np.maximum(np.minimum.accumulate(line), back, out=line)
    paper = np.pad(framed, side - 2, "edge")
    for join in (np.minimum, np.maximum):
        paper = _joined(_joined(paper, side, join).T, side, join).T
    return paper


def _joined(plane: Plane, side: int, join: np.ufunc) -> Plane:
    """Join every `side` rows that follow one another, in steps that double."""
    span = 1
    while span < side:
        step = min(span, side - span)
        plane = join(plane[:-step], plane[step:])
        span += step
    return plane


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


def ink_of(plane: Plane) -> Plane:
    """Return how much of the light on the paper the strokes take; strokes are the brighter ones.

    Noise is blurred first by 3×3 means, one for every 85 pixels of the longer side: six of them are
    like a Gaussian of deviation 2. Pictures of a few pixels stay as they are.
    """
    for _ in range(max(plane.shape) // _GRAIN):
        plane = _spots(plane)
    paper = without_narrow(plane)
    return (plane - paper) / (1 + _SHADE - paper)


def threshold(ink: Plane) -> tuple[float, float]:
    """Return the value halfway between the means of what lies below and above it, and the lower.

    Ridler & Calvard, "Picture thresholding using an iterative selection method", 1978, beginning
    at half of the brightest spot. Unlike Otsu's, it does not mind that strokes are few.
    """
    level, before, ground = float(_spots(ink).max()) / 2, -1.0, 0.0
    for _ in range(_ROUNDS):
        above, below = ink[ink > level], ink[ink <= level]
        if level == before or not above.size:
            break
        ground = float(below.mean()) if below.size else 0.0
        level, before = (float(above.mean()) + ground) / 2, level
    return level, ground


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
    ink = ink_of(to_unit(tensor))
    level, ground = threshold(ink)
    if level <= 0 or not (ink > level).any():
        return field
    drawing = strokes(ink, level)
    ink = np.clip((ink - ground) / (np.median(ink[drawing]) - ground), 0, 1) * grown(drawing)
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
