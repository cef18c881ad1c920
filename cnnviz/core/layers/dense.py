"""The classifier's layers: flatten, dense, softmax, log_softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from math import prod
from typing import ClassVar

import numpy as np

from cnnviz.core.arithmetic import (
    Arithmetic,
    Misfit,
    bias_of,
    block,
    by,
    chosen,
    inside,
    joined_sum,
    product,
    spans_of,
    summed,
    written,
)
from cnnviz.core.field import ALL, SAME, Reads
from cnnviz.core.layers.base import (
    Layer,
    ParamSpec,
    Rearrangement,
    register,
    require_axes,
    settings,
)
from cnnviz.core.layers.kernel_groups import he_normal
from cnnviz.core.settings import flag, option, optional, read_axes, whole
from cnnviz.core.threads import Band, cut, share, thread_count
from cnnviz.core.types import Params, Seed, Shape, Tensor
from cnnviz.errors import CnnvizError

BAND_BYTES = 4 << 20  # of the weights one thread reads at a time


@register
@settings
class Flatten(Rearrangement):
    """Maps laid end to end, in C, H, W order."""

    name: ClassVar[str] = "flatten"
    family: ClassVar[str] = "classifier"
    summary: ClassVar[str] = "lay all maps end to end as one vector, map by map, row by row"
    formula: ClassVar[str] = "S(c·H·W + y·W + x) = I(c,y,x)"

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C·H·W,)."""
        return (prod(shapes[0]),)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return C·H·W."""
        shape = shapes[0]
        text = f"{product(shape)} = {prod(shape)}" if len(shape) > 1 else f"{shape[0]}, unchanged"
        return {"values": text}

    def move(self, x: Tensor) -> Tensor:
        """Return the values as one vector."""
        return x.reshape(-1)


@register
@settings
class Dense(Layer):
    """Fully connected layer."""

    name: ClassVar[str] = "dense"
    family: ClassVar[str] = "classifier"
    summary: ClassVar[str] = "every output is a weighted sum of every input (fully connected)"
    formula: ClassVar[str] = "S(k) = b(k) + Σ W(k,n) · I(n)"
    weights_from: ClassVar[str] = "drawn"

    units: int = option(whole(), "how many outputs")
    bias: bool = option(flag, "add a bias", default=True)
    seed: int | None = option(
        optional(whole(0, 2**63)), "draw from this seed", default=None, shown="--seed and the stage"
    )

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (units,)."""
        if prod(shapes[0][1:]) != 1:
            raise CnnvizError(
                f"dense needs a vector, not maps of {'×'.join(map(str, shapes[0]))}",
                hint="put flatten or gap before it",
            )
        return (self.units,)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the units, and whether the input is a vector."""
        first, *rest = shapes[0]
        inputs = f"{first}, each weighed by every unit"
        if prod(rest) != 1:
            text = f"{product(rest)} = {prod(rest)} ≠ 1"
            inputs = Misfit(f"{text}: {by(shapes[0])} is not a vector")
        return {"inputs": inputs, "values": f"{self.units}, one for each unit"}

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return weight (units, N) and bias (units,)."""
        specs = {"weight": ParamSpec((self.units, shapes[0][0]))}
        if self.bias:
            specs["bias"] = ParamSpec((self.units,))
        return specs

    def initial_params(self, seed: Seed, *shapes: Shape) -> Params:
        """Return He-normal weights and a bias of zeros."""
        seed = seed if self.seed is None else self.seed
        params = {"weight": he_normal(seed, (self.units, shapes[0][0]), shapes[0][0])}
        if self.bias:
            params["bias"] = np.zeros(self.units, np.float32)
        return params

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return everything."""
        return ((ALL,) * len(shapes[0]),)

    def macs(self, *shapes: Shape) -> int:
        """Return units × inputs."""
        return self.units * shapes[0][0]

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Multiply by the weight and add the bias."""
        weight, x = params["weight"], inputs[0].reshape(-1)
        output = np.empty(len(weight), np.float32)

        def worker(band: Band) -> None:
            # Not matmul, which keeps the GIL while it multiplies a vector.
            np.dot(weight[slice(*band)], x, out=output[slice(*band)])

        # Reading the weights is all the work there is: two threads read quicker than one.
        threads = thread_count() if weight.nbytes > BAND_BYTES else 1
        share(cut(len(weight), 4 * x.size, BAND_BYTES, threads), lambda: worker, threads)
        if self.bias:
            output += params["bias"]
        return output

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient times the weights."""
        back: Tensor = gradient @ params["weight"]
        return (back.reshape(inputs[0].shape),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the product of every input with its weight."""
        terms = block(inputs[0], spans_of(inputs[0]), weight=params["weight"][at[0]])
        return summed(terms, bias=bias_of(params, at[0]))


