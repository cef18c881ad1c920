"""Numbers to pictures: feature maps, grids of them, vectors and kernels.

A picture tells the truth: signed values are blue below 0, near-white at 0 and red above it;
values that are never negative are grey, and black is 0. A colour stands for one value all over
a picture that has one scale. What has no place on a scale has a colour of its own, one that
occurs in no colour map:

======  =======  =================
value   colour   red, green, blue
======  =======  =================
NaN     magenta  255, 0, 255
+inf    green    0, 255, 0
-inf    cyan     0, 255, 255
======  =======  =================
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cnnviz.errors import unknown
from cnnviz.view.colormaps import COLORMAPS

Numbers = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]

NAN_COLOUR: Colour = (255, 0, 255)
POSITIVE_INFINITY_COLOUR: Colour = (0, 255, 0)
NEGATIVE_INFINITY_COLOUR: Colour = (0, 255, 255)

# An indexed picture has 256 colours. Three are kept for NaN, +inf and -inf; the other 253 are an
# odd number, so that a diverging map has one in the very middle.
LEVELS = 253
_NAN, _POSITIVE_INFINITY, _NEGATIVE_INFINITY = 253, 254, 255

_BAND = 1 << 17  # values worked on at a time: float64 copies stay in the cache


# ---------------------------------------------------------------------------- scales


@dataclass(frozen=True)
class Scale:
    """How values become colours: low..high over a colour map."""

    low: float
    high: float
    colormap: str  # a concrete name, never "auto"

    @property
    def diverging(self) -> bool:
        """Whether 0 has the neutral colour and equal steps from it are equally strong."""
        return self.colormap == "rdbu"

    @property
    def reach(self) -> float:
        """The distance from 0 that has the strongest colour of a diverging map."""
        return max(abs(self.low), abs(self.high))


def choose_scale(
    low: float | None,
    high: float | None,
    *,
    colormap: str = "auto",
    value_range: tuple[float, float] | None = None,
) -> Scale:
    """Choose the scale for values whose finite minimum and maximum are known.

    Parameters
    ----------
    low, high : float or None
        The finite minimum and maximum of everything that shares the scale; None without any.
    colormap : str
        ``auto`` is ``rdbu`` when anything is negative, else ``gray``.
    value_range : (float, float), optional
        The ends, instead of those the values suggest; the caller has checked low < high.

    Notes
    -----
    ``rdbu`` reaches equally far below and above 0. The other maps begin at 0 (or at the minimum
    if that is negative) and end at the maximum. So a map of zeros is black, a constant
    positive map white and a constant negative one the deepest blue.

    With ``value_range`` the ends are those given, and 0 stays neutral in ``rdbu``: of two unequal
    ends the farther one has the strongest colour, and the nearer a paler one.

    >>> choose_scale(-1, 4)
    Scale(low=-4.0, high=4.0, colormap='rdbu')
    >>> choose_scale(2, 9)
    Scale(low=0.0, high=9.0, colormap='gray')
    >>> choose_scale(0, 0)
    Scale(low=0.0, high=1.0, colormap='gray')
    >>> choose_scale(-1, 4, colormap="viridis")
    Scale(low=-1.0, high=4.0, colormap='viridis')
    """
    if value_range is not None:
        low, high = value_range
    low, high = float(low or 0), float(high or 0)
    if colormap == "auto":
        colormap = "rdbu" if low < 0 else "gray"
    if colormap not in COLORMAPS:
        raise unknown("colour map", colormap, ["auto", *COLORMAPS])
    if value_range is not None:
        return Scale(low, high, colormap)
    if colormap == "rdbu":
        reach = max(abs(low), abs(high)) or 1.0
        return Scale(-reach, reach, colormap)
    start = min(low, 0.0)
    end = high if high > start else start + abs(start or 1.0)  # constant: up to 0, or 0..1
    return Scale(start, end, colormap)


def count_outside(tensor: Numbers, scale: Scale) -> int:
    """Count the finite values that lie outside a scale and are drawn in its end colours.

    >>> count_outside(np.float32([-1, 0, 0.1, np.inf]), Scale(0, 0.1, "gray"))
    1
    """
    with np.errstate(over="ignore"):
        low, high = np.float32(scale.low), np.float32(scale.high)  # so that 0.1 is not above 0.1
    return sum(
        int(np.count_nonzero(np.isfinite(band) & ((band < low) | (band > high))))
        for band in _bands(tensor)
    )


def _bands(values: Numbers) -> Iterator[Numbers]:
    flat = np.ascontiguousarray(values).reshape(-1)
    for start in range(0, flat.size, _BAND):
        yield flat[start : start + _BAND]


# ---------------------------------------------------------------------------- pixels


def draw_map(plane: Numbers, scale: Scale) -> Image.Image:
    """Draw one map, one pixel a value and no text.

    In grey the pixel is round((value - low) / (high - low) * 255) in a grey ("L") picture;
    in every other map, or with NaN or an infinity, the picture is indexed ("P"). Values outside
    the scale (see `count_outside`) get the colour of the nearer end.

    >>> draw_map(np.float32([[0, 1], [2, 4]]), Scale(0, 4, "gray")).tobytes().hex()
    '004080ff'
    """
    indices, palette = _indexed(plane, scale)
    image = Image.fromarray(indices)
    if palette is not None:
        image.putpalette(palette.tobytes())
    return image


def draw_colour(planes: Numbers, scale: Scale) -> Image.Image:
    """Draw three maps (3, H, W) as the red, green and blue of one picture, low..high as 0..255.

    A pixel with a NaN (or, failing that, an infinity) in any of the three has its colour.
    """
    grey = replace(scale, colormap="gray")
    bands = np.stack([_quantise(plane, grey, 256) for plane in planes], axis=2)
    if not _all_finite(planes):
        bands[np.isneginf(planes).any(axis=0)] = NEGATIVE_INFINITY_COLOUR
        bands[np.isposinf(planes).any(axis=0)] = POSITIVE_INFINITY_COLOUR
        bands[np.isnan(planes).any(axis=0)] = NAN_COLOUR
    return Image.fromarray(bands)


def _all_finite(values: Numbers) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))  # NaN wins both


def _indexed(plane: Numbers, scale: Scale) -> tuple[Bytes, Bytes | None]:
    """Return an index for every value, and the palette; None if the indices are the greys."""
    if scale.colormap == "gray" and _all_finite(plane):
        return _quantise(plane, scale, 256), None
    return _quantise(plane, scale, LEVELS), _palette(scale.colormap)


@lru_cache
def _palette(colormap: str) -> Bytes:
    colours = COLORMAPS[colormap].colours(LEVELS)
    reserved = [NAN_COLOUR, POSITIVE_INFINITY_COLOUR, NEGATIVE_INFINITY_COLOUR]
    palette = np.concatenate([colours, np.array(reserved, np.uint8)])
    palette.flags.writeable = False
    return palette


def _rgb(plane: Numbers, scale: Scale) -> Bytes:
    """Return the colours of a plane, (H, W, 3)."""
    indices, palette = _indexed(plane, scale)
    return np.repeat(indices[..., None], 3, axis=2) if palette is None else palette[indices]


def _quantise(plane: Numbers, scale: Scale, levels: int) -> Bytes:
    """Return the level of every value, in float64 but never of the whole plane at once."""
    parts = [_quantise_band(band, scale, levels) for band in _bands(plane)]
    return np.concatenate(parts).reshape(plane.shape)


def _quantise_band(band: Numbers, scale: Scale, levels: int) -> Bytes:
    values = band.astype(np.float64)
    finite = np.isfinite(values)
    np.clip(values, scale.low, scale.high, out=values)
    values[np.isnan(values)] = scale.low
    if scale.diverging:
        middle = (levels - 1) // 2
        values /= scale.reach
        values *= middle
        np.rint(values, out=values)  # rounds halves to even, so -v mirrors v
        values += middle
    else:
        low, span = scale.low, scale.high - scale.low
        if math.isinf(span):  # ends near ±1.8e308
            low, span = low / 2, scale.high / 2 - low / 2
            values /= 2
        values -= low
        values /= span
        values *= levels - 1
        np.rint(values, out=values)
    indices = values.astype(np.uint8)
    if levels == LEVELS and not finite.all():
        indices[np.isnan(band)] = _NAN
        indices[np.isposinf(band)] = _POSITIVE_INFINITY
        indices[np.isneginf(band)] = _NEGATIVE_INFINITY
    return indices


def _block_means(plane: Numbers, down: tuple[int, int]) -> Numbers:
    """Average blocks of (rows, columns) values; blocks at the far edges may be smaller."""
    if down == (1, 1):
        return plane
    starts = [np.arange(0, size, step) for size, step in zip(plane.shape, down, strict=True)]
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and is drawn so
        sums = np.add.reduceat(plane, starts[0], axis=0, dtype=np.float64)
        sums = np.add.reduceat(sums, starts[1], axis=1)
    heights, widths = (
        np.diff(start, append=size) for start, size in zip(starts, plane.shape, strict=True)
    )
    return np.asarray(sums / np.outer(heights, widths))


def _enlarge(pixels: Bytes, up: tuple[int, int]) -> Bytes:
    return pixels.repeat(up[0], axis=0).repeat(up[1], axis=1)


# ---------------------------------------------------------------------------- numbers and words


def format_number(value: float, digits: int = 4) -> str:
    """Write a number shortly, for a label: never '-0'.

    >>> [format_number(v) for v in (1020, 0.25, 1.5e-7, -0.0, 1 / 3, 65535, 12345.6, 1e6)]
    ['1020', '0.25', '1.5e-07', '0', '0.3333', '65535', '12346', '1e+06']
    """
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if 10 ** (digits - 1) <= abs(value) < 999_999.5 or (value == round(value) and abs(value) < 1e6):
        return str(round(value))
    return f"{value:.{digits}g}"


def format_range(low: float, high: float) -> str:
    """Write two ends, shortly: '±3.2' when they mirror each other, else '0 to 1020'.

    >>> format_range(-3.2, 3.2), format_range(0, 1020)
    ('±3.2', '0 to 1020')
    """
    if low == -high and high > 0:
        return f"±{format_number(high, 3)}"
    return f"{format_number(low, 3)} to {format_number(high, 3)}"


def format_cell(value: float) -> str:
    """Write a number into a cell, in at most seven characters or so.

    >>> [format_cell(v) for v in (0.63814, -1.25, 0.012345, 4.5e-5, -4e-12, 16384, 1.5e9, -0.0)]
    ['0.638', '-1.25', '0.0123', '4.5e-5', '-4e-12', '16384', '1.5e9', '0']
    """
    if 0.001 <= abs(value) < 0.1:
        return f"{round(value, 4):.3g}"
    text = format_number(value, 2 if value and not 0.001 <= abs(value) < 1e6 else 3)
    return re.sub(r"e([+-]?)0*", lambda match: "e" + match[1].replace("+", ""), text)


def format_fraction(value: float, other: Callable[[float], str] = format_number) -> str:
    """Write a number as a fraction where that is exact and shorter.

    >>> [format_fraction(v) for v in (1 / 16, 1 / 9, 0.5, -2.0, 0.25, 0.1, -0.0, 2 ** 0.5)]
    ['1/16', '1/9', '0.5', '-2', '1/4', '0.1', '0', '1.414']
    """
    if math.isfinite(value) and value:
        fraction = Fraction(value).limit_denominator(1024)
        exact = abs(float(fraction) - value) <= 2 * math.ulp(value)
        if exact and len(str(fraction)) < len(f"{value:.15g}"):
            return str(fraction)
    return other(value)


_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # window titles, links
    r"|\x1b[ -/]*[0-~]"
)


def one_line(text: str) -> str:
    r"""Make text from outside harmless: one line, no control characters, no terminal escapes.

    >>> one_line("cat\n\x1b[31mred\x07\u202e\udcff")
    'cat red?'
    """
    text = _ESCAPE.sub("", text)
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            kept.append("?")
        elif character.isspace():
            kept.append(" ")
        elif category[0] != "C":
            kept.append(character)
    return "".join(kept).strip()


# What Pillow's own font (Aileron) can draw, and how we spell the rest.
_DRAWABLE = frozenset(map(chr, range(32, 127))) | frozenset("©«°±´·»‘’“”…‹›™")
_SPELLINGS = {"→": "->", "×": "x", "−": "-", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "∞": "inf"}
_SPELLINGS |= {"σ": "sigma", "θ": "theta", "λ": "lambda", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae"}


def _drawable(text: str) -> str:
    """Respell text with the characters the font has."""
    spelled = []
    for character in one_line(text[:4096]):
        if character in _DRAWABLE:
            spelled.append(character)
        elif character in _SPELLINGS:
            spelled.append(_SPELLINGS[character])
        else:  # é -> e; what remains unknown is a ?
            parts = unicodedata.normalize("NFKD", character)
            spelled.append("".join(part for part in parts if part in _DRAWABLE) or "?")
    return "".join(spelled)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # pragma: no cover
        raise TypeError("Pillow was built without FreeType")
    return font


def _width(text: str, size: int) -> int:
    return math.ceil(_font(size).getlength(text))


def _shorten(text: str, width: int, size: int) -> str:
    """Cut text to a width, with an ellipsis in place of what is left out."""
    if _width(text, size) <= width:
        return text
    keep, most = 0, len(text)
    while keep < most:
        middle = (keep + most + 1) // 2
        if _width(text[:middle].rstrip() + "…", size) <= width:
            keep = middle
        else:
            most = middle - 1
    return text[:keep].rstrip() + "…" if keep else ""


def _shorten_label(text: str, width: int, size: int) -> str:
    """Cut a map's label to a width; a narrow cell keeps the first word (its index) alone."""
    first = text.partition(" ")[0]
    if width < 64 and _width(text, size) > width >= _width(first, size):
        return first
    return _shorten(text, width, size)


