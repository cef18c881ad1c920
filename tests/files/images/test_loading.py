"""Pictures to tensors: modes and depths."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnviz.errors import CnnvizError
from cnnviz.files.images import (
    InputOptions,
    expand_inputs,
    load_image,
    stem,
)
from tests.files.images.samples import (
    RAW,
    RAW_RGB,
    RGB,
    SAMPLES,
    SIZE,
    check,
    chunk,
    convert,
    luma,
    mode_of,
    over,
    planes_of,
    png,
    save,
    tiff,
)

# Modes


def test_gray_8_bits(tmp_path, rng):
    levels = rng.integers(0, 256, SIZE, dtype=np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(levels))
    check(load_image(path), planes_of(levels))
    check(load_image(path, RGB), np.repeat(planes_of(levels), 3, axis=0))
    check(load_image(path, RAW), levels[None])
    assert load_image(path).shape == (1, *SIZE)


def test_rgb_and_its_luma(tmp_path, rng):
    levels = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(levels))
    check(load_image(path, RGB), planes_of(levels))
    check(load_image(path, RAW_RGB), np.moveaxis(levels, -1, 0))
    check(load_image(path), planes_of(luma(levels)))
    check(load_image(path, RAW), luma(levels)[None])


def test_every_level_is_divided_as_float32():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    check(convert(Image.fromarray(levels)), levels[None] / np.float32(255))


def test_one_bit(tmp_path, rng):
    bits = rng.random(SIZE) < 0.5
    path = save(tmp_path / "a.png", Image.fromarray(bits))
    assert mode_of(path) == "1"
    check(load_image(path), bits[None])
    check(load_image(path, RAW), bits[None] * 255)
    check(load_image(path, RGB), np.repeat(bits[None], 3, axis=0))


@pytest.mark.parametrize(("bits", "factor"), [(2, 85), (4, 17)])
def test_two_and_four_bits_are_widened(tmp_path, bits, factor):
    packed = bytes([0, 0b00_01_10_11])
    levels = [0, 1, 2, 3] if bits == 2 else [1, 11]
    path = tmp_path / "a.png"
    path.write_bytes(png(len(levels), 1, bits, 0, packed))
    check(load_image(str(path), RAW), np.array([[levels]]) * factor)
    transparent = chunk(b"tRNS", struct.pack(">H", levels[1]))
    path.write_bytes(png(len(levels), 1, bits, 0, packed, transparent))
    expected = np.array([[levels]]) * factor
    expected[0, 0, 1] = 255
    check(load_image(str(path), RAW), expected)


def palette_image(rng, entries=40):
    indices = rng.integers(0, entries, SIZE, dtype=np.uint8)
    palette = rng.integers(0, 256, (entries, 3), dtype=np.uint8)
    image = Image.frombytes("P", SIZE[::-1], indices.tobytes())
    image.putpalette(palette.tobytes())
    return image, indices, palette


def test_palette(tmp_path, rng):
    image, indices, palette = palette_image(rng)
    path = save(tmp_path / "a.png", image)
    check(load_image(path, RAW_RGB), np.moveaxis(palette[indices], -1, 0))
    check(load_image(path), planes_of(luma(palette[indices])))


def test_palette_with_transparent_index(tmp_path, rng):
    image, indices, palette = palette_image(rng, 8)
    for ending in ("png", "gif"):
        path = save(tmp_path / f"a.{ending}", image, transparency=3)
        expected = np.where((indices == 3)[..., None], 255, palette[indices])
        check(load_image(path, RAW_RGB), np.moveaxis(expected, -1, 0))


def test_palette_with_alpha_bytes(tmp_path, rng):
    image, indices, palette = palette_image(rng, 8)
    alphas = rng.integers(0, 256, 8, dtype=np.uint8)
    path = save(tmp_path / "a.png", image, transparency=alphas.tobytes())
    options = InputOptions(color="rgb", raw=True, background="#0a141e")
    expected = over(palette[indices], alphas[indices], (10, 20, 30))
    check(load_image(path, options), np.moveaxis(expected, -1, 0))
    check(load_image(path, InputOptions(raw=True, background="#0a141e")), luma(expected)[None])


@pytest.mark.parametrize("background", ["white", "black", "#c86432", "rgb(1,2,3)", "#ff000000"])
def test_rgba_over_backgrounds(tmp_path, rng, background):
    levels = rng.integers(0, 256, (*SIZE, 4), dtype=np.uint8)
    levels[0, 0, 3], levels[0, 1, 3] = 0, 255
    path = save(tmp_path / "a.png", Image.fromarray(levels))
    color = {
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "#c86432": (200, 100, 50),
        "rgb(1,2,3)": (1, 2, 3),
        "#ff000000": (255, 0, 0),
    }[background]
    expected = over(levels[..., :3], levels[..., 3], color)
    options = InputOptions(color="rgb", raw=True, background=background)
    check(load_image(path, options), np.moveaxis(expected, -1, 0))
    gray = InputOptions(background=background)
    check(load_image(path, gray), planes_of(luma(expected)))


def test_gray_with_alpha(tmp_path, rng):
    levels = rng.integers(0, 256, (*SIZE, 2), dtype=np.uint8)
    image = Image.fromarray(levels)
    assert image.mode == "LA"
    path = save(tmp_path / "a.png", image)
    expected = over(levels[..., :1], levels[..., 1], (255,))[..., 0]
    check(load_image(path, RAW), expected[None])


def test_palette_with_alpha_band(rng):
    image, indices, palette = palette_image(rng)
    alpha = rng.integers(0, 256, SIZE, dtype=np.uint8)
    pa = image.convert("PA")
    pa.putalpha(Image.fromarray(alpha))
    assert pa.mode == "PA"
    check(convert(pa, RAW_RGB), np.moveaxis(over(palette[indices], alpha, (255,) * 3), -1, 0))


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha(rng, mode):
    straight = mode[:-1] + "A"
    bands = len(straight)
    levels = rng.integers(0, 256, (*SIZE, bands), dtype=np.uint8)
    image = Image.fromarray(levels).convert(mode)
    assert image.mode == mode
    undone = np.asarray(image.convert(straight)).astype(int)
    color = np.repeat(undone[..., :1], 3, axis=2) if bands == 2 else undone[..., :3]
    expected = over(color, undone[..., -1], (255,) * 3)
    check(convert(image, RAW_RGB), np.moveaxis(expected, -1, 0))
    exact = np.asarray(image).astype(float)
    exact = exact[..., :-1] + 255 - exact[..., -1:]  # premultiplied, over white
    assert np.abs(convert(image, RAW_RGB) - np.moveaxis(exact, -1, 0)).max() <= 1.5


def test_rgbx_drops_the_padding(rng):
    levels = rng.integers(0, 256, (*SIZE, 4), dtype=np.uint8)
    image = Image.frombytes("RGBX", SIZE[::-1], levels.tobytes())
    check(convert(image, RAW_RGB), np.moveaxis(levels[..., :3], -1, 0))
    check(convert(image, RAW), luma(levels[..., :3])[None])


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "HSV", "YCbCr"])
def test_other_colour_spaces_are_pillows(tmp_path, rng, mode):
    bands = Image.new(mode, (1, 1)).getbands()
    levels = rng.integers(0, 256, (*SIZE, len(bands)), dtype=np.uint8)
    image = Image.frombytes(mode, SIZE[::-1], levels.tobytes())
    expected = np.asarray(image.convert("RGB"))
    check(convert(image, RAW_RGB), np.moveaxis(expected, -1, 0))
    gray = levels[..., 0] if mode == "YCbCr" else luma(expected)
    check(convert(image, RAW), gray[None])
    if mode != "HSV":
        path = save(tmp_path / "a.tif", image)
        assert mode_of(path) == mode
        check(load_image(path, RAW_RGB), np.moveaxis(expected, -1, 0))


def test_cmyk_by_hand():
    image = Image.new("CMYK", (1, 1), (255, 0, 51, 0))
    assert convert(image, RAW_RGB).ravel().tolist() == [0, 255, 204]


# Depths


def check_deep(path, levels, largest):
    exact = (levels.astype(np.float64) / largest).astype(np.float32)[None]
    check(load_image(str(path)), exact)
    check(load_image(str(path), RGB), np.repeat(exact, 3, axis=0))
    check(load_image(str(path), RAW), levels[None])


def test_gray_16_bit_png(tmp_path, deep):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    path = tmp_path / "a.png"
    path.write_bytes(png(*SIZE[::-1], 16, 0, rows))
    check_deep(path, deep, 65535)


def test_gray_16_bit_png_with_a_transparent_value(tmp_path, deep):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    path = tmp_path / "a.png"
    key = int(deep[2, 2])
    path.write_bytes(png(*SIZE[::-1], 16, 0, rows, chunk(b"tRNS", struct.pack(">H", key))))
    expected = np.where(deep == key, 100 * 257, deep)
    check(load_image(str(path), InputOptions(raw=True, background="#646464")), expected[None])


@pytest.mark.parametrize("order", "<>")
def test_gray_16_bit_tiff(tmp_path, deep, order):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(deep.astype(f"{order}u2"), bits=16, order=order))
    check_deep(path, deep, 65535)


def test_gray_16_bit_pgm(tmp_path, deep):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 7 5 65535\n" + deep.astype(">u2").tobytes())
    check_deep(path, deep, 65535)


def test_white_is_zero_is_inverted(tmp_path, deep):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(deep.astype("<u2"), bits=16, photometric=0))
    check_deep(path, 65535 - deep, 65535)


def test_12_bit_tiff(tmp_path):
    # two samples in three bytes: 0x123, 0xFFF
    path = tmp_path / "a.tif"
    image = tiff(np.frombuffer(b"\x12\x3f\xff", dtype=np.uint8)[None], bits=12)
    path.write_bytes(image.replace(struct.pack("<HHIH", 256, 3, 1, 3), b"\0\1\3\0\1\0\0\0\2\0"))
    check(load_image(str(path), RAW), [[[0x123, 0xFFF]]])
    check(load_image(str(path)), np.float32([[[0x123 / 4095, 1]]]))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_16_bit_modes(deep, mode):
    order = ">" if mode == "I;16B" or (mode == "I;16N" and sys.byteorder == "big") else "<"
    image = Image.frombytes(mode, SIZE[::-1], deep.astype(f"{order}u2").tobytes())
    check(convert(image, RAW), deep[None])
    check(convert(image), deep[None] / np.float32(65535))
    turned = image.transpose(Image.Transpose.ROTATE_270)
    check(convert(turned, RAW), np.rot90(deep, -1)[None])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("dtype", "largest"), [("i2", 2**15 - 1), ("i4", 2**31 - 1), ("u4", 2**32 - 1), ("i1", 127)]
)
def test_integer_tiffs_by_their_tags(tmp_path, rng, order, dtype, largest):
    if (order, dtype) in {(">", "u4"), (">", "i1")}:
        pytest.skip("Pillow does not read it")
    limits = np.iinfo(dtype)
    levels = rng.integers(limits.min, limits.max, SIZE, dtype=dtype, endpoint=True)
    levels.flat[:2] = limits.min, limits.max
    sample_format = 1 if dtype[0] == "u" else 2
    path = tmp_path / "a.tif"
    bits = 8 * levels.itemsize
    array = levels.astype(f"{order}{dtype}")
    path.write_bytes(tiff(array, bits=bits, sample_format=sample_format, order=order))
    check_deep(path, levels, largest)
    small = np.zeros_like(levels) + 3  # the depth does not come from the pixels
    path.write_bytes(
        tiff(small.astype(array.dtype), bits=bits, sample_format=sample_format, order=order)
    )
    check_deep(path, small, largest)


def test_integers_without_a_format_are_32_bits():
    image = Image.fromarray(np.array([[-5, 2**31 - 1]], dtype=np.int32))
    check(convert(image), np.float32([[[-5 / (2**31 - 1), 1]]]))


def test_floats_keep_their_values(tmp_path, rng):
    values = rng.normal(0, 1e4, SIZE).astype(np.float32)
    values.flat[:3] = np.nan, np.inf, -np.inf
    for order in "<>":
        path = tmp_path / "a.tif"
        path.write_bytes(tiff(values.astype(f"{order}f4"), bits=32, sample_format=3, order=order))
        check(load_image(str(path)), values[None])
        check(load_image(str(path), RAW_RGB), np.repeat(values[None], 3, axis=0))
    pfm = tmp_path / "a.pfm"
    pfm.write_bytes(b"Pf\n7 5\n-1.0\n" + values[::-1].astype("<f4").tobytes())
    check(load_image(str(pfm)), values[None])


def test_other_float_tiffs_are_named_as_what_they_are(tmp_path, rng):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(rng.normal(size=SIZE), bits=64, sample_format=3))
    with pytest.raises(CnnvizError, match="TIFF of 64-bit floats, gray") as caught:
        load_image(str(path))
    assert ".npy" in str(caught.value)


def test_compressed_tiff(tmp_path, deep):
    path = save(tmp_path / "a.tif", Image.fromarray(deep), compression="tiff_lzw")
    check_deep(path, deep, 65535)


def test_16_bit_colour_is_8_bit_in_pillow(tmp_path, rng):
    levels = rng.integers(0, 65536, (*SIZE, 3), dtype=np.uint16)
    levels[0, 0] = 0x1234, 0x5678, 0x9ABC
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    path = tmp_path / "a.png"
    path.write_bytes(png(*SIZE[::-1], 16, 2, rows))
    check(load_image(str(path), RAW_RGB), np.moveaxis(levels >> 8, -1, 0))
    key = chunk(b"tRNS", struct.pack(">HHH", *map(int, levels[0, 0])))
    path.write_bytes(png(*SIZE[::-1], 16, 2, rows, key))
    assert load_image(str(path), RAW_RGB)[:, 0, 0].tolist() == [255, 255, 255]
    assert load_image(str(path), RAW_RGB)[:, 1, 1].tolist() == (levels[1, 1] >> 8).tolist()
    for channel in range(3):  # one low bit off is opaque
        levels[1, 2] = levels[0, 0] + np.eye(3, dtype=np.uint16)[channel]
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
        path.write_bytes(png(*SIZE[::-1], 16, 2, rows, key))
        assert load_image(str(path), RAW_RGB)[:, 1, 2].tolist() == [0x12, 0x56, 0x9A]


def test_16_bit_gray_with_alpha_is_8_bit_in_pillow(tmp_path, rng):
    levels = rng.integers(0, 65536, (*SIZE, 2), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    path = tmp_path / "a.png"
    path.write_bytes(png(*SIZE[::-1], 16, 4, rows))
    high = (levels >> 8).astype(int)
    check(load_image(str(path), RAW), over(high[..., :1], high[..., 1], (255,))[..., 0][None])


# The samples


def test_samples():
    shapes = {
        "astronaut.jpg": (3, 512, 512),
        "chelsea.jpg": (3, 300, 451),
        "coffee.jpg": (3, 400, 600),
        "brick.png": (3, 512, 512),
        "camera.png": (3, 512, 512),
    } | {f"digit_{digit}.png": (3, 28, 28) for digit in range(10)}
    for name, shape in shapes.items():
        assert load_image(str(SAMPLES / name), RGB).shape == shape
        assert name.partition("_")[0] in (SAMPLES / "SOURCES.md").read_text()
    found = expand_inputs([str(SAMPLES)])
    others = ["step", "noise", "texture", "edge"]
    assert sorted(map(stem, found)) == sorted([*(Path(name).stem for name in shapes), *others])
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 3e6


def test_sample_matrices():
    def rows(name):
        return load_image(str(SAMPLES / name))[0].tolist()

    assert rows("tutorial.csv") == [
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 0],
        [0, 1, 1, 0, 0],
    ]
    assert rows("pooling.csv") == [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]
    assert rows("step.csv") == [[0] * 4 + [255] * 4] * 8
    check(load_image(str(SAMPLES / "step.png"), RAW), load_image(str(SAMPLES / "step.csv")))
    check(load_image(str(SAMPLES / "scores.csv")), [[[2, 1, 0.1, -1]]])
    assert (SAMPLES / "labels_digits.txt").read_text().split() == list("0123456789")
