"""One kernel and what is known of it: its sum, rank, factors and symmetry."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pair
from cnnviz.errors import RequestError

Matrix = NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)
LARGEST_SIZE = 1001
LARGEST_BANK = 2**24  # weights in all: 128 MB of float64
FINITE = f"weights are finite numbers up to {LARGEST:.1e}"

TOLERANCE = float(np.finfo(np.float32).eps)
"""Relative size below which a difference means nothing: the engine computes in float32.

Rounding a rank-1 matrix to float32 adds singular values of at most half of this times the
largest one, so a Gaussian that went through a float32 file still counts as separable.
"""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One kernel: a name and its weights.

    Two kernels are equal when their names and their weights are.

    Parameters
    ----------
    name : str
        What its feature map is labelled with: ``sobel_x``, ``gabor_45``, ``custom``.
    weights : array, (h, w) or (C, h, w)
        A 2-D kernel spans all input channels; a 3-D one has a plane for each. Kept as a
        read-only float64 copy.

    Raises
    ------
    RequestError
        If the weights are empty, not 2-D or 3-D, not finite, or too large for float32.

    Examples
    --------
    >>> step = kernel_from_numbers([[-1, 0, 1]], "step")
    >>> step.size, step.total, step.separable
    ((1, 3), 0.0, True)
    """

    name: str
    weights: Matrix

    def __post_init__(self) -> None:
        # Adding 0.0 copies, and turns -0.0 into 0.0: equal kernels must hash and print alike.
        weights = np.asarray(self.weights, dtype=np.float64) + 0.0
        if weights.ndim not in {2, 3} or weights.size == 0:
            raise RequestError(
                f"kernel {self.name!r} has the shape {weights.shape}",
                hint="a kernel is (rows, columns) or (channels, rows, columns), none of them 0",
            )
        _check_values(weights, f"kernel {self.name!r}")
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kernel):
            return NotImplemented
        return self.name == other.name and np.array_equal(self.weights, other.weights)

    def __hash__(self) -> int:
        return hash((self.name, self.weights.shape, self.weights.tobytes()))

    @property
    def size(self) -> Pair:
        """(rows, columns)."""
        rows, columns = self.weights.shape[-2:]
        return rows, columns

    @property
    def total(self) -> float:
        """The sum of all weights: 1 keeps the brightness, 0 makes flat areas vanish.

        What rounding leaves of a sum of 0 is returned as 0.
        """
        total = math.fsum(self.weights.flat)
        return total if abs(total) > 1e-12 * np.abs(self.weights).sum() else 0.0

    @cached_property
    def rank(self) -> int:
        """How many column × row products add up to the matrix (for C planes, the most needed).

        The number of singular values above `TOLERANCE` times the largest.
        """
        peak = np.abs(self.weights).max()
        if peak == 0:
            return 0
        values = np.linalg.svd(self.weights / peak, compute_uv=False)
        strongest = values.max(axis=-1, keepdims=True)
        # A plane of zeros has rank 0: nothing in it is greater than 0 times anything.
        return int((values > TOLERANCE * strongest).sum(axis=-1).max())

    @property
    def separable(self) -> bool:
        """Whether the kernel is one column times one row, so that `factors` exist."""
        rows, columns = self.size
        return self.weights.size == rows * columns and self.rank <= 1

    def factors(self) -> tuple[Matrix, Matrix] | None:
        """Split a separable kernel into a column and a row that multiply to it.

        Returns
        -------
        (column, row) : arrays of shapes (h,) and (w,), or None
            ``np.outer(column, row)`` is the matrix; None if the kernel is not separable. Whole
            numbers if the matrix is made of them. Otherwise a smoothing factor sums to 1 next to
            a difference, two smoothing factors have the same sum (1 for a blur), and of two
            differences the column takes the scale.

        Examples
        --------
        >>> column, row = kernel_from_numbers([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).factors()
        >>> column.tolist(), row.tolist()
        ([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])
        >>> column, row = Kernel("box", np.full((3, 3), 1 / 9)).factors()
        >>> column.round(3).tolist(), row.round(3).tolist()
        ([0.333, 0.333, 0.333], [0.333, 0.333, 0.333])
        """
        if not self.separable:
            return None
        plane = self.weights.reshape(self.size)
        if not plane.any():
            return np.zeros(plane.shape[0]), np.zeros(plane.shape[1])
        # Through the strongest weight, so that nothing is divided by rounding noise.
        strongest = np.unravel_index(np.abs(plane).argmax(), plane.shape)
        column, row = _readable(plane[:, strongest[1]]), _readable(plane[strongest[0]])
        scale = float(plane[strongest] / np.outer(column, row)[strongest])
        if np.array_equal(plane, np.round(plane)) and scale == round(scale):
            # Smoothing keeps its plus signs; the difference takes the minus.
            if scale < 0 and _is_zero_sum(row):
                row, scale = -row, -scale
            column = column * scale
        elif _is_zero_sum(row) and _is_zero_sum(column):
            column = column * scale
        elif _is_zero_sum(row):
            column, row = column / column.sum(), row * (scale * column.sum())
        elif _is_zero_sum(column):
            column, row = column * (scale * row.sum()), row / row.sum()
        else:
            total = scale * column.sum() * row.sum()
            share = float(np.sqrt(abs(total)))
            column, row = column * (share / column.sum()), row * (total / share / row.sum())
        return column + 0.0, row + 0.0  # no -0.0

    @property
    def symmetry(self) -> list[str]:
        """Every mirror and turn that leaves the kernel as it is, or negates it, in words.

        Empty if there is none. What follows from another entry is not repeated: a kernel with
        two mirrors is point-symmetric, and that is not listed.

        Examples
        --------
        >>> kernel_from_numbers([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).symmetry
        ['antisymmetric left-right', 'symmetric top-bottom']
        """
        weights = self.weights
        rows, columns = self.size
        if not weights.any():
            return []
        # A single column is its own mirror image: true, and not worth saying.
        moved = {"left-right": weights[..., ::-1]} if columns > 1 else {}
        if rows > 1:
            moved["top-bottom"] = weights[..., ::-1, :]
        if rows == columns > 1:
            moved["about the falling diagonal"] = np.swapaxes(weights, -1, -2)
            moved["about the rising diagonal"] = np.rot90(weights, 2, (-2, -1)).swapaxes(-1, -2)
        changes = {where: self._change(after) for where, after in moved.items()}
        words = [f"{change} {where}" for where, change in changes.items() if change]
        falling, rising = (
            changes.get(f"about the {way} diagonal") for way in ("falling", "rising")
        )
        if falling and falling == rising:
            words[-2:] = [f"{falling} about both diagonals"]

        if words or rows * columns == 1:
            return words
        if rows == columns and self._change(np.rot90(weights, axes=(-2, -1))) == "symmetric":
            return ["unchanged by quarter turns"]
        turned = self._change(weights[..., ::-1, ::-1])
        return [f"point-{turned}"] if turned else []

    def flipped(self) -> Kernel:
        """Turn the kernel by 180 degrees; correlating with it is the mathematical convolution.

        Examples
        --------
        >>> kernel_from_numbers([[-1, 0, 1]]).flipped().weights.tolist()
        [[1.0, 0.0, -1.0]]
        """
        return Kernel(self.name, self.weights[..., ::-1, ::-1])

    def _change(self, moved: Matrix) -> str | None:
        """Say what moving the weights did: nothing, negated them, or something else (None)."""
        limit = TOLERANCE * np.abs(self.weights).max()
        if np.abs(moved - self.weights).max() <= limit:
            return "symmetric"
        if np.abs(moved + self.weights).max() <= limit:
            return "antisymmetric"
        return None


