"""A stage's pictures: which are drawn, on which scale, under which names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cnnviz.core.statistics import rank_maps
from cnnviz.core.types import Row, Stage, Tensor
from cnnviz.files.images import png_bytes
from cnnviz.files.outputs import array_name, colour_name, grid_name, map_name
from cnnviz.view.maps import count_outside, draw_colour, draw_map
from cnnviz.view.numbers import format_number
from cnnviz.view.scale import SCALES, Ends, Scale, choose_scale

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Group

    from cnnviz.cli.writing import Writer

MOST_MAPS = 64  # a stage of more writes its grid only, unless maps are asked for
MOST_IN_GRID = 4096  # maps drawn in a grid: more could not be told apart
SHOWN = 12  # maps drawn in the terminal

ORDERS = {"variance": "largest variance first", "max": "largest maximum first"}
"""What --sort does, in words."""


class Pictures(NamedTuple):
    """How stages are drawn."""

    scale: str  # one of SCALES
    value_range: tuple[float, float] | None
    colormap: str
    only: str | None  # maps | grid
    nrow: int | None
    sort: str  # none, or one of ORDERS
    limit: int | None  # maps in a grid, at most

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
        # What is drawn on the scale of its own values lies within it.
        suits = self.value_range is None and not stage.statistics.nonfinite
        within = suits or all(scale.covers(stage.statistics) for scale in scales)
        outside = 0
        if self.value_range is not None and not within:
            outside = count_outside(maps, scales[0])
        # A vector writes one picture: labelled, or one pixel a value when maps are asked for.
        as_maps = self.only != "grid" and not many and (output.ndim == 3 or self.only == "maps")
        return DrawnStage(
            stage=stage,
            maps=maps,
            scales=scales,
            labels=labels,
            names=names,
            pipeline=pipeline,
            nrow=self.nrow,
            channels=self._channels(maps),
            order=ORDERS.get(self.sort, "") if len(maps) > 1 else "",
            within=within,
            as_maps=as_maps,
            as_grid=self.only != "maps",
            only_grid_for_size=many,
            outside=outside,
        )

    def _channels(self, maps: Tensor) -> Sequence[int]:
        """Return the channels a grid shows, in its order; a vector is one map and stays whole."""
        keep = self.sort == "none" or len(maps) == 1
        channels = range(len(maps)) if keep else rank_maps(maps, self.sort)
        return channels[: min(self.limit or MOST_IN_GRID, MOST_IN_GRID)]


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
    only_grid_for_size: bool
    outside: int

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
        names = self._names()
        writer.folder.plan(names)
        for name, (image, scale) in zip(names, self._images(), strict=True):
            size = image.width * image.height * len(image.getbands())
            encode = partial(png_bytes, image, self._text(scale))
            writer.add(name, size, encode, written.files.append)
        if array:
            writer.add_array(array_name(self.row), self.stage.output, written.files.append)
        return written

    def _names(self) -> list[str]:
        """Return the file names of each map, each recombined colour picture and the grid."""
        maps = range(len(self.maps) if self.as_maps else 0)
        return [
            *(map_name(self.row, channel) for channel in maps),
            *(colour_name(self.row, kernel) for kernel in range(self._recombined())),
            *([grid_name(self.row)] if self.as_grid else []),
        ]

    def _images(self) -> Iterator[tuple[Image, Scale]]:
        """Draw the pictures, in the order of their names, each when it is asked for."""
        for channel in range(len(self.maps) if self.as_maps else 0):
            scale = self._scale(channel)
            yield draw_map(self.maps[channel], scale, within=self.within), scale
        count = self._recombined()
        for kernel in range(count):
            planes, scale = self.maps[kernel::count], self.scales[0]
            if self.names[0].startswith("blue"):
                planes = planes[::-1]
            yield draw_colour(planes, scale, within=self.within), scale
        if self.as_grid:
            yield self._grid(), self.scales[0]

    def _scale(self, channel: int) -> Scale:
        return self.scales[channel] if len(self.scales) > 1 else self.scales[0]

    def _text(self, scale: Scale) -> dict[str, str]:
        """Return what a PNG says of itself."""
        return {
            "cnnviz:min": repr(float(scale.low)),
            "cnnviz:max": repr(float(scale.high)),
            "cnnviz:stage": self.row.name,
            "cnnviz:pipeline": self.pipeline,
        }

    def _grid(self) -> Image:
        shape = "×".join(map(str, self.row.output_shape))
        title = f"{self.row.index} {self.row.name}: {self.row.text}  →  {shape}"
        if self.stage.output.ndim == 1:
            from cnnviz.view.vector import draw_shares, draw_vector

            output = self.stage.output
            if self.row.layer == "softmax":
                labels = self.names if len(self.names) == output.size else None
                return draw_shares(output, title=title, labels=labels)
            return draw_vector(self.stage.output, self.scales[0], title=title, labels=None)
        from cnnviz.view.grid import draw_grid  # here: maps alone wait for no fonts

        return draw_grid(
            self.maps,
            self.scales,
            title=title,
            labels=self.labels,
            nrow=self.nrow,
            facts=self.stage.statistics if self.within else None,
            channels=self.channels,
            order=self.order,
        )

    def _recombined(self) -> int:
        """Count the pictures that recombine three maps: a kernel's, of each colour.

        Those of a depthwise stage of a colour picture; kernel k's are every count-th from k on.
        """
        colours = {name.partition(" ")[0] for name in self.names}
        if self.row.layer != "depthwise" or colours != {"red", "green", "blue"}:
            return 0
        return len(self.maps) // 3

    def in_terminal(self, width: int, *, colours: bool) -> Group:
        """Return the grid's first maps drawn for a terminal of `width` columns.

        Without `colours` red and blue would look alike: then from the lowest value, dark, up.
        """
        from rich.console import Group
        from rich.text import Text

        from cnnviz.view import terminal

        shown = self.channels[:SHOWN]
        scales = [self._scale(channel) for channel in shown]
        if not colours:
            scales = [replace(scale, colormap="gray") for scale in scales]
        images = [draw_map(self.maps[c], s) for c, s in zip(shown, scales, strict=True)]
        if self.stage.output.ndim == 1:
            labels = [self.row.name]
        else:
            labels = [f"{self.row.name} {self.labels[c]}" for c in shown]
        legend = _legend(self.scales, colours=colours)
        return Group(
            Text(f"{self.order}: {legend}" if self.order else legend),
            terminal.tile(images, labels, width=width, of=len(self.maps)),
        )


def _legend(scales: Sequence[Scale], *, colours: bool) -> str:
    """Say what the terminal's colours, or its shades, stand for."""
    if len(scales) > 1:
        return "each map on its own scale, from the darkest to the brightest"
    low, high = (format_number(end) for end in (scales[0].low, scales[0].high))
    if colours and scales[0].diverging:
        return f"blue {low}, white 0, red {high}"
    return f"dark {low}, bright {high}"
