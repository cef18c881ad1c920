"""Names: as they are written, and no others."""

import pytest

from cnnviz.core.types import Row
from cnnviz.files.names import (
    animation_name,
    array_name,
    colour_name,
    explanation_name,
    grid_name,
    is_output,
    map_name,
    winners_name,
)


def row(index=3, layer="conv", name="conv2"):
    return Row(
        index=index,
        name=name,
        layer=layer,
        text=layer,
        settings={},
        inputs=("input",),
        input_shape=(1, 2, 2),
        output_shape=(1, 2, 2),
        kernel_size=None,
        stride=None,
        padding=None,
        dilation=None,
        groups=None,
        params=0,
        macs=0,
        receptive_field=None,
        effective_stride=None,
        effective_padding=None,
        memory_bytes=16,
        weights=None,
    )


def test_names():
    assert map_name(row(), 7) == "03_conv_conv2_c007.png"
    assert map_name(row(index=123), 1234) == "123_conv_conv2_c1234.png"
    assert grid_name(row(1, "maxpool", "layer1.0-pool")) == "01_maxpool_layer1.0-pool_grid.png"
    assert array_name(row()) == "03_conv_conv2.npy"


@pytest.mark.parametrize(
    "one", [row(), row(2000, "conv_transpose", "_.-"), row(10, "relu6", "a_c7_grid")]
)
def test_every_name_that_is_given_is_ours(one):
    for name in (
        map_name(one, 0), map_name(one, 54321), colour_name(one, 3), grid_name(one),
        explanation_name(one, (7,)), explanation_name(one, (7, 0, 12)), winners_name(one, 1),
        animation_name(one, 9), array_name(one),
    ):  # fmt: skip
        assert is_output(name), name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "photo.png", "01.png", "1_conv_a.npy", "01_beach_day.png", "01_conv_a.npy\n",
     "../01_conv_a.npy", "01_conv_../a.npy", "01_conv_a\\b.npy", "C:01_conv_a.npy", "01_conv_é.npy",
     ".01_conv_a.npy", "run.json", "explain.json", "01_conv_a_c00.png", "01_conv_a_c000.PNG",
     "0" * 10**6, "01_conv_" + "_at_1" * 10**5],
)  # fmt: skip
def test_other_names_are_not(name):
    assert not is_output(name)