def _wrap(text: str, width: int, size: int, lines: int) -> list[str]:
    """Break text into at most so many lines; what does not fit is an ellipsis."""
    wrapped: list[str] = []
    rest = text
    while rest and len(wrapped) < lines - 1 and _width(rest, size) > width:
        fit = _shorten(rest, width, size).removesuffix("…")
        space = rest.rfind(" ", 0, len(fit) + 1)
        cut = space if space > len(fit) // 2 else max(1, len(fit))
        wrapped.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*wrapped, _shorten(rest, width, size)] if rest else wrapped


# ---------------------------------------------------------------------------- the sheet

_PAPER: Colour = (255, 255, 255)
_INK: Colour = (32, 32, 32)
_SOFT: Colour = (96, 96, 96)
_FRAME: Colour = (176, 176, 176)
_GUIDE: Colour = (224, 224, 224)

_MARGIN = 16
_PAGE_WIDTH = 1600
_TITLE, _TEXT, _SMALL = 18, 13, 11
_BAR_WIDTH, _BAR_HEIGHT = 256, 12
_MOST_CELL_TEXTS = 20_000  # numbers written into one picture, at most


@dataclass(frozen=True)
class _Bar:
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
    def of(cls, scale: Scale) -> _Bar:
        return cls(scale, format_number(scale.low), format_number(scale.high))


