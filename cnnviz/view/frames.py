"""Frames of an animation: the window on its map, its arithmetic, and the map it fills.

Above, the map that is read and the map that is made, each enlarged or reduced by a whole factor;
below, the cells under the window, the kernel and their products, cell by cell, and the sum. What
stays the same is drawn once on a `Sheet`; a frame is a copy of it in which the rest is filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.animation import COPY, NOTHING, NUMBER, PIXEL, Patches, Scene, Survey
from cnnviz.core.arithmetic import Arithmetic
from cnnviz.core.types import Pair
from cnnviz.view.frameplan import LINE, RING, SIGN, FramePlan, Look, Place
from cnnviz.view.grid import Zoom
from cnnviz.view.maps import Bytes, block_means, draw_colour, enlarge, rgb
from cnnviz.view.numbers import format_cell, format_number, format_range
from cnnviz.view.palette import BLACK, COPIED, EMPTY, INKS, LINES, Palette, few_colours
from cnnviz.view.scale import Numbers, Scale, choose_scale
from cnnviz.view.sheet import (
    ACCENT,
    SOFT,
    TEXT_SIZE,
    Bar,
    CellNumbers,
    Census,
    Sheet,
    drawable,
    fitting_size,
    font,
    readable_on,
    shorten,
    text_width,
)

_MOST_COUNTED = 7  # cells of a window's side up to which its numbers are written
_MOST_WRITTEN = 12  # and of a map's side
_TELLING = (15, 13, 11)  # sizes of the text that changes: the first that fits
_TITLE = 18  # size of a sheet's title

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) pixels, the last two not counted."""


