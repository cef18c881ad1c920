"""Why a number is what it is: the terms of one value, how they are joined, and what that makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pair, Params, Tensor

Join = Literal["sum", "product", "largest", "smallest"]

MOST_TERMS = 1 << 16
"""Terms that are listed, at most: of a mean over millions only those that bring most."""

Doubles = NDArray[np.float64]


class Terms:
    """What one value is made of, N terms side by side: entry n of every array is term n.

    Attributes
    ----------
    value : array, (N,)
        What is read.
    part : array, (N,)
        What that brings to the total; without it the value, times its weight if it has one.
    at : array of int, (N, axes)
        The input's cell it is read from. Where a number pads, its channel, and -1 for the row and
        the column.
    source : array of int, (N,)
        Which of the layer's inputs it is read from.
    padding : array of bool, (N,)
        Whether it is read beyond the edge; with a mirror `at` is the pixel that is copied.
    weight : array, (N,), optional
        What the value is multiplied by.
    place : array of int, (N, 2), optional
        Its row and column in the window, where one slides.
    omitted : int
        How many terms are not listed, being the smallest of very many.
    omitted_part : float
        Their sum.
    """

    def __init__(
        self,
        value: Doubles,
        at: NDArray[np.intp],
        *,
        part: Doubles | None = None,
        source: NDArray[np.intp] | None = None,
        padding: NDArray[np.bool_] | None = None,
        weight: Doubles | None = None,
        place: NDArray[np.intp] | None = None,
        omitted: int = 0,
        omitted_part: float = 0.0,
    ) -> None:
        self.value, self.at = value, at
        if part is None:
            with np.errstate(all="ignore"):
                part = value if weight is None else value * weight
        self.part = part
        self.source = np.zeros(len(value), np.intp) if source is None else source
        self.padding = np.zeros(len(value), np.bool_) if padding is None else padding
        self.weight, self.place = weight, place
        self.omitted, self.omitted_part = omitted, omitted_part

    def __len__(self) -> int:
        return len(self.value)

    @property
    def real(self) -> NDArray[np.bool_]:
        """(N,) whether a term is read from a cell, and is no number that pads."""
        return np.asarray(self.at[:, -1] >= 0)


class Arithmetic(NamedTuple):
    """How a layer makes one value: its terms joined, a bias added, a last step taken.

    Everything is worked out in float64 from the float32 numbers; `result` is rounded to float32
    where it is stored.
    """

    terms: Terms
    join: Join
    total: float  # the terms' parts joined, and the bias added
    result: float
    steps: tuple[str, ...] = ()  # from the total to the result, in words with the numbers in them
    bias: float | None = None
    chosen: int | None = None  # the term that won, of a largest or smallest; or is this value's own
    kernel_size: Pair | None = None  # of the window that slides, where one does
    noun: str = "values"  # what the parts are called


def joined_sum(terms: Terms, bias: float | None = None) -> float:
    """Return the sum of the parts and the bias, in float64."""
    with np.errstate(all="ignore"):
        return float(terms.part.sum() + terms.omitted_part + (bias or 0.0))


def bias_of(params: Params, k: int) -> float | None:
    """Return the bias of an output channel, where there is one."""
    return float(params["bias"][k]) if "bias" in params else None


def summed(terms: Terms, *steps: str, bias: float | None = None, **more: Any) -> Arithmetic:
    """Return the arithmetic of a value that is the sum of its terms and a bias."""
    total = joined_sum(terms, bias)
    noun = "values" if terms.weight is None else "products"
    return Arithmetic(terms, "sum", total, total, steps, bias, noun=noun, **more)


def chosen(
    terms: Terms, join: Join, steps: Callable[[int], tuple[str, ...]], **more: Any
) -> Arithmetic:
    """Return the arithmetic of a value that is the largest or smallest of its terms.

    The first of equal ones wins; a NaN, the last of them, wins over everything, as in PyTorch.
    """
    parts = terms.part
    odd = np.flatnonzero(np.isnan(parts))
    winner = int(odd[-1] if odd.size else (parts.argmax() if join == "largest" else parts.argmin()))
    value = float(parts[winner])
    return Arithmetic(terms, join, value, value, steps(winner), chosen=winner, **more)


def extreme(terms: Terms, join: Join) -> Arithmetic:
    """Return the arithmetic of a value that is the largest or smallest of a window's cells."""

    def steps(winner: int) -> tuple[str, ...]:
        where = f"cell {cell_text(terms.at[winner])}" if terms.real[winner] else "padding"
        ties = int(np.count_nonzero(terms.part == terms.part[winner]))
        tied = f", the first of {ties} that are equal" if ties > 1 else ""
        return (f"the {join} is {written(terms.part[winner])}, from {where}{tied}",)

    return chosen(terms, join, steps)


def mean(terms: Terms, counted: int) -> Arithmetic:
    """Return the arithmetic of a mean of cells, of which `counted` count."""
    total = joined_sum(terms)
    result = total / counted
    aside = len(terms) + terms.omitted - counted
    step = f"{written(total)} / {counted:,} = {written(result)}"
    if aside:
        step += f" ({aside} of {counted + aside} cells are padding and do not count)"
    elif terms.padding.any():
        step += f" (padding counts: {np.count_nonzero(terms.padding)} of the cells)"
    return Arithmetic(terms, "sum", total, result, (step,))


def p_norm(terms: Terms, p: float) -> Arithmetic:
    """Return the arithmetic of a p-norm; its terms' parts are `powers`."""
    total, unit = joined_sum(terms), _unit(terms.value, p)
    with np.errstate(all="ignore"):
        result = float(unit * np.power(total, 1 / p))
    step = f"{written(total)}^(1/{p:g}) = {written(result)}"
    if unit != 1:
        step = f"{written(unit)} · {step} (magnitudes are divided by the largest first)"
    return Arithmetic(terms, "sum", total, result, (step,), noun=f"powers |x|^{p:g}")


