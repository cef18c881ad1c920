"""``cnnviz explain``: text, JSON, pictures and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Run, files_below, pixels, refused, sample

TEXTBOOK = "conv('1,0,1; 0,1,0; 1,0,1')"
ACCENT = (255, 210, 0)


def test_the_textbook_s_sum_is_told(run: Run) -> None:
    done = run("explain", sample("tutorial.csv"), TEXTBOOK, "--at", "conv1:0,0,0")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "conv1 at 0,0,0 = 4",
        '  conv("1,0,1;0,1,0;1,0,1")',
        "    window   kernel   products   sum",
        "    1 1 1    1 0 1    1 0 1",
        "    0 1 1  × 0 1 0  = 0 1 0    = 4",
        "    0 0 1    1 0 1    0 0 1",
        "  sum of 9 products = 4",
        "  sees rows 0 to 2, columns 0 to 2 of the input: 3×3 pixels",
    ]
    assert "wrote 2 files to cnnviz-out/tutorial" in done.err
    assert Path("cnnviz-out/tutorial/01_conv_conv1_at_0_0_0.png").exists()


def test_json_carries_everything(run: Run) -> None:
    spec = "conv(2, 3, padding=same) -> relu -> maxpool(2)"
    done = run(
        "explain",
        sample("chelsea.jpg"),
        spec,
        "--at",
        "maxpool1:max",
        "--trace",
        "--format",
        "json",
    )
    record = done.record
    assert record["stage"] == "maxpool1"
    assert record["input"]["shape"] == [1, 300, 451]
    assert record["join"] == "largest"
    terms = record["terms"]
    assert max(term["part"] for term in terms) == record["result"]
    assert terms[record["chosen"]]["part"] == record["result"]
    assert [step["stage"] for step in record["trace"]] == ["relu1", "conv1"]
    conv = record["trace"][-1]
    assert sum(term["part"] for term in conv["terms"]) + conv["bias"] == pytest.approx(
        conv["total"]
    )
    assert conv["result"] == pytest.approx(record["result"], rel=1e-5)
    rows = conv["receptive_field"]["rows"]
    assert conv["receptive_field"]["size"][0] == rows[1] - rows[0] + 1
    for term in conv["terms"]:
        assert term["part"] == term["value"] * term["weight"]
        assert (term["at"] is None) == term["padding"]
        if term["at"]:
            assert rows[0] <= term["at"][1] <= rows[1]
    # The whole run agrees.
    run("pipeline", sample("chelsea.jpg"), spec, "--save", "npy", "-q")
    pooled = np.load(next(Path("cnnviz-out/chelsea").glob("03*.npy")))
    assert pooled[tuple(record["at"])] == pytest.approx(record["result"], rel=1e-5)
    assert pooled.max() == pooled[tuple(record["at"])]


def test_the_run_s_pictures_and_explain_s_live_side_by_side(run: Run, work: Path) -> None:
    run("pipeline", sample("step.png"), "conv(sobel_x)", "-q")
    before = files_below(work)
    at = ("--at", "1:0,1,1", "-q")
    assert run("explain", sample("step.png"), "conv(sobel_x)", *at).code == 0
    after = files_below(work)
    assert before.items() <= after.items()
    new = {Path(name).name for name in after.keys() - before.keys()}
    assert new == {"explain.json", "01_conv_conv1_at_0_1_1.png"}
    # A run of the pipeline leaves them, and so does another explanation: they are collected.
    run("pipeline", sample("step.png"), "conv(sobel_x)", "-q")
    run("explain", sample("step.png"), "conv(sobel_x)", "--at", "1:0,1,2", "-q")
    names = {Path(name).name for name in files_below(work)}
    pictures = {"01_conv_conv1_at_0_1_1.png", "01_conv_conv1_at_0_1_2.png"}
    assert pictures | {"01_conv_conv1_grid.png"} <= names
    record = json.loads(Path("cnnviz-out/step/explain.json").read_text())
    assert set(record["files"]) == pictures
    assert record["at"] == [0, 1, 2]


def test_two_runs_write_the_same_bytes(run: Run, work: Path) -> None:
    words = ("explain", sample("coffee.jpg"), "conv(4, 5) -> maxpool(3)", "--at", "2:3,1,2")
    run(*words, "--winners", "--color", "rgb")
    first = files_below(work)
    run(*words, "--winners", "--color", "rgb")
    assert files_below(work) == first
    assert len(first) == 3


def test_the_record_can_be_repeated(run: Run) -> None:
    run("explain", sample("step.png"), "conv(3) -> relu", "--at", "relu1:1,1,1", "--seed", 4, "-q")
    record = json.loads(Path("cnnviz-out/step/explain.json").read_text())
    assert record["command"][:2] == ["cnnviz", "explain"]
    assert record["seed"] == 4
    assert record["pipeline"] == "conv(3) -> relu"
    assert record["files"] == ["02_relu_relu1_at_1_1_1.png"]


def test_the_box_is_drawn_where_the_value_looks(run: Run) -> None:
    """On a black picture nothing but the rings has the accent's colour."""
    np.save("black.npy", np.zeros((64, 64), np.float32))
    run("explain", "black.npy", "conv(1, 9)", "--at", "1:0,20,30", "-q")
    drawn = pixels("cnnviz-out/black/01_conv_conv1_at_0_20_30.png")
    ring = (drawn == ACCENT).all(axis=2)
    rows, columns = np.nonzero(ring[:, : 16 + 384 + 8])  # the first panel: the input, 6 times
    inside = (columns.max() - columns.min() - 5, rows.max() - rows.min() - 5)
    assert inside == (9 * 6, 9 * 6)
    with Image.open("cnnviz-out/black/01_conv_conv1_at_0_20_30.png") as image:
        assert image.text["cnnviz:at"] == "0,20,30"
        assert image.text["cnnviz:stage"] == "conv1"


