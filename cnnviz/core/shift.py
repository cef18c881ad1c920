"""What moving the picture does to each stage: equivariance and invariance, measured.

A pipeline runs on the picture as it is, and again on the picture moved by each amount: by whole
pixels (`shift_errors`), or turned (`rotation_errors`). Every stage's new output is compared with
its first one, and with its first one moved the same way.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from cnnviz.core.distance import Maps, Reference, moved_parts, relative
from cnnviz.core.field import Indices
from cnnviz.core.layers.arrange import Transpose
from cnnviz.core.pipeline import INPUT, Pipeline, as_input
from cnnviz.core.rotation import Read, disc, rotate, turned_values
from cnnviz.core.types import Pair, Params, Samples, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError

Axis = Literal["x", "y", "both"]
Mode = Literal["circular", "crop"]

AXES: tuple[Axis, ...] = ("x", "y", "both")
MODES: tuple[Mode, ...] = ("crop", "circular")
STEPS = 8
"""How many angles are tried, evenly from a first one to the largest."""

Errors = tuple[float | None, ...]
"""One number for each amount of the movement, None where there is none."""

# --- what is measured ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Movement:
    """How the picture is moved, and how far: pixels of a shift, degrees of a rotation."""

    amounts: tuple[float, ...]
    axis: Axis | None  # None: it is turned
    mode: Mode | None

    @property
    def unit(self) -> str:
        """What the amounts are."""
        return "degrees" if self.axis is None else "pixels"

    def written(self, amount: float) -> str:
        """Write one amount with its unit.

        >>> Movement((1, 2), "x", "crop").written(1), Movement((2.5,), None, None).written(2.5)
        ('1 pixel', '2.5 degrees')
        """
        return f"{amount:g} {self.unit[:-1] if amount == 1 else self.unit}"


@dataclass(frozen=True)
class StageErrors:
    """How far a stage's output f(x) changes when the picture x does: both errors are relative.

    With x_d the picture moved by d, S_d the same movement of a map, and norms over all values
    compared:

    - invariance: ‖f(x_d) − f(x)‖₂ / ‖f(x)‖₂, 0 if the output does not notice;
    - equivariance: ‖f(x_d) − S_d f(x)‖₂ / ‖f(x)‖₂, 0 if the output moves along.
    """

    index: int  # 0 for the picture itself
    name: str
    layer: str
    output_shape: Shape
    effective_stride: tuple[float, float] | None
    norm: float  # ‖f(x)‖₂; NaN or infinite if some value is
    equivariance: Errors
    invariance: Errors


@dataclass(frozen=True)
class MovementErrors:
    """An experiment with one pipeline: its stages' errors, those of the picture itself first."""

    movement: Movement
    shape: Shape  # of the picture that went in; in crop mode it is smaller than the one given
    stages: tuple[StageErrors, ...]


class _Grid(NamedTuple):
    """How a stage's positions lie on the picture."""

    jumps: tuple[Fraction, Fraction]  # input pixels from row to row, and from column to column
    turned: bool  # rows run across the picture, columns down it


_Pair = tuple[float | None, float | None]
"""The equivariance and the invariance error; without a grid only the latter."""


def _measure(
    pipeline: Pipeline,
    movement: Movement,
    moved: Callable[[float], Tensor | Samples],
    compare: Callable[[float, Maps, Reference, _Grid | None], _Pair],
    params: Params | None,
    seed: int,
    advance: Callable[[], object],
) -> MovementErrors:
    """Run a pipeline on the picture moved by 0 and by each amount, and compare all outputs."""
    x = moved(0)
    own = pipeline.params(x.shape, params, seed=seed)
    held = pipeline.totals(x.shape).memory_bytes  # all first outputs are
    kept = held + 4 * sum(math.prod(tensor.shape) for tensor in own.values())
    first = Reference.of(_values(x))
    norm = first.norm / (x.unit if isinstance(x, Samples) else 1)
    stages = [StageErrors(0, INPUT, INPUT, x.shape, (1.0, 1.0), norm, (), ())]
    references, turned = [first], {INPUT: False}
    for node, (row, output, *_) in zip(
        pipeline.nodes, pipeline.outputs(x, own, kept=kept), strict=True
    ):
        transposes = isinstance(node.layer, Transpose) and node.layer.axes == (0, 2, 1)
        turned[node.name] = turned[node.inputs[0]] != transposes
        references.append(Reference.of(output))
        known = (row.index, row.name, row.layer, row.output_shape, row.effective_stride)
        stages.append(StageErrors(*known, references[-1].norm, (), ()))
    advance()
    grids = [_grid(stage, turned=turned[stage.name]) for stage in stages]
    errors: list[list[_Pair]] = [[] for _ in stages]
    for amount in movement.amounts:
        picture = moved(amount)
        outputs = pipeline.outputs(picture, own, reuse=True, kept=kept)
        for place, pairs in enumerate(errors):
            output = next(outputs).output if place else _values(picture)
            pairs.append(compare(amount, output, references[place], grids[place]))
        advance()
    return MovementErrors(
        movement,
        x.shape,
        tuple(
            replace(stage, equivariance=tuple(along), invariance=tuple(changed))
            for stage, pairs in zip(stages, errors, strict=True)
            for along, changed in [zip(*pairs, strict=True)]
        ),
    )


