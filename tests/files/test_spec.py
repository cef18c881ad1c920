"""Pipelines as text, TOML and bundled names: any pipeline, written and read, is the same."""

# ruff: noqa: S311 - what is random here is not secret

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.layers import LAYERS, make_layer
from cnnviz.core.layers.base import options_of
from cnnviz.core.layers.graph import Merge
from cnnviz.core.pipeline import Pipeline, Term
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.kernel_text import parse_kernels
from cnnviz.files.language import parse_shape
from cnnviz.files.spec import InputSettings, bundled, load_spec, parse

# Round trip -------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.floats(-1e6, 1e6, allow_nan=False),
    st.floats(-3e38, 3e38),
    st.integers(-(10**6), 10**6),
    st.sampled_from([1e-300, -0.0, 1e22, 0.1]),
)
POSITIVE = st.floats(1e-30, 1e30)
PAIRS = st.one_of(st.integers(1, 99), st.tuples(st.integers(1, 99), st.integers(1, 99)))
PADDINGS = st.one_of(
    st.sampled_from(["valid", "SAME", "same", "same_lower", "SAME_UPPER", "full", "NOTSET"]),
    st.integers(0, 9),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.tuples(*[st.integers(0, 9)] * 4),
)
BANKS = ["sobel", "prewitt", "scharr", "kirsch", "freichen", "gabor_bank(4)"]
SINGLES = [
    "sobel_x", "identity", "laplacian_8", "gaussian(7, sigma=1.5)", "gaussian((3, 5))", "box(2)",
    "gabor(15, theta=45, wavelength=6, sigma=3)", "motion(9, angle=-30)", "log(9, sigma=7/5)",
    "random(8, size=5, seed=0)", "1,0,-1; 2,0,-2; 1,0,-1", "-1,0,1", "-1/3,1/9;.5,1e-3", "5", "-5",
    "3x3: 1,0,-1 2,0,-2 1,0,-1", "2x1: -1, 1/2",
]  # fmt: skip
KERNELS = st.one_of(
    st.sampled_from(SINGLES + BANKS),
    st.lists(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=2), min_size=1, max_size=3).map(
        lambda rows: ";".join(",".join(map(repr, row)) for row in rows)
    ),
)
STRATEGIES = {
    "filters": st.one_of(
        st.integers(1, 512), st.lists(KERNELS.map(parse_kernels), min_size=1, max_size=3).map(tuple)
    ),
    "padding": PADDINGS,
    "pad.padding": PADDINGS.filter(lambda value: not isinstance(value, str)),
    "padding_mode": st.sampled_from(["zeros", "constant", "reflect", "Symmetric", "replicate"]),
    "bias": st.booleans(), "flip": st.booleans(), "ceil_mode": st.booleans(),
    "count_include_pad": st.booleans(), "seed": st.integers(0, 2**63), "groups": st.integers(1, 9),
    "output_padding": st.integers(0, 3), "num_parameters": st.integers(1, 9),
    "approximate": st.sampled_from(["none", "tanh"]), "mode": st.sampled_from(["nearest",
    "BILINEAR"]),
    "units": st.integers(1, 10**6), "size": st.integers(1, 9), "p": st.floats(0, 1),
    "eps": POSITIVE, "norm_type": POSITIVE, "celu.alpha": POSITIVE, "softplus.beta": POSITIVE,
    "negative_slope": NUMBERS, "lambd": POSITIVE, "alpha": NUMBERS, "beta": NUMBERS, "k": NUMBERS,
    "pad_value": NUMBERS, "value": NUMBERS, "low": NUMBERS, "high": NUMBERS, "exponent": NUMBERS,
    "shape": st.one_of(st.integers(1, 99), st.tuples(*[st.integers(1, 9)] * 3)),
    "axis": st.integers(0, 2), "start": st.integers(0, 9), "length": st.integers(1, 9),
    "axes": st.sampled_from([0, 1, (0, 1), (2, 1), (0, 1, 2)]), "step": st.integers(1, 9),
    "transpose.axes": st.permutations([0, 1, 2]).map(tuple), "block": st.integers(1, 4),
    "resize.mode": st.sampled_from(["Bilinear", "bicubic"]), "cubic_coeff_a": NUMBERS,
    "reduce.mode": st.sampled_from(["mean", "Sum", "max"]), "resize.size": PAIRS,
    "channels": st.sampled_from(["outer", "Inner"]), "resize.scale": st.floats(0.1, 99),
    "coordinates": st.sampled_from(["Half_Pixel", "asymmetric", "align_corners"]),
    "rounding": st.sampled_from(["floor", "Ceil", "round_prefer_ceil"]),
}  # fmt: skip
NAMES = st.one_of(
    st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,9}\Z"),
    st.sampled_from(
        ["as", "true", "relu", "relu2", "conv1", "a-", "_", "layer1.0.conv1", "x->"[:2]]
    ),
)


