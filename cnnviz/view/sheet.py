"""Paper: the sheet under every picture, and the panels on it.

A sheet has a header (title, notes, colour bars, legend). Below it stand rows of panels: titled
pictures of coloured cells with their numbers, rings and colour bar.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image, ImageDraw

from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Pair
from cnnviz.view.lettering import (
    drawable,
    fitting_size,
    readable_on,
    shorten,
    stamp,
    text_width,
    wrap,
)
from cnnviz.view.maps import (
    ODD_COLOURS,
    Bytes,
    Colour,
    Numbers,
    all_finite,
    block_means,
    count_outside,
    draw_colour,
    enlarge,
    rgb,
)
from cnnviz.view.numbers import format_cell, format_number
from cnnviz.view.scale import Scale
from cnnviz.view.zoom import Box, Zoom

PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 32, 32)
SOFT: Colour = (96, 96, 96)
FRAME: Colour = (176, 176, 176)
BLACK: Colour = (0, 0, 0)
# Colours that no colour map has: what is pointed at, and what is padding or not computed.
ACCENT: Colour = (255, 210, 0)
EMPTY: Colour = (242, 232, 208)

MARGIN = 16
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 18, 13, 11
_BAR_WIDTH, _BAR_HEIGHT = 256, 12
_GAP = 28  # between panels
_SIGN = 16  # more, where a sign stands between them
WRITTEN = 12  # rows and columns of cells up to which their numbers are written


# --- what a sheet says -------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A colour bar: its scale, and what is written under its ends and under 0."""

    scale: Scale
    low: str
    high: str
    beyond: tuple[bool, bool] = (False, False)  # values lie past these ends: they are arrows

    @property
    def zero(self) -> float | None:
        """Where 0 is between low and high, if it is well inside."""
        place = -self.scale.low / (self.scale.high - self.scale.low)
        return place if 0.15 < place < 0.85 else None

    @classmethod
    def of(cls, scale: Scale, beyond: tuple[bool, bool] = (False, False)) -> Bar:
        """Return the bar with the ends of the scale as numbers."""
        return cls(scale, format_number(scale.low), format_number(scale.high), beyond)


@dataclass(frozen=True)
class Census:
    """What there is to say about all the values of a picture."""

    low: float | None  # of the finite values
    high: float | None
    legend: tuple[tuple[Colour, str], ...] = ()  # the NaN and infinities that occur

    @classmethod
    def of(cls, values: Numbers) -> Self:
        """Look at all values, finite or not."""
        if all_finite(values):
            return cls(float(values.min()), float(values.max()))
        kinds = (np.isnan(values), np.isposinf(values), np.isneginf(values))
        counts = [int(np.count_nonzero(kind)) for kind in kinds]
        legend = tuple(
            (colour, f"{name} ({count:,})")
            for (name, colour), count in zip(ODD_COLOURS.items(), counts, strict=True)
            if count
        )
        return cls(*finite_range(values), legend)

    def span(self, write: Callable[[float], str] = format_number) -> str:
        """Return the range in words that follow a noun: 'values', 'maps of 3 x 3'."""
        if self.low is None or self.high is None:
            return "none finite"
        if self.low == self.high:
            return f"all {write(self.low)}"
        return f"from {write(self.low)} to {write(self.high)}"


def outside_note(
    values: Numbers, scales: Sequence[Scale], drawn: str = "drawn in the colour of its nearer end"
) -> list[str]:
    """Return a note on the values that lie outside their scale, if any do."""
    planes = [values] if len(scales) == 1 else list(values)
    count = sum(count_outside(plane, scale) for plane, scale in zip(planes, scales, strict=True))
    if not count:
        return []
    subject, are = ("1 value", "is") if count == 1 else (f"{count:,} values", "are")
    return [f"{subject} outside the scale {are} {drawn}"]


