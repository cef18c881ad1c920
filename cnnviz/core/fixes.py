"""Changes that would make a pipeline fit its input: a search over settings, stages and inputs.

Makers propose changes for the stage at which the shapes stop, the most local ones first. Their
proposals need not be right: one is kept only where the changed pipeline's shapes go to its end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, groupby, islice, zip_longest
from math import gcd, isqrt, prod
from typing import Any, NamedTuple

from cnnviz.core.border import BORDERS
from cnnviz.core.derivation import by
from cnnviz.core.layers import Layer, make_layer
from cnnviz.core.layers.base import plane
from cnnviz.core.layers.dense import Dense
from cnnviz.core.layers.graph import Combine, Concat, Merge
from cnnviz.core.pipeline import INPUT, Node, Pipeline
from cnnviz.core.text import layer_text, value_text
from cnnviz.core.types import Params, Shape
from cnnviz.errors import CnnvizError

MOST = 6  # fixes that are returned
EACH = 3  # of one maker
CHANGES = 3  # changes together, where no single one is enough
FRONT = 4  # half-way fixes that are gone on with
STAGES = 5  # that a fix may change, as long as there are others
NEAR = 32  # stages before the one that does not fit that are looked at
LARGEST_INPUT = 4096  # rows or columns that are searched for a size that fits
LARGEST_TRAINED = 512  # rows and columns that are searched for those weights were made for
MOST_CHANNELS = 64


@dataclass(frozen=True)
class Change:
    """One change to a pipeline or its input."""

    what: str  # to do, such as "set padding=same at"
    where: str  # the stage; changes that do the same at several are printed together
    edit: Callable[[Node], Sequence[Node] | None]  # what stands in place of it; None: nothing new
    adds: frozenset[str] = frozenset()  # a new stage, and the one it is put in for
    removes: str | None = None  # a stage
    shape: Shape | None = None  # of the input, if it is that which changes


@dataclass(frozen=True)
class Fix:
    """Changes after which the pipeline goes through to its end."""

    changes: tuple[Change, ...] = field(compare=False)  # it is the end that makes fixes equal
    pipeline: Pipeline  # the changed one
    shape: Shape  # the input's

    @property
    def text(self) -> str:
        """What to do, such as: set padding=same at conv3 and conv4, and leave out maxpool1."""
        parts = []
        for what, same in groupby(self.changes, key=lambda change: change.what):
            *most, last = (change.where for change in same)
            parts.append(f"{what} {', '.join(most)} and {last}" if most else f"{what} {last}")
        return ", and ".join(parts)

    def then(self, changes: Iterable[Change | None]) -> Fix:
        """Return this fix with more changes: those of them that do change something."""
        fix = self
        for change in filter(None, changes):
            if change.shape is not None:
                fix = Fix((*fix.changes, change), fix.pipeline, change.shape)
                continue
            node = next((one for one in fix.pipeline.nodes if one.name == change.where), None)
            new = change.edit(node) if node else None
            if node is None or new is None:
                continue
            nodes = [one for old in fix.pipeline.nodes for one in (new if old is node else [old])]
            if not new:
                nodes = [_reading(one, {node.name: node.inputs[0]}) for one in nodes]
            if len({one.name for one in nodes}) == len(nodes) > 0:  # no name is taken
                fix = Fix((*fix.changes, change), Pipeline(tuple(nodes)), fix.shape)
        return fix


def set_option(node: Node, setting: str, value: Any) -> Change | None:
    """Return the change of a stage's setting; None where it has none such or refuses the value."""

    def edit(now: Node) -> Sequence[Node] | None:
        try:
            layer = replace(now.layer, **{setting: value})
        except (CnnvizError, TypeError):  # TypeError: there is no such setting
            return None
        return None if layer == now.layer else [replace(now, layer=layer)]

    if (changed := edit(node)) is None:
        return None
    text = value_text(getattr(changed[0].layer, setting))
    return Change(f"set {setting}={text} at", node.name, edit)


