"""Where everything on an animation's frame goes: two maps with their bars, patches, and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnnviz.core.animation import Scene, Survey
from cnnviz.core.types import Pads, Pair
from cnnviz.view.lettering import drawable, fitting_size, text_width
from cnnviz.view.sheet import MARGIN, TEXT_SIZE
from cnnviz.view.zoom import Box, Zoom, choose_zoom

RING = 4  # pixels of the outline around a window
SIGN = 28  # pixels between two patches: for × and =
LINE = 20  # from one line of text to the next
_TEXT = 560  # pixels of the lines of text, where a frame may be so wide
_GAP = 40  # between the two maps
_LEAST = 160  # pixels for a map with its bar, where there is room
_MOST_CELL = 64  # pixels of a patch's cell
_PATCHES = 0.34  # of the frame's size: how high the patches of a channel may be
_ALL_PATCHES = 0.5  # those of several
_MAPS = 0.45  # and a map


class Look(NamedTuple):
    """What the frames say besides the numbers, and how they are coloured."""

    title: str
    notes: Sequence[str]
    source: str  # over the map that is read
    output: str  # over the map that is made
    names: Sequence[str]  # of the channels that the stage reads
    colormap: str = "auto"
    size: int = 960  # of a frame's width, about
    picture: Sequence[int] | None = None  # which channels are red, green and blue of a picture


@dataclass(frozen=True)
class Place:
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

    def box(self, start: Pair, extent: Pair = (1, 1)) -> Box:
        """Return the pixels of some cells."""
        cells = (*start, start[0] + extent[0], start[1] + extent[1])
        return self.zoom.box(cells, self.x, self.y)


@dataclass(frozen=True)
class FramePlan:
    """Where everything is, in pixels."""

    left: int
    captions: int  # the baseline of those over the maps
    source: Place
    margins: Pads  # pixels of padding around it
    output: Place
    bars: int  # their top
    telling: int  # the top of all that changes below the bars
    patches: Sequence[Sequence[Place]]  # for each channel: window, or window, kernel, products
    heads: Sequence[str]  # over them
    numbers: int | None  # the size of those in their cells, if they fit
    bar: int  # how wide a colour bar is at least
    sentences: int  # the top of the last lines
    size: tuple[int, int]  # (width, height)

    @classmethod
    def of(
        cls,
        scene: Scene,
        found: Survey,
        look: Look,
        captions: Sequence[str],
        texts: Sequence[str] = (),
        corner: Pair = (0, 0),
    ) -> FramePlan:
        """Choose the zooms, and put everything below or beside what it belongs to.

        `captions` are those over the patches of each channel, `texts` all the numbers that are to
        stand in cells of patches, if there is room, and `corner` is the (x, y) of it all.
        """
        x, y = corner
        inner = max(look.size - 2 * MARGIN, 320)
        half = (inner - _GAP) // 2
        room = (round(_MAPS * look.size), half - 2 * (RING + 1))
        least = min(_LEAST, room[1])
        pads = scene.window.pads(scene.size)
        padded = (scene.size[0] + pads[0] + pads[2], scene.size[1] + pads[1] + pads[3])
        zoom, made = (
            choose_zoom(size, room, 1, most=max(room), fill=True)
            for size in (padded, scene.map_size)
        )
        (top, left), (bottom, right) = zoom.shown(pads[:2]), zoom.shown(pads[2:])
        source = Place(x + RING + 1 + left, y + 24 + RING + top, zoom, scene.size)
        height, wide = top + source.shown[0] + bottom, left + source.shown[1] + right
        caption = min(text_width(drawable(look.source), TEXT_SIZE), half)
        column = max(wide, caption, least) + _GAP
        beside = x + RING + 1 + column
        output = Place(beside, y + 24 + RING, made, scene.map_size)
        bars = output.y + max(height, output.shown[0]) + RING + 8
        telling = bars + 44
        names = [text_width(look.names[channel], TEXT_SIZE) for channel in found.channels]
        first = max(names) + 12 if len(names) > 1 else 0
        across = (inner - first - (len(captions) - 1) * SIGN) // len(captions)
        kernel = scene.window.kernel_size
        cells, numbers = _cell_zoom(kernel, len(names), across, look.size, texts)
        down, width = cells.shown(kernel)
        heads = captions
        widths = [max(width, text_width(head, TEXT_SIZE)) + SIGN for head in heads]
        if sum(widths) - SIGN > inner - first:  # without what is in brackets
            heads = [caption.partition(" (")[0] for caption in captions]
            widths = [max(width, text_width(head, TEXT_SIZE)) + SIGN for head in heads]
        starts = [x + first + 1 + sum(widths[:number]) for number in range(len(heads))]
        rows = [telling + LINE + 28 + row * (down + 8) for row in range(len(names))]
        patches = [[Place(start, row, cells, kernel) for start in starts] for row in rows]
        end = patches[-1][-1]
        sentences = end.y + end.shown[0] + 10
        return cls(
            left=x,
            captions=y + 12,
            source=source,
            margins=(top, left, bottom, right),
            output=output,
            bars=bars,
            telling=telling,
            patches=patches,
            heads=heads,
            numbers=numbers,
            bar=min(150, least),
            sentences=sentences,
            size=(
                max(
                    output.x + max(output.shown[1], least) + RING + 1 - x,
                    end.x + end.shown[1] + 1 - x,
                    min(inner, _TEXT),
                ),
                sentences + 2 * LINE + 6 - y,
            ),
        )


def _cell_zoom(
    kernel: Pair, rows: int, across: int, frame: int, texts: Sequence[str]
) -> tuple[Zoom, int | None]:
    """Return how large the cells of patches are, and the size of the numbers in them.

    They are squares, or wider than high where only then the numbers fit.
    """
    down = round((_PATCHES if rows == 1 else _ALL_PATCHES) * frame) // rows - 8
    room = (min(down, _MOST_CELL * kernel[0]), min(across, _MOST_CELL * kernel[1]))
    zoom = choose_zoom(kernel, room, 16, most=frame)
    if not texts or zoom.averages:
        return zoom, None
    wide = Zoom(zoom.down, (zoom.up[0], max(zoom.up[1], room[1] // kernel[1])))
    for tried in (zoom, wide):
        if size := fitting_size(texts, tried.up):
            return tried, size
    return zoom, None
