"""``cnnviz pipeline``: a whole network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnviz.cli.options import InputOptions, NetworkOptions, OutputOptions, TableOptions
from cnnviz.errors import RequestError

EXAMPLES = (
    "cnnviz pipeline sample:chelsea edges",
    "cnnviz pipeline sample:chelsea 'conv(sobel) -> relu -> maxpool(2)' --show",
    "cnnviz pipeline sample:digit_3 digits --top 3",
    "cnnviz pipeline sample:chelsea sample:coffee 'conv(8) -> relu -> gap' --color rgb",
)


def pipeline(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... SPEC",
            help="Images as for convolve; then the pipeline: text, a .toml or .onnx file, or a "
            "bundled name (edges, digits, lenet5, resnet18, efficientnet_lite0, …).",
            show_default=False,
        ),
    ],
    network: NetworkOptions,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
) -> int:
    """Run a pipeline of layers, draw every stage, and end in predictions.

    Layers are joined by ->; 'as NAME' names a stage, from(NAME) continues from it.
    """
    from cnnviz.cli.images import run_images
    from cnnviz.cli.subject import read_without, tell_notes
    from cnnviz.core.layers import ALIASES, LAYERS
    from cnnviz.files.spec import bundled, load_spec

    *sources, text = images
    if not sources:
        names = (*bundled(), *LAYERS, *ALIASES)
        is_spec = text in names or text.endswith((".toml", ".onnx")) or {"(", ">", "→"} & set(text)
        missing = "IMAGE" if is_spec and not Path(text).is_dir() else "SPEC"
        raise RequestError(
            f"{missing} is missing: only {text!r} is given",
            hint="cnnviz pipeline IMAGE… SPEC, such as: cnnviz pipeline sample:chelsea edges",
        )
    spec = load_spec(text, allow_outside=network.allow_outside)
    spec = spec.without(read_without(network.without))
    tell_notes(spec)
    return run_images(sources, spec, inputs, output, table, network)
