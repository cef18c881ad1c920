"""Mistakes that people make: exit code 2, and a line to run instead that runs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.cli.habits import instead
from tests.cli.conftest import Run, refused, sample

MISTAKES = {
    # PyTorch
    "pipeline p.png 'nn.Conv2d(1, 64, 3)'": "pipeline p.png 'conv(64, 3)'",
    "pipeline p.png 'nn.MaxPool2d(2, 2)'": "pipeline p.png 'maxpool(2, stride=2)'",
    "pipeline p.png 'nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))'":
        "pipeline p.png 'conv(8, 3, padding=1) -> relu -> maxpool(2)'",
    "pipeline p.png 'torch.nn.Conv2d(1, 8, kernel_size=5, stride=2, bias=False)'":
        "pipeline p.png 'conv(8, 5, stride=2, bias=false)'",
    "pipeline p.png 'nn.AdaptiveAvgPool2d(1) -> nn.Flatten() -> nn.Linear(1, 10) -> nn.Softmax(1)'":
        "pipeline p.png 'adaptive_avgpool(1) -> flatten -> dense(10) -> softmax'",
    "pipeline p.png 'nn.LeakyReLU(0.1)'": "pipeline p.png 'leaky_relu(0.1)'",
    "pipeline p.png 'nn.BatchNorm2d(1)'": "pipeline p.png batchnorm",
    "pipeline p.png 'nn.ConvTranspose2d(1, 4, 2, stride=2)'":
        "pipeline p.png 'conv_transpose(4, 2, stride=2)'",
    "pipeline p.png 'nn.Upsample(scale_factor=2)'": "pipeline p.png 'upsample(2)'",
    "pipeline p.png F.relu": "pipeline p.png relu",
    "compare p.png 'nn.MaxPool2d(8)' 'nn.AvgPool2d(8)'":
        "compare p.png 'maxpool(8)' 'avgpool(8)'",
    # Keras
    "pipeline p.png 'Conv2D(64, 3, padding=\"same\", activation=\"relu\")'":
        "pipeline p.png 'conv(64, 3, padding=same) -> relu'",
    "pipeline p.png 'layers.MaxPooling2D((2, 3), strides=2)'":
        "pipeline p.png 'maxpool((2, 3), stride=2)'",
    "pipeline p.png 'layers.MaxPooling2D()'": "pipeline p.png maxpool",
    "pipeline p.png 'DepthwiseConv2D(3)'": "pipeline p.png 'depthwise(1, 3)'",
    "pipeline p.png '[Conv2D(4, 3), ReLU(), Flatten(), Dense(10)]'":
        "pipeline p.png 'conv(4, 3) -> relu -> flatten -> dense(10)'",
    "pipeline p.png 'GlobalAveragePooling2D() -> Dense(10, activation=\"softmax\")'":
        "pipeline p.png 'gap -> dense(10) -> softmax'",
    "pipeline p.png 'Activation(\"tanh\")'": "pipeline p.png tanh",
    "shapes 'Conv2D(64, 3)' --input 3x224x224": "shapes 'conv(64, 3)' --input 3x224x224",
    "pipeline p.png 'Conv2d(8, 3) -> relu'": "pipeline p.png 'conv(8, 3) -> relu'",
    # everyday words
    "p.png": "convolve p.png",
    "pool p.png --window 3": "pool p.png --kernel-size 3",
    "pool p.png --size 3 --strides 2": "pool p.png --kernel-size 3 --stride 2",
    "pipeline p.png 'conv(8, 3) > relu'": "pipeline p.png 'conv(8, 3) -> relu'",
    "pipeline p.png 'MaxPool2d(2) -> Flatten() -> Linear(10)'":
        "pipeline p.png 'maxpool(2) -> flatten -> dense(10)'",
    "pipeline p.png 'flatten -> linear(10)'": "pipeline p.png 'flatten -> dense(10)'",
    "pipeline p.png 'flatten -> fc(10)'": "pipeline p.png 'flatten -> dense(10)'",
    "pipeline p.png 'conv(8, k=5)'": "pipeline p.png 'conv(8, 5)'",
    "pipeline p.png 'conv(8, size=5)'": "pipeline p.png 'conv(8, 5)'",
    "pipeline p.png 'conv(8, filter_size=5) -> relu'": "pipeline p.png 'conv(8, 5) -> relu'",
    "pipeline p.png 'conv(8, 3, activation=relu)'": "pipeline p.png 'conv(8, 3) -> relu'",
    "pipeline p.png 'pooling(2)'": "pipeline p.png 'maxpool(2)'",
    "pipeline p.png 'relu | maxpool(2)'": "pipeline p.png 'relu -> maxpool(2)'",
    "pipeline p.png 'relu - maxpool(2)'": "pipeline p.png 'relu -> maxpool(2)'",
    "pipeline p.png '- relu'": "pipeline p.png relu",
    "pipeline p.png 'relu => gap'": "pipeline p.png 'relu -> gap'",
    # kernels and layers, pictures and pipelines
    "pipeline p.png 'sobel -> relu'": "pipeline p.png 'conv(sobel) -> relu'",
    "pipeline p.png 'gaussian(5)'": "pipeline p.png 'conv(gaussian(5))'",
    "pipeline p.png sobel": "pipeline p.png 'conv(sobel)'",
    "pipeline edges p.png": "pipeline p.png edges",
    "pipeline 'conv(sobel) -> relu' p.png": "pipeline p.png 'conv(sobel) -> relu'",
    "explain edges p.png": "explain p.png edges",
    "shift 'conv(8)' p.png --by 1": "shift p.png 'conv(8)' --by 1",
    "convolve p.png -k edge": "convolve p.png -k sobel",
    "convolve p.png -k blur": "convolve p.png -k 'gaussian(5)'",
    "convolve p.png -k k.csv": "convolve p.png -k @k.csv",
    "convolve p.png sobel_x": "convolve p.png -k sobel_x",
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_line_to_run_instead_runs(run: Run, mistake: str) -> None:
    shutil.copy(sample("digit_3.png"), "p.png")
    Path("k.csv").write_text("1,0,-1\n2,0,-2\n1,0,-1\n")
    result = run(*shlex.split(mistake))
    assert result.code == 2
    assert result.out == ""
    (error, hint) = result.err.splitlines()
    assert error.startswith("error: ")
    assert hint == f"hint: run: cnnviz {MISTAKES[mistake]}"
    again = run(*shlex.split(MISTAKES[mistake]))
    assert again.code == 0, again.err


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model.tflite", "model.pt"])
def test_other_formats_get_the_way_to_onnx(run: Run, name: str) -> None:
    Path(name).write_bytes(b"x")
    result = run("pipeline", sample("digit_3.png"), name)
    assert result.code == 2
    assert "onnx" in result.err
    assert len(result.err.splitlines()) == 2


def test_weights_are_no_pipeline(run: Run) -> None:
    refused(run("pipeline", sample("digit_3.png"), "w.pth"), 2, "by --weights w.pth", "onnx")
    for words in (["--weights", "w.pth"], ["--weights=w.pth"]):
        assert "onnx" not in run("pipeline", sample("digit_3.png"), "conv(", *words).err


def test_a_pipeline_without_quotes_leaves_more_than_a_file() -> None:
    """The shell writes into a file named gap; the line with quotes is on standard error."""
    if not Path("/proc/self/fd/1").exists():
        pytest.skip("this system does not tell where standard output goes")
    words = [sys.executable, "-m", "cnnviz", "pipeline", sample("digit_3.png"), "relu", "-"]
    with Path("gap").open("wb") as file:
        done = subprocess.run(
            words, stdout=file, stderr=subprocess.PIPE, check=False, encoding="utf-8"
        )
    assert done.returncode == 2
    assert "run: cnnviz pipeline" in done.stderr
    assert "'relu -> gap'" in done.stderr


def test_what_is_right_but_fails_gets_no_other_line(run: Run) -> None:
    result = run("pipeline", sample("digit_3.png"), "conv(8, 99)")
    assert result.code == 1
    assert "run: cnnviz" not in result.err


@given(
    st.sampled_from(["pipeline", "convolve", "shapes", "compare", "pool", "x"]),
    st.lists(
        st.text(max_size=40)
        | st.sampled_from(["-", "-k", "nn.Conv2d(", "(((", "relu" + ".a" * 480, "a" * 300, "\0"])
        | st.lists(
            st.sampled_from(
                ["(", ")", "[", "]", ",", ".", "-", ">", "|", "=", "relu", "nn.ReLU", "3", "'", ":"]
            )
        ).map("".join),
        max_size=4,
    ),
)
def test_no_words_break_the_search(command: str, words: list[str]) -> None:
    line = instead([command, *words])
    assert line is None or line.startswith(("run: cnnviz ", "convert it first: ", "write it with "))


def test_a_long_pipeline_has_its_own_error(run: Run) -> None:
    text = " -> ".join(["relu"] * 100 + ["nope"])
    result = run("pipeline", sample("digit_3.png"), text)
    assert (result.code, "unknown layer 'nope'" in result.err) == (2, True)
