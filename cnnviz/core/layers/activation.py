"""Layers that bend each value on its own: a table of formulas with their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.arithmetic import Arithmetic, Misfit, by, curve_steps, single
from cnnviz.core.layers.base import (
    Elementwise,
    ParamSpec,
    define,
    elementwise,
    options_of,
    per_channel,
    register,
    settings,
)
from cnnviz.core.settings import choice, number, option, optional, whole
from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.errors import CnnvizError

Values = NDArray[np.floating[Any]]
"""What a curve returns: rounded to float32 where it is stored."""


Function = Callable[[Tensor, Any], Values]
"""(values, the layer, for its options) -> the function's values."""

Slope = Callable[[Tensor, Tensor, Any], NDArray[Any]]
"""(values, the function's values there, the layer) -> its derivative."""


@settings
class Activation(Elementwise):
    """A function of one number."""

    family: ClassVar[str] = "activation"
    f: ClassVar[Function]
    df: ClassVar[Slope]

    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Apply the function to every value."""
        f = type(self).f
        return elementwise(lambda x: f(x, self), inputs[0], out)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient times the function's slope."""
        slope = np.asarray(type(self).df(inputs[0], output, self), np.float32)
        return (gradient * slope,)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the formula with the one value in it."""
        terms = single(inputs[0], at)
        x = float(terms.value[0])
        with np.errstate(all="ignore"):
            result = float(type(self).f(np.array([x], np.float32), self)[0])
        numbers = {
            field.name: value
            for field, _ in options_of(type(self))
            if isinstance(value := getattr(self, field.name), float)
        }
        steps = curve_steps(self.formula, {"x": x, **numbers}, result)
        return Arithmetic(terms, "sum", x, result, steps)


def curve(
    name: str, formula: str, summary: str, source: str, f: Function, df: Slope, **options: Any
) -> None:
    """Register an activation: its formula, what it does, who published it, and its options.

    `f` and `df` compute its values and its slope, block by block; where the slope jumps (at 0 of
    relu) it is PyTorch's. `options` are made with `option`, and the layer has them as attributes.
    """
    define(
        Activation,
        name,
        source,
        summary=summary,
        formula=formula,
        f=staticmethod(f),
        df=staticmethod(df),
        **options,
    )


F = np.float32  # plain numbers would widen blocks to float64
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_TANH_SCALE, _TANH_CUBE = math.sqrt(2 / math.pi), 0.044715


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


def gelu_share(x: Tensor, approximate: str) -> NDArray[np.float64]:
    """Return 2·Φ(x), Φ being the normal distribution; with tanh, GPT-2's approximation of it."""
    if approximate == "tanh":
        return 1 + np.tanh(_TANH_SCALE * (x + _TANH_CUBE * x.astype(np.float64) ** 3))
    return 1 + erf(x / F(math.sqrt(2)))


def gelu_slope(x: Tensor, approximate: str) -> NDArray[np.float64]:
    """Return Φ(x) + x·Φ′(x)."""
    share, wide = gelu_share(x, approximate), x.astype(np.float64)
    if approximate == "tanh":
        inner = _TANH_SCALE * (1 + 3 * _TANH_CUBE * wide**2)
        return 0.5 * share + 0.5 * wide * share * (2 - share) * inner
    return 0.5 * share + wide * np.exp(-(wide**2) / 2) / math.sqrt(2 * math.pi)


def silu_slope(x: Tensor, beta: float) -> Values:
    """Return σ + β·x·σ·(1 − σ), σ being the sigmoid of β·x."""
    gate = sigmoid(F(beta) * x)
    slope: Values = gate + F(beta) * x * gate * (1 - gate)
    return slope


def mish_slope(x: Tensor) -> Values:
    """Return t + x·(1 − t²)·σ(x), t being tanh(softplus(x))."""
    bend = np.tanh(softplus(x))
    slope: Values = bend + x * (1 - bend**2) * sigmoid(x)
    return slope


curve(
    "relu",
    "max(0, x)",
    "keep what is positive, set the rest to 0",
    "Rectified linear unit: Nair & Hinton, ICML 2010.",
    lambda x, _: np.maximum(x, F(0)),
    lambda x, _y, _: x > 0,
)
curve(
    "relu6",
    "min(max(0, x), 6)",
    "relu that stops at 6",
    "ReLU with a ceiling, for low precision: Krizhevsky 2010; MobileNet.",
    lambda x, _: np.clip(x, F(0), F(6)),
    lambda x, _y, _: (x > 0) & (x < 6),
)
curve(
    "leaky_relu",
    "x if x > 0 else negative_slope · x",
    "relu that lets a little of the negative side through",
    "Leaky ReLU: Maas, Hannun & Ng, ICML 2013.",
    lambda x, o: np.where(x > 0, x, F(o.negative_slope) * x),
    lambda x, _, o: np.where(x > 0, F(1), F(o.negative_slope)),
    negative_slope=option(number(), "the slope for x < 0", default=0.01),
)


