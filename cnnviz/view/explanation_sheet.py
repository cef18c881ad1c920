"""The pictures of an explanation: where a value looks, its window, and which values won."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.arithmetic import cell_text, written
from cnnviz.core.explanation import Box, Explanation
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Pair, Samples, Tensor
from cnnviz.view.explained import LARGEST_WINDOW, WindowBlocks, field_text, title
from cnnviz.view.lettering import drawable
from cnnviz.view.maps import Numbers, block_means, draw_colour, rgb
from cnnviz.view.numbers import format_cell
from cnnviz.view.scale import Scale, choose_scale, signed_scale
from cnnviz.view.sheet import ACCENT, BLACK, EMPTY, FRAME, PAPER, Panel, draw_panels
from cnnviz.view.zoom import Box as Edges
from cnnviz.view.zoom import Zoom, choose_zoom

_SIDE = 384  # pixels a panel is high and wide, about
_LEAST = 160
LINES = 24  # of a terminal
_CELL = 52  # pixels of a window's cell
_CHANNELS = 2  # of a window that are drawn
_TERMS = 10  # of a dense layer or a softmax
_ROW, _WIDE = 26, 96  # pixels of a term's row and of its cells

LARGEST_MAP = 64  # rows and columns of a map that can be drawn with its winners
_WINNERS_SIDE = 640  # pixels such a map is high and wide, about
_LARGEST_CELL = 72  # pixels of its cells


class Excerpted(NamedTuple):
    """A part of a map: its values, the cell that the first of them is, and the map's size."""

    values: Numbers  # (rows, columns)
    top: int
    left: int
    size: Pair


def draw_explanation(
    explanation: Explanation, x: Tensor | Samples, part: Excerpted | None, *, colormap: str = "auto"
) -> Image.Image:
    """Draw the input with the box a value sees, the box enlarged, and the value in its map.

    Of a small window the cells, the kernel and their products stand below.

    Parameters
    ----------
    explanation : Explanation
    x : Tensor or Samples
        The pipeline's input, (C, H, W).
    part : Excerpted, optional
        The value's surroundings in its map; none of a vector.
    colormap : str
        Of the maps; a colour input is drawn in its colours.
    """
    panels = [*_input_panels(explanation, x, colormap)]
    if part is not None:
        panels.append(_map_panel(explanation, part, colormap))
    notes = [explanation.row.text, field_text(explanation.field, x.shape), *_steps(explanation)]
    heading = f"{title(explanation)} = {written(explanation.result)}"
    rows = [panels, *_window_panels(explanation), *_term_panels(explanation)]
    return draw_panels(rows, heading, [drawable(note) for note in notes]).image


def _steps(explanation: Explanation) -> list[str]:
    bias = explanation.arithmetic.bias
    steps = list(explanation.arithmetic.steps[-1:])
    terms, total = explanation.arithmetic.terms, explanation.arithmetic.total
    count = len(terms) + terms.omitted
    if bias is not None and not steps:
        steps = [f"sum {written(total - bias)} + bias {written(bias)} = {written(total)}"]
    elif not steps and explanation.arithmetic.join == "sum" and count > 1:
        steps = [f"sum of {count:,} {explanation.arithmetic.noun} = {written(total)}"]
    return steps


def _input_panels(explanation: Explanation, x: Tensor | Samples, colormap: str) -> Iterator[Panel]:
    """Yield the whole input with the box, and the box enlarged unless it is nearly the whole."""
    channels, height, width = x.shape
    shown = range(_shown(x).shape[0])
    zoom = choose_zoom((height, width), (_SIDE, _SIDE), _LEAST)
    scale = choose_scale(*finite_range(_shown(x)), colormap=colormap)
    name = f"input, {height} x {width}"
    if len(shown) < channels:
        name += f", channel 0 of {channels}"
    planes = [_reduced(x, channel, zoom.down) for channel in shown]
    bar = scale if len(shown) == 1 else None
    yield _panel(name, planes, zoom, scale, _edges(explanation.field), bar)
    if explanation.field.rows is None or explanation.field.columns is None:
        return
    rows, columns = (
        _around(*explanation.field.rows, height),
        _around(*explanation.field.columns, width),
    )
    size = (rows.stop - rows.start, columns.stop - columns.start)
    if size[0] <= 0.6 * height or size[1] <= 0.6 * width:
        zoom = choose_zoom(size, (_SIDE, _SIDE), _LEAST)
        planes = [block_means(_part(x, channel, rows, columns), zoom.down) for channel in shown]
        rings = _edges(explanation.field, rows.start, columns.start)
        yield _panel(_range_text(rows, columns), planes, zoom, scale, rings)


