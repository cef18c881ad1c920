"""Layers that bend each value on its own: one formula, one line each."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.arithmetic import Arithmetic, curve_steps, single
from cnnviz.core.derivation import Derivation, Line, unchanged
from cnnviz.core.layers.base import (
    Elementwise,
    ParamSpec,
    elementwise,
    options_of,
    register,
    settings,
)
from cnnviz.core.options import choice, number, option, optional, whole
from cnnviz.core.types import Params, Seed, Shape, Tensor
from cnnviz.errors import CnnvizError

Values = NDArray[np.floating[Any]]
"""What a curve returns: rounded to float32 where it is stored."""


@settings
class Activation(Elementwise):
    """A function of one number; subclasses give `curve`."""

    family: ClassVar[str] = "activation"

    def curve(self, x: Tensor) -> Values:
        """Return the function's value for each of a block of values."""
        raise NotImplementedError

    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Apply the curve to every value."""
        return elementwise(self.curve, inputs[0], out)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the formula with the one value in it."""
        terms = single(inputs[0], at)
        x = float(terms.value[0])
        with np.errstate(all="ignore"):
            result = float(self.curve(np.array([x], np.float32))[0])
        numbers = {
            field.name: value
            for field, _ in options_of(type(self))
            if isinstance(value := getattr(self, field.name), float)
        }
        steps = curve_steps(self.formula, {"x": x, **numbers}, result)
        return Arithmetic(terms, "sum", x, result, steps)


def sigmoid(x: Tensor) -> Values:
    """Return 1 / (1 + e^−x), keeping the digits of both tails, without overflow."""
    squeezed: Values = np.exp(np.minimum(x, 0)) / (np.float32(1) + np.exp(-np.abs(x)))
    return squeezed


def softplus(x: Tensor) -> Values:
    """Return ln(1 + e^x) without overflow."""
    bent: Values = np.logaddexp(x, np.float32(0))
    return bent


_ERF_STEP, _ERF_REACH = 1 / 256, 6.0  # erf(6) differs from 1 by 2e-17