@register
@settings
class Prelu(Elementwise):
    """Parametric ReLU: He et al., ICCV 2015."""

    name: ClassVar[str] = "prelu"
    family: ClassVar[str] = "activation"
    summary: ClassVar[str] = "leaky relu whose slope is learnt"
    formula: ClassVar[str] = "x if x > 0 else weight · x"

    num_parameters: int = option(whole(), "one slope for all, or one a channel", default=1)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape, if the slopes match its channels."""
        if self.num_parameters not in (1, shapes[0][0]):
            raise CnnvizError(
                f"prelu has {self.num_parameters} slopes for {shapes[0][0]} channels",
                hint=f"use num_parameters=1 or {shapes[0][0]}",
            )
        return shapes[0]

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return which slopes there are."""
        slopes, channels = self.num_parameters, shapes[0][0]
        text = "1 slope for all" if slopes == 1 else f"{slopes}, one for each channel"
        if slopes not in (1, channels):
            text = Misfit(f"{slopes} ≠ {channels} channels, and not 1 for all")
        return {"shape": f"{by(shapes[0])}, unchanged", "slopes": text}

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return the slopes, 0.25 at first, as in PyTorch."""
        return {"weight": ParamSpec((self.num_parameters,), start=0.25)}

    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Scale what is negative by its channel's slope."""
        x = inputs[0]
        slope = per_channel(params["weight"], x.ndim)
        bent = np.where(x > 0, x, slope * x)
        if out is None:
            return bent
        out[...] = bent
        return out

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient, times its channel's slope where the value is negative."""
        x = inputs[0]
        slope = per_channel(params["weight"], x.ndim)
        return (np.where(x > 0, gradient, slope * gradient),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the formula with the value, and its channel's slope, in it."""
        slope = float(params["weight"][at[0] if self.num_parameters > 1 else 0])
        terms = single(inputs[0], at)
        x = float(terms.value[0])
        result = x if x > 0 else slope * x
        steps = curve_steps(self.formula, {"x": x, "weight": slope}, result)
        return Arithmetic(terms, "sum", x, result, steps)


curve(
    "elu",
    "x if x > 0 else alpha · (e^x − 1)",
    "relu with a smooth negative side that ends at −alpha",
    "Exponential linear unit: Clevert et al., ICLR 2016.",
    lambda x, o: np.where(x > 0, x, F(o.alpha) * np.expm1(np.minimum(x, 0))),
    lambda x, _, o: np.where(x > 0, F(1), F(o.alpha) * np.exp(np.minimum(x, 0))),
    alpha=option(number(), "where the negative side ends", default=1.0),
)
curve(
    "selu",
    "1.0507 · (x if x > 0 else 1.6733 · (e^x − 1))",
    "elu scaled so that mean 0 and variance 1 reproduce themselves",
    "Self-normalising ELU: Klambauer et al., NeurIPS 2017, which gives both constants.",
    lambda x, _: np.where(
        x > 0, F(_SELU_SCALE) * x, F(_SELU_SCALE * _SELU_ALPHA) * np.expm1(np.minimum(x, 0))
    ),
    lambda x, _y, _: np.where(
        x > 0, F(_SELU_SCALE), F(_SELU_SCALE * _SELU_ALPHA) * np.exp(np.minimum(x, 0))
    ),
)
curve(
    "celu",
    "x if x > 0 else alpha · (e^(x/alpha) − 1)",
    "elu that is smooth at 0 for every alpha",
    "Continuously differentiable ELU: Barron 2017.",
    lambda x, o: np.where(x > 0, x, F(o.alpha) * np.expm1(np.minimum(x, 0) / F(o.alpha))),
    lambda x, _, o: np.where(x > 0, F(1), np.exp(np.minimum(x, 0) / F(o.alpha))),
    alpha=option(number(above=0), "where the negative side ends", default=1.0),
)
curve(
    "gelu",
    "x · Φ(x) = x/2 · (1 + erf(x/√2))",
    "each value weighted by how likely a normal one is smaller",
    "Gaussian error linear unit: Hendrycks & Gimpel 2016.",
    # −∞ · 0 is 0 here: the limit, and what PyTorch's vectorised kernel gives for large −x.
    lambda x, o: np.where((share := gelu_share(x, o.approximate)) == 0, F(-0.0), 0.5 * x * share),
    lambda x, _, o: gelu_slope(x, o.approximate),
    approximate=option(
        choice(("none", "tanh")), "none: erf; tanh: GPT-2's approximation", default="none"
    ),
)
curve(
    "silu",
    "x / (1 + e^(−beta·x))",
    "each value times its sigmoid (swish)",
    "Sigmoid linear unit (swish): Elfwing et al. 2017; Ramachandran et al. 2017.",
    # Dividing keeps what x · sigmoid(x) would lose far below 0, where sigmoid rounds to 0.
    lambda x, o: x / (F(1) + np.exp(F(-o.beta) * x)),
    lambda x, _, o: silu_slope(x, o.beta),
    beta=option(number(), "sharpness of the bend", default=1.0),
)
curve(
    "mish",
    "x · tanh(ln(1 + e^x))",
    "like silu, a little smoother",
    "Mish: Misra 2019.",
    lambda x, _: x * np.tanh(softplus(x)),
    lambda x, _y, _: mish_slope(x),
)
curve(
    "sigmoid",
    "1 / (1 + e^−x)",
    "squeeze every value into 0 … 1",
    "Logistic sigmoid.",
    lambda x, _: sigmoid(x),
    lambda _x, y, _: y * (1 - y),
)
curve(
    "hardsigmoid",
    "min(max(0, alpha·x + beta), 1)",
    "sigmoid made of three straight lines",
    "Piecewise linear sigmoid, MobileNetV3's: Howard et al., ICCV 2019.",
    lambda x, o: np.clip(F(o.alpha) * x + F(o.beta), F(0), F(1)),
    lambda _, y, o: np.where((y > 0) & (y < 1), F(o.alpha), F(0)),
    alpha=option(number(), "the slope", default=1 / 6, shown="1/6"),
    beta=option(number(), "the value at 0", default=0.5),
)
curve(
    "hardswish",
    "x · min(max(0, x + 3), 6) / 6",
    "silu with the hard sigmoid",
    "Piecewise swish, MobileNetV3's: Howard et al., ICCV 2019.",
    lambda x, _: x * (np.clip(x + F(3), F(0), F(6)) / F(6)),
    lambda x, _y, _: np.where(x < -3, F(0), np.where(x <= 3, x / F(3) + F(0.5), F(1))),
)
curve(
    "tanh",
    "(e^x − e^−x) / (e^x + e^−x)",
    "squeeze every value into −1 … 1",
    "Hyperbolic tangent.",
    lambda x, _: np.tanh(x),
    lambda _x, y, _: 1 - y**2,
)
curve(
    "softplus",
    "ln(1 + e^(beta·x)) / beta",
    "a smooth relu",
    "Softplus: Dugas et al., NeurIPS 2000.",
    lambda x, o: softplus(F(o.beta) * x) / F(o.beta),
    lambda x, _, o: sigmoid(F(o.beta) * x),
    beta=option(number(above=0), "sharpness of the bend", default=1.0),
)
curve(
    "softsign",
    "x / (1 + |x|)",
    "squeeze into −1 … 1, gently",
    "Softsign.",
    lambda x, _: x / (F(1) + np.abs(x)),
    lambda x, _y, _: 1 / (F(1) + np.abs(x)) ** 2,
)
curve(
    "hardshrink",
    "x if |x| > lambd else 0",
    "set what is weak to 0, whatever its sign: noise of a signed map",
    "Hard shrinkage: Donoho & Johnstone, Biometrika 1994.",
    lambda x, o: np.where(np.abs(x) <= F(o.lambd), F(0), x),
    lambda x, _, o: np.abs(x) > F(o.lambd),
    lambd=option(number(least=0), "the largest magnitude that is set to 0", default=0.5),
)
curve(
    "abs",
    "|x|",
    "how strong, whatever the sign",
    "Absolute value.",
    lambda x, _: np.abs(x),
    lambda x, _y, _: np.sign(x),
)
curve(
    "clip",
    "min(max(low, x), high)",
    "cut what lies below low or above high",
    "Limits on both sides, or on one.",
    # high counts where they cross
    lambda x, o: np.minimum(
        np.maximum(x, F(-np.inf if o.low is None else o.low)),
        F(np.inf if o.high is None else o.high),
    ),
    lambda x, y, _: x == y,
    low=option(optional(number()), "the least value", default=None, shown="−∞"),
    high=option(optional(number()), "the largest value", default=None, shown="∞"),
)
curve(
    "power",
    "x^exponent",
    "raise every value to a power: 2 squares, 0.5 is the root",
    "A fixed power: squares, roots (1/2), reciprocals (−1).",
    lambda x, o: np.power(x, F(o.exponent)),
    lambda x, _, o: F(o.exponent) * np.power(x, F(o.exponent - 1)),
    exponent=option(number(), "the exponent", default=2.0, always=True),
)
curve(
    "erf",
    "2/√π · ∫ e^−t² dt from 0 to x",
    "the error function: how much of a bell curve lies within ±x·√2",
    "The error function, of which exporters make GELU: x/2 · (1 + erf(x/√2)).",
    lambda x, _: np.where(np.isnan(x), x, erf(x)),
    lambda x, _y, _: 2 / math.sqrt(math.pi) * np.exp(-(x.astype(np.float64) ** 2)),
)
curve(
    "exp",
    "e^x",
    "e to the power of every value",
    "The exponential function.",
    lambda x, _: np.exp(x),
    lambda _x, y, _: y,
)
curve(
    "log",
    "ln x",
    "the natural logarithm of every value; of 0 it is −∞",
    "The natural logarithm.",
    lambda x, _: np.log(x),
    lambda x, _y, _: 1 / x,
)
