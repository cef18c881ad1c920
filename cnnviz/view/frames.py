"""Frames of an animation: the window on its map, its arithmetic, and the map it fills.

Above, the map that is read and the map that is made, small ones enlarged by a whole factor;
below, the cells under the window, the kernel and their products, cell by cell, and the sum. What
stays the same is drawn once on a `Sheet`; a frame is a copy of it in which the rest is filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.animation import COPY, NOTHING, NUMBER, PIXEL, Patches, Scene, Survey
from cnnviz.core.arithmetic import Arithmetic
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Pair
from cnnviz.view.frameplan import LINE, RING, SIGN, FramePlan, Look, Place
from cnnviz.view.lettering import (
    drawable,
    fitting_size,
    font,
    readable_on,
    shorten,
    spaced,
    text_width,
)
from cnnviz.view.maps import Bytes, Numbers, block_means, draw_colour, enlarge, rgb
from cnnviz.view.numbers import format_cell, format_number, format_range
from cnnviz.view.palette import COPIED, INKS, LINES, Palette, few_colours
from cnnviz.view.scale import Ends, Scale, choose_scale, signed_scale
from cnnviz.view.sheet import (
    ACCENT,
    BLACK,
    EMPTY,
    SOFT,
    TEXT_SIZE,
    TITLE_SIZE,
    Bar,
    Census,
    Panel,
    Sheet,
)
from cnnviz.view.zoom import Box, Zoom

_MOST_COUNTED = 7  # cells of a window's side up to which its numbers are written
_TELLING = (15, 13, 11)  # sizes of the text that changes: the first that fits


class Word(NamedTuple):
    """What is written at a place (x, y) of a frame."""

    at: tuple[float, float]
    text: str
    size: int
    anchor: str = "ls"
    dark: bool = True


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
            known: Numbers = self._weight
            self._kernel_scale = signed_scale(*finite_range(known))
            self._product_scale = signed_scale(-found.reach, found.reach)
            scales = (("kernel", self._kernel_scale), ("products", self._product_scale))
            captions += [f"{name} ({format_range(one.low, one.high)})" for name, one in scales]
        texts = sorted(self._cell_texts())
        plan = FramePlan.of(scene, found, look, captions, texts)
        means, read = self._read(plan.source.zoom)
        made = Census.of(scene.output)
        self.source_scale = choose_scale(read.low, read.high, colormap=look.colormap)
        self.output_scale = choose_scale(made.low, made.high, colormap=look.colormap)
        padded = any(scene.window.pads(scene.size))
        legend = [(EMPTY, "padding, or not computed yet" if padded else "not computed yet")]
        odd = (*read.legend, *made.legend)  # each with how many there are, which is left out
        legend += {colour: (colour, text.partition(" ")[0]) for colour, text in odd}.values()
        sheet = Sheet(plan.size, *_heading(look, plan.size[0]), legend=legend)
        corner = (sheet.left, sheet.top)
        self.plan = FramePlan.of(scene, found, look, captions, texts, corner)
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
        return self.plan.output

    def frames(self) -> Iterator[Bytes]:
        """Draw one frame after another, (height, width) indices into the palette."""
        for number, at in enumerate(self._positions):
            canvas, shown = self._final.copy(), self._patches(at)
            rows, columns = self.output.area
            blank = ~self._done(at)
            canvas[rows, columns][blank] = self._hatch[rows, columns][blank]
            start = self._scene.start(at)
            self._outline_taps(canvas, start)
            self._ring(canvas, self.plan.source.box(start, self._scene.window.extent), -RING)
            self._ring(canvas, self.output.box(at), -RING)
            self._draw_patches(canvas, shown)
            self._write(canvas[self.plan.telling :], self.words(number))
            yield canvas

    def words(self, number: int) -> Iterator[Word]:
        """Yield what is written on a frame and on no other: numbers of cells, and lines."""
        at, plan = self._positions[number], self.plan
        shown = self._patches(at)
        for place, values, scale, kind in self._changing(shown) if plan.numbers else ():
            height, width = place.zoom.up
            dark = self._readable[self.palette.values(values, scale)] | (kind == NUMBER)
            for i, j in np.argwhere(kind != NOTHING).tolist():
                centre = (place.x + (j + 0.5) * width, place.y + (i + 0.5) * height)
                text = format_cell(values[i, j])
                yield Word(centre, text, plan.numbers or 0, "mm", bool(dark[i, j]))
        lines = [(plan.telling, self._progress(number, at, plan.size[0]))]
        for text in sentences(self._scene.arithmetic(at), shown, len(self._scene.reads)):
            lines.append((plan.sentences + LINE * (len(lines) - 1), text))
        for y, text in lines:
            line = drawable(text)
            size = next((s for s in _TELLING if text_width(line, s) <= plan.size[0]), _TELLING[-1])
            yield Word((plan.left, y + 14), shorten(line, plan.size[0], size), size)

    # --- what stays

    def _read(self, zoom: Zoom) -> tuple[list[Numbers], Census]:
        """Return the means of the blocks of what is read, and facts of all its values.

        One channel after another: those of a large photograph need not be floats all at once.
        """
        look, means, facts = self._look, list[Numbers](), list[Census]()
        for channel in self._found.channels if look.picture is None else look.picture:
            (plane,) = self._scene.planes([channel])
            means.append(block_means(plane, zoom.block))
            facts.append(Census.of(plane))
        ends = Ends()
        for fact in facts:
            ends = ends.widened(fact.low, fact.high)
        return means, Census(*ends, tuple(entry for fact in facts for entry in fact.legend))

    def _draw_maps(self, sheet: Sheet, means: Sequence[Numbers], picture: Bytes) -> None:
        """Draw the map that is read, amid its padding, and the whole of the map that is made."""
        plan, look, source, output = self.plan, self._look, self.plan.source, self.plan.output
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
        if look.picture is None and not source.zoom.averages:
            read = Panel.of(means[self._found.main], self.source_scale, source.zoom)
        else:
            read = Panel(picture, source.zoom.up)
        made = Panel.of(self._scene.output, self.output_scale, output.zoom)
        for drawn, place in ((read, source), (made, output)):
            panel = drawn
            if place.zoom.nearest:
                blocks = np.ix_(*place.zoom.blocks(place.size))
                panel = Panel(drawn.colours[blocks], (1, 1))
            size = fitting_size([text for row in panel.texts for text in row], panel.up)
            sheet.panel(panel, place.x, place.y, size)
        widths = (left + width + right, output.shown[1])
        scales = (self.source_scale, self.output_scale)
        for scale, start, wide in zip(scales, (x, output.x), widths, strict=True):
            sheet.bar(Bar.of(scale), start, plan.bars, min(max(wide, plan.bar), 256))

    def _draw_kernels(self, sheet: Sheet) -> None:
        """Draw what stays of the patches: names, signs, frames, and the kernels."""
        lines = self.plan.patches
        for place, caption in zip(lines[0], self.plan.heads, strict=True):
            sheet.text(place.x, place.y - 8, caption, TEXT_SIZE, fill=SOFT)
        for row, line in enumerate(lines):
            middle = line[0].y + line[0].shown[0] / 2
            if len(lines) > 1:
                name = self._look.names[self._found.channels[row]]
                sheet.text(self.plan.left, middle, name, TEXT_SIZE, fill=SOFT, anchor="lm")
            for sign, place in zip("x=", line[1:], strict=False):
                sheet.text(place.x - SIGN / 2, middle, sign, 18, fill=SOFT, anchor="mm")
            for place in line:
                height, width = place.shown
                edge = (place.x - 1, place.y - 1, place.x + width, place.y + height)
                sheet.draw.rectangle(edge, outline=SOFT)
            if self._weight is not None:
                weight, place = self._weight[row], line[1]
                colours = rgb(block_means(weight, place.zoom.down), self._kernel_scale)
                sheet.paste(enlarge(colours, place.zoom.up), place.x, place.y, frame=False)
                if size := self.plan.numbers:
                    texts = [[format_cell(value) for value in line] for line in weight.tolist()]
                    sheet.numbers(
                        texts, colours, place.zoom.up, size, place.x, place.y, ruled=False
                    )

    def _cell_texts(self) -> set[str]:
        """Return all numbers that stand in the patches of all frames; none for large windows."""
        if max(self._scene.window.kernel_size) > _MOST_COUNTED:
            return set()
        parts = [] if self._weight is None else [self._weight]
        for at in self._positions:
            shown = self._patches(at)
            parts += [shown.value] if shown.weight is None else [shown.value, shown.part]
        return {format_cell(value) for part in parts for value in part.reshape(-1)}

    # --- what changes

    def _patches(self, at: Pair) -> Patches:
        return Patches.of(self._scene.arithmetic(at), self._found.channels)

    def _done(self, at: Pair) -> NDArray[np.bool_]:
        """Return the pixels of the map that are computed when the value at a position is.

        Where a pixel stands for the mean of several values, once all of them are.
        """
        zoom, size = self.output.zoom, self.output.size
        row, column = (
            np.minimum((blocks + 1) * step, length) - 1  # the last value of each pixel's block
            for blocks, step, length in zip(zoom.blocks(size), zoom.block, size, strict=True)
        )
        row = row[:, None]
        return np.asarray((row < at[0]) | ((row == at[0]) & (column <= at[1])))

    def _progress(self, number: int, at: Pair, width: int) -> str:
        """Write the position, its value and the frame, as far as there is room."""
        rows, columns = self._scene.map_size
        place = f"row {at[0]}, column {at[1]}"
        value = f": value {at[0] * columns + at[1] + 1:,} of {rows * columns:,}"
        count = len(self._positions)
        frame = f" (frame {number + 1} of {count})" if count < rows * columns else ""
        text = place + value + frame
        return text if text_width(text, _TELLING[1]) <= width else place + frame

    def _changing(self, shown: Patches) -> Iterator[tuple[Place, Numbers, Scale, NDArray[Any]]]:
        """Yield the patches that change: place, values, scale, and what kind of cells they are."""
        for row, line in enumerate(self.plan.patches):
            kind = shown.kind[row]
            yield line[0], shown.value[row], self.source_scale, kind
            if self._weight is not None:
                plain = np.where(kind == NOTHING, NOTHING, PIXEL)  # products are not hatched
                yield line[2], shown.part[row], self._product_scale, plain

    def _draw_patches(self, canvas: Bytes, shown: Patches) -> None:
        """Draw the colours of the patches, hatched where a window is beyond the edge."""
        for place, values, scale, kind in self._changing(shown):
            rows, columns = place.area
            area, hatch = canvas[rows, columns], self._hatch[rows, columns]
            cells = self.palette.values(block_means(values, place.zoom.down), scale)
            area[...] = enlarge(cells, place.zoom.up)
            if scale is self.source_scale and kind.any():
                blank = _filled((kind == NUMBER) | (kind == NOTHING), place.zoom)
                area[blank] = hatch[blank]
                copied = _filled(kind == COPY, place.zoom) & (hatch == self.palette.of(LINES))
                area[copied] = self.palette.of(COPIED)
        if shown.chosen is not None:
            row, *cell = shown.chosen
            self._ring(canvas, self.plan.patches[row][0].box((cell[0], cell[1])))

    def _outline_taps(self, canvas: Bytes, start: Pair) -> None:
        """Outline each cell a dilated window reads, if they are few and large enough."""
        window, place = self._scene.window, self.plan.source
        if max(window.dilation) == 1 or max(window.kernel_size) > _MOST_COUNTED:
            return
        if min(place.zoom.up) < 5 or place.zoom.averages:
            return
        for i, j in np.ndindex(window.kernel_size):
            cell = (start[0] + i * window.dilation[0], start[1] + j * window.dilation[1])
            self._ring(canvas, place.box(cell), thin=True)

    def _ring(self, canvas: Bytes, box: Box, inset: int = 0, *, thin: bool = False) -> None:
        """Draw a bright line between two dark ones around a box: it is seen on any ground.

        Along its inner edge if nothing else is said, and thinner in a small one.
        """
        dark, bright = self.palette.of(BLACK), self.palette.of(ACCENT)
        thin = thin or (inset == 0 and min(box[2] - box[0], box[3] - box[1]) < 16)
        for step, colour in enumerate((dark, bright) if thin else (dark, bright, bright, dark)):
            _outline(canvas, box, inset + step, colour)

    def _write(self, panel: Bytes, words: Iterator[Word]) -> None:
        """Write on the lower part of a frame, with dark and with white ink."""
        layers = [Image.new("L", panel.shape[::-1]) for _ in range(2)]
        pens = [ImageDraw.Draw(layer) for layer in layers]
        for (x, y), text, size, anchor, dark in words:
            place = (x, y - self.plan.telling)
            pens[not dark].text(place, spaced(text, size), fill=255, font=font(size), anchor=anchor)
        shades = np.rint(np.arange(256) * ((INKS - 1) / 255)).astype(np.uint8)
        for layer, blend in zip(layers, self.palette.blends, strict=True):
            if box := layer.getbbox():
                left, top, right, bottom = box
                part = panel[top:bottom, left:right]
                part[...] = blend[part, shades[np.asarray(layer.crop(box))]]


def _heading(look: Look, width: int) -> tuple[str, Sequence[str]]:
    """Return title and notes; a long title's second half is a note, which can be wrapped."""
    title = drawable(look.title)
    if text_width(title, TITLE_SIZE) <= width:
        return title, look.notes
    name, _, rest = title.partition(": ")
    return shorten(name, width, TITLE_SIZE), [rest or title, *look.notes]


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
    """Return the pixels of those blocks of a zoom with a flag for every cell."""
    return enlarge(np.asarray(block_means(flags.astype(np.float32), zoom.down) == 1), zoom.up)


