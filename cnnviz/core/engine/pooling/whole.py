"""Pooling whole maps: one reduction a map, in float64 where it adds.

#cyx -> c
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import product

import numpy as np

from cnnviz.core.engine.plan import note_algorithm
from cnnviz.core.engine.pooling.modes import REDUCTIONS, Values
from cnnviz.core.engine.pooling.scratch import scratch
from cnnviz.core.threads import share, thread_count
from cnnviz.core.types import Pair, Tensor

BLOCK = 1 << 17  # values reduced at once: their float64 copies stay in cache
SMALL = 1 << 21  # values from which on a second thread pays


def global_pool(x: Tensor, mode: str, *, out: Tensor | None = None) -> Tensor:
    """Make each whole map into one number.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    mode : str
        ``max``, ``min`` or ``avg``.
    out : Tensor, optional
        (C, 1, 1), to write into.

    Returns
    -------
    Tensor
        (C, 1, 1).
    """
    note_algorithm("whole")
    ufunc, adds = REDUCTIONS[mode], mode == "avg"
    channels, height, width = x.shape
    together = max(min(channels, BLOCK // (height * width)), 1)
    rows = max(min(height, BLOCK // width), 1)
    partial = np.empty((channels, -(-height // rows)), np.float64 if adds else np.float32)
    with ExitStack() as loans:

        def make_worker() -> Callable[[Pair], None]:
            size = together * rows * width
            if adds:
                memory = loans.enter_context(scratch(size * 8)).view(np.float64)
                ones = np.ones(rows * width)

            def reduce(block: Pair) -> None:
                maps, part = slice(block[0], block[0] + together), block[1]
                cells = x[maps, part * rows : (part + 1) * rows]
                with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, as it should be
                    partial[maps, part] = (
                        _sums(cells, memory, ones)
                        if adds
                        else ufunc.reduce(cells.reshape(len(cells), -1), axis=1)
                    )

            return reduce

        blocks = list(product(range(0, channels, together), range(partial.shape[1])))
        share(blocks, make_worker, thread_count() if x.size >= SMALL else 1)
    output = np.empty((channels, 1, 1), np.float32) if out is None else out
    with np.errstate(invalid="ignore"):
        joined = ufunc.reduce(partial, axis=1)
        output[:, 0, 0] = joined / (height * width) if adds else joined
    return output


def _sums(cells: Tensor, memory: Values, ones: Values) -> Values:
    """Add up each map in float64: a product with ones is the fastest sum there is."""
    wide = memory[: cells.size].reshape(cells.shape)
    np.copyto(wide, cells)
    flat = wide.reshape(len(cells), -1)
    sums: Values = flat @ ones[: flat.shape[1]]
    return sums
