"""A graph -> stages: it is walked once, constants are folded, the rest is stages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from cnnviz.core.pipeline import INPUT, Node, Pipeline
from cnnviz.core.types import Params, Shape
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx import arranging, sliding, valuewise
from cnnviz.files.onnx.call import Call, Known, Stages, UnsupportedError, Value
from cnnviz.files.onnx.folding import FOLDS, OF_SHAPES
from cnnviz.files.onnx.protobuf import Array, Branch, Graph, OnnxNode, shown

Operator = Callable[[Call], Value | tuple[Value, ...]]

OPERATORS: dict[str, Operator] = {
    **sliding.OPERATORS,
    **valuewise.OPERATORS,
    **arranging.OPERATORS,
}
"""Every operator that becomes a stage, by its ONNX name."""

LABELLING = frozenset(
    {"ArgMax", "ArgMin", "TopK", "ai.onnx.ml.ZipMap", "ai.onnx.ml.ArrayFeatureExtractor",
     "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.CategoryMapper", "ai.onnx.ml.StringConcat"}
)  # fmt: skip
"""Operators that only say which of their input's values is the largest, and how it is called."""

FIRST_AXES = frozenset({*sliding.OPERATORS} - {"Pad"}) | {
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN",
}  # fmt: skip
"""Operators whose input has its channels first."""

FOLDED = 1 << 25  # values that constants may come to, all in all, beside the model's own
MOST_TOLD = 12  # stages or reasons an error lists of one kind
OLDEST = 6  # opset


class Built(NamedTuple):
    """What became of a graph."""

    pipeline: Pipeline
    params: Params
    input_shape: Shape  # (C, H, W)
    notes: tuple[str, ...] = ()  # what was left out


class _Failed:
    """What a node gives whose operator is unsupported: those that read it are passed over."""


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
        self.notes: list[str] = []
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
        elif channels_last(self.graph):
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
        if self.graph.input.largest is not None:
            self.stages.whole.update((INPUT, *self.stages.turned))
        return image

    def build(self) -> Built:
        outputs = self._outputs()
        for node in _needed(self.graph.nodes, outputs):
            self._take(node)
        outputs = self._complain(outputs)
        ends = [self.known[name] for name in outputs]
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
        return Built(Pipeline(nodes), params, self.image, tuple(self.notes))

    def _outputs(self) -> tuple[str, ...]:
        """Return the outputs, in place of labels what they are the labels of."""
        makers = {name: node for node in self.graph.nodes for name in node.outputs}
        found = dict[str, None]()
        for name in self.graph.outputs:
            source, node = name, makers.get(name)
            alone = len(self.graph.outputs) == 1
            while node and node.operator in LABELLING and not (alone and node.operator == "ArgMax"):
                source = node.inputs[0] if node.inputs else ""
                node = makers.get(source)
            if source != name:
                self.notes.append(
                    f"the output {shown(name)} is left out: it only labels {shown(source)}"
                )
            found[source] = None
        return tuple(found)

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
        if operator not in OPERATORS and operator not in FOLDS and operator != "If":
            self.faults.setdefault(shown(operator), []).append(label)
            return FAILED
        inputs = tuple(one for one in given if not isinstance(one, _Failed))
        if len(inputs) < len(given):
            return FAILED
        call = Call(node, inputs, self.graph.opset, self.stages)
        try:
            if operator == "If":
                return self._branch(call)
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

    def _branch(self, call: Call) -> tuple[Known, ...] | _Failed:
        """Take the nodes of the branch that a constant condition chooses."""
        chosen = bool(call.constant(0).reshape(-1)[:1].any())
        branch = call.node.attributes.get("then_branch" if chosen else "else_branch")
        if not isinstance(branch, Branch):
            raise CnnvizError("it has no branch")
        for name, constant in branch.constants.items():
            self.known.setdefault(name, constant)
        for node in branch.nodes:
            self._take(node)
        made = [self.known.get(name, FAILED) for name in branch.outputs]
        return tuple(one for one in made if not isinstance(one, _Failed)) or FAILED

    def _fold(self, call: Call) -> tuple[Array, ...]:
        if call.node.operator not in FOLDS:
            raise UnsupportedError("on constants")
        made = FOLDS[call.node.operator](call)
        results = made if isinstance(made, tuple) else (made,)
        self.folded += sum(result.size for result in results if result.base is None)
        if self.folded > FOLDED:
            raise CnnvizError(f"its constants come to more than {FOLDED:,} values")
        return results

    def _complain(self, outputs: tuple[str, ...]) -> tuple[str, ...]:
        """Return the outputs that were built, or raise one error for all that is in their way."""
        for name in outputs:
            if name not in self.known:
                raise CnnvizError(f"nothing computes its output {shown(name)!r}")
        failed = [name for name in outputs if isinstance(self.known[name], _Failed)]
        built = tuple(name for name in outputs if isinstance(self.known[name], Value))
        if failed and built and not self.wrong:
            without = ", ".join(self.faults) or "an output that no layer gives"
            listed = ", ".join(map(shown, failed[:MOST_TOLD]))
            self.notes.append(f"left out, for no layer computes {without}: the outputs {listed}")
            return built
        if failed and not self.faults and not self.wrong:
            raise CnnvizError(f"its output {shown(failed[0])!r} is one no layer gives")
        if self.wrong:
            listed = "; ".join(self.wrong[:MOST_TOLD])
            raise CnnvizError(listed + _more(self.wrong), hint="the model is damaged or unusual")
        if self.faults:
            listed = "; ".join(
                f"{what} ({', '.join(stages[:MOST_TOLD])}{_more(stages)})"
                for what, stages in list(self.faults.items())[:MOST_TOLD]
            )
            raise CnnvizError(
                f"no layer computes {listed}{_more(self.faults)}",
                hint="cnnviz/docs/weights.md lists the operators that can be read",
            )
        return built


