"""What stands for a kernel: names, calls, numbers, ImageMagick's form, files."""

# ruff: noqa: S311 - what is random here is not secret

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnviz.core.kernels import KERNELS, build_kernels
from cnnviz.core.layers import make_layer
from cnnviz.core.text import layer_text
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.kernel_text import doubt, parse_kernels
from cnnviz.files.spec import parse


def weights(text):
    group = parse_kernels(text)
    return [kernel.weights.tolist() for kernel in group.kernels]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,0,-1; 2,0,-2; 1,0,-1", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        ("1 0 -1;2 0 -2;1 0 -1", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        ("-1,0,1", [[-1, 0, 1]]),
        (" -1 , 0 , 1 ; ", [[-1, 0, 1]]),
        ("1;2;3", [[1], [2], [3]]),
        ("5", [[5]]),
        ("+.5,-.5", [[0.5, -0.5]]),
        ("1/9,1/9,1/9", [[1 / 9] * 3]),
        ("-1/3,2/3;1e-1,-2E2", [[-1 / 3, 2 / 3], [0.1, -200]]),
        ("1,2,", [[1, 2]]),
        ("3x3: 1,0,-1 2,0,-2 1,0,-1", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        ("3x1:1,2,3", [[1, 2, 3]]),
        ("1x3: 1 2 3", [[1], [2], [3]]),
        ("2x2+0+0: 1,2 3,4", [[1, 2], [3, 4]]),
        ("3x3+1+1: 1,0,-1 2,0,-2 1,0,-1", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        ("[[1,0,-1],[2,0,-2],[1,0,-1]]", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        ("[ [1 0 -1]\n [1/2 0 -2] ]", [[1, 0, -1], [0.5, 0, -2]]),
        ("[1, 2, 3]", [[1, 2, 3]]),
        ("2x1: -1, 1/2", [[-1, 0.5]]),
        ("1,2\n;3,4", [[1, 2], [3, 4]]),
    ],
)
def test_numbers(text, rows):
    assert weights(text) == [rows]
    if "[" in text:
        return  # a pipeline's language has no lists
    # And the same inside a pipeline, in quotes; its text reads back.
    quoted = text.replace("\n", " ")
    layer = parse(f'conv("{quoted}")').nodes[0].layer
    assert layer.kernels[0].weights.tolist() == rows
    assert str(parse(str(parse(f'conv("{quoted}")')))) == str(parse(f'conv("{quoted}")'))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("1,2;3", ""),
        ("1,2;;3,4", "empty row"),
        ("1,x", "'x' is not a number"),
        ("1/0", "divides by 0"),
        ("1/", "'1/' is not a number"),
        ("1/2/3", "is not a number"),
        ("1 / 2", "'/' is not a number"),
        ("1e999", ""),
        ("nan,1", "nan"),
        ("1,nan", ""),
        ("1,inf", ""),
        ("-inf,1", ""),
        ("3x3: 1,2,3", "3 numbers, 3x3 needs 9"),
        ("0x0:", ""),
        ("0x3: 1", ""),
        ("3x3:", ""),
        ("9999x9999: 1", "needs 99980001"),
        ("--1,2", "not a number"),
        ("1_0,2", "not a number"),
        ("2x2+1+1: 1,2 3,4", "origin at +1+1"),
        ("3x3+0+0: 1,0,-1 2,0,-2 1,0,-1", "in its middle, +1+1"),
        ("[[1,2],[3,4]", "no list of rows"),
        ("[]", "no list of rows"),
        ("[[1,2],3]", "no list of rows"),
        ("[[1,2],[]]", "empty row"),
        ("[[[1,2]]]", "no list of rows"),
        ("sobel_z", "unknown kernel 'sobel_z'"),
        ("sobel_x(3)", "takes no arguments"),
        ("gaussian(4)", "odd"),
        ("gaussian(7, sgma=1)", "sgma"),
        ("gaussian(7", "expected"),
        ("gaussian(box)", ""),
        ("gaussian(box(3))", "cannot be an argument"),
        ("sobel_x sobel_y", "expected the end"),
        ("@", "@ names no file"),
    ],
)
def test_wrong_kernels(text, told):
    with pytest.raises(RequestError) as caught:
        parse_kernels(text)
    assert told in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n ", "\n\n", ";\n", "\n;", " ; "])
def test_new_lines_part_rows(end):
    rows = ["1 0 -1", "2,0,-2", "1 0 -1"]
    assert weights(end.join(rows) + "\n") == [[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,0,-1,2,0,-2,1,0,-1", "one row of 9 numbers; for 3×3 write 1,0,-1; 2,0,-2; 1,0,-1"),
        (" ".join(["1"] * 25), "one row of 25 numbers; for 5×5"),
        ("3", "a window of 3×3 is box(3)"),
        ("1,0,-1; 2,0,-2; 1,0,-1", None),
        ("1,2,1", None),
        ("-1", None),
        ("0.5", None),
        ("sobel", None),
    ],
)
def test_numbers_that_probably_mean_another_kernel_are_named(text, said):
    found = doubt(parse_kernels(text))
    assert found is None if said is None else said in found


