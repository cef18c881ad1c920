"""A comparison of two pipelines as tables for people, and as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from cnnviz.core.comparison import Change, Compared, Comparison, Offset, Side
from cnnviz.core.types import Totals
from cnnviz.view.columns import (
    ABSENT,
    BYTES,
    COLUMNS,
    COUNT,
    NUMBER,
    SHARE,
    SIZE,
    Kind,
    finite,
    resolve_columns,
    row_of,
    safe,
)
from cnnviz.view.records import document, stage_record, totals_record

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

SHOWN = ("name", "layer", "output", "params", "mult_adds")
"""The columns of each side, if nobody asks for others."""

_LEAST = {"layer": 24, "mult_adds": 24, "params": 24}
"""What is given up where a terminal is narrow, in this order: each when names, shortened to so many
cells, leave no room for it."""
_PARTS = "≠"


# --- the table of both -------------------------------------------------------------------------


@dataclass(frozen=True)
class Strip:
    """One column as it is drawn: its title, its cells, and how it gives way."""

    key: str
    title: str
    cells: tuple[str, ...]
    right: bool = False
    side: str = ""  # A or B, written over the first column of it

    @property
    def head(self) -> str:
        """The title under the side's name."""
        return f"{self.side} {self.title}".strip()


def columns_of(comparison: Comparison, columns: Sequence[str] | None) -> list[str]:
    """Return the keys of each side's columns; `index` is that of both."""
    entries = [*comparison.a.entries, *comparison.b.entries]
    keys = resolve_columns(SHOWN if columns is None else columns, entries)
    return [key for key in keys if key != "index"]


def side_by_side(comparison: Comparison, keys: Sequence[str]) -> list[Strip]:
    """Return the strips of both tables, row by row of equal index; the first that parts is marked.

    A pipeline that is shorter has empty cells at the end.
    """
    a, b = comparison.a.entries, comparison.b.entries
    count = max(len(a), len(b))
    indices = tuple(str(index) for index in range(1, count + 1))
    marks = tuple(_PARTS if index == comparison.part_at else "" for index in range(1, count + 1))
    return [
        Strip("index", "#", indices, right=True),
        *_strips("A", comparison.a, keys, count),
        Strip("parts", "", marks),
        *_strips("B", comparison.b, keys, count),
    ]


def _strips(name: str, side: Side, keys: Sequence[str], count: int) -> Iterator[Strip]:
    for key in keys:
        column = COLUMNS[key]
        cells = [column.text(entry) for entry in side.entries]
        cells += [""] * (count - len(cells))
        yield Strip(key, column.title, tuple(cells), right=column.kind.right, side=name)


# --- the table of differences ------------------------------------------------------------------


def _names(one: Compared) -> str:
    names = (safe(one.a.name), safe(one.b.name))
    return names[0] if names[0] == names[1] else " / ".join(names)


def _index(one: Compared) -> str:
    return f"{one.a.index}" if one.a.index == one.b.index else f"{one.a.index}/{one.b.index}"


_AT = Kind(lambda at: ",".join(map(str, at)), lambda at: ",".join(map(str, at)), right=False)
_NUMBERS, _WORDS = Kind(str, str), Kind(str, str, right=False)
_FACTS: Mapping[str, tuple[str, Kind, Callable[[Compared], Any]]] = {
    "index": ("#", _NUMBERS, _index),
    "stage": ("Stage", _WORDS, _names),
    "shape": ("Shape", SIZE, lambda one: one.a.output_shape),
    "max": ("Max |A−B|", NUMBER, lambda one: one.difference.max),
    "at": ("At c,row,col", _AT, lambda one: one.difference.at),
    "a": ("A there", NUMBER, lambda one: (one.difference.values or (None, None))[0]),
    "b": ("B there", NUMBER, lambda one: (one.difference.values or (None, None))[1]),
    "mean": ("Mean |A−B|", NUMBER, lambda one: one.difference.mean),
    "relative": ("‖A−B‖/‖A‖", NUMBER, lambda one: one.difference.relative),
    "share": ("Differ", SHARE, lambda one: one.difference.share),
    "nonfinite_a": ("NaN, ∞ in A", COUNT, lambda one: one.difference.nonfinite[0]),
    "nonfinite_b": ("NaN, ∞ in B", COUNT, lambda one: one.difference.nonfinite[1]),
}
_LEAST_FACTS = {
    "shape": 20,
    "share": 12,
    "nonfinite_a": 8,
    "nonfinite_b": 8,
    "mean": 5,
    "b": 5,
    "a": 5,
    "relative": 5,
    "at": 5,
}