def _refuse(call: Call) -> Value:
    """Build an operator that is known for constants only."""
    del call
    raise UnsupportedError("on what stages compute")


def _label(node: OnnxNode) -> str:
    return node.name or (node.outputs[0] if node.outputs else node.operator)


def _more(told: list[str] | Mapping[str, object]) -> str:
    return f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""


def _needed(nodes: tuple[OnnxNode, ...], outputs: Iterable[str]) -> list[OnnxNode]:
    """Return the nodes on which some output depends, in order."""
    wanted, needed = set(outputs), list[OnnxNode]()
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            needed.append(node)
            wanted.update(_read_by(node))
    return needed[::-1]


def _read_by(node: OnnxNode) -> Iterator[str]:
    """Yield the tensors that a node reads, or the graphs within it."""
    yield from node.inputs
    for value in node.attributes.values():
        if isinstance(value, Branch):
            yield from value.outputs
            for inner in value.nodes:
                yield from _read_by(inner)


def channels_last(graph: Graph) -> bool:
    """Tell whether the input is (1, H, W, C): what first moves or reads its axes says so.

    Whatever works value by value, pads or cuts on the way there leaves the layout as it is. Where
    nothing says, a last side of 1 or 3 is the channels if the second cannot be.
    """
    shape, reached = graph.input.shape, {graph.input.name}
    if len(shape) != 4:
        return False
    for node in graph.nodes:
        if not node.inputs or node.inputs[0] not in reached:
            if reached.isdisjoint(node.inputs):
                continue
        elif node.operator in FIRST_AXES:
            return False
        elif node.operator == "Transpose":
            return node.attributes.get("perm") == (0, 3, 1, 2)
        if node.operator not in OF_SHAPES:
            reached.update(node.outputs)
    return shape[3] in (1, 3) and shape[1] not in (1, 3, 4)


def _reached(nodes: list[Node], ends: list[str]) -> tuple[Node, ...]:
    """Return the stages on which `ends` depend, in order."""
    wanted, reached = set(ends), list[Node]()
    for node in reversed(nodes):
        if node.name in wanted:
            reached.append(node)
            wanted.update(node.inputs)
    return tuple(reached[::-1])
