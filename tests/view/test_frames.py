"""Frames: what is on them, where, and that it is true."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.core.animation import Patches, find_stage, make_scene, stops, survey
from cnnviz.files.spec import load_spec
from cnnviz.view.frameplan import FramePlan, Look
from cnnviz.view.frames import Film, sentences
from cnnviz.view.maps import block_means, draw_map, enlarge
from cnnviz.view.palette import LINES
from cnnviz.view.sheet import ACCENT, EMPTY
from tests.oracles import noise
from tests.view.pictures import rgb


def film_of(text, x, count=8, channel=0, stage=None, positions=None, **look):
    pipeline = load_spec(text).pipeline
    scene = make_scene(pipeline, x, find_stage(pipeline, x.shape, stage), channel)
    positions = positions or stops(scene.map_size, count)
    names = [f"channel {c}" for c in range(scene.shape[0])]
    told = {"title": "title", "notes": ["note"], "source": "input", "output": "output"}
    how = Look(**told | {"names": names, "size": 480} | look)
    return scene, positions, Film(scene, positions, survey(scene, positions), how)


def seen(film):
    return [film.palette.colours[frame] for frame in film.frames()]


def expected_map(scene, film):
    """Return the finished map's pixels, as `draw_map` has them."""
    zoom = film.output.zoom
    plane = block_means(scene.output, zoom.block)
    pixels = rgb(draw_map(plane, film.output_scale))
    if not zoom.nearest:
        return enlarge(pixels, zoom.up)
    rows, columns = (
        np.arange(length) * down // up // block
        for length, down, up, block in zip(
            film.output.shown, zoom.down, zoom.up, zoom.block, strict=True
        )
    )
    return pixels[rows][:, columns]


def away_from_rings(picture, place, at):
    """Blank the outline of the window's cell, which lies over the map."""
    top, left, bottom, right = place.box(at)
    y, x = place.y, place.x
    clean = picture.astype(int)
    ring = np.zeros(clean.shape[:2], bool)
    ring[max(top - y - 4, 0) : bottom - y + 4, max(left - x - 4, 0) : right - x + 4] = True
    ring[top - y : bottom - y, left - x : right - x] = False
    clean[ring] = -1
    return clean


CASES = [
    ("conv(sobel_x, padding=same)", (1, 9, 14)),
    ("conv(2, (5, 3), stride=(1, 2))", (2, 30, 41)),
    ("maxpool(2)", (1, 40, 24)),
    ("avgpool(3, 1, 1)", (1, 300, 500)),
    ("conv(random(1, size=31), padding=full)", (1, 40, 33)),
    ("conv('1,2;3,4', stride=5, dilation=3)", (1, 80, 28)),
    ("relu", (3, 15, 15)),
    ("conv(4, 3) -> relu -> conv(3, 3)", (3, 17, 13)),
]


@pytest.mark.parametrize(("text", "shape"), CASES)
def test_the_last_frame_has_the_whole_map_in_the_colours_of_draw_map(text, shape):
    scene, positions, film = film_of(text, noise(1, *shape), stage=None)
    last = seen(film)[-1]
    rows, columns = film.output.area
    got = away_from_rings(last[rows, columns], film.output, positions[-1])
    expected = away_from_rings(expected_map(scene, film), film.output, positions[-1])
    assert np.abs(got - expected).max() <= 4  # of 255: half a step of the palette's colours


@pytest.mark.parametrize(("text", "shape"), CASES)
def test_frames_are_alike_in_size_and_keep_to_the_palette(text, shape):
    _, positions, film = film_of(text, noise(1, *shape))
    drawn = list(film.frames())
    assert len(drawn) == len(positions)
    assert {frame.shape for frame in drawn} == {film.size[::-1]}
    assert all(frame.dtype == np.uint8 and frame.max() < 255 for frame in drawn)
    assert all((one != two).any() for one, two in pairwise(drawn))  # nothing that could be merged
    assert 300 < film.size[0] < 700
    border = np.stack([*drawn[0][:6], *drawn[0][-6:]])
    assert (film.palette.colours[border] == 255).all()  # nothing is cut off
    sides = [film.palette.colours[frame[:, [0, -1]]] for frame in drawn]
    assert all((side == 255).all() for side in sides)


