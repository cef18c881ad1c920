"""Layers that make windows into numbers: local, global and adaptive pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import gcd
from typing import Any, ClassVar

import numpy as np

from cnnviz.core.arithmetic import (
    Arithmetic,
    Doubles,
    Join,
    Terms,
    block,
    cell_text,
    chosen,
    joined_sum,
    spans_of,
    summed,
    written,
)
from cnnviz.core.border import fold, padded_band
from cnnviz.core.derivation import Derivation, Line, side_lines, size_lines
from cnnviz.core.engine import POOL_MODES, adaptive_bins, adaptive_pool, global_pool, pool
from cnnviz.core.field import ALL, SAME, Indices, Reach, Reads
from cnnviz.core.layers.base import Layer, plane, register, require_axes, require_maps, settings
from cnnviz.core.layers.bordered import Bordered
from cnnviz.core.options import Padding, choice, flag, number, option, optional, pair, read_axes
from cnnviz.core.types import Pair, Params, Shape, Tensor
from cnnviz.core.window import Window


@settings
class LocalPool(Bordered, Layer):
    """Settings that all sliding pooling layers share."""

    family: ClassVar[str] = "pooling"
    keeps_maps: ClassVar[bool] = True
    mode: ClassVar[str]
    order: ClassVar[tuple[str, ...]] = (
        *("kernel_size", "stride", "padding", "padding_mode", "dilation", "ceil_mode"),
    )

    kernel_size: Pair = option(pair(), "rows,columns of the window", default=2, always=True)
    stride: Pair | None = option(
        optional(pair()), "rows,columns from window to window", default=None, shown="the window"
    )
    padding: Padding = option(
        Padding.read, "valid, same, same-lower, full or pixels", default="valid"
    )
    dilation: Pair = option(pair(), "rows,columns from cell to cell of a window", default=1)
    ceil_mode: bool = option(flag, "let a last window hang over the edge", default=False)

    def window(self, shape: Shape) -> Window:
        """Return the sliding window."""
        stride = self.stride or self.kernel_size
        return Window(self.kernel_size, stride, self.padding, self.dilation, self.ceil_mode)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C, rows, columns)."""
        shape = require_maps(shapes[0], self.name)
        window, size = self.window(shape), plane(shape)
        self.check_border(window, size)
        output_size = window.output_size(size)
        if self.padding_mode == "zeros":  # else padding holds values, and may fill a window
            window.require_pixels(size)
        return (shape[0], *output_size)

    def derivation(self, *shapes: Shape) -> Derivation:
        """Return the windows' number; a line fails where one holds padding only."""
        shape = require_maps(shapes[0], self.name)
        window, size = self.window(shape), plane(shape)
        derived = window.derivation(size, self.padding_mode)
        if derived.fits and self.padding_mode == "zeros":
            derived = derived.ended_by(*window.empty_lines(size))
        return derived.led_by(_kept(shape))

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Pool every window."""
        x = inputs[0]
        return pool(
            x,
            self.window(x.shape),
            self.mode,
            padding_mode=self.padding_mode,
            pad_value=self.pad_value,
            **self.own_options(),
        )

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the windows' pixels, each map's own."""
        return ((SAME, *self.window_reads(self.window(shapes[0]), plane(shapes[0]))),)

    def own_options(self) -> dict[str, Any]:
        """Return what the engine needs to know for this mode alone."""
        return {}

    @property
    def _neutral(self) -> float:
        """What cells that change no window hold: those past the padding, and zero padding."""
        return POOL_MODES[self.mode](1.0).neutral

    @property
    def _padding(self) -> float:
        return self.fill if self.padding_mode == "constant" else self._neutral

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return to each pixel what the windows it is in owe it."""
        x, (rows, columns) = inputs[0], plane(output.shape)
        window, size = self.window(x.shape), plane(x.shape)
        pads, (sh, sw), (dh, dw) = window.pads(size), window.stride, window.dilation
        high = max((rows - 1) * sh + window.extent[0], pads[0] + size[0] + pads[2])
        wide = max((columns - 1) * sw + window.extent[1], pads[1] + size[1] + pads[3])
        back = np.zeros((x.shape[0], high, wide), np.float32)
        if self.mode == "avg":
            down, along = window.counts(size, include_pad=self._counts_padding)
            gradient = np.divide(gradient, down[:, None] * along, dtype=np.float32)
        else:
            padded = padded_band(
                x, pads, 0, high, self.padding_mode, self._padding, beyond=self._neutral,
                columns=(0, wide),
            )  # fmt: skip
        rest = output.copy()
        for i, j in np.ndindex(*window.kernel_size):
            cells = (
                slice(None),
                slice(i * dh, i * dh + (rows - 1) * sh + 1, sh),
                slice(j * dw, j * dw + (columns - 1) * sw + 1, sw),
            )
            if self.mode == "avg":
                back[cells] += gradient
            elif self.mode == "lp":
                back[cells] += gradient * _norm_slope(padded[cells], output, self._norm)
            else:  # the first of equal ones has won, and then none equals NaN
                won = padded[cells] == rest
                np.add(back[cells], gradient, out=back[cells], where=won)
                np.copyto(rest, np.nan, where=won)
        return (fold(back, pads, size, self.padding_mode),)

    @property
    def _norm(self) -> float:
        return float(self.own_options().get("norm_type", 2.0))

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return what the mode makes of one window."""
        (x,), window = inputs, self.window(inputs[0].shape)
        norm = self.own_options().get("norm_type", 2.0)
        own = range(at[0], at[0] + 1)
        terms = self.window_terms(
            window, x, at, own, fill=self._padding, part=parts_of(self.mode, norm)
        )
        counted = len(terms) if self._counts_padding else int(np.count_nonzero(~terms.padding))
        return pooled(self.mode, terms, counted, norm, kernel_size=window.kernel_size)

    @property
    def _counts_padding(self) -> bool:
        """Whether padding holds values as pixels do, so that averages count it."""
        return self.padding_mode != "zeros"


