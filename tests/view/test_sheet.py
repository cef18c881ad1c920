import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cnnviz.view import lettering, sheet
from cnnviz.view.maps import ODD_COLOURS, draw_map
from cnnviz.view.scale import Scale
from cnnviz.view.sheet import Bar, Census, Panel, draw_panels
from cnnviz.view.zoom import Zoom
from tests.view.pictures import NEUTRAL, find, rgb


@given(st.text())
def test_everything_can_be_drawn(text):
    assert set(lettering.drawable(text)) <= lettering.DRAWABLE


@given(st.text(st.characters(codec="latin-1"), max_size=80), st.integers(0, 200))
@settings(max_examples=50)
def test_shortened_text_fits(text, width):
    assert lettering.text_width(lettering.shorten(text, width, 12), 12) <= width
    for line in lettering.wrap(text, max(width, 20), 12, 3):
        assert lettering.text_width(line, 12) <= max(width, 20)


def test_wrapping_loses_nothing_that_fits():
    text = "conv(8, 5, padding=same) -> relu -> maxpool(2) -> " * 2
    lines = lettering.wrap(text.strip(), 320, 18, 3)
    assert len(lines) <= 3
    assert " ".join(lines) == text.strip()


def test_numbers_are_black_or_white_whichever_reads_better():
    for colour in [(0, 0, 0), (5, 48, 97), (103, 0, 31), (60, 60, 60)]:
        assert lettering.readable_on(np.array(colour, np.uint8)) == (255, 255, 255)
    for colour in [(255, 255, 255), NEUTRAL, (253, 231, 36), (160, 160, 160)]:
        assert lettering.readable_on(np.array(colour, np.uint8)) == (0, 0, 0)


def test_the_size_of_numbers_is_the_same_in_every_run():
    program = """
from itertools import product
from cnnviz.view.lettering import fitting_size

texts = ["".join(text) for text in product("1/", repeat=8)] + ["88888888"]
print(fitting_size(texts, (30, 60)))
"""
    sizes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},  # the order of sets
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "6")
    }
    assert sizes == {"11\n"}


def lettered(text, size, fill):
    """Return the pixels of a text on paper, as Pillow draws it."""
    text = lettering.spaced(text, size)
    image = Image.new("RGB", (lettering.text_width(text, size) + 8, size + 12), sheet.PAPER)
    ImageDraw.Draw(image).text((4, size + 2), text, fill, lettering.font(size), anchor="ls")
    pixels = np.asarray(image)
    rows, columns = np.nonzero((pixels != 255).any(axis=2))
    return pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def test_a_sheet_says_what_it_shows():
    values = np.float32([[0, 1], [2, 4]])
    scale = Scale(0, 4, "gray")
    panel = Panel.of(values, scale, Zoom((1, 1), (60, 60)), title="a panel", scale=scale)
    legend = [(ODD_COLOURS["NaN"], "NaN (3)")]
    picture = rgb(draw_panels([[panel]], "the title", ["a note"], [Bar.of(scale)], legend).image)
    for text, size, fill in (
        ("the title", sheet.TITLE_SIZE, sheet.INK),
        ("a note", sheet.TEXT_SIZE, sheet.SOFT),
        ("a panel", sheet.TEXT_SIZE, sheet.SOFT),
        ("NaN (3)", sheet.SMALL_SIZE, sheet.INK),
    ):
        assert len(find(picture, lettered(text, size, fill))) == 1, text
    assert (picture == ODD_COLOURS["NaN"]).all(axis=2).sum() == 100
    ramp = rgb(draw_map(np.linspace(0, 4, 256)[None], scale))
    assert len(find(picture, ramp)) >= 10  # rows of the bar


def test_panels_stand_beside_and_below_one_another():
    flat = [np.full((2, 3), value, np.float32) for value in (0, 1, 2)]
    scale, zoom = Scale(0, 2, "viridis"), Zoom((1, 1), (40, 40))
    panels = [Panel.of(one, scale, zoom, texts=()) for one in flat]
    picture = rgb(draw_panels([panels[:2], panels[2:]], "t").image)
    places = []
    for one in flat:
        colour = rgb(draw_map(one, scale))
        (place,) = find(picture, colour.repeat(40, axis=0).repeat(40, axis=1))
        places.append(place)
    first, second, third = places
    assert first[0] == second[0]
    assert second[1] >= first[1] + 120 + 16
    assert third[1] == first[1]
    assert third[0] >= first[0] + 80 + 16


def test_numbers_stand_in_cells_only_where_all_fit(said):
    scale = Scale(0, 4, "gray")
    short, long = np.float32([[1, 2]]), np.float32([[1.234, 2]])
    for side, written in ((60, {"1", "1.23", "2"}), (12, set())):
        zoom = Zoom((1, 1), (side, side))
        said.clear()
        draw_panels([[Panel.of(short, scale, zoom), Panel.of(long, scale, zoom)]], "t")
        assert {text for _, _, text in said if text and text[0] in "12"} == written


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_neighbours_with_numbers_have_a_line_between_them(value):
    panel = Panel.of(np.full((2, 2), value), Scale(0, 1, "gray"), Zoom((1, 1), (40, 40)))
    drawn = sheet.draw_panels([[panel]], "t")
    x, y = drawn.left + 1, drawn.top
    cells = np.asarray(drawn.image)[y : y + 80, x : x + 80, 0].astype(int)
    ground = cells[2, 2]
    for line in (cells[2:30, 40], cells[40, 2:30]):
        assert (line == line[0]).all()
        assert 15 < abs(line[0] - ground) < 60
    for inside in (cells[2:10, :39], cells[-8:, :39]):  # and nowhere else, but numbers
        assert (inside == ground).all()


def test_small_letters_keep_the_spaces_between_words():
    for size in (9, 10, 11, 12, 13, 18):
        together, apart = (
            lettering.text_width(text, size) for text in ("thepicture", "the picture")
        )
        assert apart - together >= size / 6
        assert apart - together >= 3


@pytest.mark.parametrize("box", [(0, 0, 2, 3), (1, 1, 2, 2)])
def test_a_ring_is_around_its_pixels(box):
    zoom = Zoom((1, 1), (30, 30))
    scale = Scale(0, 1, "gray")
    ringed = Panel.of(np.zeros((2, 3)), scale, zoom, texts=(), rings=[zoom.box(box)])
    picture = rgb(draw_panels([[ringed]], "t").image)
    bright = np.argwhere((picture == sheet.ACCENT).all(axis=2))
    high, wide = bright.max(axis=0) - bright.min(axis=0) + 1
    assert (high, wide) == ((box[2] - box[0]) * 30 + 6, (box[3] - box[1]) * 30 + 6)


def test_a_census_counts_what_is_no_number():
    values = np.float32([[1, np.nan, np.inf], [-2, np.nan, -np.inf]])
    census = Census.of(values)
    assert (census.low, census.high) == (-2, 1)
    assert [text for _, text in census.legend] == ["NaN (2)", "+inf (1)", "-inf (1)"]
    assert census.span() == "from -2 to 1"
    assert Census.of(np.float32([np.nan])).span() == "none finite"
    assert Census.of(np.float32([3, 3])).span() == "all 3"
