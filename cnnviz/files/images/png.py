"""Pictures to PNG bytes: the same picture gives the same file.

Small pictures are Pillow's work; larger ones are deflated by several threads (`deflate`).

How to filter and to deflate is decided once a picture, by trying each way on a sample of it. The
noise in feature maps of photographs becomes as small with Huffman codes alone, several times
faster; sheets with lettering and flat colours need the search for repeats.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from functools import cache
from itertools import product

import numpy as np
from PIL import Image, PngImagePlugin

from cnnviz.files.images.deflate import (
    AVERAGE,
    HUFFMAN,
    NONE,
    REPEATS,
    RUNS,
    UP,
    Bytes,
    Way,
    chunk,
    deflate,
    deflated,
    filtered,
    pixel_rows,
)

_PILLOW_LEVEL = 4  # on feature maps within 10 % of level 9, many times faster
_SMALL = 1 << 13  # pixels up to which Pillow's encoder is as fast as ours
_SAMPLE = 1 << 15  # bytes of pixels on which each way is tried, at most, in so many bands of rows
_BANDS = 8
_COLOUR_TYPES = {"L": 0, "RGB": 2, "P": 3}
_HANDICAPS = {HUFFMAN: 1.0, RUNS: 1.03, REPEATS: 1.06}  # they take 3, 4 and 6 ns a byte


def png_bytes(
    image: Image.Image, text: Mapping[str, str], *, level: int | None = None, threads: int = 1
) -> bytes:
    """Encode a picture as PNG with text metadata; the same input gives the same bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture. An indexed one stays indexed; if it is small, with those entries of its
        palette that are in use.
    text : Mapping[str, str]
        Keywords and values, written in this order: Latin-1 as tEXt, the rest as iTXt.
    level : int, optional
        0 (stored) to 9 (smallest, slow), as zlib's. By default what is fastest among the ways
        that come near level 4.
    threads : int
        How many share the work on a large picture. The bytes do not depend on it.

    Returns
    -------
    bytes
        The file, without a time.
    """
    metadata = PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        metadata.add_text(keyword, value)
    if image.width * image.height <= _SMALL or not _is_ours(image):
        if image.mode == "P":
            image = _reduce_palette(image)
        buffer = io.BytesIO()
        pillow_level = _PILLOW_LEVEL if level is None else level
        image.save(buffer, "PNG", pnginfo=metadata, compress_level=pillow_level, icc_profile=None)
        return buffer.getvalue()
    header = struct.pack(">IIBBBBB", *image.size, 8, _COLOUR_TYPES[image.mode], 0, 0, 0)
    chunks = [chunk(b"IHDR", header)]
    chunks += [chunk(kind, data) for kind, data, *_ in metadata.chunks]
    if image.mode == "P":
        chunks += _palette(image)
    image.load()
    chunks += deflated(image, _choose(image, level), threads)
    return b"".join([b"\x89PNG\r\n\x1a\n", *chunks, chunk(b"IEND")])


def _is_ours(image: Image.Image) -> bool:
    """Whether a picture is of a kind that we write; the others we never draw."""
    return image.mode == "P" or (image.mode in _COLOUR_TYPES and "transparency" not in image.info)


def _reduce_palette(image: Image.Image) -> Image.Image:
    """Keep the palette's entries in use, in their order, so that small maps are small files."""
    used = [index for index, count in enumerate(image.histogram()) if count]
    palette = image.getpalette("RGB") or []
    entries = [palette[3 * index : 3 * index + 3] or [0, 0, 0] for index in used]
    new_index = dict(zip(used, range(len(used)), strict=True))
    reduced = image.point([new_index.get(index, 0) for index in range(256)])
    reduced.putpalette([level for entry in entries for level in entry])
    alpha = reduced.info.pop("transparency", None)  # an index, or an alpha for each
    if isinstance(alpha, bytes):
        reduced.info["transparency"] = bytes((alpha + b"\xff" * 256)[index] for index in used)
    elif alpha in new_index:
        reduced.info["transparency"] = new_index[alpha]
    return reduced


def _palette(image: Image.Image) -> list[bytes]:
    """Return the chunks of all 256 palette entries: which are in use would take time to find."""
    colours = bytes(image.getpalette("RGB") or ()).ljust(768, b"\0")
    alpha = image.info.get("transparency")  # an index, or an alpha for each
    if isinstance(alpha, int):
        alpha = b"\xff" * alpha + b"\0"
    return [chunk(b"PLTE", colours), *([] if alpha is None else [chunk(b"tRNS", alpha)])]


def _choose(image: Image.Image, level: int | None) -> Way:
    """Return the way that makes a sample of the picture smallest, or nearly so but faster."""
    if level == 0:
        return Way(NONE, 0, REPEATS)
    depth = len(image.getbands())
    bands = [pixel_rows(image, top, bottom) for top, bottom in _sample(image.size, depth)]

    @cache
    def sample(kind: int) -> Bytes:
        return np.concatenate([filtered(rows, depth, kind) for rows in bands])

    def size(way: Way) -> int:
        return len(deflate(sample(way.filter), way))

    if level is not None:
        every = product((NONE, UP, AVERAGE), [level], _HANDICAPS)
        return min((Way(*way) for way in every), key=size)
    ways = [Way(*way) for way in product((NONE, UP), [1], _HANDICAPS)]
    sizes = [size(way) * _HANDICAPS[way.strategy] for way in ways]
    if min(sizes) < sample(NONE).size / 4:  # flat colours: a thorough search is fast, too
        plain, up = (Way(kind, 4, REPEATS) for kind in (NONE, UP))
        return up if size(up) <= 1.1 * size(plain) else plain  # up errs less where samples deceive
    return ways[sizes.index(min(sizes))]


def _sample(size: tuple[int, int], depth: int) -> list[tuple[int, int]]:
    """Return the first row of some bands of a picture and the row after their last."""
    width, height = size
    pixels = min(max(width * height // 16, _SAMPLE // 8), _SAMPLE // depth)
    rows = max(1, pixels // (width * _BANDS))
    if rows * _BANDS >= height:
        return [(0, height)]
    tops = [(height - rows) * band // (_BANDS - 1) for band in range(_BANDS)]
    return [(top, top + rows) for top in tops]
