"""The passes of an experiment: the picture as it is, then moved, through every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from cnnviz.core.layers.arrange import Transpose
from cnnviz.core.pipeline import INPUT, Pipeline
from cnnviz.core.shift.distance import Reference
from cnnviz.core.shift.records import Movement, MovementErrors, StageErrors
from cnnviz.core.types import Params, Row, Samples, Tensor

LARGEST_DENOMINATOR = 1 << 20  # of an effective stride, whose fraction a row holds as a float


class Grid(NamedTuple):
    """How a stage's positions lie on the picture."""

    jumps: tuple[Fraction, Fraction]  # input pixels from row to row, and from column to column
    turned: bool  # rows run across the picture, columns down it


class Comparison(Protocol):
    """What compares a stage's new output with its reference."""

    def errors(
        self, new: NDArray[Any], reference: Reference, grid: Grid | None
    ) -> tuple[float | None, float | None]:
        """Return the equivariance and the invariance error; without a grid only the latter."""


@dataclass(frozen=True, eq=False)
class _Told:
    """A stage's reference, and the errors so far."""

    errors: StageErrors
    reference: Reference
    grid: Grid | None

    def after(self, new: NDArray[Any], comparison: Comparison) -> _Told:
        equivariance, invariance = comparison.errors(new, self.reference, self.grid)
        errors = replace(
            self.errors,
            equivariance=(*self.errors.equivariance, equivariance),
            invariance=(*self.errors.invariance, invariance),
        )
        return replace(self, errors=errors)


def measure(
    pipeline: Pipeline,
    movement: Movement,
    x: Tensor | Samples,
    moved: Iterable[tuple[Tensor | Samples, Comparison]],
    params: Params | None,
    seed: int,
    advance: Callable[[], object],
) -> MovementErrors:
    """Run a pipeline on x and on each moved picture, and compare every stage's outputs.

    Raises
    ------
    CnnvizError
        As `Pipeline.run` does; the reference outputs of all stages must fit into memory, too.
    """
    own = pipeline.params(x.shape, params, seed=seed)
    totals = pipeline.totals(x.shape)
    kept = totals.memory_bytes + 4 * sum(prod(tensor.shape) for tensor in own.values())
    turned = _turned(pipeline)
    told = [_told_of_input(x)]
    for row, output in pipeline.outputs(x, own, kept=kept):
        told.append(_told_of(row, output, turned=row.name in turned))
        del output
    advance()
    for picture, comparison in moved:
        outputs = (output for _, output in pipeline.outputs(picture, own, reuse=True, kept=kept))
        for place, output in enumerate(_with_first(values_of(picture), outputs)):
            told[place] = told[place].after(output, comparison)
            del output
        advance()
    return MovementErrors(movement, x.shape, tuple(one.errors for one in told))


def values_of(x: Tensor | Samples) -> NDArray[Any]:
    """Return the array of a picture; of samples as stored, for relative errors are the same."""
    return x.values if isinstance(x, Samples) else x


def _with_first(first: NDArray[Any], others: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    yield first
    yield from others


def _told_of_input(x: Tensor | Samples) -> _Told:
    reference = Reference.of(values_of(x))
    norm = reference.norm / (x.unit if isinstance(x, Samples) else 1)
    errors = StageErrors(0, INPUT, INPUT, x.shape, (1.0, 1.0), norm, (), ())
    return _Told(errors, reference, Grid((Fraction(1), Fraction(1)), turned=False))


def _told_of(row: Row, output: Tensor, *, turned: bool) -> _Told:
    reference = Reference.of(output)
    errors = StageErrors(
        row.index,
        row.name,
        row.layer,
        row.output_shape,
        row.effective_stride,
        reference.norm,
        (),
        (),
    )
    return _Told(errors, reference, _grid(row, turned=turned))


def _grid(row: Row, *, turned: bool) -> Grid | None:
    if row.effective_stride is None or len(row.output_shape) != 3:
        return None
    rows, columns = (
        Fraction(stride).limit_denominator(LARGEST_DENOMINATOR) for stride in row.effective_stride
    )
    return Grid((rows, columns), turned)


def _turned(pipeline: Pipeline) -> set[str]:
    """Return the stages whose rows and columns have changed places, by an odd number of turns."""
    turned = set[str]()
    for node in pipeline.nodes:
        turns = isinstance(node.layer, Transpose) and node.layer.axes == (0, 2, 1)
        if turns != (node.inputs[0] in turned):
            turned.add(node.name)
    return turned


def nothing() -> None:
    """Stand in for `advance` where nobody watches."""
