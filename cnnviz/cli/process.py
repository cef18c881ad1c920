"""What a process of the command settles for itself: before NumPy is imported, and when it ends.

Only `cnnviz.__main__` asks for it: where cnnviz is a library, the process is not ours.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnviz.cli.options import ComputeOptions

_CPU = "/proc/cpuinfo"
_ENOUGH = 4096  # bytes: the first processor's flags are among them
_AVX512 = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"})


def set_up() -> None:
    """Start with the right BLAS kernels, and without looking for garbage.

    Importing makes a hundred thousand objects and no garbage, and Python would search them for it
    again and again: a tenth of the start. `start_work` makes it search again.

    BLAS keeps its threads: what cnnviz shares among threads itself holds it to one meanwhile, the
    rest uses them, and starting without them saves less than a millisecond.
    """
    gc.disable()
    choose_kernels()


def choose_kernels(path: str = _CPU) -> None:
    """Have OpenBLAS use its AVX-512 kernels on every processor that can; what is set stays.

    The OpenBLAS in NumPy's wheels knows processors by their model. One it does not know yet, such
    as AMD's Zen 5, gets the AVX2 kernels, which are half as fast.
    """
    if "OPENBLAS_CORETYPE" not in os.environ and _flags(path) >= _AVX512:
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


def start_work() -> None:
    """Look for garbage from here on, but not among what was imported."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def working(compute: ComputeOptions) -> Iterator[None]:
    """Have everything inside computed as the options say; RequestError if they say nonsense."""
    from cnnviz.core.engine import check_algorithm, computing
    from cnnviz.core.threads import set_threads

    start_work()
    set_threads(compute.threads)
    check_algorithm(compute.algorithm)
    with computing(compute.precision, compute.algorithm):
        yield


def leave(code: object) -> None:
    """End the process at once, if its answer has arrived; otherwise let Python end it.

    What `atexit` promised is done and the streams are flushed. Python would then free every
    object and module one by one, which takes 20 ms; the system takes all back anyway.
    """
    if not isinstance(code, int):
        return
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no other way to run them
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException:  # noqa: BLE001 - Python's own end meets it again, and tells
        return
    os._exit(code)


def _flags(path: str) -> frozenset[str]:
    """Return what the first processor can do; nothing where Linux on x86-64 does not tell."""
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        return frozenset()
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes longer
            lines = file.read(_ENOUGH).decode("ascii", "replace").splitlines()
    except OSError:
        return frozenset()
    told = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(told.partition(":")[2].split())
