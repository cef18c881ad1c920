"""PyTorch's own files, read without PyTorch: what ``torch.save`` writes, in its two forms.

::

    a zip archive                              the older form, until PyTorch 1.5
    NAME/data.pkl    the pickle                the pickles of a magic number, a version, the
    NAME/byteorder   little or big             machine's sizes, the object, the storages' keys;
    NAME/data/KEY    each storage's numbers    then of each storage a count and the numbers

Tensors are views of storages, which several of them may share. `unpickling` reads the pickles.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from math import prod
from typing import Any, BinaryIO, Literal, NamedTuple

from numpy.typing import NDArray

from cnnviz.errors import CnnvizError
from cnnviz.files.weights.archive import UNREADABLE, Archive, told
from cnnviz.files.weights.stored import (
    MappedWeights,
    Stored,
    by,
    byte_count,
    shown,
)
from cnnviz.files.weights.unpickling import (
    NewerProtocolError,
    Storage,
    Strided,
    UnknownGlobalError,
    tensors,
    unpickle,
)

PICKLE_LIMIT = 4 * 2**20
"""Bytes of pickles: those of 14,000 tensors."""
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the older form
TAR = slice(257, 262)  # where an archive of the oldest form says what it is
COUNT_BYTES = 8
HEAD_BYTES = 30  # of what stands before a member of a zip archive, besides its name and more
CONVERSIONS = (
    ("q(u?int|tensor)", "quantized tensors", "dequantize"),
    ("sparse", "sparse tensors", "to_dense"),
    ("float[48]", "floats of less than 16 bits", "float"),
)
"""Tensors that are not read: words in their pickles, what they are, and how PyTorch widens them."""


class Place(NamedTuple):
    """Where a storage lies in the file, in bytes."""

    begin: int
    size: int


class PytorchWeights(MappedWeights):
    """The tensors of a .pth or .pt file."""

    def find(self, file: BinaryIO) -> Mapping[str, Stored]:
        """Map the file, read its pickles, and check where its tensors lie."""
        start = file.read(TAR.stop)
        if not start:
            raise self.broken("it is empty")
        self.map(file)
        self._tensors = self._read(start)
        for name, tensor in self._tensors.items():
            self._check(shown(name), tensor)
        return {
            name: Stored(tensor.shape, tensor.kind.name) for name, tensor in self._tensors.items()
        }

    def read(self, name: str) -> NDArray[Any]:
        """Return a tensor's numbers, where they lie in the file."""
        tensor = self._tensors[name]
        kind = tensor.kind._replace(dtype=tensor.kind.dtype.newbyteorder(self._order))
        item = kind.dtype.itemsize
        strides = [
            item * stride * (size > 1)  # others are never taken, and may be anything
            for size, stride in zip(tensor.shape, tensor.strides, strict=True)
        ]
        begin = self._places[tensor.storage.key].begin + item * tensor.offset
        return self.numbers(tensor.shape, kind, begin if prod(tensor.shape) else 0, strides)

    def _read(self, start: bytes) -> dict[str, Strided]:
        """Read the pickles, and find the storages."""
        self._order: Literal["<", ">"] = "<"
        self._places = dict[str, Place]()
        try:
            if start.startswith(b"PK"):
                with Archive(io.FileIO(self.path)) as file, zipfile.ZipFile(file) as archive:
                    return self._read_archive({one.filename: one for one in archive.infolist()})
            if start[TAR] == b"ustar":
                raise self._resave(
                    "is a tar archive, as PyTorch wrote them until 0.1.10",
                    self._load(", weights_only=False"),
                    "if you trust it, ",
                )
            if not start.startswith(b"\x80"):
                raise self.broken("it does not begin as torch.save has files begin")
            return self._read_older()
        except UnknownGlobalError as error:
            raise self._refused(error) from None
        except NewerProtocolError as error:
            raise self._resave(f"is of the newer protocol {error}", self._load()) from None
        except UNREADABLE as error:
            raise self.broken(told(error)) from None
        except TypeError:
            raise self.broken("its pickle makes no sense") from None

    # --- the two forms ---------------------------------------------------------------------

    def _read_archive(self, members: Mapping[str, zipfile.ZipInfo]) -> dict[str, Strided]:
        folders = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
        folder = min(folders, key=len, default=None)
        if folder is None:
            raise self.broken("it is a zip archive without data.pkl")
        if f"{folder}constants.pkl" in members:
            raise self._resave(
                "is a TorchScript program, not a state dict",
                f"torch.jit.load({self.path!r}).state_dict()",
            )
        if (order := members.get(f"{folder}byteorder")) is not None:
            begin, size = self._place(order)
            self._order = ">" if self._map[begin : begin + size] == b"big" else "<"
        begin, size = self._place(members[f"{folder}data.pkl"])
        if size > PICKLE_LIMIT:
            raise self.broken(f"its pickle of {size:,} bytes is over {PICKLE_LIMIT:,}")
        found = tensors(unpickle(io.BytesIO(self._map[begin : begin + size])))
        for key in {tensor.storage.key for tensor in found.values()}:
            if (member := members.get(f"{folder}data/{key}")) is not None:
                self._places[key] = self._place(member)
        return found

    def _place(self, member: zipfile.ZipInfo) -> Place:
        """Return where a member's bytes lie: behind a header of its own, which says how long."""
        name = shown(member.filename)
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise self._resave(f"has {name!r} packed or encrypted", self._load())
        at = member.header_offset
        head = self._map[at : at + HEAD_BYTES]
        begin = at + HEAD_BYTES + sum(int.from_bytes(head[i : i + 2], "little") for i in (26, 28))
        if not head.startswith(b"PK\3\4") or begin + member.file_size > len(self._map):
            raise self.broken(f"{name!r} is not where the archive says")
        return Place(begin, member.file_size)

    def _read_older(self) -> dict[str, Strided]:
        file, storages = io.BytesIO(self._map[:PICKLE_LIMIT]), dict[str, Storage]()
        if unpickle(file) != MAGIC:
            raise self.broken("it is a pickle, and not one that torch.save writes")
        # What pickles hold is not written or hashed before its type is known: it may take ages.
        if not isinstance(version := unpickle(file), int):
            raise TypeError
        if version != VERSION:
            raise NewerProtocolError(f"{version}")
        unpickle(file)  # the sizes of numbers on the machine that wrote it
        try:
            found, keys = tensors(unpickle(file, storages)), unpickle(file)
        except ValueError as error:
            if file.tell() == PICKLE_LIMIT < len(self._map):
                raise ValueError(f"its pickles are over {PICKLE_LIMIT:,} bytes") from error
            raise
        begin = file.tell()
        for key in keys:
            storage = storages.get(key) if isinstance(key, str) else None
            if storage is None:
                raise TypeError
            begin += COUNT_BYTES
            count = int.from_bytes(self._map[begin - COUNT_BYTES : begin], "little")
            self._places[key] = Place(begin, count * storage.kind.dtype.itemsize)
            begin += self._places[key].size
            if begin > len(self._map):
                raise self.broken(f"it ends after {len(self._map):,} of {begin:,} bytes or more")
        return found

    # --- what cannot be read ---------------------------------------------------------------

    def _check(self, name: str, tensor: Strided) -> None:
        """Check that a tensor lies in its storage, that in the file, and that memory can take it.

        One whose strides are 0 may be larger than its storage, but not than the file.
        """
        needed = byte_count(tensor.shape, tensor.kind.dtype.itemsize)
        if needed is None or needed > len(self._map):
            raise self.broken(f"{name!r} {by(tensor.shape)} is larger than the file")
        place = self._places.get(tensor.storage.key)
        if place is None or place.size < tensor.storage.nbytes:
            raise self.broken(f"the storage of {name!r} is missing or too short")
        steps = zip(tensor.shape, tensor.strides, strict=True)
        last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
        if needed and (last + 1) * tensor.kind.dtype.itemsize > tensor.storage.nbytes:
            raise self.broken(f"{name!r} {by(tensor.shape)} reaches beyond its storage")

    def _refused(self, error: UnknownGlobalError) -> CnnvizError:
        """Return the error for what is no tensor of numbers, no plain container and no number."""
        name = shown(error.name)
        for words, what, method in CONVERSIONS:
            if re.search(words, error.name, re.IGNORECASE):
                return self._resave(
                    f"holds {what} ({name})",
                    f"{{n: t.{method}() for n, t in {self._load()}.items() if torch.is_tensor(t)}}",
                )
        trusted = self._load(", weights_only=False")
        if error.whole:
            what, wanted = f"is a pickled {name}, not a state dict", f"{trusted}.state_dict()"
        else:
            what = f"holds {name}: only tensors, dicts, lists and numbers are read"
            wanted = f"{trusted}['state_dict']"
        return self._resave(what, wanted, "nothing in it was run; if you trust it, ")

    def _load(self, options: str = "") -> str:
        return f"torch.load({self.path!r}{options})"

    def _resave(self, what: str, wanted: str, before: str = "") -> CnnvizError:
        """Return the error for a file that PyTorch can make another one of."""
        return CnnvizError(
            f"{self.path} {what}",
            hint=f"{before}in PyTorch: torch.save({wanted}, 'weights.pth')",
        )
