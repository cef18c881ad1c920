"""Choosing an algorithm: what each one costs, how exact it is, and which is cheapest here.

An `Algorithm` states the work it would do on a problem as a few counted quantities (values passed
over, multiply-adds of matrix products, calls made…). What one of each costs was fitted to measured
times by ``python -m tests.benchmarks --fit`` and stands in ``costs.json``: nanoseconds a unit, by
the kind of BLAS that NumPy brought.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

from cnnviz.core.threads import thread_count
from cnnviz.errors import RequestError, unknown

P = TypeVar("P")

EXACT, FAST = "exact", "fast"
PRECISIONS: Mapping[str, float] = {EXACT: 2e-6, FAST: 2e-5}
"""The largest error each precision admits, as a share of the sum of the terms' magnitudes."""

SMALL = 4e5  # nanoseconds: below it, handing work to a second thread costs more than it saves


@dataclass(frozen=True)
class Algorithm(Generic[P]):
    """One way to solve problems of a kind."""

    name: str
    summary: str
    supports: Callable[[P], bool]
    work: Callable[[P], Mapping[str, float]]  # counted quantities, by the names in costs.json
    run: Callable[..., Any]
    error: float  # the bound it keeps, as a share of the sum of the terms' magnitudes


@dataclass(frozen=True)
class Plan:
    """What will compute a problem: printable, and the same for the same problem."""

    algorithm: str
    threads: int
    seconds: float  # expected, by the cost model
    error: float  # at most this share of the sum of the terms' magnitudes

    def __str__(self) -> str:
        return (
            f"{self.algorithm}, {self.threads} thread{'s' if self.threads > 1 else ''}, "
            f"about {self.seconds * 1e3:.3g} ms, error below {self.error:g} of Σ|terms|"
        )
