import math

import numpy as np
import pytest

from cnnviz.view.maps import draw_map
from cnnviz.view.scale import Scale
from cnnviz.view.vector import NEGATIVE, POSITIVE, draw_shares, draw_vector
from tests.view.pictures import BIGGEST, TINIEST, rgb, scale_for


@pytest.mark.parametrize("count", [1, 2, 10, 40, 41, 120, 512, 1000, 4096, 25_088, 700_000])
def test_vectors_of_any_length(count):
    values = np.random.default_rng(0).normal(size=count).astype(np.float32)
    for vector in (values, np.abs(values)):
        image = draw_vector(vector, scale_for(vector), title="dense fc1", labels=None)
        assert image.mode == "RGB"
        assert 300 <= image.width <= 1632
        assert 60 <= image.height <= 1300


def test_every_value_of_a_strip_has_its_cell():
    values = np.arange(500, dtype=np.float32)
    scale = Scale(0, 499, "viridis")
    picture = rgb(draw_vector(values, scale, title="t", labels=None))
    found = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in rgb(draw_map(values[None], scale))[0].tolist()} <= found


def test_bars_are_as_long_as_their_values():
    values = np.float32([0.25, 0.5, 1, 0, -1])
    picture = rgb(draw_vector(values, Scale(-1, 1, "rdbu"), title="t", labels=None))
    red = (picture == POSITIVE).all(axis=2).sum(axis=1)
    blue = (picture == NEGATIVE).all(axis=2).sum(axis=1)
    lengths = [n for n, before in zip(red[1:], red, strict=False) if n and n != before]
    assert lengths == pytest.approx([60, 120, 240], abs=1)
    assert blue.max() == pytest.approx(240, abs=1)


@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf, 0, BIGGEST, TINIEST, -TINIEST])
@pytest.mark.parametrize("count", [1, 3, 50, 400_000])
def test_odd_vectors_are_drawn(fill, count):
    values = np.full(count, fill, np.float32)
    draw_vector(values, scale_for(values), title="\n", labels=None)


def test_labels_of_vectors_are_harmless():
    labels = ["\x1b[31m" * 50, "x" * 500, "[bold]"]
    image = draw_vector(np.float32([1, 2, 3]), Scale(0, 3, "gray"), title="t", labels=labels)
    assert image.width < 900


def test_shares_are_bars_on_0_to_100_percent(said):
    picture = rgb(draw_shares(np.float32([0.25, 0.75, 0]), "t", ["cat", "dog", "cow"]))
    texts = [text for _, _, text in said]
    assert {"cat", "dog", "25.0 %", "75.0 %", "0 %", "100 %"} <= set(texts)
    assert any("add up to 100 %" in text for text in texts)
    lengths = {int((row == (80, 80, 80)).all(axis=1).sum()) for row in picture}
    lengths = sorted(length for length in lengths if length > 100)
    assert lengths[0] == pytest.approx(0.25 * 480, abs=2)
    assert lengths[-1] == pytest.approx(0.75 * 480, abs=2)


def test_of_a_thousand_shares_the_ten_largest_are_drawn(said):
    values = np.full(1000, 0.0005)
    values[[7, 400]] = 0.3, 0.201
    draw_shares(values, "t", [f"class {index}" for index in range(1000)])
    drawn = [text for _, _, text in said if text.startswith("class")]
    assert (len(drawn), drawn[:3]) == (10, ["class 7", "class 400", "class 0"])
    assert any("the other 990 add up to 49.5 %" in text for _, _, text in said)


@pytest.mark.parametrize("values", [[math.nan, 1], [math.nan] * 60, [1.0], [1e-30] * 3])
def test_odd_shares_are_drawn(values):
    draw_shares(np.float32(values), "t")
