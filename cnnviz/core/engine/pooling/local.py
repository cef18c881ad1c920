"""The pooling of sliding windows: what can do it, which is cheapest here, and doing it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from math import prod

import numpy as np

from cnnviz.core.engine.plan import PASSES, Algorithm, plan_for
from cnnviz.core.engine.pooling.down import BY_DOUBLING, BY_ROWS, Down
from cnnviz.core.engine.pooling.flat import ROUNDINGS, Maps, cell_type, layout, pool_flat
from cnnviz.core.engine.pooling.modes import REDUCTIONS
from cnnviz.core.engine.pooling.problem import PoolProblem
from cnnviz.core.engine.pooling.sliding import doublings
from cnnviz.core.engine.pooling.whole import global_pool
from cnnviz.core.types import Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError


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
        POOL_ALGORITHMS[plan.algorithm].run(problem, Maps(x, output), plan.threads)
    return output


@lru_cache(maxsize=256)
def _flat_work(problem: PoolProblem, down: Down) -> Mapping[str, float]:
    """Count the values all passes go over, the rows of those that are not flat, and calls."""
    dtype = cell_type(problem, down)
    cut = layout(problem, dtype)
    taps, (maps, rows, columns), (height, width) = cut.pieces[0].taps, cut.block, cut.span
    in_place = problem.inside and dtype is np.float32 and problem.rule.prepare is None
    copies = not in_place or (down.flat and taps[0] == 1)
    flat, apart = down.passes(problem, taps[0])
    along = len(list(doublings(taps[1], repeats=problem.rule.repeats)))
    cells, tall = cut.cells, maps * rows * width
    values = (copies + flat) * cells + apart * tall + along * (tall if apart else cells)
    cells_prepared = cells if problem.rule.prepare is not None else 0  # powers and roots, say
    blocks = len(cut.pieces) * prod(
        -(-length // step) for length, step in zip(problem.output_shape, cut.block, strict=True)
    )
    return {
        "values": blocks * (values + maps * rows * columns) * np.dtype(dtype).itemsize / 4,
        "prepared": blocks * cells_prepared,
        "rows": blocks * maps * (copies * height + (apart + 1) * rows),
        PASSES: blocks * (copies + flat + apart + along + 1),
    }


def _whole_work(problem: PoolProblem) -> Mapping[str, float]:
    return {"values": prod(problem.shape), "rows": problem.shape[0], PASSES: 1}


def _is_whole(problem: PoolProblem) -> bool:
    return (
        problem.mode in REDUCTIONS
        and problem.inside
        and problem.window.kernel_size == problem.size
        and problem.output_shape[1:] == (1, 1)
    )


def _pool_whole(problem: PoolProblem, maps: Maps, _threads: int) -> None:
    global_pool(maps.x, problem.mode, out=maps.out)


POOL_ALGORITHMS: Mapping[str, Algorithm[PoolProblem]] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            "rowwise",
            "each window's rows joined one after another, its columns by doubling",
            supports=lambda _: True,
            work=partial(_flat_work, down=BY_ROWS),
            run=partial(pool_flat, down=BY_ROWS),
            error=ROUNDINGS * 2.0**-24,
        ),
        Algorithm(
            "doubling",
            "ever larger windows joined in flat passes over whole bands of rows",
            supports=lambda _: True,
            work=partial(_flat_work, down=BY_DOUBLING),
            run=partial(pool_flat, down=BY_DOUBLING),
            error=ROUNDINGS * 2.0**-24,
        ),
        Algorithm(
            "whole",
            "one reduction a map, for windows as large as the map",
            supports=_is_whole,
            work=_whole_work,
            run=_pool_whole,
            error=2.0**-24,
        ),
    )
}
