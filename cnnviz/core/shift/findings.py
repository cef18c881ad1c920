"""What an experiment shows, in sentences: each is said only where the measured errors bear it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cnnviz.core.layers.bordered import Bordered
from cnnviz.core.layers.convolution import Depthwise
from cnnviz.core.layers.dense import Dense
from cnnviz.core.layers.pooling import GlobalPool, LocalPool
from cnnviz.core.pipeline import Node, Pipeline
from cnnviz.core.shift.records import Errors, MovementErrors, StageErrors
from cnnviz.core.types import Row, Shape

ROUNDING = 2e-5
"""Errors up to this one come from rounding alone: sums of float32 in another order."""

_APART = 0.01  # of the larger of two errors: closer ones are told as no difference
_MOST = 3  # sentences of one kind, and names in one
_LITTLE = 0.75  # of an error left after pooling: more than that is hardly an improvement
_NEARLY = (
    0.2  # an equivariance error beside the invariance error of a stage that nearly turns along
)


def findings(pipeline: Pipeline, told: MovementErrors) -> list[str]:
    """Return what is true of one pipeline's errors, one short sentence each."""
    facts = _Facts.of(pipeline, told)
    about = _ABOUT_ROTATION if told.movement.axis is None else _ABOUT_SHIFTS
    return [sentence for tell in about for sentence in tell(facts)]


def compared(a: MovementErrors, b: MovementErrors) -> list[str]:
    """Return which of two pipelines' last stages changes less, by their invariance errors.

    They are told at the smallest amount at which they differ; nothing if they never do.
    """
    first, second = a.stages[-1], b.stages[-1]
    pairs = [
        (at, one, two)
        for at, one, two in zip(
            a.movement.amounts, first.invariance, second.invariance, strict=True
        )
        if one is not None and two is not None
    ]
    told = next((pair for pair in pairs if _differ(pair[1], pair[2])), None)
    if told is None:
        return []
    at, one, two = told
    below = [(one < two, two < one) for _, one, two in pairs]
    steadier = [
        name for name, wins in zip("AB", zip(*below, strict=True), strict=True) if all(wins)
    ]
    rest = f": {steadier[0]} changes less at every amount" if steadier else ""
    sentence = (
        f"at {a.movement.told(at)} the invariance error of A's last stage, {first.name}, is "
        f"{_number(one)}, that of B's, {second.name}, {_number(two)}{rest}"
    )
    return [sentence]


def rebuilt(pipeline: Pipeline, shape: Shape, told: MovementErrors) -> list[str]:
    """Return which dense layer reads less of the crops than of the whole picture, of `shape`.

    Its weights are then others: what is told is not of the network as the picture would have it.
    """
    for node, whole, crop in zip(
        pipeline.nodes, pipeline.rows(shape), pipeline.rows(told.shape), strict=True
    ):
        if isinstance(node.layer, Dense) and whole.input_shape != crop.input_shape:
            size = "×".join(map(str, told.shape[1:]))
            fewer, many = math.prod(crop.input_shape), math.prod(whole.input_shape)
            sentence = (
                f"the network is built for the crops, {size}: {node.name} reads {fewer} values, "
                f"not {many} as of the whole picture, so its weights are others"
            )
            return [sentence]
    return []


# --- what the sentences are drawn from -----------------------------------------------------------


@dataclass(frozen=True)
class _Facts:
    """An experiment beside the pipeline's structure."""

    told: MovementErrors
    stages: dict[str, StageErrors]
    rows: dict[str, Row]
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, pipeline: Pipeline, told: MovementErrors) -> _Facts:
        return cls(
            told,
            {stage.name: stage for stage in told.stages},
            {row.name: row for row in pipeline.rows(told.shape)},
            pipeline.nodes,
        )

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that are moved along: 0 rows, 1 columns."""
        return {"x": (1,), "y": (0,)}.get(self.told.movement.axis or "", (0, 1))

    def stride(self, stage: StageErrors) -> tuple[float, ...] | None:
        """Return a stage's effective stride along the axes moved."""
        if stage.effective_stride is None:
            return None
        return tuple(stage.effective_stride[axis] for axis in self.axes)

    def keeps_step(self, stage: StageErrors) -> bool:
        """Whether a stage has a value for every pixel along the axes moved."""
        return self.stride(stage) == (1.0,) * len(self.axes)

    def has_places(self, stage: StageErrors) -> bool:
        """Whether a stage has more than one position along the axes moved."""
        return any(stage.output_shape[1 + axis] > 1 for axis in self.axes)

    def largest(self, errors: Errors) -> float | None:
        """Return the largest error there is."""
        return max((error for error in errors if error is not None), default=None)

    def moves_along(self, name: str) -> bool:
        """Whether a stage is equivariant, as far as that could be measured."""
        largest = self.largest(self.stages[name].equivariance)
        return largest is not None and largest <= ROUNDING

    def both(self, name: str, before: str, place: int) -> tuple[float, float] | None:
        """Return the invariance errors before and after a stage at one amount."""
        errors = (self.stages[before].invariance[place], self.stages[name].invariance[place])
        return None if errors[0] is None or errors[1] is None else (errors[0], errors[1])


