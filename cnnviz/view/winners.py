"""Where max pooling's winners came from: the map it read, with a dot on every value that won."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.types import Pair
from cnnviz.view.grid import Zoom
from cnnviz.view.maps import enlarge, rgb
from cnnviz.view.numbers import format_cell
from cnnviz.view.scale import Numbers, choose_scale
from cnnviz.view.sheet import (
    ACCENT,
    FRAME,
    SOFT,
    TEXT_SIZE,
    Bar,
    CellNumbers,
    Sheet,
    drawable,
    fitting_size,
)

_SIDE = 640  # pixels the map is high and wide, about
_LARGEST = 72  # pixels of a cell
_WRITTEN = 12  # rows and columns of cells in which numbers are written
LARGEST_MAP = 64  # rows and columns of a map that can be drawn with its dots


class Won(NamedTuple):
    """A part of the map a pooling read, and which of its values won."""

    values: Numbers  # (rows, columns)
    won: NDArray[np.bool_]  # of the same shape
    top: int  # the map's row and column that the first value is
    left: int
    window: tuple[int, int, int, int]  # of one value: top, left, bottom, right; none if empty
    share: float  # of the whole map's values that won


def draw_winners(part: Won, *, title: str, caption: str, colormap: str = "auto") -> Image.Image:
    """Draw a map with a dot on every value that won, and a ring around one window."""
    rows, columns = part.values.shape
    up = min(_SIDE // max(rows, columns), _LARGEST)
    zoom = Zoom((1, 1), (up, up))
    known = part.values[np.isfinite(part.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (None, None)
    scale = choose_scale(low, high, colormap=colormap)
    colours = rgb(part.values, scale)
    pixels = enlarge(colours, zoom.up)
    if up >= 12:
        pixels[up - 1 : -1 : up] = FRAME
        pixels[:, up - 1 : -1 : up] = FRAME
    notes = [
        f"{part.share:.1%} of the map's values win in some window (dots); the others are discarded"
    ]
    sheet = Sheet((pixels.shape[1] + 8, pixels.shape[0] + 72), title, notes)
    x, y = sheet.left + 4, sheet.top + 28
    sheet.text(x, sheet.top + 14, drawable(caption), TEXT_SIZE, fill=SOFT)
    sheet.paste(pixels, x, y)
    _dots(sheet.draw, part.won, (x, y), up)
    if max(rows, columns) <= _WRITTEN:
        texts = [[format_cell(value) for value in row] for row in part.values.tolist()]
        size = fitting_size([text for row in texts for text in row], (up - 24, up - 1))
        if size:
            sheet.numbers(CellNumbers(texts, (up, up), size), colours, x, y)
    top, left, bottom, right = part.window
    if bottom > top:
        sheet.ring(
            x + max(left - part.left, 0) * up,
            y + max(top - part.top, 0) * up,
            x + min(right - part.left, columns) * up,
            y + min(bottom - part.top, rows) * up,
        )
    sheet.bar(Bar.of(scale), x, y + pixels.shape[0] + 10)
    return sheet.image


def _dots(draw: ImageDraw.ImageDraw, won: NDArray[np.bool_], start: Pair, up: int) -> None:
    """Draw a bright dot with a dark rim on each cell that won; in a large one above its number."""
    radius = max(up // 4, 2) if up < 24 else 5
    for row, column in np.argwhere(won).tolist():
        x = start[0] + column * up + up // 2
        y = start[1] + row * up + (up // 2 if up < 24 else 10)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=ACCENT, outline=(0, 0, 0))
