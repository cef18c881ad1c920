"""Frames of an animation: the window on its map, its arithmetic, and the map it fills.

Above, the map that is read and the map that is made, each enlarged or reduced by a whole factor;
below, the cells under the window, the kernel and their products, cell by cell, and the sum. What
stays the same is drawn once on a `Sheet`; a frame is a copy of it in which the rest is filled in.

All frames have one palette of 256 colours, so a colour map has fewer steps here than in a picture
of its own (every second or third of its levels), and every value has the nearest of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.animation import COPY, NOTHING, NUMBER, Patches, Scene, Survey
from cnnviz.core.explanation import Arithmetic
from cnnviz.core.types import Pair
from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.grid import Zoom, choose_zoom
from cnnviz.view.maps import (
    LEVELS,
    NAN_COLOUR,
    NEGATIVE_INFINITY_COLOUR,
    POSITIVE_INFINITY_COLOUR,
    Bytes,
    Colour,
    block_means,
    draw_colour,
    enlarge,
    indexed,
)
from cnnviz.view.numbers import format_cell, format_number, format_range
from cnnviz.view.scale import Numbers, Scale, choose_scale
from cnnviz.view.sheet import (
    INK,
    MARGIN,
    PAPER,
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

# Colours that no colour map has: what is not computed, what is padding, and where the window is.
EMPTY: Colour = (242, 232, 208)
_LINES: Colour = (214, 196, 152)
_ACCENT: Colour = (255, 210, 0)
_BLACK: Colour = (0, 0, 0)

_MOST_COUNTED = 7  # cells of a window's side up to which its numbers are written
_MOST_CELL = 56  # pixels of a patch's cell
_GAP = 40  # between the two maps
_RING = 4  # pixels of the outline around a window: dark, bright, bright, dark
_SIGN = 36  # pixels for × and =
_LINE = 20  # from one line of text to the next
_TELLING = 15  # size of the text that changes


class Look(NamedTuple):
    """What the frames say besides the numbers, and how they are coloured."""

    title: str
    notes: Sequence[str]
    source: str  # over the map that is read
    output: str  # over the map that is made
    names: Sequence[str]  # of the channels that the stage reads
    colormap: str = "auto"
    size: int = 960  # of a frame's longer side, about
    picture: Sequence[int] | None = None  # which channels are red, green and blue of a picture


# ---------------------------------------------------------------------------- colours


class Palette:
    """Up to 255 colours for all frames; entry 255 stays unused."""

    def __init__(self, colormaps: Sequence[str], picture: Bytes | None = None) -> None:
        special = [PAPER, INK, SOFT, _BLACK, NAN_COLOUR, POSITIVE_INFINITY_COLOUR]
        special += [NEGATIVE_INFINITY_COLOUR, _ACCENT, EMPTY, _LINES]
        fixed = np.array(special, np.uint8)
        if picture is not None:
            fixed = np.concatenate([fixed, picture])
        ramps = sorted(set(colormaps) - {"gray"})
        # A step of 1, 2, 3, 6 or 9 meets the first, the middle and the last of the 253 levels.
        for step, grey in ((1, 2), (2, 3), (2, 5), (3, 5), (6, 5), (6, 15), (9, 15)):
            greys = np.append(np.arange(0, 255, grey), 255).astype(np.uint8)
            parts = [fixed, np.repeat(greys[:, None], 3, axis=1)]
            parts += [COLORMAPS[name].colours(LEVELS)[::step] for name in ramps]
            own = np.unique(np.concatenate(parts), axis=0)
            if len(own) < 256:
                break
        self.colours = np.zeros((256, 3), np.uint8)
        self.colours[: len(own)] = own
        self._points = own.astype(np.float32)
        self._ramps: dict[tuple[str, bool], Bytes] = {}
        self.blends = self._blends()

    def nearest(self, colours: Bytes) -> Bytes:
        """Return the entry nearest to each of (N, 3) colours."""
        found = np.empty(len(colours), np.uint8)
        squares = (self._points**2).sum(axis=1)
        for first in range(0, len(colours), 4096):
            some = colours[first : first + 4096].astype(np.float32)
            # |a − b|² = |a|² − 2 a·b + |b|², and |a|² is the same for all b.
            found[first : first + 4096] = (squares - 2 * some @ self._points.T).argmin(axis=1)
        return found

    def of(self, colour: Colour) -> int:
        """Return the entry of one colour."""
        return int(self.nearest(np.array([colour], np.uint8))[0])

    def index(self, pixels: Bytes) -> Bytes:
        """Return the entries nearest to a picture's pixels, (rows, columns, 3)."""
        packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        there = np.zeros(1 << 24, np.bool_)
        there[packed] = True
        used = np.flatnonzero(there)
        entry = np.zeros(1 << 24, np.uint8)
        entry[used] = self.nearest(
            np.stack([used >> 16, used >> 8 & 255, used & 255], axis=1).astype(np.uint8)
        )
        return entry[packed]

    def values(self, plane: Numbers, scale: Scale) -> Bytes:
        """Return the entries nearest to the colours of a plane's values."""
        levels, colours = indexed(plane, scale)
        key = (scale.colormap, colours is None)
        if key not in self._ramps:
            greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
            self._ramps[key] = self.nearest(greys if colours is None else colours)
        return self._ramps[key][levels]

    def _blends(self) -> NDArray[np.uint8]:
        """Return (2, 256, 16): each entry under 0 … 15 fifteenths of black ink and of white."""
        share = np.arange(16)[:, None] / 15
        paper = self.colours[:, None, :].astype(np.float32)
        mixed = [paper * (1 - share) + ink * share for ink in (0, 255)]
        flat = np.rint(np.stack(mixed)).astype(np.uint8).reshape(-1, 3)
        return self.nearest(flat).reshape(2, 256, 16)