# --- panels ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """A picture on a sheet: coloured cells, what is written and drawn on them, and a colour bar."""

    colours: Bytes  # (rows, columns, 3), of its cells
    up: Pair  # pixels that a cell is high and wide
    title: str = ""
    texts: Sequence[Sequence[str]] = ()  # into the cells, if all fit
    rings: Sequence[Box] = ()  # around pixels, counted from the first one
    rule: Colour | None = None  # lines between the cells
    numbered: int = 0  # cells read like a text get numbers at their rows and columns, in so many
    scale: Scale | None = None  # of the bar
    sign: str = ""  # between it and the panel before
    least: int = 0  # pixels of its width

    @classmethod
    def of(cls, plane: Numbers, on: Scale, zoom: Zoom, /, **more: Any) -> Self:
        """Return the panel of a map (rows, columns), or of three in colour, with its numbers."""
        written = plane.ndim == 2 and max(plane.shape) <= WRITTEN and not zoom.averages
        texts = [[format_cell(value) for value in row] for row in plane.tolist()] if written else ()
        return cls(map_colours(plane, zoom.block, on), zoom.up, **{"texts": texts, **more})

    @property
    def corner(self) -> tuple[int, int]:
        """The (x, y) of its first cell."""
        rows, columns = self.colours.shape[:2]
        left, top = _SIGN * bool(self.sign), 24 * bool(self.title)
        if self.numbered:
            widest = text_width(str(rows * columns * self.numbered), SMALL_SIZE)
            left, top = left + widest + 8, top + 16
        return left, top

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of all of it."""
        (x, y), (rows, columns) = self.corner, self.colours.shape[:2]
        height = y + rows * self.up[0] + (40 if self.scale else 0)
        return x + max(columns * self.up[1], self.least), height

    def pixels(self) -> Bytes:
        """Return the cells, enlarged."""
        pixels = enlarge(self.colours, self.up)
        if self.rule:
            pixels[self.up[0] - 1 : -1 : self.up[0]] = self.rule
            pixels[:, self.up[1] - 1 : -1 : self.up[1]] = self.rule
        return pixels


def map_colours(plane: Numbers, down: Pair, scale: Scale) -> Bytes:
    """Return the colours of a map's blocks (rows, columns, 3), or of three maps as one picture."""
    if plane.ndim == 2:
        return rgb(block_means(plane, down), scale)
    return np.asarray(draw_colour(np.stack([block_means(one, down) for one in plane]), scale))


def draw_panels(
    rows: Sequence[Sequence[Panel]],
    title: str,
    notes: Sequence[str] = (),
    bars: Sequence[Bar] = (),
    legend: Sequence[tuple[Colour, str]] = (),
) -> Sheet:
    """Return a sheet with rows of panels, side by side from the left."""
    widths = [sum(panel.size[0] for panel in row) + _GAP * (len(row) - 1) for row in rows]
    heights = [max(panel.size[1] for panel in row) for row in rows]
    body = (max(widths) + 1, sum(heights) + 16 * (len(rows) - 1) + 1)
    sheet = Sheet(body, title, notes, bars, legend)
    panels = [panel for row in rows for panel in row]
    sizes = {  # of numbers: one for all cells of a size, or none if one of them does not fit
        up: fitting_size([t for p in panels if p.up == up for line in p.texts for t in line], up)
        for up in {panel.up for panel in panels}
    }
    y = sheet.top
    for row, height in zip(rows, heights, strict=True):
        x = sheet.left + 1
        for panel in row:
            sheet.panel(panel, x, y, sizes[panel.up])
            x += panel.size[0] + _GAP
        y += height + 16
    return sheet


# --- the sheet ---------------------------------------------------------------------------------


