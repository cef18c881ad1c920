"""Operators that work value by value: activations, arithmetic, normalisation, classifiers."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.arranging import squeezed, turned
from cnnviz.files.onnx.call import Call, UnsupportedError, Value, constant_like, place, shortest
from cnnviz.files.onnx.protobuf import Array, by

Build = Callable[[Call], Value]
LARGEST_FLOAT = 3.4e38  # limits as large are none


def _curve(layer: str, **attributes: tuple[str, float]) -> Build:
    """Return the builder of an activation: each setting's attribute and ONNX's default."""

    def build(call: Call) -> Value:
        settings: dict[str, Any] = {name: call.number(*of) for name, of in attributes.items()}
        return call.add(layer, call.value(), **settings)

    return build


def _hardsigmoid(call: Call) -> Value:
    alpha = call.number("alpha", 0.2)
    settings: dict[str, Any] = {}
    if np.float32(alpha) != np.float32(1 / 6):
        settings["alpha"] = alpha
    return call.add("hardsigmoid", call.value(), beta=call.number("beta", 0.5), **settings)


def _selu(call: Call) -> Value:
    alpha, gamma = call.number("alpha", 1.6732632), call.number("gamma", 1.0507010)
    if abs(alpha - 1.6732632) > 1e-4 or abs(gamma - 1.0507010) > 1e-4:
        elu = call.add("elu", call.value(), alpha=alpha, part=".elu")
        return call.add("scale", elu, value=gamma)
    return call.add("selu", call.value())


def _prelu(call: Call) -> Value:
    x, slope = call.value(), call.constant(1)
    if call.opset < 7 and slope.ndim == 1 and slope.size > 1:
        slope = slope.reshape(-1, *(1,) * (x.rank - 2))
    weight = constant_like(slope, x.rank)
    if weight.size not in (1, weight.shape[0]):
        raise UnsupportedError("slopes of single pixels")
    return call.add("prelu", x, num_parameters=weight.size, params={"weight": weight.reshape(-1)})


def _clip(call: Call) -> Value:
    limits = []
    for name, index, sign in (("min", 1, -1), ("max", 2, 1)):
        found = call.static(name, index)
        limit = None if found is None or not found.size else shortest(float(found.reshape(-1)[0]))
        limits.append(None if limit is None or sign * limit >= LARGEST_FLOAT else limit)
    if limits == [0, 6]:
        return call.add("relu6", call.value())
    return call.add("clip", call.value(), low=limits[0], high=limits[1])


def _dropout(call: Call) -> Value:
    training = call.optional(2)
    if training is not None and training.any():
        raise UnsupportedError("training_mode")
    return call.add("dropout", call.value(), p=0)


def _identity(call: Call) -> Value:
    return call.add("dropout", call.value(), p=0)


# Arithmetic -------------------------------------------------------------------------------------


def _operands(call: Call) -> tuple[Value | Array, Value | Array]:
    """Return both sides, the second lined up by the `broadcast` and `axis` of opset 6."""
    one, two = call.given(0), call.given(1)
    if one is None or two is None:
        raise CnnvizError("it needs two inputs")
    axis = call.node.attributes.get("axis")
    if call.opset < 7 and isinstance(axis, int) and isinstance(one, Value):
        behind = (1,) * max(one.rank - place(axis, one.rank) - len(two.shape), 0)
        shape = (*two.shape, *behind)
        two = call.view(two, shape) if isinstance(two, Value) else two.reshape(shape)
    return one, two


def _meet(call: Call, *values: Value) -> list[Value]:
    """Return values with equally many axes, as broadcasting sees them."""
    rank = max(value.rank for value in values)
    return [
        value if value.rank == rank else call.view(value, (1,) * (rank - value.rank) + value.shape)
        for value in values
    ]


def _with_constant(call: Call, layer: str, x: Value, constant: Array, part: str = "") -> Value:
    """Add a `scale` or `shift` by a constant: one number, one a channel, or any that stretches."""
    if constant.dtype.kind not in "fiu":
        raise UnsupportedError(f"its constant is of type {constant.dtype}")
    with np.errstate(over="ignore"):
        constant = constant.astype(np.float32)
    if constant.size == 1 and constant.ndim <= x.rank and np.isfinite(constant).all():
        number = shortest(float(constant.reshape(-1)[0]))
        return call.add(layer, x, value=number, part=part)
    rank = max(x.rank, constant.ndim)
    if rank > x.rank:
        x = call.view(x, (1,) * (rank - x.rank) + x.shape)
    own = constant_like(constant, rank)
    name = "weight" if layer == "scale" else "bias"
    if own.shape == (own.shape[0],) + (1,) * (own.ndim - 1) and own.shape[0] == x.shape[1]:
        return call.add(layer, x, params={name: own.reshape(-1)}, part=part)
    return call.add(layer, x, params={name: own}, shape=own.shape, part=part)


def _negative(constant: Array) -> Array:
    if constant.dtype.kind not in "fiu":
        raise UnsupportedError(f"its constant is of type {constant.dtype}")
    return -(constant if constant.dtype.kind == "f" else constant.astype(np.float64))


def _reciprocal(constant: Array) -> Array:
    if constant.dtype.kind != "f":
        raise UnsupportedError("divides whole numbers")
    with np.errstate(all="ignore"):
        return np.asarray(1 / constant.astype(np.float64))


def _arithmetic(
    merge: str,
    layer: str,
    inverse: Callable[[Array], Array] | None = None,
    turn: Callable[[Call, Value], Value] | None = None,
) -> Build:
    """Return the builder of an operator on two operands, of which at least one is a stage.

    Two stages are merged. Stage and constant become a `layer` by the constant: where order
    matters, by its `inverse` if it comes second, after a `turn` of the stage if it comes first.
    """

    def build(call: Call) -> Value:
        one, two = _operands(call)
        if isinstance(one, Value):
            if isinstance(two, Value):
                return call.add(merge, *_meet(call, one, two))
            return _with_constant(call, layer, one, inverse(two) if inverse else two)
        if not isinstance(two, Value):
            raise UnsupportedError("works on constants")
        return _with_constant(call, layer, turn(call, two) if turn else two, one)

    return build


def _pow(call: Call) -> Value:
    exponent = call.constant(1)
    if exponent.size != 1:
        raise UnsupportedError("exponents of single pixels")
    return call.add("power", call.value(), exponent=shortest(float(exponent.reshape(-1)[0])))


def _fixed(layer: str, **settings: Any) -> Build:
    return lambda call: call.add(layer, call.value(), **settings)


def _several(layer: str) -> Build:
    """Return the builder of Sum, Max, Min: any number of stages, or one and a limit."""

    def build(call: Call) -> Value:
        values = [one for one in call.inputs if isinstance(one, Value)]
        limits = [one for one in call.inputs if one is not None and not isinstance(one, Value)]
        if not values:
            raise UnsupportedError("works on constants")
        if not limits:
            return call.add(layer, *_meet(call, *values)) if values[1:] else _identity(call)
        if len(values) > 1 or len(limits) > 1:
            raise UnsupportedError("mixes stages and constants")
        if layer == "add":
            return _with_constant(call, "shift", values[0], limits[0])
        if limits[0].size != 1:
            raise UnsupportedError("limits of single pixels")
        number = shortest(float(limits[0].reshape(-1)[0]))
        limit: dict[str, Any] = {"low" if layer == "maximum" else "high": number}
        return call.add("clip", values[0], **limit)

    return build


def _mean(call: Call) -> Value:
    values = [call.value(index) for index in range(len(call.inputs))]
    if len(values) == 1:
        return _identity(call)
    total = call.add("add", *_meet(call, *values), part=".sum")
    return call.add("scale", total, value=1 / len(values))


# Normalisation ----------------------------------------------------------------------------------


def _batchnorm(call: Call) -> Value:
    if call.integer("training_mode", 0):
        raise UnsupportedError("training_mode")
    if not call.integer("spatial", 1):
        raise UnsupportedError("spatial 0")
    names = ("weight", "bias", "running_mean", "running_var")
    params = {name: call.constant(index) for index, name in enumerate(names, start=1)}
    return call.add("batchnorm", call.value(), params=params, eps=call.number("epsilon", 1e-5))


def _instancenorm(call: Call) -> Value:
    params = {"weight": call.constant(1), "bias": call.constant(2)}
    return call.add("instancenorm", call.maps(), params=params, eps=call.number("epsilon", 1e-5))


def _lrn(call: Call) -> Value:
    size = call.integer("size", 0)
    if size > 0 and size % 2 == 0:
        raise UnsupportedError(f"an even size, {size}")
    return call.add(
        "lrn", call.maps(), size=size, alpha=call.number("alpha", 1e-4),
        beta=call.number("beta", 0.75), k=call.number("bias", 1),
    )  # fmt: skip


# Classifiers ------------------------------------------------------------------------------------


def _gemm(call: Call) -> Value:
    x, weight, shift = call.value(), call.constant(1), call.optional(2)
    if call.integer("transA", 0) or x.rank != 2 or weight.ndim != 2:
        raise UnsupportedError("matrices other than a weight")
    alpha, beta = call.number("alpha", 1), call.number("beta", 1)
    weight = weight if call.integer("transB", 0) else weight.T
    if alpha != 1:
        weight = weight * np.float32(alpha)
    params = {"weight": weight}
    if shift is not None:
        if (shift.ndim > 1 and shift.shape[0] != 1) or prod(shift.shape) not in (1, len(weight)):
            raise UnsupportedError("a bias for each of a batch")
        scaled = shift.reshape(-1) * np.float32(beta)
        params["bias"] = np.broadcast_to(scaled, (len(weight),))
    return call.add("dense", x, units=len(weight), bias="bias" in params, params=params)


def _matmul(call: Call) -> Value:
    one, two = call.given(0), call.given(1)
    if isinstance(one, Value) and isinstance(two, Value):
        return _product(call, one, two)
    if isinstance(two, Value):  # weight · maps: (M, K) · (1, K, L)
        weight = call.constant(0)
        if weight.ndim != 2 or two.rank != 3:
            raise UnsupportedError("matrices other than a weight")
        return _pointwise(call, two, weight)
    x, weight = call.value(), call.constant(1)
    weight = weight.reshape(weight.shape[-2:]) if prod(weight.shape[:-2]) == 1 else weight
    if weight.ndim != 2:
        raise UnsupportedError("a weight for each map")
    if x.rank == 2:
        return call.add("dense", x, units=weight.shape[1], bias=False, params={"weight": weight.T})
    if x.rank not in (3, 4):
        raise UnsupportedError(f"its input is {by(x.shape)}, not maps")
    order = (0, 2, 1) if x.rank == 3 else (0, 3, 1, 2)  # the last axis as channels, and back
    back = (0, 2, 1) if x.rank == 3 else (0, 2, 3, 1)
    return turned(call, _pointwise(call, turned(call, x, order, ".turned"), weight.T), back)


def _pointwise(call: Call, x: Value, weight: Array) -> Value:
    """Add a 1×1 convolution: a matrix (O, C) times the channels of every pixel."""
    params = {"weight": weight.reshape(*weight.shape, 1, 1)}
    return call.add(
        "conv", x, filters=len(weight), kernel_size=1, bias=False, params=params, part=".product"
    )


def _product(call: Call, one: Value, two: Value) -> Value:
    """Add the product of two stages' matrices, those of all further axes as maps."""
    if min(one.rank, two.rank) < 3 or one.shape[1:-2] != two.shape[1:-2]:
        raise UnsupportedError("matrices of stages that are not as many")
    maps = prod(one.shape[1:-2])
    first, second = (call.view(x, (1, maps, *x.shape[-2:]), ".maps") for x in (one, two))
    made = call.add("matmul", first, second, transpose=False)
    return call.view(made, (*one.shape[:-1], two.shape[-1]))


