"""Records: what programs parse."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnnviz.core.jsontext import json_text
from cnnviz.core.types import Statistics, Totals
from cnnviz.view.columns import COLUMNS, stage_rows, stage_table
from cnnviz.view.records import stage_record, totals_record
from cnnviz.view.report import csv_text
from tests.view.networks import ROWS, RUN, RUN_TOTALS, TOTALS

STAGE_KEYS = [
    *("index", "name", "layer", "settings", "inputs", "kernel_size", "stride", "padding"),
    *("dilation", "groups", "input_shape", "output_shape", "params", "mult_adds"),
    *("receptive_field", "effective_stride", "effective_padding", "memory_bytes", "algorithm"),
    *("min", "max", "mean", "zeros", "seconds", "files"),
]


# --- JSON ----------------------------------------------------------------------------------------


def test_stage_record_of_a_run():
    record = stage_record(RUN[0], ["out/cat/01_conv_conv1_grid.png"])
    assert list(record) == STAGE_KEYS
    assert record == {
        "index": 1,
        "name": "conv1",
        "layer": "conv",
        "settings": {"filters": 6},
        "inputs": ["input"],
        "kernel_size": [5, 5],
        "stride": [1, 1],
        "padding": [2, 2, 2, 2],
        "dilation": [1, 1],
        "groups": 1,
        "input_shape": [1, 28, 28],
        "output_shape": [6, 28, 28],
        "params": 156,
        "mult_adds": 117600,
        "receptive_field": [5, 5],
        "effective_stride": [1, 1],
        "effective_padding": [0, 0, 0, 0],
        "memory_bytes": 18816,
        "algorithm": "im2col",
        "min": -1.93842,
        "max": 2.04418,
        "mean": -0.0312512,
        "zeros": 0.0,
        "seconds": 0.00123,
        "files": ["out/cat/01_conv_conv1_grid.png"],
    }


def test_stage_record_of_a_row_has_nulls():
    record = stage_record(ROWS[-1])
    assert list(record) == STAGE_KEYS
    absent = {key for key, value in record.items() if value is None}
    assert absent == {
        *("kernel_size", "stride", "padding", "dilation", "groups", "receptive_field"),
        *("effective_stride", "effective_padding", "algorithm"),
        *("min", "max", "mean", "zeros", "seconds"),
    }
    assert record["files"] == []


def test_no_nan_reaches_json():
    facts = Statistics(math.nan, math.inf, -math.inf, 0.5, 9)
    row = replace(RUN[0].row, settings={"pad_value": -math.inf, "k": np.float32(2)})
    record = stage_record(replace(RUN[0], row=row, statistics=facts))
    assert (record["min"], record["max"], record["mean"], record["zeros"]) == (None,) * 3 + (0.5,)
    assert record["settings"] == {"pad_value": None, "k": 2.0}
    text = json_text({"input": {"path": "Füß\ud800\n.png", "min": math.nan}, "stages": [record]})
    assert "\n" not in text
    assert "ü" in text
    text.encode()
    parsed = json.loads(text, parse_constant=pytest.fail)
    assert parsed["input"] == {"path": "Füß\ud800\n.png", "min": None}
    assert list(parsed["stages"][0]) == STAGE_KEYS


def test_json_takes_numpy_values_and_paths_but_not_anything():
    record = {"a": np.arange(2), "b": np.float64("nan"), "c": Path("x/y.png"), "d": np.int64(3)}
    assert json_text(record) == '{"a": [0, 1], "b": null, "c": "x/y.png", "d": 3}'
    with pytest.raises(TypeError, match="no place in JSON"):
        json_text({"a": object()})


def test_totals_record():
    assert totals_record(TOTALS) == {
        "params": 138_357_544,
        "mult_adds": 15_470_264_320,
        "memory_bytes": TOTALS.memory_bytes,
        "peak_bytes": 25_690_112,
    }


# --- CSV and Markdown ----------------------------------------------------------------------------


def test_csv_parses_back():
    text = csv_text(stage_rows(ROWS))
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(lines[0]) == [key for key, column in COLUMNS.items() if column.row]
    assert len(lines) == 37
    assert lines[2]["output"] == "64x224x224"
    assert lines[2]["kernel"] == "3x3"
    assert lines[2]["stride"] == "1x1"
    assert lines[2]["padding"] == "1,1,1,1"
    assert lines[2]["settings"] == "conv(64, 3, 1)"
    assert lines[31]["kernel"] == ""
    assert sum(int(line["params"]) for line in lines) == TOTALS.params
    assert sum(int(line["mult_adds"]) for line in lines) == TOTALS.macs
    assert '"1,1,1,1"' in text
    assert text.endswith("\r\n")


def test_csv_keeps_numbers_exact_and_user_text_whole():
    row = replace(RUN[0].row, text='conv("1,0;\n0,1", @a|b.csv)')
    lines = list(
        csv.DictReader(io.StringIO(csv_text(stage_rows([replace(RUN[0], row=row), *RUN[1:]]))))
    )
    assert lines[0]["settings"] == row.text
    assert float(lines[0]["min"]) == -1.93842
    assert float(lines[2]["zeros"]) == 0.00001
    assert lines[5]["min"] == "0.0"  # never -0.0


def test_csv_without_timing_is_the_same_for_two_runs():
    again = [replace(stage, seconds=stage.seconds * 3) for stage in RUN]
    assert csv_text(stage_rows(RUN, timing=False)) == csv_text(stage_rows(again, timing=False))
    assert csv_text(stage_rows(RUN)) != csv_text(stage_rows(again))
    assert "time" not in csv_text(stage_rows(RUN, timing=False)).splitlines()[0]


def test_csv_of_chosen_columns():
    assert (
        csv_text(stage_rows(ROWS[:1], columns=["name", "output"]))
        == "name,output\r\nconv1,64x224x224\r\n"
    )


def test_markdown_is_an_aligned_github_table():
    lines = stage_table(ROWS, TOTALS, ["name", "output", "params"]).markdown().splitlines()
    assert lines[:3] == [
        "| Name     |      Output |      Params |",
        "| -------- | ----------: | ----------: |",
        "| conv1    |  64×224×224 |       1,792 |",
    ]
    assert lines[39] == "| Total    |             | 138,357,544 |"
    assert lines[40] == ""
    assert lines[41] == (
        "Total mult-adds 15,470,264,320 · total memory 109.36 MB · "
        "peak memory 24.50 MB (alive at once, input included)"
    )


def test_markdown_pipes_do_not_end_cells():
    row = replace(ROWS[0], text="conv(@a|b\\c.csv)")
    lines = stage_table([row], TOTALS, ["settings", "index"]).markdown().splitlines()
    assert lines[2] == "| conv(@a\\|b\\\\c.csv) |   1 |"
    cells = [re.split(r"(?<!\\)\|", line) for line in lines[:3]]
    assert {len(line) for line in cells} == {4}


def test_markdown_shows_every_default_column():
    head = stage_table(RUN, RUN_TOTALS).markdown().splitlines()[0]
    wanted = [c.title for c in COLUMNS.values() if c.importance is not None]
    assert [cell.strip() for cell in head.strip("|").split("|")] == wanted


def test_an_empty_pipeline_has_no_lines():
    assert csv_text(stage_rows([])).count("\r\n") == 1
    assert stage_table([], Totals(0, 0, 0, 0)).markdown().count("\n") == 4