def _kept(shape: Shape) -> Line:
    return Line("channels", f"{shape[0]}, each map on its own")


@register
@settings
class MaxPool(LocalPool):
    """Max pooling."""

    name: ClassVar[str] = "maxpool"
    mode: ClassVar[str] = "max"
    summary: ClassVar[str] = "keep the largest value of each window"
    formula: ClassVar[str] = "S(c,y,x) = max over i,j of I(c, y·s+i·d, x·s+j·d); padding is −∞"


@register
@settings
class AvgPool(LocalPool):
    """Average pooling."""

    name: ClassVar[str] = "avgpool"
    mode: ClassVar[str] = "avg"
    summary: ClassVar[str] = "the mean of each window"
    formula: ClassVar[str] = "S(c,y,x) = Σ I(c, y·s+i·d, x·s+j·d) / cells counted"

    count_include_pad: bool = option(
        flag, "count zero padding in the divisor (PyTorch's default; TensorFlow's is not to)",
        default=False,
    )  # fmt: skip

    def own_options(self) -> dict[str, Any]:
        """Return the divisor's rule."""
        return {"count_include_pad": self.count_include_pad}

    @property
    def _counts_padding(self) -> bool:
        """Whether padding counts: if it holds values, or as asked for."""
        return super()._counts_padding or self.count_include_pad


@register
@settings
class MinPool(LocalPool):
    """Min pooling."""

    name: ClassVar[str] = "minpool"
    mode: ClassVar[str] = "min"
    summary: ClassVar[str] = "keep the smallest value of each window"
    formula: ClassVar[str] = "S(c,y,x) = min over i,j of I(c, y·s+i·d, x·s+j·d); padding is +∞"


@register
@settings
class LpPool(LocalPool):
    """Lp pooling, of magnitudes as ONNX defines it."""

    name: ClassVar[str] = "lppool"
    mode: ClassVar[str] = "lp"
    summary: ClassVar[str] = "the p-norm of each window: p=1 sums magnitudes, large p nears max"
    formula: ClassVar[str] = "S(c,y,x) = (Σ |I(c, y·s+i·d, x·s+j·d)|^p)^(1/p)"

    norm_type: float = option(number(above=0), "the p of the norm", default=2.0)

    def own_options(self) -> dict[str, Any]:
        """Return the norm."""
        return {"norm_type": self.norm_type}


