"""Pictures on their way to disk: encoded side by side in the background, written in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Self

from numpy.typing import NDArray

from cnnviz.files.outputs import OutputFolder

_SMALL = 1 << 15  # bytes of pixels that are encoded sooner than handed to another thread
_ROOM = 1 << 23  # bytes of pixels that may wait in any case, so that small pictures never stop us


class _Picture(NamedTuple):
    name: str
    size: int  # bytes of pixels
    data: Future[bytes]
    written: Callable[[str], object]


class Writer:
    """Writes one image's pictures into its folder, in the order they were added.

    Other threads encode while the caller goes on to the next stage; only the caller's thread
    touches the folder, whenever it adds a picture and at the end. What waits is bounded: beside
    the newest picture about two of its size. Leaving the ``with`` block writes the rest, or after
    an error drops it: what is being encoded then is not waited for.

    Parameters
    ----------
    folder : OutputFolder
    threads : int
        How many pictures are encoded side by side; with 1 each is, when it is added.
    """

    def __init__(self, folder: OutputFolder, threads: int) -> None:
        self.folder = folder
        self.threads = threads
        self._waiting: deque[_Picture] = deque()
        self._size = 0  # of those waiting
        self._pool = ThreadPoolExecutor(threads)  # it starts a thread when none is idle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._write(room=0)
        finally:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def add(
        self, name: str, size: int, encode: Callable[[], bytes], written: Callable[[str], object]
    ) -> None:
        """Have a picture of `size` bytes of pixels encoded and written under a name.

        `written` is called with the file's path. An error, of this picture or of one before, is
        raised here, or at the end.
        """
        self._write(room=max(2 * size, _ROOM))
        data: Future[bytes] | None = None
        if size >= _SMALL and self.threads > 1:
            try:
                data = self._pool.submit(encode)
            except RuntimeError:  # the system has no thread left
                self.threads = 1
        if data is None:
            data = Future()
            data.set_result(encode())
        del encode  # and with it, once they are encoded, the pixels
        self._waiting.append(_Picture(name, size, data, written))
        self._size += size
        self._write(room=self._size)

    def add_array(self, name: str, array: NDArray[Any], written: Callable[[str], object]) -> None:
        """Write numbers, which wait for the pictures before them but are not kept waiting."""
        self._write(room=0)
        written(self.folder.write_array(name, array))

    def _write(self, room: int) -> None:
        """Write what is ready; wait for what is not until no more than `room` bytes wait."""
        while self._waiting and (self._waiting[0].data.done() or self._size > room):
            picture = self._waiting.popleft()
            self._size -= picture.size
            picture.written(self.folder.write(picture.name, picture.data.result()))