class Film:
    """The frames of a scene at some positions, drawn one after another.

    Parameters
    ----------
    scene : Scene
    positions : sequence of (row, column)
        In raster order; a frame shows the map filled up to its position.
    found : Survey
        Of the scene at these positions.
    look : Look
    """

    def __init__(self, scene: Scene, positions: Sequence[Pair], found: Survey, look: Look) -> None:
        self._scene, self._positions, self._found, self._look = scene, positions, found, look
        self._weight = Patches.of(scene.arithmetic(positions[0]), found.channels).weight
        captions = ["window"]
        if self._weight is not None:
            known = np.abs(self._weight[np.isfinite(self._weight)])
            self._kernel_scale = _signed(float(known.max(initial=0)))
            self._product_scale = _signed(found.reach)
            captions += [f"kernel ({_ends(self._kernel_scale)})"]
            captions += [f"products ({_ends(self._product_scale)})"]
        plan = FramePlan.of(scene, found, look, captions, sorted(self._cell_texts()))
        means, read = self._read(plan.source.zoom)
        made = Census.of(scene.output)
        self.source_scale = choose_scale(read.low, read.high, colormap=look.colormap)
        self.output_scale = choose_scale(made.low, made.high, colormap=look.colormap)
        padded = any(scene.window.pads(scene.size))
        legend = [(EMPTY, "padding, or not computed yet" if padded else "not computed yet")]
        odd = (*read.legend, *made.legend)  # each with how many there are, which is not told
        legend += {colour: (colour, told.partition(" ")[0]) for colour, told in odd}.values()
        sheet = Sheet(plan.size, *_heading(look, plan.size[0]), legend=legend)
        self._plan = plan.moved(sheet.left, sheet.top)
        self._number_size = plan.numbers
        picture: Bytes
        if look.picture is None:
            picture = rgb(means[found.main], self.source_scale)
            few = None
        else:
            picture = np.asarray(draw_colour(np.stack(means), self.source_scale))
            few = few_colours(picture)
        kinds = [self.source_scale.colormap, self.output_scale.colormap]
        self.palette = Palette(kinds if self._weight is None else [*kinds, "rdbu"], few)
        self._draw_maps(sheet, means, picture)
        self._draw_kernels(sheet)
        self._final = self.palette.index(np.asarray(sheet.image))
        entries = [self.palette.of(LINES), self.palette.of(EMPTY)]
        self._hatch = np.array(entries, np.uint8)[np.where(_lines(self._final.shape), 0, 1)]
        self._readable = np.array([readable_on(c) == BLACK for c in self.palette.colours])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every frame."""
        return self._final.shape[1], self._final.shape[0]

    @property
    def output(self) -> Place:
        """Where the map that fills is on a frame."""
        return self._plan.output

    def frames(self) -> Iterator[Bytes]:
        """Draw one frame after another, (height, width) indices into the palette."""
        known = self._final.copy()
        rows, columns = self._plan.output.area
        known[rows, columns] = self._hatch[rows, columns]
        for number, at in enumerate(self._positions):
            self._reveal(known, at)
            yield self._frame(known.copy(), number, at)

    # --- what stays

    def _read(self, zoom: Zoom) -> tuple[list[Numbers], Census]:
        """Return the means of the blocks of what is read, and facts of all its values.

        One channel after another: those of a large photograph need not be floats all at once.
        """
        look, means, facts = self._look, list[Numbers](), list[Census]()
        for channel in self._found.channels if look.picture is None else look.picture:
            (plane,) = self._scene.planes([channel])
            means.append(block_means(plane, zoom.down))
            facts.append(Census.of(plane))
        lows = [fact.low for fact in facts if fact.low is not None]
        highs = [fact.high for fact in facts if fact.high is not None]
        legend = tuple(entry for fact in facts for entry in fact.legend)
        return means, Census(min(lows, default=None), max(highs, default=None), legend)

    def _draw_maps(self, sheet: Sheet, means: Sequence[Numbers], picture: Bytes) -> None:
        """Draw the map that is read, amid its padding, and the whole of the map that is made."""
        plan, look, source, output = self._plan, self._look, self._plan.source, self._plan.output
        top, left, bottom, right = plan.margins
        height, width = source.shown
        x, room = source.x - left, output.x - source.x + left - 12
        caption = shorten(drawable(look.source), room, TEXT_SIZE)
        sheet.text(x, plan.captions, caption, TEXT_SIZE)
        caption = shorten(drawable(look.output), sheet.image.width - output.x - 8, TEXT_SIZE)
        sheet.text(output.x, plan.captions, caption, TEXT_SIZE)
        if any(plan.margins):
            margin = _lines((top + height + bottom, left + width + right))
            colours = np.array([EMPTY, LINES], np.uint8)
            sheet.paste(colours[margin.astype(np.intp)], x, source.y - top)
        sheet.paste(enlarge(picture, source.zoom.up), source.x, source.y)
        made = rgb(block_means(self._scene.output, output.zoom.down), self.output_scale)
        sheet.paste(enlarge(made, output.zoom.up), output.x, output.y)
        if look.picture is None:
            _write_numbers(sheet, means[self._found.main], picture, source)
        _write_numbers(sheet, self._scene.output, made, output)
        widths = (left + width + right, output.shown[1])
        scales = (self.source_scale, self.output_scale)
        for scale, start, wide in zip(scales, (x, output.x), widths, strict=True):
            sheet.bar(Bar.of(scale), start, plan.bars, min(max(wide, plan.bar), 256))

    def _draw_kernels(self, sheet: Sheet) -> None:
        """Draw what stays of the patches: names, signs, frames, and the kernels."""
        lines = self._plan.patches
        for place, caption in zip(lines[0], self._plan.heads, strict=True):
            sheet.text(place.x, place.y - 8, caption, TEXT_SIZE, fill=SOFT)
        for row, line in enumerate(lines):
            middle = line[0].y + line[0].shown[0] / 2
            if len(lines) > 1:
                name = self._look.names[self._found.channels[row]]
                sheet.text(self._plan.left, middle, name, TEXT_SIZE, fill=SOFT, anchor="lm")
            for sign, place in zip("x=", line[1:], strict=False):
                sheet.text(place.x - SIGN / 2, middle, sign, 18, fill=SOFT, anchor="mm")
            for place in line:
                height, width = place.shown
                edge = (place.x - 1, place.y - 1, place.x + width, place.y + height)
                sheet.draw.rectangle(edge, outline=SOFT)
            if self._weight is not None:
                self._draw_kernel(sheet, self._weight[row], line[1])

    def _draw_kernel(self, sheet: Sheet, weight: Numbers, place: Place) -> None:
        colours = rgb(block_means(weight, place.zoom.down), self._kernel_scale)
        sheet.paste(enlarge(colours, place.zoom.up), place.x, place.y, frame=False)
        if self._number_size:
            texts = [[format_cell(value) for value in row] for row in weight.tolist()]
            numbers = CellNumbers(texts, place.zoom.up, self._number_size)
            sheet.numbers(numbers, colours, place.x, place.y)

    def _cell_texts(self) -> set[str]:
        """Return all numbers that stand in the patches of all frames; none for large windows."""
        texts = set[str]()
        if max(self._scene.window.kernel_size) > _MOST_COUNTED:
            return texts
        for at in self._positions:
            shown = Patches.of(self._scene.arithmetic(at), self._found.channels)
            written = [shown.value] if shown.weight is None else [shown.value, shown.part]
            texts |= {format_cell(value) for part in written for value in part.reshape(-1)}
        if self._weight is not None:
            texts |= {format_cell(value) for value in self._weight.reshape(-1)}
        return texts

    # --- what changes

    def _reveal(self, known: Bytes, at: Pair) -> None:
        """Uncover what is computed when the value at a position is: rows above, cells before.

        Where a pixel stands for the mean of several values, once all of them are.
        """
        place = self._plan.output
        down, up, (rows, columns) = place.zoom.down, place.zoom.up, place.size
        whole = at[0] // down[0]  # rows of blocks above this one: they are done
        y, done = place.y + whole * up[0], place.area[1]
        known[place.y : y, done] = self._final[place.y : y, done]
        if at[0] == min((whole + 1) * down[0], rows) - 1:  # the last row of its blocks
            blocks = -(-columns // down[1]) if at[1] == columns - 1 else (at[1] + 1) // down[1]
            part = (slice(y, y + up[0]), slice(place.x, place.x + blocks * up[1]))
            known[part] = self._final[part]

    def _frame(self, canvas: Bytes, number: int, at: Pair) -> Bytes:
        scene, plan = self._scene, self._plan
        arithmetic = scene.arithmetic(at)
        shown = Patches.of(arithmetic, self._found.channels)
        start = scene.start(at)
        self._outline_taps(canvas, start)
        self._ring(canvas, plan.source.box(start, scene.window.extent))
        self._ring(canvas, plan.output.box(at))
        panel = canvas[plan.telling :]
        ink = _Ink(panel, plan.telling, self.palette.blends)
        self._draw_patches(canvas, ink, shown)
        lines = [(plan.telling, self._progress(number, at, plan.size[0]))]
        for text in _sentences(arithmetic, shown, len(scene.reads)):
            lines.append((plan.sentences + LINE * (len(lines) - 1), text))
        for y, text in lines:
            told = drawable(text)
            size = next((s for s in _TELLING if text_width(told, s) <= plan.size[0]), _TELLING[-1])
            ink.write((plan.left, y + 14), shorten(told, plan.size[0], size), size, anchor="ls")
        ink.lay()
        return canvas

    def _progress(self, number: int, at: Pair, width: int) -> str:
        """Tell the position, its value and the frame, as far as there is room."""
        rows, columns = self._scene.map_size
        place = f"row {at[0]}, column {at[1]}"
        value = f": value {at[0] * columns + at[1] + 1:,} of {rows * columns:,}"
        count = len(self._positions)
        frame = f" (frame {number + 1} of {count})" if count < rows * columns else ""
        told = place + value + frame
        return told if text_width(told, _TELLING[1]) <= width else place + frame

    def _draw_patches(self, canvas: Bytes, ink: _Ink, shown: Patches) -> None:
        for row, line in enumerate(self._plan.patches):
            kind = shown.kind[row]
            cells = self._cells(canvas, line[0], shown.value[row], self.source_scale)
            self._mark_padding(canvas, line[0], kind)
            self._write(ink, line[0], shown.value[row], cells, kind)
            if self._weight is not None:
                cells = self._cells(canvas, line[2], shown.part[row], self._product_scale)
                plain = np.where(kind == NOTHING, NOTHING, PIXEL)  # products are not hatched
                self._write(ink, line[2], shown.part[row], cells, plain)
        if shown.chosen is not None:
            row, *cell = shown.chosen
            self._ring_inside(canvas, self._plan.patches[row][0].box((cell[0], cell[1])))

    def _cells(self, canvas: Bytes, place: Place, values: Numbers, scale: Scale) -> Bytes:
        """Draw a patch's colours, and return them: an entry of the palette for each cell."""
        cells = self.palette.values(block_means(values, place.zoom.down), scale)
        rows, columns = place.area
        canvas[rows, columns] = enlarge(cells, place.zoom.up)
        return cells

    def _mark_padding(self, canvas: Bytes, place: Place, kind: Bytes) -> None:
        """Hatch the cells beyond the edge; over their colour where they copy a pixel."""
        if not kind.any():
            return
        rows, columns = place.area
        area, hatch = canvas[rows, columns], self._hatch[rows, columns]
        blank = _filled((kind == NUMBER) | (kind == NOTHING), place.zoom)
        area[blank] = hatch[blank]
        copied = _filled(kind == COPY, place.zoom) & (hatch == self.palette.of(LINES))
        area[copied] = self.palette.of(COPIED)

    def _write(
        self, ink: _Ink, place: Place, values: Numbers, cells: Bytes, kind: NDArray[Any]
    ) -> None:
        """Write numbers into the cells that have one, if all fit, so that they can be read."""
        if not self._number_size:
            return
        height, width = place.zoom.up
        dark = self._readable[cells] | (kind == NUMBER)
        for i, j in np.argwhere(kind != NOTHING).tolist():
            centre = (place.x + (j + 0.5) * width, place.y + (i + 0.5) * height)
            text = format_cell(values[i, j])
            ink.write(centre, text, self._number_size, anchor="mm", dark=bool(dark[i, j]))

    def _outline_taps(self, canvas: Bytes, start: Pair) -> None:
        """Outline each cell a dilated window reads, if they are few and large enough."""
        window, place = self._scene.window, self._plan.source
        if max(window.dilation) == 1 or max(window.kernel_size) > _MOST_COUNTED:
            return
        if min(place.zoom.up) < 5 or place.zoom.averages:
            return
        for i, j in np.ndindex(window.kernel_size):
            cell = (start[0] + i * window.dilation[0], start[1] + j * window.dilation[1])
            self._ring_inside(canvas, place.box(cell), thin=True)

    def _ring(self, canvas: Bytes, box: Box) -> None:
        """Draw a bright line between two dark ones around a box: it is seen on any ground."""
        dark, bright = self.palette.of(BLACK), self.palette.of(ACCENT)
        for step, colour in zip(range(-RING, 0), (dark, bright, bright, dark), strict=True):
            _outline(canvas, box, step, colour)

    def _ring_inside(self, canvas: Bytes, box: Box, *, thin: bool = False) -> None:
        """Draw the same along the inner edge of a box, thinner in a small one."""
        dark, bright = self.palette.of(BLACK), self.palette.of(ACCENT)
        thin = thin or min(box[2] - box[0], box[3] - box[1]) < 16
        for step, colour in enumerate((dark, bright) if thin else (dark, bright, bright, dark)):
            _outline(canvas, box, step, colour)