@dataclass(frozen=True)
class _Census:
    """What there is to say about all the values of a picture."""

    low: float | None  # of the finite values
    high: float | None
    legend: tuple[tuple[Colour, str], ...]  # the NaN and infinities that occur

    @classmethod
    def of(cls, values: Numbers) -> _Census:
        low, high = math.inf, -math.inf
        counts = [0, 0, 0]
        for band in _bands(values):
            finite = band
            if not _all_finite(band):
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


def _outside_note(values: Numbers, scales: Sequence[Scale]) -> list[str]:
    planes = [values] if len(scales) == 1 else list(values)
    count = sum(count_outside(plane, scale) for plane, scale in zip(planes, scales, strict=True))
    if not count:
        return []
    subject, are = ("1 value", "is") if count == 1 else (f"{count:,} values", "are")
    return [f"{subject} outside the scale {are} drawn in the colour of its nearer end"]


@dataclass(frozen=True)
class _CellNumbers:
    """Numbers that fit into the cells of a map."""

    texts: Sequence[Sequence[str]]
    cell: tuple[int, int]  # (rows, columns) of pixels
    size: int  # of the font


class _Sheet:
    """White paper with a header (title, notes, colour bars, legend) over a body."""

    def __init__(
        self,
        body: tuple[int, int],
        title: str,
        notes: Sequence[str],
        bars: Sequence[_Bar] = (),
        legend: Sequence[tuple[Colour, str]] = (),
    ) -> None:
        title = _drawable(title)
        inner = max(body[0], min(_width(title, _TITLE), 640), 320)
        lines = _wrap(title, inner, _TITLE, 3)
        soft = [line for note in notes for line in _wrap(note, inner, _TEXT, 3)]
        abreast = max(1, (inner + 40) // (_BAR_WIDTH + 40))
        bar_rows = math.ceil(len(bars) / abreast)
        top = _MARGIN + 24 * len(lines) + 18 * len(soft)
        bars_top = top + 8
        if bars:
            top = bars_top + bar_rows * 36
        legend_top = top + 4
        if legend:
            top = legend_top + 16
        self.left = _MARGIN
        self.top = top + 12
        size = (inner + 2 * _MARGIN, self.top + body[1] + _MARGIN)
        self.image = Image.new("RGB", size, _PAPER)
        self.draw = ImageDraw.Draw(self.image)
        y = _MARGIN
        for line in lines:
            self.text(self.left, y + 18, line, _TITLE)
            y += 24
        for line in soft:
            self.text(self.left, y + 12, line, _TEXT, fill=_SOFT)
            y += 18
        for number, bar in enumerate(bars):
            row, column = divmod(number, abreast)
            self._bar(bar, self.left + column * (_BAR_WIDTH + 40), bars_top + row * 36)
        self._legend(legend, legend_top)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        *,
        fill: Colour = _INK,
        anchor: str = "ls",
    ) -> None:
        """Write at (x, y): by default the left end of the baseline."""
        self.draw.text((x, y), text, font=_font(size), fill=fill, anchor=anchor)

    def paste(self, pixels: Bytes, x: int, y: int, *, frame: bool = True) -> None:
        """Put pixels down, with a thin line around them that covers none."""
        height, width = pixels.shape[:2]
        if frame:
            self.draw.rectangle((x - 1, y - 1, x + width, y + height), outline=_FRAME)
        self.image.paste(Image.fromarray(pixels), (x, y))

    def numbers(self, numbers: _CellNumbers, colours: Bytes, x: int, y: int) -> None:
        """Write a number into every cell, black or white, whichever can be read."""
        height, width = numbers.cell
        for i, row in enumerate(numbers.texts):
            for j, text in enumerate(row):
                centre = (x + (j + 0.5) * width, y + (i + 0.5) * height)
                self.text(
                    *centre, text, numbers.size, fill=_readable_on(colours[i, j]), anchor="mm"
                )

    def _bar(self, bar: _Bar, x: int, y: int) -> None:
        steps = np.linspace(bar.scale.low / 2, bar.scale.high / 2, _BAR_WIDTH) * 2
        self.paste(_rgb(np.tile(steps, (_BAR_HEIGHT, 1)), bar.scale), x, y)
        below = y + _BAR_HEIGHT
        ticks = [(0.0, bar.low, "ls"), (1.0, bar.high, "rs")]
        if bar.zero is not None:
            ticks.append((bar.zero, "0", "ms"))
        for place, text, anchor in ticks:
            at = x + round(place * (_BAR_WIDTH - 1))
            self.draw.line((at, below, at, below + 3), fill=_SOFT)
            self.text(at, below + 15, text, _SMALL, fill=_INK, anchor=anchor)

    def _legend(self, legend: Sequence[tuple[Colour, str]], y: int) -> None:
        x = self.left
        for colour, text in legend:
            self.draw.rectangle((x, y, x + 11, y + 11), fill=colour, outline=_FRAME)
            self.text(x + 17, y + 10, text, _SMALL)
            x += 17 + _width(text, _SMALL) + 16