def a_setting(draw, name, field):
    key = next((k for k in (f"{name}.{field.name}", field.name) if k in STRATEGIES), None)
    return draw(STRATEGIES[key] if key else PAIRS)


@st.composite
def pipelines(draw):
    """Draw a pipeline of any layers, names, branches and references, whether or not it fits."""
    terms, built = [], []  # built: the names so far, as Pipeline gives them
    for _ in range(draw(st.integers(1, 7))):
        if built and draw(st.integers(0, 3)) == 0:
            terms.append(Term(make_layer("from", draw(reference(built)))))
        name = draw(st.sampled_from([name for name in LAYERS if name != "from"]))
        if issubclass(LAYERS[name], Merge):
            most = LAYERS[name].arity[1]
            named = st.lists(reference(built), min_size=1, max_size=most - 1 if most else 3)
            layer = make_layer(name, *draw(named))
        else:
            chosen = {}
            for field, _ in options_of(LAYERS[name]):
                if field.default is dataclasses.MISSING or draw(st.booleans()):
                    chosen[field.name] = a_setting(draw, name, field)
            if isinstance(chosen.get("filters"), tuple):
                chosen.pop("kernel_size", None)
                sizes = {k.size for group in chosen["filters"] for k in group.kernels}
                if len(sizes) > 1:
                    chosen["padding"] = draw(st.sampled_from(["same", "same-lower"]))
            if chosen.get("value") is not None:
                chosen.pop("shape", None)
            layer = make_layer(name, **chosen)
        terms.append(Term(layer, draw(st.one_of(st.none(), NAMES))))
        try:
            built = [node.name for node in Pipeline.from_terms(terms).nodes]
        except RequestError as error:
            assert "taken" in error.message or "image" in error.message, error  # noqa: PT017
            assume(False)
    return Pipeline.from_terms(terms)


def reference(built):
    """A name or the index of an earlier stage."""
    indices = st.integers(0, len(built))
    named = st.sampled_from(["input", *built])
    return st.one_of(indices, indices.map(str), named)


@given(pipelines())
@settings(max_examples=250, deadline=None)
def test_a_pipeline_written_and_read_is_the_same(pipeline):
    text = str(pipeline)
    again = parse(text)
    assert again == pipeline
    assert str(again) == text
    lines = text.replace(" -> ", "\n")
    assert parse(lines) == pipeline
    assert parse(text.replace(" -> ", "→")) == pipeline
    assert parse(f"\n# comment\n  {text}  # end\n") == pipeline


