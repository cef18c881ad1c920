"""Bytes -> plain records and arrays: the only file that sees the ``onnx`` package's objects.

What a tensor says of its size is checked against the bytes there are before any is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import CnnvizError
from cnnviz.files.matrices import read_bounded

LARGEST_FILE = (1 << 31) - 1  # what protobuf can hold
LONGEST_TEXT = 200  # of a name from the file, as errors show it

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


class OnnxNode(NamedTuple):
    """One operator: what it is, its name, the tensors it reads and makes, its attributes."""

    operator: str  # with its domain, where that is not ONNX's own
    name: str
    inputs: tuple[str, ...]  # "" where an optional one is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]  # int, float, str, Array, or tuples of them


class OnnxInput(NamedTuple):
    """The image as the model wants it; None for sides of any length."""

    name: str
    shape: tuple[int | None, ...]

    @property
    def text(self) -> str:
        """The shape for a reader."""
        return "×".join("?" if side is None else str(side) for side in self.shape)


class Graph(NamedTuple):
    """A model without its protobuf."""

    opset: int
    input: OnnxInput
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]


def read_model(path: Path) -> Graph:
    """Read and check a model file.

    Raises
    ------
    CnnvizError
        If the ``onnx`` package is missing, or the file is, or it is no model.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise CnnvizError(
            "reading ONNX models needs the onnx package", hint="pip install 'cnnviz[onnx]'"
        ) from None
    with suppress(OSError, ValueError):  # reading says what is wrong with such names
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise CnnvizError("not a file")
    data = read_bounded(path, LARGEST_FILE, "it")
    try:
        model = onnx.ModelProto.FromString(data)
        del data  # the model holds a copy
        return _graph(model, path.parent)
    except DecodeError:
        raise _damaged("it does not parse") from None
    except UnicodeDecodeError:
        raise _damaged("a name in it is not UTF-8") from None


def _damaged(what: str) -> CnnvizError:
    return CnnvizError(
        f"not a readable ONNX model: {what}",
        hint="the file is damaged or of another kind: export or download it again",
    )


def _graph(model: Any, folder: Path) -> Graph:
    graph = model.graph
    if not graph.node:
        raise _damaged("it holds no graph")
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise CnnvizError(f"tensor {shown(tensor.name)} is there twice")
        constants[tensor.name] = read_tensor(tensor, folder)
    if graph.sparse_initializer:
        raise CnnvizError("its weights are sparse", hint="export it with dense weights")
    images = [value for value in graph.input if value.name not in constants]
    if len(images) != 1:
        listed = ", ".join(shown(value.name) for value in images[:6]) or "none"
        raise CnnvizError(f"it has {len(images)} inputs: {listed}", hint="cnnviz feeds one image")
    return Graph(
        opset=opsets[0] if opsets else 1,
        input=_input(images[0]),
        outputs=tuple(value.name for value in graph.output),
        nodes=tuple(_node(node, folder) for node in graph.node),
        constants=constants,
    )


def _input(value: Any) -> OnnxInput:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise CnnvizError(f"the input {shown(value.name)} has no shape", hint="export it with one")
    sides = (side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim)
    return OnnxInput(shown(value.name), tuple(sides))


def _node(node: Any, folder: Path) -> OnnxNode:
    plain = node.domain in ("", "ai.onnx")
    return OnnxNode(
        operator=node.op_type if plain else f"{node.domain}.{node.op_type}",
        name=node.name,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={one.name: _attribute(one, folder) for one in node.attribute},
    )


def _attribute(attribute: Any, folder: Path) -> Any:
    """Return an attribute's value; None for graphs and the like, which no layer takes."""
    read: dict[int, Callable[[], Any]] = {  # by AttributeProto.AttributeType
        1: lambda: float(attribute.f),
        2: lambda: int(attribute.i),
        3: lambda: attribute.s.decode("utf-8", "replace"),
        4: lambda: read_tensor(attribute.t, folder),
        6: lambda: tuple(attribute.floats),
        7: lambda: tuple(attribute.ints),
    }
    return read[attribute.type]() if attribute.type in read else None


def shown(name: str) -> str:
    """Return a name from the file short enough for an error."""
    return name if len(name) <= LONGEST_TEXT else f"{name[:LONGEST_TEXT]}…"


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
        raise CnnvizError(f"tensor {name} has the shape {by(shape)}")
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
            f"tensor {name} is {by(shape)} = {prod(shape):,} values, the file holds {found:,g}",
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


def by(shape: tuple[int, ...]) -> str:
    """Return a shape for a message."""
    return "×".join(map(str, shape)) or "one number"