def differences(comparison: Comparison) -> list[Strip]:
    """Return the strips of the table of differences; NaN and ∞ only where there are any."""
    odd = any(any(one.difference.nonfinite) for one in comparison.compared)
    strips = []
    for key, (title, kind, value) in _FACTS.items():
        if key.startswith("nonfinite") and not odd:
            continue
        values = [finite(value(one)) for one in comparison.compared]
        cells = tuple(ABSENT if value is None else kind.text(value) for value in values)
        strips.append(Strip(key, title, cells, right=kind.right))
    return strips


# --- in words ----------------------------------------------------------------------------------


def sums(comparison: Comparison) -> list[str]:
    """Return the totals of both and their ratio, a line each.

    Such as ``params       25,089,000 : 513,000 = 48.9 : 1``.
    """
    a, b = _by_kind(comparison.a.totals), _by_kind(comparison.b.totals)
    lines = []
    for name, (one, kind) in a.items():
        other = b[name][0]
        lines.append(
            f"{name:12} {kind.text(one)} : {kind.text(other)}{_as_ratio(one, other)}".rstrip()
        )
    return lines


def _by_kind(totals: Totals) -> dict[str, tuple[int, Kind]]:
    return {
        "params": (totals.params, COUNT),
        "mult-adds": (totals.macs, COUNT),
        "memory": (totals.memory_bytes, BYTES),
        "peak memory": (totals.peak_bytes, BYTES),
    }


def _as_ratio(a: int, b: int) -> str:
    """Tell a ratio, the smaller as 1.

    >>> _as_ratio(25_089_000, 513_000), _as_ratio(1, 3000), _as_ratio(7, 7), _as_ratio(0, 7)
    (' = 48.9 : 1', ' = 1 : 3,000', ', equal', '')
    """
    if a == b:
        return ", equal"
    if not a or not b:
        return ""
    factor = max(a, b) / min(a, b)
    text = f"{factor:,.0f}" if factor >= 999.5 else f"{factor:.3g}"
    return f" = {text} : 1" if a > b else f" = 1 : {text}"


def shapes_in_words(comparison: Comparison) -> str:
    """Tell whether and where the shapes part."""
    a, b, index = comparison.a, comparison.b, comparison.part_at
    if index is None:
        few = {1: "1 stage", 2: "both stages"}
        stages = few.get(len(a.entries), f"all {len(a.entries)} stages")
        return f"shapes are equal in {stages}"
    if index == 0:
        return f"shapes part at the input: {_by(a.shape)} and {_by(b.shape)}"
    if index > min(len(a.entries), len(b.entries)):
        shorter, longer = ("A", b) if len(a.entries) < len(b.entries) else ("B", a)
        row = row_of(longer.entries[index - 1])
        return f"shapes are equal until {shorter} ends: then comes {safe(row.name)}"
    one, two = row_of(a.entries[index - 1]), row_of(b.entries[index - 1])
    names = f"{safe(one.name)}" if one.name == two.name else f"{safe(one.name)}, {safe(two.name)}"
    return (
        f"shapes part at stage {index} ({names}): "
        f"{_by(one.output_shape)} and {_by(two.output_shape)}"
    )


def shifts_in_words(comparison: Comparison) -> list[str]:
    """Tell where B's windows stand elsewhere than A's, and what that makes in input pixels."""
    lines, told = [], None
    for one in comparison.compared:
        if one.shift is None or one.a.output_shape[1:] == (1, 1):
            continue
        if any(one.shift.window):
            lines.append(f"{_names(one)}: B's windows stand {direction(one.shift.window)}")
        if any(one.shift.input):
            told = f"{_names(one)}: B's values look {direction(one.shift.input)} in the input"
    return [*lines, told] if told else lines


def direction(offset: Offset) -> str:
    """Tell an offset (down, right) in words.

    >>> direction((Fraction(-1), Fraction(-1)))
    '1 pixel further up and left'
    >>> direction((Fraction(2), Fraction(-1, 2)))
    '2 pixels further down and 1/2 pixel further left'
    """
    words = [
        (abs(length), ways[length > 0])
        for length, ways in zip(offset, (("up", "down"), ("left", "right")), strict=True)
        if length
    ]
    if len({length for length, _ in words}) == 1:
        return f"{_pixels(words[0][0])} further {' and '.join(way for _, way in words)}"
    return " and ".join(f"{_pixels(length)} further {way}" for length, way in words)


def _pixels(count: Fraction) -> str:
    return f"{count} pixel{'s' if count > 1 else ''}"


