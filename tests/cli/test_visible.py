"""Pictures that can be seen: of large photographs, framed maps, maps with one outlier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from tests.cli.conftest import Run, sample

LARGE = (3000, 4000)
PHOTOS = ("chelsea.jpg", "coffee.jpg", "astronaut.jpg", "camera.png")
COMMANDS = {
    "edges": ["pipeline", "edges"],
    "sobel_x": ["convolve", "-k", "sobel_x", "--padding", "same"],
    "relu": ["pipeline", "conv(sobel, padding=same) -> relu"],
    "gabor": ["convolve", "-k", "gabor_bank(8)", "--padding", "same"],
    "first layer": ["pipeline", "conv(64, 7, stride=2, padding=3)", "--crop", "224x224"],
}


def body(path: Path) -> np.ndarray:
    """The pixels (N, 3) of a grid's maps: below the first long frame, no paper and no frames."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    framed = (pixels == 176).all(axis=2)
    rows = np.flatnonzero(framed.mean(axis=1) > 0.3)  # lines that run along whole maps
    inside = pixels[rows[0] : rows[-1], 17:-17].reshape(-1, 3)
    return inside[((inside != 255) & (inside != 176)).any(axis=1)]


@pytest.mark.heavy
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("photo", PHOTOS)
def test_maps_of_a_12_megapixel_photograph_are_seen(run: Run, photo: str, command: str) -> None:
    with Image.open(sample(photo)) as image:
        image.convert("L").resize((LARGE[1], LARGE[0]), Image.Resampling.BICUBIC).save("large.png")
    name, *options = COMMANDS[command]
    assert run(name, "large.png", *options, "--only", "grid", "-q").code == 0
    for path in sorted(Path("cnnviz-out/large").glob("*_grid.png")):
        pixels = body(path)
        frequent = np.bincount(pixels @ [1 << 16, 1 << 8, 1]).argmax()
        ground = np.array([frequent >> 16, frequent >> 8 & 255, frequent & 255])
        seen = (np.abs(pixels - ground) > 25).any(axis=1).mean()
        assert seen >= 0.06, (path.name, seen)


def test_one_outlier_does_not_make_all_else_black(run: Run) -> None:
    plane = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    plane[50, 50] = 1000
    np.save("odd.npy", plane)
    for words, median in (([], 126), (["--range", "full"], 0)):
        assert run("pipeline", "odd.npy", "relu", *words).code == 0
        assert abs(np.median(body(Path("cnnviz-out/odd/01_relu_relu1_grid.png"))) - median) < 4
        pictures = json.loads(Path("cnnviz-out/odd/run.json").read_text())["stages"][0]["pictures"]
        assert pictures["value_ranges"] == [[0, 1000]]
        assert ("grid_range" in pictures) == (not words)
        with Image.open("cnnviz-out/odd/01_relu_relu1_c000.png") as image:  # has all of it
            assert image.info["cnnviz:max"] == "1000.0"
            assert np.asarray(image)[50, 50] == 255
            assert np.asarray(image).max(where=~np.eye(100, dtype=bool), initial=0) == 0
    with Image.open("cnnviz-out/odd/01_relu_relu1_grid.png") as image:
        assert image.info["cnnviz:max"] == "1000.0"
    run("pipeline", "odd.npy", "relu")
    with Image.open("cnnviz-out/odd/01_relu_relu1_grid.png") as image:
        assert 0.9 < float(image.info["cnnviz:max"]) < 1


def test_a_frame_of_padding_is_not_measured(run: Run) -> None:
    rng = np.random.default_rng(0)
    np.save("m.npy", (100 + rng.normal(size=(60, 80))).astype(np.float32))
    run("convolve", "m.npy", "-k", "sobel_x", "--padding", "same", "--only", "grid")
    record = json.loads(Path("cnnviz-out/m/run.json").read_text())
    (low, high), full = (
        record["stages"][0]["pictures"]["grid_range"], record["stages"][0]["max"]
    )  # fmt: skip
    assert full > 300  # where windows read zeros
    assert high == -low < 20


@pytest.mark.parametrize(
    ("source", "options", "mode"),
    [
        ("camera.png", [], "L"),
        ("chelsea.jpg", ["--color", "rgb"], "RGB"),
        ("chelsea.jpg", ["--color", "bgr"], "RGB"),
        ("digit_3.png", ["--invert", "always", "--resize", "20x30"], "L"),
    ],
)
def test_the_input_is_a_picture_too(run: Run, source: str, options: list[str], mode: str) -> None:
    assert run("convolve", sample(source), "-k", "identity", "--only", "maps", *options).code == 0
    path = Path("cnnviz-out", Path(source).stem, "00_input.png")
    with Image.open(path) as image:
        assert image.mode == mode
        assert image.info["cnnviz:stage"] == "input"
        assert (image.info["cnnviz:min"], image.info["cnnviz:max"]) == ("0.0", "255.0")
        pixels = np.asarray(image)
    words = dict(zip(options[::2], options[1::2], strict=True))
    size = words.get("--resize")
    color = "gray" if mode == "L" else "rgb"
    given = cnnviz.load_image(
        str(sample(source)),
        cnnviz.InputOptions(
            color=color,
            invert=words.get("--invert", "never"),
            resize=(20, 30) if size else None,
        ),
    )
    expected = np.rint(given * 255).astype(np.uint8)
    np.testing.assert_array_equal(
        pixels, expected[0] if mode == "L" else expected.transpose(1, 2, 0)
    )


def test_normalised_and_odd_inputs_are_pictures_too(run: Run) -> None:
    run("convolve", sample("chelsea.jpg"), "--color", "rgb", "--mean", "0.5", "--std", "0.5", "-q")
    with Image.open("cnnviz-out/chelsea/00_input.png") as image:
        low, high = float(image.info["cnnviz:min"]), float(image.info["cnnviz:max"])
        assert (image.mode, low < -0.9, high > 0.4) == ("RGB", True, True)
    np.save("five.npy", np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7))
    run("pipeline", "five.npy", "relu", "-q")
    with Image.open("cnnviz-out/five/00_input.png") as image:
        assert image.size == (5 * 7, 6)


def test_a_large_input_is_drawn_smaller(run: Run) -> None:
    Image.new("L", (4000, 1000), 128).save("wide.png")
    run("pool", "wide.png", "-k", "100", "-q")
    with Image.open("cnnviz-out/wide/00_input.png") as image:
        assert image.size == (1334, 334)
        assert (np.asarray(image) == 128).all()


def test_more_than_100_maps_are_grids_alone(run: Run) -> None:
    result = run("pipeline", sample("digit_3.png"), "conv(40, 3) -> relu -> maxpool(2)")
    names = [path.name for path in Path("cnnviz-out/digit_3").iterdir()]
    assert "grids only (--only maps writes each)" in result.err
    assert not [name for name in names if "_c0" in name]
    assert len([name for name in names if name.endswith("_grid.png")]) == 3
    assert run("pipeline", sample("digit_3.png"), "conv(40) -> relu", "--only", "maps").code == 0
    assert len(list(Path("cnnviz-out/digit_3").glob("*_c0*.png"))) == 80


@pytest.mark.parametrize("name", ["x.png", "out/pic.JPG", "a.gif"])
def test_a_picture_s_name_is_no_folder(run: Run, name: str) -> None:
    result = run("convolve", sample("step.png"), "-o", name)
    assert result.code == 2
    assert name in result.err
    assert not Path(name).exists()
