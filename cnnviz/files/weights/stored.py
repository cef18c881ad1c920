"""What weights files have in common: tensors by name, read late and widened to float32."""

from __future__ import annotations

import math
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.errors import CnnvizError
from cnnviz.files.matrices import file_error

MOST_AXES = 64  # of a NumPy array
MOST_BYTES = 2**63 - 1  # of one, as its strides are counted
RESERVED = "__metadata__"  # what .safetensors files say of themselves, no tensor


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
