"""``cnnviz compare``: two pipelines side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cnnviz.cli.options import (
    ComputeOptions,
    FolderOptions,
    Image,
    InputOptions,
    ScaleOptions,
    TableOptions,
    WeightOptions,
    Without,
)
from cnnviz.errors import CnnvizError, RequestError, unknown

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.comparison import Comparison, Difference
    from cnnviz.core.types import Row, Stage, Tensor
    from cnnviz.files.spec import Spec
    from cnnviz.view.diptych import Diptych
    from cnnviz.view.triptych import Triptych

PICTURE, RECORD = "compare.png", "compare.json"

EXAMPLES = (
    "cnnviz compare sample:chelsea 'maxpool(8)' 'avgpool(8)'",
    "cnnviz compare sample:chelsea 'conv(outline, stride=2, padding=same)' --convention pytorch",
    "cnnviz compare sample:digit_3 lenet5 'flatten -> dense(64) -> relu -> dense(10) -> softmax'",
)


def compare(
    image: Image,
    spec_a: Annotated[
        str,
        typer.Argument(
            metavar="SPEC_A", help="A pipeline: text, a .toml or .onnx file, or a bundled name.",
            show_default=False,
        ),
    ],
    colors: ScaleOptions,
    folder: FolderOptions,
    compute: ComputeOptions,
    inputs: InputOptions,
    network: WeightOptions,
    table: TableOptions,
    spec_b: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC_B]", help="Another; with --convention it may be left out: then it is A.",
            show_default=False,
        ),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Have B pad 'same' as tensorflow does, as pytorch, or onnx-lower (SAME_LOWER).",
        ),
    ] = None,
    without: Without = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Draw this stage, by name or number. (default: the last)"
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Draw it in the terminal, too.")] = False,
) -> None:  # fmt: skip
    """Hold two pipelines against each other: shapes, costs, and how their values differ.

    Draws A, B and A - B side by side, A and B on one scale; where their shapes differ, A and B
    alone, each on its own.
    """
    from cnnviz import __version__
    from cnnviz.cli.console import coloured, draw, note
    from cnnviz.cli.door import working
    from cnnviz.cli.printing import beside, print_report
    from cnnviz.cli.subject import check_out, read_without, repeatable, wrote
    from cnnviz.core.comparison import CONVENTIONS
    from cnnviz.core.statistics import finite_range
    from cnnviz.view.columns import asks_for_losses, parse_columns
    from cnnviz.view.differences import comparison_record, comparison_report
    from cnnviz.view.triptych import Triptych

    columns = None if table.columns is None else parse_columns(table.columns)
    check_out(folder)
    if convention is not None and convention not in CONVENTIONS:
        raise unknown("convention", convention, list(CONVENTIONS))
    if spec_b is None and convention is None and not without:
        raise RequestError(
            "SPEC_B is missing: only one pipeline is given",
            hint="give another to compare it with, or --convention pytorch, or --without conv1:0",
        )
    with working(compute):
        specs = _specs((spec_a, spec_b), read_without(without), network)
        both = _read(image, specs, convention, stage, inputs, network, compute.seed)
        output = both.a.folder(folder, [PICTURE], RECORD)
        with output:
            outcome = _run(
                both,
                compute.seed,
                colors,
                losses=asks_for_losses(columns),
                quiet=folder.quiet,
            )
            both.notes.extend(_lost(both, outcome.scores))
            comparison = _comparison(both, outcome)
            picture = outcome.picture
            if isinstance(picture, Triptych):
                png = _png(both, picture, comparison)
            else:
                png = _apart_png(both, picture)
            files = [output.write(PICTURE, png)]
            ends = (finite_range(both.a.x), finite_range(both.b.x))
            record = comparison_record(
                __version__, both.a.source, comparison, ends, both.notes, files
            )
            preparation = {"a": asdict(both.a.input), "b": asdict(both.b.input)}
            how = {"convention": convention, "preparation": preparation}
            output.finish(repeatable(record, compute.seed, network.weights) | how)
        report = comparison_report(comparison, columns, record)
        print_report(report, table.format, quiet=folder.quiet)
        if show:
            console = beside(table.format)
            colours = coloured(console)
            draw(console, lambda: png, lambda: picture.in_terminal(console.width, colours=colours))
        if not folder.quiet:
            for text in both.notes:
                note(text)
            wrote(len(files), output, files[0] if files else None)


class Both(NamedTuple):
    """The image on its way through both pipelines, and what is to be looked at there."""

    a: Subject
    b: Subject
    convention: str | None
    notes: list[str]
    pairs: list[tuple[Row, Row]]  # stages with values to compare
    drawn: tuple[Row, Row]  # what is drawn, of one shape or not


class Outcome(NamedTuple):
    """What running both showed."""

    stages: tuple[tuple[Stage, ...], tuple[Stage, ...]]  # without their tensors
    differences: dict[tuple[str, str], Difference]
    picture: Triptych | Diptych
    scores: list[Tensor]  # what each pipeline ends in, where B is without some maps


# --- before anything is computed ---------------------------------------------------------------


def _specs(
    texts: tuple[str, str | None], without: Mapping[str, Sequence[int]], network: WeightOptions
) -> tuple[Spec, Spec]:
    """Load both pipelines; B is A where it is left out, and has some maps set to zero."""
    from cnnviz.files.spec import load_spec

    outside = network.allow_outside
    a = load_spec(texts[0], allow_outside=outside)
    b = a if texts[1] is None else load_spec(texts[1], allow_outside=outside)
    return a, b.without(without)


def _read(
    image: str,
    specs: tuple[Spec, Spec],
    convention: str | None,
    stage: str | None,
    inputs: InputOptions,
    network: WeightOptions,
    seed: int,
) -> Both:
    """Load both pipelines and the image; choose the stages to compare and the one to draw."""
    from cnnviz.cli.subject import random_notes, read_another, read_subject
    from cnnviz.core.comparison import pairs_of
    from cnnviz.core.types import size_text
    from cnnviz.view.diptych import WHY

    spec_a, spec_b = specs
    if stage is not None:  # what is no stage is said before any image is read
        _check_stage(stage, spec_a, spec_b)
    a = read_subject(image, spec_a, inputs, network.weights)
    try:
        b = read_another(a, spec_b, inputs, network.weights)
    except CnnvizError as error:
        raise error.within("SPEC_B") from None
    notes = list[str]()
    if a.input != b.input:
        notes.append("the image is prepared for each pipeline as its own [input] says")
    if convention is not None:
        b, notes = _as_convention(b, convention)
    rows_a, rows_b = a.rows, b.rows
    notes += random_notes({"A": a, "B": b}, seed)
    pairs = pairs_of(rows_a, rows_b)
    drawn = (rows_a[-1], rows_b[-1]) if stage is None else _chosen(stage, rows_a, rows_b)
    if drawn[0].output_shape != drawn[1].output_shape:
        shapes = [size_text(row.output_shape) for row in drawn]
        notes.append(
            f"drawn are A's {drawn[0].name}, {shapes[0]}, and B's {drawn[1].name}, {shapes[1]}, "
            + WHY
        )
    elif drawn not in pairs:
        pairs.append(drawn)
    return Both(a, b, convention, notes, pairs, drawn)


def _as_convention(b: Subject, convention: str) -> tuple[Subject, list[str]]:
    """Return B as a framework pads it, and what that changed, in words."""
    from cnnviz.core.comparison import CONVENTIONS, changes, with_convention
    from cnnviz.view.differences import change_in_words

    shape = b.x.shape
    pipeline = with_convention(b.pipeline, shape, convention)
    found = changes(b.pipeline, pipeline, shape)
    notes = [f"B as {convention}: {CONVENTIONS[convention].summary}"]
    notes += [change_in_words(change) for change in found]
    if not found:
        notes.append("no stage of B is padded otherwise than it is written")
    return replace(b, spec=replace(b.spec, pipeline=pipeline)), notes


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
    return found[0], found[1]


def _name(pair: tuple[Row, Row]) -> str:
    names = dict.fromkeys(row.name for row in pair)
    return " and ".join(names)


def _lost(both: Both, scores: Sequence[Tensor]) -> list[str]:
    """Say which maps B is without, and what its prediction loses by that."""
    if not (muted := both.b.pipeline.muted):
        return []
    from cnnviz.cli.predictions import class_count, loss_text, losses_of_classes

    listed = "; ".join(f"{name} {', '.join(map(str, maps))}" for name, maps in muted.items())
    notes, last = [f"B is without the maps {listed}"], both.a.rows[-1]
    if class_count(last) is not None and last.output_shape == both.b.rows[-1].output_shape:
        lost = losses_of_classes(last, scores[0], scores[1], both.a.spec.input.labels, 5)
        notes.append(f"A → B: {', '.join(map(loss_text, lost))}")
    return notes


# --- computing ---------------------------------------------------------------------------------


def _run(both: Both, seed: int, colors: ScaleOptions, *, losses: bool, quiet: bool) -> Outcome:
    """Run both pipelines, a stage of each at a time, and compare while the tensors live."""
    from cnnviz.cli.console import progress
    from cnnviz.core.comparison import difference
    from cnnviz.view.diptych import Diptych
    from cnnviz.view.robust import inner
    from cnnviz.view.triptych import Triptych

    runs = [
        one.pipeline.run(one.x, one.params, seed=seed, reuse=True, losses=losses)
        for one in (both.a, both.b)
    ]
    stages: tuple[list[Stage], list[Stage]] = ([], [])
    wanted = {(one.name, two.name) for one, two in both.pairs}
    looked_at = [*both.pairs, both.drawn]
    kept = {row.name for pair in looked_at for row in pair if pair[0].index != pair[1].index}
    lasts = [one.rows[-1].name for one in (both.a, both.b)] if both.b.pipeline.muted else []
    kept.update(lasts)
    tensors: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    differences: dict[tuple[str, str], Difference] = {}
    picture: Triptych | Diptych | None = None
    drawn = (both.drawn[0].name, both.drawn[1].name)
    within = [inner(row) if colors.range_ == "robust" else None for row in both.drawn]
    steps = max(len(one.pipeline.nodes) for one in (both.a, both.b))
    with progress(both.a.source, steps, silent=quiet) as advance:
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
                if names == drawn:
                    picture = Triptych.of(a, b, differences[names], colors.colormap, within[0])
            if picture is None and drawn[0] in tensors[0] and drawn[1] in tensors[1]:
                a, b = tensors[0][drawn[0]], tensors[1][drawn[1]]
                picture = Diptych.of(a, b, colors.colormap, (within[0], within[1]))
            del computed
            for alive in tensors:
                for name in alive.keys() - kept:
                    del alive[name]
            advance()
    assert picture is not None  # noqa: S101 - both stages have been computed
    scores = [alive[last] for alive, last in zip(tensors, lasts, strict=False)]
    return Outcome((tuple(stages[0]), tuple(stages[1])), differences, picture, scores)


def _comparison(both: Both, outcome: Outcome) -> Comparison:
    from cnnviz.core.comparison import Compared, Comparison, Side, part_at, shift_between

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
    from cnnviz.core.types import size_text
    from cnnviz.files.images import png_bytes

    a, b = both.drawn
    names = _name(both.drawn)
    texts = dict.fromkeys((a.text, b.text))
    shape = size_text(a.output_shape)
    title = f"{names}: {' | '.join(texts)}  →  {shape}"
    low, high = triptych.scale.low, triptych.scale.high
    return png_bytes(
        triptych.draw(title=title, labels=_labels(both), remark=_remark(both, comparison)),
        {
            "cnnviz:min": repr(float(low)),
            "cnnviz:max": repr(float(high)),
            "cnnviz:difference": repr(float(triptych.difference.max or 0.0)),
            "cnnviz:stage": names,
            "cnnviz:pipeline": str(both.a.pipeline),
            "cnnviz:against": str(both.b.pipeline),
        },
    )


def _apart_png(both: Both, picture: Diptych) -> bytes:
    from cnnviz.core.types import size_text
    from cnnviz.files.images import png_bytes

    titles = [
        f"{name}: {row.index} {row.name}: {row.text}  →  {size_text(row.output_shape)}"
        for name, row in zip("AB", both.drawn, strict=True)
    ]
    about = {
        "cnnviz:stage": _name(both.drawn),
        "cnnviz:pipeline": str(both.a.pipeline),
        "cnnviz:against": str(both.b.pipeline),
    }
    return png_bytes(picture.draw(titles), about)


def _remark(both: Both, comparison: Comparison) -> str:
    """Say how far the drawn stages are shifted against each other, if they are."""
    from cnnviz.view.differences import direction

    drawn = next(one for one in comparison.compared if (one.a, one.b) == both.drawn)
    if drawn.shift is None or not any(drawn.shift.input) or drawn.a.output_shape[1:] == (1, 1):
        return ""
    return f"B's values look {direction(drawn.shift.input)} in the input"


def _labels(both: Both) -> Sequence[str]:
    """Return the drawn maps' names, where both pipelines call them the same."""
    a, b = (
        one.pipeline.map_names()[row.name]
        for one, row in zip((both.a, both.b), both.drawn, strict=True)
    )
    return a if a == b else ()
