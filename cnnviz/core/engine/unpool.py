"""Pooling backwards: which cell of each window wins, and what each cell is owed by its windows.

    #max, min: X[winner[w]] += Y[w];  avg, lp: X[i] += slope[w, i] · Y[w] for every cell i of w

What windows read is a `Reach` for each axis, so that one way serves windows that slide, whole maps
and bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import BEYOND, NUMBER, fold, padded_band, sources
from cnnviz.core.field import Indices, Reach
from cnnviz.core.types import Pads, Pair, Shape, Tensor

CELLS = 1 << 18  # looked at at a time, as far as one row of windows allows: some 6 MB

SIGNS = {"max": np.float32(1), "min": np.float32(-1)}
"""The modes that pick a winner, and what makes their winner the largest."""

_PLACES = 1 << 32  # a packed value is its rank times so many, plus what its place is worth
_NAN = np.iinfo(np.int32).max  # the rank of NaN
_ABSENT = np.iinfo(np.int64).min  # below every packed value, so that it never wins

_Packed = NDArray[np.int64]


class Won(NamedTuple):
    """The winners of some maps' windows in some rows."""

    maps: slice
    rows: slice
    winners: Indices  # (maps, rows, columns): row · W + column in the map, −1 where no pixel wins


class _Line(NamedTuple):
    """An axis as windows read it, padding and all."""

    pixels: Indices  # at each position the pixel's number; or NUMBER, or BEYOND
    taps: Indices  # (taps, windows): the positions that each window reads, in order


