"""--algorithm, --precision and --threads: what they change, and what they do not."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(tmp_path):
    rows, columns = np.mgrid[:120, :150]
    pixels = (np.sin(rows / 7) * np.cos(columns / 5) * 100 + 120).astype(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def algorithms(result):
    return [stage["algorithm"] for stage in json.loads(result.out)["stages"]]


def test_an_algorithm_is_taken_where_it_can(run, photo):
    text = "conv(sobel) -> maxpool(2) -> relu"
    command = ("pipeline", photo, text, "--format", "json", "-q")
    assert algorithms(run(*command, "--algorithm", "rows"))[0] == "rows"
    assert algorithms(run(*command, "--algorithm", "doubling"))[1] == "doubling"
    assert algorithms(run(*command))[2] is None


def test_one_that_never_could_is_told(run, photo):
    result = run("convolve", photo, "-k", "sobel", "--algorithm", "winograd2")
    assert result.code == 0
    assert "winograd2 can compute none of these stages" in result.err


def test_unknown_ones_are_wrong_whatever_the_image(run, photo):
    result = run("convolve", photo, "--algorithm", "fast-fourier")
    assert result.code == 2
    assert "unknown algorithm 'fast-fourier'" in result.err
    assert run("convolve", photo, "--precision", "sloppy").code == 2


@pytest.mark.parametrize("name", ["windows", "rows", "flat", "int16", "separable", "fft"])
def test_every_algorithm_draws_the_same_picture(run, photo, tmp_path, name):
    maps = []
    for chosen in ("windows", name):
        out = tmp_path / chosen
        options = ("--padding", "same", "--save", "npy", "-q", "--algorithm", chosen, "-o", out)
        assert run("convolve", photo, "-k", "sobel_x", *options).code == 0
        maps.append(np.load(next(out.rglob("*.npy"))))
    np.testing.assert_allclose(maps[1], maps[0], atol=2e-6 * 8)


def test_fast_may_choose_otherwise_and_says_so(run, photo, tmp_path):
    text = "conv(32, padding=same) -> conv(64, padding=same)"
    command = ("pipeline", photo, text, "--format", "json", "-q", "-o", tmp_path / "out")
    exact, fast = (
        algorithms(run(*command, "--precision", precision)) for precision in ("exact", "fast")
    )
    assert len(exact) == len(fast) == 2
    assert exact[1] not in {"winograd4", "fft32"}
