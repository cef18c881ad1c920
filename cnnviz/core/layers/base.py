"""What every layer is: frozen settings, and shapes, parameters, costs and values by them."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.arithmetic import Arithmetic, by, cell_text, single, summed
from cnnviz.core.field import SAME, Indices, Reads
from cnnviz.core.settings import Option, option
from cnnviz.core.threads import share, thread_count
from cnnviz.core.types import Pair, Params, Seed, Shape, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError, unknown

ELEMENTS = 1 << 17
"""How many values an elementwise layer computes at a time: they stay in the cache."""

FEW = 4  # blocks of so many values that a second thread would not pay


class ParamSpec(NamedTuple):
    """One parameter a layer needs: its shape, whether training changes it, its value at first."""

    shape: Shape
    trained: bool = True
    start: float = 0.0  # of all its numbers, where the layer draws none


Settings = TypeVar("Settings", bound=type[Any])


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
def settings(layer: Settings) -> Settings:
    """Make a class of settings a frozen dataclass of fields that are given by keyword.

    What `Layer` says once for all is not generated for each, and nothing at all for a layer without
    settings of its own: generating takes Python longer than everything else in these files.
    """
    has_own = any(not kind.startswith("ClassVar") for kind in layer.__annotations__.values())
    if has_own or len(layer.__bases__) > 1:
        dataclass(frozen=True, kw_only=True, eq=False, repr=False)(layer)
    return layer


class _Frozen:
    """Without attributes to set: a frozen dataclass guards its own, not its subclasses'."""

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


