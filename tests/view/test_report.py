"""Tables: what people read, and how it fits.

``CNNVIZ_GOLDEN=overwrite pytest tests/view/test_tables.py`` writes the golden tables anew.
"""

import io
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from cnnviz.core.types import Losses, Stage, Statistics, Totals
from cnnviz.view.columns import COLUMNS, parse_columns, stage_report, stage_table
from cnnviz.view.report import FORMATS
from tests.view.networks import ROWS, RUN, RUN_TOTALS, TOTALS

GOLDEN = Path(__file__).parent.parent / "golden"


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
    text = draw(stage_table(entries, sums), width)
    path = GOLDEN / f"table_{name}_{width}.txt"
    if os.environ.get("CNNVIZ_GOLDEN") == "overwrite":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", range(48, 210, 3))
@pytest.mark.parametrize(("entries", "sums"), [(ROWS, TOTALS), (RUN, RUN_TOTALS)])
def test_default_table_fits_and_cuts_no_number(entries, sums, width):
    text = draw(stage_table(entries, sums), width)
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
        for text in (draw(stage_table(ROWS, TOTALS), width) for width in (40, 80, 100, 120, 200))
    ]
    assert all(a < b for a, b in pairwise(shown))


def test_dropped_columns_are_named_in_table_order():
    text = draw(stage_table(ROWS, TOTALS), 80)
    assert text.splitlines()[-1] == (
        "… --columns or a wider terminal shows: padding, input, rf, eff_stride, memory"
    )
    assert "--columns" not in draw(stage_table(ROWS, TOTALS), 200)


def test_numbers_are_right_aligned_with_separators():
    lines = draw(stage_table(ROWS, TOTALS), 80).splitlines()
    head = lines[0]
    end = head.index("Params") + len("Params")
    assert [line[:end].split()[-1] for line in lines[2:5]] == ["1,792", "0", "36,928"]
    assert lines[-3][:end].endswith("138,357,544")
    assert lines[-3].endswith("15,470,264,320")


def test_memory_and_peak_are_told():
    assert "Total memory 109.36 MB · peak memory 24.50 MB" in draw(stage_table(ROWS, TOTALS), 80)
    wide = draw(stage_table(ROWS, TOTALS), 200).splitlines()
    assert wide[-2].endswith("109.36 MB")
    assert wide[-1] == "Peak memory 24.50 MB (alive at once, input included)"


def test_long_names_lose_their_middle_before_numbers_go():
    rows = [replace(row, name=f"backbone.body.layer4.1.downsample.{row.name}") for row in ROWS]
    text = draw(stage_table(rows, TOTALS), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "backbone.bo" in text
    assert "conv13 " in text
    assert "138,357,544" in text
    assert rows[0].name in draw(stage_table(rows, TOTALS), 200)


def test_markup_and_control_characters_are_only_text():
    row = replace(ROWS[0], name="cat [red]x[/red] \x1b[31m\n", text="conv([bold]x[/bold], [/])")
    text = draw(stage_table([row], TOTALS, columns=["name", "settings"]), 80)
    assert "cat [red]x[/red] \\x1b[31m\\n" in text
    assert "conv([bold]x[/bold], [/])" in text


def test_an_empty_pipeline_has_a_table():
    assert "Output" in draw(stage_table([], Totals(0, 0, 0, 0)), 80)


def test_nonfinite_values_are_warned_of():
    bad = replace(RUN[1], statistics=Statistics(None, None, None, 0.0, 1234))
    text = draw(stage_table([RUN[0], bad], RUN_TOTALS), 200)
    assert text.splitlines()[-1] == "NaN or infinite values: relu1 (1,234)"
    assert "NaN" not in draw(stage_table(RUN, RUN_TOTALS), 200)


def test_ascii_consoles_get_ascii():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=80, force_terminal=True, color_system=None, _environ={})
    console.print(stage_table(RUN, RUN_TOTALS), crop=False)
    file.flush()
    text = file.buffer.getvalue().decode("ascii")
    assert "6x28x28" in text
    assert "~ --columns" in text
    assert max(map(len, text.splitlines())) <= 80


# --- in a pipe, or columns asked for -------------------------------------------------------------


def test_a_pipe_gets_the_whole_table_with_plain_titles():
    text = draw(stage_table(ROWS, TOTALS), 80, terminal=False)
    head = text.splitlines()[0]
    wanted = [c.title for c in COLUMNS.values() if c.importance is not None and c.row]
    assert re.split(r" {2,}", head.strip()) == wanted
    assert wanted == [
        *("#", "Layer", "Name", "Kernel", "Stride", "Padding (t,l,b,r)", "Input", "Output"),
        *("Params", "Mult-Adds", "RF", "Eff. stride", "Memory"),
    ]
    assert "wider terminal" not in text
    run = draw(stage_table(RUN, RUN_TOTALS), 80, terminal=False).splitlines()[0].split()
    assert run[-4:] == ["Min", "Max", "Mean", "Zeros"]


def test_columns_asked_for_are_all_shown_in_the_order_asked():
    keys = ["output", "name", "settings", "eff_padding", "input", "memory", "mult_adds", "params"]
    text = draw(stage_table(ROWS, TOTALS, columns=keys), 40)
    assert re.split(r" {2,}", text.splitlines()[0].strip()) == [COLUMNS[k].title for k in keys]
    assert "conv(64, 3, 1)" in text


def test_run_columns_of_rows_are_blank():
    text = draw(stage_table(ROWS[:1], TOTALS, columns=["name", "min", "time"]), 40)
    assert text.splitlines()[2].split() == ["conv1", "–", "–"]


def test_default_and_all_stand_for_columns():
    rows = stage_table(ROWS, TOTALS, columns=parse_columns("default,dilation,index"))
    head = draw(rows, 80, terminal=False).splitlines()[0].split()
    assert head[0] == "#"
    assert head[-2:] == ["Memory", "Dilation"]
    # Of the default ones the least important give way, and those that are named stay.
    narrow = draw(rows, 80)
    assert max(map(cell_len, narrow.splitlines())) <= 80
    assert "Dilation" in narrow.splitlines()[0]
    assert "a wider terminal shows: " in narrow
    looked = [replace(stage, losses=Losses(0, None)) for stage in RUN]
    everything = draw(stage_table(looked, RUN_TOTALS, columns=("all",)), 80).splitlines()[0]
    assert re.split(r" {2,}", everything.strip()) == [c.title for c in COLUMNS.values()]


# --- every format --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_every_stage(name):
    report = stage_report(ROWS, TOTALS, {"stages": [row.name for row in ROWS]})
    text = FORMATS[name]
    written = text(report) if text else draw(report.parts[0], 200, terminal=False)
    assert all(row.name in written for row in ROWS)
    assert written.endswith("\n")