@given(pipelines())
@settings(max_examples=60, deadline=None)
def test_any_pipeline_has_rows_or_says_why_not(pipeline):
    rows = pipeline.rows((3, 40, 30))
    seen = []
    try:
        seen.extend(rows)
    except CnnvizError as error:
        assert error.message.startswith("stage ")  # noqa: PT017
        assert error.hint  # noqa: PT017
        return
    for row, node in zip(seen, pipeline.nodes, strict=True):
        assert issubclass(LAYERS[row.layer], Merge) or parse(row.text)
        assert row.name == node.name
        assert row.memory_bytes > 0
        assert row.params >= 0
        assert row.macs >= 0
        assert min(row.receptive_field) >= 1


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("conv(8, 3)", "conv(8, 3)"),
        ("conv(8, kernel_size=(3, 3))", "conv(8, 3)"),
        ("CONV(8)", "conv(8)"),
        ("gap", "global_avgpool"),
        ("conv(8, 5, padding=SAME_LOWER)", "conv(8, 5, padding=same-lower)"),
        ("conv(8, 5, 1, 0)", "conv(8, 5)"),
        ("conv(8, 5, padding=(1, 2))", "conv(8, 5, padding=(1, 2))"),
        ("conv(8, 5, padding=(1, 2, 1, 2))", "conv(8, 5, padding=(1, 2))"),
        ("conv(8, 5, padding=(1, 1, 1, 1))", "conv(8, 5, padding=1)"),
        ("conv(8, 5, padding=(1, 2, 3, 4))", "conv(8, 5, padding=(1, 2, 3, 4))"),
        ("conv(filters=8, stride=2)", "conv(8, stride=2)"),
        ("conv(filters=sobel_x)", "conv(sobel_x)"),
        ("conv(filters=(sobel_x, box(3)))", "conv(sobel_x, box(3))"),
        ("conv('sobel_x', \"box(3)\")", "conv(sobel_x, box(3))"),
        ('conv("1,0;0,1")', 'conv("1,0;0,1")'),
        ("conv(8, bias=off)", "conv(8, bias=false)"),
        ("conv(8, bias=1)", "conv(8, bias=true)"),
        ("avgpool(2, ceil_mode=yes)", str(parse("avgpool(ceil_mode=true)"))),
        ("maxpool(3, 2)", "maxpool(3, 2)"),
        ("maxpool(3.0, stride=2e0)", "maxpool(3, 2)"),
        ("leaky_relu(1/4)", "leaky_relu(0.25)"),
        ("dropout(0.5)", "dropout"),
        ("depthwise(sobel)", "depthwise(sobel)"),
        ("depthwise(2, 5)", "depthwise(2, 5)"),
        ("conv(8, seed=3) as x -> relu as relu1", "conv(8, seed=3) as x -> relu"),
        ("relu -> add(0)", "relu -> add(input)"),
    ],
)
def test_written_forms(text, written):
    assert str(parse(text)) == written
    assert parse(written) == parse(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no layer"),
        ("  # nothing\n", "has no layer"),
        ("rellu", "did you mean"),
        ("vgg61", "unknown layer or bundled pipeline 'vgg61'"),
        ("relu -> vgg16", "unknown layer 'vgg16'"),
        ("conv(sobel_x, 3)", "3 stands among kernels"),
        ("conv(sobel_x, (1, 2))", "stands among kernels"),
        ("conv(sobel_x, kernel_size=3)", "kernel_size is given beside kernels"),
        ("conv(sobel_q)", "unknown kernel 'sobel_q'"),
        ("conv(8, gaussian(3))", "gaussian(3) cannot be an argument here"),
        ("maxpool(box(2))", "box(2) cannot be an argument here"),
        ("conv(8, padding=box(2))", "box(2) cannot be an argument here"),
        ("conv(sobel, box(5))", "different sizes"),
        ("conv(8, filters=sobel)", "filters twice"),
        ("conv(filters=(sobel_x, 3))", "stands among kernels"),
        ("conv((1, 2))", "stands among kernels"),
        ("conv(-1)", "filters is -1"),
        ("conv(1e9)", "filters is 1000000000"),
        ("conv(8, 3, stride=0)", "stride is 0"),
        ("conv(8, 3, padding=sane)", "'sane'"),
        ("conv(8, 3, strid=2)", "did you mean stride?"),
        ("relu(1)", "relu() got 1 argument"),
        ("dense", "dense() needs units"),
        ("conv(8, (1, (2, 3)))", "kernel_size must be a whole number"),
        ("adaptive_avgpool((1, 2, 3))", "has 3 values"),
        ("leaky_relu(slope)", "must be a number, not 'slope'"),
        ("softplus(beta=0)", "beta is 0"),
        ("leaky_relu(" + "9" * 400 + ")", "negative_slope is inf"),
        ("conv(" + "9" * 400 + ")", "filters must be a whole number"),
    ],
)
def test_requests_that_make_no_sense(text, told):
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert told in str(caught.value)
    assert caught.value.exit_code == 2


