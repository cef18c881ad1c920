"""``cnnviz shapes``: the table without an image, and where each of its numbers comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnviz.cli.options import TABLE, TableOptions
from cnnviz.errors import CnnvizError, RequestError

EXAMPLES = (
    "cnnviz shapes vgg16 --input 3x224x224",
    "cnnviz shapes 'conv(64, 7, stride=2, padding=same) -> maxpool(3, 2)' --input 3x224x224",
    "cnnviz shapes 'conv(64, 7, stride=2, padding=same)' --input 3x224x224 --explain",
    "cnnviz shapes lenet5 --format md",
)


def shapes(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", help="A pipeline: text, a .toml or .onnx file, or a bundled name.",
            show_default=False,
        ),
    ],
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

    loaded = load_spec(spec)
    shape = loaded.input.shape if size is None else parse_shape(size)
    if shape is None:
        raise RequestError("--input is missing", hint="give the shape: --input 3x224x224")
    loaded = loaded.fitted(shape)
    for text in loaded.notes:
        note(f"{loaded.name}: {text}")
    if explain:
        from cnnviz.cli.derivation import explain_shapes

        explain_shapes(spec, loaded, shape, table)
        return
    try:
        rows = list(loaded.pipeline.rows(shape, loaded.params))
    except CnnvizError as error:
        more = "--explain shows the arithmetic, and changes that would fit"
        hint = f"{error.hint}\n  {more}" if error.hint else more
        raise type(error)(error.message, hint=hint) from None
    pipeline, totals = loaded.pipeline, loaded.pipeline.totals(shape)
    stages = [stage_record(row) for row in rows]
    record = document(__version__, None, shape, None, str(pipeline), stages, totals)
    columns = None if table.columns is None else parse_columns(table.columns)
    print_report(stage_report(rows, totals, record, columns), table.format)
