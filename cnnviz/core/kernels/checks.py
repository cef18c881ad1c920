"""What a user may write as a size, a count, an angle: read it, or say what is wrong with it.

Every message begins with the family it was written for: ``gaussian(): size must be odd, got 4``.
"""

from __future__ import annotations

import math

import numpy as np

from cnnviz.core.types import Pair
from cnnviz.errors import RequestError

LARGEST_SIZE = 1001
LARGEST_BANK = 2**24  # weights in all: 128 MB of float64


def size_label(rows: int, columns: int) -> str:
    """Write a size short: 7, or 3x5."""
    return str(rows) if rows == columns else f"{rows}x{columns}"


def read_size(family: str, value: object) -> Pair:
    """Read a size as (rows, columns), 1 to 1001 each, or raise RequestError."""
    if not isinstance(value, (tuple, list)):
        length = whole(family, "size", value, 1, LARGEST_SIZE)
        return length, length
    if len(value) != 2:
        raise RequestError(
            f"{family}(): size has {len(value)} numbers, {tuple(value)}",
            hint="write one number, or (rows, columns)",
        )
    rows, columns = (whole(family, "size", each, 1, LARGEST_SIZE) for each in value)
    return rows, columns


def odd_size(family: str, value: object) -> Pair:
    """Read a size of odd numbers, or raise RequestError."""
    rows, columns = read_size(family, value)
    for length in (rows, columns):
        if length % 2 == 0:
            raise RequestError(
                f"{family}(): size must be odd, got {length}",
                hint=f"it needs a centre pixel: use {length - 1} or {length + 1}",
            )
    return rows, columns


def odd_length(family: str, value: object, lowest: int) -> int:
    """Read an odd size that is the same both ways, or raise RequestError."""
    length, _ = odd_size(family, whole(family, "size", value, lowest, LARGEST_SIZE))
    return length


def whole(family: str, option: str, value: object, lowest: int, highest: int | None) -> int:
    """Read a whole number in a range, or raise RequestError."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise RequestError(
            f"{family}(): {option} must be a whole number, got {value!r}",
            hint=f"write e.g. {option}={max(lowest, 3)}",
        )
    if highest is not None and not lowest <= value <= highest:
        raise RequestError(
            f"{family}(): {option} must be from {lowest} to {highest}, got {value}",
            hint=f"write e.g. {option}={max(lowest, 3)}",
        )
    if value < lowest:
        raise RequestError(
            f"{family}(): {option} must be {lowest} or more, got {value}",
            hint=f"write e.g. {option}={lowest}",
        )
    return int(value)


def finite(family: str, option: str, value: object) -> float:
    """Read a finite number, or raise RequestError."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise RequestError(
            f"{family}(): {option} must be a number, got {value!r}", hint=f"write e.g. {option}=3"
        )
    try:
        number = float(value)
    except OverflowError:  # an int of more than 308 digits
        number = math.inf
    if not math.isfinite(number):
        raise RequestError(
            f"{family}(): {option} must be a finite number, got {number}",
            hint=f"write e.g. {option}=3",
        )
    return number


def positive(family: str, option: str, value: object) -> float:
    """Read a finite number above 0, or raise RequestError."""
    number = finite(family, option, value)
    if number <= 0:
        raise RequestError(
            f"{family}(): {option} must be above 0, got {number:g}",
            hint=f"write e.g. {option}=1.5",
        )
    return number


def affordable(family: str, count: int, size: Pair) -> None:
    """Raise RequestError if the bank would fill the memory."""
    weights = count * size[0] * size[1]
    if weights > LARGEST_BANK:
        raise RequestError(
            f"{family}(): {count} kernels of {size[0]}x{size[1]} are {weights} weights, "
            f"more than {LARGEST_BANK}",
            hint="ask for fewer or smaller kernels",
        )
