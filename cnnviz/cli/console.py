"""The two consoles: answers go to stdout, everything else to stderr."""

from __future__ import annotations

import shutil
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from cnnviz.errors import CnnvizError

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 80

PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
"""How user text is printed: as it is, unwrapped, without Rich's markup."""


@cache
def stdout() -> Console:
    """Return the console of tables, values, pictures and predictions."""
    return _console(to_stderr=False)


@cache
def stderr() -> Console:
    """Return the console of notes, progress and errors."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    return Console(file=stream, width=width, highlight=False, emoji=False)


def coloured(console: Console) -> bool:
    """Tell whether a console shows colours, so that red and blue can stand for signs."""
    return console.color_system in ("256", "truecolor", "windows") and not console.no_color


def note(text: str) -> None:
    """Tell something beside the answer, on stderr."""
    stderr().print(printable(text), style="dim", **PLAIN)


def tell_error(error: CnnvizError) -> None:
    """Print an error on stderr: what is wrong, then a way out."""
    console = stderr()
    console.print("error:", style="bold red", end=" ")
    console.print(printable(error.message), markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        console.print("  " + printable(error.hint), style="dim", **PLAIN)


def printable(text: str) -> str:
    """Return text without control characters, which could act on the terminal."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text
    )
