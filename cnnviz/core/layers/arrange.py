"""Layers that move values without changing one: reshape, transpose, slice, blocks of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import numpy as np

from cnnviz.core.arithmetic import SIDES, Misfit, by_side, product, signed
from cnnviz.core.field import ALL, SAME, Reach, Reads
from cnnviz.core.layers.base import (
    Rearrangement,
    register,
    require_axes,
    require_maps,
    settings,
)
from cnnviz.core.settings import LARGEST, choice, option, read_shape, several, whole
from cnnviz.core.types import Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError


@register
@settings
class Reshape(Rearrangement):
    """The same values, in the same order, in another shape."""

    name: ClassVar[str] = "reshape"
    family: ClassVar[str] = "size"
    summary: ClassVar[str] = "lay the values, map by map and row by row, into another shape"
    formula: ClassVar[str] = "S(n) = I(n), n counting values in C, H, W order"

    shape: Shape = option(read_shape, "(channels, rows, columns), or N for a vector")

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the new shape."""
        if prod(self.shape) != prod(shapes[0]):
            raise CnnvizError(
                f"reshape: {prod(shapes[0]):,} values do not fill "
                f"{'×'.join(map(str, self.shape))} = {prod(self.shape):,}",
                hint="the number of values must stay the same",
            )
        return self.shape

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return whether the values fill the shape asked for."""
        given, asked = prod(shapes[0]), prod(self.shape)
        text = f"{_count(shapes[0])} values, {_count(self.shape)} places"
        count = text if given == asked else Misfit(f"{text}: {given} ≠ {asked}")
        return {"count": count, **by_side([f"{length}, as asked" for length in self.shape])}

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return that a vector's values keep what they saw; else rows and columns are mixed."""
        return ((SAME if len(self.shape) == 1 else ALL,) * len(shapes[0]),)

    def move(self, x: Tensor) -> Tensor:
        """Return the values in the new shape."""
        return x.reshape(self.shape)


def _count(shape: Shape) -> str:
    return f"{product(shape)} = {prod(shape)}" if len(shape) > 1 else f"{shape[0]}"


def read_order(value: Any, name: str) -> tuple[int, ...]:
    """Read an order of the three axes."""
    order: tuple[int, ...] = several(whole(0, 2), 3, 3)(value, name)
    if sorted(order) != [0, 1, 2]:
        raise RequestError(f"{name} is {order}", hint="name each of the axes 0, 1, 2 once")
    return order


@register
@settings
class Transpose(Rearrangement):
    """Axes in another order, such as channels last."""

    name: ClassVar[str] = "transpose"
    family: ClassVar[str] = "size"
    summary: ClassVar[str] = "exchange channels, rows and columns: (1, 2, 0) puts channels last"
    formula: ClassVar[str] = "axis i of S is axis axes(i) of I"

    axes: tuple[int, ...] = option(read_order, "the input's axes, in the output's order")

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the sides in the new order."""
        shape = require_maps(shapes[0], self.name)
        return tuple(shape[axis] for axis in self.axes)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return which side each one was."""
        shape = require_maps(shapes[0], self.name)
        return by_side([f"{shape[axis]}, the input's {SIDES[axis]}" for axis in self.axes])

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return which axis of the output each of the input's has become."""
        return (tuple(Reach(of=self.axes.index(axis)) for axis in range(3)),)

    def move(self, x: Tensor) -> Tensor:
        """Return the values in the new order."""
        return np.ascontiguousarray(x.transpose(self.axes))


def read_step(value: Any, name: str) -> int:
    """Read a step, forwards or (negative) backwards."""
    step = int(whole(-LARGEST)(value, name))
    if step == 0:
        raise RequestError(f"{name} is 0", hint="1 takes every value, −1 reverses them")
    return step


@register
@settings
class Slice(Rearrangement):
    """Some of the channels, rows or columns."""

    name: ClassVar[str] = "slice"
    family: ClassVar[str] = "size"
    summary: ClassVar[str] = "keep some channels, rows or columns"
    formula: ClassVar[str] = "S(i) = I(start + i·step) along the axis, i < length"

    length: int = option(whole(1, 2**31), "how many are kept")
    axis: int = option(whole(0, 2), "0 channels, 1 rows, 2 columns", default=0)
    start: int = option(whole(0, 2**31), "the first that is kept", default=0)
    unread: ClassVar[str | None] = "counted"
    step: int = option(read_step, "from one to the next", default=1)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape with one side cut."""
        require_axes((self.axis,), shapes[0], self.name)
        side, last = shapes[0][self.axis], self.start + (self.length - 1) * self.step
        if not (0 <= last < side and self.start < side):
            raise CnnvizError(
                f"slice: {self.length} from {self.start} by {self.step} reach {last}, axis "
                f"{self.axis} has {side}",
                hint=f"positions are 0 to {side - 1}",
            )
        return (*shapes[0][: self.axis], self.length, *shapes[0][self.axis + 1 :])

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the last position that is kept, and whether there is one."""
        require_axes((self.axis,), shapes[0], self.name)
        sides = by_side([f"{length}, unchanged" for length in shapes[0]])
        name, side = list(sides)[self.axis], shapes[0][self.axis]
        last = self.start + (self.length - 1) * self.step
        kept = (
            f"from {self.start} on, the last is {self.start} + ({self.length} − 1)·"
            f"({signed(self.step)}) = {signed(last)}"
        )
        if not (0 <= last < side and self.start < side):
            kept = Misfit(f"{kept}: {name} are 0 to {side - 1} only")
        return {**sides, name: f"{self.length}, as asked", "kept": kept}

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the maps kept."""
        if self.axis or not names[0]:
            return names[0]
        return tuple(names[0][self.start + i * self.step] for i in range(self.length))

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the positions kept along the axis, every one along the others."""
        reads = [SAME] * len(shapes[0])
        reads[self.axis] = Reach(self.step, self.start, self.start)
        return (tuple(reads),)

    def move(self, x: Tensor) -> Tensor:
        """Return a copy of the part."""
        stop = self.start + self.length * self.step
        part = slice(self.start, None if stop < 0 else stop, self.step)
        return np.ascontiguousarray(x[(slice(None),) * self.axis + (part,)])


