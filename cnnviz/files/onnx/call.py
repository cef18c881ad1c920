"""What an operator's builder is given: its inputs, its attributes, and stages to add.

ONNX's tensors have a batch axis, which is 1 here and dropped. A tensor of (1, C, H, W) is maps
(C, H, W), (1, N) a vector, and (1, C, L) maps of one row, (C, 1, L). Reshaping moves no value, so a
`Value` keeps ONNX's shape beside its stage's, and a stage is added when a reader needs it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from cnnviz.core.layers import make_layer
from cnnviz.core.layers.base import find_layer
from cnnviz.core.layers.graph import Merge
from cnnviz.core.pipeline import INPUT, Node
from cnnviz.core.types import Pair, Shape, Tensor
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.protobuf import Array, OnnxNode, by, shown

LONGEST_NAME = 80  # of a stage: it goes into file names


class UnsupportedError(Exception):
    """An operator, or a way to use one, that no layer computes."""


_AXES = {2: (0,), 3: (0, 2), 4: (0, 1, 2)}
"""For each number of axes, which of (C, H, W) those after the batch are."""


@dataclass(frozen=True)
class Value:
    """A tensor some stage computes: `tensor` is the stage's shape, `shape` ONNX's.

    Both name the same values in the same order.
    """

    stage: str
    tensor: Shape
    shape: Shape
    viewed_by: str | None = None  # who gave it another shape than its stage's: a stage to be

    @property
    def rank(self) -> int:
        """How many axes it has for ONNX, the batch's included."""
        return len(self.shape)

    def axis(self, axis: int) -> int:
        """Return which axis of the maps (or the vector) an axis of ONNX's is."""
        at = place(axis, self.rank)
        if at == 0:
            raise UnsupportedError("works along the batch")
        if self.rank not in _AXES:
            raise UnsupportedError(f"its input of {self.rank} axes is neither maps nor a vector")
        return _AXES[self.rank][at - 1]


Known = Value | Array


