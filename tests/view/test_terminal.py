import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from cnnviz.view.terminal import MOST_TILE_ROWS, bars, format_values, half_blocks, tile


def console(width=80, *, encoding="utf-8", **options):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    options = {"force_terminal": True, "color_system": "truecolor", "no_color": False} | options
    return Console(file=file, width=width, legacy_windows=False, **options)


def printed(renderable, **options):
    target = console(**options)
    target.print(renderable)
    target.file.flush()
    return target.file.buffer.getvalue().decode(target.file.encoding)


def segments(renderable, **options):
    target = console(**options)
    return target.render_lines(renderable, target.options, pad=False)


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# ---------------------------------------------------------------------------- half_blocks


def test_two_pixels_to_a_character():
    image = noise(20, 10)
    pixels = np.asarray(image)
    lines = segments(half_blocks(image, width=20))
    assert len(lines) == 5
    for row, line in enumerate(lines):
        assert [segment.text for segment in line] == ["▀"] * 20
        fronts = [tuple(segment.style.color.triplet) for segment in line]
        backs = [tuple(segment.style.bgcolor.triplet) for segment in line]
        assert fronts == [tuple(pixel) for pixel in pixels[2 * row].tolist()]
        assert backs == [tuple(pixel) for pixel in pixels[2 * row + 1].tolist()]


def test_an_odd_last_row_has_no_ground():
    lines = segments(half_blocks(noise(4, 3), width=4))
    assert len(lines) == 2
    assert all(segment.style.bgcolor is None for segment in lines[1])


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (100, 50), (50, 100), (1000, 1), (1, 1000)])
def test_pictures_stay_in_their_width(width, size):
    for columns in (20, 40, 80):
        lines = segments(half_blocks(noise(*size), width=width, height=12), width=columns)
        assert 1 <= len(lines) <= 12
        assert max(sum(cell_len(part.text) for part in line) for line in lines) <= min(
            width, columns
        )


def test_pictures_grow_by_whole_numbers_only():
    lines = segments(half_blocks(noise(3, 3), width=20))
    assert sum(len(part.text) for part in lines[0]) == 18
    assert len(lines) == 9


def test_large_pictures_are_averaged():
    checker = Image.fromarray((np.indices((40, 40)).sum(axis=0) % 2 * 255).astype(np.uint8))
    lines = segments(half_blocks(checker, width=10))
    shades = {part.style.color.triplet.red for line in lines for part in line}
    assert shades <= {127, 128}


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "F"])
def test_any_mode_is_drawn(mode):
    assert segments(half_blocks(noise(8, 8).convert("L").convert(mode), width=8))


@pytest.mark.parametrize("options", [{"no_color": True}, {"color_system": None}])
def test_without_colour_there_are_shades_and_no_escape_codes(options):
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 10).astype(np.uint8), (2, 1)))
    text = printed(half_blocks(ramp, width=10), **options)
    assert "\x1b" not in text
    assert text.splitlines()[0] == " .:-=+*#%@"


def test_no_color_of_the_environment_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    target = Console(file=io.StringIO(), force_terminal=True, width=40)
    target.print(half_blocks(noise(40, 40), width=40))
    target.print(tile([noise(40, 40)], ["a"], width=40))
    assert "\x1b" not in target.file.getvalue()


def test_consoles_without_blocks_get_coloured_spaces():
    lines = segments(half_blocks(noise(10, 10), width=10), encoding="ascii")
    assert {part.text for line in lines for part in line} == {" "}
    printed(half_blocks(noise(10, 10), width=10), encoding="ascii")


@pytest.mark.parametrize(
    ("red", "green", "blue"),
    [
        (146, 197, 222),
        (135, 140, 180),
        (67, 147, 195),
        (33, 102, 172),
        (5, 48, 97),
        (120, 120, 150),
    ],
)
def test_in_256_colours_blue_stays_blue_and_red_red(red, green, blue):
    for colour in ((red, green, blue), (blue, green, red)):
        picture = Image.new("RGB", (2, 2), colour)
        for encoding in ("utf-8", "ascii"):
            lines = segments(half_blocks(picture, width=2), color_system="256", encoding=encoding)
            style = lines[0][0].style
            drawn = (style.bgcolor or style.color).get_truecolor()
            strongest = int(np.argmax(colour))
            others = [value for place, value in enumerate(drawn) if place != strongest]
            assert drawn[strongest] > max(others), (colour, drawn)
            assert np.abs(np.subtract(drawn, colour)).max() <= 50


