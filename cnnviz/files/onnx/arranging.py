"""Operators that arrange values: concat, reshape, transpose, slice; and reductions of axes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from cnnviz.core.types import Pair, Shape
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.call import Call, UnsupportedError, Value, layout, place
from cnnviz.files.onnx.protobuf import Array

Build = Callable[[Call], "Value | tuple[Value, ...]"]
Curve = tuple[str, dict[str, Any]] | None
"""A layer that works value by value, and its settings."""

MOST_CHANNELS = 1 << 24  # channels times channels that a widening convolution may have
MOST_RUNS = 64  # slices that one Gather may become
_SQUARE = ("power", {"exponent": 2.0})


def reshaped(shape: Shape, wanted: tuple[int, ...], *, keep_zeros: bool = False) -> Shape:
    """Return the shape Reshape gives: 0 copies a side, −1 is what is left."""
    sides = [
        shape[axis] if side == 0 and not keep_zeros and axis < len(shape) else side
        for axis, side in enumerate(wanted)
    ]
    if sides.count(-1) == 1:
        known = prod(side for side in sides if side != -1)
        sides[sides.index(-1)] = prod(shape) // known if known else 0
    if min(sides, default=1) < 0 or prod(sides) != prod(shape):
        raise CnnvizError(f"it cannot make {list(shape)} into {list(wanted)}")
    return tuple(sides)


def squeezed(shape: Shape, axes: tuple[int, ...] | None) -> Shape:
    """Return the shape without the sides of 1 at `axes`, or without all of them."""
    if axes is None:
        return tuple(side for side in shape if side != 1)
    places = {axis % len(shape) for axis in axes} if shape else set()
    if any(shape[at] != 1 for at in places):
        raise CnnvizError(f"it cannot take the axes {list(axes)} from {list(shape)}")
    return tuple(side for at, side in enumerate(shape) if at not in places)


def unsqueezed(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """Return the shape with sides of 1 put in, so that they lie at `axes`."""
    rank = len(shape) + len(axes)
    places = {axis % rank for axis in axes} if rank else set()
    if len(places) != len(axes):
        raise CnnvizError(f"it cannot put the axes {list(axes)} into {list(shape)}")
    rest = iter(shape)
    return tuple(1 if at in places else next(rest) for at in range(rank))


def _reshape(call: Call, shape: Shape) -> Shape:
    wanted = call.integers("shape", 1)
    if wanted is None:
        raise CnnvizError("it has no shape")
    return reshaped(shape, wanted, keep_zeros=bool(call.integer("allowzero", 0)))


def _flatten(call: Call, shape: Shape) -> Shape:
    axis = call.integer("axis", 1)
    at = axis + len(shape) if axis < 0 else axis
    return prod(shape[:at]), prod(shape[at:])


VIEWS: dict[str, Callable[[Call, Shape], Shape]] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": lambda call, shape: squeezed(shape, call.integers("axes", 1)),
    "Unsqueeze": lambda call, shape: unsqueezed(shape, call.integers("axes", 1) or ()),
}
"""Operators that only give another shape, on stages and on constants: the shape they give."""


def merged_axes(shape: Shape, apart: list[bool]) -> tuple[Shape, list[int]]:
    """Return a shape whose neighbouring axes are one unless `apart`, and of each its first axis.

    >>> merged_axes((1, 1, 6, 4, 5), [False, False, True, False, False])
    ((1, 1, 6, 20), [0, 1, 2, 3])
    """
    sides, kept = [shape[0]], [0]
    for axis in range(1, len(shape)):
        if axis > 1 and not apart[axis] and not apart[kept[-1]]:
            sides[-1] *= shape[axis]
        else:
            sides.append(shape[axis])
            kept.append(axis)
    return tuple(sides), kept


def _view(shape_of: Callable[[Call, Shape], Shape]) -> Build:
    return lambda call: call.view(call.value(), shape_of(call, call.value().shape))


def _cast(call: Call) -> Value:
    x = call.value()
    floats = call.integer("to", 0) in (1, 10, 11, 16)  # float32, float16, float64, bfloat16
    if not floats and x.stage not in call.stages.whole:
        raise UnsupportedError("makes whole numbers of values")
    return x


def _transpose(call: Call) -> Value:
    x = call.value()
    order = call.integers("perm") or tuple(reversed(range(x.rank)))
    if sorted(order) != list(range(x.rank)):
        raise CnnvizError(f"its perm {list(order)} does not fit {x.rank} axes")
    return turned(call, x, order)


def turned(call: Call, x: Value, order: tuple[int, ...], part: str = "") -> Value:
    """Return a value with its axes in another order; two turns in a row are one."""
    source, path = call.stages.turned.get(x.stage, (x, tuple(range(x.rank))))
    if source is not x and x.rank == len(path):
        x, order = source, tuple(path[axis] for axis in order)
    shape = tuple(x.shape[axis] for axis in order)
    moving = [axis for axis in order if x.shape[axis] != 1]
    if moving == sorted(moving):  # only sides of 1 change places
        return x if shape == x.shape else call.view(x, shape)
    if order[0] != 0 or x.rank < 3:
        raise UnsupportedError("moves the batch")
    if x.rank <= 4:
        axes = (2, 1, 0) if x.rank == 3 else tuple(axis - 1 for axis in order[1:])
        made = call.add("transpose", x, axes=axes, part=part)
        call.stages.turned[made.stage] = (x, order)
        return made
    return _transpose_runs(call, x, order)


_UNSHUFFLES = {(0, 1, 3, 5, 2, 4): "outer", (0, 3, 5, 1, 2, 4): "inner"}
"""Orders of six axes that undo a pixel shuffle: how the channels come to lie."""

_SHUFFLES = {(0, 1, 4, 2, 5, 3): ("outer", 2), (0, 3, 4, 1, 5, 2): ("inner", 1)}
"""Orders of six axes that are a pixel shuffle: how its channels lie, and where the block is."""


def _transpose_runs(call: Call, x: Value, order: tuple[int, ...]) -> Value:
    """Transpose more than four axes: pixel shuffles, and what leaves three groups together."""
    if order in _SHUFFLES:
        channels, block = _SHUFFLES[order]
        if x.shape[block] == x.shape[block + 1]:
            maps = call.view(x, (1, prod(x.shape[1:4]), *x.shape[4:]))
            woven = call.add("depth_to_space", maps, block=x.shape[block], channels=channels)
            return call.view(woven, tuple(x.shape[axis] for axis in order))
    if order in _UNSHUFFLES and x.shape[3] == x.shape[5]:
        rows, columns = x.shape[2] * x.shape[3], x.shape[4] * x.shape[5]
        maps = call.view(x, (1, x.shape[1], rows, columns))
        channels = _UNSHUFFLES[order]
        blocks = call.add("space_to_depth", maps, block=x.shape[3], channels=channels)
        return call.view(blocks, tuple(x.shape[axis] for axis in order))
    runs: list[list[int]] = []
    for axis in order[1:]:
        if runs and axis == runs[-1][-1] + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    if len(runs) not in (2, 3):
        raise UnsupportedError(f"moves {len(runs)} groups of axes")
    by_place = sorted(runs)
    sides = [prod(x.shape[axis] for axis in run) for run in by_place]
    axes = tuple(by_place.index(run) for run in runs)
    if len(runs) == 2:
        sides, axes = [sides[0], 1, sides[1]], (2, 1, 0)
    grouped = call.view(x, (1, *sides), ".groups")
    turned = call.add("transpose", grouped, axes=axes)
    return call.view(turned, tuple(x.shape[axis] for axis in order))


def _concat(call: Call) -> Value:
    """Join stages; constants widen the stage before them, the first ones the stage after."""
    given = [one for one in call.inputs if one is not None]
    stages = [one for one in given if isinstance(one, Value)]
    if not stages:
        raise UnsupportedError("works on constants")
    if len({len(one.shape) for one in given}) != 1:
        raise CnnvizError("it joins tensors of different ranks")
    axis = place(call.integer("axis", 1), stages[0].rank)
    joined = list[Value]()
    first = next(index for index, one in enumerate(given) if isinstance(one, Value))
    before: list[Array] = [one for one in given[:first] if not isinstance(one, Value)]
    for number, one in enumerate(stages, start=1):
        at = next(index for index, other in enumerate(given) if other is one)
        behind = list[Array]()
        for other in given[at + 1 :]:
            if isinstance(other, Value):
                break
            behind.append(other)
        wide = _with_constants(call, one, axis, before, behind, f".{number}")
        joined.append(wide)
        before = []
        given = given[at + 1 :]
    if len(joined) == 1:
        return joined[0]
    return call.add("concat", *joined, axis=joined[0].axis(axis))


def _with_constants(
    call: Call, x: Value, axis: int, before: list[Array], behind: list[Array], part: str
) -> Value:
    """Put constants before and behind a stage along an axis: zeros, to which they are added."""
    if not before and not behind:
        return x
    zeros = np.zeros(x.shape, np.float32)
    whole = np.concatenate([*before, zeros, *behind], axis=axis).astype(np.float32)
    added = [sum(one.shape[axis] for one in side) for side in (before, behind)]
    wide = widened(call, x, axis, (added[0], added[1]), f"{part}.room")
    own = whole.reshape(layout(whole.shape))
    return call.add("shift", wide, params={"bias": own}, shape=own.shape, part=f"{part}.constant")


def widened(call: Call, x: Value, axis: int, by: Pair, part: str, fill: float = 0) -> Value:
    """Return a stage with so many more positions before and behind along an axis of ONNX's."""
    at = x.axis(axis)
    if at:
        pads = (by[0], 0, by[1], 0) if at == 1 else (0, by[0], 0, by[1])
        mode: dict[str, Any] = {"padding_mode": "constant", "pad_value": fill} if fill else {}
        return call.add("pad", x, padding=pads, part=part, **mode)
    channels = x.shape[axis]
    filters = channels + sum(by)
    if channels * filters > MOST_CHANNELS:
        raise UnsupportedError(f"widens {channels:,} channels to {filters:,}")
    maps = call.view(x, (*x.shape, 1, 1)) if x.rank == 2 else x
    weight = np.eye(filters, channels, -by[0], dtype=np.float32).reshape(filters, channels, 1, 1)
    bias = np.full(filters, fill, np.float32)
    bias[by[0] : by[0] + channels] = 0
    params = {"weight": weight} | ({"bias": bias} if fill else {})
    made = call.add(
        "conv", maps, filters=filters, kernel_size=1, bias=bool(fill), params=params, part=part
    )
    return call.view(made, (1, filters)) if x.rank == 2 else made


