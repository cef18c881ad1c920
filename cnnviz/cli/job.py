"""What a run is asked to do: every option read and checked before the first image is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnnviz.cli.options import InputOptions, NetworkOptions, OutputOptions, TableOptions
from cnnviz.errors import RequestError

if TYPE_CHECKING:
    from cnnviz.cli.pictures import Pictures
    from cnnviz.files import images
    from cnnviz.files.spec import Spec


def set_threads(count: int | None) -> None:
    """Have the arithmetic use `count` threads; must come before NumPy is imported."""
    if count is None:
        return
    for library in ("OPENBLAS", "OMP", "MKL", "VECLIB"):
        end = "MAXIMUM_THREADS" if library == "VECLIB" else "NUM_THREADS"
        os.environ[f"{library}_{end}"] = str(count)


@dataclass(frozen=True)
class Job:
    """Everything a run needs besides the image: checked before the first one is opened."""

    spec: Spec
    input: images.InputOptions
    output: OutputOptions
    table: TableOptions
    network: NetworkOptions
    labels: tuple[str, ...] | None
    pictures: Pictures
    columns: Sequence[str] | None
    written: frozenset[str]  # names of the stages to draw


def read_job(
    spec: Spec,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
    network: NetworkOptions,
) -> Job:
    """Read every option that does not need an image; RequestError for a wrong one."""
    from pathlib import Path

    from cnnviz.cli.pictures import Pictures
    from cnnviz.files import images
    from cnnviz.files.spec import parse_size, read_labels
    from cnnviz.view.columns import parse_columns

    own = spec.input
    if not output.out:
        raise RequestError("--out names no folder", hint="--out . is the current one")
    nodes = spec.pipeline.nodes
    if output.stages is None:
        written = [node.name for node in nodes]
    else:
        chosen = [name.strip() for name in output.stages.split(",") if name.strip()]
        if not chosen:
            raise RequestError("--stages names no stage", hint="give names or numbers: --stages 1")
        written = [nodes[spec.pipeline.find(name)].name for name in chosen]
    return Job(
        spec=spec,
        input=images.InputOptions(
            color=inputs.color or own.color or "gray",
            resize=own.size if inputs.resize is None else parse_size(inputs.resize, "--resize"),
            mean=_numbers(inputs.mean, "--mean") or own.mean,
            std=_numbers(inputs.std, "--std") or own.std,
            raw=inputs.raw,
            background=inputs.background,
            max_pixels=inputs.max_pixels,
        ),
        output=output,
        table=table,
        network=replace(
            network, weights=own.weights if network.weights is None else network.weights
        ),
        labels=own.labels if network.labels is None else read_labels(Path(network.labels)),
        pictures=Pictures(
            scale=output.scale,
            value_range=_range(output.value_range),
            colormap=output.colormap,
            only=output.only,
            nrow=output.nrow,
        ),
        columns=None if table.columns is None else parse_columns(table.columns),
        written=frozenset(written),
    )


def _numbers(text: str | None, name: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(
            f"{name} is {text!r}", hint=f"write numbers: {name} 0.5,0.5,0.5"
        ) from None


def _range(text: str | None) -> tuple[float, float] | None:
    from math import isfinite

    values = _numbers(text, "--value-range")
    if values is None:
        return None
    if len(values) != 2 or not all(map(isfinite, values)) or values[0] >= values[1]:
        raise RequestError(
            f"--value-range is {text!r}", hint="write two numbers, the smaller first: -1,1"
        )
    return values[0], values[1]