@dataclass(frozen=True)
class KernelEntry:
    """One line of the registry.

    Parameters
    ----------
    name : str
        What the user writes.
    kind : "kernel", "bank" or "family"
        One fixed kernel; several kernels; one or more kernels from parameters.
    summary : str
        What it shows on a photograph, in one line without a period.
    source : str
        Where the weights or the formula come from.
    build : callable
        Returns the kernels; its parameters are the user's.
    """

    name: str
    kind: Literal["kernel", "bank", "family"]
    summary: str
    source: str
    build: Callable[..., Sequence[Kernel]]

    @property
    def signature(self) -> str:
        """How it is written, with the defaults: ``gaussian(size=3, sigma=None)``, ``sobel_x``."""
        parameters = inspect.signature(self.build).parameters.values()
        if not parameters:
            return self.name
        return f"{self.name}({', '.join(f'{each.name}={each.default!r}' for each in parameters)})"


def kernel_from_numbers(rows: Sequence[Sequence[float]], name: str = "custom") -> Kernel:
    """Make a kernel of rows of numbers.

    Parameters
    ----------
    rows : sequence of sequences of numbers
        The matrix, top row first, all rows of one length.
    name : str
        The kernel's name.

    Raises
    ------
    RequestError
        If there are no numbers, the rows differ in length, or a value is not a finite number;
        the message names the row, counted from 1.

    Examples
    --------
    >>> kernel_from_numbers([[1, 0, -1], [2, 0, -2], [1, 0, -1]]).size
    (3, 3)
    """
    if len(rows) == 0:
        raise RequestError(f"kernel {name!r} has no numbers", hint="write e.g. 1,0,-1; 2,0,-2")
    for number, row in enumerate(rows, start=1):
        where = f"row {number} of kernel {name!r}"
        if len(row) == 0:
            raise RequestError(
                f"{where} is empty",
                hint="remove the extra row separator, or fill the row",
            )
        if len(row) != len(rows[0]):
            numbers = "1 number" if len(row) == 1 else f"{len(row)} numbers"
            raise RequestError(
                f"{where} has {numbers}, row 1 has {len(rows[0])}",
                hint="all rows need the same length",
            )
        for value in row:
            if not isinstance(value, (int, float, np.integer, np.floating)):
                raise RequestError(f"{where} holds {value!r}", hint="write numbers only")
            if not abs(value) <= LARGEST:  # NaN is wrong, too
                # Python refuses to print the largest whole numbers.
                shown = "too large a number" if isinstance(value, int) else value
                raise RequestError(f"{where} holds {shown}", hint=FINITE)
    return Kernel(name, np.array(rows, dtype=np.float64))


