"""``cnnviz pool``: one stage of pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from cnnviz.cli.options import (
    WINDOW,
    Images,
    InputOptions,
    OutputOptions,
    TableOptions,
    WindowOptions,
    choice,
)
from cnnviz.errors import RequestError

EXAMPLES = (
    "cnnviz pool sample:noise --mode max --kernel-size 4",
    "cnnviz pool sample:noise --mode avg --kernel-size 4",
    "cnnviz pool sample:chelsea --mode avg -k 3,5 --stride 2 --padding same",
    "cnnviz pool sample:chelsea --mode adaptive-avg --output-size 7",
)

LAYERS = {
    "max": "maxpool",
    "avg": "avgpool",
    "min": "minpool",
    "lp": "lppool",
    "global-max": "global_maxpool",
    "global-avg": "global_avgpool",
    "adaptive-max": "adaptive_maxpool",
    "adaptive-avg": "adaptive_avgpool",
}


OTHER_NAMES = {
    "average": "avg",
    "mean": "avg",
    "maximum": "max",
    "minimum": "min",
    "gap": "global-avg",
    **{layer: mode for mode, layer in LAYERS.items()},
}
"""What people call the modes, too."""


@dataclass(frozen=True, eq=False)
class PoolOptions:
    """What a window's values become."""

    SHOWN: ClassVar[tuple[str, ...]] = ("mode", "kernel_size", "output_size")

    mode: Annotated[
        str,
        typer.Option(
            **choice("mode", *LAYERS, also=OTHER_NAMES),
            help=f"What is kept of each window: {', '.join(LAYERS)}.",
            rich_help_panel=WINDOW,
        ),
    ] = "max"
    kernel_size: Annotated[
        str | None,
        typer.Option(
            "--kernel-size",
            "-k",
            metavar="N|H,W",
            help="The window. (default: 2)",
            rich_help_panel=WINDOW,
        ),
    ] = None
    output_size: Annotated[
        str | None,
        typer.Option(metavar="N|H,W", help="Of adaptive pooling.", rich_help_panel=WINDOW),
    ] = None
    norm_type: Annotated[
        float | None,
        typer.Option(metavar="P", help="Of lp pooling. (default: 2)", rich_help_panel=WINDOW),
    ] = None
    ceil_mode: Annotated[
        bool,
        typer.Option(
            "--ceil-mode", help="Let a last window hang over the edge.", rich_help_panel=WINDOW
        ),
    ] = False
    count_include_pad: Annotated[
        bool,
        typer.Option(
            "--count-include-pad",
            help="Count zero padding in averages (PyTorch does by default; TensorFlow, ONNX and "
            "cnnviz do not).",
            rich_help_panel=WINDOW,
        ),
    ] = False


def pool(
    images: Images,
    pooling: PoolOptions,
    window: WindowOptions,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
) -> int:
    """Make each window of an image into one number: the largest, the mean, …"""  # noqa: D400
    from cnnviz.cli.images import run_images
    from cnnviz.core.layers import find_layer, make_layer
    from cnnviz.core.layers.base import options_of
    from cnnviz.core.pipeline import Pipeline, Term
    from cnnviz.files.language import parse_value
    from cnnviz.files.spec import Spec

    settings: dict[str, Any] = window.settings()
    mode, output_size = pooling.mode, pooling.output_size
    given = {
        "kernel_size": pooling.kernel_size,
        "output_size": output_size,
        "norm_type": pooling.norm_type,
    }
    settings |= {
        name: parse_value(value) if isinstance(value, str) else value
        for name, value in given.items()
        if value is not None
    }
    switches = {
        "ceil_mode": pooling.ceil_mode,
        "count_include_pad": pooling.count_include_pad,
    }
    settings |= {name: True for name, on in switches.items() if on}
    name = LAYERS[mode]
    takes = [field.name for field, _ in options_of(find_layer(name))]
    for setting in settings:
        if setting not in takes:
            raise RequestError(
                f"--{setting.replace('_', '-')} does not go with --mode {mode}",
                hint=f"it takes {_flags(takes)}",
            )
    if "output_size" in takes and output_size is None:
        raise RequestError(f"--mode {mode} needs --output-size", hint="such as --output-size 7")
    pipeline = Pipeline.from_terms([Term(make_layer(name, **settings))])
    return run_images(images, Spec(pipeline, "pipeline"), inputs, output, table)


def _flags(names: list[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names) or "no window options"
