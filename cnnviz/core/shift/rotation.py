"""Turning the picture about its centre: bilinear, anticlockwise as it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, isfinite, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.pipeline import Pipeline, as_input
from cnnviz.core.shift.distance import Reference, relative
from cnnviz.core.shift.passes import Grid, measure, nothing
from cnnviz.core.shift.records import Movement, MovementErrors
from cnnviz.core.types import Pair, Params, Samples, Tensor
from cnnviz.errors import RequestError

STEPS = 8
"""How many angles are tried, evenly from a first one to the largest."""


def rotate(x: Tensor, degrees: float) -> Tensor:
    """Return maps turned anticlockwise about their centre, in their own size.

    Bilinear between the four pixels around each source point; what comes from beyond the edge
    repeats the edge's pixels. By 90° a square is turned as by ``np.rot90``.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    degrees : float

    Returns
    -------
    Tensor
        (C, H, W), float32.
    """
    size = (x.shape[1], x.shape[2])
    every = np.indices(size).reshape(2, -1)
    turn = _Sampling.of(size, degrees, every)
    return np.stack([turn.read(plane) for plane in x]).reshape(x.shape)


def rotation_errors(
    pipeline: Pipeline,
    x: Tensor | Samples,
    degrees: float,
    *,
    steps: int = STEPS,
    params: Params | None = None,
    seed: int = 0,
    advance: Callable[[], object] = nothing,
) -> MovementErrors:
    """Measure how each stage's output changes when the picture turns by angles up to `degrees`.

    The equivariance error compares with the reference output turned by the same angle on its own
    grid. Both errors are taken inside the disc inscribed in the map, which stays on it at every
    angle; a stage without a grid has the invariance error alone, of all its values.

    Parameters
    ----------
    pipeline : Pipeline
    x : Tensor or Samples
        (C, H, W).
    degrees : float
        Above 0, at most 180.
    steps : int
        How many angles, evenly spaced.
    params, seed
        As for `Pipeline.run`.
    advance : callable
        Called after each of the `steps` + 1 passes.

    Raises
    ------
    RequestError
        If the angle is not above 0 and at most 180.
    CnnvizError
        As `Pipeline.run` does.
    """
    check_angle(degrees)
    angles = tuple(degrees * step / steps for step in range(1, steps + 1))
    x = as_input(x)
    picture = x.tensor() if isinstance(x, Samples) else x

    def moved() -> Iterator[tuple[Tensor, _Turn]]:
        for angle in angles:
            yield rotate(picture, angle), _Turn(angle)

    movement = Movement(angles, None, None)
    return measure(pipeline, movement, picture, moved(), params, seed, advance)


def check_angle(degrees: float) -> None:
    """Raise RequestError unless the angle is above 0 and at most 180."""
    if not (isfinite(degrees) and 0 < degrees <= 180):
        raise RequestError(
            f"the angle is {degrees:g} degrees", hint="give more than 0, at most 180: --rotate 10"
        )


@dataclass(frozen=True, eq=False)
class _Sampling:
    """The four pixels (indices into a flat map) around each source point, and their weights."""

    places: tuple[NDArray[np.intp], ...]
    weights: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(
        cls,
        size: Pair,
        degrees: float,
        at: NDArray[np.intp],
        jumps: tuple[float, float] = (1.0, 1.0),
    ) -> _Sampling:
        """Return what is read for the positions `at`, (2, N) rows and columns.

        With y down, turning by −θ finds where a turned pixel comes from:
        #x' = x cos θ − y sin θ,  y' = x sin θ + y cos θ, both from the centre
        """
        centre = [(length - 1) / 2 for length in size]
        y, x = ((at[axis] - centre[axis]) * jumps[axis] for axis in (0, 1))
        c, s = cos(radians(degrees)), sin(radians(degrees))
        sources = ((x * s + y * c) / jumps[0], (x * c - y * s) / jumps[1])
        lows, parts = [], []
        for axis, source in enumerate(sources):
            inside = np.clip(source + centre[axis], 0, size[axis] - 1)
            low = np.minimum(inside.astype(np.intp), max(size[axis] - 2, 0))
            lows.append(low)
            parts.append(inside - low)
        (top, left), (down, right) = lows, parts
        below = size[1] if size[0] > 1 else 0
        beside = 1 if size[1] > 1 else 0
        first = top * size[1] + left
        return cls(
            (first, first + beside, first + below, first + below + beside),
            tuple(
                weight.astype(np.float32)
                for weight in (
                    (1 - down) * (1 - right),
                    (1 - down) * right,
                    down * (1 - right),
                    down * right,
                )
            ),
        )

    def read(self, plane: NDArray[Any]) -> NDArray[np.float32]:
        """Return a map's values at the source points, (N,)."""
        flat = np.ascontiguousarray(plane).reshape(-1)
        total = np.zeros(self.places[0].size, np.float32)
        with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
            for place, weight in zip(self.places, self.weights, strict=True):
                total += flat[place] * weight
        return total


@dataclass(frozen=True)
class _Turn:
    """A rotation of the picture by an angle in degrees."""

    degrees: float

    def errors(
        self, new: NDArray[Any], reference: Reference, grid: Grid | None
    ) -> tuple[float | None, float | None]:
        """Return the equivariance and the invariance error, inside the disc."""
        if grid is None:
            own, _ = reference.distances(new)
            return None, relative(own, float(reference.energy.sum()))
        size: Pair = reference.energy.shape
        jumps = (abs(float(grid.jumps[0])), abs(float(grid.jumps[1])))
        at = disc(size, jumps)
        if not at.size:
            return None, None
        turn = _Sampling.of(size, -self.degrees if self._mirrors(grid) else self.degrees, at, jumps)
        flat = at[0] * size[1] + at[1]
        moved = own = 0.0
        with np.errstate(all="ignore"):
            for after, before in zip(
                new.reshape(reference.values.shape), reference.values, strict=True
            ):
                values = after.reshape(-1)[flat].astype(np.float64)
                away = values - turn.read(before)
                changed = values - before.reshape(-1)[flat]
                moved += float(away @ away)
                own += float(changed @ changed)
        energy = float(reference.energy.reshape(-1)[flat].sum())
        return relative(moved, energy), relative(own, energy)

    @staticmethod
    def _mirrors(grid: Grid) -> bool:
        """Whether the map shows the picture mirrored: it then turns the other way."""
        flips = sum(jump < 0 for jump in grid.jumps)
        return (flips + grid.turned) % 2 == 1


def disc(size: Pair, jumps: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.intp]:
    """Return the positions, (2, N) rows and columns, in the disc inscribed in a map.

    They stay on it however it is turned. `jumps` are the distances of its rows and of its columns
    on the picture.

    >>> disc((3, 3)).shape, disc((4, 4)).shape, disc((3, 1)).tolist()
    ((2, 9), (2, 12), [[1], [0]])
    """
    rows, columns = (
        (np.arange(length) - (length - 1) / 2) * jump
        for length, jump in zip(size, jumps, strict=True)
    )
    radius = min(length / 2 * jump for length, jump in zip(size, jumps, strict=True))
    inside = rows[:, None] ** 2 + columns**2 <= radius**2 * (1 + 1e-12)
    return np.stack(np.nonzero(inside))
