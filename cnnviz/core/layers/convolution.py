"""Layers that slide weights: conv, depthwise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np

from cnnviz.core.arithmetic import Arithmetic, bias_of, summed
from cnnviz.core.border import fold
from cnnviz.core.engine import correlate
from cnnviz.core.field import ALL, Reach, Reads
from cnnviz.core.kernels import Kernel
from cnnviz.core.layers.base import Layer, ParamSpec, plane, register, require_maps, settings
from cnnviz.core.layers.bordered import Bordered
from cnnviz.core.layers.kernel_groups import (
    Filters,
    are_kernels,
    check_depth,
    common_size,
    he_normal,
    kernel_weights,
    kernels_of,
    read_filters,
)
from cnnviz.core.settings import Padding, flag, option, optional, pair, whole
from cnnviz.core.types import Pair, Params, Seed, Shape, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError


@settings
class Grouped:
    """The option of layers with filters that may keep to a group of channels."""

    groups: int = option(whole(), "filters of a group see only its channels", default=1)

    def groups_for(self, channels: int) -> int:
        """Return the groups asked for."""
        del channels
        return self.groups


@settings
class Convolution(Layer):
    """Settings and parameters that all sliding-weight layers share."""

    family: ClassVar[str] = "convolution"
    unread: ClassVar[str | None] = "listed"

    filters: Filters = option(
        read_filters,
        "how many filters to draw, or kernels: names, banks, numbers, @files; a 2-D kernel "
        "spans all channels, divided by their number",
        variadic=are_kernels,
    )
    kernel_size: Pair | None = option(
        optional(pair()), "rows,columns of a drawn filter", default=None, shown="3"
    )
    stride: Pair = option(pair(), "rows,columns from window to window", default=1)
    padding: Padding = option(
        Padding.read, "valid, same, same-lower, full or pixels", default="valid"
    )
    dilation: Pair = option(pair(), "rows,columns from cell to cell of a window", default=1)
    bias: bool | None = option(
        optional(flag), "add a bias", default=None, shown="on for counts, off for kernels"
    )
    seed: int | None = option(
        optional(whole(0, 2**63)), "draw from this seed", default=None, shown="--seed and the stage"
    )
    flip: bool = option(flag, "rotate kernels by 180°: the mathematical convolution", default=False)

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """The chosen kernels, none when filters are drawn."""
        return kernels_of(self.filters)

    @property
    def weights_from(self) -> str:  # type: ignore[override]  # depends on the settings here
        """Where weights come from when none are given."""
        return "kernels" if self.kernels else "drawn"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernels:
            if self.kernel_size is not None:
                raise RequestError(
                    f"{self.name}: kernel_size is given beside kernels",
                    hint="kernels bring their own size; leave it out",
                )
            common_size(self.kernels, self.padding)

    @cached_property
    def size(self) -> Pair:
        """(rows, columns) of every filter."""
        if self.kernels:
            return common_size(self.kernels, self.padding)
        return self.kernel_size or (3, 3)

    @property
    def has_bias(self) -> bool:
        """Whether a bias is added: by default for drawn filters, not for chosen kernels."""
        return not self.kernels if self.bias is None else self.bias

    @property
    def count(self) -> int:
        """How many filters the settings name."""
        return self.filters if isinstance(self.filters, int) else len(self.kernels)

    def channels_out(self, channels: int) -> int:
        """Return how many maps come out for that many going in."""
        return self.count

    def groups_for(self, channels: int) -> int:
        """Return the number of groups for an input of `channels`."""
        return 1

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (filters, rows, columns)."""
        channels, *_ = require_maps(shapes[0], self.name)
        self.check_channels(channels)
        return (self.channels_out(channels), *self.output_plane(shapes[0]))

    @cached_property
    def _window(self) -> Window:
        return Window(self.size, self.stride, self.padding, self.dilation)

    def window(self, shape: Shape) -> Window:
        """Return the sliding window."""
        return self._window

    def weight_shape(self, channels: int) -> Shape:
        """Return the weight's shape for an input of `channels`."""
        depth = channels // self.groups_for(channels)
        return (self.channels_out(channels), depth, *self.size)

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return weight and, where there is one, bias."""
        channels = shapes[0][0]
        specs = {"weight": ParamSpec(self.weight_shape(channels))}
        if self.has_bias:
            specs["bias"] = ParamSpec((self.channels_out(channels),))
        return specs

    def initial_params(self, seed: Seed, *shapes: Shape) -> Params:
        """Return the chosen kernels, or He-normal filters; a bias of zeros."""
        channels = shapes[0][0]
        shape = self.weight_shape(channels)
        if self.kernels:
            weight = self.kernel_weight(shape)
        else:
            seed = seed if self.seed is None else self.seed
            weight = he_normal(seed, shape, prod(shape[1:]))
        params = {"weight": weight}
        if self.has_bias:
            params["bias"] = np.zeros(self.channels_out(channels), np.float32)
        return params

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the kernels' names."""
        return tuple(kernel.name for kernel in self.kernels)

    def kernel_weight(self, shape: Shape) -> Tensor:
        """Return the chosen kernels as weights of `shape`."""
        return kernel_weights(
            self.kernels, self.size, shape[1], padding=self.padding, flip=self.flip
        )

    def macs(self, *shapes: Shape) -> int:
        """Return outputs × weights each of them reads."""
        out = self.output_shape(*shapes)
        return prod(out) * prod(self.weight_shape(shapes[0][0])[1:])

    def check_channels(self, channels: int) -> None:
        """Raise CnnvizError unless groups and kernels go with that many input channels."""
        groups, out = self.groups_for(channels), self.channels_out(channels)
        if channels % groups or out % groups:
            raise CnnvizError(
                f"{self.name}: groups={groups} does not divide {channels} channels into {out}",
                hint="groups must divide both",
            )
        check_depth(self.kernels, channels // groups)

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return how many maps come out."""
        require_maps(shapes[0], self.name)
        return {"channels": f"{self.count}, one for each {'kernel' if self.kernels else 'filter'}"}


@settings
class Correlation(Bordered, Convolution):
    """What conv and depthwise share: the sums of one window."""

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the windows' pixels, of the channels that a filter's group sees."""
        (shape,) = shapes
        channels = grouped(shape[0], self.groups_for(shape[0]), self.channels_out(shape[0]))
        return ((channels, *self.window_reads(self.window(shape), plane(shape))),)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Correlate the channels with their group's weights and add the bias."""
        (x,) = inputs
        return correlate(
            x,
            params["weight"],
            self.window(x.shape),
            bias=params.get("bias"),
            groups=self.groups_for(x.shape[0]),
            padding_mode=self.padding_mode,
            pad_value=self.pad_value,
        )

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return what each pixel brings to the sums: the gradient painted with the filters."""
        x, weight = inputs[0], params["weight"]
        window, size = self.window(x.shape), plane(x.shape)
        groups, pads = self.groups_for(x.shape[0]), window.pads(size)
        if window.stride == (1, 1):  # windows side by side: a correlation, turned round, is quicker
            filters, depth, kh, kw = weight.shape
            turned = weight.reshape(groups, filters // groups, depth, kh, kw).swapaxes(1, 2)
            turned = np.ascontiguousarray(turned[..., ::-1, ::-1]).reshape(x.shape[0], -1, kh, kw)
            full = Window((kh, kw), padding=Padding("full"), dilation=window.dilation)
            painted = correlate(gradient, turned, full, groups=groups)
        else:
            padded = (pads[0] + size[0] + pads[2], pads[1] + size[1] + pads[3])
            painted = paint(gradient, weight, window, padded, groups)
        return (fold(painted, pads, size, self.padding_mode),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the products of one window with its filter."""
        (x,), k, window = inputs, at[0], self.window(inputs[0].shape)
        weight, groups = params["weight"], self.groups_for(x.shape[0])
        first = k // (len(weight) // groups) * weight.shape[1]  # channel of its group
        channels = range(first, first + weight.shape[1])
        terms = self.window_terms(window, x, at, channels, weight=weight[k])
        return summed(terms, bias=bias_of(params, k), kernel_size=window.kernel_size)


@register
@settings
class Conv(Grouped, Correlation):
    """2-D convolution, as every CNN computes it (cross-correlation)."""

    name: ClassVar[str] = "conv"
    reads_samples: ClassVar[bool] = True
    summary: ClassVar[str] = "slide filters over the maps; each output is a weighted sum"
    formula: ClassVar[str] = "S(k,y,x) = b(k) + Σ I(c, y·s+i·d, x·s+j·d) · W(k,c,i,j)"
    order: ClassVar[tuple[str, ...]] = (
        *("filters", "kernel_size", "stride", "padding", "padding_mode"),
        *("dilation", "groups", "bias", "seed"),
    )


@register
@settings
class Depthwise(Correlation):
    """Depthwise convolution: every channel keeps to itself."""

    name: ClassVar[str] = "depthwise"
    reads_samples: ClassVar[bool] = True
    summary: ClassVar[str] = "apply the filters to each channel on its own"
    formula: ClassVar[str] = "S(c·N+n,y,x) = b + Σ I(c, y·s+i·d, x·s+j·d) · W(c·N+n,i,j)"
    order: ClassVar[tuple[str, ...]] = (
        *("filters", "kernel_size", "stride", "padding", "padding_mode"),
        *("dilation", "bias", "seed"),
    )

    filters: Filters = option(
        read_filters,
        "how many filters to draw for each channel, or kernels",
        default=1,
        variadic=are_kernels,
    )

    def channels_out(self, channels: int) -> int:
        """Return channels × filters."""
        return channels * self.count

    def groups_for(self, channels: int) -> int:
        """Return one group a channel."""
        return channels

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return each channel's name with each kernel's."""
        return tuple(f"{name} {kernel.name}" for name in names[0] for kernel in self.kernels)

    def kernel_weight(self, shape: Shape) -> Tensor:
        """Return every kernel once for each channel."""
        own = super().kernel_weight((self.count, *shape[1:]))
        return np.tile(own, (shape[0] // self.count, 1, 1, 1))

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return the filters of each channel."""
        channels, *_ = require_maps(shapes[0], self.name)
        total, kind = self.channels_out(channels), "kernels" if self.kernels else "filters"
        return {"channels": f"{channels}·{self.count} = {total}: channels · {kind}"}


def paint(x: Tensor, weight: Tensor, window: Window, size: Pair, groups: int) -> Tensor:
    """Return the sums of windows painted with weights, one for each value: `correlate` transposed.

    #kyx, kcij -> c, y·s + i·d, x·s + j·d

    Parameters
    ----------
    x : Tensor
        (K, H, W).
    weight : Tensor
        (K, C / groups, kh, kw).
    window : Window
        Its stride and dilation count; its padding does not.
    size : Pair
        Rows and columns of the canvas, which holds every window.
    groups : int

    Returns
    -------
    Tensor
        (C, rows, columns).
    """
    (filters, height, width), depth = x.shape, weight.shape[1]
    each = filters // groups
    (sh, sw), (dh, dw), (kh, kw) = window.stride, window.dilation, window.kernel_size
    split = weight.reshape(groups, each, depth, kh, kw)
    cells = x.reshape(groups, each, height * width)
    canvas = np.zeros((groups * depth, *size), np.float32)
    for i, j in np.ndindex(kh, kw):
        matrix = split[..., i, j].swapaxes(1, 2)
        product = cells * matrix if depth * each == 1 else matrix @ cells
        rows = slice(i * dh, i * dh + (height - 1) * sh + 1, sh)
        across = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
        canvas[:, rows, across] += product.reshape(-1, height, width)
    return canvas


def grouped(channels: int, groups: int, filters: int) -> Reach | None:
    """Return what filters read of the channels: those of their own group."""
    if groups == 1:
        return ALL
    depth, each = channels // groups, filters // groups
    if each == 1:
        return Reach(depth, 0, depth - 1)
    return Reach(
        depth, period=each, ends=lambda k: (k // each * depth, (k // each + 1) * depth - 1)
    )
