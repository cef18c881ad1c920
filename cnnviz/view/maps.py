"""Numbers to pixels: a colour for every value of a feature map.

A picture is true to its values: signed values are blue below 0, near-white at 0 and red above it;
values that are never negative are grey, and black is 0. A colour stands for one value all over
a picture that has one scale. What has no place on a scale has a colour of its own, one that
occurs in no colour map:

======  =======  =================
value   colour   red, green, blue
======  =======  =================
NaN     magenta  255, 0, 255
+inf    green    0, 255, 0
-inf    cyan     0, 255, 255
======  =======  =================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.statistics import BLOCK, blocks_of, over_blocks
from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.scale import Scale

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.floating[Any]]
Colour = tuple[int, int, int]

ODD_COLOURS: dict[str, Colour] = {
    "NaN": (255, 0, 255),
    "+inf": (0, 255, 0),
    "-inf": (0, 255, 255),
}
"""The colours of what has no place on a scale."""

# An indexed picture has 256 colours. Three are kept for NaN, +inf and -inf; the other 253 are an
# odd number, so that a diverging map has one in the very middle.
LEVELS = 253
_NAN, _POSITIVE_INFINITY, _NEGATIVE_INFINITY = 253, 254, 255


def draw_map(plane: Numbers, scale: Scale, *, within: bool = False) -> Image.Image:
    """Draw one map, one pixel a value and no text.

    In grey the pixel is round((value - low) / (high - low) * 255) in a grey ("L") picture;
    in every other map, or with NaN or an infinity, the picture is indexed ("P"). Values outside
    the scale (see `count_outside`) get the colour of the nearer end. With `within` all values are
    finite and on the scale (see `Scale.covers`), and are not looked at again.

    >>> draw_map(np.float32([[0, 1], [2, 4]]), Scale(0, 4, "gray")).tobytes().hex()
    '004080ff'
    """
    indices, palette = indexed(plane, scale, within=within)
    image = Image.fromarray(indices)
    if palette is not None:
        image.putpalette(palette.tobytes())
    return image


def draw_colour(planes: Numbers, scale: Scale, *, within: bool = False) -> Image.Image:
    """Draw three maps (3, H, W) as the red, green and blue of one picture, low..high as 0..255.

    A pixel with a NaN (or, failing that, an infinity) in any of the three has its colour.
    For `within` see `draw_map`.
    """
    grey = replace(scale, colormap="gray")
    pixels = np.stack([_quantise(plane, grey, 256, within=within) for plane in planes], axis=2)
    if not (within or all_finite(planes)):
        pixels[np.isneginf(planes).any(axis=0)] = ODD_COLOURS["-inf"]
        pixels[np.isposinf(planes).any(axis=0)] = ODD_COLOURS["+inf"]
        pixels[np.isnan(planes).any(axis=0)] = ODD_COLOURS["NaN"]
    return Image.fromarray(pixels)


def indexed(plane: Numbers, scale: Scale, *, within: bool = False) -> tuple[Bytes, Bytes | None]:
    """Return an index for every value, and the palette; None if the indices are the greys."""
    if scale.colormap == "gray" and (within or all_finite(plane)):
        return _quantise(plane, scale, 256, within=within), None
    return _quantise(plane, scale, LEVELS, within=within), _palette(scale.colormap)


@lru_cache
def _palette(colormap: str) -> Bytes:
    colours = COLORMAPS[colormap].colours(LEVELS)
    palette = np.concatenate([colours, np.array([*ODD_COLOURS.values()], np.uint8)])
    palette.flags.writeable = False
    return palette


def rgb(plane: Numbers, scale: Scale) -> Bytes:
    """Return the colours of a plane, (H, W, 3)."""
    return rgb_of(*indexed(plane, scale))


def rgb_of(indices: Bytes, palette: Bytes | None) -> Bytes:
    """Return the colours (..., 3) of what `indexed` returned."""
    return unpacked(indices) if palette is None else palette[indices]


def packed(colours: Bytes | list[Colour]) -> NDArray[np.uint32]:
    """Return colours (..., 3) as one number each: four bytes, of which the last is not used."""
    colours = np.asarray(colours, np.uint8)
    four = np.zeros((*colours.shape[:-1], 4), np.uint8)
    four[..., :3] = colours
    return four.view(np.uint32)[..., 0]


def unpacked(cells: NDArray[Any]) -> Bytes:
    """Return packed colours, or levels of grey, as (..., 3) again."""
    if cells.dtype == np.uint8:
        return np.repeat(cells[..., None], 3, axis=-1)
    return cells[..., None].view(np.uint8)[..., :3]


def _quantise(plane: Numbers, scale: Scale, levels: int, *, within: bool = False) -> Bytes:
    """Return the level of every value, a block at a time and each large plane on all threads."""
    values = np.ascontiguousarray(plane).reshape(-1)
    indices = np.empty(values.size, np.uint8)
    dtype, to_levels = _rule(values, scale, levels)

    def make_worker() -> Callable[[slice], None]:
        buffer = np.empty(min(BLOCK, values.size), dtype)

        def draw(block: slice) -> None:
            given = values[block]
            work = buffer[: given.size]
            finite = within or all_finite(given)
            if within:
                to_levels(given, work)
            else:
                np.clip(given, dtype(scale.low), dtype(scale.high), out=work)
                to_levels(work, work)
            indices[block] = work  # NaN has no level; its index comes after
            if levels == LEVELS and not finite:
                _mark(given, indices[block])

        return draw

    over_blocks(blocks_of(values.size), make_worker, values.size)
    return indices.reshape(plane.shape)


_LARGE = 1e30  # beyond it, or below its inverse, float32 has no room for the steps between


def _rule(
    values: Numbers, scale: Scale, levels: int
) -> tuple[type[np.float32] | type[np.float64], Callable[[Numbers, Numbers], None]]:
    """Return the precision in which levels are worked out, and what does it.

    In float32 a level is off by 1e-4 at most before it is rounded: only a value halfway between
    two levels may take the other one. Where that does not hold, because of the ends of the scale,
    and for float64 values it is float64.
    """
    start, span, top, shift, half = scale.low, scale.high - scale.low, levels - 1, 0, 1.0
    if scale.diverging:
        top = shift = (levels - 1) // 2
        start, span = 0.0, scale.reach
    elif math.isinf(span):  # ends near ±1.8e308
        start, span, half = scale.low / 2, scale.high / 2 - scale.low / 2, 0.5
    single = values.dtype == np.float32 and 1 / _LARGE < span < _LARGE and abs(start) < _LARGE
    if single and abs(start) > span:  # its rounding matters
        single = float(np.float32(start)) == start
    dtype = np.float32 if single else np.float64

    def to_levels(given: Numbers, out: Numbers) -> None:
        if half != 1:
            given = np.multiply(given, half, out=out)
        if start:
            given = np.subtract(given, dtype(start), out=out)
        np.divide(given, dtype(span), out=out)  # first, so that 0 is exactly halfway from -1 to 1
        np.multiply(out, dtype(top), out=out)
        np.rint(out, out=out)  # rounds halves to even, so -v mirrors v
        if shift:
            np.add(out, dtype(shift), out=out)

    return dtype, to_levels


def _mark(values: Numbers, indices: Bytes) -> None:
    """Give what is no finite number its index."""
    indices[np.isnan(values)] = _NAN
    indices[np.isposinf(values)] = _POSITIVE_INFINITY
    indices[np.isneginf(values)] = _NEGATIVE_INFINITY


def all_finite(values: Numbers) -> bool:
    """Say whether there is no NaN and no infinity, without a copy of the values."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))  # NaN wins both


