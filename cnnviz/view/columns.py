"""The columns of a table of stages: what each one holds, and how its values read.

Everything about a column stands in one entry of `COLUMNS`: its key for ``--columns`` and CSV, its
title, where its value comes from, how it reads, how much it matters and what its footer says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from cnnviz.core.types import Row, Stage, Totals, size_text
from cnnviz.errors import RequestError, safe, unknown
from cnnviz.view.numbers import format_bytes, format_percent, format_seconds, format_value
from cnnviz.view.report import LONG_NAME, Report, Strip, Table

Entry: TypeAlias = Row | Stage
"""A table is made of either: what a pipeline promises, or what it computed."""

ABSENT = "–"
STYLES = {"index": "dim", "name": "bold"}


# --- how values read ---------------------------------------------------------------------------


def finite(value: Any) -> Any:
    """Return None for NaN and infinities, and 0 for -0."""
    if not isinstance(value, float):
        return value
    return value + 0.0 if math.isfinite(value) else None


def _step(values: Sequence[float]) -> str:
    """Show one number for both directions where it is the same."""
    return size_text(values[:1] if len(set(values)) == 1 else values)


@dataclass(frozen=True, eq=False)
class Kind:
    """How a kind of value reads: to people, and to programs in CSV."""

    text: Callable[[Any], str]
    plain: Callable[[Any], str]
    right: bool = True  # aligned


TEXT = Kind(safe, str, right=False)
NAMES = Kind(lambda names: safe(", ".join(names)), " ".join, right=False)
COUNT = Kind("{:,}".format, str)
NUMBER = Kind(format_value, repr)
SHARE = Kind(format_percent, repr)
BYTES = Kind(format_bytes, str)
TIME = Kind(format_seconds, repr)
SIZE = Kind(size_text, partial(size_text, sign="x"))
STEP = Kind(_step, partial(size_text, sign="x"))
PADS = Kind(partial(size_text, sign=","), partial(size_text, sign=","))


# --- the columns -------------------------------------------------------------------------------

Field: TypeAlias = Callable[[Row], Any]
Fact: TypeAlias = Callable[[Stage], Any]
Footer: TypeAlias = Callable[[Totals, Sequence[Entry]], Any]


class Column(NamedTuple):
    """One column of every table."""

    title: str
    help: str
    kind: Kind
    row: Field | None = None  # the value, from a row …
    stage: Fact | None = None  # … or only from a computed stage
    importance: int | None = None  # 1 stays longest in a narrow terminal; None: only if asked for
    costs: bool = False  # a run finds it out only if it is asked to
    footer: Footer | None = None

    def value(self, entry: Entry) -> Any:
        """Return the raw value; None where it is absent, NaN or infinite."""
        if self.row:
            value = self.row(row_of(entry))
        else:
            assert self.stage is not None  # noqa: S101
            value = self.stage(entry) if isinstance(entry, Stage) else None
        return finite(value)

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


def row_of(entry: Entry) -> Row:
    """Return what the pipeline promises of a stage, run or not."""
    return entry.row if isinstance(entry, Stage) else entry


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
        importance=16,
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
        importance=17,
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
    "algorithm": Column(
        "Algorithm", "which algorithms computed it", TEXT, stage=lambda s: s.algorithm
    ),
    "contamination": Column(
        "Contamination",
        "share of all windows' cells that lie in padding, of any mode",
        SHARE,
        lambda r: r.contamination,
    ),
    "dead": Column(
        "Dead maps",
        "maps whose values are all 0",
        COUNT,
        stage=lambda s: s.losses.dead if s.losses else None,
        costs=True,
    ),
    "discarded": Column(
        "Discarded",
        "share of a max or min pooling's input values that win in no window",
        SHARE,
        stage=lambda s: s.losses.discarded if s.losses else None,
        costs=True,
    ),
}


def summary(totals: Totals, without: Collection[str] = ()) -> str:
    """Return the totals that no footer shows; the peak has no column."""
    sums = {
        "params": f"total params {COUNT.text(totals.params)}",
        "mult_adds": f"total mult-adds {COUNT.text(totals.macs)}",
        "memory": f"total memory {BYTES.text(totals.memory_bytes)}",
        "peak": f"peak memory {BYTES.text(totals.peak_bytes)} (alive at once, input included)",
    }
    text = " · ".join(text for key, text in sums.items() if key not in without)
    return text[0].upper() + text[1:]


# --- the columns asked for ---------------------------------------------------------------------

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


def asks_for_losses(columns: Sequence[str] | None) -> bool:
    """Return whether any of the columns asked for is one that a run has to find out apart.

    >>> asks_for_losses(("name", "dead")), asks_for_losses(("default",)), asks_for_losses(None)
    (True, False, False)
    """
    return any(key == ALL or (key in COLUMNS and COLUMNS[key].costs) for key in columns or ())


def resolve_columns(columns: Sequence[str] | None, entries: Sequence[Entry]) -> list[str]:
    """Resolve what was asked for to keys, each once."""
    stands_for = {DEFAULT: _default_keys(entries), ALL: _available(entries)}
    keys: dict[str, None] = {}
    for key in (DEFAULT,) if columns is None else columns:
        keys |= dict.fromkeys(stands_for.get(key, [key]))
    return list(keys)


def _default_keys(entries: Sequence[Entry]) -> list[str]:
    shown = _available(entries)
    return [key for key in shown if COLUMNS[key].importance is not None]


def _available(entries: Sequence[Entry]) -> list[str]:
    """Return all keys, without those that only a run fills, or only one that looked for them."""
    ran = any(isinstance(entry, Stage) for entry in entries)
    looked = any(isinstance(entry, Stage) and entry.losses for entry in entries)
    return [
        key
        for key, column in COLUMNS.items()
        if column.row or (ran and (looked or not column.costs))
    ]


# --- stages as a report ------------------------------------------------------------------------


def strip(key: str, entries: Sequence[Entry], foot: str = "") -> Strip:
    """Return a column of stages as it is read."""
    column = COLUMNS[key]
    return Strip(
        key,
        column.title,
        [column.text(entry) for entry in entries],
        right=column.kind.right,
        importance=column.importance or math.inf,
        foot=foot,
        style=STYLES.get(key, ""),
        least=LONG_NAME if key == "name" else 0,
    )


def stage_table(
    entries: Sequence[Entry], totals: Totals, columns: Sequence[str] | None = None
) -> Table:
    """Return rows or stages as a table with the totals below it.

    On a terminal the least important columns of the default table give way (`Column.importance`);
    those asked for by name are all shown.
    """

    def below(shown: Collection[str]) -> list[str]:
        return [summary(totals, without=shown), *_warnings(entries)]

    return Table(
        [
            strip(key, entries, COLUMNS[key].total(totals, entries))
            for key in resolve_columns(columns, entries)
        ],
        named=set(columns or ()) - {DEFAULT},
        fixed=columns is not None and DEFAULT not in columns,
        below=below,
        wider="--columns or a wider terminal",
    )


def _warnings(entries: Sequence[Entry]) -> Iterator[str]:
    """Name the stages with a minimum, maximum and mean that leave values out."""
    odd = [
        f"{safe(entry.row.name)} ({entry.statistics.nonfinite:,})"
        for entry in entries
        if isinstance(entry, Stage) and entry.statistics.nonfinite
    ]
    if odd:
        yield f"NaN or infinite values: {', '.join(odd)}"


def stage_rows(
    entries: Sequence[Entry],
    columns: Sequence[str] | None = None,
    *,
    image: str | None = None,
    header: bool = True,
) -> Iterator[list[str]]:
    r"""Yield the table as CSV has it: keys in the first line, no totals.

    All columns but the time unless some are named; those that only a run fills are left out
    before one.
    Numbers are for machines: ``64x112x112``, ``3x3``, ``"1,1,1,1"``, exact bytes and seconds.
    Two runs give the same text, as ``shapes.csv`` must, unless the time is named. With an `image`
    its name stands in a first column, so that tables of several can follow one another, only the
    first with a header.
    """
    keys = resolve_columns((ALL,) if columns is None else columns, entries)
    keys = [key for key in keys if columns is not None or key != "time"]
    first = [] if image is None else [image]
    if header:
        yield [*(["image"] if first else []), *keys]
    for entry in entries:
        yield [*first, *(COLUMNS[key].plain(entry) for key in keys)]


def stage_report(
    entries: Sequence[Entry],
    totals: Totals,
    record: Mapping[str, Any],
    columns: Sequence[str] | None = None,
    *,
    image: str | None = None,
    header: bool = True,
) -> Report:
    """Return a table of stages in every format; `image` and `header` as in `stage_rows`."""
    rows = stage_rows(entries, columns, image=image, header=header)
    return Report(record, [stage_table(entries, totals, columns)], rows)
