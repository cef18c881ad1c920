"""The engine's two tables of algorithms behind one face: measuring need not tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnviz.core.engine import ALGORITHMS, Correlation, plan
from cnnviz.core.engine.plan import Algorithm, choose
from cnnviz.core.engine.pooling import POOL_ALGORITHMS, PoolProblem
from cnnviz.core.engine.pooling.flat import Maps
from cnnviz.core.types import Tensor
from cnnviz.core.window import Window

Costs = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Subject:
    """A problem to measure algorithms on."""

    algorithms: Mapping[str, Algorithm[Any]]
    fresh: Callable[[], Any]  # the problem, with nothing of it worked out yet
    call: Callable[[Algorithm[Any], Any, int], object]  # (algorithm, problem, threads)


def correlation_subject(make: Callable[[], Correlation]) -> Subject:
    """Return what measures correlations; the output is allocated once."""
    problem = make()
    out = np.empty((problem.filters, *problem.size), np.float32)
    return Subject(ALGORITHMS, make, lambda each, fresh, threads: each.run(fresh, out, threads))


def pool_subject(make: Callable[[], PoolProblem], x: Tensor) -> Subject:
    """Return what measures poolings; the output is allocated once."""
    maps = Maps(x, np.empty(make().output_shape, np.float32))
    return Subject(
        POOL_ALGORITHMS, make, lambda each, fresh, threads: each.run(fresh, maps, threads)
    )


def pool_plan(x: Tensor, window: Window, mode: str, **settings: Any) -> str:
    """Tell what pools this, and with how many threads."""
    try:
        chosen = choose(POOL_ALGORITHMS, PoolProblem(x.shape, window, mode, **settings))
    except KeyError:  # nothing of it has been fitted yet
        return ""
    return f"{chosen.algorithm}/{chosen.threads}"


def costs() -> Costs:
    """Return the costs in force."""
    return plan._costs()


@contextmanager
def pricing(prices: Costs) -> Iterator[None]:
    """Have plans made with other costs."""
    before = plan._costs
    plan._costs = lambda: prices  # type: ignore[assignment]
    try:
        yield
    finally:
        plan._costs = before
