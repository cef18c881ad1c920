"""All maps of a stage on one sheet: where each goes, how large, and what is written at it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.types import Pair, Statistics
from cnnviz.view.lettering import drawable, fitting_size, shorten, text_width
from cnnviz.view.maps import (
    Numbers,
    draw_colour,
    indexed,
    packed,
    rgb_of,
    unpacked,
)
from cnnviz.view.numbers import format_cell, format_range
from cnnviz.view.robust import Inner, beyond_note, narrowed
from cnnviz.view.scale import Scale
from cnnviz.view.sheet import FRAME, MARGIN, PAPER, SOFT, WRITTEN, Bar, Census, Sheet, outside_note
from cnnviz.view.zoom import Zoom, choose_zoom

_PAGE_WIDTH = 1600
_MOST_CELL_TEXTS = 20_000  # numbers written into one picture, at most
_ROUND = (4, 5, 6, 8, 10, 12, 16, 20, 24, 25, 30, 32, 40, 48, 50, 60, 64)  # to count along rows


def draw_grid(maps: Numbers, scales: Sequence[Scale], **options: Any) -> Image.Image:
    """Draw the maps of a stage on one sheet; the options are those of `lay_out`."""
    return lay_out(maps, scales, **options).image


class DrawnGrid(NamedTuple):
    """A sheet, and the scales its maps are drawn on: one or as many as are drawn."""

    image: Image.Image
    scales: Sequence[Scale]


def lay_out(
    maps: Numbers,
    scales: Sequence[Scale],
    *,
    title: str,
    labels: Sequence[str],
    nrow: int | None = None,
    facts: Statistics | None = None,
    channels: Sequence[int] | None = None,
    order: str = "",
    noun: str = "map",
    remark: str | None = None,
    robust: Inner | None = None,
    inset: Image.Image | None = None,
) -> DrawnGrid:
    """Draw the maps of a stage on one sheet, with labels and a colour bar.

    Parameters
    ----------
    maps : (C, H, W), or (N, 3, H, W) in colour (see `draw_colour`)
        Large maps are shown smaller (means of square blocks; of signed maps the value of largest
        magnitude), small ones larger by a whole number; the sheet says which. Of maps up to 12 by
        12 the numbers are written into the cells, if they fit.
    scales : one or C
        With one for each map, a map's range stands under its label.
    title : str
    labels : C strings
        Cut to the cells. Where even the first word does not fit (thousands of maps), the rows
        and columns are numbered instead.
    nrow : int, optional
        Maps in a row, as for torchvision's ``make_grid``; by default what makes a sheet about
        6 : 5 and at most 1600 wide.
    facts : Statistics, optional
        What is known of the values, if all are finite and on their scales, which are not
        looked at again then.
    channels : sequence of int, optional
        Which maps are drawn, in this order; by default all. What the header says of values is
        about all maps of the stage all the same.
    order : str
        What the header calls the order of `channels`, if it is not the maps' own.
    noun : str
        What one of the maps is called.
    remark : str, optional
        What else there is to say, in a line under the title.
    robust : (slice, slice), optional
        Narrow the scales to all but 0.5 % of what is drawn (`robust_scale`), measured in these
        rows and columns, if they are at least half of a map: where no window reads padding.
    inset : Image, optional
        A small picture of the input, for the header.
    """
    shown = list(range(len(maps)) if channels is None else channels)
    size = (maps.shape[-2], maps.shape[-1])
    shared = len(set(scales)) == 1
    scale_of = [scales[0]] * len(maps) if len(scales) == 1 else list(scales)
    words = [drawable(labels[channel]) for channel in shown]
    drawn = [scale_of[channel] for channel in shown]
    plan = plan_grid(
        size, words, [_range(scale) for scale in drawn] if not shared else [], nrow,
        countable=shown == list(range(len(shown))),
    )  # fmt: skip
    census = Census.of(maps) if facts is None else Census(facts.min, facts.max)
    signed = maps.ndim == 3 and census.low is not None and census.low < 0
    zoom = replace(plan.zoom, signed=signed)
    values = _reduced(maps, shown, zoom)
    beyond = 0.0
    if robust is not None and maps.ndim == 3:
        drawn, beyond = narrowed(values, drawn, robust, zoom.down)
    ranges = [] if shared else [_range(scale) for scale in drawn]
    outside = [] if facts is not None else outside_note(maps, [scales[0]] if shared else scale_of)
    form = f"{size[0]} x {size[1]}, {zoom.text}"
    many = f"{len(maps):,} {noun}s" if len(maps) > 1 else f"1 {noun}"
    notes = [
        *_contents(
            len(shown), len(maps), many, order, form, f"values {census.span()}", shared=shared
        ),
        *([] if shared else ["each map has its own scale: its ends are written over it"]),
        *beyond_note(beyond),
        *outside,
        *([remark] if remark else []),
    ]
    sheet = Sheet(plan.body, title, notes, _grid_bars(drawn, beyond), census.legend, inset=inset)
    cells = _cells(values, drawn, shared=shared)
    x, y = plan.corner(0)
    sheet.image.paste(_maps_image(plan, cells), (sheet.left + x - 1, sheet.top + y - 1))
    if not plan.label_size:
        sheet.number_cells(sheet.left + x, sheet.top + y, (plan.rows, plan.columns), plan.pitch)
    texts, text_size = _cell_texts(maps, shown, plan.zoom)
    for index, word in enumerate(words):
        x, y = plan.corner(index)
        x, y = x + sheet.left, y + sheet.top
        if text_size:
            sheet.numbers(texts[index], unpacked(cells[index]), plan.zoom.up, text_size, x, y)
        if plan.label_size:
            baseline = y - plan.label_height + plan.label_size
            label = _shorten_label(word, plan.cell[1], plan.label_size)
            sheet.text(x - 1, baseline, label, plan.label_size)
            if not shared:
                text = shorten(ranges[index], plan.cell[1], 10)
                sheet.text(x - 1, baseline + 12, text, 10, fill=SOFT)
    # What is grey all over is a third as large, and sooner written.
    grey = cells.dtype == np.uint8 and (inset is None or inset.mode == "L")
    image = sheet.image.convert("L") if grey else sheet.image
    return DrawnGrid(image, drawn[:1] if shared else drawn)


def _range(scale: Scale) -> str:
    return format_range(scale.low, scale.high)


def _reduced(maps: Numbers, shown: list[int], zoom: Zoom) -> Numbers:
    """Return the numbers that are drawn: those of the maps' blocks, (N, [3,] rows, columns)."""
    if zoom.down == (1, 1):
        ordered = shown == list(range(len(shown)))
        return maps[: len(shown)] if ordered else maps[shown]
    if maps.ndim == 4:
        return np.stack([[zoom.reduced(plane) for plane in maps[c]] for c in shown])
    return np.stack([zoom.reduced(maps[c]) for c in shown])


