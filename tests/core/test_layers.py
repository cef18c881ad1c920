"""Contract tests of every registered layer, and each one's values against torch or by hand."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.signal
import scipy.special
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.kernels import KERNELS, build_kernels
from cnnviz.core.layers import ALIASES, LAYERS, Layer, find_layer, make_layer
from cnnviz.core.layers.base import options_of
from cnnviz.core.layers.kernel_groups import KernelGroup
from cnnviz.core.settings import Padding
from cnnviz.core.text import layer_text
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.kernel_text import parse_kernels
from cnnviz.files.language import parse_call
from cnnviz.files.spec import layer_of, parse
from tests.oracles import adaptive_oracle, correlate_oracle, load_torch, noise, pad_maps

STAGES = {name: layer for name, layer in LAYERS.items() if layer.is_stage}

# Contract ---------------------------------------------------------------------------------------

PAIR = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 4), st.integers(1, 4)))
PADDING = st.one_of(
    st.sampled_from(["valid", "same", "same-lower", "full", "SAME_UPPER", "SAME"]),
    st.integers(0, 2),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(*[st.integers(0, 2)] * 4),
)
NUMBER = st.floats(-3, 3).map(lambda value: round(value, 3))
POSITIVE = st.floats(0.01, 5).map(lambda value: round(value, 3))
KERNEL_TEXTS = st.sampled_from(
    ["sobel_x", "sobel", "box(2)", "gaussian(5, sigma=1.5)", "1,0,-1;2,0,-2", "-1/3,1", "kirsch"]
)
FILTERS = st.one_of(
    st.integers(1, 6),
    st.lists(KERNEL_TEXTS.map(parse_kernels), min_size=1, max_size=3).map(tuple),
)

# How to draw each option, by its name (or layer.name where a name means different things).
DRAW = {
    "filters": FILTERS,
    "kernel_size": PAIR,
    "stride": PAIR,
    "padding": PADDING,
    "pad.padding": st.one_of(*PADDING.wrapped_strategy.original_strategies[1:])
    if hasattr(PADDING, "wrapped_strategy")
    else PADDING.filter(lambda value: not isinstance(value, str)),
    "padding_mode": st.sampled_from(
        ["zeros", "constant", "reflect", "symmetric", "replicate", "circular"]
    ),
    "pad_value": NUMBER,
    "dilation": PAIR,
    "groups": st.integers(1, 3),
    "bias": st.booleans(),
    "seed": st.integers(0, 2**63),
    "flip": st.booleans(),
    "output_padding": st.integers(0, 2),
    "ceil_mode": st.booleans(),
    "count_include_pad": st.booleans(),
    "norm_type": POSITIVE,
    "output_size": st.one_of(st.integers(1, 9), st.tuples(st.integers(1, 9), st.integers(1, 9))),
    "negative_slope": NUMBER,
    "lambd": POSITIVE,
    "num_parameters": st.sampled_from([1, 1, 2, 3]),
    "alpha": POSITIVE,
    "beta": POSITIVE,
    "k": POSITIVE,
    "size": st.integers(1, 7),
    "eps": POSITIVE,
    "p": st.floats(0, 1),
    "approximate": st.sampled_from(["none", "tanh"]),
    "units": st.integers(1, 12),
    "matmul.stages": st.just(("a",)),
    "transpose": st.booleans(),
    "stages": st.lists(st.sampled_from(["a", "input", "conv1", "x.y-z"]), min_size=1, max_size=3)
    .map(tuple),
    "stage": st.sampled_from(["a", "input", "conv1"]),
    "scale": PAIR,
    "mode": st.sampled_from(["nearest", "bilinear"]),
    "resize.mode": st.sampled_from(["nearest", "bilinear", "bicubic"]),
    "cubic_coeff_a": st.sampled_from([-0.75, -0.5]),
    "value": NUMBER,
    "shape": st.sampled_from([1, 4, 6, (1, 1, 1), (2, 1, 1), (1, 3, 2), (2, 2, 1)]),
    "low": NUMBER,
    "high": NUMBER,
    "exponent": st.sampled_from([2, 0.5, -1.0, 3]),
    "axes": st.sampled_from([0, 1, 2, (0, 1), (1, 2), (0, 1, 2)]),
    "axis": st.integers(0, 2),
    "reduce.mode": st.sampled_from(["mean", "sum", "max", "min"]),
    "transpose.axes": st.permutations([0, 1, 2]).map(tuple),
    "length": st.integers(1, 3),
    "start": st.integers(0, 3),
    "step": st.sampled_from([1, 2, -1, -2]),
    "block": st.integers(1, 2),
    "channels": st.sampled_from(["outer", "inner"]),
    "resize.scale": st.one_of(POSITIVE, st.tuples(POSITIVE, POSITIVE)),
    "resize.size": st.tuples(st.integers(1, 9), st.integers(1, 9)),
    "coordinates": st.sampled_from(
        ["half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "tf_half_pixel_for_nn",
         "asymmetric", "align_corners"]
    ),
    "rounding": st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
}  # fmt: skip
# Layers that fit vectors only, or maps of one pixel only.
SHAPES = {"dense": st.sampled_from([(7,), (5, 1, 1), (1,)])}
MAPS = st.tuples(st.sampled_from([1, 2, 3, 4, 6]), st.integers(1, 9), st.integers(1, 9))
VECTORS = st.tuples(st.integers(1, 9))


@st.composite
def layers_of(draw, name):
    """Draw a layer of that name: required settings, and some of the others."""
    chosen = {}
    for field, _ in options_of(LAYERS[name]):
        strategy = DRAW.get(f"{name}.{field.name}", DRAW.get(field.name))
        required = field.default is dataclasses.MISSING
        assert strategy is not None or not required, (
            f"say in DRAW how to draw {name}'s {field.name}"
        )
        if strategy is not None and (required or draw(st.booleans())):
            chosen[field.name] = draw(strategy)
    try:
        return make_layer(name, **chosen)
    except RequestError:
        # The few settings that exclude each other: kernels and a size, sizes and their padding; a
        # constant's value and its shape.
        assert isinstance(chosen.get("filters"), tuple) or "value" in chosen, chosen
        assume(False)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_can_be_drawn(name):
    """Fails for a new layer with options of which DRAW knows nothing."""
    unknown = [
        field.name
        for field, _ in options_of(LAYERS[name])
        if field.name not in DRAW and f"{name}.{field.name}" not in DRAW
    ]
    assert not unknown, f"say in DRAW how to draw {unknown}"


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_tells_about_itself(name):
    layer = LAYERS[name]
    assert layer.name == name
    for told in (layer.summary, layer.formula, layer.family, layer.__doc__):
        assert told
        assert told.strip()
    for field, how in options_of(layer):
        assert how.help, field.name
        # Every default can be shown and is what its own reader makes of it.
        if field.default is not dataclasses.MISSING:
            value = how.read(field.default, field.name)
            assert how.read(value, field.name) == value
    assert all(find_layer(alias) is layer for alias in layer.aliases)


def test_options_have_one_order():
    for layer in LAYERS.values():
        names = [field.name for field, _ in options_of(layer)]
        assert len(names) == len(set(names))
        assert set(names) == {field.name for field in dataclasses.fields(layer)}


def inputs_for(draw, name, layer):
    shape = draw(SHAPES.get(name, st.one_of(MAPS, MAPS, MAPS, VECTORS)))
    fewest, most = layer.arity
    count = draw(st.integers(fewest, fewest + 2 if most is None else most))
    return [shape] * count


@pytest.mark.parametrize("name", STAGES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_computed_is_what_was_promised(name, data):
    layer = data.draw(layers_of(name))
    shapes = inputs_for(data.draw, name, layer)
    try:
        promised = layer.output_shape(*shapes)
        specs = layer.param_shapes(*shapes)
    except CnnvizError as error:
        assert error.message  # noqa: PT017
        return
    assert all(isinstance(length, int) and length > 0 for length in promised), promised
    params = layer.initial_params(0, *shapes)
    assert {key: spec.shape for key, spec in specs.items()} == {
        key: value.shape for key, value in params.items()
    }
    assert all(value.dtype == np.float32 for value in params.values())
    assert (layer.weights_from is not None) >= bool(specs)
    macs = layer.macs(*shapes)
    assert isinstance(macs, int)
    assert macs >= 0
    inputs = [noise(index, *shape) for index, shape in enumerate(shapes)]
    before = [x.copy() for x in inputs]
    for x in inputs:
        x.flags.writeable = False
    with np.errstate(all="ignore"):  # as Pipeline.run computes
        output = layer.apply(*inputs, params=params)
    assert output.shape == promised
    assert output.dtype == np.float32
    for x, was in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, was)
    window = layer.window(shapes[0])
    if window is not None and name != "conv_transpose":
        assert promised[1:] == window.output_size(shapes[0][1:])


@pytest.mark.parametrize("name", STAGES)
def test_a_strided_input_gives_the_same(name):
    layer = simplest(name)
    if name == "dense":
        pytest.skip("its maps are of one pixel")
    whole = noise(1, 8, 18, 21)
    view = whole[::2, ::2, ::-3]
    plain = np.ascontiguousarray(view)
    count = layer.arity[0]
    params = layer.initial_params(0, *[view.shape] * count)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            layer.apply(*[view] * count, params=params),
            layer.apply(*[plain] * count, params=params),
        )


REQUIRED = {
    "filters": 2, "output_size": 3, "units": 4, "stages": "a", "stage": "a", "padding": 1,
    "shape": 4 * 9 * 7, "axes": (2, 0, 1), "length": 2, "block": 1,
}  # fmt: skip


def simplest(name):
    """Build a layer with what it cannot do without."""
    needed = [
        field.name for field, _ in options_of(LAYERS[name]) if field.default is dataclasses.MISSING
    ]
    return make_layer(name, **{option: REQUIRED[option] for option in needed})


@pytest.mark.parametrize("name", LAYERS)
def test_required_options_are_asked_for(name):
    layer = LAYERS[name]
    for field, _ in options_of(layer):
        if field.default is dataclasses.MISSING:
            with pytest.raises(RequestError, match=rf"{name}\(\) needs {field.name}"):
                make_layer(name)
            return
    assert isinstance(make_layer(name), layer)


def read_back(layer):
    return layer_of(parse_call(layer_text(layer), "test"))


@pytest.mark.parametrize("name", LAYERS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_text_reads_back(name, data):
    layer = data.draw(layers_of(name))
    assert read_back(layer) == layer
    assert layer_text(read_back(layer)) == layer_text(layer)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("resize(size=22)", "resize(size=22)"),
        ("resize(2, (22, 30))", "resize(size=(22, 30))"),
        ("resize(2, 5, bilinear)", "resize(size=5, mode=bilinear)"),
        ("resize(2, 5, rounding=floor)", "resize(size=5, rounding=floor)"),
        ("resize((3, 2), 5)", "resize((3.0, 2.0), 5)"),
        ("resize", "resize((2.0, 2.0))"),
    ],
)
def test_a_resize_to_a_size_does_not_tell_the_scale_it_does_without(text, shown):
    layer = parse(text).nodes[0].layer
    assert layer_text(layer) == shown
    assert read_back(layer) == layer


@pytest.mark.parametrize(
    ("shapes", "told", "untold"),
    [
        (((8, 22, 22), (8, 26, 26)), ["resize(size=…)"], "conv"),
        (((8, 22, 26), (16, 22, 26)), ["1×1 conv", "filters"], "resize"),
        (((8, 22, 26), (16, 22, 13)), ["1×1 conv", "resize(size=…)"], "flatten"),
        (((8, 5, 5), (8,)), ["flatten", "reshape"], "conv"),
        (((8,), (9,)), ["dense"], "conv"),
        (((8, 1, 26), (8, 22, 13)), ["resize(size=…)"], "conv"),
    ],
)
def test_the_hint_of_add_fits_what_is_unlike(shapes, told, untold):
    with pytest.raises(CnnvizError) as error:
        make_layer("add", "a").output_shape(*shapes)
    assert all(word in error.value.hint for word in told)
    assert untold not in error.value.hint


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_build_the_same(alias):
    assert make_layer(alias) == make_layer(ALIASES[alias])
    assert layer_text(make_layer(alias)) == ALIASES[alias]


@pytest.mark.parametrize(
    ("name", "values", "settings", "told"),
    [
        ("conv", (0,), {}, "filters is 0"),
        ("conv", (8, 0), {}, "kernel_size is 0"),
        ("conv", (8, 3, 0), {}, "stride is 0"),
        ("conv", (8, 3, (1, 0)), {}, "stride is 0"),
        ("conv", (8, 3), {"stride": (1, 2, 3)}, "stride has 3 values"),
        ("conv", (8, 3), {"padding": -1}, "padding is -1"),
        ("conv", (8, 3), {"padding": (1, 2, 3)}, "padding has 3 values"),
        ("conv", (8, 3), {"padding": "sane"}, "'sane'"),
        ("conv", (8, 3), {"padding_mode": "mirror"}, "'mirror'"),
        ("conv", (8, 3), {"strid": 2}, "unknown option of conv() 'strid'"),
        ("conv", (8.5,), {}, "filters must be a whole number, not 8.5"),
        ("conv", (True,), {}, "filters must be a whole number"),
        ("conv", (8,), {"filters": 3}, "conv() got filters twice"),
        ("conv", (8,), {"bias": "maybe"}, "bias must be true or false"),
        ("maxpool", (1, 2, 3, "zeros", 5, 6, 7, 8, 9), {}, "maxpool() got 9 arguments"),
        ("relu", (1,), {}, "relu() got 1 arguments"),
        ("celu", (0,), {}, "alpha is 0"),
        ("lppool", (), {"norm_type": math.nan}, "norm_type is nan"),
        ("lppool", (), {"norm_type": "x"}, "norm_type must be a number"),
        ("pad", ("same",), {}, "padding=same needs a window"),
        ("add", (), {"stages": ()}, "stages is empty"),
        ("add", ("not a name",), {}, "'not a name' is not the name of a stage"),
        ("leaky_relu", (math.inf,), {}, "negative_slope is inf"),
        ("maxpol", (), {}, "unknown layer 'maxpol'"),
    ],
)
def test_wrong_settings(name, values, settings, told):
    with pytest.raises(RequestError) as caught:
        make_layer(name, *values, **settings)
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("text", "shape", "told"),
    [
        ("conv(4, groups=2)", (3, 9, 9), ("groups=2", "3 channels", "4")),
        ("conv(3, groups=2)", (4, 9, 9), ("groups=2", "4 channels", "3")),
        ("conv_transpose(3, groups=3)", (4, 9, 9), ("groups=3",)),
        ("conv_transpose(1, 1, padding=5)", (1, 3, 3), ("5,5,5,5", "crops")),
        ("dense(3)", (2, 3, 3), ("2×3×3",)),
        ("conv(3)", (1, 2, 2), ("3×3", "2×2")),
        ("prelu(3)", (2, 4, 4), ("3 slopes", "2 channels")),
        ("flatten -> maxpool(2)", (2, 4, 4), ("maxpool", "vector of 32")),
        ("flatten -> conv(2)", (2, 4, 4), ("conv", "vector of 32")),
        ("flatten -> lrn", (2, 4, 4), ("lrn", "vector")),
        ("conv(2) -> add(input)", (2, 4, 4), ("2×2×2", "2×4×4")),
        ("conv(2) -> concat(input)", (2, 4, 4), ("2×2×2", "2×4×4")),
        ("flatten -> concat(input)", (2, 4, 4), ("32", "2×4×4")),
        ("maxpool(2, padding=2)", (2, 6, 6), ("2×2", "2,2,2,2", "6×6")),
        ("pad(9, padding_mode=reflect)", (1, 4, 4), ("9", "4 rows")),
        ("conv(1, padding=9, padding_mode=circular)", (1, 4, 4), ("9", "4 rows")),
        ("avgpool(3, padding=same, padding_mode=reflect)", (1, 1, 4), ("reflect", "1 rows")),
    ],
)
def test_what_does_not_fit_is_said_before_any_pixel(text, shape, told):
    """As `shapes` would: an image is not needed to see that it will not work."""
    pipeline = parse(text)
    with pytest.raises(CnnvizError) as caught:
        list(pipeline.rows(shape))
    # 2 where no image would do: the first window lies on padding alone.
    assert caught.value.exit_code == (2 if text == "maxpool(2, padding=2)" else 1)
    assert caught.value.hint
    for part in told:
        assert part in caught.value.message


def test_kernel_planes_must_match_the_channels(tmp_path):
    np.save(tmp_path / "bank.npy", noise(0, 2, 3, 3, 3))
    layer = make_layer("conv", parse_kernels(f"@{tmp_path / 'bank.npy'}"))
    assert layer.output_shape((3, 8, 8)) == (2, 6, 6)
    with pytest.raises(CnnvizError, match="3 channels, its input 4"):
        layer.initial_params(0, (4, 8, 8))
    with pytest.raises(CnnvizError, match="3 channels"):
        layer.output_shape((4, 8, 8))  # `shapes` must not promise what cannot run


# Kernels as filters -----------------------------------------------------------------------------

SINGLE = [
    name
    for name, entry in KERNELS.items()
    if entry.kind != "bank" and len(build_kernels(name)) == 1
    and build_kernels(name)[0].weights.ndim == 2
]  # fmt: skip


def conv_of(*texts, **settings):
    return make_layer("conv", *(parse_kernels(text) for text in texts), **settings)


def run_layer(layer, *inputs):
    params = layer.initial_params(0, *(x.shape for x in inputs))
    return layer.apply(*inputs, params=params)


def test_there_are_kernels_to_test():
    assert {"sobel_x", "gaussian", "box", "identity", "roberts_x"} <= set(SINGLE)


@pytest.mark.parametrize("name", SINGLE)
def test_an_impulse_prints_the_flipped_kernel(name):
    weights = build_kernels(name)[0].weights
    rows, columns = weights.shape
    x = np.zeros((1, 2 * rows + 1, 2 * columns + 1), np.float32)
    x[0, rows, columns] = 1
    printed = run_layer(conv_of(name, padding="full"), x)[0]
    expected = np.zeros_like(printed)
    expected[rows : 2 * rows, columns : 2 * columns] = weights[::-1, ::-1]
    np.testing.assert_array_equal(printed, expected)
    # The mathematical convolution prints the kernel itself.
    printed = run_layer(conv_of(name, padding="full", flip=True), x)[0]
    expected[rows : 2 * rows, columns : 2 * columns] = weights
    np.testing.assert_array_equal(printed, expected)


def test_a_step_gives_sobels_numbers():
    x = np.zeros((1, 8, 8), np.float32)
    x[:, :, 4:] = 255
    layer = conv_of("sobel_x", padding="same", padding_mode="replicate")
    assert run_layer(layer, x)[0].tolist() == [[0, 0, 0, 1020, 1020, 0, 0, 0]] * 8
    assert run_layer(layer, x[:, :, ::-1])[0].tolist() == [[0, 0, 0, -1020, -1020, 0, 0, 0]] * 8
    flipped = conv_of("sobel_x", padding="same", padding_mode="replicate", flip=True)
    assert run_layer(flipped, x)[0].tolist() == [[0, 0, 0, -1020, -1020, 0, 0, 0]] * 8
    down = conv_of("sobel_y", padding="same", padding_mode="replicate")
    assert (
        run_layer(down, x.transpose(0, 2, 1))[0].T.tolist() == [[0, 0, 0, 1020, 1020, 0, 0, 0]] * 8
    )


@pytest.mark.parametrize("text", ["sobel_x", "gaussian(5, sigma=1.2)", "1,2;3,4", "box((1, 4))"])
def test_a_2d_kernel_on_colour_is_the_mean_over_channels(text):
    x = noise(3, 3, 9, 10)
    weights = parse_kernels(text).kernels[0].weights
    each = [scipy.signal.correlate(plane, weights, "valid", "direct") for plane in x.astype(float)]
    np.testing.assert_allclose(
        run_layer(conv_of(text), x)[0], np.mean(each, axis=0), rtol=1e-5, atol=1e-6
    )


def test_depthwise_applies_every_kernel_to_every_channel():
    x = noise(4, 3, 9, 10)
    layer = make_layer("depthwise", parse_kernels("sobel"), parse_kernels("box(3)"))
    actual = run_layer(layer, x)
    assert actual.shape == (9, 7, 8)
    kernels = [kernel.weights for group in layer.filters for kernel in group.kernels]
    for channel in range(3):
        for number, weights in enumerate(kernels):
            expected = scipy.signal.correlate(x[channel].astype(float), weights, "valid", "direct")
            np.testing.assert_allclose(actual[channel * 3 + number], expected, rtol=1e-5, atol=1e-5)
    names = layer.map_names(("R", "G", "B"))
    assert names[:4] == ("R sobel_x", "R sobel_y", "R box_3", "G sobel_x")


MIXED = ["sobel_x", "box(2)", "gaussian(5, sigma=1)", "1,2,3,4", "roberts_x", "box((4, 1))", "7"]


@pytest.mark.parametrize("rule", ["same", "same-lower"])
@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect", "circular"])
@pytest.mark.parametrize("flip", [False, True])
def test_kernels_of_different_sizes_stand_where_each_would_alone(rule, mode, flip):
    x = noise(5, 2, 11, 9)
    options = {"padding": rule, "padding_mode": mode, "flip": flip}
    together = run_layer(conv_of(*MIXED, **options), x)
    assert together.shape == (len(MIXED), 11, 9)
    for one, text in zip(together, MIXED, strict=True):
        alone = run_layer(conv_of(text, **options), x)[0]
        np.testing.assert_allclose(one, alone, rtol=1e-5, atol=1e-5, err_msg=text)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4),
    st.sampled_from(["same", "same-lower"]),
)
@settings(max_examples=60, deadline=None)
def test_any_sizes_stand_where_each_would_alone(sizes, rule):
    texts = [
        ";".join(",".join(map(str, row)) for row in noise(h * 9 + w, h, w).round(3))
        for h, w in sizes
    ]
    x = noise(6, 1, 7, 8)
    together = run_layer(conv_of(*texts, padding=rule), x)
    for one, text in zip(together, texts, strict=True):
        alone = run_layer(conv_of(text, padding=rule), x)[0]
        np.testing.assert_allclose(one, alone, rtol=1e-5, atol=1e-5)


def test_kernels_of_different_sizes_need_same_padding():
    for padding in ("valid", "full", 1):
        with pytest.raises(RequestError, match=r"different sizes.*_x 3×3.*box_5 5×5") as caught:
            conv_of("sobel_x", "box(5)", padding=padding)
        assert caught.value.hint == "add padding=same"
    with pytest.raises(RequestError, match="kernel_size is given beside kernels"):
        conv_of("sobel_x", kernel_size=3)


def test_bias_is_on_for_counts_and_off_for_kernels():
    assert set(make_layer("conv", 4).param_shapes((1, 5, 5))) == {"weight", "bias"}
    assert set(conv_of("sobel").param_shapes((1, 5, 5))) == {"weight"}
    assert set(conv_of("sobel", bias=True).param_shapes((1, 5, 5))) == {"weight", "bias"}
    drawn = make_layer("conv", 4).initial_params(0, (1, 5, 5))
    assert not drawn["bias"].any()


def test_conv_transpose_takes_kernels():
    x = np.zeros((1, 3, 3), np.float32)
    x[0, 1, 1] = 1
    layer = make_layer("conv_transpose", parse_kernels("1,2;3,4"), stride=2)
    expected = np.zeros((6, 6))
    expected[2:4, 2:4] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(run_layer(layer, x)[0], expected)


# Values -----------------------------------------------------------------------------------------

ACTIVATIONS = [name for name, layer in LAYERS.items() if layer.family == "activation"]
SPECIAL = np.array(
    [0.0, -0.0, 1e-40, -1e-40, 1e-45, -1e-45, 1e-38, -1e-38, 1e-10, -1e-10, 3e38, -3e38, np.nan],
    np.float32,
)
LINE = np.concatenate([np.linspace(-100, 100, 20_001), np.linspace(-6, 6, 5_001)]).astype(
    np.float32
)


def exact(name, x):
    """Return what float64 gives for the values of a layer's default settings."""
    x = x.astype(np.float64)
    e = np.exp(np.minimum(x, 0))
    softplus = np.logaddexp(0, x)
    return {
        "relu": lambda: np.maximum(x, 0),
        "relu6": lambda: np.clip(x, 0, 6),
        "leaky_relu": lambda: np.where(x > 0, x, 0.01 * x),
        "prelu": lambda: np.where(x > 0, x, 0.25 * x),
        "elu": lambda: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "selu": lambda: (
            1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
        ),
        "celu": lambda: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "gelu": lambda: x * scipy.special.ndtr(x),
        "silu": lambda: x * scipy.special.expit(x),
        "mish": lambda: x * np.tanh(softplus),
        "sigmoid": lambda: np.where(x < 0, e / (1 + e), 1 / (1 + np.exp(-np.maximum(x, 0)))),
        "hardsigmoid": lambda: np.clip(x / 6 + 0.5, 0, 1),
        "hardswish": lambda: x * np.clip(x + 3, 0, 6) / 6,
        "tanh": lambda: np.tanh(x),
        "softplus": lambda: softplus,
        "softsign": lambda: x / (1 + np.abs(x)),
        "hardshrink": lambda: np.where(np.abs(x) <= 0.5, 0, x),
        "abs": lambda: np.abs(x),
        "clip": lambda: x,
        "power": lambda: np.where(np.abs(x) > 1.8e19, np.inf, x**2),
        "erf": lambda: scipy.special.erf(x),
        "exp": lambda: np.where(x > 88.73, np.inf, np.exp(x)),
        "log": lambda: np.log(x),
    }[name]()