def test_many_terms_are_read():
    """In time that grows with their number: were it with its square, this would take minutes."""
    pipeline = parse("relu\n" * 3000)
    assert len(pipeline.nodes) == 3000
    assert pipeline.nodes[-1].name == "relu3000"


# Bundled ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled())
def test_bundled_pipelines(name):
    spec = load_spec(name)
    assert spec.name == name
    assert parse(str(spec.pipeline)) == spec.pipeline
    shape = spec.input.shape or (1, 224, 224)
    rows = list(spec.pipeline.rows(shape))
    assert len(rows) == len(spec.pipeline.nodes)
    if spec.input.labels is not None:
        assert rows[-1].output_shape == (len(spec.input.labels),)
    for values in (spec.input.mean, spec.input.std):
        assert values is None or len(values) in (1, shape[0])
    weights = spec.input.weights
    assert weights is None or weights.startswith("package:") or Path(weights).is_file()


def test_bundled_names():
    assert bundled() == [
        "alexnet", "digits", "digits_gap", "digits_mlp", "edges", "efficientnet_lite0", "googlenet",
        "lenet5", "mobilenet_v1", "mobilenet_v2",
        "resnet18", "squeezenet1_1", "vgg16",
    ]  # fmt: skip
    assert not set(bundled()) & set(LAYERS)


# TOML -------------------------------------------------------------------------------------------


def write(folder, text, name="net.toml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(
    "written",
    [
        'pipeline = "conv(2) as a -> relu"',
        'pipeline = ["conv(2) as a", "relu"]',
        'pipeline = ["conv(2) as a -> relu"]',
        'pipeline = """\nconv(2) as a # two\nrelu\n"""',
        "pipeline = 'conv(2) as a -> relu'\r\n[input]\r\n",
        '\ufeffpipeline = "conv(2) as a -> relu"',
    ],
)
def test_toml_pipelines(written, tmp_path):
    spec = load_spec(write(tmp_path, written))
    assert spec.pipeline == parse("conv(2) as a -> relu")
    assert spec.name == "net"
    assert spec.input == InputSettings()


