"""A model -> a pipeline: its graph is walked once, constants are folded, the rest is stages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

from cnnviz.core.pipeline import INPUT, Node, Pipeline
from cnnviz.core.types import Pair, Params, Shape
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx import arranging, sliding, valuewise
from cnnviz.files.onnx.call import Call, Known, Stages, UnsupportedError, Value
from cnnviz.files.onnx.folding import FOLDS, OF_SHAPES
from cnnviz.files.onnx.protobuf import Array, Graph, OnnxNode, read_model, shown

Operator = Callable[[Call], Value | tuple[Value, ...]]

OPERATORS: dict[str, Operator] = {
    **sliding.OPERATORS,
    **valuewise.OPERATORS,
    **arranging.OPERATORS,
}
"""Every operator that becomes a stage, by its ONNX name."""

STAND_INS = (224, 288)
"""Sides an input of any size is tried with: what comes of both is what comes of every size."""

LARGEST_INPUT = 1 << 31  # values
FOLDED = 1 << 25  # values that constants may come to, all in all, beside the model's own
MOST_NAMED = 12  # stages or reasons an error lists of one kind
OLDEST = 6  # opset


class Model(NamedTuple):
    """A pipeline, its parameters, and the image the model was made for."""

    pipeline: Pipeline
    params: Params
    channels: int | None  # None: a vector, of any picture with that many values
    size: Pair | None  # rows, columns; None: any


def load_onnx(path: str) -> Model:
    """Read a model as a pipeline of stages with its nodes' names.

    Raises
    ------
    CnnvizError
        If the file cannot be read or is no model, and for operators that cnnviz has no layer for:
        all of them at once, with the stages they sit in.
    """
    try:
        return _model(read_model(Path(path)))
    except CnnvizError as error:
        raise CnnvizError(f"{path}: {error.message}", hint=error.hint) from None


def _model(graph: Graph) -> Model:
    shape = graph.input.shape
    if len(shape) < 2 or len(shape) > 4:
        raise CnnvizError(
            f"the input {graph.input.name} is {graph.input.text}, not a picture",
            hint="cnnviz runs models of (1, channels, rows, columns), or (1, N)",
        )
    if shape[0] not in (None, 1):
        raise CnnvizError(
            f"the input {graph.input.name} is a batch of {shape[0]}",
            hint="export the model with a batch of 1, or of any size",
        )
    if any(side is not None and side < 1 for side in shape) or shape[1] is None:
        raise CnnvizError(
            f"the input {graph.input.name} is {graph.input.text}", hint="every side must be fixed"
        )
    first, second = (
        (1, *(stand_in if side is None else side for side in shape[1:])) for stand_in in STAND_INS
    )
    if (size := prod(first)) > LARGEST_INPUT:
        raise CnnvizError(f"the input {graph.input.name} is {graph.input.text}, {size:,} values")
    built = _built(graph, first, second)
    if first != second and build(graph, second).pipeline != built.pipeline:
        raise CnnvizError(
            f"the layers depend on the size of the input {graph.input.name}, {graph.input.text}",
            hint="fix the size: export the model for the pictures you have",
        )
    if len(shape) == 2:
        return Model(built.pipeline, built.params, None, None)
    channels, rows, columns = built.input_shape
    fixed = first == second
    return Model(built.pipeline, built.params, channels, (rows, columns) if fixed else None)


def _built(graph: Graph, shape: tuple[int, ...], other: tuple[int, ...]) -> Built:
    """Build the graph; what fails otherwise at another size fails for the size's sake."""
    try:
        return build(graph, shape)
    except CnnvizError as error:
        try:
            build(graph, other)
        except CnnvizError as again:
            if again.message == error.message:
                raise error from None
        tried = "×".join(map(str, shape[1:]))
        raise CnnvizError(
            f"{error.message} (its input is {graph.input.text}, {tried} was tried)",
            hint="its layers want one size: export it with that size",
        ) from None