# Values that are differences of nearly equal numbers in the formula itself: absolute there.
ABSOLUTE = {"gelu": 1e-7, "hardswish": 5e-7, "hardsigmoid": 1e-7}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_formulas(name):
    x = np.concatenate([SPECIAL, LINE])
    with np.errstate(all="ignore"):
        actual, expected = run_layer(make_layer(name), x), exact(name, x)
    tiny = ABSOLUTE.get(name, 1e-36)  # silu loses what e^88 and more cannot hold
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=tiny)


# x to −∞: the limit, or NaN where the formula is ∞ · 0 as it is in torch too.
LIMITS = {
    "relu": (0, np.inf), "relu6": (0, 6), "leaky_relu": (-np.inf, np.inf),
    "prelu": (-np.inf, np.inf), "elu": (-1, np.inf), "selu": (-1.7580993, np.inf),
    "celu": (-1, np.inf), "gelu": (0, np.inf), "silu": (np.nan, np.inf),
    "mish": (np.nan, np.inf), "sigmoid": (0, 1), "hardsigmoid": (0, 1),
    "hardswish": (np.nan, np.inf), "tanh": (-1, 1), "softplus": (0, np.inf),
    "softsign": (np.nan, np.nan), "hardshrink": (-np.inf, np.inf), "abs": (np.inf, np.inf),
    "clip": (-np.inf, np.inf),
    "power": (np.inf, np.inf), "erf": (-1, 1), "exp": (0, np.inf),
    "log": (np.nan, np.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_at_infinity(name):
    with np.errstate(all="ignore"):
        actual = run_layer(make_layer(name), np.array([-np.inf, np.inf], np.float32))
    np.testing.assert_allclose(actual, LIMITS[name], rtol=1e-6)


TORCH_ACTIVATIONS = [
    ("relu", {}, lambda f, x: f.relu(x)),
    ("relu6", {}, lambda f, x: f.relu6(x)),
    ("leaky_relu", {}, lambda f, x: f.leaky_relu(x)),
    ("leaky_relu", {"negative_slope": 0.3}, lambda f, x: f.leaky_relu(x, 0.3)),
    ("prelu", {}, lambda f, x: f.prelu(x, x.new_full((1,), 0.25))),
    ("elu", {}, lambda f, x: f.elu(x)),
    ("elu", {"alpha": 2.5}, lambda f, x: f.elu(x, 2.5)),
    ("selu", {}, lambda f, x: f.selu(x)),
    ("celu", {}, lambda f, x: f.celu(x)),
    ("celu", {"alpha": 0.4}, lambda f, x: f.celu(x, 0.4)),
    ("gelu", {}, lambda f, x: f.gelu(x)),
    ("gelu", {"approximate": "tanh"}, lambda f, x: f.gelu(x, approximate="tanh")),
    ("silu", {}, lambda f, x: f.silu(x)),
    ("mish", {}, lambda f, x: f.mish(x)),
    ("sigmoid", {}, lambda f, x: f.sigmoid(x)),
    ("hardsigmoid", {}, lambda f, x: f.hardsigmoid(x)),
    ("hardswish", {}, lambda f, x: f.hardswish(x)),
    ("tanh", {}, lambda f, x: f.tanh(x)),
    ("softplus", {}, lambda f, x: f.softplus(x)),
    ("softplus", {"beta": 2.0}, lambda f, x: f.softplus(x, beta=2.0)),
    ("softsign", {}, lambda f, x: f.softsign(x)),
    ("hardshrink", {}, lambda f, x: f.hardshrink(x)),
    ("hardshrink", {"lambd": 2.0}, lambda f, x: f.hardshrink(x, 2.0)),
    ("abs", {}, lambda _, x: x.abs()),
    ("clip", {"low": -1.5, "high": 4}, lambda _, x: x.clamp(-1.5, 4)),
    ("power", {}, lambda _, x: x**2),
    ("power", {"exponent": 3}, lambda _, x: x**3),
    ("erf", {}, lambda _, x: x.erf()),
    ("exp", {}, lambda _, x: x.exp()),
    ("log", {}, lambda _, x: x.log()),
    ("silu", {"beta": 2.0}, lambda _, x: x * (2 * x).sigmoid()),
    ("hardsigmoid", {"alpha": 0.2, "beta": 0.4}, lambda _, x: (0.2 * x + 0.4).clamp(0, 1)),
]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:.*nn.functional.*is deprecated")
@pytest.mark.parametrize(("name", "settings", "torchs"), TORCH_ACTIVATIONS)
def test_activations_are_torchs(name, settings, torchs):
    torch = load_torch()
    x = np.concatenate([SPECIAL, LINE, np.array([-np.inf, np.inf], np.float32)])
    with np.errstate(all="ignore"):
        actual = run_layer(make_layer(name, **settings), x)
    # float64, so that torch's own float32 rounding is no part of it.
    expected = torchs(torch.nn.functional, torch.from_numpy(x).double()).numpy()
    if name == "gelu":
        expected = np.where(x == -np.inf, -0.0, expected)  # torch: NaN; we give the limit
    if name in ("silu", "mish"):
        # torch's formulas give the limit or NaN at −∞ by width of the vector: not compared.
        actual, expected = actual[:-2], expected[:-2]
    if name == "softplus":
        # torch is the identity where beta·x > 20, off by at most 2e-9; so it holds 3e38, whose
        # double we do not.
        actual, expected = (values[np.abs(x) < 1e38] for values in (actual, expected))
    with np.errstate(over="ignore"):
        expected = expected.astype(np.float32)
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=ABSOLUTE.get(name, 1e-36) * 5)


def test_every_activation_is_compared_with_torch():
    assert {name for name, *_ in TORCH_ACTIVATIONS} == set(ACTIVATIONS) == set(LIMITS)


def test_activations_of_many_values_are_the_same():
    x = noise(7, 3, 500, 467)  # several blocks and a part of one
    for name in ACTIVATIONS:
        with np.errstate(all="ignore"):
            cut, whole = run_layer(make_layer(name), x), exact(name, x)
        np.testing.assert_allclose(cut, whole, rtol=2e-6, atol=1e-6)


@pytest.mark.heavy
def test_normalisations_are_torchs():
    torch = load_torch()
    f = torch.nn.functional
    x = noise(8, 7, 6, 5) * 10
    tensor = torch.from_numpy(x)[None].double()
    for size in range(1, 9):
        for alpha, beta, k in ((1e-4, 0.75, 1.0), (0.5, 0.6, 2.0)):
            actual = run_layer(make_layer("lrn", size, alpha=alpha, beta=beta, k=k), x)
            expected = f.local_response_norm(tensor, size, alpha, beta, k)[0].numpy()
            np.testing.assert_allclose(actual, expected, rtol=1e-5)
    params = {
        "weight": noise(1, 7), "bias": noise(2, 7), "running_mean": noise(3, 7),
        "running_var": np.abs(noise(4, 7)),
    }  # fmt: skip
    for eps in (1e-5, 0.1):
        actual = make_layer("batchnorm", eps=eps).apply(x, params=params)
        w = {name: torch.from_numpy(value).double() for name, value in params.items()}
        expected = f.batch_norm(
            tensor, w["running_mean"], w["running_var"], w["weight"], w["bias"], eps=eps
        )[0].numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    slopes = noise(5, 7)
    np.testing.assert_allclose(
        make_layer("prelu", 7).apply(x, params={"weight": slopes}),
        f.prelu(tensor, torch.from_numpy(slopes).double())[0].numpy(),
        rtol=1e-6,
    )
    vector = x[:, 0, 0]
    np.testing.assert_allclose(
        make_layer("prelu", 7).apply(vector, params={"weight": slopes}),
        np.where(vector > 0, vector, slopes * vector),
    )


def test_batchnorm_by_hand():
    params = {
        "weight": np.array([2, 1], np.float32), "bias": np.array([0.5, -1], np.float32),
        "running_mean": np.array([1, 10], np.float32), "running_var": np.array([4, 0.25],
        np.float32),
    }  # fmt: skip
    x = np.array([[[3.0]], [[11.0]]], np.float32)
    actual = make_layer("batchnorm", eps=0).apply(x, params=params)
    assert actual.ravel().tolist() == [2.5, 1.0]
    assert make_layer("batchnorm", eps=0).apply(x.ravel(), params=params).tolist() == [2.5, 1.0]
    unchanged = run_layer(make_layer("batchnorm"), x)
    np.testing.assert_allclose(unchanged, x, rtol=1e-5)
    specs = make_layer("batchnorm").param_shapes((2, 1, 1))
    assert [name for name, spec in specs.items() if spec.trained] == ["weight", "bias"]


@pytest.mark.parametrize("size", range(1, 8))
def test_lrn_by_hand(size):
    x = noise(9, 5, 2, 3)
    actual = run_layer(make_layer("lrn", size, alpha=0.5, beta=0.75, k=2), x)
    for c in range(5):
        near = x[max(0, c - size // 2) : c + (size - 1) // 2 + 1].astype(float)
        expected = x[c] / (2 + 0.5 / size * (near**2).sum(0)) ** 0.75
        np.testing.assert_allclose(actual[c], expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])
def test_softmax(shape):
    x = noise(10, *shape) * 5
    np.testing.assert_allclose(
        run_layer(make_layer("softmax"), x), scipy.special.softmax(x.astype(float), 0), rtol=1e-5
    )
    np.testing.assert_allclose(
        run_layer(make_layer("log_softmax"), x),
        scipy.special.log_softmax(x.astype(float), 0),
        rtol=1e-5,
        atol=1e-6,
    )


def test_softmax_of_extremes():
    x = np.array([1e30, 0, -1e30, 3e38], np.float32)
    assert run_layer(make_layer("softmax"), x).tolist() == [0, 0, 0, 1]
    # scores 200 apart: softmax's logarithm must not be −∞
    logs = run_layer(make_layer("log_softmax"), np.array([0, 200], np.float32))
    assert logs.tolist() == [-200, 0]
    assert run_layer(make_layer("softmax"), np.array([5], np.float32)).tolist() == [1]
    with np.errstate(all="ignore"):
        cold = run_layer(make_layer("softmax"), np.array([0, -np.inf, 0], np.float32))
    assert cold.tolist() == [0.5, 0, 0.5]


def test_softmax_on_paper():
    x = np.array([2, 1, 0.1, -1], np.float32).reshape(4, 1, 1)
    stages = list(parse("flatten -> softmax").run(x))
    np.testing.assert_allclose(stages[-1].output, [0.638, 0.235, 0.095, 0.032], atol=5e-4)


def test_dense():
    x, weight, bias = noise(1, 6), noise(2, 4, 6), noise(3, 4)
    layer = make_layer("dense", 4)
    expected = weight.astype(float) @ x + bias
    for shape in ((6,), (6, 1, 1)):
        actual = layer.apply(x.reshape(shape), params={"weight": weight, "bias": bias})
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    plain = make_layer("dense", 4, bias=False)
    np.testing.assert_allclose(
        plain.apply(x, params={"weight": weight}), expected - bias, rtol=1e-5, atol=1e-6
    )
    assert plain.macs((6,)) == 24


def transpose_oracle(x, weight, *, stride, pads, dilation, groups, size):
    """Paint each input value's window, one at a time."""
    channels, height, width = x.shape
    each, (kh, kw) = weight.shape[1], weight.shape[2:]
    depth = channels // groups
    full = np.zeros((each * groups, 400, 400))
    for c in range(channels):
        g = c // depth
        for y in range(height):
            for z in range(width):
                for i in range(kh):
                    for j in range(kw):
                        row, column = (
                            y * stride[0] + i * dilation[0],
                            z * stride[1] + j * dilation[1],
                        )
                        full[g * each : (g + 1) * each, row, column] += x[c, y, z] * weight[
                            c, :, i, j
                        ].astype(float)
    return full[:, pads[0] : pads[0] + size[0], pads[1] : pads[1] + size[1]]


TRANSPOSES = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "output_padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "groups": st.integers(1, 2),
        "padding": st.one_of(
            st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(*[st.integers(0, 2)] * 4)
        ),
    }
)


