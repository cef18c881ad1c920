import math
from itertools import pairwise

import numpy as np
import pytest

from cnnviz.view.grid import draw_grid, plan_grid
from cnnviz.view.maps import ODD_COLOURS, draw_map
from cnnviz.view.numbers import format_number, format_range
from cnnviz.view.scale import Scale
from cnnviz.view.sheet import MARGIN
from tests.view.pictures import BIGGEST, TINIEST, find, rgb, scale_for


def noise(count, rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(count, rows, columns)).astype(np.float32)


def expected_pixels(plane, scale, zoom):
    return rgb(draw_map(plane, scale)).repeat(zoom, axis=0).repeat(zoom, axis=1)


@pytest.mark.parametrize("colormap", ["auto", "gray", "viridis"])
@pytest.mark.parametrize(("count", "size"), [(1, 40), (2, 33), (3, 50), (8, 20), (20, 16)])
def test_every_map_is_in_the_grid_exactly_once(count, size, colormap):
    maps = noise(count, size, size)
    scale = scale_for(maps, colormap=colormap)
    plan = plan_grid((size, size), [f"{i}" for i in range(count)], [], None, countable=True)
    picture = rgb(draw_grid(maps, [scale], title="t", labels=[f"{i}" for i in range(count)]))
    places = [find(picture, expected_pixels(m, scale, plan.zoom.up[0])) for m in maps]
    assert all(len(place) == 1 for place in places)
    corners = [place[0] for place in places]
    rows = sorted({row for row, _ in corners})
    columns = sorted({column for _, column in corners})
    assert len(columns) == plan.columns
    assert len(rows) == plan.rows
    for index, (row, column) in enumerate(corners):
        at = divmod(index, plan.columns)
        assert (rows.index(row), columns.index(column)) == at


def test_each_map_can_have_its_own_scale():
    maps = noise(6, 30, 30)
    maps[3:] = np.abs(maps[3:]) * 100
    scales = [scale_for(plane) for plane in maps]
    picture = rgb(draw_grid(maps, scales, title="t", labels=list("abcdef")))
    zoom = plan_grid((30, 30), list("abcdef"), ["±1.00"] * 6, None, countable=True).zoom.up[0]
    pairs = zip(maps, scales, strict=True)
    assert all(len(find(picture, expected_pixels(*pair, zoom))) == 1 for pair in pairs)


@pytest.mark.parametrize("signed", [False, True])
def test_large_maps_are_reduced(signed):
    maps = noise(1, 3001, 4003) if signed else np.abs(noise(1, 3001, 4003))
    scale = scale_for(maps)
    plan = plan_grid((3001, 4003), ["0"], [], None, countable=True)
    down = plan.zoom.down[0]
    assert down == 3
    picture = rgb(draw_grid(maps, [scale], title="t", labels=["0"]))
    assert max(picture.shape) <= 1600
    block = maps[0, 3:6, 6:9].astype(np.float64)
    block = block.flat[np.abs(block).argmax()] if signed else block.mean()
    expected = rgb(draw_map(np.array([[block]]), scale))[0, 0]
    x, y = plan.corner(0)
    top = picture.shape[0] - MARGIN - plan.body[1]
    assert (picture[top + y + 1, MARGIN + x + 2] == expected).all()
    corner = maps[0, 3000:, 4002:].mean()  # the last block is a single value
    last = rgb(draw_map(np.array([[corner]]), scale))[0, 0]
    assert (picture[top + y + 1000, MARGIN + x + 1334] == last).all()


def test_an_average_over_nan_shows_nan():
    maps = np.zeros((1, 4000, 4000), np.float32)
    maps[0, 1000, 1000] = np.nan
    picture = rgb(draw_grid(maps, [Scale(0, 1, "gray")], title="t", labels=["0"]))
    marked = (picture == ODD_COLOURS["NaN"]).all(axis=2)
    assert marked.sum() == 1 + 100  # in the map, and a square of 10 by 10 in the legend


