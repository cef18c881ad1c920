"""The graph: shapes, parameters and costs by hand, values against torch, memory and names."""

import gc
import math
import os
import tracemalloc
import weakref
from collections import Counter
from math import prod
from types import MappingProxyType

import numpy as np
import pytest

from cnnviz.core.engine import ALGORITHMS
from cnnviz.core.layers import make_layer
from cnnviz.core.pipeline import Node, Pipeline, Term
from cnnviz.core.types import Samples
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.spec import load_spec, parse
from cnnviz.files.weights import check_weights, load_weights
from tests.core import torch_networks
from tests.oracles import correlate_oracle, load_torch, noise

RESIDUAL = """
conv(8, 3, padding=1, bias=false) as c1 -> batchnorm as bn1 -> relu
conv(8, 3, padding=1, bias=false) as c2 -> batchnorm as bn2
add(input) -> relu
"""
FIRE = """
conv(4, 1) as squeeze -> relu as s
conv(6, 1) as expand1 -> relu as e1
from(s) -> conv(6, 3, padding=1) as expand3 -> relu as e3
from(e1) -> concat(e3) as fire
"""
INCEPTION = """
conv(4, 1) as b1 -> relu as r1
from(input) -> conv(3, 1) as b2r -> relu -> conv(5, 3, padding=1) as b2 -> relu as r2
from(input) -> conv(2, 1) as b3r -> relu -> conv(3, 5, padding=2) as b3 -> relu as r3
from(input) -> maxpool(3, stride=1, padding=1) -> conv(2, 1) as b4 -> relu as r4
from(r1) -> concat(r2, r3, r4) as out
"""


def rows_of(text, shape):
    return {row.name: row for row in parse(text).rows(shape)}


def run_all(text, x, params=None, **options):
    pipeline = parse(text) if isinstance(text, str) else text
    return {stage.row.name: stage.output for stage in pipeline.run(x, params, **options)}


def drawn(text, shape, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: np.abs(rng.normal(size=spec.shape)).astype(np.float32) + 0.1
        if name.endswith("running_var")
        else rng.normal(size=spec.shape).astype(np.float32)
        for name, spec in parse(text).param_specs(shape).items()
    }


def conv_params(filters, depth, size, *, bias=True):
    return filters * depth * size * size + (filters if bias else 0)


# Blocks -----------------------------------------------------------------------------------------


def test_residual_block_by_hand():
    rows = rows_of(RESIDUAL, (8, 9, 7))
    assert rows["add1"].output_shape == (8, 9, 7)
    assert rows["add1"].inputs == ("bn2", "input")
    assert rows["c1"].params == conv_params(8, 8, 3, bias=False)
    assert rows["bn1"].params == 16  # running statistics are not trained
    assert rows["c1"].macs == 8 * 9 * 7 * 8 * 9
    totals = parse(RESIDUAL).totals((8, 9, 7))
    assert totals.params == 2 * (576 + 16)
    assert totals.macs == 2 * rows["c1"].macs
    assert rows["add1"].receptive_field == (5, 5)
    assert rows["relu2"].memory_bytes == 4 * 8 * 9 * 7
    assert set(parse(RESIDUAL).param_specs((8, 9, 7))) == {
        "c1.weight", "c2.weight",
        *(f"bn{i}.{name}" for i in (1, 2)
          for name in ("weight", "bias", "running_mean", "running_var")),
    }  # fmt: skip


def test_fire_module_by_hand():
    rows = rows_of(FIRE, (5, 6, 8))
    assert rows["fire"].output_shape == (12, 6, 8)
    assert rows["fire"].inputs == ("e1", "e3")
    assert rows["expand3"].inputs == ("s",)
    expected = conv_params(4, 5, 1) + conv_params(6, 4, 1) + conv_params(6, 4, 3)
    assert parse(FIRE).totals((5, 6, 8)).params == expected
    assert parse(FIRE).totals((5, 6, 8)).macs == 48 * (4 * 5 + 6 * 4 + 6 * 4 * 9)
    assert rows["fire"].receptive_field == (3, 3)


def test_inception_block_by_hand():
    rows = rows_of(INCEPTION, (6, 7, 5))
    assert rows["out"].output_shape == (4 + 5 + 3 + 2, 7, 5)
    assert rows["out"].inputs == ("r1", "r2", "r3", "r4")
    params = (
        conv_params(4, 6, 1) + conv_params(3, 6, 1) + conv_params(5, 3, 3)
        + conv_params(2, 6, 1) + conv_params(3, 2, 5) + conv_params(2, 6, 1)
    )  # fmt: skip
    assert parse(INCEPTION).totals((6, 7, 5)).params == params
    macs = 35 * (4 * 6 + 3 * 6 + 5 * 3 * 9 + 2 * 6 + 3 * 2 * 25 + 2 * 6)
    assert parse(INCEPTION).totals((6, 7, 5)).macs == macs
    assert rows["out"].receptive_field == (5, 5)


