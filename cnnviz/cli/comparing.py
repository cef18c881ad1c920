"""Comparing two pipelines on one image: load, run both stage by stage, tell, draw, remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from cnnviz import __version__
from cnnviz.cli import process
from cnnviz.cli.console import coloured, counted, note, progress, stdout
from cnnviz.cli.job import input_options
from cnnviz.cli.options import (
    ColorOptions,
    ComputeOptions,
    FolderOptions,
    InputOptions,
    TableOptions,
    WeightOptions,
)
from cnnviz.cli.printing import joined
from cnnviz.cli.subject import (
    Subject,
    check_out,
    random_notes,
    read_another,
    read_subject,
    repeatable,
)
from cnnviz.core.comparison import (
    CONVENTIONS,
    Compared,
    Comparison,
    Difference,
    Side,
    changes,
    difference,
    pairs_of,
    part_at,
    shift_between,
    with_convention,
)
from cnnviz.core.jsontext import json_text
from cnnviz.core.statistics import finite_range
from cnnviz.core.types import Row, Stage, Tensor
from cnnviz.errors import CnnvizError, RequestError, unknown
from cnnviz.files.images import png_bytes
from cnnviz.files.outputs import OutputFolder
from cnnviz.files.spec import load_spec
from cnnviz.view import comparison as told
from cnnviz.view.columns import asks_for_losses, parse_columns
from cnnviz.view.triptych import Triptych

if TYPE_CHECKING:
    from cnnviz.files.spec import Spec

PICTURE, RECORD = "compare.png", "compare.json"


class Request(NamedTuple):
    """What is to be compared, and how it is told."""

    image: str
    spec_a: str
    spec_b: str | None
    convention: str | None
    stage: str | None
    inputs: InputOptions
    network: WeightOptions
    table: TableOptions
    folder: FolderOptions
    colors: ColorOptions
    compute: ComputeOptions
    show: bool


class Both(NamedTuple):
    """The image on its way through both pipelines, and what is to be looked at there."""

    a: Subject
    b: Subject
    convention: str | None
    notes: list[str]
    pairs: list[tuple[Row, Row]]  # stages whose values are compared
    drawn: tuple[Row, Row] | None  # one of them, or none where there is none


class Outcome(NamedTuple):
    """What running both showed."""

    stages: tuple[tuple[Stage, ...], tuple[Stage, ...]]  # without their tensors
    differences: dict[tuple[str, str], Difference]
    triptych: Triptych | None


def run_comparison(request: Request) -> None:
    """Do what `cnnviz compare` is asked to."""
    columns = None if request.table.columns is None else parse_columns(request.table.columns)
    check_out(request.folder)
    if request.convention is not None and request.convention not in CONVENTIONS:
        raise unknown("convention", request.convention, list(CONVENTIONS))
    with process.working(request.compute):
        _compare(request, columns)


def _compare(request: Request, columns: Sequence[str] | None) -> None:
    both = _read(request)
    folder = OutputFolder(
        request.folder.out, both.a.stem, force=request.folder.force, record=RECORD
    )
    folder.check([PICTURE] if both.drawn else [])
    with folder:
        outcome = _run(request, both, losses=asks_for_losses(columns))
        comparison = _comparison(both, outcome)
        files = []
        if outcome.triptych is not None:
            files.append(folder.write(PICTURE, _png(both, outcome.triptych, comparison)))
        ends = tuple(finite_range(one.x) for one in (both.a, both.b))
        record = told.comparison_record(
            __version__, both.a.source, comparison, (ends[0], ends[1]), both.notes, files
        )
        preparation = {
            name: asdict(input_options(request.inputs, one.spec.input))
            for name, one in (("a", both.a), ("b", both.b))
        }
        how = {"convention": request.convention, "preparation": preparation}
        folder.finish(repeatable(record, request.compute.seed, request.network.weights) | how)
    _tell(request, columns, comparison, record, outcome)
    if not request.folder.quiet:
        for text in both.notes:
            note(text)
        note(f"wrote {counted(len(files) + 1, 'file')} to {folder.path}")


# --- before anything is computed ---------------------------------------------------------------


def _read(request: Request) -> Both:
    """Load both pipelines and the image; choose the stages to compare and the one to draw."""
    spec_a = load_spec(request.spec_a)
    spec_b = spec_a if request.spec_b is None else load_spec(request.spec_b)
    if request.stage is not None:  # what is no stage is told before any image is read
        _check_stage(request.stage, spec_a, spec_b)
    path = request.network.weights
    a = read_subject(request.image, spec_a, request.inputs, path)
    try:
        b = read_another(a, spec_b, request.inputs, path)
    except CnnvizError as error:
        raise error.within("SPEC_B") from None
    notes = list[str]()
    if input_options(request.inputs, spec_a.input) != input_options(request.inputs, spec_b.input):
        notes.append("the image is prepared for each pipeline as its own [input] says")
    if request.convention is not None:
        b, notes = _as_convention(b, request.convention)
    rows_a, rows_b = (list(one.pipeline.rows(one.x.shape, one.params)) for one in (a, b))
    notes += random_notes({"A": a, "B": b}, request.compute.seed)
    pairs = pairs_of(rows_a, rows_b)
    drawn = _chosen(request.stage, rows_a, rows_b) if request.stage is not None else None
    if drawn is None and pairs:
        drawn = pairs[-1]
        if rows_a[-1].output_shape != rows_b[-1].output_shape:
            notes.append(
                "the last stages' shapes differ; drawn is the last pair of equal shape: "
                f"{_name(drawn)}"
            )
    elif drawn is None:
        notes.append("nothing is drawn, for nothing can be subtracted")
    elif drawn not in pairs:
        pairs.append(drawn)
    return Both(a, b, request.convention, notes, pairs, drawn)


def _as_convention(b: Subject, convention: str) -> tuple[Subject, list[str]]:
    """Return B as a framework pads it, and what that changed, in words."""
    shape = b.x.shape
    pipeline = with_convention(b.pipeline, shape, convention)
    found = changes(b.pipeline, pipeline, shape)
    notes = [f"B as {convention}: {CONVENTIONS[convention].summary}"]
    notes += [told.change_in_words(change) for change in found]
    if not found:
        notes.append("no stage of B is padded otherwise than it is written")
    spec: Spec = replace(b.spec, pipeline=pipeline)
    return b._replace(spec=spec), notes


def _check_stage(stage: str, a: Spec, b: Spec) -> None:
    """Raise RequestError unless both pipelines have a stage of that name or number."""
    for name, spec in (("A", a), ("B", b)):
        nodes = spec.pipeline.nodes
        known = [node.name for node in nodes]
        if stage.isdecimal() and stage not in map(str, range(1, len(nodes) + 1)):
            raise RequestError(
                f"there is no stage of {name} {stage}", hint=f"1 to {len(nodes)} exist"
            )
        if not stage.isdecimal() and stage not in known:
            raise unknown(f"stage of {name}", stage, known)


def _chosen(stage: str, a: Sequence[Row], b: Sequence[Row]) -> tuple[Row, Row]:
    """Return the stages of both that --stage names, by a name or an index they share."""
    keys = [[str(row.index) if stage.isdecimal() else row.name for row in rows] for rows in (a, b)]
    found = [rows[own.index(stage)] for rows, own in zip((a, b), keys, strict=True)]
    one, two = found
    if one.output_shape != two.output_shape:
        shapes = ["×".join(map(str, row.output_shape)) for row in found]
        raise CnnvizError(
            f"stage {stage}: A's is {shapes[0]}, B's {shapes[1]}: only equal shapes can be "
            f"subtracted",
            hint=_way_out(pairs_of(a, b)),
        )
    return one, two


def _way_out(pairs: Sequence[tuple[Row, Row]]) -> str:
    """Tell which stages --stage could name, so that two of equal shape are drawn."""
    if not pairs:
        return "no two stages pair: leave --stage out, and the tables alone are made"
    names = [
        one.name if one.name == two.name else str(one.index)
        for one, two in pairs
        if one.name == two.name or one.index == two.index
    ]
    left_out = f"without --stage {_name(pairs[-1])} would be drawn"
    return f"--stage can be {joined(names)}; {left_out}" if names else left_out


def _name(pair: tuple[Row, Row]) -> str:
    names = dict.fromkeys(row.name for row in pair)
    return " and ".join(names)


# --- computing ---------------------------------------------------------------------------------


def _run(request: Request, both: Both, *, losses: bool) -> Outcome:
    """Run both pipelines, a stage of each at a time, and compare while the tensors live."""
    runs = [
        one.pipeline.run(one.x, one.params, seed=request.compute.seed, reuse=True, losses=losses)
        for one in (both.a, both.b)
    ]
    stages: tuple[list[Stage], list[Stage]] = ([], [])
    wanted = {(one.name, two.name) for one, two in both.pairs}
    kept = {row.name for pair in both.pairs for row in pair if pair[0].index != pair[1].index}
    tensors: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    differences = dict[tuple[str, str], Difference]()
    triptych = None
    steps = max(len(one.pipeline.nodes) for one in (both.a, both.b))
    with progress(both.a.source, steps, silent=request.folder.quiet) as advance:
        for computed in zip_longest(*runs):
            for stage, all_stages, alive in zip(computed, stages, tensors, strict=True):
                if stage is not None:
                    all_stages.append(replace(stage, output=stage.output[:0].copy()))
                    name = stage.row.name  # who is kept is safe from the next stages
                    alive[name] = stage.output.copy() if name in kept else stage.output
            for names in sorted(wanted - differences.keys()):
                if names[0] not in tensors[0] or names[1] not in tensors[1]:
                    continue
                a, b = tensors[0][names[0]], tensors[1][names[1]]
                differences[names] = difference(a, b)
                if both.drawn and names == (both.drawn[0].name, both.drawn[1].name):
                    triptych = Triptych.of(a, b, differences[names], request.colors.colormap)
            del computed
            for alive in tensors:
                for name in alive.keys() - kept:
                    del alive[name]
            advance()
    return Outcome((tuple(stages[0]), tuple(stages[1])), differences, triptych)


def _comparison(both: Both, outcome: Outcome) -> Comparison:
    a, b = both.a, both.b
    shape_a, shape_b = a.x.shape, b.x.shape
    rows_a, rows_b = ([stage.row for stage in stages] for stages in outcome.stages)
    shifts = shift_between(a.pipeline, b.pipeline, shape_a, shape_b)
    sides = [
        Side(
            _called(one, convention),
            str(one.pipeline),
            one.x.shape,
            stages,
            one.pipeline.totals(one.x.shape),
        )
        for one, stages, convention in zip(
            (a, b), outcome.stages, (None, both.convention), strict=True
        )
    ]
    return Comparison(
        sides[0],
        sides[1],
        part_at(shape_a, rows_a, shape_b, rows_b),
        tuple(
            Compared(
                one, two, outcome.differences[one.name, two.name], shifts.get((one.name, two.name))
            )
            for one, two in both.pairs
        ),
    )


def _called(one: Subject, convention: str | None) -> str:
    """Return what a pipeline is called; the text of one given as text has its padding in it."""
    padded = convention is not None and one.called == one.spec.name
    return f"{one.called}, padded as by {convention}" if padded else one.called


# --- afterwards --------------------------------------------------------------------------------


def _png(both: Both, triptych: Triptych, comparison: Comparison) -> bytes:
    assert both.drawn is not None  # noqa: S101 - there is a picture of it
    a, b = both.drawn
    names = _name(both.drawn)
    texts = dict.fromkeys((a.text, b.text))
    shape = "×".join(map(str, a.output_shape))
    title = f"{names}: {' | '.join(texts)}  →  {shape}"
    low, high = triptych.scale.low, triptych.scale.high
    return png_bytes(
        triptych.draw(title=title, labels=_labels(both), remark=_remark(both, comparison)),
        {
            "cnnviz:min": repr(float(low)),
            "cnnviz:max": repr(float(high)),
            "cnnviz:difference": repr(float(triptych.gap_scale.high)),
            "cnnviz:stage": names,
            "cnnviz:pipeline": str(both.a.pipeline),
            "cnnviz:against": str(both.b.pipeline),
        },
    )


def _remark(both: Both, comparison: Comparison) -> str:
    """Tell how far the drawn stages are shifted against each other, if they are."""
    drawn = next(one for one in comparison.compared if (one.a, one.b) == both.drawn)
    if drawn.shift is None or not any(drawn.shift.input) or drawn.a.output_shape[1:] == (1, 1):
        return ""
    return f"B's values look {told.direction(drawn.shift.input)} in the input"


def _labels(both: Both) -> Sequence[str]:
    """Return the drawn maps' names, where both pipelines call them the same."""
    assert both.drawn is not None  # noqa: S101 - there is a picture of it
    a, b = (
        one.pipeline.map_names()[row.name]
        for one, row in zip((both.a, both.b), both.drawn, strict=True)
    )
    return a if a == b else ()


def _tell(
    request: Request,
    columns: Sequence[str] | None,
    comparison: Comparison,
    record: dict[str, object],
    outcome: Outcome,
) -> None:
    """Print the answer in the format asked for."""
    from cnnviz.cli.printing import beside, write

    if request.table.format == "json":
        write(json_text(record) + "\n")
    elif not request.folder.quiet:
        match request.table.format:
            case "csv":
                write(told.comparison_csv(comparison, columns))
            case "md":
                write(told.comparison_markdown(comparison, columns))
            case _:
                keys = None if columns is None else tuple(columns)
                stdout().print(told.ComparisonTable(comparison, keys), crop=False)
    if request.show and outcome.triptych is not None:
        console = beside(request.table)
        console.print(outcome.triptych.in_terminal(console.width, colours=coloured(console)))
