"""Which process writes in a folder: one at a time, and whether one that did is still alive.

The folder itself is locked, by ``flock``. So nothing is left behind, and the system lets go of it
when the process ends, however it ends. Where there is no such lock (Windows, some networks, a
folder that may not be read) nothing is held, and the caller goes on.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Hold:
    """A folder that no other process holds until `release`; one that is missing is not held.

    Raises
    ------
    BlockingIOError
        If another process, or another `Hold` of this one, holds it.
    """

    there: bool  # whether there is such a folder

    def __init__(self, folder: Path) -> None:
        self.there, self._number = True, -1
        if fcntl is None:
            self.there = folder.is_dir()
            return
        try:
            self._number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed it, and somebody made another one.
            self.there = os.path.samestat(os.fstat(self._number), folder.stat())
        except FileNotFoundError:
            self.there = False
        except BlockingIOError:
            self.release()
            raise
        except OSError:  # no lock of this kind here
            pass

    def release(self) -> None:
        """Let others hold the folder."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def __del__(self) -> None:
        self.release()


def is_alive(process: int) -> bool:
    """Whether a process runs, as far as that can be known: on Windows none does."""
    if os.name != "posix" or process <= 0:  # Windows has no signal 0: asking would end it
        return False
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
