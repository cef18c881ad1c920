"""Pooling to a fixed size: windows are bins that are cut to fit.

#cyx -> cYX,   bin i of n spans ⌊i·L / n⌋ … ⌈(i+1)·L / n⌉
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine.pooling.local import pool
from cnnviz.core.engine.pooling.modes import REDUCTIONS
from cnnviz.core.engine.pooling.whole import global_pool
from cnnviz.core.threads import share, thread_count
from cnnviz.core.types import Pair, Tensor
from cnnviz.core.window import Window

BLOCK = 1 << 19  # values of the rows of one bin, over as many channels as that allows
WINDOW = 256  # cells of a bin up to which bins that do not overlap are better pooled as windows
SMALL = 1 << 20  # values from which on a second thread pays


def adaptive_bins(length: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each of `count` bins of an axis starts and stops, as PyTorch cuts them.

    Bin i spans ⌊i·L / count⌋ … ⌈(i+1)·L / count⌉; bins overlap where count does not divide L.
    """
    index = np.arange(count)
    return index * length // count, -(-(index + 1) * length // count)


def adaptive_pool(x: Tensor, output_size: Pair, mode: str, *, out: Tensor | None = None) -> Tensor:
    """Pool to a fixed size, with bins as in `adaptive_bins`.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    output_size : (int, int)
        Rows and columns of the output, as many as wanted.
    mode : str
        ``max``, ``min`` or ``avg``.
    out : Tensor, optional
        (C, rows, columns), to write into.

    Returns
    -------
    Tensor
        (C, rows, columns).
    """
    channels, height, width = x.shape
    if output_size == (1, 1):
        return global_pool(x, mode, out=out)
    bin_size = (height // output_size[0], width // output_size[1])
    even = height % output_size[0] == 0 and width % output_size[1] == 0
    if even and bin_size[0] * bin_size[1] <= WINDOW:
        return pool(x, Window(bin_size, bin_size), mode, out=out)
    output = np.empty((channels, *output_size), np.float32) if out is None else out
    ufunc, dtype = REDUCTIONS[mode], np.float64 if mode == "avg" else np.float32
    row_bins = list(zip(*adaptive_bins(height, output_size[0]), strict=True))
    column_bins = list(zip(*adaptive_bins(width, output_size[1]), strict=True))
    across = np.array([stop - start for start, stop in column_bins])
    together = max(min(channels, BLOCK // (width * (height // output_size[0] + 1))), 1)

    def fill(block: tuple[int, int]) -> None:
        """Reduce the rows of one bin, then the columns of each."""
        maps, i = slice(block[0], block[0] + together), block[1]
        start, stop = row_bins[i]
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, as it should be
            tall = ufunc.reduce(x[maps, start:stop], axis=1, dtype=dtype)
            wide = np.stack([ufunc.reduce(tall[:, s:e], axis=1) for s, e in column_bins], axis=1)
            output[maps, i] = wide / ((stop - start) * across) if mode == "avg" else wide

    blocks = list(product(range(0, channels, together), range(output_size[0])))
    share(blocks, lambda: fill, thread_count() if x.size >= SMALL else 1)
    return output
