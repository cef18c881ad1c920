"""The colours of an animation: one palette of 256, in which every value has its nearest.

A colour map has fewer steps here than in a picture of its own: every second or third of its
levels, or fewer still where several maps share the palette.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.maps import (
    LEVELS,
    ODD_COLOURS,
    Bytes,
    Colour,
    Numbers,
    indexed,
)
from cnnviz.view.scale import Scale
from cnnviz.view.sheet import ACCENT, BLACK, EMPTY, INK, PAPER, SOFT

# Colours that no colour map has: lines over what is padding, and over padding that copies a pixel.
LINES: Colour = (214, 196, 152)
COPIED: Colour = (190, 130, 20)

INKS = 4
"""Shades from no ink to full: letters are smooth enough, and files a seventh smaller than with 16.
"""


class Palette:
    """Up to 255 colours for all frames; entry 255 stays unused."""

    def __init__(self, colormaps: Sequence[str], picture: Bytes | None = None) -> None:
        special = [PAPER, INK, SOFT, BLACK, *ODD_COLOURS.values(), ACCENT, EMPTY, LINES, COPIED]
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
        self.points = own.astype(np.float32)  # the colours that are used
        self._ramps: dict[tuple[str, bool], Bytes] = {}
        self.blends = self._blends()

    def nearest(self, colours: Bytes) -> Bytes:
        """Return the entry nearest to each of (N, 3) colours."""
        found = np.empty(len(colours), np.uint8)
        squares = (self.points**2).sum(axis=1)
        for first in range(0, len(colours), 4096):
            some = colours[first : first + 4096].astype(np.float32)
            # |a − b|² = |a|² − 2 a·b + |b|², and |a|² is the same for all b.
            found[first : first + 4096] = (squares - 2 * some @ self.points.T).argmin(axis=1)
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

    def _blends(self) -> Bytes:
        """Return each entry under more and more black ink, and white: (2, 256, INKS)."""
        share = np.arange(INKS)[:, None] / (INKS - 1)
        paper = self.colours[:, None, :].astype(np.float32)
        mixed = [paper * (1 - share) + ink * share for ink in (0, 255)]
        flat = np.rint(np.stack(mixed)).astype(np.uint8).reshape(-1, 3)
        return self.nearest(flat).reshape(2, 256, INKS)


def few_colours(picture: Bytes) -> Bytes:
    """Return the 64 colours that stand for those of a picture."""
    few = Image.fromarray(picture).quantize(
        64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    return np.array(few.getpalette("RGB"), np.uint8).reshape(-1, 3)[:64]