def _cut(call: Call, x: Value, axis: int, start: int, length: int, step: int, part: str) -> Value:
    """Add a slice, unless it keeps everything."""
    if (start, length, step) == (0, x.shape[axis], 1):
        return x
    return call.add("slice", x, axis=x.axis(axis), start=start, length=length, step=step, part=part)


def kept_by_slice(call: Call, shape: Shape) -> list[tuple[int, range]]:
    """Return the axes that Slice cuts, and the positions that it keeps of each."""
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    if starts is None or ends is None:
        raise CnnvizError("it has no starts or ends")
    axes = call.integers("axes", 3) or tuple(range(len(starts)))
    steps = call.integers("steps", 4) or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise CnnvizError("its starts, ends, axes and steps are not equally many")
    kept = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis + len(shape) if axis < 0 else axis
        if not 0 <= at < len(shape) or step == 0:
            raise CnnvizError(f"its axis {axis} or step {step} is not one of {len(shape)} axes")
        kept.append((at, range(*slice(start, end, step).indices(shape[at]))))
    return kept


def _slice(call: Call) -> Value:
    x = call.value()
    cuts = []
    for at, kept in kept_by_slice(call, x.shape):
        if not kept:
            raise CnnvizError(f"it keeps nothing of axis {at}")
        if kept != range(x.shape[at]):
            cuts.append((at, kept))
    for number, (at, kept) in enumerate(cuts, start=1):
        part = "" if number == len(cuts) else f".{number}"
        x = _cut(call, x, at, kept.start, len(kept), kept.step, part)
    return x


