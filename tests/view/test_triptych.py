"""The triptych: A and B on one scale, the difference on its own, the right maps first."""

import io

import numpy as np
import pytest
from rich.console import Console

from cnnviz.core.comparison import difference
from cnnviz.view.maps import ODD_COLOURS, draw_map
from cnnviz.view.scale import Scale
from cnnviz.view.triptych import MOST_MAPS, Triptych
from tests.oracles import noise
from tests.view.pictures import NEUTRAL, find, rgb


def made(a, b, **options):
    return Triptych.of(a, b, difference(a, b), **options)


def enlarged(plane, scale, zoom):
    return rgb(draw_map(plane, scale)).repeat(zoom, axis=0).repeat(zoom, axis=1)


def test_panels_stand_side_by_side_on_their_scales():
    a = np.abs(noise(1, 1, 20, 30))
    b = np.abs(noise(2, 1, 20, 30)) * 3
    triptych = made(a, b)
    assert triptych.scale == Scale(0.0, float(max(a.max(), b.max())), "gray")
    reach = float(np.abs(a.astype(np.float64) - b).max())
    assert triptych.gap_scale == Scale(-reach, reach, "rdbu")
    picture = rgb(triptych.draw(title="conv1"))
    zoom = 384 // 30
    gaps = a[0].astype(np.float64) - b[0]
    places = [
        find(picture, enlarged(plane, scale, zoom))
        for plane, scale in zip((a[0], b[0], gaps), triptych.scales, strict=True)
    ]
    assert [len(place) for place in places] == [1, 1, 1]
    rows, columns = zip(*(place[0] for place in places), strict=True)
    assert len(set(rows)) == 1
    assert columns[0] < columns[1] < columns[2]
    assert columns[1] - columns[0] == columns[2] - columns[1] > 30 * zoom


def test_the_maps_that_differ_most_are_drawn(said):
    a = noise(3, 7, 16, 24)
    b = a.copy()
    for channel, by in ((5, 4.0), (2, 3.0), (0, 2.0), (6, 1.0), (1, 0.5)):
        b[channel, 3, 4] += by
    triptych = made(a, b)
    assert triptych.channels == (5, 2, 0, 6)
    picture = rgb(triptych.draw(title="t"))
    zoom = 384 // 24
    corners = [find(picture, enlarged(a[c], triptych.scale, zoom))[0] for c in triptych.channels]
    assert sorted(corners) == corners
    assert not find(picture, enlarged(a[3], triptych.scale, zoom))
    assert any(text.startswith("4 of 7 maps, those that differ most") for _, _, text in said)


@pytest.mark.parametrize("shape", [(1,), (10,), (40,), (41,), (1000,), (64, 1, 1), (8, 1, 1)])
def test_vectors_and_maps_of_one_value(shape):
    a, b = noise(4, *shape), noise(5, *shape)
    triptych = made(a, b)
    assert triptych.is_vector
    picture = rgb(triptych.draw(title="dense1", remark="a remark"))
    assert picture.shape[1] <= 1700
    # Red and blue, both in the third panel alone and in those of signed values.
    reds = (picture[..., 0].astype(int) - picture[..., 2]) > 60
    blues = (picture[..., 2].astype(int) - picture[..., 0]) > 60
    assert reds.any() or blues.any()


def runs(line):
    """Return the lengths of the runs of true values, from left to right."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
    return [int(length) for length in edges[1::2] - edges[::2]]


def test_bars_are_as_long_as_their_values():
    a, b = np.float32([4, 2, 0]), np.float32([1, 2, 4])
    picture = rgb(made(a, b).draw(title="t"))
    grey, red, blue = (
        (picture == colour).all(axis=2) for colour in ((80, 80, 80), (178, 24, 43), (33, 102, 172))
    )
    lines = [runs(grey[row]) for row in range(len(grey)) if max(runs(grey[row]), default=0) > 20]
    # Of 200 pixels for 4: in A and B 4 and 1, then 2 and 2, then only B's 4; the line at 0 is on
    # their first pixel.
    assert [line for i, line in enumerate(lines) if i == 0 or line != lines[i - 1]] == [
        [200, 50], [100, 100], [200],
    ]  # fmt: skip
    # A − B is 3, 0, −4 on a scale of ±4, where 4 is half a bar.
    assert {tuple(runs(line)) for line in red if line.any()} == {(75,)}
    assert {tuple(runs(line)) for line in blue if line.any()} == {(100,)}


def test_equal_tensors_have_a_neutral_difference():
    a = noise(6, 2, 12, 12)
    triptych = made(a, a)
    assert triptych.gap_scale == Scale(-1.0, 1.0, "rdbu")
    assert "equal" in triptych.facts("")[1]
    picture = rgb(triptych.draw(title="t"))
    assert find(picture, np.full((96, 96, 3), NEUTRAL, np.uint8))


def test_nan_has_its_colour_and_its_legend():
    a, b = noise(7, 1, 20, 20), noise(8, 1, 20, 20)
    a[0, 3, 4], b[0, 5, 6] = np.nan, np.inf
    triptych = made(a, b)
    assert [text for _, text in triptych.legend()] == ["A: NaN (1)", "B: +inf (1)"]
    picture = rgb(triptych.draw(title="t"))
    zoom = 384 // 20
    assert ((picture == ODD_COLOURS["NaN"]).all(axis=2)).sum() >= 2 * zoom**2  # in A and in A − B
    whole = np.full((1, 4, 4), np.nan, np.float32)
    made(whole, whole).draw(title="t")
    made(whole.reshape(-1), whole.reshape(-1)).draw(title="t")


def test_huge_and_long_maps():
    for shape in ((1, 900, 1400), (3, 1, 500), (2, 300, 2), (70, 3, 3)):
        picture = made(noise(9, *shape), noise(10, *shape)).draw(title="t")
        assert picture.width <= 1700
        assert picture.height <= 2200


@pytest.mark.parametrize(("width", "colours"), [(80, True), (120, False), (30, True)])
def test_in_a_terminal_three_panels_a_line(width, colours):
    a, b = noise(11, 6, 16, 16), noise(12, 6, 16, 16)
    console = Console(
        width=width, force_terminal=True, color_system="truecolor" if colours else None,
        no_color=not colours, record=True, file=io.StringIO(),
    )  # fmt: skip
    triptych = made(a, b)
    console.print(triptych.in_terminal(width, colours=colours))
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    for channel in triptych.channels:
        if width >= 80:
            line = next(li for li in text.splitlines() if li.startswith(f"A {channel} "))
            assert f"B {channel}" in line
            assert f"A−B {channel}" in line
    assert len(triptych.channels) == MOST_MAPS