@given(TRANSPOSES, st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_conv_transpose_paints_windows(options, size, seed):
    groups = options["groups"]
    layer = make_layer("conv_transpose", 2 * groups, **options)
    x = noise(seed, 2 * groups, *size)
    try:
        shape = layer.output_shape(x.shape)
    except CnnvizError:
        return
    pads = Padding.read(options["padding"]).amounts
    weight, bias = noise(seed + 1, *layer.weight_shape(2 * groups)), noise(seed + 2, 2 * groups)
    actual = layer.apply(x, params={"weight": weight, "bias": bias})
    expected = transpose_oracle(
        x, weight, stride=options["stride"], pads=pads, dilation=options["dilation"],
        groups=groups, size=shape[1:],
    )  # fmt: skip
    np.testing.assert_allclose(actual, expected + bias[:, None, None], rtol=1e-5, atol=1e-5)
    for a in (0, 1):  # PyTorch's formula
        assert shape[1 + a] == (
            (size[a] - 1) * options["stride"][a] - pads[a] - pads[a + 2]
            + options["dilation"][a] * (options["kernel_size"][a] - 1)
            + options["output_padding"][a] + 1
        )  # fmt: skip


@pytest.mark.heavy
@given(TRANSPOSES, st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_conv_transpose_is_torchs(options, size, seed):
    torch = load_torch()
    options = {**options, "padding": options["padding"][:2]}
    assume(
        all(
            options["output_padding"][a] < max(options["stride"][a], options["dilation"][a])
            for a in (0, 1)
        )
    )
    groups = options["groups"]
    layer = make_layer("conv_transpose", 3 * groups, **options)
    x = noise(seed, 2 * groups, *size)
    try:
        shape = layer.output_shape(x.shape)
    except CnnvizError:
        return
    weight, bias = noise(seed + 1, *layer.weight_shape(2 * groups)), noise(seed + 2, 3 * groups)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x)[None].double(),
        torch.from_numpy(weight).double(),
        torch.from_numpy(bias).double(),
        options["stride"], options["padding"], options["output_padding"], groups,
        options["dilation"],
    )[0].numpy()  # fmt: skip
    assert shape == expected.shape
    actual = layer.apply(x, params={"weight": weight, "bias": bias})
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from(["same", "same-lower"]),
)
@settings(max_examples=80, deadline=None)
def test_conv_transpose_same_undoes_conv_same(size, kernel, stride, rule):
    """Its size is size · stride, and it is the adjoint of conv: ⟨conv x, y⟩ = ⟨x, convᵀ y⟩."""
    options = {"kernel_size": kernel, "stride": stride, "padding": rule, "bias": False}
    up, down = make_layer("conv_transpose", 1, **options), make_layer("conv", 1, **options)
    large = tuple(size[a] * stride[a] for a in (0, 1))
    assert up.output_shape((1, *size)) == (1, *large)
    assert down.output_shape((1, *large)) == (1, *size)
    weight = noise(1, 1, 1, *kernel)
    x, y = noise(2, 1, *large), noise(3, 1, *size)
    left = (down.apply(x, params={"weight": weight}).astype(float) * y).sum()
    right = (x.astype(float) * up.apply(y, params={"weight": weight})).sum()
    assert left == pytest.approx(right, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("stride", "padding"), [(1, "same"), (2, (0, 1, 2, 1)), ((2, 1), "same-lower"), (3, "full")]
)
def test_depthwise_is_conv_with_a_group_a_channel(stride, padding):
    x = noise(11, 4, 9, 8)
    layer = make_layer("depthwise", 2, (3, 2), stride=stride, padding=padding, dilation=(1, 2))
    weight, bias = noise(12, 8, 1, 3, 2), noise(13, 8)
    assert {k: s.shape for k, s in layer.param_shapes(x.shape).items()} == {
        "weight": (8, 1, 3, 2), "bias": (8,),
    }  # fmt: skip
    expected, _ = correlate_oracle(
        x, weight, stride=layer.stride, pads=layer.window(x.shape).pads((9, 8)), dilation=(1, 2),
        groups=4, bias=bias,
    )  # fmt: skip
    actual = layer.apply(x, params={"weight": weight, "bias": bias})
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert layer.macs(x.shape) == actual.size * 6


