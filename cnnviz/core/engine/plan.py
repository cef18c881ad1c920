"""Choosing an algorithm: what each one costs, how exact it is, and which is cheapest here.

An `Algorithm` states the work it would do on a problem as a few counted quantities (values passed
over, multiply-adds of matrix products, calls made…). What one of each costs was fitted to measured
times by ``python -m tests.benchmarks --fit`` and stands in ``costs.json``: nanoseconds a unit, by
the kind of processor that NumPy's BLAS has been made for.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from cnnviz.core.threads import available_threads, thread_count
from cnnviz.errors import RequestError, unknown

P = TypeVar("P")

EXACT = "exact"
PRECISIONS: Mapping[str, float] = {EXACT: 2e-6, "fast": 2e-5}
"""The largest error each precision admits, as a share of the sum of the terms' magnitudes.

Algorithms that transform tiles share rounding among the windows of a tile (`shares_rounding`): a
window that is nearly empty beside full ones then has their error, not a share of its own terms.
"""

SMALL = 4e5  # nanoseconds: below it, handing work to a second thread costs more than it saves
HANDING = 1.2e5  # nanoseconds until a second thread works
AVX512_CORES = frozenset({"SkylakeX", "Cooperlake", "Sapphirerapids", "SapphireRapids"})
PASSES = "passes"  # in costs.json and work: calls of ufuncs over whole lines
BRIEF = 9e3  # nanoseconds of a pass: threads with briefer ones wait for each other's GIL
SERIAL = "serial"  # in costs.json: the share of an algorithm's time that threads do not divide


class Algorithm(NamedTuple, Generic[P]):
    """One way to solve problems of a kind."""

    name: str
    summary: str
    supports: Callable[[P], bool]
    work: Callable[[P], Mapping[str, float]]  # counted quantities, by their names in costs.json
    run: Callable[[P, Any, int], None]  # fills an output, with so many threads
    error: float = 0.0  # the bound it keeps, as a share of the sum of the terms' magnitudes
    shares_rounding: bool = False  # of the largest such sum with the values near a window, instead


class Plan(NamedTuple):
    """What will compute a problem: printable, and the same for the same problem."""

    algorithm: str
    threads: int
    seconds: float  # expected of all processors, by the cost model
    error: float  # at most this share of the sum of the terms' magnitudes

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        bound = f"error below {self.error:g} of Σ|terms|" if self.error else "exact"
        return f"{self.algorithm}, {threads}, about {self.seconds * 1e3:.3g} ms, {bound}"


def choose(
    algorithms: Mapping[str, Algorithm[P]],
    problem: P,
    *,
    precision: str = EXACT,
    algorithm: str | None = None,
) -> Plan:
    """Plan a problem: the cheapest algorithm that supports it and is exact enough.

    Parameters
    ----------
    algorithms : Mapping
        The table to choose from.
    precision : str
        One of PRECISIONS.
    algorithm : str, optional
        Take this one, however exact or expensive it is.

    Raises
    ------
    RequestError
        If `precision` or `algorithm` is unknown, or it cannot solve the problem.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, list(PRECISIONS))
    able = [each for each in algorithms.values() if each.supports(problem)]
    if algorithm is not None:
        if algorithm not in algorithms:
            raise unknown("algorithm", algorithm, list(algorithms))
        able = [each for each in able if each.name == algorithm]
        if not able:
            could = ", ".join(n for n, each in algorithms.items() if each.supports(problem))
            raise RequestError(
                f"{algorithm} cannot compute this; it is for {algorithms[algorithm].summary}",
                hint=f"here can: {could}",
            )
    else:
        able = [each for each in able if each.error <= PRECISIONS[precision]]
    plans = [_plan(each, problem) for each in able]
    return min(plans, key=lambda plan: plan.seconds)


def _plan(algorithm: Algorithm[P], problem: P) -> Plan:
    work = algorithm.work(problem)
    alone = _price(algorithm, work)
    shared = alone > max(SMALL, BRIEF * work.get(PASSES, 0.0))
    # The choice is that of all processors whatever threads are allowed: so are the results.
    serial = _costs()[algorithm.name].get(SERIAL, 0.0)
    together = alone * (serial + (1 - serial) / available_threads()) + HANDING
    expected, threads = (together, thread_count()) if shared else (alone, 1)
    return Plan(algorithm.name, threads, expected * 1e-9, algorithm.error)


def nanoseconds(algorithm: Algorithm[P], problem: P) -> float:
    """Return what the cost model expects of one thread."""
    return _price(algorithm, algorithm.work(problem))


def _price(algorithm: Algorithm[P], work: Mapping[str, float]) -> float:
    units = _costs()[algorithm.name]
    return sum(units.get(name, 0.0) * amount for name, amount in work.items())


@cache
def _costs() -> Mapping[str, Mapping[str, float]]:
    """Return nanoseconds a unit by algorithm and quantity, for this process's BLAS."""
    text = Path(__file__).with_name("costs.json").read_text("utf-8")
    profiles: dict[str, dict[str, dict[str, float]]] = json.loads(text)
    return profiles["SkylakeX" if blas_core() in AVX512_CORES else "Haswell"]


@cache
def blas_core() -> str:
    """Return the kind of processor OpenBLAS works for: Haswell, SkylakeX, …; empty if unknown.

    It decides how quick matrix products are beside everything else.
    """
    from numpy.linalg import _umath_linalg

    try:
        library = ctypes.CDLL(_umath_linalg.__file__)
    except OSError:
        return ""
    for name in ("scipy_openblas_get_corename64_", "openblas_get_corename"):
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype = ctypes.c_char_p
            return str(function().decode())
    return ""


# --- settings that hold for a while --------------------------------------------------------------


class Settings(NamedTuple):
    """How correlate and pool compute."""

    precision: str = EXACT
    algorithm: str | None = None  # take it wherever it can compute what is asked


_settings: ContextVar[Settings] = ContextVar("settings", default=Settings())  # noqa: B039 - frozen
_noted: ContextVar[dict[str, None] | None] = ContextVar("noted", default=None)


@contextmanager
def settings(precision: str, algorithm: str | None) -> Iterator[None]:
    """Have everything inside the with-block computed so; see `engine.computing`."""
    if precision not in PRECISIONS:
        raise unknown("precision", str(precision), list(PRECISIONS))
    token = _settings.set(Settings(precision, algorithm))
    try:
        yield
    finally:
        _settings.reset(token)


@contextmanager
def noting() -> Iterator[dict[str, None]]:
    """Yield what fills up with the names of the algorithms used inside the with-block."""
    names: dict[str, None] = {}
    token = _noted.set(names)
    try:
        yield names
    finally:
        _noted.reset(token)


def note_algorithm(name: str) -> None:
    """Remember the use of an algorithm."""
    names = _noted.get()
    if names is not None:
        names[name] = None


def plan_for(
    algorithms: Mapping[str, Algorithm[P]], problem: P, algorithm: str | None = None
) -> Plan:
    """Plan a problem by the settings in force, or with the algorithm named."""
    now = _settings.get()
    wanted = algorithms.get(now.algorithm or "")
    if algorithm is None and wanted is not None and wanted.supports(problem):
        algorithm = wanted.name
    plan = choose(algorithms, problem, precision=now.precision, algorithm=algorithm)
    note_algorithm(plan.algorithm)
    return plan