@register
@settings
class DepthToSpace(Rearrangement):
    """Channels laid out as blocks of pixels: Shi et al., "pixel shuffle", CVPR 2016."""

    name: ClassVar[str] = "depth_to_space"
    family: ClassVar[str] = "size"
    summary: ClassVar[str] = "lay groups of channels out as blocks of pixels (pixel shuffle)"
    formula: ClassVar[str] = "S(c, y·b+i, x·b+j) = I(c·b² + i·b + j, y, x)"

    block: int = option(whole(), "rows and columns of a block", default=2, always=True)
    channels: str = option(
        choice(("outer", "inner")), "outer: a map's block is b² neighbouring channels (PyTorch); "
        "inner: I((i·b + j)·C + c, y, x) (TensorFlow)", default="outer",
    )  # fmt: skip

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C/b², H·b, W·b)."""
        channels, height, width = require_maps(shapes[0], self.name)
        if channels % self.block**2:
            raise CnnvizError(
                f"depth_to_space: {channels} channels do not fill blocks of "
                f"{self.block}×{self.block}",
                hint=f"their number must be a multiple of {self.block**2}",
            )
        return (channels // self.block**2, height * self.block, width * self.block)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return how channels become rows and columns."""
        channels, height, width = require_maps(shapes[0], self.name)
        b = self.block
        each, rest = divmod(channels, b * b)
        text = f"{channels} / ({b}·{b}) = {each}"
        if rest:
            over = f"{channels} − {each}·({b}·{b}) = {rest} left over"
            text = Misfit(f"{over}: they do not fill blocks")
        return by_side([text, f"{height}·{b} = {height * b}", f"{width}·{b} = {width * b}"])

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return that a pixel reads the block it stands in, of the channels woven into its map."""
        b = self.block
        own = Reach(b * b, 0, b * b - 1) if self.channels == "outer" else ALL
        block = Reach(1, period=b, ends=lambda at: (at // b, at // b))
        return ((own, block, block),)

    def move(self, x: Tensor) -> Tensor:
        """Return the maps woven together."""
        b = self.block
        _, height, width = x.shape
        if self.channels == "outer":  # #cijyx -> cyixj
            woven = x.reshape(-1, b, b, height, width).transpose(0, 3, 1, 4, 2)
        else:  # #ijcyx -> cyixj
            woven = x.reshape(b, b, -1, height, width).transpose(2, 3, 0, 4, 1)
        return np.ascontiguousarray(woven).reshape(self.output_shape(x.shape))


@register
@settings
class SpaceToDepth(Rearrangement):
    """Blocks of pixels as channels, which depth_to_space undoes: YOLOv2's reorg, YOLOv5's Focus."""

    name: ClassVar[str] = "space_to_depth"
    family: ClassVar[str] = "size"
    summary: ClassVar[str] = "make channels of the pixels of each block (pixel unshuffle)"
    formula: ClassVar[str] = "S(c·b² + i·b + j, y, x) = I(c, y·b+i, x·b+j)"

    block: int = option(whole(), "rows and columns of a block")
    channels: str = option(
        choice(("outer", "inner")), "outer: a block's pixels are b² neighbouring channels "
        "(PyTorch); inner: S((i·b + j)·C + c, y, x) (TensorFlow)", default="outer",
    )  # fmt: skip

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C·b², H/b, W/b)."""
        channels, height, width = require_maps(shapes[0], self.name)
        b = self.block
        if height % b or width % b:
            raise CnnvizError(
                f"space_to_depth: {height}×{width} is not made of blocks of {b}×{b}",
                hint=f"sides must be multiples of {b}",
            )
        return (channels * b * b, height // b, width // b)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return how rows and columns become channels."""
        channels, *sides = require_maps(shapes[0], self.name)
        b = self.block
        texts = [f"{channels}·({b}·{b}) = {channels * b * b}"]
        for side in sides:
            text = f"{side} / {b} = {side // b}"
            over = Misfit(f"{side} − {side // b}·{b} = {side % b} left over")
            texts.append(over if side % b else text)
        return by_side(texts)

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return that a value reads its block, of the channel it came from."""
        b, (channels, _, _) = self.block, require_maps(shapes[0], self.name)
        own: Reach | None
        if self.channels == "outer":
            own = Reach(1, period=b * b, ends=lambda at: (at // (b * b), at // (b * b)))
        else:
            own = ALL if channels > 1 else Reach(0)
        return ((own, Reach(b, 0, b - 1), Reach(b, 0, b - 1)),)

    def move(self, x: Tensor) -> Tensor:
        """Return the blocks' pixels as channels."""
        b = self.block
        channels, height, width = x.shape
        blocks = x.reshape(channels, height // b, b, width // b, b)
        order = (0, 2, 4, 1, 3) if self.channels == "outer" else (2, 4, 0, 1, 3)
        return np.ascontiguousarray(blocks.transpose(order)).reshape(self.output_shape(x.shape))
