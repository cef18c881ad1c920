"""``cnnviz explain``: why one value is what it is, and where on the image it looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnviz.cli.heatmaps import HeatmapOptions
from cnnviz.cli.options import (
    ColorOptions,
    ComputeOptions,
    FolderOptions,
    FormatOptions,
    Image,
    InputOptions,
    SpecText,
    WeightOptions,
)
from cnnviz.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from rich.text import Text

    from cnnviz.cli.heatmaps import Heat
    from cnnviz.cli.subject import Subject
    from cnnviz.core.explanation import Explanation
    from cnnviz.core.pipeline import Pipeline
    from cnnviz.core.types import Tensor
    from cnnviz.files.outputs import OutputFolder
    from cnnviz.files.spec import Spec
    from cnnviz.view.explanation_sheet import Excerpted

RECORD = "explain.json"
SMALL_MAP = 64  # rows or columns up to which a map is shown whole
AROUND = 48  # and how many of a larger one
NAMES = {"max": "largest", "min": "smallest"}
STEP_TERMS = 3  # listed at each further step of a trace

EXAMPLES = (
    "cnnviz explain sample:chelsea 'conv(sobel_x) -> relu -> maxpool(2)' --at conv1:0,10,20",
    "cnnviz explain sample:chelsea edges --at maxpool1:max --trace",
    "cnnviz explain sample:digit_3 digits --at softmax1:3 --format json",
)


def explain(
    image: Image,
    spec: SpecText,
    inputs: InputOptions,
    weights: WeightOptions,
    compute: ComputeOptions,
    color: ColorOptions,
    folder: FolderOptions,
    form: FormatOptions,
    where: HeatmapOptions,
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="STAGE:C,ROW,COL",
            help="The value: a stage, and its channel, row and column (in a vector an index or "
            "label); or STAGE:max, :min. (default: the last stage's largest)",
        ),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace", help="Then explain the value that counts most in it, back to the input."
        ),
    ] = False,
    winners: Annotated[
        bool,
        typer.Option("--winners", help="Of max pooling: draw which values of its input won."),
    ] = False,
    terms: Annotated[
        int, typer.Option(metavar="N", min=1, help="List so many terms at most.")
    ] = 8,
    show: Annotated[
        bool, typer.Option("--show", help="Draw in the terminal where on the input it looks.")
    ] = False,
) -> None:  # fmt: skip
    """Explain one value: its arithmetic, term by term, and where on the input it looks."""
    from cnnviz.cli.console import note
    from cnnviz.cli.door import working
    from cnnviz.cli.heatmaps import find
    from cnnviz.cli.printing import print_report
    from cnnviz.cli.subject import check_out, read_subject, repeatable, wrote
    from cnnviz.core import explanation
    from cnnviz.files.spec import load_spec
    from cnnviz.view.explained import term_rows
    from cnnviz.view.report import Block, Report

    check_out(folder)
    where.check()
    if at and len(at) > 1:
        raise RequestError(
            f"--at is given {len(at)} times", hint="one value is explained: run it once for each"
        )
    with working(compute):
        loaded = load_spec(spec, allow_outside=weights.allow_outside)
        pipeline, seed = loaded.pipeline, compute.seed
        asked = _numbered(at[0], loaded) if at else f"{len(pipeline.nodes)}:max"
        place = explanation.read_place(pipeline, asked)
        if winners:
            _check_winners(pipeline, place.stage)
        subject = read_subject(image, loaded, inputs, weights.weights)
        output = subject.folder(folder, (), RECORD, collects=True)
        x, params = subject.x, subject.params
        place = explanation.check_place(pipeline, x.shape, place)
        wanted = explanation.read_stages(pipeline, place.stage, deep=trace) | {place.stage}
        held = pipeline.computed(x, wanted, params, seed=seed)
        found = explanation.locate(place, held[place.stage])
        steps = explanation.trace(
            pipeline, x, place.stage, found.cell, params, seed=seed, held=held
        )
        explained = list(steps) if trace else [next(steps)]
        with output:
            heat = find(explained[0], subject, output, where, seed, held, quiet=folder.quiet)
            files = heat.files[::-1] if heat else []
            colormap = color.colormap
            files += _write(explained[0], subject, output, held, colormap, winners=winners)
            record = _record(explained, subject, files, heat)
            output.finish(repeatable(record, seed, weights.weights))
    if show:
        _show(explained[0], subject, form.format)
    lines = tuple(_lines(explained, subject, heat, most=terms))
    report = Report(record, [Block(lines)], term_rows(record))
    print_report(report, form.format, quiet=folder.quiet)
    if not folder.quiet:
        for text in subject.remarks(seed, explained[0].row.index):
            note(text)
        if found.passed_over:
            note(
                f"the {NAMES[place.extreme or '']} finite value: {found.passed_over:,} of "
                f"{place.stage} are NaN or infinite"
            )
        wrote(len(files), output, files[0])


def _numbered(at: str, spec: Spec) -> str:
    """Return a place with the number of a class in place of its label: ``softmax1:cup``."""
    stage, _, word = at.rpartition(":")
    labels = [label.lower() for label in spec.input.labels or ()]
    if word.strip().lower() in labels and not word.strip().isdecimal():
        return f"{stage or len(spec.pipeline.nodes)}:{labels.index(word.strip().lower())}"
    return at


def _write(
    explanation: Explanation,
    subject: Subject,
    output: OutputFolder,
    held: Mapping[str, Tensor],
    colormap: str,
    *,
    winners: bool,
) -> Iterator[str]:
    """Write the pictures, and yield their paths."""
    from cnnviz.core.arithmetic import cell_text
    from cnnviz.files.images import png_bytes
    from cnnviz.files.names import explanation_name, winners_name
    from cnnviz.view.explanation_sheet import draw_explanation

    part = _surroundings(explanation, held[explanation.row.name])
    text = {
        "cnnviz:stage": explanation.row.name,
        "cnnviz:at": cell_text(explanation.at),
        "cnnviz:value": repr(explanation.result),
        "cnnviz:pipeline": str(subject.pipeline),
    }
    image = draw_explanation(explanation, subject.x, part, colormap=colormap)
    yield output.write(explanation_name(explanation.row, explanation.at), png_bytes(image, text))
    if winners:
        image = _draw_winners(explanation, subject, held, colormap)
        yield output.write(winners_name(explanation.row, explanation.at[0]), png_bytes(image, text))


def _surroundings(explanation: Explanation, values: Tensor) -> Excerpted | None:
    """Return the value's map, or of a large one the cells around it."""
    from cnnviz.view.explanation_sheet import Excerpted

    shape = values.shape
    if len(shape) != 3 or shape[1:] == (1, 1):
        return None
    channel, *place = explanation.at
    spans = [_span(at, side) for at, side in zip(place, shape[1:], strict=True)]
    plane = values[channel, slice(*spans[0]), slice(*spans[1])]
    return Excerpted(plane, spans[0][0], spans[1][0], (shape[1], shape[2]))


