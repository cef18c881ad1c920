"""What movement does to stages, to look at: tables, rows for CSV, charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnviz.core.findings import ROUNDING
from cnnviz.core.shift import Errors, Movement, MovementErrors, StageErrors
from cnnviz.errors import safe
from cnnviz.view.chart import MOST_LINES, Line, Panel, draw_chart
from cnnviz.view.columns import ABSENT, COLUMNS
from cnnviz.view.report import Lines, Report, Strip, Table

if TYPE_CHECKING:
    from PIL import Image

FIRST = 7
"""Amounts that a table shows before the stages' outputs and strides."""


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

Measured = Mapping[str, MovementErrors]
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


def by_weight(movement: Movement, most: int = FIRST) -> list[int]:
    """Return the places of all amounts, what a table shows first: 1, 2, 4, 8, … and the last.

    So are `most` of them; then come the others in order.

    >>> by_weight(Movement(tuple(range(1, 11)), "x", "crop"))
    [0, 1, 3, 7, 9, 2, 4, 5, 6, 8]
    """
    count = len(movement.amounts)
    doubling = [2**power - 1 for power in range(count.bit_length()) if 2**power < count]
    return list(dict.fromkeys([*doubling[: most - 1], count - 1, *range(count)]))


def error_table(measured: Measured, measure: Measure) -> Table:
    """Return one error as a table: what the stages are, then a column for each amount.

    On a terminal output and stride give way to the amounts that count most, and the rest of the
    amounts have the room that is left.
    """
    movement = next(iter(measured.values())).movement
    named = [(name, stage) for name, errors in measured.items() for stage in errors.stages]
    strips = [
        Strip("#", "#", [str(stage.index) for _, stage in named], right=True, style="dim"),
        Strip("pipeline", "", [name for name, _ in named], right=True),
        Strip("name", "Name", [safe(stage.name) for _, stage in named], style="bold", least=8),
        Strip(
            "output",
            "Output",
            [COLUMNS["output"].kind.text(stage.output_shape) for _, stage in named],
            right=True,
            importance=FIRST + 1,
        ),
        Strip("stride", "Stride", [_stride(stage) for _, stage in named], True, FIRST + 2),
    ]
    if len(measured) == 1:
        del strips[1]
    rank = {place: order for order, place in enumerate(by_weight(movement), 1)}
    for place, amount in enumerate(movement.amounts):
        cells = [format_error(measure.of(stage)[place]) for _, stage in named]
        importance = rank[place] + 2 * (rank[place] > FIRST)
        strips.append(Strip(f"{amount:g}", f"{amount:g}", cells, True, importance))
    return Table(
        strips,
        sections=set(accumulate(len(errors.stages) for errors in measured.values())),
        wider="a wider terminal, --format csv or json,",
    )


def _stride(stage: StageErrors) -> str:
    stride = stage.effective_stride
    return ABSENT if stride is None else COLUMNS["eff_stride"].kind.text(stride)


def error_rows(measured: Measured) -> Iterator[list[str]]:
    """Yield a line for each stage and amount, as CSV has it; absent numbers are empty."""
    movement = next(iter(measured.values())).movement
    amount = "degrees" if movement.axis is None else "shift"
    keys = ["index", "name", "layer", "output", "eff_stride", amount, "invariance", "equivariance"]
    yield [*(["pipeline"] if len(measured) > 1 else []), *keys]
    for name, errors in measured.items():
        for stage in errors.stages:
            first = [name] if len(measured) > 1 else []
            first += [str(stage.index), stage.name, stage.layer]
            first.append(COLUMNS["output"].kind.plain(stage.output_shape))
            stride = stage.effective_stride
            first.append("" if stride is None else COLUMNS["eff_stride"].kind.plain(stride))
            for place, at in enumerate(movement.amounts):
                pair = [measure.of(stage)[place] for measure in MEASURES]
                yield [*first, f"{at:g}", *("" if value is None else repr(value) for value in pair)]


def error_report(
    measured: Measured, pipelines: Mapping[str, str], title: str, record: Mapping[str, Any]
) -> Report:
    """Return both errors as tables and a chart, under a title and what the pipelines are called."""
    from cnnviz.view.chart import LineChart

    unit = next(iter(measured.values())).movement.unit
    called = [safe(f"{name}: {text}") for name, text in pipelines.items() if name]
    parts: list[Any] = [Lines([safe(title)], "bold"), Lines(called)]
    for measure in MEASURES:
        head = Lines([f"{measure.title}: {measure.meaning}, by {unit}"], "bold")
        parts += [head, error_table(measured, measure), Lines([""])]
    invariance = [panel for panel in charts(measured) if panel.title.startswith(MEASURES[0].title)]
    parts += [LineChart(panel, width=100) for panel in invariance]
    parts.append(Lines([*flat(measured, MEASURES[:1]), *not_drawn(measured)], "dim"))
    return Report(record, parts, error_rows(measured))


# ---------------------------------------------------------------------------- charts


def charts(measured: Measured) -> list[Panel]:
    """Return a panel for each error; of more stages than can be told apart, the telling ones.

    What is 0 at every amount is not drawn (`flat` has it), nor a panel that would then be empty,
    unless both would.
    """
    movement = next(iter(measured.values())).movement
    drawn = _drawn(measured)
    panels = [
        Panel(
            f"{measure.title}: {measure.meaning}",
            _x_label(movement),
            movement.amounts,
            tuple(
                Line(label, measure.of(stage), style, dashed)
                for label, stage, style, dashed in drawn
                if _rises(measure.of(stage))
            ),
        )
        for measure in MEASURES
    ]
    return [panel for panel in panels if panel.lines] or panels


def _rises(errors: Errors) -> bool:
    """Whether some error is there, and more than what rounding makes of 0."""
    return any(error is not None and error > ROUNDING for error in errors)


def flat(measured: Measured, measures: Sequence[Measure] = MEASURES) -> list[str]:
    """Return in words which lines charts leave out, because their errors are 0 everywhere."""
    sentences = []
    for measure in measures:
        names = [
            label
            for label, stage, *_ in _drawn(measured)
            if any(error is not None for error in measure.of(stage))
            and not _rises(measure.of(stage))
        ]
        if names:
            sentences.append(f"{measure.title} 0 throughout, so not drawn: {'; '.join(names)}")
    return sentences


def draw_errors(measured: Measured, pipelines: Mapping[str, str], title: str) -> Image.Image:
    """Draw both errors on one sheet, under a title and what the pipelines are called."""
    notes = [f"{name}: {text}" if name else text for name, text in pipelines.items()]
    return draw_chart(
        charts(measured), title=title, notes=[*notes, *flat(measured), *not_drawn(measured)]
    )


def not_drawn(measured: Measured) -> list[str]:
    """Return a note on the stages that charts leave out, if they do."""
    stages = sum(len(errors.stages) for errors in measured.values()) - _shared(measured)
    more = stages - len(_drawn(measured))
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


def _drawn(measured: Measured) -> list[_Drawn]:
    """Choose the lines: stages of both pipelines with equal errors are one."""
    if len(measured) == 1:
        (errors,) = measured.values()
        return [
            _Drawn(
                f"{stage.index} {stage.name}" if stage.index else stage.name, stage, style, False
            )
            for style, stage in enumerate(_telling(errors.stages, MOST_LINES))
        ]
    lines = list[_Drawn]()
    (first, one), (second, two) = measured.items()
    common = _shared(measured)
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


def _shared(measured: Measured) -> int:
    """Count the first stages that two pipelines have in common, by what they do and show."""
    if len(measured) == 1:
        return 0
    one, two = (errors.stages for errors in measured.values())
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
