"""Maps, numbers and predictions in a terminal.

Half blocks give a character cell two pixels, one over the other. A console without colour gets
shades of characters instead, and one with an encoding without blocks gets plain ASCII; nothing here
writes an escape code itself, so `NO_COLOR` and pipes are Rich's to respect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.cells import cell_len
from rich.color import Color
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from cnnviz.errors import SPELLED, safe

Pixels = NDArray[np.uint8]

MOST_TILE_ROWS = 4
"""`tile` draws so many rows of maps and prints how many maps are left out."""

_TILE_WIDTH = 24  # columns, about
_RAMP = " .:-=+*#%@"  # dark to bright, on a dark terminal
_EIGHTHS = " ▏▎▍▌▋▊▉█"


# ---------------------------------------------------------------------------- pictures


def half_blocks(image: Image.Image, *, width: int, height: int | None = None) -> RenderableType:
    """Draw a picture in at most `width` columns (and `height` lines).

    Larger pictures are averaged down, smaller ones enlarged by whole numbers, and the aspect is
    kept: a character is taken to be twice as high as wide. Without colour, brightness becomes one
    of ten characters from space (black) to @ (white).
    """
    return _HalfBlocks(image, max(1, width), height)


@dataclass(frozen=True)
class _HalfBlocks:
    image: Image.Image
    width: int
    height: int | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pixels = self._pixels(min(self.width, options.max_width))
        few = console.color_system == "256"
        even = len(pixels) // 2 * 2
        means = (pixels[:even:2].astype(float) + pixels[1:even:2]) / 2
        cells = np.concatenate([means, pixels[even:]])  # an odd last row stands alone
        # Without colours, or with so few (16) that different ones would look alike: shades.
        if console.no_color or console.color_system not in ("256", "truecolor", "windows"):
            steps = np.rint(cells @ [0.299, 0.587, 0.114] / 255 * (len(_RAMP) - 1)).astype(int)
            for row in steps.tolist():
                yield Segment("".join(_RAMP[step] for step in row))
                yield Segment.line()
        elif options.ascii_only:  # colours, but no blocks: spaces on a coloured ground
            colours = np.rint(cells).astype(np.uint8)
            for row in (_of_256(colours) if few else colours).tolist():
                yield from (Segment(" ", _style(None, tuple(cell))) for cell in row)
                yield Segment.line()
        else:
            drawn = _of_256(pixels) if few else pixels
            colours = [[tuple(cell) for cell in row] for row in drawn.tolist()]
            for upper, lower in zip_longest(colours[::2], colours[1::2]):
                below = lower or [None] * len(upper)
                pairs = zip(upper, below, strict=True)
                yield from (Segment("▀", _style(*pair)) for pair in pairs)
                yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        columns = self._size(min(self.width, options.max_width))[0]
        return Measurement(columns, columns)

    def _size(self, width: int) -> tuple[int, int]:
        """Return the (columns, rows) of pixels that fit."""
        columns, rows = self.image.size
        fit = width / columns
        if self.height is not None:
            fit = min(fit, 2 * max(1, self.height) / rows)
        if fit >= 1:
            return columns * int(fit), rows * int(fit)
        return max(1, int(columns * fit)), max(1, int(rows * fit))

    def _pixels(self, width: int) -> Pixels:
        """Return the pixels to draw, (rows, columns, 3)."""
        size = self._size(width)
        image = self.image.convert("RGB")
        larger = size[0] * size[1] >= image.width * image.height
        filtering = Image.Resampling.NEAREST if larger else Image.Resampling.BOX
        return np.asarray(image.resize(size, filtering))


@lru_cache(maxsize=1 << 14)
def _style(front: tuple[int, ...] | None, back: tuple[int, ...] | None) -> Style:
    return Style(color=_colour(front), bgcolor=_colour(back))


def _colour(cell: tuple[int, ...] | None) -> Color | None:
    """Return a colour given as red, green and blue, or as (its number,) among 256."""
    if not cell:
        return None
    return Color.from_ansi(*cell) if len(cell) == 1 else Color.from_rgb(*cell)


def _of_256(pixels: Pixels) -> NDArray[np.uint8]:
    """Return which of a terminal's 256 colours are nearest to pixels (rows, columns, 3 -> 1).

    How red, green and blue differ counts as much as they do: Rich's own choice makes dull blues
    grey and light ones green.
    """
    levels = np.array([0, 95, 135, 175, 215, 255])
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    greys = np.repeat(np.arange(8, 239, 10)[:, None], 3, axis=1)
    palette = np.concatenate([cube, greys])  # the numbers 16 to 255
    colours, where = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)

    def seen(rgb: NDArray[Any]) -> NDArray[np.float32]:
        return np.concatenate([rgb, rgb - np.roll(rgb, 1, axis=-1)], axis=-1, dtype=np.float32)

    gaps = seen(colours.astype(int))[:, None] - seen(palette)
    nearest = 16 + (gaps**2).sum(axis=-1).argmin(axis=1)
    return np.asarray(nearest[where].reshape(*pixels.shape[:2], 1), np.uint8)


def tile(
    images: Sequence[Image.Image], captions: Sequence[str], *, width: int, of: int | None = None
) -> RenderableType:
    """Draw maps side by side under their captions, as many in a line as fit.

    At most `MOST_TILE_ROWS` rows of maps are drawn; a last line says how many are left out, of
    the images or of as many as there are: `of`.
    """
    return _Tile(tuple(images), tuple(captions), width, len(images) if of is None else of)


@dataclass(frozen=True)
class _Tile:
    images: tuple[Image.Image, ...]
    captions: tuple[str, ...]
    width: int
    count: int  # of all maps

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, min(self.width, options.max_width))
        abreast = max(1, min(len(self.images), (width + 2) // (_TILE_WIDTH + 2)))
        each = min((width - 2 * (abreast - 1)) // abreast, 2 * _TILE_WIDTH)
        shown = min(len(self.images), MOST_TILE_ROWS * abreast)
        ascii_only = options.ascii_only
        for start in range(0, shown, abreast):
            grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
            row: list[RenderableType] = []
            for index in range(start, min(start + abreast, shown)):
                grid.add_column(width=each)
                caption = fitted(self.captions[index], each, ascii_only=ascii_only)
                picture = half_blocks(self.images[index], width=each, height=each)
                row.append(Group(Text(caption), picture))
            grid.add_row(*row)
            yield grid
        left_out = self.count - shown
        if left_out:
            maps = "map is" if left_out == 1 else "maps are"
            yield Text(f"{left_out:,} more {maps} not drawn here", no_wrap=True, overflow="crop")


def fitted(text: str, width: int, *, ascii_only: bool) -> str:
    """Cut text from outside to a width in terminal cells (a Chinese character takes two)."""
    text = safe(text)
    if ascii_only:
        text = text.encode("ascii", SPELLED).decode()
    if cell_len(text) <= width:
        return text
    dots = "…" if not ascii_only else "..."
    room = width - len(dots)
    if room < 1:
        return dots[:width]
    kept = ""
    for character in text:
        room -= cell_len(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + dots


# ---------------------------------------------------------------------------- predictions


def bars(labels: Sequence[str], values: Sequence[float], *, width: int) -> RenderableType:
    """Draw probabilities as bars, a line each: label, bar, percent.

    A bar that fills its place is 100 %, so bars of different pictures can be compared.
    """
    return _Bars(tuple(labels), tuple(float(value) for value in values), width)


@dataclass(frozen=True)
class _Bars:
    labels: tuple[str, ...]
    values: tuple[float, ...]
    width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only = options.ascii_only
        width = max(1, min(self.width, options.max_width))
        percents = [_percent(value) for value in self.values]
        percent_width = max(map(len, percents), default=0)
        most = max(1, min(40, (width - percent_width - 2) // 2))
        names = [fitted(label, most, ascii_only=ascii_only) for label in self.labels]
        name_width = max(map(cell_len, names), default=0)
        length = width - name_width - percent_width - 2
        for name, value, percent in zip(names, self.values, percents, strict=True):
            part = min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
            line = Text(name + " " * (name_width - cell_len(name) + 1), no_wrap=True)
            if length > 0:
                bar = "#" * round(part * length)
                if not ascii_only:
                    whole, eighths = divmod(round(part * length * 8), 8)
                    bar = _EIGHTHS[-1] * whole + _EIGHTHS[eighths].strip()
                line.append(bar.ljust(length), style="cyan")
                line.append(" ")
            line.append(percent.rjust(percent_width))
            line.truncate(width)
            yield line


def _percent(value: float) -> str:
    return f"{value + 0.0:.1%}".replace("-0.0%", "0.0%") if math.isfinite(value) else str(value)


# ---------------------------------------------------------------------------- numbers

_LINE = 78  # columns a wrapped vector takes, at most


def format_values(maps: NDArray[Any], *, limit: int = 24) -> str:
    """Write maps as numbers, in columns aligned at the decimal point.

    All numbers have the decimals that give the largest about four digits, without trailing zeros
    where those say nothing: 2 means exactly 2, and 2.000 something very near. A number too small
    for these decimals is written as 3e-05, never as 0. A map longer or wider than `limit` shows
    its first and last values only, with … for the rest, and its true size; so does a stage of
    more maps. Vectors, and maps of one value each, are written as one wrapped line.

    >>> print(format_values(np.float32([[[4, 3, 4], [2, 4, 3], [2, 3, 4]]])))
    4 3 4
    2 4 3
    2 3 4
    >>> print(format_values(np.float32([0.6381, 0.2347, 0.0954, 0.0318])))
    0.638 0.235 0.095 0.032
    >>> print(format_values(np.float32([[[3.25, 5.25], [2, 2]]])))
    3.25 5.25
    2    2
    """
    if maps.ndim == 2:
        maps = maps[None]
    if maps.ndim == 1 or maps.shape[1:] == (1, 1):
        return _format_vector(maps.reshape(-1), limit)
    count, rows, columns = maps.shape
    edge = max(1, limit // 4)
    shown_maps, shown_rows, shown_columns = (_ends(size, limit, edge) for size in maps.shape)
    cut = maps[np.ix_(_kept(shown_maps), _kept(shown_rows), _kept(shown_columns))]
    write = writer_for(cut)
    size_note = f"{rows} x {columns}" if max(rows, columns) > limit else ""
    blocks = []
    for index in shown_maps:
        if index is None:
            blocks.append(f"… {count - 2 * edge} more of {count} maps …")
            continue
        plane = maps[index]
        lines = aligned(
            [
                ["…" if None in (i, j) else write(float(plane[i, j])) for j in shown_columns]
                for i in shown_rows
            ]
        )
        heading = f"map {index}" if count > 1 else ""
        heading = ", ".join(part for part in (heading, size_note) if part)
        blocks.append("\n".join([f"{heading}:", *lines] if heading else lines))
    return ("\n\n" if count > 1 else "\n").join(blocks)


def _ends(size: int, limit: int, edge: int) -> list[Any]:
    """Return the indices shown along an axis, None standing for those left out."""
    if size <= limit:
        return list(range(size))
    return [*range(edge), None, *range(size - edge, size)]


def _kept(indices: list[Any]) -> list[int]:
    return [index for index in indices if index is not None]


def _format_vector(values: NDArray[Any], limit: int) -> str:
    most, edge = 10 * limit, max(1, limit // 2)
    shown = _ends(len(values), most, edge)
    write = writer_for(values[_kept(shown)])
    texts = ["…" if index is None else write(float(values[index])) for index in shown]
    heading = f"{len(values)} values:\n" if len(values) > most else ""
    if len(" ".join(texts)) <= _LINE:
        return heading + " ".join(texts)
    widest = max(map(len, texts))
    abreast = max(1, (_LINE + 1) // (widest + 1))
    rows = [texts[start : start + abreast] for start in range(0, len(texts), abreast)]
    return heading + "\n".join(aligned(rows))


def writer_for(values: NDArray[Any]) -> Callable[[float], str]:
    """Choose how all of these values are written."""
    finite = np.abs(values[np.isfinite(values)].astype(np.float64))
    largest = float(finite.max(initial=0))
    whole = largest < 1e12 and bool((finite == np.rint(finite)).all())
    if largest and not whole and not 1e-4 <= largest < 1e7:
        return _scientific
    exponent = math.floor(math.log10(largest)) if largest else 0
    decimals = max(0, 3 - exponent) if exponent >= 0 else 2 - exponent
    return lambda value: _fixed(value, decimals)


def _scientific(value: float) -> str:
    if not math.isfinite(value) or (value == round(value) and abs(value) < 1e4):
        return _fixed(value, 0)
    digits, _, exponent = f"{value:.3e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{exponent}"


def _fixed(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return str(value)
    rounded = round(value, decimals)
    if rounded == 0:
        return f"{value:.0e}" if value else "0"
    text = f"{rounded:.{decimals}f}"
    if "." in text and np.float32(rounded) == np.float32(value):
        text = text.rstrip("0").rstrip(".")
    return text


def aligned(rows: list[list[str]]) -> list[str]:
    """Align texts in columns at the decimal point, and return the lines."""
    return [" ".join(cells).rstrip() for cells in aligned_cells(rows)]


def aligned_cells(rows: list[list[str]]) -> list[list[str]]:
    """Align texts at the decimal point, those of a column in cells of one width."""
    width = max(map(len, rows))
    places = []
    for column in range(width):
        parts = [row[column].partition(".") for row in rows if column < len(row)]
        before = max(len(whole) for whole, _, _ in parts)
        after = max(len(dot + rest) for _, dot, rest in parts)
        places.append((before, after))
    lines = []
    for row in rows:
        cells = []
        for text, (before, after) in zip(row, places, strict=False):
            whole, dot, rest = text.partition(".")
            cells.append(whole.rjust(before) + (dot + rest).ljust(after))
        lines.append(cells)
    return lines
