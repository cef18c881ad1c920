"""How far a pipeline gets on an input: every stage derived, up to the one that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnviz.core.derivation import Derivation, Line
from cnnviz.core.layers import Layer
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