def _span(at: int, side: int) -> tuple[int, int]:
    """Return which part of a side is shown: all of a short one."""
    if side <= SMALL_MAP:
        return (0, side)
    start = min(max(at - AROUND // 2, 0), side - AROUND)
    return (start, start + AROUND)


def _check_winners(pipeline: Pipeline, stage: str) -> None:
    """Raise RequestError unless the stage is one of which --winners can be drawn."""
    from cnnviz.core.losses import picks_winners

    pools = [node for node in pipeline.nodes if picks_winners(node.layer)]
    if stage not in {node.name for node in pools}:
        layer = pipeline.nodes[pipeline.find(stage)].layer
        raise RequestError(
            f"--winners: {stage} is {layer.name}, which picks no winner",
            hint=f"give a value of max pooling: --at {pools[0].name}:max"
            if pools
            else "no stage of this pipeline is max pooling",
        )


def _draw_winners(
    explanation: Explanation, subject: Subject, held: Mapping[str, Tensor], colormap: str
) -> Picture:
    """Draw which values of the pooling's input won, around the window of the one explained."""
    import numpy as np

    from cnnviz.core.losses import winners
    from cnnviz.view.explanation_sheet import LARGEST_MAP, Won, draw_winners

    node = subject.pipeline.nodes[explanation.row.index - 1]
    name, channel = node.inputs[0], explanation.at[0]
    plane = held[name][channel : channel + 1]
    shape = held[name].shape
    places = winners(plane, node.layer)
    flags = np.zeros(plane.size + 1, np.bool_)
    flags[places] = True  # -1 is the last: no value's
    won = flags[:-1].reshape(shape[1:])
    terms = explanation.arithmetic.terms
    seen = terms.at[terms.real, 1:]
    window = (0, 0, 0, 0)  # where there is padding alone, no pixel
    if len(seen):
        (top, left), (bottom, right) = seen.min(axis=0).tolist(), (seen.max(axis=0) + 1).tolist()
        window = (top, left, bottom, right)
    spans = []
    for first, last, side in zip(window[:2], window[2:], shape[1:], strict=True):
        start = min(max((first + last - LARGEST_MAP) // 2, 0), max(side - LARGEST_MAP, 0))
        spans.append(slice(start, min(start + LARGEST_MAP, side)))
    part = Won(
        plane[0, spans[0], spans[1]],
        won[spans[0], spans[1]],
        spans[0].start,
        spans[1].start,
        window,
        float(won.mean()),
    )
    caption = f"{name}, map {channel}, {shape[1]} x {shape[2]}"
    if part.values.shape != shape[1:]:
        caption += f": rows {spans[0].start} to {spans[0].stop - 1}, "
        caption += f"columns {spans[1].start} to {spans[1].stop - 1}"
    title = f"{explanation.row.name}: {explanation.row.text}"
    return draw_winners(part, title=title, caption=caption, colormap=colormap)


def _show(explanation: Explanation, subject: Subject, form: str) -> None:
    """Draw in the terminal where on the input the value looks."""
    from cnnviz.cli.console import coloured, draw
    from cnnviz.cli.printing import beside
    from cnnviz.files.images import png_bytes
    from cnnviz.view.explanation_sheet import LINES, draw_box
    from cnnviz.view.terminal import half_blocks

    console, x, field = beside(form), subject.x, explanation.field
    width, plain = console.width, not coloured(console)
    draw(
        console,
        lambda: png_bytes(draw_box(x, field, (480, 640)), {}),
        lambda: half_blocks(draw_box(x, field, (2 * LINES, width), plain=plain), width=width),
    )


def _lines(
    explanations: list[Explanation], subject: Subject, heat: Heat | None, *, most: int
) -> Iterator[Text]:
    """Yield the explanations, line by line."""
    from rich.text import Text

    from cnnviz.cli.console import stdout
    from cnnviz.view.explained import explanation_lines

    if heat is not None:
        yield from map(Text, (*heat.lines(), ""))
    width = stdout().width if stdout().is_terminal else None
    for number, one in enumerate(explanations):
        if number:
            yield Text()
        count = most if number == 0 else min(most, STEP_TERMS)
        yield from explanation_lines(one, subject.x.shape, width=width, most=count)


def _record(
    explanations: list[Explanation], subject: Subject, files: list[str], heat: Heat | None
) -> dict[str, Any]:
    """Return the answer as JSON."""
    from cnnviz import __version__
    from cnnviz.view.explained import explanation_record

    first, *rest = (explanation_record(one) for one in explanations)
    return {
        "cnnviz": __version__,
        "input": subject.input_record(),
        "pipeline": str(subject.pipeline),
        **first,
        "trace": rest,
        **({} if heat is None else {"heatmap": heat.record()}),
        "files": files,
    }
