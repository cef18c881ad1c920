import contextlib
import io
import os
import struct
import sys
import threading
import types
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from cnnviz.core.types import Samples
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.images import (
    InputOptions,
    expand_inputs,
    load_image,
    load_pixels,
    png_bytes,
    stem,
)
from cnnviz.files.images.loading import depth_of, to_pixels
from cnnviz.files.matrices import display_name

SAMPLES = Path(__file__).parents[3] / "sample_images"
GRAY = InputOptions()
RGB = InputOptions(color="rgb")
RAW = InputOptions(raw=True)
RAW_RGB = InputOptions(raw=True, color="rgb")
SIZE = (5, 7)  # rows, columns


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def luma(rgb):
    """Compute ITU-R 601 luma in integers, rounded, from (H, W, 3) levels."""
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    return (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16


def over(rgb, alpha, background):
    """Composite levels over a background, to the nearest level."""
    alpha = alpha.astype(np.int64)[..., None]
    return (2 * (alpha * rgb + (255 - alpha) * np.array(background)) + 255) // 510


def save(path, image, **options):
    image.save(path, **options)
    return str(path)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mode_of(path):
    with Image.open(path) as image:
        return image.mode


def planes_of(levels, largest=255):
    """Divide levels (H, W) or (H, W, 3) into float32 planes."""
    return np.moveaxis(np.atleast_3d(levels), -1, 0).astype(np.float32) / np.float32(largest)


def check(tensor, expected):
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, np.asarray(expected, dtype=np.float32))


def convert(image, options=GRAY):
    pixels = to_pixels(image, depth_of(image), options)
    return pixels.tensor() if isinstance(pixels, Samples) else pixels


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, bits, color_type, pixels, *extra):
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(pixels))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def tiff(array, *, bits, sample_format=1, photometric=1, order="<"):
    """Write a gray strip by hand, so that the reader is tested against the format."""
    data = array.tobytes()
    entries = {
        256: array.shape[1],
        257: array.shape[0],
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: array.shape[0],
        279: len(data),
        339: sample_format,
    }
    table = b"".join(
        struct.pack(f"{order}HHI", tag, 4 if value > 65535 or tag in {273, 279} else 3, 1)
        + struct.pack(f"{order}{'I' if value > 65535 or tag in {273, 279} else 'H2x'}", value)
        for tag, value in entries.items()
    )
    magic = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(f"{order}H", len(entries))
    return magic + struct.pack(f"{order}I", 8 + len(data)) + data + count + table + bytes(4)


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


@pytest.fixture
def deep(rng):
    levels = rng.integers(0, 65536, SIZE, dtype=np.uint16)
    levels.flat[:3] = 0, 1, 65535
    return levels


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


