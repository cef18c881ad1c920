"""``cnnviz convolve``: one stage of chosen kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnviz.cli.options import (
    WINDOW,
    Images,
    InputOptions,
    OutputOptions,
    TableOptions,
    WindowOptions,
)
from cnnviz.errors import RequestError

EXAMPLES = (
    "cnnviz convolve sample:chelsea -k sobel_x --padding same",
    "cnnviz convolve sample:coffee -k 'gaussian(9, sigma=2)' -k sharpen --padding same --show",
    "cnnviz convolve sample:tutorial -k '1,0,1; 0,1,0; 1,0,1' --values",
)


def convolve(
    images: Images,
    window: WindowOptions,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel",
            "-k",
            metavar="KERNEL",
            help="A name, a bank, gaussian(7, sigma=1.5), numbers '1,0,-1; 2,0,-2; 1,0,-1' or "
            "@file; repeatable. (default: sobel)",
            rich_help_panel=WINDOW,
        ),
    ] = None,
    flip: Annotated[
        bool,
        typer.Option(
            "--flip", help="Rotate kernels by 180°: true convolution.", rich_help_panel=WINDOW
        ),
    ] = False,
    depthwise: Annotated[
        bool,
        typer.Option("--depthwise", help="Each channel on its own.", rich_help_panel=WINDOW),
    ] = False,
) -> int:
    """Slide kernels over images and draw what each one finds.

    The operation is cross-correlation, as in every CNN.
    """
    from cnnviz.cli.console import note
    from cnnviz.cli.images import run_images
    from cnnviz.core.kernels import KERNELS
    from cnnviz.core.layers import make_layer
    from cnnviz.core.pipeline import Pipeline, Term
    from cnnviz.files.kernel_text import doubt, parse_kernels
    from cnnviz.files.spec import Spec

    for word in images:
        if word in KERNELS and not Path(word).exists():
            raise RequestError(f"{word!r} is a kernel, not a picture", hint=f"give it by -k {word}")
    groups = tuple(parse_kernels(text) for text in kernel or ["sobel"])
    for group in groups:
        if said := doubt(group):
            note(said)
    layer = make_layer(
        "depthwise" if depthwise else "conv", *groups, flip=flip, **window.settings()
    )
    spec = Spec(Pipeline.from_terms([Term(layer)]), "pipeline")
    return run_images(images, spec, inputs, output, table)
