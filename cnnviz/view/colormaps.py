"""Colour maps: how a place between low and high becomes a colour.

Every map is a few anchor colours, joined by straight lines in sRGB. Adding one is one entry of
the table at the end of this file: help, errors and completion read it.

>>> list(COLORMAPS)
['gray', 'rdbu', 'viridis', 'magma']
>>> COLORMAPS["gray"].colours(3).tolist()
[[0, 0, 0], [128, 128, 128], [255, 255, 255]]
>>> COLORMAPS["rdbu"].colours(3).tolist()  # blue is negative, red is positive
[[5, 48, 97], [247, 247, 247], [103, 0, 31]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Colormap:
    """A named way from dark to bright, or from negative to positive."""

    name: str
    summary: str
    source: str
    anchors: str  # hexadecimal colours, from low to high
    diverging: bool = False  # 0 is in the middle

    def colours(self, count: int) -> NDArray[np.uint8]:
        """Return so many colours (count, 3), evenly spaced along the lines through the anchors."""
        import numpy as np  # here, for help reads the table, too, and waits for no NumPy

        points = np.array([list(bytes.fromhex(anchor)) for anchor in self.anchors.split()], float)
        at, places = np.linspace(0, 1, count), np.linspace(0, 1, len(points))
        channels = [np.interp(at, places, channel) for channel in points.T]
        return np.asarray(np.rint(np.stack(channels, axis=1)), np.uint8)


_GRAY = "000000 ffffff"

# Eleven classes; the sixth is the neutral one, so an odd number of colours has it in the middle.
_RDBU = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"

# Every fifth of the 256 original colours: what lies between is less than 2/255 off.
_VIRIDIS = (
    "440154 46085c 471063 481769 481d6f 482475 472a7a 46307e 453781 433d84 414287 3f4889 3d4e8a "
    "3a538b 38598c 355e8d 33638d 31688e 2e6d8e 2c718e 2a768e 297b8e 27808e 25848e 23898e 218e8d "
    "20928c 1f978b 1e9c89 1fa188 21a585 24aa83 28ae80 2eb37c 35b779 3dbc74 46c06f 50c46a 5ac864 "
    "65cb5e 70cf57 7cd250 89d548 95d840 a2da37 b0dd2f bddf26 cae11f d8e219 e5e419 f1e51d fde725"
)
_MAGMA = (
    "000004 02020b 050416 090720 0e0b2b 140e36 1a1042 21114e 29115a 311165 390f6e 420f75 4a1079 "
    "52137c 5a167e 621980 6a1c81 721f81 792282 812581 892881 912b81 992d80 a1307e aa337d b2357b "
    "ba3878 c23b75 ca3e72 d2426f d9466b e04c67 e75263 ec5860 f1605d f4695c f7725c f97b5d fb8560 "
    "fc8e64 fd9869 fea16e feaa74 feb47b febd82 fec68a fecf92 fed89a fde2a3 fdebac fcf4b6 fcfdbf"
)


COLORMAPS = {
    colormap.name: colormap
    for colormap in (
        Colormap("gray", "black to white, in even steps", "the plain grey ramp", _GRAY),
        Colormap(
            "rdbu",
            "blue (negative) over near-white (0) to red (positive)",
            "ColorBrewer RdBu, reversed; Cynthia Brewer, Apache-2.0, colorbrewer2.org",
            _RDBU,
            diverging=True,
        ),
        Colormap(
            "viridis",
            "dark purple over green to yellow; even in brightness, safe for colour-blind eyes",
            "Stéfan van der Walt and Nathaniel J. Smith for matplotlib, CC0",
            _VIRIDIS,
        ),
        Colormap(
            "magma",
            "black over purple to pale yellow; even in brightness",
            "Stéfan van der Walt and Nathaniel J. Smith for matplotlib, CC0",
            _MAGMA,
        ),
    )
}
"""Every colour map, by name."""