def test_in_256_colours_grey_stays_grey():
    for level in range(0, 256, 15):
        picture = Image.new("RGB", (2, 2), (level,) * 3)
        style = segments(half_blocks(picture, width=2), color_system="256")[0][0].style
        red, green, blue = style.color.get_truecolor()
        assert red == green == blue
        assert abs(red - level) <= 9


# ---------------------------------------------------------------------------- tile


@pytest.mark.parametrize("width", [5, 20, 40, 80])
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_tiles_wrap_to_the_width(width, count):
    images = [noise(30, 20, i) for i in range(count)]
    captions = [f"{i} 猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫 [red]x" for i in range(count)]
    for options in ({}, {"no_color": True}, {"encoding": "ascii"}):
        lines = segments(tile(images, captions, width=width), width=width, **options)
        assert max(sum(cell_len(part.text) for part in line) for line in lines) <= width


def test_tiles_tell_of_how_many_maps_they_are():
    text = printed(tile([noise(4, 4)] * 2, ["a", "b"], width=80, of=2048), no_color=True)
    assert text.splitlines()[-1] == "2,046 more maps are not drawn here"


def test_tiles_tell_what_they_leave_out():
    images = [noise(8, 8)] * 40
    text = printed(tile(images, [f"m{i}." for i in range(40)], width=80), no_color=True)
    assert [f"m{i}." in text for i in range(40)] == [i < 3 * MOST_TILE_ROWS for i in range(40)]
    assert "28 more maps are not drawn here" in text
    text = printed(tile(images[:3], ["a", "b", "c"], width=80), no_color=True)
    assert "more" not in text


def test_captions_are_harmless():
    caption = "\x1b[31m[bold]a[/bold]\nb\x07"
    text = printed(tile([noise(4, 4)], [caption], width=40), no_color=True)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]a[/bold]\\nb" in text


# ---------------------------------------------------------------------------- bars


def test_bars_have_percents_and_lengths():
    text = printed(bars(["cat", "猫", "dog"], [0.638, 0.5, 0.0], width=40), no_color=True)
    lines = text.splitlines()
    assert lines[0].startswith("cat ")
    assert lines[0].endswith("63.8%")
    assert lines[1].endswith("50.0%")
    assert lines[2].endswith(" 0.0%")
    length = 40 - 3 - 5 - 2
    assert lines[1].count("█") == length // 2
    assert "█" not in lines[2]
    assert all(cell_len(line) == 40 for line in lines)


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_bars_stay_in_their_width(width, encoding):
    labels = ["[red]x[/]\n" * 30, "猫" * 60, "", "é\x1b[2J"]
    values = [1.0, math.nan, math.inf, -3.0]
    text = printed(bars(labels, values, width=width), width=width, encoding=encoding, no_color=True)
    lines = text.splitlines()
    assert len(lines) == 4
    assert all(cell_len(line) <= width for line in lines)
    assert "\x1b" not in text


def test_bars_in_ascii():
    text = printed(bars(["a"], [0.5], width=27), encoding="ascii", no_color=True)
    assert text.rstrip("\n") == "a " + "#" * 10 + " " * 9 + " 50.0%"


@pytest.mark.parametrize("width", [12, 20, 40, 80])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_thousand_bars(width, encoding):
    labels = [f"class {i}, {'猫' * (i % 9)} of the many-worded kind" for i in range(1000)]
    values = np.linspace(0.0, 1.0, 1000)[::-1]
    text = printed(bars(labels, values, width=width), width=width, encoding=encoding, no_color=True)
    lines = text.splitlines()
    assert len(lines) == 1000
    assert all(cell_len(line) <= width for line in lines)
    assert lines[0].endswith("100.0%")
    assert lines[-1].endswith(" 0.0%")
    assert "\x1b" not in text


