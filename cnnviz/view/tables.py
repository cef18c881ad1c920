"""Rows and stages as a table for people (Rich, Markdown) or for programs (JSON, CSV).

Everything a column knows stands in one line of `COLUMNS`: its key for ``--columns`` and CSV, its
title, where its value comes from, how it reads, how much it matters and what its footer says.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cnnviz.core.types import Row, Stage, Statistics, Totals
from cnnviz.errors import RequestError, unknown

Entry: TypeAlias = Row | Stage
"""A table is made of either: what a pipeline promises, or what it computed."""

ABSENT = "–"


# --- how values read ---------------------------------------------------------------------------


def _number(value: float) -> str:
    """Show four significant digits, and never -0.

    >>> [_number(v) for v in (0.123456, -0.0, 255, 12345.6, 1.5e-7)]
    ['0.1235', '0', '255', '12,346', '1.5e-07']
    """
    if value == 0:
        return "0"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.4g}"


def _bytes(count: int) -> str:
    """Show a size in units of 1024.

    >>> [_bytes(n) for n in (40, 4000, 12_845_056)]
    ['40 B', '3.91 KB', '12.25 MB']
    """
    if count < 1024:
        return f"{count} B"
    size, units = count / 1024, ["TB", "GB", "MB", "KB"]
    while round(size, 2) >= 1024 and len(units) > 1:
        size /= 1024
        units.pop()
    return f"{size:,.2f} {units[-1]}"


def _percent(fraction: float) -> str:
    """Show a fraction as percent; only a true 0 or 1 says so.

    >>> [_percent(z) for z in (0, 0.00001, 0.5, 0.99999, 1)]
    ['0%', '<0.1%', '50.0%', '>99.9%', '100%']
    """
    if fraction in {0, 1}:
        return f"{fraction:.0%}"
    if fraction < 0.0005:
        return "<0.1%"
    return ">99.9%" if fraction >= 0.9995 else f"{fraction:.1%}"


def _seconds(seconds: float) -> str:
    """Show a duration.

    >>> [_seconds(s) for s in (0.0000031, 0.00123, 0.25, 12.34)]
    ['3 µs', '1.2 ms', '250 ms', '12.3 s']
    """
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.1f} ms" if seconds < 0.09995 else f"{seconds * 1e3:.0f} ms"
    return f"{seconds:,.1f} s"


def _safe(text: str) -> str:
    """Keep a user's text from steering the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _join(sign: str) -> Callable[[Sequence[float]], str]:
    return lambda values: sign.join(f"{value:g}" for value in values)


def _size(sign: str) -> Callable[[Sequence[float]], str]:
    return lambda values: sign.join(f"{value:d}" for value in map(int, values))


def _step(values: Sequence[float]) -> str:
    """Show one number for both directions where it is the same."""
    return f"{values[0]:g}" if len(set(values)) == 1 else _join("×")(values)


@dataclass(frozen=True)
class Kind:
    """How a kind of value reads: to people, and to programs in CSV."""

    text: Callable[[Any], str]
    plain: Callable[[Any], str]
    right: bool = True  # aligned


TEXT = Kind(_safe, str, right=False)
NAMES = Kind(lambda names: _safe(", ".join(names)), " ".join, right=False)
COUNT = Kind("{:,}".format, str)
NUMBER = Kind(_number, repr)
SHARE = Kind(_percent, repr)
BYTES = Kind(_bytes, str)
TIME = Kind(_seconds, repr)
SIZE = Kind(_size("×"), _size("x"))
STEP = Kind(_step, _join("x"))
PADS = Kind(_join(","), _join(","))


# --- the columns -------------------------------------------------------------------------------

Field: TypeAlias = Callable[[Row], Any]
Fact: TypeAlias = Callable[[Stage], Any]
Footer: TypeAlias = Callable[[Totals, Sequence[Entry]], Any]


