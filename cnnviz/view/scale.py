"""Scales: which values a picture tells apart, from the lowest colour to the highest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Statistics
from cnnviz.errors import unknown
from cnnviz.view.colormaps import COLORMAPS

Numbers = NDArray[np.floating[Any]]

_BAND = 1 << 17  # values worked on at a time: float64 copies stay in the cache


@dataclass(frozen=True)
class Scale:
    """How values become colours: low..high over a colour map."""

    low: float
    high: float
    colormap: str  # a concrete name, never "auto"

    @property
    def diverging(self) -> bool:
        """Whether 0 has the neutral colour and equal steps from it are equally strong."""
        return self.colormap == "rdbu"

    @property
    def reach(self) -> float:
        """The distance from 0 that has the strongest colour of a diverging map."""
        return max(abs(self.low), abs(self.high))

    def covers(self, facts: Statistics) -> bool:
        """Tell whether all values of a stage are finite and none is outside."""
        return (
            not facts.nonfinite
            and facts.min is not None
            and facts.max is not None
            and self.low <= facts.min
            and facts.max <= self.high
        )


def choose_scale(
    low: float | None,
    high: float | None,
    *,
    colormap: str = "auto",
    value_range: tuple[float, float] | None = None,
) -> Scale:
    """Choose the scale for values whose finite minimum and maximum are known.

    Parameters
    ----------
    low, high : float or None
        The finite minimum and maximum of everything that shares the scale; None without any.
    colormap : str
        ``auto`` is ``rdbu`` when anything is negative, else ``gray``.
    value_range : (float, float), optional
        The ends, instead of those the values suggest; the caller has checked low < high.

    Notes
    -----
    ``rdbu`` reaches equally far below and above 0. The other maps begin at 0 (or at the minimum
    if that is negative) and end at the maximum. So a map of zeros is black, a constant
    positive map white and a constant negative one the deepest blue.

    With ``value_range`` the ends are those given, and 0 stays neutral in ``rdbu``: of two unequal
    ends the farther one has the strongest colour, and the nearer a paler one.

    >>> choose_scale(-1, 4)
    Scale(low=-4.0, high=4.0, colormap='rdbu')
    >>> choose_scale(2, 9)
    Scale(low=0.0, high=9.0, colormap='gray')
    >>> choose_scale(0, 0)
    Scale(low=0.0, high=1.0, colormap='gray')
    >>> choose_scale(-1, 4, colormap="viridis")
    Scale(low=-1.0, high=4.0, colormap='viridis')
    """
    if value_range is not None:
        low, high = value_range
    low, high = float(low or 0), float(high or 0)
    if colormap == "auto":
        colormap = "rdbu" if low < 0 else "gray"
    if colormap not in COLORMAPS:
        raise unknown("colour map", colormap, ["auto", *COLORMAPS])
    if value_range is not None:
        return Scale(low, high, colormap)
    if colormap == "rdbu":
        reach = max(abs(low), abs(high)) or 1.0
        return Scale(-reach, reach, colormap)
    start = min(low, 0.0)
    end = high if high > start else start + abs(start or 1.0)  # constant: up to 0, or 0..1
    return Scale(start, end, colormap)


def count_outside(tensor: Numbers, scale: Scale) -> int:
    """Count the finite values that lie outside a scale and are drawn in its end colours.

    >>> count_outside(np.float32([-1, 0, 0.1, np.inf]), Scale(0, 0.1, "gray"))
    1
    """
    with np.errstate(over="ignore"):
        low, high = np.float32(scale.low), np.float32(scale.high)  # so that 0.1 is not above 0.1
    return sum(
        int(np.count_nonzero(np.isfinite(band) & ((band < low) | (band > high))))
        for band in bands(tensor)
    )


def bands(values: Numbers) -> Iterator[Numbers]:
    """Yield all values, a limited number at a time, as flat arrays."""
    flat = np.ascontiguousarray(values).reshape(-1)
    for start in range(0, flat.size, _BAND):
        yield flat[start : start + _BAND]


def all_finite(values: Numbers) -> bool:
    """Tell whether there is no NaN and no infinity, without a copy of the values."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))  # NaN wins both
