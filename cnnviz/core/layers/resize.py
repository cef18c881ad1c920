"""Layers that add cells or resample: pad, upsample, resize."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from math import floor
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.arithmetic import Arithmetic, Misfit, Terms, by_side, signed, summed
from cnnviz.core.border import fold, padded_band
from cnnviz.core.field import CLIPPED, SAME, Indices, Reach, Reads
from cnnviz.core.layers.base import (
    Layer,
    options_of,
    plane,
    register,
    require_maps,
    settings,
)
from cnnviz.core.layers.bordered import Bordered
from cnnviz.core.settings import LARGEST, Padding, choice, factors, number, option, optional, pair
from cnnviz.core.types import Pads, Pair, Params, Shape, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError


@register
@settings
class Pad(Bordered):
    """Padding as a stage of its own."""

    name: ClassVar[str] = "pad"
    family: ClassVar[str] = "size"
    keeps_maps: ClassVar[bool] = True
    summary: ClassVar[str] = "add pixels around each map"
    formula: ClassVar[str] = "S(c,y,x) = I(c, y−top, x−left), the border beyond"
    unread: ClassVar[str | None] = "counted"
    order: ClassVar[tuple[str, ...]] = ("padding",)

    padding: Padding = option(Padding.read, "N, (H, W) or (T, L, B, R) pixels")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.padding.rule not in ("explicit", "valid"):
            raise RequestError(
                f"pad: padding={self.padding.rule} needs a window", hint="give pixels: pad(1)"
            )

    def window(self, shape: Shape) -> Window:
        """Return a window of one cell with this padding."""
        return Window((1, 1), padding=self.padding)

    @property
    def pads(self) -> Pads:
        """Top, left, bottom, right."""
        return self.padding.amounts

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the padded shape."""
        shape = require_maps(shapes[0], self.name)
        return (shape[0], *self.output_plane(shape))

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the sides with what is added."""
        channels, height, width = require_maps(shapes[0], self.name)
        top, left, bottom, right = self.pads
        return {
            "channels": f"{channels}, unchanged",
            "rows": f"{height} + {top} + {bottom} = {height + top + bottom}",
            "columns": f"{width} + {left} + {right} = {width + left + right}",
        }

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the padded maps."""
        x = inputs[0]
        fill = self.pad_value if self.padding_mode == "constant" else 0.0
        rows = self.pads[0] + x.shape[1] + self.pads[2]
        return padded_band(x, self.pads, 0, rows, self.padding_mode, fill)

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the pixel that stands there."""
        return ((SAME, *self.window_reads(self.window(shapes[0]), plane(shapes[0]))),)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient where there are pixels, and what was copied where it comes from."""
        return (fold(gradient, self.pads, plane(inputs[0].shape), self.padding_mode),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the pixel that stands there, or the number."""
        window = self.window(inputs[0].shape)
        return summed(self.window_terms(window, inputs[0], at, range(at[0], at[0] + 1)))


class Resampling(Layer):
    """Enlarging or shrinking along rows and columns, one after the other."""

    family: ClassVar[str] = "size"
    keeps_maps: ClassVar[bool] = True

    @abstractmethod
    def sources(self, shape: Shape, axis: int) -> Sources:
        """Return what each output along an axis, 0 for rows, blends of an input of `shape`."""

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the resampled maps."""
        x, shape = inputs[0], inputs[0].shape
        for axis in (0, 1):
            x = _blend(x, 1 + axis, self.sources(shape, axis))
        return x

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return to each input its share of the outputs it is blended into."""
        shape = inputs[0].shape
        for axis in (1, 0):
            lines = np.moveaxis(gradient, 1 + axis, 0)
            back = np.zeros((shape[1 + axis], *lines.shape[1:]), np.float32)
            for source, share in self.sources(shape, axis):
                np.add.at(back, source, lines * share.astype(np.float32).reshape(-1, 1, 1))
            gradient = np.moveaxis(back, 0, 1 + axis)
        return (np.ascontiguousarray(gradient),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the blended pixels with their shares."""
        (x,) = inputs
        lines: list[dict[int, float]] = [{}, {}]
        for axis, line in enumerate(lines):
            for source, share in self.sources(x.shape, axis):
                place = int(source[at[1 + axis]])
                line[place] = line.get(place, 0.0) + float(share[at[1 + axis]])
        cells = [(at[0], row, column) for row in lines[0] for column in lines[1]]
        weight = np.array(
            [down * along for down in lines[0].values() for along in lines[1].values()]
        )
        value = np.array([x[cell] for cell in cells], np.float64)
        return summed(Terms(value, np.array(cells), weight=weight))


@register
@settings
class Upsample(Resampling):
    """Enlarging by whole factors."""

    name: ClassVar[str] = "upsample"
    summary: ClassVar[str] = "enlarge each map, by copying or by blending neighbours"
    formula: ClassVar[str] = "S(c,y,x) = I at ((y+½)/scale − ½, (x+½)/scale − ½)"

    scale: Pair = option(pair(), "rows,columns each value becomes", default=2, always=True)
    mode: str = option(
        choice(("nearest", "bilinear")), "nearest copies, bilinear blends", default="nearest"
    )

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C, H·scale, W·scale)."""
        channels, height, width = require_maps(shapes[0], self.name)
        return (channels, height * self.scale[0], width * self.scale[1])

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the sides times the scale."""
        channels, *size = require_maps(shapes[0], self.name)
        sides = zip(size, self.scale, strict=True)
        return by_side([f"{channels}, unchanged", *(f"{n}·{s} = {n * s}" for n, s in sides)])

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the input that is copied, or the two around an output's middle."""
        return ((SAME, *(self._reach(scale) for scale in self.scale)),)

    def _reach(self, scale: int) -> Reach:
        if self.mode == "nearest":
            return Reach(period=scale, ends=lambda at: (at // scale, at // scale), border=CLIPPED)
        # (p + ½)/s − ½ = (2p + 1 − s) / 2s, rounded down and up
        twice = 2 * scale
        return Reach(
            period=scale,
            ends=lambda at: ((2 * at + 1 - scale) // twice, -((scale - 1 - 2 * at) // twice)),
            border=CLIPPED,
        )

    def sources(self, shape: Shape, axis: int) -> Sources:
        """Return the input each output stands in, or the two around its middle."""
        length, scale = shape[1 + axis], self.scale[axis]
        outputs = np.arange(length * scale)
        if self.mode == "nearest":
            return [(outputs // scale, np.ones(outputs.size))]
        return _between((outputs + 0.5) / scale - 0.5, length)


Places = NDArray[np.float64]
"""Where outputs lie between inputs, in the inputs' coordinates."""


class _Axis(NamedTuple):
    """One axis of a resampling: outputs to an input, and how many there are of both."""

    scale: float  # scale · inputs may be a little more than outputs, as ONNX's tests have it
    inputs: int
    outputs: int


# x: the outputs 0, 1, …
_COORDINATES: dict[str, Callable[[Places, _Axis], Places]] = {
    "half_pixel": lambda x, a: (x + 0.5) / a.scale - 0.5,
    "pytorch_half_pixel": lambda x, a: (x + 0.5) / a.scale - 0.5 if a.outputs > 1 else 0 * x,
    "half_pixel_symmetric": lambda x, a: (
        a.inputs / 2 * (1 - a.outputs / (a.scale * a.inputs)) + (x + 0.5) / a.scale - 0.5
    ),
    "tf_half_pixel_for_nn": lambda x, a: (x + 0.5) / a.scale,
    "asymmetric": lambda x, a: x / a.scale,
    "align_corners": lambda x, a: (
        x * ((a.inputs - 1) / (a.outputs - 1)) if a.outputs > 1 else 0 * x
    ),
}
_ROUNDINGS: dict[str, Callable[[Places], Places]] = {
    "round_prefer_floor": lambda place: np.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: np.floor(place + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@register
@settings
class Resize(Resampling):
    """Resampling to any size, by the coordinate rules ONNX names."""

    name: ClassVar[str] = "resize"
    unread: ClassVar[str | None] = "listed"
    summary: ClassVar[str] = "resample each map to another size, larger or smaller"
    formula: ClassVar[str] = "S(c,y,x) = I at coordinates(y), coordinates(x), rounded or blended"

    scale: tuple[float, float] = option(
        factors, "outputs to an input, for rows,columns", default=2.0, always=True
    )
    size: Pair | None = option(
        optional(pair()), "rows,columns of the output", default=None, shown="by the scale"
    )
    mode: str = option(
        choice(("nearest", "bilinear", "bicubic")),
        "nearest copies, bilinear blends two by two, bicubic four by four",
        default="nearest",
    )
    coordinates: str = option(
        choice(_COORDINATES), "where an output lies: half_pixel is (x+½)/scale − ½, asymmetric "
        "x/scale, align_corners x·(n−1)/(m−1)", default="half_pixel",
    )  # fmt: skip
    rounding: str = option(choice(_ROUNDINGS), "to the nearest input", default="round_prefer_floor")
    cubic_coeff_a: float = option(
        number(), "of bicubic: PyTorch has −0.75, TensorFlow −0.5", default=-0.75
    )

    def arguments(self) -> Iterator[tuple[str | None, Any]]:
        """Yield what differs from its default; no scale beside a size, which does without it."""
        given = list(super().arguments())
        names = [field.name for field, _ in options_of(type(self))]
        if self.size is None or self.scale != (2.0, 2.0):
            yield from given
            return
        for position, (name, value) in enumerate(given[1:], start=1):
            yield name or names[position], value

    def _size(self, shape: Shape) -> Pair:
        if self.size is not None:
            return self.size
        rows, columns = (floor(n * s) for n, s in zip(plane(shape), self.scale, strict=True))
        return (rows, columns)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C, rows, columns)."""
        channels, *size = require_maps(shapes[0], self.name)
        rows, columns = self._size(shapes[0])
        if min(rows, columns) < 1:
            raise CnnvizError(
                f"resize: a scale of {self.scale[0]:g}, {self.scale[1]:g} leaves nothing of "
                f"{'×'.join(map(str, size))}",
                hint="use a larger scale",
            )
        return (channels, rows, columns)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the size asked for, or the sides times the scale."""
        channels, *given = require_maps(shapes[0], self.name)
        texts = [f"{channels}, unchanged"]
        for length, scale, made in zip(given, self.scale, self._size(shapes[0]), strict=True):
            text = f"{made}, as asked" if self.size else f"⌊{length}·{signed(scale)}⌋ = {made}"
            texts.append(text if made else Misfit(f"{text} < 1: nothing is left"))
        return by_side(texts)

    def _axes(self, shape: Shape) -> list[_Axis]:
        given, made = plane(shape), self._size(shape)
        scales = [made[i] / given[i] for i in (0, 1)] if self.size else self.scale
        return [_Axis(scales[i], given[i], made[i]) for i in (0, 1)]

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the input each output's coordinate is rounded to, or the two around it."""
        axes = []
        for line in self._axes(shapes[0]):
            first, second = _COORDINATES[self.coordinates](np.arange(2.0), line)
            jump = Fraction(float(second - first)).limit_denominator(LARGEST)
            ends = partial(self._ends, line)
            axes.append(Reach(jump.numerator, 0, 0, 1, jump.denominator, ends, CLIPPED))
        return ((SAME, *axes),)

    def _ends(self, line: _Axis, at: Indices) -> tuple[Indices, Indices]:
        places = self._places(line, at)
        low, high = np.floor(places).astype(np.intp), np.ceil(places).astype(np.intp)
        more = (high - low) * (self.mode == "bicubic")
        return low - more, high + more

    def _places(self, line: _Axis, at: Indices) -> Places:
        places = _COORDINATES[self.coordinates](at.astype(np.float64), line)
        return _ROUNDINGS[self.rounding](places) if self.mode == "nearest" else _whole(places)

    def sources(self, shape: Shape, axis: int) -> Sources:
        """Return the inputs that each output's coordinate lies at, or between."""
        line = self._axes(shape)[axis]
        places = self._places(line, np.arange(line.outputs))
        if self.mode == "bicubic":
            return _around(places, line.inputs, self.cubic_coeff_a)
        return _between(places, line.inputs)


Sources = Sequence[tuple[NDArray[np.intp], Places]]
"""For every output of an axis, an input that it blends, and that one's share; and so on."""


def _whole(places: Places) -> Places:
    """Return places, 3 for 2.9999999: float32 could not keep the share apart from 1."""
    whole = np.rint(places)
    return np.where(np.abs(places - whole) < 2**-25, whole, places)


def _between(places: Places, length: int) -> Sources:
    place = _whole(np.clip(places, 0, length - 1))
    low = place.astype(np.intp)
    share = (place - low).astype(np.float32).astype(np.float64)
    if not share.any():
        return [(low, 1 - share)]
    # Where the share is 0 only one input counts: not even a NaN may come from the other.
    return [(low, 1 - share), (np.ceil(place).astype(np.intp), share)]


def _around(places: Places, length: int, a: float) -> Sources:
    """Return the four inputs around each place: Keys, "Cubic convolution interpolation", 1981."""
    low = np.floor(places).astype(np.intp)
    share = places - low
    sources = []
    for step in (-1, 0, 1, 2):
        t = np.abs(share - step)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        # On an input that one counts alone.
        source = np.clip(np.where(share > 0, low + step, low), 0, length - 1)
        sources.append((source, np.where(t <= 1, near, far)))
    return sources


def _blend(x: Tensor, axis: int, sources: Sources) -> Tensor:
    """Return an axis resampled."""
    (source, share), *others = sources
    first = np.take(x, source, axis=axis)
    if not others:
        return first
    shape = (-1, 1) if axis == 1 else (-1,)
    blend, alike = share.astype(np.float32).reshape(shape) * first, np.ones(first.shape, np.bool_)
    for source, share in others:
        other = np.take(x, source, axis=axis)
        blend += share.astype(np.float32).reshape(shape) * other
        alike &= first == other
    # Equal values stay as they are, infinities too.
    return np.where(alike, first, blend)
