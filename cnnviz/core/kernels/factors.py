"""Taking a rank-1 matrix apart into a column and a row that a person likes to read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

TOLERANCE = float(np.finfo(np.float32).eps)
"""Relative size below which a difference means nothing: the engine computes in float32.

Rounding a rank-1 matrix to float32 adds singular values of at most half of this times the
largest one, so a Gaussian that went through a float32 file still counts as separable.
"""


def factors_of(plane: Matrix) -> tuple[Matrix, Matrix]:
    """Find the column and the row whose product is a matrix of rank 1 or 0.

    Parameters
    ----------
    plane : array, (h, w)
        Of rank 0 or 1; of any other, only the row and the column of the strongest weight count.

    Returns
    -------
    (column, row) : arrays of shapes (h,) and (w,)
        Whole numbers if the matrix is made of them. Otherwise a smoothing factor sums to 1
        next to a difference, two smoothing factors have the same sum, and of two differences
        the column takes the scale.

    Examples
    --------
    >>> column, row = factors_of(np.full((3, 3), 1 / 9))
    >>> column.round(3).tolist(), row.round(3).tolist()
    ([0.333, 0.333, 0.333], [0.333, 0.333, 0.333])
    """
    if not plane.any():
        return np.zeros(plane.shape[0]), np.zeros(plane.shape[1])
    column, row = (_with_sign(part) for part in _directions(plane))
    column, row = _with_scale(plane, column, row)
    return column + 0.0, row + 0.0  # no -0.0


def _directions(plane: Matrix) -> tuple[Matrix, Matrix]:
    """Read a column and a row off a rank-1 matrix, as small whole numbers where possible."""
    # Through the strongest weight, so that nothing is divided by rounding noise.
    pivot_row, pivot_column = np.unravel_index(np.abs(plane).argmax(), plane.shape)
    parts = []
    for part in (plane[:, pivot_column], plane[pivot_row, :]):
        strength = np.abs(part)
        # Weights that are zero but for rounding would make a nonsensical unit.
        unit = strength[strength > TOLERANCE * strength.max()].min()
        whole = np.round(part / unit)
        is_whole = np.allclose(part / unit, whole, rtol=1e-12, atol=1e-12)
        parts.append(_primitive(whole) if is_whole else _primitive_multiple(part / unit))
    return parts[0], parts[1]


def _primitive(whole: Matrix) -> Matrix:
    """Divide whole numbers by their greatest common divisor."""
    return whole / float(np.gcd.reduce(whole.astype(np.int64)))


def _primitive_multiple(part: Matrix) -> Matrix:
    """Scale e.g. 1, 1.5, 1 to 2, 3, 2; what does not become whole soon stays as it is."""
    for factor in range(2, 10):
        whole = np.round(part * factor)
        if np.allclose(part * factor, whole, rtol=1e-12, atol=1e-12):
            return _primitive(whole)
    return part


def _with_sign(part: Matrix) -> Matrix:
    """Choose the sign as a person would: smoothing 1 2 1, difference -1 0 1."""
    total = part[np.flatnonzero(part)[-1]] if _is_zero_sum(part) else part.sum()
    return part if total > 0 else -part


def _with_scale(plane: Matrix, column: Matrix, row: Matrix) -> tuple[Matrix, Matrix]:
    """Scale (and sign) the two so that their product is the matrix."""
    strongest = np.unravel_index(np.abs(plane).argmax(), plane.shape)
    scale = float(plane[strongest] / np.outer(column, row)[strongest])
    if np.array_equal(plane, np.round(plane)) and scale == round(scale):
        # Smoothing keeps its plus signs; the difference takes the minus.
        if scale < 0 and _is_zero_sum(row):
            return column * -scale, -row
        return column * scale, row
    if _is_zero_sum(column) and _is_zero_sum(row):
        return column * scale, row
    if _is_zero_sum(row):
        return column / column.sum(), row * (scale * column.sum())
    if _is_zero_sum(column):
        return column * (scale * row.sum()), row / row.sum()
    total = scale * column.sum() * row.sum()
    share = float(np.sqrt(abs(total)))
    return column * (share / column.sum()), row * (total / share / row.sum())


def _is_zero_sum(part: Matrix) -> bool:
    return bool(abs(part.sum()) <= TOLERANCE * np.abs(part).sum())
