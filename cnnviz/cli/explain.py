"""``cnnviz explain``: why one value is what it is, and where on the image it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cnnviz.cli.options import (
    ColorOptions,
    ComputeOptions,
    FolderOptions,
    InputOptions,
    WeightOptions,
)

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.explaining import Explanation

EXAMPLES = (
    "cnnviz explain photo.jpg 'conv(sobel_x) -> relu -> maxpool(2)' --at conv1:0,10,20",
    "cnnviz explain photo.jpg edges --at maxpool1:max --trace",
    "cnnviz explain digit.png digits --at softmax1:3 --format json",
)


def explain(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE", help="An image, a number matrix, or - for stdin.", show_default=False
        ),
    ],
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", help="A pipeline: text, a .toml or .onnx file, or a bundled name.",
            show_default=False,
        ),
    ],
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="STAGE:C,ROW,COL",
            help="The value: a stage by name or number, and its channel, row and column (an index "
            "in a vector); or STAGE:max, STAGE:min.",
            show_default=False,
        ),
    ],
    inputs: InputOptions,
    weights: WeightOptions,
    compute: ComputeOptions,
    color: ColorOptions,
    folder: FolderOptions,
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
    format: Annotated[  # noqa: A002 - the flag's name
        Literal["table", "json"], typer.Option(help="How it is told; json has every term.")
    ] = "table",
) -> None:  # fmt: skip
    """Explain one value: its arithmetic, term by term, and where on the input it looks.

    Only what the value depends on is computed.
    """
    from cnnviz.cli import process
    from cnnviz.cli.subject import read_subject
    from cnnviz.core.engine import check_algorithm, computing
    from cnnviz.core.explaining import locate, read_place
    from cnnviz.core.explaining import trace as traced
    from cnnviz.core.threads import set_threads
    from cnnviz.files.spec import load_spec

    process.start_work()
    set_threads(compute.threads)
    check_algorithm(compute.algorithm)
    loaded = load_spec(spec)
    place = read_place(loaded.pipeline, at)
    with computing(compute.precision, compute.algorithm):
        subject = read_subject(image, loaded, inputs, weights.weights)
        x, params = subject.x, subject.params
        cell = locate(loaded.pipeline, x, place, params, seed=compute.seed)
        steps = traced(loaded.pipeline, x, place.stage, cell, params, seed=compute.seed)
        told = list(steps) if trace else [next(steps)]
    _print(told, subject, folder, format, most=terms)


def _print(
    told: list[Explanation], subject: Subject, folder: FolderOptions, form: str, *, most: int
) -> None:
    from cnnviz.cli.console import stdout
    from cnnviz.cli.printing import write
    from cnnviz.core.jsontext import json_text
    from cnnviz.view.explained import explanation_lines

    record = _record(told, subject, [])
    if form == "json":
        write(json_text(record) + "\n")
        return
    if folder.quiet:
        return
    console = stdout()
    width = console.width if console.is_terminal else None
    for number, one in enumerate(told):
        if number:
            console.print()
        for line in explanation_lines(
            one, subject.x.shape, width=width, most=most if not number else 3
        ):
            console.print(line, soft_wrap=True)


def _record(told: list[Explanation], subject: Subject, files: list[str]) -> dict[str, Any]:
    """Return the answer as JSON."""
    from cnnviz import __version__
    from cnnviz.core.statistics import finite_range
    from cnnviz.view.explained import explanation_record

    low, high = finite_range(subject.x)
    first, *rest = (explanation_record(one) for one in told)
    return {
        "cnnviz": __version__,
        "input": {"path": subject.source, "shape": list(subject.x.shape), "min": low, "max": high},
        "pipeline": str(subject.pipeline),
        **first,
        "trace": rest,
        "files": files,
    }
