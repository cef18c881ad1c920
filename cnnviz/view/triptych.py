"""Three panels side by side: what A makes, what B makes, and A − B.

A and B are drawn on one scale, so that equal colours are equal values; the difference has a scale
of its own, with 0 in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cnnviz.core.comparison import Difference, furthest_apart
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Tensor
from cnnviz.view.grid import cell_numbers, choose_zoom, map_colours
from cnnviz.view.maps import Bytes, Colour, block_means, draw_map, enlarge, rgb
from cnnviz.view.numbers import format_number
from cnnviz.view.scale import Numbers, Scale, choose_scale
from cnnviz.view.sheet import (
    MARGIN,
    PAPER,
    SMALL_SIZE,
    SOFT,
    TEXT_SIZE,
    Bar,
    Census,
    Sheet,
    drawable,
    shorten,
    text_width,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_MAPS = 4
"""So many channels are drawn, those that differ most."""

_LISTED = 40  # values of a vector that are drawn as bars; more are cells
_PAGE = (1500, 1300)  # (width, height) of a sheet's body, about
_GAP = 16
_BAR_LENGTH, _BAR_STEP, _BAR_THICKNESS = 200, 24, 16
_NAMES = ("A", "B", "A − B")
_POSITIVE: Colour = (178, 24, 43)  # the strong colours of rdbu
_NEGATIVE: Colour = (33, 102, 172)
_NEUTRAL: Colour = (80, 80, 80)


@dataclass(frozen=True, eq=False)
class Triptych:
    """Two tensors of one shape and their difference, ready to be drawn: for files, for terminals.

    The tensors may go once this is made: what is drawn is kept, as a copy.
    """

    shape: tuple[int, ...]
    channels: tuple[int, ...]  # those drawn; of a vector (0,)
    panels: tuple[tuple[Numbers, Numbers, Numbers], ...]  # of each: A, B and A − B
    scale: Scale
    gap_scale: Scale
    difference: Difference
    censuses: tuple[Census, Census]

    @classmethod
    def of(cls, a: Tensor, b: Tensor, difference: Difference, colormap: str = "auto") -> Triptych:
        """Choose what is drawn of two tensors, and on which scales.

        Parameters
        ----------
        a, b : Tensor
            (C, H, W) or (N,), both of one shape. Maps of one value each are drawn as a vector.
        difference : Difference
            Of the two.
        colormap : str
            For A and B; the difference is always blue below 0 and red above it.
        """
        shape = a.shape
        if a.ndim == 1 or a.shape[1:] == (1, 1):
            a, b = a.reshape(1, 1, -1), b.reshape(1, 1, -1)
        channels = tuple(furthest_apart(a, b)[:MOST_MAPS])
        panels = tuple((a[c].copy(), b[c].copy(), _gaps(a[c], b[c])) for c in channels)
        ends = [end for one in (a, b) for end in finite_range(one) if end is not None]
        reach = difference.max or 0.0
        return cls(
            shape=shape,
            channels=channels,
            panels=panels,
            scale=choose_scale(min(ends, default=None), max(ends, default=None), colormap=colormap),
            gap_scale=choose_scale(-reach, reach, colormap="rdbu"),
            difference=difference,
            censuses=(Census.of(a), Census.of(b)),
        )

    @property
    def scales(self) -> list[Scale]:
        """Those of the three panels."""
        return [self.scale, self.scale, self.gap_scale]

    @property
    def is_vector(self) -> bool:
        """Whether one line of values is drawn, not maps."""
        return len(self.shape) == 1 or self.shape[1:] == (1, 1)

    def draw(self, *, title: str, labels: Sequence[str] = (), remark: str = "") -> Image.Image:
        """Draw the sheet; `labels` are the maps' names, `remark` what else there is to say."""
        if not self.is_vector:
            return _draw_maps(self, title, labels, remark)
        draw = _draw_bars if self.panels[0][0].size <= _LISTED else _draw_cells
        return draw(self, title, remark)

    def in_terminal(self, width: int, *, colours: bool) -> RenderableType:
        """Draw it for a terminal of `width` columns.

        Without `colours` red and blue would look alike: then from the lowest value, dark, up.
        """
        from rich.console import Group
        from rich.text import Text

        from cnnviz.view.terminal import tile

        scales = self.scales
        legend = f"A and B: {_ends(self.scale)}; A−B: {_ends(self.gap_scale)}"
        if not colours:
            scales = [replace(scale, colormap="gray") for scale in scales]
        parts: list[RenderableType] = [Text(legend)]
        for channel, panels in zip(self.channels, self.panels, strict=True):
            images = [draw_map(one, scale) for one, scale in zip(panels, scales, strict=True)]
            suffix = "" if self.is_vector else f" {channel}"
            names = [f"{name}{suffix}" for name in ("A", "B", "A−B")]
            parts.append(tile(images, names, width=min(width, 3 * 48 + 4)))
        return Group(*parts)

    def bars(self) -> list[Bar]:
        """Return the colour bars of both scales, each saying whose it is."""
        both, gap = Bar.of(self.scale), Bar.of(self.gap_scale)
        return [
            replace(both, low=f"A and B: {both.low}"),
            replace(gap, low=drawable(f"A − B: {gap.low}")),
        ]

    def notes(self, form: str, remark: str) -> list[str]:
        """Return what the header says: how much there is, the values, and the difference."""
        a, b = self.censuses
        found = self.difference
        if found.max is None or found.mean is None:
            told = "no value is finite in both"
        elif found.at is None:
            told = "A and B are equal wherever both are finite"
        else:
            where = ", ".join(map(str, found.at))
            told = f"largest |A − B| {format_number(found.max)}, at {where}; "
            told += f"mean {format_number(found.mean)}"
        lines = [form, f"A: values {a.span()}; B: values {b.span()}", drawable(told)]
        return [*lines, remark] if remark else lines

    def legend(self) -> list[tuple[Colour, str]]:
        """Return what is no finite number, in A and in B."""
        return [
            (colour, f"{name}: {text}")
            for name, census in zip("AB", self.censuses, strict=True)
            for colour, text in census.legend
        ]


