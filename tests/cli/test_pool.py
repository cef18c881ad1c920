"""``cnnviz pool``: worked figures, modes, and options that do not go together."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.conftest import Run, pixels, refused, sample


def values(run: Run, *options: object) -> list[list[float]]:
    result = run("pool", sample("pooling.csv"), *options, "--values", "-q")
    assert (result.code, result.err) == (0, ""), result.err
    return [[float(cell) for cell in line.split()] for line in result.out.splitlines()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [[6, 8], [3, 4]]),
        (["--mode", "max"], [[6, 8], [3, 4]]),
        (["--mode", "avg"], [[3.25, 5.25], [2, 2]]),
        (["--mode", "min"], [[1, 2], [1, 0]]),
        (["--mode", "lp", "--norm-type", 1], [[13, 21], [8, 8]]),
        (["--mode", "global-max"], [[8]]),
        (["--mode", "global-avg"], [[3.125]]),
        (["--mode", "adaptive-max", "--output-size", 2], [[6, 8], [3, 4]]),
        (["--mode", "adaptive-avg", "--output-size", "1,2"], [[2.625, 3.625]]),
        (["-k", 3], [[7]]),
        (["-k", 3, "--stride", 1], [[7, 8], [7, 8]]),
        (["-k", 3, "--ceil-mode"], [[7, 8], [3, 4]]),
        (["-k", "2,4"], [[8], [4]]),
        (["--stride", 1, "--dilation", 3], [[4]]),
    ],
)
def test_the_pooling_matrix(run: Run, options: list[object], expected: list[list[float]]) -> None:
    assert values(run, *options) == expected


def test_padding_is_not_counted_unless_asked(run: Run) -> None:
    options = ["--mode", "avg", "-k", 2, "--padding", 1]
    assert values(run, *options)[0][0] == 1
    assert values(run, *options, "--count-include-pad")[0][0] == 0.25


def test_max_pooling_pads_with_minus_infinity(run: Run) -> None:
    np.save("negative.npy", np.full((2, 2), -5.0))
    result = run("pool", "negative.npy", "-k", 2, "--padding", 1, "--values", "-q")
    assert result.out == "-5 -5\n-5 -5\n"


def test_files_and_names(run: Run) -> None:
    record = run("pool", sample("pooling.csv"), "--format", "json", "-q").record
    (stage,) = record["stages"]
    assert (stage["layer"], stage["name"]) == ("maxpool", "maxpool1")
    assert stage["kernel_size"] == stage["stride"] == [2, 2]
    assert stage["files"] == [
        f"cnnviz-out/pooling/01_maxpool_maxpool1_{what}.png" for what in ("c000", "grid")
    ]
    np.testing.assert_array_equal(
        pixels(stage["files"][0])[..., 0], np.rint(np.array([[6, 8], [3, 4]]) / 8 * 255)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mode", "max", "--norm-type", 2], ["--norm-type", "--mode max"]),
        (["--mode", "max", "--count-include-pad"], ["--count-include-pad", "--mode max"]),
        (["--mode", "global-avg", "--stride", 2], ["--stride", "global-avg"]),
        (["--mode", "adaptive-avg"], ["--output-size"]),
        (["--mode", "adaptive-avg", "--output-size", 0], ["0", "from 1"]),
        (["--mode", "avg", "--output-size", 2], ["--output-size", "--mode avg"]),
        (["--mode", "lp", "--norm-type", 0], ["0"]),
        (["--mode", "lp", "--norm-type", "nan"], ["nan"]),
        (["--mode", "median"], ["median", "adaptive-avg"]),
        (["-k", 0], ["0"]),
        (["-k", "x"], ["'x'"]),
    ],
)
def test_wrong_requests(run: Run, options: list[object], words: list[str]) -> None:
    refused(run("pool", sample("pooling.csv"), *options), 2, *words)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-k", 5], 1),  # another image may be larger
        (["-k", 2, "--padding", 2], 2),  # the first window is padding on every image
    ],
)
def test_windows_that_do_not_fit(run: Run, options: list[object], code: int) -> None:
    result = run("pool", sample("pooling.csv"), *options)
    refused(result, code, "4×4", f"{options[1]}×{options[1]}")


def test_padding_with_values_may_fill_a_window(run: Run) -> None:
    result = run("pool", sample("pooling.csv"), "--padding", 2, "--padding-mode", "replicate",
                 "--values", "-q")  # fmt: skip
    assert result.code == 0
    assert result.out == "1 1 4 4\n5 6 8 8\n3 3 4 4\n1 2 4 4\n"
