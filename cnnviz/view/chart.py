"""Line charts, as pictures and in a terminal: panels on one scale.

Lines differ in colour and mark. In a terminal they are braille dots, or full stops where
the encoding has no braille, and each line has a letter at every value, so that it can be followed
without colours, too; nothing here writes an escape code itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

from cnnviz.view.lettering import drawable, shorten, text_width
from cnnviz.view.maps import Colour
from cnnviz.view.numbers import format_number
from cnnviz.view.sheet import FRAME, PAPER, SMALL_SIZE, SOFT, TEXT_SIZE, Sheet
from cnnviz.view.terminal import fitted

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
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value of any line, and of 0."""
        values = [value for line in self.lines for value in line.values if value is not None]
        return min(values, default=0.0), max(values, default=0.0)

    def across(self, x: float) -> float:
        """Return where an x lies, from 0 at the first to 1 at the last."""
        low, high = self.xs[0], self.xs[-1]
        return (x - low) / (high - low) if high > low else 0.5

    def points(self, line: Line, scale: Sequence[float]) -> list[tuple[int, float, float]]:
        """Return a line's values: index, place across, and down from the scale's end."""
        low, top = scale[0], scale[-1]
        return [
            (index, self.across(x), (top - value) / (top - low))
            for index, (x, value) in enumerate(zip(self.xs, line.values, strict=True))
            if value is not None
        ]


def ticks(*values: float, most: int = 6) -> list[float]:
    """Return at most so many round numbers, 0 among them, that reach all of the values.

    >>> ticks(0.37), ticks(8, most=9), ticks(0)
    ([0.0, 0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [0.0, 0.5, 1.0])
    >>> ticks(-0.3, 0.1), ticks(-2)
    ([-0.3, -0.2, -0.1, 0.0, 0.1], [-2.0, -1.5, -1.0, -0.5, 0.0])
    """
    low, high = min(0.0, *values), max(0.0, *values)
    if not high - low > _LEAST:
        return [0.0, 0.5, 1.0]
    exponent = math.floor(math.log10((high - low) / (most - 1)))
    for digit in (1, 2, 5, 10, 20, 50):
        step = digit * 10.0**exponent
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [float(f"{step * k:.6g}") for k in range(first, last + 1)]


