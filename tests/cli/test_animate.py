"""``cnnviz animate``."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import files_below, refused, sample, save_plane

STEP = sample("step.png")
TUTORIAL = sample("tutorial.csv")


def opened(path):
    with Image.open(path) as image:
        durations = []
        for index in range(image.n_frames):
            image.seek(index)
            durations.append(image.info["duration"])
        return image.size, durations


def test_every_position_of_a_small_map_is_a_frame(run):
    result = run("animate", TUTORIAL, "conv('1,0,1;0,1,0;1,0,1')")
    assert result.code == 0
    path = "cnnviz-out/tutorial/01_conv_conv1_c000.gif"
    assert path in result.out
    size, durations = opened(path)
    assert durations == [120] * 8 + [1500]
    assert f"{size[0]}×{size[1]}" in result.out
    assert sorted(files_below("cnnviz-out")) == [
        "tutorial/01_conv_conv1_c000.gif", "tutorial/animate.json",
    ]  # fmt: skip


def test_as_many_frames_as_asked(run):
    result = run(
        *("animate", sample("camera.png"), "conv(sobel) -> relu -> maxpool(3, 2)"),
        *("--stage", 3, "--channel", 1, "--frames", 7, "--duration", 50, "--loop", 4),
        *("--size", 500, "--format", "json", "-q"),
    )
    assert (result.code, result.err) == (0, "")
    record = result.record
    path = "cnnviz-out/camera/03_maxpool_maxpool1_c001.gif"
    assert record["files"] == [path]
    size, durations = opened(path)
    assert list(size) == record["size"]
    assert durations == [50] * 6 + [1500]
    with Image.open(path) as image:
        assert image.info["loop"] == 3  # after the first time
        assert b"maxpool1" in image.info["comment"]
    assert 350 < max(record["size"]) < 750
    assert {key: record[key] for key in ("stage", "channel", "frames", "duration", "loop")} == {
        "stage": "maxpool1", "channel": 1, "frames": 7, "duration": 50, "loop": 4,
    }  # fmt: skip
    assert list(record) == [
        *("cnnviz", "input", "pipeline", "stage", "channel", "frames", "size", "duration"),
        *("loop", "files"),
    ]


def test_two_runs_write_the_same_bytes_beside_the_pictures_of_pipeline(run):
    words = (STEP, "conv(3) -> relu")
    assert run("pipeline", *words).code == 0
    pictures = files_below("cnnviz-out")
    assert run("animate", *words).code == 0
    first = files_below("cnnviz-out")
    assert pictures.items() <= first.items()
    assert run("animate", *words).code == 0
    assert files_below("cnnviz-out") == first
    assert run("pipeline", *words).code == 0
    assert files_below("cnnviz-out").keys() == first.keys()
    # Another stage's animation comes beside this one's.
    assert run("animate", *words, "--stage", "relu1").code == 0
    assert files_below("cnnviz-out").keys() - first.keys() == {"step/02_relu_relu1_c000.gif"}


def test_the_record_repeats_the_run(run):
    assert run("animate", STEP, "conv(3)", "--seed", 5, "-q").code == 0
    before = files_below("cnnviz-out")
    record = json.loads(before["step/animate.json"])
    assert record["seed"] == 5
    assert record["pipeline"] == "conv(3)"
    assert record["files"] == ["01_conv_conv1_c000.gif"]
    program, *words = record["command"]
    assert program == "cnnviz"
    assert run(*words).code == 0
    assert files_below("cnnviz-out") == before


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_colour_pictures(run, color):
    red = np.zeros((9, 12, 3), np.uint8)
    red[..., 0] = 255
    save_plane("red.png", red)
    result = run("animate", "red.png", "conv(2, 3)", "--color", color, "--frames", 3)
    assert result.code == 0
    with Image.open("cnnviz-out/red/01_conv_conv1_c000.gif") as image:
        picture = np.asarray(image.convert("RGB"))
    assert (picture == [255, 0, 0]).all(axis=2).sum() > 10_000


def test_notes_tell_what_is_not_seen(run):
    result = run("animate", STEP, "conv(6) -> conv(4, 2)", "--stage", "conv2", "--channel", 3)
    assert "random weights (seed 0): conv1, conv2" in result.err
    assert "conv2 has 4 maps, this is map 3" in result.err
    assert "of the 6 channels it reads, channel " in result.err
    quiet = run("animate", STEP, "conv(6) -> conv(4, 2)", "--stage", "conv2", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_how_many_files_were_written(run):
    assert "wrote 2 files to cnnviz-out/step" in run("animate", STEP, "conv(2)").err
    assert len(files_below("cnnviz-out")) == 2


@pytest.mark.parametrize("length", [1, 12, 22, 32, 42, 90])
def test_no_path_is_broken(run, length):
    folder = "o" * length
    words = ("animate", STEP, "conv(2)", "-o", folder)
    lines = run(*words).out.splitlines()
    path = f"{folder}/step/01_conv_conv1_c000.gif"
    assert sum(path in line for line in lines) == 1
    assert any("bytes" in line for line in lines)


def test_the_least_size_is_told_and_kept(run):
    refused(run("animate", STEP, "conv(2)", "--size", 359), 2, "359", "360")
    record = run("animate", STEP, "conv(2)", "--size", 360, "--format", "json").record
    assert record["size"][0] == 360
    assert "at least 360" in " ".join(run("animate", "--help").out.replace("│", " ").split())


def test_weights_from_a_file(run):
    import cnnviz

    weight = np.zeros((1, 1, 2, 2), np.float32)
    weight[0, 0, 0, 0] = 1
    files = []
    for name, scale in (("a", 1), ("b", -1)):
        cnnviz.save_weights(f"{name}.safetensors", {"conv1.weight": weight * np.float32(scale)})
        words = ("animate", TUTORIAL, "conv(1, 2, bias=false)", "-o", name)
        assert run(*words, "--weights", f"{name}.safetensors").code == 0
        files.append(Path(name, "tutorial", "01_conv_conv1_c000.gif").read_bytes())
    assert files[0] != files[1]


WRONG = [
    (["conv(2) -> relu", "--stage", "rellu1"], ["rellu1", "relu1"]),
    (["conv(2) -> relu", "--stage", "3"], ["no stage 3", "1 to 2"]),
    (["conv(2) -> relu", "--channel", 2], ["no map 2", "0 to 1"]),
    (["conv(2) -> relu", "--channel", -1], ["-1", "0"]),
    (["conv(1)", "--channel", 1], ["its only map is 0"]),
    (["conv(2) -> flatten -> dense(3)", "--stage", "dense1"], ["dense1", "conv1"]),
    (["flatten -> softmax"], ["no stage of this pipeline can be animated"]),
    (["conv(2)", "--frames", 1], ["1"]),
    (["conv(2)", "--duration", 0], ["0"]),
    (["conv(2)", "--size", 10], ["10"]),
    (["conv(2)", "--out", ""], ["--out"]),
    (["conv(2)", "--algorithm", "nonsense"], ["nonsense"]),
    (["conv(2"], ["found the end"]),
]


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_wrong_requests(run, words, told):
    refused(run("animate", STEP, *words), 2, *told)
    assert not Path("cnnviz-out").exists()


def test_failing_data(run):
    refused(run("animate", "missing.png", "conv(2)"), 1, "missing.png")
    refused(run("animate", STEP, "conv(2, 9)"), 1, "9×9", "8×8")
    Path("several").mkdir()
    for name in "ab":
        save_plane(f"several/{name}.png", np.eye(5) * 255)
    refused(run("animate", "several", "conv(2)"), 1, "2 images")
    Path("cnnviz-out/step").mkdir(parents=True)
    theirs = Path("cnnviz-out/step/01_conv_conv1_c000.gif")
    theirs.write_bytes(b"theirs")
    refused(run("animate", STEP, "conv(2)"), 1, "not written by cnnviz", "--force")
    assert theirs.read_bytes() == b"theirs"
    assert run("animate", STEP, "conv(2)", "--force").code == 0


@pytest.mark.parametrize("values", ["nan,1\n2,inf\n-inf,0\n", "5,5\n5,5\n", "7\n"])
def test_odd_values(run, values):
    Path("odd.csv").write_text(values)
    for text in ("conv('1')", "maxpool(1)", "relu"):
        result = run("animate", "odd.csv", text, "--colormap", "magma")
        assert result.code == 0, result.err
        assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("image", "words", "told"),
    [
        ("coffee.jpg", ["conv(sobel_x)"], "12 of 238,004 steps are shown; --resize 24x24 --fr"),
        ("coffee.jpg", ["maxpool(8)"], "12 of 3,750 steps are shown; --resize 24x24 shows"),
        ("coffee.jpg", ["conv(2, 5) -> maxpool(30)", "--stage", "1"], "24x24 --frames 400"),
        ("digit_3.png", ["conv('1')"], "12 of 784 steps are shown; --frames 784 shows every step"),
        ("step.csv", ["maxpool(4)"], None),
        ("coffee.jpg", ["conv(2, 25)"], None),
    ],
)  # fmt: skip
def test_a_note_says_how_every_step_is_shown(run, image, words, told):
    result = run("animate", sample(image), *words, "--frames", 12, "--size", 360)
    assert result.code == 0, result.err
    assert (told or "") in result.err
    assert ("every step" in result.err) == (told is not None)
