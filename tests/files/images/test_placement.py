"""Samples, sizes, matrices, standard input: pictures as options want them."""

import io
import os
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from cnnviz.core.types import Samples
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.images import (
    InputOptions,
    load_image,
    load_pixels,
)
from tests.files.images.samples import (
    GRAY,
    RAW,
    RAW_RGB,
    RGB,
    SAMPLES,
    SIZE,
    check,
    encoded,
    error_of,
    luma,
    planes_of,
    save,
    tiff,
)

# Samples


def check_samples(source, options=GRAY):
    """Load as bytes; as floats they are what `load_image` returns, divided once."""
    samples = load_pixels(str(source), options)
    assert isinstance(samples, Samples)
    assert samples.values.dtype == np.uint8
    assert samples.values.flags.c_contiguous
    assert samples.unit == (1 if options.raw else 255)
    tensor = load_image(str(source), options)
    check(samples.tensor(), tensor)
    check(tensor, samples.values.astype(np.float32) / np.float32(samples.unit))
    assert samples.shape == tensor.shape
    return samples.values


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "HSV", "YCbCr"])
@pytest.mark.parametrize("options", [GRAY, RGB, RAW, RAW_RGB, InputOptions(resize=(9, 4))])
def test_8_bit_pictures_stay_bytes(tmp_path, rng, mode, options):
    levels = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    image = Image.fromarray(levels).convert("RGB" if mode in {"LA", "HSV"} else mode)
    if mode == "LA":
        image = Image.fromarray(levels[..., :2])
    path = save(tmp_path / ("a.tif" if mode in {"CMYK", "YCbCr"} else "a.png"), image)
    values = check_samples(path, options)
    assert values.shape == (3 if options.color == "rgb" else 1, *(options.resize or SIZE))


def test_samples_of_photographs():
    for name in ("astronaut.jpg", "camera.png"):
        for options in (GRAY, RGB, RAW):
            check_samples(SAMPLES / name, options)


def test_a_lone_level_is_rounded_once(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(np.arange(256, dtype=np.uint8)[None]))
    exact = [np.float32(level / 255) for level in range(256)]
    assert load_image(path).ravel().tolist() == exact
    assert load_pixels(path).tensor().ravel().tolist() == exact


def test_what_is_not_8_bits_is_a_tensor(tmp_path, deep):
    np.save(tmp_path / "a.npy", np.zeros(SIZE, np.uint8))
    (tmp_path / "b.tif").write_bytes(tiff(deep.astype("<u2"), bits=16))
    (tmp_path / "c.tif").write_bytes(tiff((deep >> 9).astype("i1"), bits=8, sample_format=2))
    (tmp_path / "d.tif").write_bytes(tiff(deep.astype("<f4"), bits=32, sample_format=3))
    for path in sorted(tmp_path.iterdir()):
        for options in (GRAY, RAW_RGB):
            check(load_pixels(str(path), options), load_image(str(path), options))
    path = save(tmp_path / "e.png", Image.new("L", (3, 2), 9))
    for options in (InputOptions(mean=(0.5,)), InputOptions(std=(2,), raw=True)):
        check(load_pixels(path, options), load_image(path, options))


