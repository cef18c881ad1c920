"""The picture of an explanation: where on the input a value looks, its window, and its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.arithmetic import written
from cnnviz.core.explanation import Box, Explanation
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Pair, Samples, Tensor
from cnnviz.view.explained import LARGEST_WINDOW, WindowBlocks, field_text, title
from cnnviz.view.grid import Zoom, choose_zoom
from cnnviz.view.maps import Bytes, block_means, draw_colour, enlarge, rgb
from cnnviz.view.numbers import format_cell
from cnnviz.view.palette import EMPTY
from cnnviz.view.scale import Numbers, Scale, choose_scale
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
    shorten,
)

_SIDE = 384  # pixels a panel is high and wide, about
_LEAST = 160
_LINES = 24  # of a terminal
_GAP = 28
_CELL = 52  # pixels of a window's cell
_WRITTEN = 12  # rows and columns of cells in which numbers are written
_CHANNELS = 2  # of a window that are drawn

Boxes = Sequence[tuple[int, int, int, int]]
"""(top, left, bottom, right) cells, the last two not counted."""


class Excerpted(NamedTuple):
    """A part of a map: its values, the cell that the first of them is, and the map's size."""

    values: Numbers  # (rows, columns)
    top: int
    left: int
    size: Pair


class _Panel(NamedTuple):
    """One of the pictures side by side."""

    caption: str
    pixels: Bytes
    zoom: Zoom
    colours: Bytes  # of its cells
    cells: Numbers | None  # whose numbers are written, if they fit
    rings: Boxes
    scale: Scale | None

    @property
    def width(self) -> int:
        return max(int(self.pixels.shape[1]), _LEAST)

    @property
    def height(self) -> int:
        return 24 + int(self.pixels.shape[0]) + (40 if self.scale else 8)


def draw_explanation(
    told: Explanation, x: Tensor | Samples, part: Excerpted | None, *, colormap: str = "auto"
) -> Image.Image:
    """Draw the input with the box a value sees, the box enlarged, and the value in its map.

    Of a small window the cells, the kernel and their products stand below.

    Parameters
    ----------
    told : Explanation
    x : Tensor or Samples
        The pipeline's input, (C, H, W).
    part : Excerpted, optional
        The value's surroundings in its map; none of a vector.
    colormap : str
        Of the maps; a colour input is drawn in its colours.
    """
    panels = [*_input_panels(told, x, colormap)]
    if part is not None:
        panels.append(_map_panel(told, part, colormap))
    windows = _Windows.of(told)
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) - 1)
    height = max(panel.height for panel in panels)
    below = (0, 0) if windows is None else windows.size
    body = (max(width, below[0]), height + below[1])
    notes = [told.row.text, field_text(told.field, x.shape), *_steps(told)]
    sheet = Sheet(body, f"{title(told)} = {written(told.result)}", [drawable(n) for n in notes])
    left = sheet.left
    for panel in panels:
        _draw(sheet, panel, left, sheet.top)
        left += panel.width + _GAP
    if windows is not None:
        windows.draw(sheet, sheet.left, sheet.top + height)
    return sheet.image


def _steps(told: Explanation) -> list[str]:
    bias = told.arithmetic.bias
    steps = list(told.arithmetic.steps[-1:])
    if bias is not None and not steps:
        total = told.arithmetic.total
        steps = [f"sum {written(total - bias)} + bias {written(bias)} = {written(total)}"]
    return steps


def _draw(sheet: Sheet, panel: _Panel, x: int, y: int) -> None:
    caption = shorten(drawable(panel.caption), panel.width, TEXT_SIZE)
    sheet.text(x, y + 14, caption, TEXT_SIZE, fill=SOFT)
    top = y + 24
    sheet.paste(panel.pixels, x, top)
    up = panel.zoom.up
    if panel.cells is not None and max(panel.cells.shape) <= _WRITTEN and not panel.zoom.averages:
        texts = [[format_cell(value) for value in row] for row in panel.cells.tolist()]
        size = fitting_size([text for row in texts for text in row], up)
        if size:
            sheet.numbers(CellNumbers(texts, up, size), panel.colours, x, top)
    for box in panel.rings:
        place = [
            round(edge * u / d) for edge, u, d in zip(box, up * 2, panel.zoom.down * 2, strict=True)
        ]
        bottom, right = max(place[2], place[0] + 1), max(place[3], place[1] + 1)
        sheet.ring(x + place[1], top + place[0], x + right, top + bottom)
    if panel.scale is not None:
        below = top + panel.pixels.shape[0] + 8
        sheet.bar(Bar.of(panel.scale), x, below, min(max(panel.pixels.shape[1], 150), 256))