def _cells(values: Numbers, scales: list[Scale], *, shared: bool) -> NDArray[Any]:
    """Return the colours of numbers (N, rows, columns): a number each, or a grey level."""
    if values.ndim == 4:
        pairs = zip(values, scales, strict=True)
        return packed(np.stack([np.asarray(draw_colour(planes, on)) for planes, on in pairs]))
    if shared:
        levels, palette = indexed(values, scales[0])
        return levels if palette is None else packed(palette)[levels]
    planes = [indexed(plane, on) for plane, on in zip(values, scales, strict=True)]
    if all(palette is None for _, palette in planes):
        return np.stack([levels for levels, _ in planes])
    return packed(np.stack([rgb_of(*plane) for plane in planes]))


def _maps_image(plan: GridPlan, cells: NDArray[Any]) -> Image.Image:
    """Draw all maps, each in a thin frame, as one array in which a pixel is one number."""
    count, rows, columns = cells.shape
    (high, wide), (height, width) = plan.zoom.up, plan.shown
    paper, frame = (PAPER[0], FRAME[0]) if cells.dtype == np.uint8 else packed([PAPER, FRAME])
    slots = np.zeros((plan.rows * plan.columns, rows, columns), cells.dtype)
    slots[:count] = cells
    across = slots.reshape(plan.rows, plan.columns, rows, columns).transpose(0, 2, 1, 3)
    body = np.empty((plan.rows, plan.pitch[0], plan.columns, plan.pitch[1]), cells.dtype)
    body[:, height + 2 :] = body[:, :, :, width + 2 :] = paper
    body[:, : height + 2, :, : width + 2] = frame
    inside = body[:, 1 : height + 1, :, 1 : width + 1]
    inside.reshape(plan.rows, rows, high, plan.columns, width)[...] = across.repeat(wide, axis=3)[
        :, :, None
    ]
    body[-1, :, count - (plan.rows - 1) * plan.columns :] = paper
    size = (plan.columns * plan.pitch[1], plan.rows * plan.pitch[0])
    return Image.frombuffer("L" if cells.dtype == np.uint8 else "RGBX", size, body)


