"""What movement does to stages, to look at: tables, CSV, Markdown, charts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from PIL import Image
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderResult
from rich.table import Table
from rich.text import Text

from cnnviz.core.shift import Errors, Movement, MovementErrors, StageErrors
from cnnviz.view.chart import MOST_LINES, Line, Panel, draw_chart
from cnnviz.view.columns import ABSENT, COLUMNS, safe
from cnnviz.view.tables import ASCII, GAP, shorten_middle


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


def by_weight(movement: Movement, most: int = 7) -> list[int]:
    """Return the places of all amounts, what a table shows first: 1, 2, 4, 8, … and the last.

    So are `most` of them; then come the others in order.

    >>> by_weight(Movement(tuple(range(1, 11)), "x", "crop"))
    [0, 1, 3, 7, 9, 2, 4, 5, 6, 8]
    """
    count = len(movement.amounts)
    doubling = [2**power - 1 for power in range(count.bit_length()) if 2**power < count]
    return list(dict.fromkeys([*doubling[: most - 1], count - 1, *range(count)]))


class ErrorTables:
    """Both errors, a table each, that fit their terminal.

    There output and stride give way to the amounts that count most, and the rest of the amounts
    have the room that is left; what is not shown is said. In a pipe or a file all is shown.
    """

    def __init__(self, told: Told) -> None:
        self._told = told
        self._movement = next(iter(told.values())).movement

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw them."""
        limit = options.max_width if console.is_terminal else None
        count = len(self._movement.amounts)
        hidden, some = dict[str, None](), False
        for measure in MEASURES:
            head = f"{measure.title}: {measure.meaning}, by {self._movement.unit}"
            overflow: OverflowMethod = "ignore" if limit is None else "fold"
            yield Text(head, "bold", no_wrap=limit is None, overflow=overflow)
            strips = _strips(self._told, measure, ascii_only=options.ascii_only)
            kept, amounts = _fitting(strips, by_weight(self._movement), limit)
            some |= len(amounts) < count
            there = {strip.head for strip in kept}
            about = (strip.head for strip in strips[:-count])
            hidden |= dict.fromkeys(head for head in about if head not in there)
            shown = [*kept, *amounts]
            drawn = _table(shown, sections=_sections(self._told))
            yield from console.render(drawn, options.update(width=max(_wide(shown), 1)))
            yield Text("")
        every = f"not all {count} fit here; all {count}: --format csv, json, shift.json"
        lines = [every] if some else []
        if hidden:
            lines.append(f"a wider terminal shows: {', '.join(hidden).lower()}")
        if lines:
            text = f"… {'; '.join(lines)}"
            yield Text(text.translate(ASCII) if options.ascii_only else text, "dim")
            yield Text("")


@dataclass(frozen=True)
class _Strip:
    """One column as it is drawn."""

    head: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.head, *self.cells)))

    def shortened(self, width: int) -> _Strip:
        return replace(self, cells=tuple(shorten_middle(cell, width) for cell in self.cells))


def _strips(told: Told, measure: Measure, *, ascii_only: bool = False) -> list[_Strip]:
    """Return all columns of one error: what the stages are, then an amount each."""
    movement = next(iter(told.values())).movement
    named = [(name, stage) for name, errors in told.items() for stage in errors.stages]
    strips = {
        "#": [str(stage.index) for _, stage in named],
        "": [name for name, _ in named],
        "Name": [safe(stage.name) for _, stage in named],
        "Output": [COLUMNS["output"].kind.text(stage.output_shape) for _, stage in named],
        "Stride": [_stride(stage) for _, stage in named],
    }
    if len(told) == 1:
        del strips[""]
    for place, amount in enumerate(movement.amounts):
        strips[f"{amount:g}"] = [format_error(measure.of(stage)[place]) for _, stage in named]
    say = (lambda text: text.translate(ASCII)) if ascii_only else str
    return [_Strip(say(head), tuple(map(say, cells))) for head, cells in strips.items()]


def _sections(told: Told) -> set[int]:
    """Return after which rows another pipeline begins."""
    return set(accumulate(len(errors.stages) for errors in told.values()))


def _wide(strips: Sequence[_Strip]) -> int:
    return sum(strip.width for strip in strips) + GAP * (len(strips) - 1)


def _fitting(
    strips: Sequence[_Strip], weights: Sequence[int], limit: int | None, first: int = 7
) -> tuple[list[_Strip], list[_Strip]]:
    """Return which columns fit, those of the stages and those of amounts.

    Output and stride stay where they leave room for the `first` amounts by weight.
    """
    about, amounts = list(strips[: -len(weights)]), strips[-len(weights) :]
    if limit is None:
        return about, list(amounts)

    def fits(count: int) -> bool:
        return _wide([*about, *(amounts[place] for place in weights[:count])]) <= limit

    least = min(first, len(weights))
    for head in ("Output", "Stride"):
        if not fits(least):
            about = [strip for strip in about if strip.head != head]
    count = next((count for count in range(len(weights), 0, -1) if fits(count)), 1)
    shown = [amounts[place] for place in sorted(weights[:count])]
    excess = _wide([*about, *shown]) - limit
    if excess > 0:
        about = [
            strip.shortened(max(4, strip.width - excess)) if strip.head == "Name" else strip
            for strip in about
        ]
    return about, shown


def _table(strips: Sequence[_Strip], sections: set[int]) -> Table:
    table = Table(
        box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, GAP - 1),
        collapse_padding=True, header_style="bold",
    )  # fmt: skip
    for strip in strips:
        table.add_column(
            Text(strip.head),
            justify="left" if strip.head == "Name" else "right",
            style={"#": "dim", "Name": "bold"}.get(strip.head, ""),
            no_wrap=True,
            width=strip.width,
            overflow="crop",
        )
    for number, cells in enumerate(zip(*(strip.cells for strip in strips), strict=True)):
        table.add_row(*map(Text, cells), end_section=number + 1 in sections)
    return table


def _stride(stage: StageErrors) -> str:
    stride = stage.effective_stride
    return ABSENT if stride is None else COLUMNS["eff_stride"].kind.text(stride)


def markdown_text(told: Told) -> str:
    """Return both tables as GitHub writes them."""
    movement = next(iter(told.values())).movement
    parts = []
    for measure in MEASURES:
        strips = _strips(told, measure)
        heads = [strip.head or "Pipeline" for strip in strips]
        rows = zip(*(strip.cells for strip in strips), strict=True)
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
    """Draw both errors on one sheet, under a title and what the pipelines are called."""
    notes = [f"{name}: {text}" if name else text for name, text in pipelines.items()]
    return draw_chart(charts(told), title=title, notes=[*notes, *not_drawn(told)])


def not_drawn(told: Told) -> list[str]:
    """Return a note on the stages that charts leave out, if they do."""
    stages = sum(len(errors.stages) for errors in told.values()) - _shared(told)
    more = stages - len(_drawn(told))
    if not more:
        return []
    if more == 1:
        return ["1 more stage is not drawn; shift.json has it"]
    return [f"{more} more stages are not drawn; shift.json has them all"]


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
