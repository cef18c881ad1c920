"""The two consoles: answers go to stdout, everything else to stderr."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from cnnviz.errors import CnnvizError, safe

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from cnnviz.view.protocols import Protocol

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
    """Return whether a console shows colours, so that red and blue can stand for signs."""
    return console.color_system in ("256", "truecolor", "windows") and not console.no_color


def draw(console: Console, png: Callable[[], bytes], blocks: Callable[[], RenderableType]) -> None:
    """Draw in a terminal: a picture, if it takes one, else what stands for it."""
    from cnnviz.view.protocols import cell_width

    if protocol := _protocol(console):
        cell = cell_width(console.file)
        console.file.write(protocol.encode(png(), console.width, cell) + "\n")
        console.file.flush()
    else:
        console.print(blocks())


@cache
def _protocol(console: Console) -> Protocol | None:
    """Return how pictures are sent to a console; the terminal is asked once."""
    from cnnviz.view.protocols import find_protocol

    return find_protocol(console.file)


def note(text: str) -> None:
    """Print something beside the answer, on stderr; on a terminal wrapped between words."""
    console = stderr()
    lines = printable(text).split("\n")
    if console.is_terminal:
        lines = [part for line in lines for part in _wrapped(line, console.width)]
    console.print("\n".join(lines), style="dim", **PLAIN)


def _wrapped(line: str, width: int) -> list[str]:
    """Break a line between words; one that is wider, such as a path, stays whole."""
    from rich.cells import cell_len

    first, *words = line.split(" ")
    lines = [first]
    for word in words:
        if cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def counted(count: int, noun: str) -> str:
    """Write how many there are of something.

    >>> counted(1, "file"), counted(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@contextmanager
def progress(what: str, steps: int, *, silent: bool) -> Iterator[Callable[[], None]]:
    """Yield what to call after each step: it moves a bar on a terminal, and nothing in a pipe."""
    if silent or not stderr().is_terminal:
        yield lambda: None
        return
    from rich.markup import escape
    from rich.progress import Progress

    bar = Progress(console=stderr(), transient=True)
    task = bar.add_task(escape(printable(what)), total=steps)
    try:
        with suppress(RuntimeError):  # no thread can be started: it does not move
            bar.start()
        yield lambda: bar.advance(task)
    finally:
        bar.stop()


def tell_error(error: CnnvizError) -> None:
    """Print an error on stderr: what is wrong, then a way out; in a pipe nothing is imported."""
    if not (sys.stderr.isatty() or os.environ.get("FORCE_COLOR")):
        hint = f"hint: {printable(error.hint)}\n" if error.hint else ""
        sys.stderr.write(f"error: {printable(error.message)}\n{hint}")
        return
    console = stderr()
    console.print("error:", style="bold red", end=" ")
    console.print(printable(error.message), markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        console.print("hint:", style="dim", end=" ")
        console.print(printable(error.hint), style="dim", **PLAIN)


def printable(text: str) -> str:
    """Return text of several lines, each without signs that could act on the terminal."""
    return "\n".join(map(safe, text.split("\n")))