def _hatch(size: Pair) -> Bytes:
    """Return paper with slanting lines, (rows, columns, 3): nothing is known here."""
    return np.where(_lines(size)[..., None], np.uint8(_LINES), np.uint8(EMPTY))


def _lines(size: Pair) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: size[0], : size[1]]
    lines: NDArray[np.bool_] = (rows + columns) % 8 == 0
    return lines


# ---------------------------------------------------------------------------- where things are


@dataclass(frozen=True)
class _Place:
    """Where a map is drawn on a frame: its first pixel, its zoom, its size in values."""

    x: int
    y: int
    zoom: Zoom
    size: Pair

    @property
    def shown(self) -> Pair:
        """How many pixels high and wide it is."""
        return self.zoom.shown(self.size)

    @property
    def area(self) -> tuple[slice, slice]:
        """Its pixels on the frame."""
        height, width = self.shown
        return slice(self.y, self.y + height), slice(self.x, self.x + width)

    def box(self, start: Pair, extent: Pair) -> tuple[int, int, int, int]:
        """Return the (top, left, bottom, right) pixels of some cells, the last two not counted."""
        edges = []
        for axis, origin in ((0, self.y), (1, self.x)):
            up, down = self.zoom.up[axis], self.zoom.down[axis]
            first = math.floor(start[axis] * up / down)
            last = max(math.ceil((start[axis] + extent[axis]) * up / down), first + 1)
            edges.append((origin + first, origin + last))
        (top, bottom), (left, right) = edges
        return top, left, bottom, right


@dataclass(frozen=True)
class _Plan:
    """Where everything is, in pixels from the body's top left corner."""

    source: _Place
    margins: tuple[int, int, int, int]  # pixels of padding around it: top, left, bottom, right
    output: _Place
    bars: int  # their top
    telling: int  # the top of what changes
    patches: Sequence[Sequence[_Place]]  # for each channel: window, or window, kernel, products
    labels: int  # the width of the channels' names before them
    sentences: int  # the top of the last lines
    body: tuple[int, int]  # (width, height)


