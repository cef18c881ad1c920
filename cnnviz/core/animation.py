"""A window's way over a map: where it stops, and the arithmetic of the value it makes there.

The pipeline runs to the animated stage; the terms are worked out for the positions that become
frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.arithmetic import Arithmetic
from cnnviz.core.field import ALL
from cnnviz.core.layers.base import Elementwise, plane
from cnnviz.core.layers.convolution import Correlation
from cnnviz.core.layers.pooling import LocalPool
from cnnviz.core.pipeline import INPUT, Pipeline, as_input, node_params
from cnnviz.core.types import Pair, Params, Row, Samples, Shape, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import RequestError

ANIMATED = (Correlation, LocalPool, Elementwise)
"""The layers that work window by window, or cell by cell."""

ABREAST = 3
"""So many channels show their patches; of more only the one that contributes most."""

DENSE = 8
"""Positions in a row with which the window glides along each row by itself."""

Explain = Callable[[Pair], Arithmetic]


# --- which stage, which positions --------------------------------------------------------------


def find_stage(
    pipeline: Pipeline, shape: Shape, stage: str | None = None, params: Params | None = None
) -> Row:
    """Return the stage to animate: the one named, or the first with a sliding window.

    Parameters
    ----------
    pipeline : Pipeline
    shape : Shape
        The input's, (C, H, W).
    stage : str, optional
        A name or an index from 1.
    params : Params, optional
        Loaded weights, so that the row names where its own come from.

    Raises
    ------
    RequestError
        If there is no such stage, or its values are not made window by window or cell by cell.
    """
    rows = list(pipeline.rows(shape, params))
    able = [
        row
        for row, node in zip(rows, pipeline.nodes, strict=True)
        if isinstance(node.layer, ANIMATED) and len(row.input_shape) == 3
    ]
    if stage is None:
        sliding = [row for row in able if row.kernel_size is not None]
        if able:
            return (sliding or able)[0]
        raise RequestError(
            "no stage of this pipeline can be animated",
            hint="conv, depthwise and pooling slide windows over maps, activations go cell by cell",
        )
    row = rows[pipeline.find(stage)]
    if row not in able:
        names = ", ".join(one.name for one in able[:8]) + (", …" if len(able) > 8 else "")
        raise RequestError(
            f"stage {row.index} {row.name} ({row.layer}) cannot be animated: no window slides "
            "over its maps",
            hint=f"of this pipeline these can: {names}" if able else "nor can any other stage",
        )
    return row


def stops(size: Pair, count: int) -> list[Pair]:
    """Return `count` positions of a map of `size` in raster order, or all if they are fewer.

    The first and the last position are always among them, and what lies before a position in
    raster order grows evenly from one to the next, by whole rows at least: each is in the row in
    which that share of the map ends. Where a row holds few of them, the window glides over it in
    sweeps that slant over several rows, their steps about as long as the sweeps are apart.

    >>> stops((2, 2), 60)
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    >>> stops((101, 101), 9)
    [(0, 0), (12, 50), (25, 100), (37, 0), (50, 50), (63, 100), (75, 0), (88, 50), (100, 100)]
    """
    rows, columns = size
    total = rows * columns
    count = min(max(count, 2), total)
    even = [divmod(k * (total - 1) // max(count - 1, 1), columns) for k in range(count)]
    if count >= DENSE * rows:
        return even
    sweeps = max(min(round(math.sqrt(count * rows / columns)), count // 2), 1)
    first = dict[int, int]()  # of the positions in a row: it decides which sweep the row is in
    for number, (row, _) in enumerate(even):
        first.setdefault(row, number)
    found = list[Pair]()
    for _, group in groupby(even, key=lambda at: first[at[0]] * sweeps // count):
        sweep = list(group)
        stations = len(sweep)
        if 1 < stations <= columns:  # evenly spaced, both ends among them
            gaps = stations - 1
            sweep = [
                (row, (2 * i * (columns - 1) + gaps) // (2 * gaps))
                for i, (row, _) in enumerate(sweep)
            ]
        found += sweep
    return found


# --- the scene ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scene:
    """One map of a stage, and all that is needed to explain each of its values."""

    row: Row
    channel: int
    window: Window  # of one cell for layers that work cell by cell
    shape: Shape  # of what the stage reads, (C, H, W)
    reads: range  # the channels of it that a value is made of
    source: Tensor | Samples  # those channels, (len(reads), H, W)
    output: Tensor  # (rows, columns)
    arithmetic: Explain  # of the value at a position

    @property
    def size(self) -> Pair:
        """(rows, columns) of what the window slides over."""
        return plane(self.shape)

    @property
    def map_size(self) -> Pair:
        """(rows, columns) of the map that is made."""
        return (self.output.shape[0], self.output.shape[1])

    def planes(self, channels: Sequence[int]) -> Tensor:
        """Return some of the channels that are read, (N, H, W)."""
        places = [channel - self.reads.start for channel in channels]
        found = self.source[places]
        return found.tensor() if isinstance(found, Samples) else found

    def start(self, at: Pair) -> Pair:
        """Return the first row and column of the window at a position; in padding, below 0."""
        pads = self.window.pads(self.size)
        return (
            at[0] * self.window.stride[0] - pads[0],
            at[1] * self.window.stride[1] - pads[1],
        )


def make_scene(
    pipeline: Pipeline,
    x: Tensor | Samples,
    row: Row,
    channel: int = 0,
    params: Params | None = None,
    *,
    seed: int = 0,
) -> Scene:
    """Compute one map of a stage, and what the stage reads.

    Parameters
    ----------
    pipeline : Pipeline
    x : Tensor or Samples
        The pipeline's input, (C, H, W).
    row : Row
        The stage, from `find_stage`.
    channel : int
        Which of its maps.
    params : Params, optional
        Weights by ``STAGE.name``; stages not in it use their own.
    seed : int
        What random filters are drawn from.

    Raises
    ------
    RequestError
        If the stage has no such map.
    CnnvizError
        If a stage does not fit.
    """
    maps = row.output_shape[0]
    if not 0 <= channel < maps:
        raise RequestError(
            f"{row.name} has no map {channel}",
            hint=f"its maps are 0 to {maps - 1}" if maps > 1 else "its only map is 0",
        )
    node = pipeline.nodes[row.index - 1]
    layer, name = node.layer, node.inputs[0]
    x = as_input(x)
    held = pipeline.computed(x, {name, node.name}, params, seed=seed)
    given = held[name]
    along = layer.reads(given.shape)[0][0]
    if along is ALL:
        reads = range(given.shape[0])
    else:
        (first,), (last,) = along.at(np.array([channel]))
        reads = range(int(first), int(last) + 1)
    part = slice(reads.start, reads.stop)
    source: Tensor | Samples = given[part]
    if name == INPUT and isinstance(x, Samples):  # as they are: a photograph's are many
        source = x[part]
    own = node_params(node, row.index, [given.shape], params or {}, seed)

    def arithmetic(at: Pair) -> Arithmetic:
        with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
            return layer.explain((channel, *at), given, params=own)

    return Scene(
        row=row,
        channel=channel,
        window=layer.window(given.shape) or Window((1, 1)),
        shape=given.shape,
        reads=reads,
        source=source,
        output=held[node.name][channel],
        arithmetic=arithmetic,
    )


# --- what is shown of it -----------------------------------------------------------------------

PIXEL, COPY, NUMBER, NOTHING = range(4)
"""What a cell of a patch is: a pixel, a copy of one beyond the edge, a number there, no term."""


class Patches(NamedTuple):
    """The terms of a value as they stand in the window, for some channels, (N, kh, kw) each."""

    value: NDArray[np.float64]
    part: NDArray[np.float64]
    weight: NDArray[np.float64] | None
    kind: NDArray[np.uint8]
    chosen: tuple[int, int, int] | None  # which won, of a largest or smallest

    @classmethod
    def of(cls, arithmetic: Arithmetic, channels: Sequence[int]) -> Patches:
        """Lay out those terms that are read from `channels`, in rising order."""
        terms, wanted = arithmetic.terms, np.array(channels)
        shape = (len(wanted), *(arithmetic.kernel_size or (1, 1)))
        places = np.zeros((len(terms), 2), np.intp) if terms.place is None else terms.place
        index = np.searchsorted(wanted, terms.at[:, 0])
        among = wanted[np.minimum(index, len(wanted) - 1)] == terms.at[:, 0]
        where = (index[among], places[among, 0], places[among, 1])

        def laid(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
            there = np.zeros(shape)
            there[where] = numbers[among]
            return there

        beyond = np.where(terms.at[:, 1:].min(axis=1) < 0, NUMBER, COPY)
        kind = np.full(shape, NOTHING, np.uint8)
        kind[where] = np.where(terms.padding, beyond, PIXEL)[among]
        chosen = None
        if arithmetic.chosen is not None and among[arithmetic.chosen]:
            place = int(among[: arithmetic.chosen].sum())
            chosen = (int(where[0][place]), int(where[1][place]), int(where[2][place]))
        weight = None if terms.weight is None else laid(terms.weight)
        return cls(laid(terms.value), laid(terms.part), weight, kind, chosen)


class Survey(NamedTuple):
    """What an animation's frames have in common, known once all were looked at."""

    channels: tuple[int, ...]  # those that show their patches
    main: int  # which of them, counted from 0, contributes most
    reach: float  # the largest part of a shown term, of either sign


def survey(scene: Scene, positions: Sequence[Pair]) -> Survey:
    """Find which channels to show, and how large their contributions become.

    Up to `ABREAST` channels are all shown; of more, the one with the largest parts, their
    magnitudes added up over all positions.
    """
    parts = np.zeros(len(scene.reads))
    largest = np.zeros(len(scene.reads))
    for at in positions:
        terms = scene.arithmetic(at).terms
        index = terms.at[:, 0] - scene.reads.start
        size = np.abs(np.where(np.isfinite(terms.part), terms.part, 0.0))
        np.add.at(parts, index, size)
        np.maximum.at(largest, index, size)
    shown = range(len(scene.reads)) if len(scene.reads) <= ABREAST else [int(parts.argmax())]
    channels = tuple(scene.reads[index] for index in shown)
    main = int(np.argmax([parts[index] for index in shown]))
    return Survey(channels, main, float(max(largest[index] for index in shown)))
