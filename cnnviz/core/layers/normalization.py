"""Layers that rescale: by statistics, by constants; and dropout, which rests at inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnviz.core.arithmetic import (
    SIDES,
    Arithmetic,
    Doubles,
    Misfit,
    block,
    by,
    curve_steps,
    joined_sum,
    single,
    summed,
    written,
)
from cnnviz.core.field import ALL, SAME, Reach, Reads
from cnnviz.core.layers.base import (
    Elementwise,
    Identity,
    Layer,
    ParamSpec,
    per_channel,
    register,
    require_maps,
    settings,
)
from cnnviz.core.settings import number, option, optional, read_shape, whole
from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError


@register
@settings
class BatchNorm(Elementwise):
    """Batch normalisation at inference: Ioffe & Szegedy, ICML 2015."""

    name: ClassVar[str] = "batchnorm"
    family: ClassVar[str] = "normalization"
    summary: ClassVar[str] = "shift and scale each channel by what training measured"
    formula: ClassVar[str] = "(x − running_mean) / √(running_var + eps) · weight + bias"

    eps: float = option(number(least=0), "added to the variance", default=1e-5)

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return scale and shift, and the running statistics, which are not trained.

        They start as what changes nothing.
        """
        shape = (shapes[0][0],)
        return {
            "weight": ParamSpec(shape, start=1),
            "bias": ParamSpec(shape),
            "running_mean": ParamSpec(shape, trained=False),
            "running_var": ParamSpec(shape, trained=False, start=1),
        }

    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Normalise each channel."""
        x = inputs[0]
        scale, shift = self._scales(params)
        output = np.multiply(x, per_channel(scale.astype(np.float32), x.ndim), out=out)
        output += per_channel(shift.astype(np.float32), x.ndim)
        return output

    def _scales(self, params: Params) -> tuple[Doubles, Doubles]:
        """Return what each channel is multiplied by, and what is added to it then."""
        variance = params["running_var"].astype(np.float64)
        scale = params["weight"] / np.sqrt(variance + self.eps)
        return scale, params["bias"] - params["running_mean"] * scale

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient times each channel's scale."""
        scale = self._scales(params)[0].astype(np.float32)
        return (gradient * per_channel(scale, gradient.ndim),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the value times the channel's scale, and the shift."""
        with np.errstate(all="ignore"):
            scale, shift = (float(one[at[0]]) for one in self._scales(params))
        terms = single(inputs[0], at, weight=scale)
        numbers = {name: float(param[at[0]]) for name, param in params.items()}
        numbers |= {"x": float(terms.value[0]), "eps": self.eps}
        result = joined_sum(terms, shift)
        return summed(terms, *curve_steps(self.formula, numbers, result), bias=shift)


@register
@settings
class InstanceNorm(Layer):
    """Instance normalisation: Ulyanov, Vedaldi & Lempitsky 2016."""

    name: ClassVar[str] = "instancenorm"
    family: ClassVar[str] = "normalization"
    keeps_maps: ClassVar[bool] = True
    summary: ClassVar[str] = "give each map mean 0 and variance 1, then shift and scale it"
    formula: ClassVar[str] = "(x − mean) / √(variance + eps) · weight + bias, of each map"

    eps: float = option(number(least=0), "added to the variance", default=1e-5)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return require_maps(shapes[0], self.name)

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the whole map: every value depends on its mean and variance."""
        return ((SAME, ALL, ALL),)

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return scale and shift."""
        shape = (shapes[0][0],)
        return {"weight": ParamSpec(shape, start=1), "bias": ParamSpec(shape)}

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Normalise each map on its own; statistics are summed in float64."""
        x = inputs[0]
        mean = x.mean(axis=(1, 2), dtype=np.float64)
        centred: Tensor = x - mean.astype(np.float32)[:, None, None]
        variance = np.square(centred, dtype=np.float64).mean(axis=(1, 2))
        scale = params["weight"] / np.sqrt(variance + self.eps)
        centred *= scale.astype(np.float32)[:, None, None]
        centred += params["bias"][:, None, None]
        return centred

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return w/σ · (g − mean g − x̂ · mean g·x̂) of each map, x̂ being the map normalised."""
        x = inputs[0].astype(np.float64)
        spread = np.sqrt(x.var(axis=(1, 2), keepdims=True) + self.eps)
        normal = (x - x.mean(axis=(1, 2), keepdims=True)) / spread
        along = (gradient * normal).mean(axis=(1, 2), keepdims=True)
        centred = gradient - gradient.mean(axis=(1, 2), keepdims=True) - normal * along
        scale = params["weight"][:, None, None] / spread
        return ((scale * centred).astype(np.float32),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the value times the map's scale, and the shift, from its mean and variance."""
        values = inputs[0][at[0]].astype(np.float64)
        weight, bias = (float(params[name][at[0]]) for name in ("weight", "bias"))
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


@settings
class Constant(Elementwise):
    """Layers that change every value by one number, or by a parameter of some shape."""

    family: ClassVar[str] = "normalization"
    ufunc: ClassVar[np.ufunc]
    param: ClassVar[str]

    value: float | None = option(
        optional(number()), "one number for all", default=None, shown="a parameter"
    )
    shape: Shape | None = option(
        optional(read_shape), "of the parameter; a side of 1 stretches", default=None,
        shown="one a channel",
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value is not None and self.shape is not None:
            raise RequestError(
                f"{self.name}: shape is given beside a value", hint="a value has no parameter"
            )

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape, if the parameter stretches to it."""
        own, given = self.shape, shapes[0]
        if own and not (
            len(own) == len(given) and all(a in (1, b) for a, b in zip(own, given, strict=True))
        ):
            raise CnnvizError(
                f"{self.name}: {'×'.join(map(str, own))} does not stretch to "
                f"{'×'.join(map(str, given))}",
                hint="each side must be 1 or the input's",
            )
        return given

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return how the parameter meets the input's sides."""
        own, given = self.shape, shapes[0]
        unchanged = {"shape": f"{by(given)}, unchanged"}
        if own is None:
            return unchanged
        meeting = f"{by(own)} meets {by(given)}"
        if len(own) != len(given):
            return {**unchanged, self.param: Misfit(f"{meeting}: {len(own)} ≠ {len(given)} sides")}
        bad = [
            f"{one} of {name} is neither 1 nor {other}"
            for one, other, name in zip(own, given, SIDES if own[1:] else ("values",), strict=True)
            if one not in (1, other)
        ]
        text = (
            Misfit(f"{meeting}: {', '.join(bad)}") if bad else f"{meeting}: a side of 1 stretches"
        )
        return {**unchanged, self.param: text}

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return the parameter, at first what changes nothing, unless one number says all."""
        if self.value is not None:
            return {}
        neutral = float(self.ufunc.identity or 0)
        return {self.param: ParamSpec(self.shape or (shapes[0][0],), start=neutral)}

    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Combine every value with the number, or the parameter's that it meets."""
        combined: Tensor = self.ufunc(inputs[0], self._other(inputs[0].ndim, params), out=out)
        return combined

    def _other(self, axes: int, params: Params) -> Tensor:
        """Return what values of so many axes are combined with, so that it stretches to them."""
        if self.value is not None:
            return np.asarray(self.value, np.float32)
        other = params[self.param]
        return other if self.shape is not None else per_channel(other, axes)

    def _constant(self, at: tuple[int, ...], params: Params) -> float:
        """Return the number that the value at a place meets."""
        if self.value is not None:
            return float(np.float32(self.value))
        own = params[self.param]
        cell = at if self.shape is not None else at[:1]
        place = tuple(index if side > 1 else 0 for index, side in zip(cell, own.shape, strict=True))
        return float(own[place])


@register
@settings
class Scale(Constant):
    """Multiplication by a constant."""

    name: ClassVar[str] = "scale"
    ufunc: ClassVar[np.ufunc] = np.multiply
    param: ClassVar[str] = "weight"
    summary: ClassVar[str] = "multiply by a number, or each channel by its own"
    formula: ClassVar[str] = "x · value, or x · weight"

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient times the constant."""
        return (gradient * self._other(gradient.ndim, params),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the product."""
        return summed(single(inputs[0], at, weight=self._constant(at, params)))


@register
@settings
class Shift(Constant):
    """Addition of a constant."""

    name: ClassVar[str] = "shift"
    ufunc: ClassVar[np.ufunc] = np.add
    param: ClassVar[str] = "bias"
    summary: ClassVar[str] = "add a number, or to each channel its own"
    formula: ClassVar[str] = "x + value, or x + bias"

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient."""
        return (gradient,)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the value with the number as its bias."""
        return summed(single(inputs[0], at), bias=self._constant(at, params))


@register
@settings
class Lrn(Layer):
    """Local response normalisation across channels: Krizhevsky et al., NeurIPS 2012."""

    name: ClassVar[str] = "lrn"
    family: ClassVar[str] = "normalization"
    keeps_maps: ClassVar[bool] = True
    summary: ClassVar[str] = "damp a channel where its neighbours are strong too (AlexNet)"
    formula: ClassVar[str] = "x / (k + alpha/size · Σ of x² over size channels)^beta"

    size: int = option(whole(), "how many neighbouring channels count", default=5)
    alpha: float = option(number(), "strength", default=1e-4)
    beta: float = option(number(), "exponent", default=0.75)
    k: float = option(number(), "what the sum is added to", default=1.0)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return require_maps(shapes[0], self.name)

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the neighbouring channels."""
        return ((Reach(1, -(self.size // 2), (self.size - 1) // 2), SAME, SAME),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Divide each channel by its neighbourhood, size//2 before to (size−1)//2 after it."""
        x = inputs[0]
        output = np.empty_like(x)
        for channel in range(len(x)):
            total = np.zeros(x.shape[1:], np.float64)
            for neighbour in self._neighbours(channel, len(x)):
                total += np.square(x[neighbour], dtype=np.float64)
            output[channel] = x[channel] / (self.k + self.alpha / self.size * total) ** self.beta
        return output

    def _neighbours(self, channel: int, channels: int) -> range:
        return range(
            max(channel - self.size // 2, 0), min(channel + (self.size - 1) // 2 + 1, channels)
        )

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return g·D^−β − 2αβ/size · x · Σ g·x·D^(−β−1), D being what each value is divided by.

        The sum is over the channels that have a channel for a neighbour.
        """
        x, channels = inputs[0].astype(np.float64), len(inputs[0])
        before, after = self.size // 2, (self.size - 1) // 2
        squares = np.square(x)
        divisor = np.stack(
            [squares[max(c - before, 0) : c + after + 1].sum(axis=0) for c in range(channels)]
        )
        divisor = self.k + self.alpha / self.size * divisor
        through = gradient * x * divisor ** (-self.beta - 1)
        shared = np.stack(
            [through[max(c - after, 0) : c + before + 1].sum(axis=0) for c in range(channels)]
        )
        slope = 2 * self.alpha * self.beta / self.size
        return ((gradient * divisor**-self.beta - slope * x * shared).astype(np.float32),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the neighbours' squares, and the value divided by what their sum makes."""
        (x,), (channel, *place) = inputs, at
        near = self._neighbours(channel, len(x))
        terms = block(x, (near, *(range(n, n + 1) for n in place)), part=np.square)
        own = float(x[at])
        total = joined_sum(terms)
        with np.errstate(all="ignore"):
            base = np.float64(self.k + self.alpha / self.size * total)
            result = float(own / base**self.beta)
        step = (
            f"{written(own)} / ({self.k:g} + {self.alpha:g}/{self.size} · {written(total)})"
            f"^{self.beta:g} = {written(result)}"
        )
        return Arithmetic(
            terms, "sum", total, result, (step,), chosen=channel - near.start, noun="squares"
        )


@register
@settings
class Dropout(Identity):
    """Dropout: Srivastava et al., JMLR 2014. At inference nothing is dropped."""

    name: ClassVar[str] = "dropout"
    family: ClassVar[str] = "normalization"
    summary: ClassVar[str] = "nothing here: it drops values in training only"

    p: float = option(number(least=0), "the share dropped in training", default=0.5)
