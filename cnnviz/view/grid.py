"""All maps of a stage on one sheet: where each goes, how large, and what is written at it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from cnnviz.core.types import Statistics
from cnnviz.view.maps import Bytes, block_means, draw_colour, enlarge, rgb
from cnnviz.view.numbers import format_cell, format_range
from cnnviz.view.scale import Numbers, Scale
from cnnviz.view.sheet import (
    MARGIN,
    SOFT,
    Bar,
    CellNumbers,
    Census,
    Sheet,
    drawable,
    fitting_size,
    outside_note,
    shorten,
    text_width,
)

_PAGE_WIDTH = 1600
_MOST_CELL_TEXTS = 20_000  # numbers written into one picture, at most
_ROUND = (4, 5, 6, 8, 10, 12, 16, 20, 24, 25, 30, 32, 40, 48, 50, 60, 64)  # to count along rows


def draw_grid(
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
) -> Image.Image:
    """Draw the maps of a stage on one sheet, with labels and a colour bar.

    Parameters
    ----------
    maps : (C, H, W), or (N, 3, H, W) in colour (see `draw_colour`)
        Large maps are shown smaller (means of square blocks), small ones larger by a whole
        number; the sheet says which. Of maps up to 12 by 12 the numbers are written into the
        cells, if they fit.
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
        What is known of the values, if all are finite and on their scales: then nobody looks
        again.
    channels : sequence of int, optional
        Which maps are drawn, in this order; by default all. What the header tells of values is
        about all maps of the stage all the same.
    order : str
        What the header calls the order of `channels`, if it is not the maps' own.
    noun : str
        What one of the maps is called.
    remark : str, optional
        What else there is to say, in a line under the title.
    """
    shown = range(len(maps)) if channels is None else channels
    size = (maps.shape[-2], maps.shape[-1])
    shared = len(set(scales)) == 1
    scale_of = [scales[0]] * len(maps) if len(scales) == 1 else list(scales)
    words = [drawable(labels[channel]) for channel in shown]
    drawn = [scale_of[channel] for channel in shown]
    ranges = [] if shared else [format_range(scale.low, scale.high) for scale in drawn]
    countable = list(shown) == list(range(len(shown)))
    plan = _plan_grid(size, words, ranges, nrow, countable=countable)

    census = Census.of(maps) if facts is None else Census(facts.min, facts.max, ())
    outside = [] if facts is not None else outside_note(maps, [scales[0]] if shared else scale_of)
    form = f"{size[0]} x {size[1]}, {plan.zoom.text}"
    many = f"{len(maps):,} {noun}s" if len(maps) > 1 else f"1 {noun}"
    notes = [
        *_contents(
            len(shown), len(maps), many, order, form, f"values {census.span()}", shared=shared
        ),
        *([] if shared else ["each map has its own scale: its ends are written over it"]),
        *outside,
        *([remark] if remark else []),
    ]
    sheet = Sheet(plan.body, title, notes, _grid_bars(drawn), census.legend)
    planes = [maps[channel] for channel in shown]
    numbers = _cell_numbers(planes, plan.zoom)
    for index, (plane, scale) in enumerate(zip(planes, drawn, strict=True)):
        x, y = plan.corner(index)
        x, y = x + sheet.left, y + sheet.top
        colours = _colours(plane, plan.zoom.down, scale)
        sheet.paste(enlarge(colours, plan.zoom.up), x, y)
        if numbers:
            sheet.numbers(numbers[index], colours, x, y)
        if plan.label_size:
            baseline = y - plan.label_height + plan.label_size
            label = _shorten_label(words[index], plan.cell[1], plan.label_size)
            sheet.text(x - 1, baseline, label, plan.label_size)
            if not shared:
                text = shorten(ranges[index], plan.cell[1], 10)
                sheet.text(x - 1, baseline + 12, text, 10, fill=SOFT)
    if not plan.label_size:
        _number_rows(sheet, plan)
    return sheet.image


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


def _colours(plane: Numbers, down: tuple[int, int], scale: Scale) -> Bytes:
    """Return the colours of a map's blocks, (rows, columns, 3)."""
    if plane.ndim == 2:
        return rgb(block_means(plane, down), scale)
    return np.asarray(draw_colour(np.stack([block_means(one, down) for one in plane]), scale))