def put_before(stage: Node, source: str, layer: Layer, name: str) -> Change:
    """Return the change that puts a layer, as stage `name`, between a stage and one it reads."""

    def edit(now: Node) -> Sequence[Node] | None:
        put = Node(name, layer, (source,))
        return [put, _reading(now, {source: name})] if source in now.inputs else None

    # Of several inputs it matters which one is meant.
    place = "before" if len(stage.inputs) == 1 else f"between {source} and"
    added = frozenset({name, stage.name})
    return Change(f"put {layer_text(layer)} {place}", stage.name, edit, adds=added)


def leave_out(stage: str) -> Change:
    """Return the change that takes a stage out, not a merge: its readers read what it read."""
    return Change("leave out", stage, lambda now: None if now.inputs[1:] else [], removes=stage)


def use_input(shape: Shape) -> Change:
    """Return the change to another shape of the input."""
    return Change("use an input of", by(shape), lambda _: None, shape=shape)


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    """Return a node that reads other stages in place of some."""
    inputs, layer = tuple(names.get(name, name) for name in node.inputs), node.layer
    if isinstance(layer, Merge):
        layer = replace(layer, stages=inputs[1:])
    return Node(node.name, layer, inputs)


class Problem(NamedTuple):
    """A pipeline, and the stage at which its shapes stop."""

    fix: Fix  # what was changed so far, perhaps nothing
    params: Params | None  # weights that must keep fitting
    node: Node  # that stage
    remaining: int  # how many stages there are from it to the end
    given: list[Shape]  # its input shapes
    reason: str  # why it does not fit

    def before(self, names: Iterable[str] | None = None) -> list[Node]:
        """Return what the stage (or those of `names`) stands on, the nearest first."""
        found, nodes = set(self.node.inputs if names is None else names), []
        for node in reversed(self.fix.pipeline.nodes):
            if node.name in found:
                found.update(node.inputs)
                nodes.append(node)
        return nodes

    def put(self, layers: Mapping[str, Layer], name: str | None = None) -> Candidate:
        """Return the changes that put layers in before some of the stage's inputs."""
        taken, changes = {INPUT, *(node.name for node in self.fix.pipeline.nodes)}, []
        for source, layer in layers.items():
            numbered = (f"{name or layer.name}{'' if name and n == 1 else n}" for n in count(1))
            new = next(one for one in numbered if one not in taken)
            taken.add(new)
            changes.append(put_before(self.node, source, layer, new))
        return changes


def _stop(fix: Fix, params: Params | None) -> Problem | None:
    """Return where the shapes of a pipeline, or those of its weights, stop; None at its end."""
    shapes = {INPUT: fix.shape}
    # A file's weights are not looked at: they are read one by one, when they are needed.
    weights: Params = params if isinstance(params, dict) else {}
    for position, node in enumerate(fix.pipeline.nodes):
        given = [shapes[name] for name in node.inputs]
        try:
            shapes[node.name] = node.layer.output_shape(*given)
            specs = node.layer.param_shapes(*given) if weights else {}
        except CnnvizError as error:
            reason = error.message
        else:
            wrong = (
                f"{name} is {own.shape}, not {spec.shape}"
                for name, spec in specs.items()
                if (own := weights.get(f"{node.name}.{name}")) is not None
                and own.shape != spec.shape
            )
            reason = next(wrong, "")
        if reason:
            return Problem(fix, params, node, len(fix.pipeline.nodes) - position, given, reason)
    return None


Candidate = Sequence[Change | None]  # changes made together; None is no change
Choices = Iterator[Iterable[Candidate]]  # of each choice, one candidate that fits is enough
Maker = Callable[[Problem], Choices]


def _put_before(problem: Problem) -> Choices:
    """Make maps a vector for a layer that needs one, or a vector maps."""
    source, shape = problem.node.inputs[0], problem.given[0]
    if isinstance(problem.node.layer, Dense):
        yield [problem.put({source: make_layer("flatten")})]
        yield [problem.put({source: make_layer("gap")})]
    elif len(shape) == len(problem.given) == 1:
        yield [problem.put({source: make_layer("reshape", (shape[0], 1, 1))})]


