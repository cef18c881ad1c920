"""Every layer, by family; importing this package fills the registry."""

from cnnviz.core.layers import (
    activation,
    arrange,
    attention,
    convolution,
    dense,
    graph,
    normalization,
    pooling,
    resize,
    transposed,
)
from cnnviz.core.layers.base import ALIASES, LAYERS, Layer, ParamSpec, find_layer, make_layer
from cnnviz.core.layers.kernel_groups import KernelGroup

FAMILIES = (
    *("convolution", "pooling", "activation", "normalization", "classifier", "graph", "size"),
)
"""The order in which lists of layers show them."""

_in_order = sorted(LAYERS.items(), key=lambda entry: FAMILIES.index(entry[1].family))
LAYERS.clear()
LAYERS.update(_in_order)

__all__ = [
    "ALIASES",
    "FAMILIES",
    "LAYERS",
    "KernelGroup",
    "Layer",
    "ParamSpec",
    "activation",
    "arrange",
    "attention",
    "convolution",
    "dense",
    "find_layer",
    "graph",
    "make_layer",
    "normalization",
    "pooling",
    "resize",
    "transposed",
]
