"""Two tensors that cannot be subtracted, side by side."""

import io

import numpy as np
import pytest
from rich.console import Console

from cnnviz.view.diptych import MOST_MAPS, Diptych
from tests.oracles import noise


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (noise(0, 1, 4, 4), noise(1, 1, 2, 2)),
        (noise(0, 9, 30, 40), noise(1, 100)),
        (noise(0, 5, 1, 1), np.full((2, 3, 3), np.nan, np.float32)),
        (noise(0, 2000), noise(1, 2, 500, 700)),
    ],
)
def test_both_are_drawn(a, b):
    picture = Diptych.of(a, b)
    assert all(len(channels) <= MOST_MAPS for channels in picture.channels)
    image = picture.draw(["A: one", "B: two"])
    alone = [Diptych.of(one, one).draw(["A: one", "B: two"]) for one in (a, b)]
    assert image.width == sum(one.width for one in alone) // 2
    assert image.height == max(one.height for one in alone)
    for colours in (True, False):
        console = Console(file=io.StringIO(), width=80)
        console.print(picture.in_terminal(80, colours=colours))
        text = console.file.getvalue()
        assert "A" in text
        assert "B" in text


def test_those_that_vary_most_are_drawn_and_kept_as_copies():
    values = noise(0, 6, 5, 5) * np.float32([1, 9, 2, 8, 7, 6]).reshape(6, 1, 1)
    picture = Diptych.of(values, values[:1])
    before = picture.maps[0].copy()
    assert picture.channels == ((1, 3, 4, 5), (0,))
    values[...] = 0
    np.testing.assert_array_equal(picture.maps[0], before)
