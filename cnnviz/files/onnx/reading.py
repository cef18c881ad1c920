"""Bytes -> plain records: the only file that sees the ``onnx`` package's objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.tensors import Array, read_tensor

LARGEST_FILE = (1 << 31) - 1  # what protobuf can hold
LONGEST_TEXT = 200  # of a name from the file, as errors show it


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
    data = _bytes(path)
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


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CnnvizError("not a file")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise CnnvizError("it does not exist", hint="check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CnnvizError(f"it cannot be read: {reason}") from None
    if len(data) > LARGEST_FILE:
        raise CnnvizError(f"it is larger than {LARGEST_FILE:,} bytes")
    return data


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
        told = ", ".join(shown(value.name) for value in images[:6]) or "none"
        raise CnnvizError(f"it has {len(images)} inputs: {told}", hint="cnnviz feeds one image")
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