def test_a_frame_shows_what_is_computed_up_to_its_position():
    scene, positions, film = film_of("conv(sobel_x)", noise(2, 1, 7, 9), count=99)
    whole = seen(film)[-1]
    empty = {EMPTY, LINES}
    for at, frame in zip(positions, seen(film), strict=True):
        for cell in np.ndindex(scene.map_size):
            top, left, bottom, right = film.output.box(cell)
            middle = (slice(top + 5, bottom - 5), slice(left + 5, right - 5))
            colours = set(map(tuple, frame[middle].reshape(-1, 3).tolist()))
            if cell <= at:
                np.testing.assert_array_equal(frame[middle], whole[middle])
            else:
                assert colours <= empty
    assert len(positions) == 35


def test_a_mean_is_shown_once_all_its_values_are_computed():
    positions = [(0, 0), (2, 0), (2, 799), (300, 7), (599, 799)]
    scene, _, film = film_of("conv(1, 1)", noise(3, 1, 600, 800), positions=positions)
    zoom = film.output.zoom
    assert zoom.block == (4, 4)
    rows, columns = film.output.area
    for at, frame in zip(positions, film.frames(), strict=True):
        hatched = np.isin(frame[rows, columns], [film.palette.of(EMPTY), film.palette.of(LINES)])
        top, left, bottom, right = film.output.box(at)
        ring = (
            slice(max(top - rows.start - 4, 0), bottom - rows.start + 4),
            slice(max(left - columns.start - 4, 0), right - columns.start + 4),
        )
        shown = ~hatched
        for i in range(0, shown.shape[0], 7):
            for j in range(0, shown.shape[1], 11):
                value = [p * zoom.down[a] // zoom.up[a] for a, p in enumerate((i, j))]
                last = tuple(min(value[a] // 4 * 4 + 4, scene.map_size[a]) - 1 for a in (0, 1))
                done = last[0] < at[0] or (last[0] == at[0] and last[1] <= at[1])
                in_ring = ring[0].start <= i < ring[0].stop and ring[1].start <= j < ring[1].stop
                assert in_ring or shown[i, j] == done


def test_numbers_are_numpys():
    """What is written into the cells of window and products, and below them."""
    x = np.float32([[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]])
    _, positions, film = film_of('conv("1,2;-3,4", bias=true)', x, count=99, size=960)
    for number, (row, column) in enumerate(positions):
        words = list(film.words(number))
        window = x[0, row : row + 2, column : column + 2]
        products = window * [[1, 2], [-3, 4]]
        written = [word.text for word in words]
        expected = [*window.reshape(-1), *products.reshape(-1)]
        assert written[:8] == [f"{value:g}" for value in expected]
        assert written[8].startswith(f"row {row}, column {column}: value")
        total = products.sum()
        assert written[9] == f"sum of the products: {total:g} + bias 0 = {total:g}"
        # In their cells: the first number in the middle of the window's first cell.
        place = film.plan.patches[0][0]
        assert words[0].at == (place.x + place.zoom.up[1] / 2, place.y + place.zoom.up[0] / 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("maxpool(2)", ["the largest is 6, from cell 0,1,1"]),
        ("minpool(2)", ["the smallest is 1, from cell 0,0,0"]),
        ("avgpool(2)", ["sum of 4 values: 14; 14 / 4 = 3.5"]),
        ("maxpool(2, 1, 1)", ["the largest is 1, from cell 0,0,0", "3 of 4 cells are padding"]),
        ("conv('1', padding=1)", ["sum of the products: 0", "1 of 1 cells are padding"]),
        ("sigmoid", ["1 / (1 + e^−x); 1 / (1 + e^−1) = 0.731059"]),
    ],
)
def test_the_last_lines_tell_how_the_value_is_made(text, told):
    x = np.float32([[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]])
    scene, positions, _ = film_of(text, x)
    arithmetic = scene.arithmetic(positions[0])
    shown = Patches.of(arithmetic, [0])
    assert sentences(arithmetic, shown, len(scene.reads)) == told


def test_of_many_channels_the_one_shown_is_told_apart():
    x = noise(4, 6, 5, 5)
    scene, positions, film = film_of("conv(1, 3)", x)
    assert len(film.plan.patches) == 1
    arithmetic = scene.arithmetic(positions[0])
    found = survey(scene, positions)
    (line,) = sentences(arithmetic, Patches.of(arithmetic, found.channels), 6)
    assert line.startswith("this channel: ")
    assert "; all 6 channels: " in line
    assert len(film_of("conv(1, 3)", x[:3])[2].plan.patches) == 3


@pytest.mark.parametrize("shape", [(300, 451), (4000, 3000), (110, 60), (109, 200), (900, 120)])
@pytest.mark.parametrize("text", ["conv(1, 3)", "conv(1, 5, padding=40)"])
def test_a_photograph_fills_its_half_of_the_frame(text, shape):
    _, _, film = film_of(text, np.ones((1, *shape), np.float32), count=2, size=960)
    top, left, bottom, right = film.plan.margins
    height, width = film.plan.source.shown
    for high, wide in ((top + height + bottom, left + width + right), film.output.shown):
        assert max(high / 432, wide / 434) > 0.99
        assert high <= 434
        assert wide <= 436


def test_a_map_of_few_values_is_enlarged_by_whole_numbers():
    _, _, film = film_of("conv(1, 3)", noise(0, 1, 88, 100), size=960)
    assert (film.output.zoom.up, film.plan.source.zoom.up) == ((4, 4), (4, 4))
    assert not film.output.zoom.nearest


def test_the_windows_outline_is_where_it_reads():
    scene, positions, film = film_of("conv(1, (2, 3), stride=(2, 1), padding=1)", noise(5, 1, 8, 9))
    source = film.plan.source
    up = source.zoom.up
    accent = film.palette.of(ACCENT)
    for at, frame in zip(positions, film.frames(), strict=True):
        row, column = scene.start(at)
        top, left = source.y + row * up[0], source.x + column * up[1]
        bottom, right = top + 2 * up[0], left + 3 * up[1]
        assert (frame[top - 3, left:right] == accent).all()
        assert (frame[bottom + 2, left:right] == accent).all()
        assert (frame[top:bottom, left - 3] == accent).all()
        assert (frame[top:bottom, right + 2] == accent).all()


def test_a_colour_picture_is_shown_in_colour():
    x = np.zeros((3, 20, 30), np.float32)
    x[0, :, :15], x[2, :, 15:] = 1, 1
    for order, left, right in [((0, 1, 2), [255, 0, 0], [0, 0, 255]),
                               ((2, 1, 0), [0, 0, 255], [255, 0, 0])]:  # fmt: skip
        _, _, film = film_of("conv(1, 3)", x, picture=order)
        rows, columns = film.plan.source.area
        area = seen(film)[-1][rows, columns]
        assert area[5, 5].tolist() == left
        assert area[5, -60].tolist() == right


HOSTILE = [
    ("conv('1')", np.zeros((1, 1, 1))),
    ("maxpool(1)", np.full((1, 1, 1), np.nan)),
    ("conv(random(1, size=3))", np.full((1, 4, 5), np.inf)),
    ("avgpool(2)", np.full((1, 4, 6), -np.inf)),
    ("relu", np.full((1, 5, 5), 3e38)),
    ("conv('1,1;1,1')", np.full((1, 5, 5), 3e38)),
    ("conv('0')", np.ones((1, 3, 3))),
    ("conv('1', padding=200)", np.ones((1, 2, 3))),
    ("conv('1,2', padding=(0, 0, 0, 9), padding_mode=replicate)", np.ones((1, 2, 2))),
    ("maxpool(2, 3, dilation=2)", np.arange(60).reshape(1, 5, 12)),
    ("conv('1;1', stride=7)", np.ones((1, 2, 3000))),
    ("conv('1,1', stride=7)", np.ones((1, 3000, 2))),
    ("conv(random(1, size=101), padding=same, padding_mode=circular)", np.ones((1, 120, 101))),
    ("conv(random(1, size=150), padding=70)", np.ones((1, 30, 30))),
    ("depthwise('1,-1')", np.arange(80).reshape(4, 4, 5)),
]


@pytest.mark.parametrize(("text", "x"), HOSTILE, ids=[case[0] for case in HOSTILE])
@pytest.mark.parametrize("size", [320, 960])
def test_odd_scenes_are_drawn(text, x, size):
    _, positions, film = film_of(text, x.astype(np.float32), count=5, size=size)
    drawn = list(film.frames())
    assert len(drawn) == len(positions)
    rows, columns = film.output.area
    assert rows.stop < film.size[1]
    assert columns.stop < film.size[0] < 2.2 * size
    assert min(film.output.shown) >= 8


def test_captions_of_any_signs_and_length_fit():
    text = "日本é\x1b[31m " * 40
    _, _, film = film_of("conv(1, 2)", noise(6, 1, 6, 6), source=text, output=text, title=text)
    for frame in film.frames():
        assert (film.palette.colours[frame[:, -8:]] == 255).all()
    assert film.size[0] <= 480


@pytest.mark.parametrize("size", [360, 480, 960])
@pytest.mark.parametrize("shape", [(1, 40, 60), (3, 40, 60), (3, 31, 17), (5, 9, 200)])
@pytest.mark.parametrize("text", ["conv(2, 3, padding=2, stride=2)", "maxpool(2)", "conv(2, 7)"])
def test_a_frame_is_at_most_as_wide_as_asked_and_filled(text, shape, size):
    title = f"conv1: {'conv(2, 7, padding=same, padding_mode=replicate), ' * 2}"
    _, _, film = film_of(text, noise(1, *shape), count=3, size=size, title=title)
    assert film.size[0] <= size
    if size < 960:  # there whole zooms may leave room, which is cut off
        assert film.size[0] >= 0.9 * size
    right = film.output.x + film.output.shown[1]
    assert film.size[0] - right < 200 or film.size[0] <= 600
    for frame in film.frames():
        assert (film.palette.colours[frame[:, -8:]] == 255).all()


@pytest.mark.parametrize(
    ("text", "depth", "cell"),
    [
        ("conv(sobel_x)", 3, (50, 50)),
        ("conv(sobel_x)", 1, (64, 64)),
        ("conv(random(1, size=5))", 3, (30, 30)),
        ("conv(random(1, size=7))", 1, (40, 40)),
        ("conv(random(1, size=7))", 3, (21, 39)),
    ],
)
def test_numbers_have_room_in_the_cells_of_colour_pictures(text, depth, cell):
    x = (np.arange(depth * 800) % 256).astype(np.float32).reshape(depth, 20, 40) / 255
    look = {"picture": (0, 1, 2), "names": ["red", "green", "blue"]} if depth == 3 else {}
    _, _, film = film_of(text, x, size=960, **look)
    up = film.plan.patches[0][0].zoom.up
    assert up[0] >= cell[0]
    assert up[1] >= cell[1]
    assert film.plan.numbers is not None
    assert film.plan.numbers >= 9


def test_large_windows_have_no_numbers():
    _, _, film = film_of("conv(random(1, size=8))", noise(1, 1, 20, 20), size=960)
    assert film.plan.numbers is None
    up = film.plan.patches[0][0].zoom.up
    assert up[0] == up[1]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12), st.integers(360, 1200))