def _map_panel(explanation: Explanation, part: Excerpted, colormap: str) -> Panel:
    """Return the value among its neighbours."""
    rows, columns = part.values.shape
    zoom = choose_zoom((rows, columns), (_SIDE, _SIDE), _LEAST)
    scale = choose_scale(*finite_range(part.values), colormap=colormap)
    channel, row, column = explanation.at
    name = f"{explanation.row.name}, map {channel}"
    if (rows, columns) != part.size:
        spans = slice(part.top, part.top + rows), slice(part.left, part.left + columns)
        name += f": {_range_text(*spans)}"
    top, left = row - part.top, column - part.left
    rings = [(top, left, top + 1, left + 1)]
    return _panel(name, [block_means(part.values, zoom.down)], zoom, scale, rings, scale)


def _panel(
    name: str,
    planes: Sequence[Numbers],
    zoom: Zoom,
    scale: Scale,
    boxes: Sequence[Edges],
    bar: Scale | None = None,
) -> Panel:
    """Draw one plane of means on a scale, or three as a colour picture."""
    whole = Zoom((1, 1), zoom.up)  # the means are those of `zoom` already
    drawn = planes[0] if len(planes) == 1 else np.stack(planes)
    rings = [zoom.box(box) for box in boxes]
    panel = Panel.of(drawn, scale, whole, title=name, rings=rings, scale=bar, least=_LEAST)
    return replace(panel, texts=()) if zoom.averages else panel


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


def _edges(box: Box, top: int = 0, left: int = 0) -> list[Edges]:
    """Return a box as edges, counted from a first row and column."""
    if box.rows is None or box.columns is None:
        return []
    rows, columns = box.rows, box.columns
    return [(rows[0] - top, columns[0] - left, rows[1] + 1 - top, columns[1] + 1 - left)]


def draw_box(x: Tensor | Samples, box: Box, room: Pair, *, plain: bool = False) -> Image.Image:
    """Draw the input with the box a value sees, for a terminal: in so many rows and columns.

    `plain` is for one without colours: there the picture is darker, and the box white.
    """
    _, height, width = x.shape
    shown = range(_shown(x).shape[0])
    fit = min(room[1] / width, room[0] / height)
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


def _window_panels(explanation: Explanation) -> Iterator[list[Panel]]:
    """Yield the cells of a small window, its kernel and their products, for some channels.

    Those that bring most; none where no small window slides.
    """
    blocks = WindowBlocks.of(explanation.arithmetic)
    if blocks is None or max(blocks.value.shape[1:]) > LARGEST_WINDOW:
        return
    order = blocks.order[:_CHANNELS]
    drawn: list[tuple[str, str, Numbers]] = [("window", "", blocks.value)]
    if blocks.weight is not None:
        drawn += [("kernel", "x", blocks.weight), ("products", "=", blocks.part)]
    parts = []
    for head, sign, part in drawn:
        choose = choose_scale if head == "window" else signed_scale  # a kernel's 0 is white
        parts.append((head, sign, part, choose(*finite_range(part[order]))))
    zoom, chosen = Zoom((1, 1), (_CELL, _CELL)), explanation.arithmetic.chosen
    for place in order:
        panels = []
        for head, sign, part, scale in parts:
            name = head
            if len(blocks.channels) > 1 and head == "window":
                name += f", channel {blocks.channels[place]}"
            panels.append(
                Panel.of(part[place], scale, zoom, title=name, sign=sign, rule=FRAME, least=_LEAST)
            )
        window = panels[0]
        window.colours[blocks.padding[place]] = EMPTY
        cells = blocks.value[0].size
        if chosen is not None and chosen // cells == place:
            row, column = divmod(chosen % cells, blocks.value.shape[2])
            top, left, bottom, right = zoom.box((row, column, row + 1, column + 1))
            inside = (top + 3, left + 3, bottom - 4, right - 4)
            panels[0] = replace(window, rings=[inside])
        if blocks.weight is not None and cells > 1:
            panels.append(_sum_panel(blocks.sums[place], len(window.colours) * _CELL))
        yield panels


