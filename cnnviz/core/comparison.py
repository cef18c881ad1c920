"""Two pipelines held against each other: where their shapes part, and how far their values differ.

Frameworks agree on how large a padded output is and not on where its windows stand. `CONVENTIONS`
holds what each of them makes of ``same``; `shift_between` how far that moves the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import zip_longest
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from cnnviz.core.field import Field
from cnnviz.core.layers import Layer
from cnnviz.core.layers.base import plane
from cnnviz.core.layers.convolution import Convolution
from cnnviz.core.layers.pooling import AvgPool, LocalPool
from cnnviz.core.layers.transposed import ConvTranspose
from cnnviz.core.pipeline import INPUT, Pipeline
from cnnviz.core.statistics import blocks_of
from cnnviz.core.types import Pads, Row, Shape, Stage, Tensor, Totals
from cnnviz.errors import CnnvizError, RequestError, unknown

# --- conventions of padding --------------------------------------------------------------------


class Convention(NamedTuple):
    """What a framework makes of ``same`` padding, and of padding in averages."""

    summary: str
    rule: str | None  # the padding it writes for both; None: PyTorch's, see `_symmetric`
    counts_padding: bool | None  # in averages; None: as the layer says


CONVENTIONS: Mapping[str, Convention] = {
    "tensorflow": Convention(
        "SAME: the odd pixel after; averages do not count padding", "same", False
    ),
    "pytorch": Convention(
        "padding='same' at stride 1 (the odd pixel after), (extent − 1) // 2 on every side where "
        "PyTorch has none: at other strides and in pooling; averages count padding",
        None,
        True,
    ),
    "onnx-lower": Convention("SAME_LOWER: the odd pixel before", "same-lower", None),
}
"""What frameworks do, by the word for it."""


def with_convention(pipeline: Pipeline, shape: Shape, convention: str) -> Pipeline:
    """Return a pipeline with a framework's ``same`` (and ``same-lower``) padding.

    Stages where that is no other padding for an input of `shape` stay as they are written.

    Raises
    ------
    RequestError
        If there is no such convention, or a stage's kernels differ in size and would need `same`.
    CnnvizError
        At the first stage that does not fit any more, naming it.
    """
    if convention not in CONVENTIONS:
        raise unknown("convention", convention, list(CONVENTIONS))
    shapes, nodes = {INPUT: shape}, []
    for index, node in enumerate(pipeline.nodes, start=1):
        given = [shapes[name] for name in node.inputs]
        try:
            node.layer.output_shape(*given)
            layer = _converted(node.layer, given[0], CONVENTIONS[convention])
            shapes[node.name] = layer.output_shape(*given)
        except CnnvizError as error:
            raise error.within(f"as {convention} does it, stage {index} {node.name}") from None
        nodes.append(replace(node, layer=layer))
    return Pipeline(tuple(nodes))


def _converted(layer: Layer, shape: Shape, convention: Convention) -> Layer:
    if not isinstance(layer, (Convolution, LocalPool)):
        return layer
    rule, counts = convention.rule, convention.counts_padding
    if layer.padding.rule in ("same", "same-lower"):
        settings = _symmetric(layer, shape) if rule is None else {"padding": rule}
        other = replace(layer, **settings)
        places = [(one.output_shape(shape), _pads(one, shape)) for one in (layer, other)]
        layer = layer if places[0] == places[1] else other
    if isinstance(layer, AvgPool) and counts is not None and any(_pads(layer, shape)):
        layer = replace(layer, count_include_pad=counts)
    return layer


def _symmetric(layer: Convolution | LocalPool, shape: Shape) -> Mapping[str, Any]:
    """Return what PyTorch networks write: ``padding="same"`` where it is allowed, else a number.

    That is (extent − 1) // 2 on every side, such as 3 for torchvision's 7×7 with stride 2. Pooling
    has no ``padding="same"`` at any stride. A transposed convolution also gets the
    ``output_padding`` that makes its output size · stride, where it needs one.
    """
    window = layer.window(shape)
    if isinstance(layer, Convolution) and window.stride != (1, 1):
        if len({kernel.size for kernel in layer.kernels}) > 1:
            raise RequestError(
                "kernels of different sizes need padding=same, which PyTorch refuses at stride "
                f"{','.join(map(str, window.stride))}",
                hint="give the kernels one size, or a stage each",
            )
    elif not isinstance(layer, (LocalPool, ConvTranspose)):
        return {"padding": "same"}
    pads = tuple((extent - 1) // 2 for extent in window.extent)
    sizes = zip(pads, window.kernel_size, strict=True)
    if isinstance(layer, LocalPool) and any(2 * pad > size for pad, size in sizes):
        raise RequestError(
            f"PyTorch would need padding={pads} in pooling, and refuses more than half of the "
            f"kernel, {window.kernel_size}",
            hint="use no dilation there, or give the padding in pixels",
        )
    if not isinstance(layer, ConvTranspose):
        return {"padding": pads}
    # (L − 1)·stride + extent − 2·pad + output_padding = L·stride
    sides = zip(layer.output_padding, window.stride, window.extent, pads, strict=True)
    more = tuple(given + max(0, step - extent + 2 * pad) for given, step, extent, pad in sides)
    steps = zip(more, window.stride, window.dilation, strict=True)
    if any(added >= max(stride, dilation) for added, stride, dilation in steps):
        raise RequestError(
            f"PyTorch would need output_padding={more}, and refuses what "
            "is not below the stride or the dilation",
            hint="leave output_padding out, or give the padding in pixels",
        )
    return {"padding": pads, "output_padding": more}


def _pads(layer: Convolution | LocalPool, shape: Shape) -> Pads:
    if isinstance(layer, ConvTranspose):
        return layer.crop(plane(shape))[1]
    return layer.window(shape).pads(plane(shape))


class Change(NamedTuple):
    """A stage that a convention changed: its padding before and after, top, left, bottom, right."""

    name: str
    before: Pads
    after: Pads
    counts_padding: bool | None  # in an average, if that changed


def changes(before: Pipeline, after: Pipeline, shape: Shape) -> list[Change]:
    """Return which stages `with_convention` changed, and how."""
    found = []
    for old, new, old_row, new_row in zip(
        before.nodes, after.nodes, before.rows(shape), after.rows(shape), strict=True
    ):
        one, two = old.layer, new.layer
        if one == two or not isinstance(one, (Convolution, LocalPool)):
            continue
        assert isinstance(two, (Convolution, LocalPool))  # noqa: S101 - of the same kind
        was, counts = (getattr(layer, "count_include_pad", None) for layer in (one, two))
        pads = (_pads(one, old_row.input_shape), _pads(two, new_row.input_shape))
        found.append(Change(new.name, *pads, None if counts == was else counts))
    return found


# --- shapes ------------------------------------------------------------------------------------


def part_at(shape_a: Shape, a: Sequence[Row], shape_b: Shape, b: Sequence[Row]) -> int | None:
    """Return the index of the first stage that differs in its output's shape, or that one lacks.

    0 stands for the input; None if there is no such stage.
    """
    shapes_a = [shape_a, *(row.output_shape for row in a)]
    shapes_b = [shape_b, *(row.output_shape for row in b)]
    pairs = enumerate(zip_longest(shapes_a, shapes_b))
    return next((index for index, (one, two) in pairs if one != two), None)


def pairs_of(a: Sequence[Row], b: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the stages that can be compared: of equal index and shape, and the last two."""
    pairs = [
        (one, two) for one, two in zip(a, b, strict=False) if one.output_shape == two.output_shape
    ]
    if len(a) != len(b) and a[-1].output_shape == b[-1].output_shape:
        pairs.append((a[-1], b[-1]))
    return pairs


