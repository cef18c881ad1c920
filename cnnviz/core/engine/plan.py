"""Choosing an algorithm: what each one costs, how exact it is, and which is cheapest here.

An `Algorithm` states its work on a problem as the nanoseconds it would take one thread of a core
of 2024: its multiply-adds in matrix products, the values it passes over and the calls it makes,
each times what one takes. Only the ratios matter, and those differ little between processors: the
same prices choose the same on ones with AVX2 and with AVX-512 but for a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, NamedTuple, TypeVar

from cnnviz.core.threads import thread_count
from cnnviz.errors import RequestError, unknown

P = TypeVar("P")

EXACT = "exact"
PRECISIONS: Mapping[str, float] = {EXACT: 2e-6, "fast": 2e-5}
"""The largest error each precision admits, as a share of the sum of the terms' magnitudes.

Algorithms that transform tiles share rounding among the windows of a tile (`shares_rounding`): a
window that is nearly empty beside full ones then has their error, not a share of its own terms.
"""

MAC = 0.0125
"""Nanoseconds of a multiply-add in a large matrix product: AVX-512 takes less, AVX2 more."""

SMALL_PRODUCT = 1_000_000
"""Multiply-adds up to which OpenBLAS (with AVX-512) multiplies without copying the factors."""

SHORT = 16
"""Terms of a sum up to which a matrix product waits for memory more than it multiplies."""

LANES = 8
"""How many columns of a matrix product cost as much as one: the width of a vector register."""

SMALL = 4e5
"""Nanoseconds of work below which a second thread costs more than it saves."""


def lanes(columns: float) -> float:
    """Return how much longer a product takes because its columns do not fill the registers.

    >>> lanes(12)
    1.3333333333333333
    """
    return -(-columns // LANES) * LANES / columns


class Algorithm(NamedTuple, Generic[P]):
    """One way to solve problems of a kind."""

    name: str
    summary: str
    supports: Callable[[P], bool]
    work: Callable[[P], float]  # nanoseconds of one thread
    run: Callable[[P, Any, int], None]  # fills an output, with so many threads
    error: float = 0.0  # the bound it keeps, as a share of the sum of the terms' magnitudes
    shares_rounding: bool = False  # of the largest such sum with the values near a window, instead


class Plan(NamedTuple):
    """What will compute a problem: printable, and the same for the same problem."""

    algorithm: str
    threads: int
    seconds: float  # expected of one thread
    error: float  # at most this share of the sum of the terms' magnitudes

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        bound = f"error below {self.error:g} of Σ|terms|" if self.error else "exact"
        return f"{self.algorithm}, {threads}, about {self.seconds * 1e3:.3g} ms of one, {bound}"


def choose(
    algorithms: Mapping[str, Algorithm[P]],
    problem: P,
    *,
    precision: str = EXACT,
    algorithm: str | None = None,
) -> Plan:
    """Plan a problem: the cheapest algorithm that supports it and is exact enough.

    The choice does not depend on the number of threads, so neither does any result.

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
    if algorithm is None:
        able = [each for each in able if each.error <= PRECISIONS[precision]]
    elif algorithm not in algorithms:
        raise unknown("algorithm", algorithm, list(algorithms))
    elif algorithms[algorithm] in able:
        able = [algorithms[algorithm]]
    else:
        raise RequestError(
            f"{algorithm} cannot compute this; it is for {algorithms[algorithm].summary}",
            hint=f"here can: {', '.join(each.name for each in able)}",
        )
    work, best = min(((each.work(problem), each) for each in able), key=lambda pair: pair[0])
    threads = thread_count() if work > SMALL else 1
    return Plan(best.name, threads, work * 1e-9, best.error)


# --- settings that hold for a while --------------------------------------------------------------


class Settings(NamedTuple):
    """How correlate and pool compute."""

    precision: str = EXACT
    algorithm: str | None = None  # take it wherever it can compute what is asked


SETTINGS: ContextVar[Settings] = ContextVar("settings", default=Settings())  # noqa: B039 - frozen
_noted: ContextVar[dict[str, None] | None] = ContextVar("noted", default=None)


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
    now = SETTINGS.get()
    wanted = algorithms.get(now.algorithm or "")
    if algorithm is None and wanted is not None and wanted.supports(problem):
        algorithm = wanted.name
    plan = choose(algorithms, problem, precision=now.precision, algorithm=algorithm)
    note_algorithm(plan.algorithm)
    return plan
