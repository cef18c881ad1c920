"""``cnnviz compare``: two pipelines side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnviz.cli.options import (
    ColorOptions,
    ComputeOptions,
    FolderOptions,
    InputOptions,
    TableOptions,
    WeightOptions,
)
from cnnviz.errors import RequestError

EXAMPLES = (
    "cnnviz compare photo.jpg 'maxpool(8)' 'avgpool(8)'",
    "cnnviz compare photo.jpg 'conv(outline, stride=2, padding=same)' --convention pytorch",
    "cnnviz compare digit.png lenet5 'flatten -> dense(64) -> relu -> dense(10) -> softmax'",
)


def compare(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE", help="An image, a number matrix, or - for stdin.", show_default=False
        ),
    ],
    spec_a: Annotated[
        str,
        typer.Argument(
            metavar="SPEC_A", help="A pipeline: text, a .toml or .onnx file, or a bundled name.",
            show_default=False,
        ),
    ],
    colors: ColorOptions,
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
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Draw this stage, by name or number. (default: the last)"
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Draw it in the terminal, too.")] = False,
) -> None:  # fmt: skip
    """Hold two pipelines against each other: shapes, costs, and how their values differ.

    Draws A, B and A - B side by side, A and B on one scale.
    """
    from cnnviz.cli.comparing import Request, run_comparison

    if spec_b is None and convention is None:
        raise RequestError(
            "SPEC_B is missing: only one pipeline is given",
            hint="give another to compare it with, or --convention pytorch",
        )
    request = Request(
        image, spec_a, spec_b, convention, stage, inputs, network, table, folder, colors, compute,
        show=show,
    )  # fmt: skip
    run_comparison(request)
