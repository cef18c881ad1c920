"""Bands: whole rows, all of them, once, and one for every thread."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.core.engine.bands import cut, split, view


@given(st.integers(1, 60), st.integers(0, 99), st.integers(1, 500), st.integers(1, 5))
def test_bands_tile_the_rows(rows, row_bytes, band_bytes, threads):
    spans = cut(rows, row_bytes, band_bytes, threads)
    assert [row for first, stop in spans for row in range(first, stop)] == list(range(rows))
    assert all((stop - first) * row_bytes <= max(band_bytes, row_bytes) for first, stop in spans)
    assert len(spans) >= min(threads, rows) / 2  # rows that do not divide evenly leave one over


@given(st.integers(1, 90), st.integers(1, 99), st.integers(1, 9))
def test_pieces_are_nearly_equal(total, most, least):
    spans = split(total, most, least)
    assert [row for first, stop in spans for row in range(first, stop)] == list(range(total))
    sizes = [stop - first for first, stop in spans]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(spans) >= min(least, total)


def test_views_step_over_values():
    memory = np.arange(12.0)
    windows = view(memory, (3, 2), (4, 1), 2)
    np.testing.assert_array_equal(windows, [[2, 3], [6, 7], [10, 11]])
    assert np.shares_memory(windows, memory)