@dataclass(frozen=True, eq=False, repr=False)
class Layer(_Frozen, ABC):
    """A layer's settings; its weights come as a mapping when it is applied.

    Subclasses are frozen dataclasses of fields made with ``option``, decorated with
    ``@settings`` and registered with ``@register``. Everything else (text, tables, help, contract
    tests) reads the registry. Layers of one kind with equal settings are equal.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    arity: ClassVar[tuple[int, int | None]] = (1, 1)  # fewest and most inputs
    order: ClassVar[tuple[str, ...]] = ()  # options that come first by position, before the others
    is_stage: ClassVar[bool] = True  # False for words that only steer the graph
    keeps_maps: ClassVar[bool] = False  # map c comes from map c alone, and may bear its name
    reads_samples: ClassVar[bool] = False  # apply takes 8-bit Samples for an input, too
    unread: ClassVar[str | None] = None  # "listed" or "counted" where rows may stay unread
    weights_from: ClassVar[str] = "set"  # where those not given come from: drawn, kernels

    def __post_init__(self) -> None:
        for field, how in options_of(type(self)):
            value = how.read(getattr(self, field.name), f"{self.name}: {field.name}")
            object.__setattr__(self, field.name, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        names = (field.name for field in dataclasses.fields(self))
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({values})"

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the output's shape for inputs of `shapes`; CnnvizError if they do not fit.

        Here: that of the (first) input.
        """
        return shapes[0]

    def output_plane(self, shape: Shape) -> Pair:
        """Return rows and columns of the output for maps of `shape`, whatever their channels."""
        return plane(self.output_shape(shape))

    def formulas(self, *shapes: Shape) -> Mapping[str, str]:
        """Return how the output's sides come about, with the numbers of `shapes` put in.

        What each formula is about is its key: every side's name (channels, rows, columns, values),
        and what else only this layer has. Number and padding of windows, groups, parameters and
        unread pixels are no matter of the layer's: `derive` says them. Where numbers do not go
        together the text is a `Misfit`; CnnvizError if the layer has no rule for such inputs.
        """
        return {"shape": f"{by(self.output_shape(*shapes))}, unchanged"}

    @abstractmethod
    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Compute the output, float32 of ``output_shape``, leaving the inputs as they are."""

    def param_shapes(self, *shapes: Shape) -> Mapping[str, ParamSpec]:
        """Return the parameters the layer needs for inputs of `shapes`, by name."""
        return {}

    def initial_params(self, seed: Seed, *shapes: Shape) -> Params:
        """Return the parameters used when none are given, those that are drawn from `seed`.

        Here: each as its spec starts.
        """
        specs = self.param_shapes(*shapes)
        return {name: np.full(one.shape, one.start, np.float32) for name, one in specs.items()}

    def macs(self, *shapes: Shape) -> int:
        """Return how many multiply-adds the weights take part in, bias not counted."""
        return 0

    def groups_for(self, channels: int) -> int | None:
        """Return into how many groups of channels the layer's filters part, if it has any."""
        return None

    def window(self, shape: Shape) -> Window | None:
        """Return the window that slides over an input of `shape`, if one does."""
        return None

    def contamination(self, shape: Shape) -> float | None:
        """Return the share of its windows' cells that are padding; None without windows."""
        window = self.window(shape)
        return None if window is None else window.contamination(plane(shape))

    def map_names(self, *names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the output maps' names, given the inputs'; none where they have none."""
        return names[0] if self.keeps_maps else ()

    def reads(self, *shapes: Shape) -> tuple[Reads, ...]:
        """Return what each position of the output reads of each input, of `shapes`, axis by axis.

        Here: every value reads those in its place.
        """
        return tuple((SAME,) * len(shape) for shape in shapes)

    @abstractmethod
    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient of each input: the vector-Jacobian product.

        Parameters
        ----------
        gradient : Tensor
            How much some number changes with each value of the output, of its shape.
        output : Tensor
            What `apply` made of `inputs` and `params`.
        """

    @abstractmethod
    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return how the output's value at `at` is made of values of the inputs."""

    def arguments(self) -> Iterator[tuple[str | None, Any]]:
        """Yield (name, value) of each setting that differs from its default, as text needs it.

        The name is None where position says it: while no setting before it was left out.
        """
        positional = True
        for field, how in options_of(type(self)):
            value = getattr(self, field.name)
            if value == read_default(type(self), field) and not how.always:
                positional = False
                continue
            yield (field.name if not positional else None), value
            positional = positional and not (how.variadic and isinstance(value, tuple))

    def references(self) -> tuple[str, ...]:
        """Return the stages this layer names as further inputs."""
        return ()


def per_channel(values: Tensor, axes: int) -> Tensor:
    """Return a vector of values shaped so that each meets its channel of a tensor of `axes`."""
    return values.reshape(-1, *(1,) * (axes - 1))


def plane(shape: Shape) -> Pair:
    """Return the (rows, columns) of a (C, H, W) shape."""
    return (shape[1], shape[2])


@cache
def options_of(layer: type[Layer]) -> tuple[tuple[dataclasses.Field[Any], Option], ...]:
    """Return a layer's fields with their options, in the order of its positional arguments."""
    fields = {field.name: field for field in dataclasses.fields(layer)}
    names = [*layer.order, *(name for name in fields if name not in layer.order)]
    return tuple((fields[name], fields[name].metadata["option"]) for name in names)


@cache
def read_default(layer: type[Layer], field: dataclasses.Field[Any]) -> Any:
    """Return a field's default as its reader makes it, or MISSING."""
    if field.default is dataclasses.MISSING:
        return dataclasses.MISSING
    how: Option = field.metadata["option"]
    return how.read(field.default, f"{layer.name}: {field.name}")


LAYERS: dict[str, type[Layer]] = {}
"""Every layer by its name, aliases left out, in the order the documentation lists them."""

ALIASES: dict[str, str] = {}

Registered = TypeVar("Registered", bound=type[Layer])


def register(layer: Registered) -> Registered:
    """Enter a layer into the registry under its name and aliases."""
    LAYERS[layer.name] = layer
    ALIASES.update(dict.fromkeys(layer.aliases, layer.name))
    return layer


def define(base: type[Layer], name: str, source: str, **facts: Any) -> None:
    """Register a layer that differs from others of its kind in facts alone: a row of a table.

    `source` says what it is or who published it. Of the facts those made with `option` are
    settings, in this order; the others are attributes of the class.
    """
    fields = {key: "Any" for key, fact in facts.items() if isinstance(fact, dataclasses.Field)}
    body = {"__doc__": source, "__module__": base.__module__, "__annotations__": fields}
    kind = type(name.title().replace("_", ""), (base,), {**body, "name": name, **facts})
    register(settings(kind))


def find_layer(name: str) -> type[Layer]:
    """Return the layer of that name or alias; RequestError with the nearest names if none."""
    known = ALIASES.get(name.lower(), name.lower())
    if known not in LAYERS:
        raise unknown("layer", name, [*LAYERS, *ALIASES], see="cnnviz layers lists them")
    return LAYERS[known]


def make_layer(name: str, *values: Any, **settings: Any) -> Layer:
    """Build a layer from its name and arguments as a pipeline's text gives them.

    >>> make_layer("maxpool", 2, padding="same").output_shape((3, 5, 5))
    (3, 3, 3)
    """
    layer = find_layer(name)
    options = options_of(layer)
    names = [field.name for field, _ in options]
    if values and options and (variadic := options[0][1].variadic) and variadic(values[0]):
        values = (values,)
    if len(values) > len(names):
        takes = f"at most {len(names)}: {', '.join(names)}" if names else "none"
        raise RequestError(f"{layer.name}() got {len(values)} arguments", hint=f"it takes {takes}")
    arguments = dict(zip(names, values, strict=False))
    for key, value in settings.items():
        if key not in names:
            raise unknown(f"option of {layer.name}()", key, names)
        if key in arguments:
            raise RequestError(f"{layer.name}() got {key} twice")
        arguments[key] = value
    for field, _ in options:
        if field.default is dataclasses.MISSING and field.name not in arguments:
            raise RequestError(
                f"{layer.name}() needs {field.name}", hint=f"cnnviz layers {layer.name} explains it"
            )
    return layer(**arguments)


def require_maps(shape: Shape, layer: str) -> Shape:
    """Return `shape` if it is (C, H, W); CnnvizError for a vector."""
    if len(shape) != 3:
        raise CnnvizError(
            f"{layer} needs maps (C, H, W), not a vector of {shape[0]}",
            hint="put it before flatten, gap -> dense",
        )
    return shape


def require_axes(axes: tuple[int, ...], shape: Shape, layer: str) -> None:
    """Raise CnnvizError unless `shape` has all of the axes."""
    if max(axes) >= len(shape):
        raise CnnvizError(
            f"{layer}: a vector of {shape[0]} has no axis {max(axes)}",
            hint="axis 0 is its only one",
        )


class Elementwise(Layer):
    """A layer of values that each come from the one in its place: it may be computed there."""

    keeps_maps: ClassVar[bool] = True

    @abstractmethod
    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Compute the output into `out`, contiguous and perhaps the input itself, or a new one."""


class Identity(Layer):
    """A layer that hands its input on as it is."""

    keeps_maps: ClassVar[bool] = True
    formula: ClassVar[str] = "x"

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the input."""
        return inputs[0]

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return the gradient."""
        return (gradient,)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the value."""
        return summed(single(inputs[0], at))


class Rearrangement(Layer):
    """A layer that moves values without changing one: each comes from one place."""

    @abstractmethod
    def move(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the values of `x`, of any type, in their new places."""

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the values in their new places."""
        return self.move(inputs[0])

    def origins(self, shape: Shape) -> Indices:
        """Return where each value of the output comes from, as its number in the input."""
        return self.move(np.arange(prod(shape)).reshape(shape))

    def backward(
        self, gradient: Tensor, output: Tensor, *inputs: Tensor, params: Params
    ) -> tuple[Tensor, ...]:
        """Return each gradient where its value came from, 0 where none was taken."""
        back = np.zeros(inputs[0].size, np.float32)
        back[self.origins(inputs[0].shape).reshape(-1)] = gradient.reshape(-1)
        return (back.reshape(inputs[0].shape),)

    def explain(self, at: tuple[int, ...], *inputs: Tensor, params: Params) -> Arithmetic:
        """Return the one value, and where it comes from."""
        origin = np.unravel_index(self.origins(inputs[0].shape)[at], inputs[0].shape)
        place = tuple(int(index) for index in origin)
        return summed(single(inputs[0], place), f"moved from {cell_text(place)}")


def elementwise(
    function: Callable[[Tensor], NDArray[np.floating[Any]]], x: Tensor, out: Tensor | None = None
) -> Tensor:
    """Apply `function` to every value, a cache-sized block at a time."""
    output = np.empty(x.shape, np.float32) if out is None else out
    source, target = np.ascontiguousarray(x).reshape(-1), output.reshape(-1)

    def worker(start: int) -> None:
        target[start : start + ELEMENTS] = function(source[start : start + ELEMENTS])

    starts = range(0, source.size, ELEMENTS)
    share(starts, lambda: worker, thread_count() if len(starts) > FEW else 1)
    return output
