"""Cutting rows into bands that fit the cache and keep every thread busy."""

from __future__ import annotations

LANES = 8
"""How many columns of a matrix product cost as much as one: the width of a vector register."""

SMALL_PRODUCT = 1_000_000
"""Multiply-adds up to which OpenBLAS (with AVX-512) multiplies without copying the factors."""

FEW_PIXELS = 512
"""Of a map: fewer are not shared among threads, whose products would be too narrow; filters are."""

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


def rounded_up(count: float, step: int) -> float:
    """Return the multiple of `step` that holds `count`.

    >>> rounded_up(9, 8)
    16
    """
    return -(-count // step) * step


def parts(total: int, count: int) -> list[slice]:
    """Cut `total` into `count` parts of nearly equal size, fewer if there is not enough.

    >>> parts(10, 3)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    count = min(count, total)
    return [slice(total * i // count, total * (i + 1) // count) for i in range(count)]
