"""What movement does to stages, to look at: tables, CSV, Markdown, charts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from PIL import Image
from rich import box
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderResult
from rich.table import Table
from rich.text import Text

from cnnviz.core.shift.records import Errors, Movement, MovementErrors, StageErrors
from cnnviz.view.chart import MOST_LINES, Line, Panel, draw_chart
from cnnviz.view.columns import ABSENT, COLUMNS, safe
from cnnviz.view.tables import ASCII, GAP


class Measure(NamedTuple):
    """One of the two errors: what it is called, what it compares, where it stands."""

    title: str
    meaning: str
    field: str

    def of(self, stage: StageErrors) -> Errors:
        """Return a stage's errors."""
        errors: Errors = getattr(stage, self.field)
        return errors


MEASURES = (
    Measure("Invariance error", "the output against the unmoved one", "invariance"),
    Measure("Equivariance error", "the output against the unmoved one moved along", "equivariance"),
)

Told = Mapping[str, MovementErrors]
"""Experiments with the same movement: by "A" and "B", or one by an empty name."""


# ---------------------------------------------------------------------------- tables


def format_error(value: float | None) -> str:
    """Write an error: four decimals, the very small ones as powers of ten.

    >>> [format_error(value) for value in (0.0, 0.25, 1.19781, 3.14e-8, None)]
    ['0', '0.2500', '1.1978', '3e-08', '–']
    """
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    return f"{value:.4f}" if value >= 5e-4 else f"{value:.0e}"


def shown_amounts(movement: Movement, most: int = 7) -> list[int]:
    """Choose the amounts that a table shows, by their places: 1, 2, 4, 8, … and the last.

    >>> shown_amounts(Movement(tuple(range(1, 13)), "x", "crop"))
    [0, 1, 3, 7, 11]
    """
    count = len(movement.amounts)
    doubling = [2**power - 1 for power in range(count.bit_length())]
    places = sorted({*(place for place in doubling if place < count), count - 1})
    return places if len(places) <= most else [*places[: most - 1], places[-1]]


class ErrorTables:
    """Both errors, a table each, that fit their terminal: the first columns and amounts stay."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._movement = next(iter(told.values())).movement

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw them."""
        limit = options.max_width if console.is_terminal else None
        for measure in MEASURES:
            head = f"{measure.title}: {measure.meaning}, by {self._movement.unit}"
            overflow: OverflowMethod = "ignore" if limit is None else "fold"
            yield Text(head, "bold", no_wrap=limit is None, overflow=overflow)
            table = self._table(measure, limit, ascii_only=options.ascii_only)
            yield from console.render(table, options.update(width=max(options.max_width, 4000)))
            yield Text("")

    def _table(self, measure: Measure, limit: int | None, *, ascii_only: bool) -> Table:
        heads, rows, sections = _cells(self._told, measure)
        if ascii_only:
            heads = [head.translate(ASCII) for head in heads]
            rows = [[cell.translate(ASCII) for cell in row] for row in rows]
        fixed = len(heads) - len(shown_amounts(self._movement))
        widths = [
            max(len(head), *(len(row[column]) for row in rows)) for column, head in enumerate(heads)
        ]
        kept = _kept(widths, fixed, limit)
        table = Table(
            box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, GAP - 1),
            collapse_padding=True, header_style="bold",
        )  # fmt: skip
        for column in kept:
            table.add_column(
                Text(heads[column]),
                justify="left" if heads[column] == "Name" else "right",
                style={"#": "dim", "Name": "bold"}.get(heads[column], ""),
                no_wrap=True,
                width=widths[column],
                overflow="ellipsis",
            )
        for number, row in enumerate(rows):
            table.add_row(
                *(Text(row[column]) for column in kept), end_section=number + 1 in sections
            )
        return table


def _cells(told: Told, measure: Measure) -> tuple[list[str], list[list[str]], set[int]]:
    """Return heads, rows, and after which rows another pipeline begins."""
    movement = next(iter(told.values())).movement
    shown = shown_amounts(movement)
    several = len(told) > 1
    heads = ["#", *([""] if several else []), "Name", "Output", "Stride"]
    heads += [f"{movement.amounts[place]:g}" for place in shown]
    rows, sections = list[list[str]](), set[int]()
    for name, errors in told.items():
        for stage in errors.stages:
            values = measure.of(stage)
            rows.append(
                [
                    str(stage.index),
                    *([name] if several else []),
                    safe(stage.name),
                    COLUMNS["output"].kind.text(stage.output_shape),
                    _stride(stage),
                    *(format_error(values[place]) for place in shown),
                ]
            )
        sections.add(len(rows))
    return heads, rows, sections


def _stride(stage: StageErrors) -> str:
    stride = stage.effective_stride
    return ABSENT if stride is None else COLUMNS["eff_stride"].kind.text(stride)


def _kept(widths: list[int], fixed: int, limit: int | None) -> list[int]:
    """Return the columns that fit: output and stride go first, then amounts from the middle."""
    kept = list(range(len(widths)))

    def wide() -> int:
        return sum(widths[column] for column in kept) + GAP * (len(kept) - 1)

    if limit is None:
        return kept
    for column in (fixed - 2, fixed - 1):
        if wide() > limit:
            kept.remove(column)
    while wide() > limit and len(kept) > fixed - 1:
        kept.pop(-2)
    name = fixed - 3
    widths[name] = max(4, min(widths[name], widths[name] + limit - wide()))
    return kept