@settings(max_examples=30)
def test_nothing_on_a_frame_overlaps(height, width, kernel, size):
    kernel = min(kernel, height, width)
    pipeline = load_spec(f"conv(1, {kernel}, padding=same)").pipeline
    x = np.ones((2, height, width), np.float32)
    scene = make_scene(pipeline, x, find_stage(pipeline, x.shape))
    found = survey(scene, [(0, 0)])
    look = Look("t", [], "input", "output", ["channel 0", "channel 1"], size=size)
    plan = FramePlan.of(scene, found, look, ["window", "kernel (±1)", "products (±1)"])
    areas = [plan.source.area, plan.output.area]
    areas += [place.area for line in plan.patches for place in line]
    for number, (rows, columns) in enumerate(areas):
        assert rows.start >= 0 <= columns.start
        assert rows.stop <= plan.size[1]
        assert columns.stop <= plan.size[0]
        for other_rows, other_columns in areas[:number]:
            apart = rows.start >= other_rows.stop or other_rows.start >= rows.stop
            beside = columns.start >= other_columns.stop or other_columns.start >= columns.stop
            assert apart or beside
    assert all(area[0].stop <= plan.bars for area in areas[:2])
    assert all(area[0].start >= plan.telling + 40 for area in areas[2:])
    assert plan.size[0] <= size
