"""One palette for all frames: exact where it can be, near where it cannot."""

import numpy as np
import pytest
from hypothesis import given, settings

from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.maps import (
    LEVELS,
    ODD_COLOURS,
    draw_map,
)
from cnnviz.view.palette import ACCENT, EMPTY, INKS, LINES, Palette, few_colours
from cnnviz.view.scale import Scale
from tests.view.pictures import ANY, rgb, scale_for

MIXES = [["gray"], ["gray", "rdbu"], ["viridis", "rdbu"], ["magma", "viridis", "rdbu"]]
OFF = {0: 3, 1: 4, 2: 9, 3: 16}  # of 255, where so many colour maps share the palette
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)


@pytest.mark.parametrize("kinds", MIXES, ids="+".join)
@pytest.mark.parametrize("picture", [None, few_colours(NOISE)], ids=["maps", "picture"])
def test_there_is_room_for_every_colour(kinds, picture):
    palette = Palette(kinds, picture)
    assert palette.colours.shape == (256, 3)
    used = set(map(tuple, palette.points.astype(int).tolist()))
    assert len(used) == len(palette.points) < 256  # the last entry stays free
    odd = {*ODD_COLOURS.values()}
    assert odd | {ACCENT, EMPTY, LINES, (0, 0, 0), (255, 255, 255)} <= used
    for kind in kinds:
        ramp = COLORMAPS[kind].colours(LEVELS)
        assert {tuple(map(int, ramp[i])) for i in (0, LEVELS // 2, LEVELS - 1)} <= used or (
            kind == "gray"
        )
        nearest = palette.colours[palette.nearest(ramp)].astype(int)
        assert np.abs(nearest - ramp).max() <= OFF[len(set(kinds) - {"gray"})]


@given(ANY)
@settings(max_examples=30)
def test_values_have_the_nearest_of_the_colours_they_have_in_maps(plane):
    scale = scale_for(plane)
    palette = Palette([scale.colormap, "rdbu"])
    got = palette.colours[palette.values(plane, scale)].astype(int)
    expected = rgb(draw_map(plane, scale)).astype(int)
    assert np.abs(got - expected).max() <= 3
    odd = ~np.isfinite(plane)
    np.testing.assert_array_equal(got[odd], expected[odd])


def test_index_finds_the_nearest_of_all():
    palette = Palette(["gray", "viridis"])
    found = palette.colours[palette.index(NOISE)].astype(int)
    distance = ((found - NOISE) ** 2).sum(axis=2)
    every = ((palette.points[None, None] - NOISE[:, :, None]) ** 2).sum(axis=3).min(axis=2)
    np.testing.assert_allclose(distance, every)


def test_ink_goes_from_nothing_to_black_and_to_white():
    palette = Palette(["gray", "rdbu"])
    for number, ink in enumerate((0, 255)):
        for entry in range(len(palette.points)):
            shades = palette.colours[palette.blends[number, entry]].astype(int)
            assert tuple(shades[0]) == tuple(palette.colours[entry])
            assert (shades[INKS - 1] == ink).all()


def test_zero_is_neutral_and_grey_ends_are_black_and_white():
    palette = Palette(["gray", "rdbu"])
    signed = palette.values(np.float32([[-1, 0, 1]]), Scale(-1, 1, "rdbu"))
    assert palette.colours[signed].tolist() == [[[5, 48, 97], [247, 247, 247], [103, 0, 31]]]
    grey = palette.values(np.float32([[0, 1]]), Scale(0, 1, "gray"))
    assert palette.colours[grey].tolist() == [[[0, 0, 0], [255, 255, 255]]]
