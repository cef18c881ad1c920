"""``cnnviz convolve``: worked figures and what its options do to the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from tests.cli.conftest import Run, files_below, pixels, refused, sample, save_plane

RED, BLUE, NEUTRAL = (103, 0, 31), (5, 48, 97), (247, 247, 247)
STEM = "01_conv_conv1"


def array(name: str, stage: str = STEM) -> np.ndarray:
    return np.load(f"cnnviz-out/{name}/{stage}.npy")


def test_the_tutorial_matrix_gives_the_published_numbers(run: Run) -> None:
    result = run("convolve", sample("tutorial.csv"), "-k", "1,0,1;0,1,0;1,0,1", "--values", "-q")
    assert (result.code, result.out, result.err) == (0, "4 3 4\n2 4 3\n2 3 4\n", "")


def test_a_step_gives_1020_at_both_sides_of_the_edge(run: Run) -> None:
    result = run(
        "convolve", sample("step.png"), "--raw", "-k", "sobel_x", "--padding", "same",
        "--padding-mode", "replicate", "--save", "npy",
    )  # fmt: skip
    assert result.code == 0
    got = array("step")
    assert got.dtype == np.float32
    assert got.shape == (1, 8, 8)
    np.testing.assert_array_equal(got[0], [[0, 0, 0, 1020, 1020, 0, 0, 0]] * 8)
    # Not one value is negative: drawn in greys.
    with Image.open(f"cnnviz-out/step/{STEM}_c000.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), [[0, 0, 0, 255, 255, 0, 0, 0]] * 8)


def test_a_step_down_is_blue_where_a_step_up_is_red(run: Run) -> None:
    up = pixels(sample("step.png"))[..., 0]
    save_plane("down.png", up[:, ::-1])
    options = ["--raw", "--padding", "same", "--padding-mode", "replicate", "--save", "npy"]
    opposite = "1,0,-1;2,0,-2;1,0,-1"
    assert run("convolve", "down.png", "-k", "sobel_x", *options).code == 0
    np.testing.assert_array_equal(array("down")[0], [[0, 0, 0, -1020, -1020, 0, 0, 0]] * 8)
    assert run("convolve", sample("step.png"), "-k", "sobel_x", "-k", opposite, *options).code == 0
    row = [NEUTRAL] * 3 + ["edge"] * 2 + [NEUTRAL] * 3
    for folder, channel, colour in [("down", 0, BLUE), ("step", 0, RED), ("step", 1, BLUE)]:
        drawn = pixels(f"cnnviz-out/{folder}/{STEM}_c{channel:03d}.png")
        expected = [[colour if cell == "edge" else cell for cell in row]] * 8
        np.testing.assert_array_equal(drawn, expected)


def test_the_default_kernels_are_the_sobel_bank(run: Run) -> None:
    record = run("convolve", sample("step.png"), "--format", "json", "-q").record
    assert record["pipeline"] == "conv(sobel)"
    assert record["stages"][0]["output_shape"] == [2, 6, 6]


def test_flip_is_the_mathematical_convolution_and_is_said(run: Run) -> None:
    kernel = "1,2,3;4,5,6;7,8,9"
    arguments = ["convolve", sample("tutorial.csv"), "-k", kernel, "--save", "npy"]
    plain = run(*arguments)
    straight = array("tutorial")
    flipped_run = run(*arguments, "--flip")
    x = np.loadtxt(sample("tutorial.csv"), delimiter=",")
    weights = np.arange(1.0, 10).reshape(3, 3)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
    np.testing.assert_allclose(straight[0], (windows * weights).sum((2, 3)))
    np.testing.assert_allclose(array("tutorial")[0], (windows * weights[::-1, ::-1]).sum((2, 3)))
    assert "cross-correlation" in plain.err
    assert "rotated by 180°" in flipped_run.err


def test_window_options_reach_the_layer(run: Run) -> None:
    stage = run(
        "convolve", sample("camera.png"), "-k", "box(3)", "--stride", "2,3", "--padding", "1,2,3,4",
        "--padding-mode", "symmetric", "--dilation", "2", "--format", "json", "-q",
    ).record["stages"][0]  # fmt: skip
    assert stage["kernel_size"] == [3, 3]
    assert stage["stride"] == [2, 3]
    assert stage["padding"] == [1, 2, 3, 4]
    assert stage["dilation"] == [2, 2]
    assert stage["output_shape"] == [1, (512 + 4 - 5) // 2 + 1, (512 + 6 - 5) // 3 + 1]
    assert stage["settings"]["padding_mode"] == "symmetric"


@pytest.mark.parametrize("padding", ["same", "SAME", "SAME_UPPER", "same_upper"])
def test_paddings_of_other_programs_are_understood(run: Run, padding: str) -> None:
    result = run(
        "convolve",
        sample("step.png"),
        "--padding",
        padding,
        "--stride",
        2,
        "--format",
        "json",
        "-q",
    )
    assert result.record["stages"][0]["padding"] == [0, 0, 1, 1]
    assert result.record["stages"][0]["output_shape"] == [2, 4, 4]


def test_same_lower_and_full(run: Run) -> None:
    def padding(kind: str) -> list[int]:
        result = run("convolve", sample("step.png"), "--padding", kind, "--stride", 2,
                     "--format", "json", "-q")  # fmt: skip
        return result.record["stages"][0]["padding"]

    assert padding("same-lower") == [1, 1, 0, 0]
    assert padding("full") == [2, 2, 2, 2]
    assert padding("valid") == [0, 0, 0, 0]


def test_a_pad_value_alone_means_constant_padding(run: Run) -> None:
    result = run("convolve", sample("tutorial.csv"), "-k", "1,1,1;1,1,1;1,1,1", "--padding", 1,
                 "--pad-value", 7, "--values", "-q")  # fmt: skip
    assert result.code == 0
    assert result.out.split()[0] == str(5 * 7 + 1 + 1 + 0 + 1)


def test_kernels_of_different_sizes_need_same_padding(run: Run) -> None:
    kernels = ["-k", "sobel_x", "-k", "box(5)"]
    refused(run("convolve", sample("step.png"), *kernels), 2, "3×3", "5×5", "padding=same")
    result = run("convolve", sample("step.png"), *kernels, "--padding", "same", "--save", "npy")
    assert result.code == 0
    x = cnnviz.load_image(str(sample("step.png")))
    small = cnnviz.parse("conv(sobel_x, padding=same)")
    np.testing.assert_allclose(array("step")[:1], next(iter(small.run(x))).output, atol=1e-6)


def test_files_of_kernels(run: Run) -> None:
    np.save("bank.npy", np.arange(18, dtype=np.float32).reshape(2, 3, 3))
    Path("k.csv").write_text("0,0,0\n0,1,0\n0,0,0\n")
    result = run("convolve", sample("tutorial.csv"), "-k", "@bank.npy", "-k", "@k.csv",
                 "--save", "npy")  # fmt: skip
    assert result.code == 0
    x = np.loadtxt(sample("tutorial.csv"), delimiter=",")
    np.testing.assert_array_equal(array("tutorial")[2], x[1:-1, 1:-1])
    assert array("tutorial").shape == (3, 3, 3)


def test_a_kernel_may_begin_with_a_minus(run: Run) -> None:
    result = run("convolve", sample("tutorial.csv"), "-k", "-1,0,1;-1,0,1;-1,0,1", "--values", "-q")
    assert result.code == 0
    assert result.out.splitlines()[0].split() == ["2", "0", "-2"]


def test_colour_opponents_read_the_three_planes_of_a_colour_picture(run: Run) -> None:
    halves = np.full((9, 18, 3), 128, np.uint8)
    halves[:, 9:] = (160, 100, 128)  # redder, and about as bright
    Image.fromarray(halves).save("halves.png")
    result = run("convolve", "halves.png", "--color", "rgb", "-k", "red_green", "--json", "-q")
    (stage,) = result.record["stages"]
    assert stage["output_shape"] == [1, 3, 12]
    assert stage["min"] < -0.05 < 0.05 < stage["max"]
    refused(run("convolve", "halves.png", "-k", "red_green"), 1, "red_green", "--color rgb")


def test_colour_a_2d_kernel_is_the_mean_over_channels(run: Run) -> None:
    run("convolve", sample("chelsea.jpg"), "-k", "sobel_x", "--color", "rgb", "--save", "npy",
        "--only", "grid")  # fmt: skip
    x = cnnviz.load_image(str(sample("chelsea.jpg")), cnnviz.InputOptions(color="rgb"))
    (stage,) = cnnviz.parse("conv(sobel_x)").run(x.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(array("chelsea"), stage.output, atol=1e-5)


def test_depthwise_recombines_the_colours(run: Run) -> None:
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 256, (6, 7, 3))
    colours[0, 0], colours[0, 1] = 0, 255
    save_plane("c.png", colours)
    result = run("convolve", "c.png", "--color", "rgb", "--depthwise", "-k", "identity",
                 "--padding", "same", "--save", "npy")  # fmt: skip
    assert result.code == 0
    name = "01_depthwise_depthwise1"
    np.testing.assert_array_equal(pixels(f"cnnviz-out/c/{name}_rgb000.png"), colours)
    np.testing.assert_allclose(array("c", name), colours.transpose(2, 0, 1) / 255, atol=1e-7)
    for channel in range(3):
        plane = pixels(f"cnnviz-out/c/{name}_c{channel:03d}.png")[..., 0]
        np.testing.assert_array_equal(plane, colours[..., channel])


def test_depthwise_of_two_kernels_gives_two_colour_pictures(run: Run) -> None:
    run("convolve", sample("chelsea.jpg"), "--color", "rgb", "--depthwise", "--padding", "same",
        "-k", "identity", "-k", "box(3)")  # fmt: skip
    names = [name for name in files_below("cnnviz-out/chelsea") if "rgb" in name]
    assert names == [f"01_depthwise_depthwise1_rgb00{n}.png" for n in range(2)]
    x = cnnviz.load_image(str(sample("chelsea.jpg")), cnnviz.InputOptions(color="rgb"))
    picture = pixels("cnnviz-out/chelsea/01_depthwise_depthwise1_rgb000.png")
    scaled = np.rint(x.transpose(1, 2, 0) / x.max() * 255)
    assert np.abs(picture - scaled).max() <= 1


def test_gray_depthwise_has_no_colour_picture(run: Run) -> None:
    run("convolve", sample("step.png"), "--depthwise", "-k", "identity")
    assert not [name for name in files_below("cnnviz-out/step") if "rgb" in name]


def test_sixteen_bit_gray_keeps_its_depth(run: Run) -> None:
    values = np.arange(64).reshape(8, 8) * 1040
    save_plane("deep.png", values, "uint16")
    options = ["-k", "identity", "--padding", "same", "--save", "npy"]
    run("convolve", "deep.png", *options)
    np.testing.assert_allclose(array("deep")[0], values / 65535, rtol=1e-6)
    run("convolve", "deep.png", *options, "--raw")
    np.testing.assert_array_equal(array("deep")[0], values)


def test_input_options(run: Run) -> None:
    options = ["-k", "1", "--save", "npy", "--resize", "16x24", "--mean", "0.5", "--std", "0.25"]
    result = run("convolve", sample("camera.png"), *options, "--format", "json", "-q")
    assert result.record["input"]["shape"] == [1, 16, 24]
    expected = cnnviz.load_image(
        str(sample("camera.png")),
        cnnviz.InputOptions(resize=(16, 24), mean=(0.5,), std=(0.25,)),
    )
    np.testing.assert_allclose(array("camera"), expected, atol=1e-6)
    assert result.record["input"]["min"] == pytest.approx(float(expected.min()))


def test_the_background_shows_through(run: Run) -> None:
    save_plane("clear.png", np.zeros((4, 4, 4)))
    for options, value in [([], 255), (["--background", "#0a0a0a"], 10)]:
        run("convolve", "clear.png", "-k", "1", "--raw", "--save", "npy", *options)
        np.testing.assert_array_equal(array("clear"), np.full((1, 4, 4), value))


def test_an_image_or_a_matrix_on_standard_input(run: Run) -> None:
    picture = run("convolve", "-", "--format", "json", "-q", stdin=sample("step.png").read_bytes())
    assert picture.record["input"] == {"path": "-", "shape": [1, 8, 8], "min": 0, "max": 1}
    assert all(Path(f).is_file() for f in picture.record["stages"][0]["files"])
    assert Path("cnnviz-out/stdin/run.json").is_file()
    matrix = run("convolve", "-", "-k", "1,0,1;0,1,0;1,0,1", "--values", "-q",
                 stdin=sample("tutorial.csv").read_bytes())  # fmt: skip
    assert matrix.out == "4 3 4\n2 4 3\n2 3 4\n"


def test_random_kernels_follow_their_own_seed(run: Run) -> None:
    def weights(*options: object) -> np.ndarray:
        run("convolve", sample("camera.png"), "--save", "npy", "--only", "grid", *options)
        return array("camera")

    one = weights("-k", "random(2, size=3, seed=1)")
    np.testing.assert_array_equal(one, weights("-k", "random(2, size=3, seed=1)"))
    assert not np.array_equal(one, weights("-k", "random(2, size=3, seed=2)"))


def test_the_number_of_threads_changes_nothing(run: Run) -> None:
    options = ["convolve", sample("camera.png"), "-k", "box(7)", "--save", "npy", "-q"]
    assert run(*options).code == 0
    before = array("camera")
    assert run(*options, "--threads", 1).code == 0
    np.testing.assert_array_equal(array("camera"), before)


def test_several_names_in_one_kernel(run: Run) -> None:
    refused(
        run("convolve", sample("step.png"), "-k", "sobel_x,sobel_y"),
        2,
        "sobel_x,sobel_y",
        "repeat -k",
    )


def test_csv_of_several_images_names_them(run: Run) -> None:
    images = [sample("digit_3.png"), sample("digit_4.png")]
    lines = run("convolve", *images, "--format", "csv", "--columns", "name").out.splitlines()
    assert lines == ["image,name", *(f"{image},conv1" for image in images)]
    alone = run("convolve", images[0], "--format", "csv", "--columns", "name").out.splitlines()
    assert alone == ["name", "conv1"]


def test_show_says_what_its_shades_mean(run: Run) -> None:
    out = run("convolve", sample("step.png"), "--raw", "-k", "sobel_x", "--show", "-q").out
    assert out.splitlines()[0] == "dark 0, bright 1020"
