"""The two operations everything stands on: correlate and pool.

Each works through the output in bands of rows, so that beside input and output only a few
megabytes are alive, however large the image.
"""

from cnnviz.core.engine.correlation import correlate
from cnnviz.core.engine.pooling import POOL_MODES, adaptive_bins, adaptive_pool, global_pool, pool

__all__ = ["POOL_MODES", "adaptive_bins", "adaptive_pool", "correlate", "global_pool", "pool"]
