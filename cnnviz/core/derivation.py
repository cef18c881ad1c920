"""How a shape comes about: a layer's own rule, line by line, with the numbers put in.

`derive` writes everything that follows from facts every layer has: its window, pads, groups, what
it reads, its parameters. A layer's `formulas` say only what follows from none of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from cnnviz.core.arithmetic import Misfit, product, signed
from cnnviz.core.border import BORDERS
from cnnviz.core.field import ALL, Indices
from cnnviz.core.layers.base import Layer, plane
from cnnviz.core.pipeline import INPUT, Pipeline
from cnnviz.core.types import Pair, Params, Row, Shape
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError


class Line(NamedTuple):
    """One step: what it is about, and its arithmetic in words and numbers."""

    label: str
    text: str
    fails: bool = False  # it is here that the input does not fit


@dataclass(frozen=True)
class Derivation:
    """The steps from a layer's input shapes to its output shape.

    The lines labelled channels, rows, columns ("rows, columns" where both have the same
    arithmetic), values and shape end in the output's sides; the others say why. Where the input
    does not fit, a line that `fails` says which numbers do not go together.
    """

    lines: tuple[Line, ...]
    untouched: Pair | None = None  # rows, columns of the input that no output value reads


Fact = tuple[str, str]
"""A label and a text, which is a `Misfit` where numbers do not go together."""


def derive(layer: Layer, *shapes: Shape, error: CnnvizError | None = None) -> Derivation:
    """Return how the output's shape of a layer comes about.

    Parameters
    ----------
    layer : Layer
    *shapes : Shape
        Of its inputs.
    error : CnnvizError, optional
        Why they do not fit, where they do not: some line then fails.
    """
    try:
        own = layer.formulas(*shapes)
    except CnnvizError:  # there is no rule for such inputs: maps are needed, and this is a vector
        own = {}
    facts, untouched = list(_sizes(layer, own, shapes[0])), None
    if layer.unread and own and _fit(fact for fact in facts if fact[0] != "groups"):
        unread, size = unread_by(layer, shapes[0]), shapes[0][1:]
        untouched = (len(unread[0]), len(unread[1]))
        if layer.unread == "listed":
            facts += _paired(*({"untouched": text} for text in map(left_over, unread, size)))
        facts += _padding_only(layer, shapes[0])
    if error is None:
        facts += _parameters(layer, shapes)
    elif _fit(facts):  # what is wrong is no matter of arithmetic: weights, axes
        place, _, message = error.message.partition(": ")
        facts.append(("input", Misfit(message or place)))
    return Derivation(tuple(_lines(facts)), untouched)


def _sizes(layer: Layer, own: Mapping[str, str], shape: Shape) -> Iterator[Fact]:
    """Yield a layer's own formulas and those of its groups and windows."""
    window = layer.window(shape) if own else None
    mode = getattr(layer, "padding_mode", None)
    for label, text in own.items():
        yield label, text
        if label == "channels" and window:
            yield from _groups(layer, shape[0])
            yield from _paired(*({"extent": _extent(window, axis)} for axis in (0, 1)))
    if window and mode:
        axes = [_stand(window, axis, plane(shape), mode) for axis in (0, 1)]
        if "rows" in own:  # the layer counts itself
            axes = [{mode: texts[mode]} for texts in axes]
        yield from _paired(*axes)


def _fit(facts: Iterable[Fact]) -> bool:
    return not any(isinstance(text, Misfit) for _, text in facts)


def _paired(down: Mapping[str, str], along: Mapping[str, str]) -> Iterator[Fact]:
    """Yield the facts of rows and of columns in turns; "" labels their number."""
    for label, text in down.items():
        yield f"{label}, rows" if label else "rows", text
        yield f"{label}, columns" if label else "columns", along[label]