@pytest.mark.parametrize("name", KERNELS)
def test_every_name_reads_and_writes(name):
    assert parse_kernels(name).kernels == build_kernels(name)
    pipeline = parse(f"conv({name}, padding=same)")
    assert str(pipeline) == f"conv({name}, padding=same)"
    assert parse_kernels(f"  {name}\n") == parse_kernels(name)


@pytest.mark.parametrize(
    "text",
    [
        "gaussian(7, sigma=1.5)", "gaussian(7, 3/2)", "gaussian((3, 5))", "box(size=(2, 3))",
        "gabor(15, theta=45, wavelength=6, sigma=3)", "motion(15, angle=-30)", "gabor_bank(8)",
        "random(8, size=5, seed=0)", "gaussian( 7 , sigma = 1.5 )", "gaussian(7, sigma=1e0)",
        "gaussian(\n7, # wide\n sigma=2)", "log(9, sigma=1.4)",
    ],
)  # fmt: skip
def test_calls_read_back(text):
    pipeline = parse(f"conv({text}, padding=same) -> relu")
    assert parse(str(pipeline)) == pipeline
    assert pipeline.nodes[0].layer.kernels == parse_kernels(text).kernels


NUMBERS = st.floats(-1e30, 1e30, width=64, allow_subnormal=False)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4), elements=NUMBERS)
)
@settings(max_examples=150)
def test_numbers_keep_every_digit(matrix):
    text = ";".join(",".join(map(repr, row)) for row in matrix.tolist())
    group = parse_kernels(text)
    np.testing.assert_array_equal(group.kernels[0].weights, matrix + 0.0)
    assert parse_kernels(group.text).kernels == group.kernels
    term = layer_text(make_layer("conv", group))
    assert parse(term).nodes[0].layer == make_layer("conv", group)


FILE_NAMES = [
    "k.csv", "my kernel.csv", "it's.csv", 'say "k".csv', "back\\slash.csv", "k,1.csv", "k(1).csv",
    "a=b.csv", "#k.csv", "->.csv", "ключ.csv", "k;1.csv", "@k.csv", "k'\".csv", "-k.csv",
    "3x3:k.csv",
    "k as x.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", FILE_NAMES)
def test_files_with_any_name(name, tmp_path, monkeypatch):
    (tmp_path / name).write_text("1,2\n3,4", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    group = parse_kernels(f"@{name}")
    assert group.kernels[0].weights.tolist() == [[1, 2], [3, 4]]
    pipeline_text = layer_text(make_layer("conv", group)) + " -> relu"
    pipeline = parse(pipeline_text)
    assert pipeline.nodes[0].layer.kernels == group.kernels
    assert parse(str(pipeline)) == pipeline


def test_files_of_banks(tmp_path):
    for shape, count in (((3, 4), 1), ((5, 3, 4), 5), ((5, 2, 3, 4), 5)):
        np.save(tmp_path / "k.npy", np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
        kernels = parse_kernels(f"@{tmp_path / 'k.npy'}").kernels
        assert len(kernels) == count
        assert all(kernel.size == (3, 4) for kernel in kernels)
    for shape in ((3,), (1, 1, 1, 1, 1), (0, 3)):
        np.save(tmp_path / "k.npy", np.zeros(shape))
        with pytest.raises(CnnvizError) as caught:
            parse_kernels(f"@{tmp_path / 'k.npy'}")
        assert caught.value.exit_code == 1  # the data is wrong, not the request
        assert "k.npy" in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", "", ".", "a\0b.csv", "x" * 5000])
def test_files_that_cannot_be_read(name, tmp_path):
    with pytest.raises(CnnvizError) as caught:
        parse_kernels(f"@{tmp_path}/{name}")
    assert caught.value.exit_code == 1


def test_fuzz():
    rng = random.Random(22)
    pieces = [
        "1", "-1", "0", ".", "/", ",", ";", " ", "x", ":", "3x3:", "1x1:", "e", "nan", "inf",
        "(", ")",
        "=", "box", "gaussian", "random(", "sigma=", "size=", "-", "+", "\n", "'", '"', "\\",
        "#", "٣",
        "½", "²", "1e308", "1e-320", "9" * 30, "\0", "\ud800", "sobel", "(3,", "None", "true",
    ]  # fmt: skip
    read = 0
    for _ in range(20_000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 8)))
        try:
            group = parse_kernels(text)
        except CnnvizError as error:
            assert error.message  # noqa: PT017
            continue
        read += 1
        assert parse_kernels(group.text).kernels == group.kernels, text
    assert read > 500
