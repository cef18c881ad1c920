"""Layers that make windows into numbers: local, global and adaptive pooling.

What a mode computes is a row of the engine's POOL_MODES, how it is explained one of `_POOLED`;
which cells a window holds each layer `reads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import gcd
from typing import ClassVar

import numpy as np

from cnnviz.core.arithmetic import (
    Arithmetic,
    Doubles,
    Terms,
    block,
    by,
    by_side,
    extreme,
    mean,
    p_norm,
    powers,
    spans_of,
    summed,
)
from cnnviz.core.engine import POOL_MODES, adaptive_bins, adaptive_pool, global_pool, pool, unpool
from cnnviz.core.field import ALL, SAME, Indices, Reach, Reads
from cnnviz.core.layers.base import (
    Layer,
    define,
    plane,
    register,
    require_axes,
    require_maps,
    settings,
)
from cnnviz.core.layers.bordered import Bordered
from cnnviz.core.settings import Padding, choice, flag, number, option, optional, pair, read_axes
from cnnviz.core.types import Pair, Params, Shape, Tensor
from cnnviz.core.window import Window


@settings
class Pool(Layer):
    """What all poolings share: a mode, and windows of each map, which `reads` says."""

    family: ClassVar[str] = "pooling"
    keeps_maps: ClassVar[bool] = True
    mode: ClassVar[str]

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return that each map is pooled on its own."""
        return {"channels": f"{require_maps(shapes[0], self.name)[0]}, each map on its own"}

    @property
    def fill(self) -> float:
        """The number that pads, where one does."""
        return 0.0

    @property
    def norm(self) -> float:
        """The p of a p-norm."""
        return float(getattr(self, "norm_type", 2.0))

    @property
    def counts_padding(self) -> bool:
        """Whether padding holds values as pixels do, so that averages count it."""
        return False

    def axes(self, shape: Shape) -> list[Reach]:
        """Return what the windows read of an input of `shape`, down and along."""
        reads = zip(self.reads(shape)[0][1:], plane(shape), strict=True)
        return [Reach(0, 0, length - 1) if axis is ALL else axis for axis, length in reads]

    def winners(self, x: Tensor) -> Iterator[unpool.Won]:
        """Yield which cell of each window is its largest or smallest."""
        size = plane(self.output_shape(x.shape))
        return unpool.find_winners(x, self.mode, self.axes(x.shape), size, self.fill)

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return to each pixel what the windows it is in owe it."""
        (x,), axes = inputs, self.axes(inputs[0].shape)
        if self.mode in unpool.SIGNS:
            return (unpool.hand_on(gradient, x, self.winners(x)),)
        if self.mode == "avg":
            return (unpool.share_out(gradient, x.shape, axes, counts_padding=self.counts_padding),)
        return (unpool.share_norm(gradient, output, x, axes, self.norm, self.fill),)

    def cells(self, at: tuple[int, ...], x: Tensor) -> Terms:
        """Return the cells of one value's window."""
        axes = zip(self.axes(x.shape), at[1:], strict=True)
        ends = [axis.at(np.array([place])) for axis, place in axes]
        window = (range(int(first[0]), int(last[0]) + 1) for first, last in ends)
        return _block(x, [range(at[0], at[0] + 1), *window], self.mode, self.norm)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return what the mode makes of one window."""
        terms, window = self.cells(at, inputs[0]), self.window(inputs[0].shape)
        counted = len(terms) if self.counts_padding else int(np.count_nonzero(~terms.padding))
        made = _EXPLAINED[self.mode](terms, counted + terms.omitted, self.norm)
        if window is None or isinstance(self, AdaptivePool):  # no window slides
            return made
        return made._replace(kernel_size=window.kernel_size)


def _block(x: Tensor, spans: Sequence[range], mode: str, norm: float = 2.0) -> Terms:
    """Return a block of cells, all of which count."""
    rank = {"max": lambda parts: parts, "min": lambda parts: -parts}.get(mode, np.abs)
    return block(x, spans, part=_parts_of(mode, norm), rank=rank)


def _parts_of(mode: str, norm: float) -> Callable[[Doubles], Doubles] | None:
    """Return what makes values into what is joined, where it is not the values themselves."""
    return partial(powers, p=norm) if mode == "lp" else None


_EXPLAINED: Mapping[str, Callable[[Terms, int, float], Arithmetic]] = {
    "max": lambda terms, _counted, _p: extreme(terms, "largest"),
    "min": lambda terms, _counted, _p: extreme(terms, "smallest"),
    "avg": lambda terms, counted, _: mean(terms, counted),
    "lp": lambda terms, _, p: p_norm(terms, p),
}
"""What a mode makes of (the cells of a window, how many of them count, the p of a norm)."""


@settings
class LocalPool(Bordered, Pool):
    """Pooling through windows that slide."""

    unread: ClassVar[str | None] = "listed"
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
        size = self.output_plane(shape)
        if self.padding_mode == "zeros":  # else padding holds values, and may fill a window
            self.window(shape).require_pixels(plane(shape))
        return (shape[0], *size)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Pool every window."""
        x = inputs[0]
        return pool(
            x,
            self.window(x.shape),
            self.mode,
            padding_mode=self.padding_mode,
            pad_value=self.pad_value,
            count_include_pad=getattr(self, "count_include_pad", False),
            norm_type=self.norm,
        )

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the windows' pixels, each map's own."""
        return ((SAME, *self.window_reads(self.window(shapes[0]), plane(shapes[0]))),)

    @property
    def counts_padding(self) -> bool:
        """Whether padding counts: if it holds values, or as asked for."""
        return self.padding_mode != "zeros" or getattr(self, "count_include_pad", False)

    def cells(self, at: tuple[int, ...], x: Tensor) -> Terms:
        """Return the cells of one window, those on padding too."""
        neutral = POOL_MODES[self.mode](self.norm).neutral
        return self.window_terms(
            self.window(x.shape),
            x,
            at,
            range(at[0], at[0] + 1),
            fill=self.fill if self.padding_mode == "constant" else neutral,
            part=_parts_of(self.mode, self.norm),
        )


@settings
class GlobalPool(Pool):
    """Pooling with the whole map as its window."""

    def window(self, shape: Shape) -> Window:
        """Return the one window, as large as the map."""
        return Window(plane(shape))

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (C, 1, 1)."""
        return (require_maps(shapes[0], self.name)[0], 1, 1)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return that one window, the whole map, makes one number."""
        channels = super().formulas(*shapes)
        size = f"1: the window is the whole map, {by(plane(shapes[0]))}"
        return {**channels, "rows": size, "columns": size}

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the whole map."""
        return ((SAME, ALL, ALL),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Pool every map to one number."""
        x = inputs[0]
        if self.mode == "lp":
            return pool(x, self.window(x.shape), self.mode, norm_type=self.norm)
        return global_pool(x, self.mode)


@settings
class AdaptivePool(Pool):
    """Pooling to a fixed size; windows are cut to fit, as in PyTorch."""

    unread: ClassVar[str | None] = "counted"

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

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the bins, how large they are and how many pixels neighbours share."""
        channels = super().formulas(*shapes)["channels"]
        return by_side([channels, *map(_bins, plane(shapes[0]), self.output_size)])

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


def _bin_ends(length: int, count: int, at: Indices) -> tuple[Indices, Indices]:
    return at * length // count, -(-(at + 1) * length // count) - 1


def _bins(length: int, count: int) -> str:
    """Return how an axis is cut into bins: bin p of n reads ⌊p·L/n⌋ … ⌈(p+1)·L/n⌉ − 1."""
    if length % count == 0:
        return f"{count}, as asked: bins of {length} / {count} = {length // count}"
    starts, stops = adaptive_bins(length, count)
    spans = sorted({int(span) for span in stops - starts})
    shared = int((stops - starts).sum()) - length
    return (
        f"{count}, as asked: bin p spans ⌊p·{length}/{count}⌋ to ⌈(p+1)·{length}/{count}⌉, "
        f"{' to '.join(map(str, spans))} long; together they are {shared} longer than {length}: "
        "neighbours overlap"
    )


_P = option(number(above=0), "the p of the norm", default=2.0)
_PADDED = option(
    flag,
    "count zero padding in the divisor (PyTorch's default; TensorFlow's is not to)",
    default=False,
)
# fmt: off
define(LocalPool, "maxpool", "Max pooling.", mode="max",
       summary="keep the largest value of each window",
       formula="S(c,y,x) = max over i,j of I(c, y·s+i·d, x·s+j·d); padding is −∞")
define(LocalPool, "avgpool", "Average pooling.", mode="avg", count_include_pad=_PADDED,
       summary="the mean of each window",
       formula="S(c,y,x) = Σ I(c, y·s+i·d, x·s+j·d) / cells counted")
define(LocalPool, "minpool", "Min pooling.", mode="min",
       summary="keep the smallest value of each window",
       formula="S(c,y,x) = min over i,j of I(c, y·s+i·d, x·s+j·d); padding is +∞")
define(LocalPool, "lppool", "Lp pooling, of magnitudes as ONNX defines it.",
       mode="lp", norm_type=_P,
       summary="the p-norm of each window: p=1 sums magnitudes, large p nears max",
       formula="S(c,y,x) = (Σ |I(c, y·s+i·d, x·s+j·d)|^p)^(1/p)")
define(GlobalPool, "global_avgpool",
       'Global average pooling: Lin, Chen & Yan, "Network In Network", 2013.',
       mode="avg", aliases=("gap",),
       summary="the mean of each whole map: one number a map",
       formula="S(c) = Σ I(c,y,x) / (H·W)")
define(GlobalPool, "global_maxpool", "Global max pooling.", mode="max",
       summary="the largest value of each whole map: one number a map",
       formula="S(c) = max over y,x of I(c,y,x)")
define(GlobalPool, "global_lppool", "Global Lp pooling, of magnitudes as ONNX defines it.",
       mode="lp", norm_type=_P,
       summary="the p-norm of each whole map: one number a map",
       formula="S(c) = (Σ |I(c,y,x)|^p)^(1/p)")
# fmt: on


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

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return which sides are joined."""
        require_axes(self.axes, shapes[0], self.name)
        return by_side(
            [
                f"1, the {self.mode} of {side}" if axis in self.axes else f"{side}, unchanged"
                for axis, side in enumerate(shapes[0])
            ]
        )

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
        mode = "avg" if self.mode == "mean" else self.mode
        terms = _block(inputs[0], spans, mode)
        return _EXPLAINED[mode](terms, len(terms) + terms.omitted, 2.0)


# fmt: off
define(AdaptivePool, "adaptive_avgpool", "Adaptive average pooling.", mode="avg",
       summary="averages over as many windows as the output asks for",
       formula="window i of n spans ⌊i·L/n⌋ … ⌈(i+1)·L/n⌉")
define(AdaptivePool, "adaptive_maxpool", "Adaptive max pooling.", mode="max",
       summary="maxima of as many windows as the output asks for",
       formula="window i of n spans ⌊i·L/n⌋ … ⌈(i+1)·L/n⌉")
# fmt: on