def _input_panels(told: Explanation, x: Tensor | Samples, colormap: str) -> list[_Panel]:
    """Return the whole input with the box, and the box enlarged unless it is nearly the whole."""
    channels, height, width = x.shape
    shown = range(_shown(x).shape[0])
    zoom = choose_zoom((height, width), (_SIDE, _SIDE), _LEAST)
    whole = [_reduced(x, channel, zoom.down) for channel in shown]
    scale = choose_scale(*finite_range(_shown(x)), colormap=colormap)
    caption = f"input, {height} x {width}"
    if len(shown) < channels:
        caption += f", channel 0 of {channels}"
    bar = scale if len(shown) == 1 else None
    rings = _edges(told.field)
    panels = [_panel(caption, whole, zoom, scale, rings, bar)]
    if told.field.rows is None or told.field.columns is None:
        return panels
    rows, columns = _around(*told.field.rows, height), _around(*told.field.columns, width)
    size = (rows.stop - rows.start, columns.stop - columns.start)
    if size[0] <= 0.6 * height or size[1] <= 0.6 * width:
        zoom = choose_zoom(size, (_SIDE, _SIDE), _LEAST)
        near = [block_means(_part(x, channel, rows, columns), zoom.down) for channel in shown]
        rings = _edges(told.field, rows.start, columns.start)
        panels.append(_panel(_range_text(rows, columns), near, zoom, scale, rings, None))
    return panels


