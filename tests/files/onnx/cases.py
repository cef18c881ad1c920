"""ONNX's own backend cases, run sample by sample: ``python -m tests.files.onnx.cases`` tells all.

The wheel of onnx 1.22.0 carries them (later ones lack the folder ``node``); CNNVIZ_ONNX_CASES may
name a folder that holds them, unpacked.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from cnnviz.errors import CnnvizError
from cnnviz.files.onnx import load_onnx
from cnnviz.files.onnx.model import OPERATORS

FOLDERS = ("node", "simple", "pytorch-operator", "pytorch-converted")
# Operators whose inputs are all tensors of the network: run as such, and as constants.
MERGING = {"Add", "Sub", "Mul", "Div", "Concat", "Sum", "Max", "Min", "Mean"}
MOVING = {"Pad", "MaxPool", "Transpose", "Reshape"}  # which whole numbers pass unchanged
BESIDE = {
    "MaxPool",
    "Dropout",
    "BatchNormalization",
    "LayerNormalization",
}  # whose further outputs are not maps
OF_CONSTANTS = {"Constant", "ConstantOfShape", "Shape", "Size", "Range"}


# Cases whose expected values are not followed, and why.
DISAGREEMENTS = {
    f"node/resize_downsample_scales_{mode}_align_corners": "for a scale, x·(n−1)/(scale·n−1) is "
    "expected, with an output of broken length; PyTorch and ONNX Runtime take the output's size"
    for mode in ("linear", "cubic")
}


class Outcome(NamedTuple):
    """How a case went: ``passed``, ``not applicable`` or ``failed``, and why."""

    case: str
    how: str
    why: str = ""


def cases_folder() -> Path | None:
    """Return where the cases lie, or None if there are none."""
    given = os.environ.get("CNNVIZ_ONNX_CASES")
    folder = Path(given) if given else Path(onnx.__file__).parent / "backend" / "test" / "data"
    return folder if (folder / "node").is_dir() else None


def cases() -> Iterator[Path]:
    """Yield every case of the operators that can be read."""
    root = cases_folder()
    if root is None:
        return
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*/model.onnx")):
            model = onnx.load(path, load_external_data=False)
            used = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
            if used - OF_CONSTANTS and used - OF_CONSTANTS <= set(OPERATORS):
                yield path.parent


def read_tensors(folder: Path, kind: str) -> list[np.ndarray]:
    """Return a data set's inputs or outputs, in order."""
    count = len(list(folder.glob(f"{kind}_*.pb")))
    tensors = []
    for number in range(count):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{number}.pb").read_bytes())
        tensors.append(numpy_helper.to_array(tensor))
    return tensors


def one_sample(model, inputs, sample, *, stacked):
    """Return a model of batch 1 and its image: the other inputs are constants, or stacked."""
    own = onnx.ModelProto()
    own.CopyFrom(model)
    graph = own.graph
    fixed = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in fixed]
    batch = inputs[0].shape[0]
    parts = [
        array[sample : sample + 1]
        if array.ndim == inputs[0].ndim and array.shape[0] == batch
        else array
        for array in inputs
    ]
    if model.graph.node[0].op_type == "Reshape" and parts[1:] and parts[1][:1] == batch:
        parts[1] = np.array([1, *parts[1][1:]])
    others = list(zip(values, parts, strict=True))
    del graph.input[:]
    if stacked:
        flat = np.concatenate([part.reshape(-1) for part in parts])
        ends = np.cumsum([part.size for part in parts])
        own_nodes = list(graph.node)
        del graph.node[:]
        for (value, part), end in zip(others, ends, strict=True):
            name, at = value.name, f"{value.name}_part"
            graph.initializer.extend(
                numpy_helper.from_array(np.array(numbers, np.int64), f"{name}_{what}")
                for what, numbers in (
                    ("start", [end - part.size]), ("end", [end]), ("axis", [1]),
                    ("shape", part.shape),
                )
            )  # fmt: skip
            graph.node.add(
                op_type="Slice", output=[at],
                input=["stack", f"{name}_start", f"{name}_end", f"{name}_axis"],
            )  # fmt: skip
            graph.node.add(op_type="Reshape", input=[at, f"{name}_shape"], output=[name])
        graph.node.extend(own_nodes)
        graph.input.append(
            onnx.helper.make_tensor_value_info("stack", onnx.TensorProto.FLOAT, [1, flat.size])
        )
        return own, flat.reshape(-1, 1, 1)
    image = parts[0]
    kind = onnx.TensorProto.FLOAT
    graph.input.append(onnx.helper.make_tensor_value_info(others[0][0].name, kind, image.shape))
    for value, part in others[1:]:
        graph.initializer.append(numpy_helper.from_array(part, value.name))
    return own, image