# --- where windows stand -----------------------------------------------------------------------

Offset = tuple[Fraction, Fraction]
"""(rows down, columns to the right); negative ones up and to the left."""


class Shift(NamedTuple):
    """How much further down and right a stage of B looks than that of A, where both look alike."""

    window: Offset  # what the stage itself adds, in pixels of its input
    input: Offset  # with all stages before it, in pixels of the pipeline's input


def shift_between(
    a: Pipeline, b: Pipeline, shape_a: Shape, shape_b: Shape
) -> dict[tuple[str, str], Shift]:
    """Return how far the stages of B are shifted against those of A, by the names of both.

    Stages of equal index are compared, for inputs of the shapes given. Left out are those with
    values that do not stand on a grid, or do not see equally many pixels at equal distances.
    """
    found = {}
    for (name_a, own_a, all_a), (name_b, own_b, all_b) in zip(
        _fields(a, shape_a), _fields(b, shape_b), strict=False
    ):
        window, on_input = _offset(own_a, own_b), _offset(all_a, all_b)
        if window is not None and on_input is not None:
            found[name_a, name_b] = Shift(window, on_input)
    return found


def _fields(pipeline: Pipeline, shape: Shape) -> Iterator[tuple[str, Field, Field]]:
    """Yield each stage's name and what it sees: of its own inputs, and of the pipeline's."""
    shapes, fields = {INPUT: shape}, {INPUT: Field.of_input(plane(shape))}
    for node, row in zip(pipeline.nodes, pipeline.rows(shape), strict=True):
        given = [shapes[name] for name in node.inputs]
        reads = node.layer.reads(*given)
        itself = [Field.of_input(plane(one) if len(one) == 3 else (one[0], 1)) for one in given]
        output = shapes[node.name] = row.output_shape
        fields[node.name] = Field.after([fields[name] for name in node.inputs], reads, output)
        yield node.name, Field.after(itself, reads, output), fields[node.name]


