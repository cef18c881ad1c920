"""A band of a padded image against np.pad of the whole."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.border import BORDERS, check_border, padded_band
from cnnviz.core.types import Samples
from cnnviz.errors import CnnvizError
from tests.oracles import NP_PAD, noise, pad_maps

REACH = {"reflect": -1, "symmetric": 0, "circular": 0}  # the largest pad, beside the length


def test_every_border_has_an_oracle():
    assert set(BORDERS) == set(NP_PAD)
    assert all(border.summary for border in BORDERS.values())


def largest(mode, length):
    return length + REACH[mode] if mode in REACH else 9


@st.composite
def cases(draw):
    mode = draw(st.sampled_from(sorted(BORDERS)))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    vertical = st.integers(0, largest(mode, height))
    across = st.integers(0, largest(mode, width))
    pads = (draw(vertical), draw(across), draw(vertical), draw(across))
    total = pads[0] + height + pads[2]
    start = draw(st.integers(0, total - 1))
    return mode, (height, width), pads, start, draw(st.integers(start + 1, total))


@given(cases(), st.floats(-5, 5, width=32), st.integers(1, 3))
@settings(max_examples=400)
def test_any_band_is_that_part_of_np_pad(case, fill, channels):
    mode, size, pads, start, stop = case
    x = noise(0, channels, *size)
    before = x.copy()
    value = fill if mode == "constant" else 0.0
    band = padded_band(x, pads, start, stop, mode, value)
    assert band.dtype == np.float32
    np.testing.assert_array_equal(band, pad_maps(x, pads, mode, value)[:, start:stop])
    np.testing.assert_array_equal(x, before)


@given(cases(), st.integers(0, 4), st.integers(0, 4), st.integers(0, 9))
@settings(max_examples=200)
def test_beyond_the_padding(case, below, hangs, first):
    mode, size, pads, start, stop = case
    x = noise(1, 2, *size)
    stop += below
    first = min(first, pads[1] + size[1] + pads[3] - 1)
    columns = (first, pads[1] + size[1] + pads[3] + hangs)
    band = padded_band(x, pads, start, stop, mode, 3.0, columns=columns, beyond=-np.inf)
    value = 3.0 if mode in ("zeros", "constant") else 0.0
    whole = pad_maps(pad_maps(x, pads, mode, value), (0, 0, below + 9, hangs), value=-np.inf)
    np.testing.assert_array_equal(band, whole[:, start:stop, first:])


@given(cases(), st.data(), st.floats(-5, 5, width=32), st.sampled_from([1.0, 255.0]))
@settings(max_examples=200)
def test_any_columns_of_samples(case, data, fill, unit):
    mode, size, pads, start, stop = case
    x = Samples((noise(5, 2, *size) * 99).astype(np.uint8), unit)
    total = pads[1] + size[1] + pads[3]
    first = data.draw(st.integers(0, total - 1))
    last = data.draw(st.integers(first + 1, total))
    value = fill if mode == "constant" else 0.0
    band = padded_band(x, pads, start, stop, mode, value, columns=(first, last))
    whole = pad_maps(x.tensor(), pads, mode, value)
    np.testing.assert_array_equal(band, whole[:, start:stop, first:last])


def test_nothing_is_copied_where_nothing_is_added():
    x = noise(2, 2, 7, 5)
    assert np.shares_memory(padded_band(x, (0, 0, 0, 0), 2, 5), x)
    assert np.shares_memory(padded_band(x, (1, 0, 3, 0), 1, 8), x)
    assert np.shares_memory(padded_band(x, (0, 2, 0, 0), 2, 5, columns=(2, 6)), x)
    assert not np.shares_memory(padded_band(x, (1, 0, 3, 0), 0, 8), x)
    assert not np.shares_memory(padded_band(x, (0, 1, 0, 0), 2, 5), x)


def test_strided_input():
    x = noise(3, 6, 14, 10)[::2, ::-2, ::3]
    for mode in BORDERS:
        np.testing.assert_array_equal(
            padded_band(x, (2, 1, 1, 2), 0, 10, mode),
            pad_maps(x, (2, 1, 1, 2), mode),
        )


@given(
    st.sampled_from(sorted(BORDERS)),
    st.tuples(*[st.integers(0, 6)] * 4),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
@settings(max_examples=200)
def test_check_border_knows_the_limits(mode, pads, size):
    fits = all(
        max(pads[a], pads[a + 2]) <= (size[a] + REACH[mode] if mode in REACH else 99)
        for a in (0, 1)
    )
    if fits:
        check_border(mode, pads, size)
        return
    with pytest.raises(CnnvizError, match=rf"{mode} padding of \d+ needs more than the \d+") as e:
        check_border(mode, pads, size)
    assert e.value.hint


def test_modes_on_paper():
    x = np.array([[[1, 2, 3]]], np.float32)

    def row(mode, value=0.0):
        return padded_band(x, (0, 2, 0, 2), 0, 1, mode, value)[0, 0].tolist()

    assert row("reflect") == [3, 2, 1, 2, 3, 2, 1]
    assert row("symmetric") == [2, 1, 1, 2, 3, 3, 2]
    assert row("replicate") == [1, 1, 1, 2, 3, 3, 3]
    assert row("circular") == [2, 3, 1, 2, 3, 1, 2]
    assert row("zeros") == [0, 0, 1, 2, 3, 0, 0]
    assert row("constant", 7) == [7, 7, 1, 2, 3, 7, 7]


@given(cases())
def test_only_real_pixels_are_repeated(case):
    mode, size, pads, start, stop = case
    assume(mode not in ("zeros", "constant"))
    x = noise(4, 1, *size)
    assert set(padded_band(x, pads, start, stop, mode).flat) <= set(x.flat)