def test_residual_block_against_plain_sums():
    x, params = noise(1, 8, 9, 7), drawn(RESIDUAL, (8, 9, 7))

    def conv(maps, name):
        return correlate_oracle(maps, params[f"{name}.weight"], pads=(1, 1, 1, 1))[0]

    def norm(maps, name):
        p = {key: params[f"{name}.{key}"].astype(float)[:, None, None] for key in
             ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
        return (maps - p["running_mean"]) / np.sqrt(p["running_var"] + 1e-5) * p["weight"] + p[
            "bias"
        ]

    inner = np.maximum(norm(conv(x, "c1"), "bn1"), 0)
    expected = np.maximum(norm(conv(inner, "c2"), "bn2") + x, 0)
    np.testing.assert_allclose(
        run_all(RESIDUAL, x, params)["relu2"], expected, rtol=1e-4, atol=1e-3
    )


@pytest.mark.heavy
def test_blocks_are_torchs():
    torch = load_torch()
    f = torch.nn.functional

    def weights(text, shape):
        params = drawn(text, shape)
        return params, {k: torch.from_numpy(v).double() for k, v in params.items()}

    def conv(x, w, name, padding=0):
        return f.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=padding)

    def norm(x, w, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return f.batch_norm(x, *(w[f"{name}.{key}"] for key in names))

    x = noise(1, 8, 9, 7)
    t = torch.from_numpy(x)[None].double()
    params, w = weights(RESIDUAL, x.shape)
    y = torch.relu(norm(conv(t, w, "c1", 1), w, "bn1"))
    y = torch.relu(norm(conv(y, w, "c2", 1), w, "bn2") + t)
    np.testing.assert_allclose(
        run_all(RESIDUAL, x, params)["relu2"], y[0].numpy(), rtol=1e-4, atol=1e-3
    )

    params, w = weights(FIRE, x.shape)
    s = torch.relu(conv(t, w, "squeeze"))
    y = torch.cat([torch.relu(conv(s, w, "expand1")), torch.relu(conv(s, w, "expand3", 1))], dim=1)
    np.testing.assert_allclose(run_all(FIRE, x, params)["fire"], y[0].numpy(), rtol=1e-4, atol=1e-3)

    params, w = weights(INCEPTION, x.shape)
    branches = [
        conv(t, w, "b1"),
        conv(torch.relu(conv(t, w, "b2r")), w, "b2", 1),
        conv(torch.relu(conv(t, w, "b3r")), w, "b3", 2),
        conv(f.max_pool2d(t, 3, 1, 1), w, "b4"),
    ]
    y = torch.cat([torch.relu(branch) for branch in branches], dim=1)
    np.testing.assert_allclose(
        run_all(INCEPTION, x, params)["out"], y[0].numpy(), rtol=1e-4, atol=1e-3
    )


@pytest.mark.heavy
def test_lenet5_is_torchs():
    torch = load_torch()
    f = torch.nn.functional
    spec = load_spec("lenet5")
    x = noise(3, 1, 28, 28)
    stages = list(spec.pipeline.run(x, seed=5))
    params = {
        f"{node.name}.{key}": torch.from_numpy(value).double()
        for index, (node, stage) in enumerate(zip(spec.pipeline.nodes, stages, strict=True), 1)
        for key, value in node.params(index, [stage.row.input_shape], {}, 5).items()
    }
    t = torch.from_numpy(x)[None].double()
    y = torch.tanh(f.conv2d(t, params["conv1.weight"], params["conv1.bias"], padding=2))
    y = f.avg_pool2d(y, 2)
    y = torch.tanh(f.conv2d(y, params["conv2.weight"], params["conv2.bias"]))
    y = f.avg_pool2d(y, 2).flatten(1)
    for name in ("fc1", "fc2"):
        y = torch.tanh(f.linear(y, params[f"{name}.weight"], params[f"{name}.bias"]))
    y = f.softmax(f.linear(y, params["fc3.weight"], params["fc3.bias"]), dim=1)
    np.testing.assert_allclose(stages[-1].output, y[0].numpy(), rtol=1e-4, atol=1e-6)


def test_a_module_s_path_names_all_its_stages():
    pipeline = parse("conv(2) as a.0.x -> relu as a.0 -> relu as a.1 -> relu as ab -> relu")
    assert pipeline.below("a") == ["a.0.x", "a.0", "a.1"]
    assert pipeline.below("a.0") == ["a.0.x", "a.0"]
    assert pipeline.below("ab") == pipeline.below("4") == ["ab"]
    with pytest.raises(RequestError, match="unknown stage 'b'"):
        pipeline.below("b")


def test_muted_maps_are_zero_and_hand_no_gradient_on():
    x = noise(4, 2, 7, 8)
    plain = parse("conv(3, padding=1) as a -> dropout as d -> relu as r -> gap -> dense(2) as s")
    params = plain.params(x.shape)
    muted = plain.without({"a": [1], "2": [2]})
    outputs = muted.computed(x, {"a", "d", "r", "s"}, params)
    whole = plain.computed(x, {"a", "r"}, params)
    assert not outputs["a"][1].any()
    assert (outputs["a"][[0, 2]] == whole["a"][[0, 2]]).all()
    assert not outputs["d"][[1, 2]].any()
    assert (outputs["r"][0] == whole["r"][0]).all()
    back = muted.backward(x, "s", (1,), params, to="a")
    assert not back[2].any()
    assert back[0].any()
    ahead = params["a.weight"].copy()
    ahead[1] += 1  # what is muted changes nothing
    assert (muted.forward(x, {**params, "a.weight": ahead}) == outputs["s"]).all()
    assert plain.without({}) == plain
    with pytest.raises(CnnvizError, match="stage 1 a: there is no map 3"):
        list(plain.without({"a": [3]}).rows(x.shape))


# Published totals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "params", "macs"),
    [
        ("lenet5", (1, 28, 28), 61_706,
        28 * 28 * 6 * 25 + 100 * 16 * 150 + 400 * 120 + 120 * 84 + 840),
        ("alexnet", (3, 224, 224), 61_100_840, 714_188_480),  # fvcore's count for torchvision's
        ("vgg16", (3, 224, 224), 138_357_544, 15_470_264_320),
        # torchvision's parameters and, by fvcore, its 1.81, 0.35 and 1.50 billion multiply-adds
        ("resnet18", (3, 224, 224), 11_689_512, 1_814_073_344),
        ("squeezenet1_1", (3, 224, 224), 1_235_496, 349_151_936),
        ("googlenet", (3, 224, 224), 6_624_904, 1_498_376_192),
        # 4.2 million and 569 million in the paper's table 4
        ("mobilenet_v1", (3, 224, 224), 4_231_976, 568_740_352),
        # 3.4 million and 300 million in the paper's table 4, 3,504,872 in torchvision
        ("mobilenet_v2", (3, 224, 224), 3_504_872, 300_774_272),
    ],
)  # fmt: skip
def test_published_totals(name, shape, params, macs):
    totals = load_spec(name).pipeline.totals(shape)
    assert (totals.params, totals.macs) == (params, macs)
    rows = list(load_spec(name).pipeline.rows(shape))
    assert totals.memory_bytes == sum(4 * prod(row.output_shape) for row in rows)


