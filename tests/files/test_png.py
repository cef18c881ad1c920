"""Every PNG we write, as Pillow, OpenCV and pngcheck read it."""

import io
import shutil
import subprocess
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cnnviz.files.images import deflate, load_pixels, png, png_bytes
from cnnviz.files.images.options import InputOptions

SAMPLES = Path(__file__).parents[2] / "sample_images"
PALETTE = np.random.default_rng(5).integers(0, 256, (256, 3), dtype=np.uint8)
MODES = ("L", "P", "RGB")
LEVELS = (None, *range(10))
WAYS = [
    deflate.Way(kind, level, strategy)
    for kind in (0, 2, 3)
    for level, strategy in ((0, 0), (1, 0), (9, 0), (1, 2), (1, 3))
]


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


@pytest.fixture
def all_ours(monkeypatch):
    """Have small pictures, too, written by our own writer."""
    monkeypatch.setattr(png, "_SMALL", 0)


# Every kind, shape and level


@pytest.mark.usefixtures("all_ours")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", LEVELS)
def test_shapes(tmp_path, mode, level):
    for height, width in ((1, 1), (1, 50), (50, 1), (3, 2), (7, 5), (33, 31), (130, 1030)):
        for kind in ("noise", "flat", "smooth"):
            image = draw(mode, height, width, kind)
            check(png_bytes(image, {}, level=level), image, tmp_path)
    pngcheck(tmp_path)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["noise", "flat", "smooth"])
def test_at_the_borders_of_pieces(tmp_path, mode, kind):
    depth = 3 if mode == "RGB" else 1
    rows = deflate.PIECE // (512 * depth)
    for pieces in (1, 2, 4, 8):
        for height in (pieces * rows - 1, pieces * rows, pieces * rows + 1):
            image = draw(mode, height, 512, kind)
            check(png_bytes(image, {}, threads=2), image, tmp_path)
    pngcheck(tmp_path)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 400_000), (400_000, 1), (2, 200_001), (200_001, 2)])
def test_long_and_thin(tmp_path, mode, shape):
    image = draw(mode, *shape)
    check(png_bytes(image, {}, threads=2), image)
    (tmp_path / "0.png").write_bytes(png_bytes(image, {}))
    pngcheck(tmp_path)


@pytest.mark.usefixtures("all_ours")
@pytest.mark.parametrize("mode", MODES)
def test_every_way(tmp_path, mode, monkeypatch):
    monkeypatch.setattr(deflate, "PIECE", 300)
    for kind in ("noise", "flat", "smooth"):
        image = draw(mode, 41, 37, kind)
        for way in WAYS:
            monkeypatch.setattr(png, "_choose", lambda *_, way=way: way)
            check(png_bytes(image, {}), image, tmp_path)
    pngcheck(tmp_path)


