"""Weights as pictures: what their colours mean, on one scale."""

import math

import numpy as np
import pytest

from cnnviz.view.filters import MOST_PLANES, Filters, draw_kernels
from cnnviz.view.maps import draw_map
from cnnviz.view.scale import signed_scale
from tests.oracles import noise
from tests.view.pictures import NEUTRAL, rgb


def pixels(image):
    return np.asarray(image.convert("RGB"))


def test_three_channels_are_red_green_and_blue_around_a_middle_grey():
    weight = np.zeros((2, 3, 2, 2), np.float32)
    weight[0, 0, 0, 0], weight[0, 1, 0, 1], weight[1, 2, 1, 1] = 2, -4, 4  # red, green, blue
    filters = Filters.of(weight)
    assert filters.coloured
    assert filters.labels == ["0", "1"]
    assert (filters.scale.low, filters.scale.high) == (-4, 4)
    first, second = map(pixels, filters.pictures(9))
    assert first.tolist() == [[[191, 128, 128], [128, 0, 128]], [[128] * 3] * 2]
    assert second.tolist() == [[[128] * 3] * 2, [[128] * 3, [128, 128, 255]]]
    sheet = pixels(filters.sheet("t"))
    for colour in ([191, 128, 128], [128, 0, 128], [128, 128, 255]):
        assert (sheet == colour).all(axis=2).sum() > 100


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_others_are_planes_in_signed_colours(depth):
    weight = noise(1, 3, depth, 5, 4)
    filters = Filters.of(weight)
    assert not filters.coloured
    assert len(filters.labels) == len(filters.planes) == 3 * depth
    assert filters.labels[-1] == ("2" if depth == 1 else f"2,{depth - 1}")
    np.testing.assert_array_equal(filters.planes[-1], weight[2, -1])
    assert filters.scale.high == -filters.scale.low == pytest.approx(float(np.abs(weight).max()))
    place = np.argmax(weight.reshape(-1, 20)[0])
    red, _, blue = pixels(filters.pictures(1)[0]).reshape(-1, 3)[place].astype(int)
    assert red >= blue
    grey = pixels(filters.pictures(1, colours=False)[0])
    assert (grey[..., 0] == grey[..., 1]).all()
    assert filters.sheet("t").size[0] <= 1632


def test_no_weights_and_odd_ones():
    zeros = Filters.of(np.zeros((1, 3, 2, 2), np.float32))
    assert pixels(zeros.pictures(1)[0]).tolist() == [[[128] * 3] * 2] * 2
    odd = np.full((1, 3, 1, 2), np.nan, np.float32)
    assert pixels(Filters.of(odd).pictures(1)[0]).tolist() == [[[255, 0, 255]] * 2]
    odd[0, :, 0, 0] = 0, np.inf, 1
    assert pixels(Filters.of(odd).sheet("t")).shape[2] == 3


def test_a_picture_of_very_many_planes():
    weight = noise(2, MOST_PLANES // 64 + 1, 64, 1, 1)
    assert max(Filters.of(weight).sheet("t").size) < 4000


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 7), (5, 2), (15, 15), (101, 101)])
def test_kernels_of_any_size(size):
    image = draw_kernels({"random": np.random.default_rng(0).normal(size=size)}, "random")
    assert 300 <= image.width <= 900
    assert image.height <= 1000


def test_kernel_colours():
    picture = rgb(draw_kernels({"k": np.float64([[-2, 0, 2]])}, "k"))
    cells = {tuple(pixel) for pixel in picture[-60:-20].reshape(-1, 3).tolist()}
    assert {(5, 48, 97), NEUTRAL, (103, 0, 31)} <= cells


def test_odd_kernels():
    for values in ([[0.0]], [[math.nan, 1]], [[math.inf, -math.inf]], [[1e308, 1e308]], [[5e-324]]):
        draw_kernels({"k": np.float64(values)}, "k")


@pytest.mark.parametrize(
    ("weights", "total"),
    [(np.full((3, 3), 1 / 9), "1"), (np.float64([[0.1, 0.2, -0.3]]), "0"),
     (np.float64([[1e-12]]), "1e-12")],
)  # fmt: skip
def test_a_sum_of_ninths_is_one(weights, total, said):
    draw_kernels({"k": weights}, "k")
    assert any(f"sum {total}; weights" in text for _, _, text in said)


def test_kernels_of_a_bank_are_one_sheet_on_one_scale():
    bank = {"weak": np.float64([[1, 0, -1]]), "strong": np.float64([[2, 0, -2]])}
    picture = rgb(draw_kernels(bank, "bank"))
    cells = {tuple(pixel) for pixel in picture[-60:-20].reshape(-1, 3).tolist()}
    full, half = (103, 0, 31), rgb(draw_map(np.float32([[1]]), signed_scale(-2, 2)))[0, 0]
    assert {full, NEUTRAL, tuple(half.tolist())} <= cells


def test_planes_of_a_kernel_stand_side_by_side(said):
    flat = draw_kernels({"k": np.ones((1, 5, 5))}, "k")
    deep = draw_kernels({"k": np.ones((3, 5, 5))}, "k")
    assert deep.width > 1.5 * flat.width
    texts = [text for _, _, text in said]
    assert {"red", "green", "blue"} <= set(texts)
    assert any(text.startswith("3 x 5 x 5, sum 75") for text in texts)
