"""Parts of stages: what a few values depend on, and those values computed without all the others.

A value of a map depends on a patch of the map before, which depends on a larger patch of the one
before that, down to the image. `seen` walks back and says which pixels those are; `excerpts`
computes all that lies between, and no more than about twice as much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from math import prod

import numpy as np

from cnnviz.core.cells import Cells, Excerpt
from cnnviz.core.engine import noting
from cnnviz.core.pipeline import INPUT, Node, Pipeline, as_input, check_memory, node_params
from cnnviz.core.types import Params, Row, Samples, Shape, Tensor

APART = 16
"""Patches of one stage that are kept apart; more are joined."""


def seen(pipeline: Pipeline, shape: Shape, stage: str, cells: Cells) -> list[Cells]:
    """Return the pixels of the input that some cells of a stage depend on.

    Parameters
    ----------
    pipeline : Pipeline
    shape : Shape
        The input's, (C, H, W).
    stage : str
        A stage's name.
    cells : Cells

    Returns
    -------
    list of Cells
        Patches that may overlap, none where only padding is read. Each position along an axis is
        one that some value reads, through whatever stages. Patches reached by different branches
        stay apart: joined, one branch's rows would meet columns that only another reads.
    """
    shapes = shapes_of(pipeline, shape)
    found: dict[str, list[Cells]] = {stage: [cells]}
    for node in reversed(pipeline.nodes):
        given = [shapes[name] for name in node.inputs]
        for patch in found.pop(node.name, ()):
            for name, own in zip(node.inputs, node.layer.reads(patch, *given), strict=True):
                if min(own.shape):
                    found[name] = _with(found.get(name, []), own)
    return found.get(INPUT, [])


def _with(patches: list[Cells], new: Cells) -> list[Cells]:
    """Return the patches and another one, without those that lie within others."""
    if any(patch.holds(new) for patch in patches):
        return patches
    kept = [patch for patch in patches if not new.holds(patch)]
    if len(kept) < APART:
        return [*kept, new]
    return [reduce(Cells.union, kept, new)]


def needed(pipeline: Pipeline, shape: Shape, wanted: Mapping[str, Cells]) -> dict[str, Cells]:
    """Return the cells of every stage, and of the input, from which the wanted ones are computed.

    Where more than half of a map is needed it is all of it, and all that it is made of, for that
    is as quick; and at least one cell of every stage that is read. Stages that nothing depends on
    are left out.
    """
    shapes = shapes_of(pipeline, shape)
    found = {name: own.filled() for name, own in wanted.items()}
    for node in reversed(pipeline.nodes):
        if node.name not in found:
            continue
        given = [shapes[name] for name in node.inputs]
        cells = found[node.name]
        if cells.is_most(shapes[node.name]):
            cells = found[node.name] = Cells.whole(shapes[node.name])
            reads: Iterable[Cells] = map(Cells.whole, given)
        else:
            reads = node.layer.reads(cells, *given)
        for name, own in zip(node.inputs, reads, strict=True):
            read = own.filled()
            found[name] = found[name].union(read) if name in found else read
    return found


def shapes_of(pipeline: Pipeline, shape: Shape) -> dict[str, Shape]:
    """Return the shape of every stage's output, and of the input."""
    return {INPUT: shape} | {row.name: row.output_shape for row in pipeline.rows(shape)}


def excerpts(
    pipeline: Pipeline,
    x: Tensor | Samples,
    wanted: Mapping[str, Cells],
    params: Params | None = None,
    *,
    seed: int = 0,
    keep: bool = False,
) -> dict[str, Excerpt]:
    """Compute some cells of some stages, and what they depend on, but not the rest.

    Parameters
    ----------
    pipeline : Pipeline
    x : Tensor or Samples
        (C, H, W).
    wanted : mapping of stage name, or ``input``, to Cells
    params : Params, optional
    seed : int
        As for `Pipeline.run`.
    keep : bool
        Return what the wanted cells depend on, too, down to the input.

    Returns
    -------
    dict of stage name to Excerpt
        Of the stages wanted, with `keep` of all that were needed. An excerpt may hold more cells
        than were asked for.

    Raises
    ------
    CnnvizError
        If a stage does not fit, or what is alive at once would not fit into memory.
    """
    x = as_input(x)
    rows = {row.name: row for row in pipeline.rows(x.shape, params)}
    cells = needed(pipeline, x.shape, wanted)
    nodes = [node for node in pipeline.nodes if node.name in cells]
    check_memory(_peak(nodes, rows, cells, wanted, keep=keep))
    kept = set(cells) if keep else set(wanted)
    readers = Counter(name for node in nodes for name in node.inputs)
    live: dict[str, Excerpt] = {}
    if INPUT in cells:
        live[INPUT] = _of_input(x, cells[INPUT])
    for node in nodes:
        given = [live[name] for name in node.inputs]
        own = node_params(
            node, rows[node.name].index, [one.shape for one in given], params or {}, seed
        )
        with np.errstate(all="ignore"), noting():
            live[node.name] = _computed(node, rows[node.name], cells[node.name], given, own)
        for name in node.inputs:
            readers[name] -= 1
            if not readers[name] and name not in kept:
                live.pop(name, None)
    return {name: excerpt for name, excerpt in live.items() if name in kept}


def _of_input(x: Tensor | Samples, cells: Cells) -> Excerpt:
    """Return some pixels; all of them only if most are read."""
    cells = Cells.whole(x.shape) if cells.is_most(x.shape) else cells
    return Excerpt.cut(x, cells)


def _computed(node: Node, row: Row, cells: Cells, given: list[Excerpt], own: Params) -> Excerpt:
    """Compute some cells of a stage, by its whole layer if they are all."""
    if cells.is_whole(row.output_shape) and all(one.is_whole for one in given):
        return Excerpt.whole(node.layer.apply(*(one.values for one in given), params=own))
    return Excerpt(row.output_shape, cells, node.layer.part(cells, *given, params=own))


def _peak(
    nodes: Iterable[Node],
    rows: Mapping[str, Row],
    cells: Mapping[str, Cells],
    wanted: Mapping[str, Cells],
    *,
    keep: bool,
) -> int:
    """Return about how many bytes are alive at once, weights included."""
    sizes = {name: 4 * prod(own.shape) for name, own in cells.items()}
    weights = max((4 * rows[node.name].params for node in nodes), default=0)
    if keep:
        return sum(sizes.values()) + weights
    widest = max(
        (sizes[node.name] + sum(sizes[name] for name in node.inputs) for node in nodes), default=0
    )
    return widest + sum(sizes[name] for name in wanted) + weights