@given(data=st.data())
def test_drawn_pictures(data):
    mode = data.draw(st.sampled_from(MODES))
    height, width = data.draw(st.tuples(*[st.integers(1, 40)] * 2))
    depth = 3 if mode == "RGB" else 1
    values = st.sampled_from([b"\0", b"\xff", b"ab", b"abcdefg"]) | st.binary(min_size=1)
    pattern = data.draw(values)
    size = height * width * depth
    pixels = np.frombuffer((pattern * size)[:size], np.uint8)
    image = picture(mode, pixels.reshape((height, width, 3) if depth == 3 else (height, width)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "_SMALL", data.draw(st.sampled_from([0, 200])))
        patch.setattr(deflate, "PIECE", data.draw(st.integers(1, 400)))
        patch.setattr(png, "_SAMPLE", data.draw(st.sampled_from([64, 512, 1 << 15])))
        level = data.draw(st.sampled_from(LEVELS))
        files = {png_bytes(image, {}, level=level, threads=threads) for threads in (1, 3)}
    assert len(files) == 1
    check(files.pop(), image)


@pytest.mark.parametrize("mode", MODES)
def test_the_bytes_do_not_depend_on_the_threads(mode):
    for kind in ("noise", "flat", "smooth"):
        image = draw(mode, 700, 900, kind)
        for level in (None, 3):
            files = {png_bytes(image, {}, level=level, threads=n) for n in (1, 2, 3, 8)}
            assert len(files) == 1


def test_parts_of_the_format():
    data = png_bytes(draw("P", 900, 700), {"a": "b", "c": "→"}, threads=2)
    kinds, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        kinds.append(data[place + 4 : place + 8])
        place += length + 12
    pieces = -(-900 // (deflate.PIECE // 700))
    assert kinds == [b"IHDR", b"tEXt", b"iTXt", b"PLTE", *[b"IDAT"] * pieces, b"IEND"]
    assert len(png_bytes(Image.new("L", (1, 1)), {})) < 70


@given(st.lists(st.binary(max_size=9000), max_size=6))
def test_joined_checksums(pieces):
    joined = deflate._joined([(zlib.adler32(piece), len(piece)) for piece in pieces])
    assert joined == zlib.adler32(b"".join(pieces))


@given(*[st.integers(1, 5000)] * 2, st.sampled_from([1, 3]))
def test_a_sample_lies_inside_and_nothing_is_in_it_twice(width, height, depth):
    bands = png._sample((width, height), depth)
    ends = [0, *(row for band in bands for row in band), height]
    assert ends == sorted(ends)
    assert all(top < bottom for top, bottom in bands)
    rows = sum(bottom - top for top, bottom in bands)
    assert rows * width * depth <= max(png._SAMPLE, png._BANDS * width * depth)
    assert bands[0][0] == 0
    assert bands[-1][1] == height


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
            assert len(png_bytes(image, {})) <= 1.12 * pillow_size(image, 4)


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


def test_levels():
    image = draw("L", 300, 400, "smooth")
    stored, fast, small = (len(png_bytes(image, {}, level=level)) for level in (0, None, 9))
    assert small <= fast < image.width * image.height < stored
    sizes = [(len(png_bytes(x, {}, level=9)), pillow_size(x, 9)) for x in feature_maps()]
    assert all(ours <= 1.08 * pillows for ours, pillows in sizes)
    assert sum(ours for ours, _ in sizes) <= sum(pillows for _, pillows in sizes)
    for mode in ("RGBA", "1", "LA", "I;16"):  # Pillow's, at its levels
        image = Image.new(mode, (90, 90))
        assert len(png_bytes(image, {}, level=9)) < len(png_bytes(image, {}, level=0))


@pytest.mark.heavy
def test_memory_of_a_huge_picture_is_bounded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    image = Image.new("L", (20_000, 10_000), 3)
    image.paste(255, (5000, 5000, 9000, 7000))
    tracemalloc.start()
    try:
        data = png_bytes(image, {}, threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**25 + 2 * len(data)
    with Image.open(io.BytesIO(data)) as read:
        assert read.tobytes() == image.tobytes()


# Kinds that need more than pixels


def test_large_palettes_stay_whole(tmp_path):
    pixels = np.random.default_rng(1).choice(np.uint8([3, 200, 250]), (300, 400))
    image = Image.fromarray(pixels)
    image.putpalette(PALETTE[:210].tobytes())  # nothing for 250: black
    for transparency, alphas in ((None, None), (200, {200: 0}), (b"\x09" * 4, {3: 9})):
        if transparency is not None:
            image.info["transparency"] = transparency
        data = png_bytes(image, {})
        with Image.open(io.BytesIO(data)) as read:
            rgba = np.asarray(read.convert("RGBA"))
        expected = np.zeros((256, 3), np.uint8)
        expected[:210] = PALETTE[:210]
        np.testing.assert_array_equal(rgba[..., :3], expected[pixels])
        alpha = np.full(256, 255, np.uint8)
        for index, value in (alphas or {}).items():
            alpha[index] = value
        np.testing.assert_array_equal(rgba[..., 3], alpha[pixels])
        (tmp_path / f"{len(list(tmp_path.iterdir()))}.png").write_bytes(data)
    pngcheck(tmp_path)


@pytest.mark.parametrize(("mode", "value"), [("L", 3), ("RGB", (1, 2, 3))])
def test_a_transparent_value_is_kept(mode, value):
    image = Image.new(mode, (4, 3), value)
    image.info["transparency"] = value
    with Image.open(io.BytesIO(png_bytes(image, {"a": "b"}))) as read:
        assert read.info["transparency"] == value
        assert read.text == {"a": "b"}


def test_a_picture_not_yet_read_from_its_file():
    with Image.open(SAMPLES / "camera.png") as image:
        data = png_bytes(image, {}, threads=2)
    with Image.open(SAMPLES / "camera.png") as image:
        check(data, image)
