"""How a shape comes about: a layer's own rule, line by line, with the numbers put in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pair, Shape


class Line(NamedTuple):
    """One step: what it is about, and its arithmetic in words and numbers."""

    label: str
    text: str
    fails: bool = False  # it is here that the input does not fit


@dataclass(frozen=True)
class Derivation:
    """The steps from a layer's input shapes to its output shape.

    The lines labelled channels, rows, columns ("rows, columns" where both have the same
    arithmetic), values and shape end in the output's sides; the others say why. Where the input
    does not fit, a line that `fails` tells which numbers do not go together.
    """

    lines: tuple[Line, ...]
    untouched: Pair | None = None  # rows, columns of the input that no output value reads

    @property
    def fits(self) -> bool:
        """Whether no line fails."""
        return not any(line.fails for line in self.lines)

    def led_by(self, *lines: Line) -> Derivation:
        """Return the same with these lines before it."""
        return replace(self, lines=(*lines, *self.lines))

    def ended_by(self, *lines: Line) -> Derivation:
        """Return the same with these lines after it."""
        return replace(self, lines=(*self.lines, *lines))


SIDES = ("channels", "rows", "columns")


def sides(shape: Shape) -> tuple[str, ...]:
    """Return what the sides of a shape are called.

    >>> sides((3, 8, 6)), sides((10,))
    (('channels', 'rows', 'columns'), ('values',))
    """
    return SIDES if len(shape) == 3 else ("values",)


def side_lines(texts: Sequence[str], failing: Iterable[int] = ()) -> list[Line]:
    """Return a line for each side, one for rows and columns together where their texts agree.

    `failing` are the sides, counted from 0, whose line fails.
    """
    bad = set(failing)
    if len(texts) == 1:
        return [Line("values", texts[0], 0 in bad)]
    first, rows, columns = texts
    return [Line("channels", first, 0 in bad), *size_lines((rows, columns), (1 in bad, 2 in bad))]


def size_lines(texts: tuple[str, str], fails: tuple[bool, bool] = (False, False)) -> list[Line]:
    """Return the lines of rows and columns, one where both have the same text."""
    if texts[0] == texts[1]:
        return [Line("rows, columns", texts[0], any(fails))]
    return [Line("rows", texts[0], fails[0]), Line("columns", texts[1], fails[1])]


def axis_lines(
    label: str, texts: tuple[str, str], fails: tuple[bool, bool] = (False, False)
) -> list[Line]:
    """Return lines that say why, for rows and for columns; one where both say the same.

    An empty text gives no line.
    """
    if texts[0] == texts[1]:
        return [Line(label, texts[0], any(fails))] if texts[0] else []
    named = zip((f"{label}, rows", f"{label}, columns"), texts, fails, strict=True)
    return [Line(name, text, bad) for name, text, bad in named if text]


def signed(number: float) -> str:
    """Return a number as formulas have it: with a true minus, and no decimals it can do without.

    >>> signed(-3), signed(2.0), signed(0.25)
    ('−3', '2', '0.25')
    """
    text = repr(int(number) if float(number).is_integer() else number)
    return text.replace("-", "−")


def by(shape: Iterable[int]) -> str:
    """Return sides joined by ×."""
    return "×".join(map(str, shape))


def unchanged(shape: Shape) -> Line:
    """Return the line of an output that has its input's shape."""
    return Line("shape", f"{by(shape)}, unchanged")


def product(numbers: Sequence[int]) -> str:
    """Return numbers joined by ·."""
    return "·".join(map(str, numbers))


def left_over(unread: NDArray[np.intp], length: int, gone: str = "") -> str:
    """Say which of `length` pixels are left over: how many, and their coordinates.

    >>> left_over(np.array([7]), 8), left_over(np.arange(1, 30, 3), 30), left_over(np.arange(0), 9)
    ('1 of 8: 7', '10 of 30: 1, 4, 7, … 28', 'none')
    """
    count = len(unread)
    if not count:
        return "none"
    few = count <= 4
    told = ", ".join(str(at) for at in (unread if few else unread[:3]))
    return f"{count} of {length}{gone}: {told}" + ("" if few else f", … {unread[-1]}")
