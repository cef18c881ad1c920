"""One value of a stage, explained: its arithmetic, and where on the input it looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from cnnviz.core.arithmetic import Arithmetic
from cnnviz.core.field import ALL, Indices
from cnnviz.core.layers.base import Layer, Rearrangement
from cnnviz.core.pipeline import INPUT, Pipeline, as_input
from cnnviz.core.types import Pair, Params, Row, Samples, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError

EXTREMES = ("max", "min")

Patch = tuple[Indices, ...]
"""Some cells of a tensor: every combination of positions, one array an axis."""

APART = 16
"""Patches of one stage that are kept apart; more are joined."""


@dataclass(frozen=True)
class Box:
    """The rows and columns of the input that a value depends on, first and last of each.

    Only pixels of the image count: what a window reads of padding is not in it, but pixels that
    mirrored or circular padding copies are. None where there is no pixel at all.
    """

    rows: Pair | None
    columns: Pair | None

    @property
    def size(self) -> Pair:
        """Rows and columns of the box."""
        if self.rows is None or self.columns is None:
            return (0, 0)
        return (self.rows[1] - self.rows[0] + 1, self.columns[1] - self.columns[0] + 1)


def box_of(pipeline: Pipeline, shape: Shape, stage: str, at: tuple[int, ...]) -> Box:
    """Return the box on an input of `shape` that one value of a stage depends on.

    Patches that different branches read stay apart on the way back: joined, one branch's rows
    would meet channels that only another reads.
    """
    shapes = {INPUT: shape} | {row.name: row.output_shape for row in pipeline.rows(shape)}
    found: dict[str, list[Patch]] = {stage: [tuple(np.array([index]) for index in at)]}
    for node in reversed(pipeline.nodes):
        patches = found.pop(node.name, [])
        if not patches:
            continue
        for patch in patches:
            read = read_by(node.layer, patch, *(shapes[name] for name in node.inputs))
            for name, own in zip(node.inputs, read, strict=True):
                if all(positions.size for positions in own):
                    found[name] = _with(found.get(name, []), own)
    patches = found.get(INPUT, [])
    if not patches:
        return Box(None, None)
    rows, columns = (
        (min(int(p[axis][0]) for p in patches), max(int(p[axis][-1]) for p in patches))
        for axis in (1, 2)
    )
    return Box(rows, columns)


def read_by(layer: Layer, patch: Patch, *shapes: Shape) -> list[Patch]:
    """Return the cells of each input, of `shapes`, that some cells of a layer's output read.

    Where an axis has no position nothing is read.
    """
    if isinstance(layer, Rearrangement):  # each value comes from one place
        (shape,) = shapes
        places = np.unravel_index(layer.origins(shape)[np.ix_(*patch)], shape)
        return [tuple(map(np.unique, places))]
    return [
        tuple(
            np.arange(length)
            if reach is ALL
            else reach.pixels(patch[axis if reach.of is None else reach.of], length)
            for axis, (length, reach) in enumerate(zip(shape, reads, strict=True))
        )
        for shape, reads in zip(shapes, layer.reads(*shapes), strict=True)
    ]


def _with(patches: list[Patch], new: Patch) -> list[Patch]:
    """Return the patches and another one, without those that lie within others."""
    if any(_holds(patch, new) for patch in patches):
        return patches
    kept = [patch for patch in patches if not _holds(new, patch)]
    if len(kept) < APART:
        return [*kept, new]
    return [reduce(lambda one, two: tuple(map(np.union1d, one, two)), kept, new)]


def _holds(one: Patch, other: Patch) -> bool:
    return all(np.isin(two, own).all() for own, two in zip(one, other, strict=True))


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one value of a stage is what it is."""

    row: Row
    at: tuple[int, ...]
    inputs: tuple[str, ...]  # the names of what the stage reads, by `Terms.source`
    arithmetic: Arithmetic
    field: Box  # what it sees of the pipeline's input

    @property
    def result(self) -> float:
        """The value, rounded to float32 as it is stored."""
        with np.errstate(all="ignore"):
            return float(np.float32(self.arithmetic.result))


@dataclass(frozen=True)
class Place:
    """A value that is asked for: a stage, and a cell of it or its largest or smallest."""

    stage: str  # its name
    cell: tuple[int, ...] | None
    extreme: str | None = None  # one of EXTREMES


