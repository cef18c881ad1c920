"""What pooling makes of the cells of a window: the mode's four rules, ⊕ among them.

    #Y = finish(⊕_i prepare(x[i]))

⊕ does not care in which order cells meet, so windows may be joined row by row, in halves, in
pieces: whichever is fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Tensor

Values = NDArray[np.floating[Any]]
Counts = NDArray[np.intp]
Join = Callable[..., Values]
Runs = Sequence[tuple[slice, int]]
"""Rows whose windows count the same number of rows, and that number."""


class PoolMode(NamedTuple):
    """One way to make a window's cells into a number."""

    join: Join  # join(one, two, out=...): ⊕, value by value
    neutral: float  # what padding holds, so that it changes nothing
    repeats: bool = False  # a cell may be joined twice without harm
    exact: bool = False  # joins do not round
    in_double: bool = False  # cells need float64 from the start
    thrift: float = 1.0  # what part of the usual memory cells may take, since joins need more
    prepare: Callable[[Values], object] | None = None  # of cells, in place
    finish: Callable[[Values, Runs, Values, Tensor], object] | None = None
    # (joined, rows and columns counted, output, which may be `joined`)


def _mean(joined: Values, down: Runs, along: Values, out: Tensor) -> None:
    """Divide by the cells counted."""
    even = along.min() == along.max()
    for rows, count in down:
        cells = (
            joined.dtype.type(along[0] * count) if even else (along * count).astype(joined.dtype)
        )
        np.divide(joined[:, rows], cells, out=out[:, rows], casting="same_kind")


def _extreme(ufunc: np.ufunc, neutral: float) -> PoolMode:
    return PoolMode(ufunc, neutral, repeats=True, exact=True)


_MAX, _MIN = _extreme(np.maximum, -np.inf), _extreme(np.minimum, np.inf)
_AVERAGE = PoolMode(np.add, 0.0, finish=_mean)
_LARGEST_POWER = 6.0  # of any float32 whose power and its sums are still floats64, not 0 or ∞


def _magnitude(cells: Values) -> None:
    np.abs(cells, out=cells)


def _norm(norm_type: float) -> PoolMode:
    """Return the rules of the `norm_type`-norm."""
    if norm_type > _LARGEST_POWER:
        # A norm of norms is the norm.
        return PoolMode(
            _joining_norms(norm_type), 0.0, in_double=True, thrift=0.25, prepare=_magnitude
        )

    def power(cells: Values) -> None:
        _magnitude(cells)
        if norm_type != 1:
            np.power(cells, norm_type, out=cells)

    def root(joined: Values, _down: Runs, _along: Values, out: Tensor) -> None:
        np.copyto(out, joined if norm_type == 1 else joined ** (1 / norm_type), casting="same_kind")

    return PoolMode(np.add, 0.0, in_double=True, prepare=power, finish=root)


def _joining_norms(norm_type: float) -> Join:
    def join(one: Values, two: Values, out: Values) -> Values:
        """Return (one^p + two^p)^(1/p), scaled by the larger so that no power overflows."""
        larger, share = np.maximum(one, two), np.zeros(one.shape)
        np.divide(np.minimum(one, two), larger, out=share, where=(larger > 0) & (larger < np.inf))
        np.power(share, norm_type, out=share)
        share += 1
        np.power(share, 1 / norm_type, out=share)
        return np.multiply(larger, share, out=out)

    return join


POOL_MODES: Mapping[str, Callable[[float], PoolMode]] = {
    "max": lambda _: _MAX,
    "min": lambda _: _MIN,
    "avg": lambda _: _AVERAGE,
    "lp": _norm,
}
"""The rules of each mode, given the p of a norm."""

REDUCTIONS: Mapping[str, np.ufunc] = {"max": np.maximum, "min": np.minimum, "avg": np.add}
"""The modes that pool whole maps and bins too, and what joins their cells."""
