"""The arithmetic of one value, for layers that work window by window or cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import BORDERS
from cnnviz.core.explanation import Arithmetic, Join, Terms
from cnnviz.core.layers.base import Elementwise, Layer, plane
from cnnviz.core.layers.convolution import Conv, Depthwise
from cnnviz.core.layers.pooling import AvgPool, LocalPool, LpPool
from cnnviz.core.types import Pair, Params, Samples, Shape, Tensor
from cnnviz.core.window import Window

EXPLAINED = (Conv, Depthwise, LocalPool, Elementwise)
"""The layers whose values `arithmetic_at` explains."""


def channels_read(layer: Layer, shape: Shape, channel: int) -> range:
    """Return the channels that a map's values are made of."""
    if not isinstance(layer, (Conv, Depthwise)):
        return range(channel, channel + 1)
    groups = layer.groups_for(shape[0])
    depth = shape[0] // groups
    group = channel // (layer.channels_out(shape[0]) // groups)
    return range(group * depth, (group + 1) * depth)


def cut_param(param: Tensor, shape: Shape, at: tuple[int, ...]) -> Tensor:
    """Return what of a parameter is for some index along the first axes of an input."""
    for axis, index in enumerate(at[: param.ndim]):
        if param.shape[axis] == shape[axis] > 1:
            param = np.take(param, [index], axis)
    return param


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
    picked = np.ix_(np.array(channels), np.maximum(rows, 0), np.maximum(columns, 0))
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
    reads = channels_read(layer, x.shape, at[0])
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
    del params
    window = layer.window(x.shape)
    fill = {"zeros": None, "constant": layer.pad_value}.get(layer.padding_mode, 0.0)
    if isinstance(layer, AvgPool) and layer.count_include_pad and fill is None:
        fill = 0.0
    reads = channels_read(layer, x.shape, at[0])
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
    own = {name: cut_param(param, x.shape, at) for name, param in params.items()}
    given = np.full((1, 1, 1), value, np.float32)
    result = float(layer.apply(given, params=own).reshape(-1)[0])
    step = f"{layer.name}({value:.4g}) = {result:.4g}"
    return Arithmetic(terms, "sum", value, result, (step,))


_WAYS: Mapping[type[Layer], Callable[..., Arithmetic]] = dict(
    zip(EXPLAINED, (_convolved, _convolved, _pooled, _alone), strict=True)
)
