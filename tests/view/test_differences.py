"""Comparisons as tables and in words."""

import io
from fractions import Fraction

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

import cnnviz
from cnnviz.core.comparison import (
    Change,
    Compared,
    Comparison,
    Side,
    difference,
    pairs_of,
    part_at,
    shift_between,
)
from cnnviz.view.differences import (
    change_in_words,
    columns_of,
    comparison_record,
    comparison_report,
    differences,
    direction,
    shapes_in_words,
    side_by_side,
    sums,
)
from tests.oracles import noise

SHAPE = (2, 12, 14)


def comparison(text_a, text_b, shape=SHAPE):
    pipelines = [cnnviz.parse(text) for text in (text_a, text_b)]
    x = noise(0, *shape)
    stages = [list(pipeline.run(x)) for pipeline in pipelines]
    rows = [[stage.row for stage in each] for each in stages]
    output = [{stage.row.name: stage.output for stage in each} for each in stages]
    shifts = shift_between(*pipelines, shape, shape)
    return Comparison(
        *(
            Side(text, str(pipeline), shape, tuple(each), pipeline.totals(shape))
            for text, pipeline, each in zip((text_a, text_b), pipelines, stages, strict=True)
        ),
        part_at(shape, rows[0], shape, rows[1]),
        tuple(
            Compared(one, two, difference(output[0][one.name], output[1][two.name]),
                     shifts.get((one.name, two.name)))
            for one, two in pairs_of(*rows)
        ),
    )  # fmt: skip


def drawn(made, width=None, columns=None, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=file, width=width or 300, force_terminal=width is not None,
                      color_system=None)  # fmt: skip
    for part in comparison_report(made, columns, {}).parts:
        console.print(part, crop=False)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


PARTING = comparison("relu -> maxpool(2) -> gap -> dense(3)", "tanh -> maxpool(3) -> gap")


def test_rows_stand_side_by_side():
    strips = {strip.title or strip.key: strip.cells for strip in
              side_by_side(PARTING, ["name"]).strips}  # fmt: skip
    assert strips["#"] == ["1", "2", "3", "4"]
    assert strips["A\nName"] == ["relu1", "maxpool1", "global_avgpool1", "dense1"]
    assert strips["B\nName"] == ["tanh1", "maxpool1", "global_avgpool1", ""]
    assert strips["parts"] == ["", "≠", "", ""]
    assert columns_of(PARTING, ("index", "name", "min")) == ["name", "min"]


def test_the_table_of_differences():
    strips = {strip.key: strip.cells for strip in differences(PARTING).strips}
    assert strips["index"] == ["1", "3"]
    assert strips["stage"] == ["relu1 / tanh1", "global_avgpool1"]
    assert "nonfinite_a" not in strips
    found = PARTING.compared[0].difference
    assert strips["at"][0] == ",".join(map(str, found.at))
    assert strips["max"][0] == f"{found.max:.4g}"


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("relu", "tanh", "shapes are equal in 1 stage"),
        ("relu -> relu", "tanh -> abs", "shapes are equal in both stages"),
        ("relu -> maxpool(2)", "relu -> maxpool(3)",
         "shapes part at stage 2 (maxpool1): 2×6×7 and 2×4×4"),
        ("relu", "relu -> abs", "shapes are equal until A ends: then comes abs1"),
        ("relu -> abs", "relu", "shapes are equal until B ends: then comes abs1"),
        ("gap", "flatten", "shapes part at stage 1 (global_avgpool1, flatten1): 2×1×1 and 336"),
    ],
)  # fmt: skip
def test_shapes_in_words(a, b, words):
    assert shapes_in_words(comparison(a, b)) == words


def test_sums_and_their_ratio():
    made = comparison("flatten -> dense(3)", "gap -> dense(3)")
    assert sums(made)[:2] == [
        "params       1,011 : 9 = 112 : 1",
        "mult-adds    1,008 : 6 = 168 : 1",
    ]
    record = comparison_record("1", "x", made, ((0, 1), (0, 1)), ["a note"], ["f.png"])
    assert record["ratio"]["params"] == 1011 / 9
    assert record["notes"] == ["a note"]
    assert comparison_record("1", None, comparison("relu", "abs"), ((0, 1),) * 2, [], [])[
        "ratio"
    ] == {"params": None, "mult_adds": None, "memory_bytes": 1, "peak_bytes": 1}


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        ((-1, -1), "1 pixel further up and left"),
        ((3, 0), "3 pixels further down"),
        ((0, -2), "2 pixels further left"),
        ((2, -2), "2 pixels further down and left"),
        ((-1, 4), "1 pixel further up and 4 pixels further right"),
        ((Fraction(1, 2), 0), "1/2 pixel further down"),
    ],
)
def test_directions(offset, words):
    assert direction(tuple(map(Fraction, offset))) == words