@dataclass(frozen=True)
class Column:
    """One column of every table."""

    title: str
    help: str
    kind: Kind
    row: Field | None = None  # the value, from a row …
    stage: Fact | None = None  # … or only from a computed stage
    importance: int | None = None  # 1 stays longest in a narrow terminal; None: only if asked for
    footer: Footer | None = None

    def value(self, entry: Entry) -> Any:
        """Return the raw value; None where it is absent, NaN or infinite."""
        if self.row:
            value = self.row(_row(entry))
        else:
            assert self.stage is not None  # noqa: S101
            value = self.stage(entry) if isinstance(entry, Stage) else None
        return _finite(value)

    def text(self, entry: Entry) -> str:
        """Return what people read."""
        value = self.value(entry)
        return ABSENT if value is None else self.kind.text(value)

    def plain(self, entry: Entry) -> str:
        """Return what programs read, empty where there is nothing."""
        value = self.value(entry)
        return "" if value is None else self.kind.plain(value)

    def total(self, totals: Totals, entries: Sequence[Entry]) -> str:
        """Return the footer."""
        return self.kind.text(self.footer(totals, entries)) if self.footer else ""


def _total_seconds(_: Totals, entries: Sequence[Entry]) -> float:
    return sum(entry.seconds for entry in entries if isinstance(entry, Stage))


COLUMNS: Mapping[str, Column] = {
    "index": Column(
        "#", "the stage's number, 1 for the first", COUNT, lambda r: r.index, importance=4
    ),
    "layer": Column(
        "Layer", "what it does, by the layer's name", TEXT, lambda r: r.layer, importance=3
    ),
    "name": Column(
        "Name", "what it is called", TEXT, lambda r: r.name, importance=1, footer=lambda *_: "Total"
    ),
    "kernel": Column(
        "Kernel", "the window, rows × columns", SIZE, lambda r: r.kernel_size, importance=6
    ),
    "stride": Column(
        "Stride", "pixels from window to window", STEP, lambda r: r.stride, importance=11
    ),
    "padding": Column(
        "Padding (t,l,b,r)",
        "pixels added at the top, left, bottom, right",
        PADS,
        lambda r: r.padding,
        importance=13,
    ),
    "input": Column(
        "Input",
        "channels × rows × columns that go in",
        SIZE,
        lambda r: r.input_shape,
        importance=17,
    ),
    "output": Column("Output", "what comes out", SIZE, lambda r: r.output_shape, importance=2),
    "params": Column(
        "Params",
        "trained numbers, weights and biases",
        COUNT,
        lambda r: r.params,
        importance=5,
        footer=lambda totals, _: totals.params,
    ),
    "mult_adds": Column(
        "Mult-Adds",
        "multiplications with weights, biases not counted",
        COUNT,
        lambda r: r.macs,
        importance=10,
        footer=lambda totals, _: totals.macs,
    ),
    "rf": Column(
        "RF",
        "receptive field: input pixels one value may depend on",
        SIZE,
        lambda r: r.receptive_field,
        importance=14,
    ),
    "eff_stride": Column(
        "Eff. stride",
        "input pixels between neighbouring values",
        STEP,
        lambda r: r.effective_stride,
        importance=18,
    ),
    "memory": Column(
        "Memory",
        "the output as float32",
        BYTES,
        lambda r: r.memory_bytes,
        importance=15,
        footer=lambda totals, _: totals.memory_bytes,
    ),
    "min": Column(
        "Min", "smallest finite value", NUMBER, stage=lambda s: s.statistics.min, importance=7
    ),
    "max": Column(
        "Max", "largest finite value", NUMBER, stage=lambda s: s.statistics.max, importance=8
    ),
    "mean": Column(
        "Mean",
        "mean of the finite values",
        NUMBER,
        stage=lambda s: s.statistics.mean,
        importance=12,
    ),
    "zeros": Column(
        "Zeros",
        "share of values that are exactly 0",
        SHARE,
        stage=lambda s: s.statistics.zeros,
        importance=9,
    ),
    "time": Column(
        "Time",
        "of computing it",
        TIME,
        stage=lambda s: s.seconds,
        importance=16,
        footer=_total_seconds,
    ),
    "dilation": Column(
        "Dilation", "pixels from cell to cell of a window", STEP, lambda r: r.dilation
    ),
    "groups": Column(
        "Groups", "groups of channels that keep to themselves", COUNT, lambda r: r.groups
    ),
    "eff_padding": Column(
        "Eff. padding (t,l,b,r)",
        "input pixels of padding the first and last values see",
        PADS,
        lambda r: r.effective_padding,
    ),
    "inputs": Column("Inputs", "the stages it reads", NAMES, lambda r: r.inputs),
    "settings": Column("Settings", "the layer as pipeline text", TEXT, lambda r: r.text),
    "weights": Column(
        "Weights", "where they come from: kernels, drawn, set, loaded", TEXT, lambda r: r.weights
    ),
    "algorithm": Column("Algorithm", "which one computed it", TEXT, stage=lambda s: s.algorithm),
}