@pytest.mark.heavy
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from(["nearest", "bilinear"]),
)
@settings(max_examples=100, deadline=None)
def test_upsample_is_torchs(size, scale, mode):
    torch = load_torch()
    x = noise(14, 2, *size)
    options = {"align_corners": False} if mode == "bilinear" else {}
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x)[None].double(), scale_factor=scale, mode=mode, **options
    )[0].numpy()
    actual = run_layer(make_layer("upsample", scale, mode=mode), x)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.heavy
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 17), st.integers(1, 17)),
    st.sampled_from(["bilinear", "bicubic"]),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_resize_is_torchs(given, made, mode, corners):
    torch = load_torch()
    x = noise(15, 2, *given)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x)[None].double(), size=made, mode=mode, align_corners=corners
    )[0].numpy()
    coordinates = "align_corners" if corners else "half_pixel"
    layer = make_layer("resize", size=made, mode=mode, coordinates=coordinates)
    np.testing.assert_allclose(run_layer(layer, x), expected, rtol=1e-5, atol=2e-6)


def test_bicubic_keeps_nan_where_it_counts():
    """On a pixel it alone counts, beyond two pixels none does."""
    x = np.array([[[1, np.nan, 3, 4, 5]]], np.float32)
    layer = make_layer("resize", size=(1, 9), mode="bicubic", coordinates="align_corners")
    assert np.isnan(run_layer(layer, x)[0, 0]).tolist() == [0, 1, 1, 1, 0, 1, 0, 0, 0]