def _gaps(a: Tensor, b: Tensor) -> Numbers:
    """Return A − B; 0 where both are the same infinity, NaN where either has no number."""
    with np.errstate(invalid="ignore"):
        gaps = a.astype(np.float64) - b
    gaps[a == b] = 0
    return gaps


def _ends(scale: Scale) -> str:
    return f"{format_number(scale.low)} to {format_number(scale.high)}"


# --- maps --------------------------------------------------------------------------------------


def _draw_maps(triptych: Triptych, title: str, labels: Sequence[str], remark: str) -> Image.Image:
    rows, columns = triptych.shape[1:]
    count, total = len(triptych.channels), triptych.shape[0]
    words = 22 if total > 1 else 0  # the height of a row's label
    room = (
        _PAGE[1] // count - words - _GAP,
        (_PAGE[0] - 2 * MARGIN) // 3 - _GAP,
    )
    zoom = choose_zoom((rows, columns), room, 96)
    high, wide = zoom.shown((rows, columns))
    step = max(wide, 96) + _GAP
    form = f"{rows} x {columns}, {zoom.text}"
    if total > count:
        form = f"{count} of {total:,} maps, those that differ most first; each {form}"
    elif total > 1:
        form = f"{total} maps, those that differ most first; each {form}"
    body = (3 * step - _GAP, 20 + count * (words + high + _GAP) - _GAP)
    sheet = Sheet(body, title, triptych.notes(form, remark), triptych.bars(), triptych.legend())
    _name_columns(sheet, step)
    numbers = cell_numbers([one for panels in triptych.panels for one in panels], zoom)
    for row, (channel, panels) in enumerate(zip(triptych.channels, triptych.panels, strict=True)):
        y = sheet.top + 20 + row * (words + high + _GAP) + words
        if words:
            name = f"map {channel}" + (f" {labels[channel]}" if labels else "")
            text = drawable(f"{name}: largest |A − B| {format_number(_largest(panels[2]))}")
            sheet.text(sheet.left, y - 6, shorten(text, body[0], TEXT_SIZE), TEXT_SIZE, fill=SOFT)
        for column, (plane, scale) in enumerate(zip(panels, triptych.scales, strict=True)):
            x = sheet.left + column * step
            colours = map_colours(plane, zoom.down, scale)
            sheet.paste(enlarge(colours, zoom.up), x, y)
            if numbers:
                sheet.numbers(numbers[3 * row + column], colours, x, y)
    return sheet.image


def _largest(gaps: Numbers) -> float:
    finite = np.abs(gaps[np.isfinite(gaps)])
    return float(finite.max()) if finite.size else math.nan


def _name_columns(sheet: Sheet, step: int) -> None:
    for column, name in enumerate(_NAMES):
        sheet.text(sheet.left + column * step, sheet.top + 12, drawable(name), TEXT_SIZE)


# --- vectors -----------------------------------------------------------------------------------


