"""Pillow on files that are not trusted, and on those that are turned."""

import contextlib
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from cnnviz.errors import CnnvizError
from cnnviz.files.images import (
    InputOptions,
    load_image,
)
from tests.files.images.samples import (
    RAW,
    RAW_RGB,
    SAMPLES,
    SIZE,
    check,
    chunk,
    encoded,
    error_of,
    luma,
    planes_of,
    png,
    save,
)

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


def pillows_gray(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def saturated(height=48, width=64):
    """Draw small squares of the eight corner colours."""
    corners = np.random.default_rng(3).integers(0, 2, (height // 4, width // 4, 3)) * 255
    return Image.fromarray(corners.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8))


def test_gray_of_a_jpeg_is_pillows_l(tmp_path):
    for options in ({}, {"quality": 95, "subsampling": 0}, {"progressive": True}):
        check(load_image(jpeg(tmp_path, saturated(), **options), RAW),
              pillows_gray(tmp_path / "a.jpg")[None])  # fmt: skip
    for name in ("astronaut.jpg", "chelsea.jpg", "coffee.jpg"):
        path = str(SAMPLES / name)
        check(load_image(path), planes_of(pillows_gray(path)))
        rgb = np.moveaxis(load_image(path, RAW_RGB), 0, -1)
        check(load_image(path, RAW), luma(rgb)[None])


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
    check(load_image(path, RAW), TURNS[orientation](pillows_gray(path))[None])


def test_gray_of_a_jpeg_is_resized_from_its_full_size(tmp_path):
    path = jpeg(tmp_path, saturated(160, 240))
    plane = Image.fromarray(pillows_gray(path))
    for size in ((10, 15), (20, 30), (33, 500)):
        expected = np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR))
        check(load_image(path, InputOptions(raw=True, resize=size)), expected[None])


def test_the_first_of_several_jpegs(tmp_path):
    path = tmp_path / "a.mpo"
    saturated().save(path, save_all=True, append_images=[saturated(80, 80)])
    with Image.open(path) as image:
        assert image.format == "MPO"
    check(load_image(str(path), RAW), pillows_gray(path)[None])


# Hostile files


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