def _cell_texts(
    maps: Numbers, shown: list[int], zoom: Zoom
) -> tuple[list[list[list[str]]], int | None]:
    """Return the numbers to write into the cells of small maps, and their size if they all fit."""
    side, many = max(maps.shape[-2:]), len(shown) * maps[0].size
    if maps.ndim == 4 or side > WRITTEN or zoom.averages or many > _MOST_CELL_TEXTS:
        return [], None
    texts = list[list[list[str]]]()
    for c in shown:
        texts.append([[format_cell(value) for value in row] for row in maps[c].tolist()])
        if not fitting_size([text for row in texts[-1] for text in row], zoom.up):
            return [], None  # those of other maps need not be written
    return texts, fitting_size([text for plane in texts for row in plane for text in row], zoom.up)


def _contents(
    shown: int, count: int, many: str, order: str, form: str, values: str, *, shared: bool
) -> list[str]:
    """Say how many maps there are, which of them are drawn and what their values are."""
    if shown < count:
        return [
            f"{shown:,} of {many}, {order or 'in channel order'}; each {form}",
            f"all {many} share this scale, with {values}" if shared else f"all {many}: {values}",
        ]
    many += f", {order}; each" if order else " of"
    return [f"{many} {form}; {values}"]


def _shorten_label(text: str, width: int, size: int) -> str:
    """Cut a map's label to a width; a narrow cell keeps the first word (its index) alone."""
    first = text.partition(" ")[0]
    if width < 64 and text_width(text, size) > width >= text_width(first, size):
        return first
    return shorten(text, width, size)


def _grid_bars(scales: Sequence[Scale], beyond: float) -> list[Bar]:
    """One bar with numbers for a shared scale; else one for each kind, with words."""
    arrows = (beyond > 0 and any(scale.low < 0 for scale in scales), beyond > 0)
    if len(set(scales)) == 1:
        return [Bar.of(scales[0], arrows)]
    bars: dict[tuple[str, tuple[str, str]], Bar] = {}
    for scale in scales:
        ends = ("-max", "max") if scale.low == -scale.high else ("low", "high")
        if scale.low == 0:
            ends = ("0", "max")
        bars.setdefault((scale.colormap, ends), Bar(scale, *ends, arrows))
    return [replace(bar, scale=_plain_ends(bar.scale)) for bar in bars.values()]


def _plain_ends(scale: Scale) -> Scale:
    """Drop the numbers of a scale, and with them the mark at 0 if it is not in the middle."""
    if scale.low == -scale.high:
        return scale
    return replace(scale, low=0.0, high=1.0) if not scale.diverging else scale


