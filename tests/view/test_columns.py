"""Columns: which are asked for, and how their values read."""

import math
from dataclasses import replace

import pytest

from cnnviz.core.types import Losses
from cnnviz.errors import RequestError
from cnnviz.view import columns
from cnnviz.view.columns import COLUMNS, parse_columns
from tests.view.networks import ROWS, RUN


def test_columns_are_dropped_by_importance():
    order = sorted((c.importance, key) for key, c in COLUMNS.items() if c.importance is not None)
    assert [rank for rank, _ in order] == list(range(1, 18))
    assert [key for _, key in order[:5]] == ["name", "output", "layer", "index", "params"]


def test_parse_columns():
    assert parse_columns(" Name ,output, mult-adds,,name") == ("name", "output", "mult_adds")
    assert parse_columns("default") is None
    with pytest.raises(RequestError, match=r"unknown column 'parms' \(did you mean params"):
        parse_columns("name,parms")
    with pytest.raises(RequestError, match="names no column"):
        parse_columns(" , ")


@pytest.mark.parametrize(
    ("key", "change", "text"),
    [
        ("kernel", {"kernel_size": (3, 5)}, "3×5"),
        ("kernel", {"kernel_size": (3, 3)}, "3×3"),
        ("kernel", {"kernel_size": None}, "–"),
        ("stride", {"stride": (2, 2)}, "2"),
        ("stride", {"stride": (2, 1)}, "2×1"),
        ("padding", {"padding": (0, 1, 2, 3)}, "0,1,2,3"),
        ("eff_stride", {"effective_stride": (0.5, 0.5)}, "0.5"),
        ("eff_stride", {"effective_stride": (4.0, 2.0)}, "4×2"),
        ("eff_padding", {"effective_padding": (1.5, 1.0, 1.5, 1.0)}, "1.5,1,1.5,1"),
        ("output", {"output_shape": (1000,)}, "1000"),
        ("inputs", {"inputs": ("conv1", "add")}, "conv1, add"),
        ("weights", {"weights": None}, "–"),
        ("memory", {"memory_bytes": 1023}, "1023 B"),
        ("memory", {"memory_bytes": 1024}, "1.00 KB"),
        ("memory", {"memory_bytes": 2**20 - 1}, "1.00 MB"),
        ("memory", {"memory_bytes": 5 * 2**50}, "5,120.00 TB"),
    ],
)
def test_row_cells(key, change, text):
    assert COLUMNS[key].text(replace(ROWS[0], **change)) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("min", -0.0, "0"),
        ("min", -1.938421, "-1.938"),
        ("max", 255.0, "255"),
        ("max", 123456.7, "123,457"),
        ("max", 1.23456e9, "1.235e+09"),
        ("mean", -1e-7, "-1e-07"),
        ("mean", None, "–"),
        ("mean", math.nan, "–"),
        ("zeros", 1.0, "100%"),
        ("zeros", 0.99999, ">99.9%"),
        ("zeros", 1e-6, "<0.1%"),
    ],
)
def test_statistics_cells(key, value, text):
    stage = replace(RUN[0], statistics=replace(RUN[0].statistics, **{key: value}))
    assert COLUMNS[key].text(stage) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 µs"), (9.9e-4, "990 µs"), (0.99999e-3, "1.0 ms"), (61, "61.0 s")]
)
def test_time_cells(seconds, text):
    assert COLUMNS["time"].text(replace(RUN[0], seconds=seconds)) == text


def test_losses_are_columns_of_a_run_that_looked_for_them():
    looked = [replace(stage, losses=Losses(3, 0.75)) for stage in RUN]
    costly = {"dead", "discarded"}
    assert costly <= set(columns.resolve_columns(("all",), looked))
    assert not costly & set(columns.resolve_columns(("all",), RUN))
    assert not costly & set(columns.resolve_columns(("all",), ROWS))
    assert not costly & set(columns.resolve_columns(None, looked))
    assert "contamination" in columns.resolve_columns(("all",), ROWS)
    assert [COLUMNS[key].text(looked[0]) for key in ("dead", "discarded")] == ["3", "75.0%"]
    assert [COLUMNS[key].text(RUN[0]) for key in ("dead", "discarded")] == ["–", "–"]
    assert COLUMNS["dead"].text(replace(RUN[0], losses=Losses(None, None))) == "–"


@pytest.mark.parametrize(("share", "text"), [(None, "–"), (0.0, "0%"), (0.123, "12.3%")])
def test_contamination_cells(share, text):
    assert COLUMNS["contamination"].text(replace(ROWS[0], contamination=share)) == text