def _shorten_label(text: str, width: int, size: int) -> str:
    """Cut a map's label to a width; a narrow cell keeps the first word (its index) alone."""
    first = text.partition(" ")[0]
    if width < 64 and text_width(text, size) > width >= text_width(first, size):
        return first
    return shorten(text, width, size)


def _grid_bars(scales: Sequence[Scale]) -> list[Bar]:
    """One bar with numbers for a shared scale; else one for each kind, with words."""
    if len(set(scales)) == 1:
        return [Bar.of(scales[0])]
    bars: dict[tuple[str, tuple[str, str]], Bar] = {}
    for scale in scales:
        ends = ("-max", "max") if scale.low == -scale.high else ("low", "high")
        if scale.low == 0:
            ends = ("0", "max")
        bars.setdefault((scale.colormap, ends), Bar(scale, *ends))
    return [replace(bar, scale=_plain_ends(bar.scale)) for bar in bars.values()]


def _plain_ends(scale: Scale) -> Scale:
    """Drop the numbers of a scale, and with them the mark at 0 if it is not in the middle."""
    if scale.low == -scale.high:
        return scale
    return replace(scale, low=0.0, high=1.0) if not scale.diverging else scale


def _cell_numbers(planes: Sequence[Numbers], zoom: Zoom) -> list[CellNumbers]:
    """Return the numbers to write into the cells of small maps, if they all fit."""
    many = len(planes) * planes[0].size > _MOST_CELL_TEXTS
    if planes[0].ndim == 3 or max(planes[0].shape) > 12 or zoom.averages or many:
        return []
    texts = [[[format_cell(value) for value in row] for row in plane.tolist()] for plane in planes]
    size = fitting_size([text for plane in texts for row in plane for text in row], zoom.up)
    return [CellNumbers(plane, zoom.up, size) for plane in texts] if size else []


def _number_rows(sheet: Sheet, plan: _GridPlan) -> None:
    """Write the index of the first map at every row, and what to add over the columns."""
    for row in range(plan.rows):
        x, y = plan.corner(row * plan.columns)
        middle = sheet.top + y + plan.shown[0] / 2
        text = f"{row * plan.columns}"
        sheet.text(sheet.left + plan.left - 6, middle, text, 10, fill=SOFT, anchor="rm")
    step = math.ceil(30 / (plan.cell[1] + plan.gap))
    for column in range(0, plan.columns, step):
        x, y = plan.corner(column)
        middle = sheet.left + x + plan.shown[1] / 2
        sheet.text(middle, sheet.top + 10, f"+{column}", 10, fill=SOFT, anchor="ms")


