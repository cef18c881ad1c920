"""The operation itself: state the problem, plan it, run the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.border import check_border
from cnnviz.core.engine.fft import FFT_DOUBLE, FFT_SINGLE
from cnnviz.core.engine.flat import FLAT, INT16
from cnnviz.core.engine.plan import Algorithm, plan_for
from cnnviz.core.engine.planes import whole_multiples
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.engine.rows import ROWS
from cnnviz.core.engine.separable import SEPARABLE
from cnnviz.core.engine.windows import WINDOWS
from cnnviz.core.engine.winograd import WINOGRAD_2, WINOGRAD_4
from cnnviz.core.types import Samples, Tensor
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError

ALGORITHMS: Mapping[str, Algorithm[Correlation]] = {
    algorithm.name: algorithm
    for algorithm in (  # with how many times longer a benchmark's case takes without it
        WINDOWS,  # the reference, which computes everything
        ROWS,  # 2.2: 8 filters 5×5 over 512×512
        FLAT,  # 1.3 with AVX-512, 1.8 with AVX2: sharpen over an RGB photograph of 12 MP
        SEPARABLE,  # 6.5: Gaussian 31×31, 12 MP
        FFT_DOUBLE,  # 1.7: any 31×31, 12 MP
        FFT_SINGLE,  # 1.5: the same in precision `fast`
        WINOGRAD_2,  # 1.4: 3×3 128→128 @56
        WINOGRAD_4,  # 1.6: the same in precision `fast`
        INT16,  # 2.6: exact 8-bit Sobel, 12 MP
    )
}

LARGEST = 1 << 24  # of float32's whole numbers without gaps
MOST_WEIGHTS = 1 << 14  # that are looked at: chosen kernels have fewer


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
        (O, rows, columns) float32, or `out`. NaN and infinities reach just the outputs of
        windows that cover them.

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
        if problem.spills and plan.algorithm != WINDOWS.name:
            # NaN and infinities may stand where no window saw one: the reference confines them.
            WINDOWS.run(problem, out, plan.threads)
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
    """State the problem, or raise CnnvizError for what does not go together."""
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


def as_whole(problem: Correlation) -> Correlation:
    """Return the same problem in whole numbers, scaled in the end; or itself if it has none.

    Of 8-bit samples under kernels that are whole multiples of some step:

        Σ w · sample / unit  =  (step / unit) · Σ (w / step) · sample          w / step whole

    float32 holds whole numbers up to 2²⁴, so whatever adds them up adds without rounding: equal
    parts cancel to 0 exactly, and the only rounding is the last, of the result.
    """
    x, fill = problem.x, problem.fill
    if not isinstance(x, Samples) or problem.weight.size > MOST_WEIGHTS:
        return problem
    if not (fill * x.unit).is_integer() or abs(fill * x.unit) > np.iinfo(np.uint8).max:
        return problem
    weight = np.empty_like(problem.weight)
    scales = np.empty(problem.filters)
    for index, filter_ in enumerate(problem.weight.astype(np.float64)):
        if not np.isfinite(filter_).all():
            return problem
        whole, step = whole_multiples(filter_) if filter_.any() else (filter_, 1.0)
        reach = np.abs(whole).sum() * np.iinfo(np.uint8).max
        if reach >= LARGEST or not (whole == np.rint(whole)).all():
            return problem
        weight[index], scales[index] = whole, step
    return replace(
        problem,
        x=Samples(x.values),
        weight=weight,
        pad_value=fill * x.unit,
        scales=scales.astype(np.float32),
        unit=x.unit,
    )