def _fitting_size(texts: Sequence[str], cell: tuple[int, int]) -> int | None:
    """Return the largest font size at which every text fits a cell of (rows, columns) pixels."""
    longest = sorted(set(texts), key=len)[-40:]
    for size in (18, 16, 14, 13, 12, 11, 10, 9):
        if cell[0] >= size + 4 and all(_width(text, size) + 5 <= cell[1] for text in longest):
            return size
    return None


def _readable_on(colour: Bytes) -> Colour:
    """Return black or white, whichever has more contrast with a colour (WCAG 2 luminance)."""
    linear = (colour / 255.0) ** 2.2
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


# ---------------------------------------------------------------------------- grids


@dataclass(frozen=True)
class _Zoom:
    """How large a map is shown: blocks of `down` values averaged, each drawn `up` pixels large."""

    down: tuple[int, int]  # (rows, columns)
    up: tuple[int, int]

    def shown(self, size: tuple[int, int]) -> tuple[int, int]:
        rows, columns = (
            math.ceil(length / down) * up
            for length, down, up in zip(size, self.down, self.up, strict=True)
        )
        return rows, columns

    @property
    def text(self) -> str:
        (down_rows, down_columns), (up_rows, up_columns) = self.down, self.up
        if down_rows == down_columns > 1:
            return f"shown at 1/{down_rows} (a pixel is the mean of {down_rows} x {down_rows})"
        if down_rows == down_columns and up_rows == up_columns:
            return f"enlarged {up_rows} times" if up_rows > 1 else "shown pixel for pixel"
        block = f"each mean of {down_rows} x {down_columns} values" if self.averages else "a value"
        return f"{block} is drawn {up_rows} high and {up_columns} wide"

    @property
    def averages(self) -> bool:
        return max(self.down) > 1


