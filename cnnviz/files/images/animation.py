"""Frames to an animated GIF or PNG, one after another: none waits in memory.

All frames have one palette. Of each but the first only what changed is written: the smallest
rectangle around it, in which what stays the same is transparent. So a moving window over a
photograph costs a few hundred bytes a frame, and every frame that was added is one of the file's:
players and libraries that merge equal frames have nothing to merge here.
"""

from __future__ import annotations

import io
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from cnnviz.errors import CnnvizError
from cnnviz.files.images.deflate import chunk

Bytes = NDArray[np.uint8]

TRANSPARENT = 255
"""The palette's entry for what stays the same: frames do not use it."""

_LONGEST = 65_535  # pixels of a side, and hundredths of a second: GIF has 16 bits for each


class _Change(NamedTuple):
    """A rectangle of a frame; what is as before in it is transparent."""

    x: int
    y: int
    pixels: Bytes


class Animation(ABC):
    """A file that frames are added to.

    Parameters
    ----------
    size : (int, int)
        (width, height) of every frame.
    palette : array
        (256, 3), shared by all frames; the entry `TRANSPARENT` is not seen.
    frames : int
        How many will be added.
    loop : int
        How often they are played; 0 is for ever.
    text : Mapping[str, str]
        What else the file tells.
    """

    def __init__(
        self,
        size: tuple[int, int],
        palette: Bytes,
        frames: int,
        *,
        loop: int = 0,
        text: Mapping[str, str] | None = None,
    ) -> None:
        if not all(0 < side <= _LONGEST for side in size):
            raise CnnvizError(
                f"frames of {size[0]}×{size[1]} pixels cannot be animated",
                hint=f"a side has {_LONGEST:,} pixels at most",
            )
        self.size, self.palette, self.frames, self.loop = size, palette, frames, loop
        self.text = text or {}
        self._last: Bytes | None = None
        self._file = io.BytesIO()

    def add(self, frame: Bytes, milliseconds: int) -> None:
        """Add a frame, (height, width) indices into the palette, shown for so long."""
        if self._last is None:
            self._begin()
            change = _Change(0, 0, frame)
        else:
            change = _changed(self._last, frame)
        self._write(change, milliseconds, first=self._last is None)
        self._last = frame

    @abstractmethod
    def _begin(self) -> None:
        """Write what stands before the first frame."""

    @abstractmethod
    def _write(self, change: _Change, milliseconds: int, *, first: bool) -> None:
        """Write a frame."""

    @abstractmethod
    def finish(self) -> bytes:
        """Return the whole file; the same frames give the same bytes."""


def _changed(before: Bytes, after: Bytes) -> _Change:
    """Return the smallest rectangle that holds every difference; one pixel where there is none."""
    differs = before != after
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not rows.size:
        return _Change(0, 0, np.full((1, 1), TRANSPARENT, np.uint8))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    pixels = np.where(differs[part], after[part], np.uint8(TRANSPARENT))
    return _Change(int(columns[0]), int(rows[0]), pixels)


class Gif(Animation):
    """GIF89a. Times are in hundredths of a second, and no finer."""

    def _begin(self) -> None:
        write = self._file.write
        write(b"GIF89a" + struct.pack("<HHBBB", *self.size, 0xF7, 0, 0))  # a table of 256 colours
        write(self.palette.tobytes())
        if self.loop != 1:  # without the extension it is played once
            again = max(self.loop - 1, 0)  # it counts repetitions
            write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", again) + b"\0")
        for keyword, value in self.text.items():
            comment = f"{keyword}={value}".encode("ascii", "backslashreplace")
            blocks = [comment[i : i + 255] for i in range(0, len(comment), 255)]
            write(b"\x21\xfe" + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0")

    def _write(self, change: _Change, milliseconds: int, *, first: bool) -> None:
        # Disposal 1: the frame stays, and the next is laid over it.
        packed = 1 << 2 | (not first)
        delay = min(round(milliseconds / 10), _LONGEST)
        control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, packed, delay, TRANSPARENT, 0)
        self._file.write(control)
        image = Image.fromarray(change.pixels)
        for part in GifImagePlugin.getdata(image, (change.x, change.y)):
            self._file.write(part)

    def finish(self) -> bytes:
        """Return the whole file; the same frames give the same bytes."""
        return self._file.getvalue() + b"\x3b"


class Apng(Animation):
    """An animated PNG (W3C, Portable Network Graphics, third edition); others show frame 1."""

    def __init__(
        self,
        size: tuple[int, int],
        palette: Bytes,
        frames: int,
        *,
        loop: int = 0,
        text: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(size, palette, frames, loop=loop, text=text)
        self._sequence = 0

    def _begin(self) -> None:
        write = self._file.write
        write(b"\x89PNG\r\n\x1a\n")
        write(chunk(b"IHDR", struct.pack(">IIBBBBB", *self.size, 8, 3, 0, 0, 0)))
        write(chunk(b"acTL", struct.pack(">II", self.frames, self.loop)))
        for keyword, value in self.text.items():
            # iTXt: keyword, not compressed, no language, no translated keyword
            write(chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + value.encode()))
        write(chunk(b"PLTE", self.palette.tobytes()))
        write(chunk(b"tRNS", b"\xff" * TRANSPARENT + b"\0"))

    def _write(self, change: _Change, milliseconds: int, *, first: bool) -> None:
        height, width = change.pixels.shape
        where = struct.pack(">IIIII", self._number(), width, height, change.x, change.y)
        # Disposal 0: the frame stays. Blending 1: what is transparent shows what was there.
        control = where + struct.pack(">HHBB", min(milliseconds, _LONGEST), 1000, 0, not first)
        self._file.write(chunk(b"fcTL", control))
        rows = np.zeros((height, width + 1), np.uint8)  # each begins with its filter: 0, none
        rows[:, 1:] = change.pixels
        data = zlib.compress(rows.tobytes(), 9 if first else 6)
        if first:
            self._file.write(chunk(b"IDAT", data))
        else:
            self._file.write(chunk(b"fdAT", struct.pack(">I", self._number()) + data))

    def _number(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def finish(self) -> bytes:
        """Return the whole file; the same frames give the same bytes."""
        return self._file.getvalue() + chunk(b"IEND")
