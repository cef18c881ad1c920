"""The door of this package: a file's path in, a pipeline with its parameters out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cnnviz.core.pipeline import Pipeline
from cnnviz.core.types import Pair, Params
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.graph import Built, build
from cnnviz.files.onnx.reading import Graph, read_model

STAND_INS = (224, 288)
"""Sides an input of any size is tried with: what comes of both is what comes of every size."""

LARGEST_INPUT = 1 << 31  # values


class Model(NamedTuple):
    """A pipeline, its parameters, and the image the model was made for."""

    pipeline: Pipeline
    params: Params
    channels: int | None  # None: a vector, of any picture with that many values
    size: Pair | None  # rows, columns; None: any


def load_onnx(path: str) -> Model:
    """Read a model as a pipeline whose stages bear its nodes' names.

    Raises
    ------
    CnnvizError
        If the file cannot be read or is no model, and for operators that cnnviz has no layer for:
        all of them at once, with the stages they sit in.
    """
    try:
        return _model(read_model(Path(path)))
    except CnnvizError as error:
        raise CnnvizError(f"{path}: {error.message}", hint=error.hint) from None


def _model(graph: Graph) -> Model:
    shape = graph.input.shape
    if len(shape) < 2 or len(shape) > 4:
        raise CnnvizError(
            f"the input {graph.input.name} is {graph.input.text}, not a picture",
            hint="cnnviz runs models of (1, channels, rows, columns), or (1, N)",
        )
    if shape[0] not in (None, 1):
        raise CnnvizError(
            f"the input {graph.input.name} is a batch of {shape[0]}",
            hint="export the model with a batch of 1, or of any size",
        )
    if any(side is not None and side < 1 for side in shape) or shape[1] is None:
        raise CnnvizError(
            f"the input {graph.input.name} is {graph.input.text}", hint="every side must be fixed"
        )
    first, second = (_filled(shape, side) for side in STAND_INS)
    size = 1
    for side in first:
        size *= side
    if size > LARGEST_INPUT:
        raise CnnvizError(f"the input {graph.input.name} is {graph.input.text}, {size:,} values")
    built = _built(graph, first, second)
    if first != second and build(graph, second).pipeline != built.pipeline:
        raise CnnvizError(
            f"the layers depend on the size of the input {graph.input.name}, {graph.input.text}",
            hint="fix the size: export the model for the pictures you have",
        )
    if len(shape) == 2:
        return Model(built.pipeline, built.params, None, None)
    channels, rows, columns = built.input_shape
    fixed = first == second
    return Model(built.pipeline, built.params, channels, (rows, columns) if fixed else None)


def _built(graph: Graph, shape: tuple[int, ...], other: tuple[int, ...]) -> Built:
    """Build the graph; what fails otherwise at another size fails for the size's sake."""
    try:
        return build(graph, shape)
    except CnnvizError as error:
        try:
            build(graph, other)
        except CnnvizError as again:
            if again.message == error.message:
                raise error from None
        tried = "×".join(map(str, shape[1:]))
        raise CnnvizError(
            f"{error.message} (its input is {graph.input.text}, {tried} was tried)",
            hint="its layers want one size: export it with that size",
        ) from None


def _filled(shape: tuple[int | None, ...], stand_in: int) -> tuple[int, ...]:
    sides = (stand_in if side is None else side for side in shape[1:])
    return (1, *sides)
