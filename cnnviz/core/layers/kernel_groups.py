"""What a convolution's filters are: a count to draw, or chosen kernels made into weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnviz.core.kernels import Kernel
from cnnviz.core.settings import Padding, whole
from cnnviz.core.types import Pair, Seed, Tensor
from cnnviz.errors import CnnvizError, RequestError


@dataclass(frozen=True)
class KernelGroup:
    """Kernels that one expression gave, such as ``gaussian(7, sigma=1.5)`` or ``@bank.npy``."""

    text: str
    kernels: tuple[Kernel, ...]


Filters = int | tuple[KernelGroup, ...]


def read_filters(value: Any, name: str) -> Filters:
    """Read a count, or kernels (groups of them, or bare Kernel values)."""
    if isinstance(value, (Kernel, KernelGroup)):
        value = (value,)
    if isinstance(value, (tuple, list)) and value:
        return tuple(_group(one, name) for one in value)
    return int(whole()(value, name))


def are_kernels(first: Any) -> bool:
    """Return whether a first argument is a kernel, so that all of them are."""
    return not isinstance(first, (int, float))


def _group(value: Any, name: str) -> KernelGroup:
    if isinstance(value, KernelGroup):
        return value
    if isinstance(value, Kernel):
        return KernelGroup(value.name, (value,))
    raise RequestError(f"{name}: {value!r} is neither a count nor a kernel")


def kernels_of(filters: Filters) -> tuple[Kernel, ...]:
    """Return every kernel of the groups, in order; none for a count."""
    if isinstance(filters, int):
        return ()
    return tuple(kernel for group in filters for kernel in group.kernels)


def common_size(kernels: Sequence[Kernel], padding: Padding) -> Pair:
    """Return the size of one filter that holds every kernel.

    Raises
    ------
    RequestError
        If sizes differ and the padding is not `same`: their maps would not be equally large.
    """
    sizes = {kernel.size for kernel in kernels}
    if len(sizes) > 1 and padding.rule not in ("same", "same-lower"):
        sizes_text = ", ".join(f"{k.name} {k.size[0]}×{k.size[1]}" for k in kernels)
        raise RequestError(
            f"kernels of different sizes in one stage: {sizes_text}", hint="add padding=same"
        )
    return (max(size[0] for size in sizes), max(size[1] for size in sizes))


def check_depth(kernels: Sequence[Kernel], channels: int) -> None:
    """Raise CnnvizError unless kernels with planes of their own have one for each channel."""
    for kernel in kernels:
        planes = kernel.weights.shape[0] if kernel.weights.ndim == 3 else channels
        if planes != channels:
            raise CnnvizError(
                f"kernel {kernel.name} has {planes} channels, its input {channels}",
                hint="it reads red, green and blue at once: add --color rgb, and no depthwise"
                if (planes, channels) == (3, 1)
                else "give a 2-D kernel, or one plane for each input channel",
            )


def kernel_weights(
    kernels: Sequence[Kernel], size: Pair, channels: int, *, padding: Padding, flip: bool
) -> Tensor:
    """Return (N, channels, h, w) weights of `kernels` for an input of `channels`.

    A 2-D kernel spans every channel: the same plane, divided by their number. A smaller kernel
    is zero-padded so that it stands where it would stand alone.
    """
    check_depth(kernels, channels)
    weights = np.zeros((len(kernels), channels, *size), np.float32)
    for weight, kernel in zip(weights, kernels, strict=True):
        source = (kernel.flipped() if flip else kernel).weights
        planes = source if source.ndim == 3 else source / channels
        top, left = (
            _before(whole, padding) - _before(own, padding)
            for whole, own in zip(size, kernel.size, strict=True)
        )
        weight[:, top : top + kernel.size[0], left : left + kernel.size[1]] = planes
    return weights


def _before(length: int, padding: Padding) -> int:
    """Return the cells before a kernel's anchor under `same` padding and stride 1."""
    return length // 2 if padding.rule == "same-lower" else (length - 1) // 2


def he_normal(seed: Seed, shape: tuple[int, ...], fan_in: int) -> Tensor:
    """Draw N(0, 2 / fan_in) weights: He et al., "Delving Deep into Rectifiers", ICCV 2015."""
    drawn = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    drawn *= np.float32(np.sqrt(2 / fan_in))
    return drawn
