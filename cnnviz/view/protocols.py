"""Pictures in terminals that take them: kitty's graphics, iTerm2's inline images, sixels.

Which of them a terminal takes is read from the environment. Only where that does not tell is the
terminal itself asked, briefly, and only if nobody is typing.
"""

from __future__ import annotations

import base64
import io
import math
import os
import re
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.view.maps import packed, unpacked

_CELL = 8  # pixels of a column, where the terminal does not say
_MOST_CELL = 10  # what a column is taken for at most: with finer pixels pictures are enlarged
_MOST_SIXELS = 1000  # rows and columns of a picture that xterm takes
_PATIENCE, _PATIENCE_AFAR = 0.1, 0.5  # seconds a terminal has for its answer; through SSH

# ---------------------------------------------------------------------------- what is written


def _kitty(png: bytes, columns: int, cell: int) -> str:
    """Write a PNG as kitty reads it: base64 in pieces of 4096 characters, without an answer."""
    text = base64.b64encode(png).decode()
    pieces = [text[start : start + 4096] for start in range(0, len(text), 4096)]
    keys = f"a=T,f=100,q=2,c={_width(png, columns, cell)},"
    written = []
    for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
        written.append(f"\x1b_G{keys}m={min(left, 1)};{piece}\x1b\\")
        keys = ""
    return "".join(written)


def _iterm2(png: bytes, columns: int, cell: int) -> str:
    """Write a PNG as iTerm2 reads it, whole."""
    keys = f"inline=1;size={len(png)};width={_width(png, columns, cell)};preserveAspectRatio=1"
    return f"\x1b]1337;File={keys}:{base64.b64encode(png).decode()}\x07"


def _width(png: bytes, columns: int, cell: int) -> int:
    """Return how many columns wide a picture is to be."""
    with Image.open(io.BytesIO(png)) as image:
        return min(columns, math.ceil(image.width / min(cell, _MOST_CELL)))


