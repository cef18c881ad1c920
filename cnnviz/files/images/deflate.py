"""Deflating a picture in pieces: the image data of a PNG, by several threads at once.

A piece is some whole rows. It refers to nothing before it and ends on a whole byte, so the pieces
one after another are one zlib stream. Where they are cut depends on the picture alone, not on the
number of threads.

Sources: PNG (ISO/IEC 15948), zlib (RFC 1950), deflate (RFC 1951).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.threads import share

Bytes = NDArray[np.uint8]

NONE, UP, AVERAGE = 0, 2, 3  # of PNG's filters
HUFFMAN, RUNS, REPEATS = zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY
PIECE = 1 << 17  # bytes of pixels deflated at a time; 4 times as many if repeats are looked for


class Way(NamedTuple):
    """How to make a picture small."""

    filter: int
    level: int
    strategy: int


def chunk(kind: bytes, *parts: bytes) -> bytes:
    """Frame data as a chunk: length, kind, data, checksum."""
    data = b"".join([kind, *parts])
    return b"".join([struct.pack(">I", len(data) - 4), data, struct.pack(">I", zlib.crc32(data))])


def deflated(image: Image.Image, way: Way, threads: int) -> list[bytes]:
    """Return the IDAT chunks of a loaded picture: one zlib stream."""
    (width, height), depth = image.size, len(image.getbands())
    size = PIECE if way.strategy in {HUFFMAN, RUNS} else 4 * PIECE
    step = max(1, size // (width * depth))
    tops = range(0, height, step)
    chunks = [b""] * len(tops)
    checksums = [(1, 0)] * len(tops)  # each piece's own, and its length

    def worker(piece: int) -> None:
        rows = pixel_rows(image, tops[piece], min(tops[piece] + step, height))
        data = filtered(rows, depth, way.filter)
        checksums[piece] = zlib.adler32(data.data), data.size
        start = b"" if piece else b"\x78\x01"  # zlib's header: a window of 32 KiB
        last = piece == len(tops) - 1
        packed = start + deflate(data, way, last=last)
        chunks[piece] = packed if last else chunk(b"IDAT", packed)

    share(range(len(tops)), lambda: worker, threads)
    chunks[-1] = chunk(b"IDAT", chunks[-1], struct.pack(">I", _joined(checksums)))
    return chunks


def deflate(data: Bytes, way: Way, *, last: bool = True) -> bytes:
    """Return bytes deflated, as the end of a stream or for more to follow."""
    bits = data.size.bit_length()  # small pictures need not wait for large tables
    window, memory = min(max(bits, 9), 15), min(max(bits - 6, 1), 9)
    packer = zlib.compressobj(way.level, zlib.DEFLATED, -window, memory, way.strategy)
    return packer.compress(data.data) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def _joined(checksums: Iterable[tuple[int, int]]) -> int:
    """Return the Adler-32 of pieces one after another, from each one's own and its length."""
    low, high = 1, 0
    for checksum, length in checksums:
        high = (high + (checksum >> 16) + length * (low - 1)) % 65521
        low = (low + (checksum & 0xFFFF) - 1) % 65521
    return high << 16 | low


def pixel_rows(image: Image.Image, top: int, bottom: int) -> Bytes:
    """Return the bytes of some rows below those of the row above them, 0 above the first."""
    rows = np.zeros((bottom - top + 1, image.width * len(image.getbands())), np.uint8)
    first = 1 if top == 0 else 0
    part = image.crop((0, top - 1 + first, image.width, bottom)).tobytes()
    rows[first:] = np.frombuffer(part, np.uint8).reshape(-1, rows.shape[1])
    return rows


def filtered(rows: Bytes, depth: int, kind: int) -> Bytes:
    """Return all rows but the first filtered, each behind its filter's number, as flat bytes."""
    here, above = rows[1:], rows[:-1]
    lines = np.empty((len(here), here.shape[1] + 1), np.uint8)
    lines[:, 0] = kind
    out = lines[:, 1:]
    if kind == NONE:
        out[...] = here
    elif kind == UP:
        np.subtract(here, above, out=out)
    else:
        left = np.zeros_like(here)
        left[:, depth:] = here[:, :-depth]
        mean = (left & above) + ((left ^ above) >> 1)  # rounded down, and within 8 bits
        np.subtract(here, mean, out=out)
    return lines.reshape(-1)