@dataclass(frozen=True)
class _GridPlan:
    """Where everything in a grid goes, in pixels from the body's top left corner."""

    columns: int
    rows: int
    zoom: _Zoom
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


def draw_grid(
    maps: Numbers,
    scales: Sequence[Scale],
    *,
    title: str,
    labels: Sequence[str],
    nrow: int | None = None,
) -> Image.Image:
    """Draw all maps of a stage on one sheet, with labels and a colour bar.

    Parameters
    ----------
    maps : (C, H, W)
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
        4 : 3 and at most 1600 wide.
    """
    count = len(maps)
    size = (maps.shape[1], maps.shape[2])
    shared = len(set(scales)) == 1
    scale_of = [scales[0]] * count if len(scales) == 1 else list(scales)
    words = [_drawable(label) for label in labels]
    ranges = [] if shared else [format_range(scale.low, scale.high) for scale in scale_of]
    plan = _plan_grid(size, words, ranges, nrow)

    census = _Census.of(maps)
    outside = _outside_note(maps, [scales[0]] if shared else scale_of)
    many = f"{count:,} maps" if count > 1 else "1 map"
    notes = [
        f"{many} of {size[0]} x {size[1]}, {plan.zoom.text}; values {census.span()}",
        *([] if shared else ["each map has its own scale: its ends are written over it"]),
        *outside,
    ]
    sheet = _Sheet(plan.body, title, notes, _grid_bars(scales), census.legend)
    numbers = _cell_numbers(maps, plan.zoom)
    for index, (plane, scale) in enumerate(zip(maps, scale_of, strict=True)):
        x, y = plan.corner(index)
        x, y = x + sheet.left, y + sheet.top
        colours = _rgb(_block_means(plane, plan.zoom.down), scale)
        sheet.paste(_enlarge(colours, plan.zoom.up), x, y)
        if numbers:
            sheet.numbers(numbers[index], colours, x, y)
        if plan.label_size:
            baseline = y - plan.label_height + plan.label_size
            label = _shorten_label(words[index], plan.cell[1], plan.label_size)
            sheet.text(x - 1, baseline, label, plan.label_size)
            if not shared:
                text = _shorten(ranges[index], plan.cell[1], 10)
                sheet.text(x - 1, baseline + 12, text, 10, fill=_SOFT)
    if not plan.label_size:
        _number_rows(sheet, plan)
    return sheet.image


