import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnnviz.core.statistics import statistics_of
from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.maps import (
    ODD_COLOURS,
    block_means,
    count_outside,
    draw_colour,
    draw_map,
)
from cnnviz.view.scale import Scale, choose_scale
from tests.view.pictures import ANY, BIGGEST, FINITE, NEUTRAL, TINIEST, rgb, scale_for

HALF = 0.5 + 1e-4  # float32 may round a value halfway between two levels to the other one


def grey_level(value, scale, levels=256):
    """Return the level of a value before it is rounded."""
    value = min(max(float(value), scale.low), scale.high)
    span = scale.high - scale.low
    return (value - scale.low) / span * (levels - 1)


@given(FINITE)
def test_grey_is_exact(plane):
    scale = scale_for(plane, colormap="gray")
    image = draw_map(plane, scale)
    assert image.mode == "L"
    assert image.size == plane.shape[::-1]
    expected = [[grey_level(value, scale) for value in row] for row in plane]
    assert (np.abs(np.asarray(image) - np.array(expected)) <= HALF).all()


@given(ANY, st.sampled_from(["gray", "viridis", "magma"]))
def test_indexed_maps_are_exact_and_the_rest_has_its_own_colours(plane, colormap):
    scale = scale_for(plane, colormap=colormap)
    image = draw_map(plane, scale)
    if image.mode == "L":
        assert colormap == "gray"
        assert np.isfinite(plane).all()
        return
    assert image.mode == "P"
    colours = COLORMAPS[colormap].colours(253)
    indices = draw_map(plane, scale).tobytes()
    for index, value, pixel in zip(indices, plane.ravel(), rgb(image).reshape(-1, 3), strict=True):
        if math.isnan(value):
            expected = ODD_COLOURS["NaN"]
        elif math.isinf(value):
            expected = ODD_COLOURS["+inf"] if value > 0 else ODD_COLOURS["-inf"]
        else:
            assert abs(index - grey_level(value, scale, 253)) <= HALF
            expected = colours[index]
        assert tuple(pixel) == tuple(expected)


@given(FINITE)
def test_rdbu_mirrors_and_has_zero_in_the_middle(plane):
    scale = scale_for(plane, colormap="rdbu")
    indices = np.asarray(draw_map(plane, scale)).astype(int)
    mirrored = np.asarray(draw_map(-plane, scale)).astype(int)
    assert (indices - 126 == 126 - mirrored).all()
    reach = max(abs(scale.low), abs(scale.high))
    expected = 126 + plane.astype(float) / reach * 126
    assert (np.abs(indices - expected) <= HALF).all()
    assert (indices[plane == 0] == 126).all()
    assert (rgb(draw_map(plane, scale))[plane == 0] == NEUTRAL).all()


@given(st.floats(-1e6, -1e-3), st.floats(1e-3, 1e6))
def test_zero_stays_neutral_with_unequal_ends(low, high):
    scale = choose_scale(0, 0, value_range=(low, high))
    image = draw_map(np.float32([[0, low, high, low * 2, high * 2]]), scale)
    zero, *colours = map(tuple, rgb(image)[0])
    assert zero == NEUTRAL
    assert colours[0] == colours[2]  # what lies outside has the colour of the end
    assert colours[1] == colours[3]


def test_the_nearer_of_two_unequal_ends_is_paler():
    low, high = rgb(draw_map(np.float32([[-1, 4]]), Scale(-1, 4, "rdbu")))[0].tolist()
    assert high == [103, 0, 31]
    assert low[0] > 150


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, (0, 0, 0)),
        (3, (255, 255, 255)),
        (-3, (5, 48, 97)),
        (BIGGEST, (255, 255, 255)),
        (-BIGGEST, (5, 48, 97)),
        (TINIEST, (255, 255, 255)),
        (math.nan, ODD_COLOURS["NaN"]),
        (math.inf, ODD_COLOURS["+inf"]),
        (-math.inf, ODD_COLOURS["-inf"]),
    ],
)
def test_constant_maps(value, expected):
    plane = np.full((3, 4), value, np.float32)
    assert (rgb(draw_map(plane, scale_for(plane))) == expected).all()


def test_ranges_beyond_float32():
    plane = np.float32([[-BIGGEST, 0, BIGGEST]])
    assert np.asarray(draw_map(plane, Scale(-BIGGEST, BIGGEST, "gray"))).tolist() == [[0, 128, 255]]
    assert np.asarray(draw_map(plane, Scale(-1.7e308, 1.7e308, "gray"))).tolist() == [[128] * 3]