def test_no_bars():
    assert printed(bars([], [], width=40)) == ""
    assert "0.0%" in printed(bars(["a"], [-0.0], width=40), no_color=True)
    assert "-0.0%" not in printed(bars(["a"], [-1e-9], width=40), no_color=True)


# ---------------------------------------------------------------------------- format_values


def tokens(text):
    return [line.split() for line in text.splitlines()]


def test_the_textbook_map():
    maps = np.float32([[[4, 3, 4], [2, 4, 3], [2, 3, 4]]])
    assert format_values(maps) == "4 3 4\n2 4 3\n2 3 4"
    assert format_values(maps[0]) == "4 3 4\n2 4 3\n2 3 4"


def test_the_textbook_pool():
    text = format_values(np.float32([[[3.25, 5.25], [2, 2]]]))
    assert tokens(text) == [["3.25", "5.25"], ["2", "2"]]


def test_the_textbook_softmax():
    scores = np.exp(np.float32([2, 1, 0.1, -1]))
    assert format_values(scores / scores.sum()) == "0.638 0.235 0.095 0.032"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.0, -0.0], "0 0"),
        ([-0.0], "0"),
        ([1.5, -2], "1.5 -2"),
        ([1020, -4], "1020 -4"),
        ([np.nan, np.inf, -np.inf, 1], "nan inf -inf 1"),
        ([np.nan], "nan"),
        ([0.99999, 1e-5], "1.000 1e-05"),
        ([1, 0.3], "1 0.3"),
        ([-1e-9, 1], "-1e-09 1"),
        ([1e-7, 2.5e-9], "1e-07 2.5e-09"),
        ([1.5e30, 2], "1.5e+30 2"),
        ([16777216, 1], "16777216 1"),
        ([12.3456, 1], "12.35 1"),
        ([255.25, 0.5], "255.2 0.5"),
    ],
)
def test_numbers(values, text):
    assert format_values(np.float32(values)) == text


def test_columns_are_aligned_at_the_point():
    text = format_values(np.float32([[-1.5, 10], [0.25, -2.125]]))
    assert text == "-1.5  10\n 0.25 -2.12"


def test_several_maps_have_headings():
    text = format_values(np.float32([[[1, 2]], [[3, 4]]]))
    assert text == "map 0:\n1 2\n\nmap 1:\n3 4"


def test_large_maps_show_their_ends_and_tell_their_size():
    maps = np.arange(30 * 40, dtype=np.float32).reshape(1, 30, 40)
    lines = format_values(maps).splitlines()
    assert lines[0] == "30 x 40:"
    assert lines[1].split() == [*"012345…", *map(str, range(34, 40))]
    assert set(lines[7].split()) == {"…"}
    assert lines[-1].split()[-1] == "1199"
    assert len(lines) == 14


def test_many_maps_show_their_ends():
    text = format_values(np.ones((40, 2, 2), np.float32), limit=8)
    assert [line for line in text.splitlines() if line.startswith("map")] == [
        "map 0:",
        "map 1:",
        "map 38:",
        "map 39:",
    ]
    assert "… 36 more of 40 maps …" in text


def test_vectors_wrap():
    text = format_values(np.arange(100, dtype=np.float32))
    assert max(map(len, text.splitlines())) <= 78
    assert text.split() == [str(i) for i in range(100)]
    assert format_values(np.float32([[[1]], [[2]]])) == "1 2"
    long = format_values(np.arange(1000, dtype=np.float32))
    assert long.startswith("1000 values:\n")
    assert "…" in long
    assert long.split()[-1] == "999"


@given(st.lists(st.floats(width=32), min_size=1, max_size=30))
def test_every_number_is_near_the_value_and_none_is_minus_zero(values):
    written = format_values(np.array(values, np.float32)).split()
    assert "-0" not in written
    finite = [abs(value) for value in values if math.isfinite(value)]
    most = max(finite, default=0)
    assert len(written) == len(values)
    for text, value in zip(written, values, strict=True):
        assert float(text) == pytest.approx(
            value, rel=1e-3, abs=max(most * 6e-3, 1e-45), nan_ok=True
        )
        assert (float(text) == 0) == (value == 0)