def change_in_words(change: Change) -> str:
    """Tell what a convention changed of a stage.

    >>> change_in_words(Change("conv1", (2, 2, 3, 3), (3, 3, 3, 3), None))
    'conv1 pads 3,3,3,3 instead of 2,2,3,3'
    """
    parts = []
    if change.before != change.after:
        before, after = (",".join(map(str, pads)) for pads in (change.before, change.after))
        parts.append(f"pads {after} instead of {before}")
    if change.counts_padding is not None:
        parts.append(
            "counts its padding" if change.counts_padding else "does not count its padding"
        )
    return f"{safe(change.name)} {' and '.join(parts or ['has other output padding'])}"


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


# --- for people --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ComparisonTable:
    """Both tables side by side, the totals, and the differences, as a console has room for them.

    On a terminal columns give way that do not fit, unless they were asked for; in a pipe or a file
    nothing is left out. Print it with ``crop=False``.
    """

    comparison: Comparison
    columns: tuple[str, ...] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it for this console."""
        from rich.text import Text

        from cnnviz.view.tables import ASCII

        ascii_only = options.ascii_only
        signs = {**ASCII, **str.maketrans({_PARTS: "!", "−": "-", "‖": "|", "∞": "inf"})}

        def say(text: str) -> str:
            return text.translate(signs) if ascii_only else text

        limit = options.max_width if console.is_terminal else None
        end = {"overflow": "fold"} if limit else {"no_wrap": True, "overflow": "ignore"}
        comparison = self.comparison

        def lines(texts: Sequence[str], style: str = "") -> Iterator[Text]:
            for text in texts:
                yield Text(say(text), style, **end)

        keys = columns_of(comparison, self.columns)
        least = {} if self.columns else _LEAST
        strips, dropped = fitting(side_by_side(comparison, keys), limit, least)
        for name, side in (("A", comparison.a), ("B", comparison.b)):
            yield from lines([f"{name}  {safe(side.name)}"], "bold")
        yield from lines([""])
        yield from _drawn(strips, console, options, say)
        yield from lines([shapes_in_words(comparison), *sums(comparison)])
        yield from lines([""])
        facts = list[str]()
        if comparison.compared:
            strips, facts = fitting(differences(comparison), limit, _LEAST_FACTS)
            yield from _drawn(strips, console, options, say)
        yield from lines(conclusions(comparison))
        left_out = [f"{', '.join(dropped)} (as does --columns)"] if dropped else []
        left_out += [f"in the differences: {', '.join(facts)}"] if facts else []
        if left_out:
            yield from lines([f"… a wider terminal shows: {'; '.join(left_out)}"], "dim")


def conclusions(comparison: Comparison) -> list[str]:
    """Return what follows from the differences, or that there are none to tell, in words."""
    if not comparison.compared:
        return ["no two stages of equal index have outputs of one shape"]
    lines = shifts_in_words(comparison)
    if not any(one.difference.share for one in comparison.compared):
        lines.append("A and B are equal in every value of these stages")
    return lines


def fitting(
    strips: Sequence[Strip], limit: int | None, least: Mapping[str, int]
) -> tuple[list[Strip], list[str]]:
    """Return the strips that fit, and the keys given up: the `least` important first.

    Each gives way to names of as many cells as `least` says; one of them stays if there is room for
    it after all. At last long names lose their middle.
    """
    dropped = list[str]()
    if limit is None:
        return list(strips), dropped

    def without(keys: Sequence[str], room: int) -> list[Strip]:
        return [_shortened(strip, room) for strip in strips if strip.key not in keys]

    there = {strip.key for strip in strips}
    for key, room in least.items():
        if key in there and _width(without(dropped, room)) > limit:
            dropped.append(key)
    for key in reversed(dropped):
        fewer = [other for other in dropped if other != key]
        if _width(without(fewer, least[key])) <= limit:
            dropped = fewer
    longest = max(map(_strip_width, strips), default=0)
    fits = (room for room in range(longest, 5, -1) if _width(without(dropped, room)) <= limit)
    return without(dropped, next(fits, 5)), dropped


def _shortened(strip: Strip, room: int) -> Strip:
    """Take the middle out of names of more than so many cells."""
    from cnnviz.view.tables import shorten_middle

    if strip.key not in ("name", "stage"):
        return strip
    return replace(strip, cells=tuple(shorten_middle(cell, room) for cell in strip.cells))


def _strip_width(strip: Strip) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, (*strip.head.split(" "), *strip.cells)))


def _width(strips: Sequence[Strip]) -> int:
    from cnnviz.view.tables import GAP

    return sum(map(_strip_width, strips)) + GAP * (len(strips) - 1)


def _drawn(
    strips: Sequence[Strip], console: Console, options: ConsoleOptions, say: Callable[[str], str]
) -> RenderResult:
    """Draw strips with Rich; their cells are plain text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from cnnviz.view.tables import GAP

    table = Table(
        box=box.SIMPLE,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, GAP - 1),
        header_style="bold",
    )
    styles = {"index": "dim", "name": "bold", "stage": "bold", "parts": "bold yellow"}
    for strip in strips:
        table.add_column(
            Text(say(strip.head.replace(" ", "\n"))),
            justify="right" if strip.right else "left",
            style=styles.get(strip.key, ""),
            vertical="bottom",
            width=_strip_width(strip),
            no_wrap=True,
            overflow="crop",
        )
    for cells in zip_longest(*(strip.cells for strip in strips), fillvalue=""):
        table.add_row(*(Text(say(cell)) for cell in cells))
    yield from console.render(table, options.update(width=_width(strips), height=None))


