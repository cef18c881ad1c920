"""The output folder: names, pixels, metadata, run.json, and what a second run does to it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.view.colormaps import COLORMAPS
from tests.cli.conftest import Run, command, files_below, pixels, refused, sample, save_plane

CHAIN = "conv(sobel) as edges -> relu -> maxpool(2) -> flatten -> dense(3) -> softmax"


@pytest.fixture
def plane(work: Path) -> Path:
    """A matrix whose values are known: -2 … 6, in two rows."""
    path = work / "m.csv"
    path.write_text("-2,-1,0\n1,3,6\n")
    return path


def names(folder: str = "cnnviz-out") -> list[str]:
    return list(files_below(folder))


# --- names -------------------------------------------------------------------------------------


def test_names_are_exactly_those_promised(run: Run) -> None:
    assert run("pipeline", sample("step.png"), CHAIN, "--save", "npy").code == 0
    assert names("cnnviz-out/step") == [
        "00_input.png", "01_conv_edges.npy", "01_conv_edges_c000.png", "01_conv_edges_c001.png",
        "01_conv_edges_grid.png",
        "02_relu_relu1.npy", "02_relu_relu1_c000.png", "02_relu_relu1_c001.png",
        "02_relu_relu1_grid.png",
        "03_maxpool_maxpool1.npy", "03_maxpool_maxpool1_c000.png", "03_maxpool_maxpool1_c001.png",
        "03_maxpool_maxpool1_grid.png",
        "04_flatten_flatten1.npy", "04_flatten_flatten1_grid.png",
        "05_dense_dense1.npy", "05_dense_dense1_grid.png",
        "06_softmax_softmax1.npy", "06_softmax_softmax1_grid.png",
        "run.json", "shapes.csv",
    ]  # fmt: skip
    assert names() == [f"step/{name}" for name in names("cnnviz-out/step")]


@pytest.mark.parametrize(
    ("options", "maps", "grids"),
    [
        ([], 0, 1), (["--only", "maps"], 65, 0), (["--only", "grid"], 0, 1),
    ],
)  # fmt: skip
def test_more_than_64_maps(run: Run, options: list[str], maps: int, grids: int) -> None:
    result = run("pipeline", sample("step.png"), "conv(65, 1)", *options)
    found = names("cnnviz-out/step")
    assert sum("_c" in name and name.startswith("01_conv_conv1_c") for name in found) == maps
    assert ("01_conv_conv1_grid.png" in found) == bool(grids)
    assert ("more than 64 maps" in result.err) == (not options)
    assert ("--only maps" in result.err) == (not options)


def test_64_maps_are_written_each(run: Run) -> None:
    run("pipeline", sample("step.png"), "conv(64, 1)")
    assert len(names("cnnviz-out/step")) == 1 + 64 + 1 + 2
    assert "01_conv_conv1_c063.png" in names("cnnviz-out/step")


@pytest.mark.parametrize(("only", "what"), [(None, "grid"), ("grid", "grid"), ("maps", "c000")])
def test_a_vector_is_one_picture(run: Run, only: str | None, what: str) -> None:
    options = ["--only", only] if only else []
    run("pipeline", sample("scores.csv"), "flatten -> softmax", *options)
    assert names("cnnviz-out/scores") == [
        "00_input.png", f"01_flatten_flatten1_{what}.png", f"02_softmax_softmax1_{what}.png",
        "run.json", "shapes.csv",
    ]  # fmt: skip


def test_stages_by_name_and_index(run: Run) -> None:
    result = run("pipeline", sample("step.png"), CHAIN, "--stages", "edges, 6", "--format", "json")
    assert {name[:2] for name in names("cnnviz-out/step")} == {"00", "01", "06", "ru", "sh"}
    assert [bool(s["files"]) for s in result.record["stages"]] == [True, *[False] * 4, True]


@pytest.mark.parametrize(
    ("stages", "word"),
    [("relu9", "relu9"), ("7", "7"), ("0", "0"), (",", "--stages"), ("", "--st")],
)
def test_unknown_stages(run: Run, stages: str, word: str) -> None:
    refused(run("pipeline", sample("step.png"), CHAIN, "--stages", stages), 2, word)
    assert not Path("cnnviz-out").exists()


def test_equal_stems_are_told_apart(run: Run) -> None:
    for folder in ("a", "b", "c"):
        Path(folder).mkdir()
        save_plane(f"{folder}/x.png", np.full((4, 4), 50))
    result = run("convolve", "a/x.png", "b/x.png", "c", "-k", "1", "--format", "json", "-q")
    assert sorted(p.name for p in Path("cnnviz-out").iterdir()) == ["x", "x-2", "x-3"]
    for record, folder in zip(result.records, ["x", "x-2", "x-3"], strict=True):
        assert Path(record["stages"][0]["files"][0]).parent.name == folder


def test_a_folder_is_its_images_sorted_and_without_matrices(run: Run) -> None:
    Path("in/sub").mkdir(parents=True)
    for name in ("b.png", "a.png", ".hidden.png", "sub/c.png"):
        save_plane(f"in/{name}", np.ones((3, 3)))
    for name in ("m.csv", "m.npy", "notes.md"):
        Path("in", name).write_text("1,2\n")
    records = run("convolve", "in", "-k", "1", "--format", "json", "-q").records
    assert [record["input"]["path"] for record in records] == ["in/a.png", "in/b.png"]


def test_out_may_be_absolute_deep_or_a_link(run: Run, work: Path) -> None:
    (work / "real").mkdir()
    (work / "link").symlink_to("real")
    for out in (work / "deep" / "er", "link", "."):
        record = run("convolve", sample("step.png"), "-o", out, "--format", "json", "-q").record
        files = record["stages"][0]["files"]
        assert all(Path(file).is_file() for file in files)
        assert Path(files[0]).is_absolute() == Path(out).is_absolute()
        assert Path(files[0]).parent == Path(out, "step")


# --- contents ----------------------------------------------------------------------------------


def test_saved_arrays_are_what_the_python_interface_computes(run: Run) -> None:
    run("pipeline", sample("digit_3.png"), CHAIN, "--save", "npy", "--only", "grid")
    x = cnnviz.load_pixels(str(sample("digit_3.png")))
    for stage in cnnviz.parse(CHAIN).run(x):
        name = f"{stage.row.index:02d}_{stage.row.layer}_{stage.row.name}.npy"
        saved = np.load(f"cnnviz-out/digit_3/{name}", allow_pickle=False)
        assert saved.dtype == np.float32
        np.testing.assert_array_equal(saved, stage.output)


def test_modes_and_metadata(run: Run) -> None:
    refused(run("pipeline", sample("step.png"), "conv(sobel_x, '-1,0,1', '1,0,-1')"), 2, "1×3")
    run("pipeline", sample("step.png"), "conv('-1,0,1', '1,0,-1') -> relu")
    for name, mode, low, high, stage in [
        ("01_conv_conv1_c000", "P", -1, 1, "conv1"), ("01_conv_conv1_c001", "P", -1, 1, "conv1"),
        ("02_relu_relu1_c000", "L", 0, 1, "relu1"), ("02_relu_relu1_c001", "L", 0, 1, "relu1"),
        ("01_conv_conv1_grid", None, -1, 1, "conv1"), ("02_relu_relu1_grid", None, 0, 1, "relu1"),
    ]:  # fmt: skip
        with Image.open(f"cnnviz-out/step/{name}.png") as image:
            assert mode is None or (image.mode, image.size) == (mode, (6, 8))
            assert image.text == {  # type: ignore[attr-defined]
                "cnnviz:min": repr(float(low)),
                "cnnviz:max": repr(float(high)),
                "cnnviz:stage": stage,
                "cnnviz:pipeline": 'conv("-1,0,1", "1,0,-1") -> relu',
            }


def test_shapes_csv_has_every_stage_and_no_times(run: Run) -> None:
    run("pipeline", sample("digit_3.png"), CHAIN)
    with Path("cnnviz-out/digit_3/shapes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [
        "edges", "relu1", "maxpool1", "flatten1", "dense1", "softmax1",
    ]  # fmt: skip
    assert rows[0]["output"] == "2x26x26"
    assert float(rows[1]["min"]) == 0
    assert "time" not in rows[0]


def test_run_json(run: Run) -> None:
    arguments = ["pipeline", sample("digit_3.png"), CHAIN, "--save", "npy", "--seed", 4]
    shown = run(*arguments, "--format", "json").record
    record = json.loads(Path("cnnviz-out/digit_3/run.json").read_text())
    assert record["cnnviz"] == cnnviz.__version__
    assert record["command"] == ["cnnviz", *map(str, arguments), "--format", "json"]
    assert record["seed"] == 4
    assert record["weights"] is None
    for key in ("input", "pipeline", "totals", "predictions"):
        assert record[key] == shown[key]
    written = set(names("cnnviz-out/digit_3"))
    assert set(record["files"]) == written - {"run.json"}
    for kept, told in zip(record["stages"], shown["stages"], strict=True):
        pictures = kept.pop("pictures")
        assert kept == {**told, "seconds": None}
        assert set(pictures) - {"grid_range"} == {"colormap", "value_ranges"}
    listed = {Path(f).name for s in shown["stages"] for f in s["files"]}
    assert listed | {"00_input.png", "shapes.csv"} == set(record["files"])


def test_run_json_names_colour_maps_and_ranges(run: Run, plane: Path) -> None:
    run("pipeline", plane, "relu -> conv('-1', '2')")
    stages = json.loads(Path("cnnviz-out/m/run.json").read_text())["stages"]
    assert [s["pictures"] for s in stages] == [
        {"colormap": "gray", "value_ranges": [[0, 6]]},
        {"colormap": "rdbu", "value_ranges": [[-12, 12]]},
    ]


def test_a_run_can_be_repeated_from_its_record(run: Run) -> None:
    run("pipeline", sample("digit_3.png"), CHAIN, "--seed", 3, "--save", "npy")
    before = files_below("cnnviz-out")
    record = json.loads(before["digit_3/run.json"])
    assert run(*record["command"][1:]).code == 0
    assert files_below("cnnviz-out") == before


def test_two_runs_write_identical_bytes(run: Run) -> None:
    arguments = ["pipeline", sample("chelsea.jpg"), sample("digit_3.png"),
                 "conv(4) -> relu -> gap -> flatten -> dense(3) -> softmax",
                 "--color", "rgb", "--save", "npy", "-q"]  # fmt: skip
    run(*arguments)
    first = files_below("cnnviz-out")
    Path("cnnviz-out").rename("first")
    run(*arguments)
    assert files_below("cnnviz-out") == first
    run(*arguments)  # over the files of the run before
    assert files_below("cnnviz-out") == first


# --- scales ------------------------------------------------------------------------------------


def test_scale_of_the_layer_of_each_map_or_of_all(run: Run, plane: Path) -> None:
    text = "conv('1', '3') as a -> relu as b -> conv('2') as c"

    def drawn(scale: str, name: str) -> np.ndarray:
        run("pipeline", plane, text, "--scale", scale, "--colormap", "gray")
        with Image.open(f"cnnviz-out/m/{name}.png") as image:
            return np.asarray(image)

    # a: -2..6 and -6..18; b: 0..6 and 0..18; c: the mean of b's maps, twice: 0..24
    values = np.array([[-2, -1, 0], [1, 3, 6]])
    relu = np.maximum(values, 0)
    for scale, name, expected in [
        ("layer", "02_relu_b_c000", relu / 18),
        ("layer", "02_relu_b_c001", relu * 3 / 18),
        ("layer", "01_conv_a_c000", (values + 6) / 24),
        ("unit", "02_relu_b_c000", relu / 6),
        ("unit", "02_relu_b_c001", relu / 6),
        ("unit", "01_conv_a_c000", (values + 2) / 8),
        ("global", "02_relu_b_c000", (relu + 6) / 30),
        ("global", "01_conv_a_c001", (values * 3 + 6) / 30),
        ("global", "03_conv_c_c000", (relu * 4 + 6) / 30),
    ]:
        np.testing.assert_array_equal(
            drawn(scale, name), np.rint(expected * 255), f"{scale} {name}"
        )


def test_metadata_follows_the_scale(run: Run, plane: Path) -> None:
    run("pipeline", plane, "relu -> conv('1', '3')", "--scale", "unit")
    for channel, high in enumerate([6, 18]):
        with Image.open(f"cnnviz-out/m/02_conv_conv1_c00{channel}.png") as image:
            assert image.text["cnnviz:max"] == repr(float(high))  # type: ignore[attr-defined]
    stages = json.loads(Path("cnnviz-out/m/run.json").read_text())["stages"]
    assert stages[1]["pictures"]["value_ranges"] == [[0, 6], [0, 18]]


def test_a_value_range_is_used_and_told(run: Run, plane: Path) -> None:
    result = run("pipeline", plane, "conv('1')", "--value-range", "0,4")
    with Image.open("cnnviz-out/m/01_conv_conv1_c000.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), [[0, 0, 0], [64, 191, 255]])
        assert image.text["cnnviz:max"] == "4.0"  # type: ignore[attr-defined]
    assert "conv1: 3 values outside --value-range" in result.err
    inside = run("pipeline", plane, "conv('1')", "--value-range=-8,8")
    assert "outside" not in inside.err
    with Image.open("cnnviz-out/m/01_conv_conv1_c000.png") as image:
        assert image.mode == "P"
        indices = np.asarray(image)
        palette = np.asarray(image.convert("RGB"))
    assert indices.shape == (2, 3)
    colours = COLORMAPS["rdbu"].colours(253)
    np.testing.assert_array_equal(
        palette, colours[np.rint(np.array([[-2, -1, 0], [1, 3, 6]]) / 8 * 126).astype(int) + 126]
    )


@pytest.mark.parametrize("value", ["nan,1", "1,inf", "1", "1,1", "2,1", "1,2,3", "a,b", ""])
def test_wrong_value_ranges(run: Run, plane: Path, value: str) -> None:
    refused(run("pipeline", plane, "relu", f"--value-range={value}"), 2, "--value-range", value)


@pytest.mark.parametrize("colormap", ["gray", "rdbu", "viridis", "magma"])
def test_colour_maps(run: Run, plane: Path, colormap: str) -> None:
    run("pipeline", plane, "relu", "--colormap", colormap)
    got = pixels("cnnviz-out/m/01_relu_relu1_c000.png")
    values = np.array([[0, 0, 0], [1, 3, 6]])
    levels = 256 if colormap == "gray" else 253
    places = values / 6 * (levels - 1)
    if colormap == "rdbu":
        places = np.rint(values / 6 * 126) + 126
    colours = COLORMAPS[colormap].colours(levels)
    np.testing.assert_array_equal(got, colours[np.rint(places).astype(int)])


def test_nan_and_infinity_have_colours_of_their_own(run: Run) -> None:
    np.save("odd.npy", np.float32([[np.nan, np.inf, -np.inf, 1]]))
    run("pipeline", "odd.npy", "abs -> conv('-1')")
    magenta, green, cyan = [255, 0, 255], [0, 255, 0], [0, 255, 255]
    first = pixels("cnnviz-out/odd/01_abs_abs1_c000.png")[0]
    assert first.tolist() == [magenta, green, green, [255, 255, 255]]
    second = pixels("cnnviz-out/odd/02_conv_conv1_c000.png")[0]
    assert second.tolist() == [magenta, cyan, cyan, [5, 48, 97]]


def test_constant_maps(run: Run) -> None:
    np.save("zero.npy", np.zeros((3, 3)))
    run("pipeline", "zero.npy", "relu")
    assert pixels("cnnviz-out/zero/01_relu_relu1_c000.png").max() == 0


def test_nrow_sets_the_columns_of_the_grid(run: Run) -> None:
    def size(*options: object) -> tuple[int, int]:
        run("pipeline", sample("camera.png"), "conv(8)", "--only", "grid", *options)
        with Image.open("cnnviz-out/camera/01_conv_conv1_grid.png") as image:
            return image.size

    wide, tall = size("--nrow", 8), size("--nrow", 1)
    assert wide[0] > wide[1]
    assert tall[1] > 3 * tall[0]
    assert size("--nrow", 10**6) == wide


# --- the folder over time ----------------------------------------------------------------------


def test_stale_files_go(run: Run) -> None:
    run("pipeline", sample("step.png"), "conv(4) -> relu", "--save", "npy")
    run("pipeline", sample("step.png"), "conv(2)")
    assert names("cnnviz-out/step") == [
        "00_input.png", "01_conv_conv1_c000.png", "01_conv_conv1_c001.png",
        "01_conv_conv1_grid.png", "run.json", "shapes.csv",
    ]  # fmt: skip


def test_files_of_others_stay(run: Run) -> None:
    run("pipeline", sample("step.png"), "conv(2)")
    mine = Path("cnnviz-out/step/notes.txt")
    mine.write_text("mine")
    taken = Path("cnnviz-out/step/01_relu_relu1_grid.png")
    taken.write_text("mine")
    result = run("pipeline", sample("step.png"), "relu")
    assert result.code == 1
    assert "01_relu_relu1_grid.png" in result.err
    assert "--force" in result.err
    assert taken.read_text() == "mine"
    assert run("pipeline", sample("step.png"), "relu", "--force").code == 0
    assert taken.read_bytes().startswith(b"\x89PNG")
    assert mine.read_text() == "mine"
    assert names("cnnviz-out/step") == [
        "00_input.png", "01_relu_relu1_c000.png", "01_relu_relu1_grid.png", "notes.txt",
        "run.json", "shapes.csv",
    ]  # fmt: skip


def test_a_run_json_of_others_is_refused_before_anything_is_done(run: Run) -> None:
    Path("cnnviz-out/step").mkdir(parents=True)
    Path("cnnviz-out/step/run.json").write_text('{"mine": 1}')
    refused(run("convolve", sample("step.png")), 1, "run.json", "--force")
    assert names() == ["step/run.json"]
    assert run("convolve", sample("step.png"), "--force").code == 0


def test_counts_of_written_files(run: Run) -> None:
    result = run("convolve", sample("step.png"))
    assert "wrote 6 files to cnnviz-out/step; open cnnviz-out/step/01_conv" in result.err
    assert len(names("cnnviz-out/step")) == 6
    again = run("convolve", sample("step.png"), "--only", "grid")
    assert "wrote 4 files to cnnviz-out/step (in place of 5 files of an earlier run)" in again.err


# --- several runs at once ----------------------------------------------------------------------

AT_ONCE: list[list[object]] = [
    ["convolve"], ["pool"], ["pipeline", "edges"], ["pipeline", "conv(4) -> relu", "--save", "npy"],
    ["explain", "conv(sobel_x) -> relu"], ["shift", "conv(sobel_x)", "--by", 1],
    ["compare", "maxpool(2)", "avgpool(2)"], ["animate", "conv(sobel_x)", "--frames", 2],
]  # fmt: skip


@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=pytest.mark.heavy)])
def test_commands_on_one_image_at_once(rounds: int, work: Path) -> None:
    """None fails, none is refused afterwards, and each file is in the record of its command."""
    rng = np.random.default_rng(0)
    image = sample("digit_3.png")
    for number in range(rounds):
        chosen = [AT_ONCE[one] for one in rng.integers(len(AT_ONCE), size=3 + number % 2)]
        running = [
            subprocess.Popen(command(words[0], image, *words[1:], "-q"), stderr=subprocess.PIPE)
            for words in chosen
        ]
        said = [process.communicate(timeout=120)[1] for process in running]
        assert [process.returncode for process in running] == [0] * len(chosen), said
    for words in AT_ONCE:
        done = subprocess.run(command(words[0], image, *words[1:], "-q"), check=False)
        assert done.returncode == 0
    folder = work / "cnnviz-out/digit_3"
    records = set(folder.glob("*.json"))
    listed = [name for path in records for name in json.loads(path.read_text())["files"]]
    assert sorted({path.name for path in set(folder.iterdir()) - records}) == sorted(listed)


def test_a_run_that_waits_in_vain_says_who_writes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnviz.files import outputs

    monkeypatch.setattr(outputs, "PATIENCE", 2)
    with outputs.OutputFolder("cnnviz-out", "step") as folder:
        folder.write("00_input.png", b"x")
        before = files_below(".")
        for words in (["convolve"], ["explain", "relu"]):
            result = run(words[0], sample("step.png"), *words[1:])
            refused(result, 1, f"another run (process {os.getpid()}) writes in", "--out")
        assert files_below(".") == before
        assert run("convolve", sample("camera.png")).code == 0  # beside it
