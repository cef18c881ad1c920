"""Explanations in words: every kind of value, whole and cut, at widths that fit and that do not."""

import numpy as np
import pytest

from cnnviz.core.explanation import Box, explain
from cnnviz.files.spec import parse
from cnnviz.view.explained import (
    WindowBlocks,
    explanation_lines,
    explanation_record,
    field_text,
)
from tests.oracles import noise

STEP = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)


def told(text, x=STEP, stage=None, at=(0, 0, 0), **options):
    pipeline = parse(text)
    explanation = explain(pipeline, x, stage or pipeline.nodes[-1].name, at)
    options = {"width": None, **options}
    return [line.plain for line in explanation_lines(explanation, x.shape, **options)]


@pytest.mark.parametrize(
    ("text", "at", "lines"),
    [
        (
            "maxpool(2)",
            (0, 0, 1),
            [
                "    3  4",
                "    7  8*",
                "  * the one chosen",
                "  the largest is 8, from cell 0,1,3",
                "  sees rows 0 to 1, columns 2 to 3 of the input: 2×2 pixels",
            ],
        ),
        (
            "conv('1,2;3,4', padding=1)",
            (0, 0, 0),
            [
                "    window    kernel   products   sum",
                "    [0] [0] × 1 2    = 0 0      = 4",
                "    [0]  1    3 4      0 4",
                "  [ ] padding",
                "  sum of 4 products = 4",
                "  sees row 0, column 0 of the input: 1×1 pixel",
            ],
        ),
        (
            "relu",
            (0, 2, 3),
            [
                "    input at 0,2,3 is 12",
                "  max(0, x)",
                "  max(0, 12) = 12",
                "  sees row 2, column 3 of the input: 1×1 pixel",
            ],
        ),
        (
            "gap",
            (0, 0, 0),
            [
                "    cell, value",
                "    0,2,3  12",
                "    0,2,2  11",
                "    … and 10 more: 55",
                "  sum of 12 values = 78",
                "  78 / 12 = 6.5",
                "  sees the whole input, 3×4 pixels",
            ],
        ),
        (
            "conv('1', padding=2)",
            (0, 0, 0),
            [
                "    window   kernel   products",
                "    [0]    × 1      = 0",
                "  [ ] padding",
                "  sees no pixel of the input, only padding",
            ],
        ),
        (
            "scale(-2) as a -> from(input) -> mul(a)",
            (0, 0, 2),
            [
                "    cell, value",
                "    a 0,0,2      −6",
                "    input 0,0,2   3",
                "  product of 2 factors = −18",
                "  sees row 0, column 2 of the input: 1×1 pixel",
            ],
        ),
    ],
)
def test_a_value_s_lines(text, at, lines):
    assert [line.rstrip() for line in told(text, at=at, most=2)[2:]] == lines


def test_many_channels_are_cut():
    lines = told("conv(1, 2)", noise(0, 20, 3, 4), most=6)
    assert sum(line.startswith("  channel") for line in lines) == 2
    assert any(line.startswith("  … and 18 more channels: ") for line in lines)
    sums = [float(line.rpartition(" ")[2].replace("−", "-")) for line in lines if "channel" in line]
    total = next(line for line in lines if "sum of 80 products" in line)
    assert sum(sums) == pytest.approx(float(total.split()[4].replace("−", "-")), abs=1e-4)


def test_dense_and_softmax_show_weights_and_exponentials():
    x = np.log(np.float32([1, 2, 5])).reshape(3, 1, 1)
    lines = told("softmax", x, at=(1, 0, 0), most=3)
    assert lines[2] == "    cell, value → exponential e^(x − 1.60944)"
    assert [line.split() for line in lines[3:6]] == [
        ["1,0,0*", "0.693147", "→", "0.4"],
        ["2,0,0", "1.60944", "→", "1"],
        ["0,0,0", "0", "→", "0.2"],
    ]
    assert any("0.4 / 1.6 = 0.25" in line for line in lines)
    lines = told("dense(2)", x, at=(1,), most=2)
    assert lines[2] == "    cell, value × weight = product"


def test_a_large_window_is_listed():
    lines = told("conv(gaussian(9), padding=4)", noise(1, 1, 12, 12), at=(0, 6, 6), most=3)
    assert lines[2] == "    cell, value × weight = product"
    assert sum("×" in line for line in lines[3:6]) == 3
    assert lines[6].startswith("    … and 78 more: ")


def test_blocks_stand_below_one_another_where_the_terminal_is_narrow():
    wide = told("conv(1, 5)", noise(2, 1, 9, 9), width=200)
    narrow = told("conv(1, 5)", noise(2, 1, 9, 9), width=60)
    assert max(map(len, narrow)) <= 60 < max(map(len, wide))
    assert [line.strip() for line in narrow if line.strip() in ("window", "kernel", "products")]


def test_hostile_names_stay_on_one_line():
    lines = told("relu as a.b-c")
    assert lines[0] == "a.b-c at 0,0,0 = 1"


@pytest.mark.parametrize(
    ("box", "text"),
    [
        (Box(None, None), "sees no pixel of the input, only padding"),
        (Box((0, 2), (0, 3)), "sees the whole input, 3×4 pixels"),
        (Box((1, 1), (0, 2)), "sees row 1, columns 0 to 2 of the input: 1×3 pixels"),
    ],
)
def test_what_is_seen(box, text):
    assert field_text(box, (1, 3, 4)) == text


def test_the_record_is_json_of_finite_numbers():
    x = np.array([[[np.nan, np.inf], [1, -np.inf]]], np.float32)
    record = explanation_record(explain(parse("maxpool(2)"), x, "maxpool1", (0, 0, 0)))
    assert record["result"] is None
    assert [term["value"] for term in record["terms"]] == [None, None, 1.0, None]
    assert record["chosen"] == 0
    assert record["receptive_field"] == {"rows": [0, 1], "columns": [0, 1], "size": [2, 2]}


def test_blocks_are_the_window_s():
    x = noise(3, 2, 6, 7)
    pipeline = parse("conv(3, (2, 3), padding=1)")
    told = explain(pipeline, x, "conv1", (1, 2, 3))
    blocks = WindowBlocks.of(told.arithmetic)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(blocks.value, padded[:, 2:4, 3:6])
    np.testing.assert_allclose(blocks.sums.sum(), told.arithmetic.total, rtol=1e-12)
    assert blocks.channels == [0, 1]
    assert WindowBlocks.of(explain(parse("relu"), x, "relu1", (0, 0, 0)).arithmetic) is None
