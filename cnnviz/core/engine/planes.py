"""Filters that are one plane each, and their sums as few passes over long contiguous lines.

An image is one line of numbers, row after row, and the pixel i rows below and j columns to the
right is i·W + j further on. A weighted sum of taps is then a few additions of whole lines, each
shifted against the other. Taps of the same strength are added before they are multiplied once:

    5·(a + b + c) − 3·(d + e)         three multiplications less than tap by tap

a kernel that is a column times a row takes sums down its column, then sums along its row, and a
sum of sums may take fewer passes than one: a binomial's taps are neighbours added again and again,
those of a box are added by doubling (without it sobel_5 and boxes take 1.3 times as long).

    1 2 1 = (1 1) ∗ (1 1)        1 1 1 1 = (1 1) ∗ (1 0 1)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Tensor

SMALL = 1024  # weights of kernels that are remembered: all remembered take a few megabytes
MOST = 4096  # planes looked at: beyond it the weights are a network's, not chosen kernels
MOST_PARTS = 12  # of the smallest weight that may be the unit of all
LARGEST_MULTIPLE = 128
MOST_PASSES = 48  # beyond them a matrix product is quicker anyway

Line = NDArray[Any]
Matrix = NDArray[np.float64]

Tap = tuple[int, int]
"""(row, column) of a kernel."""


class Planes(NamedTuple):
    """Filters W[o, c] = mix[c] · kernels[o]: mix the channels, then slide one plane."""

    kernels: Matrix  # (O, kh, kw)
    mix: Tensor | None  # (C,) shared by all filters; None where a filter has one channel anyway


def planes_of(weight: Tensor) -> Planes | None:
    """Find the planes of weights (O, depth, kh, kw), or None.

    A 2-D kernel that spans all channels is the same plane over and over: mixing the channels
    first saves sliding it over each of them.
    """
    filters, depth, _, _ = weight.shape
    if depth == 1:
        return Planes(weight[:, 0].astype(np.float64), None)
    if filters * depth > MOST:
        return None
    strength = np.abs(weight)
    strongest = np.unravel_index(int(strength.argmax()), weight.shape)
    if not strength[strongest]:
        return None
    mix = weight[strongest[0], :, strongest[2], strongest[3]] / weight[strongest]
    kernels = weight[:, strongest[1]]
    error = np.abs(weight - mix[:, None, None] * kernels[:, None])
    if not (error <= 2 * np.finfo(np.float32).eps * strength).all():
        return None
    return Planes(kernels.astype(np.float64), mix)


def mixed(rows: Tensor, mix: Tensor) -> Tensor:
    """Return Σ mix[c] · rows[c] of (C, rows, columns) as (1, rows, columns)."""
    parts = (
        plane if strength == 1 else plane * strength
        for plane, strength in zip(rows, mix, strict=True)
    )
    first, second = next(parts), next(parts)
    total: Tensor = first + second
    for part in parts:
        total += part
    return np.expand_dims(total, 0)


Found = TypeVar("Found")


def remembered(look: Callable[[Matrix], Found]) -> Callable[[Matrix], Found]:
    """Remember what looking at small kernels found: the next image, or layer, has the same ones."""

    @lru_cache(maxsize=256)
    def known(content: bytes, shape: tuple[int, ...]) -> Found:
        return look(np.frombuffer(content).reshape(shape))

    @wraps(look)
    def found(kernel: Matrix) -> Found:
        if kernel.size > SMALL:
            return look(kernel)
        return known(kernel.astype(np.float64).tobytes(), kernel.shape)

    return found


# --- recipes


class Group(NamedTuple):
    """Taps of one strength: strength · (Σ plus − Σ minus)."""

    strength: float
    plus: tuple[Tap, ...]
    minus: tuple[Tap, ...]

    @property
    def taps(self) -> int:
        """How many there are."""
        return len(self.plus) + len(self.minus)

    @property
    def passes(self) -> int:
        """How often a line is passed over, adding the group to another among it."""
        return self.taps if self.strength == 1 else self.taps + 1


class Sum(NamedTuple):
    """A weighted sum of taps: one pass over the image's lines."""

    groups: tuple[Group, ...]

    @property
    def passes(self) -> int:
        """How often a line is passed over."""
        return max(sum(group.passes for group in self.groups) - 1, 1)

    @property
    def reach(self) -> float:
        """The sum of the strengths: how large a sum of taps in 0..1 can get."""
        return sum(group.strength * group.taps for group in self.groups)

    @property
    def whole(self) -> bool:
        """Whether all strengths are whole numbers."""
        return all(group.strength.is_integer() for group in self.groups)

    def span(self, shifts: tuple[int, int]) -> int:
        """Return how far on the line the farthest tap is."""
        taps = (tap for group in self.groups for tap in (*group.plus, *group.minus))
        return max(row * shifts[0] + column * shifts[1] for row, column in taps)

    def over(self, line: Line, shifts: tuple[int, int], out: Line, spare: Line) -> None:
        """Write the sums at positions 0 … len(out) − 1 of `line` to `out`.

        Parameters
        ----------
        line : array
            At least as long as `out` and the farthest tap need.
        shifts : (int, int)
            How far apart on the line two taps of neighbouring rows, and columns, are.
        out, spare : arrays
            Of one length and dtype; `spare` is overwritten.
        """
        size = out.size

        def at(tap: Tap) -> Line:
            start = tap[0] * shifts[0] + tap[1] * shifts[1]
            return line[start : start + size]

        for index, group in enumerate(self.groups):
            if index and group.strength == 1:  # straight onto what there is
                _add(out, map(at, group.plus), map(at, group.minus))
                continue
            target = spare if index else out
            _weigh(target, [at(tap) for tap in group.plus], [at(tap) for tap in group.minus], group)
            if index:
                np.add(out, spare, out=out)