def _grid_bars(scales: Sequence[Scale]) -> list[_Bar]:
    """One bar with numbers for a shared scale; else one for each kind, with words."""
    if len(set(scales)) == 1:
        return [_Bar.of(scales[0])]
    bars: dict[tuple[str, tuple[str, str]], _Bar] = {}
    for scale in scales:
        ends = ("-max", "max") if scale.low == -scale.high else ("low", "high")
        if scale.low == 0:
            ends = ("0", "max")
        bars.setdefault((scale.colormap, ends), _Bar(scale, *ends))
    return [replace(bar, scale=_plain_ends(bar.scale)) for bar in bars.values()]


def _plain_ends(scale: Scale) -> Scale:
    """Drop the numbers of a scale, and with them the mark at 0 if it is not in the middle."""
    if scale.low == -scale.high:
        return scale
    return replace(scale, low=0.0, high=1.0) if not scale.diverging else scale


def _cell_numbers(maps: Numbers, zoom: _Zoom) -> list[_CellNumbers]:
    """Return the numbers to write into the cells of small maps, if they all fit."""
    if max(maps.shape[1:]) > 12 or zoom.averages or maps.size > _MOST_CELL_TEXTS:
        return []
    texts = [[[format_cell(value) for value in row] for row in plane] for plane in maps.tolist()]
    size = _fitting_size([text for plane in texts for row in plane for text in row], zoom.up)
    return [_CellNumbers(plane, zoom.up, size) for plane in texts] if size else []


def _number_rows(sheet: _Sheet, plan: _GridPlan) -> None:
    """Write the index of the first map at every row, and what to add over the columns."""
    for row in range(plan.rows):
        x, y = plan.corner(row * plan.columns)
        middle = sheet.top + y + plan.shown[0] / 2
        text = f"{row * plan.columns}"
        sheet.text(sheet.left + plan.left - 6, middle, text, 10, fill=_SOFT, anchor="rm")
    step = math.ceil(30 / (plan.cell[1] + plan.gap))
    for column in range(0, plan.columns, step):
        x, y = plan.corner(column)
        middle = sheet.left + x + plan.shown[1] / 2
        sheet.text(middle, sheet.top + 10, f"+{column}", 10, fill=_SOFT, anchor="ms")


_ROUND = (8, 10, 12, 16, 20, 24, 25, 30, 32, 40, 48, 50, 60, 64)  # to count along rows


