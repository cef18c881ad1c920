"""The operation itself: state the problem, plan it, run the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import check_border
from cnnviz.core.engine.correlation import (
    fft,
    flat,
    int16,
    pointwise,
    rows,
    separable,
    windows,
    winograd,
)
from cnnviz.core.engine.correlation.problem import Correlation
from cnnviz.core.engine.correlation.whole import as_whole
from cnnviz.core.engine.plan import Algorithm, plan_for
from cnnviz.core.types import Samples, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError

REFERENCE = "windows"

ALGORITHMS: Mapping[str, Algorithm[Correlation]] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            REFERENCE,
            "every window copied into a column, one matrix product a band",
            windows.supports,
            windows.work,
            windows.run,
            error=2e-6,
        ),
        Algorithm(
            "rows",
            "every row copied once a column of the kernel; rows of windows without gaps",
            rows.supports,
            rows.work,
            rows.run,
            error=2e-6,
        ),
        Algorithm(
            "pointwise",
            "1×1 filters at stride 1 without padding, nothing copied",
            pointwise.supports,
            pointwise.work,
            pointwise.run,
            error=2e-6,
        ),
        Algorithm(
            "flat",
            "few taps of one plane at stride 1, as additions of long lines",
            flat.supports,
            flat.work,
            flat.run,
            error=2e-6,
        ),
        Algorithm(
            "separable",
            "planes that are few columns times rows, one direction after the other",
            separable.supports,
            separable.work,
            separable.run,
            error=2e-6,
        ),
        Algorithm(
            "fft",
            "Fourier transforms of overlapping tiles, in double precision",
            fft.supports,
            fft.work,
            fft.run,
            error=2e-7,
        ),
        Algorithm(
            "fft32",
            "Fourier transforms of overlapping tiles, in single precision",
            fft.supports,
            fft.work_single,
            fft.run_single,
            error=1e-5,
            shares_rounding=True,
        ),
        Algorithm(
            "winograd2",
            "3×3 at stride 1 over 16 channels or more, 2.25 times fewer multiplications",
            winograd.is_wide,
            winograd.work_f2,
            winograd.run_f2,
            error=2e-6,
            shares_rounding=True,
        ),
        Algorithm(
            "winograd4",
            "3×3 at stride 1 over 16 channels or more, 4 times fewer multiplications",
            winograd.is_wide,
            winograd.work_f4,
            winograd.run_f4,
            error=1e-5,
            shares_rounding=True,
        ),
        Algorithm(
            "int16",
            "small whole taps over 8-bit samples at stride 1, without rounding",
            int16.supports,
            int16.work,
            int16.run,
            error=4e-7,
        ),
    )
}


def correlate(
    x: Tensor | Samples,
    weight: Tensor,
    window: Window,
    *,
    bias: Tensor | None = None,
    groups: int = 1,
    padding_mode: str = "zeros",
    pad_value: float = 0.0,
    algorithm: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Slide filters over maps: S(k, y, x) = Σ I(c, y·s + i·d, x·s + j·d) · W(k, c, i, j).

    Parameters
    ----------
    x : Tensor or Samples
        (C, H, W).
    weight : Tensor
        (O, C / groups, kh, kw); not flipped.
    window : Window
        Its kernel size is (kh, kw).
    bias : Tensor, optional
        (O,), added to every value of its map.
    groups : int
        Filters of group g see only the channels of group g, as in PyTorch.
    padding_mode : str
        One of ``core.border.BORDERS``.
    pad_value : float
        The padding of mode ``constant``.
    algorithm : str, optional
        One of ALGORITHMS; else the plan's choice, by the settings of ``engine.computing``.
    out : array, optional
        (O, rows, columns) C-contiguous, apart from `x`, to be filled: float32; or int16 for
        Samples, with the exact sums of their integers.

    Returns
    -------
    Tensor
        (O, rows, columns) float32, or `out`. NaN and infinities reach just the outputs whose
        windows cover them.

    Raises
    ------
    CnnvizError
        If the window does not fit, or a mirror needs more pixels than there are.
    RequestError
        If `algorithm` is unknown or cannot compute this.
    """
    problem = _checked(x, weight, window, bias, groups, padding_mode, pad_value)
    shape = (problem.filters, *problem.size)
    exact = isinstance(x, Samples) and bias is None and out is not None and out.dtype == np.int16
    if exact and isinstance(x, Samples):
        problem, algorithm = replace(problem, x=Samples(x.values)), "int16"
    else:
        problem = as_whole(problem)
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        _check_out(out, shape, x, np.int16 if exact else np.float32)
    plan = plan_for(ALGORITHMS, problem, algorithm)
    with np.errstate(all="ignore"):  # NaN and infinities are values here, not accidents
        ALGORITHMS[plan.algorithm].run(problem, out, plan.threads)
        if problem.spills and plan.algorithm != REFERENCE:
            # NaN and infinities may stand where no window saw one: the reference confines them.
            ALGORITHMS[REFERENCE].run(problem, out, plan.threads)
    return out


def _checked(
    x: Tensor | Samples,
    weight: Tensor,
    window: Window,
    bias: Tensor | None,
    groups: int,
    padding_mode: str,
    pad_value: float,
) -> Correlation:
    """State the problem, or say what does not go together."""
    if not isinstance(x, Samples):
        x = np.asarray(x, np.float32)
    weight = np.ascontiguousarray(weight, np.float32)
    if len(x.shape) != 3 or weight.ndim != 4:
        raise CnnvizError(
            f"x has shape {tuple(x.shape)}, weight {weight.shape}",
            hint="give x as (channels, rows, columns), weight as (filters, channels, kh, kw)",
        )
    filters, depth, *kernel_size = weight.shape
    if groups < 1 or x.shape[0] != depth * groups or not filters or filters % groups or not depth:
        raise CnnvizError(
            f"{filters} filters over {depth} channels in {groups} groups do not fit "
            f"{x.shape[0]} channels",
            hint="weight is (filters, channels / groups, kh, kw); groups divides both",
        )
    if tuple(kernel_size) != tuple(window.kernel_size):
        raise CnnvizError(
            f"the weight's kernels are {tuple(kernel_size)}, the window's {window.kernel_size}",
            hint="make the window of the weight's last two sizes",
        )
    if bias is not None:
        bias = np.asarray(bias, np.float32)
        if bias.shape != (filters,):
            raise CnnvizError(
                f"bias has shape {bias.shape} for {filters} filters", hint="give one a filter"
            )
    problem = Correlation(x, weight, window, bias, groups, padding_mode, float(pad_value))
    check_border(padding_mode, problem.pads, (x.shape[1], x.shape[2]))
    return problem


def _check_out(
    out: NDArray[Any], shape: tuple[int, ...], x: Tensor | Samples, dtype: type[Any]
) -> None:
    sound = isinstance(out, np.ndarray) and out.flags.c_contiguous and out.flags.writeable
    if not sound or out.shape != shape or out.dtype != dtype:
        raise CnnvizError(
            f"out has shape {np.shape(out)} of {getattr(out, 'dtype', type(out).__name__)}",
            hint=f"give a contiguous {shape} of float32; of int16 for samples without a bias",
        )
    if np.may_share_memory(out, x.values if isinstance(x, Samples) else x):
        raise CnnvizError("out overlaps x", hint="give it memory of its own")
