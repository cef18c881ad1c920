"""1×1 filters: a matrix product over all pixels, with nothing copied.

S(k, p) = Σ W[k, c] · x[c, p]               p = y·W + X, every pixel of the map
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from cnnviz.core.engine.bands import (
    FEW_PIXELS,
    LANES,
    SHORT,
    SMALL_PRODUCT,
    Band,
    cut,
    parts,
    rounded_up,
)
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.threads import share
from cnnviz.core.types import Tensor

PIECE_BYTES = 1 << 20  # of the input: one thread's second-level cache
PIXELS = 2048  # in a piece at least, if they fit


def supports(problem: Correlation) -> bool:
    """1×1 filters at every pixel of a contiguous tensor."""
    return (
        problem.kernel_size == (1, 1)
        and problem.window.stride == (1, 1)
        and problem.pads == (0, 0, 0, 0)
        and isinstance(problem.x, np.ndarray)
        and problem.x.flags.c_contiguous
    )


def work(problem: Correlation) -> Mapping[str, float]:
    """Count the multiply-adds and the values read and written."""
    pixels = problem.size[0] * problem.size[1]
    pieces = 4 * problem.channels * pixels / PIECE_BYTES + 1
    macs = problem.macs * rounded_up(pixels, LANES) / pixels
    return {
        "macs": macs,
        "inner": macs / max(problem.filters // problem.groups, 4),  # what is read for them
        "values": prod(problem.x.shape),
        "outputs": problem.outputs,
        "short": problem.outputs if problem.depth <= SHORT else 0,
        "weights": pieces * problem.filters * problem.depth,
        "products": pieces * problem.groups,
        "pieces": pieces,
    }


def run(problem: Correlation, output: Tensor, threads: int) -> None:
    """Fill `output` (O, rows, columns), a run of pixels at a time."""
    groups, x = problem.groups, problem.x
    assert isinstance(x, np.ndarray)  # noqa: S101 - `supports` said so
    weight = problem.weight.reshape(groups, -1, problem.depth)
    pixels = x.reshape(groups, problem.depth, -1)
    sums = output.reshape(groups, weight.shape[1], -1)

    def worker(piece: tuple[Band, slice]) -> None:
        (first, stop), part = piece
        # With one channel there is nothing to sum, and matmul would not use BLAS.
        multiply = np.multiply if problem.depth == 1 else np.matmul
        multiply(weight[:, part], pixels[:, :, first:stop], out=sums[:, part, first:stop])
        run = sums[:, part, first:stop].reshape(-1, 1, stop - first)
        problem.finish(run, part if small else slice(None), confined=True)

    small = pixels.shape[2] <= FEW_PIXELS and groups == 1
    few = max(PIXELS, SMALL_PRODUCT // (weight.shape[1] * problem.depth))
    step = min(PIECE_BYTES, 4 * problem.channels * few)
    bands = cut(pixels.shape[2], 4 * problem.channels, step, 1 if small else threads)
    filters = parts(weight.shape[1], threads if small else 1)
    share([(band, part) for band in bands for part in filters], lambda: worker, threads)
