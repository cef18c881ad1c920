"""What a network lets go of: values that win in no window of a pooling, and maps that are dead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnviz.core.engine.unpool import SIGNS, Won
from cnnviz.core.field import Indices
from cnnviz.core.layers.base import Layer
from cnnviz.core.layers.pooling import Pool
from cnnviz.core.types import Losses, Tensor
from cnnviz.errors import RequestError


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
    for part in _found(x, layer):
        output[part.maps, part.rows] = part.winners
    return output


def discarded(x: Tensor, layer: Layer) -> float:
    """Return the share of the input's values that win in no window of a pooling.

    Parameters, ties and errors are those of `winners`.
    """
    maps = np.arange(len(x))[:, None]
    won = np.zeros((len(x), x[0].size + 1), np.bool_)  # −1 is the last: no pixel's
    for part in _found(x, layer):
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
    return isinstance(layer, Pool) and layer.mode in SIGNS


def _found(x: Tensor, layer: Layer) -> Iterator[Won]:
    if not isinstance(layer, Pool) or not picks_winners(layer):
        raise RequestError(
            f"{layer.name} picks no winner", hint="max and min pooling do: maxpool, minpool, …"
        )
    layer.output_shape(x.shape)
    return layer.winners(x)