def test_changes_in_words():
    avg = Change("avgpool1", (1, 1, 1, 1), (1, 1, 1, 1), counts_padding=True)
    assert change_in_words(avg) == "avgpool1 counts its padding"
    both = Change("p", (0, 0, 1, 1), (1, 1, 1, 1), counts_padding=False)
    assert change_in_words(both) == (
        "p pads 1,1,1,1 instead of 0,0,1,1 and does not count its padding"
    )


def test_a_pipe_gets_everything():
    text = drawn(PARTING)
    for word in ("Name", "Layer", "Output", "Params", "Mult-Adds", "≠", "Max", "‖A−B‖/‖A‖", "Mean"):
        assert word in text
    assert "a wider terminal" not in text
    assert drawn(PARTING, columns=("name", "memory")).count("Memory") == 2


def test_a_terminal_that_knows_only_ascii():
    text = drawn(PARTING, 80, encoding="ascii")
    assert "!" in text
    assert "|A-B|" in text


@pytest.mark.parametrize("width", [36, 60, 80, 100, 200])
def test_what_does_not_fit_gives_way(width):
    long = comparison(
        "relu as a_name_of_twenty_signs.1 -> maxpool(2) as pool_of_a_long_name",
        "relu as a_name_of_twenty_signs.2 -> avgpool(2) as pool_of_a_long_name",
    )
    for made in (PARTING, long):
        text = drawn(made, width)
        assert max(map(cell_len, text.splitlines())) <= width


TINY = comparison("relu as a_name_of_twenty_signs.1 -> maxpool(2)",
                  "tanh as a_name_of_twenty_signs.2 -> avgpool(2)")  # fmt: skip


def odd_ones(made, **changes):
    return made._replace(
        compared=tuple(one._replace(difference=one.difference._replace(**changes))
                       for one in made.compared)
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nonfinite": (1_234_567, 7_654_321)},
        {"max": 1.1921e-07, "at": (511, 111, 111), "mean": 1.2345e-09, "relative": 2.3456e-8},
        {"at": (63, 111, 111), "values": (-0.123456, -1.23456e-5), "max": 0.0123456},
    ],
)
def test_what_is_promised_stays_at_80_columns(changes):
    text = drawn(odd_ones(TINY, **changes), 80)
    table = text[text.index("Max") - 60 :]
    for word in ("Max", "c,row,col", "Mean", "‖A−B‖/‖A‖"):
        assert word in table
    assert table.count("there") == 2  # A there, B there
    found = odd_ones(TINY, **changes).compared[0].difference
    for value in (found.max, *found.values, found.mean, found.relative):
        assert f"{value:.4g}" in table
    assert ",".join(map(str, found.at)) in table


def test_columns_that_give_way_are_named():
    every = {"shape", "share", "nonfinite_a", "nonfinite_b", "mean", "b", "a", "relative", "at"}
    for width in (40, 60, 80, 100):
        told = " ".join(drawn(TINY, width).split())
        gone = set(told.rpartition("a wider terminal shows: ")[2].split(", ")) & every
        assert ("Differ" in told) == ("share" not in gone)
    assert "a wider terminal" not in drawn(TINY, 200)


def test_markdown_cells_are_escaped():
    lines = comparison_report(comparison("relu", "tanh"), None, {}).markdown().splitlines()
    bars = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")]
    assert len(set(bars[:3])) == 1
    assert len(set(bars[3:])) == 1


def test_nan_gets_columns():
    x = np.zeros(SHAPE, np.float32)
    odd = x.copy()
    odd[0, 0, 0] = np.nan
    made = PARTING._replace(compared=(PARTING.compared[0]._replace(difference=difference(x, odd)),))
    strips = {strip.key: strip.cells for strip in differences(made).strips}
    assert (strips["nonfinite_a"], strips["nonfinite_b"]) == (["0"], ["1"])
