"""Pooling: windows, whole maps or bins of them made into one number each.

`pool` plans: POOL_ALGORITHMS says what each way would cost, and the cheapest one does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine.blocks import DOUBLING, ROWWISE, Maps
from cnnviz.core.engine.modes import PoolProblem
from cnnviz.core.engine.plan import Algorithm, note_algorithm, plan_for
from cnnviz.core.threads import share, thread_count
from cnnviz.core.types import Pair, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError

REDUCTIONS: Mapping[str, np.ufunc] = {"max": np.maximum, "min": np.minimum, "avg": np.add}
"""The modes that pool whole maps and bins too, and what joins their cells."""

WHOLE_BLOCK = 1 << 17  # values of maps reduced at once: their float64 copies stay in cache
BIN_BLOCK = 1 << 19  # values of the rows of one bin, over as many channels as that allows
WINDOW = 256  # cells of a bin up to which bins that do not overlap are better pooled as windows
SMALL_WHOLE, SMALL_BINS = 1 << 21, 1 << 20  # values from which on a second thread pays


def pool(
    x: Tensor,
    window: Window,
    mode: str,
    *,
    padding_mode: str = "zeros",
    pad_value: float = 0.0,
    count_include_pad: bool = False,
    norm_type: float = 2.0,
    algorithm: str | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Make each window of each map into one number.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    window : Window
        May use ceil mode; cells beyond the padding never count.
    mode : str
        ``max``, ``min``, ``avg`` or ``lp`` (the `norm_type`-th root of Σ|x|^norm_type).
    padding_mode : str
        ``zeros`` pads with cells that never win and, unless `count_include_pad`, never count;
        every other mode pads with values, which take part like pixels.
    pad_value : float
        The padding of mode ``constant``.
    count_include_pad : bool
        Whether zero padding counts in an average's divisor.
    norm_type : float
        The p of ``lp``.
    algorithm : str, optional
        One of POOL_ALGORITHMS; without it the cheapest.
    out : Tensor, optional
        (C, rows, columns), to write into; may not overlap `x`.

    Returns
    -------
    Tensor
        (C, rows, columns).

    Raises
    ------
    CnnvizError
        If the window does not fit, or some window lies on padding alone. It is a RequestError if
        the algorithm is unknown or cannot do this.
    """
    x = np.asarray(x, np.float32)
    problem = PoolProblem(
        x.shape, window, mode, padding_mode, pad_value, count_include_pad, norm_type
    )
    problem.check()
    output = np.empty(problem.output_shape, np.float32) if out is None else out
    if output.shape != problem.output_shape or output.dtype != np.float32:
        raise CnnvizError(
            f"out has shape {output.shape} of {output.dtype}",
            hint=f"give {problem.output_shape} of float32",
        )
    if np.may_share_memory(x, output):
        raise CnnvizError("out overlaps x", hint="give it memory of its own")
    plan = plan_for(POOL_ALGORITHMS, problem, algorithm)
    with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
        POOL_ALGORITHMS[plan.algorithm].run(problem, (x, output), plan.threads)
    return output


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
    together = max(min(channels, WHOLE_BLOCK // (height * width)), 1)
    rows = max(min(height, WHOLE_BLOCK // width), 1)
    partial = np.empty((channels, -(-height // rows)), np.float64 if adds else np.float32)

    def reduce(block: Pair) -> None:
        maps, part = slice(block[0], block[0] + together), block[1]
        cells = x[maps, part * rows : (part + 1) * rows]
        cells = cells.astype(partial.dtype, copy=False).reshape(len(cells), -1)
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, as it should be
            # A product with ones is the fastest sum there is.
            partial[maps, part] = (
                cells @ np.ones(cells.shape[1]) if adds else ufunc.reduce(cells, axis=1)
            )

    blocks = list(product(range(0, channels, together), range(partial.shape[1])))
    share(blocks, lambda: reduce, thread_count() if x.size >= SMALL_WHOLE else 1)
    output = np.empty((channels, 1, 1), np.float32) if out is None else out
    with np.errstate(invalid="ignore"):
        joined = ufunc.reduce(partial, axis=1)
        output[:, 0, 0] = joined / (height * width) if adds else joined
    return output


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
    together = max(min(channels, BIN_BLOCK // (width * (height // output_size[0] + 1))), 1)

    def fill(block: tuple[int, int]) -> None:
        """Reduce the rows of one bin, then the columns of each."""
        maps, i = slice(block[0], block[0] + together), block[1]
        start, stop = row_bins[i]
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, as it should be
            tall = ufunc.reduce(x[maps, start:stop], axis=1, dtype=dtype)
            wide = np.stack([ufunc.reduce(tall[:, s:e], axis=1) for s, e in column_bins], axis=1)
            output[maps, i] = wide / ((stop - start) * across) if mode == "avg" else wide

    blocks = list(product(range(0, channels, together), range(output_size[0])))
    share(blocks, lambda: fill, thread_count() if x.size >= SMALL_BINS else 1)
    return output


def _is_whole(problem: PoolProblem) -> bool:
    return (
        problem.mode in REDUCTIONS
        and problem.inside
        and problem.window.kernel_size == problem.size
        and problem.output_shape[1:] == (1, 1)
    )


def _pool_whole(problem: PoolProblem, maps: Maps, _threads: int) -> None:
    global_pool(maps[0], problem.mode, out=maps[1])


WHOLE = Algorithm(
    "whole",
    "one reduction a map, for windows as large as the map",
    _is_whole,
    lambda problem: 0.063 * prod(problem.shape) + 33 * problem.shape[0] + 9500,
    _pool_whole,
    error=2.0**-24,
)

POOL_ALGORITHMS: Mapping[str, Algorithm[PoolProblem]] = {
    algorithm.name: algorithm
    for algorithm in (  # with how many times longer pooling takes without it
        ROWWISE,  # 1.4: max 2×2 at stride 2, 12 MP
        DOUBLING,  # 3.3: avg 31×31, 12 MP
        WHOLE,  # 2.1: avg 7×7 over 2048 maps of 7×7
    )
}
