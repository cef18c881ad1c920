"""What moving the picture shows, in sentences: each stands only where the errors support it.

`findings` lists them in their order; each has a function that returns it, or None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from cnnviz.core.layers import Layer
from cnnviz.core.layers.bordered import Bordered
from cnnviz.core.layers.convolution import Depthwise
from cnnviz.core.layers.dense import Dense
from cnnviz.core.layers.pooling import GlobalPool, LocalPool
from cnnviz.core.pipeline import INPUT, Pipeline
from cnnviz.core.shift import Errors, Movement, MovementErrors, StageErrors
from cnnviz.core.types import Row, Shape

ROUNDING = 2e-5
"""Errors up to this one come from rounding alone: sums of float32 in another order."""

_APART = 0.01  # of the larger of two errors: closer ones are no difference
_MOST = 3  # sentences of one kind, and names in one
_LITTLE = 0.75  # of an error left after pooling: more than that is hardly an improvement
_NEARLY = 0.2  # an equivariance error beside an invariance error: the stage nearly turns along


def findings(pipeline: Pipeline, measured: MovementErrors) -> list[str]:
    """Return what is true of one pipeline's errors, one short sentence each."""
    picture, *others = measured.stages
    by_name = {INPUT: _Stage(picture, measured.movement)}
    for node, row, errors in zip(
        pipeline.nodes, pipeline.rows(measured.shape), others, strict=True
    ):
        reads = tuple(by_name[name] for name in node.inputs)
        by_name[node.name] = _Stage(errors, measured.movement, node.layer, row, reads)
    stages = list(by_name.values())

    def first(say: Callable[[_Stage], str | None], most: int = 1) -> list[str]:
        return list(islice(filter(None, map(say, stages)), most))

    if measured.movement.axis is None:
        found = [*first(_turning), *first(_pooling_and_turns, _MOST)]
    else:
        along = [
            stage
            for stage in stages
            if stage.row and stage.keeps_step and stage.has_places and stage.moves_along
        ]
        found = [_equivariant(along)] if along else []
        found += [*first(_edge), *_strides(stages), *first(_softening, _MOST)]
    found += first(_pooled_away)
    if loose := [stage for stage in stages if stage.stride is None]:
        has = "has" if len(loose) == 1 else "have"
        found.append(f"{_names(loose)} {has} no grid that could move: only invariance can be told")
    lacking = [stage for stage in stages if stage.lacks_errors]
    if zero := [stage for stage in lacking if stage.errors.norm == 0]:
        what = "all values are 0 before the picture moves, so no relative error"
        found.append(f"{_names(zero)}: {what}")
    if odd := [stage for stage in lacking if stage.errors.norm != 0]:
        found.append(f"{_names(odd)}: NaN or infinite values, so no error can be told")
    return found


def compared(a: MovementErrors, b: MovementErrors) -> list[str]:
    """Return which of two pipelines' last stages changes less, by their invariance errors.

    They are given at the smallest amount at which they differ; nothing if they never do.
    """
    first, second = a.stages[-1], b.stages[-1]
    pairs = [
        (at, one, two)
        for at, one, two in zip(
            a.movement.amounts, first.invariance, second.invariance, strict=True
        )
        if one is not None and two is not None
    ]
    for at, one, two in pairs:
        if _differ(one, two):
            rest = ""
            if all(one < two for _, one, two in pairs):
                rest = ": A changes less at every amount"
            elif all(two < one for _, one, two in pairs):
                rest = ": B changes less at every amount"
            sentence = (
                f"at {a.movement.written(at)} the invariance error of A's last stage, "
                f"{first.name}, is {_number(one)}, that of B's, {second.name}, {_number(two)}{rest}"
            )
            return [sentence]
    return []


def rebuilt(pipeline: Pipeline, shape: Shape, measured: MovementErrors) -> list[str]:
    """Return which dense layer reads less of the crops than of the whole picture, of `shape`.

    Its weights are then others: what is measured is not the network as the picture would have it.
    """
    wholes, crops = pipeline.rows(shape), pipeline.rows(measured.shape)
    for node, whole, crop in zip(pipeline.nodes, wholes, crops, strict=True):
        if isinstance(node.layer, Dense) and whole.input_shape != crop.input_shape:
            size = "×".join(map(str, measured.shape[1:]))
            fewer, many = math.prod(crop.input_shape), math.prod(whole.input_shape)
            sentence = (
                f"the network is built for the crops, {size}: {node.name} reads {fewer} values, "
                f"not {many} as of the whole picture, so its weights are others"
            )
            return [sentence]
    return []


