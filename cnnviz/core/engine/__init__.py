"""The two operations everything stands on: correlate and pool.

Each works through the output in bands of rows, so that beside input and output only a few
megabytes are alive, however large the image; and each is planned: the cheapest of several
algorithms that is exact enough computes it (`plan`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cnnviz.core.engine.correlate import ALGORITHMS, as_whole, correlate
from cnnviz.core.engine.modes import POOL_MODES, PoolProblem
from cnnviz.core.engine.plan import (
    EXACT,
    PRECISIONS,
    SETTINGS,
    Plan,
    Settings,
    choose,
    note_algorithm,
    noting,
)
from cnnviz.core.engine.pool import (
    POOL_ALGORITHMS,
    adaptive_bins,
    adaptive_pool,
    global_pool,
    pool,
)
from cnnviz.core.engine.problem import Correlation
from cnnviz.errors import unknown

__all__ = [
    "ALGORITHMS",
    "POOL_ALGORITHMS",
    "POOL_MODES",
    "PRECISIONS",
    "Correlation",
    "Plan",
    "PoolProblem",
    "adaptive_bins",
    "adaptive_pool",
    "as_whole",
    "check_algorithm",
    "choose",
    "computing",
    "correlate",
    "global_pool",
    "note_algorithm",
    "noting",
    "pool",
]


@contextmanager
def computing(precision: str = EXACT, algorithm: str | None = None) -> Iterator[None]:
    """Have everything inside the with-block computed so.

    Parameters
    ----------
    precision : str
        One of PRECISIONS.
    algorithm : str, optional
        One of ALGORITHMS or POOL_ALGORITHMS, taken for each problem it can solve; the others are
        planned.

    Raises
    ------
    RequestError
        If there is no such precision or algorithm.

    Examples
    --------
    >>> with computing(precision="fast"):
    ...     pass
    """
    check_algorithm(algorithm)
    if precision not in PRECISIONS:
        raise unknown("precision", str(precision), list(PRECISIONS))
    token = SETTINGS.set(Settings(precision, algorithm))
    try:
        yield
    finally:
        SETTINGS.reset(token)


def check_algorithm(name: str | None) -> None:
    """Raise RequestError unless `name` is one of ALGORITHMS or POOL_ALGORITHMS, or None."""
    known = [*ALGORITHMS, *POOL_ALGORITHMS]
    if name is not None and name not in known:
        raise unknown("algorithm", name, known)
