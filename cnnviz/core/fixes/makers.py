"""Makers of candidates: each knows one kind of change that may bring a pipeline to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from math import prod

from cnnviz.core.fixes.problem import Fix, Problem
from cnnviz.core.fixes.settings import SETTINGS
from cnnviz.core.layers import Layer, make_layer
from cnnviz.core.layers.base import plane
from cnnviz.core.layers.dense import Dense
from cnnviz.core.layers.graph import Combine, Concat
from cnnviz.core.pipeline import Node
from cnnviz.core.types import Pair, Shape

NEAR = 32  # stages before the one that does not fit that are looked at
LARGEST_INPUT = 4096  # rows or columns that are searched for a size that fits
LARGEST_TRAINED = 512  # rows and columns that are searched for those weights were made for
MOST_CHANNELS = 64

Choice = Iterable[Fix]
"""Candidates of which one is enough."""

Maker = Callable[[Problem], Iterator[Choice]]


def _own_settings(problem: Problem) -> Iterator[Choice]:
    """Change one setting of the stage that does not fit."""
    node, shape = problem.node, problem.given[0]
    for setting, values in SETTINGS:
        yield (
            fix
            for value in values(node.layer, shape)
            for fix in problem.with_layer(node, setting, value)
        )


def _put_before(problem: Problem) -> Iterator[Choice]:
    """Make maps a vector for a layer that needs one, or a vector maps."""
    if len(problem.node.inputs) > 1:
        return
    (source,), (shape,) = problem.node.inputs, problem.given
    if isinstance(problem.node.layer, Dense):
        yield problem.with_before({source: make_layer("flatten")})
        yield problem.with_before({source: make_layer("gap")})
    elif len(shape) == 1:
        yield problem.with_before({source: make_layer("reshape", (shape[0], 1, 1))})


def _joints(problem: Problem) -> Iterator[Choice]:
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


def _branches(problem: Problem) -> Iterator[Choice]:
    """Change what one branch of a merge does to its size and the other does not."""
    if len(problem.node.inputs) == 1:
        return
    yield from _kept_larger(problem, list(problem.apart()))


def _earlier(problem: Problem) -> Iterator[Choice]:
    """Keep maps larger before they reach the stage that does not fit, or keep them maps."""
    before = list(islice(problem.before(), NEAR))
    if len(problem.given[0]) == 1:
        yield (fix for node in before for fix in problem.without(node))
    yield from _kept_larger(problem, before)


def _kept_larger(problem: Problem, nodes: list[Node]) -> Iterator[Choice]:
    """Take away what makes maps smaller: at one stage, the first of `nodes` that is enough."""
    yield (fix for node in nodes if node.layer.family == "pooling" for fix in problem.without(node))
    yield (fix for node in nodes for fix in problem.with_layer(node, "stride", 1))
    yield chain(
        (fix for node in nodes for fix in problem.with_layer(node, "padding", "same")),
        problem.with_same(nodes),
    )


def left_out(problem: Problem) -> Iterator[Choice]:
    """Do without the stage that does not fit."""
    yield problem.without(problem.node)


def _larger_input(problem: Problem) -> Iterator[Choice]:
    """Search the smallest input that fits, each side at least as large as now."""
    channels, *size = problem.fix.shape

    def fits(rows: int, columns: int) -> bool:
        return problem.flows((channels, rows, columns))

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
    """Return the smallest size that fits: both sides are grown, then each alone taken back.

    It is the smallest where all larger ones fit too, as with windows.
    """
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


def _trained_input(problem: Problem) -> Iterator[Choice]:
    """Search the square input that the weights were made for: a dense layer takes no other."""
    channels, *_ = problem.fix.shape
    if problem.params:
        squares = ((channels, side, side) for side in range(1, LARGEST_TRAINED + 1))
        yield (problem.with_input(shape) for shape in squares if problem.flows(shape))


def _other_channels(problem: Problem) -> Iterator[Choice]:
    """Give the input another number of channels."""
    _, *size = problem.fix.shape
    yield (
        problem.with_input((channels, *size)) for channels in (3, 1, *range(2, MOST_CHANNELS + 1))
    )


MAKERS: tuple[Maker, ...] = (
    _put_before,
    _own_settings,
    _joints,
    _branches,
    _earlier,
    _larger_input,
    _trained_input,
    _other_channels,
)
"""Every kind of change, the most local and least disruptive first."""
