"""Three panels side by side: what A makes, what B makes, and A − B.

A and B are drawn on one scale, so that equal colours are equal values; the difference has a scale
of its own, with 0 in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cnnviz.core.comparison import Difference, furthest_apart
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Tensor
from cnnviz.view.lettering import drawable
from cnnviz.view.maps import Colour, Numbers, draw_map
from cnnviz.view.numbers import format_number
from cnnviz.view.robust import Inner, beyond_note, narrowed
from cnnviz.view.scale import Scale, choose_scale, signed_scale
from cnnviz.view.sheet import MARGIN, Bar, Census, Panel, draw_panels
from cnnviz.view.vector import LISTED, Vector, draw_vectors
from cnnviz.view.zoom import Zoom, choose_zoom

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_MAPS = 4
"""So many channels are drawn, those that differ most."""

_PAGE = (1500, 1300)  # (width, height) of a sheet's body, about
_NAMES = ("A", "B", "A − B")


@dataclass(frozen=True, eq=False)
class Triptych:
    """Two tensors of one shape and their difference, ready to be drawn: for files, for terminals.

    The tensors may go once this is made: what is drawn is kept, as a copy.
    """

    shape: tuple[int, ...]
    channels: tuple[int, ...]  # those drawn; of a vector (0,)
    zoom: Zoom
    panels: tuple[tuple[Numbers, Numbers, Numbers], ...]  # of each: A, B, A − B; a number a block
    scale: Scale
    gap_scale: Scale
    beyond: tuple[float, float]  # which shares of A and B, and of A − B, lie beyond their scales
    difference: Difference
    censuses: tuple[Census, Census]

    @classmethod
    def of(
        cls,
        a: Tensor,
        b: Tensor,
        difference: Difference,
        colormap: str = "auto",
        robust: Inner | None = None,
    ) -> Triptych:
        """Choose what is drawn of two tensors, and on which scales.

        Parameters
        ----------
        a, b : Tensor
            (C, H, W) or (N,), both of one shape. Maps of one value each are drawn as a vector.
        difference : Difference
            Of the two.
        colormap : str
            For A and B; the difference is always blue below 0 and red above it.
        robust : (slice, slice), optional
            Narrow the scales of maps to all but 0.5 % of what is drawn (`narrowed`), measured in
            these rows and columns.
        """
        shape = a.shape
        if a.ndim == 1 or a.shape[1:] == (1, 1):
            a, b = a.reshape(1, 1, -1), b.reshape(1, 1, -1)
        channels = tuple(furthest_apart(a, b)[:MOST_MAPS])
        count, (rows, columns) = len(channels), a.shape[1:]
        room = (_PAGE[1] // count - 40, (_PAGE[0] - 2 * MARGIN) // 3 - 28)
        ends = [end for one in (a, b) for end in finite_range(one) if end is not None]
        scale = choose_scale(min(ends, default=None), max(ends, default=None), colormap=colormap)
        gap_scale = signed_scale(-(difference.max or 0.0), difference.max or 0.0)
        zoom, beyond = Zoom((1, 1), (1, 1)), (0.0, 0.0)
        if rows > 1 or len(shape) == 3:
            zoom = replace(choose_zoom((rows, columns), room, 96), signed=min(ends, default=0) < 0)
        gap_zoom = replace(zoom, signed=True)
        panels = [
            (zoom.reduced(a[c]), zoom.reduced(b[c]), gap_zoom.reduced(_gaps(a[c], b[c])))
            for c in channels
        ]
        if robust is not None and rows > 1:
            both = np.stack([one for three in panels for one in three[:2]])
            (scale, *_), beside = narrowed(both, [scale] * len(both), robust, zoom.down)
            gaps = np.stack([three[2] for three in panels])
            (gap_scale, *_), over = narrowed(gaps, [gap_scale] * count, robust, zoom.down)
            beyond = (beside, over)
        return cls(
            shape=shape,
            channels=channels,
            zoom=zoom,
            panels=tuple((one.copy(), two.copy(), gap) for one, two, gap in panels),
            scale=scale,
            gap_scale=gap_scale,
            beyond=beyond,
            difference=difference,
            censuses=(Census.of(a), Census.of(b)),
        )

    @property
    def scales(self) -> list[Scale]:
        """Those of the three panels."""
        return [self.scale, self.scale, self.gap_scale]

    @property
    def is_vector(self) -> bool:
        """Whether one line of values is drawn, not maps."""
        return len(self.shape) == 1 or self.shape[1:] == (1, 1)

    def draw(self, *, title: str, labels: Sequence[str] = (), remark: str = "") -> Image.Image:
        """Draw the sheet; `labels` are the maps' names, `remark` what else there is to say."""
        if not self.is_vector:
            return self._draw_maps(title, labels, remark)
        drawn = zip(_NAMES, self.panels[0], self.scales, strict=True)
        vectors = [Vector(name, panel.reshape(-1), scale) for name, panel, scale in drawn]
        bars = self.bars() if vectors[0].values.size > LISTED else []
        return draw_vectors(vectors, title, self.facts(remark), bars, self.legend())

    def _draw_maps(self, title: str, labels: Sequence[str], remark: str) -> Image.Image:
        """Draw a row of three panels for each channel."""
        rows, columns = self.shape[1:]
        count, total = len(self.channels), self.shape[0]
        form = f"{rows} x {columns}, {self.zoom.text}"
        if total > 1:
            many = f"{count} of {total:,}" if total > count else str(total)
            form = f"{many} maps, those that differ most first; each {form}"
        panels, drawn_as = [], Zoom((1, 1), self.zoom.up)
        for channel, three in zip(self.channels, self.panels, strict=True):
            name = f"map {channel}" + (f" {labels[channel]}" if labels else "")
            low, high = finite_range(three[2])  # a block's largest difference is kept
            largest = math.nan if low is None or high is None else max(-low, high)
            heads = list(_NAMES)
            if total > 1:
                heads = [f"{name}, A", "B", f"A − B: largest {format_number(largest)}"]
            drawn = zip(three, self.scales, heads, strict=True)
            panels.append(
                [Panel.of(one, scale, drawn_as, title=head, least=96) for one, scale, head in drawn]
            )
        notes = [form, *self.facts(remark), *beyond_note(max(self.beyond))]
        return draw_panels(panels, title, notes, self.bars(), self.legend()).image

    def in_terminal(self, width: int, *, colours: bool) -> RenderableType:
        """Draw it for a terminal of `width` columns.

        Without `colours` red and blue would look alike: then from the lowest value, dark, up.
        """
        from rich.console import Group
        from rich.text import Text

        from cnnviz.view.terminal import tile

        scales = self.scales
        legend = f"A and B: {_ends(self.scale)}; A−B: {_ends(self.gap_scale)}"
        if not colours:
            scales = [replace(scale, colormap="gray") for scale in scales]
        parts: list[RenderableType] = [Text(legend)]
        for channel, panels in zip(self.channels, self.panels, strict=True):
            images = [draw_map(one, scale) for one, scale in zip(panels, scales, strict=True)]
            suffix = "" if self.is_vector else f" {channel}"
            names = [f"{name}{suffix}" for name in ("A", "B", "A−B")]
            parts.append(tile(images, names, width=min(width, 3 * 48 + 4)))
        return Group(*parts)

    def bars(self) -> list[Bar]:
        """Return the colour bars of both scales, each saying of which picture it is."""
        over, apart = self.beyond
        both = Bar.of(self.scale, (over > 0 and self.scale.low < 0, over > 0))
        gap = Bar.of(self.gap_scale, (apart > 0, apart > 0))
        return [
            replace(both, low=f"A and B: {both.low}"),
            replace(gap, low=drawable(f"A − B: {gap.low}")),
        ]

    def facts(self, remark: str) -> list[str]:
        """Return what the header says of the values, and of the difference."""
        a, b = self.censuses
        found = self.difference
        if found.max is None or found.mean is None:
            text = "no value is finite in both"
        elif found.at is None:
            text = "A and B are equal wherever both are finite"
        else:
            where = ", ".join(map(str, found.at))
            text = f"largest |A − B| {format_number(found.max)}, at {where}; "
            text += f"mean {format_number(found.mean)}"
        lines = [f"A: values {a.span()}; B: values {b.span()}", drawable(text)]
        return [*lines, remark] if remark else lines

    def legend(self) -> list[tuple[Colour, str]]:
        """Return what is no finite number, in A and in B."""
        return [
            (colour, f"{name}: {text}")
            for name, census in zip("AB", self.censuses, strict=True)
            for colour, text in census.legend
        ]


def _gaps(a: Tensor, b: Tensor) -> Numbers:
    """Return A − B; 0 where both are the same infinity, NaN where either has no number."""
    with np.errstate(invalid="ignore"):
        gaps = a.astype(np.float64) - b
    gaps[a == b] = 0
    return gaps


def _ends(scale: Scale) -> str:
    return f"{format_number(scale.low)} to {format_number(scale.high)}"
