"""Broken models into the ONNX reader: ``python -m tests.fuzz.onnx_models --count 10000``.

Valid models are changed byte by byte and field by field. A reader may build a pipeline of what is
left, or raise CnnvizError; anything else, and whatever takes long or much memory, is told.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnnviz.errors import CnnvizError
from cnnviz.files.onnx import load_onnx
from cnnviz.files.onnx.folding import FOLDS
from cnnviz.files.onnx.model import OPERATORS

SLOW = 1.0  # seconds
HUGE = [0, -1, 1, 2, 3, 7, 255, 65536, 10**6, 10**9, 2**31, 2**62, -(2**63), 2**63 - 1]
NAMES = ["", "x", "input", "../../etc/passwd", "/a/b", "é", "a" * 5000, "\0", "w0", "..", "-", "1"]
FLOATS = [0.0, -1.0, 1e38, -1e38, float("inf"), float("nan"), 1e-45, 0.5]


def model_of(nodes, constants, shape=(1, 3, 12, 12), opset=17, output="y"):
    """Build a model of nodes, (operator, inputs, outputs, attributes), and arrays by name."""
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, name=f"{op}/{i}", **attributes)
         for i, (op, ins, outs, attributes) in enumerate(nodes)],
        "fuzzed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def weights(*shape):
    """Draw a weight."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def integers(*values):
    """Return whole numbers as shapes and axes come."""
    return np.array(values, np.int64)


