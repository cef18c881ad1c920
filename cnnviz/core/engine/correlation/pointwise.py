"""1×1 filters: a matrix product over all pixels, with nothing copied.

S(k, p) = Σ W[k, c] · x[c, p]               p = y·W + X, every pixel of the map
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from cnnviz.core.engine.bands import Band, cut
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.threads import share
from cnnviz.core.types import Tensor

PIECE_BYTES = 1 << 20  # of the input: one thread's second-level cache


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
    return {"macs": problem.macs, "values": prod(problem.x.shape) + problem.outputs}


def run(problem: Correlation, output: Tensor, threads: int) -> None:
    """Fill `output` (O, rows, columns), a run of pixels at a time."""
    groups, x = problem.groups, problem.x
    assert isinstance(x, np.ndarray)  # noqa: S101 - `supports` said so
    weight = problem.weight.reshape(groups, -1, problem.depth)
    pixels = x.reshape(groups, problem.depth, -1)
    sums = output.reshape(groups, weight.shape[1], -1)

    def worker(piece: Band) -> None:
        first, stop = piece
        np.matmul(weight, pixels[:, :, first:stop], out=sums[:, :, first:stop])
        run = output.reshape(problem.filters, 1, -1)[:, :, first:stop]
        problem.finish(run, confined=True)

    share(cut(pixels.shape[2], 4 * problem.channels, PIECE_BYTES, threads), lambda: worker, threads)