def as_maps(image):
    """Return a (1, …) sample as the pipeline's (C, H, W)."""
    if image.ndim == 2:
        return image.reshape(-1, 1, 1)
    return image[0] if image.ndim == 4 else image[0][:, None] if image.ndim == 3 else image


def run_case(case: Path, scratch: Path) -> Outcome:
    """Run one case, as constants and as stages where both make sense."""
    name = f"{case.parent.name}/{case.name.removeprefix('test_')}"
    model = onnx.load(case / "model.onnx", load_external_data=False)
    data = case / "test_data_set_0"
    if any(not v.type.HasField("tensor_type") for v in (*model.graph.input, *model.graph.output)):
        return Outcome(name, "not applicable", "not of tensors")
    if re.search(r"layer_normalization_(\dd_axis0|2d_.*_2_|3d_.*_3_|4d_.*_4_)", name):
        return Outcome(name, "not applicable", "normalises along the batch")
    inputs, outputs = read_tensors(data, "input"), read_tensors(data, "output")
    if model.graph.node[-1].op_type in BESIDE:
        outputs = outputs[:1]
        del model.graph.output[1:]
    reason = DISAGREEMENTS.get(name) or out_of_scope(model, inputs, outputs)
    if reason:
        return Outcome(name, "not applicable", reason)
    merging = {node.op_type for node in model.graph.node} & MERGING and len(inputs) > 1
    told = []
    for stacked in (False, True) if merging else (False,):
        outcome = _run(model, inputs, outputs, scratch, stacked=stacked)
        told.append(Outcome(name, *outcome))
    failed = [one for one in told if one.how == "failed"]
    passed = [one for one in told if one.how == "passed"]
    return (failed or passed or told)[0]


def out_of_scope(model, inputs, outputs) -> str | None:
    """Return why a case is none of a network's on pictures."""
    if not inputs:
        return "no input"
    kinds = {array.dtype.kind for array in (*inputs[:1], *outputs)}
    used = {node.op_type for node in model.graph.node}
    if not kinds <= ({"f", "i", "u"} if used & MOVING else {"f"}):
        return "not of floats"
    if inputs[0].ndim < 2:
        return "no batch axis"
    if inputs[0].ndim > 4:
        return "more than two spatial axes"
    if not all(array.size for array in (inputs[0], *outputs)):
        return "empty tensors"
    opset = max(e.version for e in model.opset_import if e.domain in ("", "ai.onnx"))
    return f"opset {opset}" if opset < 6 else None


def _run(model, inputs, outputs, scratch, *, stacked) -> tuple[str, str]:
    batch = inputs[0].shape[0]
    whole = outputs[0].ndim == 0 or outputs[0].shape[0] != batch
    if whole and batch > 1:
        return "not applicable", "the batch does not come out"
    for sample in range(batch):
        single, image = one_sample(model, inputs, sample, stacked=stacked)
        path = scratch / "model.onnx"
        path.write_bytes(single.SerializeToString())
        try:
            read = load_onnx(str(path))
        except CnnvizError as error:
            known = "no layer computes", "not of plain numbers"
            how = "not applicable" if any(one in error.message for one in known) else "failed"
            return how, error.message.partition(": ")[2]
        if any(note.startswith("left out") for note in read.notes):
            return "not applicable", read.notes[0]
        x = image if stacked else as_maps(image)
        try:
            with np.errstate(over="ignore"):
                x = x.astype(np.float32)
            ends = [stage.output for stage in read.pipeline.run(x, read.params)]
        except CnnvizError as error:
            return "failed", error.message
        expected = [
            array[sample : sample + 1] if array.ndim and array.shape[0] == batch else array
            for array in outputs
        ]
        for want in expected:
            if not any(_close(got, want) for got in ends):
                return "failed", f"sample {sample}: {want.shape} {[g.shape for g in ends]}"
    return "passed", ""


def _close(got, want) -> bool:
    if got.size != want.size:
        return False
    with np.errstate(over="ignore"):  # some cases hold doubles beyond float32
        want = want.astype(np.float32)
    return np.allclose(got.reshape(-1), want.reshape(-1), rtol=1e-3, atol=1e-5, equal_nan=True)


def main() -> None:
    """Print the table: how many cases of each operator passed, were left out, failed."""
    import tempfile

    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases():
            try:
                outcomes.append(run_case(case, Path(scratch)))
            except Exception as error:  # noqa: BLE001 - the table tells it
                outcomes.append(Outcome(case.name, "failed", repr(error)))
    for outcome in outcomes:
        if outcome.how != "passed":
            sys.stdout.write(f"{outcome.how}: {outcome.case}: {outcome.why[:150]}\n")
    counts = Counter(outcome.how for outcome in outcomes)
    sys.stdout.write(", ".join(f"{how}: {count}" for how, count in counts.items()) + "\n")


if __name__ == "__main__":
    main()
