"""Zooms: whole factors, and pixels that hold their values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.view.zoom import Zoom, choose_zoom

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES, st.integers(100, 1500), st.integers(100, 1500))
def test_maps_fit_their_room_as_far_as_they_can_be_seen(height, width, high, wide):
    zoom = choose_zoom((height, width), (high, wide), 20)
    assert min(zoom.up) == 1 or max(zoom.down) == 1 or height > 8 * width or width > 8 * height
    shown = zoom.shown((height, width))
    assert max(shown) >= 20
    if max(height, width) <= 8 * min(height, width):
        assert zoom.up[0] == zoom.up[1]
        assert zoom.down[0] == zoom.down[1]
        assert max(shown) <= 384 or zoom.up == (1, 1)
    assert zoom.averages == (max(zoom.down) > 1)


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 2, 5]), st.integers(1, 9))
def test_boxes_hold_their_values(row, column, down, up):
    zoom = Zoom((down, down), (up, up) if down == 1 else (1, 1))
    top, left, bottom, right = zoom.box((row, column, row + 2, column + 3), 10, 20)
    assert top == 20 + (row * zoom.up[0]) // down
    assert left == 10 + (column * zoom.up[1]) // down
    assert bottom == 20 + max(math.ceil((row + 2) * zoom.up[0] / down), top - 20 + 1)
    assert right == 10 + max(math.ceil((column + 3) * zoom.up[1] / down), left - 10 + 1)


@given(SIDES, SIDES, st.integers(100, 1500), st.integers(100, 1500))
def test_what_is_to_fill_its_room_does(height, width, high, wide):
    zoom = choose_zoom((height, width), (high, wide), 20, fill=True)
    few = min(high // height, wide // width) >= 4
    if few or height > 8 * width or width > 8 * height:
        assert not zoom.nearest
        return
    shown = zoom.shown((height, width))
    assert shown[0] == high or shown[1] == wide
    assert shown[0] <= high
    assert shown[1] <= wide
    for blocks, length, block in zip(
        zoom.blocks((height, width)), (height, width), zoom.block, strict=True
    ):
        steps = np.diff(blocks)
        assert (blocks[0], 0 <= blocks[-1] <= (length - 1) // block) == (0, True)
        assert ((steps >= 0) & (steps <= 2)).all()


@pytest.mark.parametrize(
    ("zoom", "words"),
    [
        (Zoom((1, 1), (1, 1)), "shown pixel for pixel"),
        (Zoom((1, 1), (7, 7)), "enlarged 7 times"),
        (Zoom((3, 3), (1, 1)), "shown at 1/3 (a pixel is the mean of 3 x 3)"),
        (Zoom((1, 1), (2, 24)), "a value is drawn 2 high and 24 wide"),
        (Zoom((5, 1), (1, 24)), "each mean of 5 x 1 values is drawn 1 high and 24 wide"),
    ],
)
def test_a_zoom_in_words(zoom, words):
    assert zoom.text == words


@pytest.mark.parametrize(("values", "side"), [(451, 1), (800, 2), (3000, 7), (120, 1)])
def test_as_much_is_averaged_as_a_pixel_holds(values, side):
    assert Zoom((values, values), (434, 434), nearest=True).block == (side, side)