@settings
class Competition(Layer):
    """What softmax and its logarithm share: values along some axes compete."""

    family: ClassVar[str] = "classifier"

    axes: tuple[int, ...] = option(
        read_axes, "along which values compete: 0 channels, 1 rows, 2 columns", default=0
    )

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        require_axes(self.axes, shapes[0], self.name)
        return shapes[0]

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return everything along the axes."""
        return (tuple(ALL if axis in self.axes else SAME for axis in range(len(shapes[0]))),)

    def powers(self, at: tuple[int, ...], x: Tensor) -> tuple[Arithmetic, float, float]:
        """Return the exponentials and their sum; the value itself, and the largest value.

        The largest is subtracted first, so that nothing overflows; the ratios stay the same.
        """
        spans = spans_of(x, at, self.axes)
        largest = float(x[tuple(slice(span.start, span.stop) for span in spans)].max())
        terms, own = block(x, spans, part=lambda values: np.exp(values - largest)), float(x[at])
        mine = np.flatnonzero((terms.at == at).all(axis=1))
        total = joined_sum(terms)
        noun, winner = (
            f"exponentials e^(x − {inside(largest)})",
            int(mine[0]) if mine.size else None,
        )
        powers = Arithmetic(terms, "sum", total, total, chosen=winner, noun=noun)
        return powers, own, largest


@register
@settings
class Softmax(Competition):
    """Softmax over the first axis, or others."""

    name: ClassVar[str] = "softmax"
    summary: ClassVar[str] = "make scores into probabilities that sum to 1"
    formula: ClassVar[str] = "S(k) = e^x(k) / Σ e^x(n)"

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the probabilities, shifted so that nothing overflows."""
        x = inputs[0]
        powers = np.exp(x - x.max(axis=self.axes, keepdims=True))
        probabilities: Tensor = powers / powers.sum(axis=self.axes, keepdims=True)
        return probabilities

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return S·(g − Σ g·S), the sum over what competes."""
        total = (gradient * output).sum(axis=self.axes, keepdims=True)
        return (output * (gradient - total),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the exponentials, their sum and this one's share of it."""
        powers, own, largest = self.powers(at, inputs[0])
        power = math.exp(own - largest) if own <= largest else math.nan
        result = power / powers.total
        step = (
            f"e^({written(own)} − {inside(largest)}) / {written(powers.total)} = "
            f"{written(power)} / {written(powers.total)} = {written(result)}"
        )
        return powers._replace(result=result, steps=(step,))


@register
@settings
class LogSoftmax(Competition):
    """Logarithm of softmax over the first axis, or others."""

    name: ClassVar[str] = "log_softmax"
    summary: ClassVar[str] = "the logarithms of softmax's probabilities"
    formula: ClassVar[str] = "S(k) = x(k) − ln Σ e^x(n)"

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the log-probabilities."""
        x = inputs[0]
        shifted = x - x.max(axis=self.axes, keepdims=True)
        total = np.exp(shifted).sum(axis=self.axes, keepdims=True)
        logarithms: Tensor = shifted - np.log(total)
        return logarithms

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return g − e^S · Σ g, the sum over what competes."""
        total: Tensor = gradient.sum(axis=self.axes, keepdims=True)
        return (np.subtract(gradient, np.exp(output) * total, dtype=np.float32),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the exponentials, their sum and what its logarithm leaves of this value."""
        powers, own, largest = self.powers(at, inputs[0])
        with np.errstate(all="ignore"):
            logarithm = float(np.log(powers.total))
        result = own - largest - logarithm
        step = (
            f"{written(own)} − {inside(largest)} − ln {written(powers.total)} = {written(result)}"
        )
        return powers._replace(result=result, steps=(step,))


@register
@settings
class Argmax(Layer):
    """Which is the largest: the class of every pixel."""

    name: ClassVar[str] = "argmax"
    family: ClassVar[str] = "classifier"
    summary: ClassVar[str] = "the number of the channel that is largest (segmentation masks)"
    formula: ClassVar[str] = "S = the first n at which I(n) is largest, along the axis"

    axis: int = option(whole(0, 2), "0 channels, 1 rows, 2 columns", default=0)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape with that side 1."""
        require_axes((self.axis,), shapes[0], self.name)
        return tuple(1 if axis == self.axis else side for axis, side in enumerate(shapes[0]))

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return everything along the axis."""
        return (tuple(ALL if axis == self.axis else SAME for axis in range(len(shapes[0]))),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the numbers of the largest, as floats."""
        return np.asarray(inputs[0].argmax(axis=self.axis, keepdims=True), np.float32)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return 0: a small change changes no number."""
        return (np.zeros(inputs[0].shape, np.float32),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the largest of the values, and its number."""
        x, spans = inputs[0], spans_of(inputs[0], at, (self.axis,))
        own = int(x[tuple(slice(span.start, span.stop) for span in spans)].argmax())
        terms = block(x, spans, rank=lambda values: values)
        step = f"number {own} is the largest"
        found = chosen(terms, "largest", lambda _: (step,))
        return found._replace(result=float(own), chosen=None)