def _add(out: Line, plus: Iterable[Line], minus: Iterable[Line]) -> None:
    for line in plus:
        np.add(out, line, out=out)
    for line in minus:
        np.subtract(out, line, out=out)


def _weigh(out: Line, plus: list[Line], minus: list[Line], group: Group) -> None:
    """Write strength · (Σ plus − Σ minus) to `out`."""
    strength = out.dtype.type(group.strength)
    if group.taps == 1:
        (only,) = plus or minus
        np.multiply(only, strength if plus else -strength, out=out)
        return
    # The first two taps in one pass; with none to add, the sum of the others is turned round.
    if plus and minus:
        np.subtract(plus.pop(), minus.pop(), out=out)
        _add(out, plus, minus)
    else:
        taps = plus or minus
        np.add(taps.pop(), taps.pop(), out=out)
        _add(out, taps, ())
        strength = strength if plus is taps else -strength
    if strength != 1:
        np.multiply(out, strength, out=out)


class Recipe(NamedTuple):
    """A kernel as scale · (… ∘ …): sums of sums, down its rows and along its columns, or one.

    Without any sum it is the kernel of zeros.
    """

    sums: tuple[Sum, ...]
    scale: float

    @property
    def passes(self) -> int:
        """How often lines are passed over."""
        return sum(each.passes for each in self.sums) + (self.scale != 1)

    @property
    def reach(self) -> float:
        """How large the unscaled result of pixels in 0..1 can get."""
        return float(np.prod([each.reach for each in self.sums]))

    @property
    def whole(self) -> bool:
        """Whether the unscaled result of whole numbers is whole."""
        return all(each.whole for each in self.sums)


@remembered
def recipe_of(kernel: Matrix) -> Recipe | None:
    """Return the recipe of fewest passes for a kernel (kh, kw), or None if that is too many."""
    if not np.isfinite(kernel).all():
        return None
    if not kernel.any():
        return Recipe((), 0.0)
    recipes = []
    if np.count_nonzero(kernel) <= MOST_PASSES:
        whole, unit = whole_multiples(kernel)
        recipes.append(Recipe((_sum_of(whole),), unit))
    halves = _halves(kernel)
    if halves is not None:
        (down, unit_down), (along, unit_along) = map(whole_multiples, halves)
        downs = [_sum_of(step[:, None]) for step in _cascade(down)]
        alongs = [_sum_of(step[None]) for step in _cascade(along)]
        recipes.append(Recipe((*downs, *alongs), unit_down * unit_along))
    best = min(recipes, key=lambda recipe: recipe.passes, default=None)
    return best if best is not None and best.passes <= MOST_PASSES else None


def _sum_of(weights: Matrix) -> Sum:
    taps: dict[float, tuple[list[Tap], list[Tap]]] = defaultdict(lambda: ([], []))
    for row, column in np.argwhere(weights).tolist():
        weight = float(weights[row, column])
        taps[abs(weight)][weight < 0].append((row, column))
    # The strength 1 last: its taps need no line of their own once there is something to add to.
    strengths: Sequence[float] = sorted(taps, key=lambda strength: (strength == 1, strength))
    return Sum(tuple(Group(s, tuple(taps[s][0]), tuple(taps[s][1])) for s in strengths))


STEPS = tuple(map(np.array, ([1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0])))
"""Sums of one or two additions each."""


def _cascade(taps: Matrix) -> list[Matrix]:
    """Factor whole taps of an axis into those sums of sums that take the fewest passes.

    None of their terms cancel, so that rounding and the largest sum stay what they were.
    """
    best = [taps]
    for step in STEPS:
        if len(step) > len(taps) or (taps != np.rint(taps)).any():
            continue
        rest, left = _divide(taps, step)
        if not left.any() and np.abs(rest).sum() * step.sum() == np.abs(taps).sum():
            steps = [step] if len(rest) == 1 and rest[0] == 1 else [step, *_cascade(rest)]
            best = min(best, steps, key=_passes)
    return best


def _passes(steps: list[Matrix]) -> int:
    return sum(_sum_of(step[None]).passes for step in steps)


def _divide(taps: Matrix, divisor: Matrix) -> tuple[Matrix, Matrix]:
    """Divide taps by a step that begins with 1; also return what is left over."""
    left, quotient = taps.copy(), np.zeros(len(taps) - len(divisor) + 1)
    for at in range(len(quotient)):
        quotient[at] = left[at]
        left[at : at + len(divisor)] -= quotient[at] * divisor
    return quotient, left


