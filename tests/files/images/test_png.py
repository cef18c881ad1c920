"""Every PNG we write, as Pillow, OpenCV and pngcheck read it."""

import io
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cnnviz.files.images import InputOptions, load_pixels, png_bytes
from tests.files.images.samples import SIZE

SAMPLES = Path(__file__).parents[3] / "sample_images"
PALETTE = np.random.default_rng(5).integers(0, 256, (256, 3), dtype=np.uint8)
MODES = ("L", "P", "RGB")
SHAPES = ((1, 1), (1, 50), (7, 5), (33, 31), (130, 1030), (1030, 130), (300, 400), (1025, 512))


def picture(mode, pixels):
    """Make a picture of bytes (H, W) or (H, W, 3)."""
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(PALETTE.tobytes())
    return image


def draw(mode, height, width, kind="noise"):
    """Make a picture that is noise, flat, or smooth with noise."""
    rng = np.random.default_rng(height * 1000 + width)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    if kind == "flat":
        return picture(mode, np.full(shape, 7, np.uint8))
    if kind == "noise":
        return picture(mode, rng.integers(0, 256, shape, dtype=np.uint8))
    y, x = np.ogrid[:height, :width]
    smooth = (127 + 60 * np.sin(y / 9) + 50 * np.cos(x / 13)).reshape(height, width)
    smooth = smooth[..., None] if mode == "RGB" else smooth
    return picture(mode, (smooth + rng.normal(0, 3, shape)).astype(np.uint8))


def colours(image):
    return np.asarray(image.convert("RGB"))


def check(data, image, tmp_path=None):
    """Decode a file with everything there is; with a folder, leave it there for pngcheck."""
    with Image.open(io.BytesIO(data)) as read:
        read.load()
        assert read.mode == image.mode
        assert read.size == image.size
        np.testing.assert_array_equal(colours(read), colours(image))
    try:
        import cv2
    except ImportError:
        pass
    else:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(found[..., ::-1], colours(image))
    if tmp_path is not None:
        (tmp_path / f"{len(list(tmp_path.iterdir()))}.png").write_bytes(data)


def pngcheck(tmp_path):
    program = shutil.which("pngcheck")
    if program is None:
        pytest.skip("pngcheck is not installed")
    files = sorted(map(str, tmp_path.iterdir()))
    assert files
    done = subprocess.run([program, "-q", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["noise", "flat", "smooth"])
def test_shapes(tmp_path, mode, kind):
    for height, width in SHAPES:
        image = draw(mode, height, width, kind)
        check(png_bytes(image, {}), image, tmp_path)
    pngcheck(tmp_path)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 400_000), (400_000, 1), (2, 200_001), (200_001, 2)])
def test_long_and_thin(tmp_path, mode, shape):
    image = draw(mode, *shape)
    data = png_bytes(image, {})
    check(data, image)
    (tmp_path / "0.png").write_bytes(data)
    pngcheck(tmp_path)


