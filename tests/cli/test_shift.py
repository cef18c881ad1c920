"""``cnnviz shift``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from tests.cli.conftest import Run, files_below, refused, sample, save_plane
from tests.cli.test_manners import ESCAPES, in_terminal, posix

PHOTO = sample("chelsea.jpg")
SMALL = ("--resize", "40x60")
SPEC = "conv(sobel, padding=same, padding_mode=circular) -> relu -> maxpool(2) -> gap"


def test_json(run: Run) -> None:
    record = run("shift", PHOTO, SPEC, *SMALL, "--by", 3, "--format", "json").record
    assert list(record) == [
        "cnnviz", "input", "pipeline", "by", "axis", "mode", "rotate", "stages", "against",
        "notes", "files",
    ]  # fmt: skip
    assert (record["by"], record["axis"], record["mode"]) == (3, "x", "circular")
    assert record["rotate"] is None
    assert record["against"] is None
    assert record["input"]["shape"] == [1, 40, 60]
    names = [stage["name"] for stage in record["stages"]]
    assert names == ["input", "conv1", "relu1", "maxpool1", "global_avgpool1"]
    pooled = record["stages"][3]
    assert list(pooled) == [
        "index", "name", "layer", "output_shape", "effective_stride", "shifts", "equivariance",
        "invariance",
    ]  # fmt: skip
    assert pooled["output_shape"] == [2, 20, 30]
    assert pooled["effective_stride"] == [2, 2]
    assert pooled["shifts"] == [1, 2, 3]
    assert pooled["equivariance"] == [None, 0, None]
    assert all(0 < error < 2 for error in pooled["invariance"])
    assert any("softens" in note for note in record["notes"])
    assert record["files"] == ["cnnviz-out/chelsea/shift.png"]


def test_files_can_be_made_again(run: Run) -> None:
    assert run("pipeline", PHOTO, "relu", *SMALL, "-q").code == 0
    before = files_below("cnnviz-out")
    arguments = ("shift", PHOTO, SPEC, *SMALL, "--by", 2, "-q")
    assert run(*arguments).out == ""
    written = files_below("cnnviz-out")
    assert before.items() <= written.items()
    new = set(written) - set(before)
    assert new == {"chelsea/shift.json", "chelsea/shift.png"}
    record = json.loads(written["chelsea/shift.json"])
    assert record["command"] == ["cnnviz", *map(str, arguments)]
    assert record["seed"] == 0
    assert record["pipeline"].startswith("conv(sobel")
    assert record["stages"][1]["invariance"][0] > 0
    assert record["files"] == ["shift.png"]
    assert run(*arguments, "--threads", 1).code == 0
    again = files_below("cnnviz-out")
    assert again["chelsea/shift.png"] == written["chelsea/shift.png"]
    run(*arguments)
    assert files_below("cnnviz-out") == written
    with Image.open("cnnviz-out/chelsea/shift.png") as picture:
        assert picture.text["cnnviz:pipeline"] == record["pipeline"]
        assert "right by 1 … 2 pixels" in picture.text["cnnviz:movement"]


def test_table_chart_and_notes(run: Run) -> None:
    result = run("shift", PHOTO, SPEC, *SMALL, "--by", 5, "--axis", "both")
    assert "content moved right and down by 1 … 5 pixels, circular" in result.out
    for word in ("Invariance error", "Equivariance error", "maxpool1", "1×40×60", "a input"):
        assert word in result.out
    assert max(map(len, result.out.splitlines()[1:])) <= 80  # the title holds a path
    assert "equivariant: conv1 and relu1 move along with the picture exactly" in result.err
    assert "wrote 2 files" in result.err


def test_against(run: Run) -> None:
    other = SPEC.replace("maxpool(2)", "avgpool(2)")
    result = run("shift", PHOTO, SPEC, *SMALL, "--against", other, "--format", "json", "-q")
    record, against = result.record, result.record["against"]
    assert result.err == ""
    assert against["pipeline"] == record["pipeline"].replace("maxpool(2)", "avgpool(2)")
    assert against["stages"][:3] == record["stages"][:3]
    assert against["stages"][3]["invariance"] != record["stages"][3]["invariance"]
    alone = run("shift", PHOTO, other, *SMALL, "--format", "json", "-q").record
    assert alone["stages"] == against["stages"]
    assert any(note.startswith("B: avgpool1 softens") for note in record["notes"])
    assert "A's last stage" in record["notes"][-1]
    text = run("shift", PHOTO, SPEC, *SMALL, "--against", other).out
    for word in ("A: conv", "B: conv", "A: 3 maxpool1", "B: 3 avgpool1", "A, B: 1 conv1"):
        assert word in text


def test_pipelines_are_called_by_their_names(run: Run) -> None:
    Path("mine.toml").write_text('pipeline = "maxpool(2)"')
    words = ("shift", sample("digit_3.png"), "digits", "--against", "mine.toml", "--by", 1)
    lines = run(*words).out.splitlines()
    assert lines[1] == "A: digits"
    assert lines[2].startswith("B: mine")
    record = run(*words, "--format", "json").record
    assert record["pipeline"].startswith("conv(16")
    assert record["against"]["pipeline"] == "maxpool(2)"
    with Image.open(record["files"][0]) as picture:
        assert picture.text["cnnviz:pipeline"] == record["pipeline"]
        assert picture.height < 600  # a line of notes each
    assert run(*words[:3], "--against", "relu", "--by", 1).out.splitlines()[2] == "B: relu"


def test_random_weights_of_two_pipelines(run: Run) -> None:
    words = ("shift", sample("step.png"), "conv(2)", "--by", 1, "--against")
    assert "A and B: random weights (seed 0): conv1\n" in run(*words, "conv(2) -> relu").err
    err = run(*words, "relu -> conv(2) as b").err
    assert "A: random weights (seed 0): conv1\nB: random weights (seed 0): b\n" in err


def test_the_default_shift_is_as_long_as_the_picture_allows(run: Run) -> None:
    words = ("shift", sample("step.png"), "conv(1)", "--mode", "crop")
    result = run(*words)
    assert "1 … 5 pixels" in result.out
    assert "by up to 5, not by 8, the default" in result.err
    for other, by in (("relu", 5), ("maxpool(5)", 3)):  # the least of both
        record = run(*words, "--against", other, "--format", "json", "-q").record
        assert (record["by"], record["against"]["by"]) == (by, by)
        assert any("the default" in note for note in record["notes"])
    assert "the default" not in run(*words[:3]).err
    assert "the default" not in run(*words, "--by", 3).err
    assert run(*words[:3], "--format", "json").record["by"] == 8
    refused(run("shift", sample("step.png"), "conv(1, 8)", "--mode", "crop"), 1, "a shift by 1",
            "--mode circular")  # fmt: skip


def test_a_network_built_for_the_crops(run: Run) -> None:
    words = ("shift", sample("digit_3.png"), "lenet5", "--mode", "crop", "--by", 8)
    assert "fc1 reads 240 values, not 400" in run(*words).err
    assert "fc1 reads" not in run(*words[:3]).err


@posix
def test_notes_are_wrapped_between_words_on_a_terminal(run: Run) -> None:
    words = ["shift", sample("digit_3.png"), "digits", "--by", 16, "-o", "o"]
    run(*words)  # then both replace a file of an earlier run
    told = run(*words).err.splitlines()
    assert any(len(line) > 120 for line in told)  # in a pipe a line each
    code, text = in_terminal(words, 80)
    assert code == 0
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", text).partition("has them all")[2])
    assert max(map(cell_len, lines)) <= 80
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(told).split())


def test_against_prepares_the_picture_as_each_pipeline_says(run: Run) -> None:
    for name, size in (("a", 20), ("b", 30)):
        Path(f"{name}.toml").write_text(f'pipeline = "relu"\n[input]\nsize = {size}\n')
    record = run("shift", PHOTO, "a.toml", "--against", "b.toml", "--format", "json").record
    assert record["input"]["shape"] == [1, 20, 20]
    assert record["against"]["input"]["shape"] == [1, 30, 30]
    same = run("shift", PHOTO, "a.toml", "--against", "b.toml", *SMALL, "--format", "json").record
    assert same["against"]["input"] == same["input"]
    png = sample("digit_3.png").read_bytes()
    refused(run("shift", "-", "a.toml", "--against", "b.toml", stdin=png), 2, "standard input")
    result = run("shift", "-", "relu", "--against", "abs", "--by", 2, "--format", "json", stdin=png)
    assert result.record["against"]["stages"][0]["invariance"][0] > 0


def test_rotation(run: Run) -> None:
    text = "conv(4, padding=same) -> relu -> maxpool(2) -> gap"
    result = run("shift", PHOTO, text, *SMALL, "--rotate", 16, "--format", "json")
    record = result.record
    assert (record["by"], record["mode"], record["rotate"]) == (None, "rotate", 16)
    assert record["stages"][1]["shifts"] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert record["stages"][0]["equivariance"] == [0] * 8
    assert record["files"] == ["cnnviz-out/chelsea/shift_rotate.png"]
    assert "gives little against rotation" in result.err


@pytest.mark.parametrize("form", ["csv", "md"])
def test_other_formats(run: Run, form: str) -> None:
    result = run("shift", PHOTO, SPEC, *SMALL, "--by", 2, "--format", form)
    lines = result.out.splitlines()
    assert len(lines) == {"csv": 1 + 5 * 2, "md": 2 * (2 + 7) + 3}[form]
    assert "│" not in result.out
    assert run("shift", PHOTO, SPEC, *SMALL, "--format", form, "-q").out == ""


def test_random_weights_are_told_and_the_seed_counts(run: Run) -> None:
    arguments = ("shift", PHOTO, "conv(2)", *SMALL, "--by", 1, "--format", "json")
    first, second = run(*arguments), run(*arguments, "--seed", 5)
    assert "random weights (seed 5): conv1" in second.err
    assert first.record["stages"][1] != second.record["stages"][1]


def test_weights_serve_both_pipelines(run: Run) -> None:
    np.savez("w.npz", **{"conv1.weight": np.ones((1, 1, 3, 3), np.float32),
                         "conv1.bias": np.zeros(1, np.float32)})  # fmt: skip
    record = run(
        "shift", PHOTO, "conv(1)", *SMALL, "--against", "conv(1) -> relu", "--weights", "w.npz",
        "--by", 1, "--format", "json",
    ).record  # fmt: skip
    one, two = record["stages"][1], record["against"]["stages"][1]
    assert one == two


def test_names_are_harmless(run: Run) -> None:
    save_plane("[bold]evil\x1b[31m.png", np.arange(64).reshape(8, 8))
    result = run("shift", "[bold]evil\x1b[31m.png", "relu", "--by", 1)
    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    assert "[bold]evil" in result.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--by", 0], 2, ["--by is 0", "from 1"]),
        (["--by", -3], 2, ["--by is -3"]),
        (["--by", 1.5], 2, ["1.5"]),
        (["--by", 3, "--rotate", 5], 2, ["--by", "--rotate"]),
        (["--axis", "x", "--rotate", 5], 2, ["--axis", "one of --axis and --rotate"]),
        (["--mode", "crop", "--rotate", 5], 2, ["--mode", "one of --mode and --rotate"]),
        (["--rotate", 0], 2, ["0 degrees", "180"]),
        (["--rotate", "nan"], 2, ["nan"]),
        (["--axis", "z"], 2, ["z"]),
        (["--against", "rellu"], 2, ["rellu", "relu"]),
        (["--algorithm", "magic"], 2, ["magic"]),
        (["--out", ""], 2, ["--out"]),
        (["--by", 9], 1, ["9", "8 columns", "1 to 8"]),
        (["--by", 8, "--mode", "crop"], 1, ["8×8", "1 to 5"]),
        (["--by", 6, "--mode", "crop"], 1, ["8×2", "stage 1 conv1", "1 to 5"]),
        (["--by", 5, "--mode", "crop", "--against", "maxpool(5)"], 1, ["pipeline B", "1 to 3"]),
        (["--weights", "missing.npz"], 1, ["missing.npz"]),
    ],
)
def test_errors(run: Run, arguments: list[object], code: int, words: list[str]) -> None:
    refused(run("shift", sample("step.png"), "conv(1)", *arguments), code, *words)
    assert not Path("cnnviz-out").exists()


def test_a_pipeline_or_picture_that_does_not_fit(run: Run) -> None:
    refused(run("shift", sample("step.png"), "conv(1, 9)"), 1, "9×9", "8×8")
    refused(run("shift", "missing.png", "relu"), 1, "missing.png")
    digit = ("shift", sample("digit_3.png"), "digits", "--mode", "crop", "-q")
    words = ("28×20", "dense1.weight", "(48, 432)", "--by can be 1 to 4 here")
    refused(run(*digit, "--by", 8), 1, *words)
    assert run(*digit, "--by", 4).code == 0
    Path("two").mkdir()
    for name in ("a", "b"):
        save_plane(f"two/{name}.png", np.zeros((4, 4)))
    refused(run("shift", "two", "relu"), 1, "2 images")