class _Ink:
    """Lettering on the lower part of a frame, from its row `top` on: dark and white ink."""

    def __init__(self, panel: Bytes, top: int, blends: Bytes) -> None:
        self._panel, self._top, self._blends = panel, top, blends
        self._layers = [Image.new("L", panel.shape[::-1]) for _ in blends]
        self._pens = [ImageDraw.Draw(layer) for layer in self._layers]

    def write(
        self, at: tuple[float, float], text: str, size: int, *, anchor: str, dark: bool = True
    ) -> None:
        """Write at a place of the frame."""
        place = (at[0], at[1] - self._top)
        self._pens[not dark].text(place, text, fill=255, font=font(size), anchor=anchor)

    def lay(self) -> None:
        """Lay the ink on the frame."""
        shades = np.rint(np.arange(256) * ((INKS - 1) / 255)).astype(np.uint8)
        for layer, blend in zip(self._layers, self._blends, strict=True):
            box = layer.getbbox()
            if box is not None:
                left, top, right, bottom = box
                part = self._panel[top:bottom, left:right]
                part[...] = blend[part, shades[np.asarray(layer.crop(box))]]


def _heading(look: Look, width: int) -> tuple[str, Sequence[str]]:
    """Return title and notes; a long title's second half is a note, which can be wrapped."""
    title = drawable(look.title)
    if text_width(title, _TITLE) <= width:
        return title, look.notes
    name, _, rest = title.partition(": ")
    return shorten(name, width, _TITLE), [rest or title, *look.notes]