def test_align_corners_by_hand():
    x = np.array([[[1, 2, 3, 4]]], np.float32)
    for scale, right in ((0.6, [1, 4]), (0.8, [1, 2.5, 4]), (1.9, [1, 1.5, 2, 2.5, 3, 3.5, 4])):
        settings = {"mode": "bilinear", "coordinates": "align_corners"}
        for chosen in ({"scale": (1, scale)}, {"size": (1, len(right))}):
            made = run_layer(make_layer("resize", **chosen, **settings), x)
            assert made[0, 0].tolist() == pytest.approx(right)


def test_upsample_by_hand():
    x = np.array([[[0, 4], [8, 12]]], np.float32)
    assert run_layer(make_layer("upsample", (1, 2)), x)[0].tolist() == [
        [0, 0, 4, 4], [8, 8, 12, 12],
    ]  # fmt: skip
    assert run_layer(make_layer("upsample", 2, mode="bilinear"), x)[0].tolist() == [
        [0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12],
    ]  # fmt: skip


@pytest.mark.parametrize("poison", [np.inf, -np.inf, 3e38])
def test_upsample_blends_equal_values_into_themselves(poison):
    x = np.full((1, 2, 3), poison, np.float32)
    with np.errstate(all="ignore"):
        for scale in (1, 2, 3):
            blended = run_layer(make_layer("upsample", scale, mode="bilinear"), x)
            assert (blended == np.float32(poison)).all()


