"""The output folder: whole files, and ``run.json``, which remembers what is ours.

A file is written under a hidden temporary name in the same folder, which has the process's number
in it, and renamed, so it appears whole or not at all. (It is not forced to the platter: a power cut
may lose the newest files.)

``run.json`` lists what cnnviz wrote in the folder; only those names are replaced or removed
without ``--force``. It keeps that promise even if the process is killed between two files,
because the list on disk is always a superset of what was written: before a name is renamed
into place, ``run.json`` already lists it together with everything the run before had listed,
and it shrinks to this run's names only once the stale files are gone.

One run at a time writes in a folder: from its first file to its last it holds the folder, another
one waits a little for it (see `files.holding`). What is ours is read when the folder is held. Where
none can be held, every file is still whole, but which run a file comes from is not defined.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.jsontext import json_text
from cnnviz.errors import CnnvizError
from cnnviz.files.holding import Hold, is_alive
from cnnviz.files.names import is_output

RECORD = "run.json"
"""What a run of a pipeline remembers itself by. Other commands that write beside it have a record
of their own, so that none of them takes the others' files for stale ones."""

RECORDS = frozenset({RECORD, "explain.json", "shift.json", "compare.json", "animate.json"})
"""The names of all records."""

RECORD_LIMIT = 4 * 2**20
"""Bytes of a record: the names of 50,000 maps, and what there is to say of 1,000 stages."""

PATIENCE = 200  # times that a folder is asked for, while another run holds it
_PAUSE = 0.05  # seconds between two of them
_TEMPORARY = re.compile(r"\.cnnviz-(\d+)-[0-9a-f]{16}\.tmp")

_ELSEWHERE = "choose another folder with --out"
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write elsewhere with --out"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write elsewhere with --out"),
    errno.EACCES: ("no permission", _ELSEWHERE),
    errno.EPERM: ("no permission", _ELSEWHERE),
    errno.EROFS: ("the file system is read-only", _ELSEWHERE),
    errno.ENOTDIR: ("a file is where a folder is needed", _ELSEWHERE),
    errno.EEXIST: ("something that is no folder is where a folder is needed", _ELSEWHERE),
    errno.EISDIR: ("a folder is in its place", "move the folder away, or choose another --out"),
    errno.ENAMETOOLONG: (
        "the name is too long for the file system",
        "shorten the name of the stage, the image or the --out folder",
    ),
}


# --- the folder --------------------------------------------------------------------------------


