"""A pipeline that stops at a stage, and the ways to change it there, before it and at its input."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from cnnviz.core.derivation import by
from cnnviz.core.layers import Layer
from cnnviz.core.layers.graph import Merge
from cnnviz.core.options import Padding
from cnnviz.core.pipeline import INPUT, Node, Pipeline
from cnnviz.core.text import layer_text, value_text
from cnnviz.core.types import Params, Shape
from cnnviz.errors import CnnvizError


@dataclass(frozen=True)
class Fix:
    """A change after which the pipeline goes through to its end."""

    text: str  # what to do, such as: set padding=same at conv3
    pipeline: Pipeline
    shape: Shape  # the input's


class Problem(NamedTuple):
    """A pipeline, and the stage at which its shapes stop."""

    fix: Fix  # what was changed so far; without a text nothing
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
        if setting not in {field.name for field in fields(node.layer)}:
            return
        try:
            layer = replace(node.layer, **{setting: value})
        except CnnvizError:
            return
        if layer != node.layer:
            told = value_text(getattr(layer, setting))
            yield self.with_nodes(
                f"set {setting}={told} at {node.name}",
                [replace(n, layer=layer) if n is node else n for n in self.fix.pipeline.nodes],
            )

    def with_same(self, nodes: Collection[Node]) -> Iterator[Fix]:
        """Yield the pipeline with padding=same at several windows."""
        layers = {node.name: layer for node in nodes if (layer := _with_same(node.layer))}
        if len(layers) > 1:
            yield self.with_nodes(
                f"set padding=same at {_list(tuple(layers)[::-1])}",
                [
                    replace(node, layer=layers.get(node.name, node.layer))
                    for node in self.fix.pipeline.nodes
                ],
            )

    def without(self, node: Node) -> Iterator[Fix]:
        """Yield the pipeline without a stage: whoever read it reads what it read."""
        if len(node.inputs) == 1 and len(self.fix.pipeline.nodes) > 1:
            (source,) = node.inputs
            yield self.with_nodes(
                f"leave out {node.name}",
                [
                    _reading(other, {node.name: source})
                    for other in self.fix.pipeline.nodes
                    if other is not node
                ],
            )

    def with_before(self, layers: Mapping[str, Layer], name: str | None = None) -> Iterator[Fix]:
        """Yield the pipeline with layers put in before some inputs of the stage, by their name."""
        nodes, node, told = list(self.fix.pipeline.nodes), self.node, list[str]()
        taken = {INPUT, *(other.name for other in nodes)}
        put, at = list[Node](), dict[str, str]()
        for source, layer in layers.items():
            count = 1
            while (made := f"{name or layer.name}{'' if name and count == 1 else count}") in taken:
                count += 1
            taken.add(made)
            put.append(Node(made, layer, (source,)))
            at[source] = made
            joins = len(node.inputs) > 1  # then it matters which of the inputs is meant
            place = f"between {source} and {node.name}" if joins else f"before {node.name}"
            told.append(f"put {layer_text(layer)} {place}")
        nodes[self.position : self.position + 1] = [*put, _reading(node, at)]
        if put:
            yield self.with_nodes(" and ".join(told), nodes)

    def with_nodes(self, text: str, nodes: Iterable[Node]) -> Fix:
        """Return the pipeline of other nodes."""
        return Fix(self._told(text), Pipeline(tuple(nodes)), self.fix.shape)

    def with_input(self, shape: Shape) -> Fix:
        """Return the pipeline with another input."""
        return Fix(self._told(f"use an input of {by(shape)}"), self.fix.pipeline, shape)

    def _told(self, text: str) -> str:
        return f"{self.fix.text}, and {text}" if self.fix.text else text


def _behind(pipeline: Pipeline, names: Iterable[str]) -> set[str]:
    """Return the stages of these names, and all they stand on."""
    found = set(names)
    for node in reversed(pipeline.nodes):
        if node.name in found:
            found.update(node.inputs)
    return found


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    """Return a node that reads other stages in place of some."""
    inputs = tuple(names.get(name, name) for name in node.inputs)
    layer = node.layer
    if isinstance(layer, Merge):
        layer = replace(layer, stages=inputs[1:])
    return Node(node.name, layer, inputs)


def _with_same(layer: Layer) -> Layer | None:
    """Return a layer with padding=same, or None where that is no change."""
    if getattr(layer, "padding", None) in (None, Padding("same")):
        return None
    try:
        return replace(layer, padding="same")  # type: ignore[call-arg]  # of those that have it
    except CnnvizError:
        return None


def _list(names: Collection[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


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
