"""Models as pipelines: networks agree with torch, hostile files end in one error."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper

from cnnviz.core.pipeline import Pipeline
from cnnviz.core.settings import STAGE_NAME
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx import load_onnx
from cnnviz.files.spec import load_spec, parse
from tests.fuzz.onnx_models import integers, model_of, try_one, weights
from tests.oracles import load_torch, noise


@pytest.fixture
def write(tmp_path):
    """Write a model and return its path."""

    def write_model(model, name="model.onnx"):
        path = tmp_path / name
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return str(path)

    return write_model


def chain(*nodes, constants=None, **options):
    """Build a model whose nodes read one another: (operator, further inputs, attributes)."""
    names = ["x", *(f"t{i}" for i in range(1, len(nodes))), "y"]
    return model_of(
        [
            (op, [names[i], *further], [names[i + 1]], attributes)
            for i, (op, further, attributes) in enumerate(nodes)
        ],
        constants or {},
        **options,
    )


SMALL = chain(
    ("Conv", ["w", "b"], {"pads": [1, 1, 1, 1]}),
    ("Relu", [], {}),
    ("GlobalAveragePool", [], {}),
    ("Flatten", [], {}),
    ("Softmax", [], {"axis": 1}),
    constants={"w": weights(4, 3, 3, 3), "b": weights(4)},
)


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [False, True])
def test_stages_go_by_the_paths_of_torchs_modules(write, new):
    """As torch 2.13 writes them: in nodes' names before 2.5, in their metadata since."""
    scopes = [
        (["stem"], "Relu"), ([], "Abs"), (["layer1", "layer1.0", "conv1"], "Relu"),
        (["layer1", "layer1.0", "down", "down.0"], "Relu"), (["layer1", "layer1.0"], "Abs"),
        (["layer1", "layer1.0"], "Neg"), (["layer1", "layer1.1"], "Relu"), (["act"], "Sigmoid"),
        (["act"], "Sigmoid"),
    ]  # fmt: skip
    model = chain(*((operator, [], {}) for _, operator in scopes))
    for number, (node, (path, operator)) in enumerate(zip(model.graph.node, scopes, strict=True)):
        if new:
            node.name, inner = f"node_{number}", "layer1.0."
            full = [f"{inner}{one}" if one in ("conv1", "down", "down.0") else one for one in path]
            entry = node.metadata_props.add()
            entry.key = "pkg.torch.onnx.name_scopes"
            entry.value = str(["", *full, operator.lower()])
        else:
            node.name = "/".join(["", *path, operator])
    names = [node.name for node in load_onnx(write(model)).pipeline.nodes]
    assert names == [
        "stem", "node_1" if new else "Abs", "layer1.0.conv1", "layer1.0.down.0", "layer1.0.Abs",
        "layer1.0.Neg", "layer1.1", "act.Sigmoid", "act.Sigmoid_2",
    ]  # fmt: skip


# Networks ---------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("number", range(7))
def test_every_stage_is_torchs(number, opset, write):
    torch = load_torch()
    runtime = pytest.importorskip("onnxruntime")
    from tests.files.onnx.networks import NETWORKS, export, layer_outputs, make

    network = make(NETWORKS[number])
    image = torch.from_numpy(noise(number, 1, 3, network.side, network.side))
    path = write(export(network, image, opset_version=opset))
    model = load_onnx(path)
    stages = list(model.pipeline.run(image[0].numpy(), model.params))
    assert all(stage.row.weights in ("loaded", None) for stage in stages)
    layers, end = layer_outputs(network, image)
    for name, expected in layers:
        scale = max(np.abs(expected).max(), 1e-9)
        errors = [
            np.abs(stage.output.reshape(-1) - expected.reshape(-1)).max() / scale
            for stage in stages
            if stage.output.size == expected.size
        ]
        assert min(errors) < 1e-4, name
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    for expected in (end, theirs[0]):
        np.testing.assert_allclose(
            stages[-1].output.reshape(-1), expected.reshape(-1), rtol=1e-4, atol=1e-5
        )
    assert parse(str(model.pipeline)) == model.pipeline


def test_channels_last_models_take_channels_first_images(write):
    model = chain(
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["w"], {}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Relu", [], {}),
        constants={"w": weights(2, 3, 3, 3)},
        shape=(1, 8, 9, 3),
    )
    read = load_onnx(write(model))
    assert (read.channels, read.size) == (3, (8, 9))
    told = [row.text for row in read.pipeline.rows((3, 8, 9))]
    assert told == ["conv(2, 3, bias=false)", "transpose((1, 2, 0))", "relu"]


