"""Lettering in Pillow's own font: which signs it can draw, how wide a text is, what fits."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnnviz.errors import safe
from cnnviz.view.maps import Bytes, Colour

# What Pillow's own font (Aileron) can draw, and how we spell the rest.
DRAWABLE = frozenset(map(chr, range(32, 127))) | frozenset("©«°±´·»‘’“”…‹›™")
_SPELLINGS = {"→": "->", "×": "x", "−": "-", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "∞": "inf"}
_SPELLINGS |= {"σ": "sigma", "θ": "theta", "λ": "lambda", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae"}


@lru_cache(maxsize=1 << 12)
def drawable(text: str) -> str:
    """Respell text with the characters the font has."""
    spelled = []
    for character in safe(text[:4096]):
        if character in DRAWABLE:
            spelled.append(character)
        elif character in _SPELLINGS:
            spelled.append(_SPELLINGS[character])
        else:  # é -> e; what remains unknown is a ?
            parts = unicodedata.normalize("NFKD", character)
            spelled.append("".join(part for part in parts if part in DRAWABLE) or "?")
    return "".join(spelled)


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font all lettering is in."""
    loaded = ImageFont.load_default(size)
    if not isinstance(loaded, ImageFont.FreeTypeFont):  # pragma: no cover
        raise TypeError("Pillow was built without FreeType")
    return loaded


def spaced(text: str, size: int) -> str:
    """Return text as it is drawn: small letters with wider spaces, which would be 2 pixels."""
    return text.replace(" ", "  ") if size < 12 else text


@lru_cache(maxsize=1 << 12)
def stamp(
    text: str, size: int, anchor: str, part: tuple[float, float]
) -> tuple[Image.Image, int, int]:
    """Return a text as a mask, and how far its corner is from (x, y), of the fractions `part`.

    Grids write the same indices again and again: drawing a kept mask takes a tenth of the time.
    """
    text = spaced(text, size)
    box = font(size).getbbox(text, anchor=anchor)
    left, top = math.floor(box[0]) - 1, math.floor(box[1]) - 1
    mask = Image.new("L", (math.ceil(box[2]) - left + 2, math.ceil(box[3]) - top + 2))
    place = (part[0] - left, part[1] - top)
    ImageDraw.Draw(mask).text(place, text, fill=255, font=font(size), anchor=anchor)
    return mask, left, top


@lru_cache(maxsize=1 << 14)
def text_width(text: str, size: int) -> int:
    """Return how many pixels wide a text is."""
    return math.ceil(font(size).getlength(spaced(text, size)))


def shorten(text: str, width: int, size: int) -> str:
    """Cut text to a width, with an ellipsis in place of what is left out."""
    if text_width(text, size) <= width:
        return text
    keep, most = 0, len(text)
    while keep < most:
        middle = (keep + most + 1) // 2
        if text_width(text[:middle].rstrip() + "…", size) <= width:
            keep = middle
        else:
            most = middle - 1
    return text[:keep].rstrip() + "…" if keep else ""


def wrap(text: str, width: int, size: int, lines: int) -> list[str]:
    """Break text into at most so many lines; what does not fit is an ellipsis."""
    wrapped: list[str] = []
    rest = text
    while rest and len(wrapped) < lines - 1 and text_width(rest, size) > width:
        fit = shorten(rest, width, size).removesuffix("…")
        space = rest.rfind(" ", 0, len(fit) + 1)
        cut = space if space > len(fit) // 2 else max(1, len(fit))
        wrapped.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*wrapped, shorten(rest, width, size)] if rest else wrapped


def fitting_size(texts: Sequence[str], cell: tuple[int, int]) -> int | None:
    """Return the largest font size at which every text fits a cell of (rows, columns) pixels."""
    longest = sorted(set(texts), key=lambda text: (len(text), text))[-40:]  # not by chance
    for size in (18, 16, 14, 13, 12, 11, 10, 9):
        if cell[0] >= size + 4 and all(text_width(text, size) + 5 <= cell[1] for text in longest):
            return size
    return None


def readable_on(colour: Bytes) -> Colour:
    """Return black or white, whichever has more contrast with a colour (WCAG 2 luminance)."""
    linear = (colour / 255.0) ** 2.2
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)
