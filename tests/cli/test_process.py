"""Starting and ending: what is imported when, and what a process settles for itself."""

from __future__ import annotations

import _thread
import errno
import gc
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from cnnviz.cli import console, process
from cnnviz.cli.app import COMMANDS, app_for
from cnnviz.core.pipeline import Pipeline
from cnnviz.core.types import Stage, Tensor
from tests.cli.conftest import Run, command, files_below, sample

LINUX = "linux"
CHOICE = "OPENBLAS_CORETYPE"
ALL = "avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512vnni"


@pytest.fixture
def x86_64(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux on x86-64, where nobody has chosen OpenBLAS's kernels."""
    monkeypatch.setattr(sys, "platform", LINUX)
    machine = os.uname_result((LINUX, "here", "6", "1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: machine, raising=False)
    monkeypatch.delenv(CHOICE, raising=False)
    return monkeypatch


def cpuinfo(folder: Path, flags: str) -> str:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: x\nflags\t\t: {flags}\nbugs\t: none\n" * 99)
    return str(path)


@pytest.mark.parametrize("missing", ["", *ALL.split()[1:6]])
def test_processors_with_all_of_avx512_get_its_kernels(
    x86_64: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    flags = " ".join(flag for flag in ALL.split() if flag != missing)
    process.choose_kernels(cpuinfo(tmp_path, flags))
    assert os.environ.get(CHOICE) == (None if missing else "SkylakeX")
    x86_64.delenv(CHOICE, raising=False)


def test_kernels_chosen_by_the_user_stay(x86_64: pytest.MonkeyPatch, tmp_path: Path) -> None:
    x86_64.setenv(CHOICE, "Haswell")
    process.choose_kernels(cpuinfo(tmp_path, ALL))
    assert os.environ[CHOICE] == "Haswell"


def test_other_machines_are_left_alone(x86_64: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = cpuinfo(tmp_path, ALL)
    process.choose_kernels(str(tmp_path / "missing"))
    x86_64.setattr(sys, "platform", "darwin")
    process.choose_kernels(path)
    x86_64.setattr(sys, "platform", LINUX)
    x86_64.setattr(os, "uname", lambda: os.uname_result((LINUX, "", "", "", "aarch64")))
    process.choose_kernels(path)
    assert CHOICE not in os.environ


@pytest.mark.skipif(sys.platform != LINUX, reason="processors as Linux counts them")
@pytest.mark.parametrize(("room", "threads"), [(64, None), (3, "1"), (0, "1")])
def test_blas_starts_no_threads_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch, room: int, threads: str | None
) -> None:
    start, running = _thread.start_new_thread, list[int]()

    def limited(*arguments: Any) -> int:
        if len(running) == room:
            raise RuntimeError("can't start new thread")
        running.append(start(*arguments))
        return running[-1]

    monkeypatch.setattr(_thread, "start_new_thread", limited)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    process.spare_threads()
    assert os.environ.pop("OPENBLAS_NUM_THREADS", None) == threads
    assert len(running) == min(room, 7)
    deadline = time.monotonic() + 10
    while len(list(tasks.iterdir())) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(tasks.iterdir())) <= before  # none waits for ever


def test_a_bar_that_no_thread_can_move_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    screen = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(console, "stderr", lambda: screen)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with console.progress("frames", 2, silent=False) as advance:
        advance()
    assert screen.file.getvalue().rindex("\x1b[?25h") > 0  # the cursor is shown again


def test_a_library_leaves_the_process_alone() -> None:
    code = "import cnnviz, os, gc, sys; cnnviz.parse; print(gc.isenabled(), *os.environ)"
    env = {name: value for name, value in os.environ.items() if name != CHOICE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    assert done.stdout.startswith(b"True")
    assert CHOICE.encode() not in done.stdout


def test_garbage_is_looked_for_while_working() -> None:
    process.start_work()  # where it never stopped, nothing changes
    assert gc.get_freeze_count() == 0
    gc.disable()
    try:
        process.start_work()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.skipif(sys.platform != LINUX, reason="limits as Linux has them")
@pytest.mark.parametrize(
    "words",
    [
        ["convolve", sample("chelsea.jpg"), "--show"],
        ["pipeline", sample("chelsea.jpg"), "vgg16", "-q"],
        ["pipeline", sample("chelsea.jpg"), "upsample(40) -> relu", "-q"],
        ["kernels", "gabor(31)", "-o", "k.png", "-f"],
    ],
    ids=lambda words: words[-2],
)
@pytest.mark.parametrize(
    "size",
    [
        150,
        200,
        300,
        500,
        *(pytest.param(n, marks=pytest.mark.heavy) for n in range(600, 2000, 160)),
    ],
)
def test_too_little_memory_is_one_message(words: list[object], size: int, work: Path) -> None:
    import resource

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (size << 20, size << 20))

    done = subprocess.run(command(*words), capture_output=True, preexec_fn=limited, check=False)
    assert done.returncode in {0, 1}
    said = [line for line in done.stderr.splitlines() if line.lower().startswith(b"error:")]
    assert len(said) == done.returncode or b"OpenBLAS error" in done.stderr  # which ends by itself
    assert b"Traceback" not in done.stderr
    assert not [path for path in work.rglob("*") if path.suffix == ".tmp"]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (ImportError("libz.so: failed to map segment from shared object"), "memory"),
        (RuntimeError("can't start new thread"), "thread"),
        (RuntimeError("another"), None),
        (ImportError("no module"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
    ],
)
def test_what_has_run_out(error: Exception, word: str | None, run: Run) -> None:
    text = process.exhausted(error)
    assert (text is None) == (word is None)
    if word is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pipeline, "run", Mock(side_effect=error))
            result = run("pipeline", sample("step.png"), "relu")
        assert (result.code, result.out, result.err) == (1, "", text)
        assert word in result.err


def test_of_several_images_one_that_takes_too_much_is_reported(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pipeline.run

    def exhausted(pipeline: Pipeline, x: Tensor, *rest: object, **options: Any) -> Iterator[Stage]:
        if x.shape[1:] == (8, 8):
            raise MemoryError
        return whole(pipeline, x, *rest, **options)

    monkeypatch.setattr(Pipeline, "run", exhausted)
    result = run("pipeline", sample("step.png"), sample("digit_3.png"), "relu")
    assert (result.code, result.err.count("error:")) == (1, 1)
    assert "step.png: not enough memory" in result.err
    assert files_below("cnnviz-out/digit_3")


def test_an_end_flushes_and_does_what_was_promised() -> None:
    code = (
        "import atexit, sys\n"
        "from cnnviz.cli.process import leave\n"
        "atexit.register(lambda: print('promised'))\n"
        "print('answer')\n"
        "leave('a word is for Python to print')\n"
        "leave(3)\n"
        "print('never')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout.split()) == (3, [b"answer", b"promised"])


# --- what is imported --------------------------------------------------------------------------

SPY = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sys.modules, file=sys.stderr))
sys.argv[0] = "cnnviz"
from cnnviz.__main__ import main
main()
"""


def loaded(*words: object) -> set[str]:
    """Return the modules a command has imported when it ends."""
    line = [sys.executable, "-c", SPY, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stderr.rpartition("loaded:")[2].split())


@pytest.mark.parametrize(
    "words",
    [["--help"], ["-h"], ["--version"], ["convolve", "--help"], ["pool", "-h"],
     ["pipeline", "-h"], ["shapes", "-h"], ["kernels", "-h"], ["layers", "-h"]],
)  # fmt: skip
def test_help_and_version_start_at_once(words: list[str]) -> None:
    modules = loaded(*words)
    assert not modules & {"numpy", "PIL", "cnnviz.core", "cnnviz.files", "cnnviz.view.sheet"}
    if "--version" in words:
        assert "rich" not in modules
    if len(words) == 2:
        others = {"convolve", "pool", "pipeline", "shapes", "kernels", "layers"} - set(words)
        assert not modules & {f"cnnviz.cli.{name}" for name in others}


@pytest.mark.parametrize(
    ("words", "made"),
    [([], COMMANDS), (["pool", "-h"], ("pool",)), (["pol"], COMMANDS), (["--version"], COMMANDS)],
)
def test_only_the_command_that_runs_is_made(words: list[str], made: tuple[str, ...]) -> None:
    names = [command.name for command in app_for(words).registered_commands]
    assert tuple(names) == made


def test_a_quiet_convolution_imports_what_it_needs(work: Path) -> None:
    words = ["convolve", sample("camera.png"), "-k", "sobel_x", "--only", "maps"]
    modules = loaded(*words, "-q")
    assert "cnnviz.core.pipeline" in modules
    unused = {
        "rich", "cnnviz.files.weights",
        "cnnviz.view.terminal", "cnnviz.view.sheet",
    }  # fmt: skip
    assert not modules & unused
    assert "rich.progress" not in loaded(*words)
    assert list(work.glob("cnnviz-out/camera/*.png"))
