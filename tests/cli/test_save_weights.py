"""``--save weights``: what a run used, in a file from which it is the same again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cnnviz
from tests.cli.conftest import Run, files_below, refused, sample

EVERYTHING = (
    "conv(sobel, padding=same, flip=true) as edges -> conv(4, 3, bias=false) -> batchnorm as bn"
    " -> prelu -> depthwise(2, 3) -> conv_transpose(2, 3, seed=9) -> gap -> flatten"
    " -> dense(3) as fc -> softmax"
)


def arrays(folder: str) -> dict[str, bytes]:
    return {name: data for name, data in files_below(folder).items() if name.endswith(".npy")}


def test_the_run_is_the_same_again_from_its_weights(run: Run) -> None:
    image = sample("digit_3.png")
    words = ["pipeline", image, EVERYTHING, "--save", "npy", "--save", "weights", "-q"]
    assert run(*words, "--seed", 3, "-o", "one").code == 0
    saved = "one/digit_3/weights.safetensors"
    assert run(*words, "--weights", saved, "-o", "two").code == 0
    assert len(arrays("one")) == 10
    assert arrays("two") == arrays("one")
    assert Path(saved).read_bytes() == Path("two/digit_3/weights.safetensors").read_bytes()
    pipeline, x = cnnviz.parse(EVERYTHING), cnnviz.load_pixels(str(image))
    weights = cnnviz.load_weights(saved)
    assert weights.shapes == {
        name: spec.shape for name, spec in sorted(pipeline.param_specs(x.shape).items())
    }
    for stage in pipeline.run(x, weights):
        name = f"{stage.row.index:02d}_{stage.row.layer}_{stage.row.name}.npy"
        np.testing.assert_array_equal(np.load(f"one/digit_3/{name}"), stage.output)


def test_weights_are_a_file_like_the_others(run: Run) -> None:
    words = ["pipeline", sample("digit_3.png"), "conv(2) -> relu", "--only", "grid"]
    result = run(*words, "--save", "weights")
    folder = Path("cnnviz-out/digit_3")
    assert json.loads((folder / "run.json").read_text())["files"] == [
        "00_input.png", "01_conv_conv1_grid.png", "02_relu_relu1_grid.png",
        "weights.safetensors", "shapes.csv",
    ]  # fmt: skip
    assert "wrote 6 files" in result.err
    first = files_below(".")
    assert run(*words, "--save", "weights").code == 0
    assert files_below(".") == first
    assert run(*words).code == 0
    assert not (folder / "weights.safetensors").exists()
    (folder / "weights.safetensors").write_text("mine")
    refused(run(*words, "--save", "weights"), 1, "weights.safetensors", "--force")
    assert (folder / "weights.safetensors").read_text() == "mine"


def test_weights_that_are_read_are_not_removed(run: Run) -> None:
    """Else a run from what lies in its own folder could be done only once."""
    words = ["pipeline", sample("digit_3.png"), "conv(2) -> relu", "-q"]
    saved = Path("cnnviz-out/digit_3/weights.safetensors")
    assert run(*words, "--save", "weights").code == 0
    before = saved.read_bytes()
    for _ in range(2):
        assert run(*words, "--weights", saved).code == 0
        assert saved.read_bytes() == before
    assert run(*words, "--weights", saved, "--save", "weights").code == 0
    assert saved.read_bytes() == before
    assert run(*words).code == 0
    assert not saved.exists()


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_loaded_weights_are_saved_as_they_are(run: Run, suffix: str) -> None:
    rng = np.random.default_rng(1)
    weights = {
        "conv1.weight": rng.normal(size=(2, 1, 3, 3)).astype(np.float32),
        "conv1.bias": np.array([np.inf, -0.0], np.float32),
    }
    path = cnnviz.save_weights(f"w.{suffix}", weights)
    words = ["pipeline", sample("step.png"), "conv(2)", "--weights", path, "--save", "weights"]
    assert run(*words).code == 0
    saved = cnnviz.load_weights("cnnviz-out/step/weights.safetensors")
    assert {name: value.tobytes() for name, value in saved.items()} == {
        name: value.tobytes() for name, value in weights.items()
    }


def test_chosen_kernels_are_saved_and_layers_without_weights_save_none(run: Run) -> None:
    run("convolve", sample("step.png"), "-k", "sobel_x", "--save", "weights", "-q")
    saved = cnnviz.load_weights("cnnviz-out/step/weights.safetensors")
    assert saved["conv1.weight"].tolist() == [[[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]]
    run("pool", sample("step.png"), "--save", "weights", "-q")
    assert len(cnnviz.load_weights("cnnviz-out/step/weights.safetensors")) == 0


def test_only_what_can_be_saved(run: Run) -> None:
    refused(run("pipeline", sample("step.png"), "relu", "--save", "pt"), 2, "pt", "npy", "weights")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_weights_that_do_not_fit_are_listed_for_both_formats(run: Run, suffix: str) -> None:
    wrong = {"conv1.weight": np.zeros((8, 2, 3, 3), np.float32), "fc.bias": np.float32([1])}
    path = cnnviz.save_weights(f"w.{suffix}", wrong)
    result = run("pipeline", sample("step.png"), "conv(8)", "--weights", path)
    refused(
        result, 1, path, "it lacks conv1.weight (8, 1, 3, 3), conv1.bias (8);",
        "no stage takes conv1.weight (8, 2, 3, 3), fc.bias (1)",
    )  # fmt: skip
    assert not Path("cnnviz-out").exists()
