"""Pictures to tensors, and pictures to files.

Any image Pillow opens becomes a tensor (C, H, W): the first frame, turned as its EXIF orientation
says. `inputs` says which and how, `decoding` has Pillow read them, and `loading` makes them
numbers; the table of modes and depths is there. `png` and `gif` write.
"""

from cnnviz.files.images.inputs import InputOptions, expand_inputs, stem, unique_stems
from cnnviz.files.images.loading import load_image, load_pixels
from cnnviz.files.images.png import png_bytes

__all__ = [
    "InputOptions",
    "expand_inputs",
    "load_image",
    "load_pixels",
    "png_bytes",
    "stem",
    "unique_stems",
]
