"""Paper: the sheet under a picture, with its title, colour bars, legend and lettering."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnnviz.errors import safe
from cnnviz.view.maps import (
    NAN_COLOUR,
    NEGATIVE_INFINITY_COLOUR,
    POSITIVE_INFINITY_COLOUR,
    Bytes,
    Colour,
    rgb,
)
from cnnviz.view.numbers import format_number
from cnnviz.view.scale import Numbers, Scale, all_finite, bands, count_outside

PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 32, 32)
SOFT: Colour = (96, 96, 96)
FRAME: Colour = (176, 176, 176)
ACCENT: Colour = (255, 210, 0)  # what is pointed at: no colour map has it

MARGIN = 16
_TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 18, 13, 11
_BAR_WIDTH, _BAR_HEIGHT = 256, 12


# ---------------------------------------------------------------------------- lettering

# What Pillow's own font (Aileron) can draw, and how we spell the rest.
_DRAWABLE = frozenset(map(chr, range(32, 127))) | frozenset("©«°±´·»‘’“”…‹›™")
_SPELLINGS = {"→": "->", "×": "x", "−": "-", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "∞": "inf"}
_SPELLINGS |= {"σ": "sigma", "θ": "theta", "λ": "lambda", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae"}


def drawable(text: str) -> str:
    """Respell text with the characters the font has."""
    spelled = []
    for character in safe(text[:4096]):
        if character in _DRAWABLE:
            spelled.append(character)
        elif character in _SPELLINGS:
            spelled.append(_SPELLINGS[character])
        else:  # é -> e; what remains unknown is a ?
            parts = unicodedata.normalize("NFKD", character)
            spelled.append("".join(part for part in parts if part in _DRAWABLE) or "?")
    return "".join(spelled)


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font all lettering is in."""
    loaded = ImageFont.load_default(size)
    if not isinstance(loaded, ImageFont.FreeTypeFont):  # pragma: no cover
        raise TypeError("Pillow was built without FreeType")
    return loaded


def text_width(text: str, size: int) -> int:
    """Return how many pixels wide a text is."""
    return math.ceil(font(size).getlength(text))


def shorten(text: str, width: int, size: int) -> str:
    """Cut text to a width, with an ellipsis in place of what is left out."""
    if text_width(text, size) <= width:
        return text
    keep, most = 0, len(text)
    while keep < most:
        middle = (keep + most + 1) // 2
        if text_width(text[:middle].rstrip() + "…", size) <= width:
            keep = middle
        else:
            most = middle - 1
    return text[:keep].rstrip() + "…" if keep else ""


def _wrap(text: str, width: int, size: int, lines: int) -> list[str]:
    """Break text into at most so many lines; what does not fit is an ellipsis."""
    wrapped: list[str] = []
    rest = text
    while rest and len(wrapped) < lines - 1 and text_width(rest, size) > width:
        fit = shorten(rest, width, size).removesuffix("…")
        space = rest.rfind(" ", 0, len(fit) + 1)
        cut = space if space > len(fit) // 2 else max(1, len(fit))
        wrapped.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*wrapped, shorten(rest, width, size)] if rest else wrapped


# ---------------------------------------------------------------------------- what a sheet says


@dataclass(frozen=True)
class Bar:
    """A colour bar: its scale, and what is written under its ends and under 0."""

    scale: Scale
    low: str
    high: str

    @property
    def zero(self) -> float | None:
        """Where 0 is between low and high, if it is well inside."""
        place = -self.scale.low / (self.scale.high - self.scale.low)
        return place if 0.15 < place < 0.85 else None

    @classmethod
    def of(cls, scale: Scale) -> Bar:
        """Return the bar with the ends of the scale as numbers."""
        return cls(scale, format_number(scale.low), format_number(scale.high))


@dataclass(frozen=True)
class Census:
    """What there is to say about all the values of a picture."""

    low: float | None  # of the finite values
    high: float | None
    legend: tuple[tuple[Colour, str], ...]  # the NaN and infinities that occur

    @classmethod
    def of(cls, values: Numbers) -> Census:
        """Look at all values, finite or not."""
        low, high = math.inf, -math.inf
        counts = [0, 0, 0]
        for band in bands(values):
            finite = band
            if not all_finite(band):
                finite = band[np.isfinite(band)]
                odd = (np.isnan(band), np.isposinf(band), np.isneginf(band))
                counts = [n + int(np.count_nonzero(o)) for n, o in zip(counts, odd, strict=True)]
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        kinds = [
            (NAN_COLOUR, "NaN"),
            (POSITIVE_INFINITY_COLOUR, "+inf"),
            (NEGATIVE_INFINITY_COLOUR, "-inf"),
        ]
        legend = tuple(
            (colour, f"{name} ({count:,})")
            for (colour, name), count in zip(kinds, counts, strict=True)
            if count
        )
        return cls(low, high, legend) if low <= high else cls(None, None, legend)

    def span(self, write: Callable[[float], str] = format_number) -> str:
        """Tell the range, to follow a noun: 'values', 'maps of 3 x 3'."""
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


