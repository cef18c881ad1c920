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
from cnnviz.files.onnx.modules import named_by_modules

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
_LARGEST = {2: 255.0, 3: 255.0, 4: 65535.0, 5: 255.0, 6: 255.0, 7: 255.0, 12: 255.0, 13: 255.0}
"""What samples go up to, where the input is of whole numbers: 65535 for 16 bits, else 255."""
_FLOAT16, _BFLOAT16, _STRING = 10, 16, 8
_EXTERNAL = 1  # TensorProto.DataLocation
DEEPEST = 8  # axes of a tensor
MOST_NODES = 100_000  # of a model whose functions are written out


class OnnxNode(NamedTuple):
    """One operator: what it is, its name, the tensors it reads and makes, its attributes."""

    operator: str  # with its domain, where that is not ONNX's own
    name: str
    inputs: tuple[str, ...]  # "" where an optional one is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]  # int, float, str, Array, or tuples of them


class Reference(NamedTuple):
    """An attribute of a function's node that is the call's, of this name."""

    name: str


class Branch(NamedTuple):
    """A graph within a node, as If has two."""

    nodes: tuple[OnnxNode, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]


class OnnxInput(NamedTuple):
    """The image as the model wants it; None for sides of any length."""

    name: str
    shape: tuple[int | None, ...]
    largest: float | None = None  # of stored samples, if whole numbers are wanted

    @property
    def label(self) -> str:
        """Its name, short enough for an error."""
        return shown(self.name)

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
    nodes = named_by_modules([_node(node, folder) for node in graph.node], graph.node)
    if model.functions:
        nodes = _inlined(nodes, _functions(model, folder))
    if len(images) != 1:
        listed = ", ".join(shown(value.name) for value in images[:6]) or "none"
        raise CnnvizError(f"it has {len(images)} inputs: {listed}", hint="cnnviz feeds one image")
    return Graph(
        opset=opsets[0] if opsets else 1,
        input=_input(images[0]),
        outputs=tuple(value.name for value in graph.output),
        nodes=tuple(nodes),
        constants=constants,
    )


def _functions(model: Any, folder: Path) -> dict[str, _Function]:
    """Return the functions that a model brings along, by domain and name."""
    return {
        f"{one.domain}.{one.name}" if one.domain not in ("", "ai.onnx") else one.name: _Function(
            tuple(one.input), tuple(one.output), [_node(node, folder) for node in one.node]
        )
        for one in model.functions
    }


class _Function(NamedTuple):
    """Nodes that a node of the function's name stands for."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: list[OnnxNode]


def _inlined(nodes: list[OnnxNode], functions: Mapping[str, _Function]) -> list[OnnxNode]:
    """Return nodes with those of functions in place of their calls."""
    done, waiting = list[OnnxNode](), nodes[::-1]
    while waiting:
        node = waiting.pop()
        function = functions.get(node.operator)
        if function is None:
            done.append(node)
        else:
            waiting += _called(node, function)[::-1]
        if len(done) + len(waiting) > MOST_NODES:
            raise CnnvizError(f"its functions come to more than {MOST_NODES:,} nodes")
    return done


def _called(call: OnnxNode, function: _Function) -> list[OnnxNode]:
    """Return a function's nodes, its tensors renamed for one call."""
    if len(call.name) > LONGEST_TEXT:
        raise CnnvizError(f"the functions of node {shown(call.name)} call one another too deep")
    label = call.name or (call.outputs[0] if call.outputs else call.operator)
    names = dict(zip(function.inputs, call.inputs, strict=False))
    names |= dict.fromkeys(function.inputs[len(call.inputs) :], "")
    names |= dict(zip(function.outputs, call.outputs, strict=False)) | {"": ""}

    def inner(tensors: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(tensor, f"{label}/{tensor}") for tensor in tensors)

    return [
        node._replace(
            name=f"{label}/{node.name or node.operator}",
            inputs=inner(node.inputs),
            outputs=inner(node.outputs),
            attributes={
                key: call.attributes.get(value.name) if isinstance(value, Reference) else value
                for key, value in node.attributes.items()
            },
        )
        for node in function.nodes
    ]


def _input(value: Any) -> OnnxInput:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise CnnvizError(f"the input {shown(value.name)} has no shape", hint="export it with one")
    sides = (  # −1 is how PaddlePaddle writes an open side
        side.dim_value if side.HasField("dim_value") and side.dim_value != -1 else None
        for side in tensor.shape.dim
    )
    return OnnxInput(value.name, tuple(sides), _LARGEST.get(tensor.elem_type))


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
    """Return an attribute's value; None for lists of graphs and the like, which no layer takes."""
    if attribute.ref_attr_name:
        return Reference(attribute.ref_attr_name)
    read: dict[int, Callable[[], Any]] = {  # by AttributeProto.AttributeType
        1: lambda: float(attribute.f),
        2: lambda: int(attribute.i),
        3: lambda: attribute.s.decode("utf-8", "replace"),
        4: lambda: read_tensor(attribute.t, folder),
        5: lambda: _branch(attribute.g, folder),
        6: lambda: tuple(attribute.floats),
        7: lambda: tuple(attribute.ints),
    }
    return read[attribute.type]() if attribute.type in read else None


def _branch(graph: Any, folder: Path) -> Branch:
    return Branch(
        tuple(_node(node, folder) for node in graph.node),
        tuple(value.name for value in graph.output),
        {tensor.name: read_tensor(tensor, folder) for tensor in graph.initializer},
    )


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
    if tensor.data_type == _STRING:  # labels: of no use to layers, but no reason to refuse
        return np.array([text.decode("utf-8", "replace")[:LONGEST_TEXT]
                         for text in tensor.string_data], dtype="U")  # fmt: skip
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