# --- what the sentences are drawn from -----------------------------------------------------------


class _Stage(NamedTuple):
    """A stage's errors beside its place in the pipeline."""

    errors: StageErrors
    movement: Movement
    layer: Layer | None = None  # these three: of the picture itself none
    row: Row | None = None
    reads: tuple[_Stage, ...] = ()

    @property
    def name(self) -> str:
        return self.errors.name

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that are moved along: 0 rows, 1 columns."""
        return {"x": (1,), "y": (0,)}.get(self.movement.axis or "", (0, 1))

    @property
    def stride(self) -> float | None:
        """The largest effective stride along the axes moved."""
        stride = self.errors.effective_stride
        return None if stride is None else max(abs(stride[axis]) for axis in self.axes)

    @property
    def keeps_step(self) -> bool:
        """Whether the stage has a value for every pixel along the axes moved."""
        stride = self.errors.effective_stride
        return stride is not None and all(stride[axis] == 1 for axis in self.axes)

    @property
    def has_places(self) -> bool:
        """Whether the stage has more than one position along the axes moved."""
        return any(self.errors.output_shape[1 + axis] > 1 for axis in self.axes)

    @property
    def equivariance(self) -> float | None:
        """The largest equivariance error there is."""
        return _largest(self.errors.equivariance)

    @property
    def moves_along(self) -> bool:
        """Whether the stage is equivariant, as far as that could be measured."""
        return self.equivariance is not None and self.equivariance <= ROUNDING

    @property
    def odd_size(self) -> str:
        """The sentence that a map moved round is no multiple of the stage's stride, or nothing."""
        row, error = self.row, self.equivariance
        if row is None or row.stride is None or error is None or error <= ROUNDING:
            return ""
        for axis in self.axes:
            length, stride = row.input_shape[1 + axis], row.stride[axis]
            if self.movement.mode == "circular" and length % stride:
                return (
                    f"{length} {('rows', 'columns')[axis]} are no multiple of {self.name}'s "
                    f"stride {stride}, so its map does not close to a circle"
                )
        return ""

    @property
    def lacks_errors(self) -> bool:
        """Whether numbers are missing, but for a disc that misses a narrow map's every position."""
        errors, norm = self.errors, self.errors.norm
        missed = norm and math.isfinite(norm) and self.equivariance is None
        if missed and _largest(errors.invariance) is None:
            return False
        return None in errors.invariance

    @property
    def last(self) -> str:
        """The largest movement."""
        return self.movement.written(self.movement.amounts[-1])

    def change(self, place: int) -> tuple[float, float] | None:
        """Return the invariance errors before and after the stage at one amount, if they differ."""
        before, after = self.reads[0].errors.invariance[place], self.errors.invariance[place]
        if before is None or after is None or not _differ(before, after):
            return None
        return before, after


def _largest(errors: Errors) -> float | None:
    return max((error for error in errors if error is not None), default=None)


def _differ(one: float, two: float) -> bool:
    """Whether two errors are apart: not both rounding, and by at least 1 %."""
    larger = max(one, two)
    return larger > ROUNDING and abs(one - two) >= _APART * larger


def _number(value: float) -> str:
    return f"{value:.3g}" if value else "0"


def _from_to(errors: tuple[float, float]) -> str:
    return f"from {_number(errors[0])} to {_number(errors[1])}"


def _at_most(error: float) -> str:
    return f"{_number(error)} at most" if error else "0"


def _names(stages: Sequence[_Stage]) -> str:
    """Join names: ``a``, ``a, b and c``, ``a, b, c and 2 more``."""
    *others, last = (stage.name for stage in stages)
    if len(others) >= _MOST:
        return f"{', '.join(others[:_MOST])} and {len(stages) - _MOST} more"
    return f"{', '.join(others)} and {last}" if others else last


# --- the sentences -------------------------------------------------------------------------------


def _edge(stage: _Stage) -> str | None:
    """Describe a sliding window with maps that do not move along, though what it reads does."""
    error, row = stage.equivariance, stage.row
    if row is None or row.kernel_size is None or error is None or error <= ROUNDING:
        return None
    if not stage.keeps_step or not all(read.moves_along for read in stage.reads):
        return None
    edge = " has no padding, so no window spans the seam where the picture's edges meet"
    pads = row.padding or (0, 0, 0, 0)
    if any(pads[axis] or pads[axis + 2] for axis in stage.axes):
        mode = stage.layer.padding_mode if isinstance(stage.layer, Bordered) else "zeros"
        edge = f"'s {'zero' if mode == 'zeros' else mode} padding leaks position at the edges"
    return (
        f"{stage.name}{edge}: its equivariance error is {_at_most(error)}, though what it reads "
        f"moves along"
    )