def count_outside(values: Numbers, scale: Scale) -> int:
    """Count the finite values that lie outside a scale and are drawn in its end colours.

    >>> count_outside(np.float32([-1, 0, 0.1, np.inf]), Scale(0, 0.1, "gray"))
    1
    """
    with np.errstate(over="ignore"):
        low, high = np.float32(scale.low), np.float32(scale.high)  # so that 0.1 is not above 0.1
    planes = [values] if values.ndim < 3 else values  # one by one, for flags take room
    return sum(
        int(np.count_nonzero(np.isfinite(plane) & ((plane < low) | (plane > high))))
        for plane in planes
    )


def block_means(plane: Numbers, down: tuple[int, int]) -> Numbers:
    """Average blocks of (rows, columns) values; blocks at the far edges may be smaller."""
    if down == (1, 1):
        return plane
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and is drawn so
        sums = _sum_rows(_sum_rows(plane, down[0]).T, down[1]).T
    sizes = [
        np.minimum(step, size - np.arange(0, size, step))
        for size, step in zip(plane.shape, down, strict=True)
    ]
    return np.asarray(sums / np.outer(*sizes))


def block_extremes(plane: Numbers, down: tuple[int, int]) -> Numbers:
    """Keep of each block of (rows, columns) values the one of largest magnitude, with its sign.

    What means would cancel, an edge's light and dark side say, is seen. NaN wins.
    """
    if down == (1, 1):
        return plane
    high, low = (
        _join_rows(_join_rows(plane, down[0], join).T, down[1], join).T
        for join in (np.maximum, np.minimum)
    )
    return np.asarray(np.where(high >= -low, high, low))


def _join_rows(plane: Numbers, step: int, join: np.ufunc) -> Numbers:
    """Join every `step` rows, as `_sum_rows` adds them."""
    joined = plane[::step].copy()
    for row in range(1, min(step, len(plane))):
        part = plane[row::step]
        join(joined[: len(part)], part, out=joined[: len(part)])
    return joined


def _sum_rows(plane: Numbers, step: int) -> Numbers:
    """Add up every `step` rows in float64.

    All first ones, then all second ones and so on: several times faster than `np.add.reduceat`,
    which adds short runs.
    """
    sums = plane[::step].astype(np.float64)
    for row in range(1, min(step, len(plane))):
        part = plane[row::step]
        sums[: len(part)] += part
    return sums


def enlarge(pixels: Bytes, up: tuple[int, int]) -> Bytes:
    """Draw every pixel (rows, columns) pixels large."""
    return pixels.repeat(up[0], axis=0).repeat(up[1], axis=1)
