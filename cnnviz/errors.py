"""The one kind of error a user sees: what is wrong, with the values, and a way out."""

from __future__ import annotations

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