def test_any_size_stays_any_size(write):
    read = load_spec(write(chain(
        ("Conv", ["w"], {}), ("GlobalAveragePool", [], {}), ("Flatten", [], {}),
        constants={"w": weights(4, 3, 3, 3)}, shape=("batch", 3, "h", "w"),
    )))  # fmt: skip
    assert (read.input.color, read.input.size) == ("rgb", None)
    for side in (5, 99):
        assert list(read.pipeline.rows((3, side, side)))[-1].output_shape == (4,)
    sized = load_spec(write(chain(("Reshape", ["s"], {}), constants={"s": integers(1, -1, 4, 4)},
                                  shape=(1, 3, "h", "w"))))  # fmt: skip
    for side in (8, 20):
        pipeline = sized.fitted((3, side, side)).pipeline
        rows = list(pipeline.rows((3, side, side)))
        assert rows[-1].output_shape == (3 * side * side // 16, 4, 4)
    with pytest.raises(CnnvizError, match="5×7 was tried") as caught:
        sized.fitted((3, 5, 7))
    assert "--resize 32x32" in caught.value.hint


def test_a_weight_that_wants_one_size_fixes_it(write):
    for side in (8, 32, 224):
        read = load_spec(write(chain(
            ("Flatten", [], {}), ("Gemm", ["w"], {"transB": 1}),
            constants={"w": weights(4, 3 * side * side)}, shape=("batch", 3, "h", "w2"),
        )))  # fmt: skip
        assert read.input.size == (side, side)
        assert f"{side}×{side}" in read.notes[0]
    strange = chain(
        ("Flatten", [], {}), ("Gemm", ["w"], {"transB": 1}),
        constants={"w": weights(4, 3 * 7 * 7)}, shape=("batch", 3, "h", "w2"),
    )  # fmt: skip
    with pytest.raises(CnnvizError, match="3×224×224 was tried") as caught:
        load_onnx(write(strange))
    assert "export it with that size" in caught.value.hint


def test_other_channels_than_the_model_has_are_refused_with_both_numbers(write):
    for channels in (1, 3, 4, 32):
        spec = load_spec(write(chain(("Relu", [], {}), shape=(1, channels, 6, 6))))
        assert spec.fitted((channels, 6, 6)) is spec
        with pytest.raises(CnnvizError, match=f"takes {channels} channels, the input has 2"):
            spec.fitted((2, 6, 6))


@pytest.mark.parametrize("first", ["Cast", "Mul", "Identity", "Clip", "Pad", "Slice", "Sub"])
def test_channels_last_is_followed_through_what_stands_first(first, write):
    nodes = {
        "Cast": ("Cast", [], {"to": 1}), "Mul": ("Mul", ["s"], {}), "Sub": ("Sub", ["m"], {}),
        "Identity": ("Identity", [], {}), "Clip": ("Clip", [], {}),
        "Pad": ("Pad", ["p"], {}), "Slice": ("Slice", ["b", "e", "a"], {}),
    }  # fmt: skip
    model = chain(
        nodes[first], ("Transpose", [], {"perm": [0, 3, 1, 2]}), ("Conv", ["w"], {}),
        constants={
            "w": weights(2, 3, 3, 3), "s": weights(1), "m": weights(3), "b": integers(1, 2),
            "p": integers(0, 1, 1, 0, 0, 1, 1, 0), "e": integers(7, 9), "a": integers(1, 2),
        },
        shape=(1, 10, "h", 3),
    )  # fmt: skip
    read = load_onnx(write(model))
    assert (read.channels, read.size) == (3, None)
    grown = {"Pad": 2, "Slice": -4}.get(first, 0)
    model = read if read.fitted is None else read.fitted((3, 10, 11))
    rows = list(model.pipeline.rows((3, 10, 11)))
    assert rows[-1].output_shape[0] == 2
    assert rows[-1].output_shape[1] == 8 + grown


@pytest.mark.parametrize(("kind", "largest"), [
    (TensorProto.UINT8, 255), (TensorProto.INT32, 255), (TensorProto.UINT16, 65535),
    (TensorProto.FLOAT, None),
])  # fmt: skip
def test_whole_numbers_are_stored_samples(kind, largest, write):
    model = chain(("Cast", [], {"to": 1}), ("Relu", [], {}))
    model.graph.input[0].type.tensor_type.elem_type = kind
    spec = load_spec(write(model))
    assert spec.input.input_range == largest
    assert any("stored samples" in note for note in spec.notes) == (largest is not None)


def test_a_constant_condition_chooses_a_branch(write):
    def branch(operator):
        out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(operator, ["x"], ["z"])], "b", [], [out])

    for condition, layer in ((True, "relu"), (False, "tanh")):
        model = chain(
            ("Identity", [], {}), constants={"c": np.array(condition)}, shape=(1, 2, 4, 4)
        )
        del model.graph.node[:]
        model.graph.node.append(helper.make_node(
            "If", ["c"], ["y"], then_branch=branch("Relu"), else_branch=branch("Tanh")
        ))  # fmt: skip
        assert [node.layer.name for node in load_onnx(write(model)).pipeline.nodes] == [layer]


