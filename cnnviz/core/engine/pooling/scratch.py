"""Working memory that outlives a call: fresh pages cost more than pooling a small map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

KEPT = 8 << 20  # bytes of a buffer that is worth keeping

_idle: list[NDArray[np.uint8]] = []  # list's append and pop are atomic


@contextmanager
def scratch(size: int) -> Iterator[NDArray[np.uint8]]:
    """Lend `size` bytes of no particular content, for one thread."""
    try:
        memory = _idle.pop()
    except IndexError:
        memory = np.empty(size, np.uint8)
    if memory.size < size:
        memory = np.empty(size, np.uint8)
    yield memory[:size]
    if memory.size <= KEPT and len(_idle) < 2:
        _idle.append(memory)
