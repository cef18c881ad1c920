"""A stage's pictures: which are drawn, on which scale, under which names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnnviz.core.statistics import finite_range, rank_maps
from cnnviz.core.types import Row, Samples, Stage, Tensor
from cnnviz.files.images import png_bytes
from cnnviz.files.names import INPUT_PICTURE, array_name, colour_name, grid_name, map_name
from cnnviz.view.maps import count_outside, draw_colour, draw_map
from cnnviz.view.numbers import format_number
from cnnviz.view.robust import inner, narrowed
from cnnviz.view.scale import SCALES, Ends, Scale, choose_scale
from cnnviz.view.zoom import Zoom

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Group

    from cnnviz.cli.writing import Writer

MOST_MAPS = 64  # a stage of more writes its grid only, unless maps are asked for
MOST_IN_GRID = 4096  # maps drawn in a grid: more could not be distinguished
SHOWN = 12  # maps drawn in the terminal
TERMINAL = 320  # rows and columns of them at most, before they are fitted
LONGEST = 1600  # rows or columns of it
CROWD = 100  # files of maps from which on an image gets grids only

ORDERS = {"variance": "largest variance first", "max": "largest maximum first"}
"""What --sort does, in words."""


class Pictures(NamedTuple):
    """How stages are drawn."""

    scale: str  # one of SCALES
    value_range: tuple[float, float] | None
    colormap: str
    only: str | None  # maps | grid
    nrow: int | None
    sort: str  # auto, none, or one of ORDERS
    limit: int  # maps in a grid, at most
    range_: str  # one of RANGES
    inset: Image | None = None  # the input, small, for the head of grids
    doubt: str | None = None  # why the shares of classes tell nothing

    def draw(self, stage: Stage, names: Sequence[str], pipeline: str, ranges: Ends) -> DrawnStage:
        """Choose the scales of a stage; its pictures are drawn when they are written."""
        output = stage.output
        maps = output if output.ndim == 3 else output.reshape(1, 1, -1)
        own = Ends(stage.statistics.min, stage.statistics.max)
        scales = [
            choose_scale(*ends, colormap=self.colormap, value_range=self.value_range)
            for ends in SCALES[self.scale].ends(maps, own, ranges)
        ]
        many = len(maps) > MOST_MAPS and self.only is None
        labels = [
            f"{channel} {names[channel]}" if len(names) == len(maps) else str(channel)
            for channel in range(len(maps))
        ]
        channels, order = self._channels(maps)
        robust = self.range_ == "robust" and self.value_range is None
        # What is drawn on the scale of its own values lies within it.
        suits = self.value_range is None and not stage.statistics.nonfinite
        within = suits or all(scale.covers(stage.statistics) for scale in scales)
        outside = 0
        if self.value_range is not None and not within:
            outside = count_outside(maps, scales[0])
        return DrawnStage(
            stage=stage,
            maps=maps,
            scales=scales,
            labels=labels,
            names=names,
            pipeline=pipeline,
            nrow=self.nrow,
            channels=channels,
            order=order,
            robust=inner(stage.row) if robust else None,
            inset=self.inset,
            doubt=self.doubt,
            within=within,
            as_maps=self._as_maps(stage.row),
            as_grid=self.only != "maps",
            files=self.file_names(stage.row, names),
            only_grid_for_size=many,
            outside=outside,
        )

    def file_names(self, row: Row, names: Sequence[str]) -> list[str]:
        """Return what a stage's maps, recombined colour pictures and grid are called."""
        shape = row.output_shape
        maps = range((shape[0] if len(shape) == 3 else 1) if self._as_maps(row) else 0)
        return [
            *(map_name(row, channel) for channel in maps),
            *(colour_name(row, kernel) for kernel in range(_recombined(row, names))),
            *([grid_name(row)] if self.only != "maps" else []),
        ]

    def _as_maps(self, row: Row) -> bool:
        """Whether each map is a picture of its own.

        A vector writes one picture: labelled, or one pixel a value when maps are asked for. Maps of
        one value each say nothing one by one.
        """
        shape = row.output_shape
        tells = len(shape) == 3 and shape[1:] != (1, 1) and shape[0] <= MOST_MAPS
        return self.only == "maps" or (self.only is None and tells)

    def _channels(self, maps: Tensor) -> tuple[Sequence[int], str]:
        """Return the channels a grid shows, and their order in words; a vector stays whole."""
        limit = min(self.limit, MOST_IN_GRID)
        sort = self.sort
        if sort == "auto":
            sort = "variance" if len(maps) > limit else "none"
        if sort == "none" or len(maps) == 1:
            return range(len(maps))[:limit], ""
        return rank_maps(maps, sort)[:limit], ORDERS[sort]


