"""How pictures are prepared for a network, beyond their size: planes, ink and paper, fits.

The words are here for all to know, without Pillow; `cnnviz.files.images` acts on them.
"""

from cnnviz.files.preparation.fits import FITS
from cnnviz.files.preparation.ink import INVERSIONS, inverted

COLORS = {"gray": ("gray",), "rgb": ("red", "green", "blue"), "bgr": ("blue", "green", "red")}
"""The planes a picture is taken apart into."""

__all__ = ["COLORS", "FITS", "INVERSIONS", "inverted"]
