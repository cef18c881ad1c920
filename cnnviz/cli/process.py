"""What the program settles for its process: streams, signals, a quick start and a quick end.

`cnnviz.__main__` and `cnnviz.cli.door` use this file, and nothing else does: where cnnviz is a
library, the process is not ours. What makes it quicker has its gain beside it, measured on the
whole command.
"""

from __future__ import annotations

import _thread
import atexit
import errno
import gc
import io
import os
import signal
import sys
from types import FrameType

_AVX512 = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"})


def set_up() -> None:
    """Start without looking for garbage, and with the BLAS kernels that the processor can run.

    Importing makes a hundred thousand objects and no garbage, and Python would search them for it
    again and again. `start_work` makes it search again. Gain: 1.09 times on ``--help``, 1.02 on
    the Sobel map of a 512×512 picture.
    """
    gc.disable()
    _open_streams()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no second
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, _end)
    choose_kernels()
    spare_threads()


class Ended(SystemExit):
    """The process is asked to end: raised wherever it is, so that it tidies up as on Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(self.exit_code)


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)


class Outlet(io.TextIOWrapper):
    """An output whose reader may leave (``| head``): what it does not take any more goes nowhere.

    Parameters
    ----------
    stream : TextIOWrapper
        Python's own, which cannot be used any more.
    lost : type of OSError
        The errors after which nothing is written there.
    """

    def __init__(self, stream: io.TextIOWrapper, lost: type[OSError]) -> None:
        encoding, errors, lines = stream.encoding, stream.errors, stream.line_buffering
        super().__init__(stream.detach(), encoding, errors, line_buffering=lines)
        self._lost = lost

    def write(self, text: str) -> int:
        """Write a text, or lose it."""
        try:
            return super().write(text)
        except OSError as error:
            self._leave(error)
            return len(text)

    def flush(self) -> None:
        """Write what is held back, or lose it."""
        try:
            super().flush()
        except OSError as error:
            self._leave(error)

    def _leave(self, error: OSError) -> None:
        if not isinstance(error, self._lost):
            raise error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def _open_streams() -> None:
    """Open streams that are closed on the null device, and have the others outlive their readers.

    Otherwise the first file that is opened would get the number of a stream, and what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: the stream's
            setattr(sys, name, open(nowhere, "w" if number else "r"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = Outlet(sys.stdout, BrokenPipeError)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = Outlet(sys.stderr, OSError)  # where nothing can be told, nothing is


def choose_kernels(path: str = "/proc/cpuinfo") -> None:
    """Have OpenBLAS use its AVX-512 kernels on every processor that can; what is set stays.

    The OpenBLAS in NumPy's wheels chooses kernels by the processor's model. A model that it does
    not list yet, such as AMD's Zen 5, gets those of AVX2. Gain there: 1.03 to 1.17 times on the
    first five stages of a VGG16.
    """
    if "OPENBLAS_CORETYPE" in os.environ or not sys.platform.startswith("linux"):
        return
    if os.uname().machine != "x86_64":
        return
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes longer
            lines = file.read(4096).decode("ascii", "replace").splitlines()
    except OSError:
        return
    flags = next((line for line in lines if line.startswith("flags")), "")  # the first processor's
    if _AVX512.issubset(flags.split()):
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


def spare_threads() -> None:
    """Have OpenBLAS start no threads where there is no room for as many as it would.

    It takes their lack for Ctrl-C. So they are started here first, all at once: each takes 20 µs.
    """
    if "OPENBLAS_NUM_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return
    gate = _thread.allocate_lock()

    def wait() -> None:
        with gate:
            pass

    with gate:
        try:
            for _ in range(len(os.sched_getaffinity(0)) - 1):
                _thread.start_new_thread(wait, ())
        except RuntimeError:
            os.environ["OPENBLAS_NUM_THREADS"] = "1"


def exhausted(error: Exception) -> str | None:
    """Return what there is to print, and nothing to import, if memory or threads ran out."""
    text = str(error)
    if isinstance(error, RuntimeError) and "start new thread" in text:
        return "error: no thread can be started\nhint: allow more of them (ulimit -u)\n"
    if (
        isinstance(error, MemoryError | SystemError)  # that without an exception is one, too
        or (isinstance(error, ImportError) and "failed to map" in text)  # libraries of NumPy
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    ):
        return "error: not enough memory\nhint: resize the image with --resize\n"
    return None


def start_work() -> None:
    """Look for garbage from here on, but not among what was imported."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def leave(code: object) -> None:
    """End the process at once, if its answer has arrived; otherwise let Python end it.

    What `atexit` promised is done and the streams are flushed. Python would then free every
    object and module one by one; the system takes all back anyway. Gain: 1.23 times on
    ``--help``, 1.06 on the Sobel map of a 512×512 picture.
    """
    if not isinstance(code, int):
        return
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no other way to run them
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException:  # noqa: BLE001 - Python's own end meets it again, and prints it
        return
    os._exit(code)