def test_upsample_keeps_nan_where_it_counts():
    x = np.array([[[1, np.nan, 3]]], np.float32)
    out = run_layer(make_layer("upsample", (1, 2), mode="bilinear"), x)[0, 0]
    assert np.isnan(out).tolist() == [False, True, True, True, True, False]
    odd = run_layer(make_layer("upsample", (1, 3), mode="bilinear"), x)[0, 0]
    assert np.isnan(odd).tolist() == [False, False, True, True, True, True, True, False, False]


@pytest.mark.parametrize(
    "mode", ["zeros", "constant", "reflect", "symmetric", "replicate", "circular"]
)
def test_pad_is_np_pad(mode):
    x = noise(15, 2, 5, 6)
    layer = make_layer("pad", (1, 2, 3, 4), padding_mode=mode, pad_value=-1.5)
    expected = pad_maps(x, (1, 2, 3, 4), mode, -1.5 if mode == "constant" else 0.0)
    np.testing.assert_array_equal(run_layer(layer, x), expected)


def test_merging_layers():
    a, b, c = noise(1, 2, 3, 4), noise(2, 2, 3, 4), noise(3, 2, 3, 4)
    add = make_layer("add", "b", "c")
    np.testing.assert_array_equal(add.apply(a, b, c, params={}), a + b + c)
    joined = make_layer("concat", "b").apply(a, b[:1], params={})
    np.testing.assert_array_equal(joined, np.concatenate([a, b[:1]]))
    vectors = make_layer("concat", "b").apply(a.ravel(), b.ravel()[:3], params={})
    assert vectors.shape == (27,)


