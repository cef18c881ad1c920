"""Changes to a pipeline or its input, one by one: each can be told, made, and left undone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any

from cnnviz.core.derivation import by
from cnnviz.core.layers import Layer
from cnnviz.core.layers.graph import Merge
from cnnviz.core.pipeline import Node, Pipeline
from cnnviz.core.text import layer_text, value_text
from cnnviz.core.types import Shape
from cnnviz.errors import CnnvizError

State = tuple[Pipeline, Shape]
"""A pipeline and the shape of its input."""


class Change(ABC):
    """One change. Where there is nothing to be changed, ``made`` returns None."""

    @property
    @abstractmethod
    def told(self) -> tuple[str, str]:
        """What to do, and at which stage: changes that do the same are told together."""

    @abstractmethod
    def made(self, state: State) -> State | None:
        """Return the pipeline and the input after the change."""


@dataclass(frozen=True)
class SetOption(Change):
    """Another value for one setting of a stage."""

    stage: str
    setting: str
    layer: Layer  # with it

    @property
    def told(self) -> tuple[str, str]:
        """The setting, and its stage."""
        return f"set {self.setting}={value_text(getattr(self.layer, self.setting))} at", self.stage

    def made(self, state: State) -> State | None:
        """Return the pipeline with the setting, None where it is so already."""
        node = _named(state[0], self.stage)
        if node is None:
            return None
        layer: Layer | None = with_option(
            node.layer, self.setting, getattr(self.layer, self.setting)
        )
        if layer is None:
            return None
        nodes = [replace(n, layer=layer) if n is node else n for n in state[0].nodes]
        return Pipeline(tuple(nodes)), state[1]


@dataclass(frozen=True)
class PutBefore(Change):
    """A new stage between another one and what that reads."""

    layer: Layer
    name: str
    source: str
    stage: str
    joins: bool  # the stage reads several: then it matters which of them is meant

    @property
    def told(self) -> tuple[str, str]:
        """The new layer, and its place."""
        place = f"between {self.source} and" if self.joins else "before"
        return f"put {layer_text(self.layer)} {place}", self.stage

    def made(self, state: State) -> State | None:
        """Return the pipeline with the new stage, None if its place is gone or its name taken."""
        node, namesake = _named(state[0], self.stage), _named(state[0], self.name)
        if node is None or namesake is not None or self.source not in node.inputs:
            return None
        nodes, at = list(state[0].nodes), state[0].nodes.index(node)
        put = Node(self.name, self.layer, (self.source,))
        nodes[at : at + 1] = [put, _reading(node, {self.source: self.name})]
        return Pipeline(tuple(nodes)), state[1]


@dataclass(frozen=True)
class LeaveOut(Change):
    """A stage less: whoever read it reads what it read."""

    stage: str

    @property
    def told(self) -> tuple[str, str]:
        """The stage."""
        return "leave out", self.stage

    def made(self, state: State) -> State | None:
        """Return the pipeline without the stage; None for the only one, and for merges."""
        node, nodes = _named(state[0], self.stage), state[0].nodes
        if node is None or len(node.inputs) != 1 or len(nodes) == 1:
            return None
        around = {node.name: node.inputs[0]}
        left = tuple(_reading(other, around) for other in nodes if other is not node)
        return Pipeline(left), state[1]


@dataclass(frozen=True)
class UseInput(Change):
    """Another shape of the input."""

    shape: Shape

    @property
    def told(self) -> tuple[str, str]:
        """The shape."""
        return "use an input of", by(self.shape)

    def made(self, state: State) -> State | None:
        """Return the pipeline as it is, and the shape."""
        return None if state[1] == self.shape else (state[0], self.shape)


def with_option(layer: Layer, setting: str, value: Any) -> Layer | None:
    """Return a layer with one setting changed, or None where that cannot be or is no change."""
    if setting not in {field.name for field in fields(layer)}:
        return None
    try:
        changed = replace(layer, **{setting: value})
    except CnnvizError:
        return None
    return changed if changed != layer else None


def after(state: State, changes: Iterable[Change]) -> tuple[State, list[Change]]:
    """Return what some changes make of a pipeline, and those of them that changed something."""
    effective = []
    for change in changes:
        if (changed := change.made(state)) is not None:
            state = changed
            effective.append(change)
    return state, effective


def undoes(changes: Sequence[Change]) -> bool:
    """Whether a stage is left out that was put in, or that another was put in for."""
    put = [change for change in changes if isinstance(change, PutBefore)]
    wanted = {name for change in put for name in (change.name, change.stage)}
    return any(isinstance(change, LeaveOut) and change.stage in wanted for change in changes)


def told_together(changes: Iterable[Change]) -> str:
    """Tell changes in their order; those that do the same to several stages, once.

    >>> told_together([LeaveOut("a"), LeaveOut("b"), UseInput((1, 5, 6))])
    'leave out a and b, and use an input of 1×5×6'
    """
    parts = []
    for what, some in groupby(changes, key=lambda change: change.told[0]):
        *most, last = (change.told[1] for change in some)
        parts.append(f"{what} {', '.join(most)} and {last}" if most else f"{what} {last}")
    return ", and ".join(parts)


def _named(pipeline: Pipeline, name: str) -> Node | None:
    return next((node for node in pipeline.nodes if node.name == name), None)


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    """Return a node that reads other stages in place of some."""
    inputs = tuple(names.get(name, name) for name in node.inputs)
    layer = node.layer
    if isinstance(layer, Merge):
        layer = replace(layer, stages=inputs[1:])
    return Node(node.name, layer, inputs)
