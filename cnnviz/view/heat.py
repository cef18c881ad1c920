"""A heatmap on its picture: laid over it, alone, and beside the classes it tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from cnnviz.core.heatmap import Curve, Heatmap, stretched
from cnnviz.core.node import INPUT
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Pair, Tensor
from cnnviz.view.chart import Line, draw_chart
from cnnviz.view.chart import Panel as Chart
from cnnviz.view.columns import finite
from cnnviz.view.lettering import drawable
from cnnviz.view.maps import Bytes, Numbers, block_extremes, draw_map
from cnnviz.view.numbers import format_number
from cnnviz.view.robust import beyond_note, narrowed
from cnnviz.view.scale import Scale, choose_scale
from cnnviz.view.sheet import Bar, Panel, draw_panels
from cnnviz.view.vector import NEGATIVE, POSITIVE
from cnnviz.view.zoom import Zoom

SIDE = 384
"""Pixels that the longer side of a picture is drawn long, about."""

_COARSE = 1024  # cells of a map in which none is a speck
_SMALL = 0.4  # of a side: what reads less is looked at closely
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
        self.plane, self.over, self.part = found.joined, found.joined, ""
        if found.patches is not None:
            self.over = found.over((picture.height, picture.width))
        elif found.stage == INPUT and (seen := _seen(self.plane)):
            self.plane = self.over = self.plane[seen]
            rows, columns = seen
            picture = picture.crop((columns.start, rows.start, columns.stop, rows.stop))
            self.part = (
                f", rows {rows.start} to {rows.stop - 1}, columns {columns.start} to "
                f"{columns.stop - 1}"
            )
        longest = max(picture.size)
        self.cells = longest < SIDE // 4  # they are to be told apart
        times = SIDE // longest if self.cells else SIDE / longest
        width, height = (max(1, round(side * times)) for side in picture.size)
        fill = Image.Resampling.NEAREST if self.cells else Image.Resampling.LANCZOS
        self.picture = picture.convert("RGB").resize((width, height), fill)
        self.scale, self.beyond = choose_scale(*finite_range(self.plane), colormap="rdbu"), 0.0
        if self.plane.size > _COARSE:
            whole = (slice(0, self.plane.shape[0]), slice(0, self.plane.shape[1]))
            (self.scale,), self.beyond = narrowed(
                self.plane[np.newaxis], [self.scale], whole, (1, 1)
            )
        if not found.signed:
            self.scale = replace(self.scale, low=0.0)

    @property
    def size(self) -> Pair:
        """Rows and columns of the picture as it is drawn."""
        return (self.picture.height, self.picture.width)

    def draw(self) -> Bytes:
        """Return the gray picture with the map's colours over it, the stronger the larger."""
        gray = np.asarray(self.picture.convert("L").convert("RGB"), np.float32)
        up = self.picture.height // self.over.shape[0]
        if self.cells and self.over.shape[1] * up == self.picture.width:  # a cell for each pixel
            plane = self.over.repeat(up, axis=0).repeat(up, axis=1)
        else:
            plane = _fitted(self.over, self.size)
        return _blended(gray, plane, self.scale)

    def alone(self) -> tuple[Bytes, Pair]:
        """Return the map's cells, coloured, and how many pixels high and wide each is drawn."""
        rows, columns = self.plane.shape
        up = (max(1, self.size[0] // rows), max(1, self.size[1] // columns))
        plane = self.plane if max(up) > 1 else _fitted(self.plane, self.size)
        return np.asarray(draw_map(plane, self.scale).convert("RGB")), up

    def sheet(self, title: str, notes: Sequence[str], shares: Image.Image | None) -> Image.Image:
        """Draw the picture, the map alone and both together; below them the classes' `shares`."""
        whole = Zoom((1, 1), (1, 1))
        picture = Panel(np.asarray(self.picture), whole.up, f"the picture{self.part}")
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
        beyond = (self.beyond > 0 and self.scale.low < 0, self.beyond > 0)
        return draw_panels([[over]], title, bars=[Bar.of(self.scale, beyond)]).image


def _seen(plane: Numbers) -> tuple[slice, slice] | None:
    """Return a close view of what is not 0, if that is a small part of a plane."""
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero((plane != 0).any(axis=axis))
        length = plane.shape[1 - axis]
        if not found.size or found[-1] - found[0] >= _SMALL * length:
            return None
        room = max(4, int(found[-1] - found[0]))
        spans.append(slice(max(0, int(found[0]) - room), min(length, int(found[-1]) + room + 1)))
    return spans[0], spans[1]


def _fitted(plane: Tensor, size: Pair) -> Tensor:
    """Return a plane stretched to a size; of a larger one the extremes of blocks, first."""
    down = (max(1, plane.shape[0] // size[0]), max(1, plane.shape[1] // size[1]))
    return stretched(np.asarray(block_extremes(plane, down), np.float32), size)


def _blended(gray: Numbers, plane: Numbers, scale: Scale) -> Bytes:
    share = np.clip(np.abs(np.nan_to_num(plane)) / scale.reach, 0, 1)[..., np.newaxis] * _STRONGEST
    ends = np.array([POSITIVE, NEGATIVE], np.float32)
    colour = ends[(plane < 0).astype(np.intp)]
    return np.rint(gray * (1 - share) + colour * share).astype(np.uint8)


def verdict(deletion: Curve, insertion: Curve) -> str:
    """Return whether the value falls, and rises, sooner by the map than by a random one."""
    falls = deletion.area(deletion.scores) < deletion.area(deletion.random)
    rises = insertion.area(insertion.scores) > insertion.area(insertion.random)
    if falls and rises:
        return "yes: covering and uncovering what it points at tells more than a random map does"
    if falls or rises:
        which = "covering" if falls else "uncovering"
        return f"in part: only {which} what it points at tells more than a random map does"
    return "no: what it points at tells no more than a random map does"


def draw_curves(deletion: Curve, insertion: Curve, title: str) -> Image.Image:
    """Draw how the value goes as pixels are covered, and uncovered, the map's largest first."""
    panels = []
    for name, curve in (("covered (deletion)", deletion), ("uncovered (insertion)", insertion)):
        percent = tuple(100 * share for share in curve.shares)
        lines = [
            Line(label, tuple(map(finite, scores)), style)
            for style, (label, scores) in enumerate(
                (("the map first", curve.scores), ("a random map", curve.random))
            )
        ]
        panels.append(Chart(f"pixels {name}", "% of the pixels", percent, tuple(lines)))
    notes = [verdict(deletion, insertion)] + [
        f"{way}: mean {format_number(curve.area(curve.scores))}, of a random map "
        f"{format_number(curve.area(curve.random))}"
        for way, curve in (("deletion", deletion), ("insertion", insertion))
    ]
    return draw_chart(panels, title=title, notes=notes)
