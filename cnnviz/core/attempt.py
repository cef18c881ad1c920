"""How far a pipeline gets on an input: every stage derived, up to the one that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnviz.core.derivation import Derivation, derive
from cnnviz.core.pipeline import INPUT, Pipeline
from cnnviz.core.types import Params, Row, Shape
from cnnviz.errors import CnnvizError


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
            error, failed = caught, derive(node.layer, *given, error=caught)
            break
        rows.append(row)
        derivations.append(derive(node.layer, *given))
        shapes[node.name] = row.output_shape
    return Attempt(tuple(rows), tuple(derivations), shapes, error, failed)