def _values(x: Tensor | Samples) -> Maps:
    """Return the array of a picture; of samples as stored, for relative errors are the same."""
    return x.values if isinstance(x, Samples) else x


def _grid(stage: StageErrors, *, turned: bool) -> _Grid | None:
    if stage.effective_stride is None or len(stage.output_shape) != 3:
        return None
    rows, columns = (Fraction(jump).limit_denominator(1 << 20) for jump in stage.effective_stride)
    return _Grid((rows, columns), turned)


# --- moved by whole pixels -----------------------------------------------------------------------

_DIRECTIONS: dict[Axis, Pair] = {"x": (0, 1), "y": (1, 0), "both": (1, 1)}  # (down, right)
_SIDES: dict[Axis, str] = {"x": "columns", "y": "rows", "both": "rows or columns"}


def shift_errors(
    pipeline: Pipeline,
    x: Tensor | Samples,
    by: int,
    *,
    axis: Axis = "x",
    mode: Mode = "crop",
    params: Params | None = None,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> MovementErrors:
    """Measure how each stage's output changes when the picture moves by 1 … `by` pixels.

    The content moves right (axis x), down (y) or both. ``crop``: two crops of one size are
    compared, the second of which begins so many pixels earlier, so that real pixels move in at the
    edge; the reference begins at pixel `by`. Outputs are then compared where both grids see the
    same content. ``circular``: what leaves at one edge comes back at the other, and the expected
    output is rolled likewise.

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
    mode : {"crop", "circular"}
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
        `Pipeline.run` does; the first outputs of all stages must fit into memory, too.
    """
    x = as_input(x)
    check_shift(pipeline, x.shape, by, axis, mode, params)
    (down, right), circular = _DIRECTIONS[axis], mode == "circular"
    _, height, width = x.shape

    def moved(pixels: float) -> Tensor | Samples:
        values, d = _values(x), int(pixels)
        if circular:
            values = np.roll(values, (d * down, d * right), (1, 2))
        else:  # the crop that begins d pixels before the reference, which begins at `by`
            top, left = (by - d) * down, (by - d) * right
            bottom, end = height - d * down, width - d * right
            values = np.ascontiguousarray(values[:, top:bottom, left:end])
        return replace(x, values=values) if isinstance(x, Samples) else values

    def compare(pixels: float, new: Maps, reference: Reference, grid: _Grid | None) -> _Pair:
        size, whole = reference.energy.shape, float(reference.energy.sum())
        steps = (int(pixels) * down, int(pixels) * right)
        offset = None if grid is None else _offset(steps, size, grid, circular=circular)
        if offset is None or not any(offset):  # not by whole cells, or once around
            changed = relative(reference.distances(new)[0], whole)
            return (None if offset is None else changed), changed
        parts = moved_parts(size, offset, circular=circular)
        own, along = reference.distances(new, parts)
        energy = whole if circular else float(parts[0].of_old(reference.energy).sum())
        return relative(along, energy), relative(own, whole)

    movement = Movement(tuple(range(1, by + 1)), axis, mode)
    return _measure(pipeline, movement, moved, compare, params, seed, advance)


def _offset(steps: Pair, size: tuple[int, ...], grid: _Grid, *, circular: bool) -> Pair | None:
    """Return by how many of its rows and columns a map should move.

    None if not by whole ones, or if nothing of the map would remain.
    """
    offset = []
    for length, step, jump in zip(
        size, steps[::-1] if grid.turned else steps, grid.jumps, strict=True
    ):
        places = step / jump if step and not (circular and length == 1) else Fraction(0)
        if places.denominator != 1 or not (circular or abs(places) < length):
            return None
        offset.append(int(places) % length if circular else int(places))
    return (offset[0], offset[1])


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
    problem = _problem(pipeline, shape, by, axis, mode, params)
    if problem is None:
        return
    fits = largest_shift(pipeline, shape, by, axis, mode, params) or largest_shift(
        pipeline, shape, by + TRIED, axis, mode, params
    )
    smaller = range(1, min(fits, TRIED + 1))
    every = all(_problem(pipeline, shape, one, axis, mode, params) is None for one in smaller)
    hint = f"--by can be 1 to {fits} here" if every else f"--by {fits} fits here"
    raise CnnvizError(problem, hint=hint if fits else "--mode circular keeps the picture's size")


def same_network(pipeline: Pipeline, shape: Shape, by: int, axis: Axis) -> bool:
    """Tell whether a pipeline fits the crops for a shift, with its parameters' shapes as before."""
    down, right = _DIRECTIONS[axis]
    crops = (shape[0], shape[1] - by * down, shape[2] - by * right)
    try:
        return min(crops) > 0 and pipeline.param_specs(crops) == pipeline.param_specs(shape)
    except CnnvizError:
        return False


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

    def fails(by: int) -> bool:
        return _problem(pipeline, shape, by, axis, mode, params) is not None

    largest = min(most, *_moved_sides(shape, axis))
    last = max(largest - TRIED, 0)
    for by in range(largest, last, -1):
        if not fails(by):
            return by
    return bisect_left(range(last + 1), True, lo=1, key=fails) - 1


def _problem(
    pipeline: Pipeline, shape: Shape, by: int, axis: Axis, mode: Mode, params: Params | None
) -> str | None:
    """Say why the picture is too small to be shifted by so many pixels, if it is."""
    smallest = min(_moved_sides(shape, axis))
    if mode == "circular":
        large = f"a shift by {by} is more than the picture's {smallest} {_SIDES[axis]}"
        return large if by > smallest else None
    if by >= smallest:
        return f"crops for a shift by {by} leave nothing of the {shape[1]}×{shape[2]} picture"
    down, right = _DIRECTIONS[axis]
    height, width = shape[1] - by * down, shape[2] - by * right
    crops = f"crops for a shift by {by} are {height}×{width}"
    try:
        needed = pipeline.param_specs((shape[0], height, width))
    except CnnvizError as error:
        return f"{crops}: {error.message}"
    for key, spec in pipeline.param_specs(shape).items():
        if key in (params or {}) and spec != needed[key]:
            return f"{crops}, but {key} is {spec.shape}, made for {shape[1]}×{shape[2]} pictures"
    return None


def _moved_sides(shape: Shape, axis: Axis) -> list[int]:
    """Return the lengths of the sides along which the picture moves."""
    return [length for length, moves in zip(shape[1:], _DIRECTIONS[axis], strict=True) if moves]


# --- turned --------------------------------------------------------------------------------------


def rotation_errors(
    pipeline: Pipeline,
    x: Tensor | Samples,
    degrees: float,
    *,
    steps: int = STEPS,
    params: Params | None = None,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> MovementErrors:
    """Measure how each stage's output changes when the picture turns by angles up to `degrees`.

    The equivariance error compares with the reference output turned by the same angle on its own
    grid. Both errors are taken inside the disc inscribed in the map, which stays on it at every
    angle; a stage without a grid has the invariance error alone, of all its values.

    Parameters
    ----------
    pipeline : Pipeline
    x : Tensor or Samples
        (C, H, W).
    degrees : float
        Above 0, at most 180.
    steps : int
        How many angles, evenly spaced.
    params, seed
        As for `Pipeline.run`.
    advance : callable
        Called after each of the `steps` + 1 passes.

    Raises
    ------
    RequestError
        If the angle is not above 0 and at most 180.
    CnnvizError
        As `Pipeline.run` does; the first outputs of all stages must fit into memory, too.
    """
    check_angle(degrees)
    x = as_input(x)
    picture = x.tensor() if isinstance(x, Samples) else x

    @lru_cache(maxsize=1)  # stages one after another mostly have the same grid
    def sampled(size: Pair, angle: float, jumps: tuple[float, float]) -> tuple[Indices, Read]:
        at = disc(size, jumps)
        return at[0] * size[1] + at[1], turned_values(size, angle, at, jumps)

    def compare(angle: float, new: Maps, reference: Reference, grid: _Grid | None) -> _Pair:
        if grid is None:
            return None, relative(reference.distances(new)[0], float(reference.energy.sum()))
        jumps = (abs(float(grid.jumps[0])), abs(float(grid.jumps[1])))
        # A map that shows the picture mirrored turns the other way.
        mirrored = (grid.turned + sum(jump < 0 for jump in grid.jumps)) % 2 == 1
        places, read = sampled(reference.energy.shape, -angle if mirrored else angle, jumps)
        if not places.size:
            return None, None
        along = changed = 0.0
        for after, before in zip(
            new.reshape(reference.values.shape), reference.values, strict=True
        ):
            values = after.reshape(-1)[places].astype(np.float64)
            with np.errstate(all="ignore"):
                away, own = values - read(before), values - before.reshape(-1)[places]
                along += float(away @ away)
                changed += float(own @ own)
        energy = float(reference.energy.reshape(-1)[places].sum())
        return relative(along, energy), relative(changed, energy)

    return _measure(
        pipeline,
        Movement(tuple(degrees * step / steps for step in range(1, steps + 1)), None, None),
        lambda angle: rotate(picture, angle) if angle else picture,
        compare,
        params,
        seed,
        advance,
    )


def check_angle(degrees: float) -> None:
    """Raise RequestError unless the angle is above 0 and at most 180."""
    if not (math.isfinite(degrees) and 0 < degrees <= 180):
        raise RequestError(
            f"the angle is {degrees:g} degrees", hint="give more than 0, at most 180: --rotate 10"
        )
