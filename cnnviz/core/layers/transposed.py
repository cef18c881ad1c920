"""The layer that walks a convolution backwards: conv_transpose."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.cells import Cells, Excerpt, Indices
from cnnviz.core.derivation import Derivation, axis_lines, left_over, signed, size_lines
from cnnviz.core.engine import note_algorithm
from cnnviz.core.explanation import Arithmetic, Terms, summed
from cnnviz.core.field import Field
from cnnviz.core.layers.base import plane, register, require_maps, settings
from cnnviz.core.layers.convolution import Convolution, Grouped
from cnnviz.core.options import option, pair
from cnnviz.core.types import Pads, Pair, Params, Shape, Tensor
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

    def groups_for(self, channels: int) -> int:
        """Return the groups asked for."""
        del channels
        return self.groups

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

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return (filters, rows, columns)."""
        channels, *_ = require_maps(shapes[0], self.name)
        self.check_channels(channels)
        size, pads = self.crop(plane(shapes[0]))
        if min(size) < 1:
            raise CnnvizError(
                f"{self.name}: padding {','.join(map(str, pads))} crops the whole output",
                hint="use less padding or a larger kernel",
            )
        return (self.count, *size)

    def derivation(self, *shapes: Shape) -> Derivation:
        """Return the filters' number, and how large the painted windows make the output."""
        channels, *_ = require_maps(shapes[0], self.name)
        size, window = plane(shapes[0]), self.window(shapes[0])
        out, pads = self.crop(size)
        same = self.padding.rule in ("same", "same-lower")
        sizes, crops = list[str](), list[str]()
        for axis, length in enumerate(size):
            stride, extent = self.stride[axis], window.extent[axis]
            before, after, more = pads[axis], pads[axis + 2], self.output_padding[axis]
            painted = f"({length} − 1)·{stride} + {extent}"
            cut = f"{before} before, {after} after"
            if same:
                reach = (length - 1) * stride + extent
                sizes.append(f"{length}·{stride} + {more} = {out[axis]}")
                crops.append(
                    f"{self.padding.rule}: {painted} = {reach} painted, {length}·{stride} = "
                    f"{length * stride} kept: {cut}"
                )
            else:
                sizes.append(f"{painted} − {before} − {after} + {more} = {signed(out[axis])}")
                rule = "as given" if self.padding.rule == "explicit" else self.padding.rule
                crops.append(f"{rule}: {cut if any(pads) else 'none'}")
        fails = (out[0] < 1, out[1] < 1)
        texts = [
            f"{text} < 1: nothing is left" if bad else text
            for text, bad in zip(sizes, fails, strict=True)
        ]
        lines = [
            *self.channel_lines(channels),
            *window.extent_lines(),
            *size_lines((texts[0], texts[1]), fails),
            *axis_lines("cropped", (crops[0], crops[1])),
        ]
        if any(fails):
            return Derivation(tuple(lines))
        unread = [
            self._unread(axis, length, out[axis], pads[axis]) for axis, length in enumerate(size)
        ]
        told = [left_over(each, length) for each, length in zip(unread, size, strict=True)]
        return Derivation(
            (*lines, *axis_lines("untouched", (told[0], told[1]))),
            untouched=(len(unread[0]), len(unread[1])),
        )

    def _unread(self, axis: int, length: int, out: int, before: int) -> NDArray[np.intp]:
        """Return the inputs of one axis all of whose painted cells are cropped."""
        taps = np.arange(self.size[axis]) * self.dilation[axis]
        starts = np.arange(length) * self.stride[axis] - before
        first = np.searchsorted(taps, -starts, side="left")
        stop = np.searchsorted(taps, out - starts, side="left")
        return np.flatnonzero(first == stop)

    def macs(self, *shapes: Shape) -> int:
        """Return inputs × weights each of them meets."""
        return prod(shapes[0]) * prod(self.weight_shape(shapes[0][0])[1:])

    def field(self, shapes: tuple[Shape, ...], fields: tuple[Field, ...]) -> Field:
        """Return the field: output o reads inputs (o + p − extent + 1)/s … (o + p)/s."""
        size, pads = self.crop(plane(shapes[0]))
        extent = self.window(shapes[0]).extent
        axes = [
            axis.through(
                Fraction(1, self.stride[i]),
                Fraction(pads[i] - extent[i] + 1, self.stride[i]),
                Fraction(pads[i], self.stride[i]),
                0,
                size[i],
            )
            for i, axis in enumerate((fields[0].rows, fields[0].columns))
        ]
        return replace(fields[0], rows=axes[0], columns=axes[1])

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Add each window cell's product, a whole map at a time, where it belongs."""
        note_algorithm("scatter")
        x, weight = inputs[0], params["weight"]
        channels, height, width = x.shape
        (rows, columns), (top, left, bottom, right) = self.crop((height, width))
        (sh, sw), (dh, dw) = self.stride, self.dilation
        depth, cells = channels // self.groups, x.reshape(self.groups, -1, height * width)
        full = np.zeros(
            (self.count, top + max(rows, 0) + bottom, left + max(columns, 0) + right), np.float32
        )
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                matrix = weight[:, :, i, j].reshape(self.groups, depth, -1).swapaxes(1, 2)
                product = (matrix @ cells).reshape(self.count, height, width)
                across = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
                full[:, i * dh : i * dh + (height - 1) * sh + 1 : sh, across] += product
        output = np.ascontiguousarray(full[:, top : top + rows, left : left + columns])
        if "bias" in params:
            output += params["bias"][:, None, None]
        return output

    def _sources(self, size: Pair, axis: int, outputs: Indices) -> Indices:
        """Return the input that meets each cell of the kernel at an output, (outputs, kernel).

        Output o meets input (o + p − j·d) / s at cell j, where that is whole: else it is −1.
        """
        pads = self.crop(size)[1]
        cells = np.arange(self.size[axis]) * self.dilation[axis]
        found, rest = np.divmod((outputs + pads[axis])[:, None] - cells, self.stride[axis])
        met: Indices = np.where((rest == 0) & (found >= 0) & (found < size[axis]), found, -1)
        return met

    def reads(self, cells: Cells, *shapes: Shape) -> tuple[Cells, ...]:
        """Return the inputs whose painted windows cover some outputs, in the filters' groups."""
        size = plane(shapes[0])
        rows, columns = (
            np.unique(found[found >= 0])
            for found in (self._sources(size, axis, cells.axes[1 + axis]) for axis in (0, 1))
        )
        return (Cells((self._channels(cells.axes[0], shapes[0][0]), rows, columns)),)

    def _channels(self, filters: Indices, channels: int) -> Indices:
        """Return the channels that meet some filters."""
        each, depth = self.count // self.groups, channels // self.groups
        seen: Indices = (np.unique(filters // each)[:, None] * depth + np.arange(depth)).reshape(-1)
        return seen

    def part(self, cells: Cells, *inputs: Excerpt, params: Params) -> Tensor:
        """Add the products of each cell of the kernel, filter by filter."""
        (x,), filters = inputs, cells.axes[0]
        met = [self._sources(plane(x.shape), axis, cells.axes[1 + axis]) for axis in (0, 1)]
        output = np.zeros(cells.shape, np.float32)
        each = self.count // self.groups
        for place, k in enumerate(filters):
            channels = self._channels(filters[place : place + 1], x.shape[0])
            for i, j in np.ndindex(*self.size):
                rows, columns = np.flatnonzero(met[0][:, i] >= 0), np.flatnonzero(met[1][:, j] >= 0)
                sources = np.ix_(channels, met[0][rows, i], met[1][columns, j])
                weight = params["weight"][channels, k % each, i, j]
                added = np.tensordot(weight, x.gather(*sources), 1)
                output[place, rows[:, None], columns] += added
        if "bias" in params:
            output += params["bias"][filters, None, None]
        return output

    def explain(self, at: tuple[int, ...], *inputs: Excerpt, params: Params) -> Arithmetic:
        """Return the products of the inputs whose windows cover one output."""
        (x,), (k, *place) = inputs, at
        channels = self._channels(np.array([k]), x.shape[0])
        rows, columns = (
            self._sources(plane(x.shape), axis, np.array([place[axis]]))[0] for axis in (0, 1)
        )
        c, i, j = (
            one.reshape(-1)
            for one in np.meshgrid(
                channels, np.flatnonzero(rows >= 0), np.flatnonzero(columns >= 0), indexing="ij"
            )
        )
        value = x.gather(c, rows[i], columns[j]).astype(np.float64)
        weight = params["weight"][c, k % (self.count // self.groups), i, j].astype(np.float64)
        with np.errstate(all="ignore"):
            part = value * weight
        terms = Terms(
            value,
            part,
            np.stack([c, rows[i], columns[j]], axis=1),
            weight=weight,
            place=np.stack([i, j], axis=1),
        )
        bias = float(params["bias"][k]) if "bias" in params else None
        return summed(terms, bias=bias, kernel_size=self.size)