def _draw_bars(triptych: Triptych, title: str, remark: str) -> Image.Image:
    """Draw the values of vectors as bars, those of one index in one line."""
    panels = [panel.reshape(-1).tolist() for panel in triptych.panels[0]]
    numbers = [[format_number(value) for value in panel] for panel in panels]
    number_width = max(text_width(text, TEXT_SIZE) for texts in numbers for text in texts)
    names = [str(index) for index in range(len(panels[0]))]
    start = max(text_width(name, TEXT_SIZE) for name in names) + 10
    step = _BAR_LENGTH + number_width + 8 + 2 * _GAP
    body = (start + 3 * step - 2 * _GAP, 20 + _BAR_STEP * len(names))
    noun = "value" if len(names) == 1 else "values"
    notes = triptych.notes(f"{len(names)} {noun}; the bars of A and B are on one scale", remark)
    sheet = Sheet(body, title, notes, legend=triptych.legend())
    top = sheet.top + 20
    bottom = top + _BAR_STEP * len(names)
    for row, name in enumerate(names):
        baseline = top + row * _BAR_STEP + 17
        sheet.text(sheet.left + start - 10, baseline, name, TEXT_SIZE, anchor="rs")
    for column, scale in enumerate(triptych.scales):
        left = sheet.left + start + column * step
        sheet.text(left, sheet.top + 12, drawable(_NAMES[column]), TEXT_SIZE)
        place = _placer(scale, left)
        for row, value in enumerate(panels[column]):
            y = top + row * _BAR_STEP + (_BAR_STEP - _BAR_THICKNESS) // 2
            _draw_bar(sheet, value, place, y, signed=scale.diverging)
            text = numbers[column][row]
            end = left + _BAR_LENGTH + 8 + number_width
            sheet.text(end, y + _BAR_THICKNESS - 3, text, TEXT_SIZE, anchor="rs")
        sheet.draw.line((place(0.0), top, place(0.0), bottom), fill=SOFT)
    return sheet.image


def _placer(scale: Scale, left: int) -> Callable[[float], int]:
    """Return what tells where a value is along a bar."""
    low, high = min(scale.low, 0.0), max(scale.high, 0.0)

    def place(value: float) -> int:
        part = (min(max(value, low), high) / 2 - low / 2) / (high / 2 - low / 2)
        return left + round(part * _BAR_LENGTH)

    return place


def _draw_bar(
    sheet: Sheet, value: float, place: Callable[[float], int], y: int, *, signed: bool
) -> None:
    """Draw one value from 0; NaN, which has no length, is a square in its colour."""
    if value == 0:
        return
    zero, bottom = place(0.0), y + _BAR_THICKNESS - 1
    colour = _NEGATIVE if value < 0 else _POSITIVE if signed else _NEUTRAL
    ends = sorted((zero, place(value))) if not math.isnan(value) else [zero, zero + _BAR_THICKNESS]
    if not math.isfinite(value):
        odd = rgb(np.array([[value]]), Scale(0.0, 1.0, "gray"))[0, 0]
        colour = (int(odd[0]), int(odd[1]), int(odd[2]))
    sheet.draw.rectangle((ends[0], y, ends[1], bottom), fill=colour)


def _draw_cells(triptych: Triptych, title: str, remark: str) -> Image.Image:
    """Draw the values of long vectors as cells in rows, read like a text."""
    size = triptych.panels[0][0].size
    fold = math.ceil(size / 100_000)
    count = math.ceil(size / fold)
    columns = next((n for n in (10, 16, 20, 25, 32, 40, 50, 64, 100, 128, 200, 256, 320)
                    if n * n >= count), 320)  # fmt: skip
    rows = math.ceil(count / columns)
    cell = max(1, min(24, _PAGE[0] // 3 // columns, 900 // rows))
    step = max(columns * cell, 96) + _GAP
    means = "" if fold == 1 else f", each cell the mean of {fold}"
    form = f"{size:,} values in rows of {columns * fold:,}{means}"
    left = text_width(str(size), SMALL_SIZE) + 8
    body = (left + 3 * step - _GAP, 20 + rows * cell)
    sheet = Sheet(body, title, triptych.notes(form, remark), triptych.bars(), triptych.legend())
    sheet.left += left
    _name_columns(sheet, step)
    used = (np.arange(rows * columns) < count).reshape(rows, columns)
    top = sheet.top + 20
    for column, (panel, scale) in enumerate(zip(triptych.panels[0], triptych.scales, strict=True)):
        filled = np.zeros(rows * columns)
        filled[:count] = block_means(panel.reshape(1, -1), (1, fold))[0]
        colours: Bytes = rgb(filled.reshape(rows, columns), scale)
        colours[~used] = PAPER
        sheet.paste(enlarge(colours, (cell, cell)), sheet.left + column * step, top)
    for row in range(0, rows, max(1, math.ceil(14 / cell))):
        y = top + (row + 0.5) * cell
        text = f"{row * columns * fold}"
        sheet.text(sheet.left - 6, y, text, SMALL_SIZE, fill=SOFT, anchor="rm")
    return sheet.image
