"""What weights files have in common: tensors by name, read late and widened to float32."""

from __future__ import annotations

import math
import mmap
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.errors import CnnvizError
from cnnviz.files.matrices import file_error

MOST_AXES = 64  # of a NumPy array
MOST_BYTES = 2**63 - 1  # of one, as its strides are counted
RESERVED = "__metadata__"  # what .safetensors files say of themselves, no tensor


class Kind(NamedTuple):
    """A type of numbers: NumPy's word for it, and how its bytes are read."""

    name: str
    dtype: np.dtype[Any]


KINDS = {
    "F64": Kind("float64", np.dtype("<f8")),
    "F32": Kind("float32", np.dtype("<f4")),
    "F16": Kind("float16", np.dtype("<f2")),
    "BF16": Kind("bfloat16", np.dtype("<u2")),  # the upper half of a float32
    "I64": Kind("int64", np.dtype("<i8")),
    "I32": Kind("int32", np.dtype("<i4")),
    "I16": Kind("int16", np.dtype("<i2")),
    "I8": Kind("int8", np.dtype("i1")),
    "U64": Kind("uint64", np.dtype("<u8")),
    "U32": Kind("uint32", np.dtype("<u4")),
    "U16": Kind("uint16", np.dtype("<u2")),
    "U8": Kind("uint8", np.dtype("u1")),
    "BOOL": Kind("bool", np.dtype("u1")),  # a byte, 0 or 1
}
"""The types that are read, by the names that .safetensors gives them."""


class Stored(NamedTuple):
    """A tensor as a file has it."""

    shape: Shape
    kind: str  # of its numbers, in NumPy's words: float32, bfloat16, int64


class Weights(Mapping[str, Tensor], ABC):
    """The tensors of a file by name, each read when it is asked for and widened to float32.

    Doubles and large integers are rounded to the nearest float32; doubles beyond it become
    infinite.
    """

    path: str
    stored: Mapping[str, Stored]
    note: str = ""  # what was done to the names, if anything

    @property
    def shapes(self) -> dict[str, Shape]:
        """The tensors' shapes by name."""
        return {name: tensor.shape for name, tensor in self.stored.items()}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.stored:
            raise KeyError(name)
        with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinities are values here
            # float32 that lies well in memory is taken as it is: no copy.
            return np.require(self.read(name), np.float32, ["C_CONTIGUOUS", "ALIGNED"])

    def __contains__(self, name: object) -> bool:
        return name in self.stored  # Mapping's own way would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    @abstractmethod
    def read(self, name: str) -> NDArray[Any]:
        """Return a tensor's numbers as they are stored."""

    def broken(self, reason: object) -> CnnvizError:
        """Return the error for a file that is not what its suffix says."""
        suffix = Path(self.path).suffix.lower()
        return CnnvizError(
            f"{self.path} is not a readable {suffix} file: {reason}",
            hint="copy or save it again",
        )


class MappedWeights(Weights):
    """The tensors of a file that is mapped into memory: aligned float32 is not copied."""

    _map: mmap.mmap

    def __init__(self, path: str) -> None:
        """Open a file, and read what it says of its tensors."""
        self.path = path
        check_openable(path)
        try:
            with Path(path).open("rb") as file:
                self.stored = self.find(file)
        except OSError as error:
            raise file_error(path, error) from error

    @abstractmethod
    def find(self, file: BinaryIO) -> Mapping[str, Stored]:
        """Map a file that is open, and return the tensors in it."""

    def map(self, file: BinaryIO) -> None:
        """Map a file, which must not be empty."""
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def numbers(
        self, shape: Shape, kind: Kind, begin: int, strides: Sequence[int] | None = None
    ) -> NDArray[Any]:
        """Return the numbers that lie from a byte of the file on; strides are counted in bytes.

        What lies badly in memory is copied, and the file's own pages are let go.
        """
        if self._map.size() < len(self._map):  # what is gone from a map cannot be touched
            raise self.broken(f"it shrank to {self._map.size():,} bytes since it was opened")
        mapped = np.ndarray(shape, kind.dtype, self._map, begin, strides)
        found = np.require(mapped, requirements=["C_CONTIGUOUS", "ALIGNED"])
        if found is not mapped and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
        if kind.name == "bfloat16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found


def check_openable(path: str) -> None:
    """Raise CnnvizError for what is no file; a pipe would be waited for without end."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise file_error(path, error) from None
    except ValueError:  # a NUL inside the name
        raise CnnvizError(f"{path!r}: not a file name", hint="check the path") from None
    if stat.S_ISDIR(mode):
        raise file_error(path, IsADirectoryError())
    if not stat.S_ISREG(mode):
        raise CnnvizError(f"{path}: is not a regular file", hint="save the weights to a file first")


def byte_count(shape: Shape, itemsize: int) -> int | None:
    """Return how many bytes a tensor takes; None if no array can be so large.

    An empty tensor is held to the same bound, without its axes of 0, for NumPy holds it to it.

    >>> byte_count((2, 3), 4), byte_count((), 8), byte_count((10**10, 10**10, 0), 4)
    (24, 8, None)
    """
    if len(shape) > MOST_AXES or math.prod(max(size, 1) for size in shape) * itemsize > MOST_BYTES:
        return None
    return math.prod(shape) * itemsize


def check_writable(params: Params) -> None:
    """Raise CnnvizError for tensors that would not be read back as they are."""
    for name, tensor in params.items():
        if not name.isprintable() or name in ("", RESERVED):
            raise CnnvizError(
                f"{name!r} cannot name a tensor in a file", hint="choose printable characters"
            )
        if tensor.dtype != np.float32:
            raise CnnvizError(
                f"{name} is {tensor.dtype}, weights are float32",
                hint="convert it: .astype(numpy.float32)",
            )


def shown(name: str, limit: int = 60) -> str:
    """Return a name from a file for a message: a long one loses its middle.

    >>> shown("conv1.weight"), shown("a" * 99, limit=9)
    ('conv1.weight', 'aaaa…aaaa')
    """
    half = (limit - 1) // 2
    return name if len(name) <= limit else f"{name[:half]}…{name[-half:]}"


def by(shape: Shape) -> str:
    """Return a shape for a message.

    >>> by((8, 3, 5, 5)), by((8,)), by(())
    ('(8, 3, 5, 5)', '(8)', '()')
    """
    return shown(f"({', '.join(map(str, shape))})", limit=100)