@pytest.mark.parametrize(
    ("name", "last_maps"),
    [
        ("resnet18", (512, 7, 7)),
        ("squeezenet1_1", (1000, 13, 13)),
        ("googlenet", (1024, 7, 7)),
        ("mobilenet_v1", (1024, 7, 7)),
        ("mobilenet_v2", (1280, 7, 7)),
    ],
)
def test_last_maps_of_published_networks(name, last_maps):
    rows = list(load_spec(name).pipeline.rows((3, 224, 224)))
    assert [row.output_shape for row in rows if row.output_shape[-1] > 1][-1] == (1000,)
    assert [s for row in rows if len(s := row.output_shape) == 3 and s[1] > 1][-1] == last_maps


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "zipped"),
    [
        ("alexnet", False),
        ("mobilenet_v2", True),
        ("resnet18", True),
        ("squeezenet1_1", False),
        ("vgg16", True),
    ],
)
def test_published_files_bind_and_compute_what_torch_does(tmp_path, name, zipped):
    """As torchvision publishes them: state dicts in either form of PyTorch's files."""
    torch = load_torch()
    network = torch_networks.batchnorms_too(getattr(torch_networks, name)(), seed=2)
    path = str(tmp_path / "w.pth")
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    pipeline = load_spec(name).pipeline
    x = noise(3, 3, 97, 110)
    specs = pipeline.param_specs(x.shape)
    params = check_weights(load_weights(path), specs, frozenset(), path)
    assert not params.note
    output = pipeline.forward(x, params)
    with torch.no_grad():
        expected = network.double()(torch.from_numpy(x)[None].double())[0].numpy()
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "shape", "outputs", "params"),
    [
        ("flatten", (512, 7, 7), [(25_088,)], [0]),
        ("flatten -> dense(1000)", (512, 7, 7), [(25_088,), (1000,)], [0, 25_089_000]),
        ("gap -> dense(1000)", (512, 7, 7), [(512, 1, 1), (1000,)], [0, 513_000]),
        ("conv(96, 11, stride=4)", (3, 227, 227), [(96, 55, 55)], [34_944]),
        ("conv(8, 3, groups=2, bias=false)", (4, 5, 5), [(8, 3, 3)], [144]),
        ("depthwise(2, 3)", (4, 5, 5), [(8, 3, 3)], [80]),
        ("conv_transpose(6, 4, stride=2, padding=1)", (4, 5, 5), [(6, 10, 10)], [390]),
        ("prelu(4)", (4, 5, 5), [(4, 5, 5)], [4]),
        ("conv(sobel)", (3, 5, 5), [(2, 3, 3)], [54]),
    ],
)
def test_figures_by_hand(text, shape, outputs, params):
    rows = list(parse(text).rows(shape))
    assert [row.output_shape for row in rows] == outputs
    assert [row.params for row in rows] == params
    assert parse(text).totals(shape).params == sum(params)