def test_no_memory_for_floats(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", Image.new("L", (4, 3)))

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(Samples, "tensor", refuse)
    assert "does not fit in memory" in error_of(path)


# Resizing and normalising


def test_resize_is_rows_first_and_antialiased(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
    path = save(tmp_path / "a.png", Image.fromarray(ramp))
    tensor = load_image(path, InputOptions(resize=(4, 16)))
    assert tensor.shape == (1, 4, 16)
    np.testing.assert_allclose(
        tensor[0, 2, 1:-1] * 255, ramp[0].reshape(16, 4).mean(1)[1:-1], atol=1
    )
    stripes = np.tile(np.uint8([0, 255]), (32, 32))
    small = load_image(
        save(tmp_path / "b.png", Image.fromarray(stripes)), InputOptions(resize=(8, 8))
    )
    np.testing.assert_allclose(small, 0.5, atol=0.07)
    same = load_image(path, InputOptions(resize=(32, 64)))
    check(same, planes_of(ramp))


def test_resize_of_deep_images_is_not_rounded(tmp_path, deep):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(deep.astype("<u2"), bits=16))
    tensor = load_image(str(path), InputOptions(resize=(2, 3), color="rgb"))
    plane = Image.fromarray((deep / 65535).astype(np.float32))
    expected = np.asarray(plane.resize((3, 2), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(tensor, np.repeat(expected[None], 3, axis=0), rtol=1e-6)
    assert tensor.flags.c_contiguous


def test_resize_after_compositing_has_no_fringe(tmp_path):
    levels = np.zeros((8, 8, 4), dtype=np.uint8)
    levels[:, :4] = 255  # right half: transparent black
    path = save(tmp_path / "a.png", Image.fromarray(levels))
    assert load_image(path, InputOptions(resize=(3, 3))).min() == 1


def test_mean_and_std(tmp_path, rng):
    levels = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(levels))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    tensor = load_image(path, InputOptions(color="rgb", mean=mean, std=std))
    expected = (np.moveaxis(levels / 255, -1, 0) - np.reshape(mean, (3, 1, 1))) / np.reshape(
        std, (3, 1, 1)
    )
    np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-6)
    one = load_image(path, InputOptions(color="rgb", mean=(0.5,)))
    np.testing.assert_allclose(one, np.moveaxis(levels / 255, -1, 0) - 0.5, atol=1e-6)
    only = load_image(path, InputOptions(std=(2,), raw=True))
    check(only, luma(levels)[None] / 2)


def test_mean_and_std_that_do_not_fit(tmp_path):
    path = save(tmp_path / "a.png", Image.new("L", (2, 2)))
    for options in (InputOptions(mean=(1, 2, 3)), InputOptions(std=(1, 2))):
        with pytest.raises(
            CnnvizError, match=r"a\.png: (mean|std) has \d values.* 1 channel "
        ) as e:
            load_image(path, options)
        assert e.value.exit_code == 1


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"color": "grey"}, "did you mean gray"),
        ({"resize": (0, 5)}, "0x5"),
        ({"resize": (5, -1)}, "5x-1"),
        ({"resize": (100_000, 100_000)}, "10,000,000,000 pixels"),
        ({"std": (1.0, 0.0)}, "1, 0"),
        ({"std": (1e-300,)}, "divided by 0"),
        ({"std": (float("nan"),)}, "finite"),
        ({"std": ()}, "finite"),
        ({"mean": (float("inf"),)}, "finite"),
        ({"mean": (1e300,)}, "finite"),
        ({"background": "whitish"}, "whitish"),
        ({"max_pixels": 0}, "1 or more"),
    ],
)
def test_wrong_requests(settings, part):
    with pytest.raises(RequestError, match=part) as caught:
        InputOptions(**settings)
    assert caught.value.exit_code == 2


# Matrices and standard input


def test_matrices(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("0,255\n1/2,-3")
    expected = [[[0, 255], [0.5, -3]]]
    for options in (InputOptions(), RGB, RAW_RGB):
        check(load_image(str(path), options), expected)
    normal = load_image(str(path), InputOptions(mean=(1,), std=(2,)))
    check(normal, (np.float32(expected) - 1) / 2)
    np.save(tmp_path / "b.npy", np.zeros((6, 5, 3)))
    assert load_image(str(tmp_path / "b.npy")).shape == (3, 6, 5)
    assert load_image(str(tmp_path / "b.npy"), InputOptions(resize=(2, 4))).shape == (3, 2, 4)
    with pytest.raises(CnnvizError, match="limit of 3"):
        load_image(str(path), InputOptions(max_pixels=3))


def test_stdin(stdin, rng):
    levels = rng.integers(0, 256, SIZE, dtype=np.uint8)
    stdin(encoded(Image.fromarray(levels)))
    check(load_image("-"), planes_of(levels))
    stdin(b"# c\n1 2\n3 4\n")
    check(load_image("-"), [[[1, 2], [3, 4]]])
    buffer = io.BytesIO()
    np.save(buffer, levels)
    stdin(buffer.getvalue())
    check(load_image("-"), levels[None])


def test_stdin_errors(stdin, monkeypatch):
    stdin(b"")
    with pytest.raises(CnnvizError, match="standard input: is empty"):
        load_image("-")
    stdin(b"hello")
    with pytest.raises(CnnvizError, match="standard input: is not an image"):
        load_image("-")
    stdin(b"1 2\n3")
    with pytest.raises(CnnvizError, match="standard input, line 2"):
        load_image("-")
    stdin(bytes(2**21))
    with pytest.raises(CnnvizError, match="too many for 10 pixels"):
        load_image("-", InputOptions(max_pixels=10))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CnnvizError, match="closed"):
        load_image("-")


def test_named_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    levels = np.arange(35, dtype=np.uint8).reshape(SIZE)
    data = encoded(Image.fromarray(levels))
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    check(load_image(str(pipe), RAW), levels[None])
    writer.join()


# --- prepared as networks need it ----------------------------------------------------------------


