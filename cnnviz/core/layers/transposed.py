"""The layer that walks a convolution backwards: conv_transpose."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import gcd, prod
from typing import ClassVar

import numpy as np

from cnnviz.core.arithmetic import Arithmetic, Misfit, Terms, bias_of, signed, summed
from cnnviz.core.engine import correlate, note_algorithm
from cnnviz.core.field import Indices, Reach, Reads
from cnnviz.core.layers.base import plane, register, settings
from cnnviz.core.layers.convolution import Convolution, Grouped, grouped, paint
from cnnviz.core.settings import option, pair
from cnnviz.core.types import Pads, Pair, Params, Shape, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError


@register
@settings
class ConvTranspose(Grouped, Convolution):
    """Transposed convolution, which decoders enlarge with."""

    name: ClassVar[str] = "conv_transpose"
    summary: ClassVar[str] = "the reverse walk of conv: each input value paints a weighted window"
    formula: ClassVar[str] = "S(k, y·s+i·d−p, x·s+j·d−p) += I(c,y,x) · W(c,k,i,j)"
    order: ClassVar[tuple[str, ...]] = (
        *("filters", "kernel_size", "stride", "padding", "output_padding"),
        *("dilation", "groups", "bias", "seed"),
    )

    output_padding: Pair = option(pair(0), "rows,columns added at the bottom, right", default=0)

    def weight_shape(self, channels: int) -> Shape:
        """Return (channels, filters / groups, kh, kw), PyTorch's order."""
        return (channels, self.count // self.groups, *self.size)

    def kernel_weight(self, shape: Shape) -> Tensor:
        """Return the kernels with input channels first."""
        depth = shape[0] // self.groups
        own = super().kernel_weight((self.count, depth, *self.size))
        split = own.reshape(self.groups, self.count // self.groups, depth, *self.size)
        return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(shape)

    def crop(self, size: Pair) -> tuple[Pair, Pads]:
        """Return the output's size and what is cropped from it (top, left, bottom, right)."""
        window = self.window((1, *size))
        if self.padding.rule in ("same", "same-lower"):
            # As much is cropped as leaves size · stride; Window's rule says which side gets more.
            pads = window.pads((size[0] * self.stride[0], size[1] * self.stride[1]))
        else:
            pads = window.pads(size)
        out = []
        for axis in (0, 1):
            full = (size[axis] - 1) * self.stride[axis] + window.extent[axis]
            if self.padding.rule in ("same", "same-lower"):
                full = max(full, size[axis] * self.stride[axis])
            out.append(full - pads[axis] - pads[axis + 2] + self.output_padding[axis])
        return (out[0], out[1]), pads

    def contamination(self, shape: Shape) -> None:
        """Return None: its padding is cropped from the output, and no window reads any."""
        del shape

    def output_plane(self, shape: Shape) -> Pair:
        """Return how large the painted windows make the output, cropped."""
        size, pads = self.crop(plane(shape))
        if min(size) < 1:
            raise CnnvizError(
                f"{self.name}: padding {','.join(map(str, pads))} crops the whole output",
                hint="use less padding or a larger kernel",
            )
        return size

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return how large the painted windows make the output, and what is cropped of it."""
        texts = dict(super().formulas(*shapes))
        size, window = plane(shapes[0]), self.window(shapes[0])
        out, pads = self.crop(size)
        rule, crops = self.padding.rule, {}
        for axis, name in enumerate(("rows", "columns")):
            length, stride, extent = size[axis], self.stride[axis], window.extent[axis]
            before, after, more = pads[axis], pads[axis + 2], self.output_padding[axis]
            painted, cut = f"({length} − 1)·{stride} + {extent}", f"{before} before, {after} after"
            if rule in ("same", "same-lower"):
                text = f"{length}·{stride} + {more} = {out[axis]}"
                crop = (
                    f"{rule}: {painted} = {(length - 1) * stride + extent} painted, "
                    f"{length}·{stride} = {length * stride} kept: {cut}"
                )
            else:
                text = f"{painted} − {before} − {after} + {more} = {signed(out[axis])}"
                given = "as given" if rule == "explicit" else rule
                crop = f"{given}: {cut if any(pads) else 'none'}"
            texts[name] = text if out[axis] > 0 else Misfit(f"{text} < 1: nothing is left")
            crops[f"cropped, {name}"] = crop
        return texts | crops

    def macs(self, *shapes: Shape) -> int:
        """Return inputs × weights each of them meets."""
        return prod(shapes[0]) * prod(self.weight_shape(shapes[0][0])[1:])

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Add each window cell's product, a whole map at a time, where it belongs."""
        note_algorithm("scatter")
        x = inputs[0]
        (rows, columns), (top, left, bottom, right) = self.crop(plane(x.shape))
        canvas = (top + max(rows, 0) + bottom, left + max(columns, 0) + right)
        full = paint(x, params["weight"], self.window(x.shape), canvas, self.groups)
        output = np.ascontiguousarray(full[:, top : top + rows, left : left + columns])
        if "bias" in params:
            output += params["bias"][:, None, None]
        return output

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient's windows, each weighed as it was painted."""
        x, weight = inputs[0], params["weight"]
        (rows, columns), (top, left, bottom, right) = self.crop(plane(x.shape))
        canvas = np.zeros((self.count, top + rows + bottom, left + columns + right), np.float32)
        canvas[:, top : top + rows, left : left + columns] = gradient
        window = Window(self.size, self.stride, dilation=self.dilation)
        back = correlate(canvas, weight, window, groups=self.groups)
        return (np.ascontiguousarray(back[:, : x.shape[1], : x.shape[2]]),)

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return the inputs with painted windows over each output, in the filters' groups.

        Output o meets input (o + pad − j·dilation) / stride at cell j, where that is whole.
        """
        (shape,) = shapes
        pads = self.crop(plane(shape))[1]
        axes = [
            Reach(
                step=self.dilation[axis] // gcd(self.dilation[axis], self.stride[axis]),
                period=self.stride[axis],
                ends=partial(self._ends, axis, pads[axis]),
            )
            for axis in (0, 1)
        ]
        return ((grouped(shape[0], self.groups, self.count), *axes),)

    def _ends(self, axis: int, before: int, at: Indices) -> tuple[Indices, Indices]:
        """Return the first and last input that meets each output; (0, −1) where none does."""
        count, stride, step = self.size[axis], self.stride[axis], self.dilation[axis]
        repeat = stride // gcd(stride, step)  # cells of the kernel until one stands as this one
        cells = np.arange(min(count, repeat))
        own = np.full(stride, -1)  # the first cell that can meet an output, by its phase
        own[cells * step % stride] = cells
        low = own[(at + before) % stride]
        high = low + (count - 1 - low) // repeat * repeat
        first, last = ((at + before - cell * step) // stride for cell in (high, low))
        return np.where(low < 0, 0, first), np.where(low < 0, -1, last)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the products of the inputs with windows over one output."""
        (x,), (k, *place) = inputs, at
        each, depth = self.count // self.groups, x.shape[0] // self.groups
        channels = np.arange(k // each * depth, (k // each + 1) * depth)
        pads, lines = self.crop(plane(x.shape))[1], []
        for axis, side in enumerate(plane(x.shape)):
            cells = np.arange(self.size[axis]) * self.dilation[axis]
            found, rest = np.divmod(place[axis] + pads[axis] - cells, self.stride[axis])
            lines.append(np.where((rest == 0) & (found >= 0) & (found < side), found, -1))
        rows, columns = lines
        c, i, j = (
            one.reshape(-1)
            for one in np.meshgrid(
                channels, np.flatnonzero(rows >= 0), np.flatnonzero(columns >= 0), indexing="ij"
            )
        )
        value = x[c, rows[i], columns[j]].astype(np.float64)
        weight = params["weight"][c, k % each, i, j].astype(np.float64)
        at_cells, place_in = (np.stack(one, axis=1) for one in ((c, rows[i], columns[j]), (i, j)))
        terms = Terms(value, at_cells, weight=weight, place=place_in)
        return summed(terms, bias=bias_of(params, k), kernel_size=self.size)