def test_rows_tell_what_the_table_shows():
    row = next(parse("conv(8, (3, 5), stride=(1, 2), padding=same) as a").rows((3, 10, 12)))
    assert (row.index, row.name, row.layer, row.inputs) == (1, "a", "conv", ("input",))
    assert row.text == "conv(8, (3, 5), (1, 2), same)"
    assert row.settings["kernel_size"] == [3, 5]
    assert row.settings["padding"] == "same"
    assert (row.kernel_size, row.stride, row.dilation) == ((3, 5), (1, 2), (1, 1))
    assert row.padding == (1, 1, 1, 2)
    assert (row.input_shape, row.output_shape) == ((3, 10, 12), (8, 10, 6))
    assert row.groups == 1
    assert row.weights == "drawn"
    assert row.macs == 8 * 10 * 6 * 3 * 15
    kernels = next(parse("conv(sobel)").rows((3, 10, 12)))
    assert kernels.weights == "kernels"
    loaded = next(
        parse("conv(2) as a").rows((3, 10, 12), {"a.weight": np.zeros((2, 3, 3, 3), np.float32)})
    )
    assert loaded.weights == "loaded"
    assert next(parse("relu").rows((3, 10, 12))).weights is None


def test_rows_and_stages_agree():
    for text in (RESIDUAL, FIRE, INCEPTION):
        x = noise(1, 8, 6, 7)
        pipeline = parse(text)
        for row, stage in zip(pipeline.rows(x.shape), pipeline.run(x), strict=True):
            assert stage.row == row
            assert stage.output.shape == row.output_shape
            assert stage.output.nbytes == row.memory_bytes


# Names and references ---------------------------------------------------------------------------


def test_default_names_count_each_layer():
    names = [node.name for node in parse("conv(1) -> relu -> conv(1) -> relu -> gap").nodes]
    assert names == ["conv1", "relu1", "conv2", "relu2", "global_avgpool1"]
    taken = [node.name for node in parse("relu as relu2 -> relu -> relu").nodes]
    assert taken == ["relu2", "relu3", "relu4"]


@pytest.mark.parametrize(
    "text",
    [
        "conv(2, padding=same) as a -> relu -> add(a)",
        "conv(2, padding=same) as a -> relu -> add(1)",
        "conv(2, padding=same) as a -> relu -> add('1')",
        "conv(2, padding=same) as a -> relu -> add(stages=a)",
    ],
)
def test_references_by_name_and_index(text):
    assert parse(text).nodes[2].inputs == ("relu1", "a")
    assert str(parse(text)) == "conv(2, padding=same) as a -> relu -> add(a)"


def test_from():
    pipeline = parse(
        "relu as a -> abs -> from(a) -> tanh -> from(input) -> sigmoid -> from(0) -> elu"
    )
    assert [node.inputs for node in pipeline.nodes] == [
        ("input",), ("a",), ("a",), ("input",), ("input",),
    ]  # fmt: skip
    assert str(pipeline) == (
        "relu as a -> abs -> from(a) -> tanh -> from(input) -> sigmoid -> from(input) -> elu"
    )
    assert parse("from(input) -> relu") == parse("relu")
    assert [n.inputs for n in parse("relu as a -> from(input) -> from(a) -> abs").nodes][1] == (
        "a",
    )
    x = noise(1, 2, 3, 3)
    out = run_all("relu -> from(input) -> abs -> add(relu1)", x)
    np.testing.assert_array_equal(out["add1"], np.abs(x) + np.maximum(x, 0))