DEFAULT = "default"
ALL = "all"


def parse_columns(text: str) -> tuple[str, ...] | None:
    """Read ``--columns``: keys in the order wanted; None for the default table.

    ``default`` stands for the default columns and ``all`` for every one, alone or among keys.

    >>> parse_columns("name, output, mult-adds")
    ('name', 'output', 'mult_adds')
    >>> parse_columns("default,dilation")
    ('default', 'dilation')
    >>> parse_columns("default") is None
    True
    """
    keys = [part.strip().lower().replace("-", "_") for part in text.split(",")]
    keys = [key for key in keys if key]
    if not keys:
        raise RequestError("--columns names no column", hint=f"choose from {', '.join(COLUMNS)}")
    for key in keys:
        if key not in {*COLUMNS, DEFAULT, ALL}:
            raise unknown("column", key, [*COLUMNS, DEFAULT, ALL])
    return None if keys == [DEFAULT] else tuple(dict.fromkeys(keys))


def _default_keys(entries: Sequence[Entry]) -> list[str]:
    shown = _available(entries)
    return [key for key in shown if COLUMNS[key].importance is not None]


def _available(entries: Sequence[Entry]) -> list[str]:
    """Return all keys, without those that only a run fills if there was none."""
    ran = any(isinstance(entry, Stage) for entry in entries)
    return [key for key, column in COLUMNS.items() if ran or column.row]


def _chosen(columns: Sequence[str] | None, entries: Sequence[Entry]) -> list[str]:
    """Resolve what was asked for to keys, each once."""
    stands_for = {DEFAULT: _default_keys(entries), ALL: _available(entries)}
    keys: dict[str, None] = {}
    for key in (DEFAULT,) if columns is None else columns:
        keys |= dict.fromkeys(stands_for.get(key, [key]))
    return list(keys)


def _row(entry: Entry) -> Row:
    return entry.row if isinstance(entry, Stage) else entry


# --- for programs ------------------------------------------------------------------------------


def stage_record(entry: Entry, files: Sequence[str] = ()) -> dict[str, object]:
    """Return one stage as JSON has it; what a row alone cannot know is null."""
    row = _row(entry)
    stage = entry if isinstance(entry, Stage) else None
    facts = stage.statistics if stage else Statistics(None, None, None, math.nan, 0)
    return {
        "index": row.index,
        "name": row.name,
        "layer": row.layer,
        "settings": _json(row.settings),
        "inputs": list(row.inputs),
        "kernel_size": _list(row.kernel_size),
        "stride": _list(row.stride),
        "padding": _list(row.padding),
        "dilation": _list(row.dilation),
        "groups": row.groups,
        "input_shape": _list(row.input_shape),
        "output_shape": _list(row.output_shape),
        "params": row.params,
        "mult_adds": row.macs,
        "receptive_field": _list(row.receptive_field),
        "effective_stride": _list(row.effective_stride),
        "effective_padding": _list(row.effective_padding),
        "memory_bytes": row.memory_bytes,
        "algorithm": stage.algorithm if stage else None,
        "min": _finite(facts.min),
        "max": _finite(facts.max),
        "mean": _finite(facts.mean),
        "zeros": _finite(facts.zeros),
        "seconds": _finite(stage.seconds) if stage else None,
        "files": list(files),
    }


def totals_record(totals: Totals) -> dict[str, object]:
    """Return the sums as JSON has them."""
    return {
        "params": totals.params,
        "mult_adds": totals.macs,
        "memory_bytes": totals.memory_bytes,
        "peak_bytes": totals.peak_bytes,
    }


def json_text(record: Mapping[str, object]) -> str:
    """Return one line of JSON; NaN and the infinities are null.

    >>> json_text({"path": "Föhn.png", "min": float("nan")})
    '{"path": "Föhn.png", "min": null}'
    """
    text = json.dumps(_json(record), ensure_ascii=False, allow_nan=False)
    # A file name that is not UTF-8 holds lone surrogates, which no pipe takes: escape them.
    return text.encode("utf-8", "backslashreplace").decode()


