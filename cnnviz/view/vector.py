"""The values of a vector on one sheet: bars, or a strip of coloured cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cnnviz.view.maps import (
    NAN_COLOUR,
    NEGATIVE_INFINITY_COLOUR,
    POSITIVE_INFINITY_COLOUR,
    Colour,
    block_means,
    enlarge,
    rgb,
)
from cnnviz.view.numbers import format_cell, format_number
from cnnviz.view.scale import Numbers, Scale
from cnnviz.view.sheet import (
    PAPER,
    SMALL_SIZE,
    SOFT,
    TEXT_SIZE,
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

_LISTED = 40  # up to so many values are drawn as bars
_POSITIVE: Colour = (178, 24, 43)  # the strong colours of rdbu
_NEGATIVE: Colour = (33, 102, 172)
_NEUTRAL: Colour = (80, 80, 80)
_GUIDE: Colour = (224, 224, 224)  # the lines at the ends of the bars


def draw_vector(
    values: Numbers, scale: Scale, *, title: str, labels: Sequence[str] | None
) -> Image.Image:
    """Draw the values of a vector stage (N,).

    Up to 40 are bars from a line at 0, with labels (by default their indices) and numbers.
    More are coloured cells in rows, read like a text; the number at a row is the index of its
    first value. Of more than 300,000 values, each cell is the mean of a few.
    """
    values = np.asarray(values).reshape(-1)
    if values.size <= _LISTED:
        return _draw_bars(values, scale, title, labels)
    return _draw_strip(values, scale, title)


def _draw_bars(
    values: Numbers, scale: Scale, title: str, labels: Sequence[str] | None
) -> Image.Image:
    census = Census.of(values)
    names = [drawable(name) for name in labels or map(str, range(len(values)))]
    names = [shorten(name, 220, TEXT_SIZE) for name in names]
    numbers = [format_number(value) for value in values]
    name_width = max(text_width(name, TEXT_SIZE) for name in names)
    number_width = max(text_width(number, TEXT_SIZE) for number in numbers)
    length, step, thickness = 480, 24, 16
    start = name_width + 10
    body = (start + length + 10 + number_width, step * len(values) + 22)
    noun = "value" if len(values) == 1 else "values"
    sheet = Sheet(
        body,
        title,
        [
            f"{len(values)} {noun}, {census.span()}",
            *outside_note(values, [scale], "drawn up to its end only"),
        ],
        legend=census.legend,
    )
    low, high = min(scale.low, 0.0), max(scale.high, 0.0)

    def place(value: float) -> int:
        part = (min(max(value, low), high) / 2 - low / 2) / (high / 2 - low / 2)
        return sheet.left + start + round(part * length)

    bottom = sheet.top + step * len(values)
    for end in {low, high}:
        sheet.draw.line((place(end), sheet.top, place(end), bottom), fill=_GUIDE)
    for row, value in enumerate(map(float, values)):
        top = sheet.top + row * step + (step - thickness) // 2
        baseline = top + thickness - 3
        sheet.text(sheet.left + name_width, baseline, names[row], TEXT_SIZE, anchor="rs")
        sheet.text(sheet.left + body[0], baseline, numbers[row], TEXT_SIZE, anchor="rs")
        if value:
            ends = [place(0), place(0) + thickness - 1]  # NaN has no length: a square
            if not math.isnan(value):
                ends = sorted((place(0), place(value)))
            colour = _bar_colour(value, scale)
            sheet.draw.rectangle((ends[0], top, ends[1], top + thickness - 1), fill=colour)
    sheet.draw.line((place(0), sheet.top, place(0), bottom), fill=SOFT)
    for end in {low, 0.0, high}:
        near = abs(place(end) - place(0)) < 40
        if end == 0 or not near:
            sheet.text(
                place(end), bottom + 15, format_number(end), SMALL_SIZE, fill=SOFT, anchor="ms"
            )
    return sheet.image


def _bar_colour(value: float, scale: Scale) -> Colour:
    if math.isnan(value):
        return NAN_COLOUR
    if math.isinf(value):
        return POSITIVE_INFINITY_COLOUR if value > 0 else NEGATIVE_INFINITY_COLOUR
    if value < 0:
        return _NEGATIVE
    return _POSITIVE if scale.diverging else _NEUTRAL


def _draw_strip(values: Numbers, scale: Scale, title: str) -> Image.Image:
    census = Census.of(values)
    fold = math.ceil(values.size / 300_000)
    cells = block_means(values.reshape(1, -1), (1, fold))[0]
    columns = _strip_columns(cells.size)
    rows = math.ceil(cells.size / columns)
    cell = max(2, min(44, 1440 // columns, 1000 // rows))
    gap = 1 if cell >= 8 else 0
    left = text_width(f"{values.size}", SMALL_SIZE) + 8
    body = (left + columns * cell + 1, rows * cell + 20)

    means = "" if fold == 1 else f", each cell the mean of {fold}"
    note = f"{values.size:,} values in rows of {columns * fold:,}{means}; {census.span()}"
    notes = [note, *outside_note(values, [scale])]
    sheet = Sheet(body, title, notes, [Bar.of(scale)], census.legend)
    filled = np.zeros(rows * columns)
    filled[: cells.size] = cells
    colours = rgb(filled.reshape(rows, columns), scale)
    pixels = enlarge(colours, (cell, cell))
    used = np.arange(rows * columns).reshape(rows, columns) < cells.size
    pixels[~used.repeat(cell, axis=0).repeat(cell, axis=1)] = PAPER
    if gap:
        pixels[cell - 1 :: cell] = PAPER
        pixels[:, cell - 1 :: cell] = PAPER
    x, y = sheet.left + left, sheet.top + 16
    sheet.paste(pixels, x, y, frame=not gap)

    if cells.size <= 400:
        texts = [format_cell(value) for value in cells]
        lines = [texts[start : start + columns] for start in range(0, len(texts), columns)]
        size = fitting_size(texts, (cell - 1, cell - 1))
        if size:
            sheet.numbers(CellNumbers(lines, (cell, cell), size), colours, x, y)
    for row in range(0, rows, math.ceil(14 / cell)):
        at = y + row * cell + cell / 2
        sheet.text(x - 6, at, f"{row * columns * fold}", SMALL_SIZE, fill=SOFT, anchor="rm")
    for column in range(0, columns, _mark_step(cell, columns)):
        text = f"+{column * fold}"
        sheet.text(x + column * cell + cell / 2, y - 5, text, SMALL_SIZE, fill=SOFT, anchor="ms")
    return sheet.image


def _strip_columns(count: int) -> int:
    """Choose a round number of columns for a strip about twice as wide as high."""
    round_numbers = (10, 16, 20, 25, 32, 40, 50, 64, 100, 128, 200, 256, 400, 500, 640, 720)

    def poor(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log(columns / rows / 2)) + 1.5 * (1 - count / (rows * columns))

    return min(round_numbers, key=poor)


def _mark_step(cell: int, columns: int) -> int:
    """Return a round number of columns between marks that do not touch."""
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step * cell >= 36), columns)
