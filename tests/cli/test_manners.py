"""Manners: exit codes, clean streams, whole files, terminals, pipes, signals, hostile names."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from rich.cells import cell_len

import cnnviz
from tests.cli.conftest import Run, command, files_below, refused, sample, save_plane

COMMANDS = [
    "convolve",
    "pool",
    "pipeline",
    "shapes",
    "explain",
    "shift",
    "compare",
    "animate",
    "kernels",
    "layers",
    "samples",
]
Process = Callable[..., subprocess.CompletedProcess[bytes]]
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


# --- errors ------------------------------------------------------------------------------------


@pytest.fixture
def bad(work: Path) -> Path:
    """A folder's worth of files that are not what they claim."""
    (work / "trunc.jpg").write_bytes(sample("chelsea.jpg").read_bytes()[:20_000])
    (work / "text.png").write_text("hello")
    (work / "empty.png").touch()
    (work / "empty.csv").touch()
    (work / "ragged.csv").write_text("1,2\n3\n")
    (work / "words.csv").write_text("a,b\n")
    (work / "folder").mkdir()
    (work / "folder" / "m.csv").write_text("1,2\n")
    (work / "file").write_text("in the way")
    save_plane(work / "one.png", [[7]])
    np.save(work / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(work / "four.npy", np.zeros((1, 2, 3, 4)))
    return work


STEP = sample("step.png")
WRONG_WHATEVER_THE_IMAGE: list[tuple[list[object], list[str]]] = [
    (["convolve"], ["IMAGE"]),
    (["pool"], ["IMAGE"]),
    (["pipeline"], ["IMAGE", "SPEC"]),
    (["pipeline", STEP], ["SPEC is missing"]),
    (["pipeline", "folder"], ["SPEC is missing"]),
    (["pipeline", "edges"], ["IMAGE is missing"]),
    (["pipeline", "conv(8) -> relu"], ["IMAGE is missing"]),
    (["pipeline", "gap"], ["IMAGE is missing"]),
    (["shapes"], ["SPEC"]),
    (["frobnicate"], ["frobnicate"]),
    (["convolv", STEP], ["convolv", "Did you mean 'convolve'"]),
    (["convolve", STEP, "--strid", 2], ["--strid", "--stride"]),
    (["convolve", STEP, "--stride"], ["--stride"]),
    (["convolve", STEP, "--stride", 0], ["stride is 0"]),
    (["convolve", STEP, "--stride", -1], ["stride is -1"]),
    (["convolve", STEP, "--stride", 1.5], ["1.5"]),
    (["convolve", STEP, "--stride", "1,2,3"], ["3 values"]),
    (["convolve", STEP, "--dilation", 0], ["dilation is 0"]),
    (["convolve", STEP, "--padding", "foo"], ["foo", "same"]),
    (["convolve", STEP, "--padding", -1], ["-1"]),
    (["convolve", STEP, "--padding", "1,2,3"], ["3 values"]),
    (["convolve", STEP, "--padding-mode", "reflct"], ["reflct", "reflect"]),
    (["convolve", STEP, "--pad-value", "nan", "--padding", 1], ["nan"]),
    (["convolve", STEP, "-k", "sobelx"], ["sobelx", "sobel_x"]),
    (["convolve", STEP, "-k", "1,nan;0,1"], ["nan", "finite"]),
    (["convolve", STEP, "-k", "1,inf"], ["inf", "finite"]),
    (["convolve", STEP, "-k", "1,2;3"], ["row 2"]),
    (["convolve", STEP, "-k", ""], ["empty"]),
    (["convolve", STEP, "-k", "gaussian(7, sgma=1)"], ["sgma", "sigma"]),
    (["convolve", STEP, "--colormap", "jet"], ["jet", "viridis"]),
    (["convolve", STEP, "--nrow", 0], ["0"]),
    (["convolve", STEP, "--threads", 0], ["0"]),
    (["convolve", STEP, "--seed", -1], ["-1"]),
    (["convolve", STEP, "--max-pixels", 0], ["0"]),
    (["convolve", STEP, "--format", "xml"], ["xml", "json"]),
    (["convolve", STEP, "--resize", "0x5"], ["0x5"]),
    (["convolve", STEP, "--resize", "5x"], ["5x"]),
    (["convolve", STEP, "--resize", ""], ["--resize"]),
    (["convolve", STEP, "--crop", ""], ["--crop"]),
    (["convolve", STEP, "--resize", "99999x99999"], ["99999x99999", "--max-pixels"]),
    (["convolve", STEP, "--mean", "x"], ["--mean", "x"]),
    (["convolve", STEP, "--mean", ""], ["--mean"]),
    (["convolve", STEP, "--std", 0], ["0"]),
    (["convolve", STEP, "--std", "nan"], ["nan"]),
    (["convolve", STEP, "--background", "nocolor"], ["nocolor"]),
    (["convolve", STEP, "--columns", "nme"], ["nme", "name"]),
    (["convolve", STEP, "--columns", ""], ["--columns"]),
    (["convolve", STEP, "--columns", "nme", "-q"], ["nme"]),
    (["convolve", STEP, "--out", ""], ["--out"]),
    (["pipeline", STEP, ""], ["no layer"]),
    (["pipeline", STEP, "rellu"], ["rellu", "relu"]),
    (["pipeline", STEP, "lenet"], ["lenet", "lenet5"]),
    (["pipeline", STEP, "conv(8, strid=2)"], ["strid", "stride"]),
    (["pipeline", STEP, "conv()"], ["conv", "filters"]),
    (["pipeline", STEP, "conv(8"], ["found the end"]),
    (["pipeline", STEP, "relu -> -> relu"], ["column"]),
    (["pipeline", STEP, "relu as a -> relu as a"], ["'a'", "taken"]),
    (["pipeline", STEP, "relu as input"], ["input"]),
    (["pipeline", STEP, "relu -> from(b)"], ["'b'"]),
    (["pipeline", STEP, "relu -> add(c) -> relu as c"], ["'c'", "cycle"]),
    (["pipeline", STEP, "relu", "--top", 0], ["0"]),
    (["pipeline", STEP, "relu", "--weights", "w.txt"], ["w.txt"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), WRONG_WHATEVER_THE_IMAGE)
def test_a_wrong_request_ends_with_2(
    run: Run, bad: Path, arguments: list[object], words: list[str]
) -> None:
    before = files_below(bad)
    refused(run(*arguments), 2, *words)
    assert files_below(bad) == before
    assert not (bad / "cnnviz-out").exists()


WRONG_DATA: list[tuple[list[object], list[str]]] = [
    (["convolve", "missing.png"], ["missing.png", "no such file"]),
    (["convolve", ""], ["no such file"]),
    (["convolve", "trunc.jpg"], ["trunc.jpg", "truncated"]),
    (["convolve", "text.png"], ["text.png", "not an image"]),
    (["convolve", "empty.png"], ["empty.png", "is empty"]),
    (["convolve", "empty.csv"], ["empty.csv"]),
    (["convolve", "ragged.csv"], ["ragged.csv"]),
    (["convolve", "words.csv"], ["words.csv"]),
    (["convolve", "objects.npy"], ["objects.npy"]),
    (["convolve", "four.npy"], ["four.npy"]),
    (["convolve", "folder"], ["folder", "no images"]),
    (["convolve", "-"], ["standard input", "empty"]),
    (["convolve", "one.png", "-k", "sobel_x"], ["3×3", "1×1", "padding=same"]),
    (["convolve", STEP, "--dilation", 9], ["19×19", "8×8"]),
    (["convolve", STEP, "--padding", 9, "--padding-mode", "reflect"], ["9", "8"]),
    (["convolve", STEP, "--max-pixels", 10], ["step.png", "64", "10", "--max-pixels"]),
    (["convolve", STEP, "--mean", "1,2"], ["step.png", "2 values", "1 channel"]),
    (["convolve", STEP, "--std", "1,2,3", "--mean", 0], ["3 values"]),
    (["convolve", STEP, "--out", "file"], ["file", "not a folder"]),
    (["convolve", STEP, "--out", "file/deeper"], ["file", "not a folder"]),
    (["convolve", STEP, "-k", "@missing.csv"], ["missing.csv"]),
    (["convolve", STEP, "-k", "@words.csv"], ["words.csv"]),
    (["convolve", STEP, "-k", "@text.png"], ["text.png"]),
    (["pipeline", STEP, "missing.toml"], ["missing.toml"]),
    (["pipeline", STEP, "dense(3)"], ["dense", "flatten"]),
    (["pipeline", STEP, "relu as a -> maxpool(2) -> add(a)"], ["1×4×4", "1×8×8"]),
    (["pipeline", STEP, "conv(4, groups=3)"], ["groups=3"]),
    (["pipeline", STEP, "upsample(100000)"], ["GiB"]),
    (["pipeline", STEP, "softmax", "--labels", "missing.txt"], ["missing.txt"]),
    (["pipeline", STEP, "softmax", "--labels", "folder"], ["folder"]),
    (["pipeline", STEP, "softmax", "--labels", "trunc.jpg"], ["trunc.jpg"]),
    (["pipeline", STEP, "softmax", "--labels", "empty.csv"], ["empty.csv"]),
    (["pipeline", STEP, "conv(8)", "--weights", "missing.npz"], ["missing.npz"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_DATA)
def test_failing_data_ends_with_1(
    run: Run, bad: Path, arguments: list[object], words: list[str]
) -> None:
    before = files_below(bad)
    refused(run(*arguments), 1, *words)
    assert files_below(bad) == before
    assert not (bad / "cnnviz-out").exists()


def test_several_images_with_bad_ones(run: Run, bad: Path) -> None:
    images = [STEP, "missing.png", "one.png", "trunc.jpg", sample("digit_3.png")]
    result = run("convolve", *images, "-k", "sobel_x", "--format", "json", "-q")
    assert result.code == 1
    paths = [record["input"]["path"] for record in result.records]
    assert paths == [str(STEP), str(sample("digit_3.png"))]
    errors = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 3
    # A message about a picture says which one.
    for line, name in zip(errors, ["missing.png", "one.png", "trunc.jpg"], strict=True):
        assert name in line
    assert sorted(p.name for p in (bad / "cnnviz-out").iterdir()) == ["digit_3", "step"]


def test_an_error_of_a_toml_file_names_it(run: Run) -> None:
    Path("s.toml").write_text('pipeline = "relu -> rellu"')
    refused(run("pipeline", STEP, "s.toml"), 2, "s.toml", "rellu")


# --- whole files or none -----------------------------------------------------------------------


class FullDisk:
    """A file on a disk that takes a number of bytes and no more."""

    def __init__(self, file: BinaryIO, room: list[int]) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        self._room[0] -= len(data)
        if self._room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("room", [0, 1_000, 20_000])
def test_a_full_disk(run: Run, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    true_open, left = Path.open, [room]

    def limited(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        file = true_open(path, mode, *rest, **options)
        return FullDisk(file, left) if set(mode) & set("wx") else file  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", limited)
        result = run("pipeline", sample("digit_3.png"), "conv(8) -> relu", "--save", "npy")
    assert result.code == 1
    assert result.err.count("error:") == 1
    assert "disk is full" in result.err
    assert "Output" not in result.out  # no table
    left_behind = files_below(".")
    assert not [name for name in left_behind if ".tmp" in name]
    for name, data in left_behind.items():  # what was written before is whole, and remembered
        whole = data.endswith((b"IEND\xaeB`\x82", b"\n"))
        assert whole or name.endswith(("run.json", ".npy"))
    if room == 0:
        assert not Path("cnnviz-out").exists()
    elif left_behind:
        listed = json.loads(left_behind["cnnviz-out/digit_3/run.json"])["files"]
        assert {Path(name).name for name in left_behind} - {"run.json"} <= set(listed)
        # And the next run tidies up.
        assert run("pipeline", sample("digit_3.png"), "relu").code == 0
        assert len(files_below("cnnviz-out/digit_3")) == 5


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX")
def test_a_folder_without_permission(run: Run) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    Path("locked").mkdir(mode=0o500)
    refused(run("convolve", STEP, "-o", "locked"), 1, "locked", "permission")


def test_a_bug_is_no_silence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory is an error like others."""
    from cnnviz.core.pipeline import Pipeline

    def exhausted(*_: object, **__: object) -> Iterator[None]:
        raise MemoryError

    monkeypatch.setattr(Pipeline, "run", exhausted)
    result = run("pipeline", STEP, "relu")
    assert result.code == 1
    assert "memory" in result.err
    assert not Path("cnnviz-out").exists()


# --- true processes: signals, pipes, closed streams --------------------------------------------


def test_ctrl_c_before_anything_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnviz.core.pipeline import Pipeline

    def interrupted(*_: object, **__: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "run", interrupted)
    result = run("pipeline", STEP, sample("digit_3.png"), "relu")
    assert (result.code, result.out, result.err) == (130, "", "interrupted\n")
    assert not Path("cnnviz-out").exists()


@posix
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("SIGINT", 130, b"interrupted\n"), ("SIGTERM", 143, b"terminated\n"),
     ("SIGHUP", 129, b"terminated\n")],
)  # fmt: skip
def test_signals(work: Path, name: str, code: int, said: bytes) -> None:
    words = command("pipeline", sample("chelsea.jpg"), "vgg16", "-q", "--only", "maps")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" ignores it
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        signal.signal(signal.SIGINT, before)
        deadline = time.monotonic() + 30
        while not list(work.glob("cnnviz-out/*/*.png")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, b"", said)
    left = files_below(work)
    assert not [name for name in left if ".tmp" in name]
    record = json.loads(left["cnnviz-out/chelsea/run.json"])
    assert {Path(path).name for path in left} - {"run.json"} <= set(record["files"])
    for path, data in left.items():
        assert not path.endswith(".png") or data.endswith(b"IEND\xaeB`\x82")


@posix
def test_a_picture_of_kernels_is_whole_or_not_there(work: Path) -> None:
    words = command("kernels", "gabor(31)", "-o", "k.png")
    for delay in range(8):
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
            time.sleep(delay / 10)
            one.send_signal(signal.SIGTERM)
            _, err = one.communicate(timeout=30)
        assert one.returncode in {0, 143, -signal.SIGTERM}
        assert b"Traceback" not in err
        assert {path.name for path in work.iterdir()} <= {"k.png"}


@posix
def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with subprocess.Popen(command("convolve", STEP), stderr=subprocess.PIPE) as one:
        signal.signal(signal.SIGHUP, before)
        time.sleep(0.2)
        one.send_signal(signal.SIGHUP)
        _, err = one.communicate(timeout=30)
    assert (one.returncode, b"terminated" in err) == (0, False)


READERS: list[tuple[list[object], str]] = [
    (["kernels"], "head -n 1"), (["kernels", "--format", "json"], "head -n 1"),
    (["kernels", "gabor(31)"], "true"), (["--version"], "true"), (["convolve", "-h"], "true"),
    (["--help"], "head -n 1"), (["--help"], "true"), (["layers"], "head -n 1"),
    (["shapes", "vgg16", "--input", "3x224x224"], "head -n 1"),
    *((["convolve", STEP, "--format", form], "true") for form in ("table", "json", "csv", "md")),
    (["pipeline", STEP, "relu -> relu", "--show", "--values"], "head -n 1"),
    (["pipeline", STEP, "relu -> relu", "--show", "--values"], "true"),
]  # fmt: skip


@posix
@pytest.mark.parametrize(("words", "reader"), READERS)
@pytest.mark.parametrize("streams", ["", "2>&1"])
def test_a_reader_that_has_had_enough(
    words: list[object], reader: str, streams: str, work: Path
) -> None:
    line = f"{shlex.join(command(*words))} {streams} | {reader}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert not any(word in done.stderr for word in (b"error", b"Error", b"ignored"))
    assert done.stdout.count(b"\n") <= 1
    if STEP in words:  # all that was to be written is there
        record = json.loads((work / "cnnviz-out/step/run.json").read_text())
        assert {path.name for path in work.glob("cnnviz-out/step/*")} == {
            *record["files"], "run.json",
        }  # fmt: skip


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["kernels"], ["kernels", "--format", "json"], ["--help"],
                                   ["--version"], ["convolve", "--help"]])  # fmt: skip
def test_an_output_that_is_full(process: Process, words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = process(*words, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error:")


@posix
@pytest.mark.parametrize("words", [["kernels"], ["convolve", STEP, "--show"], ["--help"]])
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(words: list[object], closed: str, work: Path) -> None:
    line = f"{shlex.join(command(*words))} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert not any(word in done.stderr for word in (b"error", b"Error", b"ignored"))
    for path in work.glob("cnnviz-out/step/*.png"):  # none of which was given a stream's number
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def test_standard_error_that_takes_nothing(process: Process) -> None:
    with Path(os.devnull).open("rb") as unwritable:
        done = process("convolve", STEP, stderr=unwritable, stdout=subprocess.PIPE,
                       capture_output=False)  # fmt: skip
    assert (done.returncode, b"conv1" in done.stdout) == (0, True)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "words",
    [
        ["kernels", "sobel_x"], ["layers"], ["convolve", STEP, "--values"],
        ["shapes", "lenet5", "--format", "md"], ["layers", "conv", "--format", "json"],
        ["convolve", "--help"],
    ],
)  # fmt: skip
def test_a_terminal_that_knows_few_signs(run: Run, words: list[object], encoding: str) -> None:
    result = run(*words, encoding=encoding)
    assert result.code == 0
    assert result.out
    if "json" in words:
        assert result.record


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "words",
    [
        ["explain", STEP, "conv(sobel_x, padding=same) -> relu", "--at", "conv1:0,2,4"],
        ["explain", STEP, "gap -> dense(3) -> softmax"],
        ["compare", STEP, "maxpool(2)", "maxpool(4)", "--show"],
        ["shift", STEP, "conv(1)", "--by", 2],
        ["shapes", "lenet5", "--explain"],
        ["kernels", "red_green"],
        ["convolve", STEP, "--show"],
        ["convolve", "日本.png"],
    ],
)
def test_signs_that_a_terminal_lacks_are_spelled(
    run: Run, words: list[object], encoding: str
) -> None:
    shutil.copy(STEP, "日本.png")
    result = run(*words, encoding=encoding)
    assert result.code == 0
    assert "?" not in result.out + result.err
    assert ("\\u65e5\\u672c.png" in result.out + result.err) == ("日本.png" in words)


def test_a_terminal_that_knows_only_ascii(process: Process) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    for words in (["layers"], ["convolve", STEP, "--values"]):
        done = process(*words, env=env)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr[-300:]
        assert done.stdout.decode("ascii")


@posix
def test_a_name_that_is_not_utf_8(run: Run, work: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    shutil.copy(STEP, name)
    for form in ("table", "json", "csv", "md"):
        assert run("convolve", name, "--format", form).code == 0
    assert len(list(work.glob("cnnviz-out/*/run.json"))) == 1


def test_a_process_of_its_own(process: Process) -> None:
    done = process("convolve", sample("tutorial.csv"), "-k", "1,0,1;0,1,0;1,0,1", "--values", "-q")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == ["4 3 4", "2 4 3", "2 3 4"]
    assert process("convolve", "missing.png").returncode == 1
    assert process("convolve", STEP, "--stride", 0).returncode == 2
    json.loads(process("convolve", "-", "--format", "json", input=STEP.read_bytes()).stdout)


@posix
def test_standard_input_that_is_closed() -> None:
    line = shlex.join(command("convolve", "-")) + " <&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"standard input: is empty" in done.stderr
    assert b"Traceback" not in done.stderr


def test_standard_input_can_be_given_once(run: Run) -> None:
    result = run("convolve", "-", "-", "--format", "json", "-q", stdin=STEP.read_bytes())
    assert result.code == 1
    assert len(result.records) == 1
    assert "standard input" in result.err


# --- terminals ---------------------------------------------------------------------------------


def in_terminal(words: list[object], columns: int, **environment: str) -> tuple[int, str]:
    """Run the command in a terminal of so many columns; return its code and all it wrote."""
    import fcntl
    import pty
    import struct
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    with subprocess.Popen(
        command(*words), stdin=side, stdout=side, stderr=side, env=env, start_new_session=True
    ) as process:
        os.close(side)
        written = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:  # Linux: the other side is closed
                break
            if not data:
                break
            written += data
        process.wait(timeout=30)
    os.close(main)
    return process.returncode, written.decode()


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9]+)*m")
CARDS: list[list[object]] = [
    ["--help"], ["pool", "-h"],
    ["kernels"], ["layers"], ["kernels", "gabor(31)"], ["layers", "conv"],
    ["shapes", "vgg16", "--input", "3x224x224"],
    ["convolve", "camera.png", "--show", "--values"],
    ["animate", "digit.png", "conv(4) -> conv(3)", "--frames", "4"],
    ["pipeline", "digit.png", "lenet5", "--labels", "labels_digits.txt", "--show"],
    ["compare", "camera.png", "maxpool(8)", "avgpool(8)", "--show"],
]  # fmt: skip


@posix
@pytest.mark.parametrize("words", CARDS, ids=" ".join)
def test_a_terminal_of_80_columns(words: list[object], work: Path) -> None:
    for name in ("camera.png", "labels_digits.txt"):
        shutil.copy(sample(name), work)
    shutil.copy(sample("digit_3.png"), work / "digit.png")
    code, written = in_terminal(words, 80)
    assert code == 0
    plain = ESCAPES.sub("", written)
    assert "\x1b" not in plain
    wide = [line for line in re.split(r"[\r\n]+", plain) if cell_len(line) > 80]
    assert not wide


@posix
@pytest.mark.parametrize("words", [["kernels"], ["convolve", STEP, "--show"], ["pool", "-h"],
                                   ["shapes", "lenet5"]])  # fmt: skip
def test_a_narrow_terminal(words: list[object]) -> None:
    code, written = in_terminal(words, 40)
    assert code == 0
    assert "Traceback" not in written


@posix
def test_no_color(run: Run) -> None:
    words = ["convolve", STEP, "--show", "--values"]
    code, written = in_terminal(words, 80, NO_COLOR="1")
    assert code == 0
    assert not COLOURS.search(written)
    assert COLOURS.search(in_terminal(words, 80)[1])
    for arguments in (words, ["kernels", "sobel_x"], ["--help"], ["convolve", "missing.png"]):
        result = run(*arguments)  # no terminal at all
        assert "\x1b" not in result.out + result.err


def test_show_keeps_a_long_picture_short(run: Run) -> None:
    save_plane("tall.png", np.arange(300).reshape(300, 1) % 256)
    result = run("convolve", "tall.png", "-k", "1", "--show", "-q")
    assert result.code == 0
    assert result.out.count("\n") < 200


# --- hostile names -----------------------------------------------------------------------------

NAMES = ["-dash.png", "spa ce é 日本.png", "[bold]x.png", "back\\slash.png", "emoji :cat:.png"]
if os.name == "posix":
    NAMES += ["new\nline.png", "esc\x1b[31mred\x1b[0m.png", "bell\x07.png", "c1\x9b31m.png"]


def quiet(text: str) -> bool:
    """Whether nothing in a text acts on a terminal."""
    return all(sign.isprintable() or sign == "\n" for sign in text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["table", "md"])
def test_hostile_names_of_images(run: Run, name: str, form: str) -> None:
    shutil.copy(STEP, name)
    result = run("convolve", "--format", form, "--show", "--", name)
    assert result.code == 0
    assert quiet(result.out + result.err)
    if quiet(name) and form == "table":
        assert name in result.out
    record = run("convolve", "--format", "json", "-q", "--", name).record
    assert record["input"]["path"] == name
    assert all(Path(file).is_file() for file in record["stages"][0]["files"])
    gone = run("convolve", "--", f"missing {name}")
    assert gone.code == 1
    assert quiet(gone.err)


def test_a_folder_called_like_markup(run: Run) -> None:
    Path("[red]x[").mkdir()
    shutil.copy(STEP, "[red]x[/red].png")
    result = run("convolve", "[red]x[/red].png", "-o", "[red]out[/red]")
    assert result.code == 0
    assert "[red]x[/red].png" in result.out
    assert "[red]out[/red]" in result.err


@posix
def test_hostile_names_of_everything_else(run: Run) -> None:
    evil = "\x1b[31m[red]\x07"
    Path(f"{evil}.csv").write_text("1,2\n3,4\n")
    Path(f"{evil}.txt").write_text(f"{evil}\nb\nc\nd\n")
    for words in [
        ["convolve", STEP, "-k", f"@{evil}.csv", "--show"],
        ["kernels", f"@{evil}.csv", "-o", "k.png"],
        ["convolve", STEP, "-o", f"out{evil}"],
        ["pipeline", sample("scores.csv"), "flatten -> softmax", "--labels", f"{evil}.txt"],
        ["pipeline", STEP, f"relu as {evil}"],
        ["pipeline", STEP, evil],
        ["pipeline", STEP, f"{evil}.toml"],
        ["pipeline", STEP, "relu", "--weights", f"{evil}.npz"],
        *(["convolve", STEP, option, evil] for option in (
            "-k", "--stages", "--padding", "--padding-mode", "--stride", "--resize", "--crop",
            "--mean", "--columns", "--colormap", "--background", "--value-range", "--color",
            "--seed",
        )),
        ["convolve", STEP, f"--{evil}"],
        ["shapes", "relu", "--input", evil],
        ["layers", evil], ["kernels", evil], [evil],
    ]:  # fmt: skip
        result = run(*words)
        assert quiet(result.out + result.err), words


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_names_that_are_no_text(run: Run) -> None:
    image, kernel, weights = "i\udcff.png", "b\udcff.csv", "w\udcff.npz"
    shutil.copy(STEP, image)
    Path(kernel).write_text("1,2\n3,4\n")
    cnnviz.save_weights(weights, {"conv1.weight": np.ones((2, 1, 3, 3), np.float32)})
    for words in [
        ["convolve", image, "-k", f"@{kernel}", "--show", "--values"],
        ["convolve", image, "-k", f"@{kernel}", "--json"],
        ["pipeline", image, f"conv(@{kernel})", "--format", "md"],
        ["pipeline", image, "conv(2, bias=false)", "--weights", weights],
        ["explain", image, f"conv(@{kernel})"],
        ["shift", image, f"conv(@{kernel})", "--by", 1],
        ["compare", image, f"conv(@{kernel})", "relu"],
        ["animate", image, f"conv(@{kernel})", "--frames", 2],
        ["shapes", f"conv(@{kernel})", "--input", "1x8x8"],
        ["kernels", f"@{kernel}", "-o", "k\udcff.png"],
        ["kernels", "--weights", weights, "--stage", "conv1", "-o", "."],
    ]:
        result = run(*words)
        assert (result.code, "error" in result.err) == (0, False), (words, result.err)
        assert quiet(result.out + result.err)
    refused(run("convolve", "gone\udcff.png"), 1, r"gone\udcff.png")
    refused(run("convolve", image, "-k", "@gone\udcff.csv"), 1, r"gone\udcff.csv")


# --- help and examples -------------------------------------------------------------------------


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.code, result.out, result.err) == (0, f"cnnviz {cnnviz.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_short(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(name, "--help").out.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("topic", ["input", "output", "table", "compute"])
def test_what_commands_share_is_described_once(run: Run, topic: str) -> None:
    from dataclasses import fields

    from cnnviz.cli import options

    kind = {
        "input": options.InputOptions, "output": options.OutputOptions,
        "table": options.TableOptions, "compute": options.ComputeOptions,
    }[topic]  # fmt: skip
    text = run("help", topic).out
    for field in fields(kind):
        assert f"--{field.name.rstrip('_').replace('_', '-')}" in text
    refused(run("help", "nonsense"), 2, "nonsense")


def test_the_program_alone_says_how_to_start(run: Run) -> None:
    assert run().out == run("help").out == run("--help").out
    assert run().code == 0
    assert run("-V").out == run("--version").out


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["convolve", "--color", "RGB"], "--color rgb"),
        (["convolve", "--color", "grayscale"], "--color gray"),
        (["pool", "--mode", "MaxPool"], "--mode max"),
        (["pool", "--mode", "average"], "--mode avg"),
        (["convolve", "--json"], "--format json"),
        (["convolve", "--format", "JSON"], "--format json"),
        (["convolve", "--format", "markdown"], "--format md"),
        (["convolve", "-f"], "--force"),
    ],
)
def test_other_words_for_the_same(run: Run, words: list[str], option: str) -> None:
    command, *flags = words
    given = run(command, sample("digit_3.png"), *flags)
    same = run(command, sample("digit_3.png"), *option.split())
    strip = re.compile(r'"seconds": [\d.e-]+')
    assert given.code == 0, given.err
    assert strip.sub("", given.out) == strip.sub("", same.out)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_every_option(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer.main

    from cnnviz.cli.app import app

    monkeypatch.setenv("COLUMNS", "120")
    assert run(name, "-h") == run(name, "--help")
    every = run(name, "--help-all")
    assert every == run("help", name)
    assert every.code == 0
    group: Any = typer.main.get_command(app)
    for parameter in group.commands[name].params:
        for flag in parameter.opts if parameter.param_type_name == "option" else []:
            assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", every.out), flag
        if parameter.param_type_name == "option":
            assert parameter.help
    for example in importlib.import_module(f"cnnviz.cli.{name}").EXAMPLES:
        assert " ".join(example.split()) in " ".join(every.out.split())


def test_the_first_help(run: Run) -> None:
    assert run("-h") == run("--help")
    for words in [["-h"], *([name, "-h"] for name in COMMANDS)]:
        assert max(map(cell_len, run(*words).out.splitlines())) <= 80
    text = run("--help").out
    for name in COMMANDS:
        assert name in text
    assert run("kernels", "--version").code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_run_in_an_empty_folder(run: Run, name: str) -> None:
    for example in importlib.import_module(f"cnnviz.cli.{name}").EXAMPLES:
        program, *words = shlex.split(example)
        assert program == "cnnviz"
        result = run(*words)
        assert result.code == 0, result.err
        assert "error:" not in result.err
        assert result.out


def test_what_the_program_alone_says_to_start_with_runs(run: Run) -> None:
    (line,) = re.findall("Start with: +cnnviz (.*)", run().out)
    result = run(*shlex.split(line))
    assert (result.code, "error:" in result.err) == (0, False)
