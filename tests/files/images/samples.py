"""Pictures of every kind, and what they hold."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnviz.core.types import Samples
from cnnviz.errors import CnnvizError
from cnnviz.files.images import InputOptions, load_image
from cnnviz.files.images.loading import depth_of, to_pixels
from cnnviz.files.matrices import display_name

SAMPLES = Path(__file__).parents[3] / "sample_images"
GRAY = InputOptions()
RGB = InputOptions(color="rgb")
RAW = InputOptions(raw=True)
RAW_RGB = InputOptions(raw=True, color="rgb")
SIZE = (5, 7)  # rows, columns


def luma(rgb):
    """Compute ITU-R 601 luma in integers, rounded, from (H, W, 3) levels."""
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    return (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16


def over(rgb, alpha, background):
    """Composite levels over a background, to the nearest level."""
    alpha = alpha.astype(np.int64)[..., None]
    return (2 * (alpha * rgb + (255 - alpha) * np.array(background)) + 255) // 510


def save(path, image, **options):
    image.save(path, **options)
    return str(path)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mode_of(path):
    with Image.open(path) as image:
        return image.mode


def planes_of(levels, largest=255):
    """Divide levels (H, W) or (H, W, 3) into float32 planes."""
    return np.moveaxis(np.atleast_3d(levels), -1, 0).astype(np.float32) / np.float32(largest)


def check(tensor, expected):
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, np.asarray(expected, dtype=np.float32))


def convert(image, options=GRAY):
    pixels = to_pixels(image, depth_of(image), options)
    return pixels.tensor() if isinstance(pixels, Samples) else pixels


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, bits, color_type, pixels, *extra):
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(pixels))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def tiff(array, *, bits, sample_format=1, photometric=1, order="<"):
    """Write a gray strip by hand, so that the reader is tested against the format."""
    data = array.tobytes()
    entries = {
        256: array.shape[1],
        257: array.shape[0],
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: array.shape[0],
        279: len(data),
        339: sample_format,
    }
    table = b"".join(
        struct.pack(f"{order}HHI", tag, 4 if value > 65535 or tag in {273, 279} else 3, 1)
        + struct.pack(f"{order}{'I' if value > 65535 or tag in {273, 279} else 'H2x'}", value)
        for tag, value in entries.items()
    )
    magic = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(f"{order}H", len(entries))
    return magic + struct.pack(f"{order}I", 8 + len(data)) + data + count + table + bytes(4)


def error_of(source, options=GRAY):
    with pytest.raises(CnnvizError) as caught:
        load_image(str(source), options)
    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert str(caught.value).startswith(display_name(str(source)))
    assert "\n" not in str(caught.value)
    return str(caught.value)
