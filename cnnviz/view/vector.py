"""The values of vectors on one sheet, side by side: bars, or strips of coloured cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from cnnviz.view.lettering import drawable, shorten, text_width
from cnnviz.view.maps import Colour, Numbers, block_means, rgb
from cnnviz.view.numbers import format_cell, format_number
from cnnviz.view.scale import Scale
from cnnviz.view.sheet import (
    PAPER,
    SMALL_SIZE,
    SOFT,
    TEXT_SIZE,
    Bar,
    Census,
    Panel,
    Sheet,
    draw_panels,
    outside_note,
)

LISTED = 40  # up to so many values are drawn as bars
TOP = 10  # shares of more are
_STEP, _THICKNESS = 24, 16  # pixels from bar to bar, and of a bar
_GAP = 32  # between vectors
POSITIVE: Colour = (178, 24, 43)  # the strong colours of rdbu
NEGATIVE: Colour = (33, 102, 172)
_NEUTRAL: Colour = (80, 80, 80)
_GUIDE: Colour = (224, 224, 224)  # the lines at the ends of the bars

# Round numbers of cells in a row, to count along.
_ROUND = (10, 16, 20, 25, 32, 40, 50, 64, 100, 128, 200, 256, 400, 500, 640, 720)


class Vector(NamedTuple):
    """Values (N,) on their scale, under a title."""

    title: str
    values: Numbers
    scale: Scale


def draw_vector(
    values: Numbers, scale: Scale, *, title: str, labels: Sequence[str] | None
) -> Image.Image:
    """Draw the values of a vector stage (N,): see `draw_vectors`."""
    values = np.asarray(values).reshape(-1)
    census = Census.of(values)
    notes = [census.span()]
    if values.size <= LISTED:
        notes += outside_note(values, [scale], "drawn up to its end only")
        bars = []
    else:
        notes += outside_note(values, [scale])
        bars = [Bar.of(scale)]
    return draw_vectors([Vector("", values, scale)], title, notes, bars, census.legend, labels)


def draw_shares(
    values: Numbers, title: str, labels: Sequence[str] | None = None, doubt: str | None = None
) -> Image.Image:
    """Draw probabilities (N,), such as a softmax's, as bars on 0 to 100 %, with labels.

    Of more than 40 the ten largest are drawn, the largest first, and what the others add up to is
    said; then the `doubt`, why they tell nothing. Labels are by default the indices.
    """
    values = np.asarray(values).reshape(-1)
    census, count = Census.of(values), values.size
    order, note = (
        np.arange(count),
        f"{count} probabilities, that add up to {_percent(values.sum())}",
    )
    if count > LISTED:
        order = np.argsort(-values.astype(np.float64), kind="stable")[:TOP]
        rest = _percent(values.sum() - values[order].sum())
        note = f"the {TOP} largest of {count:,} probabilities; "
        note += f"the other {count - TOP:,} add up to {rest}"
    names = [labels[place] if labels else str(place) for place in order.tolist()]
    vector = Vector("", values[order], Scale(0, 1, "gray"))
    notes = [note, doubt] if doubt else [note]
    return _draw_bars([vector], title, notes, census.legend, names, _percent)


def _percent(value: float) -> str:
    """Write a share.

    >>> [_percent(share) for share in (0.5, 0.00012, 0.0, 1.0)]
    ['50.0 %', '0.01 %', '0 %', '100 %']
    """
    if value in (0, 1) or not math.isfinite(value):
        return f"{100 * value:g} %"
    part = f"{100 * value:.1f}"
    if float(part) in (0, 100):
        part = f"{100 * value:.1g}" if value < 0.5 else f"{100 * value:.6g}"
    return f"{part} %"


def draw_vectors(
    vectors: Sequence[Vector],
    title: str,
    notes: Sequence[str],
    bars: Sequence[Bar] = (),
    legend: Sequence[tuple[Colour, str]] = (),
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """Draw vectors of one length side by side.

    Up to 40 values are bars from a line at 0, with labels (by default their indices) and numbers.
    More are coloured cells in rows, read like a text; the number at a row is the index of its
    first value. Of more than 300,000 values, each cell is the mean of a few. The header says which
    of these it is and how many values there are; then come the `notes`, the first on that line.
    """
    if vectors[0].values.size <= LISTED:
        count = vectors[0].values.size
        first = f"{count} {'value' if count == 1 else 'values'}, {notes[0]}"
        return _draw_bars(vectors, title, [first, *notes[1:]], legend, labels)
    count, abreast = vectors[0].values.size, len(vectors)
    fold = math.ceil(count / (300_000 // abreast))
    columns = _columns(math.ceil(count / fold), 2 / abreast)
    means = "" if fold == 1 else f", each cell the mean of {fold}"
    form = f"{count:,} values in rows of {columns * fold:,}{means}"
    panels = [_strip(vector, columns, fold, 1440 // abreast) for vector in vectors]
    return draw_panels([panels], title, [f"{form}; {notes[0]}", *notes[1:]], bars, legend).image


def _draw_bars(
    vectors: Sequence[Vector],
    title: str,
    notes: Sequence[str],
    legend: Sequence[tuple[Colour, str]],
    labels: Sequence[str] | None,
    write: Callable[[float], str] = format_number,
) -> Image.Image:
    count, length = vectors[0].values.size, 480 if len(vectors) == 1 else 200
    names = [drawable(name) for name in labels or map(str, range(count))]
    names = [shorten(name, 220, TEXT_SIZE) for name in names]
    numbers = [[write(value) for value in vector.values.tolist()] for vector in vectors]
    name_width = max(text_width(name, TEXT_SIZE) for name in names) + 10
    widest = max(text_width(text, TEXT_SIZE) for texts in numbers for text in texts)
    step = length + 10 + widest + _GAP
    head = 20 if len(vectors) > 1 else 0
    body = (name_width + len(vectors) * step - _GAP, head + _STEP * count + 22)
    sheet = Sheet(body, title, notes, legend=legend)
    top = sheet.top + head
    for row, name in enumerate(names):
        baseline = top + row * _STEP + 17
        sheet.text(sheet.left + name_width - 10, baseline, name, TEXT_SIZE, anchor="rs")
    for column, (vector, texts) in enumerate(zip(vectors, numbers, strict=True)):
        left = sheet.left + name_width + column * step
        sheet.text(left, sheet.top + 12, drawable(vector.title), TEXT_SIZE)
        _bars_of(sheet, vector, left, top, length, write)
        for row, text in enumerate(texts):
            end = left + length + 10 + widest
            sheet.text(end, top + row * _STEP + 17, text, TEXT_SIZE, anchor="rs")
    return sheet.image


def _bars_of(
    sheet: Sheet, vector: Vector, left: int, top: int, length: int, write: Callable[[float], str]
) -> None:
    """Draw a vector's bars from 0, and the ends of its scale below."""
    scale, values = vector.scale, vector.values.astype(float).tolist()
    low, high = min(scale.low, 0.0), max(scale.high, 0.0)
    bottom = top + _STEP * len(values)

    def place(value: float) -> int:
        part = (min(max(value, low), high) / 2 - low / 2) / (high / 2 - low / 2)
        return left + round(part * length)

    zero = place(0.0)
    for end in {low, high}:
        sheet.draw.line((place(end), top, place(end), bottom), fill=_GUIDE)
    for row, value in enumerate(values):
        y = top + row * _STEP + (_STEP - _THICKNESS) // 2
        # NaN has no length: it is a square.
        far = zero + _THICKNESS - 1 if math.isnan(value) else place(value)
        colour = NEGATIVE if value < 0 else POSITIVE if scale.diverging else _NEUTRAL
        if not math.isfinite(value):
            red, green, blue = rgb(np.array([[value]]), scale)[0, 0].tolist()
            colour = (red, green, blue)
        if value:
            box = (min(zero, far), y, max(zero, far), y + _THICKNESS - 1)
            sheet.draw.rectangle(box, fill=colour)
    sheet.draw.line((zero, top, zero, bottom), fill=SOFT)
    for end in {low, 0.0, high}:
        if end == 0 or abs(place(end) - zero) >= 40:
            text = write(end)
            sheet.text(place(end), bottom + 15, text, SMALL_SIZE, fill=SOFT, anchor="ms")


def _strip(vector: Vector, columns: int, fold: int, room: int) -> Panel:
    """Return a vector's values as cells in rows, as wide as there is room."""
    cells = block_means(vector.values.reshape(1, -1), (1, fold))[0]
    rows = math.ceil(cells.size / columns)
    filled = np.zeros(rows * columns)
    filled[: cells.size] = cells
    colours = rgb(filled.reshape(rows, columns), vector.scale)
    colours.reshape(-1, 3)[cells.size :] = PAPER
    side = max(2 if room > 720 else 1, min(44, room // columns, 1000 // rows))
    texts = [format_cell(value) for value in cells] if cells.size <= 400 else []
    lines = [texts[start : start + columns] for start in range(0, len(texts), columns)]
    rule = PAPER if side >= 8 else None
    return Panel(colours, (side, side), vector.title, lines, rule=rule, numbered=fold)


def _columns(count: int, aspect: float) -> int:
    """Choose a round number of columns for a strip about `aspect` times as wide as high."""

    def poor(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log(columns / rows / aspect)) + 1.5 * (1 - count / (rows * columns))

    return min(_ROUND, key=poor)
