"""One correlation to compute: its input, weights and window, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite

import numpy as np

from cnnviz.core.border import padded_band
from cnnviz.core.engine.planes import Found, Matrix, Planes, Recipe, factor, planes_of, recipe_of
from cnnviz.core.types import Pads, Pair, Samples, Tensor
from cnnviz.core.window import Window

FEW_FILTERS = 4  # of so few, kernels are looked at in any case
MOST_FILTERS = 256
WORTH_A_LOOK = 1 << 16  # outputs of a filter


@dataclass(frozen=True, eq=False)
class Correlation:
    """A problem all algorithms understand: the arrays, and the sizes that plans are made of."""

    x: Tensor | Samples  # (C, H, W)
    weight: Tensor  # (O, C / groups, kh, kw), contiguous, not flipped
    window: Window
    bias: Tensor | None = None  # (O,)
    groups: int = 1
    padding_mode: str = "zeros"
    pad_value: float = 0.0
    scales: Tensor | None = None  # (O,), what the sums of each filter are multiplied by, and
    unit: float = 1.0  # divided by, in the end
    spills: list[bool] = field(default_factory=list)  # filled by `finish`

    # --- sizes

    @cached_property
    def channels(self) -> int:
        """C, of the input."""
        return int(self.x.shape[0])

    @cached_property
    def filters(self) -> int:
        """O, of the output."""
        filters: int = self.weight.shape[0]
        return filters

    @cached_property
    def depth(self) -> int:
        """C / groups: the channels one filter sees."""
        depth: int = self.weight.shape[1]
        return depth

    @cached_property
    def kernel_size(self) -> tuple[int, int]:
        """(kh, kw)."""
        return (self.weight.shape[2], self.weight.shape[3])

    @cached_property
    def taps(self) -> int:
        """Kh · kw."""
        return self.kernel_size[0] * self.kernel_size[1]

    @cached_property
    def pads(self) -> Pads:
        """Top, left, bottom, right."""
        return self.window.pads((self.x.shape[1], self.x.shape[2]))

    @cached_property
    def fill(self) -> float:
        """The number that stands in constant padding."""
        return self.pad_value if self.padding_mode == "constant" else 0.0

    @cached_property
    def planes(self) -> Planes | None:
        """The filters as one plane each, if they are and it is worth while to look.

        Looking at a kernel takes as long as sliding it over some 10,000 pixels.
        """
        many = self.filters > FEW_FILTERS and self.outputs < WORTH_A_LOOK * self.filters
        return None if many or self.filters > MOST_FILTERS else planes_of(self.weight)

    def _of_planes(self, look: Callable[[Matrix], Found | None]) -> list[Found] | None:
        """Return what is found in each filter's plane, or None if there is not something in all."""
        found = list[Found]()
        for kernel in self.planes.kernels if self.planes else ():
            if (one := look(kernel)) is None:
                return None
            found.append(one)
        return found or None

    @cached_property
    def recipes(self) -> list[Recipe] | None:
        """How to add each filter's plane up in few passes, or None."""
        return self._of_planes(recipe_of)

    @cached_property
    def factors(self) -> list[tuple[Tensor, Tensor]] | None:
        """Each filter's plane as a sum of a few columns times rows, or None."""
        return self._of_planes(factor)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        return self.window.output_size((self.x.shape[1], self.x.shape[2]))

    @cached_property
    def padded_width(self) -> int:
        """Columns of the padded input."""
        return self.pads[1] + self.x.shape[2] + self.pads[3]

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Rows and columns from a window's first cell to its last, both counted."""
        return self.window.extent

    @cached_property
    def outputs(self) -> int:
        """How many values come out."""
        return self.filters * self.size[0] * self.size[1]

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of the plain sum."""
        return self.outputs * self.depth * self.taps

    # --- what algorithms do with it

    def band(
        self,
        first: int,
        stop: int,
        channels: slice = slice(None),
        *,
        columns: Pair | None = None,
    ) -> Tensor:
        """Return the padded input under output rows first … stop−1, float32.

        Parameters
        ----------
        channels : slice
            Which channels of the input.
        columns : Pair, optional
            First and stop: only what is under these output columns.

        Returns
        -------
        Tensor
            (C, (stop − 1 − first)·stride + extent, columns); a view of the input where nothing
            had to be added.
        """
        (down, along), (high, wide) = self.window.stride, self.extent
        if columns is not None:
            columns = (columns[0] * along, (columns[1] - 1) * along + wide)
        return self.rows(first * down, (stop - 1) * down + high, channels, columns=columns)

    def rows(
        self,
        start: int,
        stop: int,
        channels: slice = slice(None),
        *,
        columns: Pair | None = None,
    ) -> Tensor:
        """Return rows start … stop−1 of the padded input; `columns` are its, too.

        What lies past its end holds 0.
        """
        x, mode = self.x[channels], self.padding_mode
        return padded_band(x, self.pads, start, stop, mode, self.fill, columns=columns)

    def finish(
        self, piece: Tensor, filters: slice = slice(None), *, confined: bool = False
    ) -> None:
        """Complete a piece (filters, rows, columns) of the output in place, while it is cached.

        Scales it and adds the bias. Unless the algorithm is `confined`, that is, no sum of
        its reaches beyond a window, values that are not finite are noted: they may have spread.
        """
        if not confined:
            self.watch(piece)
        if self.bias is None and self.scales is None and self.unit == 1:
            return
        if self.scales is not None and (self.scales[filters] != 1).any():
            piece *= self.scales[filters, None, None]
        if self.unit != 1:
            piece /= np.float32(self.unit)
        if self.bias is not None:
            piece += self.bias[filters, None, None]

    def watch(self, values: Tensor) -> None:
        """Note values that are not finite, so that a safe algorithm computes it all anew."""
        # A sum or a dot product with an infinity or a NaN in it never becomes finite again. (Nor
        # does one that overflows: then all is computed anew for nothing.)
        if values.flags.c_contiguous:
            total = _energy(values)  # BLAS's: several times quicker
        else:
            with np.errstate(all="ignore"):
                total = float(np.add.reduce(values, axis=None))
        if not isfinite(total):
            self.spills.append(True)

    def watch_sizes(self, values: Tensor, energy: float) -> None:
        """Note contiguous values, too, if their squares add up to `energy` or more."""
        if not _energy(values) < energy:  # NaN is not
            self.spills.append(True)


def _energy(values: Tensor) -> float:
    flat = values.reshape(-1)
    with np.errstate(all="ignore"):
        return float(np.dot(flat, flat))
