"""Filters that are one plane each: what the algorithms of image processing can work on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Tensor

SMALL = 1024  # weights of kernels that are remembered: all remembered take a few megabytes
MOST = 4096  # planes looked at: beyond it the weights are a network's, not chosen kernels

Matrix = NDArray[np.float64]


class Planes(NamedTuple):
    """Filters W[o, c] = mix[c] · kernels[o]: mix the channels, then slide one plane."""

    kernels: Matrix  # (O, kh, kw)
    mix: Tensor | None  # (C,) shared by all filters; None where a filter has one channel anyway


def planes_of(weight: Tensor) -> Planes | None:
    """Find the planes of weights (O, depth, kh, kw), or None.

    A 2-D kernel that spans all channels is the same plane over and over: mixing the channels
    first saves sliding it over each of them.
    """
    filters, depth, _, _ = weight.shape
    if depth == 1:
        return Planes(weight[:, 0].astype(np.float64), None)
    if filters * depth > MOST:
        return None
    strength = np.abs(weight)
    strongest = np.unravel_index(int(strength.argmax()), weight.shape)
    if not strength[strongest]:
        return None
    mix = weight[strongest[0], :, strongest[2], strongest[3]] / weight[strongest]
    kernels = weight[:, strongest[1]]
    error = np.abs(weight - mix[:, None, None] * kernels[:, None])
    if not (error <= 2 * np.finfo(np.float32).eps * strength).all():
        return None
    return Planes(kernels.astype(np.float64), mix)


def mixed(rows: Tensor, mix: Tensor) -> Tensor:
    """Return Σ mix[c] · rows[c] of (C, rows, columns) as (1, rows, columns)."""
    parts = (
        plane if strength == 1 else plane * strength
        for plane, strength in zip(rows, mix, strict=True)
    )
    first, second = next(parts), next(parts)
    total: Tensor = first + second
    for part in parts:
        total += part
    return np.expand_dims(total, 0)


Found = TypeVar("Found")


def remembered(look: Callable[[Matrix], Found]) -> Callable[[Matrix], Found]:
    """Remember what looking at small kernels found: the next image, or layer, has the same ones."""

    @lru_cache(maxsize=256)
    def known(content: bytes, shape: tuple[int, ...]) -> Found:
        return look(np.frombuffer(content).reshape(shape))

    @wraps(look)
    def found(kernel: Matrix) -> Found:
        if kernel.size > SMALL:
            return look(kernel)
        return known(kernel.astype(np.float64).tobytes(), kernel.shape)

    return found