def csv_text(
    entries: Sequence[Entry],
    *,
    columns: Sequence[str] | None = None,
    timing: bool = True,
) -> str:
    r"""Return the table as CSV (RFC 4180): keys in the first line, no totals.

    All columns unless some are named; those that only a run fills are left out before one.
    Numbers are for machines: ``64x112x112``, ``3x3``, ``"1,1,1,1"``, exact bytes and seconds.
    Without timing two runs give the same text, as ``shapes.csv`` must.
    """
    keys = _chosen((ALL,) if columns is None else columns, entries)
    if not timing:
        keys = [key for key in keys if key != "time"]
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(keys)
    writer.writerows([COLUMNS[key].plain(entry) for key in keys] for entry in entries)
    return file.getvalue()


def _list(values: Iterable[float] | None) -> list[int | float | None] | None:
    return None if values is None else [_whole(_finite(value)) for value in values]


def _whole(value: float | None) -> int | float | None:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _finite(value: Any) -> Any:
    """Return None for NaN and infinities, and 0 for -0."""
    if not isinstance(value, float):
        return value
    return value + 0.0 if math.isfinite(value) else None


def _json(value: Mapping[str, object]) -> Any:
    # Through text and back: NaN and the infinities are read as null.
    return json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


# --- for people --------------------------------------------------------------------------------


def markdown_text(
    entries: Sequence[Entry], totals: Totals, columns: Sequence[str] | None = None
) -> str:
    """Return a GitHub table with the totals as its last row, aligned to be read as text too."""
    shown = [COLUMNS[key] for key in _chosen(columns, entries)]
    lines = [
        [column.title for column in shown],
        *([column.text(entry) for column in shown] for entry in entries),
        [column.total(totals, entries) for column in shown],
    ]
    lines = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(3, *map(cell_len, cells)) for cells in zip(*lines, strict=True)]

    def join(cells: Sequence[str]) -> str:
        parts = []
        for cell, width, column in zip(cells, widths, shown, strict=True):
            space = " " * (width - cell_len(cell))
            parts.append(space + cell if column.kind.right else cell + space)
        return f"| {' | '.join(parts)} |"

    rules = [
        "-" * (width - 1) + ":" if column.kind.right else "-" * width
        for width, column in zip(widths, shown, strict=True)
    ]
    head, *body = lines
    rest = _summary(totals, without=_chosen(columns, entries))
    text = [join(head), f"| {' | '.join(rules)} |", *map(join, body), "", rest]
    return "\n".join(text) + "\n"


def render_table(
    entries: Sequence[Entry],
    totals: Totals,
    *,
    columns: Sequence[str] | None = None,
    title: str | None = None,
) -> StageTable:
    """Return the table to print: ``console.print(table, crop=False)``."""
    return StageTable(tuple(entries), totals, None if columns is None else tuple(columns), title)


@dataclass(frozen=True)
class StageTable:
    """A table that fits the terminal it is printed on.

    On a terminal the default table leaves out what does not fit, the least important columns
    first (`Column.importance`: name, output, layer, #, params, kernel, min, max, zeros,
    mult-adds, stride, mean, padding, …), and says which; a smaller column may stay where a
    larger one before it did not fit. Numbers are never wrapped or cut; only a long name loses
    its middle. Columns asked for are all shown, and in a pipe or a file the table is complete,
    however wide: print it with ``crop=False``.
    """

    entries: tuple[Entry, ...]
    totals: Totals
    columns: tuple[str, ...] | None = None
    title: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the columns for this console and draw them."""
        say = (lambda text: text.translate(ASCII)) if options.ascii_only else str
        strips = {
            key: _Strip.of(COLUMNS[key], self.entries, self.totals, say)
            for key in _chosen(self.columns, self.entries)
        }
        limit = options.max_width if self.columns is None and console.is_terminal else None
        shown = strips if limit is None else _fit(strips, limit)
        dropped = [key for key in strips if key not in shown]

        lines = [_safe(self.title)] if self.title else []
        yield from _lines(lines, "bold", limit)
        drawn = options.update(width=_width(shown.values()), height=None)
        yield from console.render(_draw(shown), drawn)
        lines = [say(_summary(self.totals, without=shown))]
        if dropped:
            lines.append(say(f"… --columns or a wider terminal shows: {', '.join(dropped)}"))
        yield from _lines(lines, "dim", limit)
        yield from _lines([warning] if (warning := _warning(self.entries)) else [], "yellow", limit)


GAP = 2  # cells between columns
LONG_NAME = 24  # cells a name may take before it gives way to other columns
ASCII = str.maketrans({"×": "x", "…": "~", ABSENT: "-", "·": "|", "µ": "u"})


@dataclass(frozen=True)
class _Strip:
    """One column's cells as they are drawn."""

    column: Column
    head: str
    body: tuple[str, ...]
    foot: str

    @classmethod
    def of(
        cls, column: Column, entries: Sequence[Entry], totals: Totals, say: Callable[[str], str]
    ) -> _Strip:
        body = tuple(say(column.text(entry)) for entry in entries)
        return cls(column, column.title, body, say(column.total(totals, entries)))

    @property
    def width(self) -> int:
        return max(map(cell_len, (*self.head.split("\n"), *self.body, self.foot)))

    def stacked(self) -> _Strip:
        """Put a title of several words on several lines."""
        return replace(self, head=self.head.replace(" ", "\n"))

    def shortened(self, width: int) -> _Strip:
        return replace(self, body=tuple(_shorten(cell, width) for cell in self.body))


