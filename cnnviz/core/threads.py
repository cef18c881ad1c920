"""Threads from the standard library over pieces of work, with BLAS held to one thread meanwhile.

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

Item = TypeVar("Item")
Worker = Callable[[Item], object]

_limit: int | None = None


def available_threads() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not tell
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


MOST = 256  # helping threads of a process, however many its callers ask for

MEMORY = 64 << 20
"""Bytes that the threads of one call may take together, beside its input and output."""


def that_fit(threads: int, bytes_each: int, *, kept: int = 0) -> int:
    """Return how many of `threads` may work at once if each takes so much memory, all `kept`.

    >>> that_fit(64, 10 << 20), that_fit(64, 10 << 20, kept=50 << 20)
    (6, 1)
    """
    return max(1, min(threads, (MEMORY - kept) // max(bytes_each, 1)))


def share(items: Sequence[Item], make_worker: Callable[[], Worker[Item]], threads: int) -> None:
    """Work off `items` with up to `threads` threads, the calling one among them.

    Parameters
    ----------
    items : sequence
        The pieces, in the order they are begun.
    make_worker : callable
        Called once in each thread; returns what is called with each item. What it sets up
        (buffers, say) is that thread's own and lives as long as the call.
    threads : int
        1 does everything in the calling thread.

    Raises
    ------
    BaseException
        The first error of any thread, once all have stopped; no new item is begun after it.
    """
    with single_threaded_blas():
        helpers = min(threads, len(items)) - 1
        if helpers < 1:
            worker = make_worker()
            for item in items:
                worker(item)
            return
        _share(iter(items), make_worker, helpers)


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the helpers: a thread is started when all others are busy, and waits for work then."""
    from concurrent.futures import ThreadPoolExecutor  # logging comes with it, which takes time

    return ThreadPoolExecutor(MOST, "cnnviz")


def _share(rest: Iterator[Any], make_worker: Callable[[], Worker[Any]], count: int) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            worker = make_worker()
            for item in rest:  # one iterator for all: each item goes to whichever thread is free
                if errors:
                    return
                worker(item)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            errors.append(error)

    helpers: list[Future[None]] = []
    try:
        # NumPy's errstate is part of the context, which threads do not inherit.
        helpers.extend(_pool().submit(copy_context().run, work) for _ in range(count))
        work()
    except BaseException as error:  # Ctrl-C between two lines: the others stop at their next item
        errors.append(error)
        raise
    finally:
        for helper in helpers:
            if not helper.cancel():  # one that has not begun finds nothing left to do
                helper.result()
    if errors:
        raise errors[0]


# --- BLAS --------------------------------------------------------------------------------------

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")
_lock = threading.Lock()
_held = 0
_before = 1


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread; the number it had comes back when nobody holds it any more."""
    global _held, _before  # noqa: PLW0603 - BLAS's own setting is the process's too
    control = _blas()
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


def _start_over() -> None:
    """Forget, in a child process, the threads of its parent and what they held."""
    global _lock, _held
    _pool.cache_clear()
    control, held = _blas(), _held
    _lock, _held = threading.Lock(), 0
    if held and control is not None:
        control[1](_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)


@cache
def _blas() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """Find how many threads NumPy's BLAS uses, and how to change it; None if it does not tell.

    The functions are looked up in NumPy's own extension module, whose symbols include those of
    the libraries it is linked with: OpenBLAS as NumPy's wheels name it, a system's, or MKL.
    Accelerate has no such setting.
    """
    from numpy.linalg import _umath_linalg

    try:
        library = ctypes.CDLL(_umath_linalg.__file__)
    except OSError:
        return None
    names = [
        (f"{prefix}_get_num_threads{suffix}", f"{prefix}_set_num_threads{suffix}")
        for prefix in _PREFIXES
        for suffix in _SUFFIXES
    ]
    for get, put in [*names, ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]:
        if hasattr(library, get) and hasattr(library, put):
            return getattr(library, get), getattr(library, put)
    return None