def test_add_of_the_same_stage_twice():
    x = noise(1, 2, 3, 3)
    np.testing.assert_array_equal(
        run_all("relu as a -> add(a, a)", x)["add1"], 3 * np.maximum(x, 0)
    )
    np.testing.assert_array_equal(
        run_all("concat(input, 0)", x)["concat1"], np.concatenate([x] * 3)
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("relu as a -> abs as a", "stage name 'a' is taken"),
        ("relu as input", "stage name 'input' stands for the image"),
        ("relu -> add(b)", "unknown stage 'b'"),
        ("relu -> add(relu2) -> relu", "unknown stage 'relu2'"),
        ("relu -> add(b) -> abs as b", "stage 'b' comes later"),
        ("relu -> add(b) as b", "stage 'b' comes later"),
        ("from(b) -> relu as b", "stage 'b' comes later"),
        ("relu -> add(2)", "stage 2 does not come before this one"),
        ("relu -> add(99999999999999999999)", "is not the name of a stage"),
        ("add(1)", "stage 1 does not come before this one"),
        ("relu -> from(relu1)", "nothing follows the last from"),
        ("relu -> from(relu1) as x -> abs", "takes no name"),
        ("relu as 1a", "cannot read '1'"),
        ("relu as (a)", "expected a name after as"),
        ("add()", "add() needs stages"),
        ("from() -> relu", "from() needs stage"),
        ("relu -> from(relu1, relu1) -> abs", "from() got 2 arguments"),
        ("conv", "conv() needs filters"),
    ],
)
def test_wrong_graphs(text, told):
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert told in str(caught.value)


def test_nodes_are_checked_however_they_are_built():
    relu, add = make_layer("relu"), make_layer("add", "input")
    for nodes, told in [
        (lambda: (Node("a", relu, ("b",)), Node("b", relu, ("a",))), "unknown stage"),
        (lambda: (Node("a", relu, ("a",)),), "unknown stage"),
        (lambda: (Node("a b", relu, ("input",)),), "cannot name a stage"),
        (lambda: (Node("1", relu, ("input",)),), "cannot name a stage"),
        (lambda: (Node("a", relu, ("input", "input")),), "reads 2 stages"),
        (lambda: (Node("a", add, ("input",)),), "reads 1 stages"),
        (tuple, "empty"),
    ]:
        with pytest.raises(RequestError, match=told):
            Pipeline(nodes())
    with pytest.raises(RequestError, match="empty"):
        Pipeline.from_terms([])
    built = Pipeline.from_terms([Term(relu, "x"), Term(add)])
    assert [node.inputs for node in built.nodes] == [("input",), ("x", "input")]


def test_find():
    pipeline = parse("conv(1) -> relu as a -> relu")
    known = {"conv1": 0, "a": 1, "relu2": 2, "1": 0, "2": 1, "3": 2}
    assert {name: pipeline.find(name) for name in known} == known
    for wrong in ("0", "4", "b", "", "-1", "9" * 50):
        with pytest.raises(RequestError):
            pipeline.find(wrong)


def test_errors_name_the_stage():
    with pytest.raises(CnnvizError) as caught:
        list(parse("relu -> maxpool(9) as big").rows((1, 4, 4)))
    assert caught.value.message.startswith("stage 2 big: ")
    assert caught.value.hint
    assert caught.value.exit_code == 1


# Weights ----------------------------------------------------------------------------------------


def test_drawn_weights_are_he_normal():
    layer = make_layer("conv", 64, 7)
    weight = layer.initial_params(0, (32, 9, 9))["weight"]
    fan_in = 32 * 49
    assert abs(weight.mean()) < 5 * math.sqrt(2 / fan_in / weight.size)
    assert weight.std() == pytest.approx(math.sqrt(2 / fan_in), rel=0.02)
    assert weight.dtype == np.float32
    dense = make_layer("dense", 300).initial_params(0, (500,))["weight"]
    assert dense.std() == pytest.approx(math.sqrt(2 / 500), rel=0.02)
    depthwise = make_layer("depthwise", 8, 5).initial_params(0, (64, 9, 9))
    assert depthwise["weight"].std() == pytest.approx(math.sqrt(2 / 25), rel=0.03)