def _number(value: float) -> str:
    return f"{value:.3g}" if value else "0"


def _differ(one: float, two: float) -> bool:
    """Whether two errors are told apart: not both rounding, and by at least 1 %."""
    larger = max(one, two)
    return larger > ROUNDING and abs(one - two) >= _APART * larger


def _at_most(error: float) -> str:
    return f"{_number(error)} at most" if error else "0"


def _names(names: Sequence[str]) -> str:
    """Join names.

    >>> _names(["a"]), _names(["a", "b", "c"]), _names(list("abcde"))
    ('a', 'a, b and c', 'a, b, c and 2 more')
    """
    if len(names) > _MOST:
        return f"{', '.join(names[:_MOST])} and {len(names) - _MOST} more"
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


# --- shifts --------------------------------------------------------------------------------------


def _equivariant(facts: _Facts) -> Iterator[str]:
    names = [
        node.name
        for node in facts.nodes
        if facts.keeps_step(facts.stages[node.name])
        and facts.has_places(facts.stages[node.name])
        and facts.moves_along(node.name)
    ]
    if names:
        error = max(facts.largest(facts.stages[name].equivariance) or 0.0 for name in names)
        so = "exactly" if error == 0 else f"but for rounding ({_at_most(error)})"
        verb = "moves" if len(names) == 1 else "move"
        yield f"equivariant: {_names(names)} {verb} along with the picture {so}"


def _edges(facts: _Facts) -> Iterator[str]:
    """Tell of the first sliding window whose maps do not move along, though what it reads does."""
    for node in facts.nodes:
        stage, row = facts.stages[node.name], facts.rows[node.name]
        error = facts.largest(stage.equivariance)
        alone = facts.keeps_step(stage) and row.kernel_size is not None
        if error is None or not alone or not all(map(facts.moves_along, node.inputs)):
            continue
        if error > ROUNDING:
            yield (
                f"{_edge(facts, node, row)}: its equivariance error is {_at_most(error)}, though "
                f"what it reads moves along"
            )
            return


def _edge(facts: _Facts, node: Node, row: Row) -> str:
    mode = node.layer.padding_mode if isinstance(node.layer, Bordered) else "zeros"
    pads = row.padding or (0, 0, 0, 0)
    if any(pads[axis] or pads[axis + 2] for axis in facts.axes):
        words = "zero" if mode == "zeros" else mode
        return f"{node.name}'s {words} padding leaks position at the edges"
    return f"{node.name} has no padding, so no window spans the seam where the picture's edges meet"


def _strides(facts: _Facts) -> Iterator[str]:
    """Tell of the coarsest grid, and of the first stride that does not divide its map."""
    sizes, coarse = _odd_size(facts), _coarsest(facts)
    name = ""
    if coarse is not None:
        jump, stage = coarse
        name = stage.name
        yield _apart(facts, jump, stage) + (f"; {sizes[1]}" if sizes and sizes[0] == name else "")
    if sizes and sizes[0] != name:
        error = facts.largest(facts.stages[sizes[0]].equivariance) or 0.0
        yield f"{sizes[1]}, and {sizes[0]}'s equivariance error is {_at_most(error)}"


def _coarsest(facts: _Facts) -> tuple[float, StageErrors] | None:
    """Return the stage whose values lie furthest apart, more than a pixel, and how far."""
    coarse = [
        (max(map(abs, stride)), stage)
        for stage in facts.told.stages
        if (stride := facts.stride(stage)) is not None
        and max(map(abs, stride)) > 1
        and facts.has_places(stage)
    ]
    return max(coarse, key=lambda pair: pair[0], default=None)


def _apart(facts: _Facts, jump: float, stage: StageErrors) -> str:
    """Tell which shifts a coarse grid can follow, and whether it does."""
    amounts = facts.told.movement.amounts
    apart = f"{stage.name}'s values lie {jump:g} pixels apart"
    pairs = zip(amounts, stage.equivariance, strict=True)
    met = [(at, error) for at, error in pairs if error is not None]
    if not met:
        return f"{apart}: no shift up to {amounts[-1]:g} moves its map by whole cells"
    at = ", ".join(f"{at:g}" for at, _ in met[:_MOST]) + (", …" if len(met) > _MOST else "")
    error = max(error for _, error in met)
    verdict = "does it move along" if error <= ROUNDING else "could it move along"
    return f"{apart}: only at shifts by {at} {verdict} (equivariance error {_at_most(error)})"


def _odd_size(facts: _Facts) -> tuple[str, str] | None:
    """Return the first stage whose stride does not divide a map that is moved round, and that."""
    if facts.told.movement.mode != "circular":
        return None
    for node in facts.nodes:
        row = facts.rows[node.name]
        error = facts.largest(facts.stages[node.name].equivariance)
        if row.stride is None or error is None or error <= ROUNDING:
            continue
        for axis in facts.axes:
            length, stride = row.input_shape[1 + axis], row.stride[axis]
            if stride > 1 and length % stride:
                side = ("rows", "columns")[axis]
                return node.name, (
                    f"{length} {side} are no multiple of {node.name}'s stride {stride}, so its map "
                    f"does not close to a circle"
                )
    return None


