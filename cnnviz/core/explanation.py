"""Why a number is what it is: the terms of one value, how they are joined, and what that makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pair

Join = Literal["sum", "product", "largest", "smallest"]


@dataclass(frozen=True, eq=False)
class Terms:
    """What one value is made of, N terms side by side: row n of every array is term n."""

    value: NDArray[np.float64]  # (N,) what is read
    part: NDArray[np.float64]  # (N,) what that brings to the total
    at: NDArray[np.intp]  # (N, axes) the input's cell it is read from; -1 where a number pads
    source: NDArray[np.intp]  # (N,) which of the layer's inputs it is read from
    padding: NDArray[np.bool_]  # (N,) read beyond the edge; with a mirror `at` is what it copies
    weight: NDArray[np.float64] | None = None  # (N,) what the value is multiplied by
    place: NDArray[np.intp] | None = None  # (N, 2) row and column in the window, where one slides

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """How a layer makes one value: its terms joined, a bias added, a last step taken.

    Everything is worked out in float64 from the float32 numbers; `result` is rounded to float32
    where it is stored.
    """

    terms: Terms
    join: Join
    total: float  # the terms' parts joined, and the bias added
    result: float
    steps: tuple[str, ...]  # from the total to the result, in words with the numbers in them
    bias: float | None = None
    chosen: int | None = None  # the term that won, of a largest or smallest
    kernel_size: Pair | None = None  # of the window that slides, where one does