def test_magnitude():
    x = np.array([[[3, 0, 1e30]], [[4, -5, 1e30]]], np.float32)
    out = run_layer(make_layer("magnitude"), x)
    np.testing.assert_allclose(out, [[[5, 5, 2**0.5 * 1e30]]], rtol=1e-6)
    one = noise(1, 1, 4, 4)
    np.testing.assert_array_equal(run_layer(make_layer("magnitude"), one), np.abs(one))
    many = noise(2, 64, 4, 4)
    np.testing.assert_allclose(
        run_layer(make_layer("magnitude"), many)[0],
        np.sqrt((many.astype(float) ** 2).sum(0)),
        rtol=2e-6,
    )
    np.testing.assert_allclose(
        run_layer(make_layer("magnitude"), np.array([3, 4], np.float32)), [5]
    )


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_adaptive_layers(mode):
    x = noise(16, 2, 7, 5)
    for size in ((3, 2), (7, 5), (10, 11), (1, 1)):
        actual = run_layer(make_layer(f"adaptive_{mode}pool", size), x)
        np.testing.assert_allclose(actual, adaptive_oracle(x, size, mode), rtol=1e-6, atol=1e-6)


def test_flatten_is_row_major():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert run_layer(make_layer("flatten"), x).tolist() == list(range(24))