class Built(NamedTuple):
    """What became of a graph."""

    pipeline: Pipeline
    params: Params
    input_shape: Shape  # (C, H, W)


class _Failed:
    """What a node of an unsupported operator gives: those that read it are passed over."""


FAILED = _Failed()


def build(graph: Graph, input_shape: Shape) -> Built:
    """Return the pipeline of a graph for an input of `input_shape`, batch and all."""
    if graph.opset < OLDEST:
        raise CnnvizError(
            f"it is of opset {graph.opset}", hint=f"opsets from {OLDEST} can be read: convert it"
        )
    return _Builder(graph, input_shape).build()


class _Builder:
    def __init__(self, graph: Graph, input_shape: Shape) -> None:
        self.graph = graph
        self.stages = Stages()
        self.known: dict[str, Known | _Failed] = dict(graph.constants)
        self.faults: dict[str, list[str]] = {}  # what is unsupported: the stages it sits in
        self.wrong: list[str] = []
        self.folded = 0
        self.image = self._feed(input_shape)

    def _feed(self, shape: Shape) -> Shape:
        """Make the graph's input known and return the image's shape."""
        name = self.graph.input.name
        if len(shape) == 2:
            image: Shape = (shape[1], 1, 1)
            self.known[name] = Value(INPUT, image, shape, "flatten")
        elif len(shape) == 3:
            image = (shape[1], 1, shape[2])
            self.known[name] = Value(INPUT, image, shape)
        elif self._is_channels_last(shape):
            _, rows, columns, channels = shape
            image = (channels, rows, columns)
            source = Value(INPUT, image, (1, *image))
            turned = self.stages.add(
                self.stages.name("channels_last", ""), "transpose", [source], axes=(1, 2, 0)
            )
            self.stages.turned[turned.stage] = (source, (0, 2, 3, 1))
            self.known[name] = turned
        else:
            image = shape[1:]
            self.known[name] = Value(INPUT, image, shape)
        return image

    def _is_channels_last(self, shape: Shape) -> bool:
        """Whether the input is (1, H, W, C), which the graph turns into (1, C, H, W) first."""
        colours = (1, 3, 4)
        return shape[3] in colours and shape[1] not in colours and any(
            node.operator == "Transpose"
            and node.inputs == (self.graph.input.name,)
            and node.attributes.get("perm") == (0, 3, 1, 2)
            for node in self.graph.nodes
        )  # fmt: skip

    def build(self) -> Built:
        for node in _needed(self.graph):
            self._take(node)
        self._complain()
        ends = [self.known[name] for name in self.graph.outputs if name in self.known]
        last = [self._end(end) for end in ends if isinstance(end, Value)]
        nodes = _reached(self.stages.nodes, last)
        if not nodes:
            raise CnnvizError("its output does not depend on its input")
        names = {node.name for node in nodes}
        params = {
            key: array
            for key, array in self.stages.params.items()
            if key.rpartition(".")[0] in names
        }
        return Built(Pipeline(nodes), params, self.image)

    def _end(self, end: Value) -> str:
        """Return the stage of an output, in the shape ONNX gives it where stages have such."""
        with contextlib.suppress(UnsupportedError):
            end = self.stages.shaped(end)
        if end.stage == INPUT:  # only views of it: a stage that hands it on
            image = Value(INPUT, self.image, (1, *self.image))
            end = self.stages.add(self.stages.name("output", ""), "dropout", [image], p=0)
        return end.stage

    def _take(self, node: OnnxNode) -> None:
        """Compute what a node makes known."""
        missing = [name for name in node.inputs if name and name not in self.known]
        if missing:
            raise CnnvizError(
                f"node {shown(_label(node))} reads {shown(missing[0])!r}, which nothing before it "
                "computes",
                hint="a weight is missing, or the graph is a cycle or out of order",
            )
        given = tuple(self.known[name] if name else None for name in node.inputs)
        results = self._results(node, given)
        if isinstance(results, _Failed):
            made: Iterable[Known | _Failed] = [results] * len(node.outputs)
        else:
            made = [*results, *[FAILED] * (len(node.outputs) - len(results))]
        for name, result in zip(node.outputs, made, strict=False):  # all outputs may be left out
            if name in self.known:
                raise CnnvizError(f"{shown(name)!r} is computed twice")
            if name:
                self.known[name] = result

    def _results(
        self, node: OnnxNode, given: tuple[Known | _Failed | None, ...]
    ) -> tuple[Known, ...] | _Failed:
        operator, label = node.operator, shown(_label(node))
        if operator not in OPERATORS and operator not in FOLDS:
            self.faults.setdefault(shown(operator), []).append(label)
            return FAILED
        inputs = tuple(one for one in given if not isinstance(one, _Failed))
        if len(inputs) < len(given):
            return FAILED
        call = Call(node, inputs, self.graph.opset, self.stages)
        try:
            if any(isinstance(one, Value) for one in inputs) and operator not in OF_SHAPES:
                made = OPERATORS.get(operator, _refuse)(call)
                return made if isinstance(made, tuple) else (made,)
            return self._fold(call)
        except UnsupportedError as reason:
            self.faults.setdefault(f"{operator}: {reason}", []).append(label)
        except CnnvizError as error:
            self.wrong.append(f"{operator} {label}: {error.message}")
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            # NumPy's and Python's words for shapes, types and sizes that do not go together.
            self.wrong.append(f"{operator} {label}: {error}")
        return FAILED

    def _fold(self, call: Call) -> tuple[Array, ...]:
        if call.node.operator not in FOLDS:
            raise UnsupportedError("on constants")
        made = FOLDS[call.node.operator](call)
        results = made if isinstance(made, tuple) else (made,)
        self.folded += sum(result.size for result in results if result.base is None)
        if self.folded > FOLDED:
            raise CnnvizError(f"its constants come to more than {FOLDED:,} values")
        return results

    def _complain(self) -> None:
        """Raise one error for everything that is wrong or unsupported."""
        for name in self.graph.outputs:
            if name not in self.known:
                raise CnnvizError(f"nothing computes its output {shown(name)!r}")
            if isinstance(self.known[name], _Failed) and not self.faults and not self.wrong:
                raise CnnvizError(f"its output {shown(name)!r} is one no layer gives")
        if self.wrong:
            listed = "; ".join(self.wrong[:MOST_NAMED])
            raise CnnvizError(listed + _more(self.wrong), hint="the model is damaged or unusual")
        if self.faults:
            listed = "; ".join(
                f"{what} ({', '.join(stages[:MOST_NAMED])}{_more(stages)})"
                for what, stages in list(self.faults.items())[:MOST_NAMED]
            )
            raise CnnvizError(
                f"no layer computes {listed}{_more(self.faults)}",
                hint="cnnviz/docs/weights.md lists the operators that can be read",
            )


def _refuse(call: Call) -> Value:
    """Build an operator that is known for constants only."""
    del call
    raise UnsupportedError("on what stages compute")


def _label(node: OnnxNode) -> str:
    return node.name or (node.outputs[0] if node.outputs else node.operator)


def _more(faults: list[str] | Mapping[str, object]) -> str:
    return f" and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""


def _needed(graph: Graph) -> list[OnnxNode]:
    """Return the nodes on which some output depends, in order."""
    wanted, needed = set(graph.outputs), list[OnnxNode]()
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            needed.append(node)
            wanted.update(node.inputs)
    return needed[::-1]


def _reached(nodes: list[Node], ends: list[str]) -> tuple[Node, ...]:
    """Return the stages on which `ends` depend, in order."""
    wanted, reached = set(ends), list[Node]()
    for node in reversed(nodes):
        if node.name in wanted:
            reached.append(node)
            wanted.update(node.inputs)
    return tuple(reached[::-1])
