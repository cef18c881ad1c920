"""Pictures encoded in the background: in order, bounded, and one error if any."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnnviz.cli.writing import Writer
from cnnviz.errors import CnnvizError
from cnnviz.files.outputs import OutputFolder
from tests.cli.conftest import Run, files_below, sample, save_plane

LARGE = 1 << 20
HUGE = 1 << 24  # of which two may wait


@pytest.fixture
def folder(work: Path) -> OutputFolder:
    return OutputFolder(work, "image")


def map_named(index: int) -> str:
    return f"01_x_x_c00{index}.png"


def slowly(data: bytes, seconds: float) -> Callable[[], bytes]:
    def encode() -> bytes:
        time.sleep(seconds)
        return data

    return encode


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("size", [1, LARGE])
def test_pictures_are_written_in_order(folder: OutputFolder, threads: int, size: int) -> None:
    written: list[str] = []
    with Writer(folder, threads) as writer:
        for index in range(7):
            encode = slowly(b"%d" % index, (7 - index) / 500)
            writer.add(map_named(index), size, encode, written.append)
        writer.add_array("01_x_last.npy", np.zeros(3), written.append)
        assert len(written) == 8  # numbers come after the pictures before them
    names = [map_named(index) for index in range(7)]
    assert written == [str(folder.path / name) for name in [*names, "01_x_last.npy"]]
    assert all((folder.path / name).read_bytes() == name[-5:-4].encode() for name in names)


def test_what_waits_is_bounded(folder: OutputFolder) -> None:
    written: list[str] = []
    go = threading.Event()
    with Writer(folder, 2) as writer:
        for index in range(3):
            writer.add(map_named(index), HUGE, lambda: b"x" * go.wait(5), written.append)
        assert not written
        threading.Timer(0.05, go.set).start()
        writer.add(map_named(3), HUGE, lambda: b"x", written.append)  # waits for the first
        assert written
    assert len(written) == 4


def test_a_picture_is_encoded_while_the_caller_goes_on(folder: OutputFolder) -> None:
    go = threading.Event()
    with Writer(folder, 2) as writer:
        writer.add(map_named(0), LARGE, lambda: b"done" * go.wait(5), lambda _: None)
        go.set()  # reached, though the picture waits for it
    assert (folder.path / map_named(0)).read_bytes() == b"done"


def test_where_no_thread_can_be_started_the_caller_encodes(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    written: list[str] = []
    with Writer(folder, 4) as writer:
        for index in range(3):
            writer.add(map_named(index), LARGE, lambda: b"x", written.append)
    assert len(written) == 3


@pytest.mark.parametrize("size", [1, LARGE])
def test_an_error_is_raised_once_and_the_rest_is_dropped(folder: OutputFolder, size: int) -> None:
    def fail() -> bytes:
        raise CnnvizError("no")

    written: list[str] = []
    with pytest.raises(CnnvizError, match="no"), Writer(folder, 2) as writer:  # noqa: PT012
        writer.add(map_named(0), size, lambda: b"a", written.append)
        writer.add(map_named(1), size, fail, written.append)
        writer.add(map_named(2), size, lambda: b"c", written.append)
    assert [Path(path).name for path in written] == [map_named(0)]


def test_after_an_error_outside_nothing_more_is_written(folder: OutputFolder) -> None:
    with pytest.raises(KeyboardInterrupt), Writer(folder, 2) as writer:  # noqa: PT012
        writer.add(map_named(0), LARGE, slowly(b"a", 0.05), lambda _: None)
        raise KeyboardInterrupt
    time.sleep(0.1)
    assert not folder.path.exists()


# --- the command -------------------------------------------------------------------------------


def test_an_error_of_the_encoder_is_one_message(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    save_plane("large.png", np.arange(300 * 300).reshape(300, 300) % 251)
    monkeypatch.setattr(zlib, "compressobj", exhausted)
    result = run("convolve", "large.png")
    assert (result.code, result.out, result.err.count("error:")) == (1, "", 1)
    assert "memory" in result.err
    assert not Path("cnnviz-out").exists()


def test_files_do_not_depend_on_the_threads(run: Run) -> None:
    found = []
    for threads in (1, 2, 3):
        words = ["pipeline", sample("chelsea.jpg"), "relu -> maxpool(2) -> minpool(3)"]
        assert run(*words, "--threads", threads, "--save", "npy").code == 0
        files = files_below("cnnviz-out")
        record = files.pop("chelsea/run.json")
        found.append((files, record.replace(b'"%d"' % threads, b"")))
    assert found[0] == found[1] == found[2]
