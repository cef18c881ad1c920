"""What a network lets go of: which values win in pooling, which never do, and maps that are dead.

Each value of a map is packed with its place into one whole number, so that the larger of two is
the winner of both, ties and NaN included; and the largest of a window is found as its maximum is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import BEYOND, NUMBER, padded_band, sources
from cnnviz.core.engine import adaptive_bins
from cnnviz.core.layers.base import Layer, plane, require_maps
from cnnviz.core.layers.pooling import AdaptivePool, GlobalPool, LocalPool
from cnnviz.core.types import Losses, Pair, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import RequestError

CELLS = 1 << 19  # packed at a time, as far as one row of windows allows: some 16 MB

Winners = NDArray[np.intp]
_Packed = NDArray[np.int64]

_ABSENT = np.iinfo(np.int64).min  # below every packed value, so that it never wins
_PLACES = 1 << 32  # a packed value is its rank times so many, plus what its place is worth
_NAN_RANK = np.iinfo(np.int32).max


class _Part(NamedTuple):
    """The winners of some maps' windows in some rows."""

    maps: slice
    rows: slice
    winners: Winners  # (maps, rows, columns)


def winners(x: Tensor, layer: Layer) -> Winners:
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
    parts = _parts(x, layer)
    output = np.empty(layer.output_shape(x.shape), np.intp)
    for part in parts:
        output[part.maps, part.rows] = part.winners
    return output


def discarded(x: Tensor, layer: Layer) -> float:
    """Return the share of the input's values that win in no window of a pooling.

    Parameters, ties and errors are those of `winners`; what is kept of it is one bit a value.
    """
    channels, height, width = x.shape
    won, of = 0, slice(0, 0)
    seen = np.zeros((0, 0), np.bool_)
    for part in _parts(x, layer):
        if part.maps != of:  # all parts of some maps come one after another
            won += int(np.count_nonzero(seen))
            of = part.maps
            seen = np.zeros((len(part.winners), height * width + 1), np.bool_)
        maps = np.arange(len(part.winners))[:, None]
        seen[maps, part.winners.reshape(len(maps), -1)] = True  # −1 is the last: no pixel's
        seen[:, -1] = False
    won += int(np.count_nonzero(seen))
    return 1 - won / float(channels * height * width)


def dead_maps(output: Tensor) -> int | None:
    """Return how many maps of (C, H, W) hold nothing but 0; None for a vector."""
    if output.ndim != 3:
        return None
    return sum(not plane.any() for plane in output)


def losses_of(layer: Layer, x: Tensor, output: Tensor) -> Losses:
    """Return what a stage let go of, given the layer's (first) input and its output."""
    return Losses(dead_maps(output), discarded(x, layer) if _mode(layer) else None)


def picks_winners(layer: Layer) -> bool:
    """Tell whether a layer hands one value of each window on, so that it has `winners`."""
    return _mode(layer) is not None


def _mode(layer: Layer) -> str | None:
    """Return whether the largest or the smallest value wins; None if none does."""
    mode = getattr(layer, "mode", None)
    pools = isinstance(layer, (LocalPool, GlobalPool, AdaptivePool))
    return mode if pools and mode in _SIGNS else None


_SIGNS = {"max": 1, "min": -1}


def _parts(x: Tensor, layer: Layer) -> Iterator[_Part]:
    """Yield the winners of all windows, a block of maps at a time, each from its first row on."""
    mode = _mode(layer)
    if mode is None:
        raise RequestError(
            f"{layer.name} picks no winner", hint="max and min pooling do: maxpool, minpool, …"
        )
    layer.output_shape(require_maps(x.shape, layer.name))  # says what does not fit
    if isinstance(layer, LocalPool):
        return _sliding(x, layer, _SIGNS[mode])
    size = layer.output_size if isinstance(layer, AdaptivePool) else (1, 1)
    return _binned(x, size, _SIGNS[mode])


