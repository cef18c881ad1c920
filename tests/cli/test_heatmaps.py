"""``cnnviz explain --heatmap``: equations, files, pictures and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnviz.cli.heatmaps import CHOICES
from cnnviz.core.heatmap import METHODS
from tests.cli.conftest import Run, files_below, pixels, refused, sample

GAP = "conv(4, 3, padding=same) as c -> relu as r -> maxpool(4) -> gap -> dense(3) as d -> softmax"


def test_cam_adds_up_to_the_score_that_enters_softmax(run: Run) -> None:
    done = run("explain", sample("coffee.jpg"), GAP, "--heatmap", "auto", "--save", "npy", "--json")
    heat = done.record["heatmap"]
    assert list(heat) == [
        "method", "stage", "of", "at", "shape", "file", "min", "max", "mean", "bias", "value",
        "deletion", "insertion",
    ]  # fmt: skip
    assert (heat["method"], heat["stage"], heat["of"]) == ("cam", "maxpool1", "d")
    values = np.load(heat["file"])
    assert list(values.shape) == heat["shape"] == [1, 100, 150]
    assert (values.min(), values.max()) == pytest.approx((heat["min"], heat["max"]))
    assert heat["mean"] + heat["bias"] == pytest.approx(heat["value"], rel=1e-5)
    assert heat["deletion"] is heat["insertion"] is None
    told = run("explain", sample("coffee.jpg"), GAP, "--heatmap", "cam").out
    assert "the score that enters softmax1" in told
    assert f"mean of the map {heat['mean']:.6g}"[:22] in told
    assert "its 100×150 cells are stretched bilinearly over the picture of 400×600" in told


def test_pictures_show_map_and_picture(run: Run) -> None:
    done = run("explain", sample("coffee.jpg"), GAP, "--heatmap", "gradcam", "--on", "r",
               "--faithfulness", "--color", "rgb", "--at", "d:2", "--json")  # fmt: skip
    heat, files = done.record["heatmap"], done.record["files"]
    assert heat["stage"] == "r"
    kinds = [Path(file).stem.removeprefix("05_dense_d_at_2") for file in files]
    assert kinds == ["_gradcam", "_gradcam_curves", "_gradcam_over", "_gradcam_c000", ""]
    assert "open cnnviz-out/coffee/05_dense_d_at_2_gradcam.png" in done.err
    with Image.open(files[3]) as alone:
        alone.load()
    assert alone.size == (600, 400)
    assert float(alone.info["cnnviz:max"]) == pytest.approx(heat["max"])
    over = pixels(files[2]).astype(int)
    assert (np.ptp(over, axis=2) > 60).mean() > 0.01  # red over the gray picture
    for curve in (heat["deletion"], heat["insertion"]):
        assert list(curve) == ["shares", "scores", "random", "mean", "random_mean"]
        assert len(curve["scores"]) == len(curve["shares"]) == 21
    assert set(files_below(Path())) == {*files, "cnnviz-out/coffee/explain.json"}


def test_a_plane_for_each_plane_of_the_picture(run: Run) -> None:
    done = run("explain", sample("chelsea.jpg"), "conv(2, 3)", "--at", "conv1:1,20,30",
               "--heatmap", "gradient", "--color", "rgb", "--save", "npy", "--json")  # fmt: skip
    heat = done.record["heatmap"]
    assert heat["shape"] == [3, 300, 451]
    values = np.load(heat["file"])
    assert {tuple(at) for at in np.argwhere(values.any(axis=0))} == {
        (row, column) for row in (20, 21, 22) for column in (30, 31, 32)
    }
    assert sum("_gradient_c00" in file for file in done.record["files"]) == 3


def test_occlusion_takes_a_patch(run: Run) -> None:
    done = run("explain", sample("digit_3.png"), "digits", "--at", "softmax1:3", "--heatmap",
               "occlusion", "--patch", "7x4", "--stride", "7x8", "--json")  # fmt: skip
    heat = done.record["heatmap"]
    assert heat["shape"] == [1, 4, 4]
    assert heat["of"] == "dense2"
    assert heat["max"] > 1  # without a part of its strokes it is less of a 3


def test_a_class_is_asked_for_by_its_label(run: Run) -> None:
    Path("net.toml").write_text(f"pipeline = '{GAP}'\n[input]\nlabels = ['Cat', 'dog', 'a cup']\n")
    arguments = ["explain", sample("coffee.jpg"), "net.toml", "--heatmap", "auto"]
    for at in ("softmax1:a cup", "softmax1:A CUP", "a cup"):
        done = run(*arguments, "--at", at, "--json").record
        assert (done["stage"], done["at"]) == ("softmax1", [2])
    assert "cam of d 2 (a cup) = " in run(*arguments, "--at", "d:a cup").out
    refused(run(*arguments, "--at", "softmax1:horse"), 2, "'horse' is no cell")


def test_one_place_of_a_map_is_looked_at_closely(run: Run) -> None:
    done = run("explain", sample("chelsea.jpg"), "conv(sobel_x) -> maxpool(2)", "--at",
               "maxpool1:0,40,50", "--heatmap", "auto", "--json")  # fmt: skip
    assert done.record["heatmap"]["method"] == "gradient"
    assert pixels(done.record["files"][0]).shape[0] < 640
    assert "in place of" not in done.err
    other = run("explain", sample("chelsea.jpg"), "conv(sobel_x) -> maxpool(2)")
    assert "in place of" not in other.err  # what was written before is still there


def test_the_choices_are_the_methods() -> None:
    assert ("auto", *METHODS) == CHOICES


def test_a_score_below_0_has_curves_too(run: Run) -> None:
    done = run("explain", sample("coffee.jpg"), GAP, "--at", "d:min", "--heatmap", "cam",
               "--faithfulness", "--json").record  # fmt: skip
    assert min(done["heatmap"]["deletion"]["scores"]) < 0
    curves = pixels(next(file for file in done["files"] if "curves" in file)).astype(int)
    inside = curves[-380:-60, 80:440]
    blue = (inside[..., 2] - inside[..., 0]) > 90  # a random map's line
    assert blue.any(axis=0).mean() > 0.5  # is seen all along


def test_two_runs_write_the_same(run: Run) -> None:
    before = None
    for _ in range(2):
        run("explain", sample("digit_3.png"), "digits", "--heatmap", "auto", "--faithfulness")
        now = files_below(Path())
        assert before in (None, now)
        before = now


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--on", "c"], "--on belongs to --heatmap gradcam"),
        (
            ["--heatmap", "cam", "--patch", "3"],
            "--patch belongs to --heatmap occlusion, not to cam",
        ),
        (["--heatmap", "occlusion", "--times-input"], "say --heatmap gradient"),
        (["--save", "npy"], "say --heatmap auto"),
        (["--heatmap", "attention"], "unknown method 'attention'"),
        (["--heatmap", "occlusion", "--patch", "0"], "--patch"),
        (["--heatmap", "gradcam", "--on", "d"], "reads no rows and columns of d"),
        (["--heatmap", "cam", "--at", "c:max"], "no global average pooling leads linearly to c"),
    ],
)
def test_what_is_no_heatmap(run: Run, flags: list[str], told: str) -> None:
    done = run("explain", sample("coffee.jpg"), GAP, *flags)
    refused(done, 2)
    assert told in done.err.replace("\n", " ")
    assert not files_below(Path())
