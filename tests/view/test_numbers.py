import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.errors import safe
from cnnviz.view.numbers import format_cell, format_fraction, format_number, format_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1020, "1020"),
        (0.25, "0.25"),
        (1.5e-7, "1.5e-07"),
        (-0.0, "0"),
        (-2.0, "-2"),
        (np.float32(0.3), "0.3"),
        (255.5, "255.5"),
        (65535, "65535"),
        (12345.6, "12346"),
        (1e6, "1e+06"),
        (999999.9, "1e+06"),
        (-1e38, "-1e+38"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_format_number(value, text):
    assert format_number(value) == text


@given(st.floats(width=32))
def test_no_number_is_minus_zero_or_wrong(value):
    for text in (format_number(value), format_cell(value)):
        assert float(text) == pytest.approx(value, rel=0.06, nan_ok=True)
        assert text != "-0"
    fraction = format_fraction(value)
    assert not fraction.startswith("-0/")


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_keep_three_digits_and_are_short(value):
    text = format_value(value)
    assert len(text) <= 10
    assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-3)
    assert not re.fullmatch(r"-0(\.0*)?", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 16, "1/16"),
        (1 / 9, "1/9"),
        (-1 / 9, "-1/9"),
        (4 / 256, "1/64"),
        (0.5, "0.5"),
        (0.1, "0.1"),
        (0.0, "0"),
        (-0.0, "0"),
        (3.0, "3"),
        (math.pi, "3.142"),
        (math.nan, "nan"),
    ],
)
def test_format_fraction(value, text):
    assert format_fraction(value) == text


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31mred", "\\x9b31mred"),
        ("bell\x07 null\x00 del\x7f", "bell\\x07 null\\x00 del\\x7f"),
        ("right\u202eto left", "right\\u202eto left"),
        ("\udcff", "\\udcff"),
        ("[red]markup[/] Föhn 한국", "[red]markup[/] Föhn 한국"),
        ("line\u2028sep", "line\\u2028sep"),
    ],
)
def test_text_from_outside_is_one_harmless_line(hostile, harmless):
    assert safe(hostile) == harmless