def whole_multiples(weights: Matrix) -> tuple[Matrix, float]:
    """Return weights as small whole multiples of a unit, to float32's precision; else as they are.

    >>> whole_multiples(np.float64([0.25, 0, -0.5]))
    (array([ 1.,  0., -2.]), 0.25)
    >>> whole_multiples(np.float32([5 / 3, -1]).astype(float))[0]
    array([ 5., -3.])
    """
    smallest = float(np.abs(weights[weights != 0]).min())
    units = smallest / np.arange(1, MOST_PARTS + 1).reshape(-1, *(1,) * weights.ndim)
    multiples = weights / units
    whole = np.rint(multiples)
    errors = np.abs(multiples - whole) - np.finfo(np.float32).eps * np.abs(whole)
    axes = tuple(range(1, multiples.ndim))
    fits = (errors.max(axes) <= 0) & (np.abs(whole).max(axes) <= LARGEST_MULTIPLE)
    if not fits.any():
        return weights, 1.0
    first = int(fits.argmax())
    return whole[first], float(units[first].item())


def _halves(kernel: Matrix) -> tuple[Matrix, Matrix] | None:
    """Split a kernel into a column times a row, or return None."""
    row, column = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    down, along = kernel[:, column] / kernel[row, column], kernel[row]
    product = np.outer(down, along)
    exact = np.abs(product - kernel) <= 2 * np.finfo(np.float32).eps * np.abs(kernel)
    return (down, along) if exact.all() else None


# --- factors

MOST_TERMS = 3
ROUNDING = 4e-7  # relative; of weights and factors that are float32
CANCELLATION = 5  # how far the sizes of terms may exceed the weight they add up to, or the mean one
TINY = float(np.finfo(np.float32).tiny)


@remembered
def factor(plane: Matrix) -> tuple[Tensor, Tensor] | None:
    """Write a kernel as a sum of a few columns times rows.

    Parameters
    ----------
    plane : array, (kh, kw)
        float32 values.

    Returns
    -------
    (downs, alongs) or None
        float32 arrays of shapes (terms, kh) and (terms, kw): plane[i, j] is
        Σ_r downs[r, i] · alongs[r, j] but for float32's rounding; exactly, if one column and one
        row of whole numbers will do. None if that takes too many terms, or ones that cancel.

    Examples
    --------
    >>> sobel = np.outer([1, 2, 1], [-1.0, 0, 1])
    >>> [part.tolist() for part in factor(sobel)]
    [[[1.0, 2.0, 1.0]], [[-1.0, 0.0, 1.0]]]
    """
    worthwhile = max(1, (plane.size - 1) // sum(plane.shape))
    for terms in range(1, 1 + min(MOST_TERMS, worthwhile)):
        downs, alongs = _one_term(plane) if terms == 1 else _by_svd(plane, terms)
        factors = downs.astype(np.float32), alongs.astype(np.float32)
        if _is_faithful(plane, *factors):
            return factors
    return None


def _is_faithful(plane: Matrix, downs: Tensor, alongs: Tensor) -> bool:
    """Return whether factors give a kernel, without sums in which large terms cancel.

    The error of an output is bounded by what each weight's terms add up to in size; zeros must
    come from zeros, for what they meet must not be seen at all.
    """
    products = np.einsum("ri,rj->rij", downs, alongs, dtype=np.float64)
    sizes, magnitude = np.abs(products).sum(0), np.abs(plane)
    bound = CANCELLATION * np.maximum(magnitude, magnitude.mean()) * (plane != 0)
    return bool(
        (np.abs(products.sum(0) - plane) <= ROUNDING * sizes + TINY).all()
        and (sizes <= bound + TINY).all()
    )


def _one_term(plane: Matrix) -> tuple[Matrix, Matrix]:
    """Find the column and the row of a plane of rank 1; whole numbers if it is made of them."""
    row, column = np.unravel_index(np.abs(plane).argmax(), plane.shape)
    strongest = plane[row, column]
    if not strongest:
        return np.zeros((1, len(plane))), np.zeros((1, plane.shape[1]))
    along = plane[row]
    if (plane == np.rint(plane)).all() and abs(strongest) < 1 << 24:
        along = along / np.gcd.reduce(along.astype(np.int64))
        along *= np.sign(along[np.flatnonzero(along)[-1]])
        down = plane[:, column] / along[column]
        return down[None], along[None]
    # Each tap is the mean of its own row (column), so that small ones are as precise as large.
    down = plane @ along
    along = down @ plane / np.vdot(down, down)
    balance = np.sqrt(np.abs(along).max() / np.abs(down).max())
    return down[None] * balance, along[None] / balance


def _by_svd(plane: Matrix, terms: int) -> tuple[Matrix, Matrix]:
    left, strengths, right = np.linalg.svd(plane, full_matrices=False)
    roots = np.sqrt(strengths[:terms])
    return (left[:, :terms] * roots).T, right[:terms] * roots[:, None]
