"""What pipelines are made of: their input, and stages with names, layers and parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from cnnviz.core.layers import Layer
from cnnviz.core.settings import STAGE_NAME
from cnnviz.core.types import Params, Samples, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError, unknown

INPUT = "input"


def as_input(x: Tensor | Samples) -> Tensor | Samples:
    """Return an input as float32 or samples; CnnvizError unless it is (C, H, W) with values."""
    if not isinstance(x, Samples):
        x = np.asarray(x, np.float32)
    if len(x.shape) != 3 or not prod(x.shape):
        raise CnnvizError(
            f"the input has shape {x.shape}", hint="give (channels, rows, columns): x[None]"
        )
    return x


@dataclass(frozen=True)
class Term:
    """A layer as written: what it is, and its name if it was given one."""

    layer: Layer
    name: str | None = None


@dataclass(frozen=True)
class Node:
    """A stage of the graph: its name, its layer and the stages it reads."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    muted: tuple[int, ...] = ()  # maps that are set to zero

    def __post_init__(self) -> None:
        if not STAGE_NAME.fullmatch(self.name):
            raise RequestError(
                f"{self.name!r} cannot name a stage",
                hint="start with a letter or _, go on with letters, digits, _ . -",
            )
        fewest, most = self.layer.arity
        if not fewest <= len(self.inputs) <= (most or len(self.inputs)):
            raise RequestError(f"{self.name} reads {len(self.inputs)} stages")

    def mute(self, values: Tensor) -> Tensor:
        """Return an output, or its gradient, with the muted maps set to zero."""
        if not self.muted:
            return values
        values = values.copy()
        values[list(self.muted)] = 0
        return values

    def check_muted(self, shape: Shape) -> None:
        """Raise CnnvizError unless an output of `shape` has the muted maps."""
        if self.muted and max(self.muted) >= shape[0]:
            raise CnnvizError(
                f"there is no map {max(self.muted)} to leave out",
                hint=f"it has maps 0 to {shape[0] - 1}",
            )

    def given(self, index: int, shapes: Sequence[Shape], params: Params) -> dict[str, Tensor]:
        """Return those of a pipeline's parameters that are this stage's, by their own names.

        Raises
        ------
        CnnvizError
            If one is of another shape than the stage, the `index`th, needs for inputs of `shapes`.
        """
        own = {}
        for name, spec in self.layer.param_shapes(*shapes).items():
            if (key := f"{self.name}.{name}") not in params:
                continue
            own[name] = params[key]
            if own[name].shape != spec.shape:
                raise CnnvizError(
                    f"stage {index} {self.name}: its {name} is {own[name].shape}, and for this "
                    f"input it would be {spec.shape}",
                    hint="the weights were made for pictures of another size or number of channels",
                )
        return own

    def params(
        self, index: int, shapes: Sequence[Shape], given: Params, seed: int
    ) -> Mapping[str, Tensor]:
        """Return this stage's own parameters: those given, the rest as the layer starts with.

        Filters are drawn from `seed` and `index`, so that every command draws the same. Errors are
        those of `given`.
        """
        own = self.given(index, shapes, given)
        if len(own) == len(self.layer.param_shapes(*shapes)):
            return own
        return {**self.layer.initial_params((seed, index), *shapes), **own}


def between(nodes: Sequence[Node], first: str, last: str) -> list[tuple[int, Node]]:
    """Return the stages on the ways from a stage, or ``input``, to a later one, and their numbers.

    Those that read the first, directly or not, and that the last is or reads; not the first itself.
    """
    reached, forward = {first}, list[tuple[int, Node]]()
    for index, node in enumerate(nodes, start=1):
        if node.name != first and reached & set(node.inputs):
            reached.add(node.name)
            forward.append((index, node))
    wanted, path = {last}, list[tuple[int, Node]]()
    for index, node in reversed(forward):
        if node.name in wanted:
            wanted.update(node.inputs)
            path.append((index, node))
    return path[::-1]


def read_on(path: Sequence[tuple[int, Node]]) -> set[str]:
    """Return the names of stages and of all that they read."""
    return {name for _, node in path for name in (node.name, *node.inputs)}


def seeded(gradient: Tensor | tuple[int, ...], stage: str, shape: Shape) -> Tensor:
    """Return a gradient of a stage's shape, or that of the sum of some of its values."""
    if not isinstance(gradient, tuple):
        if gradient.shape != shape:
            raise CnnvizError(f"the gradient is {gradient.shape}, and {stage} is {shape}")
        return np.asarray(gradient, np.float32)
    sides = zip(gradient, shape, strict=False)
    if len(gradient) > len(shape) or not all(0 <= at < side for at, side in sides):
        raise CnnvizError(f"{stage} is {shape}: it has no {gradient}")
    chosen = np.zeros(shape, np.float32)
    chosen[gradient] = 1
    return chosen


class Names:
    """The names of the stages so far, in order, and how many of each layer there are."""

    def __init__(self) -> None:
        self._order = [INPUT]
        self._known = {INPUT}
        self._layers = Counter[str]()

    def add(self, name: str, layer: Layer) -> None:
        """Enter a stage."""
        self._order.append(name)
        self._known.add(name)
        self._layers[layer.name] += 1

    def default(self, layer: Layer) -> str:
        """Return a stage's name when none is given: the layer's and how many of it there are."""
        count = 1 + self._layers[layer.name]
        while f"{layer.name}{count}" in self._known:
            count += 1
        return f"{layer.name}{count}"

    def resolve(self, name: str, later: Mapping[str, int]) -> str:
        """Return the name of the earlier stage that `name`, or an index, stands for."""
        if name.isdecimal():
            if len(name) < 10 and int(name) < len(self._order):
                return self._order[int(name)]
            before = len(self._order) - 1
            raise RequestError(
                f"stage {name} does not come before this one",
                hint=f"{before} stages do" if before else "this is the first stage",
            )
        if name in self._known:
            return name
        if later.get(name, 0) > 0:
            raise RequestError(
                f"stage {name!r} comes later", hint="a stage can only read earlier ones: no cycles"
            )
        raise unknown("stage", name, self._order)
