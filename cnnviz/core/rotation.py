"""Maps turned about their centre: bilinear, anticlockwise as they are looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.field import Indices
from cnnviz.core.types import Pair, Tensor

Read = Callable[[Tensor], NDArray[np.float32]]
"""What makes of a map (H, W) its values, (N,), at points between its pixels."""


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
    size = (x.shape[1], x.shape[2])
    read = turned_values(size, degrees, np.indices(size).reshape(2, -1))
    return np.stack([read(plane) for plane in x]).reshape(x.shape)


def turned_values(
    size: Pair, degrees: float, at: Indices, jumps: tuple[float, float] = (1.0, 1.0)
) -> Read:
    """Return what reads of a map (H, W) its values, (N,), where it is turned to.

    They are those of the turned map at the positions `at`, (2, N) rows and columns.

    With y down, turning by −θ finds where a turned pixel comes from:
    ``x' = x cos θ − y sin θ, y' = x sin θ + y cos θ``, both from the centre, in pixels of the
    picture, of which `jumps` lie between rows and between columns.
    """
    (y, x), (c, s) = at, (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    middle = [(length - 1) / 2 for length in size]
    y, x = (y - middle[0]) * jumps[0], (x - middle[1]) * jumps[1]
    lows, parts = [], []
    for axis, source in enumerate((x * s + y * c, x * c - y * s)):
        inside = np.clip(source / jumps[axis] + middle[axis], 0, size[axis] - 1)
        lows.append(np.minimum(inside.astype(np.intp), max(size[axis] - 2, 0)))
        parts.append(inside - lows[axis])
    first = lows[0] * size[1] + lows[1]
    ways = [size[1] if size[0] > 1 else 0, 1 if size[1] > 1 else 0]  # to the row and column after
    corners = []
    for down, right in product((0, 1), (0, 1)):
        weight = (parts[0] if down else 1 - parts[0]) * (parts[1] if right else 1 - parts[1])
        corners.append((first + down * ways[0] + right * ways[1], weight.astype(np.float32)))

    def read(plane: Tensor) -> NDArray[np.float32]:
        flat = np.ascontiguousarray(plane).reshape(-1)
        total = np.zeros(first.size, np.float32)
        with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
            for place, weight in corners:
                total += flat[place] * weight
        return total

    return read


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
