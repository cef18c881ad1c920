import os
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.view import sheet
from tests.view.pictures import NEUTRAL


@given(st.text())
def test_everything_can_be_drawn(text):
    assert set(sheet.drawable(text)) <= sheet._DRAWABLE


@given(st.text(st.characters(codec="latin-1"), max_size=80), st.integers(0, 200))
@settings(max_examples=50)
def test_shortened_text_fits(text, width):
    assert sheet.text_width(sheet.shorten(text, width, 12), 12) <= width
    for line in sheet._wrap(text, max(width, 20), 12, 3):
        assert sheet.text_width(line, 12) <= max(width, 20)


def test_wrapping_loses_nothing_that_fits():
    text = "conv(8, 5, padding=same) -> relu -> maxpool(2) -> " * 2
    lines = sheet._wrap(text.strip(), 320, 18, 3)
    assert len(lines) <= 3
    assert " ".join(lines) == text.strip()


def test_numbers_are_black_or_white_whichever_reads_better():
    for colour in [(0, 0, 0), (5, 48, 97), (103, 0, 31), (60, 60, 60)]:
        assert sheet.readable_on(np.array(colour, np.uint8)) == (255, 255, 255)
    for colour in [(255, 255, 255), NEUTRAL, (253, 231, 36), (160, 160, 160)]:
        assert sheet.readable_on(np.array(colour, np.uint8)) == (0, 0, 0)


def test_the_size_of_numbers_is_the_same_in_every_run():
    program = """
from itertools import product
from cnnviz.view.sheet import fitting_size

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