@settings
class GlobalPool(Layer):
    """Pooling whose window is the whole map."""

    family: ClassVar[str] = "pooling"
    keeps_maps: ClassVar[bool] = True
    mode: ClassVar[str]

    def window(self, shape: Shape) -> Window:
        """Return the one window, as large as the map."""
        return Window(plane(shape))

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C, 1, 1)."""
        return (require_maps(shapes[0], self.name)[0], 1, 1)

    def derivation(self, *shapes: Shape) -> Derivation:
        """Return that one window, the whole map, makes one number."""
        channels, height, width = require_maps(shapes[0], self.name)
        size = Line("rows, columns", f"1: the window is the whole map, {height}×{width}")
        return Derivation((_kept((channels,)), size))

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the whole map."""
        return ((SAME, ALL, ALL),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Pool every map to one number."""
        return global_pool(inputs[0], self.mode)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return to each pixel what its map's value owes it."""
        norm = getattr(self, "norm_type", 2.0)
        return (_block_gradient(self.mode, inputs[0], output, gradient, norm),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return what the mode makes of one map."""
        spans, norm = spans_of(inputs[0], at, (1, 2)), getattr(self, "norm_type", 2.0)
        return pooled_block(self.mode, inputs[0], spans, norm, kernel_size=plane(inputs[0].shape))


@register
@settings
class GlobalAvgPool(GlobalPool):
    """Global average pooling: Lin, Chen & Yan, "Network In Network", 2013."""

    name: ClassVar[str] = "global_avgpool"
    aliases: ClassVar[tuple[str, ...]] = ("gap",)
    mode: ClassVar[str] = "avg"
    summary: ClassVar[str] = "the mean of each whole map: one number a map"
    formula: ClassVar[str] = "S(c) = Σ I(c,y,x) / (H·W)"


@register
@settings
class GlobalMaxPool(GlobalPool):
    """Global max pooling."""

    name: ClassVar[str] = "global_maxpool"
    mode: ClassVar[str] = "max"
    summary: ClassVar[str] = "the largest value of each whole map: one number a map"
    formula: ClassVar[str] = "S(c) = max over y,x of I(c,y,x)"


@register
@settings
class GlobalLpPool(GlobalPool):
    """Global Lp pooling, of magnitudes as ONNX defines it."""

    name: ClassVar[str] = "global_lppool"
    mode: ClassVar[str] = "lp"
    summary: ClassVar[str] = "the p-norm of each whole map: one number a map"
    formula: ClassVar[str] = "S(c) = (Σ |I(c,y,x)|^p)^(1/p)"

    norm_type: float = option(number(above=0), "the p of the norm", default=2.0)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Pool every map through one window as large as it."""
        x = inputs[0]
        return pool(x, self.window(x.shape), "lp", norm_type=self.norm_type)


def _norm_slope(x: Tensor, norm: Tensor, p: float) -> Tensor:
    """Return the slope of a p-norm: sign(x) · (|x| / norm)^(p − 1), 0 where the norm is 0."""
    share = np.divide(np.abs(x), norm, out=np.zeros_like(x), where=(norm != 0) & (x != 0))
    slope: Tensor = np.sign(x) * np.where(share == 0, share, share ** np.float32(p - 1))
    return slope


def _block_gradient(
    mode: str, x: Tensor, output: Tensor, gradient: Tensor, norm: float = 2.0
) -> Tensor:
    """Return the gradient of (C, h, w) blocks, each of which made one value of (C, 1, 1)."""
    if mode == "avg":
        return np.broadcast_to(gradient / np.float32(x[0].size), x.shape)
    if mode == "lp":
        return gradient * _norm_slope(x, np.broadcast_to(output, x.shape), norm)
    cells = x.reshape(len(x), -1)
    won = cells.argmax(axis=1) if mode == "max" else cells.argmin(axis=1)
    back = np.zeros_like(cells)
    back[np.arange(len(x)), won] = gradient.reshape(-1)
    return back.reshape(x.shape)


def pooled(
    mode: str, terms: Terms, counted: int, norm_type: float = 2.0, **more: Any
) -> Arithmetic:
    """Return what a mode makes of the cells of a window, of which some may not count."""
    return _POOLED[mode](terms, counted, norm_type, more)


def pooled_block(
    mode: str, x: Tensor, spans: Sequence[range], norm_type: float = 2.0, **more: Any
) -> Arithmetic:
    """Return what a mode makes of a block of cells, all of which count."""
    rank = {"max": lambda parts: parts, "min": lambda parts: -parts}.get(mode, np.abs)
    terms = block(x, spans, part=parts_of(mode, norm_type), rank=rank)
    return pooled(mode, terms, len(terms) + terms.omitted, norm_type, **more)


def parts_of(mode: str, norm_type: float = 2.0) -> Callable[[Doubles], Doubles]:
    """Return what makes values into what is joined: the powers of a norm, else themselves."""
    if mode != "lp":
        return lambda values: values
    return lambda values: (np.abs(values) / _unit(values, norm_type)) ** norm_type


def _unit(values: Doubles, norm_type: float) -> float:
    """Return what magnitudes are divided by, so that high powers do not overflow."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest if norm_type > 6 and 0 < largest < np.inf else 1.0


def _average(terms: Terms, counted: int, _: float, more: dict[str, Any]) -> Arithmetic:
    total = joined_sum(terms)
    result = total / counted
    aside = len(terms) + terms.omitted - counted
    step = f"{written(total)} / {counted:,} = {written(result)}"
    if aside:
        step += f" ({aside} of {counted + aside} cells are padding and do not count)"
    elif terms.padding.any():
        step += f" (padding counts: {np.count_nonzero(terms.padding)} of the cells)"
    return Arithmetic(terms, "sum", total, result, (step,), **more)


def _norm(terms: Terms, _counted: int, p: float, more: dict[str, Any]) -> Arithmetic:
    total, unit = joined_sum(terms), _unit(terms.value, p)
    with np.errstate(all="ignore"):
        result = float(unit * np.power(total, 1 / p))
    step = f"{written(total)}^(1/{p:g}) = {written(result)}"
    if unit != 1:
        step = f"{written(unit)} · {step} (magnitudes are divided by the largest first)"
    return Arithmetic(terms, "sum", total, result, (step,), noun=f"powers |x|^{p:g}", **more)


def _extreme(terms: Terms, join: Join, more: dict[str, Any]) -> Arithmetic:
    def steps(winner: int) -> tuple[str, ...]:
        where = f"cell {cell_text(terms.at[winner])}" if terms.real[winner] else "padding"
        ties = int(np.count_nonzero(terms.part == terms.part[winner]))
        tied = f", the first of {ties} that are equal" if ties > 1 else ""
        return (f"the {join} is {written(terms.part[winner])}, from {where}{tied}",)

    return chosen(terms, join, steps, **more)


_POOLED: dict[str, Callable[[Terms, int, float, dict[str, Any]], Arithmetic]] = {
    "max": lambda terms, _counted, _p, more: _extreme(terms, "largest", more),
    "min": lambda terms, _counted, _p, more: _extreme(terms, "smallest", more),
    "avg": _average,
    "lp": _norm,
}

_REDUCTIONS: dict[str, np.ufunc] = {
    "mean": np.add, "sum": np.add, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


@register
@settings
class Reduce(Layer):
    """One number for all values along some axes."""

    name: ClassVar[str] = "reduce"
    family: ClassVar[str] = "pooling"
    summary: ClassVar[str] = "join all values along some axes: channels, rows, columns"
    formula: ClassVar[str] = "S = mean, sum, max or min of I along the axes, which become 1"

    mode: str = option(choice(_REDUCTIONS), "mean, sum, max or min", default="mean", always=True)
    axes: tuple[int, ...] = option(read_axes, "0 channels, 1 rows, 2 columns", default=0)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape with those sides 1."""
        require_axes(self.axes, shapes[0], self.name)
        return tuple(1 if axis in self.axes else length for axis, length in enumerate(shapes[0]))

    def derivation(self, *shapes: Shape) -> Derivation:
        """Return which sides are joined."""
        require_axes(self.axes, shapes[0], self.name)
        texts = [
            f"1, the {self.mode} of {length}" if axis in self.axes else f"{length}, unchanged"
            for axis, length in enumerate(shapes[0])
        ]
        return Derivation(tuple(side_lines(texts)))

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return everything along the axes."""
        return (tuple(ALL if axis in self.axes else SAME for axis in range(len(shapes[0]))),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Reduce the axes; what is added is added in float64."""
        x, ufunc = inputs[0], _REDUCTIONS[self.mode]
        wide = np.float64 if ufunc is np.add else np.float32
        joined = ufunc.reduce(x, axis=self.axes, dtype=wide, keepdims=True)
        if self.mode == "mean":
            joined = joined / (x.size / joined.size)
        return np.asarray(joined, np.float32)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return to each value its share: of a sum all, of an extreme what equal ones divide."""
        x = inputs[0]
        if self.mode in ("max", "min"):
            won = (x == output).astype(np.float32)
            return (gradient * won / won.sum(axis=self.axes, keepdims=True),)
        share = np.float32(output.size / x.size if self.mode == "mean" else 1)
        return (np.broadcast_to(gradient * share, x.shape).copy(),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return what joining makes of the values along the axes."""
        spans = spans_of(inputs[0], at, self.axes)
        if self.mode == "sum":
            return summed(block(inputs[0], spans))
        return pooled_block("avg" if self.mode == "mean" else self.mode, inputs[0], spans)


def _bin_ends(length: int, count: int, at: Indices) -> tuple[Indices, Indices]:
    return at * length // count, -(-(at + 1) * length // count) - 1


def _bins(length: int, count: int) -> str:
    """Return how an axis is cut into bins: bin p of n reads ⌊p·L/n⌋ … ⌈(p+1)·L/n⌉ − 1."""
    if length % count == 0:
        return f"{count}, as asked: bins of {length} / {count} = {length // count}"
    first = np.arange(count) * length // count
    stop = -(-(np.arange(count) + 1) * length // count)
    spans = stop - first
    shared = int(spans.sum()) - length
    low, high = int(spans.min()), int(spans.max())
    told = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"{count}, as asked: bin p spans ⌊p·{length}/{count}⌋ to ⌈(p+1)·{length}/{count}⌉, {told} "
        f"long; together they are {shared} longer than {length}: neighbours overlap"
    )


@settings
class AdaptivePool(Layer):
    """Pooling to a fixed size; windows are cut to fit, as in PyTorch."""

    family: ClassVar[str] = "pooling"
    keeps_maps: ClassVar[bool] = True
    mode: ClassVar[str]

    output_size: Pair = option(pair(), "rows,columns of the output")

    def window(self, shape: Shape) -> Window | None:
        """Return the window where all are alike: where the output size divides the input's."""
        (height, width), (rows, columns) = plane(shape), self.output_size
        if height % rows or width % columns:
            return None
        size = (height // rows, width // columns)
        return Window(size, size)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C, rows, columns)."""
        return (require_maps(shapes[0], self.name)[0], *self.output_size)

    def derivation(self, *shapes: Shape) -> Derivation:
        """Return the bins, how large they are and how many pixels neighbours share."""
        shape = require_maps(shapes[0], self.name)
        one, two = (
            _bins(length, count)
            for length, count in zip(plane(shape), self.output_size, strict=True)
        )
        return Derivation((_kept(shape), *size_lines((one, two))), untouched=(0, 0))

    def _bins(self, shape: Shape) -> list[tuple[Indices, Indices]]:
        """Return where the bins along rows and columns start and stop."""
        return [adaptive_bins(*axis) for axis in zip(plane(shape), self.output_size, strict=True)]

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the bins: bin p of n reads ⌊p·L/n⌋ … ⌈(p+1)·L/n⌉ − 1 of L positions."""
        axes = []
        for length, count in zip(plane(shapes[0]), self.output_size, strict=True):
            common = gcd(length, count)
            if common == count:
                axes.append(Reach(length // count, 0, length // count - 1))
            else:
                ends = partial(_bin_ends, length, count)
                axes.append(Reach(length // common, period=count // common, ends=ends))
        return ((SAME, *axes),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Pool every bin."""
        return adaptive_pool(inputs[0], self.output_size, self.mode)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return to each pixel what the bins it is in owe it."""
        x, back = inputs[0], np.zeros_like(inputs[0])
        down, along = (list(zip(*bins, strict=True)) for bins in self._bins(x.shape))
        for row, (top, bottom) in enumerate(down):
            for column, (left, right) in enumerate(along):
                cells = (slice(None), slice(top, bottom), slice(left, right))
                at = (slice(None), slice(row, row + 1), slice(column, column + 1))
                back[cells] += _block_gradient(self.mode, x[cells], output[at], gradient[at])
        return (back,)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return what the mode makes of one bin."""
        spans = [range(at[0], at[0] + 1)]
        for bins, position in zip(self._bins(inputs[0].shape), at[1:], strict=True):
            spans.append(range(bins[0][position], bins[1][position]))
        return pooled_block(self.mode, inputs[0], spans)


@register
@settings
class AdaptiveAvgPool(AdaptivePool):
    """Adaptive average pooling."""

    name: ClassVar[str] = "adaptive_avgpool"
    mode: ClassVar[str] = "avg"
    summary: ClassVar[str] = "averages over as many windows as the output asks for"
    formula: ClassVar[str] = "window i of n spans ⌊i·L/n⌋ … ⌈(i+1)·L/n⌉"


@register
@settings
class AdaptiveMaxPool(AdaptivePool):
    """Adaptive max pooling."""

    name: ClassVar[str] = "adaptive_maxpool"
    mode: ClassVar[str] = "max"
    summary: ClassVar[str] = "maxima of as many windows as the output asks for"
    formula: ClassVar[str] = "window i of n spans ⌊i·L/n⌋ … ⌈(i+1)·L/n⌉"
