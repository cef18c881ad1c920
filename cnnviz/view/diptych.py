"""What A makes beside what B makes, where their shapes differ and nothing can be subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from cnnviz.core.statistics import finite_range, rank_maps
from cnnviz.core.types import Tensor
from cnnviz.view.grid import lay_out
from cnnviz.view.lettering import drawable, font, spaced
from cnnviz.view.maps import draw_map
from cnnviz.view.robust import Inner
from cnnviz.view.scale import Scale, choose_scale
from cnnviz.view.sheet import MARGIN, PAPER, SOFT, TEXT_SIZE
from cnnviz.view.vector import draw_vector

if TYPE_CHECKING:
    from rich.console import RenderableType

WHY = "each on its own scale, without A − B: only equal shapes can be subtracted"

MOST_MAPS = 4
"""So many channels of each are drawn, those that vary most."""


@dataclass(frozen=True, eq=False)
class Diptych:
    """Two tensors, each on its own scale, ready to be drawn: for files, for terminals.

    The tensors may go once this is made: what is drawn is kept, as a copy.
    """

    maps: tuple[Tensor, Tensor]  # (C, H, W) of those drawn; of a vector (N,)
    channels: tuple[tuple[int, ...], tuple[int, ...]]
    scales: tuple[Scale, Scale]
    counts: tuple[int, int]  # of all channels
    robust: tuple[Inner | None, Inner | None] = (None, None)  # where their ranges are measured

    @classmethod
    def of(
        cls,
        a: Tensor,
        b: Tensor,
        colormap: str = "auto",
        robust: tuple[Inner | None, Inner | None] = (None, None),
    ) -> Diptych:
        """Choose what is drawn of two tensors (C, H, W) or (N,), and on which scales.

        With `robust` grids have the range that `lay_out` gives them.
        """
        one, two = _shown(a), _shown(b)
        scales = [choose_scale(*finite_range(tensor), colormap=colormap) for tensor in (a, b)]
        maps, channels = (one[0], two[0]), (one[1], two[1])
        return cls(maps, channels, (scales[0], scales[1]), (len(a), len(b)), robust)

    def draw(self, titles: Sequence[str]) -> Image.Image:
        """Draw both sheets side by side, and below them why there is no difference."""
        sheets = []
        for maps, channels, scale, count, within, title in zip(
            self.maps, self.channels, self.scales, self.counts, self.robust, titles, strict=True
        ):
            if maps.ndim == 1:
                sheets.append(draw_vector(maps, scale, title=title, labels=None))
            else:
                labels = [str(channel) for channel in channels]
                cut = f"of {count:,} maps those that vary most" if len(maps) < count else ""
                grid = lay_out(maps, [scale], title=title, labels=labels, remark=cut, robust=within)
                sheets.append(grid.image)
        left, right = sheets
        size = (left.width + right.width, max(left.height, right.height) + MARGIN)
        both = Image.new("RGB", size, PAPER)
        both.paste(left, (0, 0))
        both.paste(right, (left.width, 0))
        text = spaced(drawable(f"A and B are drawn {WHY}"), TEXT_SIZE)
        place = (MARGIN, both.height - MARGIN)
        ImageDraw.Draw(both).text(place, text, fill=SOFT, font=font(TEXT_SIZE), anchor="ls")
        return both

    def in_terminal(self, width: int, *, colours: bool) -> RenderableType:
        """Draw both for a terminal of `width` columns, A's maps over B's.

        Without `colours` red and blue would look alike: then from the lowest value, dark, up.
        """
        from rich.console import Group

        from cnnviz.view.terminal import tile

        parts: list[RenderableType] = []
        for name, maps, channels, scale in zip(
            "AB", self.maps, self.channels, self.scales, strict=True
        ):
            shown = maps.reshape(1, 1, -1) if maps.ndim == 1 else maps
            drawn = scale if colours else replace(scale, colormap="gray")
            captions = [name if maps.ndim == 1 else f"{name} {channel}" for channel in channels]
            parts.append(tile([draw_map(one, drawn) for one in shown], captions, width=width))
        return Group(*parts)


def _shown(tensor: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return a copy of what is drawn of a tensor, and which channels that is."""
    if tensor.ndim == 1 or tensor.shape[1:] == (1, 1):
        return tensor.reshape(-1).copy(), (0,)
    channels = tuple(sorted(int(one) for one in rank_maps(tensor, "variance")[:MOST_MAPS]))
    return tensor[list(channels)], channels
