"""``cnnviz kernels --weights``: the list of a file's tensors, and a stage's filters."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.files.weights import FORMATS
from tests.cli.conftest import Run, files_below, refused
from tests.files.weights.pickles import saved
from tests.oracles import noise

WEIGHTS = {
    "conv1.weight": noise(1, 6, 3, 5, 5),
    "conv1.bias": noise(2, 6),
    "features.3.weight": noise(3, 80, 6, 3, 3),
    "fc.weight": noise(4, 10, 8),
    "none.weight": np.zeros((0, 3, 3, 3), np.float32),
    "scale": np.float32([[7]])[0, 0].reshape(()),
}


@pytest.fixture(params=["npz", "safetensors", "pth"])
def path(request: pytest.FixtureRequest) -> str:
    if request.param == "pth":
        Path("w.pth").write_bytes(saved({name: WEIGHTS[name] for name in sorted(WEIGHTS)}))
        return "w.pth"
    return cnnviz.save_weights(f"w.{request.param}", WEIGHTS)


def test_every_tensor_is_listed_in_every_format(run: Run, path: str) -> None:
    record = run("kernels", "--weights", path, "--format", "json").record
    assert record == {
        "weights": path,
        "tensors": [
            {
                "name": name,
                "shape": list(WEIGHTS[name].shape),
                "type": "float32",
                "numbers": WEIGHTS[name].size,
            }
            for name in sorted(WEIGHTS)
        ],
    }
    table, md = run("kernels", "--weights", path).out, run(
        "kernels", "--weights", path, "--format", "md"
    ).out  # fmt: skip
    assert "80×6×3×3" in table
    assert "4,320" in table
    assert "| features.3.weight | 80×6×3×3 | float32 | 4,320   |" in md
    assert not files_below(".").keys() - {path}


def test_the_filters_of_a_stage(run: Run, path: str) -> None:
    result = run("kernels", "--weights", path, "--stage", "conv1")
    assert result.code == 0
    assert "conv1.weight  6×3×5×5" in result.out
    assert "450 weights from" in result.out
    assert "a bias" in result.out
    record = run("kernels", "--weights", path, "--stage", "features.3", "--format", "json").record
    weight = WEIGHTS["features.3.weight"]
    assert record["shape"] == [80, 6, 3, 3]
    assert (record["stage"], record["bias"], record["coloured"]) == ("features.3", False, False)
    assert record["max"] == pytest.approx(float(weight.max()))
    assert len(record["filters"]) == 80
    for one, values in zip(record["filters"], weight, strict=True):
        assert one["min"] == pytest.approx(float(values.min()))
        assert one["max"] == pytest.approx(float(values.max()))
        assert one["mean"] == pytest.approx(float(values.mean()), abs=1e-6)
        assert one["norm"] == pytest.approx(float(np.linalg.norm(values)))
    result = run("kernels", "--weights", path, "--stage", "features.3")
    assert "16 more filters" in result.err
    md = run("kernels", "--weights", path, "--stage", "features.3", "--format", "md").out
    assert md.count("\n") == 82


def test_the_picture_goes_where_it_is_told(run: Run, path: str) -> None:
    for stage, out, target in [
        ("conv1", "new/f.png", "new/f.png"),
        ("conv1", "folder", "folder/conv1.png"),
        ("features.3", "folder", "folder/features.3.png"),
    ]:
        result = run("kernels", "--weights", path, "--stage", stage, "-o", out, "--format", "json")
        assert f"wrote {target}" in result.err
        assert len(result.records) == 1
        with Image.open(target) as image:
            low, high = (float(image.text[f"cnnviz:{end}"]) for end in ("min", "max"))  # type: ignore[attr-defined]
            assert low == -high
            assert high == pytest.approx(float(np.abs(WEIGHTS[f"{stage}.weight"]).max()))
    before = Path("new/f.png").read_bytes()
    run("kernels", "--weights", path, "--stage", "conv1", "-o", "new/f.png")
    assert Path("new/f.png").read_bytes() == before
    Path("new/f.png").write_bytes(b"mine")
    refused(run("kernels", "--weights", path, "--stage", "conv1", "-o", "new/f.png"), 1, "--force")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--stage", "conv"], 2, ["conv", "did you mean conv1"]),
        (["--stage", "zzz"], 2, ["zzz", "conv1", "features.3"]),
        (["--stage", "fc"], 1, ["fc.weight is 10×8", "four axes"]),
        (["--stage", "none"], 1, ["0×3×3×3"]),
        (["-o", "x.png"], 2, ["--out", "--stage"]),
        (["--stage", "conv1", "-o", "x.jpg"], 2, ["x.jpg", ".png"]),
        (["sobel_x"], 2, ["sobel_x", "--weights"]),
        (["sobel_x", "--stage", "conv1"], 2, ["sobel_x", "--stage"]),
    ],
)
def test_errors(run: Run, path: str, arguments: list[str], code: int, words: list[str]) -> None:
    refused(run("kernels", "--weights", path, *arguments), code, *words)
    assert list(files_below(".")) == [path]


def test_filters_of_more_weights_than_are_drawn(run: Run) -> None:
    entry = {"dtype": "F32", "shape": [8193, 8192, 1, 1], "data_offsets": [0, 4 * 8193 * 8192]}
    header = json.dumps({"conv1.weight": entry}).encode()
    with Path("large.safetensors").open("wb") as file:  # sparse: it takes no room
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 4 * 8193 * 8192)
    words = ["kernels", "--weights", "large.safetensors", "--stage", "conv1"]
    refused(run(*words), 1, "67,117,056 numbers", "up to 67,108,864")


def test_files_without_filters_or_without_anything(run: Run) -> None:
    refused(run("kernels", "--stage", "conv1"), 2, "conv1", "--weights FILE")
    refused(run("kernels", "--weights", "missing.npz"), 1, "missing.npz")
    refused(run("kernels", "--weights", "w.txt"), 2, "w.txt", ".safetensors", ".pth")
    cnnviz.save_weights("w.npz", {"fc.weight": np.ones((2, 2), np.float32)})
    refused(run("kernels", "--weights", "w.npz", "--stage", "conv1"), 1, "holds no filters")
    cnnviz.save_weights("w.npz", {})
    assert "holds no tensors" in run("kernels", "--weights", "w.npz").err
    assert run("kernels", "--weights", "w.npz", "--format", "json").record["tensors"] == []


def test_names_from_a_file_stay_in_the_folder_and_off_the_terminal(run: Run) -> None:
    np.savez("w.npz", **{"../../up.weight": WEIGHTS["conv1.weight"], "\x1b[31mred": np.ones(1)})
    listing = run("kernels", "--weights", "w.npz").out
    assert "\x1b" not in listing
    result = run("kernels", "--weights", "w.npz", "--stage", "../../up", "-o", "folder")
    assert "wrote folder/.._.._up.png" in result.err
    assert set(files_below(".")) == {"w.npz", "folder/.._.._up.png"}


def test_help_names_every_format(run: Run) -> None:
    words = run("pipeline", "--help").out.replace("│", " ").split()
    for suffix in FORMATS:
        assert any(word.strip(",.") == suffix[1:] for word in words), suffix


def test_names_of_another_kind_are_told_in_a_note(run: Run) -> None:
    text = "conv(2, 1) -> relu -> conv(1, 1)"
    values = {"0.weight": (2, 1, 1, 1), "0.bias": (2,), "2.weight": (1, 2, 1, 1), "2.bias": (1,)}
    arrays = {f"module.{name}": noise(1, *shape) for name, shape in values.items()}
    Path("w.pt").write_bytes(saved(arrays, old=True))
    result = run("pipeline", "sample:digit_3", text, "--weights", "w.pt", "--save", "weights")
    assert "w.pt: numbers are taken in order: 0 is conv1, 2 is conv2" in result.err
    used = cnnviz.load_weights("cnnviz-out/digit_3/weights.safetensors")
    assert used["conv2.bias"].tolist() == arrays["module.2.bias"].tolist()
    refused(
        run("pipeline", "sample:digit_3", "conv(3, 1)", "--weights", "w.pt"), 1,
        "it lacks conv1.weight (3, 1, 1, 1)", "no stage takes module.0.weight (2, 1, 1, 1)",
    )  # fmt: skip
