"""Tables: what people read, what programs parse, and how they fit.

``CNNVIZ_GOLDEN=overwrite pytest tests/view/test_tables.py`` writes the golden tables anew.
"""

import csv
import io
import json
import math
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cnnviz.core.types import Row, Stage, Statistics, Totals
from cnnviz.errors import RequestError
from cnnviz.view import tables
from cnnviz.view.tables import (
    COLUMNS,
    csv_text,
    json_text,
    markdown_text,
    parse_columns,
    render_table,
    stage_record,
    totals_record,
)

GOLDEN = Path(__file__).parent.parent / "golden"

# --- fakes: a network's rows, worked out here so that these tests stand alone --------------------


def network(shape, terms):
    """Rows of a chain of conv(O, k, padding), relu, maxpool, flatten, dense(N), softmax."""
    rows, size, jump, field, before, counts = [], shape, 1, 1, "input", {}
    for index, (layer, *settings) in enumerate(terms, 1):
        counts[layer] = counts.get(layer, 0) + 1
        name, given_shape = f"{layer}{counts[layer]}", size
        window = {"kernel_size": None, "stride": None, "padding": None, "dilation": None}
        params = macs = 0
        text = f"{layer}({', '.join(map(str, settings))})" if settings else layer
        if layer in {"conv", "maxpool"}:
            filters, k, pad, step = (*settings, 1) if layer == "conv" else (size[0], 2, 0, 2)
            out = [(n + 2 * pad - k) // step + 1 for n in size[1:]]
            if layer == "conv":
                params = filters * (size[0] * k * k + 1)
                macs = filters * size[0] * k * k * out[0] * out[1]
            size, field = (filters, *out), field + (k - 1) * jump
            jump *= step
            window = {
                "kernel_size": (k, k),
                "stride": (step, step),
                "padding": (pad,) * 4,
                "dilation": (1, 1),
            }
        elif layer == "flatten":
            size = (math.prod(size),)
        elif layer == "dense":
            params, macs = settings[0] * (size[0] + 1), settings[0] * size[0]
            size = (settings[0],)
        spatial = len(size) == 3
        rows.append(
            Row(
                index=index,
                name=name,
                layer=layer,
                text=text,
                settings={"filters": settings[0]} if layer == "conv" else {},
                inputs=(before,),
                input_shape=given_shape,
                output_shape=size,
                **window,
                groups=1 if layer == "conv" else None,
                params=params,
                macs=macs,
                receptive_field=(field, field) if spatial else None,
                effective_stride=(float(jump), float(jump)) if spatial else None,
                effective_padding=(0.0, 0.0, 0.0, 0.0) if spatial else None,
                memory_bytes=4 * math.prod(size),
                weights="drawn" if params else None,
            )
        )
        before = name
    return rows


def totals(rows):
    return Totals(
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        memory_bytes=sum(row.memory_bytes for row in rows),
        peak_bytes=max(4 * math.prod(r.input_shape) + r.memory_bytes for r in rows),
    )


def vgg16():
    terms = []
    for filters, repeats in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        terms += [("conv", filters, 3, 1), ("relu",)] * repeats + [("maxpool",)]
    terms += [("flatten",), ("dense", 4096), ("relu",), ("dense", 4096), ("relu",), ("dense", 1000)]
    return network((3, 224, 224), terms)


def lenet_run():
    rows = network(
        (1, 28, 28),
        [("conv", 6, 5, 2), ("relu",), ("maxpool",), ("flatten",), ("dense", 10), ("softmax",)],
    )
    facts = [
        (-1.93842, 2.04418, -0.0312512, 0.0),
        (0.0, 2.04418, 0.40193, 0.51234),
        (0.0, 2.04418, 0.82125, 0.00001),
        (0.0, 2.04418, 0.82125, 0.00001),
        (-12345.678, 0.5, -1e-7, 0.0),
        (-0.0, 1.0, 0.1, 0.9),
    ]
    return [
        Stage(
            row=row,
            output=np.zeros(row.output_shape, np.float32),
            algorithm="im2col" if row.layer == "conv" else None,
            statistics=Statistics(low, high, mean, zeros, 0),
            seconds=0.00123 * row.index,
        )
        for row, (low, high, mean, zeros) in zip(rows, facts, strict=True)
    ]


def draw(table, width=80, *, terminal=True, **options):
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=terminal,
        color_system=None,
        legacy_windows=False,
        _environ={},
        **options,
    )
    console.print(table, crop=False)
    return file.getvalue()