def markdown_text(told: Told) -> str:
    """Return both tables as GitHub writes them."""
    movement = next(iter(told.values())).movement
    parts = []
    for measure in MEASURES:
        heads, rows, _ = _cells(told, measure)
        heads = [head or "Pipeline" for head in heads]
        lines = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row] for row in rows]
        rule = ["---" if head in ("Name", "Pipeline") else "---:" for head in heads]
        table = "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *lines))
        parts.append(f"{measure.title}: {measure.meaning}, by {movement.unit}\n\n{table}\n")
    return "\n".join(parts)


def csv_text(told: Told) -> str:
    """Return a line for each stage and amount, as programs read them; absent numbers are empty."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    movement = next(iter(told.values())).movement
    amount = "degrees" if movement.axis is None else "shift"
    keys = ["index", "name", "layer", "output", "eff_stride", amount, "invariance", "equivariance"]
    writer.writerow([*(["pipeline"] if len(told) > 1 else []), *keys])
    for name, errors in told.items():
        for stage in errors.stages:
            first = [name] if len(told) > 1 else []
            first += [str(stage.index), stage.name, stage.layer]
            first.append(COLUMNS["output"].kind.plain(stage.output_shape))
            stride = stage.effective_stride
            first.append("" if stride is None else COLUMNS["eff_stride"].kind.plain(stride))
            for place, at in enumerate(movement.amounts):
                pair = [measure.of(stage)[place] for measure in MEASURES]
                texts = ["" if value is None else repr(value) for value in pair]
                writer.writerow([*first, f"{at:g}", *texts])
    return file.getvalue()


# ---------------------------------------------------------------------------- charts


def charts(told: Told) -> list[Panel]:
    """Return a panel for each error; of more stages than can be told apart, the telling ones."""
    movement = next(iter(told.values())).movement
    drawn = _drawn(told)
    return [
        Panel(
            f"{measure.title}: {measure.meaning}",
            _x_label(movement),
            movement.amounts,
            tuple(
                Line(label, measure.of(stage), style, dashed)
                for label, stage, style, dashed in drawn
            ),
        )
        for measure in MEASURES
    ]


def draw_errors(told: Told, pipelines: Mapping[str, str], title: str) -> Image.Image:
    """Draw both errors on one sheet, under a title and the pipelines' text."""
    panels = charts(told)
    left_out = sum(len(errors.stages) for errors in told.values()) - len(panels[0].lines)
    notes = [f"{name}: {text}" if name else text for name, text in pipelines.items()]
    shared = _shared(told)
    if left_out - shared > 0:
        notes.append(f"{left_out - shared} more stages are not drawn; shift.json has them all")
    return draw_chart(panels, title=title, notes=notes)


def _x_label(movement: Movement) -> str:
    if movement.axis is None:
        return "degrees the picture is turned"
    where = {"x": "right", "y": "down", "both": "right and down"}[movement.axis]
    return f"pixels the picture moves {where} ({movement.mode})"


class _Drawn(NamedTuple):
    label: str
    stage: StageErrors
    style: int
    dashed: bool


def _drawn(told: Told) -> list[_Drawn]:
    """Choose the lines: stages of both pipelines with equal errors are one."""
    if len(told) == 1:
        (errors,) = told.values()
        return [
            _Drawn(
                f"{stage.index} {stage.name}" if stage.index else stage.name, stage, style, False
            )
            for style, stage in enumerate(_telling(errors.stages, MOST_LINES))
        ]
    lines = list[_Drawn]()
    (first, one), (second, two) = told.items()
    common = _shared(told)
    styles = iter(range(2 * MOST_LINES))
    for stage in _telling(one.stages[:common], MOST_LINES // 2):
        label = stage.name if not stage.index else f"{first}, {second}: {stage.index} {stage.name}"
        lines.append(_Drawn(label, stage, next(styles), False))
    room = (MOST_LINES - len(lines)) // 2
    for name, errors, dashed in ((first, one, False), (second, two, True)):
        for stage in _telling(errors.stages[common:], room):
            label = f"{name}: {stage.index} {stage.name}"
            lines.append(_Drawn(label, stage, next(styles), dashed))
    return lines


def _shared(told: Told) -> int:
    """Count the first stages that two pipelines have in common, by what they do and show."""
    if len(told) == 1:
        return 0
    one, two = (errors.stages for errors in told.values())
    count = 0
    while count < min(len(one), len(two)) and one[count] == two[count]:
        count += 1
    return count


def _telling(stages: Sequence[StageErrors], most: int) -> list[StageErrors]:
    """Choose stages: the first, the last, then those that thin their maps out, then evenly."""
    if len(stages) <= most:
        return list(stages)
    chosen = dict.fromkeys(_in_turn(stages))
    return sorted(list(chosen)[:most], key=lambda stage: stage.index)


def _in_turn(stages: Sequence[StageErrors]) -> Iterator[StageErrors]:
    yield stages[0]
    yield stages[-1]
    for before, stage in pairwise(stages):
        if before.effective_stride != stage.effective_stride:
            yield stage
    for step in (16, 8, 4, 2, 1):
        yield from stages[::step]
