"""Pictures to tensors, and pictures to PNG bytes.

Any image Pillow opens becomes a tensor (C, H, W): the first frame, turned as its EXIF orientation
says. `load` finds the bytes, `decode` has Pillow read them, and `pixels` makes them numbers; the
table of modes and depths is there. `png` writes.
"""

from cnnviz.files.images.inputs import expand_inputs, stem
from cnnviz.files.images.load import load_image, load_pixels
from cnnviz.files.images.options import InputOptions
from cnnviz.files.images.png import png_bytes

__all__ = ["InputOptions", "expand_inputs", "load_image", "load_pixels", "png_bytes", "stem"]
