"""A line chart in a terminal: braille dots, or full stops where the encoding has no braille.

Each line has a colour, and a letter at every value it has, so that it can be followed without
colours, too; nothing here writes an escape code itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

from cnnviz.view.chart import Panel, ticks
from cnnviz.view.numbers import format_number
from cnnviz.view.terminal import fitted

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_COLOURS = ("default", "cyan", "yellow", "green", "magenta", "red", "blue", "bright_black")
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
        scale = ticks(self.panel.largest, most=5)
        labels = [format_number(tick) for tick in scale]
        margin = max(map(len, labels)) + 1
        yield from _text_line(self.panel.title, width, ascii_only=options.ascii_only, bold=True)
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
        canvas = _Canvas(columns, self.height)
        places = [self._column(x, columns) for x in self.panel.xs]
        for number, line in enumerate(self.panel.lines):
            points = [
                (at, 1 - value / scale[-1])
                for at, value in zip(places, line.values, strict=True)
                if value is not None
            ]
            canvas.draw(points, number)
        tick_rows = {
            round((1 - tick / scale[-1]) * (self.height - 1)): format_number(tick) for tick in scale
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

    def _column(self, x: float, columns: int) -> float:
        """Return where an x lies, in columns from the plot's left edge."""
        low, high = self.panel.xs[0], self.panel.xs[-1]
        part = (x - low) / (high - low) if high > low else 0.5
        return 0.5 + part * (columns - 1)

    def _x_axis(self, columns: int) -> str:
        """Write as many xs as have room, the first and the last always, and what they are."""
        line = [" "] * columns
        xs = [self.panel.xs[0], self.panel.xs[-1], *self.panel.xs[1:-1]]
        for x in xs:
            text = f"{x:g}"
            start = int(self._column(x, columns)) - len(text) // 2
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
            yield Segment(_letter(number), _style(number))
            yield Segment(f" {label}")
            used += room
        if entries:
            yield Segment.line()


class _Canvas:
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
                cells.append(Segment(_letter(number), _style(number)))
            elif dots:
                sign = "." if ascii_only else chr(_BRAILLE + dots)
                cells.append(Segment(sign, _style(self._owner[row][column])))
            else:
                cells.append(Segment(" "))
        return cells


def _letter(number: int) -> str:
    return _LETTERS[number % len(_LETTERS)]


def _style(number: int) -> Style:
    return Style(color=_COLOURS[number % len(_COLOURS)])


def _text_line(text: str, width: int, *, ascii_only: bool, bold: bool) -> RenderResult:
    yield Segment(fitted(text, width, ascii_only=ascii_only), Style(bold=bold))
    yield Segment.line()