def test_mixed_infinities_average_to_nan():
    maps = np.zeros((1, 4000, 4000), np.float32)
    maps[0, 0, :2] = [math.inf, -math.inf]
    picture = rgb(draw_grid(maps, [Scale(0, 1, "gray")], title="t", labels=["0"]))
    assert (picture == ODD_COLOURS["NaN"]).all(axis=2).any()


@pytest.mark.parametrize("nrow", [1, 2, 3, 5, 8, 100])
def test_nrow_is_respected(nrow):
    plan = plan_grid((20, 20), [str(i) for i in range(8)], [], nrow, countable=True)
    assert plan.columns == min(nrow, 8)
    assert plan.rows == math.ceil(8 / plan.columns)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 64, 512, 4096])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (7, 7), (14, 14), (1, 1000), (1000, 1), (9, 200)])
def test_sheets_have_a_sensible_size(count, size):
    for ranges in ([], ["0 to 0.125"] * count):
        plan = plan_grid(size, [f"{i} conv" for i in range(count)], ranges, None, countable=True)
        width, height = plan.body
        assert width <= 1632
        assert height <= 1500 or count > 64 or max(size) > 500
        assert width * height <= 16_000_000
        assert min(plan.shown) >= 16
        if count <= 64 and max(size) < 100:
            assert max(plan.shown) >= 96
        assert plan.corner(count - 1)[0] + plan.shown[1] <= width
        assert plan.corner(count - 1)[1] + plan.shown[0] <= height


@pytest.mark.parametrize("count", [1, 8, 64, 512])
@pytest.mark.parametrize("size", [(56, 56), (224, 224), (480, 640), (3000, 4000)])
def test_photographs_fit_a_page(count, size):
    width, height = plan_grid(size, [f"{i}" for i in range(count)], [], None, countable=True).body
    assert width <= 1632
    assert height <= 2500


@pytest.mark.parametrize("count", [1, 4, 70, 600, 2000])
def test_labels_never_touch_maps(count):
    """Draw with long labels and with none: no pixel of a map may differ."""
    maps = noise(count, 16, 16)
    scale = scale_for(maps)
    labels = [f"{i} a very long label [red]that[/red] must be cut" for i in range(count)]
    for scales in ([scale], [scale_for(plane) for plane in maps]):
        picture = rgb(draw_grid(maps, scales, title="long " * 100, labels=labels))
        ranges = [format_range(s.low, s.high) for s in scales] if len(scales) > 1 else []
        plan = plan_grid((16, 16), labels, ranges, None, countable=True)
        top = picture.shape[0] - MARGIN - plan.body[1]
        for index in range(count):
            x, y = plan.corner(index)
            x, y = x + MARGIN, y + top
            area = picture[y : y + plan.shown[0], x : x + plan.shown[1]]
            own = scales[index if len(scales) > 1 else 0]
            assert (area == expected_pixels(maps[index], own, plan.zoom.up[0])).all()
        edge = [picture[:8], picture[-8:], picture[:, :8], picture[:, -8:]]
        assert all((strip == 255).all() for strip in edge)  # nothing is cut at the border


def test_small_maps_carry_their_numbers(said):
    maps = np.float32([[[4, 3, 4], [2, 4, 3], [2, 3, 4]]])
    draw_grid(maps, [scale_for(maps)], title="t", labels=["first"])
    assert [text for _, _, text in said if text in "234"] == list(
        "4434243234"
    )  # the first: the bar
    said.clear()
    larger = noise(1, 13, 13)
    draw_grid(larger, [scale_for(larger)], title="t", labels=["first"])
    assert len(said) < 10


@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf, 0, -1, BIGGEST, TINIEST])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (20, 30), (2000, 3000)])
def test_odd_values_are_drawn(fill, size):
    maps = np.full((2, *size), fill, np.float32)
    maps[0, 0, 0] = 1
    for scales in ([scale_for(maps)], [scale_for(plane) for plane in maps]):
        draw_grid(maps, scales, title="", labels=["", "\x1b[31m\n"])


