"""The one kind of error a user sees: what is wrong, with the values, and a way out.

And text from outside, made safe to print on any terminal.
"""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Iterable
from typing import Self


class CnnvizError(Exception):
    """The data or the system failed: missing, unreadable, does not fit, cannot be written.

    Parameters
    ----------
    message : str
        What is wrong, naming the file or option and the values involved.
    hint : str, optional
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def within(self, place: str) -> Self:
        """Return the same error, saying where it happened: a file, a stage."""
        return type(self)(f"{place}: {self.message}", hint=self.hint)


class RequestError(CnnvizError):
    """The request is wrong whatever the image: syntax, an unknown name, a stride of 0."""

    exit_code = 2


def unknown(kind: str, name: str, known: Iterable[str], *, see: str | None = None) -> RequestError:
    """Build the error for a name that is not registered, with the nearest names.

    Where none is near and there are many, `see` says where they are listed.

    >>> print(unknown("kernel", "sobelx", ["sobel_x", "sobel_y", "box"]))
    unknown kernel 'sobelx' (did you mean sobel_x, sobel_y?)
    """
    from difflib import get_close_matches

    names = sorted(known, reverse=True)  # of equally near ones the last are taken
    near = get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    names.reverse()
    if near:
        hint = f"did you mean {', '.join(near)}?"
    elif len(names) <= 12:
        hint = f"choose from {', '.join(names)}"
    else:
        hint = see or f"known: {', '.join(names[:8])}, …"
    return RequestError(f"unknown {kind} {name!r}", hint=hint)


def safe(text: str) -> str:
    r"""Write text from outside so that it cannot act on a terminal or leave its line.

    Control characters, invisible ones and those of no encoding are written as Python's escapes.

    >>> print(safe("cat\n\x1b[31mred\u202e\udcff"))
    cat\n\x1b[31mred\u202e\udcff
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


_SPELLINGS = {
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "‑": "-",
    "…": "...",
    "→": "->",
    "·": "*",
    "≠": "!=",
    "≤": "<=",
    "≥": ">=",
    "∞": "inf",
    "‖": "||",
    "Σ": "sum",
    "√": "sqrt",
    "⌊": "floor(",
    "⌋": ")",
    "⌈": "ceil(",
    "⌉": ")",
    "σ": "sigma",
    "θ": "theta",
    "λ": "lambda",
    "µ": "u",
    "‘": "'",
    "’": "'",
    "“": "'",
    "”": "'",
    "█": "#",
    "▀": "#",
    "─": "-",
    "│": "|",
}


def spelled(error: UnicodeError) -> tuple[str, int]:
    r"""Respell what an encoding lacks: an error handler for `codecs.register_error`.

    Signs are written with others, letters without their accents, the rest as escapes.

    >>> codecs.register_error("cnnviz.spelled", spelled)
    >>> "3×3 → é 猫".encode("ascii", "cnnviz.spelled").decode()
    '3x3 -> e \\u732b'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(map(_respelled, signs)), error.end


def _respelled(sign: str) -> str:
    if sign in _SPELLINGS:
        return _SPELLINGS[sign]
    if "\u2500" <= sign <= "\u257f":  # the lines of boxes
        return "+"
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return plain or json.dumps(sign)[1:-1]  # \\uXXXX, which JSON reads back


SPELLED = "cnnviz.spelled"
codecs.register_error(SPELLED, spelled)
