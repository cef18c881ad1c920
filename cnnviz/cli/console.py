"""The two consoles: answers go to stdout, everything else to stderr."""

from __future__ import annotations

import shutil
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 80


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
    return console.color_system is not None and not console.no_color


def note(text: str) -> None:
    """Tell something beside the answer, on stderr."""
    from cnnviz.cli.door import PLAIN, printable

    stderr().print(printable(text), style="dim", **PLAIN)