def _plan(scene: Scene, found: Survey, look: Look, captions: Sequence[str]) -> _Plan:
    inner = max(look.size - 2 * MARGIN, 320)
    top, left, bottom, right = scene.window.pads(scene.size)
    padded = (scene.size[0] + top + bottom, scene.size[1] + left + right)
    room = (round(0.45 * look.size), look.size // 2)
    least = min(160, *room)
    zoom = choose_zoom(padded, room, least, most=look.size // 2)
    out_zoom = choose_zoom(scene.output.shape, room, least, most=look.size // 2)
    margins = tuple(
        math.ceil(pad / zoom.down[axis % 2]) * zoom.up[axis % 2]
        for axis, pad in enumerate((top, left, bottom, right))
    )
    shown, out = zoom.shown(scene.size), out_zoom.shown((scene.output.shape[0], scene.output.shape[1]))
    y, x = 24 + _RING, _RING + 1
    source = _Place(x + margins[1], y + margins[0], zoom, scene.size)
    width = margins[1] + shown[1] + margins[3]
    column = max(width, text_width(look.source, TEXT_SIZE), 160)
    out_x = max(x + column + _GAP, (inner + _GAP) // 2)
    output = _Place(out_x, y, out_zoom, (scene.output.shape[0], scene.output.shape[1]))
    bars = y + max(margins[0] + shown[0] + margins[2], out[0]) + _RING + 8
    telling = bars + 44
    kernel, rows = scene.window.kernel_size, len(found.channels)
    labels = max(text_width(look.names[c], TEXT_SIZE) for c in found.channels) + 12 if rows > 1 else 0
    across = (inner - labels - (len(captions) - 1) * _SIGN) // len(captions)
    patch_room = (
        min(round(0.34 * look.size) // rows - 8, _MOST_CELL * kernel[0]),
        min(across, _MOST_CELL * kernel[1]),
    )
    patch_zoom = choose_zoom(kernel, patch_room, 16, most=look.size)
    high, wide = patch_zoom.shown(kernel)
    patches, first = list[list[_Place]](), telling + _LINE + 28
    for row in range(rows):
        place, line = labels + 1, list[_Place]()
        for caption in captions:
            line.append(_Place(place, first + row * (high + 8), patch_zoom, kernel))
            place += max(wide, text_width(caption, TEXT_SIZE)) + _SIGN
        patches.append(line)
    end = patches[-1][-1]
    sentences = end.y + high + 10
    body = (
        max(output.x + max(out[1], 160) + _RING + 1, end.x + wide + 1, inner),
        sentences + 2 * _LINE + 6,
    )
    return _Plan(
        source, (margins[0], margins[1], margins[2], margins[3]), output, bars, telling, patches,
        labels, sentences, body,
    )  # fmt: skip


# ---------------------------------------------------------------------------- the film


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

    def __init__(
        self, scene: Scene, positions: Sequence[Pair], found: Survey, look: Look
    ) -> None:
        self._scene, self._positions, self._found, self._look = scene, positions, found, look
        first = scene.arithmetic(positions[0])
        self._weight = Patches.weights(first, found.channels)
        planes = scene.planes(found.channels if look.picture is None else look.picture)
        facts, made = Census.of(planes), Census.of(scene.output)
        self.source_scale = choose_scale(facts.low, facts.high, colormap=look.colormap)
        self.output_scale = choose_scale(made.low, made.high, colormap=look.colormap)
        self.product_scale = _signed(found.reach)
        captions = ["window"]
        if self._weight is not None:
            self._kernel_scale = _signed(float(np.abs(self._weight).max()))
            captions += [
                f"kernel ({_reach(self._kernel_scale)})",
                f"products ({_reach(self.product_scale)})",
            ]
        self._plan = plan = _plan(scene, found, look, captions)
        self._number_size = self._numbers_fit()
        # Above everything is the sheet's header; places are the body's.
        padded = any(scene.window.pads(scene.size))
        legend = [(EMPTY, "padding, or not computed yet" if padded else "not computed yet")]
        legend += [pair for pair in dict.fromkeys((*facts.legend, *made.legend))]
        sheet = Sheet(plan.body, look.title, look.notes, legend=legend)
        self._x, self._y = sheet.left, sheet.top
        picture = self._source_colours(planes)
        kinds = [self.source_scale.colormap, self.output_scale.colormap]
        self.palette = Palette(
            kinds if self._weight is None else [*kinds, "rdbu"],
            _few_colours(picture) if look.picture is not None else None,
        )
        self._draw_sheet(sheet, captions, planes, picture)
        self._final = self.palette.index(np.asarray(sheet.image))
        self._hatch = self.palette.index(_hatch(self._final.shape))
        self._readable = [readable_on(colour) == (0, 0, 0) for colour in self.palette.colours]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every frame."""
        return self._final.shape[1], self._final.shape[0]

    @property
    def output_area(self) -> tuple[slice, slice]:
        """The pixels of the map that fills, (rows, columns)."""
        return self._at(self._plan.output).area

    @property
    def output_zoom(self) -> Zoom:
        """How large that map is drawn."""
        return self._plan.output.zoom

    def frames(self) -> Iterator[Bytes]:
        """Draw one frame after another, (height, width) indices into the palette."""
        known = self._final.copy()
        area = self.output_area
        known[area] = self._hatch[area]
        for number, at in enumerate(self._positions):
            self._reveal(known, at)
            yield self._frame(known.copy(), number, at)

    # --- what stays

    def _at(self, place: _Place) -> _Place:
        return _Place(place.x + self._x, place.y + self._y, place.zoom, place.size)

    def _source_colours(self, planes: Numbers) -> Bytes:
        """Return the colours of what is read, a pixel for each block of its zoom."""
        down = self._plan.source.zoom.down
        if self._look.picture is not None:
            means = np.stack([block_means(plane, down) for plane in planes])
            return np.asarray(draw_colour(means, self.source_scale))
        return _rgb(block_means(planes[self._found.main], down), self.source_scale)

    def _draw_sheet(
        self, sheet: Sheet, captions: Sequence[str], planes: Numbers, picture: Bytes
    ) -> None:
        plan, look = self._plan, self._look
        source, output = self._at(plan.source), self._at(plan.output)
        top, left, bottom, right = plan.margins
        height, width = source.shown
        caption = self._y + 12
        room = output.x - source.x + left - 12
        sheet.text(source.x - left, caption, shorten(look.source, room, TEXT_SIZE), TEXT_SIZE)
        sheet.text(output.x, caption, look.output, TEXT_SIZE)
        if any(plan.margins):
            margin = _hatch((top + height + bottom, left + width + right))
            sheet.paste(margin, source.x - left, source.y - top)
        sheet.paste(enlarge(picture, source.zoom.up), source.x, source.y)
        made = block_means(self._scene.output, output.zoom.down)
        colours = _rgb(made, self.output_scale)
        sheet.paste(enlarge(colours, output.zoom.up), output.x, output.y)
        if look.picture is None:
            _write_numbers(sheet, planes[self._found.main], picture, source)
        _write_numbers(sheet, self._scene.output, colours, output)
        bars = self._y + plan.bars
        for scale, x, room in (
            (self.source_scale, source.x - left, left + width + right),
            (self.output_scale, output.x, output.shown[1]),
        ):
            sheet.bar(Bar.of(scale), x, bars, min(max(room, 150), 256))
        for channel, line in zip(self._found.channels, plan.patches, strict=True):
            places = [self._at(place) for place in line]
            middle = places[0].y + places[0].shown[0] / 2
            if plan.labels:
                name = look.names[channel]
                sheet.text(self._x, middle, name, TEXT_SIZE, fill=SOFT, anchor="lm")
            for sign, place in zip("x=", places[1:], strict=False):
                at = place.x - _SIGN / 2
                sheet.text(at, middle, sign, 18, fill=SOFT, anchor="mm")
            for place in places:
                sheet.draw.rectangle(_around(place), outline=SOFT)
        for caption_text, place in zip(captions, plan.patches[0], strict=True):
            at = self._at(place)
            sheet.text(at.x, at.y - 8, caption_text, TEXT_SIZE, fill=SOFT)
        if self._weight is not None:
            for plane, line in zip(self._weight, plan.patches, strict=True):
                place = self._at(line[1])
                kernel = _rgb(block_means(plane, place.zoom.down), self._kernel_scale)
                sheet.paste(enlarge(kernel, place.zoom.up), place.x, place.y)
                if self._number_size:
                    texts = [[format_cell(value) for value in row] for row in plane.tolist()]
                    numbers = CellNumbers(texts, place.zoom.up, self._number_size)
                    sheet.numbers(numbers, kernel, place.x, place.y)

    def _numbers_fit(self) -> int | None:
        """Return the size of numbers in the patches' cells, if all of all frames fit."""
        zoom = self._plan.patches[0][0].zoom
        if max(self._scene.window.kernel_size) > _MOST_COUNTED or zoom.averages:
            return None
        texts = set[str]()
        for at in self._positions:
            shown = Patches.of(self._scene.arithmetic(at), self._found.channels)
            texts |= {format_cell(value) for value in shown.value.reshape(-1).tolist()}
            if self._weight is not None:
                texts |= {format_cell(value) for value in shown.part.reshape(-1).tolist()}
        if self._weight is not None:
            texts |= {format_cell(value) for value in self._weight.reshape(-1).tolist()}
        return fitting_size(sorted(texts), zoom.up)

    # --- what changes

    def _reveal(self, known: Bytes, at: Pair) -> None:
        """Uncover what is computed when the value at a position is: rows above, cells before.

        Where a pixel stands for the mean of several values, once all of them are.
        """
        place = self._at(self._plan.output)
        down, up = place.zoom.down, place.zoom.up
        rows, columns = self._scene.output.shape
        y, x = self._at(self._plan.output).y, place.x
        width = place.shown[1]
        whole = at[0] // down[0]  # blocks of rows that are done, this one not counted
        done = slice(y, y + whole * up[0])
        known[done, x : x + width] = self._final[done, x : x + width]
        if at[0] == min((whole + 1) * down[0], rows) - 1:  # the last row of its block
            count = -(-columns // down[1]) if at[1] == columns - 1 else (at[1] + 1) // down[1]
            part = (slice(y + whole * up[0], y + (whole + 1) * up[0]), slice(x, x + count * up[1]))
            known[part] = self._final[part]

    def _frame(self, canvas: Bytes, number: int, at: Pair) -> Bytes:
        scene, plan = self._scene, self._plan
        arithmetic = scene.arithmetic(at)
        shown = Patches.of(arithmetic, self._found.channels)
        source, output = self._at(plan.source), self._at(plan.output)
        start = scene.start(at)
        self._mark_cells(canvas, source, start)
        self._ring(canvas, source.box(start, scene.window.extent))
        self._ring(canvas, output.box(at, (1, 1)))
        top, bottom = self._y + plan.telling, self._y + plan.body[1]
        panel = canvas[top:bottom]
        ink = _Ink((panel.shape[1], panel.shape[0]), -top)
        self._draw_patches(canvas, ink, shown)
        total = math.prod(scene.output.shape)
        index = at[0] * scene.output.shape[1] + at[1] + 1
        told = f"row {at[0]}, column {at[1]}: value {index:,} of {total:,}"
        if len(self._positions) < total:
            told += f" (frame {number + 1} of {len(self._positions)})"
        lines = [(plan.telling + 14, told)]
        width = plan.body[0]
        sentences = _sentences(arithmetic, shown, len(scene.reads))
        lines += [(plan.sentences + 14 + _LINE * i, text) for i, text in enumerate(sentences)]
        for y, text in lines:
            line = shorten(drawable(text), width, _TELLING)
            ink.write((self._x, self._y + y), line, _TELLING, "ls")
        ink.lay(panel, self.palette.blends)
        return canvas

    def _draw_patches(self, canvas: Bytes, ink: _Ink, shown: Patches) -> None:
        for row, line in enumerate(self._plan.patches):
            window = self._at(line[0])
            kind = shown.kind[row]
            cells = self.palette.values(
                block_means(shown.value[row], window.zoom.down), self.source_scale
            )
            self._cells(canvas, window, cells)
            self._pad(canvas, window, kind)
            self._write(canvas, ink, window, shown.value[row], kind != NOTHING)
            if self._weight is not None:
                product = self._at(line[2])
                cells = self.palette.values(
                    block_means(shown.part[row], product.zoom.down), self.product_scale
                )
                self._cells(canvas, product, cells)
                self._write(canvas, ink, product, shown.part[row], kind != NOTHING)
        if shown.chosen is not None:
            row, i, j = shown.chosen
            box = self._at(self._plan.patches[row][0]).box((i, j), (1, 1))
            self._ring(canvas, box, inside=True)

    @staticmethod
    def _cells(canvas: Bytes, place: _Place, cells: Bytes) -> None:
        canvas[place.area] = enlarge(cells, place.zoom.up)

    def _pad(self, canvas: Bytes, place: _Place, kind: Bytes) -> None:
        """Mark the cells beyond the edge: hatched, over their colour where they copy a pixel."""
        if not kind.any():
            return
        (rows, columns) = place.area
        area = canvas[rows, columns]
        hatch = self._hatch[rows, columns]
        blank = enlarge(_blocks((kind == NUMBER) | (kind == NOTHING), place.zoom), place.zoom.up)
        copied = enlarge(_blocks(kind == COPY, place.zoom), place.zoom.up)
        lines = copied & (hatch == self.palette.of(_LINES))
        covered = blank.astype(np.bool_) | lines.astype(np.bool_)
        area[covered] = hatch[covered]

    def _write(
        self, canvas: Bytes, ink: _Ink, place: _Place, values: Numbers, told: NDArray[np.bool_]
    ) -> None:
        if not self._number_size:
            return
        high, wide = place.zoom.up
        for i, j in np.argwhere(told).tolist():
            top, left = place.y + i * high, place.x + j * wide
            dark = self._readable[canvas[top + high // 2, left + 1]]
            centre = (left + wide / 2, top + high / 2)
            text = format_cell(values[i, j])
            ink.write(centre, text, self._number_size, "mm", dark=dark)

    def _mark_cells(self, canvas: Bytes, place: _Place, start: Pair) -> None:
        """Outline the cells a dilated window reads, if there is room for that."""
        window = self._scene.window
        if window.dilation == (1, 1) or max(window.kernel_size) > _MOST_COUNTED:
            return
        if min(place.zoom.up) < 5 or place.zoom.averages:
            return
        for i in range(window.kernel_size[0]):
            for j in range(window.kernel_size[1]):
                cell = (start[0] + i * window.dilation[0], start[1] + j * window.dilation[1])
                self._ring(canvas, place.box(cell, (1, 1)), inside=True, thin=True)

    def _ring(
        self,
        canvas: Bytes,
        box: tuple[int, int, int, int],
        *,
        inside: bool = False,
        thin: bool = False,
    ) -> None:
        """Draw a bright line between two dark ones, around a box or along its inner edge."""
        colours = [self.palette.of(_BLACK), self.palette.of(_ACCENT)]
        top, left, bottom, right = box
        if inside:
            thin = thin or min(bottom - top, right - left) < 16
            first = 0
        else:
            first = -_RING
        for step in range(2 if thin else _RING):
            inset = first + step
            edge = (top + inset, left + inset, bottom - inset, right - inset)
            _outline(canvas, edge, colours[step in {1, 2}])


class _Ink:
    """Lettering on part of a frame: how much dark and how much white ink covers each pixel."""

    def __init__(self, size: tuple[int, int], shift: int) -> None:
        self._layers = [Image.new("L", size), Image.new("L", size)]
        self._pens = [ImageDraw.Draw(layer) for layer in self._layers]
        self._shift = shift

    def write(
        self, at: tuple[float, float], text: str, size: int, anchor: str, *, dark: bool = True
    ) -> None:
        """Write at a place of the frame."""
        place = (at[0], at[1] + self._shift)
        self._pens[not dark].text(place, text, fill=255, font=font(size), anchor=anchor)

    def lay(self, panel: Bytes, blends: Bytes) -> None:
        """Lay the ink on that part of the frame."""
        for layer, blend in zip(self._layers, blends, strict=True):
            if layer.getbbox() is None:
                continue
            cover = np.asarray(layer) >> 4
            where = np.nonzero(cover)
            panel[where] = blend[panel[where], cover[where]]


def _outline(canvas: Bytes, box: tuple[int, int, int, int], colour: int) -> None:
    """Draw a rectangle's edge, as far as it is on the canvas."""
    top, left, bottom, right = box
    height, width = canvas.shape
    rows = slice(max(top, 0), max(bottom, 0))
    columns = slice(max(left, 0), max(right, 0))
    for row in {top, bottom - 1}:
        if 0 <= row < height:
            canvas[row, columns] = colour
    for column in {left, right - 1}:
        if 0 <= column < width:
            canvas[rows, column] = colour


def _around(place: _Place) -> tuple[int, int, int, int]:
    height, width = place.shown
    return (place.x - 1, place.y - 1, place.x + width, place.y + height)


def _rgb(plane: Numbers, scale: Scale) -> Bytes:
    levels, colours = indexed(plane, scale)
    return np.repeat(levels[..., None], 3, axis=2) if colours is None else colours[levels]


def _blocks(flags: NDArray[np.bool_], zoom: Zoom) -> Bytes:
    """Tell which blocks of a zoom hold nothing but such cells."""
    whole: NDArray[np.bool_] = block_means(flags.astype(np.float32), zoom.down) == 1
    return whole.astype(np.uint8)


def _signed(reach: float) -> Scale:
    return choose_scale(-reach, reach, colormap="rdbu")


def _reach(scale: Scale) -> str:
    return drawable(format_range(scale.low, scale.high))


def _few_colours(picture: Bytes) -> Bytes:
    """Return the 64 colours that stand for those of a picture."""
    few = Image.fromarray(picture).quantize(
        64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    return np.array(few.getpalette("RGB"), np.uint8).reshape(-1, 3)[:64]


def _write_numbers(sheet: Sheet, plane: Numbers, colours: Bytes, place: _Place) -> None:
    """Write the numbers of a small map into its cells, if they all fit."""
    if max(plane.shape) > 12 or place.zoom.averages:
        return
    texts = [[format_cell(value) for value in row] for row in plane.tolist()]
    size = fitting_size([text for row in texts for text in row], place.zoom.up)
    if size:
        sheet.numbers(CellNumbers(texts, place.zoom.up, size), colours, place.x, place.y)


def _sentences(arithmetic: Arithmetic, shown: Patches, depth: int) -> list[str]:
    """Tell how the parts become the value, in at most two lines."""
    terms, count = arithmetic.terms, len(arithmetic.terms)
    result = format_number(arithmetic.result)
    padded = int(np.isin(shown.kind[0], (NUMBER, COPY)).sum())
    beyond = int((shown.kind[0] == NOTHING).sum())
    notes = []
    if padded:
        notes.append(f"{padded} of {shown.kind[0].size} cells are padding")
    if beyond:
        notes.append(f"{beyond} of {shown.kind[0].size} cells do not count")
    match arithmetic.join:
        case "sum" if terms.weight is not None:
            with np.errstate(all="ignore"):
                total, own = float(terms.part.sum()), float(shown.part.sum())
            told = f"sum of the products: {format_number(total)}"
            if depth > len(shown.part):
                told = f"this channel: {format_number(own)}; all {depth} channels: {format_number(total)}"
            if arithmetic.bias is not None:
                told += f" + bias {format_number(arithmetic.bias)} = {format_number(arithmetic.total)}"
        case "sum" if count > 1:
            told = f"sum of {count} cells: {format_number(arithmetic.total)}"
        case "largest" | "smallest":
            told = f"the {arithmetic.join} of {count} cells: {result}"
        case _:
            told = "; ".join(arithmetic.steps) or result
            return [told, "; ".join(notes)] if notes else [told]
    told = "; ".join([told, *arithmetic.steps])
    return [told, "; ".join(notes)] if notes else [told]