@given(data=st.data())
@settings(max_examples=40)
def test_drawn_pictures(data):
    mode = data.draw(st.sampled_from(MODES))
    height, width = data.draw(st.tuples(*[st.integers(1, 400)] * 2))
    depth = 3 if mode == "RGB" else 1
    values = st.sampled_from([b"\0", b"\xff", b"ab", b"abcdefg"]) | st.binary(min_size=1)
    pattern = data.draw(values)
    size = height * width * depth
    pixels = np.frombuffer(pattern * (size // len(pattern) + 1), np.uint8)[:size]
    image = picture(mode, pixels.reshape((height, width, 3) if depth == 3 else (height, width)))
    check(png_bytes(image, {}), image)


def test_parts_of_the_format():
    data = png_bytes(draw("P", 900, 700), {"a": "b", "c": "→"})
    kinds, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        kinds.append(data[place + 4 : place + 8])
        place += length + 12
    assert kinds == [b"IHDR", b"tEXt", b"iTXt", b"PLTE", b"IDAT", b"IEND"]
    assert len(png_bytes(Image.new("L", (1, 1)), {})) < 70


# Sizes


def pillow_size(image, level):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level)
    return len(buffer.getvalue())


def feature_maps():
    """Draw signed and positive maps of photographs as cnnviz does, and the photographs."""
    for name in ("astronaut.jpg", "coffee.jpg", "chelsea.jpg", "camera.png"):
        gray = load_pixels(str(SAMPLES / name), InputOptions(raw=True)).values[0]
        smooth = gray[:-2].astype(int) + 2 * gray[1:-1] + gray[2:]
        edges = smooth[:, 2:] - smooth[:, :-2]
        reach = abs(edges).max()
        yield picture("P", (np.rint(edges * (126 / reach)) + 126).astype(np.uint8))
        positive = np.maximum(edges, 0)
        yield picture("L", np.rint(positive * (255 / positive.max())).astype(np.uint8))
        yield picture("L", gray)
        with Image.open(SAMPLES / name) as photograph:
            yield photograph.convert("RGB")


def test_files_are_about_as_small_as_at_level_4():
    ours = pillows = 0
    for image in feature_maps():
        size, other = len(png_bytes(image, {})), pillow_size(image, 4)
        assert size <= 1.16 * other
        ours, pillows = ours + size, pillows + other
    assert ours <= pillows


def test_maps_of_middling_size_do_not_grow():
    for mode in MODES:
        for size in (91, 128, 181, 224):
            image = draw(mode, size, size, "smooth")
            assert len(png_bytes(image, {})) <= 1.15 * pillow_size(image, 4)


def test_lettered_sheets_are_searched_for_repeats():
    sheet = Image.new("RGB", (900, 1100), "white")
    pen = ImageDraw.Draw(sheet)
    for top in range(0, 1100, 44):
        for left in range(0, 900, 50):
            pen.rectangle((left, top + 14, left + 40, top + 40), (left % 256, top % 256, 90))
            pen.text((left, top), f"{top * left} map", "black")
    data = png_bytes(sheet, {})
    check(data, sheet)
    assert len(data) <= 1.3 * pillow_size(sheet, 4)


@pytest.mark.heavy
def test_memory_of_a_huge_picture_is_bounded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    image = Image.new("L", (20_000, 10_000), 3)
    image.paste(255, (5000, 5000, 9000, 7000))
    tracemalloc.start()
    try:
        data = png_bytes(image, {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**25 + 2 * len(data)
    with Image.open(io.BytesIO(data)) as read:
        assert read.tobytes() == image.tobytes()


# Kinds that need more than pixels


def test_large_palettes_stay_whole():
    pixels = np.random.default_rng(1).choice(np.uint8([3, 200, 250]), (300, 400))
    image = Image.fromarray(pixels)
    image.putpalette(PALETTE[:210].tobytes())  # nothing for 250: black
    with Image.open(io.BytesIO(png_bytes(image, {}))) as read:
        rgb = np.asarray(read.convert("RGB"))
        assert read.mode == "P"
    expected = np.zeros((256, 3), np.uint8)
    expected[:210] = PALETTE[:210]
    np.testing.assert_array_equal(rgb, expected[pixels])


@pytest.mark.parametrize(("mode", "value"), [("L", 3), ("RGB", (1, 2, 3))])
def test_a_transparent_value_is_kept(mode, value):
    image = Image.new(mode, (4, 3), value)
    image.info["transparency"] = value
    with Image.open(io.BytesIO(png_bytes(image, {"a": "b"}))) as read:
        assert read.info["transparency"] == value
        assert read.text == {"a": "b"}


def test_a_picture_not_yet_read_from_its_file():
    with Image.open(SAMPLES / "camera.png") as image:
        data = png_bytes(image, {})
    with Image.open(SAMPLES / "camera.png") as image:
        check(data, image)


# Text, and small palettes


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


@pytest.mark.parametrize(
    ("value", "written"),
    [("x" * 4096, "x" * 4096), ("x" * 4097, "x" * 4095 + "…"), ("@b\udcff.csv", "@b\\udcff.csv")],
)
def test_text_is_bounded_and_can_be_written(value, written):
    data = png_bytes(Image.new("L", (1, 1)), {"cnnviz:pipeline": value})
    with Image.open(io.BytesIO(data)) as read:
        assert read.text == {"cnnviz:pipeline": written}


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