@dataclass(frozen=True)
class CellNumbers:
    """Numbers that fit into the cells of a map."""

    texts: Sequence[Sequence[str]]
    cell: tuple[int, int]  # (rows, columns) of pixels
    size: int  # of the font


# ---------------------------------------------------------------------------- the sheet


class Sheet:
    """White paper with a header (title, notes, colour bars, legend) over a body."""

    def __init__(
        self,
        body: tuple[int, int],
        title: str,
        notes: Sequence[str],
        bars: Sequence[Bar] = (),
        legend: Sequence[tuple[Colour, str]] = (),
    ) -> None:
        title = drawable(title)
        inner = max(body[0], min(text_width(title, _TITLE_SIZE), 640), 320)
        lines = _wrap(title, inner, _TITLE_SIZE, 3)
        soft = [line for note in notes for line in _wrap(note, inner, TEXT_SIZE, 3)]
        abreast = max(1, (inner + 40) // (_BAR_WIDTH + 40))
        bar_rows = math.ceil(len(bars) / abreast)
        top = MARGIN + 24 * len(lines) + 18 * len(soft)
        bars_top = top + 8
        if bars:
            top = bars_top + bar_rows * 36
        legend_top = top + 4
        if legend:
            top = legend_top + 16
        self.left = MARGIN
        self.top = top + 12
        size = (inner + 2 * MARGIN, self.top + body[1] + MARGIN)
        self.image = Image.new("RGB", size, PAPER)
        self.draw = ImageDraw.Draw(self.image)
        y = MARGIN
        for line in lines:
            self.text(self.left, y + 18, line, _TITLE_SIZE)
            y += 24
        for line in soft:
            self.text(self.left, y + 12, line, TEXT_SIZE, fill=SOFT)
            y += 18
        for number, bar in enumerate(bars):
            row, column = divmod(number, abreast)
            self.bar(bar, self.left + column * (_BAR_WIDTH + 40), bars_top + row * 36)
        self._legend(legend, legend_top)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        *,
        fill: Colour = INK,
        anchor: str = "ls",
    ) -> None:
        """Write at (x, y): by default the left end of the baseline."""
        self.draw.text((x, y), text, font=font(size), fill=fill, anchor=anchor)

    def paste(self, pixels: Bytes, x: int, y: int, *, frame: bool = True) -> None:
        """Put pixels down, with a thin line around them that covers none."""
        height, width = pixels.shape[:2]
        if frame:
            self.draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
        self.image.paste(Image.fromarray(pixels), (x, y))

    def ring(self, left: int, top: int, right: int, bottom: int) -> None:
        """Draw a bright line between two dark ones around pixels: it is seen on any ground.

        The box is that of the pixels inside it, `right` and `bottom` not counted.
        """
        for step, colour in ((4, (0, 0, 0)), (3, ACCENT), (2, ACCENT), (1, (0, 0, 0))):
            box = (left - step, top - step, right + step - 1, bottom + step - 1)
            self.draw.rectangle(box, outline=colour)

    def numbers(self, numbers: CellNumbers, colours: Bytes, x: int, y: int) -> None:
        """Write a number into every cell, black or white, whichever can be read."""
        height, width = numbers.cell
        for i, row in enumerate(numbers.texts):
            for j, text in enumerate(row):
                centre = (x + (j + 0.5) * width, y + (i + 0.5) * height)
                self.text(*centre, text, numbers.size, fill=readable_on(colours[i, j]), anchor="mm")

    def bar(self, bar: Bar, x: int, y: int, width: int = _BAR_WIDTH) -> None:
        """Draw a colour bar, with its ends and 0 written below."""
        steps = np.linspace(bar.scale.low / 2, bar.scale.high / 2, width) * 2
        self.paste(rgb(np.tile(steps, (_BAR_HEIGHT, 1)), bar.scale), x, y)
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


def fitting_size(texts: Sequence[str], cell: tuple[int, int]) -> int | None:
    """Return the largest font size at which every text fits a cell of (rows, columns) pixels."""
    longest = sorted(set(texts), key=lambda text: (len(text), text))[-40:]  # not by chance
    for size in (18, 16, 14, 13, 12, 11, 10, 9):
        if cell[0] >= size + 4 and all(text_width(text, size) + 5 <= cell[1] for text in longest):
            return size
    return None


def readable_on(colour: Bytes) -> Colour:
    """Return black or white, whichever has more contrast with a colour (WCAG 2 luminance)."""
    linear = (colour / 255.0) ** 2.2
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)