# --- for programs ------------------------------------------------------------------------------


def comparison_record(
    version: str,
    source: str,
    comparison: Comparison,
    ends: tuple[Any, Any],
    notes: Sequence[str],
    files: Sequence[str],
) -> dict[str, Any]:
    """Return the comparison's JSON object; `ends` are the inputs' smallest and largest values."""
    a, b = (
        document(
            version,
            source,
            side.shape,
            of_side,
            side.text,
            [stage_record(row_of(entry)) for entry in side.entries],
            side.totals,
        )
        for side, of_side in zip((comparison.a, comparison.b), ends, strict=True)
    )
    sums_a, sums_b = a["totals"], b["totals"]
    return {
        "cnnviz": version,
        "input": a["input"],
        "a": a,
        "b": b,
        "ratio": {
            name: sums_a[name] / sums_b[name] if sums_b[name] else None
            for name in totals_record(comparison.a.totals)
        },
        "part_at": comparison.part_at,
        "differences": [_difference_record(one) for one in comparison.compared],
        "notes": list(notes),
        "files": list(files),
    }


def _difference_record(one: Compared) -> dict[str, Any]:
    found, shift = one.difference, one.shift
    return {
        "index": one.a.index,
        "index_b": one.b.index,
        "names": [one.a.name, one.b.name],
        "shape": list(one.a.output_shape),
        "max": finite(found.max),
        "mean": finite(found.mean),
        "relative": finite(found.relative),
        "at": None if found.at is None else list(found.at),
        "values": None if found.values is None else [finite(value) for value in found.values],
        "share": found.share,
        "nonfinite": list(found.nonfinite),
        "window_shift": None if shift is None else [float(part) for part in shift.window],
        "input_shift": None if shift is None else [float(part) for part in shift.input],
    }


def comparison_csv(comparison: Comparison, columns: Sequence[str] | None) -> str:
    """Return a line for each index: A's columns, B's, and how their outputs differ.

    Empty where a pipeline has no such stage or their shapes differ; of two last stages that have
    not the same index the difference is not in it.
    """
    keys = columns_of(comparison, columns)
    facts = [key for key in _FACTS if key not in ("index", "stage", "shape")]
    by_index = {one.a.index: one for one in comparison.compared if one.a.index == one.b.index}
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["index", *(f"a_{key}" for key in keys), *(f"b_{key}" for key in keys), *facts])
    sides = (comparison.a.entries, comparison.b.entries)
    for index in range(1, max(map(len, sides)) + 1):
        cells = [
            COLUMNS[key].plain(entries[index - 1]) if index <= len(entries) else ""
            for entries in sides
            for key in keys
        ]
        one = by_index.get(index)
        writer.writerow([index, *cells, *(_plain(key, one) for key in facts)])
    return file.getvalue()


def _plain(key: str, one: Compared | None) -> str:
    if one is None:
        return ""
    _, kind, value = _FACTS[key]
    found = finite(value(one))
    return "" if found is None else kind.plain(found)


def comparison_markdown(comparison: Comparison, columns: Sequence[str] | None) -> str:
    """Return both tables as GitHub has them, and what is told in words as a list."""
    both = _markdown(side_by_side(comparison, columns_of(comparison, columns)))
    words = [shapes_in_words(comparison), *(" ".join(line.split()) for line in sums(comparison))]
    parts = [both, "\n".join(f"- {line}" for line in words)]
    if comparison.compared:
        parts.append(_markdown(differences(comparison)))
    if found := conclusions(comparison):
        parts.append("\n".join(f"- {line}" for line in found))
    return "\n\n".join(parts) + "\n"


def _markdown(strips: Sequence[Strip]) -> str:
    lines = [
        [strip.head for strip in strips],
        ["---:" if strip.right else "---" for strip in strips],
        *map(list, zip(*(strip.cells for strip in strips), strict=True)),
    ]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")
