"""Weights as pictures: a kernel as large cells, a stage's filters on one sheet.

Filters are drawn in colour where they read three channels, else plane by plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Tensor
from cnnviz.view.grid import draw_grid
from cnnviz.view.maps import Numbers, draw_colour, draw_map
from cnnviz.view.numbers import format_cell, format_fraction, format_number
from cnnviz.view.scale import Scale, choose_scale, signed_scale
from cnnviz.view.sheet import FRAME, Bar, Census, Panel, draw_panels
from cnnviz.view.zoom import Zoom

MOST_PLANES = 4096  # in one picture: more could not be distinguished
MOST_ABREAST = 32  # channels of a filter that stand in a row of their own

_PRIMARIES = ("red", "green", "blue")


class Filters(NamedTuple):
    """What is drawn of a stage's weights, all on one scale.

    In colour a filter's three channels are its red, green and blue: 0 is the middle grey, the
    largest weight of the stage, of either sign, full light or none. Else every channel of every
    filter is a plane: red is positive, blue negative, 0 white.
    """

    planes: Numbers  # (N, 3, rows, columns) in colour, else (N, rows, columns)
    labels: list[str]
    scale: Scale
    depth: int  # channels of a filter

    @classmethod
    def of(cls, weight: Tensor) -> Filters:
        """Lay out the weights (filters, channels, rows, columns) of a stage."""
        count, depth, *size = weight.shape
        low, high = finite_range(weight)
        reach = max(abs(low or 0.0), abs(high or 0.0)) or 1.0
        if depth == 3:
            labels = [str(index) for index in range(count)]
            return cls(weight, labels, choose_scale(-reach, reach, colormap="gray"), depth)
        labels = [
            f"{index},{channel}" if depth > 1 else str(index)
            for index in range(count)
            for channel in range(depth)
        ]
        return cls(weight.reshape(-1, *size), labels, signed_scale(low, high), depth)

    @property
    def coloured(self) -> bool:
        """Whether they are drawn in colour."""
        return self.planes.ndim == 4

    @property
    def legend(self) -> str:
        """How to read the colours."""
        low, high = format_number(self.scale.low), format_number(self.scale.high)
        if self.coloured:
            return f"red, green and blue are the 3 channels: {low} dark, 0 half, {high} bright"
        planes = "; a plane is filter,channel" if self.depth > 1 else ""
        return f"red is positive, to {high}; blue negative, to {low}{planes}"

    def sheet(self, title: str) -> Image.Image:
        """Draw all of them, or as many as can be distinguished, on one sheet."""
        if len(self.planes) > MOST_PLANES:
            title += f", the first {MOST_PLANES:,} planes"
        return draw_grid(
            self.planes[:MOST_PLANES],
            [self.scale],
            title=title,
            labels=self.labels[:MOST_PLANES],
            nrow=self.depth if not self.coloured and 1 < self.depth <= MOST_ABREAST else None,
            noun="filter" if self.coloured else "plane",
            remark=self.legend,
        )

    def pictures(self, count: int, *, colours: bool = True) -> list[Image.Image]:
        """Draw the first ones, a pixel a weight; without `colours` from dark to bright."""
        if self.coloured:
            return [draw_colour(plane, self.scale) for plane in self.planes[:count]]
        scale = self.scale if colours else replace(self.scale, colormap="gray")
        return [draw_map(plane, scale) for plane in self.planes[:count]]


def draw_kernels(kernels: Mapping[str, NDArray[np.float64]], title: str) -> Image.Image:
    """Draw the weights of kernels, by their names, as large cells: blue is negative, red positive.

    All are on one scale. Numbers are written into the cells if they fit, as fractions where those
    are exact. A kernel (C, rows, columns) has a panel for each plane: red, green, blue if three.
    """
    planes: list[tuple[str, NDArray[np.float64]]] = []
    for name, weights in kernels.items():
        channels: Sequence[str] = [""]
        if weights.ndim == 3:
            numbered = [f"plane {channel}" for channel in range(len(weights))]
            channels = _PRIMARIES if len(weights) == 3 else numbered
        own = "" if len(kernels) == 1 else name
        heads = (", ".join(filter(None, (own, channel))) for channel in channels)
        planes += zip(heads, weights.reshape(-1, *weights.shape[-2:]), strict=True)
    census = Census.of(np.concatenate([plane.ravel() for _, plane in planes]))
    scale = signed_scale(census.low, census.high)
    room = 720 if len(planes) == 1 else 336 if len(planes) <= 4 else 216
    side = max(4, min(72, room // max(side for _, plane in planes for side in plane.shape)))
    zoom, rule = Zoom((1, 1), (side, side)), FRAME if side >= 24 else None
    panels = []
    for head, plane in planes:
        texts = [[format_fraction(value, format_cell) for value in row] for row in plane.tolist()]
        about = {"title": head, "least": 132} if len(planes) > 1 else {}
        panels.append(Panel.of(plane, scale, zoom, texts=texts, rule=rule, **about))
    abreast = next((count for count in (3, 4, 5) if len(panels) % count == 0), 4)
    rows = [panels[start : start + abreast] for start in range(0, len(panels), abreast)]
    span = census.span(format_fraction)
    note = f"{len(kernels)} kernels, all on one scale; weights {span}"
    if len(kernels) == 1:
        (weights,) = kernels.values()
        size = " x ".join(map(str, weights.shape))
        note = f"{size}, sum {format_fraction(_tidy_sum(weights))}; weights {span}"
    return draw_panels(rows, title, [note], [Bar.of(scale)], census.legend).image


def _tidy_sum(weights: NDArray[np.float64]) -> float:
    """Add exactly, and call 0 what is only the rounding of the weights."""
    try:
        total = math.fsum(weights.ravel().tolist())
    except (OverflowError, ValueError):  # infinities of both signs, or too large
        return math.nan
    if not math.isfinite(total):
        return total
    noise = 4e-16 * float(np.abs(weights).sum())
    return float(round(total)) if abs(total - round(total)) <= noise else total
