"""What lies beyond an image's edge: one index rule per padding mode, read a band at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pads, Pair, Samples, Tensor
from cnnviz.errors import CnnvizError, unknown

Index = NDArray[np.intp]


class Border(NamedTuple):
    """A padding mode: which pixel stands at a coordinate outside an axis of some length."""

    name: str
    summary: str
    source: (
        Callable[[Index, int], Index] | None
    )  # (coordinates, length) -> pixels; None: a constant
    reach: Callable[[int], int | None]  # the largest padding an axis of this length allows


def _reflect(at: Index, length: int) -> Index:
    mirrored: Index = length - 1 - np.abs(length - 1 - np.abs(at))
    return mirrored


def _symmetric(at: Index, length: int) -> Index:
    mirrored = np.where(at < 0, -at - 1, at)
    return np.where(mirrored >= length, 2 * length - 1 - mirrored, mirrored)


BORDERS: Mapping[str, Border] = {
    border.name: border
    for border in (
        Border(
            "zeros", "0 (in pooling: cells that never win and never count)", None, lambda _: None
        ),
        Border("constant", "the number pad_value", None, lambda _: None),
        Border(
            "reflect", "mirrored, edge pixel not repeated: c b | a b c", _reflect, lambda n: n - 1
        ),
        Border("symmetric", "mirrored with the edge pixel: b a | a b c", _symmetric, lambda n: n),
        Border(
            "replicate",
            "the edge pixel again: a a | a b c",
            lambda at, length: np.clip(at, 0, length - 1),
            lambda _: None,
        ),
        Border(
            "circular",
            "the other side: b c | a b c",
            lambda at, length: at % length,
            lambda n: n,
        ),
    )
}


def check_border(mode: str, pads: Pads, size: Pair) -> None:
    """Raise CnnvizError when a mirror or wrap would reach past the image it copies from."""
    if mode not in BORDERS:
        raise unknown("padding mode", mode, list(BORDERS))
    for axis, word in ((0, "rows"), (1, "columns")):
        largest, reach = max(pads[axis], pads[axis + 2]), BORDERS[mode].reach(size[axis])
        if reach is not None and largest > reach:
            raise CnnvizError(
                f"{mode} padding of {largest} needs more than the {size[axis]} {word} there are",
                hint=f"it can pad {reach} at most here; replicate or zeros have no limit",
            )


NUMBER = -1
"""Where padding is a number, no pixel's copy."""

BEYOND = -2
"""Past the padding, where windows of ceil mode hang over: nothing is there."""


def sources(at: Index, length: int, pads: tuple[int, int], mode: str = "zeros") -> Index:
    """Return the pixel that stands at each coordinate of an axis, or NUMBER, or BEYOND.

    `pads` are those before and after the axis' `length` pixels; no coordinate lies before them.

    >>> sources(np.arange(-2, 7), 4, (2, 2), "reflect").tolist()
    [2, 1, 0, 1, 2, 3, 2, 1, -2]
    """
    border = BORDERS[mode].source
    inside = (at >= 0) & (at < length)
    found = np.where(inside, at, NUMBER)
    if border is not None:
        padded = ~inside & (at < length + pads[1])
        found[padded] = border(at[padded], length)
    found[at >= length + pads[1]] = BEYOND
    return found


def padded_band(
    x: Tensor | Samples,
    pads: Pads,
    start: int,
    stop: int,
    mode: str = "zeros",
    fill: float = 0.0,
    *,
    columns: Pair | None = None,
    beyond: float = 0.0,
    dtype: type[np.float32 | np.int16] = np.float32,
    memory: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return some rows and columns of the padded tensor, without padding the rest.

    Parameters
    ----------
    x : Tensor or Samples
        (C, H, W).
    pads : Pads
        Top, left, bottom, right.
    start, stop : int
        Rows of the padded image: 0 is its first padded row. Rows past its last hold `beyond`.
    mode : str
        One of BORDERS.
    fill : float
        The value of constant padding.
    columns : Pair, optional
        First and stop, likewise; without it every column of the padded image.
    beyond : float
        The value past the padding, where windows of ceil mode reach.
    dtype : type
        float32, or int16 for samples as they are stored, not divided; `fill` is then one too.
    memory : array, optional
        A vector of that type, long enough, to write into where something has to be added.

    Returns
    -------
    array
        (C, rows, columns); a view of `x` where nothing had to be added.
    """
    channels, *size = x.shape
    spans = ((start, stop), columns or (0, pads[1] + size[1] + pads[3]))
    # From here on coordinates are the image's own: padding before it is negative.
    (top, bottom), (left, right) = (
        (first - before, last - before) for (first, last), before in zip(spans, pads, strict=False)
    )
    inside = top >= 0 and left >= 0 and bottom <= size[0] and right <= size[1]
    if inside and not isinstance(x, Samples):
        return x[:, top:bottom, left:right]
    pixels: NDArray[Any] = x.values if isinstance(x, Samples) else x
    shape = (channels, bottom - top, right - left)
    band = np.empty(shape, dtype) if memory is None else memory[: prod(shape)].reshape(shape)
    high = max(min(bottom, size[0] + pads[2]) - top, 0)
    wide = max(min(right, size[1] + pads[3]) - left, 0)
    band[:, high:] = band[:, :, wide:] = beyond
    real = padded = band[:, :high, :wide]
    # The image's own rows and columns stand together in the middle.
    (above, below), (before, after) = (
        (min(max(-first, 0), count), min(max(length - first, 0), count))
        for first, count, length in ((top, high, size[0]), (left, wide, size[1]))
    )
    own = slice(left + before, left + after)
    source = BORDERS[mode].source
    if source is None:
        padded[:, :above] = padded[:, below:] = fill
        padded[:, :, :before] = padded[:, :, after:] = fill
        real = padded[:, above:below, before:after]
        real[...] = pixels[:, top + above : top + below, own]
    else:
        rows = source(np.arange(top, top + high), size[0])
        padded[:, :, before:after] = pixels[:, rows, own]
        for side in (slice(before), slice(after, wide)):
            at = source(np.arange(left, left + wide)[side], size[1])
            padded[:, :, side] = pixels[:, rows[:, None], at]
    if isinstance(x, Samples) and x.unit != 1 and dtype is np.float32:
        real /= np.float32(x.unit)
    return band


def fold(padded: Tensor, pads: Pads, size: Pair, mode: str = "zeros") -> Tensor:
    """Return the gradient of an image from that of the padded one: the transpose of padding.

    Parameters
    ----------
    padded : Tensor
        (C, rows, columns): at least as many as the padded image has; more are left out.
    pads : Pads
        Top, left, bottom, right.
    size : Pair
        The image's rows and columns.
    mode : str
        One of BORDERS. What is copied into the padding adds to the pixel it is copied from.
    """
    source = BORDERS[mode].source
    for axis in (0, 1):
        before, after, length = pads[axis], pads[axis + 2], size[axis]
        lines = np.moveaxis(padded, 1 + axis, 0)
        folded = lines[before : before + length]
        if source is not None and before + after:
            folded = folded.copy()
            for at in (*range(-before, 0), *range(length, length + after)):
                folded[source(np.array(at), length)] += lines[before + at]
        padded = np.moveaxis(folded, 0, 1 + axis)
    return np.ascontiguousarray(padded)
