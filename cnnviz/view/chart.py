"""Line charts: panels on one scale, lines told apart by colour and by mark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageChops, ImageDraw

from cnnviz.view.maps import Colour
from cnnviz.view.numbers import format_number
from cnnviz.view.sheet import (
    FRAME,
    PAPER,
    SMALL_SIZE,
    SOFT,
    TEXT_SIZE,
    Sheet,
    drawable,
    shorten,
    text_width,
)

Values = tuple[float | None, ...]

MOST_LINES = 8
"""So many lines differ in both colour and mark."""

# After Okabe & Ito, "Color Universal Design", 2008; what is pale on white is darker here.
COLOURS: tuple[Colour, ...] = (
    *((32, 32, 32), (0, 114, 178), (213, 94, 0), (0, 138, 103)),
    *((204, 121, 167), (86, 160, 213), (140, 134, 20), (128, 70, 160)),
)
_GRID: Colour = (226, 226, 226)

_PLOT = (430, 300)  # columns and rows of pixels of a panel's inside
_LEFT, _ABOVE, _BELOW, _GAP = 52, 26, 42, 28
_FINE = 4  # lines are drawn so many times as large, and averaged down
_STROKE = 2
_REACH = 5  # pixels from a mark's middle to its edge
_LEAST = 1e-300  # what is smaller has no round numbers beside it that are not 0
_SPACING = 13  # pixels between marks, at least

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Values over a panel's xs; None where there is none. Equal `style`: equal colour and mark."""

    label: str
    values: Values
    style: int
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart: its lines over common xs, in increasing order."""

    title: str
    x_label: str
    xs: tuple[float, ...]
    lines: tuple[Line, ...]

    @property
    def largest(self) -> float:
        """The largest value of any line."""
        values = (value for line in self.lines for value in line.values if value is not None)
        return max(values, default=0.0)


def ticks(largest: float, most: int = 6) -> list[float]:
    """Return at most so many round numbers from 0 that reach `largest` or past it.

    >>> ticks(0.37), ticks(8, most=9), ticks(0)
    ([0.0, 0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [0.0, 0.5, 1.0])
    """
    if not largest > _LEAST:
        return [0.0, 0.5, 1.0]
    exponent = math.floor(math.log10(largest / (most - 1)))
    for digit in (1, 2, 5, 10, 20, 50):
        step = digit * 10.0**exponent
        count = math.ceil(largest / step - 1e-9)
        if count < most:
            break
    return [float(f"{step * k:.6g}") for k in range(count + 1)]


def draw_chart(panels: Sequence[Panel], *, title: str, notes: Sequence[str] = ()) -> Image.Image:
    """Draw panels side by side on one sheet, with one scale from 0 for all, and a legend below.

    Values are at least 0. A line is drawn thin across xs at which it has no value. Where xs are
    many, not every one has a mark.
    """
    scale = ticks(max(panel.largest for panel in panels))
    width = len(panels) * (_LEFT + _PLOT[0]) + (len(panels) - 1) * _GAP + 8
    legend = {(line.style, line.dashed): line for panel in panels for line in panel.lines}
    keys = _places(list(legend.values()), width)
    height = _ABOVE + _PLOT[1] + _BELOW + 22 * (1 + max((row for _, row, _ in keys), default=-1))
    sheet = Sheet((width, height), title, notes)
    for number, panel in enumerate(panels):
        left = sheet.left + number * (_LEFT + _PLOT[0] + _GAP) + _LEFT
        _draw_panel(sheet, panel, scale, left, sheet.top + _ABOVE)
    for x, row, line in keys:
        _draw_key(sheet, line, sheet.left + x, sheet.top + _ABOVE + _PLOT[1] + _BELOW + 22 * row)
    return sheet.image


def _draw_panel(sheet: Sheet, panel: Panel, scale: Sequence[float], left: int, top: int) -> None:
    width, height = _PLOT
    sheet.text(left, top - 10, shorten(drawable(panel.title), width, TEXT_SIZE), TEXT_SIZE)
    low, high = panel.xs[0], panel.xs[-1]
    reach = (high - low) or 1.0

    def place(x: float, y: float) -> Point:
        inset = 10
        across = (x - low) / reach if high > low else 0.5
        return inset + across * (width - 2 * inset), height - y / scale[-1] * height

    plot = _Canvas((width, height))
    marked = _x_ticks(panel.xs)
    for tick in scale:
        y = place(low, tick)[1]
        plot.segment((0, y), (width, y), _GRID, 1)
        sheet.text(left - 8, top + y, format_number(tick), SMALL_SIZE, anchor="rm")
    for x in marked:
        at = place(x, 0)[0]
        plot.segment((at, 0), (at, height), _GRID, 1)
        sheet.text(left + at, top + height + 18, f"{x:g}", SMALL_SIZE, anchor="ms")
    sheet.text(
        left + width / 2, top + height + 35, drawable(panel.x_label), SMALL_SIZE, anchor="ms"
    )
    for line in panel.lines:
        points = [
            (index, *place(x, value))
            for index, (x, value) in enumerate(zip(panel.xs, line.values, strict=True))
            if value is not None
        ]
        plot.line(points, line)
        last = -math.inf
        for _, x, y in points:
            if x - last >= _SPACING:
                plot.mark((x, y), line.style)
                last = x
    sheet.draw.rectangle((left - 1, top - 1, left + width, top + height), outline=FRAME)
    plot.onto(sheet.image, (left, top))


def _x_ticks(xs: Sequence[float]) -> list[float]:
    """Choose which of the xs are written: all if few, else the multiples of a round number."""
    if len(xs) <= 12:
        return list(xs)
    step = ticks(xs[-1], most=10)[1]
    return [x for x in xs if abs(x / step - round(x / step)) < 1e-9] or [xs[0], xs[-1]]


def _places(lines: Sequence[Line], width: int) -> list[tuple[int, int, Line]]:
    """Lay out the legend: x and row of each entry."""
    widest = max((text_width(drawable(line.label), TEXT_SIZE) for line in lines), default=0)
    each = min(44 + widest + 22, width)
    abreast = max(1, width // each)
    return [(index % abreast * each, index // abreast, line) for index, line in enumerate(lines)]


def _draw_key(sheet: Sheet, line: Line, x: int, y: int) -> None:
    canvas = _Canvas((36, 16))
    canvas.line([(0, 1.0, 8.0), (1, 35.0, 8.0)], line)
    canvas.mark((18.0, 8.0), line.style)
    canvas.onto(sheet.image, (x, y))
    room = sheet.image.width - sheet.left - x - 42
    sheet.text(x + 42, y + 13, shorten(drawable(line.label), room, TEXT_SIZE), TEXT_SIZE, fill=SOFT)


class _Canvas:
    """Fine lines and marks; what lies beyond the edge is kept for a mark's width."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._margin = _REACH + _STROKE
        fine = [(side + 2 * self._margin) * _FINE for side in size]
        self._size = size
        self._image = Image.new("RGB", (fine[0], fine[1]), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def onto(self, image: Image.Image, at: tuple[int, int]) -> None:
        """Lay it over a picture, darker colours winning, with its corner at `at`."""
        small = self._image.resize(
            (self._size[0] + 2 * self._margin, self._size[1] + 2 * self._margin),
            Image.Resampling.BOX,
        )
        corner = (at[0] - self._margin, at[1] - self._margin)
        below = image.crop((*corner, corner[0] + small.width, corner[1] + small.height))
        image.paste(ImageChops.darker(below, small), corner)

    def segment(self, start: Point, stop: Point, colour: Colour, width: float) -> None:
        """Draw a straight line."""
        ends = [tuple((value + self._margin) * _FINE for value in point) for point in (start, stop)]
        self._draw.line([*ends[0], *ends[1]], fill=colour, width=round(width * _FINE))

    def line(self, points: Sequence[tuple[int, float, float]], line: Line) -> None:
        """Join points (index, x, y), thinly where an index between them is missing."""
        colour = _colour(line.style)
        for (one, *start), (two, *stop) in pairwise(points):
            width = _STROKE if two == one + 1 else _STROKE / 2
            pieces = _dashes(start, stop) if line.dashed else [(start, stop)]
            for first, last in pieces:
                self.segment((first[0], first[1]), (last[0], last[1]), colour, width)

    def mark(self, at: Point, style: int) -> None:
        """Draw the outline that belongs to a style around a point."""
        for shape in MARKS[style % len(MARKS)]:
            corners = [(at[0] + dx * _REACH, at[1] + dy * _REACH) for dx, dy in shape]
            for start, stop in pairwise(corners):
                self.segment(start, stop, _colour(style), 1.5)


def _colour(style: int) -> Colour:
    return COLOURS[style % len(COLOURS)]


def _dashes(
    start: Sequence[float], stop: Sequence[float]
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Cut a segment into an odd number of equal pieces and yield every other one."""
    length = math.dist(start, stop)
    count = max(1, round(length / 6)) | 1
    for piece in range(0, count, 2):
        yield (
            _between(start, stop, piece / count),
            _between(start, stop, (piece + 1) / count),
        )


def _between(start: Sequence[float], stop: Sequence[float], part: float) -> tuple[float, float]:
    return (
        start[0] + part * (stop[0] - start[0]),
        start[1] + part * (stop[1] - start[1]),
    )


_Shape = tuple[Point, ...]


def _polygon(corners: int, turn: float) -> tuple[_Shape]:
    angles = (turn + 2 * math.pi * corner / corners for corner in range(corners + 1))
    return (tuple((math.sin(angle), -math.cos(angle)) for angle in angles),)


# Strokes from -1 to 1, y down: circle, square, triangles, cross, plus, diamond, star.
MARKS: tuple[tuple[_Shape, ...], ...] = (
    _polygon(24, 0.0),
    _polygon(4, math.pi / 4),
    _polygon(3, 0.0),
    (((-0.8, -0.8), (0.8, 0.8)), ((-0.8, 0.8), (0.8, -0.8))),
    _polygon(4, 0.0),
    _polygon(3, math.pi),
    (((-1, 0), (1, 0)), ((0, -1), (0, 1))),
    (
        *(((-1, 0), (1, 0)), ((-0.5, -0.9), (0.5, 0.9))),
        ((-0.5, 0.9), (0.5, -0.9)),
    ),
)