ROWS = vgg16()
RUN = lenet_run()
TOTALS = totals(ROWS)
RUN_TOTALS = totals([stage.row for stage in RUN])
STAGE_KEYS = [
    *("index", "name", "layer", "settings", "inputs", "kernel_size", "stride", "padding"),
    *("dilation", "groups", "input_shape", "output_shape", "params", "mult_adds"),
    *("receptive_field", "effective_stride", "effective_padding", "memory_bytes", "algorithm"),
    *("min", "max", "mean", "zeros", "seconds", "files"),
]


def head_of(text):
    """The words of the title lines."""
    return text.split("──")[0]


# --- on a terminal -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entries", "sums"),
    [("vgg16", ROWS, TOTALS), ("lenet_run", RUN, RUN_TOTALS)],
)
@pytest.mark.parametrize("width", [80, 120])
def test_golden(name, entries, sums, width):
    text = draw(render_table(entries, sums), width)
    path = GOLDEN / f"table_{name}_{width}.txt"
    if os.environ.get("CNNVIZ_GOLDEN") == "overwrite":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", range(48, 210, 3))
@pytest.mark.parametrize(("entries", "sums"), [(ROWS, TOTALS), (RUN, RUN_TOTALS)])
def test_default_table_fits_and_cuts_no_number(entries, sums, width):
    text = draw(render_table(entries, sums, title="cat.png"), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert sum(bool(re.match(r" *\d+  [a-z]+  ", line)) for line in lines) == len(entries)
    for entry in entries:
        row = entry.row if isinstance(entry, Stage) else entry
        assert "×".join(map(str, row.output_shape)) in text
    assert f"{sums.params:,}" in text  # in the footer or in the line below
    assert f"{sums.macs:,}" in text


def test_wider_terminals_only_add_columns():
    shown = [
        {key for key, column in COLUMNS.items() if column.title.split()[0] in head_of(text)}
        for text in (draw(render_table(ROWS, TOTALS), width) for width in (40, 80, 100, 120, 200))
    ]
    assert all(a < b for a, b in pairwise(shown))


def test_dropped_columns_are_named_in_table_order():
    text = draw(render_table(ROWS, TOTALS), 80)
    assert text.splitlines()[-1] == (
        "… --columns or a wider terminal shows: padding, input, rf, eff_stride, memory"
    )
    assert "--columns" not in draw(render_table(ROWS, TOTALS), 200)


def test_columns_are_dropped_by_importance():
    order = sorted((c.importance, key) for key, c in COLUMNS.items() if c.importance is not None)
    assert [rank for rank, _ in order] == list(range(1, 19))
    assert [key for _, key in order[:5]] == ["name", "output", "layer", "index", "params"]


def test_numbers_are_right_aligned_with_separators():
    lines = draw(render_table(ROWS, TOTALS), 80).splitlines()
    head = lines[0]
    end = head.index("Params") + len("Params")
    assert [line[:end].split()[-1] for line in lines[2:5]] == ["1,792", "0", "36,928"]
    assert lines[-3][:end].endswith("138,357,544")
    assert lines[-3].endswith("15,470,264,320")


def test_memory_and_peak_are_told():
    assert "Total memory 109.36 MB · peak memory 24.50 MB" in draw(render_table(ROWS, TOTALS), 80)
    wide = draw(render_table(ROWS, TOTALS), 200).splitlines()
    assert wide[-2].endswith("109.36 MB")
    assert wide[-1] == "Peak memory 24.50 MB (alive at once, input included)"


def test_long_names_lose_their_middle_before_numbers_go():
    rows = [replace(row, name=f"backbone.body.layer4.1.downsample.{row.name}") for row in ROWS]
    text = draw(render_table(rows, TOTALS), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "backbone.bo" in text
    assert "conv13 " in text
    assert "138,357,544" in text
    assert rows[0].name in draw(render_table(rows, TOTALS), 200)


def test_title_markup_and_control_characters_are_only_text():
    title = "cat [red]x[/red] [/] \x1b[31m\n.png"
    row = replace(ROWS[0], text="conv([bold]x[/bold], [/])")
    text = draw(render_table([row], TOTALS, columns=["settings"], title=title), 80)
    assert "cat [red]x[/red] [/] �[31m�.png" in text
    assert "conv([bold]x[/bold], [/])" in text


def test_an_empty_pipeline_has_a_table():
    assert "Output" in draw(render_table([], Totals(0, 0, 0, 0)), 80)
    assert csv_text([]).count("\r\n") == 1
    assert markdown_text([], Totals(0, 0, 0, 0)).count("\n") == 5


def test_nonfinite_values_are_warned_of():
    bad = replace(RUN[1], statistics=Statistics(None, None, None, 0.0, 1234))
    text = draw(render_table([RUN[0], bad], RUN_TOTALS), 200)
    assert text.splitlines()[-1] == "NaN or infinite values: relu1 (1,234)"
    assert "NaN" not in draw(render_table(RUN, RUN_TOTALS), 200)


def test_ascii_consoles_get_ascii():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=80, force_terminal=True, color_system=None, _environ={})
    console.print(render_table(RUN, RUN_TOTALS), crop=False)
    file.flush()
    text = file.buffer.getvalue().decode("ascii")
    assert "6x28x28" in text
    assert "~ --columns" in text
    assert max(map(len, text.splitlines())) <= 80


# --- in a pipe, or columns asked for -------------------------------------------------------------


def test_a_pipe_gets_the_whole_table_with_plain_titles():
    text = draw(render_table(ROWS, TOTALS), 80, terminal=False)
    head = text.splitlines()[0]
    wanted = [c.title for c in COLUMNS.values() if c.importance is not None and c.row]
    assert re.split(r" {2,}", head.strip()) == wanted
    assert wanted == [
        *("#", "Layer", "Name", "Kernel", "Stride", "Padding (t,l,b,r)", "Input", "Output"),
        *("Params", "Mult-Adds", "RF", "Eff. stride", "Memory"),
    ]
    assert "wider terminal" not in text
    run = draw(render_table(RUN, RUN_TOTALS), 80, terminal=False).splitlines()[0].split()
    assert run[-5:] == ["Min", "Max", "Mean", "Zeros", "Time"]


def test_columns_asked_for_are_all_shown_in_the_order_asked():
    keys = ["output", "name", "settings", "eff_padding", "input", "memory", "mult_adds", "params"]
    text = draw(render_table(ROWS, TOTALS, columns=keys), 40)
    assert re.split(r" {2,}", text.splitlines()[0].strip()) == [COLUMNS[k].title for k in keys]
    assert "conv(64, 3, 1)" in text


def test_run_columns_of_rows_are_blank():
    text = draw(render_table(ROWS[:1], TOTALS, columns=["name", "min", "time"]), 40)
    assert text.splitlines()[2].split() == ["conv1", "–", "–"]


def test_default_and_all_stand_for_columns():
    rows = render_table(ROWS, TOTALS, columns=parse_columns("default,dilation,index"))
    head = draw(rows, 80).splitlines()[0].split()
    assert head[0] == "#"
    assert head[-2:] == ["Memory", "Dilation"]
    everything = draw(render_table(RUN, RUN_TOTALS, columns=("all",)), 80).splitlines()[0]
    assert re.split(r" {2,}", everything.strip()) == [c.title for c in COLUMNS.values()]


def test_parse_columns():
    assert parse_columns(" Name ,output, mult-adds,,name") == ("name", "output", "mult_adds")
    assert parse_columns("default") is None
    with pytest.raises(RequestError, match=r"unknown column 'parms' \(did you mean params"):
        parse_columns("name,parms")
    with pytest.raises(RequestError, match="names no column"):
        parse_columns(" , ")


# --- how values read -----------------------------------------------------------------------------


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


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_keep_three_digits_and_are_short(value):
    text = tables._number(value)
    assert len(text) <= 10
    assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-3)
    assert not re.fullmatch(r"-0(\.0*)?", text)


