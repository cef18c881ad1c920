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
    beyond: float = 0.0,
    hangs: int = 0,
    dtype: type[np.float32 | np.int16] = np.float32,
    memory: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return rows start … stop−1 of the padded tensor, without padding the rest.

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
    beyond : float
        The value past the padding, where windows of ceil mode reach.
    hangs : int
        How many columns of `beyond` follow on the right.
    dtype : type
        float32, or int16 for samples as they are stored, not divided; `fill` is then one too.
    memory : array, optional
        A vector of that type, long enough, to write into where something has to be added.

    Returns
    -------
    array
        (C, stop − start, left + W + right + hangs); a view of `x` where nothing had to be added.
    """
    channels, height, width = x.shape
    top, left, bottom, right = pads
    inside = top <= start and stop <= top + height and left == right == hangs == 0
    if inside and not isinstance(x, Samples):
        return x[:, start - top : stop - top]
    shape = (channels, stop - start, left + width + right + hangs)
    band = np.empty(shape, dtype) if memory is None else memory[: prod(shape)].reshape(shape)
    source = BORDERS[mode].source
    rows = np.arange(start - top, min(stop - top, height + bottom))
    padded = band[:, : rows.size, : left + width + right]
    band[:, rows.size :] = beyond
    band[:, :, left + width + right :] = beyond
    if source is None:
        # Padding is one number: the image's own rows stand together in the middle.
        first, last = (int(at) for at in np.searchsorted(rows, (0, height)))
        padded[:, :first] = padded[:, last:] = fill
        padded[:, :, :left] = padded[:, :, left + width :] = fill
        real = slice(int(rows[first]), int(rows[last - 1]) + 1) if first < last else slice(0)
        _put(padded[:, first:last, left : left + width], x, real)
    else:
        _put(padded[:, :, left : left + width], x, source(rows, height))
        for columns in (np.arange(-left, 0), np.arange(width, width + right)):
            padded[:, :, left + columns] = padded[:, :, left + source(columns, width)]
    return band


def padded_patch(
    x: Tensor | Samples,
    pads: Pads,
    rows: tuple[int, int],
    columns: tuple[int, int],
    mode: str = "zeros",
    fill: float = 0.0,
) -> Tensor:
    """Return some rows and columns (each first, stop) of the padded tensor, as float32.

    Coordinates are the padded image's: (0, 0) is its first padded pixel. For a few columns of
    many, where `padded_band` would copy all of them.
    """
    _, height, width = x.shape
    down, along = np.arange(*rows) - pads[0], np.arange(*columns) - pads[1]
    source = BORDERS[mode].source
    if source is not None:
        return _values(x, source(down, height), source(along, width))
    outside = ((down < 0) | (down >= height))[:, None] | ((along < 0) | (along >= width))
    patch = _values(x, np.clip(down, 0, height - 1), np.clip(along, 0, width - 1))
    patch[:, outside] = fill
    return patch


def _values(x: Tensor | Samples, rows: Index, columns: Index) -> Tensor:
    if isinstance(x, Samples):
        return Samples(x.values[:, rows[:, None], columns], x.unit).tensor()
    return x[:, rows[:, None], columns]


def _put(target: NDArray[Any], x: Tensor | Samples, rows: Index | slice) -> None:
    """Write some rows of `x`, as values into floats, as samples into integers."""
    if isinstance(x, Samples):
        target[...] = x.values[:, rows]
        if x.unit != 1 and target.dtype == np.float32:
            target /= np.float32(x.unit)
    else:
        target[...] = x[:, rows]


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