def _own_settings(problem: Problem) -> Choices:
    """Change one setting of the stage that does not fit, the least change first."""
    node, layer, shape = problem.node, problem.node.layer, problem.given[0]

    def one_of(setting: str, *values: Any) -> Iterator[Candidate]:
        return ([set_option(node, setting, value)] for value in values)

    yield one_of("padding", "same")
    if len(shape) == 3 and (window := layer.window(shape)) is not None:
        sizes, pads, extent = plane(shape), window.pads(plane(shape)), window.extent
        # What a mirror reaches, or less than the window.
        reach = BORDERS[getattr(layer, "padding_mode", "zeros")].reach
        limits = [extent[a] - 1 if (most := reach(sizes[a])) is None else most for a in (0, 1)]
        yield one_of("padding", tuple(min(p, limits[i % 2]) for i, p in enumerate(pads)), "valid")
        fitting, above = [], []  # the largest that fits; one that padding alone cannot hold
        for axis in (0, 1):
            kernel, step = window.kernel_size[axis], window.dilation[axis]
            before, after = pads[axis], pads[axis + 2]
            fitting.append(min(kernel, (sizes[axis] + before + after - 1) // step + 1))
            above.append(max(kernel, max(before, after) // step + 1))
        alone = layer.family == "pooling" and fitting == [1, 1]  # pooling single cells is none
        yield one_of("kernel_size", *([] if alone else [tuple(fitting)]), tuple(above))
    yield one_of("dilation", 1)
    yield one_of("padding_mode", "replicate", "zeros")
    groups, both = getattr(layer, "groups", 1), gcd(shape[0], getattr(layer, "count", 1))
    yield one_of("groups", max(n for n in range(1, min(groups, both) + 1) if both % n == 0))
    if isinstance(filters := getattr(layer, "filters", None), int):
        yield one_of("filters", -(-filters // groups) * groups)
    yield one_of("num_parameters", shape[0], 1)
    axis = getattr(layer, "axis", 0)
    side = shape[axis] if axis < len(shape) else 0
    start, step = getattr(layer, "start", 0), getattr(layer, "step", 1)
    if start < side:
        yield one_of("length", (side - 1 - start) // step + 1 if step > 0 else start // -step + 1)
    span = (getattr(layer, "length", 1) - 1) * step
    yield one_of("start", side - 1 - span if step > 0 else min(side - 1, max(-span, 0)))
    blocks = range(1, min(getattr(layer, "block", 1), isqrt(shape[0])) + 1)
    yield one_of("block", max(block for block in blocks if shape[0] % block**2 == 0))
    scale = getattr(layer, "scale", None)
    if len(shape) == 3 and isinstance(scale, tuple):  # what leaves at least one row and column
        least = [-(-1000 // length) / 1000 for length in plane(shape)]
        yield one_of("scale", tuple(max(pair) for pair in zip(scale, least, strict=True)))
    yield one_of("axes", 0)
    yield one_of("axis", 0)
    asked, values = tuple(getattr(layer, "shape", None) or ()), prod(shape)
    full = [(values, 1, 1), (values,)] if len(asked) == 3 else [(values,)]
    for axis, length in enumerate(asked if len(asked) == 3 else ()):  # the other sides kept
        if values * length % prod(asked) == 0:
            full.insert(-2, (*asked[:axis], values * length // prod(asked), *asked[axis + 1 :]))
    yield one_of("shape", *full)
    # As a parameter's: the sides that are wrong stretch.
    ones = tuple(a if a == b else 1 for a, b in zip(asked, shape, strict=False))
    yield one_of("shape", *([ones] if len(asked) == len(shape) else []), None)
    yield one_of("stride", 1)


def _joints(problem: Problem) -> Choices:
    """Put layers in before a merge that make its inputs alike."""
    layer, given = problem.node.layer, problem.given

    def candidates(kind: str) -> Iterator[Candidate]:
        for target in dict.fromkeys(given):
            layers = dict[str, Layer]()
            for name, shape in zip(problem.node.inputs, given, strict=True):
                wanted = list(target)
                if isinstance(layer, Concat) and layer.axis < len(shape) == len(target):
                    wanted[layer.axis] = shape[layer.axis]  # what a concat adds up may differ
                if shape != tuple(wanted):
                    if (joint := _joint(kind, shape, tuple(wanted))) is None:
                        break
                    layers[name] = joint
            else:
                yield problem.put(layers, "shortcut" if kind == "project" else None)

    if isinstance(layer, (Combine, Concat)):
        yield from (candidates(kind) for kind in ("project", "resize", "rearrange"))


def _joint(kind: str, shape: Shape, target: Shape) -> Layer | None:
    """Return a layer of one kind from one shape to another, None where there is none."""
    match kind, len(shape), len(target):
        case "project", 1, 1:
            return make_layer("dense", target[0])
        case "project", 3, 3:
            strides = []
            for length, wanted in zip(plane(shape), plane(target), strict=True):
                steps = (length // wanted, -(-length // wanted))  # the two that may leave as many
                strides += [n for n in steps if n and (length - 1) // n + 1 == wanted][:1]
            if len(strides) == 2:
                return make_layer("conv", target[0], 1, stride=tuple(strides))
        case "resize", 3, 3 if shape[0] == target[0]:
            return make_layer("resize", size=plane(target))
        case "rearrange", 1, 3:
            return make_layer("reshape", (shape[0], 1, 1))
        case "rearrange", 3, 1:
            return make_layer("flatten")
    return None


def _branches(problem: Problem) -> Choices:
    """Change what one branch of a merge does to its size and the other does not."""
    behind = [{name, *(n.name for n in problem.before([name]))} for name in problem.node.inputs]
    shared = set.intersection(*behind)
    yield from _kept_larger([node for node in problem.before() if node.name not in shared])


def _earlier(problem: Problem) -> Choices:
    """Keep maps larger before they reach the stage that does not fit, or keep them maps."""
    before = problem.before()[:NEAR]
    if len(problem.given[0]) == 1:
        yield ([leave_out(node.name)] for node in before)
    yield from _kept_larger(before)


def _kept_larger(nodes: list[Node]) -> Choices:
    """Take away what makes maps smaller: at one stage, the first of `nodes` that is enough."""
    yield ([leave_out(node.name)] for node in nodes if node.layer.family == "pooling")
    yield ([set_option(node, "stride", 1)] for node in nodes)
    same = [set_option(node, "padding", "same") for node in nodes]
    yield [*([one] for one in same), same[::-1]]


def _left_out(problem: Problem) -> Choices:
    """Do without the stage that does not fit."""
    yield [[leave_out(problem.node.name)]]


def _larger_input(problem: Problem) -> Choices:
    """Search the smallest input that fits, each side at least as large as now."""
    channels, *size = problem.fix.shape

    def fits(*tried: int) -> bool:
        return _stop(replace(problem.fix, shape=(channels, *tried)), problem.params) is None

    # What stages need that halve and then double again.
    rounded = ([-(-length // n) * n for length in size] for n in (2, 4, 8, 16, 32, 64, 128))
    found = list(islice((one for one in rounded if fits(*one)), 1))
    enough, largest = max(1, *size), max(LARGEST_INPUT, *size)
    while enough <= largest and not fits(enough, enough):
        enough *= 2
    if enough <= largest:
        # Each side alone taken back: the smallest where all larger ones fit too, as with windows.
        sides, (low, left) = range(enough), (min(length, enough) for length in size)
        rows = bisect_left(sides, True, low, key=lambda n: fits(n, enough))
        columns = bisect_left(sides, True, left, key=lambda n: fits(rows, n))
        found.append([rows, columns])
    yield ([use_input((channels, *one))] for one in sorted(found, key=prod))


def _trained_input(problem: Problem) -> Choices:
    """Search the square input that the weights were made for: a dense layer takes no other."""
    channels, *_ = problem.fix.shape
    sides = range(1, LARGEST_TRAINED + 1) if problem.params else ()
    yield ([use_input((channels, side, side))] for side in sides)


def _other_channels(problem: Problem) -> Choices:
    """Give the input another number of channels."""
    _, *size = problem.fix.shape
    yield ([use_input((n, *size))] for n in (3, 1, *range(2, MOST_CHANNELS + 1)))


# The most local and least disruptive changes come first.
STAGE_MAKERS = (_put_before, _own_settings, _joints, _branches, _earlier)
INPUT_MAKERS = (_larger_input, _trained_input, _other_channels)


def fixes(
    pipeline: Pipeline, shape: Shape, params: Params | None = None, *, most: int = MOST
) -> list[Fix]:
    """Return changes that make a pipeline fit an input of `shape`, the most local ones first.

    Where no single change is enough, up to three together are tried. Each is needed: without any
    one of them the pipeline would not fit. There are none for a pipeline that fits, or where none
    is found. `shape` is the input's (C, H, W), `params` are weights that must still fit,
    and `most` is how many fixes are wanted.
    """
    start = Fix((), pipeline, shape)
    problem = _stop(start, params)
    if problem is None:
        return []
    makers, seen, groups = (*STAGE_MAKERS, *INPUT_MAKERS), dict[Fix, bool](), []
    for maker in makers:
        single = [fix for fix, left in _tried(problem, [maker], seen) if left is None]
        groups.append(_needed(start, single, params))
    # The first of each maker, then the second ones, …; printed in the makers' order.
    rounds = [one for same in zip_longest(*groups) for one in enumerate(same) if one[1]]
    chosen = sorted(rounds[:most], key=lambda one: one[0])
    found = list(dict.fromkeys(fix for _, fix in chosen))
    found = found or _combined(problem, makers) or _combined(problem, (*makers, _left_out))
    return ([fix for fix in found if len(fix.changes) <= STAGES] or found)[:most]


def _tried(
    problem: Problem, makers: Iterable[Maker], seen: dict[Fix, bool]
) -> Iterator[tuple[Fix, Problem | None]]:
    """Yield new candidates and what stops them: of a choice up to the first that fits."""
    for maker in makers:
        fitting = 0
        for choice in maker(problem):
            for candidate in choice:
                fix = problem.fix.then(candidate)
                fits = fix != problem.fix and seen.get(fix)
                if fits is None:
                    left = _stop(fix, problem.params)
                    seen[fix] = fits = left is None
                    fitting += fits
                    yield fix, left
                if fits:
                    break
            if fitting == EACH:
                break


def _combined(problem: Problem, makers: Iterable[Maker]) -> list[Fix]:
    """Return fixes of several changes: those that got furthest are changed again."""
    front, seen = [problem], dict[Fix, bool]()
    for _ in range(CHANGES):
        found, further = list[Fix](), list[Problem]()
        for before in front:
            for fix, left in _tried(before, makers, seen):
                if left is None:
                    found.append(fix)
                # The same stage for another reason is a step, too: a layer put in before it.
                elif (left.remaining, left.reason) != (before.remaining, before.reason) and (
                    left.remaining <= before.remaining
                ):
                    further.append(left)
        if needed := _needed(problem.fix, found, problem.params):
            return needed
        front = sorted(further, key=lambda left: left.remaining)[:FRONT]
    return []


def _needed(start: Fix, found: Iterable[Fix], params: Params | None) -> list[Fix]:
    """Return the fixes without the changes that are not needed; none that undoes its own."""
    kept = []
    for fix in found:
        # Leave out changes, and those that stand on them, as long as the rest is enough.
        fewest, place = fix, len(fix.changes) - 1
        while place >= 0 and len(fewest.changes) > 1:
            rest = start.then(fewest.changes[:place] + fewest.changes[place + 1 :])
            if rest.changes and _stop(rest, params) is None:
                fewest, place = rest, len(rest.changes)
            place -= 1
        if not any(one.removes in other.adds for one in fewest.changes for other in fewest.changes):
            kept.append(fewest)
    return list(dict.fromkeys(kept))
