"""Layers that add cells: pad, upsample."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import padded_band
from cnnviz.core.layers.base import Layer, plane, register, require_maps, settings
from cnnviz.core.layers.convolution import Bordered
from cnnviz.core.options import Padding, choice, option, pair
from cnnviz.core.types import Pads, Pair, Params, Shape, Tensor
from cnnviz.core.window import Field, Window
from cnnviz.errors import RequestError


@register
@settings
class Pad(Bordered, Layer):
    """Padding as a stage of its own."""

    name: ClassVar[str] = "pad"
    family: ClassVar[str] = "size"
    keeps_maps: ClassVar[bool] = True
    summary: ClassVar[str] = "add pixels around each map"
    formula: ClassVar[str] = "S(c,y,x) = I(c, y−top, x−left), the border beyond"
    order: ClassVar[tuple[str, ...]] = ("padding",)

    padding: Padding = option(Padding.read, "N, (H, W) or (T, L, B, R) pixels")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.padding.rule not in ("explicit", "valid"):
            raise RequestError(
                f"pad: padding={self.padding.rule} needs a window", hint="give pixels: pad(1)"
            )

    def window(self, shape: Shape) -> Window:
        """Return a window of one cell, whose padding this is."""
        return Window((1, 1), padding=self.padding)

    @property
    def pads(self) -> Pads:
        """Top, left, bottom, right."""
        return self.padding.amounts

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the padded shape."""
        shape = require_maps(shapes[0], self.name)
        window, size = self.window(shape), plane(shape)
        self.check_border(window, size)
        return (shape[0], *window.output_size(size))

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the padded maps."""
        x = inputs[0]
        fill = self.pad_value if self.padding_mode == "constant" else 0.0
        rows = self.pads[0] + x.shape[1] + self.pads[2]
        return padded_band(x, self.pads, 0, rows, self.padding_mode, fill)


@register
@settings
class Upsample(Layer):
    """Enlarging by whole factors."""

    name: ClassVar[str] = "upsample"
    family: ClassVar[str] = "size"
    keeps_maps: ClassVar[bool] = True
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

    def field(self, shapes: tuple[Shape, ...], fields: tuple[Field, ...]) -> Field:
        """Return the field that covers the sources of every output, whichever its phase.

        Nearest reads ⌊p/s⌋, up to (s − 1)/s before p/s. Bilinear reads the pixels around
        (p + ½)/s − ½: the phases just before and just after a whole one reach furthest.
        """
        axes = []
        for axis, length, scale in zip(
            (fields[0].rows, fields[0].columns), plane(shapes[0]), self.scale, strict=True
        ):
            if self.mode == "nearest":
                lower, upper = Fraction(1 - scale, scale), Fraction(0)
            else:
                below, above = scale // 2 - 1, (scale + 1) // 2
                lower = min(Fraction(1 - scale, scale), -1 - Fraction(max(below, 0), scale))
                upper = 1 - Fraction(above, scale)
                if scale == 1:
                    lower = upper = Fraction(0)
            axes.append(axis.through(Fraction(1, scale), lower, upper, 0, length * scale))
        return replace(fields[0], rows=axes[0], columns=axes[1])

    def _sources(
        self, length: int, scale: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Return, for every output of an axis, the two inputs it blends and the second's share."""
        outputs = np.arange(length * scale)
        if self.mode == "nearest":
            low = high = outputs // scale
            return low, high, np.zeros(outputs.size)
        place = np.clip((outputs + 0.5) / scale - 0.5, 0, length - 1)
        low = place.astype(np.intp)
        # Where the share is 0 only one input counts: not even a NaN may come from the other.
        return low, np.ceil(place).astype(np.intp), place - low

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the enlarged maps, rows first, then columns."""
        x = inputs[0]
        for axis in (1, 2):
            low, high, share = self._sources(x.shape[axis], self.scale[axis - 1])
            first = np.take(x, low, axis=axis)
            if self.mode == "bilinear":
                weight = share.astype(np.float32).reshape((-1, 1) if axis == 1 else (-1,))
                second = np.take(x, high, axis=axis)
                # Equal values stay as they are, infinities too.
                first = np.where(first == second, first, (1 - weight) * first + weight * second)
            x = first
        return x