def _sliding(x: Tensor, layer: LocalPool, sign: int) -> Iterator[_Part]:
    window, size = layer.window(x.shape), plane(x.shape)
    pads, (rows, columns) = window.pads(size), window.output_size(size)
    down = _sources(layer.padding_mode, size[0], (pads[0], pads[2]), _reach(window, 0, rows))
    along = _sources(layer.padding_mode, size[1], (pads[1], pads[3]), _reach(window, 1, columns))
    hangs = max(0, len(along) - (pads[1] + size[1] + pads[3]))
    together = max(1, CELLS // (len(down) * len(along)))
    step = max(1, (CELLS // len(along) - window.extent[0]) // window.stride[0] + 1)
    for channel in range(0, len(x), together):
        maps = slice(channel, min(channel + together, len(x)))
        for first in range(0, rows, step):
            stop = min(first + step, rows)
            start = first * window.stride[0]
            end = (stop - 1) * window.stride[0] + window.extent[0]
            band = padded_band(
                x[maps], pads, start, end, layer.padding_mode, layer.pad_value, hangs=hangs
            )
            packed = _pack(band * np.float32(sign), np.arange(end - start) * len(along))
            packed[:, down[start:end] == BEYOND] = _ABSENT
            packed[:, :, along == BEYOND] = _ABSENT
            best = _largest(packed, window, (stop - first, columns))
            row, column = np.divmod(_places(best), len(along))
            of_row, of_column = down[start:end][row], along[column]
            found = np.where((of_row < 0) | (of_column < 0), -1, of_row * size[1] + of_column)
            found[best == _ABSENT] = -1
            yield _Part(maps, slice(first, stop), found)


def _reach(window: Window, axis: int, count: int) -> int:
    """Return how many padded cells of an axis `count` windows span."""
    return (count - 1) * window.stride[axis] + window.extent[axis]


def _sources(mode: str, length: int, pads: Pair, reach: int) -> Winners:
    """Return which pixel of an axis stands at each padded coordinate, or NUMBER, or BEYOND.

    Zeros that pad never win, like what lies beyond.
    """
    before, after = pads
    at = np.arange(-before, max(length + after, reach - before))
    pixels = sources(at, length, pads, mode)
    return np.where(pixels == NUMBER, BEYOND, pixels) if mode == "zeros" else pixels


def _binned(x: Tensor, output_size: Pair, sign: int) -> Iterator[_Part]:
    """Yield the winners of bins, cut as adaptive pooling cuts them, a few rows at a time."""
    channels, height, width = x.shape
    bins = [
        list(zip(*adaptive_bins(length, count), strict=True))
        for length, count in zip((height, width), output_size, strict=True)
    ]
    tallest = max(stop - start for start, stop in bins[0])
    together = max(1, CELLS // (tallest * width))
    step = max(1, CELLS // width)
    for channel in range(0, channels, together):
        maps = slice(channel, min(channel + together, channels))
        for i, (top, bottom) in enumerate(bins[0]):
            best = np.full((maps.stop - maps.start, len(bins[1])), _ABSENT)
            for start in range(top, bottom, step):
                end = min(start + step, bottom)
                cells = x[maps, start:end] * np.float32(sign)
                packed = _pack(cells, np.arange(start, end) * width).max(axis=1)
                across = [packed[:, left:right].max(axis=1) for left, right in bins[1]]
                np.maximum(best, np.stack(across, axis=1), out=best)
            yield _Part(maps, slice(i, i + 1), _places(best)[:, None])


def _pack(cells: NDArray[np.float32], starts: NDArray[Any]) -> _Packed:
    """Pack values (C, rows, columns) with their places, whose rows begin at `starts`.

    As whole numbers float32 bits are in the order of the values, if those of negative ones are
    turned round (and −0 made 0). What a place is worth falls from the first to the last, and rises
    where the value is NaN.
    """
    odd = np.isnan(cells)
    bits = (cells + np.float32(0)).view(np.int32)
    rank = bits ^ ((bits >> 31) & _NAN_RANK)
    rank[odd] = _NAN_RANK
    places = starts[:, None] + np.arange(cells.shape[2])
    packed = rank.astype(np.int64)
    packed *= _PLACES
    packed += np.where(odd, places, _PLACES - 1 - places)
    return packed


def _places(packed: _Packed) -> Winners:
    """Return the places of packed values."""
    worth = packed % _PLACES
    return np.where(packed // _PLACES == _NAN_RANK, worth, _PLACES - 1 - worth)


def _largest(packed: _Packed, window: Window, size: Pair) -> _Packed:
    """Return the largest of each of `size` windows: along the rows, then down the columns."""
    for axis in (1, 0):
        step, span = window.stride[axis], (size[axis] - 1) * window.stride[axis] + 1
        cells = np.moveaxis(packed, axis + 1, 0)
        largest = cells[:span:step].copy()
        for tap in range(1, window.kernel_size[axis]):
            first = tap * window.dilation[axis]
            np.maximum(largest, cells[first : first + span : step], out=largest)
        packed = np.moveaxis(largest, 0, axis + 1)
    return packed
