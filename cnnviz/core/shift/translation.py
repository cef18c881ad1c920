"""Moving the picture by whole pixels: its content goes right, down or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.pipeline import Pipeline, as_input
from cnnviz.core.shift.distance import Part, Reference, relative
from cnnviz.core.shift.passes import Grid, measure, nothing, values_of
from cnnviz.core.shift.records import Axis, Mode, Movement, MovementErrors
from cnnviz.core.types import Pair, Params, Samples, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError

_DIRECTIONS: dict[Axis, Pair] = {"x": (0, 1), "y": (1, 0), "both": (1, 1)}  # (down, right)
_SIDES: dict[Axis, str] = {"x": "columns", "y": "rows", "both": "rows or columns"}


def shift_errors(
    pipeline: Pipeline,
    x: Tensor | Samples,
    by: int,
    *,
    axis: Axis = "x",
    mode: Mode = "circular",
    params: Params | None = None,
    seed: int = 0,
    advance: Callable[[], object] = nothing,
) -> MovementErrors:
    """Measure how each stage's output changes when the picture moves by 1 … `by` pixels.

    The content moves right (axis x), down (y) or both. ``circular``: what leaves at one edge
    comes back at the other, and the expected output is rolled likewise. ``crop``: two crops of
    one size are compared, the second of which begins so many pixels earlier, so that real pixels
    move in at the edge; the reference begins at pixel `by`. Outputs are then compared where both
    grids see the same content.

    The equivariance error is None where the movement is no whole number of steps of the stage's
    grid (shift / effective stride), or the stage has no grid. One position along the axis counts
    as rolled however far its picture is (circular only).

    Parameters
    ----------
    pipeline : Pipeline
    x : Tensor or Samples
        (C, H, W).
    by : int
        From 1; the largest shift.
    axis : {"x", "y", "both"}
    mode : {"circular", "crop"}
    params, seed
        As for `Pipeline.run`.
    advance : callable
        Called after each of the `by` + 1 passes.

    Returns
    -------
    MovementErrors
        The picture itself is its first stage.

    Raises
    ------
    RequestError
        If `by` is less than 1.
    CnnvizError
        If the picture is smaller than `by`, a stage does not fit the crops, or as
        `Pipeline.run` does.
    """
    x = as_input(x)
    shape = x.shape
    check_shift(pipeline, shape, by, axis, mode, params)
    movement = Movement(tuple(range(1, by + 1)), axis, mode)
    move = _roll if mode == "circular" else _crop
    down, right = _DIRECTIONS[axis]
    limit = (by * down, by * right)

    def moved() -> Iterator[tuple[Tensor | Samples, _Shift]]:
        for d in range(1, by + 1):
            steps = (d * down, d * right)
            picture = _remade(x, move(values_of(x), steps, limit))
            yield picture, _Shift(steps, circular=mode == "circular")

    reference = _remade(x, move(values_of(x), (0, 0), limit))
    return measure(pipeline, movement, reference, moved(), params, seed, advance)


def check_shift(
    pipeline: Pipeline,
    shape: Shape,
    by: int,
    axis: Axis,
    mode: Mode,
    params: Params | None = None,
) -> None:
    """Raise what `shift_errors` would raise of its arguments, with the valid range."""
    if by < 1:
        raise RequestError(
            f"the shift is {by} pixels", hint="give a whole number from 1: --by 8 shifts by 1 … 8"
        )
    if mode == "circular":
        if by > (largest := _largest(shape, axis, mode)):
            raise CnnvizError(
                f"a shift by {by} is more than the picture's {largest} {_SIDES[axis]}",
                hint=f"--by can be 1 to {largest} here",
            )
        return
    problem = _problem(pipeline, shape, by, axis, params or {})
    if problem is None:
        return
    fits = largest_shift(pipeline, shape, by, axis, mode, params) or largest_shift(
        pipeline, shape, by + TRIED, axis, mode, params
    )
    smaller = range(1, min(fits, TRIED + 1))
    every = all(_problem(pipeline, shape, one, axis, params or {}) is None for one in smaller)
    hint = f"--by can be 1 to {fits} here" if every else f"--by {fits} fits here"
    if not fits:
        hint = "--mode circular keeps the picture's size"
    raise CnnvizError(problem, hint=hint)


TRIED = 64


def largest_shift(
    pipeline: Pipeline,
    shape: Shape,
    most: int,
    axis: Axis,
    mode: Mode,
    params: Params | None = None,
) -> int:
    """Return the largest shift, up to `most`, that `check_shift` lets pass; 0 if none is found.

    Crops of some sizes may fit a pipeline where larger ones do not (2 poolings and 2 upsamplings
    want multiples of 4): the largest `TRIED` are tried one by one, smaller ones by halving.
    """
    largest = min(most, _largest(shape, axis, mode))
    if mode == "circular":
        return largest
    given = params or {}
    for by in range(largest, max(largest - TRIED, 0), -1):
        if _problem(pipeline, shape, by, axis, given) is None:
            return by
    fits, fails = 0, max(largest - TRIED, 0) + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if _problem(pipeline, shape, middle, axis, given) is None:
            fits = middle
        else:
            fails = middle
    return fits


def _largest(shape: Shape, axis: Axis, mode: Mode) -> int:
    """Return the largest shift that leaves something of the picture alone."""
    sides = [length for length, moves in zip(shape[1:], _DIRECTIONS[axis], strict=True) if moves]
    return min(sides) - (mode == "crop")


def _problem(pipeline: Pipeline, shape: Shape, by: int, axis: Axis, params: Params) -> str | None:
    """Say why crops for a shift by so many pixels are too small, if they are."""
    down, right = _DIRECTIONS[axis]
    height, width = shape[1] - by * down, shape[2] - by * right
    if height < 1 or width < 1:
        return f"crops for a shift by {by} leave nothing of the {shape[1]}×{shape[2]} picture"
    try:
        needed = pipeline.param_specs((shape[0], height, width))
    except CnnvizError as error:
        return f"crops for a shift by {by} are {height}×{width}: {error.message}"
    for key, spec in pipeline.param_specs(shape).items():
        if key in params and spec != needed[key]:
            return (
                f"crops for a shift by {by} are {height}×{width}, but {key} is {spec.shape}, made "
                f"for {shape[1]}×{shape[2]} pictures"
            )
    return None


def _roll(values: NDArray[Any], steps: Pair, _: Pair) -> NDArray[Any]:
    return np.roll(values, steps, (1, 2))


def _crop(values: NDArray[Any], steps: Pair, limit: Pair) -> NDArray[Any]:
    """Return the crop that begins `steps` before the reference, which begins at `limit`."""
    (top, left) = (most - step for most, step in zip(limit, steps, strict=True))
    height, width = values.shape[1] - limit[0], values.shape[2] - limit[1]
    return np.ascontiguousarray(values[:, top : top + height, left : left + width])


def _remade(x: Tensor | Samples, values: NDArray[Any]) -> Tensor | Samples:
    return replace(x, values=values) if isinstance(x, Samples) else values


@dataclass(frozen=True)
class _Shift:
    """A movement by (down, right) pixels of the picture."""

    steps: Pair
    circular: bool

    def errors(
        self, new: NDArray[Any], reference: Reference, grid: Grid | None
    ) -> tuple[float | None, float | None]:
        """Return the equivariance and the invariance error."""
        size: Pair = reference.energy.shape
        offset = None if grid is None else self._offset(size, grid)
        energy = whole = float(reference.energy.sum())
        if offset is None or (self.circular and offset == (0, 0)):
            own, _ = reference.distances(new)
            invariance = relative(own, whole)
            return (None if offset is None else invariance), invariance
        if self.circular:
            parts = rolled_parts(size, offset)
        else:
            part = overlap(size, offset)
            parts = [part]
            rows, columns = (
                slice(first + by, stop + by)
                for (first, stop), by in ((part.rows, part.down), (part.columns, part.right))
            )
            energy = float(reference.energy[rows, columns].sum())
        own, moved = reference.distances(new, parts)
        return relative(moved, energy), relative(own, whole)

    def _offset(self, size: Pair, grid: Grid) -> Pair | None:
        """Return by how many of its rows and columns a map should move; None if not by whole ones.

        And where nothing of it would remain.
        """
        steps = self.steps[::-1] if grid.turned else self.steps
        offset = []
        for length, step, jump in zip(size, steps, grid.jumps, strict=True):
            if step == 0 or (self.circular and length == 1):
                offset.append(0)
                continue
            places = step / jump
            if places.denominator != 1 or not (self.circular or abs(places) < length):
                return None
            offset.append(int(places) % length if self.circular else int(places))
        return (offset[0], offset[1])


def rolled_parts(size: Pair, offset: Pair) -> list[Part]:
    """Return the rectangles of maps that were rolled down and right by less than their size.

    #[y, x] -> [y − down mod H, x − right mod W]
    """
    rows, columns = (
        [
            (first, stop, by)
            for first, stop, by in ((step, length, -step), (0, step, length - step))
            if first < stop
        ]
        for length, step in zip(size, offset, strict=True)
    )
    return [
        Part((top, bottom), (left, right), down, across)
        for top, bottom, down in rows
        for left, right, across in columns
    ]


def overlap(size: Pair, offset: Pair) -> Part:
    """Return the part of maps moved down and right (or up and left) that was there before."""
    rows, columns = (
        (max(step, 0), min(length, length + step))
        for length, step in zip(size, offset, strict=True)
    )
    return Part(rows, columns, -offset[0], -offset[1])
