"""How far a pipeline gets on an input, and which changes would bring it to its end.

Candidates come from makers, each of which knows one kind of change: a setting of the stage that
does not fit, a layer put in, an earlier stage, the input. None of them has to be right: a
candidate is kept only where the changed pipeline's shapes flow to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from math import gcd, prod
from typing import Any, NamedTuple

from cnnviz.core.border import BORDERS
from cnnviz.core.derivation import Derivation, Line, by
from cnnviz.core.layers import Layer, make_layer
from cnnviz.core.layers.base import plane
from cnnviz.core.layers.dense import Dense
from cnnviz.core.layers.graph import Combine, Concat, Merge
from cnnviz.core.options import Padding
from cnnviz.core.pipeline import INPUT, Node, Pipeline
from cnnviz.core.text import layer_text, value_text
from cnnviz.core.types import Pair, Params, Row, Shape
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError

MOST = 6  # fixes that are told
LARGEST_INPUT = 4096  # rows or columns that are searched for a size that fits
MOST_CHANNELS = 64
EACH = 3  # of one kind
NEAR = 32  # stages before the one that does not fit that are looked at
FRONT = 4  # half-way fixes that are gone on with
CHANGES = 3  # changes together, where no single one is enough


@dataclass(frozen=True)
class Attempt:
    """How far the shapes of a pipeline flow: to its end, or to the stage that stops them."""

    rows: tuple[Row, ...]
    derivations: tuple[Derivation, ...]  # one for each row
    shapes: Mapping[str, Shape]  # of the input and of every stage that fits
    error: CnnvizError | None = None
    failed: Derivation | None = None  # of the stage that does not fit; some line of it fails


def attempt(pipeline: Pipeline, shape: Shape, params: Params | None = None) -> Attempt:
    """Derive one stage after another for an input of `shape`, until one does not fit.

    Parameters and the errors that end it are those of `Pipeline.rows`.
    """
    rows, derivations, shapes = list[Row](), list[Derivation](), {INPUT: shape}
    error: CnnvizError | None = None
    failed: Derivation | None = None
    flow = pipeline.rows(shape, params)
    for node in pipeline.nodes:
        given = [shapes[name] for name in node.inputs]
        try:
            row = next(flow)
        except CnnvizError as caught:
            error, failed = caught, _failing(node.layer, given, caught)
            break
        line = node.layer.parameters_line(*given)
        rows.append(row)
        derivations.append(node.layer.derivation(*given).ended_by(*([line] if line else [])))
        shapes[node.name] = row.output_shape
    return Attempt(tuple(rows), tuple(derivations), shapes, error, failed)


def _failing(layer: Layer, given: list[Shape], error: CnnvizError) -> Derivation:
    """Return the derivation of a stage that does not fit: some line of it fails."""
    try:
        derived = layer.derivation(*given)
    except CnnvizError:
        derived = Derivation(())
    if derived.fits:  # what is wrong is no matter of its shapes' arithmetic: weights, axes
        place, _, told = error.message.partition(": ")
        derived = derived.ended_by(Line("input", told or place, fails=True))
    return derived


@dataclass(frozen=True)
class Fix:
    """A change after which the pipeline goes through to its end."""

    text: str  # what to do, such as: set padding=same at conv3
    pipeline: Pipeline
    shape: Shape  # the input's


def fixes(
    pipeline: Pipeline, shape: Shape, params: Params | None = None, *, most: int = MOST
) -> list[Fix]:
    """Return changes that make a pipeline fit an input of `shape`, the most local ones first.

    Where no single change is enough, up to three together are tried. None for a pipeline that
    fits, and where nothing is found.

    Parameters
    ----------
    pipeline : Pipeline
        What does not fit.
    shape : Shape
        The input's (C, H, W).
    params : Params, optional
        Weights whose shapes must still be right.
    most : int
        How many are wanted.
    """
    problem = _problem(Fix("", pipeline, shape), params)
    if problem is None:
        return []
    seen = _Seen()
    groups = [
        [fix for fix, left in _tried(problem, [maker], params, seen) if left is None]
        for maker in _MAKERS
    ]
    found = _spread(groups, most)
    for makers in (_MAKERS, (*_MAKERS, _left_out)):
        found = found or _combined(problem, makers, params, most)
    return found


class _Problem(NamedTuple):
    """A pipeline, and the stage at which its shapes stop."""

    fix: Fix  # what was changed so far; without a text nothing
    shapes: Mapping[str, Shape]  # of the input and of every stage before
    reason: str  # why it stops there

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

    def before(self) -> Iterator[Node]:
        """Yield the stages that the one that does not fit stands on, the nearest first."""
        for node in reversed(self.fix.pipeline.nodes[: self.position]):
            if node.name in _behind(self.fix.pipeline, self.node.inputs):
                yield node

    def apart(self) -> Iterator[Node]:
        """Yield the stages before that not all inputs stand on: the branches of a merge."""
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
            between = f" and {node.name}" if len(node.inputs) > 1 else ""
            told.append(
                f"put {layer_text(layer)} between {source}{between}"
                if between
                else f"put {layer_text(layer)} before {node.name}"
            )
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


# Settings of the stage itself ---------------------------------------------------------------------


def _windowed(layer: Layer, shape: Shape) -> tuple[Window, tuple[int, ...]] | None:
    """Return a layer's window and its pads on an input of `shape`, if one slides."""
    window = layer.window(shape) if len(shape) == 3 else None
    return None if window is None else (window, window.pads(plane(shape)))