@pytest.mark.parametrize(
    ("spec", "at"),
    [
        ("flatten -> dense(3) -> softmax", "softmax1:2"),
        ("gap", "1:0"),
        ("conv(1, 3, padding=5)", "1:0,0,0"),
        ("conv(gaussian(31), padding=same)", "1:0,0,0"),
        ("pad(2)", "1:0,0,0"),
        ("maxpool(3, 2, padding=1)", "1:0,0,0"),
        ("conv(4) -> concat(conv1) -> magnitude", "magnitude1:0,0,0"),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_all_kinds_of_values_are_told(run: Run, spec: str, at: str, form: str) -> None:
    done = run("explain", sample("digit_3.png"), spec, "--at", at, "--trace", "--format", form)
    assert done.code == 0, done.err
    assert done.out
    if form == "json":
        assert done.record["terms"]


def test_nan_and_infinity_are_told(run: Run) -> None:
    np.save("odd.npy", np.array([[np.nan, np.inf], [1, -np.inf]], np.float32))
    for spec, at in (("maxpool(2)", "1:0,0,0"), ("conv('1,1;1,1')", "1:0,0,0"), ("relu", "1:min")):
        done = run("explain", "odd.npy", spec, "--at", at, "--format", "json")
        assert done.code == 0, done.err
        assert "result" in done.record


def test_the_largest_of_a_stage_is_the_largest_finite(run: Run) -> None:
    np.save("odd.npy", np.array([[np.nan, np.inf], [1, -np.inf]], np.float32))
    done = run("explain", "odd.npy", "relu", "--at", "relu1:max")
    assert done.out.startswith("relu1 at 0,1,0 = 1")
    assert "the largest finite value: 2 of relu1 are NaN or infinite" in done.err


def test_a_hint_names_a_stage_that_has_winners(run: Run) -> None:
    words = ("relu -> maxpool(2) as pool", "--at", "relu1:0,0,0", "--winners")
    refused(run("explain", sample("step.png"), *words), 2, "--at pool:max")


@pytest.mark.parametrize("spec", ["reduce(max)", "flatten -> reduce(max) as r", "global_lppool"])
def test_winners_are_refused_before_anything_is_written(run: Run, work: Path, spec: str) -> None:
    at = "r:0" if "as r" in spec else "1:0,0,0"
    refused(run("explain", sample("step.csv"), spec, "--at", at, "--winners"), 2, "picks no winner")
    assert not (work / "cnnviz-out").exists()


@pytest.mark.parametrize("spec", ["maxpool(2, 4, 2, constant, pad_value=9)", "global_maxpool"])
def test_winners_of_odd_windows_are_drawn(run: Run, spec: str) -> None:
    done = run("explain", sample("pooling.csv"), spec, "--at", "1:0,0,0", "--winners")
    assert done.code == 0, done.err


def test_winners_are_drawn_and_counted(run: Run) -> None:
    done = run(
        "explain", sample("pooling.csv"), "maxpool(2)", "--at", "maxpool1:0,0,1", "--winners"
    )
    assert done.code == 0, done.err
    drawn = pixels("cnnviz-out/pooling/01_maxpool_maxpool1_c000_winners.png")
    assert (drawn == ACCENT).all(axis=2).sum() > 100


def test_show_draws_beside_json(run: Run) -> None:
    words = ("explain", sample("chelsea.jpg"), "conv(sobel_x)", "--at", "1:0,99,99", "--show")
    done = run(*words)
    assert len(done.out.splitlines()) > 24
    done = run(*words, "--format", "json", "-q")
    assert done.record["at"] == [0, 99, 99]
    assert len(done.err.splitlines()) >= 24


def test_quiet_says_nothing(run: Run) -> None:
    done = run("explain", sample("step.png"), "relu", "--at", "1:0,0,0", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_random_weights_are_told(run: Run) -> None:
    done = run("explain", sample("step.png"), "conv(2) -> relu -> conv(3)", "--at", "2:0,0,0")
    assert "random weights (seed 0): conv1\n" in done.err


def test_a_whole_network_is_traced(run: Run) -> None:
    done = run("explain", sample("digit_3.png"), "digits", "--at", "softmax1:3", "--trace")
    assert done.code == 0, done.err
    assert done.out.startswith("softmax1 at 3 = 0.99") or "= 0.9" in done.out.splitlines()[0]
    assert done.out.count(" at ") > 8


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--at", "relu1"], 2, ["'relu1'", "relu1:max"]),
        (["--at", "rellu1:0,0,0"], 2, ["rellu1", "relu1"]),
        (["--at", "7:0,0,0"], 2, ["no stage 7", "1 to 2"]),
        (["--at", "relu1:x"], 2, ["'x' is no cell"]),
        (["--at", "relu1:2,0,0"], 1, ["no channel 2", "channel 0 to 1"]),
        (["--at", "relu1:0,0,999"], 1, ["no column 999", "column 0 to"]),
        (["--at", "relu1:3"], 1, ["3 is no cell of relu1"]),
        (["--at", "relu1:0,0,0", "--winners"], 2, ["relu1", "picks no winner", "no stage of"]),
        (["--at", "relu1:max", "--at", "relu1:min"], 2, ["given 2 times"]),
        (["--at", "relu1:0,0,0", "--terms", "0"], 2, ["0"]),
        (["--at", "relu1:0,0,0", "--out", ""], 2, ["--out"]),
        (["--at", "relu1:0,0,0", "--format", "xml"], 2, ["xml", "csv"]),
    ],
)
def test_what_cannot_be_explained(
    run: Run, work: Path, words: list[str], code: int, told: list[str]
) -> None:
    refused(run("explain", sample("step.png"), "conv(2) -> relu", *words), code, *told)
    assert not (work / "cnnviz-out").exists()


def test_what_does_not_fit_is_one_error(run: Run, work: Path) -> None:
    spec = "conv(2, 50) -> relu"
    refused(run("explain", sample("digit_3.png"), spec, "--at", "2:0,0,0"), 1, "stage 1 conv1")
    (work / "folder").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4)).save(work / "folder" / name)
    refused(run("explain", "folder", "relu", "--at", "1:0,0,0"), 1, "folder holds 2 images")


def test_a_strange_stage_name_stays_harmless(run: Run) -> None:
    done = run("explain", sample("step.png"), "relu as a.b-c", "--at", "a.b-c:0,0,0")
    assert done.code == 0
    assert Path("cnnviz-out/step/01_relu_a.b-c_at_0_0_0.png").exists()


def test_the_last_stage_s_largest_is_explained_if_nothing_is_said(run: Run) -> None:
    words = ("explain", sample("digit_3.png"), "digits", "--json")
    alone, asked = run(*words).record, run(*words, "--at", "softmax1:max").record
    assert alone == asked
    assert alone["at"] == [3]