def test_an_image_is_drawn_as_it_was():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    plane = pixels.astype(np.float32) / np.float32(255)
    assert (np.asarray(draw_map(plane, Scale(0, 1, "gray"))) == pixels).all()


def test_indexed_pictures_stay_indexed_when_saved(tmp_path):
    draw_map(np.float32([[-1, 0, 1]]), Scale(-1, 1, "rdbu")).save(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert image.mode == "P"
        assert rgb(image)[0].tolist() == [[5, 48, 97], list(NEUTRAL), [103, 0, 31]]


@pytest.mark.parametrize("height", [700, 1100])  # several blocks; several, by two threads
def test_large_planes_are_drawn_as_their_parts_are(height):
    plane = np.random.default_rng(0).normal(size=(height, 1000)).astype(np.float32)
    plane[3, 4] = np.nan
    scale = Scale(-2, 3, "viridis")
    whole = draw_map(plane, scale).tobytes()
    parts = [plane[top : top + 100] for top in range(0, height, 100)]
    assert whole == b"".join(draw_map(part, scale).tobytes() for part in parts)
    assert draw_map(plane[::-1, ::-1], scale).tobytes() == whole[::-1]


@given(FINITE, st.sampled_from(list(COLORMAPS)))
def test_who_knows_that_values_are_within_sees_the_same(plane, colormap):
    scale = scale_for(plane, colormap=colormap)
    assert scale.covers(statistics_of(plane))
    assert draw_map(plane, scale, within=True) == draw_map(plane, scale)


@pytest.mark.parametrize("ends", [(-1, 1), (-7.3, 7.3), (0, 255), (-0.1, 0.3), (1000, 1000.001)])
@pytest.mark.parametrize("colormap", list(COLORMAPS))
def test_float32_rounds_like_float64(ends, colormap):
    scale = Scale(*ends, colormap)
    values = np.linspace(*ends, 5003, dtype=np.float32).reshape(1, -1)
    fast = np.asarray(draw_map(values, scale)).astype(int)
    exact = np.asarray(draw_map(values.astype(np.float64), scale)).astype(int)
    assert np.abs(fast - exact).max() <= 1
    assert np.count_nonzero(fast - exact) <= 3  # ties


@pytest.mark.parametrize("down", [(1, 1), (2, 2), (3, 5), (1, 4), (4, 1), (50, 50)])
@pytest.mark.parametrize("size", [(7, 9), (1, 20), (20, 1), (30, 31)])
def test_block_means(size, down):
    plane = np.random.default_rng(2).normal(size=size).astype(np.float32)
    means = block_means(plane, down)
    rows, columns = (range(0, length, step) for length, step in zip(size, down, strict=True))
    expected = [[plane[y : y + down[0], x : x + down[1]].astype(float).mean() for x in columns]
                for y in rows]  # fmt: skip
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_block_means_do_not_overflow():
    assert block_means(np.full((4, 4), BIGGEST, np.float32), (2, 2)).max() == BIGGEST


def test_memory_stays_bounded():
    import tracemalloc

    plane = np.ones((2000, 3000), np.float32)
    tracemalloc.start()
    draw_map(plane, Scale(-1, 1, "rdbu"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * plane.size  # a few bytes a value, never a float64 copy


def test_draw_colour_recombines_the_channels():
    planes = np.random.default_rng(1).integers(0, 256, (3, 5, 7)).astype(np.float32)
    image = draw_colour(planes, Scale(0, 255, "gray"))
    assert image.mode == "RGB"
    assert (np.asarray(image) == planes.transpose(1, 2, 0)).all()
    signed = draw_colour(planes * 0, Scale(-1, 1, "rdbu"))
    assert (np.asarray(signed) == 128).all()


def test_draw_colour_marks_what_is_no_number():
    planes = np.zeros((3, 1, 4), np.float32)
    planes[0, 0] = [0, np.nan, np.inf, np.inf]
    planes[2, 0] = [0, -np.inf, -np.inf, 1]
    expected = [(0, 0, 0), ODD_COLOURS["NaN"], ODD_COLOURS["+inf"], ODD_COLOURS["+inf"]]
    assert list(map(tuple, rgb(draw_colour(planes, Scale(0, 1, "gray")))[0])) == expected


def test_count_outside():
    tensor = np.float32([[-1, 0, 0.1, 0.5, np.nan, np.inf, -np.inf]])
    assert count_outside(tensor, Scale(0, 0.1, "gray")) == 2
    assert count_outside(tensor, Scale(-1, 1, "gray")) == 0
    assert count_outside(tensor, Scale(-1e300, 1e300, "gray")) == 0