def draw_input(x: Tensor | Samples, channels: Sequence[str]) -> tuple[Image, Scale]:
    """Draw the picture as the first stage sees it.

    Three planes of colour are one picture, others stand side by side. Normalised values are
    drawn from the smallest to the largest.
    """
    colour = set(channels) == {"red", "green", "blue"}
    if colour:
        x = x[[channels.index(name) for name in ("red", "green", "blue")]]
    if isinstance(x, Samples):  # they are the pixels
        from PIL import Image

        pixels = np.moveaxis(x.values, 0, 2) if colour else np.concatenate(list(x.values), axis=1)
        return Image.fromarray(np.ascontiguousarray(pixels)), Scale(0.0, 255.0, "gray")
    low, high = finite_range(x)
    scale = Scale(0.0, max(high or 0.0, 1.0), "gray")
    if low is not None and low < 0:
        scale = choose_scale(low, high, colormap="gray")
    if colour:
        return draw_colour(x, scale), scale
    return draw_map(np.concatenate(list(x), axis=1), scale), scale


def fitted(image: Image, longest: int) -> Image:
    """Return a picture of at most `longest` pixels, by means of square blocks."""
    down = ceil(max(image.size) / longest)
    if down == 1:
        return image
    return (image.convert("RGB") if image.mode == "P" else image).reduce(down)


def write_input(image: Image, scale: Scale, pipeline: str, writer: Writer) -> None:
    """Write the picture as the first stage sees it."""
    size = image.width * image.height * len(image.getbands())
    encode = partial(png_bytes, image, _text(scale, "input", pipeline))
    writer.add(INPUT_PICTURE, size, encode, lambda _: None)


def _text(scale: Scale, stage: str, pipeline: str) -> dict[str, str]:
    """Return what a PNG says of itself."""
    return {
        "cnnviz:min": repr(float(scale.low)),
        "cnnviz:max": repr(float(scale.high)),
        "cnnviz:stage": stage,
        "cnnviz:pipeline": pipeline,
    }


class Written(NamedTuple):
    """What is remembered of a stage's pictures once its values are gone."""

    files: list[str]  # paths, each added when it is written
    pictures: Mapping[str, object] | None  # colour map and value ranges, for run.json
    only_grid_for_size: bool = False
    outside: int = 0  # values beyond --value-range
    in_grid: tuple[int, int] | None = None  # how many maps, and of how many, if not all


