"""The output folder: names, whole files, and ``run.json``, which remembers what is ours.

A file is written under a hidden temporary name in the same folder and renamed, so it appears
whole or not at all. (It is not forced to the platter: a power cut may lose the newest files.)

``run.json`` lists what cnnviz wrote in the folder; only those names are replaced or removed
without ``--force``. It keeps that promise even if the process is killed between two files,
because the list on disk is always a superset of what was written: before a name is renamed
into place, ``run.json`` already lists it together with everything the run before had listed,
and it shrinks to this run's names only once the stale files are gone.

Two processes writing into the same folder at the same time are not supported: every file is
still whole, but which run a file comes from, and what ``run.json`` lists, is not defined.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.jsontext import json_text
from cnnviz.core.types import Row
from cnnviz.errors import CnnvizError

RECORD = "run.json"
"""What a run of a pipeline remembers itself by. Other commands that write beside it have a record
of their own, so that none of them takes the others' files for stale ones."""

WEIGHTS = "weights.safetensors"
"""The name of a pipeline's weights."""

RECORDS = frozenset({RECORD, "explain.json", "shift.json", "compare.json", "animate.json"})
"""The names of all records."""

RECORD_LIMIT = 64 * 2**20  # bytes; a hundred thousand pictures list in a quarter of it

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


def map_name(row: Row, channel: int) -> str:
    """Name the picture of one channel: ``03_conv_conv2_c007.png``."""
    return f"{_stage_name(row)}_c{channel:03d}.png"


def colour_name(row: Row, kernel: int) -> str:
    """Name the picture of three channels recombined: ``01_depthwise_depthwise1_rgb000.png``."""
    return f"{_stage_name(row)}_rgb{kernel:03d}.png"


def grid_name(row: Row) -> str:
    """Name the picture of all channels: ``03_conv_conv2_grid.png``."""
    return f"{_stage_name(row)}_grid.png"


def explanation_name(row: Row, at: Sequence[int]) -> str:
    """Name the picture of an explained value: ``03_conv_conv2_at_7_0_12.png``."""
    return f"{_stage_name(row)}_at_{'_'.join(map(str, at))}.png"


def heatmap_name(row: Row, at: Sequence[int], kind: str) -> str:
    """Name a picture of a heatmap: ``23_dense_fc_at_3_cam.png``."""
    return f"{_stage_name(row)}_at_{'_'.join(map(str, at))}_{kind}.png"


def winners_name(row: Row, channel: int) -> str:
    """Name the picture of a pooling's winners: ``02_maxpool_maxpool1_c007_winners.png``."""
    return f"{_stage_name(row)}_c{channel:03d}_winners.png"


def animation_name(row: Row, channel: int) -> str:
    """Name the animation of one channel: ``03_conv_conv2_c007.gif``."""
    return f"{_stage_name(row)}_c{channel:03d}.gif"


def array_name(row: Row) -> str:
    """Name the stage's numbers: ``03_conv_conv2.npy``."""
    return f"{_stage_name(row)}.npy"


def _stage_name(row: Row) -> str:
    return f"{row.index:02d}_{row.layer}_{row.name}"


