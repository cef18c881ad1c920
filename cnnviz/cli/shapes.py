"""``cnnviz shapes``: the table without an image, and where each of its numbers comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cnnviz.cli.options import TABLE, SpecOptions, TableOptions
from cnnviz.errors import CnnvizError, RequestError

if TYPE_CHECKING:
    from cnnviz.core.comparison import Side
    from cnnviz.core.types import Shape
    from cnnviz.files.spec import Spec
    from cnnviz.view.report import Report

COLOURS = (1, 3, 4)  # numbers of channels that pictures have
EXAMPLES = (
    "cnnviz shapes vgg16 --input 3x224x224",
    "cnnviz shapes 'conv(64, 7, stride=2, padding=same) -> maxpool(3, 2)' --input 3x224x224",
    "cnnviz shapes 'conv(64, 7, stride=2, padding=same)' --input 3x224x224 --explain",
    "cnnviz shapes vgg16 resnet18",
    "cnnviz shapes lenet5 --format md",
)


def shapes(
    specs: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC...",
            help="A pipeline: text, a .toml or .onnx file, or a bundled name; or two of them.",
            show_default=False,
        ),
    ],
    read: SpecOptions,
    table: TableOptions,
    size: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="CxHxW", help="The input's shape. (default: the pipeline's own)"
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="In place of the table, each stage's size formula with its numbers, its padding "
            "and the pixels no window reads; of what does not fit, changes that would.",
            rich_help_panel=TABLE,
        ),
    ] = False,
) -> None:  # fmt: skip
    """Print shapes, parameters and receptive fields; no image is read, no network allocated."""
    from cnnviz import __version__
    from cnnviz.cli.console import note
    from cnnviz.cli.printing import print_report
    from cnnviz.files.language import parse_shape
    from cnnviz.files.spec import load_spec
    from cnnviz.view.columns import parse_columns, stage_report
    from cnnviz.view.records import document, stage_record

    if len(specs) > 2 or (explain and len(specs) > 1):
        most = "--explain takes one pipeline" if explain else "two pipelines stand side by side"
        raise RequestError(f"{len(specs)} are given: {most}", hint="quote each: 'conv(8) -> relu'")
    columns = None if table.columns is None else parse_columns(table.columns)
    loaded = [load_spec(spec, allow_outside=read.allow_outside) for spec in specs]
    shapes = [one.input.shape if size is None else parse_shape(size) for one in loaded]
    shape = shapes[0] or shapes[-1]  # the one that has none takes the other's
    if size is not None and shape is not None and (said := _doubt(size, shape)):
        note(f"shapes are channels x rows x columns: {said}")
    if shape is None:
        raise RequestError("--input is missing", hint="give the shape: --input 3x224x224")
    loaded = [one.fitted(own or shape) for one, own in zip(loaded, shapes, strict=True)]
    for one in loaded:
        for text in one.notes:
            note(f"{one.name}: {text}")
    if explain:
        from cnnviz.cli.derived_shapes import explain_shapes

        explain_shapes(specs[0], loaded[0], shape, table)
        return
    sides = [_side(one, own or shape) for one, own in zip(loaded, shapes, strict=True)]
    if len(sides) == 1:
        (side,) = sides
        stages = [stage_record(row) for row in side.entries]
        record = document(__version__, None, shape, None, side.text, stages, side.totals)
        report = stage_report(side.entries, side.totals, record, columns)
    else:
        report = _beside(sides[0], sides[1], columns)
    print_report(report, table.format)


def _doubt(typed: str, shape: Shape) -> str | None:
    """Return what a shape was read as, and what was probably meant, where the two may differ."""
    from cnnviz.core.types import size_text

    channels = "1 channel" if shape[0] == 1 else f"{shape[0]} channels"
    read = f"{typed} is {channels} of {size_text(shape[1:], 'x')}"
    match len(re.findall(r"\d+", typed)):
        case 1:
            return f"{read}; a gray picture is 1x{typed}x{typed}, of RGB 3x{typed}x{typed}"
        case 2:
            return f"{read}; of RGB it is {size_text((3, *shape[1:]), 'x')}"
    if shape[-1] in COLOURS and shape[0] not in COLOURS:
        turned = size_text((shape[-1], *shape[:-1]), "x")
        return f"{read}; did you mean --input {turned}?"
    return None


def _side(spec: Spec, shape: Shape) -> Side:
    """Return what a pipeline promises for an input of `shape`."""
    from cnnviz.core.comparison import Side

    pipeline = spec.pipeline
    try:
        rows = tuple(pipeline.rows(shape, spec.params))
    except CnnvizError as error:
        more = "--explain shows the arithmetic, and changes that would fit"
        hint = f"{error.hint}\n  {more}" if error.hint else more
        raise type(error)(error.message, hint=hint) from None
    name = str(pipeline) if spec.name == "pipeline" else spec.name
    return Side(name, str(pipeline), shape, rows, pipeline.totals(shape))


def _beside(a: Side, b: Side, columns: Sequence[str] | None) -> Report:
    """Return the tables of two pipelines side by side, and the ratios of their totals."""
    from cnnviz import __version__
    from cnnviz.core.comparison import Comparison, part_at
    from cnnviz.view.columns import row_of
    from cnnviz.view.differences import comparison_record, comparison_report

    rows = [[row_of(entry) for entry in side.entries] for side in (a, b)]
    comparison = Comparison(a, b, part_at(a.shape, rows[0], b.shape, rows[1]), ())
    record = comparison_record(__version__, None, comparison, (None, None), (), ())
    return comparison_report(comparison, columns, record)
