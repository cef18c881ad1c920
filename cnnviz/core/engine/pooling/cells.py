"""Reading a block of the padded image, without padding the rest."""

from __future__ import annotations

import numpy as np

from cnnviz.core.border import BORDERS
from cnnviz.core.engine.pooling.modes import Values
from cnnviz.core.engine.pooling.problem import PoolProblem
from cnnviz.core.types import Pair, Tensor


def read_cells(problem: PoolProblem, x: Tensor, rows: Pair, columns: Pair, out: Values) -> None:
    """Write rows × columns of the padded maps into `out`, prepared for the mode.

    Parameters
    ----------
    problem : PoolProblem
        What padding holds. Cells past the padding, where ceil mode reaches, are neutral.
    x : Tensor
        (n, H, W), the channels wanted.
    rows, columns : (start, stop)
        In image coordinates: padding lies below 0 and from the length on.
    out : array
        (n, rows, columns), float32 or float64.
    """
    _, height, width = x.shape
    top, bottom = _clip(rows, height)
    left, right = _clip(columns, width)
    out[:, top - rows[0] : bottom - rows[0], left - columns[0] : right - columns[0]] = x[
        :, top:bottom, left:right
    ]
    for strip_rows, strip_columns in (
        ((rows[0], top), columns),
        ((bottom, rows[1]), columns),
        ((top, bottom), (columns[0], left)),
        ((top, bottom), (right, columns[1])),
    ):
        strip = out[
            :,
            strip_rows[0] - rows[0] : strip_rows[1] - rows[0],
            strip_columns[0] - columns[0] : strip_columns[1] - columns[0],
        ]
        if strip.size:
            _fill(problem, x, strip_rows, strip_columns, strip)
    if problem.rule.prepare is not None:
        problem.rule.prepare(out)


def _clip(span: Pair, length: int) -> Pair:
    """Return the part of a span that lies on the image; if none does, an empty one within."""
    start = min(max(span[0], 0), span[1])
    return start, max(min(span[1], length), start)


def _fill(problem: PoolProblem, x: Tensor, rows: Pair, columns: Pair, out: Values) -> None:
    """Write padding, and neutral cells past it."""
    (_, height, width), (_, _, below, beside) = x.shape, problem.pads
    source = BORDERS[problem.padding_mode].source
    past_rows, past_columns = height + below - rows[0], width + beside - columns[0]
    if source is None:
        out[...] = problem.fill
    else:
        # Past the padding any pixel will do: it is overwritten.
        down = source(np.minimum(np.arange(*rows), height + below - 1), height)
        along = source(np.minimum(np.arange(*columns), width + beside - 1), width)
        out[...] = x[:, down[:, None], along]
    out[:, max(past_rows, 0) :] = problem.rule.neutral
    out[:, :, max(past_columns, 0) :] = problem.rule.neutral