def _map_panel(told: Explanation, part: Excerpted, colormap: str) -> _Panel:
    """Return the value among its neighbours."""
    rows, columns = part.values.shape
    zoom = choose_zoom((rows, columns), (_SIDE, _SIDE), _LEAST)
    known = part.values[np.isfinite(part.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (None, None)
    scale = choose_scale(low, high, colormap=colormap)
    channel, row, column = told.at
    caption = f"{told.row.name}, map {channel}"
    if (rows, columns) != part.size:
        spans = slice(part.top, part.top + rows), slice(part.left, part.left + columns)
        caption += f": {_range_text(*spans)}"
    top, left = row - part.top, column - part.left
    rings = [(top, left, top + 1, left + 1)]
    return _panel(caption, [block_means(part.values, zoom.down)], zoom, scale, rings, scale)


def _panel(
    caption: str,
    planes: Sequence[Numbers],
    zoom: Zoom,
    scale: Scale,
    rings: Boxes,
    bar: Scale | None,
) -> _Panel:
    """Draw one plane on a scale, or three as a colour picture."""
    cells = planes[0] if len(planes) == 1 and not zoom.averages else None
    if len(planes) == 1:
        colours = rgb(planes[0], scale)
    else:
        colours = np.asarray(draw_colour(np.stack(planes), scale))
    return _Panel(caption, enlarge(colours, zoom.up), zoom, colours, cells, rings, bar)


def _range_text(rows: slice, columns: slice) -> str:
    return f"rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}"


def _around(first: int, last: int, length: int) -> slice:
    """Return a close view of first … last: half as much on either side."""
    room = max(3, (last - first + 1) // 2)
    return slice(max(first - room, 0), min(last + 1 + room, length))


def _shown(x: Tensor | Samples) -> Tensor | Samples:
    """Return the channels that are drawn: three of colour, else the first."""
    count = 3 if x.shape[0] == 3 else 1
    return Samples(x.values[:count], x.unit) if isinstance(x, Samples) else x[:count]


def _reduced(x: Tensor | Samples, channel: int, down: Pair) -> Numbers:
    """Return the means of blocks of a channel; those of samples are samples again, and quick."""
    if not isinstance(x, Samples):
        return block_means(x[channel], down)
    image = Image.fromarray(x.values[channel]).reduce((down[1], down[0]))
    return np.asarray(image, np.float32) / np.float32(x.unit)


def _part(x: Tensor | Samples, channel: int, rows: slice, columns: slice) -> Numbers:
    """Return a part of a channel."""
    if isinstance(x, Samples):
        return Samples(x.values[channel, rows, columns], x.unit).tensor()
    return x[channel, rows, columns]


def _edges(box: Box, top: int = 0, left: int = 0) -> Boxes:
    """Return a box as edges, counted from a first row and column."""
    if box.rows is None or box.columns is None:
        return []
    rows, columns = box.rows, box.columns
    return [(rows[0] - top, columns[0] - left, rows[1] + 1 - top, columns[1] + 1 - left)]


def draw_box(x: Tensor | Samples, box: Box, columns: int, *, plain: bool = False) -> Image.Image:
    """Draw the input with the box a value sees, for a terminal: at most `columns` pixels wide.

    `plain` is for one without colours: there the picture is darker, and the box white.
    """
    _, height, width = x.shape
    shown = range(_shown(x).shape[0])
    fit = min(columns / width, 2 * _LINES / height)
    size = max(1, int(width * fit)), max(1, int(height * fit))
    down = (max(1, height // (2 * size[1])), max(1, width // (2 * size[0])))
    planes = [_reduced(x, channel, down) for channel in shown]
    scale = choose_scale(*finite_range(_shown(x)), colormap="gray")
    colours = rgb(planes[0], scale) if len(planes) == 1 else draw_colour(np.stack(planes), scale)
    image = Image.fromarray(np.asarray(colours)).resize(
        size, Image.Resampling.NEAREST if fit >= 1 else Image.Resampling.BOX
    )
    image = image.convert("RGB")
    if plain:
        image = image.point([level * 6 // 10 for level in range(256)] * 3)
    for top, left, bottom, right in _edges(box):
        edges = (left * fit - 1, top * fit - 1, right * fit, bottom * fit)
        pen = ImageDraw.Draw(image)
        outline = (255, 255, 255) if plain else ACCENT
        pen.rectangle([round(edge) for edge in edges], outline=outline)
    return image


# ---------------------------------------------------------------------------- the window


class _Windows(NamedTuple):
    """The cells of a small window, its kernel and their products, a line for each channel."""

    names: Sequence[str]
    lines: Sequence[Sequence[tuple[Numbers, Scale]]]
    padding: Sequence[NDArray[np.bool_]]
    chosen: tuple[int, int, int] | None  # line, row and column

    @classmethod
    def of(cls, told: Explanation) -> _Windows | None:
        """Choose the channels that bring most; None where no small window slides."""
        blocks = WindowBlocks.of(told.arithmetic)
        if blocks is None or max(blocks.value.shape[1:]) > LARGEST_WINDOW:
            return None
        order = blocks.order[:_CHANNELS]
        scales = [_signed_scale(blocks.value[order])]
        if blocks.weight is not None:
            scales += [_signed_scale(blocks.weight[order], signed=True)]
            scales += [_signed_scale(blocks.part[order], signed=True)]
        parts = [blocks.value, blocks.weight, blocks.part][: len(scales)]
        many = len(blocks.channels) > 1
        chosen, cells = told.arithmetic.chosen, blocks.value[0].size
        where = None
        if chosen is not None and chosen // cells in order:
            line = list(order).index(chosen // cells)
            row, column = divmod(chosen % cells, blocks.value.shape[2])
            where = (line, row, column)
        return cls(
            [f"channel {blocks.channels[place]}" if many else "" for place in order],
            [
                [(part[place], scale) for part, scale in zip(parts, scales, strict=True)
                 if part is not None]
                for place in order
            ],
            [blocks.padding[place] for place in order],
            where,
        )  # fmt: skip

    @property
    def _step(self) -> Pair:
        rows, columns = self.lines[0][0][0].shape
        return rows * _CELL + 44, columns * _CELL + 44

    @property
    def size(self) -> Pair:
        """(width, height) of all lines."""
        down, along = self._step
        return len(self.lines[0]) * along, len(self.lines) * down + 8

    def draw(self, sheet: Sheet, x: int, y: int) -> None:
        """Draw the lines."""
        down, along = self._step
        heads = ["window", "kernel", "products"]
        for number, line in enumerate(self.lines):
            top = y + number * down + 30
            for place, (values, scale) in enumerate(line):
                left = x + place * along
                name = self.names[number] if place == 0 else ""
                head = f"{heads[place]}, {name}" if name else heads[place]
                sheet.text(left, top - 8, head, TEXT_SIZE, fill=SOFT)
                if place:
                    middle = top + values.shape[0] * _CELL / 2
                    sheet.text(left - 22, middle, " x="[place], 20, fill=SOFT, anchor="mm")
                self._cells(sheet, number, values, scale, left, top, first=place == 0)

    def _cells(
        self, sheet: Sheet, line: int, values: Numbers, scale: Scale, x: int, y: int, *, first: bool
    ) -> None:
        colours = rgb(values, scale)
        if first:
            colours = np.where(self.padding[line][..., None], np.array(EMPTY, np.uint8), colours)
        pixels = enlarge(colours, (_CELL, _CELL))
        pixels[_CELL - 1 : -1 : _CELL] = FRAME
        pixels[:, _CELL - 1 : -1 : _CELL] = FRAME
        sheet.paste(pixels, x, y)
        texts = [[format_cell(value) for value in row] for row in values.tolist()]
        size = fitting_size([text for row in texts for text in row], (_CELL - 1, _CELL - 1))
        if size:
            sheet.numbers(CellNumbers(texts, (_CELL, _CELL), size), colours, x, y)
        if first and self.chosen is not None and self.chosen[0] == line:
            _, row, column = self.chosen
            left, top = x + column * _CELL, y + row * _CELL
            sheet.ring(left + 3, top + 3, left + _CELL - 4, top + _CELL - 4)


def _signed_scale(values: Numbers, *, signed: bool = False) -> Scale:
    """Return the scale of the finite values; kernels and products always have a white zero."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    return choose_scale(low, high, colormap="rdbu" if signed else "auto")