@cache
def _erf_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return erf and its slope times the step, at the nodes from −reach to reach."""
    nodes = np.arange(-_ERF_REACH, _ERF_REACH + 2 * _ERF_STEP, _ERF_STEP)
    slopes = 2 / math.sqrt(math.pi) * np.exp(-(nodes**2)) * _ERF_STEP
    return np.array([math.erf(node) for node in nodes]), slopes


def erf(x: Tensor) -> NDArray[np.float64]:
    """Return the error function, by cubic Hermite interpolation between exact nodes.

    NumPy has none. The error, step⁴ / 384 · max|erf⁗|, is below 1e-11.
    """
    values, slopes = _erf_table()
    place = (np.clip(x, -_ERF_REACH, _ERF_REACH).astype(np.float64) + _ERF_REACH) / _ERF_STEP
    node = np.nan_to_num(place).astype(np.intp)
    t = place - node
    hump = t * (1 - t)
    return (
        values[node] * (1 - t) ** 2 * (1 + 2 * t)
        + values[node + 1] * t**2 * (3 - 2 * t)
        + hump * (slopes[node] * (1 - t) - slopes[node + 1] * t)
    )


@register
@settings
class Relu(Activation):
    """Rectified linear unit: Nair & Hinton, ICML 2010."""

    name: ClassVar[str] = "relu"
    summary: ClassVar[str] = "keep what is positive, set the rest to 0"
    formula: ClassVar[str] = "max(0, x)"

    def curve(self, x: Tensor) -> Values:
        """Return max(0, x)."""
        return np.maximum(x, np.float32(0))


@register
@settings
class Relu6(Activation):
    """ReLU with a ceiling, for low precision: Krizhevsky 2010; MobileNet."""

    name: ClassVar[str] = "relu6"
    summary: ClassVar[str] = "relu that stops at 6"
    formula: ClassVar[str] = "min(max(0, x), 6)"

    def curve(self, x: Tensor) -> Values:
        """Return min(max(0, x), 6)."""
        return np.clip(x, np.float32(0), np.float32(6))


@register
@settings
class LeakyRelu(Activation):
    """Leaky ReLU: Maas, Hannun & Ng, ICML 2013."""

    name: ClassVar[str] = "leaky_relu"
    summary: ClassVar[str] = "relu that lets a little of the negative side through"
    formula: ClassVar[str] = "x if x > 0 else negative_slope · x"

    negative_slope: float = option(number(), "the slope for x < 0", default=0.01)

    def curve(self, x: Tensor) -> Values:
        """Return x, or negative_slope · x where negative."""
        return np.where(x > 0, x, np.float32(self.negative_slope) * x)


@register
@settings
class Prelu(Activation):
    """Parametric ReLU: He et al., ICCV 2015."""

    name: ClassVar[str] = "prelu"
    summary: ClassVar[str] = "leaky relu whose slope is learnt"
    formula: ClassVar[str] = "x if x > 0 else weight · x"
    weights_from: ClassVar[str | None] = "set"

    num_parameters: int = option(whole(), "one slope for all, or one a channel", default=1)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape, if the slopes match its channels."""
        if self.num_parameters not in (1, shapes[0][0]):
            raise CnnvizError(
                f"prelu has {self.num_parameters} slopes for {shapes[0][0]} channels",
                hint=f"use num_parameters=1 or {shapes[0][0]}",
            )
        return shapes[0]

    def derivation(self, *shapes: Shape) -> Derivation:
        """Return which slopes there are."""
        slopes, channels = self.num_parameters, shapes[0][0]
        text = "1 slope for all" if slopes == 1 else f"{slopes}, one for each channel"
        if bad := slopes not in (1, channels):
            text = f"{slopes} ≠ {channels} channels, and not 1 for all"
        return Derivation((unchanged(shapes[0]), Line("slopes", text, bad)))

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return the slopes."""
        return {"weight": ParamSpec((self.num_parameters,))}

    def initial_params(self, seed: Seed, *shapes: Shape) -> Params:
        """Return slopes of 0.25, as in PyTorch."""
        return {"weight": np.full(self.num_parameters, 0.25, np.float32)}

    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Scale what is negative by its channel's slope."""
        x = inputs[0]
        slope = params["weight"].reshape(-1, *(1,) * (x.ndim - 1))
        bent = np.where(x > 0, x, slope * x)
        if out is None:
            return bent
        out[...] = bent
        return out

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the formula with the value, and its channel's slope, in it."""
        slope = float(params["weight"][at[0] if self.num_parameters > 1 else 0])
        terms = single(inputs[0], at)
        x = float(terms.value[0])
        result = x if x > 0 else slope * x
        steps = curve_steps(self.formula, {"x": x, "weight": slope}, result)
        return Arithmetic(terms, "sum", x, result, steps)


@register
@settings
class Elu(Activation):
    """Exponential linear unit: Clevert et al., ICLR 2016."""

    name: ClassVar[str] = "elu"
    summary: ClassVar[str] = "relu with a smooth negative side that ends at −alpha"
    formula: ClassVar[str] = "x if x > 0 else alpha · (e^x − 1)"

    alpha: float = option(number(), "where the negative side ends", default=1.0)

    def curve(self, x: Tensor) -> Values:
        """Return x, or alpha · (e^x − 1) where negative."""
        return np.where(x > 0, x, np.float32(self.alpha) * np.expm1(np.minimum(x, 0)))


@register
@settings
class Selu(Activation):
    """Self-normalising ELU: Klambauer et al., NeurIPS 2017, which gives both constants."""

    name: ClassVar[str] = "selu"
    summary: ClassVar[str] = "elu scaled so that mean 0 and variance 1 reproduce themselves"
    formula: ClassVar[str] = "1.0507 · (x if x > 0 else 1.6733 · (e^x − 1))"

    def curve(self, x: Tensor) -> Values:
        """Return the scaled ELU."""
        scale, alpha = 1.0507009873554805, 1.6732632423543772
        negative = np.float32(scale * alpha) * np.expm1(np.minimum(x, 0))
        return np.where(x > 0, np.float32(scale) * x, negative)