class OutputFolder:
    """One image's folder, ``{out}/{stem}``: written file by whole file, remembered in run.json.

    Making one touches nothing on disk; the first `write` creates the folder. As a context
    manager it tidies up when the run ends early::

        with OutputFolder("cnnviz-out", "cat") as folder:
            folder.write("01_conv_conv1_grid.png", png)
            folder.finish({"cnnviz": "1.0", "pipeline": "conv(8)"})

    Parameters
    ----------
    out : str or Path
        The folder of all images, ``--out``.
    stem : str
        The image's own folder inside it; see `unique_stems`.
    force : bool
        Overwrite files that cnnviz did not write.
    record : str
        The name of the file that remembers what is ours: one of `RECORDS`.
    collects : bool
        Leave the files of earlier runs, which are ours all the same, instead of removing those
        that this run did not write.
    """

    path: Path

    @property
    def replaced(self) -> int:
        """How many files of an earlier run this one overwrote, or removed at its end."""
        return len(self._earlier)

    def __init__(
        self,
        out: str | Path,
        stem: str,
        *,
        force: bool = False,
        record: str = RECORD,
        collects: bool = False,
    ) -> None:
        if stem in {"", ".", ".."} or set(stem) & {"\0", "/", os.sep, os.altsep}:
            raise CnnvizError(f"{stem!r} cannot name a folder in {out}", hint="rename the image")
        self.path = Path(out) / stem
        self._force = force
        self._record, self._collects = record, collects
        self._kept = set[str]()
        self._written: dict[str, None] = {}
        self._planned: dict[str, None] = {}
        self._created: list[Path] = []
        self._hold: Hold | None = None  # from the first write to the end
        self._marked = False  # run.json on disk says that a run is under way
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def check(self, names: Iterable[str] = ()) -> None:
        """Raise what writing would raise, as far as it can be known, and touch nothing.

        Call it before a long computation; with names, also for those that would be refused. While
        another run writes in the folder, what is ours is not known.
        """
        glance = None
        try:
            if self._hold is None:
                self._check_place()
                glance = Hold(self.path)
                self._read()
            self._check_ours(self._record, ours=not self._foreign_record)
            for name in names:
                self._check_name(name)
        except BlockingIOError:
            pass
        finally:
            if glance is not None:
                glance.release()

    def plan(self, names: Iterable[str]) -> None:
        """Check names and have run.json list them all at the next write, not one by one.

        Never needed, but for thousands of files, say all maps of a stage, much quicker.
        """
        planned = dict.fromkeys(names)
        self.check(planned)
        self._planned |= planned

    def write(self, name: str, data: bytes) -> str:
        """Write one whole file and return its path as the user should see it."""
        return self.write_by(name, lambda file: file.write(data))

    def write_array(self, name: str, array: NDArray[Any]) -> str:
        """Write one array as .npy, without a second copy of it in memory; return its path."""

        def fill(file: BinaryIO) -> None:
            pieces: Any = SimpleNamespace(write=file.write)  # to a file errors would not say why
            np.lib.format.write_array(pieces, array, allow_pickle=False)

        return self.write_by(name, fill)

    def write_by(self, name: str, fill: Callable[[BinaryIO], object]) -> str:
        """Write one whole file by a function that fills it; return its path."""
        self._enter(name)

        def fill_and_list(file: BinaryIO) -> None:
            fill(file)
            self._list(name)  # before the file is renamed into place

        path = write_whole(self.path / name, fill_and_list)
        self._written[name] = None
        return path

    def keep(self, path: str | Path) -> None:
        """Count a file that this run reads as one it wrote, if the run before wrote it here.

        Otherwise `finish` would remove it, and the run could not be repeated.
        """
        if Path(path).parent.resolve() == self.path.resolve():
            self._kept.add(Path(path).name)

    def finish(self, record: Mapping[str, object]) -> str:
        """Remove what the run before wrote and this one did not, then write the record.

        In this order, so that a stale file is still listed if the process dies in between.
        NaN and infinities become null; the bytes depend on the record and the names only.
        """
        self._enter()
        self._remove_stale()
        path = self._write_record({"cnnviz": None, **record, "files": list(self._written)})
        self._listed, self._marked, self._created = dict(self._written), False, []
        self._let_go()
        return path

    def discard(self) -> None:
        """Leave the folder after an error or Ctrl-C: no empty folder, no record of nothing.

        Files already replaced stay, listed in a run.json that says the run is unfinished, so
        that the next run can replace or remove them. Temporary files are gone already.
        """
        try:
            with suppress(OSError):
                names = [path.name for path in self.path.iterdir()]
                if self._fresh and self._marked and names == [self._record]:
                    (self.path / self._record).unlink()
                for folder in reversed(self._created):
                    if self._hold is not None or folder != self.path:  # another run may hold it
                        folder.rmdir()  # refuses a folder with anything in it
        finally:
            self._let_go()

    # --- steps

    def _read(self) -> None:
        """Learn from the record on disk what is ours."""
        before = _read_record(self.path / self._record)
        names = _names_in(before)
        self._fresh = not os.path.lexists(self.path / self._record)
        self._foreign_record = not self._fresh and before is None
        self._listed = dict.fromkeys(names)  # what run.json on disk lists as ours
        self._earlier = frozenset(names)
        self._written = dict.fromkeys(name for name in names if name in self._kept)

    def _enter(self, *names: str) -> None:
        """Check names; before the first write make the folder, hold it, and check them again."""
        self.check(names)
        if self._hold is not None:
            return
        for left in reversed(range(PATIENCE)):
            try:
                missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
                for folder in reversed(missing):
                    folder.mkdir(exist_ok=True)
                    self._created.append(folder)
                hold = Hold(self.path)
            except BlockingIOError:
                if not left:
                    raise self._held() from None
                time.sleep(_PAUSE)
            except OSError as error:
                if not left or not isinstance(error, FileNotFoundError):
                    raise _failure("create", self.path, error) from error
            else:
                if hold.there:  # otherwise another run has just removed its empty folder
                    self._hold = hold
                    break
        self._read()
        self.check(names)

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def _held(self) -> CnnvizError:
        """Return the error for a folder that another run holds, whose record says which."""
        found = (_read_record(self.path / name) or {} for name in sorted(RECORDS))
        numbers = (record.get("process") for record in found)
        who = next((f" (process {n})" for n in numbers if type(n) is int and is_alive(n)), "")
        return CnnvizError(
            f"another run{who} writes in {self.path}",
            hint="wait until it has ended, or write elsewhere with --out",
        )

    def _check_place(self) -> None:
        """Refuse a place where no folder is or can be."""
        try:
            nearest = next(p for p in (self.path, *self.path.parents) if os.path.lexists(p))
            if not nearest.is_dir():
                raise CnnvizError(f"{nearest} is not a folder", hint=_ELSEWHERE)
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise CnnvizError(f"cannot write in {nearest}: no permission", hint=_ELSEWHERE)
        except OSError as error:
            raise _failure("create", self.path, error) from error

    def _check_name(self, name: str) -> None:
        """Refuse a name that cnnviz never gives, and that of a file which is not ours."""
        if not is_output(name):
            raise CnnvizError(
                f"{name!r} cannot name a file in {self.path}", hint="rename the stage"
            )
        self._check_ours(name, ours=name in self._listed)

    def _check_ours(self, name: str, *, ours: bool) -> None:
        if _is_there(self.path / name) and not ours and not self._force:
            raise _not_ours(self.path / name)

    def _write_record(self, record: Mapping[str, object]) -> str:
        """Write the record; if it would be too long to be read again, without its longest parts."""
        while len(text := (json_text(record, indent=2) + "\n").encode()) > RECORD_LIMIT:
            parts = {key: json_text({key: record[key]}) for key in record if key != "files"}
            longest = max(parts, key=lambda key: len(parts[key]))
            if longest == "cnnviz":
                raise CnnvizError(
                    f"{self.path / self._record} cannot list so many files in {RECORD_LIMIT:,} "
                    "bytes",
                    hint="write fewer (--stages, --only grid), or elsewhere with --out",
                )
            record = {key: value for key, value in record.items() if key != longest}
        return write_whole(self.path / self._record, lambda file: file.write(text))

    def _list(self, name: str) -> None:
        """Have run.json list a name, and say that a run is under way, before it is written."""
        if self._marked and name in self._listed:
            return
        listed = {**self._listed, **self._planned, name: None}
        under_way = {"cnnviz": "unfinished", "process": os.getpid()}
        self._write_record({**under_way, "files": list(listed)})
        self._listed, self._marked = listed, True

    def _remove_stale(self) -> None:
        if self._collects:
            self._earlier &= frozenset(self._written)
            for name in self._listed:
                if (self.path / name).is_file():
                    self._written.setdefault(name)
        stale = [self.path / name for name in self._listed if name not in self._written]
        for path in self.path.glob(".cnnviz-*.tmp"):  # of a run that was killed
            found = _TEMPORARY.fullmatch(path.name)
            if found and (int(found[1]) == os.getpid() or not is_alive(int(found[1]))):
                stale.append(path)
        # Where the file system folds case, an old name may be this run's file.
        ours = {_identity(self.path / name) for name in self._written} if stale else set()
        for path in stale:
            identity = _identity(path)
            if identity is None or identity in ours:
                continue
            try:
                path.unlink()
            except OSError as error:
                raise _failure("remove", path, error) from error


