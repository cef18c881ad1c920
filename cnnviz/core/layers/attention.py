"""What attention and ConvNeXt add: layer normalisation, and matrix products of two stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnviz.core.arithmetic import (
    Arithmetic,
    Misfit,
    block,
    by,
    by_side,
    curve_steps,
    joined_sum,
    single,
    spans_of,
    summed,
    written,
)
from cnnviz.core.field import ALL, SAME, Reach, Reads
from cnnviz.core.layers.base import (
    Layer,
    ParamSpec,
    register,
    require_axes,
    require_maps,
    settings,
)
from cnnviz.core.layers.graph import Merge
from cnnviz.core.settings import flag, number, option, read_axes
from cnnviz.core.types import Params, Seed, Shape, Tensor
from cnnviz.errors import CnnvizError


@register
@settings
class LayerNorm(Layer):
    """Layer normalisation: Ba, Kiros & Hinton 2016."""

    name: ClassVar[str] = "layernorm"
    family: ClassVar[str] = "normalization"
    keeps_maps: ClassVar[bool] = True
    summary: ClassVar[str] = "give what lies along some axes mean 0 and variance 1 (ConvNeXt)"
    formula: ClassVar[str] = "(x − mean) / √(variance + eps) · weight + bias, along the axes"
    weights_from: ClassVar[str] = "set"

    axes: tuple[int, ...] = option(
        read_axes, "that are normalised together: 0 channels, 1 rows, 2 columns", default=0
    )
    eps: float = option(number(least=0), "added to the variance", default=1e-5)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        require_axes(self.axes, shapes[0], self.name)
        return shapes[0]

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return everything along the axes."""
        return (tuple(ALL if axis in self.axes else SAME for axis in range(len(shapes[0]))),)

    def _own(self, shape: Shape) -> Shape:
        return tuple(side if axis in self.axes else 1 for axis, side in enumerate(shape))

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return scale and shift, one for each place along the axes."""
        return dict.fromkeys(("weight", "bias"), ParamSpec(self._own(shapes[0])))

    def initial_params(self, seed: Seed, *shapes: Shape) -> Params:
        """Return scale 1 and shift 0."""
        own = self._own(shapes[0])
        return {"weight": np.ones(own, np.float32), "bias": np.zeros(own, np.float32)}

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Normalise; statistics are summed in float64."""
        x = inputs[0]
        mean = x.mean(axis=self.axes, dtype=np.float64, keepdims=True)
        centred: Tensor = x - mean.astype(np.float32)
        variance = np.square(centred, dtype=np.float64).mean(axis=self.axes, keepdims=True)
        centred *= (1 / np.sqrt(variance + self.eps)).astype(np.float32)
        return centred * params["weight"] + params["bias"]

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return (h − mean h − x̂ · mean h·x̂)/σ, x̂ being x normalised and h = g · weight."""
        x = inputs[0].astype(np.float64)
        spread = np.sqrt(x.var(axis=self.axes, keepdims=True) + self.eps)
        normal = (x - x.mean(axis=self.axes, keepdims=True)) / spread
        scaled = gradient * params["weight"]
        along = (scaled * normal).mean(axis=self.axes, keepdims=True)
        centred = scaled - scaled.mean(axis=self.axes, keepdims=True) - normal * along
        return ((centred / spread).astype(np.float32),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the value times its scale, and the shift, from mean and variance."""
        spans = spans_of(inputs[0], at, self.axes)
        part = inputs[0][tuple(slice(span.start, span.stop) for span in spans)]
        values = part.astype(np.float64)
        own = tuple(index if axis in self.axes else 0 for axis, index in enumerate(at))
        weight, bias = (float(params[name][own]) for name in ("weight", "bias"))
        with np.errstate(all="ignore"):
            mean, variance = float(values.mean()), float(values.var())
            scale = float(weight / np.sqrt(variance + self.eps))
        terms, shift = single(inputs[0], at, weight=scale), bias - mean * scale
        numbers = {"x": float(terms.value[0]), "mean": mean, "variance": variance}
        numbers |= {"eps": self.eps, "weight": weight, "bias": bias}
        formula, _, _ = self.formula.partition(",")
        facts = f"mean {written(mean)} and variance {written(variance)} of {values.size:,} values"
        steps = curve_steps(formula, numbers, joined_sum(terms, shift))
        return summed(terms, facts, *steps, bias=shift)


@register
@settings
class Matmul(Merge):
    """Matrix product of two stages, map by map: attention, Vaswani et al., NeurIPS 2017."""

    name: ClassVar[str] = "matmul"
    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    summary: ClassVar[str] = "multiply this stage's maps as matrices by another's (attention)"
    formula: ClassVar[str] = "S(c,y,x) = Σ I₁(c,y,n) · I₂(c,x,n); not transposed: I₂(c,n,x)"

    transpose: bool = option(flag, "turn the second over its diagonal first", default=True)

    def _second(self, shape: Shape) -> Shape:
        """Return the shape of the second as a factor."""
        channels, rows, columns = require_maps(shape, self.name)
        return (channels, columns, rows) if self.transpose else shape

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C, rows of the first, columns of the second)."""
        one, two = require_maps(shapes[0], self.name), self._second(shapes[1])
        if one[0] != two[0] or one[2] != two[1]:
            raise CnnvizError(
                f"matmul: {by(one)} does not meet {by(shapes[1])}",
                hint="channels must be as many, and rows as long as what they are multiplied by; "
                "transpose=false takes columns of the second",
            )
        return (one[0], one[1], two[2])

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return which side of which input each one was, and whether the others meet."""
        one, two = require_maps(shapes[0], self.name), self._second(shapes[1])
        met = f"{one[2]} meets {two[1]}"
        channels = f"{one[0]}, unchanged" if one[0] == two[0] else f"{one[0]} ≠ {two[0]}"
        return {
            **by_side(
                [
                    channels if one[0] == two[0] else Misfit(channels),
                    f"{one[1]}, the first's",
                    f"{two[2]}, the second's {'rows' if self.transpose else 'columns'}",
                ]
            ),
            "products": met if one[2] == two[1] else Misfit(met),
        }

    def macs(self, *shapes: Shape) -> int:
        """Return 0: there are no weights."""
        return 0

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return a row of the first and a row or column of the second."""
        second: Reads = (SAME, Reach(of=2), ALL) if self.transpose else (SAME, ALL, SAME)
        return ((SAME, SAME, ALL), second)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the products."""
        one, two = (np.ascontiguousarray(x) for x in inputs)
        product: Tensor = one @ (two.transpose(0, 2, 1) if self.transpose else two)
        return product

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient times the other factor, from its side."""
        one, two = inputs
        if self.transpose:
            return gradient @ two, gradient.transpose(0, 2, 1) @ one
        return gradient @ two.transpose(0, 2, 1), one.transpose(0, 2, 1) @ gradient

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the products of a row's values with the other's."""
        channel, _, column = at
        other = inputs[1][channel, column] if self.transpose else inputs[1][channel, :, column]
        return summed(block(inputs[0], spans_of(inputs[0], at, (2,)), weight=other))