def _strides(stages: Sequence[_Stage]) -> list[str]:
    """Describe the coarsest grid, and the first stride that does not divide its map."""
    coarse = [stage for stage in stages if (stage.stride or 0) > 1 and stage.has_places]
    coarsest = max(coarse, key=lambda stage: stage.stride or 0, default=None)
    odd = next((stage for stage in stages if stage.odd_size), None)
    found = []
    if coarsest is not None:
        apart = f"{coarsest.name}'s values lie {coarsest.stride:g} pixels apart"
        same = f"; {coarsest.odd_size}" if odd is coarsest else ""
        found.append(f"{apart}: {_reached(coarsest)}{same}")
    if odd is not None and odd is not coarsest:
        error = _at_most(odd.equivariance or 0.0)
        found.append(f"{odd.odd_size}, and {odd.name}'s equivariance error is {error}")
    return found


def _reached(stage: _Stage) -> str:
    """Say which shifts a coarse grid can follow, and whether it does."""
    amounts, error = stage.movement.amounts, stage.equivariance
    if error is None:
        return f"no shift up to {amounts[-1]:g} moves its map by whole cells"
    pairs = zip(amounts, stage.errors.equivariance, strict=True)
    whole = [f"{at:g}" for at, one in pairs if one is not None]
    at = ", ".join(whole[:_MOST]) + (", …" if len(whole) > _MOST else "")
    verdict = "does it move along" if stage.moves_along else "could it move along"
    return f"only at shifts by {at} {verdict} (equivariance error {_at_most(error)})"


def _softening(stage: _Stage) -> str | None:
    """Compare the smallest and the largest shift before and after what thins maps out."""
    row, amounts = stage.row, stage.movement.amounts
    thins = isinstance(stage.layer, Depthwise) and row and row.stride and max(row.stride) > 1
    first = stage.change(0) if thins or isinstance(stage.layer, LocalPool) else None
    if first is None or first[0] <= ROUNDING:
        return None
    numbers = f"{_from_to(first)} at {stage.movement.written(amounts[0])}"
    if len(amounts) > 1 and (last := stage.change(-1)):
        numbers += f", {_from_to(last)} at {amounts[-1]:g}"
    does = "softens small shifts" if first[1] < first[0] else "makes small shifts tell more"
    return f"{stage.name} {does}: the invariance error goes {numbers}"


def _pooled_away(stage: _Stage) -> str | None:
    """Say what is left of the movement after pooling over all positions."""
    if not isinstance(stage.layer, GlobalPool):
        return None
    error, before = (_largest(one.errors.invariance) for one in (stage, stage.reads[0]))
    if error is None or before is None or before <= ROUNDING or not _differ(before, error):
        return None
    verdict = "is not invariant here"
    if error <= ROUNDING:
        verdict = "is invariant, for it does not ask where a value stands"
    elif error < before / 4:
        verdict = "is nearly invariant"
    numbers = f"its invariance error is {_at_most(error)}, before it {_number(before)}"
    return f"{stage.name} {verdict}: {numbers}"


def _turning(stage: _Stage) -> str | None:
    """Describe a convolution, which moves along with shifts but hardly with rotations."""
    error, change = stage.errors.equivariance[-1], stage.errors.invariance[-1]
    if stage.layer is None or stage.layer.family != "convolution" or error is None:
        return None
    if not change or not _differ(error, change):
        return None
    turns = "nearly turns" if error < _NEARLY * change else "does not turn"
    return (
        f"{stage.name} {turns} with the picture: at {stage.last} its equivariance error is "
        f"{_number(error)}, its invariance error {_number(change)}"
    )


def _pooling_and_turns(stage: _Stage) -> str | None:
    errors = stage.change(-1) if isinstance(stage.layer, LocalPool) else None
    if errors is None or errors[0] <= ROUNDING:
        return None
    before, after = errors
    gives, less = "nothing", ""
    if after <= before:
        gives = "little" if after > _LITTLE * before else "something"
        less = f", {1 - after / before:.0%} less"
    return (
        f"{stage.name} gives {gives} against rotation: at {stage.last} the invariance error goes "
        f"{_from_to(errors)}{less}"
    )


def _equivariant(along: Sequence[_Stage]) -> str:
    error = max(stage.equivariance or 0.0 for stage in along)
    so = "exactly" if error == 0 else f"but for rounding ({_at_most(error)})"
    verb = "moves" if len(along) == 1 else "move"
    return f"equivariant: {_names(along)} {verb} along with the picture {so}"
