"""Layers that rescale by statistics (batchnorm, lrn), and dropout, which rests at inference."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnviz.core.layers.base import Elementwise, Layer, ParamSpec, register, require_maps, settings
from cnnviz.core.options import number, option, whole
from cnnviz.core.types import Params, Seed, Shape, Tensor


@register
@settings
class BatchNorm(Elementwise):
    """Batch normalisation at inference: Ioffe & Szegedy, ICML 2015."""

    name: ClassVar[str] = "batchnorm"
    family: ClassVar[str] = "normalization"
    summary: ClassVar[str] = "shift and scale each channel by what training measured"
    formula: ClassVar[str] = "(x − running_mean) / √(running_var + eps) · weight + bias"
    weights_from: ClassVar[str | None] = "set"

    eps: float = option(number(least=0), "added to the variance", default=1e-5)

    def param_shapes(self, *shapes: Shape) -> dict[str, ParamSpec]:
        """Return scale and shift, and the running statistics, which are not trained."""
        shape = (shapes[0][0],)
        return {
            "weight": ParamSpec(shape),
            "bias": ParamSpec(shape),
            "running_mean": ParamSpec(shape, trained=False),
            "running_var": ParamSpec(shape, trained=False),
        }

    def initial_params(self, seed: Seed, *shapes: Shape) -> Params:
        """Return what changes nothing: mean 0, variance 1, scale 1, shift 0."""
        zeros, ones = np.zeros(shapes[0][0], np.float32), np.ones(shapes[0][0], np.float32)
        return {"weight": ones, "bias": zeros, "running_mean": zeros, "running_var": ones}

    def apply(self, *inputs: Tensor, params: Params, out: Tensor | None = None) -> Tensor:
        """Normalise each channel."""
        x = inputs[0]
        variance = params["running_var"].astype(np.float64)
        scale = params["weight"] / np.sqrt(variance + self.eps)
        shift = params["bias"] - params["running_mean"] * scale
        per_channel = (-1, *(1,) * (x.ndim - 1))
        output = np.multiply(x, scale.astype(np.float32).reshape(per_channel), out=out)
        output += shift.astype(np.float32).reshape(per_channel)
        return output


@register
@settings
class Lrn(Layer):
    """Local response normalisation across channels: Krizhevsky et al., NeurIPS 2012."""

    name: ClassVar[str] = "lrn"
    family: ClassVar[str] = "normalization"
    keeps_maps: ClassVar[bool] = True
    summary: ClassVar[str] = "damp a channel where its neighbours are strong too (AlexNet)"
    formula: ClassVar[str] = "x / (k + alpha/size · Σ of x² over size channels)^beta"

    size: int = option(whole(), "how many neighbouring channels count", default=5)
    alpha: float = option(number(), "strength", default=1e-4)
    beta: float = option(number(), "exponent", default=0.75)
    k: float = option(number(), "what the sum is added to", default=1.0)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return require_maps(shapes[0], self.name)

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Divide each channel by its neighbourhood, size//2 before to (size−1)//2 after it."""
        x = inputs[0]
        channels = x.shape[0]
        output = np.empty_like(x)
        for channel in range(channels):
            low = max(channel - self.size // 2, 0)
            high = min(channel + (self.size - 1) // 2, channels - 1) + 1
            total = np.zeros(x.shape[1:], np.float64)
            for neighbour in x[low:high]:
                total += np.square(neighbour, dtype=np.float64)
            output[channel] = x[channel] / (self.k + self.alpha / self.size * total) ** self.beta
        return output


@register
@settings
class Dropout(Layer):
    """Dropout: Srivastava et al., JMLR 2014. At inference nothing is dropped."""

    name: ClassVar[str] = "dropout"
    family: ClassVar[str] = "normalization"
    keeps_maps: ClassVar[bool] = True
    summary: ClassVar[str] = "nothing here: it drops values in training only"
    formula: ClassVar[str] = "x"

    p: float = option(number(least=0), "the share dropped in training", default=0.5)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return shapes[0]

    def apply(self, *inputs: Tensor, params: Params) -> Tensor:
        """Return the input."""
        return inputs[0]
