"""Pooling: windows, whole maps or bins of them made into one number each.

`pool` plans: POOL_ALGORITHMS says what each way would do, and the cheapest one does it.
"""

from cnnviz.core.engine.pooling.bins import adaptive_bins, adaptive_pool
from cnnviz.core.engine.pooling.local import POOL_ALGORITHMS, pool
from cnnviz.core.engine.pooling.modes import POOL_MODES
from cnnviz.core.engine.pooling.problem import PoolProblem
from cnnviz.core.engine.pooling.whole import global_pool

__all__ = [
    "POOL_ALGORITHMS",
    "POOL_MODES",
    "PoolProblem",
    "adaptive_bins",
    "adaptive_pool",
    "global_pool",
    "pool",
]
