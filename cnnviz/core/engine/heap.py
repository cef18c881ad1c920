"""Keeping memory between calls, where the C library would give it back and fetch it again."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def keep_pages() -> None:
    """Have the heap keep the pages of arrays below 32 MB.

    glibc maps large arrays afresh for every call, and a new page costs more than filling it. Once
    an array of nearly 32 MB was freed it raises its thresholds by itself (`mallopt(3)`); one that
    nobody has touched takes no memory. Elsewhere this does nothing.
    """
    np.empty(31 << 20, np.uint8)
