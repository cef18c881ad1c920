"""Receptive fields: how far back on the pipeline's input the positions of a stage see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import floor

from cnnviz.core.types import Pair
from cnnviz.core.window import Window


@dataclass(frozen=True, slots=True)
class AxisField:
    """What the positions of one axis see: position p sees jump·p + lower … jump·p + upper.

    Coordinates are the pipeline input's; those below 0 or past its end are padding. Fractions,
    because layers that enlarge (transposed convolution, upsampling) move by parts of a pixel.
    """

    jump: Fraction
    lower: Fraction
    upper: Fraction
    pad_after: Fraction
    positions: int

    @property
    def size(self) -> int:
        """How many input pixels one position may see."""
        return floor(self.upper - self.lower) + 1

    def through(
        self, jump: Fraction, lower: Fraction, upper: Fraction, pad_after: int, positions: int
    ) -> AxisField:
        """Return the field of a layer whose position p reads jump·p + lower … jump·p + upper."""
        return AxisField(
            jump=self.jump * jump,
            lower=self.lower + self.jump * lower,
            upper=self.upper + self.jump * upper,
            pad_after=self.pad_after + self.jump * pad_after,
            positions=positions,
        )

    def whole(self) -> AxisField:
        """Return the field of one value that reads every position."""
        last = self.positions - 1
        return self.through(Fraction(1), Fraction(0), Fraction(last), 0, 1)

    def union(self, other: AxisField) -> AxisField:
        """Return the smallest field that covers both, at every position.

        Where one has a single position that meets all of the other's, the grid is the other's.
        """
        if other.positions > self.positions:
            return other.union(self)
        drift = (other.jump - self.jump) * (self.positions - 1)
        return replace(
            self,
            lower=min(self.lower, other.lower, other.lower + drift),
            upper=max(self.upper, other.upper, other.upper + drift),
            pad_after=max(self.pad_after, other.pad_after),
        )


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of a stage's positions on the pipeline's input.

    Sizes and paddings follow the recurrences of Araujo, Norris & Sim, "Computing Receptive Fields
    of Convolutional Neural Networks", Distill 2019.
    """

    rows: AxisField
    columns: AxisField
    on_grid: bool = True  # False once the positions are gone: after flatten, dense

    @classmethod
    def of_input(cls, size: Pair) -> Field:
        """Return the field of the input itself: each pixel sees itself."""
        one, zero = Fraction(1), Fraction(0)
        rows, columns = (AxisField(one, zero, zero, zero, length) for length in size)
        return cls(rows, columns)

    @property
    def size(self) -> Pair:
        """Input pixels one value may depend on, (rows, columns)."""
        return (self.rows.size, self.columns.size)

    @property
    def effective_stride(self) -> tuple[float, float] | None:
        """How many input pixels lie between neighbouring values, or None without a grid."""
        return (float(self.rows.jump), float(self.columns.jump)) if self.on_grid else None

    @property
    def effective_padding(self) -> tuple[float, float, float, float] | None:
        """How far the field reaches into padding, (top, left, bottom, right) input pixels."""
        if not self.on_grid:
            return None
        return (
            max(0.0, -float(self.rows.lower)),
            max(0.0, -float(self.columns.lower)),
            max(0.0, float(self.rows.pad_after)),
            max(0.0, float(self.columns.pad_after)),
        )

    def through(self, window: Window, size: Pair) -> Field:
        """Return the field after `window` on a grid of `size`."""
        pads, positions = window.pads(size), window.output_size(size)
        rows, columns = (
            axis.through(
                Fraction(window.stride[i]),
                Fraction(-pads[i]),
                Fraction(window.extent[i] - 1 - pads[i]),
                pads[2 + i],
                positions[i],
            )
            for i, axis in enumerate((self.rows, self.columns))
        )
        return Field(rows, columns, on_grid=self.on_grid)

    def whole(self) -> Field:
        """Return the field of a value that reads every position."""
        return Field(self.rows.whole(), self.columns.whole(), on_grid=self.on_grid)

    def everywhere(self) -> Field:
        """Return the field of positions each of which may see whatever any of them sees."""
        still = Fraction(0)
        rows, columns = (replace(axis.whole(), jump=still) for axis in (self.rows, self.columns))
        return Field(rows, columns, on_grid=False)

    def off_grid(self) -> Field:
        """Return the same field for values that no longer stand on a grid."""
        return replace(self, on_grid=False)

    @staticmethod
    def union(fields: tuple[Field, ...]) -> Field:
        """Return the smallest field that covers all of them, as merging layers have."""
        return reduce(
            lambda one, two: Field(
                one.rows.union(two.rows),
                one.columns.union(two.columns),
                on_grid=one.on_grid and two.on_grid,
            ),
            fields,
        )
