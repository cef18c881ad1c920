"""A comparison of two pipelines as tables, in words, and as JSON and CSV have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from cnnviz.core.comparison import Change, Compared, Comparison, Offset
from cnnviz.core.types import Stage, Totals, size_text
from cnnviz.errors import safe
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
    strip,
)
from cnnviz.view.records import document, stage_record, totals_record
from cnnviz.view.report import Lines, Report, Strip, Table

SHOWN = ("name", "layer", "output", "params", "mult_adds")
"""The columns of each side, if no others are asked for."""

# --- the table of both -------------------------------------------------------------------------


def columns_of(comparison: Comparison, columns: Sequence[str] | None) -> list[str]:
    """Return the keys of each side's columns; `index` is that of both."""
    entries = [*comparison.a.entries, *comparison.b.entries]
    keys = resolve_columns(SHOWN if columns is None else columns, entries)
    return [key for key in keys if key != "index"]


def side_by_side(comparison: Comparison, columns: Sequence[str] | None) -> Table:
    """Return both tables, row by row of equal index; the first that parts is marked.

    A pipeline that is shorter has empty cells at the end.
    """
    count = max(len(comparison.a.entries), len(comparison.b.entries))
    numbers = range(1, count + 1)
    marks = ["≠" if number == comparison.part_at else "" for number in numbers]
    parts = Strip("parts", "", marks, style="bold yellow")
    strips = [Strip("index", "#", list(map(str, numbers)), right=True, style="dim")]
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        strips += [parts] * (name == "B")
        for key in columns_of(comparison, columns):
            one = strip(key, side.entries)
            cells = [*one.cells, *[""] * (count - len(one.cells))]
            title = f"{name} {one.title}".replace(" ", "\n")
            strips.append(one._replace(title=title, cells=cells))
    return Table(strips, fixed=columns is not None, wider="a wider terminal, or --columns,")


# --- the table of differences ------------------------------------------------------------------


def _names(one: Compared) -> str:
    names = (safe(one.a.name), safe(one.b.name))
    return names[0] if names[0] == names[1] else " / ".join(names)


def _index(one: Compared) -> str:
    return f"{one.a.index}" if one.a.index == one.b.index else f"{one.a.index}/{one.b.index}"


_AT = Kind(lambda at: ",".join(map(str, at)), lambda at: ",".join(map(str, at)), right=False)
_NUMBERS, _WORDS = Kind(str, str), Kind(str, str, right=False)
_FACTS: Mapping[str, tuple[str, Kind, float, Callable[[Compared], Any]]] = {
    # title, kind, how soon it gives way, value
    "index": ("#", _NUMBERS, 0, _index),
    "stage": ("Stage", _WORDS, 0, _names),
    "shape": ("Shape", SIZE, 9, lambda one: one.a.output_shape),
    "max": ("Max\n|A−B|", NUMBER, 1, lambda one: one.difference.max),
    "at": ("At\nc,row,col", _AT, 3, lambda one: one.difference.at),
    "a": ("A\nthere", NUMBER, 4, lambda one: (one.difference.values or (None, None))[0]),
    "b": ("B\nthere", NUMBER, 5, lambda one: (one.difference.values or (None, None))[1]),
    "mean": ("Mean\n|A−B|", NUMBER, 6, lambda one: one.difference.mean),
    "relative": ("‖A−B‖/‖A‖", NUMBER, 2, lambda one: one.difference.relative),
    "share": ("Differ", SHARE, 8, lambda one: one.difference.share),
    "nonfinite_a": ("NaN,\n∞\nin\nA", COUNT, 7, lambda one: one.difference.nonfinite[0]),
    "nonfinite_b": ("NaN,\n∞\nin\nB", COUNT, 7, lambda one: one.difference.nonfinite[1]),
}
_STYLES = {"index": "dim", "stage": "bold"}


