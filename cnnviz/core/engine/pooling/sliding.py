"""A sliding ⊕ over flat cells in at most 2·log2(taps) passes, by doubling.

    #S_1[p] = x[p],   S_2n[p] = S_n[p] ⊕ S_n[p + n],   S_n+1[p] = S_n[p] ⊕ x[p + n]

A whole band of rows is one long vector here, which is what ufuncs are fastest at: a window that
would wrap around into the next row gives a value nobody reads. A sum's cells pass through as few
additions, so float32 keeps their digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from cnnviz.core.engine.pooling.modes import Join, Values

Pass = Callable[[], object]
"""A call made ready: views of buffers once cut serve every block of the same shape."""

Step = tuple[bool, int]
"""(joined with itself, or with the cells?; how many taps further on)."""


def doublings(taps: int, *, repeats: bool) -> Iterator[Step]:
    """List the steps by which a window grows from one cell to `taps`.

    Where a cell may be joined twice, two windows that overlap make the last step.

    >>> list(doublings(7, repeats=False))
    [(True, 1), (False, 2), (True, 3), (False, 6)]
    >>> list(doublings(7, repeats=True))
    [(True, 1), (True, 2), (True, 3)]
    """
    span = 1
    if repeats:
        while span < taps:
            shift = min(span, taps - span)
            yield True, shift
            span += shift
        return
    for bit in f"{taps:b}"[1:]:
        yield True, span
        span *= 2
        if bit == "1":
            yield False, span
            span += 1


def slide(
    cells: Values, steps: Iterable[Step], unit: int, join: Join, spare: Sequence[Values]
) -> tuple[list[Pass], Values]:
    """Make passes that join windows of flat `cells`, from each place where one fits.

    Parameters
    ----------
    cells : array
        (N,), left as it is.
    steps : iterable of Step
        How a window grows, of `doublings`.
    unit : int
        How far a window's cells are from each other.
    join : callable
        ⊕.
    spare : sequence of array
        At least two buffers of N values or more.

    Returns
    -------
    passes : list of Pass
        To be called in this order.
    joined : array
        (N − (taps − 1)·unit,), where the result will be: the start of a buffer, or `cells` itself
        for windows of one cell.
    """
    passes: list[Pass] = []
    joined, (target, other) = cells, spare[:2]
    for by_itself, taps in steps:
        shift = taps * unit
        if by_itself:
            out = target[: len(joined) - shift]
            passes.append(partial(join, joined[: len(out)], joined[shift:], out=out))
            joined, target, other = out, other, target
        else:
            # In place: half the memory traffic, and the same value.
            joined = joined[: len(cells) - shift]
            passes.append(partial(join, joined, cells[shift:], out=joined))
    return passes, joined
