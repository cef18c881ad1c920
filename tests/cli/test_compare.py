"""``cnnviz compare``: numbers, pictures, conventions, errors, and what is remembered."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

import cnnviz
from tests.cli.conftest import Run, files_below, refused, sample
from tests.cli.test_manners import ESCAPES, in_terminal, posix
from tests.cli.test_pipeline import KEYS, STAGE_KEYS, TOTALS_KEYS
from tests.oracles import noise

RECORD_KEYS = [
    "cnnviz", "input", "a", "b", "ratio", "part_at", "differences", "notes", "files",
]  # fmt: skip
STEM = "conv(gaussian(7), stride=2, padding=same) -> relu -> maxpool(3, 2, padding=same)"


def compared(run: Run, *arguments: object) -> dict[str, Any]:
    result = run("compare", *arguments, "--format", "json", "-q")
    assert (result.code, result.err) == (0, "")
    return result.record


def last(text: str, x: Any) -> Any:
    return list(cnnviz.parse(text).run(x))[-1].output


# --- the answer --------------------------------------------------------------------------------


def test_the_json_answer(run: Run) -> None:
    np.save("x.npy", noise(0, 2, 9, 12))
    record = compared(run, "x.npy", "maxpool(2) -> relu", "avgpool(2) -> relu")
    assert list(record) == RECORD_KEYS
    for side, text in (("a", "maxpool(2) -> relu"), ("b", "avgpool(2) -> relu")):
        assert list(record[side]) == KEYS
        assert record[side]["pipeline"] == text
        assert [list(stage) for stage in record[side]["stages"]] == [STAGE_KEYS] * 2
        assert list(record[side]["totals"]) == TOTALS_KEYS
    assert record["input"]["path"] == "x.npy"
    assert record["input"]["shape"] == [2, 9, 12]
    assert record["part_at"] is None
    assert record["ratio"] == {
        "params": None, "mult_adds": None, "memory_bytes": 1.0, "peak_bytes": 1.0,
    }  # fmt: skip
    x = np.load("x.npy")
    for found, (a, b) in zip(
        record["differences"],
        [("maxpool(2)", "avgpool(2)"), ("maxpool(2) -> relu", "avgpool(2) -> relu")],
        strict=True,
    ):
        one, two = last(a, x).astype(np.float64), last(b, x).astype(np.float64)
        gaps = np.abs(one - two)
        assert found["max"] == gaps.max()
        assert found["at"] == list(np.unravel_index(gaps.argmax(), gaps.shape))
        assert found["values"] == [one.flat[gaps.argmax()], two.flat[gaps.argmax()]]
        assert found["mean"] == pytest.approx(gaps.mean())
        assert found["relative"] == pytest.approx(np.linalg.norm(gaps) / np.linalg.norm(one))
        assert found["share"] == (one != two).mean()
    assert record["files"] == [str(Path("cnnviz-out/x/compare.png"))]
    assert Path(record["files"][0]).is_file()


def test_dense_head_against_gap(run: Run) -> None:
    np.save("maps.npy", noise(1, 512, 7, 7))
    arguments = ("maps.npy", "flatten -> dense(1000)", "gap -> dense(1000)")
    record = compared(run, *arguments)
    assert record["a"]["totals"]["params"] == 25_089_000
    assert record["b"]["totals"]["params"] == 513_000
    assert record["ratio"]["params"] == 25_089_000 / 513_000
    assert record["part_at"] == 1
    assert [(one["index"], one["shape"]) for one in record["differences"]] == [(2, [1000])]
    text = run("compare", *arguments).out
    assert "params       25,089,000 : 513,000 = 48.9 : 1" in text
    assert "shapes part at stage 1 (flatten1, global_avgpool1): 25088 and 512×1×1" in text
    assert "≠" in text


def test_mlp_against_cnn(run: Run) -> None:
    record = compared(
        run, sample("digit_3.png"), "flatten -> dense(64) -> relu -> dense(10)",
        "conv(8, 3, padding=same) -> relu -> maxpool(2) -> gap -> dense(10)",
    )  # fmt: skip
    assert record["part_at"] == 1
    (found,) = record["differences"]
    assert (found["index"], found["index_b"], found["names"]) == (4, 5, ["dense2", "dense1"])
    assert found["share"] > 0
    with Image.open(record["files"][0]) as picture:
        assert picture.info["cnnviz:stage"] == "dense2 and dense1"


def test_a_pipeline_and_itself(run: Run) -> None:
    record = compared(run, sample("digit_3.png"), "digits", "digits")
    assert len(record["differences"]) == 18
    for found in record["differences"]:
        assert (found["max"], found["mean"], found["relative"], found["share"]) == (0, 0, 0, 0)
        assert found["at"] is found["values"] is None
        assert found["window_shift"] in (None, [0, 0])
    assert "equal in every value" in run("compare", sample("digit_3.png"), "relu", "relu").out


def test_nothing_can_be_compared(run: Run) -> None:
    result = run("compare", sample("step.png"), "maxpool(2)", "maxpool(3)")
    assert result.code == 0
    assert "shapes part at stage 1 (maxpool1): 1×4×4 and 1×2×2" in result.out
    assert result.out.count("no two stages of equal index have outputs of one shape") == 1
    assert "no two stages" not in result.err
    assert "each on its own scale, without A − B" in result.err
    assert "wrote 2 files to" in result.err
    with Image.open("cnnviz-out/step/compare.png") as picture:
        assert picture.info["cnnviz:stage"] == "maxpool1"
        assert picture.width > 600
    md = run("compare", sample("step.png"), "maxpool(2)", "maxpool(3)", "--format", "md").out
    assert "no two stages of equal index have outputs of one shape" in md
    assert list(files_below("cnnviz-out")) == ["step/compare.json", "step/compare.png"]


@pytest.mark.parametrize(
    ("specs", "stage", "said"),
    [
        (
            ("relu -> maxpool(2)", "relu -> maxpool(4)"),
            "2",
            "A's maxpool1, 1×4×4, and B's maxpool1",
        ),
        (("maxpool(2)", "gap"), None, "A's maxpool1, 1×4×4, and B's global_avgpool1, 1×1×1"),
        (("flatten", "conv(6)"), None, "A's flatten1, 64, and B's conv1, 6×6×6"),
        (("relu -> maxpool(2) as p", "maxpool(4) as p"), "p", "A's p, 1×4×4, and B's p, 1×2×2"),
        (("relu", "relu -> maxpool(2)"), None, "A's relu1, 1×8×8, and B's maxpool1, 1×4×4"),
    ],
)
def test_stages_of_different_shape_are_drawn_each_on_its_own(
    run: Run, specs: tuple[str, str], stage: str | None, said: str
) -> None:
    words = () if stage is None else ("--stage", stage)
    result = run("compare", sample("step.png"), *specs, *words, "--show")
    assert result.code == 0
    assert said in result.err
    with Image.open("cnnviz-out/step/compare.png") as picture:
        assert "cnnviz:difference" not in picture.info


def test_the_parting_ends_are_drawn_and_the_equal_stages_counted(run: Run) -> None:
    specs = ("relu -> maxpool(2) as a", "tanh -> maxpool(4) as b")
    record = compared(run, sample("step.png"), *specs)
    (found,) = record["differences"]
    assert (found["names"], found["max"] > 0) == (["relu1", "tanh1"], True)
    with Image.open("cnnviz-out/step/compare.png") as picture:
        assert picture.info["cnnviz:stage"] == "a and b"


def test_inputs_of_different_shape(run: Run) -> None:
    Path("rgb.toml").write_text(
        'pipeline = "gap -> dense(3)"\n[input]\ncolor = "rgb"\nsize = [9, 11]\n'
    )
    record = compared(run, sample("coffee.jpg"), "rgb.toml", "gap -> dense(3)")
    assert record["part_at"] == 0
    assert record["a"]["input"]["shape"] == [3, 9, 11]
    assert record["b"]["input"]["shape"][0] == 1
    assert [one["names"] for one in record["differences"]] == [["dense1", "dense1"]]
    assert any("[input]" in text for text in record["notes"])
    # A flag wins over both.
    record = compared(
        run, sample("coffee.jpg"), "rgb.toml", "gap -> dense(3)", "--color", "gray",
        "--resize", "8x8",
    )  # fmt: skip
    assert record["part_at"] is None


def test_nan_is_counted_apart(run: Run) -> None:
    x = noise(2, 1, 6, 6)
    x[0, 0, 0], x[0, 3, 3] = np.nan, np.inf
    np.save("odd.npy", x)
    record = compared(run, "odd.npy", "relu", "tanh")
    (found,) = record["differences"]
    assert found["nonfinite"] == [2, 1]
    assert np.isfinite(found["max"])
    assert "NaN" in run("compare", "odd.npy", "relu", "tanh").out


# --- conventions -------------------------------------------------------------------------------


def test_tensorflow_against_pytorch(run: Run) -> None:
    arguments = (sample("camera.png"), STEM, "--convention", "pytorch", "--resize", "224x224")
    record = compared(run, *arguments)
    a, b = record["a"]["stages"], record["b"]["stages"]
    assert (a[0]["padding"], b[0]["padding"]) == ([2, 2, 3, 3], [3, 3, 3, 3])
    assert [stage["output_shape"][1:] for stage in (a[0], b[0])] == [[112, 112]] * 2
    assert record["part_at"] is None
    assert [one["window_shift"] for one in record["differences"]] == [[-1, -1], [0, 0], [-1, -1]]
    assert [one["input_shift"] for one in record["differences"]] == [[-1, -1], [-1, -1], [-3, -3]]
    assert record["differences"][0]["max"] > 0.01
    result = run("compare", *arguments)
    assert "conv1 pads 3,3,3,3 instead of 2,2,3,3" in result.err
    assert "maxpool1 pads 1,1,1,1 instead of 0,0,1,1" in result.err
    assert "conv1: B's windows stand 1 pixel further up and left" in result.out
    assert "maxpool1: B's values look 3 pixels further up and left in the input" in result.out


def test_a_convention_is_applied_to_spec_b(run: Run) -> None:
    record = compared(
        run, sample("step.png"), "maxpool(3, 2, padding=same)", "minpool(3, 2, padding=same)",
        "--convention", "onnx-lower",
    )  # fmt: skip
    assert record["a"]["pipeline"] == "maxpool(3, 2, same)"
    assert record["b"]["pipeline"] == "minpool(3, 2, same-lower)"
    same = run("compare", sample("step.png"), "maxpool(3, 2, padding=same)", "--convention",
               "tensorflow")  # fmt: skip
    assert "no stage of B is padded otherwise" in same.err
    assert "equal in every value" in same.out


# --- pictures and files ------------------------------------------------------------------------


def test_the_triptych_and_its_stage(run: Run) -> None:
    image, specs = sample("camera.png"), ("maxpool(8) as p -> relu", "avgpool(8) as p -> tanh")
    compared(run, image, *specs)
    with Image.open("cnnviz-out/camera/compare.png") as picture:
        assert picture.info["cnnviz:stage"] == "relu1 and tanh1"
        assert picture.info["cnnviz:pipeline"] == "maxpool(8) as p -> relu"
        assert picture.info["cnnviz:against"] == "avgpool(8) as p -> tanh"
        whole = picture.size
    for stage in ("p", "1"):
        record = compared(run, image, *specs, "--stage", stage)
        with Image.open("cnnviz-out/camera/compare.png") as picture:
            assert picture.info["cnnviz:stage"] == "p"
            assert picture.width == whole[0]
            reach = float(picture.info["cnnviz:difference"])
        assert reach == record["differences"][0]["max"]


def test_a_stage_that_only_the_picture_asks_for(run: Run) -> None:
    """Equal names at different places can be compared, too."""
    record = compared(
        run, sample("step.png"), "relu -> maxpool(2) as p", "maxpool(2) as p -> relu -> relu",
        "--stage", "p",
    )  # fmt: skip
    found = [one for one in record["differences"] if one["names"] == ["p", "p"]]
    assert [(one["index"], one["index_b"], one["max"]) for one in found] == [(2, 1, 0)]


def test_two_runs_write_the_same_bytes_and_the_record_repeats_them(run: Run) -> None:
    words = ("compare", sample("digit_3.png"), "conv(5) -> relu", "conv(5) -> tanh", "--seed", 3)
    assert run(*words).code == 0
    before = files_below("cnnviz-out")
    assert list(before) == ["digit_3/compare.json", "digit_3/compare.png"]
    record = json.loads(before["digit_3/compare.json"])
    program, *again = record["command"]
    assert program == "cnnviz"
    assert record["seed"] == 3
    assert record["files"] == ["compare.png"]
    assert record["preparation"]["a"] == record["preparation"]["b"]
    assert run(*again).code == 0
    assert files_below("cnnviz-out") == before


def test_it_lives_beside_a_run(run: Run) -> None:
    assert run("pipeline", sample("step.png"), "relu").code == 0
    before = files_below("cnnviz-out")
    assert run("compare", sample("step.png"), "relu", "tanh").code == 0
    after = files_below("cnnviz-out")
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"step/compare.json", "step/compare.png"}
    assert run("pipeline", sample("step.png"), "relu").code == 0
    assert set(files_below("cnnviz-out")) == set(after)
    Path("other/step").mkdir(parents=True)
    Path("other/step/compare.png").write_text("mine")
    refused(run("compare", sample("step.png"), "relu", "tanh", "-o", "other"), 1, "--force")
    assert Path("other/step/compare.png").read_text() == "mine"


# --- formats and streams -----------------------------------------------------------------------


def test_notes_say_whose_weights_are_random(run: Run) -> None:
    words = ("compare", sample("step.png"))
    assert "A and B: random weights (seed 0): conv1\n" in run(*words, "conv(2)", "conv(3)").err
    assert "B: random weights (seed 0): conv1\n" in run(*words, "relu", "conv(3)").err
    err = run(*words, "conv(2) as a", "conv(3)").err
    assert "A: random weights (seed 0): a\nB: random weights (seed 0): conv1\n" in err


def test_a_converted_pipeline_is_called_so(run: Run) -> None:
    Path("mine.toml").write_text('pipeline = "maxpool(3, 2, padding=same)"')
    words = ("compare", sample("step.png"), "mine.toml", "--convention", "pytorch")
    assert "B  mine, padded as by pytorch" in run(*words).out
    text = run("compare", sample("step.png"), "relu", "--convention", "pytorch").out
    assert "B  relu\n" in text


def test_csv_and_markdown(run: Run) -> None:
    words = ("compare", sample("step.png"), "relu -> maxpool(2)", "tanh")
    result = run(*words, "--format", "csv", "--columns", "name,output,min")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert [row["index"] for row in rows] == ["1", "2"]
    assert list(rows[0])[1:7] == ["a_name", "a_output", "a_min", "b_name", "b_output", "b_min"]
    assert (rows[1]["a_name"], rows[1]["b_name"], rows[1]["max"]) == ("maxpool1", "", "")
    assert float(rows[0]["max"]) == pytest.approx(1 - np.tanh(1))
    text = run(*words, "--format", "md").out
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines()]
    assert ["#", "A Name", "A Layer"] in cells
    assert ["1", "relu1", "relu"] in cells
    assert "Max \\|A−B\\|" in text
    assert "- shapes are equal until B ends: then comes maxpool1" in text


def test_quiet_and_json_and_show(run: Run) -> None:
    words = ("compare", sample("step.png"), "relu", "tanh")
    assert run(*words, "-q").out == run(*words, "-q").err == ""
    shown = run(*words, "--show")
    assert "A−B 0" in shown.out
    both = run(*words, "--show", "--format", "json")
    assert both.record["files"]
    assert "A−B 0" in both.err


def test_costly_columns_on_both_sides(run: Run) -> None:
    result = run(
        "compare", sample("step.png"), "relu -> maxpool(2)", "relu -> avgpool(2)",
        "--columns", "name,discarded,contamination",
    )  # fmt: skip
    line = next(line for line in result.out.splitlines() if line.startswith("2"))
    assert line.split() == ["2", "maxpool1", "75.0%", "0%", "avgpool1", "–", "0%"]


@posix
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_tables_fit_the_terminal(columns: int) -> None:
    code, text = in_terminal(["compare", sample("digit_3.png"), "digits", "lenet5"], columns)
    assert code == 0
    assert "a wider terminal shows" in text or columns == 120
    assert "≠" in text
    tables = ESCAPES.sub("", text).partition("the image is prepared")[0]  # notes wrap themselves
    lines = re.split(r"[\r\n]+", tables)
    assert max(map(cell_len, lines)) <= columns


def test_stdin_is_read_once_for_both(run: Run) -> None:
    data = sample("step.png").read_bytes()
    result = run("compare", "-", "relu", "tanh", "-q", stdin=data)
    assert (result.code, result.err) == (0, "")
    assert Path("cnnviz-out/stdin/compare.png").is_file()
    refused(run("compare", "-", "digits", "relu", stdin=data), 2, "standard input is read once")


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ["IMAGE"]),
        (["STEP"], 2, ["SPEC_A"]),
        (["STEP", "relu"], 2, ["SPEC_B is missing", "--convention"]),
        (["STEP", "relu", "--convention", "torch"], 2, ["convention 'torch'", "pytorch"]),
        (["STEP", "relu", "rellu"], 2, ["rellu", "relu"]),
        (["STEP", "relu", "tanh", "--stage", "relu1"], 2, ["stage of B", "tanh1"]),
        (["STEP", "relu", "relu", "--stage", "rely1"], 2, ["stage of A", "relu1"]),
        (["STEP", "relu", "relu", "--stage", "2"], 2, ["no stage of A 2", "1 to 1"]),
        (["STEP", "relu", "relu", "--columns", "nme"], 2, ["nme", "name"]),
        (["STEP", "relu", "relu", "--algorithm", "magic"], 2, ["magic"]),
        (["STEP", "relu", "relu", "--out", ""], 2, ["--out"]),
        (["STEP", "relu", "maxpool(9)"], 1, ["SPEC_B", "9×9", "8×8"]),
        (["missing.png", "relu", "tanh"], 1, ["missing.png"]),
        (["STEP", "dense(3)", "relu"], 1, ["dense", "flatten"]),
    ],
)  # fmt: skip
def test_errors(run: Run, arguments: list[str], code: int, words: list[str]) -> None:
    given = [sample("step.png") if word == "STEP" else word for word in arguments]
    refused(run("compare", *given), code, *words)
    assert not Path("cnnviz-out").exists()


def test_hostile_names(run: Run) -> None:
    Path("evil.toml").write_text('pipeline = "relu -> [bold]"')
    assert run("compare", sample("step.png"), "evil.toml", "relu").code == 2
    Path("\x1b[31mred.toml").write_text('pipeline = "relu"')
    result = run("compare", sample("step.png"), "\x1b[31mred.toml", "tanh")
    assert result.code == 0
    assert "\x1b" not in result.out + result.err


def test_a_network_against_itself_without_some_maps(run: Run) -> None:
    done = run("compare", sample("digit_3.png"), "digits", "--without", "conv5:0,1,2", "--json")
    lines = done.err.replace("\n", " ")
    assert "B is without the maps conv5 0, 1, 2" in lines
    assert "A → B: 3 99.5% → " in lines
    notes = done.record["notes"]
    assert any(note.startswith("A → B: 3") for note in notes)
    assert Path("cnnviz-out/digit_3/compare.png").exists()
