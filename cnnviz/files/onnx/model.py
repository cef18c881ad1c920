"""A model -> a pipeline, built for the size at hand where the model leaves its size open."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np

from cnnviz.core.pipeline import Pipeline
from cnnviz.core.types import Pair, Params, Shape
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.building import OPERATORS, Built, build, channels_last
from cnnviz.files.onnx.protobuf import Graph, read_model

__all__ = ["OPERATORS", "Model", "build", "load_onnx"]

STAND_INS = (224, 288)
"""Sides an input of any size is tried with: what comes of both is what comes of every size."""

USUAL = (
    28, 32, 64, 96, 112, 128, 160, 192, 227, 256, 260, 299, 300, 320, 331, 380, 384, 416, 448, 456,
    480, 512, 528, 600, 608, 640, 8, 16, 24, 48, 72, 80, 100, 120, 144, 150, 176, 180, 200, 240,
)  # fmt: skip
"""Other sides that are tried where a weight wants one size."""

LARGEST_INPUT = 1 << 31  # values


class Model(NamedTuple):
    """A pipeline, its parameters, and the image the model was made for."""

    pipeline: Pipeline
    params: Params
    channels: int | None  # None: a vector, of any picture with that many values
    size: Pair | None  # rows, columns; None: any
    largest: float | None = None  # of stored samples, if the model takes such
    notes: tuple[str, ...] = ()
    fitted: Callable[[Shape], Model] | None = None
    """Where the layers depend on the size: the model for an input of that shape (C, H, W)."""


def load_onnx(path: str) -> Model:
    """Read a model as a pipeline of stages with its nodes' names.

    Raises
    ------
    CnnvizError
        If the file cannot be read or is no model, and for operators that cnnviz has no layer for:
        all of them at once, with the stages they sit in.
    """
    try:
        return _model(read_model(Path(path)), path)
    except CnnvizError as error:
        raise CnnvizError(f"{path}: {error.message}", hint=error.hint) from None


def _model(graph: Graph, path: str) -> Model:
    _check_input(graph)
    image = graph.input
    first, second = (_filled(image.shape, side) for side in STAND_INS)
    if (size := prod(first)) > LARGEST_INPUT:
        raise CnnvizError(f"the input {image.label} is {image.text}, {size:,} values")
    if first == second:
        return _of(build(graph, first), graph, fixed=True)
    tries = [_tried(graph, one) for one in (first, second)]
    built = list(filter(_is_built, tries)) or [_of_one_size(graph, tries)]
    if len(built) == 1:
        rows, columns = built[0].input_shape[1:]
        said = f"its weights fix the size of its input {image.text}: {rows}×{columns}"
        return _of(built[0], graph, fixed=True, notes=(said,))
    model = _of(built[0], graph, fixed=False)
    if _same(*built):
        return model
    return model._replace(fitted=partial(_fitted, graph, path))


def _check_input(graph: Graph) -> None:
    image, shape = graph.input, graph.input.shape
    if len(shape) < 2 or len(shape) > 4:
        raise CnnvizError(
            f"the input {image.label} is {image.text}, not a picture",
            hint="cnnviz runs models of (1, channels, rows, columns), or (1, N)",
        )
    if shape[0] not in (None, 1):
        raise CnnvizError(
            f"the input {image.label} is a batch of {shape[0]}",
            hint="export the model with a batch of 1, or of any size",
        )
    channels = shape[3 if channels_last(graph) else 1]
    if any(side is not None and side < 1 for side in shape) or channels is None:
        raise CnnvizError(
            f"the input {image.label} is {image.text}", hint="the number of channels must be fixed"
        )


def _of_one_size(graph: Graph, tries: list[Built | CnnvizError]) -> Built:
    """Return what is built at the one size that some weight wants; raise what went wrong if none.

    What fails alike at two sizes does not fail for the size's sake.
    """
    errors = [one for one in tries if isinstance(one, CnnvizError)]
    if errors[0].message == errors[1].message:
        raise errors[0]
    found = (_tried(graph, _filled(graph.input.shape, side)) for side in USUAL)
    for one in filter(_is_built, found):
        return one
    tried = "×".join(map(str, _filled(graph.input.shape, STAND_INS[0])[1:]))
    raise CnnvizError(
        f"{errors[0].message} (its input is {graph.input.text}, {tried} was tried)",
        hint="its layers want one size: export it with that size",
    )


def _fitted(graph: Graph, path: str, shape: Shape) -> Model:
    """Return the model for an input of `shape`, (C, H, W)."""
    channels, *sides = shape
    last = channels_last(graph)
    full = (1, *sides, channels) if last else (1, channels, *sides)
    if len(graph.input.shape) == 3:
        full = (1, channels, sides[1])
    try:
        return _of(build(graph, full), graph, fixed=False)
    except CnnvizError as error:
        near = "x".join(str(max(32, round(side / 32) * 32)) for side in sides)
        raise CnnvizError(
            f"{path}: {error.message} (its input is {graph.input.text}, {sides[0]}×{sides[1]} "
            "was tried)",
            hint=f"sides that are multiples of 32 often fit: --resize {near}",
        ) from None


def _filled(shape: tuple[int | None, ...], side: int) -> Shape:
    return (1, *(side if one is None else one for one in shape[1:]))


def _is_built(one: Built | CnnvizError) -> TypeGuard[Built]:
    return isinstance(one, Built)


def _tried(graph: Graph, shape: Shape) -> Built | CnnvizError:
    try:
        return build(graph, shape)
    except CnnvizError as error:
        return error


def _of(built: Built, graph: Graph, *, fixed: bool, notes: tuple[str, ...] = ()) -> Model:
    channels, rows, columns = built.input_shape
    vector = len(graph.input.shape) == 2
    return Model(
        built.pipeline,
        built.params,
        channels=None if vector else channels,
        size=(rows, columns) if fixed and not vector else None,
        largest=graph.input.largest,
        notes=(*notes, *built.notes),
    )


def _same(one: Built, two: Built) -> bool:
    """Tell whether two sizes gave one network, weights and all."""
    return one.pipeline == two.pipeline and all(
        np.array_equal(array, two.params[key], equal_nan=True) for key, array in one.params.items()
    )