@register
@settings
class Celu(Activation):
    """Continuously differentiable ELU: Barron 2017."""

    name: ClassVar[str] = "celu"
    summary: ClassVar[str] = "elu that is smooth at 0 for every alpha"
    formula: ClassVar[str] = "x if x > 0 else alpha · (e^(x/alpha) − 1)"

    alpha: float = option(number(above=0), "where the negative side ends", default=1.0)

    def curve(self, x: Tensor) -> Values:
        """Return x, or alpha · (e^(x/alpha) − 1) where negative."""
        alpha = np.float32(self.alpha)
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


@register
@settings
class Gelu(Activation):
    """Gaussian error linear unit: Hendrycks & Gimpel 2016."""

    name: ClassVar[str] = "gelu"
    summary: ClassVar[str] = "each value weighted by how likely a normal one is smaller"
    formula: ClassVar[str] = "x · Φ(x) = x/2 · (1 + erf(x/√2))"

    approximate: str = option(
        choice(("none", "tanh")), "none: erf; tanh: GPT-2's approximation", default="none"
    )

    def curve(self, x: Tensor) -> Values:
        """Return x · Φ(x)."""
        if self.approximate == "tanh":
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x.astype(np.float64) ** 3)
            share = 1 + np.tanh(inner)
        else:
            share = 1 + erf(x / np.float32(math.sqrt(2)))
        # −∞ · 0 is 0 here: the limit, and what PyTorch's vectorised kernel gives for large −x.
        return np.where(share == 0, np.float32(-0.0), 0.5 * x * share)


@register
@settings
class Silu(Activation):
    """Sigmoid linear unit (swish): Elfwing et al. 2017; Ramachandran et al. 2017."""

    name: ClassVar[str] = "silu"
    summary: ClassVar[str] = "each value times its sigmoid (swish)"
    formula: ClassVar[str] = "x / (1 + e^(−beta·x))"

    beta: float = option(number(), "sharpness of the bend", default=1.0)

    def curve(self, x: Tensor) -> Values:
        """Return x · sigmoid(beta · x)."""
        # Dividing keeps what x · sigmoid(x) would lose far below 0, where sigmoid rounds to 0.
        values: Values = x / (np.float32(1) + np.exp(np.float32(-self.beta) * x))
        return values


@register
@settings
class Mish(Activation):
    """Mish: Misra 2019."""

    name: ClassVar[str] = "mish"
    summary: ClassVar[str] = "like silu, a little smoother"
    formula: ClassVar[str] = "x · tanh(ln(1 + e^x))"

    def curve(self, x: Tensor) -> Values:
        """Return x · tanh(softplus(x))."""
        return x * np.tanh(softplus(x))


@register
@settings
class Sigmoid(Activation):
    """Logistic sigmoid."""

    name: ClassVar[str] = "sigmoid"
    summary: ClassVar[str] = "squeeze every value into 0 … 1"
    formula: ClassVar[str] = "1 / (1 + e^−x)"

    def curve(self, x: Tensor) -> Values:
        """Return 1 / (1 + e^−x)."""
        return sigmoid(x)


@register
@settings
class HardSigmoid(Activation):
    """Piecewise linear sigmoid, MobileNetV3's: Howard et al., ICCV 2019."""

    name: ClassVar[str] = "hardsigmoid"
    summary: ClassVar[str] = "sigmoid made of three straight lines"
    formula: ClassVar[str] = "min(max(0, alpha·x + beta), 1)"

    alpha: float = option(number(), "the slope", default=1 / 6, shown="1/6")
    beta: float = option(number(), "the value at 0", default=0.5)

    def curve(self, x: Tensor) -> Values:
        """Return alpha · x + beta cut to 0 … 1."""
        line = np.float32(self.alpha) * x + np.float32(self.beta)
        bent: Values = np.clip(line, np.float32(0), np.float32(1))
        return bent


