"""One process at a time in a folder, whatever becomes of the others."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from cnnviz.files.holding import Hold, is_alive

fcntl = pytest.importorskip("fcntl")
HOLDER = """
import sys, time
from pathlib import Path
from cnnviz.files.holding import Hold
hold = Hold(Path(sys.argv[1]))
print(flush=True)
time.sleep(60)
"""


def test_a_folder_is_held_once_until_it_is_released(tmp_path):
    one = Hold(tmp_path)
    with pytest.raises(BlockingIOError):
        Hold(tmp_path)
    one.release()
    two = Hold(tmp_path)
    one.release()  # twice is no harm
    with pytest.raises(BlockingIOError):
        Hold(tmp_path)
    del two
    assert Hold(tmp_path).there
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_holds_nothing(tmp_path):
    words = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(BlockingIOError):
            Hold(tmp_path)
        assert is_alive(holder.pid)
        holder.send_signal(signal.SIGKILL)
    assert Hold(tmp_path).there
    assert not is_alive(holder.pid)


def test_a_folder_that_is_gone_is_not_there(tmp_path, monkeypatch):
    assert not Hold(tmp_path / "missing").there
    folder = tmp_path / "folder"
    folder.mkdir()
    lock = fcntl.flock

    def too_late(*arguments):
        folder.rmdir()
        folder.mkdir()
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", too_late)
    assert not Hold(folder).there  # held is the one that was removed


def test_where_there_is_no_lock_nothing_is_held(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert Hold(tmp_path).there
    assert Hold(tmp_path).there


@pytest.mark.parametrize("process", [0, -1, 2**22 + 1, 2**80])
def test_no_such_process_is_alive(process):
    assert not is_alive(process)
    assert is_alive(os.getpid())
    assert is_alive(os.getppid())
