"""What the positions of an output read of an input, axis by axis, and how far back they see.

A `Reach` is one layer's answer for one axis: an arithmetic progression of input positions for each
output position, on a line that goes on without end both ways, so that padding is simply what lies
below 0 or past the last position. Composed from stage to stage (`Field`) it is the receptive field;
followed back from a few positions (`Reach.pixels`) it says which pixels they depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import sources
from cnnviz.core.types import Pair, Shape

Indices = NDArray[np.intp]
"""Positions along an axis."""

CLIPPED = "clipped"
"""In place of a padding mode: positions beyond the edge are the edge's own."""

PHASES = 1 << 10
"""Positions after which a field repeats itself, at most: of a longer period the first ones count.

No network comes near; it keeps a table of absurd sizes instant.
"""


class Reach(NamedTuple):
    """The positions of one axis of an input that the positions of an axis of the output read.

    Position p reads first(p), first(p) + step, … last(p), or none where last(p) < first(p). Both
    ends move on by `shift` input positions in every `period` output positions; with a period of 1
    they are ``first + shift · p`` and ``last + shift · p``.

    >>> window = Reach(shift=2, first=-1, last=3, step=2)  # 3 cells, dilation 2, stride 2, padded
    >>> window.pixels(np.array([0, 1]), 9).tolist()
    [1, 3, 5]
    """

    shift: int = 1
    first: int = 0
    last: int = 0
    step: int = 1
    period: int = 1
    ends: Callable[[Indices], tuple[Indices, Indices]] | None = None  # where the period is not 1
    border: str = "zeros"  # what lies beyond the edge: a padding mode, or CLIPPED
    after: int = 0  # pixels of padding behind the last position
    of: int | None = None  # the output's axis, where it is another than the input's

    def at(self, positions: Indices) -> tuple[Indices, Indices]:
        """Return the first and the last input position that some output positions read."""
        if self.ends is not None:
            return self.ends(positions)
        start = self.shift * positions
        return self.first + start, self.last + start

    def pixels(self, positions: Indices, length: int) -> Indices:
        """Return which of an axis' `length` pixels some positions read, in rising order.

        Of padding, the pixels that are copied into it count, and numbers do not.
        """
        first, last = self.at(positions)
        reads = first <= last
        first, last = first[reads], last[reads]
        if not first.size:
            return first
        # Mark where each run of cells begins and ends within its residue class of the step, and sum
        # along the classes: the cells of all positions at once would not fit into memory.
        start, stop = int(first.min()), int(last.max()) + 1
        span = -(-(stop - start + self.step) // self.step) * self.step
        change = np.bincount(first - start, minlength=span)
        change -= np.bincount(last - start + self.step, minlength=span)
        read = np.flatnonzero(change.reshape(-1, self.step).cumsum(0).reshape(-1)) + start
        if self.border == CLIPPED:
            return np.unique(np.clip(read, 0, length - 1))
        before = max(-start, 0)
        found = np.unique(sources(read, length, (before, self.after), self.border))
        return found[found >= 0]


ALL = None
"""In place of a Reach: every position of the axis is read."""

Reads = tuple[Reach | None, ...]
"""What is read of one input: a Reach, or ALL, for each of its axes."""

SAME = Reach()
"""Every position reads the one in its place."""


class AxisField(NamedTuple):
    """What the positions of one axis see of the pipeline's input, as a `Reach` does of a layer's.

    `first` and `last` are whole numbers where the period is 1, else arrays of one period.
    """

    jump: Fraction | int  # input pixels from one position to the next, on average
    first: int | Indices
    last: int | Indices
    shift: int
    period: int
    after: Fraction | int  # how far windows reach into the padding behind the last pixel
    positions: int

    @property
    def size(self) -> int:
        """Pixels from the first to the last that one position sees, the most over all of them."""
        if isinstance(self.first, int):
            return max(int(self.last) - self.first + 1, 0)
        return max(int((self.last - self.first).max()) + 1, 0)

    @property
    def before(self) -> int:
        """How far the first position reaches into the padding before the first pixel."""
        return max(0, -int(self.first if isinstance(self.first, int) else self.first[0]))

    def at(self, positions: Indices) -> tuple[Indices, Indices]:
        """Return the first and the last input pixel that some positions see."""
        if isinstance(self.first, int):
            start = self.shift * positions
            return self.first + start, self.last + start
        turns, phase = np.divmod(positions, self.period)
        turns *= self.shift
        assert not isinstance(self.last, int)  # noqa: S101 - both are arrays, or neither is
        return self.first[phase] + turns, self.last[phase] + turns

    def through(self, reach: Reach | None, positions: int) -> AxisField:
        """Return the field of `positions` that read these as `reach` says."""
        if reach is ALL:
            count = min(self.period, self.positions)  # the farthest are seen within a period
            ends = np.arange(count)
            first, last = self.at(np.concatenate([ends, ends + self.positions - count]))
            seen = first <= last
            low, high = (int(first[seen].min()), int(last[seen].max())) if seen.any() else (0, -1)
            return self._replace(first=low, last=high, shift=0, period=1, positions=positions)
        if reach.ends is None:
            if reach == SAME:
                return self._replace(positions=positions) if positions != self.positions else self
            after = self.after + self.jump * reach.after
            jump = self.jump * reach.shift
        else:
            after = self.after
            jump = self.jump * Fraction(reach.shift, reach.period)
        if reach.ends is None and isinstance(self.first, int) and isinstance(self.last, int):
            low, high = reach.first, reach.last
            if self.shift < 0:
                low, high = high, low
            return AxisField(
                jump,
                self.first + self.shift * low,
                self.last + self.shift * high,
                self.shift * reach.shift,
                1,
                after,
                positions,
            )
        period = reach.period * (self.period // gcd(self.period, reach.shift))
        shift = self.shift * reach.shift * period // (reach.period * self.period)
        if period > PHASES:
            known = min(positions, PHASES)
            period, shift = known, round(Fraction(shift * known, period))
        first, last = self._ends(reach, np.arange(period))
        return _repeating(jump, first, last, shift, period, after, positions)

    def _ends(self, reach: Reach, positions: Indices) -> tuple[Indices, Indices]:
        """Return the first and the last pixel that positions see through `reach`."""
        first, last = reach.at(positions)
        counts = (last - first) // reach.step + 1
        most = int(counts.max())
        if most > 2 * self.period:  # the farthest pixels are seen within a period of either end
            near = np.arange(self.period)
            taps = np.concatenate([np.tile(near, (len(counts), 1)), counts[:, None] - 1 - near], 1)
        else:
            taps = np.arange(most)
        read = first[:, None] + taps * reach.step
        low, high = self.at(read)
        seen = (taps >= 0) & (taps < counts[:, None]) & (low <= high)
        far = np.iinfo(np.intp).max
        one = np.where(seen, low, far).min(axis=1, initial=far)
        two = np.where(seen, high, -far).max(axis=1, initial=-far)
        none = one > two
        one[none], two[none] = 0, -1
        return one, two

    def offset(self, other: AxisField) -> int | None:
        """Return how many pixels further on `other` sees at each position; None if not alike."""
        if self.jump != other.jump:
            return None
        at = np.arange(min(lcm(self.period, other.period), self.positions, PHASES))
        (low, high), (first, last) = self.at(at), other.at(at)
        by = int(first[0] - low[0])
        return by if (first - low == by).all() and (last - high == by).all() else None

    def union(self, other: AxisField) -> AxisField:
        """Return the field of values that see what one and the other see, position by position."""
        if self.period == other.period == 1 and self.shift == other.shift:
            after = max(self.after, other.after)
            if not self.size or not other.size:
                return (self if self.size else other)._replace(after=after)
            first, last = min(self.first, other.first), max(self.last, other.last)
            return self._replace(first=first, last=last, after=after)
        positions = max(self.positions, other.positions)
        period = lcm(self.period, other.period)
        if self.shift * other.period != other.shift * self.period or period > PHASES:
            period = min(positions, PHASES)  # they part: known position by position
        at = np.arange(period)
        (low, high), (first, last) = self.at(at), other.at(at)
        blind, unseen = low > high, first > last
        one = np.where(blind, first, np.where(unseen, low, np.minimum(low, first)))
        two = np.where(blind, last, np.where(unseen, high, np.maximum(high, last)))
        wide = self if self.shift else other
        shift = round(Fraction(wide.shift * period, wide.period))
        after = max(self.after, other.after)
        return _repeating(wide.jump, one, two, shift, period, after, positions)


def _repeating(
    jump: Fraction | int,
    first: Indices,
    last: Indices,
    shift: int,
    period: int,
    after: Fraction | int,
    positions: int,
) -> AxisField:
    """Return a field, of period 1 where its positions are all alike."""
    even, rest = divmod(shift, period)
    start = even * np.arange(period)
    if not rest and (first - start == first[0]).all() and (last - start == last[0]).all():
        return AxisField(jump, int(first[0]), int(last[0]), even, 1, after, positions)
    return AxisField(jump, first, last, shift, period, after, positions)


class Field(NamedTuple):
    """The receptive field of a stage's positions on the pipeline's input.

    Of a chain of windows its sizes and paddings are those of the recurrences in Araujo, Norris &
    Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019. It is counted
    as on an unbounded picture: padding is as good as pixels.
    """

    rows: AxisField
    columns: AxisField
    on_grid: bool = True  # False once positions have lost their place: after flatten, dense

    @classmethod
    def of_input(cls, size: Pair) -> Field:
        """Return the field of the input itself, of `size` pixels: each pixel sees itself."""
        rows, columns = (AxisField(1, 0, 0, 1, 1, 0, length) for length in size)
        return cls(rows, rows if size[0] == size[1] else columns)

    @property
    def size(self) -> Pair:
        """(rows, columns) from the first to the last pixel that one value depends on."""
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
            float(self.rows.before),
            float(self.columns.before),
            max(0.0, float(self.rows.after)),
            max(0.0, float(self.columns.after)),
        )

    def through(self, reads: Reads, output: Shape) -> Field:
        """Return the field of a stage of shape `output` that reads this one alone."""
        if len(output) != 3:  # a value that has no place keeps what it saw, or sees everything
            if ALL not in reads:
                return self._replace(on_grid=False)
            down = along = ALL
        else:
            down, along = reads[1:] if len(reads) == 3 else (ALL, ALL)
            places = [None if axis is ALL else axis.of for axis in (down, along)]
            if places == [2, 1]:  # rows and columns change places
                turned = self._replace(rows=self.columns, columns=self.rows)
                return turned.through((SAME, SAME, SAME), output)
            if any(place is not None for place in places):
                down = along = ALL
        lengths = output[1:] if len(output) == 3 else (1, 1)
        rows = self.rows.through(down, lengths[0])
        if self.columns is self.rows and along == down and lengths[0] == lengths[1]:
            columns = rows
        else:
            columns = self.columns.through(along, lengths[1])
        lost = len(output) != 3 or any(
            axis is ALL and length > 1 for axis, length in zip((down, along), lengths, strict=True)
        )
        return Field(rows, columns, on_grid=self.on_grid and not lost)

    @staticmethod
    def after(fields: Sequence[Field], reads: Sequence[Reads], output: Shape) -> Field:
        """Return the field of a stage of shape `output` that reads stages of these fields."""
        joined, *others = (
            field.through(own, output) for field, own in zip(fields, reads, strict=True)
        )
        for other in others:
            rows = joined.rows.union(other.rows)
            square = joined.rows is joined.columns and other.rows is other.columns
            columns = rows if square else joined.columns.union(other.columns)
            joined = Field(rows, columns, on_grid=joined.on_grid and other.on_grid)
        return joined