# --- the plan ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class GridPlan:
    """Where everything in a grid goes, in pixels from the body's top left corner."""

    columns: int
    rows: int
    zoom: Zoom
    shown: Pair  # one map, in pixels
    cell: Pair  # a map with its label, without the gap
    gap: int
    label_size: int | None  # None: marks at the rows and columns instead of labels
    label_height: int
    left: int  # room for the row marks

    @property
    def body(self) -> Pair:
        """(width, height) of all cells."""
        width = self.left + self.columns * self.pitch[1] - self.gap
        height = self.rows * self.pitch[0] - self.gap
        return width + 1, height + 1 + (0 if self.label_size else 16)

    @property
    def pitch(self) -> Pair:
        """From one map's first pixel to the next one's, (rows, columns)."""
        return self.cell[0] + self.gap, self.cell[1] + self.gap

    def corner(self, index: int) -> Pair:
        """Return the (x, y) of a map's first pixel."""
        row, column = divmod(index, self.columns)
        x = self.left + column * self.pitch[1] + 1
        y = row * self.pitch[0] + self.label_height
        return x, y + (0 if self.label_size else 16)


def plan_grid(
    size: Pair, labels: Sequence[str], ranges: Sequence[str], nrow: int | None, *, countable: bool
) -> GridPlan:
    """Choose columns and zoom: large maps, a sheet about 6 : 5, few empty places.

    Maps that are not `countable`, because they are in another order than their channels, have
    their labels however many there are.
    """
    count = len(labels)
    gap = 12 if count <= 64 else 6 if count <= 1024 else 3
    firsts = max(text_width(label.partition(" ")[0][:6], 10) for label in labels)
    narrowest = max((text_width(text, 10) for text in ranges), default=0)
    if count <= 1024 or not countable:
        narrowest = max(narrowest, firsts)
    most = (_PAGE_WIDTH - 2 * MARGIN) // max(24, narrowest + 1 + gap)
    most = max(1, min(count, most))
    candidates = [columns for columns in range(1, most + 1) if count <= 12 or columns in _ROUND]
    if nrow:
        candidates = [max(1, min(nrow, count))]
    plans = [
        _plan_columns(columns, count, gap, size, narrowest, firsts, ranges_shown=bool(ranges))
        for columns in candidates
    ]
    fitting = [plan for plan in plans if plan.body[0] <= _PAGE_WIDTH]
    return max(fitting or plans, key=lambda plan: _sheet_quality(plan, count))


def _plan_columns(
    columns: int,
    count: int,
    gap: int,
    size: Pair,
    narrowest: int,
    firsts: int,
    *,
    ranges_shown: bool,
) -> GridPlan:
    rows = math.ceil(count / columns)
    page_height = 1300 if count <= 256 else 2400 if ranges_shown else 2000
    apart = max(1, 7 - gap)  # a label is nearer to its own map than to the one above it
    words = (29 if ranges_shown else 17) + apart
    room = (page_height // rows - gap - words, (_PAGE_WIDTH - 2 * MARGIN) // columns - gap)
    least = 96 if count <= 128 else 40 if count <= 1024 else 20
    zoom = choose_zoom(size, room, least)
    shown = zoom.shown(size)
    width = max(shown[1], narrowest)
    label_size = 12 if width >= 72 else 10
    if not ranges_shown and firsts > width:
        left = text_width("0" * len(str(count)), 10) + 10
        cell = (shown[0] + 2, shown[1] + 2)
        return GridPlan(columns, rows, zoom, shown, cell, gap, None, 1, left)
    label_height = label_size + 5 + (12 if ranges_shown else 0)
    cell = (shown[0] + label_height + apart, width + 1)
    return GridPlan(columns, rows, zoom, shown, cell, gap, label_size, label_height, 0)


def _sheet_quality(plan: GridPlan, count: int) -> float:
    width, height = plan.body
    pixels = math.log(plan.shown[0] * plan.shown[1]) / 2
    shape = abs(math.log(width / height / 1.2))
    empty = 1 - count / (plan.rows * plan.columns)
    return pixels - 0.7 * shape - 3.5 * empty
