"""Cutting work into bands that fit the cache and keep every thread busy, and views of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Shape

LANES = 8
"""How many columns of a matrix product cost as much as one: the width of a vector register."""

SMALL_PRODUCT = 1_000_000
"""Multiply-adds up to which OpenBLAS (with AVX-512) multiplies without copying the factors."""

SHORT = 16
"""Terms of a sum up to which a matrix product waits for memory more than it multiplies."""

Band = tuple[int, int]
"""(first, stop) rows."""


def cut(
    rows: int, row_bytes: int, band_bytes: int, threads: int = 1, *, multiple: int = 1
) -> list[Band]:
    """Cut `rows` into bands of about `band_bytes`: one row at least, a band for every thread.

    All but the last have a multiple of `multiple` rows.

    >>> cut(10, 100, 400)
    [(0, 4), (4, 8), (8, 10)]
    >>> cut(10, 100, 4000, threads=2)
    [(0, 5), (5, 10)]
    """
    step = min(-(-rows // threads), band_bytes // max(row_bytes, 1))
    step = max(step // multiple, 1) * multiple
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]


def split(total: int, most: int, least: int = 1) -> list[Band]:
    """Cut into `least` or more pieces of nearly equal size, none above `most`."""
    pieces = min(total, max(least, -(-total // most)))
    return [(total * i // pieces, total * (i + 1) // pieces) for i in range(pieces)]


def view(array: NDArray[Any], shape: Shape, steps: Shape, start: int = 0) -> NDArray[Any]:
    """Return a view of contiguous memory; steps and start in values."""
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array, size * start, [size * step for step in steps])


def lanes(columns: float) -> float:
    """Return how much longer a product takes because its columns do not fill the registers.

    >>> lanes(12)
    1.3333333333333333
    """
    return -(-columns // LANES) * LANES / columns
