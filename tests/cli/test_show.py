"""``--show`` in terminals that take pictures, and in those that do not."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import command, sample
from tests.view.test_protocols import VARIABLES, iterm2, kitty, sixel

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")

STEP = str(sample("step.png"))
ASKED = b"\x1b[c"
BLOCK = "▀"
GRID = Path("cnnviz-out/step/01_conv_conv1_grid.png")


def in_own_terminal(line: str, answer: bytes = b"", typed: bytes = b"", **environment: str) -> str:
    """Run a line in a shell that a terminal of its own belongs to; return all that is written.

    The terminal answers when it is asked what it is, and `typed` is typed ahead.
    """
    import fcntl
    import pty
    import struct
    import termios

    known = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    known |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "80"} | environment
    child, terminal = pty.fork()
    if child == 0:
        os.execve("/bin/sh", ["sh", "-c", line], known)  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 640, 384))
    os.write(terminal, typed)
    written = b""
    while True:
        if not select.select([terminal], [], [], 20)[0]:  # it waits for what is never typed
            os.kill(child, signal.SIGKILL)
            break
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not data:
            break
        if ASKED in written[-2:] + data:
            os.write(terminal, answer)
        written += data
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, written
    return written.decode().replace("\r\n", "\n")


def cnnviz(*words: str) -> str:
    return shlex.join(command(*words))


CONVOLVE = cnnviz("convolve", STEP, "--show", "-q")


def test_kitty_gets_the_grid() -> None:
    text = in_own_terminal(CONVOLVE, TERM="xterm-kitty")
    assert kitty(text.rstrip("\n"))[1] == GRID.read_bytes()
    in_own_terminal(f"{CONVOLVE} --only maps", TERM="xterm-kitty")  # whether it is written or not
    assert not GRID.exists()


def test_iterm2_gets_every_stages_grid_among_the_answers() -> None:
    line = cnnviz("pipeline", STEP, "conv(sobel) -> relu", "--show")
    text = in_own_terminal(line, TERM_PROGRAM="iTerm.app")
    found = re.findall(r"\x1b\]1337[^\x07]*\x07\n", text)
    files = sorted(Path("cnnviz-out/step").glob("*_grid.png"))
    assert [iterm2(one[:-1])[1] for one in found] == [file.read_bytes() for file in files]
    assert len(files) == 2


def test_a_terminal_that_says_so_gets_sixels() -> None:
    text = in_own_terminal(cnnviz("pipeline", STEP, "relu -> relu", "--show", "-q"),
                           b"\x1b[?62;4;22c")  # fmt: skip
    assert text.count(ASKED.decode()) == 1
    _, first, second = re.split(r"\x1b\[c|(?<=\x1b\\)\n", text, maxsplit=2)
    assert sixel(first).shape[1] > 100
    assert sixel(second.rstrip("\n")).shape[1] > 100


@pytest.mark.parametrize("answer", [b"", b"\x1b[?1;2c", b"\x1b[?4;6c", b"\x1b[?62;14;40c", b"4c"])
def test_one_that_does_not_say_so_gets_blocks(answer: bytes) -> None:
    """Nor does one that says nothing keep the program waiting."""
    text = in_own_terminal(CONVOLVE, answer)
    assert ASKED.decode() in text
    assert BLOCK in text
    assert "\x1bP" not in text


@pytest.mark.parametrize("answer", [b"", b"\x1b[?62;4c"])
def test_a_terminal_is_left_as_it_was(answer: bytes) -> None:
    text = in_own_terminal(f"stty -g; {CONVOLVE}; stty -g", answer)
    first, *_, last = text.split()
    assert first == last
    assert re.fullmatch("[0-9a-f:=]+", first)


def test_what_is_typed_ahead_is_left_to_the_shell() -> None:
    line = f'{CONVOLVE}; read -r typed; echo "typed: $typed"'
    text = in_own_terminal(line, b"\x1b[?62;4c", typed=b"ls -l\n")
    assert ASKED.decode() not in text
    assert BLOCK in text
    assert "typed: ls -l" in text


def test_in_the_background_and_without_a_keyboard_nothing_is_asked() -> None:
    for line in (f"set -m; {CONVOLVE} & wait", f"{CONVOLVE} < /dev/null"):
        text = in_own_terminal(line, b"\x1b[?62;4c")
        assert ASKED.decode() not in text
        assert BLOCK in text


def test_pipes_get_no_pictures_and_json_leaves_them_to_stderr() -> None:
    text = in_own_terminal(f"{CONVOLVE} | cat", TERM="xterm-kitty")
    assert "\x1b_G" not in text
    text = in_own_terminal(f"{CONVOLVE} --json > out.json", TERM="xterm-kitty")
    assert kitty(text.rstrip("\n"))[1] == GRID.read_bytes()
    assert json.loads(Path("out.json").read_text())["stages"]
    text = in_own_terminal(f"{CONVOLVE} 2> err", b"\x1b[?62;4c", TMUX="1")
    assert (BLOCK in text, ASKED.decode() in text) == (True, False)


def test_compare_and_explain_send_theirs() -> None:
    text = in_own_terminal(
        cnnviz("compare", STEP, "relu", "tanh", "--show", "-q"), TERM="xterm-kitty"
    )
    assert kitty(text.rstrip("\n"))[1] == Path("cnnviz-out/step/compare.png").read_bytes()
    text = in_own_terminal(
        cnnviz("explain", STEP, "conv(sobel_x)", "--show", "-q"), TERM="xterm-kitty"
    )
    assert kitty(text.rstrip("\n"))[1].startswith(b"\x89PNG")
