"""What a run is asked to do: every option read and checked before the first image is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cnnviz.cli.options import InputOptions, NetworkOptions, OutputOptions, TableOptions
from cnnviz.errors import RequestError

if TYPE_CHECKING:
    from cnnviz.cli.pictures import Pictures
    from cnnviz.core.pipeline import Pipeline
    from cnnviz.core.types import Params
    from cnnviz.files import images
    from cnnviz.files.spec import InputSettings


class Job(NamedTuple):
    """Everything a run needs besides the image: checked before the first one is opened."""

    pipeline: Pipeline
    input: images.InputOptions
    output: OutputOptions
    table: TableOptions
    network: NetworkOptions
    labels: tuple[str, ...] | None
    pictures: Pictures
    columns: Sequence[str] | None
    written: frozenset[str]  # names of the stages to draw
    params: Params | None  # weights that came with the pipeline


def read_job(
    pipeline: Pipeline,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
    network: NetworkOptions,
    own: InputSettings | None = None,
    params: Params | None = None,
) -> Job:
    """Read every option that does not need an image; RequestError for a wrong one.

    What the user leaves open is as the pipeline's `own` settings say.
    """
    from cnnviz.cli.pictures import Pictures

    if not output.out:
        raise RequestError("--out names no folder", hint="--out . is the current one")
    nodes = pipeline.nodes
    if output.stages is None:
        written = [node.name for node in nodes]
    else:
        chosen = [name.strip() for name in output.stages.split(",") if name.strip()]
        if not chosen:
            raise RequestError("--stages names no stage", hint="give names or numbers: --stages 1")
        written = [nodes[pipeline.find(name)].name for name in chosen]
    return Job(
        pipeline=pipeline,
        input=input_options(inputs, own),
        output=output,
        table=table,
        network=replace(
            network,
            weights=own.weights if own and network.weights is None else network.weights,
        ),
        labels=_labels(network, own),
        pictures=Pictures(
            scale=output.scale,
            value_range=_range(output.value_range),
            colormap=output.colormap,
            only=output.only,
            nrow=output.nrow,
            sort=output.sort,
            limit=output.limit,
        ),
        columns=_columns(table),
        written=frozenset(written),
        params=params,
    )


def input_options(inputs: InputOptions, own: InputSettings | None = None) -> images.InputOptions:
    """Return how images are prepared: as the flags say, else as the pipeline's `own` settings do.

    Size, crop and fit say one thing together: a flag for one of them takes the place of all three.
    """
    from cnnviz.files import images
    from cnnviz.files.spec import InputSettings

    own = own or InputSettings()
    sized = own
    if any(flag is not None for flag in (inputs.resize, inputs.crop, inputs.fit)):
        sized = InputSettings(
            size=_size(inputs.resize, "--resize"), crop=_size(inputs.crop, "--crop"), fit=inputs.fit
        )
    return images.InputOptions(
        color=inputs.color or own.color or "gray",
        resize=sized.size,
        crop=sized.crop,
        fit=sized.fit or "none",
        invert=inputs.invert or own.invert or "never",
        input_range=_range_of_input(inputs, own),
        mean=_numbers(inputs.mean, "--mean") or own.mean,
        std=_numbers(inputs.std, "--std") or own.std,
        raw=inputs.raw,
        background=inputs.background,
        max_pixels=inputs.max_pixels,
    )


def _range_of_input(inputs: InputOptions, own: InputSettings) -> float | None:
    if inputs.raw and inputs.input_range is None:
        return None  # stored integers have the range they have
    return own.input_range if inputs.input_range is None else inputs.input_range


def _size(text: str | None, name: str) -> tuple[int, int] | None:
    if text is None:
        return None
    from cnnviz.files.language import parse_size

    return parse_size(text, name)


def _labels(network: NetworkOptions, own: InputSettings | None) -> tuple[str, ...] | None:
    if network.labels is None:
        return own.labels if own else None
    from pathlib import Path

    from cnnviz.files.spec import read_labels

    return read_labels(Path(network.labels))


def _columns(table: TableOptions) -> Sequence[str] | None:
    if table.columns is None:
        return None
    from cnnviz.view.columns import parse_columns

    return parse_columns(table.columns)


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