def test_16_bit_gray_with_alpha_is_8_bit_in_pillow(tmp_path, rng):
    levels = rng.integers(0, 65536, (*SIZE, 2), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    path = tmp_path / "a.png"
    path.write_bytes(png(*SIZE[::-1], 16, 4, rows))
    high = (levels >> 8).astype(int)
    check(load_image(str(path), RAW), over(high[..., :1], high[..., 1], (255,))[..., 0][None])


# Orientation and frames

TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
def test_exif_orientation(tmp_path, rng, orientation, ending):
    levels = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(ending, {})
    path = save(tmp_path / f"a.{ending}", Image.fromarray(levels), exif=exif, **options)
    with Image.open(path) as stored:
        bare = levels if ending == "tif" else np.asarray(stored.convert("RGB"))
    check(load_image(path, RAW_RGB), np.moveaxis(TURNS[orientation](bare), -1, 0))
    gray = Image.fromarray(levels[..., 0])
    if ending in {"png", "tif"}:
        check(
            load_image(save(tmp_path / f"g.{ending}", gray, exif=exif), RAW),
            TURNS[orientation](levels[..., 0])[None],
        )


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_unknown_orientation_and_broken_exif_leave_the_image(tmp_path, rng, value):
    levels = rng.integers(0, 256, SIZE, dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = value
    check(
        load_image(save(tmp_path / "a.png", Image.fromarray(levels), exif=exif), RAW), levels[None]
    )
    garbage = b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(range(30))
    path = save(tmp_path / "b.png", Image.fromarray(levels), exif=garbage)
    check(load_image(path, RAW), levels[None])


def test_first_frame(tmp_path, rng):
    frames = [Image.fromarray(rng.integers(0, 256, SIZE, dtype=np.uint8)) for _ in range(3)]
    for ending in ("gif", "tif", "png"):
        path = tmp_path / f"a.{ending}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        check(load_image(str(path), RAW), np.asarray(frames[0])[None])


# JPEGs


def jpeg(tmp_path, image, **options):
    return save(tmp_path / "a.jpg", image, **options)


def stored_luma(path):
    """Decode a JPEG's own planes and return the first."""
    with Image.open(path) as image:
        image.draft("YCbCr", None)
        return np.asarray(image)[..., 0]


def saturated(height=48, width=64):
    """Draw small squares of the eight corner colours."""
    corners = np.random.default_rng(3).integers(0, 2, (height // 4, width // 4, 3)) * 255
    return Image.fromarray(corners.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8))


def test_gray_of_a_jpeg_is_the_luma_it_stores(tmp_path):
    for options in ({}, {"quality": 95, "subsampling": 0}, {"progressive": True}):
        path = jpeg(tmp_path, saturated(), **options)
        check(load_image(path, RAW), stored_luma(path)[None])
        check(load_image(path), planes_of(stored_luma(path)))
        with Image.open(path) as image:
            rgb = np.asarray(image)
        check(load_image(path, RAW_RGB), np.moveaxis(rgb, -1, 0))
        assert np.abs(load_image(path, RAW)[0] - luma(rgb)).max() <= 40


def test_gray_of_photographs_is_near_the_luma_of_their_rgb():
    for name in ("astronaut.jpg", "chelsea.jpg", "coffee.jpg"):
        path = str(SAMPLES / name)
        difference = np.abs(
            load_image(path, RAW)[0] - luma(np.moveaxis(load_image(path, RAW_RGB), 0, -1))
        )
        assert difference.max() <= 7
        assert difference.mean() <= 0.01


def test_gray_jpeg(tmp_path, rng):
    levels = rng.integers(0, 256, SIZE, dtype=np.uint8)
    path = jpeg(tmp_path, Image.fromarray(levels))
    with Image.open(path) as image:
        stored = np.asarray(image)
    check(load_image(path, RAW), stored[None])
    check(load_image(path, RAW_RGB), np.stack([stored] * 3))


def test_jpegs_that_store_no_luma(tmp_path):
    path = jpeg(tmp_path, saturated(), keep_rgb=True)
    with Image.open(path) as image:
        assert image.info["adobe_transform"] == 0
        check(load_image(path, RAW), luma(np.asarray(image))[None])
    path = jpeg(tmp_path, saturated().convert("CMYK"))
    with Image.open(path) as image:
        assert image.mode == "CMYK"
        check(load_image(path, RAW), luma(np.asarray(image.convert("RGB")))[None])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_gray_of_a_jpeg_is_turned(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = jpeg(tmp_path, saturated(), exif=exif)
    check(load_image(path, RAW), TURNS[orientation](stored_luma(path))[None])


def test_gray_of_a_jpeg_is_resized_from_its_full_size(tmp_path):
    path = jpeg(tmp_path, saturated(160, 240))
    plane = Image.fromarray(stored_luma(path))
    for size in ((10, 15), (20, 30), (33, 500)):
        expected = np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR))
        check(load_image(path, InputOptions(raw=True, resize=size)), expected[None])


def test_the_first_of_several_jpegs(tmp_path):
    path = tmp_path / "a.mpo"
    saturated().save(path, save_all=True, append_images=[saturated(80, 80)])
    with Image.open(path) as image:
        assert image.format == "MPO"
    check(load_image(str(path), RAW), stored_luma(path)[None])


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


@pytest.fixture
def stdin(monkeypatch):
    def feed(data):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))

    return feed


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


# Folders and names


def test_folders(tmp_path):
    for name in ("b.PNG", "a.jpg", ".hidden.png", "x.csv", "x.txt", "x.npy", "x.h5", "read.me"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "c.png").mkdir()
    (tmp_path / "c.png" / "d.png").write_bytes(b"")
    expected = ["no.png", str(tmp_path / "a.jpg"), str(tmp_path / "b.PNG"), "-", ""]
    assert expand_inputs(["no.png", str(tmp_path), "-", ""]) == expected
    assert expand_inputs([str(tmp_path / "x.csv")]) == [str(tmp_path / "x.csv")]
    assert expand_inputs(["a\0b", "y" * 5000]) == ["a\0b", "y" * 5000]
    assert expand_inputs([]) == []


def test_folder_without_images(tmp_path):
    (tmp_path / "x.csv").write_text("1")
    with pytest.raises(CnnvizError, match="no images") as caught:
        expand_inputs([str(tmp_path)])
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a/cat.jpg", "cat"),
        ("cat.tar.gz", "cat.tar"),
        ("-", "stdin"),
        ("", "image"),
        (".", "image"),
        ("..", "image"),
        ("a/..", "image"),
        ("...", "image"),
        ("/", "image"),
        ("a\nb\x1b.png", "a_b_"),
        ("a\0b.png", "a_b"),
        ('<"c:d*">.png', "__c_d___"),
        ("my cat .png", "my cat"),
        ("naïve.png", "naïve"),
        ("\udcff.png", "_"),
    ],
)
def test_stem(source, expected):
    assert stem(source) == expected


