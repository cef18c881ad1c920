"""The bell curve and the pixel coordinates that the parametric kernels are sampled on."""

from __future__ import annotations

import math

import numpy as np

from cnnviz.core.kernels.checks import size_label
from cnnviz.core.kernels.factors import Matrix
from cnnviz.core.kernels.kernel import LARGEST
from cnnviz.errors import RequestError


def bell_curve(length: int, sigma: float) -> Matrix:
    """Sample a Gaussian of one dimension, (length,), with the sum 1."""
    distance = np.arange(length) - (length - 1) / 2
    with np.errstate(over="ignore"):  # far out, exp(-inf) is 0
        bell = np.exp(-((distance / sigma) ** 2) / 2)
    return np.asarray(bell / bell.sum(), dtype=np.float64)


def default_sigma(length: int) -> float:
    """Give OpenCV's sigma for a size (getGaussianKernel): most of the bell fits in."""
    return 0.3 * ((length - 1) / 2 - 1) + 0.8


def grid(rows: int, columns: int) -> tuple[Matrix, Matrix]:
    """Give x (rightwards) and y (upwards) of each pixel from the centre, each (rows, columns)."""
    across = np.arange(columns) - (columns - 1) / 2
    upwards = (rows - 1) / 2 - np.arange(rows)
    x, y = np.meshgrid(across, upwards)
    return x, y


def turned_grid(rows: int, columns: int, degrees: float) -> tuple[Matrix, Matrix]:
    """Give the coordinates along a direction and 90 degrees aside of it, each (rows, columns)."""
    x, y = grid(rows, columns)
    # cos(90°) is 6e-17 in floating point: right angles are kept exact, and zeros with them.
    right_angles: dict[float, tuple[float, float]] = {
        0: (1, 0),
        90: (0, 1),
        180: (-1, 0),
        270: (0, -1),
    }
    angle = math.radians(degrees % 360)
    cosine, sine = right_angles.get(degrees % 360, (math.cos(angle), math.sin(angle)))
    return x * cosine + y * sine, y * cosine - x * sine


def balanced_or_error(family: str, before: Matrix, after: Matrix, sigma: float) -> Matrix:
    """Return the zero-sum weights, unless balancing them left nothing but rounding."""
    if not np.isfinite(after).all() or np.abs(after).max() > LARGEST:
        raise RequestError(
            f"{family}(): the weights overflow for sigma={sigma:g}", hint="use a larger sigma"
        )
    if np.abs(after).max() <= 1e-9 * np.abs(before).max():
        raise RequestError(
            f"{family}(): all weights come out as 0 for sigma={sigma:g} "
            f"and size {size_label(*after.shape)}",
            hint="a larger size, or a sigma of about a sixth of it, leaves something to see",
        )
    return after