# ---------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Zoom:
    """How large a map is shown: blocks of `down` values averaged, each drawn `up` pixels large."""

    down: tuple[int, int]  # (rows, columns)
    up: tuple[int, int]

    def shown(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return how many pixels high and wide a map of `size` is drawn."""
        rows, columns = (
            math.ceil(length / down) * up
            for length, down, up in zip(size, self.down, self.up, strict=True)
        )
        return rows, columns

    @property
    def text(self) -> str:
        """The zoom in words."""
        (down_rows, down_columns), (up_rows, up_columns) = self.down, self.up
        if down_rows == down_columns > 1:
            return f"shown at 1/{down_rows} (a pixel is the mean of {down_rows} x {down_rows})"
        if down_rows == down_columns and up_rows == up_columns:
            return f"enlarged {up_rows} times" if up_rows > 1 else "shown pixel for pixel"
        block = f"each mean of {down_rows} x {down_columns} values" if self.averages else "a value"
        return f"{block} is drawn {up_rows} high and {up_columns} wide"

    @property
    def averages(self) -> bool:
        """Whether a colour stands for the mean of several values."""
        return max(self.down) > 1


@dataclass(frozen=True)
class _GridPlan:
    """Where everything in a grid goes, in pixels from the body's top left corner."""

    columns: int
    rows: int
    zoom: Zoom
    shown: tuple[int, int]  # one map, in pixels
    cell: tuple[int, int]  # a map with its label, without the gap
    gap: int
    label_size: int | None  # None: marks at the rows and columns instead of labels
    label_height: int
    left: int  # room for the row marks

    @property
    def body(self) -> tuple[int, int]:
        """(width, height) of all cells."""
        width = self.left + self.columns * (self.cell[1] + self.gap) - self.gap
        height = self.rows * (self.cell[0] + self.gap) - self.gap
        return width + 1, height + 1 + (0 if self.label_size else 16)

    def corner(self, index: int) -> tuple[int, int]:
        """Return the (x, y) of a map's first pixel."""
        row, column = divmod(index, self.columns)
        x = self.left + column * (self.cell[1] + self.gap) + 1
        y = row * (self.cell[0] + self.gap) + self.label_height
        return x, y + (0 if self.label_size else 16)


def _plan_grid(
    size: tuple[int, int],
    labels: Sequence[str],
    ranges: Sequence[str],
    nrow: int | None,
    *,
    countable: bool = True,
) -> _GridPlan:
    """Choose columns and zoom: large maps, a sheet about 6 : 5, few empty places.

    Maps that are not `countable`, because they are in another order than their channels, have
    their labels however many there are.
    """
    count = len(labels)
    firsts = max(text_width(label.partition(" ")[0][:6], 10) for label in labels)
    narrowest = max((text_width(text, 10) for text in ranges), default=0)
    if count <= 1024 or not countable:
        narrowest = max(narrowest, firsts)
    most = (_PAGE_WIDTH - 2 * MARGIN) // max(24, narrowest + 1 + _gap(count))
    most = max(1, min(count, most))
    candidates = [columns for columns in range(1, most + 1) if count <= 12 or columns in _ROUND]
    if nrow:
        candidates = [max(1, min(nrow, count))]
    plans = [
        _plan_columns(columns, count, size, narrowest, firsts, ranges_shown=bool(ranges))
        for columns in candidates
    ]
    fitting = [plan for plan in plans if plan.body[0] <= _PAGE_WIDTH]
    return max(fitting or plans, key=lambda plan: _sheet_quality(plan, count))


def _gap(count: int) -> int:
    return 12 if count <= 64 else 6 if count <= 1024 else 3


def _plan_columns(
    columns: int,
    count: int,
    size: tuple[int, int],
    narrowest: int,
    firsts: int,
    *,
    ranges_shown: bool,
) -> _GridPlan:
    rows = math.ceil(count / columns)
    gap = _gap(count)
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
        return _GridPlan(columns, rows, zoom, shown, cell, gap, None, 1, left)
    label_height = label_size + 5 + (12 if ranges_shown else 0)
    cell = (shown[0] + label_height + apart, width + 1)
    return _GridPlan(columns, rows, zoom, shown, cell, gap, label_size, label_height, 0)


def choose_zoom(
    size: tuple[int, int], room: tuple[int, int], least: int, *, most: int = 384
) -> Zoom:
    """Choose the largest whole zoom that fits into the room, within reason.

    A map is shown at least `least` pixels long, and enlarged to no more than `most` (a value to no
    more than 96). A map more than eight times longer than wide would be a hair: it is stretched.
    """
    longer = max(size)
    fits = min(space // length for space, length in zip(room, size, strict=True))
    up = max(min(fits, most // longer, 96), math.ceil(least / longer), 1)
    down = 1
    if up == 1 and fits < 1:
        needed = max(
            math.ceil(length / max(space, 1)) for space, length in zip(room, size, strict=True)
        )
        down = min(needed, max(1, longer // 24))
    if longer <= 8 * min(size) or math.ceil(min(size) / down) * up >= 24:
        return Zoom((down, down), (up, up))
    along = 0 if size[0] >= size[1] else 1
    space = max(room[along], 24)
    down = math.ceil(longer / space)
    up = max(1, min(space // longer, 24))
    thick = max(math.ceil(24 / min(size)), min(up, room[1 - along] // min(size)))
    return Zoom((down, 1), (up, thick)) if along == 0 else Zoom((1, down), (thick, up))


def _sheet_quality(plan: _GridPlan, count: int) -> float:
    width, height = plan.body
    pixels = math.log(plan.shown[0] * plan.shown[1]) / 2
    shape = abs(math.log(width / height / 1.2))
    empty = 1 - count / (plan.rows * plan.columns)
    return pixels - 0.7 * shape - 3.5 * empty
