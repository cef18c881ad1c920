"""Layers that join or steer branches: from, add, concat; and magnitude, which joins channels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnviz.core.layers.base import Layer, register, settings
from cnnviz.core.options import option, stage_name
from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.core.window import Field
from cnnviz.errors import CnnvizError, RequestError


def read_stages(value: Any, name: str) -> tuple[str, ...]:
    """Read one stage or several."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    if not values:
        raise RequestError(f"{name} is empty", hint="name at least one earlier stage")
    return tuple(stage_name(one, name) for one in values)


@register
@settings
class From(Layer):
    """Not a stage: the next layer reads the stage named here."""

    name: ClassVar[str] = "from"
    family: ClassVar[str] = "graph"
    summary: ClassVar[str] = "continue from an earlier stage; input is the image"
    formula: ClassVar[str] = "x"
    is_stage: ClassVar[bool] = False

    stage: str = option(stage_name, "the stage to continue from")

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the named stage's shape."""
        return shapes[0]

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the named stage's output."""
        return inputs[0]

    def references(self) -> tuple[str, ...]:
        """Return the stage to continue from."""
        return (self.stage,)


@settings
class Merge(Layer):
    """Layers that take the current stage first, then those they name."""

    family: ClassVar[str] = "graph"
    arity: ClassVar[tuple[int, int | None]] = (2, None)

    stages: tuple[str, ...] = option(
        read_stages, "the stages that join the current one", variadic=lambda _: True
    )

    def references(self) -> tuple[str, ...]:
        """Return the stages named."""
        return self.stages


@register
@settings
class Add(Merge):
    """Sum of stages, as residual networks have: He et al., CVPR 2016."""

    name: ClassVar[str] = "add"
    summary: ClassVar[str] = "add earlier stages to this one, value by value (residual networks)"
    formula: ClassVar[str] = "S = I₁ + I₂ + …"

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape all inputs have."""
        for other in shapes[1:]:
            if other != shapes[0]:
                raise CnnvizError(
                    f"add needs equal shapes, not {_by(shapes[0])} and {_by(other)}",
                    hint="a 1×1 conv with the right filters and stride makes them equal",
                )
        return shapes[0]

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the sum."""
        total = inputs[0] + inputs[1]
        for other in inputs[2:]:
            total += other
        return total


@register
@settings
class Concat(Merge):
    """Channels of several stages side by side, as Inception and DenseNet have."""

    name: ClassVar[str] = "concat"
    summary: ClassVar[str] = "put the channels of stages behind one another (Inception, Fire)"
    formula: ClassVar[str] = "S = [I₁; I₂; …] along the channels"

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the channels added up."""
        for other in shapes[1:]:
            if other[1:] != shapes[0][1:]:
                raise CnnvizError(
                    f"concat needs maps of one size, not {_by(shapes[0])} and {_by(other)}",
                    hint="padding=same and equal strides keep branches alike",
                )
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the inputs' names one behind the other, if all have some."""
        return sum(names, ()) if all(names) else ()

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the inputs one behind the other."""
        return np.concatenate(inputs, axis=0)


@register
@settings
class Magnitude(Layer):
    """Root of the sum of squares over channels, such as an edge's strength from x and y."""

    name: ClassVar[str] = "magnitude"
    family: ClassVar[str] = "graph"
    summary: ClassVar[str] = "the length of each pixel's channel vector: edge strength of sobel"
    formula: ClassVar[str] = "S(y,x) = √ Σ I(c,y,x)²"

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return one map (or one number for a vector)."""
        return (1, *shapes[0][1:])

    def field(self, shapes: tuple[Shape, ...], fields: tuple[Field, ...]) -> Field:
        """Return the whole for a vector; each pixel keeps to its own channels."""
        return fields[0].whole() if len(shapes[0]) == 1 else fields[0]

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the one map shows."""
        return ("magnitude",)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the channels' Euclidean length."""
        # hypot neither overflows nor underflows where squares would.
        return np.hypot.reduce(inputs[0], axis=0, keepdims=True, initial=np.float32(0))


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape))
