"""The search for changes after which a pipeline goes through to its end.

Makers' candidates need not be right: one is kept only where the changed pipeline's rows go through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cnnviz.core.fixes.makers import MAKERS, Maker, left_out
from cnnviz.core.fixes.problem import Fix, Problem, stop
from cnnviz.core.pipeline import Pipeline
from cnnviz.core.types import Params, Shape

MOST = 6  # fixes that are told
EACH = 3  # of one kind
CHANGES = 3  # changes together, where no single one is enough
FRONT = 4  # half-way fixes that are gone on with


def fixes(
    pipeline: Pipeline, shape: Shape, params: Params | None = None, *, most: int = MOST
) -> list[Fix]:
    """Return changes that make a pipeline fit an input of `shape`, the most local ones first.

    Where no single change is enough, up to three together are tried. There are none for a
    pipeline that fits, or where none is found.

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
    problem = stop(Fix("", pipeline, shape), params)
    if problem is None:
        return []
    seen = _Seen()
    groups = [
        [fix for fix, left in _tried(problem, [maker], seen) if left is None] for maker in MAKERS
    ]
    found = _spread(groups, most)
    for makers in (MAKERS, (*MAKERS, left_out)):
        found = found or _combined(problem, makers, most)
    return found


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
    problem: Problem,
    makers: Iterable[Maker],
    seen: _Seen,
) -> Iterator[tuple[Fix, Problem | None]]:
    """Yield candidates not yet seen, and what stops them; of each choice up to the first that fits.

    No more than `EACH` that fit come from one maker.
    """
    for maker in makers:
        fitting = 0
        for choice in maker(problem):
            for fix in choice:
                fits = seen.get(fix)
                if fits is None:
                    left = stop(fix, problem.params)
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


def _combined(problem: Problem, makers: Iterable[Maker], most: int) -> list[Fix]:
    """Return fixes of several changes: those that got furthest are changed again."""
    front, seen = [problem], _Seen()
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
        if found:
            return found[:most]
        front = sorted(further, key=lambda left: left.remaining)[:FRONT]
    return []