def write_file(path: Path, data: bytes, *, mark: bytes, force: bool = False) -> str:
    """Write one whole file outside any run.

    An existing one is replaced if it bears `mark` in its first bytes, as what cnnviz wrote does,
    or with `force`.
    """
    ours = not _is_there(path) or force
    with suppress(OSError):
        if not ours and path.is_file():  # a link may lead to a pipe, which would wait for ever
            with path.open("rb") as file:
                ours = mark in file.read(1 << 16)
    if not ours:
        raise _not_ours(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _failure("create", path.parent, error) from error
    return write_whole(path, lambda file: file.write(data))


def write_whole(target: Path, fill: Callable[[BinaryIO], object]) -> str:
    """Fill a file beside `target` and rename it; on any failure leave no trace of it.

    Returns the path as the user should see it.
    """
    _is_there(target)
    temporary = target.parent / f".cnnviz-{os.getpid()}-{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            fill(file)
        temporary.replace(target)
    except OSError as error:
        raise _failure("write", target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return str(target)


def _is_there(path: Path) -> bool:
    """Whether there is a file or a link; CnnvizError for what must not be replaced by a file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failure("write", path, error) from error
    if stat.S_ISDIR(mode):
        raise _failure("write", path, IsADirectoryError(errno.EISDIR, ""))
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise CnnvizError(f"{path} is a pipe or a device, not a file", hint=_ELSEWHERE)
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file a path is; None for nothing, and for what is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    is_file = stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
    return (found.st_dev, found.st_ino) if is_file else None


def _read_record(path: Path) -> dict[str, Any] | None:
    """Read what an earlier run remembered; None if that file is missing or not ours."""
    try:
        if not path.is_file():  # not a pipe, which would wait for ever
            return None
        with path.open("rb") as file:
            data = file.read(RECORD_LIMIT + 1)
        record = json.loads(data) if len(data) <= RECORD_LIMIT else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "cnnviz" not in record:
        return None
    return record if isinstance(record.get("files"), list) else None


def _names_in(record: Mapping[str, Any] | None) -> list[str]:
    """Return the files that a record lists.

    It may be anyone's, so it is believed only as far as names that cnnviz gives.
    """
    names = record["files"] if record else ()
    return [name for name in names if isinstance(name, str) and is_output(name)]


def _not_ours(path: Path) -> CnnvizError:
    return CnnvizError(
        f"{path} exists and was not written by cnnviz",
        hint="--force overwrites it, --out writes elsewhere",
    )


def _failure(verb: str, path: Path, error: OSError) -> CnnvizError:
    reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), _ELSEWHERE))
    return CnnvizError(f"cannot {verb} {path}: {reason}", hint=hint)
