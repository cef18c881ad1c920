"""A heatmap on its picture: laid over it, alone, and beside the classes it tells apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from cnnviz.core.heatmap import Curve, Heatmap, stretched
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Pair
from cnnviz.view.chart import Line, draw_chart
from cnnviz.view.chart import Panel as Chart
from cnnviz.view.lettering import drawable
from cnnviz.view.maps import Bytes, Numbers, draw_map
from cnnviz.view.numbers import format_number
from cnnviz.view.robust import beyond_note, narrowed
from cnnviz.view.scale import Scale, choose_scale
from cnnviz.view.sheet import Bar, Panel, draw_panels
from cnnviz.view.vector import NEGATIVE, POSITIVE
from cnnviz.view.zoom import Zoom

SIDE = 384
"""Pixels that the longer side of a picture is drawn long, about."""

_COARSE = 1024  # cells of a map in which none is a speck
_STRONGEST = 0.85  # of a colour over the picture


class Overlay:
    """A heatmap over its picture: red where it speaks for the score, blue where against it.

    Parameters
    ----------
    found : Heatmap
    picture : Image
        The picture as the network saw it.
    """

    def __init__(self, found: Heatmap, picture: Image.Image) -> None:
        self.found, self.given = found, (picture.height, picture.width)
        longest = max(picture.size)
        cells = longest < SIDE // 4  # they are to be told apart
        times = SIDE // longest if cells else SIDE / longest
        width, height = (max(1, round(side * times)) for side in picture.size)
        fill = Image.Resampling.NEAREST if cells else Image.Resampling.LANCZOS
        self.picture = picture.convert("RGB").resize((width, height), fill)
        plane = found.joined
        low, high = finite_range(plane)
        whole = choose_scale(low, high, colormap="rdbu")
        within = (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
        self.scale, self.beyond = whole, 0.0
        if plane.size > _COARSE:
            (self.scale,), self.beyond = narrowed(plane[np.newaxis], [whole], within, (1, 1))
        self.plane = plane

    @property
    def size(self) -> Pair:
        """Rows and columns of the picture as it is drawn."""
        return (self.picture.height, self.picture.width)

    def draw(self) -> Bytes:
        """Return the gray picture with the map's colours over it, the stronger the larger."""
        gray = np.asarray(self.picture.convert("L").convert("RGB"), np.float32)
        plane = self.plane
        if self.found.patches is not None:
            plane = self.found.over(self.given)
        return _blended(gray, stretched(plane, self.size), self.scale)

    def alone(self) -> tuple[Bytes, Pair]:
        """Return the map's cells, coloured, and how many pixels high and wide each is drawn."""
        rows, columns = self.plane.shape
        up = (max(1, self.size[0] // rows), max(1, self.size[1] // columns))
        plane = self.plane if max(up) > 1 else stretched(self.plane, self.size)
        return np.asarray(draw_map(plane, self.scale).convert("RGB")), up

    def sheet(self, title: str, notes: Sequence[str], shares: Image.Image | None) -> Image.Image:
        """Draw the picture, the map alone and both together; below them the classes' `shares`."""
        whole = Zoom((1, 1), (1, 1))
        picture = Panel(np.asarray(self.picture), whole.up, "the picture")
        cells, up = self.alone()
        rows, columns = self.plane.shape
        alone = Panel(cells, up, f"the map, {rows} x {columns}", scale=self.scale)
        over = Panel(self.draw(), whole.up, "the map over the picture")
        panels = [[picture, alone, over]]
        if shares is not None:
            panels.append([Panel(np.asarray(shares.convert("RGB")), whole.up)])
        drawn = [drawable(note) for note in (*notes, *beyond_note(self.beyond, ""))]
        return draw_panels(panels, title, drawn).image

    def alone_over(self, title: str) -> Image.Image:
        """Draw the picture under the map, with its colour bar."""
        over = Panel(self.draw(), (1, 1))
        beyond = (self.beyond > 0, self.beyond > 0)
        return draw_panels([[over]], title, bars=[Bar.of(self.scale, beyond)]).image


def _blended(gray: Numbers, plane: Numbers, scale: Scale) -> Bytes:
    share = np.clip(np.abs(np.nan_to_num(plane)) / scale.reach, 0, 1)[..., np.newaxis] * _STRONGEST
    ends = np.array([POSITIVE, NEGATIVE], np.float32)
    colour = ends[(plane < 0).astype(np.intp)]
    return np.rint(gray * (1 - share) + colour * share).astype(np.uint8)


def draw_curves(deletion: Curve, insertion: Curve, title: str) -> Image.Image:
    """Draw how the value goes as pixels are covered, and uncovered, the map's largest first."""
    panels = []
    for name, curve in (("covered", deletion), ("uncovered", insertion)):
        percent = tuple(100 * share for share in curve.shares)
        lines = (Line("the map first", curve.scores, 0), Line("a random map", curve.random, 1))
        panels.append(Chart(f"pixels {name}", "% of the pixels", percent, lines))
    notes = [
        f"{way}: mean {format_number(curve.area(curve.scores))}, of a random map "
        f"{format_number(curve.area(curve.random))}"
        for way, curve in (("deletion", deletion), ("insertion", insertion))
    ]
    return draw_chart(panels, title=title, notes=notes)