def parts_of_split(call: Call, shape: Shape) -> tuple[int, tuple[int, ...]]:
    """Return the axis that Split cuts, and how many positions each part has."""
    count = len(call.node.outputs)
    at = place(call.integer("axis", 0), len(shape))
    sizes = call.integers("split", 1)
    if sizes is None:
        each = -(-shape[at] // call.integer("num_outputs", count))
        sizes = (*(each,) * (count - 1), shape[at] - each * (count - 1))
    if len(sizes) != count or sum(sizes) != shape[at] or min(sizes) < 0:
        raise CnnvizError(f"its parts {list(sizes)[:9]} do not make up {shape[at]}")
    return at, sizes


def _split(call: Call) -> tuple[Value, ...]:
    x = call.value()
    at, sizes = parts_of_split(call, x.shape)
    if 0 in sizes:
        raise UnsupportedError("an empty part")
    starts = accumulate(sizes, initial=0)
    return tuple(
        _cut(call, x, at, start, size, 1, f".{number}")
        for number, (start, size) in enumerate(zip(starts, sizes, strict=False), start=1)
    )


def _gather(call: Call) -> Value:
    x, index = call.value(), call.constant(1)
    axis = place(call.integer("axis", 0), x.rank)
    if index.size != 1:
        return _gathered(call, x, axis, index)
    at = int(index.reshape(-1)[0])
    at += x.shape[axis] if at < 0 else 0
    picked = _cut(call, x, axis, at, 1, 1, "")
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return call.view(picked, shape, ".reshaped")


def _gathered(call: Call, x: Value, axis: int, index: Array) -> Value:
    """Return several positions: a slice for each run of them in equal steps."""
    side = x.shape[axis]
    wanted = [int(at) + (side if at < 0 else 0) for at in index.reshape(-1)[: MOST_RUNS * 64]]
    if not wanted or len(wanted) < index.size or not 0 <= min(wanted) <= max(wanted) < side:
        raise CnnvizError(f"it picks {index.size:,} positions of {side}")
    runs = list[list[int]]()
    for at in wanted:
        run = runs[-1] if runs else []
        step = run[1] - run[0] if len(run) > 1 else at - run[0] if run else 0
        if run and step and at - run[-1] == step:
            run.append(at)
        else:
            runs.append([at])
    if len(runs) > MOST_RUNS:
        raise UnsupportedError(f"picks {len(runs)} runs of positions")
    parts = [
        _cut(call, x, axis, run[0], len(run), run[1] - run[0] if run[1:] else 1, f".{number}")
        for number, run in enumerate(runs, start=1)
    ]
    made = call.add("concat", *parts, axis=x.axis(axis)) if parts[1:] else parts[0]
    return call.view(made, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), ".reshaped")


