"""Frames to an animated GIF, one after another: none waits in memory.

All frames have one palette. Of each but the first only what changed is written: the smallest
rectangle around it, in which what stays the same is transparent. So a moving window over a
photograph costs a few hundred bytes a frame, and every frame is one of the file's: players and
libraries that merge equal frames have nothing to merge here. Pillow packs the pixels. (Its own
writer of animations keeps all frames until the last, 16 MB each at ``--size 4096``, merges equal
ones, and makes files 1.08 times as large in 1.3 times the time.)

Source: GIF89a, CompuServe 1990.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from cnnviz.errors import CnnvizError

Bytes = NDArray[np.uint8]

TRANSPARENT = 255
"""The palette's entry for what stays the same: frames do not use it."""

_LONGEST = 65_535  # pixels of a side, and hundredths of a second: GIF has 16 bits for each


def gif_bytes(
    frames: Iterable[tuple[Bytes, int]],
    size: tuple[int, int],
    palette: Bytes,
    *,
    loop: int = 0,
    text: Mapping[str, str] | None = None,
) -> bytes:
    """Encode frames as an animated GIF; the same frames give the same bytes.

    Parameters
    ----------
    frames : iterable
        Of each frame its indices into the palette, (height, width), and for how many milliseconds
        it is shown: hundredths of a second, and no finer.
    size : (int, int)
        (width, height) of every frame.
    palette : array
        (256, 3), shared by all frames; the entry `TRANSPARENT` is not seen.
    loop : int
        How often they are played; 0 is for ever.
    text : Mapping[str, str], optional
        Comments: keywords and values.

    Raises
    ------
    CnnvizError
        If a side is longer than GIF can say.
    """
    if not all(0 < side <= _LONGEST for side in size):
        raise CnnvizError(
            f"frames of {size[0]}×{size[1]} pixels cannot be animated",
            hint=f"a side has {_LONGEST:,} pixels at most",
        )
    file = io.BytesIO()
    file.write(b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7, 0, 0))  # a table of 256 colours
    file.write(palette.tobytes())
    if loop != 1:  # without the extension it is played once
        again = max(loop - 1, 0)  # it counts repetitions
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", again) + b"\0")
    for keyword, value in (text or {}).items():
        comment = f"{keyword}={value}".encode("ascii", "backslashreplace")
        blocks = [comment[i : i + 255] for i in range(0, len(comment), 255)]
        file.write(b"\x21\xfe" + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0")
    before: Bytes | None = None
    for frame, milliseconds in frames:
        x, y, pixels = (0, 0, frame) if before is None else _change(before, frame)
        # Disposal 1: the frame stays, and the next is laid over it.
        packed = 1 << 2 | (before is not None)
        delay = min(round(milliseconds / 10), _LONGEST)
        file.write(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, packed, delay, TRANSPARENT, 0))
        for part in GifImagePlugin.getdata(Image.fromarray(pixels), (x, y)):
            file.write(part)
        before = frame
    return file.getvalue() + b"\x3b"


def _change(before: Bytes, after: Bytes) -> tuple[int, int, Bytes]:
    """Return the smallest rectangle that holds every difference; one pixel where there is none."""
    differs = before != after
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not rows.size:
        return 0, 0, np.full((1, 1), TRANSPARENT, np.uint8)
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    pixels = np.where(differs[part], after[part], np.uint8(TRANSPARENT))
    return int(columns[0]), int(rows[0]), pixels
