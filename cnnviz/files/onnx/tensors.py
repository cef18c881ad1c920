"""Tensors of a model as arrays: sizes are checked against the bytes there are, then read."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import CnnvizError

Array = NDArray[Any]

_TYPES: dict[int, tuple[str, str]] = {  # TensorProto.DataType: dtype, the field that may hold it
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    16: ("<u2", "int32_data"),  # bfloat16, widened below
}
_FLOAT16, _BFLOAT16 = 10, 16
_EXTERNAL = 1  # TensorProto.DataLocation
DEEPEST = 8  # axes of a tensor


def read_tensor(tensor: Any, folder: Path) -> Array:
    """Return a TensorProto's values.

    Parameters
    ----------
    tensor : TensorProto
        As the ``onnx`` package parsed it.
    folder : Path
        Where the model lies: external data must lie there, too.
    """
    name, shape = tensor.name or "a constant", tuple(tensor.dims)
    if tensor.data_type not in _TYPES:
        raise CnnvizError(f"tensor {name} is of type {tensor.data_type}, not of plain numbers")
    if len(shape) > DEEPEST or any(side < 0 for side in shape):
        raise CnnvizError(f"tensor {name} has the shape {_by(shape)}")
    dtype, field = _TYPES[tensor.data_type]
    count = prod(shape)
    if tensor.data_location == _EXTERNAL:
        flat = _external(tensor, np.dtype(dtype), count, folder)
    elif tensor.raw_data:
        data = tensor.raw_data
        _check_count(name, shape, len(data) / np.dtype(dtype).itemsize)
        flat = np.frombuffer(data, dtype)
    else:
        values = getattr(tensor, field)
        _check_count(name, shape, len(values))
        if tensor.data_type == _FLOAT16:  # typed fields hold a half's bits
            flat = np.array(values, np.uint16).view("<f2")
        else:
            flat = np.array(values).astype(dtype)
    if tensor.data_type == _BFLOAT16:
        flat = (flat.astype("<u4") << 16).view("<f4")
    return flat.reshape(shape)


def _check_count(name: str, shape: tuple[int, ...], found: float) -> None:
    if prod(shape) != found:
        raise CnnvizError(
            f"tensor {name} is {_by(shape)} = {prod(shape):,} values, the file holds {found:,g}",
            hint="the file is damaged: export or download it again",
        )


def _external(tensor: Any, dtype: np.dtype[Any], count: int, folder: Path) -> Array:
    """Map the values from a file beside the model: never from anywhere else."""
    name = tensor.name or "a constant"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    place = folder / location
    hint = "external data must lie beside the model"
    if not location or "\0" in location or Path(location).is_absolute() or "\\" in location:
        raise CnnvizError(f"tensor {name} wants its values from {location!r}", hint=hint)
    if ".." in Path(location).parts or not place.resolve().is_relative_to(folder.resolve()):
        raise CnnvizError(f"tensor {name} wants its values from {location!r}", hint=hint)
    if not place.is_file():
        raise CnnvizError(f"{place} does not exist: tensor {name} is in it", hint=hint)
    numbers = (entries.get("offset", "0"), entries.get("length", str(count * dtype.itemsize)))
    if not all(one.isascii() and one.isdecimal() and len(one) < 19 for one in numbers):
        raise CnnvizError(f"tensor {name} lies at {numbers[0]!r}, {numbers[1]!r} bytes")
    offset, length = map(int, numbers)
    size = place.stat().st_size
    if length != count * dtype.itemsize or offset + length > size:
        raise CnnvizError(
            f"tensor {name} needs {count * dtype.itemsize:,} bytes, {place} has {length:,} from "
            f"{offset:,} of {size:,}"
        )
    if not count:
        return np.empty(0, dtype)
    return np.memmap(place, np.uint8, "r", offset, (length,)).view(dtype)


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one number"