# --- for programs --------------------------------------------------------------------------------


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


def test_csv_parses_back():
    text = csv_text(ROWS)
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
    lines = list(csv.DictReader(io.StringIO(csv_text([replace(RUN[0], row=row), *RUN[1:]]))))
    assert lines[0]["settings"] == row.text
    assert float(lines[0]["min"]) == -1.93842
    assert float(lines[2]["zeros"]) == 0.00001
    assert lines[5]["min"] == "0.0"  # never -0.0


def test_csv_without_timing_is_the_same_for_two_runs():
    again = [replace(stage, seconds=stage.seconds * 3) for stage in RUN]
    assert csv_text(RUN, timing=False) == csv_text(again, timing=False)
    assert csv_text(RUN) != csv_text(again)
    assert "time" not in csv_text(RUN, timing=False).splitlines()[0]


def test_csv_of_chosen_columns():
    assert csv_text(ROWS[:1], columns=["name", "output"]) == "name,output\r\nconv1,64x224x224\r\n"


def test_markdown_is_an_aligned_github_table():
    lines = markdown_text(ROWS, TOTALS, ["name", "output", "params"]).splitlines()
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
    lines = markdown_text([row], TOTALS, ["settings", "index"]).splitlines()
    assert lines[2] == "| conv(@a\\|b\\\\c.csv) |   1 |"
    cells = [re.split(r"(?<!\\)\|", line) for line in lines[:4]]
    assert {len(line) for line in cells} == {4}


def test_markdown_shows_every_default_column():
    head = markdown_text(RUN, RUN_TOTALS).splitlines()[0]
    wanted = [c.title for c in COLUMNS.values() if c.importance is not None]
    assert [cell.strip() for cell in head.strip("|").split("|")] == wanted
