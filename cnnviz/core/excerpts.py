"""Parts of stages: what a few values depend on, and those values computed without all the others.

A value of a map depends on a patch of the map before, which depends on a larger patch of the one
before that, down to the image. `needed` walks back and says which cells those are; `excerpts` then
computes them, and no more than about twice as many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod

import numpy as np

from cnnviz.core.cells import Cells, Excerpt
from cnnviz.core.engine import noting
from cnnviz.core.pipeline import INPUT, Node, Pipeline, check_memory, node_params
from cnnviz.core.types import Params, Row, Samples, Shape, Tensor


def needed(
    pipeline: Pipeline, shape: Shape, wanted: Mapping[str, Cells], *, roomy: bool = False
) -> dict[str, Cells]:
    """Return the cells of every stage, and of the input, that the wanted ones depend on.

    Parameters
    ----------
    pipeline : Pipeline
    shape : Shape
        The input's, (C, H, W).
    wanted : mapping of stage name to Cells
    roomy : bool
        Return all of a map, and of what it is made of, where more than half of it is needed;
        and at least one cell of every stage that is read.

    Returns
    -------
    dict
        Stages that nothing depends on are left out. Without `roomy` the cells are exact along
        each axis: each is one that some wanted value reads, through whatever stages.
    """
    shapes = shapes_of(pipeline, shape)
    found = {name: own.filled() if roomy else own for name, own in wanted.items()}
    for node in reversed(pipeline.nodes):
        if node.name not in found:
            continue
        given = [shapes[name] for name in node.inputs]
        cells = found[node.name]
        if roomy and cells.is_most(shapes[node.name]):
            cells = found[node.name] = Cells.whole(shapes[node.name])
            reads: Iterable[Cells] = map(Cells.whole, given)
        else:
            reads = node.layer.reads(cells, *given)
        for name, own in zip(node.inputs, reads, strict=True):
            seen = own.filled() if roomy else own
            found[name] = found[name].union(seen) if name in found else seen
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
    if not isinstance(x, Samples):
        x = np.asarray(x, np.float32)
    rows = {row.name: row for row in pipeline.rows(x.shape, params)}
    cells = needed(pipeline, x.shape, wanted, roomy=True)
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
