"""Pictures for terminals: what is written, decoded again, and to whom it is written."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from cnnviz.view.protocols import PROTOCOLS, find_protocol, quantized
from tests.oracles import noise

VARIABLES = ("TERM", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "TMUX", "STY", "ZELLIJ",
             "NO_COLOR")  # fmt: skip


def png(width, height, colours=300):
    """Return a picture of so many colours, among them black and white, as a PNG."""
    generator = np.random.default_rng(0)
    palette = generator.integers(0, 256, (colours, 3))
    palette[:2] = [[0, 0, 0], [255, 255, 255]]
    image = Image.fromarray(
        palette[generator.integers(0, colours, (height, width))].astype(np.uint8)
    )
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def fields(text):
    return dict(pair.split("=") for pair in re.split("[,;]", text))


def kitty(text):
    """Return the keys and the picture of kitty's commands, which are all there is."""
    commands = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{piece}\x1b\\" for keys, piece in commands) == text
    keys = [fields(keys) for keys, _ in commands]
    assert [key.pop("m") for key in keys] == ["1"] * (len(keys) - 1) + ["0"]
    assert not any(keys[1:])
    assert all(len(piece) == 4096 for _, piece in commands[:-1])
    assert 0 < len(commands[-1][1]) <= 4096
    return keys[0], base64.b64decode("".join(piece for _, piece in commands), validate=True)


def iterm2(text):
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", text)
    return fields(found[1]), base64.b64decode(found[2], validate=True)


def sixel(text):
    """Return the pixels of sixels, as percents of red, green and blue; each is drawn once."""
    head = re.match(r'\x1bP0;1;0q"1;1;(\d+);(\d+)', text)
    assert text.endswith("\x1b\\")
    columns, rows = int(head[1]), int(head[2])
    drawn, palette = np.full((rows, columns, 3), -1), {}
    x, top, colour = 0, 0, None
    body = text[head.end() : -2]
    parts = re.findall(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|(?:!(\d+))?([?-~])|([$-])", body)
    assert re.sub(r"#\d+(;2;\d+;\d+;\d+)?|(!\d+)?[?-~]|[$-]", "", body) == ""
    for number, red, green, blue, count, sign, move in parts:
        if red:
            palette[number] = (int(red), int(green), int(blue))
        elif number:
            colour = palette[number]
        elif move:
            x, top = 0, top + 6 * (move == "-")
        else:
            for bit in range(6):
                if (ord(sign) - 63) >> bit & 1:
                    place = drawn[top + bit, x : x + int(count or 1)]
                    assert (place == -1).all()
                    place[...] = colour
            x += int(count or 1)
            assert x <= columns
    return drawn


@pytest.mark.parametrize("size", [(1, 1), (30, 20), (300, 90), (700, 13)])
def test_kitty_and_iterm2_get_the_very_file(size):
    data = png(*size)
    keys, sent = kitty(PROTOCOLS["kitty"].encode(data, 60, 8))
    assert sent == data
    assert (keys["a"], keys["f"], keys["q"]) == ("T", "100", "2")
    told, sent = iterm2(PROTOCOLS["iterm2"].encode(data, 60, 8))
    assert sent == data
    assert (told["inline"], told["size"]) == ("1", str(len(data)))
    assert keys["c"] == told["width"] == str(min(60, -(-size[0] // 8)))


def test_fine_pixels_make_pictures_larger():
    assert [
        kitty(PROTOCOLS["kitty"].encode(png(200, 4), 60, cell))[0]["c"] for cell in (5, 10, 20)
    ] == ["40", "20", "20"]


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (90, 61), (640, 12)])
@pytest.mark.parametrize("colours", [2, 100, 400])
def test_sixels_are_the_quantized_pixels(size, colours):
    data = png(*size, colours)
    drawn = sixel(PROTOCOLS["sixel"].encode(data, 80, 8))
    indices, palette = quantized(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(drawn, np.rint(palette[indices] * (100 / 255)))
    if colours <= 128:
        np.testing.assert_array_equal(drawn, np.rint(pixels(data) * (100 / 255)))


@pytest.mark.parametrize(("size", "columns", "shown"), [
    ((640, 400), 40, (320, 200)), ((640, 400), 300, (640, 400)), ((3000, 1500), 400, (1000, 500)),
    ((100, 2000), 80, (50, 1000)),
])  # fmt: skip
def test_sixels_fit_the_terminal(size, columns, shown):
    drawn = sixel(PROTOCOLS["sixel"].encode(png(*size, 2), columns, 8))
    assert drawn.shape[1::-1] == shown


def test_common_colours_are_exact_and_rare_ones_near():
    ramp = (noise(0, 200, 300, 3) * 40 + 128).clip(1, 254).astype(np.uint8)
    ramp[:40], ramp[40:80] = (247, 247, 247), (178, 24, 43)
    ramp[199, :2] = [[0, 0, 0], [255, 255, 255]]
    indices, palette = quantized(Image.fromarray(ramp))
    drawn = palette[indices].astype(int)
    assert (drawn[:80] == ramp[:80]).all()
    assert drawn[199, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert np.abs(drawn - ramp).max() < 50


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "foot-extra", "KITTY_WINDOW_ID": "1"}, "sixel"),
        ({"TERM": "mlterm-256color"}, "sixel"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "x,1,0"}, None),
        ({"TERM": "screen.xterm-kitty", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, None),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, None),
        ({"KITTY_WINDOW_ID": "1"}, None),
    ],
)
def test_the_environment_tells(monkeypatch, environment, name):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    stream = Terminal()
    assert find_protocol(stream) is (PROTOCOLS[name] if name else None)
    assert stream.getvalue() == ""  # standard input is no terminal: nothing is asked
    assert find_protocol(io.StringIO()) is None