def _plan_grid(
    size: tuple[int, int], labels: Sequence[str], ranges: Sequence[str], nrow: int | None
) -> _GridPlan:
    """Choose columns and zoom: large maps, a sheet about 4 : 3, few empty places."""
    count = len(labels)
    firsts = max(_width(label.partition(" ")[0][:6], 10) for label in labels)
    narrowest = max((_width(text, 10) for text in ranges), default=0)
    if count <= 1024:
        narrowest = max(narrowest, firsts)
    most = (_PAGE_WIDTH - 2 * _MARGIN) // max(24, narrowest + 1 + _gap(count))
    most = max(1, min(count, most))
    candidates = [columns for columns in range(1, most + 1) if count <= 64 or columns in _ROUND]
    if nrow:
        candidates = [max(1, min(nrow, count))]
    plans = [
        _plan_columns(columns, count, size, narrowest, firsts, ranges_shown=bool(ranges))
        for columns in candidates
    ]
    return max(plans, key=lambda plan: _sheet_quality(plan, count))


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
    words = 30 if ranges_shown else 18
    room = (page_height // rows - gap - words, (_PAGE_WIDTH - 2 * _MARGIN) // columns - gap)
    least = 96 if count <= 128 else 40 if count <= 1024 else 20
    zoom = _choose_zoom(size, room, least)
    shown = zoom.shown(size)
    width = max(shown[1], narrowest)
    label_size = 12 if width >= 72 else 10
    if not ranges_shown and firsts > width:
        left = _width("0" * len(str(count)), 10) + 10
        cell = (shown[0] + 2, shown[1] + 2)
        return _GridPlan(columns, rows, zoom, shown, cell, gap, None, 1, left)
    label_height = label_size + 5 + (12 if ranges_shown else 0)
    cell = (shown[0] + label_height + 1, width + 1)
    return _GridPlan(columns, rows, zoom, shown, cell, gap, label_size, label_height, 0)


def _choose_zoom(size: tuple[int, int], room: tuple[int, int], least: int) -> _Zoom:
    """Choose the largest whole zoom that fits into the room, within reason.

    A map is shown at least `least` pixels long, and enlarged to no more than 384 (a value to no
    more than 96). A map more than eight times longer than wide would be a hair: it is stretched.
    """
    longer = max(size)
    fits = min(space // length for space, length in zip(room, size, strict=True))
    up = max(min(fits, 384 // longer, 96), math.ceil(least / longer), 1)
    down = 1
    if up == 1 and fits < 1:
        needed = max(
            math.ceil(length / max(space, 1)) for space, length in zip(room, size, strict=True)
        )
        down = min(needed, max(1, longer // 24))
    if longer <= 8 * min(size) or math.ceil(min(size) / down) * up >= 24:
        return _Zoom((down, down), (up, up))
    along = 0 if size[0] >= size[1] else 1
    space = max(room[along], 24)
    down = math.ceil(longer / space)
    up = max(1, min(space // longer, 24))
    thick = max(1, math.ceil(24 / min(size)))
    return _Zoom((down, 1), (up, thick)) if along == 0 else _Zoom((1, down), (thick, up))


def _sheet_quality(plan: _GridPlan, count: int) -> float:
    width, height = plan.body
    pixels = math.log(plan.shown[0] * plan.shown[1]) / 2
    shape = abs(math.log(width / height / (4 / 3)))
    empty = 1 - count / (plan.rows * plan.columns)
    too_wide = max(0.0, width / _PAGE_WIDTH - 1)
    return pixels - 0.7 * shape - 3.5 * empty - 4 * too_wide


# ---------------------------------------------------------------------------- vectors

_LISTED = 40  # up to so many values are drawn as bars
_POSITIVE: Colour = (178, 24, 43)  # the strong colours of rdbu
_NEGATIVE: Colour = (33, 102, 172)
_NEUTRAL: Colour = (80, 80, 80)


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
    census = _Census.of(values)
    names = [_drawable(name) for name in labels or map(str, range(len(values)))]
    names = [_shorten(name, 220, _TEXT) for name in names]
    numbers = [format_number(value) for value in values]
    name_width = max(_width(name, _TEXT) for name in names)
    number_width = max(_width(number, _TEXT) for number in numbers)
    length, step, thickness = 480, 24, 16
    start = name_width + 10
    body = (start + length + 10 + number_width, step * len(values) + 22)
    noun = "value" if len(values) == 1 else "values"
    sheet = _Sheet(
        body,
        title,
        [f"{len(values)} {noun}, {census.span()}", *_outside_note(values, [scale])],
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
        sheet.text(sheet.left + name_width, baseline, names[row], _TEXT, anchor="rs")
        sheet.text(sheet.left + body[0], baseline, numbers[row], _TEXT, anchor="rs")
        if value:
            ends = [place(0), place(0) + thickness - 1]  # NaN has no length: a square
            if not math.isnan(value):
                ends = sorted((place(0), place(value)))
            colour = _bar_colour(value, scale)
            sheet.draw.rectangle((ends[0], top, ends[1], top + thickness - 1), fill=colour)
    sheet.draw.line((place(0), sheet.top, place(0), bottom), fill=_SOFT)
    for end in {low, 0.0, high}:
        near = abs(place(end) - place(0)) < 40
        if end == 0 or not near:
            sheet.text(place(end), bottom + 15, format_number(end), _SMALL, fill=_SOFT, anchor="ms")
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
    census = _Census.of(values)
    fold = math.ceil(values.size / 300_000)
    cells = _block_means(values.reshape(1, -1), (1, fold))[0]
    columns = _strip_columns(cells.size)
    rows = math.ceil(cells.size / columns)
    cell = max(2, min(44, 1440 // columns, 1000 // rows))
    gap = 1 if cell >= 8 else 0
    left = _width(f"{values.size}", _SMALL) + 8
    body = (left + columns * cell + 1, rows * cell + 20)

    means = "" if fold == 1 else f", each cell the mean of {fold}"
    note = f"{values.size:,} values in rows of {columns * fold:,}{means}; {census.span()}"
    notes = [note, *_outside_note(values, [scale])]
    sheet = _Sheet(body, title, notes, [_Bar.of(scale)], census.legend)
    filled = np.zeros(rows * columns)
    filled[: cells.size] = cells
    colours = _rgb(filled.reshape(rows, columns), scale)
    pixels = _enlarge(colours, (cell, cell))
    used = np.arange(rows * columns).reshape(rows, columns) < cells.size
    pixels[~used.repeat(cell, axis=0).repeat(cell, axis=1)] = _PAPER
    if gap:
        pixels[cell - 1 :: cell] = _PAPER
        pixels[:, cell - 1 :: cell] = _PAPER
    x, y = sheet.left + left, sheet.top + 16
    sheet.paste(pixels, x, y, frame=not gap)

    if cells.size <= 400:
        texts = [format_cell(value) for value in cells]
        lines = [texts[start : start + columns] for start in range(0, len(texts), columns)]
        size = _fitting_size(texts, (cell - 1, cell - 1))
        if size:
            sheet.numbers(_CellNumbers(lines, (cell, cell), size), colours, x, y)
    for row in range(0, rows, math.ceil(14 / cell)):
        at = y + row * cell + cell / 2
        sheet.text(x - 6, at, f"{row * columns * fold}", _SMALL, fill=_SOFT, anchor="rm")
    for column in range(0, columns, _mark_step(cell, columns)):
        text = f"+{column * fold}"
        sheet.text(x + column * cell + cell / 2, y - 5, text, _SMALL, fill=_SOFT, anchor="ms")
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


# ---------------------------------------------------------------------------- kernels


def draw_kernel(weights: NDArray[np.float64], title: str) -> Image.Image:
    """Draw a kernel's weights as large cells: blue is negative, red is positive.

    Numbers are written into the cells if they fit, as fractions where those are exact.
    """
    rows, columns = weights.shape
    census = _Census.of(weights)
    scale = choose_scale(census.low, census.high, colormap="rdbu")
    cell = max(4, min(72, 720 // max(rows, columns)))
    ruled = cell >= 24
    body = (columns * cell + 1, rows * cell + 1)
    total, span = format_fraction(_tidy_sum(weights)), census.span(format_fraction)
    note = f"{rows} x {columns}, sum {total}; weights {span}"
    sheet = _Sheet(body, title, [note], [_Bar.of(scale)], census.legend)
    colours = _rgb(weights, scale)
    pixels = _enlarge(colours, (cell, cell))
    if ruled:
        pixels[cell - 1 : -1 : cell] = _FRAME
        pixels[:, cell - 1 : -1 : cell] = _FRAME
    x, y = sheet.left + 1, sheet.top
    sheet.paste(pixels, x, y)
    texts = [[format_fraction(value, format_cell) for value in row] for row in weights.tolist()]
    size = _fitting_size([text for row in texts for text in row], (cell - 1, cell - 1))
    if size:
        sheet.numbers(_CellNumbers(texts, (cell, cell), size), colours, x, y)
    return sheet.image


def _tidy_sum(weights: NDArray[np.float64]) -> float:
    """Add exactly, and call 0 what is only the rounding of the weights."""
    try:
        total = math.fsum(weights.ravel().tolist())
    except (OverflowError, ValueError):  # infinities of both signs, or too large
        return math.nan
    noise = 4e-16 * float(np.abs(weights).sum())
    return float(round(total)) if abs(total - round(total)) <= noise else total