def kernels_from_array(array: NDArray[Any], name: str) -> tuple[Kernel, ...]:
    """Make kernels of an array, such as one from a ``.npy`` file.

    Parameters
    ----------
    array : array
        (h, w) for one kernel, (N, h, w) for N of them, (N, C, h, w) for N with C planes each.
    name : str
        The name of a single kernel; several are called ``name_0``, ``name_1``, …

    Raises
    ------
    RequestError
        If the array has another number of dimensions, is empty, or holds anything else than
        finite real numbers.

    Examples
    --------
    >>> [kernel.name for kernel in kernels_from_array(np.ones((2, 3, 3)), "mine")]
    ['mine_0', 'mine_1']
    """
    if array.dtype.kind not in "biuf":
        raise RequestError(
            f"kernel {name!r} holds values of type {array.dtype}",
            hint="kernels are made of real numbers",
        )
    if array.ndim not in {2, 3, 4}:
        raise RequestError(
            f"kernel {name!r} has {array.ndim} dimensions, shape {array.shape}",
            hint="2-D (rows, columns), 3-D (kernels, rows, columns) or "
            "4-D (kernels, channels, rows, columns)",
        )
    if array.size == 0:
        raise RequestError(f"kernel {name!r} is empty, shape {array.shape}", hint="fill it")
    _check_values(array, f"kernel {name!r}")
    planes = array[np.newaxis] if array.ndim == 2 else array
    if len(planes) == 1:
        return (Kernel(name, planes[0]),)
    return tuple(Kernel(f"{name}_{index}", plane) for index, plane in enumerate(planes))