@pytest.mark.parametrize("text", [
    ".".join(["a"] * 40_000) + " = 1",
    "[" + ".".join(["a"] * 40_000) + "]",
    "[" + ".".join(['"a"'] * 40_000) + "]",
    "x = {" + ".".join(["a"] * 40_000) + " = 1}",
    "# " + "x" * 300_000,
])  # fmt: skip
def test_toml_that_would_take_all_memory(text, tmp_path):
    (tmp_path / "net.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CnnvizError, match=r"parts|larger"):
        load_spec(str(tmp_path / "net.toml"))


def test_doubled_maps_take_no_memory():
    doubled = " -> ".join(f"concat(a{i}) as a{i + 1}" for i in range(35))
    pipeline = parse(f"conv(sobel) as a0 -> {doubled}")
    assert list(pipeline.rows((1, 8, 8)))[-1].output_shape[0] == 2**36
    assert pipeline.map_names(())["a35"] == ()


@pytest.mark.parametrize("text", ["pad(1, pad_value=1e39)", "scale(value=-1e39)"])
def test_numbers_beyond_float32_are_refused(text):
    with pytest.raises(RequestError, match="1e\\+39") as caught:
        parse(text)
    assert caught.value.exit_code == 2


def test_toml_input(tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog \n\n", encoding="utf-8")
    spec = load_spec(
        write(
            tmp_path,
            """
            pipeline = "relu"
            [input]
            color = "rgb"
            size = [28, 32]
            mean = [0.5, 1, 0.25]
            std = 2
            labels = "names.txt"
            weights = "w/net.npz"
            """,
        )
    )
    assert spec.input == InputSettings(
        "rgb", (28, 32), (0.5, 1.0, 0.25), (2.0,), ("cat", "dog"), str(tmp_path / "w" / "net.npz")
    )
    for size, read in (("28", (28, 28)), ('"28x32"', (28, 32)), ("[28]", (28, 28))):
        text = f'pipeline = "relu"\n[input]\nsize = {size}'
        assert load_spec(write(tmp_path, text)).input.size == read
    labels = load_spec(write(tmp_path, 'pipeline = "relu"\n[input]\nlabels = ["a", "b"]'))
    assert labels.input.labels == ("a", "b")


def test_toml_preparation(tmp_path):
    text = """
    pipeline = "relu"
    [input]
    color = "bgr"
    size = 256
    crop = [224, 200]
    fit = "none"
    invert = "auto"
    input_range = 255
    """
    own = load_spec(write(tmp_path, text)).input
    assert own == InputSettings(
        color="bgr", size=(256, 256), crop=(224, 200), fit="none", invert="auto", input_range=255.0
    )
    assert own.shape == (3, 224, 200)
    assert dataclasses.replace(own, crop=None).shape == (3, 256, 256)
    assert InputSettings(fit="digit").shape == (1, 28, 28)
    assert InputSettings(color="rgb").shape is None


def test_toml_names_files_beside_it_only(tmp_path):
    (tmp_path / "secret.txt").write_text("1,0,-1\n", encoding="utf-8")
    inner = tmp_path / "net"
    inner.mkdir()
    (inner / "near.txt").write_text("1,0,-1\n", encoding="utf-8")
    (inner / "link.txt").symlink_to(tmp_path / "secret.txt")
    for line in (
        "pipeline = 'conv(@{})'", "pipeline = 'conv(filters=\"@{}\")'",
        "pipeline = 'relu'\n[input]\nlabels = '{}'", "pipeline = 'relu'\n[input]\nweights = '{}'",
    ):  # fmt: skip
        for away in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "/dev/zero"):
            path = write(inner, line.format(away))
            with pytest.raises(RequestError, match="does not lie beside it") as caught:
                load_spec(path)
            assert "--allow-outside" in str(caught.value)
            if away != "/dev/zero":
                load_spec(path, allow_outside=True)
        load_spec(write(inner, line.format("near.txt")))
    kernel = load_spec(write(inner, "pipeline = 'conv(@near.txt)'")).pipeline
    assert parse(str(kernel)) == kernel  # its text names the file from here


def test_habits_of_torch_are_doubted():
    for text in ("conv(3, 64, 3)", "conv(1, 6, 5) -> relu", "conv(64, 128, 3, padding=1)"):
        (said,) = load_spec(text).notes
        assert said.startswith(text.partition(")")[0].partition(", padding")[0])
    for text in ("conv(64, 3)", "conv(64, 7, 2)", "conv(96, 11, 4)", "conv(768, 16, 16)",
                 "conv(64, 3, 1, 1)", "conv(8, 9, 3)", "conv(3, 5, 1)"):  # fmt: skip
        assert load_spec(text).notes == ()


def refusal(folder, text):
    with pytest.raises(CnnvizError) as caught:
        load_spec(write(folder, text))
    assert "net.toml" in str(caught.value) or "names" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no pipeline"),
        ("pipeline = 3", "has no pipeline"),
        ("pipeline = [1, 2]", "has no pipeline"),
        ("pipeline = []", "has no layer"),
        ('pipeline = ""', "has no layer"),
        ('pipeline = "relu ->"', "expected a name"),
        ('pipeline = ["relu", "conv(8;9)"]', "line 2, column 7"),
        ('pipelin = "relu"', "unknown key"),
        ('pipeline = "relu"\n[inputs]', "did you mean input"),
        ('pipeline = "relu"\ninput = 3', "not a table"),
        ('pipeline = "relu"\n[[input]]', "not a table"),
        ("pipeline", "is not TOML"),
        ('pipeline = "relu', "is not TOML"),
        ('pipeline = "relu"\npipeline = "relu"', "is not TOML"),
        (b'pipeline = "\xff"', "not UTF-8"),
        (b'pipeline = "relu\0"', "is not TOML"),
        ("pipeline = " + "[" * 5000, "is not TOML"),
        ("pipeline = 1" + "0" * 5000, ""),
    ],
)
def test_wrong_toml(text, told, tmp_path):
    assert told in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("colour = 1", "did you mean color"),
        ("color = 'blue'", "choose from bgr, gray, rgb"),
        ("color = 3", "choose from bgr, gray, rgb"),
        ("color = ['rgb']", "unknown"),
        ("crop = 0", "write rows x columns"),
        ("fit = 'digits'", "did you mean digit"),
        ("fit = true", "choose from digit, none"),
        ("invert = true", "choose from always, auto, never"),
        ("input_range = [255]", "[255] is not a number"),
        ("input_range = '255'", "'255' is not a number"),
        ("size = 'big'", "write rows x columns"),
        ("size = [1, 2, 3]", "write rows x columns"),
        ("size = [0, 2]", "write rows x columns"),
        ("size = -3", "write rows x columns"),
        ("size = 2.5", "write rows x columns"),
        ("size = true", "write rows x columns"),
        ("size = []", "write rows x columns"),
        ("mean = 'x'", "'x' is not a number"),
        ("mean = [true]", "True is not a number"),
        ("std = [[1]]", "[1] is not a number"),
        ("labels = 3", "must be a list of names or a file's name"),
        ("labels = 'names.txt'", "does not exist"),
        ("weights = 3", "must be a file's name"),
        ("weights = ['a']", "must be a file's name"),
    ],
)
def test_wrong_input_settings(line, told, tmp_path):
    assert told in refusal(tmp_path, f'pipeline = "relu"\n[input]\n{line}')