def _reduce(mode: str, before: Curve = None, after: Curve = None) -> Build:
    """Return the builder of a reduction; `before` and `after` it come curves, if any."""

    def build(call: Call) -> Value:
        x = call.value()
        if before is not None:
            x = call.add(before[0], x, part=f".{before[0]}", **before[1])
        axes = call.integers("axes", 1)
        if not axes:
            if call.integer("noop_with_empty_axes", 0):
                return x
            raise UnsupportedError("reduces the batch, too")
        places = tuple(axis % x.rank for axis in axes)
        own = {x.axis(at) for at in places}
        pool = {"mean": "global_avgpool", "max": "global_maxpool"}.get(mode)
        if x.rank == 4 and own == {1, 2} and pool:
            joined = call.add(pool, x)
        else:
            joined = call.add("reduce", x, mode=mode, axes=tuple(own), part=".sum" if after else "")
        if after is not None:
            joined = call.add(after[0], joined, **after[1])
        kept = tuple(1 if at in places else side for at, side in enumerate(x.shape))
        if call.integer("keepdims", 1):
            return call.view(joined, kept)
        return call.view(joined, squeezed(kept, places), ".reshaped")

    return build


OPERATORS: dict[str, Build] = {
    **{name: _view(shape_of) for name, shape_of in VIEWS.items()},
    "Cast": _cast,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
    "ReduceL1": _reduce("sum", ("abs", {})),
    "ReduceL2": _reduce("sum", _SQUARE, ("power", {"exponent": 0.5})),
    "ReduceSumSquare": _reduce("sum", _SQUARE),
}