def powers(values: Doubles, p: float) -> Doubles:
    """Return |x|^p of each value, divided by the largest first where they might overflow."""
    return np.asarray((np.abs(values) / _unit(values, p)) ** p)


def _unit(values: Doubles, p: float) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest if p > 6 and 0 < largest < np.inf else 1.0


def single(
    x: Tensor, at: tuple[int, ...], *, source: int = 0, weight: float | None = None
) -> Terms:
    """Return the one term of a value that is made of one cell of `x`, perhaps times a weight."""
    return Terms(
        np.array([x[at]], np.float64),
        np.array([at]),
        source=np.array([source]),
        weight=None if weight is None else np.array([weight]),
    )


def block(
    x: Tensor,
    spans: Sequence[range],
    *,
    part: Callable[[Doubles], Doubles] | None = None,
    weight: NDArray[Any] | None = None,
    rank: Callable[[Doubles], Doubles] = np.abs,
) -> Terms:
    """Return a term for every cell of a block, in their order.

    Parameters
    ----------
    x : Tensor
    spans : sequence of range
        The block's positions along each axis of `x`.
    part : function, optional
        What a value brings to the total; by default itself, or times its weight.
    weight : array, optional
        A weight for each cell.
    rank : function
        Of very many terms, those with the largest parts are listed.
    """
    cells = x[tuple(slice(span.start, span.stop) for span in spans)]
    value = cells.reshape(-1).astype(np.float64)
    weights = None if weight is None else np.asarray(weight, np.float64).reshape(-1)
    with np.errstate(all="ignore"):
        parts = value if weights is None else value * weights
        if part is not None:
            parts = part(parts)
        listed, omitted = np.arange(value.size), 0.0
        if value.size > MOST_TERMS:
            worth = np.nan_to_num(rank(parts), nan=np.inf)
            listed = np.sort(np.argpartition(worth, -MOST_TERMS)[-MOST_TERMS:])
            omitted = float(parts.sum() - parts[listed].sum())
    within = np.unravel_index(listed, cells.shape)
    return Terms(
        value[listed],
        np.stack([span.start + w for span, w in zip(spans, within, strict=True)], axis=1),
        part=parts[listed],
        weight=None if weights is None else weights[listed],
        omitted=value.size - listed.size,
        omitted_part=omitted,
    )


def spans_of(
    x: Tensor, at: tuple[int, ...] = (), axes: Sequence[int] | None = None
) -> tuple[range, ...]:
    """Return the spans of all of `x`; or of what is at `at` but along `axes`, where they are all.

    >>> spans_of(np.zeros((3, 8, 6)), (1, 2, 4), axes=(0,))
    (range(0, 3), range(2, 3), range(4, 5))
    """
    return tuple(
        range(side) if axes is None or axis in axes else range(at[axis], at[axis] + 1)
        for axis, side in enumerate(x.shape)
    )


# --- in words ----------------------------------------------------------------------------------


class Misfit(str):
    """A formula's text with numbers that do not go together: the input does not fit here."""

    __slots__ = ()


def signed(number: float) -> str:
    """Return a number as formulas have it: with a true minus, and no decimals it can do without.

    >>> signed(-3), signed(2.0), signed(0.25)
    ('−3', '2', '0.25')
    """
    text = repr(int(number) if float(number).is_integer() else number)
    return text.replace("-", "−")


def by(shape: Iterable[int]) -> str:
    """Return sides joined by ×."""
    return "×".join(map(str, shape))


def product(numbers: Iterable[int]) -> str:
    """Return numbers joined by ·."""
    return "·".join(map(str, numbers))


SIDES = ("channels", "rows", "columns")


def by_side(texts: Sequence[str]) -> dict[str, str]:
    """Return a text for each side of an output, by what the side is called.

    >>> by_side(["3, unchanged", "1", "6"]), by_side(["10"])
    ({'channels': '3, unchanged', 'rows': '1', 'columns': '6'}, {'values': '10'})
    """
    return dict(zip(SIDES if len(texts) == 3 else ("values",), texts, strict=True))


def written(value: float) -> str:
    """Write a number with six digits, and never -0.

    >>> written(-0.125), written(1 / 3), written(-0.0), written(1e20)
    ('−0.125', '0.333333', '0', '1e+20')
    """
    return f"{float(value) + 0.0:.6g}".replace("-", "−")


def inside(value: float) -> str:
    """Write a number as it stands inside a formula: negative ones in brackets.

    >>> inside(-2), inside(3)
    ('(−2)', '3')
    """
    text = written(value)
    return f"({text})" if text.startswith("−") else text


def substituted(formula: str, numbers: Mapping[str, float]) -> str:
    """Write numbers in place of a formula's names.

    >>> substituted("x if x > 0 else slope · x", {"x": -2, "slope": 0.1})
    '(−2) if (−2) > 0 else 0.1 · (−2)'
    """
    names = "|".join(sorted(map(re.escape, numbers), key=len, reverse=True))
    return re.sub(rf"\b({names})\b", lambda found: inside(numbers[found[1]]), formula)


def curve_steps(formula: str, numbers: Mapping[str, float], result: float) -> tuple[str, ...]:
    """Return a formula, and the formula with numbers in place of its names."""
    return (formula, f"{substituted(formula, numbers)} = {written(result)}")


def cell_text(at: tuple[int, ...] | NDArray[np.intp]) -> str:
    """Write a cell as ``--at`` takes it: ``2,0,1``."""
    return ",".join(str(int(index)) for index in at)