def draw_chart(panels: Sequence[Panel], *, title: str, notes: Sequence[str] = ()) -> Image.Image:
    """Draw panels side by side on one sheet, all on one scale that has 0, and a legend below.

    A line is drawn thin across xs at which it has no value. Where xs are
    many, not every one has a mark.
    """
    scale = ticks(*(end for panel in panels for end in panel.ends))
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
    inset = 10
    sheet.text(left, top - 10, shorten(drawable(panel.title), width, TEXT_SIZE), TEXT_SIZE)
    plot = _Canvas((width, height))
    for tick in scale:
        y = (scale[-1] - tick) / (scale[-1] - scale[0]) * height
        plot.segment((0, y), (width, y), _GRID, 1)
        sheet.text(left - 8, top + y, format_number(tick), SMALL_SIZE, anchor="rm")
    for x in _x_ticks(panel.xs):
        at = inset + panel.across(x) * (width - 2 * inset)
        plot.segment((at, 0), (at, height), _GRID, 1)
        sheet.text(left + at, top + height + 18, f"{x:g}", SMALL_SIZE, anchor="ms")
    label, middle = drawable(panel.x_label), left + width / 2
    sheet.text(middle, top + height + 35, label, SMALL_SIZE, anchor="ms")
    for line in panel.lines:
        points = [
            (index, inset + across * (width - 2 * inset), down * height)
            for index, across, down in panel.points(line, scale)
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

    def segment(
        self, start: Sequence[float], stop: Sequence[float], colour: Colour, width: float
    ) -> None:
        """Draw a straight line."""
        ends = [(value + self._margin) * _FINE for value in (*start, *stop)]
        self._draw.line(ends, fill=colour, width=round(width * _FINE))

    def line(self, points: Sequence[tuple[int, float, float]], line: Line) -> None:
        """Join points (index, x, y), thinly where an index between them is missing."""
        for (one, *start), (two, *stop) in pairwise(points):
            width = _STROKE if two == one + 1 else _STROKE / 2
            # A dashed one in an odd number of equal pieces, of which every other one is drawn.
            count = max(1, round(math.dist(start, stop) / 6)) | 1 if line.dashed else 1
            cuts = np.linspace(start, stop, count + 1).tolist()
            for first, last in zip(cuts[::2], cuts[1::2], strict=True):
                self.segment(first, last, _colour(line.style), width)

    def mark(self, at: Point, style: int) -> None:
        """Draw the outline that belongs to a style around a point."""
        for shape in MARKS[style % len(MARKS)]:
            corners = [(at[0] + dx * _REACH, at[1] + dy * _REACH) for dx, dy in shape]
            for start, stop in pairwise(corners):
                self.segment(start, stop, _colour(style), 1.5)


def _colour(style: int) -> Colour:
    return COLOURS[style % len(COLOURS)]


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


# --- in a terminal -----------------------------------------------------------------------------

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TERMINAL_COLOURS = ("default", "cyan", "yellow", "green", "magenta", "red", "blue", "bright_black")
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column of a cell
_NARROWEST = 16  # columns of a plot, below which there is no chart


@dataclass(frozen=True)
class LineChart:
    """A panel in at most `width` columns, its plot in `height` lines; the scale begins at 0."""

    panel: Panel
    width: int
    height: int = 10

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw title, plot, axis and legend."""
        width = max(1, min(self.width, options.max_width))
        scale = ticks(*self.panel.ends, most=5)
        labels = [format_number(tick) for tick in scale]
        margin = max(map(len, labels)) + 1
        title = fitted(self.panel.title, width, ascii_only=options.ascii_only)
        yield Segment(title, Style(bold=True))
        yield Segment.line()
        if width - margin - 1 >= _NARROWEST:
            yield from self._plot(width - margin - 1, margin, scale, options)
        yield from self._legend(width, ascii_only=options.ascii_only)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Take the width it is given."""
        width = max(1, min(self.width, options.max_width))
        return Measurement(width, width)

    def _plot(
        self, columns: int, margin: int, scale: Sequence[float], options: ConsoleOptions
    ) -> RenderResult:
        ascii_only = options.ascii_only
        canvas = _Dots(columns, self.height)
        for number, line in enumerate(self.panel.lines):
            points = self.panel.points(line, scale)
            canvas.draw(
                [(0.5 + across * (columns - 1), down) for _, across, down in points], number
            )
        tick_rows = {
            round((scale[-1] - tick) / (scale[-1] - scale[0]) * (self.height - 1)): format_number(
                tick
            )
            for tick in scale
        }
        bar = "|" if ascii_only else "│"
        for row in range(self.height):
            yield Segment(f"{tick_rows.get(row, ''):>{margin - 1}} {bar}")
            yield from canvas.line(row, ascii_only=ascii_only)
            yield Segment.line()
        corner, dash = ("+", "-") if ascii_only else ("└", "─")
        yield Segment(" " * margin + corner + dash * columns)
        yield Segment.line()
        yield Segment(" " * (margin + 1) + self._x_axis(columns).rstrip())
        yield Segment.line()
        label = fitted(self.panel.x_label, columns, ascii_only=ascii_only)
        yield Segment(" " * (margin + 1 + (columns - cell_len(label)) // 2) + label)
        yield Segment.line()

    def _x_axis(self, columns: int) -> str:
        """Write as many xs as have room, the first and the last always, and what they are."""
        line = [" "] * columns
        xs = [self.panel.xs[0], self.panel.xs[-1], *self.panel.xs[1:-1]]
        for x in xs:
            text = f"{x:g}"
            start = int(0.5 + self.panel.across(x) * (columns - 1)) - len(text) // 2
            start = min(max(start, 0), columns - len(text))
            if set(line[max(start - 2, 0) : start + len(text) + 2]) == {" "}:
                line[start : start + len(text)] = text
        return "".join(line)

    def _legend(self, width: int, *, ascii_only: bool) -> RenderResult:
        entries = [
            (number, fitted(line.label, width - 2, ascii_only=ascii_only))
            for number, line in enumerate(self.panel.lines)
        ]
        used = 0
        for number, label in entries:
            room = cell_len(label) + 2
            if used and used + 2 + room > width:
                yield Segment.line()
                used = 0
            if used:
                yield Segment("  ")
                used += 2
            yield Segment(_letter(number), _pen(number))
            yield Segment(f" {label}")
            used += room
        if entries:
            yield Segment.line()


class _Dots:
    """Cells of dots, each cell in the colour of the line drawn last; letters over them."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._dots = [[0] * columns for _ in range(rows)]
        self._owner = [[0] * columns for _ in range(rows)]
        self._letters: dict[tuple[int, int], int] = {}

    def draw(self, points: Sequence[tuple[float, float]], number: int) -> None:
        """Join points (column, share of the height from the top) and put letters at them."""
        for (x, y), (end, last) in pairwise(points):
            steps = max(1, round(2 * (end - x)), round(4 * self._rows * abs(last - y)))
            for step in range(steps + 1):
                part = step / steps
                self._dot(x + part * (end - x), y + part * (last - y), number)
        for x, y in points:
            cell = (self._row(y), min(int(x), self._columns - 1))
            self._letters.setdefault(cell, number)

    def _row(self, share: float) -> int:
        return min(max(round(share * (self._rows - 1)), 0), self._rows - 1)

    def _dot(self, x: float, share: float, number: int) -> None:
        # A value's dot lies in its letter's cell: the scale runs through the middles of cells.
        depth = share * (self._rows - 1) + 0.5
        row = min(int(depth), self._rows - 1)
        column = min(int(x), self._columns - 1)
        inner = min(int((depth - row) * 4), 3), min(int((x - column) * 2), 1)
        self._dots[row][column] |= _DOTS[inner[0]][inner[1]]
        self._owner[row][column] = number

    def line(self, row: int, *, ascii_only: bool) -> list[Segment]:
        """Return one line of cells."""
        cells = []
        for column in range(self._columns):
            number = self._letters.get((row, column))
            dots = self._dots[row][column]
            if number is not None:
                cells.append(Segment(_letter(number), _pen(number)))
            elif dots:
                sign = "." if ascii_only else chr(_BRAILLE + dots)
                cells.append(Segment(sign, _pen(self._owner[row][column])))
            else:
                cells.append(Segment(" "))
        return cells


def _letter(number: int) -> str:
    return _LETTERS[number % len(_LETTERS)]


def _pen(number: int) -> Style:
    return Style(color=_TERMINAL_COLOURS[number % len(_TERMINAL_COLOURS)])
