"""Pipelines that are equivariant on a circle, drawn: circular padding, strides that divide."""

from math import prod

import numpy as np
from hypothesis import strategies as st

from cnnviz.core.types import Samples
from cnnviz.files.spec import parse
from tests.oracles import noise

CIRCULAR = "padding=same, padding_mode=circular"


@st.composite
def layers(draw, strides):
    """Draw one layer's text; its strides are appended to the lists of rows and columns."""
    kind = draw(st.sampled_from(["conv", "depthwise", "pool", "activation", "upsample"]))
    if kind == "activation":
        return draw(st.sampled_from(["relu", "abs", "tanh", "magnitude", "leaky_relu"]))
    if kind == "upsample":
        return f"upsample(({draw(st.integers(1, 2))}, {draw(st.integers(1, 3))}))"
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    for axis in (0, 1):
        strides[axis].append(stride[axis])
    if kind == "pool":
        mode = draw(st.sampled_from(["maxpool", "avgpool", "minpool"]))
        return f"{mode}({kernel}, {stride}, {CIRCULAR})"
    filters = draw(st.integers(1, 3))
    return f"{kind}({filters}, {kernel}, {stride}, {CIRCULAR})"


@st.composite
def circular_problems(draw):
    """Draw (pipeline, picture): every stride divides the maps it moves over."""
    strides = [[], []]
    text = " -> ".join(draw(layers(strides)) for _ in range(draw(st.integers(1, 4))))
    # Padding wraps once, so a map must be as large as the padding: 4 pixels a side are enough.
    size = [prod(strides[axis]) * draw(st.integers(4, 5)) for axis in (0, 1)]
    return parse(text), draw(pictures(draw(st.integers(1, 2)), *size))


@st.composite
def pictures(draw, channels, height, width):
    """Draw a picture, as a tensor or as 8-bit samples."""
    seed = draw(st.integers(0, 999))
    if draw(st.booleans()):
        return noise(seed, channels, height, width)
    values = np.random.default_rng(seed).integers(0, 256, (channels, height, width), np.uint8)
    return Samples(values, draw(st.sampled_from([1.0, 255.0])))