def test_seeds():
    text = "conv(4) -> relu -> conv(4) -> gap -> dense(5)"
    x = noise(1, 4, 9, 9)
    first, again, other = (run_all(text, x, seed=seed)["dense1"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(run_all(text, x)["dense1"], first)
    own = [run_all("conv(4, seed=3) -> conv(4, seed=3)", x, seed=s)["conv2"] for s in (0, 1)]
    np.testing.assert_array_equal(*own)
    run_all(text, x, seed=2**63)


def test_stages_draw_by_their_index_alone():
    """Whatever else the pipeline holds, stage 2 of this shape draws the same filters."""
    x = noise(1, 3, 9, 9)
    one = run_all("relu -> conv(4) -> relu", x, seed=7)["conv1"]
    two = run_all("relu as a -> conv(4) as other -> gap", x, seed=7)["other"]
    np.testing.assert_array_equal(one, two)
    pipeline = parse("relu -> conv(4)")
    params = pipeline.nodes[1].params(2, [x.shape], {}, 7)
    np.testing.assert_array_equal(
        run_all("relu -> conv(4)", x, {"conv1." + k: v for k, v in params.items()})["conv1"], one
    )
    both = run_all("conv(4) -> from(input) -> conv(4)", x)
    assert not np.array_equal(both["conv1"], both["conv2"])


def test_given_params_win():
    x = noise(1, 2, 5, 5)
    weight, bias = noise(2, 3, 2, 3, 3), noise(3, 3)
    out = run_all("conv(3) as a", x, {"a.weight": weight, "a.bias": bias, "b.weight": bias})["a"]
    np.testing.assert_allclose(out, correlate_oracle(x, weight, bias=bias)[0], rtol=1e-4, atol=1e-5)
    only = run_all("conv(3) as a", x, {"a.bias": bias})["a"]
    np.testing.assert_allclose(
        only, run_all("conv(3) as a", x)["a"] + bias[:, None, None], rtol=1e-5, atol=1e-5
    )
    kernel = run_all("conv(sobel_x) as a", x, {"a.weight": weight[:1]})["a"]
    np.testing.assert_allclose(kernel, correlate_oracle(x, weight[:1])[0], rtol=1e-4, atol=1e-5)


# Memory -----------------------------------------------------------------------------------------


def peak_by_hand(pipeline, shape):
    """Keep every tensor until its last reader has run."""
    rows = list(pipeline.rows(shape))
    size = {"input": 4 * prod(shape)} | {row.name: row.memory_bytes for row in rows}
    last = {name: index for index, row in enumerate(rows) for name in row.inputs}
    peak = size["input"]
    for index, row in enumerate(rows):
        alive = {
            name
            for name in ["input", *(r.name for r in rows[:index])]
            if last.get(name, -1) >= index
        }
        peak = max(peak, sum(size[name] for name in alive | {row.name}))
    return peak


@pytest.mark.parametrize(
    "text",
    [
        RESIDUAL, FIRE, INCEPTION, "relu", "relu -> abs -> tanh -> gap -> dense(3)",
        "conv(64, 1) as dead -> from(input) -> relu -> abs",
        "relu as a -> abs -> tanh -> add(a, input)",
        "upsample(4) -> maxpool(8) -> upsample(2)",
    ],
)  # fmt: skip
def test_peak_by_hand(text):
    pipeline = parse(text)
    assert pipeline.totals((8, 8, 6)).peak_bytes == peak_by_hand(pipeline, (8, 8, 6))


def test_peak_of_vgg16():
    assert load_spec("vgg16").pipeline.totals((3, 224, 224)).peak_bytes == 2 * 4 * 64 * 224 * 224


def watch(text, x):
    """Return, after each stage, the names of the stages whose tensors are alive."""
    seen, alive = {}, []
    for stage in parse(text).run(x):
        seen[stage.row.name] = weakref.ref(stage.output)
        name = stage.row.name
        del stage
        gc.collect()
        alive.append((name, {key for key, ref in seen.items() if ref() is not None} - {name}))
    return alive


def test_tensors_go_after_their_last_reader():
    chain = watch("conv(2) -> tanh -> conv(2) -> tanh -> tanh", noise(1, 2, 12, 12))
    assert all(alive == set() for _, alive in chain)
    branches = dict(
        watch("tanh as a -> sigmoid as b -> tanh as c -> add(a) as d -> abs", noise(1, 2, 9, 9))
    )
    assert branches["b"] == {"a"}
    assert branches["c"] == {"a"}
    assert branches["d"] == set()
    assert branches["abs1"] == set()


def test_run_is_lazy_and_closes():
    stages = parse("relu -> abs -> tanh").run(noise(1, 1, 5, 5))
    first = next(stages)
    assert first.row.name == "relu1"
    stages.close()


def test_actual_peak_is_near_the_promised():
    text = "tanh -> tanh -> tanh as a -> tanh -> tanh -> add(a) -> maxpool(2) -> gap"
    x = noise(1, 4, 600, 500)
    promised = parse(text).totals(x.shape).peak_bytes
    tracemalloc.start()
    for stage in parse(text).run(x):
        del stage
    actual = tracemalloc.get_traced_memory()[1] + x.nbytes
    tracemalloc.stop()
    # The input is counted until its last reader, and stays the caller's after.
    assert actual <= promised + x.nbytes + (8 << 20)


def test_shapes_of_huge_inputs_allocate_nothing():
    pipeline = load_spec("vgg16").pipeline
    text = parse("conv(512, 7, padding=same) -> adaptive_avgpool(9) -> flatten -> dense(1000000)")
    for each, shape in ((pipeline, (3, 20_000, 30_000)), (text, (64, 1_000_000, 1_000_000))):
        tracemalloc.start()
        rows = list(each.rows(shape))
        each.totals(shape)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert rows
        assert peak < 1 << 20, f"{each}: {peak:,} bytes"


def test_shapes_of_layers_with_uneven_windows_of_large_images():
    """Those that look at every window of an axis keep a few bytes for each, and no time."""
    text = (
        "maxpool(3, stride=2, padding=1, ceil_mode=true) -> upsample(2, mode=bilinear)"
        " -> adaptive_maxpool(77777) -> upsample(3) -> avgpool(2)"
    )
    rows = list(parse(text).rows((64, 200_000, 100_000)))
    assert rows[-1].output_shape == (64, 116_665, 116_665)


def test_absurd_sizes_are_refused_before_anything_is_allocated(monkeypatch):
    x = np.zeros((1, 4, 4), np.float32)
    for text in (
        "upsample(1000000) -> relu",
        "conv(1000000, 1) -> upsample(1000)",
        "pad(900000)",
        "adaptive_avgpool(900000)",
    ):
        with pytest.raises(CnnvizError, match="GiB") as caught:
            list(parse(text).run(x))
        assert caught.value.hint
    monkeypatch.setattr(os, "sysconf", lambda _: 10)  # a machine of 100 bytes
    with pytest.raises(CnnvizError, match="this machine has"):
        list(parse("relu").run(x))


@pytest.mark.parametrize(
    "text", ["flatten -> dense(1000000) -> dense(1000000)", "conv(1000000, 1000, padding=same)"]
)
def test_absurd_weights_are_refused_too(text):
    """Weights are memory like any other: 1000000 x 1000000 of them are 3.6 TiB."""
    with pytest.raises(CnnvizError, match="GiB"):
        list(parse(text).run(np.zeros((1, 4, 4), np.float32)))


# Values -----------------------------------------------------------------------------------------


def test_nonfinite_values_pass_through_quietly():
    x = noise(1, 2, 6, 6)
    x[0, 2, 2], x[1, 4, 4] = np.nan, np.inf
    text = (
        "conv(4) -> gelu -> silu -> batchnorm -> lrn -> maxpool(2) -> upsample(2, mode=bilinear)"
        " -> magnitude -> avgpool(2) -> flatten -> dense(3) -> softmax"
    )
    stages = list(parse(text).run(x))
    assert stages[0].statistics.nonfinite > 0
    assert np.isnan(stages[-1].output).all()


def test_input_is_left_alone_by_every_pipeline():
    x = noise(1, 8, 9, 7)
    x.flags.writeable = False
    for text in (
        RESIDUAL,
        FIRE,
        INCEPTION,
        "dropout -> dropout",
        "flatten -> relu",
        "pad(0) -> add(0)",
    ):
        list(parse(text).run(x))


def test_flags_of_the_pipeline_itself():
    pipeline = parse("conv(2) -> relu")
    assert pipeline == parse("conv(2) -> relu")
    assert len({pipeline, parse("conv(2) -> relu")}) == 1
    assert Counter(node.layer.name for node in pipeline.nodes) == {"conv": 1, "relu": 1}
    assert pipeline.map_names()["relu1"] == ()
    assert parse("conv(sobel) -> relu").map_names()["relu1"] == ("sobel_x", "sobel_y")


@pytest.mark.parametrize(
    "x", [np.zeros((4, 4)), np.zeros((1, 2, 3, 4)), np.zeros((1, 0, 4)), [1, 2]]
)
def test_input_that_is_no_tensor(x):
    with pytest.raises(CnnvizError, match="the input has shape") as caught:
        list(parse("relu").run(x))
    assert caught.value.hint


def test_input_is_widened_and_algorithms_are_named():
    stages = list(parse("conv(sobel) -> maxpool(2) -> relu").run(np.ones((1, 8, 8), np.int16)))
    assert [stage.output.dtype for stage in stages] == [np.float32] * 3
    assert stages[0].algorithm in ALGORITHMS
    assert stages[2].algorithm is None


NETWORKS = (
    "conv(sobel, padding=same) -> relu -> maxpool(2)",
    "relu -> abs -> sigmoid",
    "dropout -> relu -> tanh",
    "conv(4, padding=same) as a -> dropout -> relu -> conv(4, padding=same) -> add(a) -> relu",
    "conv(4, padding=same) as a -> relu -> from(a) -> sigmoid -> concat(relu1, a) -> abs",
    "conv(3) -> batchnorm -> prelu -> flatten -> relu -> dense(5) -> softmax",
    "from(input) -> leaky_relu -> add(input) -> relu",
    "gap -> relu -> elu",
)


@pytest.mark.parametrize("text", NETWORKS)
def test_memory_is_used_again_only_where_nobody_reads_it(text):
    pipeline, x = parse(text), noise(3, 2, 12, 11)
    before = x.copy()
    apart = [stage.output for stage in pipeline.run(x)]
    reused = [stage.output.copy() for stage in pipeline.run(x, reuse=True)]
    for one, other in zip(apart, reused, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(pipeline.forward(x), apart[-1])
    np.testing.assert_array_equal(x, before)


def test_elementwise_layers_work_in_place_where_they_may():
    outputs = [
        stage.output
        for stage in parse("conv(2) -> relu -> tanh").run(noise(1, 1, 9, 9), reuse=True)
    ]
    assert np.shares_memory(outputs[0], outputs[1])
    assert np.shares_memory(outputs[1], outputs[2])
    kept = [stage.output for stage in parse("conv(2) -> relu").run(noise(1, 1, 9, 9))]
    assert not np.shares_memory(*kept)


@pytest.mark.parametrize("text", [*NETWORKS, "depthwise(sobel) -> relu", "pad(1) -> conv(box)"])
@pytest.mark.parametrize("unit", [1.0, 255.0])
def test_samples_are_the_values_they_stand_for(text, unit):
    values = np.random.default_rng(4).integers(0, 256, (2, 12, 11)).astype(np.uint8)
    samples = Samples(values, unit)
    pipeline = parse(text)
    for one, other in zip(pipeline.run(samples), pipeline.run(samples.tensor()), strict=True):
        np.testing.assert_allclose(one.output, other.output, rtol=1e-5, atol=2e-5 * 255 / unit)


def test_params_are_those_that_a_run_uses():
    text = "conv(sobel) as e -> conv(3) as c -> batchnorm as bn -> prelu -> gap -> dense(2) as fc"
    pipeline, x = parse(text), noise(5, 2, 7, 8)
    given = {"c.weight": noise(6, 3, 2, 3, 3), "fc.bias": noise(7, 2)}
    params = pipeline.params(x.shape, given, seed=4)
    assert {name: tensor.shape for name, tensor in params.items()} == {
        name: spec.shape for name, spec in pipeline.param_specs(x.shape).items()
    }
    assert params["c.weight"] is given["c.weight"]
    assert all(tensor.dtype == np.float32 for tensor in params.values())
    for stage, again in zip(
        pipeline.run(x, given, seed=4), pipeline.run(x, params, seed=5), strict=True
    ):
        np.testing.assert_array_equal(stage.output, again.output)
    with pytest.raises(CnnvizError, match="this machine has"):
        parse("flatten -> dense(1000000)").params((3, 10_000, 10_000))


def test_weights_of_another_size_are_named_with_both_shapes():
    pipeline = parse("conv(2, 3, bias=false) -> flatten -> dense(4, bias=false)")
    params = {"conv1.weight": noise(1, 2, 1, 3, 3), "dense1.weight": noise(2, 4, 2 * 4 * 4)}
    assert list(pipeline.rows((1, 6, 6), params))[-1].output_shape == (4,)
    for shape, words in (
        ((1, 7, 6), r"stage 3 dense1: .*\(4, 32\).*\(4, 40\)"),
        ((3, 6, 6), r"stage 1 conv1: .*\(2, 1, 3, 3\).*\(2, 3, 3, 3\)"),
    ):
        with pytest.raises(CnnvizError, match=words):
            list(pipeline.rows(shape, params))
        for given in (params, MappingProxyType(params)):  # a dict, or what is read when needed
            with pytest.raises(CnnvizError, match=words):
                pipeline.forward(noise(3, *shape), given)