def _layernorm(call: Call) -> Value:
    """Add layer normalisation over the last axes; of a turned stage, before it is turned."""
    x, weight, bias = call.value(), call.constant(1), call.optional(2)
    first = place(call.integer("axis", -1), x.rank)
    source, path = call.stages.turned.get(x.stage, (x, tuple(range(x.rank))))
    if source.rank != x.rank or len(path) != x.rank:
        source, path = x, tuple(range(x.rank))
    shape = (1,) * first + x.shape[first:]
    places = tuple(path.index(axis) for axis in range(x.rank))

    def own(array: Array) -> Array:
        whole = np.broadcast_to(array, shape).transpose(places)
        return constant_like(whole, x.rank)

    params = {"weight": own(weight), "bias": own(np.zeros(1) if bias is None else bias)}
    axes = tuple(source.axis(path[axis]) for axis in range(first, x.rank))
    eps = call.number("epsilon", 1e-5)
    return turned(call, call.add("layernorm", source, params=params, axes=axes, eps=eps), path)


def _groupnorm(call: Call) -> Value:
    """Add instance normalisation of each group's values, then one scale and shift a channel."""
    x, weight, bias = call.maps(), call.constant(1).reshape(-1), call.constant(2).reshape(-1)
    groups, channels = call.integer("num_groups", 1), x.shape[1]
    if groups < 1 or channels % groups:
        raise CnnvizError(f"{channels} channels are not {groups} groups")
    grouped = call.view(x, (1, groups, prod(x.shape[1:]) // groups), ".groups")
    unit = {"weight": np.ones(groups, np.float32), "bias": np.zeros(groups, np.float32)}
    eps = call.number("epsilon", 1e-5)
    normal = call.add("instancenorm", grouped, params=unit, eps=eps, part=".normal")
    if len(weight) != channels:  # opset 18 has one for each group
        weight, bias = (np.repeat(one, channels // groups) for one in (weight, bias))
    scaled = call.add("scale", call.view(normal, x.shape), params={"weight": weight}, part=".scale")
    return call.add("shift", scaled, params={"bias": bias})


def _argmax(call: Call) -> Value:
    x = call.value()
    at = place(call.integer("axis", 0), x.rank)
    if call.integer("select_last_index", 0):
        raise UnsupportedError("select_last_index")
    made = call.add("argmax", x, axis=x.axis(at))
    kept = tuple(1 if axis == at else side for axis, side in enumerate(x.shape))
    return call.view(made, kept if call.integer("keepdims", 1) else squeezed(kept, (at,)))


def _softmax(layer: str) -> Build:
    def build(call: Call) -> Value:
        x = call.value()
        if call.opset >= 13:
            axes: tuple[int, ...] = (x.axis(call.integer("axis", -1)),)
        else:  # the tensor is seen as a matrix, split before the axis
            first = call.integer("axis", 1)
            axes = tuple(x.axis(axis) for axis in range(first % x.rank, x.rank))
        return call.add(layer, x, axes=axes)

    return build


OPERATORS: dict[str, Build] = {
    "Relu": _curve("relu"),
    "LeakyRelu": _curve("leaky_relu", negative_slope=("alpha", 0.01)),
    "PRelu": _prelu,
    "Elu": _curve("elu", alpha=("alpha", 1)),
    "Selu": _selu,
    "Celu": _curve("celu", alpha=("alpha", 1)),
    "Gelu": lambda call: call.add(
        "gelu", call.value(), approximate=call.text("approximate", "none")
    ),
    "Sigmoid": _curve("sigmoid"),
    "HardSigmoid": _hardsigmoid,
    "HardSwish": _curve("hardswish"),
    "Swish": _curve("silu", beta=("alpha", 1)),
    "Tanh": _curve("tanh"),
    "Softplus": _curve("softplus"),
    "Softsign": _curve("softsign"),
    "Mish": _curve("mish"),
    "Abs": _curve("abs"),
    "Erf": _curve("erf"),
    "Exp": _curve("exp"),
    "Log": _curve("log"),
    "Clip": _clip,
    "Dropout": _dropout,
    "Identity": _identity,
    "Neg": _fixed("scale", value=-1),
    "Sqrt": _fixed("power", exponent=0.5),
    "Reciprocal": _fixed("power", exponent=-1),
    "Pow": _pow,
    "Add": _arithmetic("add", "shift"),
    "Mul": _arithmetic("mul", "scale"),
    "Sub": _arithmetic(
        "sub", "shift", _negative, lambda call, x: call.add("scale", x, value=-1, part=".negative")
    ),
    "Div": _arithmetic(
        "div",
        "scale",
        _reciprocal,
        lambda call, x: call.add("power", x, exponent=-1, part=".reciprocal"),
    ),
    "Sum": _several("add"),
    "Max": _several("maximum"),
    "Min": _several("minimum"),
    "Mean": _mean,
    "BatchNormalization": _batchnorm,
    "InstanceNormalization": _instancenorm,
    "LayerNormalization": _layernorm,
    "GroupNormalization": _groupnorm,
    "LRN": _lrn,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "ArgMax": _argmax,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
}
