"""The search for changes after which a pipeline goes through to its end.

Makers' candidates need not be right: one is kept only where the changed pipeline's rows go through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cnnviz.core.fixes.change import Change, State, after, undoes
from cnnviz.core.fixes.makers import MAKERS, Maker, left_out
from cnnviz.core.fixes.problem import Fix, Problem, stop
from cnnviz.core.pipeline import Pipeline
from cnnviz.core.types import Params, Shape

MOST = 6  # fixes that are told
EACH = 3  # of one kind
CHANGES = 3  # changes together, where no single one is enough
FRONT = 4  # half-way fixes that are gone on with
STAGES = 5  # that a fix may change, as long as there are others


def fixes(
    pipeline: Pipeline, shape: Shape, params: Params | None = None, *, most: int = MOST
) -> list[Fix]:
    """Return changes that make a pipeline fit an input of `shape`, the most local ones first.

    Where no single change is enough, up to three together are tried. Each is needed: without any
    one of them the pipeline would not fit. There are none for a pipeline that fits, or where none
    is found.

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
    start = (pipeline, shape)
    problem = stop(Fix((), pipeline, shape), params)
    if problem is None:
        return []
    seen = _Seen()
    groups = [
        _needed(start, [fix for fix, left in _tried(problem, [maker], seen) if not left], params)
        for maker in MAKERS
    ]
    found = _few_stages(_distinct(_spread(groups, most)))
    for makers in (MAKERS, (*MAKERS, left_out)):
        found = found or _few_stages(_combined(problem, makers))[:most]
    return found


def _needed(start: State, found: Iterable[Fix], params: Params | None) -> list[Fix]:
    """Return the fixes without the changes that are not needed; none that undoes its own."""
    kept = []
    for fix in found:
        changes = _minimal(start, fix.changes, params)
        if not undoes(changes):
            (pipeline, shape), _ = after(start, changes)
            kept.append(Fix(tuple(changes), pipeline, shape))
    return _distinct(kept)


def _minimal(start: State, changes: Iterable[Change], params: Params | None) -> list[Change]:
    """Leave out changes, and those that stand on them, as long as the rest is enough."""
    kept = list(changes)
    place = len(kept) - 1
    while place >= 0 and len(kept) > 1:
        state, rest = after(start, kept[:place] + kept[place + 1 :])
        if rest and stop(Fix(tuple(rest), *state), params) is None:
            kept, place = rest, len(rest)
        place -= 1
    return kept


def _distinct(found: Iterable[Fix]) -> list[Fix]:
    """Return the first of those fixes that end in the same pipeline and input."""
    first: dict[tuple[Pipeline, Shape], Fix] = {}
    for fix in found:
        first.setdefault((fix.pipeline, fix.shape), fix)
    return list(first.values())


def _few_stages(found: list[Fix]) -> list[Fix]:
    """Return the fixes that change few stages, or all if there is no such."""
    return [fix for fix in found if len(fix.changes) <= STAGES] or found


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


def _combined(problem: Problem, makers: Iterable[Maker]) -> list[Fix]:
    """Return fixes of several changes: those that got furthest are changed again."""
    start = (problem.fix.pipeline, problem.fix.shape)
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
        if needed := _needed(start, found, problem.params):
            return needed
        front = sorted(further, key=lambda left: left.remaining)[:FRONT]
    return []
