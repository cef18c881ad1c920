"""Work cut into pieces, and threads over them, with BLAS held to one thread meanwhile.

NumPy releases the GIL in its loops and in BLAS, so threads that each compute a band of an output
run side by side. BLAS must not start threads of its own below them: both at once is the slowest
way of all. It gets its threads back when the last call has ended.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from cnnviz.errors import RequestError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Band = tuple[int, int]
"""(first, stop) rows."""

Item = TypeVar("Item")
Worker = Callable[[Item], object]

_limit: int | None = None


def available_threads() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no such call
        return os.cpu_count() or 1


def set_threads(count: int | None) -> None:
    """Let calls use at most `count` threads from now on; None: as many as there are processors."""
    if count is not None and (not isinstance(count, int) or count < 1):
        raise RequestError(
            f"the number of threads is {count!r}", hint="give a whole number from 1, or None"
        )
    global _limit  # noqa: PLW0603 - a setting of the process, like BLAS's own
    _limit = count


def thread_count() -> int:
    """Return how many threads a call with enough work uses."""
    return available_threads() if _limit is None else _limit


MEMORY = 64 << 20
"""Bytes that the threads of one call may take together, beside its input and output."""


def that_fit(threads: int, bytes_each: int, *, kept: int = 0) -> int:
    """Return how many of `threads` may work at once if each takes so much memory, all `kept`.

    >>> that_fit(64, 10 << 20), that_fit(64, 10 << 20, kept=50 << 20)
    (6, 1)
    """
    return max(1, min(threads, (MEMORY - kept) // max(bytes_each, 1)))


def cut(
    rows: int, row_bytes: int, band_bytes: int, threads: int = 1, *, multiple: int = 1
) -> list[Band]:
    """Cut `rows` into bands of about `band_bytes`: one row at least, a band for every thread.

    All but the last have a multiple of `multiple` rows.

    >>> cut(10, 100, 400)
    [(0, 4), (4, 8), (8, 10)]
    >>> cut(10, 100, 4000, threads=2)
    [(0, 5), (5, 10)]
    """
    step = min(-(-rows // threads), band_bytes // max(row_bytes, 1))
    step = max(step // multiple, 1) * multiple
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]


def split(total: int, most: int, least: int = 1) -> list[Band]:
    """Cut into `least` or more pieces of nearly equal size, none above `most`."""
    pieces = min(total, max(least, -(-total // most)))
    return [(total * i // pieces, total * (i + 1) // pieces) for i in range(pieces)]


def share(items: Sequence[Item], make_worker: Callable[[], Worker[Item]], threads: int) -> None:
    """Work off `items` with up to `threads` threads, the calling one among them.

    Parameters
    ----------
    items : sequence
        The pieces, in the order they are started.
    make_worker : callable
        Called once in each thread; returns what is called with each item. What it sets up
        (buffers, say) is that thread's own and lives as long as the call.
    threads : int
        1 does everything in the calling thread.

    Raises
    ------
    BaseException
        The first error of any thread, once all have stopped; no new item is started after it.
    """
    rest = iter(items)  # one iterator for all threads: each item goes to the one that is free
    errors: list[BaseException] = []

    def work() -> None:
        try:
            worker = make_worker()
            for item in rest:
                if errors:
                    return
                worker(item)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            errors.append(error)

    helpers: list[Future[None]] = []
    with single_threaded_blas():
        try:
            helpers += (_helper(work) for _ in range(min(threads, len(items)) - 1))
            work()
        except BaseException as error:  # Ctrl-C between two lines: others stop at their next item
            errors.append(error)
            raise
        finally:
            for helper in helpers:
                if not helper.cancel():  # one that has not started has nothing left to do
                    helper.result()
    if errors:
        raise errors[0]


def _helper(work: Callable[[], None]) -> Future[None]:
    """Have another thread work; where none can be started, the result never begins."""
    from concurrent.futures import Future

    mine = Future[None]()

    def run() -> None:
        if mine.set_running_or_notify_cancel():
            work()
            mine.set_result(None)

    try:
        # NumPy's errstate is part of the context, which threads do not inherit.
        _executor().submit(copy_context().run, run)
    except RuntimeError:  # the queue has it all the same: a thread that is there may still begin
        _executor.cache_clear()
    return mine


@cache
def _executor() -> ThreadPoolExecutor:
    # Imported here: commands that need no second thread start 3 ms sooner.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(256, "cnnviz")  # at most; it starts one when none is idle


# --- BLAS --------------------------------------------------------------------------------------

_lock = threading.Lock()
_held = 0
_before = 1


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread; the number it had comes back when nothing holds it any more."""
    global _held, _before  # noqa: PLW0603 - BLAS's own setting is the process's too
    control = blas_control()
    if control is None:
        yield
        return
    get, put = control
    with _lock:
        if not _held:
            _before = get()
            put(1)
        _held += 1
    try:
        yield
    finally:
        with _lock:
            _held -= 1
            if not _held:
                put(_before)


@cache
def blas_control() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """Find how many threads NumPy's BLAS uses, and how to change it; None if that is not known.

    The functions are looked up in NumPy's own extension module: its symbols include those of
    the libraries it is linked with: OpenBLAS as NumPy's wheels name it, a system's, or MKL.
    Accelerate has no such setting.
    """
    from numpy.linalg import _umath_linalg

    try:
        library = ctypes.CDLL(_umath_linalg.__file__)
    except OSError:
        return None
    for name in (
        "scipy_openblas_{}_num_threads64_",
        "scipy_openblas_{}_num_threads",
        "openblas_{}_num_threads64_",
        "openblas_{}_num_threads",
    ):
        if hasattr(library, name.format("get")) and hasattr(library, name.format("set")):
            return getattr(library, name.format("get")), getattr(library, name.format("set"))
    if hasattr(library, "MKL_Get_Max_Threads") and hasattr(library, "MKL_Set_Num_Threads"):
        return library.MKL_Get_Max_Threads, library.MKL_Set_Num_Threads
    return None


def _start_over() -> None:
    """Forget, in a child process, the threads of its parent and what they held."""
    global _lock, _held
    _executor.cache_clear()
    control, held = blas_control(), _held
    _lock, _held = threading.Lock(), 0
    if held and control is not None:
        control[1](_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)
