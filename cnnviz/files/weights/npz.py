"""NumPy's .npz format: a zip archive with one .npy file a tensor.

NumPy reads the arrays; what an archive and its arrays say of their sizes is checked before.
"""

from __future__ import annotations

import io
import warnings
import weakref
import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Params
from cnnviz.errors import CnnvizError
from cnnviz.files.matrices import NpyHeader, file_error, npy_header
from cnnviz.files.weights.archive import UNREADABLE, Archive, told
from cnnviz.files.weights.stored import Stored, Weights, by, byte_count, check_openable, shown

MOST_MEMBERS = 10_000  # looked into when the file is opened
MOST_DEFLATED = 1032  # bytes that a byte of deflated data can stand for
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date a zip archive can hold: ours holds no other


class NpzWeights(Weights):
    """The arrays of an .npz file, each unpacked when it is asked for."""

    def __init__(self, path: str) -> None:
        self.path = path
        check_openable(path)
        try:
            file = Archive(io.FileIO(path))
        except OSError as error:
            raise file_error(path, error) from error
        weakref.finalize(self, file.close)
        try:
            self._zip = zipfile.ZipFile(file)
            self._members = self._find_members()
            self._headers = {name: self._header(name) for name in self._members}
        except UNREADABLE as error:
            raise self.broken(told(error)) from None
        self.stored = {
            name: Stored(header.shape, header.dtype.name) for name, header in self._headers.items()
        }

    def read(self, name: str) -> NDArray[Any]:
        """Return an array; its checksum shows whether the file is still what it was."""
        header = self._headers[name]
        try:
            with self._zip.open(self._members[name]) as member, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python 2 wrote 3L
                array = np.lib.format.read_array(member, allow_pickle=False)
        except UNREADABLE as error:
            raise self.broken(told(error)) from None
        if (array.shape, array.dtype) != (header.shape, header.dtype):
            raise self.broken("it changed since it was opened")
        return array

    def _find_members(self) -> dict[str, zipfile.ZipInfo]:
        """Return the .npy files by name, none of which says of itself what cannot be."""
        members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                continue
            if name in members:
                raise self.broken(f"it holds {shown(name)!r} twice")
            self._check_member(member, self._where(name))
            members[name] = member
        if len(members) > MOST_MEMBERS:
            raise self.broken(f"it holds {len(members):,} arrays, over {MOST_MEMBERS:,}")
        return members

    def _check_member(self, member: zipfile.ZipInfo, where: str) -> None:
        if member.flag_bits & 1:
            raise CnnvizError(f"{where}: is encrypted", hint="save it without a password")
        # Others unpack a few bytes to gigabytes before anyone can stop them.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CnnvizError(
                f"{where}: is packed in a way NumPy does not use",
                hint="numpy.savez or numpy.savez_compressed write what is read",
            )
        most = MOST_DEFLATED if member.compress_type == zipfile.ZIP_DEFLATED else 1
        if member.file_size > most * member.compress_size:
            raise self.broken(
                f"{shown(member.filename)!r} claims {member.file_size:,} bytes "
                f"in {member.compress_size:,} packed ones"
            )

    def _header(self, name: str) -> NpyHeader:
        """Return what an array says of itself, if its size bears that out."""
        member, where = self._members[name], self._where(name)
        with self._zip.open(member) as stream:
            header = npy_header(stream, where)
            size = member.file_size - stream.tell()
        needed = byte_count(header.shape, header.dtype.itemsize)
        if needed is None:
            raise self.broken(f"{shown(name)!r} has a shape no array can have")
        if needed != size:
            raise self.broken(
                f"{shown(name)!r} {by(header.shape)} of {header.dtype.name} takes {needed:,} "
                f"bytes, and {size:,} follow its header"
            )
        return header

    def _where(self, name: str) -> str:
        return f"{self.path}: {shown(name)}"


def write_npz(file: BinaryIO, params: Params) -> None:
    """Write float32 tensors, sorted by name and without times; the same give the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(params):
            member = zipfile.ZipInfo(f"{name}.npy", EARLIEST)
            member.create_system = 3  # Unix, wherever it is written
            with archive.open(member, "w", force_zip64=True) as stream:
                tensor = np.asarray(params[name], "<f4", order="C")
                np.lib.format.write_array(stream, tensor, version=(1, 0), allow_pickle=False)
