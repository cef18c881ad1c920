"""Scales: which values a picture distinguishes, from the lowest colour to the highest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cnnviz.errors import unknown
from cnnviz.view.colormaps import COLORMAPS

if TYPE_CHECKING:
    from cnnviz.core.types import Statistics, Tensor


@dataclass(frozen=True)
class Scale:
    """How values become colours: low..high over a colour map."""

    low: float
    high: float
    colormap: str  # a concrete name, never "auto"

    @property
    def diverging(self) -> bool:
        """Whether 0 has the neutral colour and equal steps from it are equally strong."""
        return COLORMAPS[self.colormap].diverging

    @property
    def reach(self) -> float:
        """The distance from 0 that has the strongest colour of a diverging map."""
        return max(abs(self.low), abs(self.high))

    def covers(self, facts: Statistics) -> bool:
        """Say whether all values of a stage are finite and none is outside."""
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
    """Choose the scale for values of a finite minimum and maximum.

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
    if COLORMAPS[colormap].diverging:
        reach = max(abs(low), abs(high)) or 1.0
        return Scale(-reach, reach, colormap)
    start = min(low, 0.0)
    end = high if high > start else start + abs(start or 1.0)  # constant: up to 0, or 0..1
    return Scale(start, end, colormap)


def signed_scale(low: float | None, high: float | None) -> Scale:
    """Return the scale of what always has a white 0: weights, products, differences.

    >>> signed_scale(0, 3)
    Scale(low=-3.0, high=3.0, colormap='rdbu')
    """
    return choose_scale(low, high, colormap="rdbu")


RANGES = {
    "robust": "what all but 0.5 % of the values drawn lie in",
    "full": "from the smallest value to the largest",
}
"""What grids and terminal drawings tell apart, by the word of ``--range``."""


# --- which values of a run share a scale -------------------------------------------------------


class Ends(NamedTuple):
    """The lowest and the highest finite value, None without any."""

    low: float | None = None
    high: float | None = None

    def widened(self, low: float | None, high: float | None) -> Ends:
        """Return the ends that also cover other ones."""
        lows = [value for value in (self.low, low) if value is not None]
        highs = [value for value in (self.high, high) if value is not None]
        return Ends(min(lows, default=None), max(highs, default=None))


@dataclass(frozen=True)
class Sharing:
    """What shares a scale: from a stage's maps, its own ends and those of the run, one or C."""

    summary: str
    ends: Callable[[Tensor, Ends, Ends], list[Ends]]
    whole_run: bool = False  # the run's ends are asked for: it is computed twice


def _of_each_map(maps: Tensor, _stage: Ends, _run: Ends) -> list[Ends]:
    from cnnviz.core.statistics import finite_range

    return [Ends(*finite_range(plane)) for plane in maps]


SCALES = {
    "unit": Sharing("each map", _of_each_map),
    "layer": Sharing("each stage", lambda _maps, stage, _run: [stage]),
    "global": Sharing("all", lambda _maps, _stage, run: [run], whole_run=True),
}
"""What may share a scale, by name."""