def _check_values(values: NDArray[Any], what: str) -> None:
    """Raise RequestError, with the position, unless all values are finite in float32."""
    # Compared this way round, NaN counts as wrong too.
    with np.errstate(over="ignore"):  # of long doubles: they become inf, which is wrong as well
        wrong = ~(np.abs(values.astype(np.float64)) <= LARGEST)
    if wrong.any():
        position = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise RequestError(
            f"{what} holds {values[position]} at index {position}",
            hint=FINITE,
        )


def _readable(part: Matrix) -> Matrix:
    """Scale a factor as a person would write it: small whole numbers where that can be.

    Smoothing sums to more than 0, as 1 2 1 does; a difference ends above 0, as -1 0 1 does.
    """
    strength = np.abs(part)
    # Weights that are zero but for rounding would make a nonsensical unit.
    part = part / strength[strength > TOLERANCE * strength.max()].min()
    for factor in range(1, 10):  # 1, 1.5, 1 becomes 2, 3, 2
        whole = np.round(part * factor)
        if np.allclose(part * factor, whole, rtol=1e-12, atol=1e-12):
            part = whole / float(np.gcd.reduce(whole.astype(np.int64)))
            break
    total = part[np.flatnonzero(part)[-1]] if _is_zero_sum(part) else part.sum()
    return part if total > 0 else -part


def _is_zero_sum(part: Matrix) -> bool:
    return bool(abs(part.sum()) <= TOLERANCE * np.abs(part).sum())


def read_whole(
    family: str, option: str, value: object, lowest: int, highest: int | None = None
) -> int:
    """Read a whole number in a range as an option of a family, or raise RequestError."""
    example, wanted, shown = max(lowest, 3), "a whole number", repr(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if lowest <= value and (highest is None or value <= highest):
            return int(value)
        wanted, shown = f"from {lowest} to {highest}", str(value)
        if highest is None:
            example, wanted = lowest, f"{lowest} or more"
    raise RequestError(
        f"{family}(): {option} must be {wanted}, got {shown}", hint=f"write e.g. {option}={example}"
    )


def read_number(family: str, option: str, value: object, *, positive: bool = False) -> float:
    """Read a finite number, above 0 if `positive`, as an option of a family."""
    example, wanted, shown = "3", "a number", repr(value)
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an int of more than 308 digits
            number = math.inf
        if math.isfinite(number) and (number > 0 or not positive):
            return number
        wanted, shown = "a finite number", str(number)
        if math.isfinite(number):
            example, wanted, shown = "1.5", "above 0", f"{number:g}"
    raise RequestError(
        f"{family}(): {option} must be {wanted}, got {shown}", hint=f"write e.g. {option}={example}"
    )


def read_size(family: str, value: object, *, odd: bool = False) -> Pair:
    """Read the size of a family's kernels as (rows, columns), 1 to 1001 each."""
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise RequestError(
            f"{family}(): size has {len(pair)} numbers, {tuple(pair)}",
            hint="write one number, or (rows, columns)",
        )
    rows, columns = (read_whole(family, "size", length, 1, LARGEST_SIZE) for length in pair)
    for length in (rows, columns):
        if odd and length % 2 == 0:
            raise RequestError(
                f"{family}(): size must be odd, got {length}",
                hint=f"it needs a centre pixel: use {length - 1} or {length + 1}",
            )
    return rows, columns


def read_odd_length(family: str, value: object, lowest: int) -> int:
    """Read an odd size that is the same both ways."""
    length = read_whole(family, "size", value, lowest, LARGEST_SIZE)
    return read_size(family, length, odd=True)[0]


def check_bank(family: str, count: int, size: Pair) -> None:
    """Raise RequestError if a bank of so many kernels would fill the memory."""
    weights = count * size[0] * size[1]
    if weights > LARGEST_BANK:
        raise RequestError(
            f"{family}(): {count} kernels of {size[0]}x{size[1]} are {weights} weights, "
            f"more than {LARGEST_BANK}",
            hint="ask for fewer or smaller kernels",
        )
