"""Pictures on their way to disk: encoded side by side in the background, written in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from cnnviz.files.outputs import OutputFolder

_SMALL = 1 << 15  # bytes of pixels that are encoded sooner than handed to another thread
_ROOM = 1 << 23  # bytes of pixels that may wait in any case, so that small pictures never stop us


class _Picture:
    """A picture of `size` bytes of pixels that is being encoded."""

    def __init__(
        self, name: str, size: int, encode: Callable[[], bytes], written: Callable[[str], object]
    ) -> None:
        self.name, self.size, self.written = name, size, written
        self.encode: Callable[[], bytes] | None = encode
        self.data = b""
        self.error: BaseException | None = None
        self.done = threading.Event()

    def work(self) -> None:
        try:
            if self.encode is not None:
                self.data = self.encode()
        except BaseException as error:  # noqa: BLE001 - raised again where the picture is written
            self.error = error
        finally:
            self.encode = None  # and with it the pixels
            self.done.set()


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
        self._queue: SimpleQueue[_Picture | None] = SimpleQueue()
        self._workers: list[threading.Thread] = []
        self._dropped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._write(room=0)
        finally:
            self._dropped = True
            for _ in self._workers:
                self._queue.put(None)
            if kind is None:
                for worker in self._workers:
                    worker.join()

    def add(
        self, name: str, size: int, encode: Callable[[], bytes], written: Callable[[str], object]
    ) -> None:
        """Have a picture of `size` bytes of pixels encoded and written under a name.

        `written` is told the file's path. An error, of this picture or of one before, is raised
        here, or at the end.
        """
        self._write(room=max(2 * size, _ROOM))
        picture = _Picture(name, size, encode, written)
        self._waiting.append(picture)
        self._size += size
        if size < _SMALL or self.threads == 1:
            picture.work()
            self._write(room=_ROOM)
        else:
            if len(self._workers) < self.threads:
                self._start()
            self._queue.put(picture)

    def add_array(self, name: str, array: NDArray[Any], written: Callable[[str], object]) -> None:
        """Write numbers, which wait for the pictures before them but are not kept waiting."""
        self._write(room=0)
        written(self.folder.write_array(name, array))

    def _write(self, room: int) -> None:
        """Write what is ready; wait for what is not until no more than `room` bytes wait."""
        while self._waiting and (self._waiting[0].done.is_set() or self._size > room):
            picture = self._waiting[0]
            picture.done.wait()
            self._waiting.popleft()
            self._size -= picture.size
            if picture.error is not None:
                raise picture.error
            picture.written(self.folder.write(picture.name, picture.data))

    def _start(self) -> None:
        worker = threading.Thread(target=self._encode, daemon=True)
        worker.start()
        self._workers.append(worker)

    def _encode(self) -> None:
        while (picture := self._queue.get()) is not None:
            if not self._dropped:
                picture.work()
