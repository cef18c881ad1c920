"""Operators on constants and shapes, worked out while reading: what exporters leave in a graph."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from cnnviz.core.types import Shape
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.arranging import VIEWS, kept_by_slice, parts_of_split
from cnnviz.files.onnx.call import Call, UnsupportedError, place
from cnnviz.files.onnx.protobuf import Array

ROOM = 1 << 22
"""How many values a folded tensor may have, beyond as many as its largest input has."""

LARGEST = 1 << 24
"""How many values a weight may have that a number alone fills."""

MOST_PRODUCTS = 1 << 30

Fold = Callable[[Call], "Array | tuple[Array, ...]"]


def _arrays(call: Call) -> list[Array]:
    return [call.constant(index) for index in range(len(call.inputs))]


def _check_room(call: Call, count: int) -> None:
    largest = max((one.size for one in call.inputs if isinstance(one, np.ndarray)), default=0)
    if count > max(ROOM, largest):
        raise CnnvizError(f"it makes a constant of {count:,} values")


def _ufunc(function: Callable[..., Any]) -> Fold:
    """Return the fold of a function that NumPy broadcasts."""

    def fold(call: Call) -> Array:
        arrays = _arrays(call)
        if any(array.dtype.kind not in "fiub" for array in arrays):
            raise UnsupportedError("computes with what is no number")
        _check_room(call, prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        with np.errstate(all="ignore"):
            return np.asarray(function(*arrays))

    return fold


def _divide(one: Array, two: Array) -> Array:
    """Divide; whole numbers round towards 0, as in C."""
    if one.dtype.kind == "f":
        return np.asarray(one / two)
    if not np.all(two):
        raise CnnvizError("it divides by 0")
    return np.asarray(np.trunc(one / two).astype(one.dtype))


def _shape(call: Call) -> Array:
    given = call.given(0)
    if given is None:
        raise CnnvizError("its input is missing")
    sides = given.shape[call.integer("start", 0) : call.node.attributes.get("end")]
    return np.array(sides, np.int64)


def _size(call: Call) -> Array:
    given = call.given(0)
    return np.array(0 if given is None else prod(given.shape), np.int64)


def _constant(call: Call) -> Array:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        found = call.node.attributes.get(name)
        if found is not None:
            if isinstance(found, np.ndarray):
                return found
            kind = np.float32 if "float" in name else np.int64
            return np.asarray(found, kind)
    raise UnsupportedError("a constant of text or of another kind")


def _constant_of_shape(call: Call) -> Array:
    sides = call.integers("shape", 0) or ()
    if prod(sides) > LARGEST:
        raise CnnvizError(f"it makes a constant of {prod(sides):,} values")
    value = call.node.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value).reshape(-1)[:1]
    return np.full(sides, fill[0] if fill.size else 0, fill.dtype)


_CASTS = {
    1: np.float32, 2: np.uint8, 3: np.int8, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64,
}  # fmt: skip


def _cast(call: Call) -> Array:
    to = call.integer("to", 0)
    if to not in _CASTS:
        raise UnsupportedError(f"casts to type {to}")
    with np.errstate(all="ignore"):
        return call.constant(0).astype(_CASTS[to])


def _gather(call: Call) -> Array:
    data, index, axis = call.constant(0), call.constant(1), call.integer("axis", 0)
    if not -data.ndim <= axis < data.ndim or index.dtype.kind not in "iu":
        raise CnnvizError(f"its axis {axis} or its indices do not fit")
    _check_room(call, index.size * (data.size // max(data.shape[axis], 1)))
    side = data.shape[axis]
    if index.size and not -side <= int(index.min()) <= int(index.max()) < side:
        raise CnnvizError(f"it reads beyond the {side} positions of axis {axis}")
    return np.asarray(np.take(data, index, axis=axis))


def _concat(call: Call) -> Array:
    arrays = _arrays(call)
    _check_room(call, sum(array.size for array in arrays))
    return np.concatenate(arrays, axis=call.integer("axis", 0))


def _view(shape_of: Callable[[Call, Shape], Shape]) -> Fold:
    return lambda call: call.constant(0).reshape(shape_of(call, call.constant(0).shape))


def _slice(call: Call) -> Array:
    data = call.constant(0)
    parts = [slice(None)] * data.ndim
    for axis, kept in kept_by_slice(call, data.shape):
        parts[axis] = slice(kept.start, kept.stop if kept.stop >= 0 else None, kept.step)
    return data[tuple(parts)]


def _split(call: Call) -> tuple[Array, ...]:
    data = call.constant(0)
    axis, sizes = parts_of_split(call, data.shape)
    return tuple(np.split(data, np.cumsum(sizes[:-1]).tolist(), axis=axis))


def _range(call: Call) -> Array:
    start, limit, step = (float(one.reshape(-1)[0]) for one in _arrays(call))
    if not step or not np.isfinite([start, limit, step]).all():
        raise CnnvizError(f"it counts from {start:g} to {limit:g} by {step:g}")
    _check_room(call, int(max(0, (limit - start) / step)))
    return np.arange(start, limit, step).astype(call.constant(0).dtype)


def _expand(call: Call) -> Array:
    data, sides = call.constant(0), call.integers("shape", 1) or ()
    shape = np.broadcast_shapes(data.shape, sides)
    _check_room(call, prod(shape))
    return np.ascontiguousarray(np.broadcast_to(data, shape))


def _reduce(function: Callable[..., Any]) -> Fold:
    def fold(call: Call) -> Array:
        axes = call.integers("axes", 1)
        keep = bool(call.integer("keepdims", 1))
        return np.asarray(function(call.constant(0), axis=axes, keepdims=keep))

    return fold


def _matmul(call: Call) -> Array:
    one, two = call.constant(0), call.constant(1)
    if not one.ndim or not two.ndim or {one.dtype.kind, two.dtype.kind} - set("fiu"):
        raise UnsupportedError("multiplies what are no matrices")
    batch = np.broadcast_shapes(one.shape[:-2], two.shape[:-2])
    _check_room(call, prod(batch) * prod(one.shape[-2:-1]) * prod(two.shape[-1:]))
    if prod(batch) * prod(one.shape[-2:]) * prod(two.shape[-1:]) > MOST_PRODUCTS:
        raise CnnvizError("it multiplies constants at more than a billion products")
    return np.asarray(np.matmul(one, two))


def _dequantize(call: Call) -> Array:
    """Return (x − zero point) · scale: for all values, or each position of an axis."""
    x, scale, zero = call.constant(0), call.constant(1), call.optional(2)
    if call.integer("block_size", 0):
        raise UnsupportedError("blocks")
    if scale.ndim:
        axis = place(call.integer("axis", 1), x.ndim)
        shape = [1] * x.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
        zero = None if zero is None else zero.reshape(shape)
    shifted = x.astype(np.float32) - (0 if zero is None else zero.astype(np.float32))
    return np.asarray(shifted * scale, np.float32)


FOLDS: dict[str, Fold] = {
    "Shape": _shape,
    "Size": _size,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Cast": _cast,
    "Gather": _gather,
    "Concat": _concat,
    **{name: _view(shape_of) for name, shape_of in VIEWS.items()},
    "Transpose": lambda call: call.constant(0).transpose(call.integers("perm") or None),
    "Slice": _slice,
    "Split": _split,
    "Range": _range,
    "Expand": _expand,
    "MatMul": _matmul,
    "DequantizeLinear": _dequantize,
    "Identity": lambda call: call.constant(0),
    "Dropout": lambda call: call.constant(0),
    "Add": _ufunc(np.add),
    "Sub": _ufunc(lambda one, two: one - two),
    "Mul": _ufunc(np.multiply),
    "Div": _ufunc(_divide),
    "Mod": _ufunc(np.fmod),
    "Pow": _ufunc(lambda one, two: np.power(one.astype(np.float64), two).astype(one.dtype)),
    "Sqrt": _ufunc(np.sqrt),
    "Exp": _ufunc(np.exp),
    "Log": _ufunc(np.log),
    "Neg": _ufunc(lambda one: -one),
    "Abs": _ufunc(np.abs),
    "Floor": _ufunc(np.floor),
    "Ceil": _ufunc(np.ceil),
    "Reciprocal": _ufunc(lambda one: 1 / one),
    "Max": _ufunc(np.maximum),
    "Min": _ufunc(np.minimum),
    "Equal": _ufunc(np.equal),
    "Less": _ufunc(np.less),
    "Greater": _ufunc(np.greater),
    "Not": _ufunc(np.logical_not),
    "And": _ufunc(np.logical_and),
    "Or": _ufunc(np.logical_or),
    "Where": _ufunc(np.where),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceMean": _reduce(np.mean),
}

OF_SHAPES = ("Shape", "Size")
"""Folds with an answer that does not depend on their input's values."""