def sentences(arithmetic: Arithmetic, shown: Patches, depth: int) -> list[str]:
    """Say how the terms become the value, and what of the window is padding: a line for each.

    `depth` is how many channels the value is made of.
    """
    cells, kind = shown.kind[0].size, shown.kind[0]
    padded, absent = int(np.isin(kind, (NUMBER, COPY)).sum()), int((kind == NOTHING).sum())
    about = [f"{padded} of {cells} cells are padding"] if padded else []
    about += [f"{absent} of {cells} cells do not count"] if absent else []
    steps = [*_joining(arithmetic, shown, depth), *arithmetic.steps]
    return [line for line in ("; ".join(steps), "; ".join(about)) if line]


def _joining(arithmetic: Arithmetic, shown: Patches, depth: int) -> list[str]:
    terms, total = arithmetic.terms, format_number(arithmetic.total)
    if terms.weight is None:  # the steps describe a cell that is alone, and of the one chosen
        summed = arithmetic.join == "sum" and len(terms) > 1
        return [f"sum of {len(terms)} {arithmetic.noun}: {total}"] if summed else []
    with np.errstate(all="ignore"):
        products = format_number(float(terms.part.sum()))
        own = format_number(float(shown.part.sum()))
    text = f"sum of the products: {products}"
    if depth > len(shown.part):
        text = f"this channel: {own}; all {depth} channels: {products}"
    if arithmetic.bias is not None:
        text += f" + bias {format_number(arithmetic.bias)} = {total}"
    return [text]
