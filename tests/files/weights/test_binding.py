"""Names in files and names of stages: prefixes come off, numbers are taken in order."""

import numpy as np
import pytest

from cnnviz.errors import CnnvizError
from cnnviz.files.spec import parse
from cnnviz.files.weights import check_weights, load_weights, save_weights
from tests.files.weights.pickles import archive, dumped, saved, tensor
from tests.oracles import noise

SHAPE = (1, 9, 9)
TEXT = "conv(4) -> batchnorm -> relu -> conv(2)"
NAMED = "conv(4) as net.0 -> batchnorm as net.1 -> relu -> conv(2) as net.3"


def arrays(text=NAMED, prefix="", off="net."):
    """Return what a pipeline needs, by the names that a file gives it."""
    specs = parse(text).param_specs(SHAPE)
    values = {
        prefix + name.removeprefix(off): np.abs(noise(index, *spec.shape)).astype(np.float32)
        for index, (name, spec) in enumerate(specs.items())
    }
    return {**values, f"{prefix}1.num_batches_tracked": np.array(3, np.float32)}


@pytest.fixture(params=["safetensors", "npz", "pth", "older.pth"])
def save(request, tmp_path):
    def save(values):
        path = tmp_path / f"w.{request.param}"
        if path.suffix == ".pth":
            path.write_bytes(saved(values, old="older" in request.param))
            return str(path)
        return save_weights(path, values)

    return save


def bound(path, text, optional=frozenset()):
    return check_weights(load_weights(path), parse(text).param_specs(SHAPE), optional, path)


def values_of(params, text):
    """Return a pipeline's weights in its own order."""
    return [params[name].tolist() for name in parse(text).param_specs(SHAPE)]


def test_names_that_fit_are_taken_as_they_are(save):
    values = arrays(off="")
    weights = bound(save(values), NAMED)
    assert not weights.note
    assert values_of(weights, NAMED) == [value.tolist() for value in values.values()][:-1]


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model.", "ema.x-1."])
def test_prefixes_come_off(save, prefix):
    values = arrays(prefix=prefix, off="")
    weights = bound(save(values), NAMED)
    assert weights.note == f"names are taken without {prefix!r}"
    assert values_of(weights, NAMED) == [value.tolist() for value in values.values()][:-1]
    assert weights.stored["net.0.bias"].shape == (4,)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.net.", "model.0.net."])
@pytest.mark.parametrize("text", [TEXT, NAMED])
def test_numbers_are_taken_in_order(save, prefix, text):
    values = arrays(prefix=prefix)
    weights = bound(save(values), text)
    assert values_of(weights, text) == [value.tolist() for value in values.values()][:-1]
    if text == TEXT:
        told = "numbers are taken in order: 0 is conv1, 1 is batchnorm1, 3 is conv2"
        assert weights.note == told


def test_numbers_count_as_numbers(save):
    """10 comes after 9, and 1.2 before 1.10: a Sequential within another."""
    text = " -> ".join(["conv(1, 1)"] * 12)
    numbers = [*map(str, range(9)), "9.2", "9.10", "10"]
    values = {
        f"{number}.{leaf}": np.full(shape, index, np.float32)
        for index, number in enumerate(numbers)
        for leaf, shape in (("weight", (1, 1, 1, 1)), ("bias", (1,)))
    }
    weights = bound(save(values), text)
    assert [weights[f"conv{n}.bias"].item() for n in range(1, 13)] == list(range(12))
    assert "5 is conv6, …" in weights.note


def test_chosen_kernels_need_no_number(save):
    text = "conv(sobel) -> conv(2, 1) -> relu"
    values = {"4.weight": np.ones((2, 2, 1, 1), np.float32), "4.bias": np.ones(2, np.float32)}
    weights = bound(save(values), text, frozenset({"conv1.weight"}))
    assert set(weights) == {"conv2.weight", "conv2.bias"}


def test_what_else_a_checkpoint_holds(tmp_path):
    """The first state dict that fits is taken, and what is left is counted."""
    state = {name: tensor(value.shape) for name, value in arrays(off="").items()}
    other = {name: tensor(value.shape, "1") for name, value in arrays(off="").items()}
    checkpoint = {
        "epoch": 3,
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "ema": other,
        "optimizer": {"state": {0: {"exp_avg": tensor((4, 1, 3, 3))}}},
        "n_averaged": tensor(()),
    }
    path = tmp_path / "w.pth"
    zeros, ones = (np.full(100, fill, np.float32).tobytes() for fill in (0, 1))
    path.write_bytes(archive(dumped(checkpoint), {"0": zeros, "1": ones}))
    weights = bound(str(path), NAMED)
    told = "names are taken without 'state_dict.module.'; 9 other tensors are not used"
    assert weights.note == told
    assert weights["net.3.bias"].tolist() == [0, 0]
    del checkpoint["state_dict"]["module.net.3.bias"]
    path.write_bytes(archive(dumped(checkpoint), {"0": zeros, "1": ones}))
    weights = bound(str(path), NAMED)
    assert weights.note == "names are taken without 'ema.'; 8 other tensors are not used"
    assert weights["net.3.bias"].tolist() == [1, 1]


def test_a_mismatch_lists_both_sides(save):
    values = arrays(prefix="module.", off="")
    values["module.net.3.weight"] = np.ones((2, 4, 5, 5), np.float32)
    path = save(values)
    with pytest.raises(CnnvizError) as caught:
        bound(path, NAMED)
    assert caught.value.message == (
        f"{path} does not fit the pipeline: it lacks net.3.weight (2, 4, 3, 3); "
        "no stage takes module.net.3.weight (2, 4, 5, 5)"
    )
    assert "other sizes" in str(caught.value.hint)
    with pytest.raises(CnnvizError) as caught:
        bound(path, "conv(4) -> relu -> conv(2)")
    assert "it lacks conv1.weight (4, 1, 3, 3), conv1.bias (4), conv2" in caught.value.message
    assert "no stage takes module.net.0." in caught.value.message
    assert "'as'" in str(caught.value.hint)


def test_a_mismatch_behind_a_prefix_lists_no_more(save):
    text = "conv(4) as a -> relu -> conv(2) as b"
    values = arrays(text, "module.", off="")
    del values["module.b.bias"], values["module.1.num_batches_tracked"]
    with pytest.raises(CnnvizError, match=r"pipeline: it lacks b.bias \(2\) \("):
        bound(save(values), text)


def test_a_pipeline_without_weights_takes_none(save):
    assert not bound(save({}), "relu").note
    with pytest.raises(CnnvizError, match=r"pipeline: no stage takes a.weight \(2\)"):
        bound(save({"a.weight": np.ones(2, np.float32)}), "relu")


def test_many_names_are_looked_through_soon(save):
    """Any number of prefixes and numbers, in names of any length."""
    name = "0." * 200 + "net.0.weight"
    values = {f"{n}.{name}": np.ones((4, 1, 3, 3), np.float32) for n in range(500)}
    with pytest.raises(CnnvizError, match="does not fit"):
        bound(save(values), NAMED)