def _line(reach: Reach, count: int, length: int) -> _Line:
    """Return an axis of `length` pixels as `count` windows read it.

    Windows with fewer taps than others read their last one again. Zeros that pad never win, like
    what lies beyond.
    """
    first, last = reach.at(np.arange(count))
    steps = np.arange((last - first).max() // reach.step + 1)[:, None] * reach.step
    line = np.arange(first[0], last[-1] + 1)
    pixels = sources(line, length, (0, reach.after), reach.border)
    if reach.border == "zeros":
        pixels[pixels == NUMBER] = BEYOND
    return _Line(pixels, np.minimum(first + steps, last) - first[0])


def find_winners(
    x: Tensor, mode: str, reads: Sequence[Reach], size: Pair, number: float = 0.0
) -> Iterator[Won]:
    """Yield the winners of all windows, some maps and some rows of windows at a time.

    Of equal values the first in the window's order (row by row) wins, and a NaN beats everything,
    the last of them if there are several: as in PyTorch's ``return_indices``. Zero padding never
    wins. Where padding holds pixels again the winner is the pixel that is copied.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    mode : str
        One of SIGNS.
    reads : sequence of Reach
        What windows read, down and along.
    size : Pair
        Rows and columns of windows.
    number : float
        The padding of mode ``constant``.
    """
    down, along = map(_line, reads, size, x.shape[1:])
    rows, sign = size[0], SIGNS[mode]
    height, width = len(down.pixels), len(along.pixels)
    together = max(1, CELLS // (height * width))
    step = max(1, CELLS // width * rows // height)
    for channel, first in product(range(0, len(x), together), range(0, rows, step)):
        maps, windows = slice(channel, channel + together), slice(first, first + step)
        taps = down.taps[:, windows]
        start, stop = int(taps[0, 0]), int(taps[-1, -1]) + 1
        of_row, of_column = down.pixels[start:stop], along.pixels
        cells = x[maps].take(of_row, 1, mode="clip").take(of_column, 2, mode="clip")
        cells[:, of_row == NUMBER] = number
        cells[:, :, of_column == NUMBER] = number
        packed = _pack(cells * sign)
        packed[:, of_row == BEYOND] = _ABSENT
        packed[:, :, of_column == BEYOND] = _ABSENT
        # The largest of a window is the largest of its rows' largest: first along, then down.
        best = _largest(_largest(packed, along.taps, 2), taps - start, 1)
        down_at, along_at = np.divmod(_places(best), width)
        row, column = of_row[down_at], of_column[along_at]
        none = (row < 0) | (column < 0) | (best == _ABSENT)
        yield Won(maps, windows, np.where(none, NUMBER, row * x.shape[2] + column))


def _pack(cells: NDArray[np.float32]) -> _Packed:
    """Pack values (C, rows, columns) with their places into whole numbers: the larger one wins.

    As whole numbers float32 bits are in the order of the values, if those of negative ones are
    turned round (and −0 made 0). What a place is worth falls from the first to the last, and rises
    where the value is NaN.
    """
    bits = (cells + np.float32(0)).view(np.int32)
    places = np.arange(cells[0].size).reshape(cells.shape[1:])
    packed = (bits ^ ((bits >> 31) & _NAN)).astype(np.int64)
    packed *= _PLACES
    packed += _PLACES - 1 - places
    odd = np.isnan(cells)
    if odd.any():
        np.copyto(packed, _NAN * _PLACES + places, where=odd)
    return packed


def _places(packed: _Packed) -> Indices:
    """Return the places of packed values."""
    worth = packed % _PLACES
    return np.where(packed // _PLACES == _NAN, worth, _PLACES - 1 - worth)


def _largest(packed: _Packed, taps: Indices, axis: int) -> _Packed:
    """Return the largest cell along an axis for each column of `taps`."""
    count, windows = taps.shape
    if windows < count and taps.size <= 2 * packed.shape[axis]:  # a few wide bins, side by side
        largest: _Packed = packed.take(taps.T, axis).max(axis + 1)
        return largest
    best: _Packed = packed.take(taps[0], axis)
    step = max(1, int(taps[0, 1] - taps[0, 0])) if windows > 1 else 1
    even = (np.diff(taps) == step).all()  # a slice is read faster than places one by one
    for tap in taps[1:]:
        span = slice(int(tap[0]), int(tap[-1]) + 1, step) if even else tap
        np.maximum(best, packed[(slice(None),) * axis + (span,)], out=best)
    return best


# --- gradients ---------------------------------------------------------------------------------


def hand_on(gradient: Tensor, x: Tensor, winners: Iterator[Won]) -> Tensor:
    """Return the gradient (C, H, W) of an input: winners get all there is, the others 0."""
    back = np.zeros((len(x), x[0].size + 1), np.float32)  # the last is for where no pixel wins
    starts = np.arange(len(x))[:, None, None] * back.shape[1]
    for won in winners:
        owed = gradient[won.maps, won.rows].reshape(-1)
        np.add.at(back.reshape(-1), (starts[won.maps] + won.winners).reshape(-1), owed)
    return back[:, :-1].reshape(x.shape)


def share_out(
    gradient: Tensor, shape: Shape, axes: Sequence[Reach], *, counts_padding: bool
) -> Tensor:
    """Return an input's gradient, of `shape`, from that of windows' means (C, rows, columns)."""
    canvas = _Canvas(axes, shape, gradient.shape)
    down, along = (span.counts(include_pad=counts_padding) for span in canvas.spans)
    gradient = np.divide(gradient, down[:, None] * along, dtype=np.float32)
    for cells, at in canvas.meetings():
        canvas.back[cells] += gradient[at]
    return canvas.folded()


def share_norm(
    gradient: Tensor, output: Tensor, x: Tensor, axes: Sequence[Reach], norm: float, fill: float
) -> Tensor:
    """Return the gradient of an input of windows with these p-norms; `fill` pads it.

    The slope of a p-norm is sign(x) · (|x| / norm)^(p − 1), and 0 where the norm is 0.
    """
    canvas = _Canvas(axes, x.shape, gradient.shape)
    down, along = canvas.spans
    padded = padded_band(
        x, canvas.pads, 0, down.length, axes[0].border, fill, columns=(0, along.length)
    )
    for cells, at in canvas.meetings():
        values, norms = padded[cells], output[at]
        share = np.zeros_like(values)
        np.divide(np.abs(values), norms, out=share, where=(norms != 0) & (values != 0))
        slope = np.sign(values) * np.where(share == 0, share, share ** np.float32(norm - 1))
        canvas.back[cells] += gradient[at] * slope
    return canvas.folded()


class _Spans:
    """The windows of one axis on the padded line: its position 0 is the first padded one."""

    def __init__(self, axis: Reach, count: int, length: int) -> None:
        first, last = axis.at(np.arange(count))
        self.before, self.step = max(-int(first[0]), 0), axis.step
        self.first, self.last = first + self.before, last + self.before
        self.pixels = (self.before, self.before + length)
        self.padded = (0, self.before + length + axis.after)
        self.length = max(int(self.last[-1]) + 1, self.padded[1])  # the last one may hang over
        long, apart = self.last - self.first, np.diff(self.first)
        alike = (long == long[0]).all() and (apart == apart[:1]).all() and apart[:1].all()
        self.taps = int(long[0]) // self.step + 1 if alike else 0  # cells of each; 0: they differ
        self.stride = int(apart[0]) if alike and count > 1 else 1

    def counts(self, *, include_pad: bool) -> Indices:
        """Return how many cells of each window lie on the image, or on the padding too."""
        low, high = self.padded if include_pad else self.pixels
        start = np.maximum(-((self.first - low) // self.step), 0)
        stop = (np.minimum(high - 1, self.last) - self.first) // self.step
        return np.asarray(stop - start + 1)

    def cells(self, number: int) -> slice:
        """Return the cells of a window."""
        return slice(int(self.first[number]), int(self.last[number]) + 1, self.step)

    def tapped(self, tap: int) -> slice:
        """Return the cell of that number of all windows, which are alike."""
        start = tap * self.step
        return slice(int(self.first[0]) + start, int(self.first[-1]) + start + 1, self.stride)


class _Canvas:
    """A padded input's gradient, to be painted where windows read it."""

    def __init__(self, axes: Sequence[Reach], shape: Shape, output: Shape) -> None:
        lines = zip(axes, output[1:], shape[1:], strict=True)
        down, along = (_Spans(axis, count, length) for axis, count, length in lines)
        self.spans, self.border, self.size = (down, along), axes[0].border, (shape[1], shape[2])
        self.pads: Pads = (down.before, along.before, axes[0].after, axes[1].after)
        self.back = np.zeros((shape[0], down.length, along.length), np.float32)

    def meetings(self) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Yield cells of the padded maps with the values that read them, until none is left.

        That is tap by tap, or window by window where those are fewer or not alike.
        """
        (down, along), every = self.spans, slice(None)
        windows = (len(down.first), len(along.first))
        if 0 < down.taps * along.taps <= prod(windows):
            for i, j in np.ndindex(down.taps, along.taps):
                yield (every, down.tapped(i), along.tapped(j)), (every, every, every)
        else:
            for y, x in np.ndindex(*windows):
                at = (every, slice(y, y + 1), slice(x, x + 1))
                yield (every, down.cells(y), along.cells(x)), at

    def folded(self) -> Tensor:
        """Return the gradient of the input itself."""
        return fold(self.back, self.pads, self.size, self.border)