def test_the_sheet_tells_what_lies_outside(said):
    maps = np.float32([[[0, 1], [2, 3]]])
    draw_grid(maps, [Scale(0, 2, "gray")], title="t", labels=["0"])
    words = [text for _, _, text in said]
    assert any("1 value outside the scale" in text for text in words)
    assert any("from 0 to 3" in " ".join(pair) for pair in pairwise(words))
    said.clear()
    draw_grid(maps, [Scale(-3, 3, "rdbu")], title="t", labels=["0"])
    words = [text for _, _, text in said]
    assert {"-3", "0", "3"} <= set(words)
    assert not any("outside" in text for text in words)


@pytest.mark.parametrize("own_scales", [False, True])
def test_chosen_maps_are_drawn_in_their_order_under_their_own_labels(said, own_scales):
    maps = noise(300, 20, 20) * np.linspace(1, 2, 300, dtype=np.float32)[:, None, None]
    scales = [scale_for(plane) for plane in maps] if own_scales else [scale_for(maps)]
    channels = [299, 7, 42, 0, 150, 8]
    labels = [str(i) for i in range(300)]
    sheet = draw_grid(
        maps, scales, title="t", labels=labels, channels=channels, order="largest first"
    )
    picture = rgb(sheet)
    chosen = [scales[channel] for channel in channels] if own_scales else []
    ranges = [format_range(scale.low, scale.high) for scale in chosen]
    words = [labels[channel] for channel in channels]
    plan = plan_grid((20, 20), words, ranges, None, countable=False)
    zoom = plan.zoom.up[0]
    places = []
    for channel in channels:
        pixels = expected_pixels(maps[channel], scales[channel if own_scales else 0], zoom)
        (place,) = find(picture, pixels)
        places.append(place)
    assert places == sorted(places)
    for channel, (row, column) in zip(channels, places, strict=True):
        over = [text for x, y, text in said if 0 < row - y < 22 and x == column - 1]
        assert over[0] == str(channel)
    header = " ".join(text for _, y, text in said if y < places[0][0] - 22)
    assert "6 of 300 maps, largest first; each 20 x 20" in header
    assert ("all 300 maps share this scale" in header) != own_scales
    if not own_scales:  # the range of all 300, though map 299's alone might be narrower
        low, high = format_number(maps.min()), format_number(maps.max())
        assert f"with values from {low} to {high}" in header


@pytest.mark.parametrize("count", [20, 600, 2048, 4096])
def test_sorted_maps_keep_their_labels_however_many(count, said):
    """Numbers at the rows would tell the place, not the channel."""
    labels = [f"c{i}" for i in range(count)]
    maps = noise(count, 2, 2)
    draw_grid(
        maps, [scale_for(maps)], title="t", labels=labels, order="backwards",
        channels=list(reversed(range(count))),
    )  # fmt: skip
    words = [text for _, _, text in said]
    assert [text for text in words if text in set(labels)][-count:] == labels[::-1]
    assert any(f"{count:,} maps, backwards; each 2 x 2" in text for text in words)


def test_the_first_maps_alone(said):
    maps = noise(30, 8, 8)
    maps[29] = np.nan
    labels = [str(i) for i in range(30)]
    draw_grid(maps, [scale_for(maps)], title="t", labels=labels, channels=range(3))
    words = [text for _, _, text in said]
    assert "3 of 30 maps, in channel order; each 8 x 8" in " ".join(words)
    assert {"0", "1", "2"} <= set(words)
    assert not {"3", "29"} & set(words)
    assert "NaN (64)" in words  # what is not drawn is told all the same


@pytest.mark.parametrize("count", [64, 300, 512, 2048])
def test_a_label_is_nearer_to_its_own_map_than_to_the_one_above(count):
    labels = [str(i) for i in range(count)]
    plan = plan_grid((7, 7), labels, [], None, countable=False)
    assert plan.label_size is not None
    first, below = plan.corner(0)[1], plan.corner(plan.columns)[1]
    baseline = below - plan.label_height + plan.label_size
    top = baseline - 0.75 * plan.label_size  # of a digit
    assert top - (first + plan.shown[0]) > below - baseline


def test_drawing_twice_gives_the_same_bytes():
    maps = noise(5, 12, 12)
    draw = [draw_grid(maps, [scale_for(maps)], title="t", labels=list("abcde")) for _ in range(2)]
    assert draw[0].tobytes() == draw[1].tobytes()