@pytest.mark.parametrize("size", [(30, 47), (47, 30), (20, 20)])
@pytest.mark.parametrize(("covered", "crop"), [((24, 24), (20, 20)), (None, (16, 21))])
def test_crop_is_a_resize_that_covers_and_a_cut(tmp_path, rng, size, covered, crop):
    picture = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
    path = save(tmp_path / "a.png", picture)
    tensor = load_image(path, InputOptions(color="rgb", resize=covered, crop=crop, raw=True))
    rows, columns = covered or crop
    if rows * size[1] >= columns * size[0]:
        scaled = (rows, int(rows * size[1] / size[0]))
    else:
        scaled = (int(columns * size[0] / size[1]), columns)
    whole = np.asarray(picture.resize(scaled[::-1], Image.Resampling.BILINEAR))
    top, left = (round((scaled[axis] - crop[axis]) / 2) for axis in (0, 1))
    cut = whole[top : top + crop[0], left : left + crop[1]]
    assert tensor.shape == (3, *crop)
    assert np.abs(tensor - np.moveaxis(cut, -1, 0)).max() <= 1  # of 255 levels


def test_crop_of_a_very_long_picture_takes_no_memory(tmp_path):
    path = save(tmp_path / "a.png", Image.new("L", (60_000, 1), 200))
    tensor = load_image(path, InputOptions(crop=(224, 224)))
    check(tensor, np.full((1, 224, 224), 200 / 255, np.float32))


def test_crop_of_matrices_and_deep_pictures(tmp_path):
    ramp = np.arange(48, dtype=np.float32).reshape(6, 8)
    np.save(tmp_path / "a.npy", ramp)
    cut = load_image(str(tmp_path / "a.npy"), InputOptions(resize=(6, 6), crop=(2, 4)))
    np.testing.assert_allclose(cut[0], ramp[2:4, 2:6])
    deep = Image.fromarray((ramp * 1000).astype(np.uint16))
    path = save(tmp_path / "a.png", deep)
    cut = load_image(path, InputOptions(color="rgb", resize=(6, 6), crop=(2, 4), raw=True))
    np.testing.assert_allclose(cut, [ramp[2:4, 2:6] * 1000] * 3)


def test_bgr_is_rgb_backwards(tmp_path, rng):
    path = save(tmp_path / "a.png", Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)))
    forwards, backwards = (load_image(path, InputOptions(color=c)) for c in ("rgb", "bgr"))
    np.testing.assert_array_equal(backwards, forwards[::-1])
    gray = save(tmp_path / "g.png", Image.fromarray(rng.integers(0, 256, (5, 6), np.uint8)))
    np.testing.assert_array_equal(
        *(load_image(gray, InputOptions(color=c)) for c in ("rgb", "bgr"))
    )


def test_input_range_is_what_white_becomes(tmp_path):
    levels = np.uint8([[0, 51, 255]])
    path = save(tmp_path / "a.png", Image.fromarray(levels))
    check(load_image(path, InputOptions(input_range=255)), np.float32(levels)[None])
    check(load_image(path, InputOptions(input_range=2)), np.float32([[[0, 0.4, 2]]]))
    caffe = load_image(path, InputOptions(color="bgr", input_range=255, mean=(104, 117, 123)))
    check(caffe, np.float32(levels)[None] - np.float32([104, 117, 123]).reshape(3, 1, 1))
    deep = save(tmp_path / "b.png", Image.fromarray(np.uint16([[0, 65535]])))
    check(load_image(deep, InputOptions(input_range=255)), np.float32([[[0, 255]]]))
    np.save(tmp_path / "c.npy", np.float32([[1, 2]]))
    kept = load_image(str(tmp_path / "c.npy"), InputOptions(input_range=255))
    check(kept, np.float32([[[1, 2]]]))


def test_invert_is_white_minus_the_picture(tmp_path):
    levels = np.uint8([[0, 51, 255]])
    path = save(tmp_path / "a.png", Image.fromarray(levels))
    for options in ({}, {"raw": True}, {"input_range": 255.0}):
        tensor = load_image(path, InputOptions(**options))
        other = load_image(path, InputOptions(invert="always", **options))
        np.testing.assert_allclose(other, tensor.max() - tensor)
    deep = save(tmp_path / "b.png", Image.fromarray(np.uint16([[0, 13107]])))
    check(load_image(deep, InputOptions(invert="always")), np.float32([[[1, 0.8]]]))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"crop": (0, 5)}, "crop 0x5"),
        ({"crop": (9, 9), "resize": (9, 8)}, "crop 9x9 does not lie within resize 9x8"),
        ({"fit": "digit", "resize": (9, 8)}, "resize cannot be given beside it"),
        ({"fit": "digit", "crop": (9, 8)}, "--fit none --crop 9x8"),
        ({"fit": "face"}, "unknown fit 'face'"),
        ({"invert": "yes"}, "unknown invert 'yes'"),
        ({"input_range": 0.0}, "white must be positive"),
        ({"input_range": float("nan")}, "white must be positive"),
        ({"input_range": 255.0, "raw": True}, "255 cannot be given beside it"),
    ],
)
def test_preparation_that_makes_no_sense(settings, told):
    with pytest.raises(RequestError, match=told):
        InputOptions(**settings)