class DrawnStage(NamedTuple):
    """A stage on its scales: pictures for files and for the terminal."""

    stage: Stage
    maps: Tensor  # (C, H, W); a vector is one map of one row
    scales: list[Scale]
    labels: list[str]
    names: Sequence[str]
    pipeline: str
    nrow: int | None
    channels: Sequence[int]  # those in the grid, in its order
    order: str  # in words; "" for that of the maps
    within: bool  # whether all values are finite and on their scale
    as_maps: bool
    as_grid: bool
    files: Sequence[str]  # the pictures' names
    only_grid_for_size: bool
    outside: int
    robust: tuple[slice, slice] | None  # where the range of what is drawn is measured
    inset: Image | None
    doubt: str | None

    @property
    def row(self) -> Row:
        """What the stage promised."""
        return self.stage.row

    def write(self, writer: Writer, *, array: bool) -> Written:
        """Hand the pictures to a writer, and with `array` the numbers."""
        pictures: dict[str, object] = {
            "colormap": self.scales[0].colormap,
            "value_ranges": [[scale.low, scale.high] for scale in self.scales],
        }
        cut = len(self.channels) < len(self.maps)
        if self.as_grid and (cut or self.order):
            pictures["grid_channels"] = list(self.channels)
        in_grid = (len(self.channels), len(self.maps)) if self.as_grid and cut else None
        written = Written([], pictures, self.only_grid_for_size, self.outside, in_grid)
        for name, (image, scale) in zip(self.files, self._images(), strict=True):
            if name == grid_name(self.row) and scale != self.scales[0]:
                pictures["grid_range"] = [scale.low, scale.high]
            size = image.width * image.height * len(image.getbands())
            encode = partial(png_bytes, image, _text(scale, self.row.name, self.pipeline))
            writer.add(name, size, encode, written.files.append)
        if array:
            writer.add_array(array_name(self.row), self.stage.output, written.files.append)
        return written

    def _images(self) -> Iterator[tuple[Image, Scale]]:
        """Draw the pictures, in the order of their names, each when it is asked for."""
        for channel in range(len(self.maps) if self.as_maps else 0):
            scale = self._scale(channel)
            yield draw_map(self.maps[channel], scale, within=self.within), scale
        count = _recombined(self.row, self.names)
        for kernel in range(count):
            planes, scale = self.maps[kernel::count], self.scales[0]
            if self.names[0].startswith("blue"):
                planes = planes[::-1]
            yield draw_colour(planes, scale, within=self.within), scale
        if self.as_grid:
            yield self._grid()

    def _scale(self, channel: int) -> Scale:
        return self.scales[channel] if len(self.scales) > 1 else self.scales[0]

    def _grid(self) -> tuple[Image, Scale]:
        shape = "×".join(map(str, self.row.output_shape))
        title = f"{self.row.index} {self.row.name}: {self.row.text}  →  {shape}"
        if self.stage.output.ndim == 1:
            from cnnviz.view.vector import draw_shares, draw_vector

            output, scale = self.stage.output, self.scales[0]
            if self.row.layer == "softmax":
                labels = self.names if len(self.names) == output.size else None
                return draw_shares(output, title, labels, self.doubt), scale
            return draw_vector(output, scale, title=title, labels=None), scale
        from cnnviz.view.grid import lay_out  # here: maps alone wait for no fonts

        grid = lay_out(
            self.maps,
            self.scales,
            title=title,
            labels=self.labels,
            nrow=self.nrow,
            facts=self.stage.statistics if self.within else None,
            channels=self.channels,
            order=self.order,
            robust=self.robust,
            inset=self.inset,
        )
        return grid.image, grid.scales[0]

    def grid_png(self) -> bytes:
        """Return the grid as the file has it, whether it is written or not."""
        image, scale = self._grid()
        return png_bytes(image, _text(scale, self.row.name, self.pipeline))

    def in_terminal(self, width: int, *, colours: bool) -> Group:
        """Return the grid's first maps drawn for a terminal of `width` columns.

        Without `colours` red and blue would look alike: then from the lowest value, dark, up.
        """
        from rich.console import Group
        from rich.text import Text

        from cnnviz.view import terminal

        shown = self.channels[:SHOWN]
        scales = [self._scale(channel) for channel in shown]
        down = ceil(max(self.maps.shape[-2:]) / TERMINAL)
        signed = (self.stage.statistics.min or 0) < 0
        zoom = Zoom((1, down) if len(self.maps[0]) == 1 else (down, down), (1, 1), signed)
        planes = [zoom.reduced(self.maps[channel]) for channel in shown]
        if self.robust is not None and self.stage.output.ndim == 3:
            scales, _ = narrowed(np.stack(planes), scales, self.robust, zoom.down)
        legend = _legend(scales, colours=colours)
        if not colours:
            scales = [replace(scale, colormap="gray") for scale in scales]
        images = [draw_map(plane, scale) for plane, scale in zip(planes, scales, strict=True)]
        if self.stage.output.ndim == 1:
            labels = [self.row.name]
        else:
            labels = [f"{self.row.name} {self.labels[c]}" for c in shown]
        return Group(
            Text(f"{self.order}: {legend}" if self.order else legend),
            terminal.tile(images, labels, width=width, of=len(self.maps)),
        )


def _recombined(row: Row, names: Sequence[str]) -> int:
    """Count the pictures that recombine three maps: a kernel's, of each colour.

    Those of a depthwise stage of a colour picture; kernel k's are every count-th from k on.
    """
    colours = {name.partition(" ")[0] for name in names}
    if row.layer != "depthwise" or colours != {"red", "green", "blue"}:
        return 0
    return row.output_shape[0] // 3


def _legend(scales: Sequence[Scale], *, colours: bool) -> str:
    """Say what the terminal's colours, or its shades, stand for."""
    if len(set(scales)) > 1:
        return "each map on its own scale, from the darkest to the brightest"
    low, high = (format_number(end) for end in (scales[0].low, scales[0].high))
    if colours and scales[0].diverging:
        return f"blue {low}, white 0, red {high}"
    return f"dark {low}, bright {high}"
