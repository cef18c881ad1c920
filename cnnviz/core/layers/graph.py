"""Layers that join or steer branches: from, add and its like, concat; magnitude joins channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, ClassVar, NamedTuple

import numpy as np

from cnnviz.core.arithmetic import (
    Arithmetic,
    Doubles,
    Join,
    Misfit,
    Terms,
    block,
    by,
    by_side,
    chosen,
    joined_sum,
    single,
    spans_of,
    summed,
    written,
)
from cnnviz.core.field import ALL, SAME, Indices, Reach, Reads
from cnnviz.core.layers.base import Identity, Layer, define, register, require_axes, settings
from cnnviz.core.settings import option, stage_name, whole
from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError

MOST_NAMES = 1 << 16
"""Maps that are called by the names of kernels; of more, which doubling makes quickly, none is."""


def read_stages(value: Any, name: str) -> tuple[str, ...]:
    """Read one stage or several."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    if not values:
        raise RequestError(f"{name} is empty", hint="name at least one earlier stage")
    return tuple(stage_name(one, name) for one in values)


@register
@settings
class From(Identity):
    """Not a stage: the next layer reads the stage named here."""

    name: ClassVar[str] = "from"
    family: ClassVar[str] = "graph"
    summary: ClassVar[str] = "continue from an earlier stage; input is the image"
    is_stage: ClassVar[bool] = False

    stage: str = option(stage_name, "the stage to continue from")

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


def _way_to_equal(one: Shape, other: Shape) -> str:
    """Say what makes two shapes equal: in their channels, in their sizes, or as vector and maps."""
    if len(one) != len(other):
        return "flatten makes maps a vector, reshape((N, 1, 1)) a vector maps that stretch"
    if len(one) == 1:
        return "a dense layer with the right units makes them equal"
    apart = [a != b and 1 not in (a, b) for a, b in zip(one, other, strict=True)]
    ways = []
    if apart[0]:
        ways.append("a 1×1 conv with the right filters makes the channels equal")
    if any(apart[1:]):
        ways.append("padding=same and equal strides keep sizes equal, resize(size=…) makes them so")
    return "; ".join(ways)


class MergeRule(NamedTuple):
    """How values of several stages become one: folded by `join` from the first to the last."""

    join: np.ufunc
    slopes: Callable[[Tensor, Sequence[Tensor]], Iterable[Tensor | float]]
    """(output, inputs) -> how much the output changes with each input, value by value."""
    explain: Callable[[Terms], Arithmetic]
    inverse: Callable[[Doubles], Doubles] | None = None
    """What a value after the first brings to a sum or product."""


@settings
class Combine(Merge):
    """Merging value by value. A side of 1 meets every position of the others, as in NumPy."""

    rule: ClassVar[MergeRule]

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape all inputs have, or stretch to."""
        common = shapes[0]
        for other in shapes[1:]:
            sides = list(zip(common, other, strict=False))
            if len(common) != len(other) or any(a != b and 1 not in (a, b) for a, b in sides):
                raise CnnvizError(
                    f"{self.name} needs equal shapes, not {by(common)} and {by(other)}",
                    hint=_way_to_equal(common, other),
                )
            common = tuple(max(side) for side in sides)
        return common

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return what each side has in common, or stretches to."""
        return _sides(shapes, lambda _, lengths: _stretched(set(lengths) - {1}, lengths))

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return each value's place; where an input's side is 1, its one position."""
        output = self.output_shape(*shapes)
        return tuple(
            tuple(
                Reach(0) if one == 1 < side else SAME
                for one, side in zip(shape, output, strict=True)
            )
            for shape in shapes
        )

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the inputs combined from first to last."""
        total: Tensor = self.rule.join(inputs[0], inputs[1])
        for other in inputs[2:]:
            total = self.rule.join(total, other)
        return total

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient times each input's slope; summed where a side of 1 stretched."""
        parts = []
        for x, slope in zip(inputs, self.rule.slopes(output, inputs), strict=True):
            stretched = tuple(a for a, side in enumerate(x.shape) if side < gradient.shape[a])
            part = np.asarray(gradient * slope, np.float32)
            parts.append(part.sum(axis=stretched, keepdims=True) if stretched else part)
        return tuple(parts)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the inputs' values in that place, joined."""
        cells = [
            tuple(index if side > 1 else 0 for index, side in zip(at, given.shape, strict=True))
            for given in inputs
        ]
        value = np.array([x[cell] for x, cell in zip(inputs, cells, strict=True)], np.float64)
        part = value.copy()
        if self.rule.inverse is not None:
            with np.errstate(all="ignore"):
                part[1:] = self.rule.inverse(part[1:])
        return self.rule.explain(
            Terms(value, np.array(cells), part=part, source=np.arange(len(cells)))
        )