def _offset(a: Field, b: Field) -> Offset | None:
    """Return how much further down and right B looks, if both look alike."""
    down, right = a.rows.offset(b.rows), a.columns.offset(b.columns)
    if not (a.on_grid and b.on_grid) or down is None or right is None:
        return None
    return Fraction(down), Fraction(right)


# --- values ------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """How two tensors of one shape differ; sizes are those of differences of finite values."""

    max: float | None  # the largest |A − B|; None without any pair of finite values
    at: tuple[int, ...] | None  # where: (channel, row, column), or (n,); None if it is 0
    values: tuple[float, float] | None  # A's and B's there
    mean: float | None  # of |A − B|
    relative: float | None  # ‖A − B‖ / ‖A‖, of L2 norms; None where A is 0 and B is not
    share: float  # of values that are not the same; two NaN are
    nonfinite: tuple[int, int]  # how many of A and of B are NaN or infinite


def difference(a: Tensor, b: Tensor) -> Difference:
    """Compare two tensors of one shape, a block at a time, in float64.

    >>> one, two = np.float32([[[1, 2], [3, 4]]]), np.float32([[[1, 2], [3, 7]]])
    >>> found = difference(one, two)
    >>> found.max, found.at, found.values, found.mean, found.share
    (3.0, (0, 1, 1), (4.0, 7.0), 0.75, 0.25)
    """
    if a.shape != b.shape:
        raise CnnvizError(f"shapes differ: {a.shape} and {b.shape}")
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    largest, place = -1.0, 0
    total = squares = norm = 0.0
    pairs = differ = 0
    nonfinite = [0, 0]
    for block in blocks_of(a.size):
        one, two = (flat[block].astype(np.float64) for flat in (flat_a, flat_b))
        finite_one, finite_two = np.isfinite(one), np.isfinite(two)
        finite = finite_one & finite_two
        differ += int(np.count_nonzero((one != two) & ~(np.isnan(one) & np.isnan(two))))
        if not finite.all():
            nonfinite[0] += int(np.count_nonzero(~finite_one))
            nonfinite[1] += int(np.count_nonzero(~finite_two))
            one, two = np.where(finite, one, 0), np.where(finite, two, 0)
        gaps = np.where(finite, np.abs(one - two), -1)
        widest = int(gaps.argmax())
        if gaps[widest] > largest:
            largest, place = float(gaps[widest]), block.start + widest
        gaps[~finite] = 0
        pairs += int(np.count_nonzero(finite))
        total += float(gaps.sum())
        squares += float(np.square(gaps).sum())
        norm += float(np.square(one).sum())
    if not pairs:
        share = differ / a.size
        return Difference(None, None, None, None, None, share, (nonfinite[0], nonfinite[1]))
    at = tuple(int(index) for index in np.unravel_index(place, a.shape)) if largest else None
    return Difference(
        max=largest,
        at=at,
        values=(float(flat_a[place]), float(flat_b[place])) if largest else None,
        mean=total / pairs,
        relative=sqrt(squares) / sqrt(norm) if norm else (None if squares else 0.0),
        share=differ / a.size,
        nonfinite=(nonfinite[0], nonfinite[1]),
    )


def furthest_apart(a: Tensor, b: Tensor) -> list[int]:
    """Return the channels of (C, H, W) tensors, those of the largest |A − B| first.

    One where a value is NaN or infinite in A or B alone comes before all others; ties are in the
    order of the channels.
    """
    gaps = np.empty(len(a))
    for channel, (one, two) in enumerate(zip(a, b, strict=True)):
        with np.errstate(invalid="ignore"):
            gap = np.abs(one.astype(np.float64) - two)
        gap[(one == two) | (np.isnan(one) & np.isnan(two))] = 0
        gaps[channel] = np.nan_to_num(gap.max(), nan=np.inf)
    return [int(channel) for channel in np.argsort(-gaps, kind="stable")]


# --- everything together -----------------------------------------------------------------------


class Side(NamedTuple):
    """One of the two pipelines."""

    name: str  # what people call it
    text: str
    shape: Shape  # of its input
    entries: tuple[Row | Stage, ...]
    totals: Totals


class Compared(NamedTuple):
    """Two stages of equal shape, one of each pipeline."""

    a: Row
    b: Row
    difference: Difference
    shift: Shift | None


class Comparison(NamedTuple):
    """Everything known of two pipelines and one image."""

    a: Side
    b: Side
    part_at: int | None
    compared: tuple[Compared, ...]