def _outline(canvas: Bytes, box: Box, inset: int, colour: int) -> None:
    """Draw the edge of a box made smaller by `inset`, as far as it is on the canvas."""
    top, left, bottom, right = box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset
    rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
    for row in (top, bottom - 1):
        if 0 <= row < canvas.shape[0]:
            canvas[row, columns] = colour
    for column in (left, right - 1):
        if 0 <= column < canvas.shape[1]:
            canvas[rows, column] = colour


def _lines(size: Sequence[int]) -> NDArray[np.bool_]:
    """Return where slanting lines are on a paper of (rows, columns) pixels."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.asarray((rows + columns) % 8 == 0)


def _filled(flags: NDArray[np.bool_], zoom: Zoom) -> Any:
    """Return the pixels of those blocks of a zoom whose cells all have a flag."""
    return enlarge(np.asarray(block_means(flags.astype(np.float32), zoom.down) == 1), zoom.up)


def _signed(reach: float) -> Scale:
    return choose_scale(-reach, reach, colormap="rdbu")


def _ends(scale: Scale) -> str:
    return format_range(scale.low, scale.high)


def _write_numbers(sheet: Sheet, plane: Numbers, colours: Bytes, place: Place) -> None:
    """Write the numbers of a small map into its cells, if they all fit."""
    if max(plane.shape) > _MOST_WRITTEN or place.zoom.averages:
        return
    texts = [[format_cell(value) for value in row] for row in plane.tolist()]
    size = fitting_size([text for row in texts for text in row], place.zoom.up)
    if size:
        sheet.numbers(CellNumbers(texts, place.zoom.up, size), colours, place.x, place.y)


def _sentences(arithmetic: Arithmetic, shown: Patches, depth: int) -> list[str]:
    """Tell how the terms become the value, and what of the window is padding: a line for each.

    `depth` is how many channels the value is made of.
    """
    cells, kind = shown.kind[0].size, shown.kind[0]
    padded, absent = int(np.isin(kind, (NUMBER, COPY)).sum()), int((kind == NOTHING).sum())
    about = [f"{padded} of {cells} cells are padding"] if padded else []
    about += [f"{absent} of {cells} cells do not count"] if absent else []
    told = [*_joining(arithmetic, shown, depth), *arithmetic.steps]
    return [line for line in ("; ".join(told), "; ".join(about)) if line]


def _joining(arithmetic: Arithmetic, shown: Patches, depth: int) -> list[str]:
    terms, total = arithmetic.terms, format_number(arithmetic.total)
    if terms.weight is None:  # the steps tell of a cell that is alone, and of the one chosen
        summed = arithmetic.join == "sum" and len(terms) > 1
        return [f"sum of {len(terms)} {arithmetic.noun}: {total}"] if summed else []
    with np.errstate(all="ignore"):
        products = format_number(float(terms.part.sum()))
        own = format_number(float(shown.part.sum()))
    told = f"sum of the products: {products}"
    if depth > len(shown.part):
        told = f"this channel: {own}; all {depth} channels: {products}"
    if arithmetic.bias is not None:
        told += f" + bias {format_number(arithmetic.bias)} = {total}"
    return [told]