def read_place(pipeline: Pipeline, text: str) -> Place:
    """Read ``STAGE:C,ROW,COL``, ``STAGE:N``, ``STAGE:max`` or ``STAGE:min``.

    Raises
    ------
    RequestError
        If the text is none of these, or there is no such stage.
    """
    stage, colon, where = text.rpartition(":")
    names = [node.name for node in pipeline.nodes]
    if not colon or not stage:
        own = text if text in names else names[-1]
        raise RequestError(
            f"--at is {text!r}",
            hint=f"name a stage and a value of it: --at {own}:max, {own}:min, {own}:0,2,3 "
            f"(channel, row, column), or of a vector {own}:2",
        )
    name = _named(pipeline, stage)
    if where in EXTREMES:
        return Place(name, None, where)
    parts = [part.strip() for part in where.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise RequestError(
            f"--at is {text!r}: {where!r} is no cell",
            hint=f"write whole numbers from 0, or max or min: --at {name}:0,2,3, {name}:max",
        )
    return Place(name, tuple(map(int, parts)))


def _named(pipeline: Pipeline, stage: str) -> str:
    """Return the name of a stage given by name or number; RequestError if there is none."""
    if stage == INPUT:
        raise RequestError(
            "input is the image: nothing computed it",
            hint=f"name a stage, such as {pipeline.nodes[0].name}",
        )
    return pipeline.nodes[pipeline.find(stage)].name


class Located(NamedTuple):
    """The cell a place stands for."""

    cell: tuple[int, ...]
    passed_over: int = 0  # values that are NaN or infinite, where an extreme is asked for


def check_place(pipeline: Pipeline, shape: Shape, place: Place) -> Place:
    """Return a place; its cell, if it names one, has as many axes as the stage and is in it.

    Raises
    ------
    CnnvizError
        If the pipeline does not fit an input of `shape`, or the stage has no such cell.
    """
    shapes = {row.name: row.output_shape for row in pipeline.rows(shape)}
    if place.cell is None:
        return place
    return replace(place, cell=_checked(place.stage, place.cell, shapes[place.stage]))


def locate(place: Place, values: Tensor) -> Located:
    """Return the cell a place stands for, given its stage's output.

    Raises
    ------
    CnnvizError
        If an extreme is asked for and no value is finite.
    """
    if place.cell is not None:
        return Located(place.cell)
    finite = np.isfinite(values)
    if not finite.any():
        raise CnnvizError(
            f"{place.stage} has no finite value", hint=f"name a cell: --at {place.stage}:0,0,0"
        )
    largest = place.extreme == "max"
    found = np.where(finite, values, -np.inf if largest else np.inf)
    flat = found.argmax() if largest else found.argmin()
    cell = tuple(int(index) for index in np.unravel_index(flat, values.shape))
    return Located(cell, int(finite.size - np.count_nonzero(finite)))


def _checked(stage: str, cell: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """Return a cell of as many axes as the stage has, in range."""
    if len(shape) == 3 and shape[1:] == (1, 1) and len(cell) == 1:
        cell = (*cell, 0, 0)  # one value a map
    axes = ("channel", "row", "column") if len(shape) == 3 else ("index",)
    ranges = ", ".join(f"{axis} 0 to {side - 1}" for axis, side in zip(axes, shape, strict=True))
    if len(cell) != len(shape):
        raise CnnvizError(
            f"{','.join(map(str, cell))} is no cell of {stage}, which is "
            f"{'×'.join(map(str, shape))}",
            hint=f"give {ranges}",
        )
    for axis, index, side in zip(axes, cell, shape, strict=True):
        if not 0 <= index < side:
            raise CnnvizError(f"{stage} has no {axis} {index}", hint=f"it has {ranges}")
    return cell


def explain(
    pipeline: Pipeline,
    x: Tensor | Samples,
    stage: str,
    at: tuple[int, ...],
    params: Params | None = None,
    *,
    seed: int = 0,
) -> Explanation:
    """Explain one value; the pipeline runs to what its stage reads.

    Parameters
    ----------
    pipeline : Pipeline
    x : Tensor or Samples
        (C, H, W).
    stage : str
        A stage, by name or number.
    at : tuple of int
        (channel, row, column), or (index,) of a vector.
    params, seed
        As for `Pipeline.run`.

    Raises
    ------
    RequestError
        If there is no such stage.
    CnnvizError
        If the pipeline does not fit, or the stage has no such cell.
    """
    return next(trace(pipeline, x, stage, at, params, seed=seed, deep=False))


def trace(
    pipeline: Pipeline,
    x: Tensor | Samples,
    stage: str,
    at: tuple[int, ...],
    params: Params | None = None,
    *,
    seed: int = 0,
    held: Mapping[str, Tensor] | None = None,
    deep: bool = True,
) -> Iterator[Explanation]:
    """Explain a value, then the one that brings most to it, and so on back to the input.

    Parameters and errors are those of `explain`; `held` are the outputs of `read_stages`, where
    they are computed already. Without `deep` only what the first explanation needs is computed.
    """
    x = as_input(x)
    rows = {row.name: row for row in pipeline.rows(x.shape, params)}
    stage = _named(pipeline, stage)
    at = _checked(stage, at, rows[stage].output_shape)
    nodes = {node.name: node for node in pipeline.nodes}
    if held is None:
        wanted = read_stages(pipeline, stage, deep=deep)
        held = pipeline.computed(x, wanted, params, seed=seed)
    node = nodes[stage]
    while True:
        given = [held[name] for name in node.inputs]
        shapes = [one.shape for one in given]
        own = node.params(rows[node.name].index, shapes, params or {}, seed)
        with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
            arithmetic = node.layer.explain(at, *given, params=own)
        box = box_of(pipeline, x.shape, node.name, at)
        yield Explanation(rows[node.name], at, node.inputs, arithmetic, box)
        step = heaviest(arithmetic)
        if step is None:
            return
        source, at = step
        if node.inputs[source] == INPUT:
            return
        node = nodes[node.inputs[source]]


def read_stages(pipeline: Pipeline, stage: str, *, deep: bool) -> set[str]:
    """Return what a stage reads; with `deep` what those read, too, and so on to the input."""
    found = {stage}
    for node in reversed(pipeline.nodes):
        if node.name in found and (deep or node.name == stage):
            found.update(node.inputs)
    return found - {stage}


def heaviest(arithmetic: Arithmetic) -> tuple[int, tuple[int, ...]] | None:
    """Return the input and the cell of the term that counts most; None if all are padding.

    It is the one chosen, or the one with the part farthest from 0, the first of equal ones.
    """
    terms = arithmetic.terms
    real = np.flatnonzero(terms.real)
    if not real.size:
        return None
    best = arithmetic.chosen
    if best is None or not terms.real[best]:
        weight = np.nan_to_num(np.abs(terms.part[real]), nan=np.inf)
        best = int(real[weight.argmax()])
    return int(terms.source[best]), tuple(int(index) for index in terms.at[best])