def _product(terms: Terms) -> Arithmetic:
    with np.errstate(all="ignore"):
        total = float(terms.part.prod())
    return Arithmetic(terms, "product", total, total, noun="factors")


def _extreme(join: Join) -> Callable[[Terms], Arithmetic]:
    def explain(terms: Terms) -> Arithmetic:
        return chosen(terms, join, lambda winner: (f"the {join} is {written(terms.part[winner])}",))

    return explain


def _others(inputs: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield, for each input, the product of the others."""
    for own in range(len(inputs)):
        rest = [x for number, x in enumerate(inputs) if number != own]
        product: Tensor = reduce(np.multiply, rest)
        yield product


def _shares(output: Tensor, inputs: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield 1 where an input's value is the one kept, and of several equal ones each's share."""
    kept = [np.asarray(x == output, np.float32) for x in inputs]
    ties = np.maximum(reduce(np.add, kept), np.float32(1))
    for one in kept:
        yield np.divide(one, ties, dtype=np.float32)


def merge(name: str, summary: str, formula: str, source: str, rule: MergeRule) -> None:
    """Register a layer that merges stages value by value by a rule; `source` says what it is."""
    define(Combine, name, source, summary=summary, formula=formula, rule=rule)


merge(
    "add",
    "add earlier stages to this one, value by value (residual networks)",
    "S = I₁ + I₂ + …",
    "Sum of stages, as residual networks have: He et al., CVPR 2016.",
    MergeRule(np.add, lambda _, xs: [1.0] * len(xs), summed),
)
merge(
    "sub",
    "take earlier stages away from this one, value by value",
    "S = I₁ − I₂ − …",
    "Difference of stages.",
    MergeRule(np.subtract, lambda _, xs: [1.0, *[-1.0] * (len(xs) - 1)], summed, np.negative),
)
merge(
    "mul",
    "multiply this stage by earlier ones: gates (squeeze-and-excitation)",
    "S = I₁ · I₂ · …",
    'Product of stages, as gates have: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.',
    MergeRule(np.multiply, lambda _, xs: _others(xs), _product),
)
merge(
    "div",
    "divide this stage by earlier ones, value by value",
    "S = I₁ / I₂ / …",
    "Quotient of stages.",
    MergeRule(
        np.divide,
        lambda s, xs: [1 / reduce(np.multiply, xs[1:]), *(-s / x for x in xs[1:])],
        _product,
        np.reciprocal,
    ),
)
merge(
    "maximum",
    "keep the larger of this stage's and earlier ones' values (maxout)",
    "S = max(I₁, I₂, …)",
    "Larger of stages, as maxout has: Goodfellow et al., ICML 2013.",
    MergeRule(np.maximum, _shares, _extreme("largest")),
)
merge(
    "minimum",
    "keep the smaller of this stage's and earlier ones' values",
    "S = min(I₁, I₂, …)",
    "Smaller of stages.",
    MergeRule(np.minimum, _shares, _extreme("smallest")),
)


@register
@settings
class Concat(Merge):
    """Channels of several stages side by side, as Inception and DenseNet have."""

    name: ClassVar[str] = "concat"
    summary: ClassVar[str] = "put the channels of stages behind one another (Inception, Fire)"
    formula: ClassVar[str] = "S = [I₁; I₂; …] along the axis"

    axis: int = option(whole(0, 2), "0 channels, 1 rows, 2 columns", default=0)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape with the channels (or rows, columns) added up."""
        require_axes((self.axis,), shapes[0], self.name)
        kept = _without(shapes[0], self.axis)
        for other in shapes[1:]:
            if len(other) != len(shapes[0]) or _without(other, self.axis) != kept:
                raise CnnvizError(
                    f"concat needs maps of one size, not {by(shapes[0])} and {by(other)}",
                    hint="padding=same and equal strides keep branches alike",
                )
        total = sum(shape[self.axis] for shape in shapes)
        return (*shapes[0][: self.axis], total, *shapes[0][self.axis + 1 :])

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the side that is added up; the others must be alike."""
        require_axes((self.axis,), shapes[0], self.name)

        def side(axis: int, lengths: Sequence[int]) -> str:
            if axis == self.axis:
                return f"{' + '.join(map(str, lengths))} = {sum(lengths)}"
            return _stretched(set(lengths), lengths)

        return _sides(shapes, side)

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the inputs' names one behind the other, if all have some."""
        if not all(names) or self.axis or sum(map(len, names)) > MOST_NAMES:
            return ()
        return sum(names, ())

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return of each input the positions that stand at the output's, or none."""
        reads, start = list[Reads](), 0
        for shape in shapes:
            stop = start + shape[self.axis]
            axes: list[Reach | None] = [SAME] * len(shape)
            axes[self.axis] = Reach(ends=partial(_between, start, stop))
            reads.append(tuple(axes))
            start = stop
        return tuple(reads)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the inputs one behind the other."""
        return np.concatenate(inputs, axis=self.axis)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return of each input its own part."""
        stops = np.cumsum([x.shape[self.axis] for x in inputs])[:-1]
        return tuple(np.split(gradient, stops, axis=self.axis))

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the value of the input it comes from."""
        source, place = 0, list(at)
        while place[self.axis] >= inputs[source].shape[self.axis]:
            place[self.axis] -= inputs[source].shape[self.axis]
            source += 1
        return summed(single(inputs[source], tuple(place), source=source))


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

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return that channels become one."""
        first, *rest = shapes[0]
        return by_side(
            [f"1, the length over all {first}", *(f"{side}, unchanged" for side in rest)]
        )

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the one map shows."""
        return ("magnitude",)

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return every channel of a pixel."""
        return ((ALL, *(SAME for _ in shapes[0][1:])),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the channels' Euclidean length."""
        # hypot neither overflows nor underflows where squares would.
        return np.hypot.reduce(inputs[0], axis=0, keepdims=True, initial=np.float32(0))

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return g · I / S, and 0 where the length is 0."""
        share = np.divide(inputs[0], output, out=np.zeros_like(inputs[0]), where=output != 0)
        return (gradient * share,)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the squares and the root of their sum."""
        terms = block(inputs[0], spans_of(inputs[0], at, (0,)), part=np.square)
        total = joined_sum(terms)
        result = total**0.5
        return Arithmetic(
            terms, "sum", total, result, (f"√{written(total)} = {written(result)}",), noun="squares"
        )


def _between(start: int, stop: int, at: Indices) -> tuple[Indices, Indices]:
    """Return which positions of an input that stands from `start` to `stop` are those at `at`."""
    there = (at >= start) & (at < stop)
    return np.where(there, at - start, 0), np.where(there, at - start, -1)


def _sides(
    shapes: tuple[Shape, ...], text: Callable[[int, Sequence[int]], str]
) -> Mapping[str, str]:
    """Return a text for each axis of shapes that have as many."""
    if len({len(shape) for shape in shapes}) > 1:
        listed = ", ".join(map(by, shapes))
        return {"shape": Misfit(f"{listed}: maps and vectors do not go together")}
    return by_side([text(axis, one) for axis, one in enumerate(zip(*shapes, strict=True))])


def _stretched(different: set[int], lengths: Sequence[int]) -> str:
    """Return what the lengths of an axis come to, `different` being those that do not stretch."""
    if len(different) > 1:
        return Misfit(" ≠ ".join(map(str, lengths)))
    if different and different != set(lengths):
        return f"{different.pop()}, and 1 stretches to it"
    return f"{lengths[0]}, alike in all {len(lengths)}"


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])
