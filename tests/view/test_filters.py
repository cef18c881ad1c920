"""Filters as pictures: whose colours mean what, on one scale."""

import numpy as np
import pytest

from cnnviz.view.filters import MOST_PLANES, Filters
from tests.oracles import noise


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
