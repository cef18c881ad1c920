"""Some cells of a tensor, and their values: what is looked at when not everything has to be."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import BEYOND, NUMBER
from cnnviz.core.types import Samples, Shape, Tensor

Indices = NDArray[np.intp]
"""Positions along an axis: sorted, each once."""


class Cells(NamedTuple):
    """Some cells of a tensor: every combination of some positions along each axis.

    >>> Cells.of((0, 2, 3)).shape, Cells.whole((3, 4, 5)).shape
    ((1, 1, 1), (3, 4, 5))
    """

    axes: tuple[Indices, ...]

    @classmethod
    def of(cls, at: tuple[int, ...]) -> Cells:
        """Return one cell."""
        return cls(tuple(np.array([index]) for index in at))

    @classmethod
    def whole(cls, shape: Shape) -> Cells:
        """Return all cells of a tensor of `shape`."""
        return cls(tuple(np.arange(side) for side in shape))

    @property
    def shape(self) -> Shape:
        """How many positions there are along each axis."""
        return tuple(len(axis) for axis in self.axes)

    def is_whole(self, shape: Shape) -> bool:
        """Tell whether these are all cells of a tensor of `shape`."""
        return self.shape == shape

    def is_most(self, shape: Shape) -> bool:
        """Tell whether they are more than half of them: then all are as quick to compute."""
        return 2 * prod(self.shape) > prod(shape)

    def holds(self, other: Cells) -> bool:
        """Tell whether all of some other cells are among these."""
        pairs = zip(self.axes, other.axes, strict=True)
        return all(bool(np.isin(two, one, assume_unique=True).all()) for one, two in pairs)

    def filled(self) -> Cells:
        """Return the cells, with the first position where an axis has none: they can be cut out."""
        return Cells(tuple(axis if len(axis) else np.zeros(1, np.intp) for axis in self.axes))

    def union(self, other: Cells) -> Cells:
        """Return the fewest cells that hold both."""
        pairs = zip(self.axes, other.axes, strict=True)
        return Cells(tuple(np.union1d(one, two) for one, two in pairs))


class Excerpt(NamedTuple):
    """Some cells of a tensor with their values, and the shape of the whole."""

    shape: Shape
    cells: Cells
    values: Tensor  # one for each combination of the cells' positions

    @classmethod
    def whole(cls, x: Tensor) -> Excerpt:
        """Return all of a tensor."""
        return cls(x.shape, Cells.whole(x.shape), x)

    @classmethod
    def cut(cls, x: Tensor | Samples, cells: Cells) -> Excerpt:
        """Return some cells of a tensor."""
        if isinstance(x, Samples):
            return cls(x.shape, cells, Samples(take(x.values, cells.axes), x.unit).tensor())
        return cls(x.shape, cells, take(x, cells.axes))

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the tensor is left out."""
        return self.cells.is_whole(self.shape)

    def take(self, cells: Cells) -> Tensor:
        """Return the values of some of the cells."""
        return take(self.values, [self.find(axis, want) for axis, want in enumerate(cells.axes)])

    def find(self, axis: int, wanted: Indices) -> Indices:
        """Return where along an axis of `values` some positions stand; each must be there."""
        return np.searchsorted(self.cells.axes[axis], wanted)

    def gather(self, *at: Indices) -> Tensor:
        """Return the values at coordinates, one array an axis, which broadcast."""
        return self.values[tuple(self.find(axis, index) for axis, index in enumerate(at))]

    def value(self, at: tuple[int, ...]) -> float:
        """Return one cell's value."""
        return float(self.gather(*(np.array(index) for index in at)))

    def tile(
        self, rows: Indices, columns: Indices, fill: float, beyond: float, channels: Indices
    ) -> Tensor:
        """Return (C, rows, columns) values, in any order, as `border.sources` names pixels.

        `fill` stands where a number pads and `beyond` where nothing is. Pixels that are not among
        the cells are 0: no window reads them.
        """
        maps = take(self.values, [self.find(0, channels)])
        across = _laid(maps, self._places(1, rows), 1, fill)
        laid = _laid(across, self._places(2, columns), 2, fill)
        for axis, line in ((1, rows), (2, columns)):
            if line[-1] == BEYOND:
                laid[(slice(None),) * axis + (line == BEYOND,)] = beyond
        return laid

    def _places(self, axis: int, wanted: Indices) -> Indices:
        """Return places in `values`: NUMBER where one pads, else negative where there is none."""
        own = self.cells.axes[axis]
        places = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
        places[own[places] != wanted] = BEYOND
        places[wanted == NUMBER] = NUMBER
        return places


def runs(positions: Indices, gap: int = 1) -> list[Indices]:
    """Part sorted positions where more than `gap` lie between neighbours.

    >>> [run.tolist() for run in runs(np.array([0, 1, 2, 9, 10]))]
    [[0, 1, 2], [9, 10]]
    """
    return np.split(positions, np.flatnonzero(np.diff(positions) > gap) + 1)


def take(x: NDArray[Any], axes: Sequence[Indices]) -> NDArray[Any]:
    """Return the block of `x` at some positions along each axis: a view where they are runs."""
    slices: list[slice | Indices] = []
    for axis in axes:
        dense = axis[-1] - axis[0] == len(axis) - 1
        slices.append(slice(int(axis[0]), int(axis[-1]) + 1) if dense else axis)
    for number, where in enumerate(slices):
        if not (isinstance(where, slice) and where == slice(0, x.shape[number])):
            x = x[(slice(None),) * number + (where,)]
    return x


def _laid(x: Tensor, places: Indices, axis: int, fill: float) -> Tensor:
    """Return `x` with an axis laid out anew: the place it takes each position from, or `fill`."""
    if places[0] >= 0 and (np.diff(places) == 1).all():
        return x[(slice(None),) * axis + (slice(int(places[0]), int(places[-1]) + 1),)]
    shape = list(x.shape)
    shape[axis] = len(places)
    laid = np.zeros(shape, np.float32)
    before = (slice(None),) * axis
    laid[(*before, places == NUMBER)] = fill
    real = np.flatnonzero(places >= 0)
    apart = (np.diff(real) != 1) | (np.diff(places[real]) != 1)
    for run in np.split(real, np.flatnonzero(apart) + 1):
        if run.size:
            first = int(places[run[0]])
            target = slice(int(run[0]), int(run[0]) + run.size)
            laid[(*before, target)] = x[(*before, slice(first, first + run.size))]
    return laid