def differences(comparison: Comparison) -> Table:
    """Return the table of differences; NaN and ∞ only where there are any."""
    odd = any(any(one.difference.nonfinite) for one in comparison.compared)
    strips = []
    for key, (title, kind, importance, value) in _FACTS.items():
        if key.startswith("nonfinite") and not odd:
            continue
        values = [finite(value(one)) for one in comparison.compared]
        cells = [ABSENT if value is None else kind.text(value) for value in values]
        strips.append(
            Strip(
                key, title, cells, kind.right, importance, style=_STYLES.get(key, ""),
                least=5 * (key == "stage"),
            )
        )  # fmt: skip
    return Table(strips)


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
    """Write a ratio, the smaller as 1.

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
    """Say whether and where the shapes part."""
    a, b, index = comparison.a, comparison.b, comparison.part_at
    if index is None:
        few = {1: "1 stage", 2: "both stages"}
        stages = few.get(len(a.entries), f"all {len(a.entries)} stages")
        return f"shapes are equal in {stages}"
    if index == 0:
        return f"shapes part at the input: {size_text(a.shape)} and {size_text(b.shape)}"
    if index > min(len(a.entries), len(b.entries)):
        shorter, longer = ("A", b) if len(a.entries) < len(b.entries) else ("B", a)
        row = row_of(longer.entries[index - 1])
        return f"shapes are equal until {shorter} ends: then comes {safe(row.name)}"
    one, two = row_of(a.entries[index - 1]), row_of(b.entries[index - 1])
    names = f"{safe(one.name)}" if one.name == two.name else f"{safe(one.name)}, {safe(two.name)}"
    return (
        f"shapes part at stage {index} ({names}): "
        f"{size_text(one.output_shape)} and {size_text(two.output_shape)}"
    )


def shifts_in_words(comparison: Comparison) -> list[str]:
    """Say where B's windows stand elsewhere than A's, and what that makes in input pixels."""
    lines, on_input = [], None
    for one in comparison.compared:
        if one.shift is None or one.a.output_shape[1:] == (1, 1):
            continue
        if any(one.shift.window):
            lines.append(f"{_names(one)}: B's windows stand {direction(one.shift.window)}")
        if any(one.shift.input):
            on_input = f"{_names(one)}: B's values look {direction(one.shift.input)} in the input"
    return [*lines, on_input] if on_input else lines


def direction(offset: Offset) -> str:
    """Write an offset (down, right) in words.

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
    """Say what a convention changed of a stage.

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


def conclusions(comparison: Comparison) -> list[str]:
    """Return what follows from the differences, or that there are none, in words."""
    if not comparison.compared:
        return ["no two stages of equal index have outputs of one shape"]
    lines = shifts_in_words(comparison)
    if not any(one.difference.share for one in comparison.compared):
        lines.append("A and B are equal in every value of these stages")
    return lines


# --- for programs ------------------------------------------------------------------------------


def comparison_record(
    version: str,
    source: str | None,
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


def comparison_rows(
    comparison: Comparison, columns: Sequence[str] | None
) -> Iterator[Sequence[object]]:
    """Yield a line for each index: A's columns, B's, and how their outputs differ.

    Empty where a pipeline has no such stage or their shapes differ; of two last stages that have
    not the same index the difference is not in it.
    """
    keys = columns_of(comparison, columns)
    facts = [key for key in _FACTS if key not in ("index", "stage", "shape")]
    by_index = {one.a.index: one for one in comparison.compared if one.a.index == one.b.index}
    yield ["index", *(f"a_{key}" for key in keys), *(f"b_{key}" for key in keys), *facts]
    sides = (comparison.a.entries, comparison.b.entries)
    for index in range(1, max(map(len, sides)) + 1):
        cells = [
            COLUMNS[key].plain(entries[index - 1]) if index <= len(entries) else ""
            for entries in sides
            for key in keys
        ]
        one = by_index.get(index)
        yield [index, *cells, *(_plain(key, one) for key in facts)]


def _plain(key: str, one: Compared | None) -> str:
    if one is None:
        return ""
    _, kind, _, value = _FACTS[key]
    found = finite(value(one))
    return "" if found is None else kind.plain(found)


def comparison_report(
    comparison: Comparison, columns: Sequence[str] | None, record: Mapping[str, Any]
) -> Report:
    """Return both tables side by side, the totals, and the differences."""
    sides = (("A", comparison.a), ("B", comparison.b))
    parts: list[Table | Lines] = [
        Lines([f"{name}  {safe(side.name)}" for name, side in sides], "bold"),
        Lines([""]),
        side_by_side(comparison, columns),
        Lines([shapes_in_words(comparison), *sums(comparison)]),
        Lines([""]),
    ]
    if comparison.compared:
        parts.append(differences(comparison))
    if any(isinstance(entry, Stage) for entry in comparison.a.entries):
        parts.append(Lines(conclusions(comparison)))
    return Report(record, parts, comparison_rows(comparison, columns))