def test_functions_of_the_model_are_written_out(write):
    model = chain(("Identity", [], {}), shape=(1, 2, 4, 4))
    del model.graph.node[:]
    leaky = helper.make_node("LeakyRelu", ["a"], ["t"])
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=1)
    model.functions.append(helper.make_function(
        "own", "Twice", ["a"], ["b"], [leaky, helper.make_node("Abs", ["t"], ["b"])],
        [helper.make_opsetid("", 17)], ["slope"],
    ))  # fmt: skip
    model.graph.node.append(helper.make_node("Twice", ["x"], ["y"], domain="own", slope=0.5))
    read = load_onnx(write(model)).pipeline
    assert str(read).count("leaky_relu(0.5)") == 1
    assert [node.layer.name for node in read.nodes] == ["leaky_relu", "abs"]
    for depth in range(40):  # each calls the one before twice
        name = f"F{depth}"
        inner = [
            helper.make_node(f"F{depth - 1}" if depth else "Relu", [one], [two],
                             domain="own" if depth else "")
            for one, two in (("a", "t"), ("t", "b"))
        ]  # fmt: skip
        model.functions.append(
            helper.make_function("own", name, ["a"], ["b"], inner, [helper.make_opsetid("", 17)])
        )
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("F39", ["x"], ["y"], domain="own"))
    with pytest.raises(CnnvizError, match="functions"):
        load_onnx(write(model))


def test_outputs_that_no_layer_gives_are_left_out_with_a_note(write):
    model = chain(("Relu", [], {}), shape=(1, 2, 4, 4))
    model.graph.node.append(helper.make_node("NonZero", ["y"], ["z"]))
    model.graph.output.add(name="z")
    spec = load_spec(write(model))
    assert len(spec.pipeline.nodes) == 1
    assert "NonZero" in spec.notes[0]


def test_shapes_are_folded(write):
    model = model_of(
        [
            ("Shape", ["x"], ["s"], {}), ("Gather", ["s", "zero"], ["n"], {}),
            ("Unsqueeze", ["n", "first"], ["n1"], {}),
            ("Concat", ["n1", "rest"], ["t"], {"axis": 0}),
            ("Reshape", ["x", "t"], ["y"], {}),
        ],
        {"zero": np.array(0), "first": integers(0), "rest": integers(-1)},
    )  # fmt: skip
    assert [str(node.layer.name) for node in load_onnx(write(model)).pipeline.nodes] == ["flatten"]


def test_stage_names_are_legal_and_unique(write):
    model = chain(*[("Relu", [], {})] * 5)
    for node, name in zip(
        model.graph.node, ["../../a", "input", "é/x", "", "a" * 999], strict=True
    ):
        node.name = name
    names = [node.name for node in load_onnx(write(model)).pipeline.nodes]
    assert names[1] == "input_2"
    assert len(set(names)) == 5
    assert all(STAGE_NAME.fullmatch(name) and len(name) < 90 for name in names)


def test_weights_are_loaded_and_may_be_replaced(write, tmp_path):
    from cnnviz.cli.app import app

    path, image = write(SMALL), str(tmp_path / "x.npy")
    np.save(image, noise(1, 3, 12, 12))
    np.savez(tmp_path / "w.npz", **{"Conv.0.bias": np.array([0, 9, 0, 0], np.float32)})
    outputs = []
    for extra in ([], ["--weights", str(tmp_path / "w.npz")]):
        command = ["pipeline", image, path, "--save", "npy", "-q", "--out", str(tmp_path / "out")]
        with pytest.raises(SystemExit) as stop:
            app([*command, *extra], prog_name="cnnviz")
        assert not stop.value.code
        outputs.append(np.load(next((tmp_path / "out").rglob("05_softmax*.npy"))))
    assert outputs[1][1] > outputs[0][1]


# Errors -----------------------------------------------------------------------------------------