def seeds() -> list[onnx.ModelProto]:
    """Return valid models that between them use most of the reader."""
    return [
        model_of(
            [
                ("Conv", ["x", "w0", "b0"], ["a"], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
                ("BatchNormalization", ["a", "b0", "b0", "b0", "b0"], ["n"], {"epsilon": 1e-3}),
                ("Relu", ["n"], ["b"], {}),
                ("MaxPool", ["b"], ["c"], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
                ("AveragePool", ["c"], ["d"], {"kernel_shape": [2, 2], "ceil_mode": 1}),
                ("Shape", ["d"], ["s"], {}),
                ("Gather", ["s", "zero"], ["s0"], {"axis": 0}),
                ("Unsqueeze", ["s0", "first"], ["s1"], {}),
                ("Concat", ["s1", "minus"], ["s2"], {"axis": 0}),
                ("Reshape", ["d", "s2"], ["e"], {}),
                ("Gemm", ["e", "w1", "b1"], ["f"], {"transB": 1, "alpha": 0.5}),
                ("Softmax", ["f"], ["y"], {"axis": -1}),
            ],
            {"w0": weights(4, 3, 3, 3), "b0": np.abs(weights(4)), "w1": weights(5, 100),
             "b1": weights(5), "zero": np.array(0), "first": integers(0), "minus": integers(-1)},
        ),
        model_of(
            [
                ("ConvTranspose", ["x", "w0"], ["a"], {"output_shape": [9, 9], "strides": [1, 1]}),
                ("Resize", ["a", "", "scales"], ["b"], {"mode": "linear"}),
                ("Pad", ["b", "pads", "fill"], ["c"], {"mode": "constant"}),
                ("Split", ["c", "parts"], ["d", "e"], {"axis": 1}),
                ("Mul", ["d", "e"], ["f"], {}),
                ("Slice", ["f", "first", "ends", "axes", "steps"], ["g"], {}),
                ("Transpose", ["g"], ["h"], {"perm": [0, 2, 3, 1]}),
                ("ReduceMean", ["h"], ["i"], {"axes": [1, 2], "keepdims": 0}),
                ("Div", ["i", "half"], ["j"], {}),
                ("Sub", ["half", "j"], ["y"], {}),
            ],
            {"w0": weights(3, 4, 3, 3), "scales": np.array([1, 1, 0.5, 2], np.float32),
             "pads": integers(0, 0, 1, 1, 0, 0, 2, 2), "fill": np.array(0.5, np.float32),
             "parts": integers(2, 2), "first": integers(1), "ends": integers(9),
             "axes": integers(2), "steps": integers(2), "half": np.array(0.5, np.float32)},
        ),
        model_of(
            [
                ("ConstantOfShape", ["shape"], ["z"], {"value": numpy_helper.from_array(
                    np.ones(1, np.float32))}),
                ("Expand", ["z", "shape"], ["w"], {}),
                ("Range", ["zero", "three", "one"], ["r"], {}),
                ("Cast", ["r"], ["q"], {"to": 1}),
                ("Add", ["x", "w"], ["a"], {}),
                ("Constant", [], ["k"], {"value_floats": [0.0, 6.0]}),
                ("Clip", ["a", "low", "high"], ["b"], {}),
                ("Reshape", ["b", "groups"], ["c"], {}),
                ("Transpose", ["c"], ["d"], {"perm": [0, 2, 1, 3, 4]}),
                ("Flatten", ["d"], ["e"], {}),
                ("MatMul", ["e", "w1"], ["f"], {}),
                ("Gelu", ["f"], ["y"], {}),
            ],
            {"shape": integers(1, 4, 1, 1), "zero": np.array(0), "three": np.array(3),
             "one": np.array(1), "low": np.array(0, np.float32), "high": np.array(6, np.float32),
             "groups": integers(1, 2, 2, 6, 6), "w1": weights(144, 3)},
            shape=("n", 4, 6, 6), opset=20,
        ),
    ]  # fmt: skip


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, repeat and insert bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                del changed[at : at + rng.randrange(1, 9)]
            case _:
                changed[at:at] = changed[at : at + rng.randrange(1, 99)]
        if not changed:
            break
    return bytes(changed)


def change_fields(rng: random.Random, model: onnx.ModelProto) -> None:
    """Give some fields values that are legal protobuf and no sense."""
    graph = model.graph
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice(CHANGES)(rng, model, graph)


def _attribute(rng, _, graph):
    node = rng.choice(graph.node)
    if not node.attribute:
        return
    one = rng.choice(node.attribute)
    if one.ints:
        one.ints[rng.randrange(len(one.ints))] = rng.choice(HUGE)
        if rng.random() < 0.3:
            one.ints.append(rng.choice(HUGE))
    elif one.type == onnx.AttributeProto.INT:
        one.i = rng.choice(HUGE)
    elif one.type == onnx.AttributeProto.FLOAT:
        one.f = rng.choice(FLOATS)
    else:
        one.type = rng.randrange(0, 15)


def _wiring(rng, _, graph):
    node = rng.choice(graph.node)
    known = [*(o for n in graph.node for o in n.output), *(t.name for t in graph.initializer)]
    names = rng.choice([node.input, node.output])
    if names and rng.random() < 0.8:
        names[rng.randrange(len(names))] = rng.choice([*known, *NAMES[:3], "\0"])
    elif rng.random() < 0.5:
        names.append(rng.choice(known))
    else:
        del names[rng.randrange(len(names) + 1) :]


def _operator(rng, _, graph):
    node = rng.choice(graph.node)
    node.op_type = rng.choice([*OPERATORS, *FOLDS, "Loop", "", "É" * 99])
    if rng.random() < 0.1:
        node.domain = rng.choice(NAMES)


def _dims(rng, _, graph):
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    match rng.randrange(4):
        case 0 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(HUGE)
        case 1:
            tensor.dims.append(rng.choice(HUGE))
        case 2:
            tensor.data_type = rng.randrange(0, 25)
        case _:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]


def _values(rng, _, graph):
    """Change numbers of a constant: shapes, pads, axes."""
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    try:
        array = numpy_helper.to_array(tensor).copy()
    except Exception:  # noqa: BLE001 - already damaged
        return
    if array.size and array.dtype.kind in "if":
        flat = array.reshape(-1)
        flat[rng.randrange(flat.size)] = rng.choice(HUGE if array.dtype.kind == "i" else FLOATS)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _external(rng, _, graph):
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    tensor.data_location = TensorProto.EXTERNAL
    places = ["../secret", "/etc/passwd", "model.onnx", "link", ".", "", "nothing", "a/../../b"]
    for key, values in (
        ("location", places), ("offset", ["0", "-1", "9" * 30, "x", "4"]),
        ("length", ["0", "16", "99999999999", "-4"]),
    ):  # fmt: skip
        tensor.external_data.add(key=key, value=rng.choice(values))


def _names(rng, _, graph):
    rng.choice(graph.node).name = rng.choice(NAMES)
    if graph.initializer and rng.random() < 0.2:
        rng.choice(graph.initializer).name = rng.choice(NAMES)


def _shape(rng, _, graph):
    if not graph.input:
        return
    sides = graph.input[0].type.tensor_type.shape.dim
    if sides:
        side = rng.choice(sides)
        if rng.random() < 0.3:
            side.dim_param = rng.choice(NAMES[1:4])
        else:
            side.dim_value = rng.choice(HUGE)
    if rng.random() < 0.2:
        sides.add().dim_value = rng.choice(HUGE)


def _order(rng, model, graph):
    match rng.randrange(5):
        case 0:
            graph.node.add().CopyFrom(rng.choice(graph.node))
        case 1 if len(graph.node) > 1:
            del graph.node[rng.randrange(len(graph.node))]
        case 2 if model.opset_import:
            model.opset_import[0].version = rng.choice([1, 5, 6, 7, 9, 10, 11, 13, 18, *HUGE])
        case 3 if graph.output:
            graph.output[0].name = rng.choice([*NAMES, *(o for n in graph.node for o in n.output)])
        case _:
            if graph.initializer:
                graph.initializer.add().CopyFrom(rng.choice(graph.initializer))


CHANGES: tuple[Callable[..., None], ...] = (
    _attribute, _attribute, _wiring, _operator, _dims, _values, _values, _external, _names, _shape,
    _order,
)  # fmt: skip


def try_one(path: Path) -> str:
    """Read a model and promise its shapes; tell how it ended."""
    try:
        read = load_onnx(str(path))
        side = read.size or (64, 64)
        shape = (read.channels or 144, *side) if read.channels else (144, 1, 1)
        list(read.pipeline.rows(shape, read.params))
    except CnnvizError as error:
        if not error.message or len(str(error)) > 20_000:
            raise AssertionError(f"an error of {len(str(error))} letters") from error
        return "refused"
    return "read"


def main() -> int:
    """Fuzz and print what was found; 1 if anything but CnnvizError came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, models = random.Random(options.seed), seeds()  # noqa: S311 - not for secrets
    counts, found, slowest = Counter[str](), dict[str, int](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        (Path(folder) / "link").symlink_to("/etc/passwd")
        for number in range(options.count):
            model = onnx.ModelProto()
            model.CopyFrom(rng.choice(models))
            if number % 2:
                change_fields(rng, model)
            data = model.SerializeToString()
            path.write_bytes(data if number % 2 else change_bytes(rng, data))
            started = time.perf_counter()
            try:
                counts[try_one(path)] += 1
            except Exception:  # noqa: BLE001 - what this is looking for
                counts["broken"] += 1
                told = traceback.format_exc()
                found.setdefault(told, number)
            seconds = time.perf_counter() - started
            slowest = max(slowest, seconds)
            if seconds > SLOW:
                found.setdefault(f"slow: {seconds:.1f} s", number)
    for told, number in found.items():
        sys.stdout.write(f"input {number}: {told}\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{options.count:,} inputs, {dict(counts)}, slowest {slowest:.2f} s, ")
    sys.stdout.write(f"peak {peak:.0f} MiB\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