def _shorten(text: str, width: int) -> str:
    """Cut a long name in its middle, for names differ at both ends.

    >>> _shorten("layer4.1.downsample.0", 16)
    'layer4.1…ample.0'
    """
    if cell_len(text) <= width:
        return text
    room = max(width - 1, 0)
    tail = set_cell_size(text[::-1], room // 2)[::-1]
    return f"{set_cell_size(text, room - room // 2)}…{tail}"


def _width(strips: Iterable[_Strip]) -> int:
    widths = [strip.width for strip in strips]
    return sum(widths) + GAP * (len(widths) - 1)


def _fit(strips: Mapping[str, _Strip], limit: int) -> dict[str, _Strip]:
    """Keep the most important columns that fit, in their usual order."""
    if _width(strips.values()) <= limit:
        return dict(strips)
    strips = {key: strip.stacked() for key, strip in strips.items()}
    short = {**strips, "name": strips["name"].shortened(LONG_NAME)}
    kept: set[str] = set()
    for key in sorted(short, key=lambda key: short[key].column.importance or 0):
        if not kept or _width(short[k] for k in (*kept, key)) <= limit:
            kept.add(key)
    rest = [strips[key] for key in strips if key in kept and key != "name"]
    room = limit - _width(rest) - GAP if rest else limit
    names = strips["name"].shortened(room)
    return {key: {**strips, "name": names}[key] for key in strips if key in kept}


def _draw(strips: Mapping[str, _Strip]) -> Table:
    """Draw the cells with Rich; they are plain text, never markup."""
    table = Table(
        box=box.SIMPLE,
        show_edge=False,
        show_footer=any(strip.foot for key, strip in strips.items() if key != "name"),
        pad_edge=False,
        collapse_padding=True,
        padding=(0, GAP - 1),
        header_style="bold",
        footer_style="bold",
    )
    styles = {"index": "dim", "name": "bold"}
    for key, strip in strips.items():
        table.add_column(
            Text(strip.head),
            Text(strip.foot),
            justify="right" if strip.column.kind.right else "left",
            style=styles.get(key, ""),
            vertical="bottom",
            width=strip.width,
            no_wrap=True,
            overflow="crop",  # "ignore" would skip justify; the width is exact, nothing is cut
        )
    for cells in zip(*(strip.body for strip in strips.values()), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _summary(totals: Totals, without: Iterable[str] = ()) -> str:
    """Return the totals that no footer shows; the peak has no column."""
    sums = {
        "params": f"total params {COUNT.text(totals.params)}",
        "mult_adds": f"total mult-adds {COUNT.text(totals.macs)}",
        "memory": f"total memory {BYTES.text(totals.memory_bytes)}",
        "peak": f"peak memory {BYTES.text(totals.peak_bytes)} (alive at once, input included)",
    }
    shown = set(without)
    text = " · ".join(text for key, text in sums.items() if key not in shown)
    return text[0].upper() + text[1:]


def _warning(entries: Sequence[Entry]) -> str:
    """Name the stages whose minimum, maximum and mean do not tell of every value."""
    bad = [
        f"{_safe(entry.row.name)} ({entry.statistics.nonfinite:,})"
        for entry in entries
        if isinstance(entry, Stage) and entry.statistics.nonfinite
    ]
    return f"NaN or infinite values: {', '.join(bad)}" if bad else ""


def _lines(lines: Sequence[str], style: str, limit: int | None) -> Iterator[Text]:
    for line in lines:
        if limit is None:
            yield Text(line, style, no_wrap=True, overflow="ignore")
        else:
            yield Text(line, style, overflow="fold")