def test_pools_through_layers():
    x = np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.float32)
    assert run_layer(make_layer("maxpool"), x).tolist() == [[[5]]]
    assert run_layer(make_layer("maxpool", ceil_mode=True), x).tolist() == [[[5, 6], [8, 9]]]
    assert run_layer(make_layer("minpool", 2, 1), x).tolist() == [[[1, 2], [4, 5]]]
    assert run_layer(make_layer("avgpool", 3, 1, "same"), x).tolist() == [
        [[3, 3.5, 4], [4.5, 5, 5.5], [6, 6.5, 7]]
    ]
    counted = run_layer(make_layer("avgpool", 3, 1, 1, count_include_pad=True), x)
    np.testing.assert_allclose(counted[0, 0], [12 / 9, 21 / 9, 16 / 9], rtol=1e-6)
    assert run_layer(make_layer("lppool", 2, norm_type=1), -x).tolist() == [[[12]]]
    assert run_layer(make_layer("gap"), x).tolist() == [[[5]]]


def test_layers_are_values():
    assert make_layer("conv", 8, 3) == make_layer("conv", 8, (3, 3))
    assert hash(make_layer("conv", 8, 3)) == hash(make_layer("conv", 8, (3, 3)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_layer("relu6").name = "x"
    assert isinstance(make_layer("relu"), Layer)
    group = KernelGroup("sobel_x", build_kernels("sobel_x"))
    assert make_layer("conv", group) == make_layer("conv", parse_kernels("sobel_x"))
