"""``cnnviz pipeline``: the JSON contract, weights and seeds, predictions, several images."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

import cnnviz
from tests.cli.conftest import Result, Run, refused, sample

KEYS = ["cnnviz", "input", "pipeline", "stages", "totals", "predictions"]
STAGE_KEYS = [
    "index", "name", "layer", "settings", "inputs", "kernel_size", "stride", "padding", "dilation",
    "groups", "input_shape", "output_shape", "params", "mult_adds", "receptive_field",
    "effective_stride", "effective_padding", "memory_bytes", "algorithm", "min", "max", "mean",
    "zeros", "seconds", "files",
]  # fmt: skip
TOTALS_KEYS = ["params", "mult_adds", "memory_bytes", "peak_bytes"]
CLASSIFIER = "conv(4, 3, padding=same) -> relu -> maxpool(2) -> flatten -> dense(3) -> softmax"


def pipeline(run: Run, *arguments: object) -> Result:
    result = run("pipeline", *arguments, "--format", "json", "-q")
    assert (result.code, result.err) == (0, "")
    return result


# --- the worked figure and predictions ---------------------------------------------------------


def test_softmax_of_the_scores(run: Run) -> None:
    result = run("pipeline", sample("scores.csv"), "flatten -> softmax", "--values")
    assert result.code == 0
    assert "0.638 0.235 0.095 0.032" in result.out
    assert result.out.splitlines()[-4].startswith("0 ")
    assert result.out.splitlines()[-4].endswith("63.8%")
    predictions = pipeline(run, sample("scores.csv"), "flatten -> softmax").record["predictions"]
    assert [one["label"] for one in predictions] == ["0", "1", "2", "3"]
    expected = np.exp([2, 1, 0.1, -1]) / np.exp([2, 1, 0.1, -1]).sum()
    np.testing.assert_allclose([one["probability"] for one in predictions], expected, rtol=1e-6)


def test_shares_that_tell_nothing_say_so_where_they_stand(run: Run) -> None:
    untrained = run("pipeline", sample("digit_3.png"), CLASSIFIER, "--top", 1)
    assert "with random weights these percentages mean nothing\n" in untrained.out
    alone = run("pipeline", sample("scores.csv"), "gap -> softmax")
    assert "of a single class this is always 100 %: softmax compares classes\n0 █" in alone.out
    maps = run("pipeline", sample("scores.csv"), "softmax as s -> relu")
    assert "softmax over a single channel is 1 everywhere: s" in maps.err


def test_what_leaving_maps_out_costs(run: Run) -> None:
    arguments = ["pipeline", sample("digit_3.png"), "digits", "--stages", "dense2", "--top", 2]
    arguments += ["--save", "npy", "--json"]
    whole = run(*arguments).record
    done = run(*arguments, "--without", "conv1:0,1,2,3,4,5,6,7", "--without", "maxpool1:3,3")
    left = done.record
    maps = {"conv1": list(range(8)), "maxpool1": [3]}
    assert left["without"]["maps"] == maps
    lost = left["without"]["predictions"]
    assert [one["label"] for one in lost] == [one["label"] for one in whole["predictions"]]
    assert [one["before"] for one in lost] == pytest.approx(
        [one["probability"] for one in whole["predictions"]]
    )
    now = {one["label"]: one["probability"] for one in left["predictions"]}
    for one in lost:
        assert one["after"] == pytest.approx(now.get(one["label"], one["after"]))
    assert lost[0]["after"] < lost[0]["before"]
    again = run(*arguments[:-1], "--without", "conv1:0").out
    assert "without those maps: 3 99.5% → " in again
    for flag, told in (
        ("conv1", "--without is 'conv1'"), ("conv1:x", "name a stage and its maps"),
        ("nowhere:1", "unknown stage 'nowhere'"),
    ):  # fmt: skip
        refused(run(*arguments, "--without", flag), 2, told)
    refused(run(*arguments, "--without", "conv1:16"), 1, "no map 16 to leave out", "maps 0 to 15")


@pytest.mark.parametrize("last", ["log_softmax", "dense(3)"])
def test_scores_and_logarithms_become_probabilities(run: Run, last: str) -> None:
    record = pipeline(run, sample("scores.csv"), f"flatten -> {last}").record
    assert sum(one["probability"] for one in record["predictions"]) == pytest.approx(1)


def test_no_classifier_no_predictions(run: Run) -> None:
    for text in ("flatten -> relu", "conv(sobel)"):
        assert pipeline(run, sample("step.png"), text).record["predictions"] == []


def test_top_and_labels(run: Run) -> None:
    Path("labels.txt").write_text("cat\ndog\n[red]fox[/red]\n\x1b[31mowl\n")
    arguments = [sample("scores.csv"), "flatten -> softmax", "--labels", "labels.txt"]
    record = pipeline(run, *arguments, "--top", 2).record
    assert [one["label"] for one in record["predictions"]] == ["cat", "dog"]
    shown = run("pipeline", *arguments)
    assert "[red]fox[/red]" in shown.out
    assert "\x1b" not in shown.out
    more = pipeline(run, *arguments, "--top", 10**12).record
    assert len(more["predictions"]) == 4


@pytest.mark.parametrize("columns", [20, 40, 120])
def test_a_thousand_wide_labels(run: Run, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    labels = [f"{i} {'猫' * (i % 7)} a class with a long name, and another" for i in range(1000)]
    Path("labels.txt").write_text("\n".join(labels), "utf-8")
    scores = np.random.default_rng(0).permutation(1000)
    np.save("scores.npy", (scores / 100).astype(np.float32)[None])
    arguments = ["scores.npy", "flatten -> softmax", "--labels", "labels.txt", "--top", 1000]
    predictions = pipeline(run, *arguments).record["predictions"]
    best = np.argsort(-scores)
    assert [one["label"] for one in predictions] == [labels[i] for i in best]
    assert sum(one["probability"] for one in predictions) == pytest.approx(1)
    shown = run("pipeline", *arguments, "--columns", "name").out
    assert "\x1b" not in shown
    lines = [line for line in shown.splitlines() if line.endswith("%")]
    assert len(lines) == 1000
    assert max(map(cell_len, lines)) <= columns
    assert [line.split()[0].rstrip("…") for line in lines] == [str(i) for i in best]


def test_equal_probabilities_come_in_order(run: Run) -> None:
    Path("flat.csv").write_text("1,1,1,1,1,1,1\n")
    record = pipeline(run, "flat.csv", "flatten -> softmax").record
    assert [one["label"] for one in record["predictions"]] == list("01234")


def test_labels_must_be_as_many_as_classes(run: Run) -> None:
    Path("labels.txt").write_text("cat\ndog\n")
    Path("own.toml").write_text(
        'pipeline = "flatten -> softmax"\n[input]\nlabels = ["cat", "dog"]\n'
    )
    scores = sample("scores.csv")
    given = run("pipeline", scores, "flatten -> softmax", "--labels", "labels.txt")
    refused(given, 1, "labels.txt", "2 labels", "4")
    refused(run("pipeline", scores, "own.toml"), 1, "[input]", "2 labels", "4")
    assert not Path("cnnviz-out").exists()


# --- JSON --------------------------------------------------------------------------------------


def test_json_has_exactly_the_promised_keys(run: Run) -> None:
    record = pipeline(run, sample("digit_3.png"), CLASSIFIER).record
    assert list(record) == KEYS
    assert record["cnnviz"] == cnnviz.__version__
    assert list(record["input"]) == ["path", "shape", "min", "max"]
    assert record["input"]["path"] == str(sample("digit_3.png"))
    assert [list(stage) for stage in record["stages"]] == [STAGE_KEYS] * 6
    assert list(record["totals"]) == TOTALS_KEYS
    assert [list(one) for one in record["predictions"]] == [["label", "probability"]] * 3


def test_json_values(run: Run) -> None:
    record = pipeline(run, sample("digit_3.png"), CLASSIFIER).record
    conv, relu, pool, flatten, dense, softmax = record["stages"]
    assert record["pipeline"] == str(cnnviz.parse(CLASSIFIER))
    assert [stage["index"] for stage in record["stages"]] == [1, 2, 3, 4, 5, 6]
    assert conv["inputs"] == ["input"]
    assert relu["inputs"] == ["conv1"]
    assert (conv["kernel_size"], conv["stride"], conv["dilation"]) == ([3, 3], [1, 1], [1, 1])
    assert (conv["padding"], conv["groups"]) == ([1, 1, 1, 1], 1)
    assert (conv["input_shape"], conv["output_shape"]) == ([1, 28, 28], [4, 28, 28])
    assert (conv["params"], conv["mult_adds"]) == (4 * 9 + 4, 4 * 9 * 28 * 28)
    assert (pool["receptive_field"], pool["effective_stride"]) == ([4, 4], [2, 2])
    assert flatten["output_shape"] == [4 * 14 * 14]
    assert flatten["kernel_size"] is flatten["stride"] is flatten["padding"] is None
    assert dense["params"] == 4 * 14 * 14 * 3 + 3
    assert softmax["output_shape"] == [3]
    assert conv["memory_bytes"] == 4 * 28 * 28 * 4
    assert record["totals"]["params"] == conv["params"] + dense["params"]
    assert record["totals"]["peak_bytes"] == 2 * conv["memory_bytes"]
    outputs = cnnviz.parse(CLASSIFIER).run(cnnviz.load_image(str(sample("digit_3.png"))))
    for stage, computed in zip(record["stages"], outputs, strict=True):
        values = computed.output
        assert stage["min"] == pytest.approx(float(values.min()), rel=1e-6)
        assert stage["max"] == pytest.approx(float(values.max()), rel=1e-6)
        assert stage["mean"] == pytest.approx(float(values.mean(dtype=np.float64)), rel=1e-5)
        assert stage["zeros"] == pytest.approx(float((values == 0).mean()))
        assert stage["seconds"] > 0
        assert stage["files"]
        assert all(Path(file).is_file() for file in stage["files"])


def test_shapes_of_a_graph(run: Run) -> None:
    text = (
        "conv(2, 3, padding=same) as a -> relu as b -> conv(2, 3, padding=same) -> add(a, b)"
        " -> from(input) -> concat(a)"
    )
    stages = pipeline(run, sample("step.png"), text).record["stages"]
    assert stages[3]["inputs"] == ["conv2", "a", "b"]
    assert stages[4]["inputs"] == ["input", "a"]
    assert stages[4]["output_shape"] == [3, 8, 8]


def test_nan_and_infinity_are_null(run: Run) -> None:
    np.save("nan.npy", np.full((4, 4), np.nan, np.float32))
    record = pipeline(run, "nan.npy", "conv(sobel) -> flatten -> softmax").record
    assert record["input"]["min"] is None
    assert [stage["max"] for stage in record["stages"]] == [None] * 3
    assert record["predictions"][0]["probability"] is None
    mixed = np.ones((4, 4), np.float32)
    mixed[0, 0], mixed[1, 1] = np.inf, np.nan
    np.save("mixed.npy", mixed)
    record = pipeline(run, "mixed.npy", "relu").record
    assert (record["stages"][0]["min"], record["stages"][0]["max"]) == (1, 1)


def test_one_object_a_line_for_several_images(run: Run) -> None:
    names = [sample("step.png"), sample("tutorial.csv"), sample("digit_3.png")]
    records = pipeline(run, *names, "conv(sobel) -> relu").records
    assert [record["input"]["path"] for record in records] == [str(name) for name in names]
    assert [record["input"]["shape"] for record in records] == [[1, 8, 8], [1, 5, 5], [1, 28, 28]]


def test_predictions_of_json_stay_off_stdout_but_values_are_shown(run: Run) -> None:
    result = run("pipeline", sample("scores.csv"), "flatten -> softmax", "--format", "json",
                 "--values", "--show")  # fmt: skip
    assert list(result.record) == KEYS
    assert "0.638 0.235 0.095 0.032" in result.err


# --- other formats -----------------------------------------------------------------------------


def test_csv_parses_and_has_the_columns_asked_for(run: Run) -> None:
    result = run("pipeline", sample("digit_3.png"), CLASSIFIER, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert [row["name"] for row in rows][:2] == ["conv1", "relu1"]
    assert rows[0]["output"] == "4x28x28"
    assert int(rows[0]["params"]) == 40
    chosen = run("pipeline", sample("digit_3.png"), CLASSIFIER, "--format", "csv",
                 "--columns", "output,name,mult-adds")  # fmt: skip
    rows = list(csv.reader(io.StringIO(chosen.out)))
    assert rows[0] == ["output", "name", "mult_adds"]
    assert rows[1] == ["4x28x28", "conv1", str(4 * 9 * 28 * 28)]
    assert len(rows) == 7


def test_no_number_is_minus_zero(run: Run) -> None:
    result = run("shapes", "conv(2)", "--input", "1x8x8", "--format", "csv",
                 "--columns", "eff_padding")  # fmt: skip
    assert result.out.splitlines()[1] == '"0,0,0,0"'


def test_markdown_parses(run: Run) -> None:
    result = run("pipeline", sample("digit_3.png"), CLASSIFIER, "--format", "md",
                 "--columns", "name,output,params")  # fmt: skip
    lines = [line for line in result.out.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["Name", "Output", "Params"]
    assert set("".join(cells[1])) <= {"-", ":"}
    assert cells[2] == ["conv1", "4×28×28", "40"]
    assert len(cells) == 2 + 6 + 1


def test_the_table_of_chosen_columns(run: Run) -> None:
    result = run("pipeline", sample("digit_3.png"), CLASSIFIER, "--columns", "name,output,padding")
    head = result.out.splitlines()[1].split()
    assert head[:2] == ["Name", "Output"]
    assert "4×28×28" in result.out
    assert "Mult-Adds" not in result.out


# --- weights and seeds -------------------------------------------------------------------------


FORMATS = ("npz", "safetensors", "pth")


def drawn(run: Run, *options: object, text: str = "conv(8)") -> np.ndarray:
    pipeline(run, sample("camera.png"), text, "--save", "npy", "--only", "grid", *options)
    return np.load("cnnviz-out/camera/01_conv_conv1.npy")


def test_drawn_weights_are_those_of_the_python_interface(run: Run) -> None:
    x = cnnviz.load_image(str(sample("camera.png")))
    (stage,) = cnnviz.parse("conv(8)").run(x)
    np.testing.assert_array_equal(drawn(run), stage.output)
    (other,) = cnnviz.parse("conv(8)").run(x, seed=7)
    np.testing.assert_array_equal(drawn(run, "--seed", 7), other.output)
    assert not np.array_equal(stage.output, other.output)


def test_random_weights_are_named(run: Run) -> None:
    result = run("pipeline", sample("digit_3.png"), CLASSIFIER, "--seed", 5)
    assert "random weights (seed 5): conv1, dense1" in result.err
    assert "random" not in run("pipeline", sample("digit_3.png"), "conv(sobel)").err


def test_weights_from_a_file_give_the_same_result(run: Run) -> None:
    x = cnnviz.load_image(str(sample("digit_3.png")))
    spec = cnnviz.parse(CLASSIFIER)
    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(size=need.shape).astype(np.float32)
        for name, need in spec.param_specs(x.shape).items()
    }
    assert list(weights) == ["conv1.weight", "conv1.bias", "dense1.weight", "dense1.bias"]
    np.savez("w.npz", **weights)
    result = run("pipeline", sample("digit_3.png"), CLASSIFIER, "--weights", "w.npz",
                 "--save", "npy")  # fmt: skip
    assert result.code == 0
    assert "random" not in result.err
    for stage in spec.run(x, weights):
        name = f"{stage.row.index:02d}_{stage.row.layer}_{stage.row.name}.npy"
        np.testing.assert_array_equal(np.load(f"cnnviz-out/digit_3/{name}"), stage.output)


def test_a_toml_file_brings_its_own_settings_and_flags_win(run: Run, work: Path) -> None:
    np.savez("w.npz", **{"c.weight": np.ones((1, 3, 1, 1), np.float32)})
    folder = work / "spec"
    folder.mkdir()
    Path("w.npz").rename(folder / "w.npz")
    (folder / "labels.txt").write_text("only\n")
    (folder / "s.toml").write_text(
        'pipeline = ["conv(1, 1, bias=false) as c", "gap", "flatten", "softmax"]\n'
        '[input]\ncolor = "rgb"\nsize = [6, 7]\nmean = 0.5\nstd = [1, 1, 1]\n'
        'weights = "w.npz"\nlabels = "labels.txt"\n'
    )
    record = pipeline(run, sample("chelsea.jpg"), "spec/s.toml").record
    assert record["input"]["shape"] == [3, 6, 7]
    assert record["input"]["min"] < 0
    assert record["predictions"] == [{"label": "only", "probability": 1}]
    record = pipeline(run, sample("chelsea.jpg"), "spec/s.toml", "--resize", "9x4",
                      "--mean", "0").record  # fmt: skip
    assert record["input"]["shape"] == [3, 9, 4]
    assert record["input"]["min"] >= 0


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"conv1.weight": (8, 1, 3, 3)}, ["lacks conv1.bias (8)"]),
        ({"conv1.weight": (8, 2, 3, 3), "conv1.bias": (8,)}, ["(8, 2, 3, 3)", "(8, 1, 3, 3)"]),
        (
            {"conv1.weight": (8, 1, 3, 3), "conv1.bias": (8,), "fc.weight": (2, 2)},
            ["no stage takes fc.weight (2, 2)"],
        ),
        ({}, ["lacks conv1.weight"]),
    ],
)
def test_weights_that_do_not_fit(run: Run, arrays: dict, words: list[str]) -> None:
    np.savez("w.npz", **{name: np.zeros(shape, np.float32) for name, shape in arrays.items()})
    result = run("pipeline", sample("step.png"), "conv(8)", "--weights", "w.npz")
    refused(result, 1, "w.npz", *words)
    assert not Path("cnnviz-out").exists()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *((f"{name}.{suffix}", 1) for name in ("missing", "folder", "text") for suffix in FORMATS),
        ("w.txt", 2),
        ("", 2),
    ],
)
def test_weights_that_cannot_be_read(run: Run, name: str, code: int) -> None:
    for suffix in FORMATS:
        Path(f"folder.{suffix}").mkdir()
        Path(f"text.{suffix}").write_text("neither of them")
    Path("w.txt").write_text("no archive")
    refused(run("pipeline", sample("step.png"), "conv(8)", "--weights", name), code, name)


def test_the_bundled_pipelines_run(run: Run) -> None:
    edges = pipeline(run, sample("digit_3.png"), "edges").record
    assert [stage["name"] for stage in edges["stages"]][:3] == ["smooth", "gradient", "strength"]
    lenet = pipeline(run, sample("digit_3.png"), "lenet5", "--labels",
                     sample("labels_digits.txt"), "--top", 3).record  # fmt: skip
    assert lenet["totals"]["params"] == 61_706
    assert len(lenet["predictions"]) == 3


def test_a_thousand_stages(run: Run) -> None:
    text = " -> ".join(["relu"] * 1000)
    record = pipeline(run, sample("tutorial.csv"), text, "--stages", "1000,relu1").record
    assert len(record["stages"]) == 1000
    assert [bool(s["files"]) for s in record["stages"]] == [True] + [False] * 998 + [True]
    assert "1000_relu_relu1000_grid.png" in record["stages"][-1]["files"][-1]


def test_printing_and_parsing_the_pipeline_repeats_the_run(run: Run) -> None:
    text = "conv(sobel, padding=SAME_UPPER) as a→relu # edges\n-> maxpool((2, 1)) -> add(a) as b"
    first = run("pipeline", sample("step.png"), text)
    refused(first, 1, "add", "2×8×8")
    text = (
        "conv(gaussian(5, sigma=1.5), '1,0;0,1', padding=SAME_UPPER) as a→relu # x\n->add(a) as b"
    )
    one = pipeline(run, sample("camera.png"), text).record
    two = pipeline(run, sample("camera.png"), one["pipeline"]).record
    for record in (one, two):
        for stage in record["stages"]:
            stage["seconds"] = None
    assert one == two


# --- how pictures are prepared -----------------------------------------------------------------


@pytest.mark.parametrize("digit", range(10))
def test_the_sample_digits_are_read_right(run: Run, digit: int) -> None:
    record = pipeline(run, sample(f"digit_{digit}.png"), "digits", "--stages", "softmax1").record
    assert record["predictions"][0]["label"] == str(digit)
    assert record["predictions"][0]["probability"] > 0.9
    assert record["totals"]["params"] == 51_514


def test_a_large_black_on_white_digit_is_read_right(run: Run) -> None:
    with Image.open(sample("digit_7.png")) as digit:
        page = Image.new("RGB", (900, 600), (250, 240, 230))
        ink = digit.resize((200, 200))
        page.paste((30, 30, 90), (500, 300), ink)
        page.save("page.jpg")
    record = pipeline(run, "page.jpg", "digits", "--stages", "softmax1").record
    assert record["predictions"][0]["label"] == "7"
    assert record["input"]["shape"] == [1, 28, 28]


def test_blank_pictures_of_digits_get_some_answer(run: Run) -> None:
    Image.new("L", (50, 40), 255).save("blank.png")
    assert pipeline(run, "blank.png", "digits", "--stages", "softmax1").record["predictions"]


def preparation(folder: str) -> dict[str, Any]:
    record = json.loads(Path("cnnviz-out", folder, "run.json").read_text("utf-8"))
    prepared: dict[str, Any] = record["preparation"]
    return prepared


def test_run_json_remembers_the_preparation(run: Run) -> None:
    pipeline(run, sample("digit_3.png"), "digits", "--stages", "softmax1")
    prepared = preparation("digit_3")
    assert (prepared["fit"], prepared["invert"], prepared["color"]) == ("digit", "auto", "gray")
    record = json.loads(Path("cnnviz-out/digit_3/run.json").read_text("utf-8"))
    assert record["weights"] == "digits.safetensors"


def test_flags_win_over_the_file(run: Run) -> None:
    Path("net.toml").write_text(
        'pipeline = "relu"\n[input]\ncolor = "bgr"\nsize = 20\ncrop = 16\ninput_range = 255\n'
        'invert = "always"\nmean = [1, 2, 3]\n'
    )
    given = pipeline(run, sample("step.png"), "net.toml").record
    assert given["input"]["shape"] == [3, 16, 16]
    assert preparation("step")["mean"] == [1, 2, 3]
    for flags, shape in (
        (["--resize", "12x10"], [3, 12, 10]),
        (["--crop", "9x11"], [3, 9, 11]),
        (["--fit", "none"], [3, 8, 8]),
        (["--fit", "digit", "--mean", "0"], [1, 28, 28]),
        (["--resize", "12", "--crop", "10", "--color", "gray", "--mean", "0"], [1, 10, 10]),
    ):
        assert (
            pipeline(run, sample("step.png"), "net.toml", *flags).record["input"]["shape"] == shape
        )
    plain = ["--color", "gray", "--fit", "none", "--invert", "never", "--mean", "0"]
    for flags, most in (([], 255), (["--input-range", "1"], 1), (["--raw"], 255)):
        one = pipeline(run, sample("step.png"), "net.toml", *plain, *flags).record
        assert (one["input"]["min"], one["input"]["max"]) == (0, most)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--crop", "x"], ["--crop", "224x224"]),
        (["--crop", "9", "--resize", "8"], ["crop 9x9", "resize 8x8"]),
        (["--fit", "digit", "--crop", "9"], ["fit digit", "crop"]),
        (["--input-range", "0"], ["input range 0"]),
        (["--input-range", "255", "--raw"], ["raw", "255"]),
    ],
)
def test_preparations_that_make_no_sense(run: Run, flags: list[str], words: list[str]) -> None:
    refused(run("pipeline", sample("step.png"), "relu", *flags), 2, *words)


def test_bgr_maps_are_named_and_recombined_in_their_colours(run: Run) -> None:
    Image.new("RGB", (4, 4), (200, 100, 50)).save("a.png")
    arguments = ["-k", "identity", "--depthwise", "--value-range", "0,1", "--color"]
    colours = []
    for color in ("rgb", "bgr"):
        assert run("convolve", "a.png", *arguments, color).code == 0
        with Image.open("cnnviz-out/a/01_depthwise_depthwise1_rgb000.png") as picture:
            colours.append(picture.convert("RGB").getpixel((0, 0)))
    assert colours == [(200, 100, 50)] * 2


@pytest.mark.parametrize("flag", ["color", "fit", "invert"])
def test_flags_know_every_word_of_the_registries(run: Run, flag: str) -> None:
    from cnnviz.files.preparation import COLORS, FITS, INVERSIONS

    words = {"color": tuple(COLORS), "fit": ("none", *FITS), "invert": INVERSIONS}[flag]
    result = run("convolve", sample("camera.png"), f"--{flag}", "nonsense")
    refused(result, 2, f"choose from {', '.join(words)}")
    for word in words:
        again = run("convolve", sample("digit_3.png"), f"--{flag}", word.upper(), "--only", "grid")
        assert again.code == 0, again.err


# --- what is lost ------------------------------------------------------------------------------


def test_columns_of_what_is_lost(run: Run) -> None:
    arguments = ("pipeline", sample("step.png"), "conv(sobel, padding=same) -> relu -> maxpool(2)")
    asked = run(*arguments, "--format", "csv", "--columns", "name,dead,discarded,contamination")
    rows = list(csv.DictReader(io.StringIO(asked.out)))
    # A step from left to right: Sobel y sees it at the edges only, where zeros lie beyond.
    assert [row["dead"] for row in rows] == ["0", "0", "0"]
    assert [row["discarded"] for row in rows] == ["", "", "0.75"]
    share = 1 - (22 / 24) ** 2
    assert [row["contamination"] for row in rows] == [repr(float(1 - 484 / 576)), "", "0.0"]
    assert float(rows[0]["contamination"]) == pytest.approx(share)
    assert "discarded" in Path("cnnviz-out/step/shapes.csv").read_text()
    every = run(*arguments, "--format", "csv", "--columns", "all").out.splitlines()[0]
    assert every.endswith("contamination,dead,discarded")
    plain = run(*arguments, "--format", "csv").out.splitlines()[0]
    written = Path("cnnviz-out/step/shapes.csv").read_text()
    for text in (plain, written):
        assert "contamination" in text
        assert "dead" not in text
        assert "discarded" not in text


def test_a_dead_map_is_counted(run: Run) -> None:
    np.save("flat.npy", np.ones((1, 6, 6), np.float32))
    result = run(
        "pipeline", "flat.npy", "conv(sobel_x, identity) -> relu", "--columns", "name,dead"
    )
    assert ["conv1", "1"] in [line.split() for line in result.out.splitlines()]
    assert ["relu1", "1"] in [line.split() for line in result.out.splitlines()]


def test_the_vector_picture_of_a_classifier_has_its_labels(run: Run) -> None:
    Path("names.txt").write_text("cat\ndog\n")
    np.save("x.npy", np.float32([[[1, 2]]]))
    words = ("pipeline", "x.npy", "flatten -> softmax", "-q")
    assert run(*words, "-o", "plain").code == 0
    assert run(*words, "-o", "named", "--labels", "names.txt").code == 0
    picture = "x/02_softmax_softmax1_grid.png"
    with Image.open(f"plain/{picture}") as plain, Image.open(f"named/{picture}") as named:
        assert named.tobytes() != plain.tobytes()