def _lines(facts: Iterable[Fact]) -> list[Line]:
    """Return a line for each fact that has a text, one for rows and columns that are alike."""
    lines = list[Line]()
    for label, text in facts:
        line = Line(label, text, isinstance(text, Misfit))
        rows = line._replace(label=label.replace("columns", "rows"))
        if label.endswith("columns") and lines and lines[-1] == rows:
            both = "rows, columns" if label == "columns" else label.removesuffix(", columns")
            lines[-1] = line._replace(label=both)
        elif text:
            lines.append(line)
    return lines


def _groups(layer: Layer, channels: int) -> Iterator[Fact]:
    """Yield how groups part the channels and the filters."""
    groups = getattr(layer, "groups", 1)
    for count, what in ((channels, "channels"), (getattr(layer, "count", 0), "filters")):
        each, rest = divmod(count, groups)
        if rest:
            over = f"{count} − {each}·{groups} = {rest} left over"
            yield "groups", Misfit(f"{over}: {groups} does not divide the {what}")
        elif groups > 1:
            yield "groups", f"{count} / {groups} = {each} {what} for each of {groups} groups"


def _extent(window: Window, axis: int) -> str:
    """Return how far a dilated window reaches."""
    step, cells, extent = window.dilation[axis], window.kernel_size[axis], window.extent[axis]
    return f"{step}·({cells} − 1) + 1 = {extent} pixels, first cell to last" if step > 1 else ""


def _stand(window: Window, axis: int, size: Pair, mode: str) -> dict[str, str]:
    """Return how many windows stand on an axis, its padding, what is copied there, ceil mode."""
    length, extent, stride = size[axis], window.extent[axis], window.stride[axis]
    before, after = window.pads(size)[axis::2]
    padded = f"{length} + {before} + {after} − {extent}"
    rest = length + before + after - extent
    texts: dict[str, str] = {"": Misfit(f"{padded} = {signed(rest)} < 0: no window fits")}
    if rest >= 0:
        whole, hanging = window.count_axis(axis, length, (before, after))
        more = " + 1" * hanging
        texts[""] = f"⌊({padded}) / {stride}⌋ + 1{more} = {whole + hanging}"
    texts["padding"] = _padding(window, axis, length, (before, after))
    reach, needed = BORDERS[mode].reach(length), max(before, after)
    texts[mode] = ""
    if reach is not None and needed:
        limit = f"{length} − {length - reach} = {reach}" if reach < length else reach
        texts[mode] = f"copies {needed} ≤ {limit} pixels"
        if needed > reach:
            texts[mode] = Misfit(f"copies {needed} > {limit} pixels, more than there are")
    texts["ceil mode"] = ""
    if window.ceil_mode and rest >= 0:
        texts["ceil mode"] = "nothing is left over: no further window"
        if left := rest - (whole - 1) * stride:
            start = whole * stride - before
            at = f"{left} left over; a further window starts at {whole}·{stride} − {before} = "
            fate = f"< {length}, on the image: + 1"
            if not hanging:
                fate = f"≥ {length}, in the padding after: dropped"
            texts["ceil mode"] = f"{at}{signed(start)} {fate}"
    return texts


