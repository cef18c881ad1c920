"""Every layer, by family; importing this package fills the registry."""

from cnnviz.core.layers import (
    activation,
    convolution,
    dense,
    graph,
    normalization,
    pooling,
    resize,
)
from cnnviz.core.layers.base import ALIASES, LAYERS, Layer, ParamSpec, find_layer, make_layer
from cnnviz.core.layers.filters import KernelGroup

__all__ = [
    "ALIASES",
    "LAYERS",
    "KernelGroup",
    "Layer",
    "ParamSpec",
    "activation",
    "convolution",
    "dense",
    "find_layer",
    "graph",
    "make_layer",
    "normalization",
    "pooling",
    "resize",
]