def _term_panels(explanation: Explanation) -> Iterator[list[Panel]]:
    """Yield the terms of a dense layer or a softmax that count most, a row each, and their sum.

    Their cells, values, weights and products, or exponentials; none where a window slides, or where
    terms are only added.
    """
    arithmetic, terms = explanation.arithmetic, explanation.arithmetic.terms
    made = terms.weight is not None or bool((terms.part != terms.value).any())
    if terms.place is not None or arithmetic.join != "sum" or len(terms) < 2 or not made:
        return
    order = np.argsort(-np.nan_to_num(np.abs(terms.part), nan=np.inf), kind="stable")[:_TERMS]
    chosen = arithmetic.chosen
    if chosen is not None and chosen not in order:
        order[-1] = chosen
    product = terms.weight is not None
    columns: list[tuple[str, str, Numbers]] = [("value", "", terms.value)]
    head = arithmetic.noun.removeprefix("exponentials ")
    columns.append((head, "=" if product else "->", terms.part))
    if terms.weight is not None:
        columns.insert(1, ("weight", "x", terms.weight))
    up = (_ROW, _WIDE)
    names = [[cell_text(terms.at[index]) if terms.real[index] else "padding"] for index in order]
    blank = np.full((len(order), 1, 3), PAPER, np.uint8)
    panels = [Panel(blank, up, "cell", names, rule=FRAME)]
    for head, sign, numbers in columns:
        column = numbers[order].astype(np.float32).reshape(-1, 1)
        choose = signed_scale if product and head != "value" else choose_scale
        scale = choose(*finite_range(column))
        panels.append(
            Panel.of(
                column,
                scale,
                Zoom((1, 1), up),
                title=drawable(head),
                texts=[[format_cell(value)] for value in column[:, 0].tolist()],
                sign=sign,
                rule=FRAME,
                least=_WIDE + 24 if chosen is not None else 0,
            )
        )
    if chosen is not None:
        place = int(np.flatnonzero(order == chosen)[0])
        ring = (place * _ROW + 3, 3, (place + 1) * _ROW - 4, _WIDE - 4)
        panels[-1] = replace(panels[-1], rings=[ring])
    left = len(terms) + terms.omitted - len(order)
    total = arithmetic.total - (arithmetic.bias or 0.0)
    head = "sum" if not left else f"sum, with {left:,} more"
    panels.append(_sum_panel(total, len(order) * _ROW, head))
    yield panels


def _sum_panel(total: float, height: int, head: str = "sum") -> Panel:
    """Return what the products, or exponentials, before it add up to."""
    paper = np.full((1, 1, 3), PAPER, np.uint8)
    return Panel(paper, (height, _WIDE), head, [[drawable(written(total))]], sign="=", least=_LEAST)


# --- winners -----------------------------------------------------------------------------------


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
    up = min(_WINNERS_SIDE // max(rows, columns), _LARGEST_CELL)
    zoom = Zoom((1, 1), (up, up))
    scale = choose_scale(*finite_range(part.values), colormap=colormap)
    top, left, bottom, right = part.window
    window = (
        max(top - part.top, 0),
        max(left - part.left, 0),
        min(bottom - part.top, rows),
        min(right - part.left, columns),
    )
    panel = Panel.of(
        part.values,
        scale,
        zoom,
        title=caption,
        rings=[zoom.box(window)] if bottom > top else [],
        rule=FRAME if up >= 12 else None,
        scale=scale,
    )
    note = f"{part.share:.1%} of the map's values win in some window (dots); "
    sheet = draw_panels([[panel]], title, [note + "the others are discarded"])
    x, y = sheet.left + 1 + panel.corner[0], sheet.top + panel.corner[1]
    radius = max(up // 4, 2) if up < 24 else 5
    for row, column in np.argwhere(part.won).tolist():  # in a large cell above its number
        at = (x + column * up + up // 2, y + row * up + (up // 2 if up < 24 else 10))
        box = (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)
        sheet.draw.ellipse(box, fill=ACCENT, outline=BLACK)
    return sheet.image