# Hostile files


def error_of(source, options=GRAY):
    with pytest.raises(CnnvizError) as caught:
        load_image(str(source), options)
    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert str(caught.value).startswith(display_name(str(source)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_not_images(tmp_path):
    path = tmp_path / "a.png"
    assert "no such file" in error_of(path)
    assert "is a folder" in error_of(tmp_path)
    for content in (b"hello, world\n", b"\0" * 100, bytes(range(256)), b"<html>", b"\x89PNG"):
        path.write_bytes(content)
        assert "is not an image" in error_of(path)
    path.write_bytes(b"")
    assert "is empty" in error_of(path)
    with pytest.raises(CnnvizError, match="no such file"):
        load_image("")
    with pytest.raises(CnnvizError, match="not a file name"):
        load_image("a\0b.png")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "permission denied" in error_of(path)


def test_permission_error_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "permission denied" in error_of(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated(tmp_path, rng, kind):
    data = encoded(Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)), kind)
    path = tmp_path / "a.png"
    path.write_bytes(data[: len(data) // 2])
    assert "cannot be decoded" in (message := error_of(path)) or "not an image" in message
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_no_pixels(tmp_path):
    path = tmp_path / "a.png"
    for size in ((0, 0), (0, 3), (3, 0)):
        path.write_bytes(png(*size, 8, 0, b""))
        error_of(path)
    path.write_bytes(b"P5 0 0 255\n")
    error_of(path)


def test_bombs(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    path = tmp_path / "a.png"
    path.write_bytes(png(30_000, 20_000, 1, 0, b""))
    message = error_of(path)
    for part in ("600,000,000 pixels", f"{before:,}", "--max-pixels N raises it"):
        assert part in message
    path.write_bytes(png(10_000, 10_000, 1, 0, b""))  # Pillow would only warn
    assert "100,000,000" in error_of(path)
    assert before == Image.MAX_IMAGE_PIXELS
    small = save(tmp_path / "b.png", Image.new("L", (4, 3)))
    assert "limit is 11" in error_of(small, InputOptions(max_pixels=11))
    assert load_image(small, InputOptions(max_pixels=12)).shape == (1, 3, 4)
    assert before == Image.MAX_IMAGE_PIXELS


def test_limit_can_be_raised_and_lifted(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", Image.new("1", (40, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "limit is 100" in error_of(path)
    assert load_image(path, InputOptions(max_pixels=1200)).shape == (1, 30, 40)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(path).shape == (1, 30, 40)
    assert Image.MAX_IMAGE_PIXELS is None


def test_bomb_inside_an_icon(tmp_path):  # which Pillow decodes when it opens it
    inner = png(20_000, 20_000, 1, 0, b"")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    path = tmp_path / "a.ico"
    path.write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + inner)
    assert "400,000,000 pixels" in error_of(path)


def test_text_chunk_bombs(tmp_path):
    packed = zlib.compress(bytes(200_000_000), 9)
    bomb = chunk(b"zTXt", b"Comment\0\0" + packed)
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, 8, 0, b"\0\1", bomb))
    with contextlib.suppress(CnnvizError):
        load_image(str(path))
    profile = chunk(b"iCCP", b"x\0\0" + packed)
    path.write_bytes(png(1, 1, 8, 0, b"\0\1", profile))
    with contextlib.suppress(CnnvizError):
        load_image(str(path))


def test_out_of_memory(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", Image.new("L", (4, 3)))

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    assert "does not fit in memory" in error_of(path)


def test_pillows_warnings_and_logs_stay_inside(tmp_path, capfd, rng):
    data = encoded(Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)), "TIFF")
    path = tmp_path / "a.tif"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for cut in range(1, len(data), 7):
            path.write_bytes(data[:cut])
            with contextlib.suppress(CnnvizError):
                load_image(str(path))
    assert not caught
    assert capfd.readouterr() == ("", "")


def fuzz_seeds(rng):
    picture = Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (6, 5), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    palette = picture.quantize(16)
    return {
        "a.png": encoded(picture, exif=exif),
        "b.png": encoded(palette, transparency=b"\0\x80\xff"),
        "c.png": encoded(deep),
        "d.jpg": encoded(picture, "JPEG", exif=exif),
        "e.jpg": encoded(picture.convert("CMYK"), "JPEG", progressive=True),
        "f.tif": encoded(deep, "TIFF", exif=exif),
        "g.tif": encoded(picture, "TIFF", compression="tiff_lzw"),
        "h.gif": encoded(palette, "GIF", transparency=3),
        "i.bmp": encoded(palette, "BMP"),
        "j.webp": encoded(picture, "WEBP", exif=exif),
        "k.ico": encoded(picture, "ICO", sizes=[(10, 12)]),
        "l.tga": encoded(picture, "TGA", compression="tga_rle"),
        "m.ppm": encoded(picture, "PPM"),
        "n.jp2": encoded(picture, "JPEG2000"),
        "o.csv": b"1,2,3\n4,5,6\n",
    }


def test_fuzz(tmp_path, rng, capfd):
    options = InputOptions(color="rgb", max_pixels=100_000)
    for name, seed in fuzz_seeds(rng).items():
        path = tmp_path / name
        path.write_bytes(seed)
        load_image(str(path), options)
        refused = read = 0
        for _ in range(250):
            data = bytearray(seed)
            for _ in range(rng.integers(0, 5)):
                place = rng.integers(len(data)) if rng.random() < 0.5 else rng.integers(64)
                data[min(place, len(data) - 1)] = rng.integers(256)
            if rng.random() < 0.4:
                data = data[: rng.integers(len(data) + 1)]
            path.write_bytes(data)
            try:
                tensor = load_image(str(path), options)
            except CnnvizError as error:
                refused += str(error).startswith(str(path)) and bool(error.hint)
            else:
                read += 1
                assert tensor.dtype == np.float32
                assert tensor.ndim == 3
                assert tensor.size
        assert refused + read == 250
    assert capfd.readouterr() == ("", "")


# Writing


def test_png_bytes_keep_pixels_and_text(rng):
    text = {"cnnviz:min": "-1.5", "cnnviz:pipeline": "conv → relu", "empty": ""}
    for mode in ("L", "RGB", "RGBA", "1"):
        bands = len(Image.new(mode, (1, 1)).getbands())
        levels = rng.integers(0, 256, (*SIZE, bands), dtype=np.uint8)
        image = Image.fromarray(levels.squeeze()).convert(mode)
        data = png_bytes(image, text)
        assert data == png_bytes(image.copy(), dict(text))
        with Image.open(io.BytesIO(data)) as read:
            assert read.mode == mode
            assert read.tobytes() == image.tobytes()
            assert read.text == text
        assert b"tIME" not in data
        assert b"tEXtcnnviz:min" in data
        assert b"iTXtcnnviz:pipeline" in data


def test_png_bytes_of_indexed_images(rng):
    indices = rng.choice(np.uint8([3, 200, 7, 255]), SIZE)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.frombytes("P", SIZE[::-1], indices.tobytes())
    image.putpalette(palette.tobytes())
    data = png_bytes(image, {"a": "b"})
    with Image.open(io.BytesIO(data)) as read:
        assert read.mode == "P"
        np.testing.assert_array_equal(np.asarray(read.convert("RGB")), palette[indices])
        expected = palette[[3, 7, 200, 255]].ravel().tolist()
        assert read.getpalette() == expected
        assert read.text == {"a": "b"}
    np.testing.assert_array_equal(np.asarray(image), indices)  # untouched


def test_png_bytes_with_short_palettes():
    image = Image.frombytes("P", (4, 1), bytes([0, 2, 5, 2]))
    image.putpalette([1, 2, 3, 4, 5, 6, 7, 8, 9])  # nothing for 5: black
    with Image.open(io.BytesIO(png_bytes(image, {}))) as read:
        rgb = np.asarray(read.convert("RGB"))[0]
    assert rgb.tolist() == [[1, 2, 3], [7, 8, 9], [0, 0, 0], [7, 8, 9]]


def test_png_bytes_leave_the_source_metadata_out():
    image = Image.new("L", (2, 2))
    image.info.update(icc_profile=b"profile", exif=b"Exif\0\0", dpi=(72, 72), comment="c")
    assert png_bytes(image, {}) == png_bytes(Image.new("L", (2, 2)), {})


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
    assert sorted(map(stem, found)) == sorted(Path(name).stem for name in [*shapes, "step.png"])
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
        ({"input_range": 0.0}, "must be a positive number"),
        ({"input_range": float("nan")}, "must be a positive number"),
        ({"input_range": 255.0, "raw": True}, "255 cannot be given beside it"),
    ],
)
def test_preparation_that_makes_no_sense(settings, told):
    with pytest.raises(RequestError, match=told):
        InputOptions(**settings)
