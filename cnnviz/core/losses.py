"""What a network lets go of: values that win in no window of a pooling, and maps that are dead."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import BEYOND, NUMBER, sources
from cnnviz.core.field import Indices, Reach
from cnnviz.core.layers.base import Layer, require_maps
from cnnviz.core.layers.pooling import AdaptivePool, GlobalPool, LocalPool
from cnnviz.core.types import Losses, Tensor
from cnnviz.errors import RequestError

CELLS = 1 << 18  # looked at at a time, as far as one row of windows allows: some 6 MB

_SIGNS = {"max": np.float32(1), "min": np.float32(-1)}


def winners(x: Tensor, layer: Layer) -> Indices:
    """Return which value of its map each window of a pooling hands on.

    Of equal values the first in the window's order (row by row) wins, and a NaN beats everything,
    the last of them if there are several: as in PyTorch's ``return_indices``. Zero padding never
    wins. Where padding holds pixels again (mirrored, circular, replicated) the winner is the pixel
    that is copied.

    Parameters
    ----------
    x : Tensor
        (C, H, W), the layer's input.
    layer : Layer
        Max or min pooling: sliding, global or adaptive.

    Returns
    -------
    array
        (C, rows, columns): row · W + column of each winner in its map; −1 where no pixel wins:
        where the window holds none, or a constant padding's number is the largest.

    Raises
    ------
    RequestError
        If the layer picks no winner.
    CnnvizError
        If it does not fit the input.
    """
    output = np.empty(layer.output_shape(x.shape), np.intp)
    for part in _parts(x, layer):
        output[part.maps, part.rows] = part.winners
    return output


def discarded(x: Tensor, layer: Layer) -> float:
    """Return the share of the input's values that win in no window of a pooling.

    Parameters, ties and errors are those of `winners`.
    """
    maps = np.arange(len(x))[:, None]
    won = np.zeros((len(x), x[0].size + 1), np.bool_)  # −1 is the last: no pixel's
    for part in _parts(x, layer):
        won[maps[part.maps], part.winners.reshape(len(part.winners), -1)] = True
    return 1 - int(np.count_nonzero(won[:, :-1])) / float(x.size)


def dead_maps(output: Tensor) -> int | None:
    """Return how many maps of (C, H, W) hold nothing but 0; None for a vector."""
    if output.ndim != 3:
        return None
    return sum(not plane.any() for plane in output)


def losses_of(layer: Layer, x: Tensor, output: Tensor) -> Losses:
    """Return what a stage let go of, given the layer's (first) input and its output."""
    return Losses(dead_maps(output), discarded(x, layer) if picks_winners(layer) else None)


def picks_winners(layer: Layer) -> bool:
    """Return whether a layer hands one value of each window on, so that it has `winners`."""
    return isinstance(layer, (LocalPool, GlobalPool, AdaptivePool)) and layer.mode in _SIGNS


# --- finding them ------------------------------------------------------------------------------

_PLACES = 1 << 32  # a packed value is its rank times so many, plus what its place is worth
_NAN = np.iinfo(np.int32).max  # the rank of NaN
_ABSENT = np.iinfo(np.int64).min  # below every packed value, so that it never wins

_Packed = NDArray[np.int64]


class _Part(NamedTuple):
    """The winners of some maps' windows in some rows."""

    maps: slice
    rows: slice
    winners: Indices  # (maps, rows, columns)


class _Line(NamedTuple):
    """An axis as windows read it, padding and all."""

    pixels: Indices  # at each position the pixel's number; or NUMBER, or BEYOND
    taps: Indices  # (taps, windows): the positions that each window reads, in order


def _line(reach: Reach | None, count: int, length: int) -> _Line:
    """Return an axis of `length` pixels as `count` windows read it.

    Windows with fewer taps than others read their last one again. Zeros that pad never win, like
    what lies beyond.
    """
    reach = Reach(0, 0, length - 1) if reach is None else reach
    first, last = reach.at(np.arange(count))
    steps = np.arange((last - first).max() // reach.step + 1)[:, None] * reach.step
    line = np.arange(first[0], last[-1] + 1)
    pixels = sources(line, length, (0, reach.after), reach.border)
    if reach.border == "zeros":
        pixels[pixels == NUMBER] = BEYOND
    return _Line(pixels, np.minimum(first + steps, last) - first[0])


def _parts(x: Tensor, layer: Layer) -> Iterator[_Part]:
    """Yield the winners of all windows, some maps and some rows of windows at a time."""
    if not picks_winners(layer):
        raise RequestError(
            f"{layer.name} picks no winner", hint="max and min pooling do: maxpool, minpool, …"
        )
    _, rows, columns = layer.output_shape(require_maps(x.shape, layer.name))
    ((_, *reaches),) = layer.reads(x.shape)
    down, along = map(_line, reaches, (rows, columns), x.shape[1:])
    sign, number = _SIGNS[getattr(layer, "mode", "max")], getattr(layer, "pad_value", 0.0)
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
        yield _Part(maps, windows, np.where(none, NUMBER, row * x.shape[2] + column))


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
