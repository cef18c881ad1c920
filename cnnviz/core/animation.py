"""A window's way over a map: where it stops, and the arithmetic of the value it makes there.

Only what is shown is computed: the stages before the animated one, one of its maps, and the terms
of the positions that become frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import BORDERS
from cnnviz.core.engine import correlate
from cnnviz.core.explanation import Arithmetic, Join, Terms
from cnnviz.core.layers.base import Elementwise, Layer, plane
from cnnviz.core.layers.convolution import Conv, Depthwise
from cnnviz.core.layers.pooling import AvgPool, LocalPool, LpPool
from cnnviz.core.pipeline import INPUT, Pipeline, node_params
from cnnviz.core.types import Pair, Params, Row, Samples, Shape, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError

ABREAST = 3
"""Channels whose patches are all shown; of more only the one that contributes most."""

Explain = Callable[[Pair], Arithmetic]


# --- which stage, which positions --------------------------------------------------------------


def find_stage(pipeline: Pipeline, shape: Shape, stage: str | None = None) -> Row:
    """Return the stage to animate: the one named, or the first whose window slides.

    Parameters
    ----------
    pipeline : Pipeline
    shape : Shape
        The input's, (C, H, W).
    stage : str, optional
        A name or an index from 1.

    Raises
    ------
    RequestError
        If there is no such stage, or its values are not made window by window or cell by cell.
    """
    rows = list(pipeline.rows(shape))
    able = [
        row
        for row, node in zip(rows, pipeline.nodes, strict=True)
        if isinstance(node.layer, _ANIMATED) and len(row.input_shape) == 3
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

    They lie evenly in as many evenly spaced rows as make the steps about as long as the rows are
    apart, so that the window glides. The first and the last position are always among them.

    >>> stops((2, 2), 60)
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    >>> stops((101, 101), 9)
    [(0, 0), (0, 50), (0, 100), (50, 0), (50, 50), (50, 100), (100, 0), (100, 50), (100, 100)]
    """
    rows, columns = size
    count = min(max(count, 2), rows * columns)
    least = max(-(-count // columns), min(rows, 2))
    most = min(rows, max(count // 2, least))
    lines = min(max(round(math.sqrt(count * rows / columns)), least), most)
    found = []
    for line in range(lines):
        row = _spread(line, lines, rows)
        stations = (line + 1) * count // lines - line * count // lines
        if stations == 1:  # the first row begins at the first column, the last ends at the last
            found.append((row, columns - 1 if line or lines == 1 else 0))
            continue
        found += [(row, _spread(station, stations, columns)) for station in range(stations)]
    return found


def _spread(index: int, count: int, length: int) -> int:
    """Return the `index`-th of `count` evenly spaced positions among `length`, both ends in it."""
    return (2 * index * (length - 1) + count - 1) // (2 * (count - 1)) if count > 1 else 0


# --- the scene ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scene:
    """One map of a stage, and all that is needed to tell how each of its values is made."""

    row: Row
    channel: int
    window: Window  # of one cell for layers that work cell by cell
    source: Tensor | Samples  # what the stage reads, (C, H, W)
    reads: range  # the channels of it that a value is made of
    output: Tensor  # (rows, columns)
    arithmetic: Explain  # of the value at a position

    @property
    def size(self) -> Pair:
        """(rows, columns) of what the window slides over."""
        return plane(self.source.shape)

    def planes(self, channels: Sequence[int]) -> Tensor:
        """Return some channels of what the stage reads, (N, H, W)."""
        if isinstance(self.source, Samples):
            return Samples(self.source.values[list(channels)], self.source.unit).tensor()
        return self.source[list(channels)]

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
    position = row.index - 1
    node = pipeline.nodes[position]
    source = _reading(pipeline, x, node.inputs[0], params, seed)
    try:
        own = node_params(node, row.index, [source.shape], params or {}, seed)
        reads = _reads(node.layer, source.shape, channel)
        with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
            output = _one_map(node.layer, source, reads, channel, own)
    except CnnvizError as error:
        raise error.within(f"stage {row.index} {row.name}") from None
    return Scene(
        row=row,
        channel=channel,
        window=node.layer.window(source.shape) or Window((1, 1)),
        source=source,
        reads=reads,
        output=output,
        arithmetic=lambda at: arithmetic_at(node.layer, (channel, *at), source, own),
    )


def _reading(
    pipeline: Pipeline, x: Tensor | Samples, name: str, params: Params | None, seed: int
) -> Tensor | Samples:
    """Return what the stage called `name` gives; no stage after it is computed."""
    if name == INPUT:
        return x if isinstance(x, Samples) else np.asarray(x, np.float32)
    before = Pipeline(pipeline.nodes[: pipeline.find(name) + 1])
    return before.forward(x, params, seed=seed)


def _reads(layer: Layer, shape: Shape, channel: int) -> range:
    """Return the channels that a map's values are made of."""
    if not isinstance(layer, (Conv, Depthwise)):
        return range(channel, channel + 1)
    groups = layer.groups_for(shape[0])
    depth = shape[0] // groups
    group = channel // (layer.channels_out(shape[0]) // groups)
    return range(group * depth, (group + 1) * depth)


def _one_map(
    layer: Layer, x: Tensor | Samples, reads: range, channel: int, params: Params
) -> Tensor:
    """Compute one map of a layer from the channels it reads."""
    part = slice(reads.start, reads.stop)
    given = Samples(x.values[part], x.unit) if isinstance(x, Samples) else x[part]
    if isinstance(layer, (Conv, Depthwise)):
        bias = params.get("bias")
        return correlate(
            given,
            params["weight"][channel : channel + 1],
            layer.window(x.shape),
            bias=None if bias is None else bias[channel : channel + 1],
            padding_mode=layer.padding_mode,
            pad_value=layer.pad_value,
        )[0]
    values = given.tensor() if isinstance(given, Samples) else given
    own = {name: _cut(param, x.shape, (channel,)) for name, param in params.items()}
    return layer.apply(values, params=own)[0]


def _cut(param: Tensor, shape: Shape, at: tuple[int, ...]) -> Tensor:
    """Return what of a parameter is for some index along the first axes of an input."""
    for axis, index in enumerate(at[: param.ndim]):
        if param.shape[axis] == shape[axis] > 1:
            param = np.take(param, [index], axis)
    return param


# --- the arithmetic of one value ---------------------------------------------------------------


def arithmetic_at(
    layer: Layer, at: tuple[int, int, int], x: Tensor | Samples, params: Params
) -> Arithmetic:
    """Tell how the value at (channel, row, column) of a layer's output is made.

    Terms come channel by channel, row by row. Window cells that do not count (zero padding under
    a pooling window, and what lies beyond all padding in ceil mode) have none.
    """
    explain = next(way for kind, way in _WAYS.items() if isinstance(layer, kind))
    with np.errstate(all="ignore"):
        return explain(layer, at, x, params)


class _Cells(NamedTuple):
    """The cells under a window in one or more channels, flattened in their order."""

    value: NDArray[np.float64]
    at: NDArray[np.intp]  # (N, 3)
    padding: NDArray[np.bool_]
    place: NDArray[np.intp]  # (N, 2)
    taken: NDArray[np.bool_]  # those that count

    def terms(self, part: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> Terms:
        """Return those that count as terms, with what each brings and is weighted by."""
        keep = self.taken
        return Terms(
            value=self.value[keep],
            part=part[keep],
            at=self.at[keep],
            source=np.zeros(int(keep.sum()), np.intp),
            padding=self.padding[keep],
            weight=None if weight is None else weight[keep],
            place=self.place[keep],
        )


def _under(
    window: Window,
    at: Pair,
    x: Tensor | Samples,
    channels: range,
    mode: str,
    fill: float | None,
) -> _Cells:
    """Read the cells under a window; where `fill` is None those that a number pads do not count."""
    size = plane(x.shape)
    pads = window.pads(size)
    sources = []
    for axis in (0, 1):
        taps = np.arange(window.kernel_size[axis]) * window.dilation[axis]
        taps += at[axis] * window.stride[axis] - pads[axis]
        sources.append((_sources(taps, size[axis], pads[axis + 2], mode), taps))
    (rows, down), (columns, across) = sources
    shape = (len(channels), *window.kernel_size)
    number = (rows < 0)[:, None] | (columns < 0)
    beyond = (rows == _BEYOND)[:, None] | (columns == _BEYOND)
    outside = ((down < 0) | (down >= size[0]))[:, None] | ((across < 0) | (across >= size[1]))
    picked = np.ix_(channels, np.maximum(rows, 0), np.maximum(columns, 0))
    if isinstance(x, Samples):
        value = Samples(x.values[picked], x.unit).tensor().astype(np.float64)
    else:
        value = x[picked].astype(np.float64)
    value[:, number] = 0.0 if fill is None else float(np.float32(fill))
    places = np.indices(shape).reshape(3, -1).T
    cell = np.stack(
        [
            np.array(channels)[places[:, 0]],
            np.where(number, -1, rows[:, None])[places[:, 1], places[:, 2]],
            np.where(number, -1, columns)[places[:, 1], places[:, 2]],
        ],
        axis=1,
    )
    taken = ~(beyond | number if fill is None else beyond)
    return _Cells(
        value=value.reshape(-1),
        at=cell,
        padding=np.broadcast_to(outside, shape).reshape(-1),
        place=places[:, 1:],
        taken=np.broadcast_to(taken, shape).reshape(-1),
    )


_NUMBER, _BEYOND = -1, -2


def _sources(taps: NDArray[np.intp], length: int, after: int, mode: str) -> NDArray[np.intp]:
    """Return the pixel at each coordinate of an axis; _NUMBER or _BEYOND where there is none."""
    inside = (taps >= 0) & (taps < length)
    found = np.where(inside, taps, _NUMBER)
    border = BORDERS[mode].source
    padded = ~inside & (taps < length + after)
    if border is not None:
        found[padded] = border(taps[padded], length)
    found[taps >= length + after] = _BEYOND
    return found


def _convolved(
    layer: Conv | Depthwise, at: tuple[int, int, int], x: Tensor | Samples, params: Params
) -> Arithmetic:
    """S(k,y,x) = b(k) + Σ I(c, y·s+i·d, x·s+j·d) · W(k,c,i,j)."""
    window = layer.window(x.shape)
    fill = layer.pad_value if layer.padding_mode == "constant" else 0.0
    reads = _reads(layer, x.shape, at[0])
    cells = _under(window, at[1:], x, reads, layer.padding_mode, fill)
    weight = params["weight"][at[0]].astype(np.float64).reshape(-1)
    terms = cells.terms(cells.value * weight, weight)
    bias = float(params["bias"][at[0]]) if "bias" in params else None
    total = float(terms.part.sum()) + (bias or 0.0)
    return Arithmetic(
        terms, "sum", total, total, (), bias=bias, kernel_size=window.kernel_size
    )  # fmt: skip


_CHOOSES: Mapping[str, Join] = {"max": "largest", "min": "smallest"}


def _pooled(
    layer: LocalPool, at: tuple[int, int, int], x: Tensor | Samples, params: Params
) -> Arithmetic:
    """Join the cells of a window: the largest, the smallest, their mean or their p-norm."""
    window = layer.window(x.shape)
    fill = {"zeros": None, "constant": layer.pad_value}.get(layer.padding_mode, 0.0)
    if isinstance(layer, AvgPool) and layer.count_include_pad and fill is None:
        fill = 0.0
    reads = _reads(layer, x.shape, at[0])
    cells = _under(window, at[1:], x, reads, layer.padding_mode, fill)
    join = _CHOOSES.get(layer.mode, "sum")
    if join != "sum":
        terms = cells.terms(cells.value)
        chosen = int(np.argmax(terms.part) if join == "largest" else np.argmin(terms.part))
        value = float(terms.part[chosen])
        return Arithmetic(
            terms, join, value, value, (), chosen=chosen, kernel_size=window.kernel_size
        )  # fmt: skip
    if isinstance(layer, LpPool):
        p = layer.norm_type
        terms = cells.terms(np.abs(cells.value) ** p)
        total = float(terms.part.sum())
        result = float(np.float64(total) ** (1 / p))
        step = f"({total:.4g})^(1/{p:g}) = {result:.4g}"
    else:
        terms = cells.terms(cells.value)
        total = float(terms.part.sum())
        result = total / len(terms)
        step = f"{total:.4g} / {len(terms)} = {result:.4g}"
    return Arithmetic(terms, "sum", total, result, (step,), kernel_size=window.kernel_size)


def _alone(
    layer: Elementwise, at: tuple[int, int, int], x: Tensor | Samples, params: Params
) -> Arithmetic:
    """Tell how one cell becomes another: y = f(x)."""
    cells = _under(Window((1, 1)), at[1:], x, range(at[0], at[0] + 1), "zeros", 0.0)
    terms = cells.terms(cells.value)
    value = float(terms.value[0])
    own = {name: _cut(param, x.shape, at) for name, param in params.items()}
    given = np.full((1, 1, 1), value, np.float32)
    result = float(layer.apply(given, params=own).reshape(-1)[0])
    step = f"{layer.name}({value:.4g}) = {result:.4g}"
    return Arithmetic(terms, "sum", value, result, (step,))


_WAYS: Mapping[type[Layer], Callable[..., Arithmetic]] = {
    Conv: _convolved,
    Depthwise: _convolved,
    LocalPool: _pooled,
    Elementwise: _alone,
}

_ANIMATED = tuple(_WAYS)


# --- what is shown of it -----------------------------------------------------------------------

PIXEL, COPY, NUMBER, NOTHING = range(4)
"""What a cell of a patch is: a pixel, a copy of one beyond the edge, a number there, no term."""


class Patches(NamedTuple):
    """The terms of a value as they stand in the window, for some channels, (N, kh, kw) each."""

    value: NDArray[np.float64]
    part: NDArray[np.float64]
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
        value, part = np.zeros(shape), np.zeros(shape)
        kind = np.full(shape, NOTHING, np.uint8)
        value[where], part[where] = terms.value[among], terms.part[among]
        read = np.where(terms.padding, np.where(terms.at[:, 1:].min(axis=1) < 0, NUMBER, COPY), 0)
        kind[where] = read[among]
        chosen = None
        if arithmetic.chosen is not None and among[arithmetic.chosen]:
            won = int(among[: arithmetic.chosen].sum())
            chosen = (int(where[0][won]), int(where[1][won]), int(where[2][won]))
        return cls(value, part, kind, chosen)

    @classmethod
    def weights(cls, arithmetic: Arithmetic, channels: Sequence[int]) -> NDArray[np.float64] | None:
        """Return the weights as they stand in the window, (N, kh, kw); None if there are none."""
        terms = arithmetic.terms
        if terms.weight is None:
            return None
        shown = Patches.of(arithmetic, channels)
        weight = np.zeros(shown.value.shape)
        index = np.searchsorted(channels, terms.at[:, 0])
        places = terms.place if terms.place is not None else np.zeros((len(terms), 2), np.intp)
        for n, channel in enumerate(channels):
            own = (index == n) & (terms.at[:, 0] == channel)
            weight[n, places[own, 0], places[own, 1]] = terms.weight[own]
        return weight


class Survey(NamedTuple):
    """What an animation's frames have in common, known once all were looked at."""

    channels: tuple[int, ...]  # those whose patches are shown
    main: int  # which of them, counted from 0, brings most
    reach: float  # the largest part of a shown term, of either sign


def survey(scene: Scene, positions: Sequence[Pair]) -> Survey:
    """Find which channels to show, and how large what they bring becomes.

    Up to `ABREAST` channels are all shown; of more, the one whose parts are the largest, their
    magnitudes added up over all positions.
    """
    brought = np.zeros(len(scene.reads))
    largest = np.zeros(len(scene.reads))
    for terms in _terms(scene, positions):
        index = terms.at[:, 0] - scene.reads.start
        size = np.abs(np.where(np.isfinite(terms.part), terms.part, 0.0))
        np.add.at(brought, index, size)
        np.maximum.at(largest, index, size)
    shown = range(len(scene.reads)) if len(scene.reads) <= ABREAST else [int(brought.argmax())]
    channels = tuple(scene.reads[index] for index in shown)
    main = int(np.argmax([brought[index] for index in shown]))
    return Survey(channels, main, float(max(largest[index] for index in shown)))


def _terms(scene: Scene, positions: Sequence[Pair]) -> Iterator[Terms]:
    for at in positions:
        yield scene.arithmetic(at).terms