class Sheet:
    """White paper with a header (title, notes, colour bars, legend) over a body."""

    def __init__(
        self,
        body: tuple[int, int],
        title: str,
        notes: Sequence[str],
        bars: Sequence[Bar] = (),
        legend: Sequence[tuple[Colour, str]] = (),
        inset: Image.Image | None = None,
    ) -> None:
        """Lay the header out; an `inset`, what the network saw, stands at its right."""
        title = drawable(title)
        aside = inset.width + 24 if inset else 0
        inner = max(body[0], min(text_width(title, TITLE_SIZE), 640) + aside, 320 + aside)
        beside = inner - aside
        lines = wrap(title, beside, TITLE_SIZE, 3)
        soft = [line for note in notes for line in wrap(note, beside, TEXT_SIZE, 3)]
        abreast = max(1, (beside + 40) // (_BAR_WIDTH + 40))
        bar_rows = math.ceil(len(bars) / abreast)
        top = MARGIN + 24 * len(lines) + 18 * len(soft)
        bars_top = top + 8
        if bars:
            top = bars_top + bar_rows * 36
        legend_top = top + 4
        if legend:
            top = legend_top + 16
        if inset:
            top = max(top, MARGIN + inset.height + 16)
        self.left = MARGIN
        self.top = top + 12
        size = (inner + 2 * MARGIN, self.top + body[1] + MARGIN)
        self.image = Image.new("RGB", size, PAPER)
        self.draw = ImageDraw.Draw(self.image)
        y = MARGIN
        for line in lines:
            self.text(self.left, y + 18, line, TITLE_SIZE)
            y += 24
        for line in soft:
            self.text(self.left, y + 12, line, TEXT_SIZE, fill=SOFT)
            y += 18
        for number, bar in enumerate(bars):
            row, column = divmod(number, abreast)
            self.bar(bar, self.left + column * (_BAR_WIDTH + 40), bars_top + row * 36)
        self._legend(legend, legend_top)
        if inset:
            x = self.left + inner - inset.width
            self.paste(np.asarray(inset.convert("RGB")), x, MARGIN)
            self.text(x, MARGIN + inset.height + 13, "the input", SMALL_SIZE, fill=SOFT)

    def text(
        self, x: float, y: float, text: str, size: int, *, fill: Colour = INK, anchor: str = "ls"
    ) -> None:
        """Write at (x, y): by default the left end of the baseline."""
        part = (x % 1, y % 1)
        mask, left, top = stamp(text, size, anchor, part)
        self.draw.bitmap((int(x - part[0]) + left, int(y - part[1]) + top), mask, fill=fill)

    def paste(self, pixels: Bytes, x: int, y: int, *, frame: bool = True) -> None:
        """Put pixels down, with a thin line around them that covers none."""
        height, width = pixels.shape[:2]
        if frame:
            self.draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
        self.image.paste(Image.fromarray(pixels), (x, y))

    def panel(self, panel: Panel, x: int, y: int, text_size: int | None) -> None:
        """Draw a panel with everything that belongs to it, its corner at (x, y).

        Numbers stand in its cells if there is a size for them.
        """
        title = shorten(drawable(panel.title), panel.size[0], TEXT_SIZE)
        self.text(x + panel.corner[0], y + 14, title, TEXT_SIZE, fill=SOFT)
        x, y = x + panel.corner[0], y + panel.corner[1]
        pixels = panel.pixels()
        height, width = pixels.shape[:2]
        self.paste(pixels, x, y)
        if text_size:
            ruled = panel.rule is None
            self.numbers(panel.texts, panel.colours, panel.up, text_size, x, y, ruled=ruled)
        for top, left, bottom, right in panel.rings:
            self.ring(x + left, y + top, x + right, y + bottom)
        if panel.sign:
            self.text(x - 22, y + height / 2, panel.sign, 20, fill=SOFT, anchor="mm")
        if panel.numbered:
            self.number_cells(x, y, panel.colours.shape[:2], panel.up, panel.numbered)
        if panel.scale is not None:
            self.bar(Bar.of(panel.scale), x, y + height + 8, min(max(width, 150), _BAR_WIDTH))

    def ring(self, left: int, top: int, right: int, bottom: int) -> None:
        """Draw a bright line between two dark ones around pixels: it is seen on any ground.

        The box is that of the pixels inside it, `right` and `bottom` not counted.
        """
        for step, colour in ((4, BLACK), (3, ACCENT), (2, ACCENT), (1, BLACK)):
            box = (left - step, top - step, right + step - 1, bottom + step - 1)
            self.draw.rectangle(box, outline=colour)

    def numbers(
        self, texts: Sequence[Sequence[str]], colours: Bytes, cell: Pair, size: int,
        x: int, y: int, *, ruled: bool = True,
    ) -> None:  # fmt: skip
        """Write a text into every cell, black or white, whichever can be read.

        Where they are `ruled` fine lines part the cells: equal ones would be one patch.
        """
        height, width = cell
        for i, row in enumerate(texts):
            for j, text in enumerate(row):
                ink, left, top = readable_on(colours[i, j]), x + j * width, y + i * height
                if ruled:  # a fifth of the way from the cell's colour to its ink
                    line = (0.8 * colours[i, j] + 0.2 * np.array(ink)).astype(np.uint8).tolist()
                    corner = [(left, top + height - 1)] * (j > 0) + [(left, top)]
                    corner += [(left + width - 1, top)] * (i > 0)
                    self.draw.line(corner, fill=tuple(line))
                self.text(left + width / 2, top + height / 2, text, size, fill=ink, anchor="mm")

    def number_cells(self, x: int, y: int, counts: Pair, pitch: Pair, times: int = 1) -> None:
        """Write the first index of rows of cells beside them, and what to add over the columns."""
        rows, columns = counts
        for row in range(0, rows, math.ceil(14 / pitch[0])):
            at = y + row * pitch[0] + pitch[0] / 2
            text = f"{row * columns * times}"
            self.text(x - 6, at, text, SMALL_SIZE, fill=SOFT, anchor="rm")
        steps = (step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step * pitch[1] >= 36)
        for column in range(0, columns, next(steps, columns)):
            at = x + column * pitch[1] + pitch[1] / 2
            self.text(at, y - 5, f"+{column * times}", SMALL_SIZE, fill=SOFT, anchor="ms")

    def bar(self, bar: Bar, x: int, y: int, width: int = _BAR_WIDTH) -> None:
        """Draw a colour bar, with its ends and 0 written below."""
        steps = np.linspace(bar.scale.low / 2, bar.scale.high / 2, width) * 2
        self.paste(rgb(np.tile(steps, (_BAR_HEIGHT, 1)), bar.scale), x, y)
        middle, end = y + _BAR_HEIGHT // 2, y + _BAR_HEIGHT - 1
        for beyond, at, tip, value in (
            (bar.beyond[0], x - 1, x - 9, bar.scale.low),
            (bar.beyond[1], x + width, x + width + 8, bar.scale.high),
        ):
            if beyond:
                (colour,) = rgb(np.array([[value]]), bar.scale)[0]
                corners = [(at, y), (tip, middle), (at, end)]
                self.draw.polygon(corners, fill=tuple(colour.tolist()), outline=FRAME)
        below = y + _BAR_HEIGHT
        ticks = [(0.0, bar.low, "ls"), (1.0, bar.high, "rs")]
        if bar.zero is not None:
            ticks.append((bar.zero, "0", "ms"))
        for place, text, anchor in ticks:
            at = x + round(place * (width - 1))
            self.draw.line((at, below, at, below + 3), fill=SOFT)
            self.text(at, below + 15, text, SMALL_SIZE, fill=INK, anchor=anchor)

    def _legend(self, legend: Sequence[tuple[Colour, str]], y: int) -> None:
        x = self.left
        for colour, text in legend:
            self.draw.rectangle((x, y, x + 11, y + 11), fill=colour, outline=FRAME)
            self.text(x + 17, y + 10, text, SMALL_SIZE)
            x += 17 + text_width(text, SMALL_SIZE) + 16
