"""Files as PyTorch writes them, and as it would not, written without it."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STORAGES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "int32": "Int",
    "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."


@dataclass(frozen=True)
class Name:
    """A global of another program."""

    name: str


@dataclass(frozen=True)
class Call:
    """What a function returns."""

    function: Name
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """A storage, as PyTorch tells it by a persistent id."""

    identity: tuple[Any, ...]


def dumped(value: Any) -> bytes:
    """Return a pickle of protocol 2; bytes are instructions that push something."""
    return b"\x80\x02" + _written(value) + b"."


def _written(value: Any) -> bytes:
    return value if isinstance(value, bytes) else _WRITTEN[type(value)](value)


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _all(values: Iterable[Any]) -> bytes:
    return b"".join(map(_written, values))


_WRITTEN = {
    type(None): lambda _: b"N",
    bool: lambda value: b"\x88" if value else b"\x89",
    int: _number,
    float: lambda value: b"G" + struct.pack(">d", value),
    str: _text,
    tuple: lambda value: b"(" + _all(value) + b"t",
    list: lambda value: b"](" + _all(value) + b"e",
    dict: lambda value: b"}(" + _all(part for pair in value.items() for part in pair) + b"u",
    Name: lambda value: "c{0}\n{2}\n".format(*value.name.rpartition(".")).encode(),
    Call: lambda value: _all((value.function, value.arguments)) + b"R",
    Place: lambda value: _written(value.identity) + b"Q",
}


def tensor(
    shape: Sequence[int],
    key: str = "0",
    *,
    strides: Sequence[Any] | None = None,
    offset: Any = 0,
    count: Any = None,
    kind: str = "Float",
    view: tuple[Any, ...] = (),
) -> Call:
    """Return a tensor of a storage, rows first unless `strides` tell otherwise."""
    if strides is None:
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    total = int(np.prod(shape)) if count is None else count
    place = Place(("storage", Name(f"torch.{kind}Storage"), key, "cpu", total, *view))
    hooks = Call(Name("collections.OrderedDict"), ())
    arguments = (place, offset, tuple(shape), tuple(strides), False, hooks)
    return Call(Name("torch._utils._rebuild_tensor_v2"), arguments)


def archive(pickle: bytes, storages: Mapping[str, bytes], **more: bytes) -> bytes:
    """Return a file of the zip form; dots in the names of `more` are underscores."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("net/data.pkl", pickle)
        file.writestr("net/version", "3\n")
        for name, data in more.items():
            file.writestr(f"net/{name.replace('_', '.')}", data)
        for key, data in storages.items():
            file.writestr(f"net/data/{key}", data)
    return buffer.getvalue()


def older(pickle: bytes, storages: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Return a file of the older form: of each storage a count and its bytes."""
    parts = [struct.pack("<q", count) + data for count, data in storages.values()]
    return MAGIC + dumped({}) + pickle + dumped(list(storages)) + b"".join(parts)


def saved(arrays: Mapping[str, np.ndarray], *, old: bool = False) -> bytes:
    """Return a state dict's file, of either form."""
    state = {
        name: tensor(
            array.shape, str(index), kind=STORAGES[array.dtype.name], view=(None,) if old else ()
        )
        for index, (name, array) in enumerate(arrays.items())
    }
    numbers = {str(index): array for index, array in enumerate(arrays.values())}
    if old:
        counted = {key: (array.size, array.tobytes()) for key, array in numbers.items()}
        return older(dumped(state), counted)
    return archive(dumped(state), {key: array.tobytes() for key, array in numbers.items()})
