"""Numbers to pixels: a colour for every value of a feature map.

A picture tells the truth: signed values are blue below 0, near-white at 0 and red above it;
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
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.scale import Numbers, Scale, all_finite, bands

Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]

NAN_COLOUR: Colour = (255, 0, 255)
POSITIVE_INFINITY_COLOUR: Colour = (0, 255, 0)
NEGATIVE_INFINITY_COLOUR: Colour = (0, 255, 255)

# An indexed picture has 256 colours. Three are kept for NaN, +inf and -inf; the other 253 are an
# odd number, so that a diverging map has one in the very middle.
LEVELS = 253
_NAN, _POSITIVE_INFINITY, _NEGATIVE_INFINITY = 253, 254, 255


def draw_map(plane: Numbers, scale: Scale) -> Image.Image:
    """Draw one map, one pixel a value and no text.

    In grey the pixel is round((value - low) / (high - low) * 255) in a grey ("L") picture;
    in every other map, or with NaN or an infinity, the picture is indexed ("P"). Values outside
    the scale (see `count_outside`) get the colour of the nearer end.

    >>> draw_map(np.float32([[0, 1], [2, 4]]), Scale(0, 4, "gray")).tobytes().hex()
    '004080ff'
    """
    indices, palette = _indexed(plane, scale)
    image = Image.fromarray(indices)
    if palette is not None:
        image.putpalette(palette.tobytes())
    return image


def draw_colour(planes: Numbers, scale: Scale) -> Image.Image:
    """Draw three maps (3, H, W) as the red, green and blue of one picture, low..high as 0..255.

    A pixel with a NaN (or, failing that, an infinity) in any of the three has its colour.
    """
    grey = replace(scale, colormap="gray")
    pixels = np.stack([_quantise(plane, grey, 256) for plane in planes], axis=2)
    if not all_finite(planes):
        pixels[np.isneginf(planes).any(axis=0)] = NEGATIVE_INFINITY_COLOUR
        pixels[np.isposinf(planes).any(axis=0)] = POSITIVE_INFINITY_COLOUR
        pixels[np.isnan(planes).any(axis=0)] = NAN_COLOUR
    return Image.fromarray(pixels)


def _indexed(plane: Numbers, scale: Scale) -> tuple[Bytes, Bytes | None]:
    """Return an index for every value, and the palette; None if the indices are the greys."""
    if scale.colormap == "gray" and all_finite(plane):
        return _quantise(plane, scale, 256), None
    return _quantise(plane, scale, LEVELS), _palette(scale.colormap)


@lru_cache
def _palette(colormap: str) -> Bytes:
    colours = COLORMAPS[colormap].colours(LEVELS)
    reserved = [NAN_COLOUR, POSITIVE_INFINITY_COLOUR, NEGATIVE_INFINITY_COLOUR]
    palette = np.concatenate([colours, np.array(reserved, np.uint8)])
    palette.flags.writeable = False
    return palette


def rgb(plane: Numbers, scale: Scale) -> Bytes:
    """Return the colours of a plane, (H, W, 3)."""
    indices, palette = _indexed(plane, scale)
    return np.repeat(indices[..., None], 3, axis=2) if palette is None else palette[indices]


def _quantise(plane: Numbers, scale: Scale, levels: int) -> Bytes:
    """Return the level of every value, in float64 but never of the whole plane at once."""
    parts = [_quantise_band(band, scale, levels) for band in bands(plane)]
    return np.concatenate(parts).reshape(plane.shape)


def _quantise_band(band: Numbers, scale: Scale, levels: int) -> Bytes:
    values = band.astype(np.float64)
    finite = np.isfinite(values)
    np.clip(values, scale.low, scale.high, out=values)
    values[np.isnan(values)] = scale.low
    if scale.diverging:
        middle = (levels - 1) // 2
        values /= scale.reach
        values *= middle
        np.rint(values, out=values)  # rounds halves to even, so -v mirrors v
        values += middle
    else:
        low, span = scale.low, scale.high - scale.low
        if math.isinf(span):  # ends near ±1.8e308
            low, span = low / 2, scale.high / 2 - low / 2
            values /= 2
        values -= low
        values /= span
        values *= levels - 1
        np.rint(values, out=values)
    indices = values.astype(np.uint8)
    if levels == LEVELS and not finite.all():
        indices[np.isnan(band)] = _NAN
        indices[np.isposinf(band)] = _POSITIVE_INFINITY
        indices[np.isneginf(band)] = _NEGATIVE_INFINITY
    return indices


def block_means(plane: Numbers, down: tuple[int, int]) -> Numbers:
    """Average blocks of (rows, columns) values; blocks at the far edges may be smaller."""
    if down == (1, 1):
        return plane
    starts = [np.arange(0, size, step) for size, step in zip(plane.shape, down, strict=True)]
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and is drawn so
        sums = np.add.reduceat(plane, starts[0], axis=0, dtype=np.float64)
        sums = np.add.reduceat(sums, starts[1], axis=1)
    heights, widths = (
        np.diff(start, append=size) for start, size in zip(starts, plane.shape, strict=True)
    )
    return np.asarray(sums / np.outer(heights, widths))


def enlarge(pixels: Bytes, up: tuple[int, int]) -> Bytes:
    """Draw every pixel (rows, columns) pixels large."""
    return pixels.repeat(up[0], axis=0).repeat(up[1], axis=1)