def _softening(facts: _Facts) -> Iterator[str]:
    """Compare the smallest and the largest shift before and after what thins maps out."""
    told = 0
    for node in facts.nodes:
        row = facts.rows[node.name]
        thins = isinstance(node.layer, Depthwise) and row.stride is not None and max(row.stride) > 1
        if not (thins or isinstance(node.layer, LocalPool)) or told == _MOST:
            continue
        first = facts.both(node.name, node.inputs[0], 0)
        if first is None or first[0] <= ROUNDING or not _differ(*first):
            continue
        before, after = first
        amounts = facts.told.movement
        one = amounts.told(amounts.amounts[0])
        numbers = f"from {_number(before)} to {_number(after)} at {one}"
        last = facts.both(node.name, node.inputs[0], -1)
        if last is not None and len(amounts.amounts) > 1 and _differ(*last):
            numbers += f", from {_number(last[0])} to {_number(last[1])} at {amounts.amounts[-1]:g}"
        told += 1
        does = "softens small shifts" if after < before else "makes small shifts tell more"
        yield f"{node.name} {does}: the invariance error goes {numbers}"


def _global(facts: _Facts) -> Iterator[str]:
    """Tell what is left of the movement after pooling over all positions."""
    for node in facts.nodes:
        error = facts.largest(facts.stages[node.name].invariance)
        before = facts.largest(facts.stages[node.inputs[0]].invariance)
        if not isinstance(node.layer, GlobalPool) or error is None or before is None:
            continue
        if before <= ROUNDING or not _differ(before, error):
            continue
        numbers = f"its invariance error is {_at_most(error)}, before it {_number(before)}"
        if error <= ROUNDING:
            yield f"{node.name} is invariant, for it does not ask where a value stands: {numbers}"
        elif error < before / 4:
            yield f"{node.name} is nearly invariant: {numbers}"
        else:
            yield f"{node.name} is not invariant here: {numbers}"
        return


def _gridless(facts: _Facts) -> Iterator[str]:
    names = [stage.name for stage in facts.told.stages if stage.effective_stride is None]
    if names:
        have = "has" if len(names) == 1 else "have"
        yield f"{_names(names)} {have} no grid that could move: only invariance can be told"


def _untold(facts: _Facts) -> Iterator[str]:
    """Say why numbers are missing."""
    stages = [stage for stage in facts.told.stages if None in stage.invariance]
    zero = [stage.name for stage in stages if stage.norm == 0]
    wild = [stage.name for stage in stages if stage.norm != 0 and not _is_empty(stage)]
    if zero:
        yield f"{_names(zero)}: all values are 0 before the picture moves, so no relative error"
    if wild:
        yield f"{_names(wild)}: NaN or infinite values, so no error can be told"


def _is_empty(stage: StageErrors) -> bool:
    """Whether no value at all was compared: a disc can miss every position of a narrow map."""
    return math.isfinite(stage.norm) and not any(
        error is not None for error in (*stage.invariance, *stage.equivariance)
    )


# --- rotations -----------------------------------------------------------------------------------


def _turning(facts: _Facts) -> Iterator[str]:
    """Tell of the first convolution, which moves along with shifts but hardly with rotations."""
    for node in facts.nodes:
        stage = facts.stages[node.name]
        error, change = stage.equivariance[-1], stage.invariance[-1]
        if node.layer.family != "convolution" or error is None or not change:
            continue
        if not _differ(error, change):
            continue
        turns = "nearly turns" if error < _NEARLY * change else "does not turn"
        yield (
            f"{node.name} {turns} with the picture: at {_last(facts)} its equivariance error is "
            f"{_number(error)}, its invariance error {_number(change)}"
        )
        return


def _pooling_and_turns(facts: _Facts) -> Iterator[str]:
    told = 0
    for node in facts.nodes:
        if not isinstance(node.layer, LocalPool) or told == _MOST:
            continue
        errors = facts.both(node.name, node.inputs[0], -1)
        if errors is None or errors[0] <= ROUNDING or not _differ(*errors):
            continue
        before, after = errors
        told += 1
        numbers = f"from {_number(before)} to {_number(after)}"
        if after > before:
            yield (
                f"{node.name} gives nothing against rotation: at {_last(facts)} the invariance "
                f"error goes {numbers}"
            )
        else:
            little = "little" if after > _LITTLE * before else "something"
            yield (
                f"{node.name} gives {little} against rotation: at {_last(facts)} the invariance "
                f"error goes {numbers}, {1 - after / before:.0%} less"
            )


def _last(facts: _Facts) -> str:
    return facts.told.movement.told(facts.told.movement.amounts[-1])


_Tell = Callable[[_Facts], Iterator[str]]

_ABOUT_SHIFTS: tuple[_Tell, ...] = (
    *(_equivariant, _edges, _strides, _softening, _global, _gridless, _untold),
)
_ABOUT_ROTATION: tuple[_Tell, ...] = (_turning, _pooling_and_turns, _global, _gridless, _untold)