def test_unsupported_operators_are_told_all_at_once(write):
    model = chain(
        ("Einsum", [], {}), ("Relu", [], {}), ("Resize", ["", "s"], {"antialias": 1}),
        ("NonZero", [], {}), ("Einsum", [], {}),
        constants={"s": np.ones(4, np.float32)},
    )  # fmt: skip
    with pytest.raises(CnnvizError) as caught:
        load_onnx(write(model))
    assert "Einsum (Einsum/0, Einsum/4); NonZero (NonZero/3)" in caught.value.message
    other = chain(("Resize", ["", "s"], {"antialias": 1}), ("LRN", [], {"size": 4}),
                  constants={"s": np.ones(4, np.float32)})  # fmt: skip
    with pytest.raises(CnnvizError, match=r"Resize: antialias \(Resize/0\)"):
        load_onnx(write(other))


def test_without_the_extra_the_error_says_how_to_get_it(write):
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from cnnviz.files.spec import load_spec\n"
        f"load_spec({write(SMALL)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'cnnviz[onnx]'" in done.stderr


def damaged(change):
    model = type(SMALL)()
    model.CopyFrom(SMALL)
    change(model.graph)
    return model


def external(tensor, **entries):
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


HOSTILE = {
    "does not parse": b"\xff" * 100,
    "holds no graph": b"",
    "10,000,000,000,000 values": damaged(
        lambda graph: graph.initializer[1].dims.__setitem__(0, 10**13)
    ),
    "has the shape -4": damaged(lambda graph: graph.initializer[1].dims.__setitem__(0, -4)),
    "the file holds 3": damaged(
        lambda g: setattr(g.initializer[1], "raw_data", g.initializer[1].raw_data[:12])
    ),
    "reads 'y', which nothing before it computes": damaged(
        lambda graph: graph.node[0].input.__setitem__(0, "y")
    ),
    "reads 'w'": damaged(lambda graph: graph.initializer.__delitem__(0)),
    "computed twice": damaged(lambda graph: graph.node[1].output.append("t1")),
    "is there twice": damaged(lambda graph: graph.initializer.append(graph.initializer[0])),
    "stride is 4611686018427387904": damaged(
        lambda g: g.node[0].attribute.append(helper.make_attribute("strides", [1 << 62, 1]))
    ),
    "a batch of 7": damaged(
        lambda g: setattr(g.input[0].type.tensor_type.shape.dim[0], "dim_value", 7)
    ),
    "values from '/etc/passwd'": damaged(
        lambda g: external(g.initializer[0], location="/etc/passwd")
    ),
    "values from '../x'": damaged(lambda g: external(g.initializer[0], location="../x")),
    "values from 'link'": damaged(lambda g: external(g.initializer[0], location="link")),
    "nothing computes its output 'z'": damaged(lambda g: setattr(g.output[0], "name", "z")),
    "it makes a constant of 1,000,000,000,000 values": model_of(
        [("ConstantOfShape", ["s"], ["c"], {}), ("Add", ["x", "c"], ["y"], {})],
        {"s": integers(10**6, 10**6)},
    ),
}


@pytest.mark.parametrize("told", HOSTILE)
def test_hostile_models_give_one_clear_error(told, write, tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(CnnvizError) as caught:
        load_onnx(write(HOSTILE[told]))
    assert told in caught.value.message
    assert "model.onnx" in caught.value.message


def test_external_data_beside_the_model_is_read(write, tmp_path):
    values = weights(4, 3, 3, 3)
    (tmp_path / "data.bin").write_bytes(b"\0" * 64 + values.tobytes())

    def move(graph):
        graph.initializer[0].raw_data = b""
        external(graph.initializer[0], location="data.bin", offset="64", length="432")

    read = load_onnx(write(damaged(move)))
    np.testing.assert_array_equal(read.params["Conv.0.weight"], values)
    (tmp_path / "data.bin").write_bytes(b"short")
    with pytest.raises(CnnvizError, match="needs 432 bytes"):
        load_onnx(write(damaged(move)))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(CnnvizError, match="does not exist"):
        load_onnx(str(tmp_path / "none.onnx"))
    with pytest.raises(CnnvizError, match="not a file"):
        load_onnx(str(tmp_path))


def test_a_little_fuzzing(tmp_path):
    import random

    from tests.fuzz.onnx_models import change_bytes, change_fields, seeds

    rng, path = random.Random(7), tmp_path / "model.onnx"  # noqa: S311 - not for secrets
    for number in range(300):
        model = rng.choice(seeds())
        if number % 2:
            change_fields(rng, model)
        data = model.SerializeToString()
        path.write_bytes(data if number % 2 else change_bytes(rng, data))
        try_one(path)
    for model in seeds():
        path.write_bytes(model.SerializeToString())
        assert isinstance(load_onnx(str(path)).pipeline, Pipeline)
