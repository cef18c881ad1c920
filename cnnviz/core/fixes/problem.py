"""A pipeline that stops at a stage, and the ways to change it there, before it and at its input."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cnnviz.core.fixes.change import (
    Change,
    LeaveOut,
    PutBefore,
    SetOption,
    UseInput,
    after,
    told_together,
    with_option,
)
from cnnviz.core.layers import Layer
from cnnviz.core.pipeline import INPUT, Node, Pipeline
from cnnviz.core.types import Params, Shape
from cnnviz.errors import CnnvizError


@dataclass(frozen=True)
class Fix:
    """Changes after which the pipeline goes through to its end."""

    changes: tuple[Change, ...]
    pipeline: Pipeline  # the changed one
    shape: Shape  # the input's

    @property
    def text(self) -> str:
        """What to do, such as: set padding=same at conv3."""
        return told_together(self.changes)


class Problem(NamedTuple):
    """A pipeline, and the stage at which its shapes stop."""

    fix: Fix  # what was changed so far, perhaps nothing
    shapes: Mapping[str, Shape]  # of the input and of every stage before
    reason: str  # why it stops there
    params: Params | None  # weights whose shapes must be right

    @property
    def position(self) -> int:
        """How many stages there are before the one that does not fit."""
        return len(self.shapes) - 1

    @property
    def remaining(self) -> int:
        """How many stages there are from the one that does not fit to the end."""
        return len(self.fix.pipeline.nodes) - self.position

    @property
    def node(self) -> Node:
        """The stage that does not fit."""
        return self.fix.pipeline.nodes[self.position]

    @property
    def given(self) -> list[Shape]:
        """The input shapes of the stage that does not fit."""
        return [self.shapes[name] for name in self.node.inputs]

    def flows(self, shape: Shape) -> bool:
        """Tell whether an input of `shape` would go through to the end."""
        return _flow(replace(self.fix, shape=shape), self.params) is None

    def before(self) -> Iterator[Node]:
        """Return the stages that the one that does not fit stands on, the nearest first."""
        behind = _behind(self.fix.pipeline, self.node.inputs)
        nodes = reversed(self.fix.pipeline.nodes[: self.position])
        return (node for node in nodes if node.name in behind)

    def apart(self) -> Iterator[Node]:
        """Return the stages before that not all inputs stand on: the branches of a merge."""
        behind = [_behind(self.fix.pipeline, [name]) for name in self.node.inputs]
        shared = set.intersection(*behind)
        return (node for node in self.before() if node.name not in shared)

    def with_layer(self, node: Node, setting: str, value: Any) -> Iterator[Fix]:
        """Yield the pipeline with one setting of a stage changed; nothing where that cannot be."""
        layer = with_option(node.layer, setting, value)
        if layer is not None:
            yield self.changed(SetOption(node.name, setting, layer))

    def with_same(self, nodes: Collection[Node]) -> Iterator[Fix]:
        """Yield the pipeline with padding=same at several windows."""
        layers = {node.name: with_option(node.layer, "padding", "same") for node in nodes}
        changes = [
            SetOption(name, "padding", layer)
            for name, layer in reversed(layers.items())
            if layer is not None
        ]
        if len(changes) > 1:
            yield self.changed(*changes)

    def without(self, node: Node) -> Iterator[Fix]:
        """Yield the pipeline without a stage: whoever read it reads what it read."""
        if len(node.inputs) == 1 and len(self.fix.pipeline.nodes) > 1:
            yield self.changed(LeaveOut(node.name))

    def with_before(self, layers: Mapping[str, Layer], name: str | None = None) -> Iterator[Fix]:
        """Yield the pipeline with layers put in before some inputs of the stage, by their name."""
        taken = {INPUT, *(other.name for other in self.fix.pipeline.nodes)}
        put, joins = list[Change](), len(self.node.inputs) > 1
        for source, layer in layers.items():
            count = 1
            while (made := f"{name or layer.name}{'' if name and count == 1 else count}") in taken:
                count += 1
            taken.add(made)
            put.append(PutBefore(layer, made, source, self.node.name, joins))
        if put:
            yield self.changed(*put)

    def with_input(self, shape: Shape) -> Fix:
        """Return the pipeline with another input."""
        return self.changed(UseInput(shape))

    def changed(self, *changes: Change) -> Fix:
        """Return the pipeline and its input after more changes."""
        (pipeline, shape), made = after((self.fix.pipeline, self.fix.shape), changes)
        return Fix((*self.fix.changes, *made), pipeline, shape)


def _behind(pipeline: Pipeline, names: Iterable[str]) -> set[str]:
    """Return the stages of these names, and all they stand on."""
    found = set(names)
    for node in reversed(pipeline.nodes):
        if node.name in found:
            found.update(node.inputs)
    return found


def stop(fix: Fix, params: Params | None) -> Problem | None:
    """Return where a pipeline stops, or None if it goes through to its end."""
    if (stopped := _flow(fix, params)) is not None:
        return stopped
    shapes = {INPUT: fix.shape}  # shapes flow quickly; rows, which take longer, have the last word
    try:
        for row in fix.pipeline.rows(fix.shape, params):
            shapes[row.name] = row.output_shape
    except CnnvizError as error:
        return Problem(fix, shapes, error.message, params)
    return None


def _flow(fix: Fix, params: Params | None) -> Problem | None:
    """Return where the shapes of a pipeline, or those of its weights, stop."""
    shapes = {INPUT: fix.shape}
    # A file's weights are not looked at: they are read one by one, when they are needed.
    weights: Params = params if isinstance(params, dict) else {}
    for node in fix.pipeline.nodes:
        given = [shapes[name] for name in node.inputs]
        try:
            output = node.layer.output_shape(*given)
        except CnnvizError as error:
            return Problem(fix, shapes, error.message, params)
        for name, spec in node.layer.param_shapes(*given).items() if weights else ():
            own = weights.get(f"{node.name}.{name}")
            if own is not None and own.shape != spec.shape:
                return Problem(fix, shapes, f"{name} is {own.shape}, not {spec.shape}", params)
        shapes[node.name] = output
    return None
