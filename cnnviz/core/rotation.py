"""Maps turned about their centre: bilinear, anticlockwise as they are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.field import Indices
from cnnviz.core.types import Pair, Tensor


def rotate(x: Tensor, degrees: float) -> Tensor:
    """Return maps turned anticlockwise about their centre, in their own size.

    Bilinear between the four pixels around each source point; what comes from beyond the edge
    repeats the edge's pixels. By 90° a square is turned as by ``np.rot90``.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    degrees : float

    Returns
    -------
    Tensor
        (C, H, W), float32.
    """
    every = np.indices(x.shape[1:]).reshape(2, -1)
    return np.stack(list(turned_values(x, degrees, every))).reshape(x.shape)


def turned_values(
    maps: Tensor, degrees: float, at: Indices, jumps: tuple[float, float] = (1.0, 1.0)
) -> Iterator[NDArray[np.float32]]:
    """Yield what each of (C, H, W) maps turned holds at positions, (2, N) rows and columns: (N,).

    With y down, turning by −θ finds where a turned pixel comes from:
    ``x' = x cos θ − y sin θ, y' = x sin θ + y cos θ``, both from the centre, in pixels of the
    picture, of which `jumps` lie between rows and between columns.
    """
    size = maps.shape[1:]
    centre = [(length - 1) / 2 for length in size]
    y, x = ((at[axis] - centre[axis]) * jumps[axis] for axis in (0, 1))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    sources = ((x * s + y * c) / jumps[0], (x * c - y * s) / jumps[1])
    inside = [np.clip(sources[axis] + centre[axis], 0, size[axis] - 1) for axis in (0, 1)]
    top, left = (
        np.minimum(place.astype(np.intp), max(length - 2, 0))
        for place, length in zip(inside, size, strict=True)
    )
    down, right = inside[0] - top, inside[1] - left
    below, beside = size[1] if size[0] > 1 else 0, 1 if size[1] > 1 else 0
    first = top * size[1] + left
    corners = [
        (first, (1 - down) * (1 - right)),
        (first + beside, (1 - down) * right),
        (first + below, down * (1 - right)),
        (first + below + beside, down * right),
    ]
    corners = [(place, weight.astype(np.float32)) for place, weight in corners]
    for plane in maps:
        flat = np.ascontiguousarray(plane).reshape(-1)
        total = np.zeros(first.size, np.float32)
        with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
            for place, weight in corners:
                total += flat[place] * weight
        yield total


def disc(size: Pair, jumps: tuple[float, float] = (1.0, 1.0)) -> Indices:
    """Return the positions, (2, N) rows and columns, in the disc inscribed in a map.

    They stay on it however it is turned. `jumps` are the distances of its rows and of its columns
    on the picture.

    >>> disc((3, 3)).shape, disc((4, 4)).shape, disc((3, 1)).tolist()
    ((2, 9), (2, 12), [[1], [0]])
    """
    rows, columns = (
        (np.arange(length) - (length - 1) / 2) * jump
        for length, jump in zip(size, jumps, strict=True)
    )
    radius = min(length / 2 * jump for length, jump in zip(size, jumps, strict=True))
    inside = rows[:, None] ** 2 + columns**2 <= radius**2 * (1 + 1e-12)
    return np.stack(np.nonzero(inside))
