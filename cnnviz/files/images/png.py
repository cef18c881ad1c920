"""Pictures to PNG bytes: the same picture gives the same file.

Pillow writes small pictures and rare kinds. It filters no row of an indexed picture and every row
of the others, which is wrong for ours either way: maps of photographs would become 1.2 to 1.9
times as large at its levels 1 to 6, sheets with lettering 1.2 to 1.4 times. With Pillow's encoder
whole commands took, at levels 1 and 6, against this one: `edges` on 12 megapixels 1.6 and 4.2 times
as long (files 1.3 and 1.1 times as large), Sobel 1.2 and 2.6 times, the grids of `resnet18` 0.9 and
1.6 times. So rows are filtered here, and zlib does the rest.

Source: PNG, ISO/IEC 15948.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

_SMALL = 1 << 13  # pixels up to which Pillow's files are as small and written as fast
_BAND = 1 << 17  # bytes of pixels taken out of Pillow's memory at a time: they stay in the cache
_PLACES, _ROWS = 5, 16  # where each way is tried, and how many rows: more than a map's pixel has
_MOST_TEXT = 1 << 12  # characters of a value: each of a run's pictures has the pipeline's text
_COLOUR_TYPES = {"L": 0, "RGB": 2, "P": 3}


class _Way(NamedTuple):
    """How rows are filtered (0: as they are, 2: less the row above) and deflated."""

    filter: int
    level: int
    strategy: int


_MAP = _Way(2, 1, zlib.Z_RLE)  # noise, as in photographs: it has no repeats to look for
_SHEETS = {
    _Way(2, 4, zlib.Z_DEFAULT_STRATEGY): 0.9,  # small maps scaled up: a row is the one above
    _Way(0, 4, zlib.Z_DEFAULT_STRATEGY): 1.0,  # noise in few colours, and lettering
}
"""How sheets, which are of colours, may be packed, and what a way's size on a sample counts: the
second does worse on the whole than on a sample."""


def png_bytes(image: Image.Image, text: Mapping[str, str]) -> bytes:
    """Encode a picture as PNG with text metadata; the same input gives the same bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture. An indexed one stays indexed; if it is small, with those entries of its
        palette that are in use.
    text : Mapping[str, str]
        Keywords and values, written in this order: Latin-1 as tEXt, the rest as iTXt. A value of
        more than 4,096 characters ends in …; bytes of file names that are no text become escapes.

    Returns
    -------
    bytes
        The file, without a time.
    """
    metadata = PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        metadata.add_text(keyword, _writable(value))
    file = io.BytesIO()
    rare = image.mode not in _COLOUR_TYPES or "transparency" in image.info
    if rare or image.width * image.height <= _SMALL:
        if image.mode == "P" and not rare:
            image = _reduce_palette(image)
        image.save(file, "PNG", pnginfo=metadata, compress_level=4, icc_profile=None)
        return file.getvalue()
    put = PngImagePlugin.putchunk
    file.write(b"\x89PNG\r\n\x1a\n")
    kind = _COLOUR_TYPES[image.mode]
    put(file, b"IHDR", struct.pack(">IIBBBBB", *image.size, 8, kind, 0, 0, 0))
    for chunk in metadata.chunks:
        put(file, *chunk[:2])
    if image.mode == "P":  # whole: which entries are in use would take time to find
        put(file, b"PLTE", bytes(image.getpalette("RGB") or ()).ljust(768, b"\0"))
    way = _MAP
    if image.mode == "RGB":
        way = min(_SHEETS, key=lambda way: _SHEETS[way] * len(_deflated(image, way, sampled=True)))
    put(file, b"IDAT", _deflated(image, way))
    put(file, b"IEND", b"")
    return file.getvalue()


def _writable(value: str) -> str:
    """Return a text as it is written."""
    if len(value) > _MOST_TEXT:
        value = f"{value[: _MOST_TEXT - 1]}…"
    return value.encode("utf-8", "backslashreplace").decode()


def _deflated(image: Image.Image, way: _Way, *, sampled: bool = False) -> bytes:
    """Return the rows of a picture, or a sample of them, as a zlib stream."""
    pack = zlib.compressobj(1 if sampled else way.level, zlib.DEFLATED, 15, 9, way.strategy)
    width, height, depth = *image.size, len(image.getbands())
    rows = _ROWS if sampled else max(1, _BAND // (width * depth))
    step = max(rows, height // _PLACES) if sampled else rows
    tops = range(step // 2 if sampled else 0, height, step)
    parts = [
        pack.compress(_filtered(image, top, min(top + rows, height), way).data) for top in tops
    ]
    return b"".join([*parts, pack.flush()])


def _filtered(image: Image.Image, top: int, bottom: int, way: _Way) -> NDArray[np.uint8]:
    """Return some rows filtered, each behind its filter's number."""
    above = max(top - 1, 0) if way.filter else top
    pixels = np.asarray(image.crop((0, above, image.width, bottom))).reshape(bottom - above, -1)
    lines = np.empty((bottom - top, pixels.shape[1] + 1), np.uint8)
    lines[:, 0] = way.filter
    lines[:, 1:] = pixels[top - above :]
    if way.filter:
        first = int(top == 0)  # above it all is 0
        lines[first:, 1:] -= pixels[: bottom - top - first]
    return lines


def _reduce_palette(image: Image.Image) -> Image.Image:
    """Keep the palette's entries in use, in their order, so that small maps are small files."""
    whole = bytes(image.getpalette("RGB") or ()).ljust(768, b"\0")  # what is missing is black
    return image.remap_palette([i for i, count in enumerate(image.histogram()) if count], whole)