def _fitting_kernel(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the largest kernel that fits the padded map; one that padding alone cannot hold."""
    if (found := _windowed(layer, shape)) is None:
        return
    window, pads = found
    sizes, above = plane(shape), []
    fitting = []
    for axis in (0, 1):
        kernel, step = window.kernel_size[axis], window.dilation[axis]
        padded = sizes[axis] + pads[axis] + pads[axis + 2]
        fitting.append(min(kernel, (padded - 1) // step + 1))
        above.append(max(kernel, max(pads[axis], pads[axis + 2]) // step + 1))
    if layer.family != "pooling" or fitting != [1, 1]:  # pooling single cells is none
        yield tuple(fitting)
    yield tuple(above)


def _smaller_padding(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the padding cut to what a mirror reaches, or to less than the window; then none."""
    if (found := _windowed(layer, shape)) is None:
        return
    window, pads = found
    reach = BORDERS[getattr(layer, "padding_mode", "zeros")].reach
    limits = [
        extent - 1 if (limit := reach(length)) is None else limit
        for extent, length in zip(window.extent, plane(shape), strict=True)
    ]
    yield tuple(min(pad, limits[side % 2]) for side, pad in enumerate(pads))
    yield "valid"


def _common_groups(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the divisors of the channels in and out, from the groups asked for down."""
    both = gcd(shape[0], getattr(layer, "count", 1))
    for groups in range(min(getattr(layer, "groups", 1), both), 0, -1):
        if both % groups == 0:
            yield groups
            return


def _next_filters(layer: Layer) -> Iterator[Any]:
    """Yield the next number of filters that the groups divide."""
    filters, groups = getattr(layer, "filters", None), getattr(layer, "groups", 1)
    if isinstance(filters, int):
        yield -(-filters // groups) * groups


def _side(layer: Layer, shape: Shape) -> int:
    """Return the length of the axis a layer works along, 0 where there is none."""
    axis = getattr(layer, "axis", 0)
    return shape[axis] if axis < len(shape) else 0


def _fitting_slice(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield how many positions there are from the start on."""
    start, step = getattr(layer, "start", 0), getattr(layer, "step", 1)
    side = _side(layer, shape)
    if start < side:
        yield (side - 1 - start) // step + 1 if step > 0 else start // -step + 1


def _fitting_start(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the start nearest to the one asked for from which all positions exist."""
    step, span = getattr(layer, "step", 1), getattr(layer, "length", 1) - 1
    side = _side(layer, shape)
    yield side - 1 - span * step if step > 0 else min(side - 1, max(-span * step, 0))


def _full_shapes(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield shapes that hold all values: two sides kept, then a vector."""
    asked, count = tuple(getattr(layer, "shape", None) or ()), prod(shape)
    for side in range(len(asked) if len(asked) == 3 else 0):
        rest = prod(length for axis, length in enumerate(asked) if axis != side)
        if count % rest == 0:
            yield (*asked[:side], count // rest, *asked[side + 1 :])
    if len(asked) == 3:
        yield (count, 1, 1)
    yield (count,)


def _stretching_shapes(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the parameter's shape with the sides that are wrong made 1; one for each channel."""
    asked = tuple(getattr(layer, "shape", None) or ())
    if len(asked) == len(shape):
        yield tuple(a if a == b else 1 for a, b in zip(asked, shape, strict=True))
    yield None


def _fitting_block(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the largest block not above the one asked for that channels fill."""
    for block in range(min(getattr(layer, "block", 1), int(shape[0] ** 0.5)), 0, -1):
        if shape[0] % block**2 == 0:
            yield block
            return


def _leaving_scale(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield a scale that leaves at least one row and column."""
    scale = getattr(layer, "scale", None)
    if len(shape) == 3 and isinstance(scale, tuple):
        least = [-(-1000 // length) / 1000 for length in plane(shape)]
        yield tuple(max(own, low) for own, low in zip(scale, least, strict=True))


def _always(*values: Any) -> Callable[[Layer, Shape], Iterator[Any]]:
    return lambda _layer, _shape: iter(values)


_SETTINGS: tuple[tuple[str, Callable[[Layer, Shape], Iterator[Any]]], ...] = (
    ("padding", _always("same")),
    ("padding", _smaller_padding),
    ("kernel_size", _fitting_kernel),
    ("dilation", _always(1)),
    ("padding_mode", _always("replicate", "zeros")),
    ("groups", _common_groups),
    ("filters", lambda layer, _: _next_filters(layer)),
    ("num_parameters", lambda _, shape: iter((shape[0], 1))),
    ("length", _fitting_slice),
    ("start", _fitting_start),
    ("block", _fitting_block),
    ("scale", _leaving_scale),
    ("axes", _always(0)),
    ("axis", _always(0)),
    ("shape", _full_shapes),
    ("shape", _stretching_shapes),
    ("stride", _always(1)),
)
"""A setting, and the values that may make its stage fit, the least change first."""


# Makers -------------------------------------------------------------------------------------------

Choice = Iterable[Fix]
"""Candidates of which one is enough."""

Maker = Callable[[_Problem], Iterator[Choice]]


def _own_settings(problem: _Problem) -> Iterator[Choice]:
    """Change one setting of the stage that does not fit."""
    node, shape = problem.node, problem.given[0]
    for setting, values in _SETTINGS:
        if hasattr(node.layer, setting):
            yield (
                fix
                for value in values(node.layer, shape)
                for fix in problem.with_layer(node, setting, value)
            )


def _put_before(problem: _Problem) -> Iterator[Choice]:
    """Make maps a vector for a layer that needs one, or a vector maps."""
    if len(problem.node.inputs) > 1:
        return
    (source,), (shape,) = problem.node.inputs, problem.given
    if isinstance(problem.node.layer, Dense):
        yield problem.with_before({source: make_layer("flatten")})
        yield problem.with_before({source: make_layer("gap")})
    elif len(shape) == 1:
        yield problem.with_before({source: make_layer("reshape", (shape[0], 1, 1))})


def _joints(problem: _Problem) -> Iterator[Choice]:
    """Put layers in before a merge that make its inputs alike."""
    node, given = problem.node, problem.given
    if not isinstance(node.layer, (Combine, Concat)):
        return
    axis = node.layer.axis if isinstance(node.layer, Concat) else None
    inputs = dict(zip(node.inputs, given, strict=True))
    for make, name in ((_projection, "shortcut"), (_resampling, None), (_arrangement, None)):
        yield (
            fix
            for target in dict.fromkeys(given)
            if (layers := _alike(inputs, target, axis, make)) is not None
            for fix in problem.with_before(layers, name)
        )


def _alike(
    inputs: Mapping[str, Shape],
    target: Shape,
    axis: int | None,
    make: Callable[[Shape, Shape], Layer | None],
) -> dict[str, Layer] | None:
    """Return a layer for each input that is not alike, or None where `make` has none for one."""
    layers = {}
    for name, shape in inputs.items():
        wanted = list(target)
        if axis is not None and axis < len(shape) == len(target):
            wanted[axis] = shape[axis]  # what a concat adds up may differ
        if shape == tuple(wanted):
            continue
        layer = make(shape, tuple(wanted))
        if layer is None:
            return None
        layers[name] = layer
    return layers


def _projection(shape: Shape, target: Shape) -> Layer | None:
    """Return the 1×1 convolution (a dense layer for vectors) from one shape to another."""
    if len(shape) != len(target):
        return None
    if len(shape) == 1:
        return make_layer("dense", target[0])
    strides = []
    for length, wanted in zip(plane(shape), plane(target), strict=True):
        steps = (length // wanted, -(-length // wanted))  # the two that may leave as many
        fitting = [step for step in steps if step and (length - 1) // step + 1 == wanted]
        if not fitting:
            return None
        strides.append(fitting[0])
    return make_layer("conv", target[0], 1, stride=tuple(strides))


def _resampling(shape: Shape, target: Shape) -> Layer | None:
    """Return the resampling of maps to another size, channels kept."""
    if len(shape) != len(target) or len(shape) == 1 or shape[0] != target[0]:
        return None
    return make_layer("resize", size=plane(target))


def _arrangement(shape: Shape, target: Shape) -> Layer | None:
    """Return what makes a vector maps that stretch, or maps a vector."""
    if len(shape) == len(target):
        return None
    return make_layer("reshape", (shape[0], 1, 1)) if len(shape) == 1 else make_layer("flatten")


def _branches(problem: _Problem) -> Iterator[Choice]:
    """Change what one branch of a merge does to its size and the other does not."""
    if len(problem.node.inputs) == 1:
        return
    yield from _kept_larger(problem, list(problem.apart()))


def _earlier(problem: _Problem) -> Iterator[Choice]:
    """Keep maps larger before they reach the stage that does not fit, or keep them maps."""
    before = list(islice(problem.before(), NEAR))
    if len(problem.given[0]) == 1:
        yield (fix for node in before for fix in problem.without(node))
    yield from _kept_larger(problem, before)


def _kept_larger(problem: _Problem, nodes: list[Node]) -> Iterator[Choice]:
    """Take away what makes maps smaller: at one stage, the first of `nodes` that is enough."""
    yield (fix for node in nodes if node.layer.family == "pooling" for fix in problem.without(node))
    yield (fix for node in nodes for fix in problem.with_layer(node, "stride", 1))
    yield (
        *(fix for node in nodes for fix in problem.with_layer(node, "padding", "same")),
        *problem.with_same(nodes),
    )


def _left_out(problem: _Problem) -> Iterator[Choice]:
    """Do without the stage that does not fit."""
    yield problem.without(problem.node)


def _larger_input(problem: _Problem) -> Iterator[Choice]:
    """Search the smallest input that fits, each side at least as large as now."""
    channels, *size = problem.fix.shape

    def fits(rows: int, columns: int) -> bool:
        return _flow(Fix("", problem.fix.pipeline, (channels, rows, columns))) is None

    sizes = [found for search in (_multiple, _grown) if (found := search(size, fits))]
    yield (problem.with_input((channels, *one)) for one in sorted(sizes, key=prod))


def _multiple(size: list[int], fits: Callable[[int, int], bool]) -> Pair | None:
    """Return the size rounded up to what stages that halve and then double again need."""
    for step in (2, 4, 8, 16, 32, 64, 128):
        rows, columns = (-(-length // step) * step for length in size)
        if fits(rows, columns):
            return rows, columns
    return None


def _grown(size: list[int], fits: Callable[[int, int], bool]) -> Pair | None:
    """Return the smallest size that fits: both sides are grown, then each alone taken back."""
    enough = max(1, *size)
    while not fits(enough, enough):
        enough *= 2
        if enough > LARGEST_INPUT:
            return None
    best = [enough, enough]
    for axis in (0, 1):
        low, high = min(size[axis], best[axis]), best[axis]
        while low < high:
            middle = (low + high) // 2
            tried = (middle, best[1]) if axis == 0 else (best[0], middle)
            if fits(*tried):
                high = middle
            else:
                low = middle + 1
        best[axis] = high
    return best[0], best[1]


def _other_channels(problem: _Problem) -> Iterator[Choice]:
    """Give the input another number of channels."""
    _, *size = problem.fix.shape
    yield (
        problem.with_input((channels, *size)) for channels in (3, 1, *range(2, MOST_CHANNELS + 1))
    )


_MAKERS: tuple[Maker, ...] = (
    _put_before,
    _own_settings,
    _joints,
    _branches,
    _earlier,
    _larger_input,
    _other_channels,
)
"""Every kind of change, the most local and least disruptive first."""


# Search -------------------------------------------------------------------------------------------


def _problem(fix: Fix, params: Params | None) -> _Problem | None:
    """Return where a pipeline stops, or None if it goes through to its end."""
    stopped = None if params else _flow(fix)
    if stopped is not None:
        return stopped
    shapes = {INPUT: fix.shape}  # that shapes flow is quickly seen; rows have the last word
    try:
        for row in fix.pipeline.rows(fix.shape, params):
            shapes[row.name] = row.output_shape
    except CnnvizError as error:
        return _Problem(fix, shapes, error.message)
    return None


def _flow(fix: Fix) -> _Problem | None:
    """Return where the shapes of a pipeline stop, weights left aside."""
    shapes = {INPUT: fix.shape}
    for node in fix.pipeline.nodes:
        try:
            shapes[node.name] = node.layer.output_shape(*(shapes[name] for name in node.inputs))
        except CnnvizError as error:
            return _Problem(fix, shapes, error.message)
    return None


class _Seen:
    """The candidates so far, and whether they fit."""

    def __init__(self) -> None:
        self._fit: dict[tuple[Pipeline, Shape], bool] = {}

    def get(self, fix: Fix) -> bool | None:
        """Return whether it fits, or None for a new one."""
        return self._fit.get((fix.pipeline, fix.shape))

    def add(self, fix: Fix, *, fits: bool) -> None:
        """Remember a candidate."""
        self._fit[fix.pipeline, fix.shape] = fits


def _tried(
    problem: _Problem,
    makers: Iterable[Maker],
    params: Params | None,
    seen: _Seen,
) -> Iterator[tuple[Fix, _Problem | None]]:
    """Yield candidates not yet seen, and what stops them; of each choice up to the first that fits.

    No more than `EACH` that fit come from one maker.
    """
    for maker in makers:
        fitting = 0
        for choice in maker(problem):
            for fix in choice:
                fits = seen.get(fix)
                if fits is None:
                    left = _problem(fix, params)
                    fits = left is None
                    fitting += fits
                    seen.add(fix, fits=fits)
                    yield fix, left
                if fits:
                    break
            if fitting == EACH:
                break


def _spread(groups: list[list[Fix]], most: int) -> list[Fix]:
    """Return the first fixes of each group, then the second ones, …, in the groups' order."""
    ranked = sorted(
        (place, number) for number, group in enumerate(groups) for place in range(len(group))
    )[:most]
    return [groups[number][place] for number, place in sorted((n, p) for p, n in ranked)]


def _combined(
    problem: _Problem, makers: Iterable[Maker], params: Params | None, most: int
) -> list[Fix]:
    """Return fixes of several changes: those that got furthest are changed again."""
    front, seen = [problem], _Seen()
    for _ in range(CHANGES):
        found, further = list[Fix](), list[_Problem]()
        for before in front:
            for fix, left in _tried(before, makers, params, seen):
                if left is None:
                    found.append(fix)
                # The same stage for another reason is a step, too: a layer put in before it.
                elif (left.remaining, left.reason) != (before.remaining, before.reason) and (
                    left.remaining <= before.remaining
                ):
                    further.append(left)
        if found:
            return found[:most]
        front = sorted(further, key=lambda left: left.remaining)[:FRONT]
    return []