def _sixel(png: bytes, columns: int, cell: int) -> str:
    """Write a PNG as sixels: bands of six rows, in each the places of one colour after another."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = image.convert("RGB")
    pixels.thumbnail((min(columns * cell, _MOST_SIXELS), _MOST_SIXELS))
    indices, palette = quantized(pixels)
    rows, width = indices.shape
    percents = np.rint(palette * (100 / 255)).astype(int).tolist()
    parts = [f'\x1bP0;1;0q"1;1;{width};{rows}']
    parts += [
        f"#{index};2;{red};{green};{blue}" for index, (red, green, blue) in enumerate(percents)
    ]
    for top in range(0, rows, 6):
        present, band = np.unique(indices[top : top + 6], return_inverse=True)
        signs = np.full((len(present), width), ord("?"), np.uint8)  # and a bit for each row
        for bit, row in enumerate(band.reshape(-1, width)):
            signs[row, np.arange(width)] += 1 << bit
        for index, line in zip(present.tolist(), signs, strict=True):
            runs = _RUN.sub(_counted, line.tobytes().rstrip(b"?")).decode()
            parts.append(f"#{index}{runs}$")
        parts.append("-")
    return "".join(parts) + "\x1b\\"


_RUN = re.compile(rb"(.)\1{3,}", re.DOTALL)


def _counted(run: re.Match[bytes]) -> bytes:
    return b"!%d%c" % (len(run[0]), run[0][0])


def quantized(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture (RGB) in at most 256 colours: indices and palette.

    Its 128 most common colours, and black and white, are exact, so that 0 stays as white as it is;
    no other one is far from its own.
    """
    half, palette = 128, np.zeros((256, 3), np.uint8)
    drawn = image.quantize(half, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    near = np.reshape(drawn.getpalette() or [], (-1, 3))[:half]
    palette[: len(near)] = near
    numbers = packed(np.asarray(image))
    colours, where, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    counts[np.isin(colours, packed([(0, 0, 0), (255, 255, 255)]))] += numbers.size
    common = np.argsort(-counts, kind="stable")[:half]
    palette[half : half + len(common)] = unpacked(colours[common])
    own = np.zeros(len(colours), np.uint8)  # 0: it is none of them
    own[common] = half + np.arange(len(common))
    exact = own[where].reshape(numbers.shape)
    return np.where(exact, exact, np.asarray(drawn)), palette


class Protocol(NamedTuple):
    """How terminals are sent a picture, and by what those that take it are known."""

    encode: Callable[[bytes, int, int], str]  # a PNG, columns at most, pixels of a column
    signs: Mapping[str, tuple[str, ...]]  # variables of the environment, and how their values begin


PROTOCOLS: Mapping[str, Protocol] = {
    "kitty": Protocol(
        _kitty,
        {
            "TERM": ("xterm-kitty", "xterm-ghostty"),
            "TERM_PROGRAM": ("ghostty",),
            "KITTY_WINDOW_ID": ("",),
        },
    ),
    "iterm2": Protocol(
        _iterm2, {"TERM_PROGRAM": ("iTerm.app", "WezTerm"), "LC_TERMINAL": ("iTerm2",)}
    ),
    "sixel": Protocol(_sixel, {"TERM": ("foot", "mlterm", "contour", "yaft")}),
}

# ---------------------------------------------------------------------------- which it is


def find_protocol(stream: IO[str]) -> Protocol | None:
    """Return how pictures are sent to a stream; None for pipes, and terminals that take none.

    Within tmux and its like, whose own answers say little of the terminal around them, none are
    sent, nor where no colours are wanted.
    """
    known = os.environ
    within = any(known.get(name) for name in ("TMUX", "STY", "ZELLIJ", "NO_COLOR"))
    plain = known.get("TERM", "dumb").startswith(("dumb", "unknown", "screen", "tmux"))
    if os.name != "posix" or within or plain or not stream.isatty():
        return None
    for variable in ("TERM", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID"):
        if value := known.get(variable):
            for protocol in PROTOCOLS.values():
                if value.startswith(protocol.signs.get(variable, ())):
                    return protocol
            if variable == "TERM_PROGRAM":
                break  # what else is set may stem from the terminal this one was started in
    return PROTOCOLS["sixel"] if "4" in _attributes(stream) else None


_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")


def _attributes(stream: IO[str]) -> list[str]:
    """Ask a terminal for its attributes (DA1): numbers, or none if it does not answer.

    A program in the background must not ask, and what is typed ahead is left to whom it is for.
    The answer is read byte by byte, for the same reason.
    """
    import select
    import termios
    import tty

    try:
        keys = sys.stdin.fileno()
        if not os.isatty(keys) or os.tcgetpgrp(keys) != os.getpgrp():
            return []
        before = termios.tcgetattr(keys)
    except (AttributeError, OSError, ValueError, termios.error):  # closed, or no file
        return []
    answer, found = b"", None
    try:
        tty.setcbreak(keys, termios.TCSANOW)
        if not select.select([keys], [], [], 0)[0]:
            stream.write("\x1b[c")
            stream.flush()
            afar = "SSH_CONNECTION" in os.environ
            end = time.monotonic() + (_PATIENCE_AFAR if afar else _PATIENCE)
            while not found and (left := end - time.monotonic()) > 0:
                if select.select([keys], [], [], left)[0]:
                    answer += os.read(keys, 1)
                    found = _ATTRIBUTES.search(answer)
    finally:
        termios.tcsetattr(keys, termios.TCSANOW, before)
    return found[1].decode().split(";")[1:] if found else []  # the first is the terminal's class


def cell_width(stream: IO[str]) -> int:
    """Return how many pixels wide a column of a terminal is, if it says so."""
    import fcntl
    import termios

    answer = fcntl.ioctl(stream, termios.TIOCGWINSZ, bytes(8))
    _, columns, pixels, _ = struct.unpack("4H", answer)
    return max(1, pixels // columns) if pixels and columns else _CELL