def _padding(window: Window, axis: int, length: int, pads: Pair) -> str:
    """Return the padding of an axis, and why it is that."""
    (before, after), rule = pads, window.padding.rule
    extent, stride = window.extent[axis], window.stride[axis]
    match rule:
        case "valid":
            return "valid: none"
        case "explicit":
            return f"as given: {before} before, {after} after"
        case "full":
            return f"full: every overlap, {extent} − 1 = {before} before and after"
    positions = -(-length // stride)
    needed = (positions - 1) * stride + extent
    more = f"{needed - length} more than {length}: {before} before, {after} after"
    return (
        f"{rule}: ⌈{length} / {stride}⌉ = {positions} windows need "
        f"({positions} − 1)·{stride} + {extent} = {needed} pixels, "
        + (more if needed > length else f"{length} are there: none")
    )


def _padding_only(layer: Layer, shape: Shape) -> Iterator[Fact]:
    """Yield the arithmetic of a pooling's windows that hold no pixel, where some hold none."""
    window = layer.window(shape)
    if not window or layer.family != "pooling" or getattr(layer, "padding_mode", "") != "zeros":
        return
    size, axes = plane(shape), list[Mapping[str, str]]()
    for axis, counts in enumerate(window.counts(size)):
        before, extent, length = window.pads(size)[axis], window.extent[axis], size[axis]
        count, stride, text = len(counts), window.stride[axis], ""
        last = (count - 1) * stride - before
        if before >= extent:
            text = Misfit(f"{before} ≥ {extent}: the padding before holds a whole window")
        elif last >= length:
            start = f"({count} − 1)·{stride} − {before} = {last} ≥ {length}"
            text = Misfit(f"{start}: the last window starts in the padding after")
        elif not counts.all():
            step = window.dilation[axis]
            text = Misfit(f"{step} > {length}: the image lies between a window's cells")
        axes.append({"padding only": text})
    yield from _paired(*axes)


def unread_by(layer: Layer, shape: Shape) -> tuple[Indices, Indices]:
    """Return the rows and the columns of an input of `shape` that no value of the output reads.

    What is copied into a padding that is read counts as read.
    """
    if len(shape) != 3:
        return np.arange(0), np.arange(0)
    counts, reads = layer.output_plane(shape), layer.reads(shape)[0][1:]
    rows, columns = (
        np.setdiff1d(
            np.arange(length),
            np.arange(length) if reach is ALL else reach.pixels(np.arange(count), length),
            assume_unique=True,
        )
        for length, count, reach in zip(plane(shape), counts, reads, strict=True)
    )
    return rows, columns


def left_over(unread: Indices, length: int) -> str:
    """Say which of `length` pixels are left over: how many, and their coordinates.

    >>> left_over(np.array([7]), 8), left_over(np.arange(1, 30, 3), 30), left_over(np.arange(0), 9)
    ('1 of 8: 7', '10 of 30: 1, 4, 7, … 28', 'none')
    """
    count = len(unread)
    if not count:
        return "none"
    few = count <= 4
    listed = ", ".join(str(at) for at in (unread if few else unread[:3]))
    return f"{count} of {length}: {listed}" + ("" if few else f", … {unread[-1]}")


def _parameters(layer: Layer, shapes: Sequence[Shape]) -> Iterator[Fact]:
    """Yield how many parameters a layer takes, where it takes some."""
    specs = layer.param_shapes(*shapes)
    trained = {name: spec.shape for name, spec in specs.items() if spec.trained}
    if not trained:
        return
    terms = " + ".join(map(product, trained.values()))
    total = f"{sum(map(prod, trained.values())):,}"
    if "·" in terms or "+" in terms:
        total = f"{terms} = {total}"
    rest = sum(prod(spec.shape) for spec in specs.values() if not spec.trained)
    more = f"; {rest:,} measured, not trained" if rest else ""
    yield "parameters", f"{total} ({' + '.join(trained)}){more}"


# --- how far a pipeline gets ---------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """How far the shapes of a pipeline flow: to its end, or to the stage that stops them."""

    rows: tuple[Row, ...]
    derivations: tuple[Derivation, ...]  # one for each row
    shapes: Mapping[str, Shape]  # of the input and of every stage that fits
    error: CnnvizError | None = None
    failed: Derivation | None = None  # of the stage that does not fit; some line of it fails


def attempt(pipeline: Pipeline, shape: Shape, params: Params | None = None) -> Attempt:
    """Derive one stage after another for an input of `shape`, until one does not fit.

    Parameters and the errors that end it are those of `Pipeline.rows`.
    """
    rows, derivations, shapes = list[Row](), list[Derivation](), {INPUT: shape}
    error: CnnvizError | None = None
    failed: Derivation | None = None
    flow = pipeline.rows(shape, params)
    for node in pipeline.nodes:
        given = [shapes[name] for name in node.inputs]
        try:
            row = next(flow)
        except CnnvizError as caught:
            error, failed = caught, derive(node.layer, *given, error=caught)
            break
        rows.append(row)
        derivations.append(derive(node.layer, *given))
        shapes[node.name] = row.output_shape
    return Attempt(tuple(rows), tuple(derivations), shapes, error, failed)
