"""Zip archives that may come from anyone, as Python's zipfile reads them."""

from __future__ import annotations

import io
import zipfile
import zlib

from cnnviz.files.weights.stored import shown

DIRECTORY_LIMIT = 2**21  # bytes of an archive's list of members, which zipfile reads at once

UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile raises on broken or hostile archives."""


class Archive(io.BufferedReader):
    """A file that gives only so much at once, for zipfile trusts an archive's word on its list."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        if size is None or size < 0:
            size = DIRECTORY_LIMIT + 1
        data = super().read(min(size, DIRECTORY_LIMIT + 1))
        if len(data) > DIRECTORY_LIMIT:
            raise zipfile.BadZipFile(f"its list of members is over {DIRECTORY_LIMIT:,} bytes")
        return data


def told(error: Exception) -> str:
    """Say what zipfile said, which may quote the file at length."""
    return shown(str(error) or type(error).__name__, limit=200)
