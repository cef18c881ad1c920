"""A kernel's weights on one sheet, as large cells with their numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.view.maps import enlarge, rgb
from cnnviz.view.numbers import format_cell, format_fraction
from cnnviz.view.scale import choose_scale
from cnnviz.view.sheet import FRAME, Bar, CellNumbers, Census, Sheet, fitting_size


def draw_kernel(weights: NDArray[np.float64], title: str) -> Image.Image:
    """Draw a kernel's weights as large cells: blue is negative, red is positive.

    Numbers are written into the cells if they fit, as fractions where those are exact.
    """
    rows, columns = weights.shape
    census = Census.of(weights)
    scale = choose_scale(census.low, census.high, colormap="rdbu")
    cell = max(4, min(72, 720 // max(rows, columns)))
    ruled = cell >= 24
    body = (columns * cell + 1, rows * cell + 1)
    total, span = format_fraction(_tidy_sum(weights)), census.span(format_fraction)
    note = f"{rows} x {columns}, sum {total}; weights {span}"
    sheet = Sheet(body, title, [note], [Bar.of(scale)], census.legend)
    colours = rgb(weights, scale)
    pixels = enlarge(colours, (cell, cell))
    if ruled:
        pixels[cell - 1 : -1 : cell] = FRAME
        pixels[:, cell - 1 : -1 : cell] = FRAME
    x, y = sheet.left + 1, sheet.top
    sheet.paste(pixels, x, y)
    texts = [[format_fraction(value, format_cell) for value in row] for row in weights.tolist()]
    size = fitting_size([text for row in texts for text in row], (cell - 1, cell - 1))
    if size:
        sheet.numbers(CellNumbers(texts, (cell, cell), size), colours, x, y)
    return sheet.image


def _tidy_sum(weights: NDArray[np.float64]) -> float:
    """Add exactly, and call 0 what is only the rounding of the weights."""
    try:
        total = math.fsum(weights.ravel().tolist())
    except (OverflowError, ValueError):  # infinities of both signs, or too large
        return math.nan
    if not math.isfinite(total):
        return total
    noise = 4e-16 * float(np.abs(weights).sum())
    return float(round(total)) if abs(total - round(total)) <= noise else total
