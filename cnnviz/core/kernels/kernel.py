"""One kernel and what can be said about it: its sum, rank, factors and symmetry."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.kernels.factors import TOLERANCE, Matrix, factors_of
from cnnviz.core.types import Pair
from cnnviz.errors import RequestError

LARGEST = float(np.finfo(np.float32).max)


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

        What is left of a sum of 0 by rounding is told as 0.
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
        return self._plane is not None and self.rank <= 1

    def factors(self) -> tuple[Matrix, Matrix] | None:
        """Split a separable kernel into the column and the row whose product it is.

        Whole numbers stay whole numbers; otherwise the smoothing factors sum to the same
        value (1 for a blur), and the difference takes the scale.

        Returns
        -------
        (column, row) : arrays of shapes (h,) and (w,), or None
            ``np.outer(column, row)`` is the matrix; None if the kernel is not separable.

        Examples
        --------
        >>> column, row = kernel_from_numbers([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).factors()
        >>> column.tolist(), row.tolist()
        ([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])
        """
        plane = self._plane
        if plane is None or self.rank > 1:
            return None
        return factors_of(plane)

    @property
    def symmetry(self) -> list[str]:
        """Every mirror and turn that leaves the kernel as it is, or negates it, in words.

        Empty if there is none. What follows from another entry is not repeated: a kernel with
        two mirrors is point-symmetric, and that is not said.

        Examples
        --------
        >>> kernel_from_numbers([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).symmetry
        ['antisymmetric left-right', 'symmetric top-bottom']
        """
        weights = self.weights
        rows, columns = self.size
        if not weights.any():
            return []
        words: list[str] = []
        # A single column is its own mirror image: true, and not worth telling.
        across = self._change(weights[..., :, ::-1]) if columns > 1 else None
        down = self._change(weights[..., ::-1, :]) if rows > 1 else None
        words += [f"{across} left-right"] if across else []
        words += [f"{down} top-bottom"] if down else []

        falling = rising = None
        if rows == columns > 1:
            transposed = np.swapaxes(weights, -1, -2)
            falling = self._change(transposed)
            rising = self._change(transposed[..., ::-1, ::-1])
        if falling and falling == rising:
            words.append(f"{falling} about both diagonals")
        else:
            words += [f"{falling} about the falling diagonal"] if falling else []
            words += [f"{rising} about the rising diagonal"] if rising else []

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

    @property
    def _plane(self) -> Matrix | None:
        """The only plane, (h, w), or None if there are several."""
        rows, columns = self.size
        return self.weights.reshape(rows, columns) if self.weights.size == rows * columns else None

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
        if len(row) == 0:
            raise RequestError(
                f"row {number} of kernel {name!r} is empty",
                hint="remove the extra row separator, or fill the row",
            )
        if len(row) != len(rows[0]):
            raise RequestError(
                f"row {number} of kernel {name!r} has {_numbers(row)}, row 1 has {len(rows[0])}",
                hint="all rows need the same length",
            )
        for value in row:
            _check_number(value, f"row {number} of kernel {name!r}")
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
            hint=f"weights are finite numbers up to {LARGEST:.1e}",
        )


def _check_number(value: object, where: str) -> None:
    """Raise RequestError unless the value is a finite real number that fits float32."""
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise RequestError(f"{where} holds {value!r}", hint="write numbers only")
    if not abs(cast("float", value)) <= LARGEST:
        # Python refuses to print the largest whole numbers.
        shown = "too large a number" if isinstance(value, int) else value
        raise RequestError(
            f"{where} holds {shown}", hint=f"weights are finite numbers up to {LARGEST:.1e}"
        )


def _numbers(row: Sequence[float]) -> str:
    return "1 number" if len(row) == 1 else f"{len(row)} numbers"