def _is_plain(name: str) -> bool:
    """Whether a name is a visible file directly inside a folder, on every system."""
    return bool(name) and name.isprintable() and name[0] != "." and not set(name) & set("/\\:")


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
        return len(self._earlier & self._written.keys() if self._collects else self._earlier)

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
        before = _read_record(self.path / record)
        self._fresh = not os.path.lexists(self.path / record)
        self._foreign_record = not self._fresh and before is None
        self._listed = dict.fromkeys(before or ())  # what run.json on disk lists as ours
        self._earlier = frozenset(self._listed)
        self._planned: dict[str, None] = {}
        self._written: dict[str, None] = {}
        self._created: list[Path] = []
        self._ready = False  # the folder exists
        self._marked = False  # run.json on disk says that a run is under way

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def check(self, names: Iterable[str] = ()) -> None:
        """Raise what writing would raise, as far as it can be known, and touch nothing.

        Call it before a long computation; with names, also for those that would be refused.
        """
        try:
            nearest = next(p for p in (self.path, *self.path.parents) if os.path.lexists(p))
            if not nearest.is_dir():
                raise CnnvizError(f"{nearest} is not a folder", hint=_ELSEWHERE)
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise CnnvizError(f"cannot write in {nearest}: no permission", hint=_ELSEWHERE)
            if self._foreign_record and not self._force:
                raise _not_ours(self.path / self._record)
        except OSError as error:
            raise _failure("create", self.path, error) from error
        for name in names:
            self._check_name(name)

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
        self.check((name,))
        self._create()

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
        name = Path(path).name
        if name in self._listed and Path(path).parent.resolve() == self.path.resolve():
            self._written[name] = None

    def finish(self, record: Mapping[str, object]) -> str:
        """Remove what the run before wrote and this one did not, then write the record.

        In this order, so that a stale file is still listed if the process dies in between.
        NaN and infinities become null; the bytes depend on the record and the names only.
        """
        self.check()
        self._create()
        self._remove_stale()
        path = self._write_record({"cnnviz": None, **record, "files": list(self._written)})
        self._listed, self._marked, self._created = dict(self._written), False, []
        return path

    def discard(self) -> None:
        """Leave the folder after an error or Ctrl-C: no empty folder, no record of nothing.

        Files already replaced stay, listed in a run.json that says the run is unfinished, so
        that the next run can replace or remove them. Temporary files are gone already.
        """
        with suppress(OSError):
            names = [path.name for path in self.path.iterdir()]
            if self._fresh and self._marked and names == [self._record]:
                (self.path / self._record).unlink()
            for folder in reversed(self._created):
                folder.rmdir()  # refuses a folder with anything in it

    # --- steps

    def _create(self) -> None:
        if self._ready:
            return
        try:
            missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
            for folder in reversed(missing):
                folder.mkdir(exist_ok=True)
                self._created.append(folder)
        except OSError as error:
            raise _failure("create", self.path, error) from error
        self._ready = True

    def _check_name(self, name: str) -> None:
        """Refuse a name that is not plain, a folder's, or that of a file which is not ours."""
        if not _is_plain(name) or name in RECORDS:
            raise CnnvizError(
                f"{name!r} cannot name a file in {self.path}", hint="rename the stage"
            )
        target = self.path / name
        try:
            mode = target.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failure("write", target, error) from error
        if stat.S_ISDIR(mode):
            raise _failure("write", target, IsADirectoryError(errno.EISDIR, ""))
        if name not in self._listed and not self._force:
            raise _not_ours(target)

    def _write_record(self, record: Mapping[str, object]) -> str:
        text = (json_text(record, indent=2) + "\n").encode()
        return write_whole(self.path / self._record, lambda file: file.write(text))

    def _list(self, name: str) -> None:
        """Have run.json list a name, and say that a run is under way, before it is written."""
        if self._marked and name in self._listed:
            return
        listed = {**self._listed, **self._planned, name: None}
        self._write_record({"cnnviz": "unfinished", "files": list(listed)})
        self._listed, self._marked = listed, True

    def _remove_stale(self) -> None:
        if self._collects:
            for name in self._listed:
                if (self.path / name).is_file():
                    self._written.setdefault(name)
        stale = [self.path / name for name in self._listed if name not in self._written]
        stale += self.path.glob(".cnnviz-*.tmp")  # of a run that was killed
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
    ours = force or not os.path.lexists(path)
    with suppress(OSError):
        if not ours and path.is_file():  # not a pipe, which would wait for ever
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
    temporary = target.parent / f".cnnviz-{os.urandom(8).hex()}.tmp"
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


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file a path is; None for a folder or nothing."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return None if stat.S_ISDIR(found.st_mode) else (found.st_dev, found.st_ino)


def _read_record(path: Path) -> list[str] | None:
    """Read the names an earlier run listed; None if that file is missing or not ours.

    The file may be anything, so it is believed only as far as plain names in its own folder.
    """
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
    names = record.get("files")
    if not isinstance(names, list):
        return None
    return [
        name for name in names if isinstance(name, str) and _is_plain(name) and name not in RECORDS
    ]


def _not_ours(path: Path) -> CnnvizError:
    return CnnvizError(
        f"{path} exists and was not written by cnnviz",
        hint="--force overwrites it, --out writes elsewhere",
    )


def _failure(verb: str, path: Path, error: OSError) -> CnnvizError:
    reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), _ELSEWHERE))
    return CnnvizError(f"cannot {verb} {path}: {reason}", hint=hint)