def place(axis: int, rank: int) -> int:
    """Return an axis counted from the first of `rank`, where negative ones count from the last."""
    if not -rank <= axis < rank:
        raise CnnvizError(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank


def layout(shape: Shape) -> Shape:
    """Return the shape a stage has for a tensor of ONNX's `shape`."""
    if not shape or shape[0] != 1:
        raise UnsupportedError(f"its shape {by(shape)} has no batch of 1")
    match shape[1:]:
        case ():
            return (1,)
        case (channels, length):
            return (channels, 1, length)
        case (_,) | (_, _, _) as whole:
            return whole
    raise UnsupportedError(f"its shape {by(shape)} is neither maps nor a vector")


class Stages:
    """The stages so far and their parameters."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.params: dict[str, Tensor] = {}
        self.turned: dict[str, tuple[Value, tuple[int, ...]]] = {}  # transposes, to undo them
        self.whole = set[str]()  # stages whose values are whole numbers
        self._names = {INPUT}
        self._shaped: dict[tuple[str, Shape], str] = {}

    def name(self, wanted: str, operator: str) -> str:
        """Return a legal stage name that is not taken, as near to `wanted` as can be.

        Slashes become dots: a name may never lead out of a folder.
        """
        legal = re.sub(r"[^A-Za-z0-9_.-]+", ".", wanted.strip("/"))[:LONGEST_NAME].rstrip(".-")
        if not re.match(r"[A-Za-z_]", legal):
            legal = f"{re.sub(r'[^A-Za-z]', '', operator)[:LONGEST_NAME] or 'stage'}_{legal}"
            legal = legal.rstrip("_.-")
        name, count = legal, 1
        while name in self._names:
            count += 1
            name = f"{legal}_{count}"
        self._names.add(name)
        return name

    def add(
        self,
        name: str,
        layer: str,
        inputs: Sequence[Value],
        params: Mapping[str, Array] | None = None,
        **settings: Any,
    ) -> Value:
        """Add a stage that reads values in their own layout; its shape is the layer's to say."""
        given = [self.shaped(value) for value in inputs]
        names = tuple(value.stage for value in given)
        if issubclass(find_layer(layer), Merge):
            settings["stages"] = names[1:]
        made = make_layer(layer, **settings)
        shapes = [value.tensor for value in given]
        output = made.output_shape(*shapes)
        own = {key: _float32(array) for key, array in (params or {}).items()}
        for key, spec in made.param_shapes(*shapes).items():
            if key not in own or own[key].shape != spec.shape:
                found = by(own[key].shape) if key in own else "missing"
                raise CnnvizError(f"its {key} is {found}, not {by(spec.shape)}")
        self.nodes.append(Node(name, made, names))
        self.params.update({f"{name}.{key}": array for key, array in own.items()})
        return Value(name, output, (1, *output))

    def shaped(self, value: Value) -> Value:
        """Return a value in the shape ONNX gives it, adding a stage if need be."""
        wanted = layout(value.shape)
        if wanted == value.tensor:
            return value
        key = (value.stage, wanted)
        if key not in self._shaped:
            name = self.name(value.viewed_by or f"{value.stage}.reshaped", "Reshape")
            own = Value(value.stage, value.tensor, (1, *value.tensor))
            if len(value.tensor) != 1 and len(wanted) == 1:
                self.add(name, "flatten", [own])
            else:
                self.add(name, "reshape", [own], shape=wanted)
            self._shaped[key] = name
        return replace(value, stage=self._shaped[key], tensor=wanted)


@dataclass(frozen=True)
class Call:
    """One node of the model, ready to become stages."""

    node: OnnxNode
    inputs: tuple[Known | None, ...]
    opset: int
    stages: Stages

    @property
    def label(self) -> str:
        """What the node goes by: its name, or its first output's."""
        return self.node.name or (self.node.outputs[0] if self.node.outputs else "")

    def given(self, index: int) -> Known | None:
        """Return an input, None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int = 0) -> Value:
        """Return an input that some stage computes."""
        found = self.given(index)
        if not isinstance(found, Value):
            raise UnsupportedError(f"its input {index + 1} is not computed")
        return found

    def maps(self, index: int = 0) -> Value:
        """Return an input that is maps: (1, C, H, W), or (1, C, L) as maps of one row."""
        found = self.value(index)
        if found.rank not in (3, 4):
            raise UnsupportedError(f"its input is {by(found.shape)}, not maps")
        return found

    def constant(self, index: int) -> Array:
        """Return an input that is known beforehand."""
        found = self.optional(index)
        if found is None:
            raise CnnvizError(f"its input {index + 1} is missing")
        return found

    def optional(self, index: int) -> Array | None:
        """Return an input that is known beforehand, or None if it is left out."""
        found = self.given(index)
        if isinstance(found, Value):
            raise UnsupportedError(f"its input {index + 1} is computed")
        return found

    def static(self, name: str, index: int) -> Array | None:
        """Return what old opsets give as an attribute and new ones as an input."""
        attribute = self.node.attributes.get(name)
        if attribute is not None:
            return np.asarray(attribute)
        return self.optional(index)

    def integers(self, name: str, index: int | None = None) -> tuple[int, ...] | None:
        """Return whole numbers of an attribute, or of the input at `index`."""
        found = self.static(name, index) if index is not None else self.node.attributes.get(name)
        if found is None:
            return None
        array = np.asarray(found)
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 1000:
            raise CnnvizError(f"its {name} is not a list of whole numbers")
        return tuple(int(one) for one in array.reshape(-1))

    def integer(self, name: str, default: int) -> int:
        """Return a whole number of an attribute."""
        return int(self._attribute(name, default, int))

    def number(self, name: str, default: float) -> float:
        """Return a number of an attribute, as near to how it was written as float32 allows."""
        return shortest(self._attribute(name, float(default), float))

    def text(self, name: str, default: str) -> str:
        """Return a word of an attribute."""
        return str(self._attribute(name, default, str))

    def _attribute(self, name: str, default: Any, kind: type) -> Any:
        found = self.node.attributes.get(name, default)
        if not isinstance(found, kind):
            raise CnnvizError(f"its {name} is {shown(repr(found))}")
        return found

    def pair(self, name: str, default: int, rank: int) -> Pair:
        """Return one number for each axis of the maps."""
        found = self.integers(name)
        if found is None:
            return (default, default) if rank == 4 else (1, default)
        if len(found) != rank - 2:
            raise CnnvizError(f"its {name} has {len(found)} numbers for {rank - 2} axes")
        return (found[0], found[1]) if rank == 4 else (1, found[0])

    def add(
        self,
        layer: str,
        *inputs: Value,
        part: str = "",
        params: Mapping[str, Array] | None = None,
        **settings: Any,
    ) -> Value:
        """Add a stage under the node's name (and a part's); the output has the input's rank."""
        name = self.stages.name(self.label + part, self.node.operator)
        made = self.stages.add(name, layer, inputs, params, **settings)
        rank = inputs[0].rank
        if rank == 3 and len(made.tensor) == 3 and made.tensor[1] == 1:
            return replace(made, shape=(1, made.tensor[0], made.tensor[2]))
        return made if rank == made.rank else replace(made, shape=(1,) * (rank - 1) + made.tensor)

    def view(self, value: Value, shape: Shape, part: str = "") -> Value:
        """Return the same values in another shape: no stage before one reads it."""
        if prod(shape) != prod(value.shape):
            raise CnnvizError(f"{by(value.shape)} cannot become {by(shape)}")
        return replace(value, shape=shape, viewed_by=self.label + part)


def shortest(number: float) -> float:
    """Return the number with the fewest digits that is the same float32: 0.1, not 0.10000000149."""
    if not math.isfinite(number) or abs(number) > 3e38:
        return number
    return float(str(np.float32(number)))


def constant_like(array: Array, rank: int) -> Array:
    """Return a constant laid out to meet a value of that many axes."""
    shape = (1,) * (rank - array.ndim) + array.shape
    return array.reshape(layout(shape))


def _float32(array: Array) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise UnsupportedError(f"its weights are of type {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite
        return np.ascontiguousarray(array, np.float32).reshape(array.shape)