@pytest.mark.parametrize(
    "line",
    [
        "size = 0x" + "f" * 5000,
        "size = " + "9" * 5000,
        "labels = [0x" + "f" * 5000 + "]",
        "color = 0x" + "f" * 5000,
        "mean = 0x" + "f" * 500,
        "std = [1, 1" + "0" * 400 + "]",
        "mean = [[0x" + "f" * 5000 + "]]",
    ],
    ids=lambda line: line[:12],
)
def test_endless_numbers_are_refused(line, tmp_path):
    refusal(tmp_path, f'pipeline = "relu"\n[input]\n{line}')


def test_files_that_cannot_be_read(tmp_path):
    for text in ("missing.toml", "a\0b.toml", "x" * 5000 + ".toml", str(tmp_path) + "/.toml"):
        with pytest.raises(CnnvizError) as caught:
            load_spec(text)
        assert caught.value.exit_code == 1
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(CnnvizError, match="cannot be read"):
        load_spec(str(tmp_path / "folder.toml"))
    (tmp_path / "large.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(CnnvizError, match="larger than"):
        load_spec(str(tmp_path / "large.toml"))
    (tmp_path / "empty.txt").write_bytes(b" \n\n")
    with pytest.raises(CnnvizError, match="holds no labels"):
        load_spec(write(tmp_path, 'pipeline="relu"\n[input]\nlabels="empty.txt"'))


def test_a_file_is_known_by_its_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relu").write_text("not read", encoding="utf-8")
    assert load_spec("relu").pipeline == parse("relu")
    assert load_spec("relu").name == "pipeline"


def test_toml_fuzz(tmp_path):
    rng = random.Random(23)
    seed = b'pipeline = ["conv(2) as a", "relu"]\n[input]\ncolor = "rgb"\nsize = [28, 32]\n'
    pieces = [b"\xff", b"\0", b'"', b"'", b"[", b"]", b"=", b"\n", b"#", b"1e999", b"0x", b"nan",
              b"1979-05-27", b"{a=1}", b"[input]", b"\\u0000", b"9" * 30, b"relu",
              b"labels"]  # fmt: skip
    path = tmp_path / "net.toml"
    for _ in range(1500):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) + 1)
            if rng.random() < 0.6:
                data[at:at] = rng.choice(pieces)
            else:
                del data[at : at + rng.randint(1, 5)]
        path.write_bytes(data)
        try:
            load_spec(str(path))
        except CnnvizError as error:
            assert error.message  # noqa: PT017 - anything else is the failure
        except Exception as error:
            raise AssertionError(bytes(data)) from error


@given(st.binary(max_size=80))
@settings(max_examples=80)
def test_any_bytes_as_toml(data):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_bytes(data)
        with pytest.raises(CnnvizError):
            load_spec(str(path))


@given(st.text(max_size=20))
@settings(max_examples=100)
def test_any_shape_text(text):
    try:
        shape = parse_shape(text)
    except RequestError:
        return
    assert len(shape) == 3
    assert np.prod(shape) > 0
