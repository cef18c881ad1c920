"""Animations: read back by Pillow, and by a reader of GIF that shares nothing with the writer."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnviz.errors import CnnvizError
from cnnviz.files.images.gif import TRANSPARENT, gif_bytes

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


def film(seed=0, count=6, size=(13, 21)):
    """Frames each of which differs from the one before in a few pixels, the last in none."""
    rng = np.random.default_rng(seed)
    frames = [rng.integers(0, TRANSPARENT, size).astype(np.uint8)]
    for _ in range(count - 2):
        frame = frames[-1].copy()
        rows, columns = rng.integers(0, size[0], 3), rng.integers(0, size[1], 3)
        frame[rows, columns] = rng.integers(0, TRANSPARENT, 3)
        frames.append(frame)
    return [*frames, frames[-1].copy()][:count]


def encoded(frames, durations=None, **options):
    shown = zip(frames, durations or [120] * len(frames), strict=True)
    return gif_bytes(shown, frames[0].shape[::-1], PALETTE, **options)


def test_pillow_sees_every_frame_as_it_was_drawn():
    frames = film()
    durations = [120, 120, 40, 120, 250, 1500]
    with Image.open(io.BytesIO(encoded(frames, durations))) as image:
        assert image.n_frames == len(frames)
        for index, (frame, duration) in enumerate(zip(frames, durations, strict=True)):
            image.seek(index)
            assert image.info["duration"] == duration
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), PALETTE[frame])


def test_the_same_frames_give_the_same_bytes():
    assert encoded(film()) == encoded(film())


def test_how_often_it_is_played():
    for plays in (0, 2, 5, 65_535):
        data = encoded(film(), loop=plays)
        with Image.open(io.BytesIO(data)) as image:  # GIF counts repetitions
            assert image.info["loop"] == max(plays - 1, 0)
    assert b"NETSCAPE" not in encoded(film(), loop=1)


def test_text_is_kept():
    text = {"cnnviz:pipeline": "conv(sobel_x) → relu " + "x" * 300}
    with Image.open(io.BytesIO(encoded(film(), text=text))) as image:
        comment = image.info["comment"].decode("ascii")
        assert comment == "cnnviz:pipeline=conv(sobel_x) \\u2192 relu " + "x" * 300


def test_what_stays_the_same_costs_little():
    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, (200, 300)).astype(np.uint8)  # noise: 60 kB a frame
    frames = [still]
    for step in range(1, 30):
        frame = still.copy()
        frame[step : step + 3, step * 5 : step * 5 + 3] = 7
        frames.append(frame)
    assert len(encoded(frames)) < len(encoded(frames[:1])) + 30 * 500


def test_frames_too_large_for_the_format():
    with pytest.raises(CnnvizError, match="65,535"):
        gif_bytes([], (70_000, 10), PALETTE)


# --- a reader of GIF of our own ----------------------------------------------------------------


def sub_blocks(data, at):
    """Return the joined sub-blocks at a place, and the place after them."""
    parts = []
    while data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(parts), at + 1


def unpack(data, bits, count):
    """Return `count` indices from LZW codes: GIF89a, appendix F."""
    clear, end = 1 << bits, (1 << bits) + 1
    table, width, last = {}, bits + 1, None
    out, stream, place = bytearray(), int.from_bytes(data, "little"), 0
    while True:
        code = stream >> place & ((1 << width) - 1)
        place += width
        if code == end or len(out) >= count:
            return bytes(out[:count])
        if code == clear:
            table = {i: bytes([i]) for i in range(clear)}
            width, last = bits + 1, None
            continue
        entry = table[code] if code in table else last + last[:1]
        out += entry
        if last is not None and len(table) < 4096 - 2:
            table[len(table) + 2] = last + entry[:1]
            if len(table) + 2 == 1 << width and width < 12:
                width += 1
        last = entry


def read_gif(data):
    """Return (size, loop, [(canvas of colours, centiseconds)])."""
    assert data[:6] == b"GIF89a"
    width, height, packed = struct.unpack("<HHB", data[6:11])
    colours = np.frombuffer(data[13 : 13 + 768], np.uint8).reshape(256, 3)
    assert packed & 0x87 == 0x87
    at, loop, canvas, frames = 13 + 768, None, np.zeros((height, width, 3), np.uint8), []
    transparent, delay = None, 0
    while data[at] != 0x3B:
        if data[at] == 0x21:
            label = data[at + 1]
            if label == 0xF9:
                flags, delay, index = struct.unpack("<BHB", data[at + 3 : at + 7])
                transparent = index if flags & 1 else None
                assert flags >> 2 & 7 == 1  # it stays
            content, at = sub_blocks(data, at + 2)
            if content.startswith(b"NETSCAPE2.0"):
                loop = struct.unpack("<H", content[12:14])[0]
            continue
        assert data[at] == 0x2C
        x, y, w, h, flags = struct.unpack("<HHHHB", data[at + 1 : at + 10])
        assert flags == 0  # no palette of its own, not interlaced
        content, after = sub_blocks(data, at + 11)
        pixels = np.frombuffer(unpack(content, data[at + 10], w * h), np.uint8).reshape(h, w)
        seen = np.ones((h, w), bool) if transparent is None else pixels != transparent
        canvas[y : y + h, x : x + w][seen] = colours[pixels[seen]]
        frames.append((canvas.copy(), delay))
        at = after
    assert at == len(data) - 1
    return (width, height), loop, frames


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=15)
def test_another_reader_sees_the_same(seed, count, rows, columns):
    frames = film(seed, count, (rows, columns))
    size, loop, read = read_gif(encoded(frames, [90] * len(frames), loop=3))
    assert (size, loop, len(read)) == ((columns, rows), 2, len(frames))
    for frame, (seen, delay) in zip(frames, read, strict=True):
        np.testing.assert_array_equal(seen, PALETTE[frame])
        assert delay == 9


def test_another_reader_sees_long_frames():
    """So many pixels that the table of codes fills up and is begun anew."""
    frames = film(3, 3, (150, 200))
    _, _, read = read_gif(encoded(frames))
    for frame, (seen, _) in zip(frames, read, strict=True):
        np.testing.assert_array_equal(seen, PALETTE[frame])
