"""Small models of the kinds that real exporters write, with ONNX Runtime's answers."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from cnnviz.files.onnx import load_onnx
from cnnviz.files.onnx.building import channels_last
from cnnviz.files.onnx.protobuf import read_model

HERE = Path(__file__).parent / "shared"
MODELS = sorted(path.stem for path in HERE.glob("*.onnx") if path.with_suffix(".npz").exists())


def run(name, x):
    """Return the outputs of a model's stages for ONNX's input `x`."""
    path = HERE / f"{name}.onnx"
    model = load_onnx(str(path))
    if x.ndim == 4 and channels_last(read_model(path)):
        x = x.transpose(0, 3, 1, 2)
    image = np.ascontiguousarray(x[0], np.float32)
    if model.fitted is not None:
        model = model.fitted(image.shape)
    return [stage.output for stage in model.pipeline.run(image, model.params)]


@pytest.mark.parametrize("name", MODELS)
def test_stages_are_what_onnx_runtime_computes(name):
    with np.load(HERE / f"{name}.npz") as arrays:
        x = arrays["x"]
        wanted = {key: arrays[key] for key in arrays.files if key != "x"}
    outputs = run(name, x)
    if "softmax_tensor" in wanted or name == "topk":
        labels = {"ArgMax", "top", "idx"}
        wanted = {key: value for key, value in wanted.items() if key not in labels}
        assert outputs[-1].sum() == pytest.approx(1)
    for array in wanted.values():
        want = array.astype(np.float64)
        room = 1e-4 * np.abs(want).max()
        near = [
            got for got in outputs
            if got.size == want.size and np.abs(got.reshape(-1) - want.reshape(-1)).max() <= room
        ]  # fmt: skip
        assert near
