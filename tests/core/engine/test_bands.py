"""Bands: whole rows, all of them, once, and one for every thread."""

from hypothesis import given
from hypothesis import strategies as st

from cnnviz.core.engine.bands import cut


@given(st.integers(1, 60), st.integers(0, 99), st.integers(1, 500), st.integers(1, 5))
def test_bands_tile_the_rows(rows, row_bytes, band_bytes, threads):
    spans = cut(rows, row_bytes, band_bytes, threads)
    assert [row for first, stop in spans for row in range(first, stop)] == list(range(rows))
    assert all((stop - first) * row_bytes <= max(band_bytes, row_bytes) for first, stop in spans)
    assert len(spans) >= min(threads, rows) / 2  # rows that do not divide evenly leave one over