@register
@settings
class HardSwish(Activation):
    """Piecewise swish, MobileNetV3's: Howard et al., ICCV 2019."""

    name: ClassVar[str] = "hardswish"
    summary: ClassVar[str] = "silu with the hard sigmoid"
    formula: ClassVar[str] = "x · min(max(0, x + 3), 6) / 6"

    def curve(self, x: Tensor) -> Values:
        """Return x · relu6(x + 3) / 6."""
        gate: Values = np.clip(x + np.float32(3), np.float32(0), np.float32(6)) / np.float32(6)
        return x * gate


@register
@settings
class Tanh(Activation):
    """Hyperbolic tangent."""

    name: ClassVar[str] = "tanh"
    summary: ClassVar[str] = "squeeze every value into −1 … 1"
    formula: ClassVar[str] = "(e^x − e^−x) / (e^x + e^−x)"

    def curve(self, x: Tensor) -> Values:
        """Return tanh(x)."""
        return np.tanh(x)


@register
@settings
class Softplus(Activation):
    """Softplus: Dugas et al., NeurIPS 2000."""

    name: ClassVar[str] = "softplus"
    summary: ClassVar[str] = "a smooth relu"
    formula: ClassVar[str] = "ln(1 + e^(beta·x)) / beta"

    beta: float = option(number(above=0), "sharpness of the bend", default=1.0)

    def curve(self, x: Tensor) -> Values:
        """Return ln(1 + e^(beta·x)) / beta."""
        beta = np.float32(self.beta)
        return softplus(beta * x) / beta


@register
@settings
class Softsign(Activation):
    """Softsign."""

    name: ClassVar[str] = "softsign"
    summary: ClassVar[str] = "squeeze into −1 … 1, gently"
    formula: ClassVar[str] = "x / (1 + |x|)"

    def curve(self, x: Tensor) -> Values:
        """Return x / (1 + |x|)."""
        return x / (np.float32(1) + np.abs(x))


@register
@settings
class Abs(Activation):
    """Absolute value."""

    name: ClassVar[str] = "abs"
    summary: ClassVar[str] = "how strong, whatever the sign"
    formula: ClassVar[str] = "|x|"

    def curve(self, x: Tensor) -> Values:
        """Return |x|."""
        return np.abs(x)


@register
@settings
class Clip(Activation):
    """Limits on both sides, or on one."""

    name: ClassVar[str] = "clip"
    summary: ClassVar[str] = "cut what lies below low or above high"
    formula: ClassVar[str] = "min(max(low, x), high)"

    low: float | None = option(optional(number()), "the least value", default=None, shown="−∞")
    high: float | None = option(optional(number()), "the largest value", default=None, shown="∞")

    def curve(self, x: Tensor) -> Values:
        """Return x cut to low … high; high counts where they cross."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return np.minimum(np.maximum(x, np.float32(low)), np.float32(high))


@register
@settings
class Power(Activation):
    """A fixed power: squares, roots (1/2), reciprocals (−1)."""

    name: ClassVar[str] = "power"
    summary: ClassVar[str] = "raise every value to a power: 2 squares, 0.5 is the root"
    formula: ClassVar[str] = "x^exponent"

    exponent: float = option(number(), "the exponent", default=2.0, always=True)

    def curve(self, x: Tensor) -> Values:
        """Return x to the power of the exponent."""
        raised: Values = np.power(x, np.float32(self.exponent))
        return raised


@register
@settings
class Erf(Activation):
    """The error function, of which exporters make GELU: x/2 · (1 + erf(x/√2))."""

    name: ClassVar[str] = "erf"
    summary: ClassVar[str] = "the error function: how much of a bell curve lies within ±x·√2"
    formula: ClassVar[str] = "2/√π · ∫ e^−t² dt from 0 to x"

    def curve(self, x: Tensor) -> Values:
        """Return erf(x)."""
        return np.where(np.isnan(x), x, erf(x))


@register
@settings
class Exp(Activation):
    """The exponential function."""

    name: ClassVar[str] = "exp"
    summary: ClassVar[str] = "e to the power of every value"
    formula: ClassVar[str] = "e^x"

    def curve(self, x: Tensor) -> Values:
        """Return e^x."""
        return np.exp(x)
