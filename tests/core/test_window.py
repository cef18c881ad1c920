"""The one size rule and the receptive field, against walking, published formulas, brute force."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cnnviz.core.field import AxisField, Field
from cnnviz.core.layers import make_layer
from cnnviz.core.options import Padding
from cnnviz.core.pipeline import Pipeline
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError
from cnnviz.files.spec import load_spec, parse
from tests.oracles import axis_starts, noise, pad_maps


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


SIZES, KERNELS, STRIDES, DILATIONS = pairs(1, 20), pairs(1, 6), pairs(1, 5), pairs(1, 4)
PADS = st.tuples(*[st.integers(0, 6)] * 4)


def explicit(pads):
    return Padding.read(pads)


def starts_of(window, size):
    pads = window.pads(size)
    return [
        axis_starts(
            size[a],
            window.extent[a],
            window.stride[a],
            pads[a],
            pads[a + 2],
            ceil_mode=window.ceil_mode,
        )
        for a in (0, 1)
    ]


@given(SIZES, KERNELS, STRIDES, PADS, DILATIONS, st.booleans())
@settings(max_examples=300)
def test_windows_stand_where_walking_puts_them(size, kernel, stride, pads, dilation, ceil_mode):
    window = Window(kernel, stride, explicit(pads), dilation, ceil_mode)
    walked = starts_of(window, size)
    if not (walked[0] and walked[1]):
        with pytest.raises(CnnvizError, match="does not fit"):
            window.output_size(size)
        return
    assert window.output_size(size) == tuple(map(len, walked))
    rows, columns = window.starts(size)
    assert (rows.tolist(), columns.tolist()) == tuple(walked)


@given(SIZES, KERNELS, STRIDES, DILATIONS)
@settings(max_examples=150)
def test_full_padding_meets_every_overlap(size, kernel, stride, dilation):
    window = Window(kernel, stride, Padding("full"), dilation)
    extent = window.extent
    assert window.pads(size) == (extent[0] - 1, extent[1] - 1) * 2
    # Every window from the one that touches only the first pixel to the one on the last.
    expected = tuple(len(range(-extent[a] + 1, size[a], stride[a])) for a in (0, 1))
    assert window.output_size(size) == expected


def tensorflow_same(length, extent, stride):
    """https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2."""
    remainder = length % stride
    total = max(extent - stride, 0) if remainder == 0 else max(extent - remainder, 0)
    return ceil(length / stride), total // 2, total - total // 2


@given(pairs(1, 60), pairs(1, 9), pairs(1, 7), DILATIONS)
@settings(max_examples=300)
def test_same_is_tensorflows(size, kernel, stride, dilation):
    upper = Window(kernel, stride, Padding("same"), dilation)
    lower = Window(kernel, stride, Padding("same-lower"), dilation)
    extent = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    outs, less, more = zip(
        *(tensorflow_same(size[a], extent[a], stride[a]) for a in (0, 1)), strict=True
    )
    assert upper.output_size(size) == lower.output_size(size) == outs
    assert upper.pads(size) == (*less, *more)
    assert lower.pads(size) == (*more, *less)


@given(pairs(1, 60), pairs(1, 9), pairs(1, 7), DILATIONS, st.booleans())
def test_same_has_no_use_for_ceil_mode(size, kernel, stride, dilation, lower):
    padding = Padding("same-lower" if lower else "same")
    plain = Window(kernel, stride, padding, dilation)
    assert plain.output_size(size) == Window(kernel, stride, padding, dilation, True).output_size(
        size
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size", "pads", "out"),
    [
        (7, 2, "same", 224, (2, 2, 3, 3), 112),
        (7, 2, "same-lower", 224, (3, 3, 2, 2), 112),
        (7, 2, 3, 224, (3, 3, 3, 3), 112),
        (7, 2, "valid", 224, (0, 0, 0, 0), 109),
        (11, 4, 2, 224, (2, 2, 2, 2), 55),
        (11, 4, "valid", 227, (0, 0, 0, 0), 55),
        (3, 2, "valid", 55, (0, 0, 0, 0), 27),
        (5, 1, "valid", 28, (0, 0, 0, 0), 24),
        (3, 1, "full", 5, (2, 2, 2, 2), 7),
        (2, 1, "same", 5, (0, 0, 1, 1), 5),
        (2, 1, "same-lower", 5, (1, 1, 0, 0), 5),
        (1, 2, "same", 5, (0, 0, 0, 0), 3),
    ],
)
def test_known_figures(kernel, stride, padding, size, pads, out):
    window = Window((kernel, kernel), (stride, stride), Padding.read(padding))
    assert window.pads((size, size)) == pads
    assert window.output_size((size, size)) == (out, out)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "floor_mode", "ceil_mode"),
    [(32, 1, 2, 16, 16), (10, 1, 2, 5, 5), (32, 8, 4, 7, 7), (4, 3, 3, 1, 2), (5, 2, 2, 2, 3)],
)
def test_ceil_mode_figures(length, kernel, stride, floor_mode, ceil_mode):
    def out(ceil):
        return Window((kernel, 1), (stride, 1), ceil_mode=ceil).output_size((length, 1))[0]

    assert (out(False), out(True)) == (floor_mode, ceil_mode)


def test_ceil_mode_drops_a_window_that_would_start_in_right_padding():
    # PyTorch's rule; its own documentation's example of the case.
    window = Window((1, 1), (3, 3), explicit((0, 0, 2, 2)), ceil_mode=True)
    assert window.output_size((4, 4)) == (2, 2)
    assert Window((2, 2), (2, 2), explicit(1), ceil_mode=True).output_size((3, 3)) == (2, 2)


@given(SIZES, KERNELS, STRIDES, PADS, DILATIONS, st.booleans(), st.booleans())
@settings(max_examples=200)
def test_counts_are_the_cells_there_are(size, kernel, stride, pads, dilation, ceil_mode, include):
    window = Window(kernel, stride, explicit(pads), dilation, ceil_mode)
    walked = starts_of(window, size)
    assume(walked[0] and walked[1])
    for axis, counts in enumerate(window.counts(size, include_pad=include)):
        low = -pads[axis] if include else 0
        high = size[axis] + (pads[axis + 2] if include else 0)
        expected = [
            sum(low <= start + tap * dilation[axis] < high for tap in range(kernel[axis]))
            for start in walked[axis]
        ]
        assert counts.tolist() == expected


@given(pairs(1, 12), pairs(1, 4), pairs(1, 3), PADS, DILATIONS)
def test_require_pixels_finds_windows_of_padding(size, kernel, stride, pads, dilation):
    window = Window(kernel, stride, explicit(pads), dilation)
    walked = starts_of(window, size)
    assume(walked[0] and walked[1])
    empty = any(
        not any(0 <= start + tap * dilation[a] < size[a] for tap in range(kernel[a]))
        for a in (0, 1)
        for start in walked[a]
    )
    if not empty:
        window.require_pixels(size)
        return
    with pytest.raises(CnnvizError, match="padding only") as caught:
        window.require_pixels(size)
    assert caught.value.hint


@given(pairs(1, 9), pairs(1, 3), pairs(1, 3), PADS, DILATIONS)
def test_views_are_the_windows(size, kernel, stride, pads, dilation):
    window = Window(kernel, stride, explicit(pads), dilation)
    walked = starts_of(window, size)
    assume(walked[0] and walked[1])
    padded = pad_maps(noise(0, 2, *size), pads)
    views = window.views(padded)
    assert views.shape == (2, *kernel, *map(len, walked))
    assert not views.flags.writeable
    assert np.shares_memory(views, padded)
    for y, row in enumerate(walked[0]):
        for x, column in enumerate(walked[1]):
            top, left = row + pads[0], column + pads[1]
            expected = padded[
                :,
                top : top + window.extent[0] : dilation[0],
                left : left + window.extent[1] : dilation[1],
            ]
            np.testing.assert_array_equal(views[..., y, x], expected)


def message_of(call, *arguments):
    with pytest.raises(CnnvizError) as caught:
        call(*arguments)
    assert caught.value.hint
    return caught.value.message


def test_errors_state_both_numbers():
    told = message_of(Window((5, 7)).output_size, (4, 6))
    assert "5×7" in told
    assert "4×6" in told
    told = message_of(Window((5, 5), padding=explicit(1), dilation=(2, 3)).output_size, (4, 6))
    assert "9×13" in told  # the extent, which is what does not fit
    assert "4×6" in told
    assert "6×8" in told
    told = message_of(Window((2, 3), padding=explicit((4, 0, 0, 0))).require_pixels, (5, 5))
    for part in ("2×3", "4,0,0,0", "5×5"):
        assert part in told
    message_of(Window((2, 3), padding=explicit((0, 0, 0, 5))).require_pixels, (5, 5))


def test_mirror_errors_state_both_numbers():
    layer = make_layer("conv", 1, 3, padding=5, padding_mode="reflect")
    x = np.zeros((1, 4, 9), np.float32)
    params = layer.initial_params(0, x.shape)
    with pytest.raises(CnnvizError) as caught:
        layer.apply(x, params=params)
    assert "5" in caught.value.message
    assert "4 rows" in caught.value.message
    assert "3 at most" in caught.value.hint


# Receptive fields -------------------------------------------------------------------------------


def last_row(name, shape, stage):
    rows = load_spec(name).pipeline.rows(shape)
    return next(row for row in rows if row.name == stage)


def test_vgg16_figures():
    """As Araujo, Norris & Sim (Distill 2019) tabulate VGG-16's last pooling layer."""
    row = last_row("vgg16", (3, 224, 224), "features.30")
    assert row.receptive_field == (212, 212)
    assert row.effective_stride == (32.0, 32.0)
    assert row.effective_padding == (90.0, 90.0, 90.0, 90.0)


def test_alexnet_figures():
    row = last_row("alexnet", (3, 224, 224), "features.12")
    assert row.receptive_field == (195, 195)  # Distill's table for AlexNet v2
    assert row.effective_stride == (32.0, 32.0)
    assert row.effective_padding == (66.0,) * 4  # 2 + 2·8 + 3·(1·16), torchvision's paddings


WINDOW_STEPS = st.lists(st.tuples(KERNELS, STRIDES, PADS, pairs(1, 2)), min_size=1, max_size=4)


@given(WINDOW_STEPS)
@settings(max_examples=150)
def test_field_follows_the_recurrences(steps):
    """r = r + (k − 1)·j, start and padding likewise; computed per axis by hand."""
    size = (60, 70)
    field = Field.of_input(size)
    reach, jump, before, after = [1, 1], [1, 1], [0, 0], [0, 0]
    for kernel, stride, pads, dilation in steps:
        window = Window(kernel, stride, explicit(pads), dilation)
        try:
            out = window.output_size(size)
        except CnnvizError:
            break
        field = field.through(window, size)
        for a in (0, 1):
            reach[a] += (kernel[a] - 1) * dilation[a] * jump[a]
            before[a] += pads[a] * jump[a]
            after[a] += pads[a + 2] * jump[a]
            jump[a] *= stride[a]
        size = out
    assert field.size == tuple(reach)
    assert field.effective_stride == tuple(map(float, jump))
    assert field.effective_padding == tuple(map(float, (*before, *after)))
    assert (field.rows.positions, field.columns.positions) == size


def test_field_of_vectors_and_wholes():
    rows = {
        row.name: row
        for row in parse("conv(4, 3) -> gap -> dense(5) -> relu -> dense(2) -> softmax").rows(
            (1, 9, 7)
        )
    }
    assert rows["conv1"].receptive_field == (3, 3)
    for name in ("global_avgpool1", "dense1", "relu1", "dense2", "softmax1"):
        assert rows[name].receptive_field == (9, 7), name
    assert rows["dense1"].effective_stride is None
    assert rows["dense1"].effective_padding is None
    flat = {row.name: row for row in parse("conv(4, 3) -> flatten -> softmax").rows((1, 9, 7))}
    assert flat["flatten1"].receptive_field == (3, 3)
    assert flat["softmax1"].receptive_field == (9, 7)


def test_a_vectors_magnitude_sees_everything():
    rows = list(parse("flatten -> magnitude").rows((2, 6, 5)))
    assert rows[1].output_shape == (1,)
    assert rows[1].receptive_field == (6, 5)


AXES = st.builds(
    AxisField,
    jump=st.fractions(0, 4, max_denominator=3),
    lower=st.fractions(-9, 0, max_denominator=3),
    upper=st.fractions(0, 9, max_denominator=3),
    pad_after=st.just(Fraction(0)),
    positions=st.integers(1, 9),
)


@given(AXES, AXES)
def test_union_covers_both_everywhere(one, two):
    both = one.union(two)
    for p in range(one.positions):
        for part in (one, two):
            assert both.jump * p + both.lower <= part.jump * p + part.lower
            assert both.jump * p + both.upper >= part.jump * p + part.upper
    assert one.union(one) == one


def stages_reached(pipeline, x):
    """For each stage, (rows, columns, pixel row, pixel column): which values a pixel reaches.

    NaN goes wherever a value is read, whatever the weights.
    """
    _, height, width = x.shape
    reached = {}
    for row in range(height):
        for column in range(width):
            marked = x.copy()
            marked[:, row, column] = np.nan
            for stage in pipeline.run(marked):
                bad = np.isnan(stage.output).any(0)
                table = reached.setdefault(
                    stage.row.name, np.zeros((*bad.shape, height, width), bool)
                )
                table[..., row, column] = bad
    return reached


def check_fields(pipeline, shape, *, exact):
    fields = dict(fields_of(pipeline, shape))
    for name, table in stages_reached(pipeline, noise(1, *shape)).items():
        for axis, field in enumerate((fields[name].rows, fields[name].columns)):
            length = shape[1 + axis]
            # For every output position of this axis: the pixels of this axis it depends on.
            seen = table.any(axis=(1 - axis, 3 - axis))
            for p in range(seen.shape[0]):
                low, high = field.jump * p + field.lower, field.jump * p + field.upper
                pixels = np.flatnonzero(seen[p])
                assert all(low <= pixel <= high for pixel in pixels), (name, axis, p)
                assert pixels.size <= field.size
                # Where the other axis holds padding only, nothing is read at all.
                if exact and table.any() and low >= 0 and high <= length - 1:
                    assert (pixels[0], pixels[-1]) == (low, high), (name, axis, p)


def fields_of(pipeline, shape):
    shapes, fields = {"input": shape}, {"input": Field.of_input(shape[1:])}
    for node in pipeline.nodes:
        given_shapes = tuple(shapes[name] for name in node.inputs)
        shapes[node.name] = node.layer.output_shape(*given_shapes)
        fields[node.name] = node.layer.field(
            given_shapes, tuple(fields[name] for name in node.inputs)
        )
        yield node.name, fields[node.name]


REGULAR = st.one_of(
    st.builds(
        "conv(2, {}, stride={}, padding={}, dilation={}, bias=false)".format,
        pairs(1, 3), pairs(1, 2),
        st.sampled_from(["same", "same-lower", "full", 1, "(0, 1, 2, 0)"]),
        pairs(1, 2),
    ),
    st.builds("conv(2, {}, stride={})".format, pairs(1, 3), pairs(1, 3)),
    st.builds(
        "{}({}, stride={}, dilation={})".format,
        st.sampled_from(["maxpool", "avgpool", "minpool", "lppool"]),
        pairs(1, 3), pairs(1, 3), pairs(1, 2),
    ),
    st.builds("avgpool({}, padding=same)".format, pairs(1, 3)),
    st.sampled_from(["relu", "tanh", "batchnorm", "dropout", "magnitude", "lrn(3)", "prelu"]),
)  # fmt: skip

IRREGULAR = st.one_of(
    REGULAR,
    st.builds(
        "conv_transpose(2, {}, stride={}, padding={}, dilation={})".format,
        pairs(1, 4), pairs(1, 3), st.sampled_from([0, 1, "same", "same-lower"]), pairs(1, 2),
    ),
    st.builds(
        "upsample({}, mode={})".format, pairs(1, 3), st.sampled_from(["nearest", "bilinear"])
    ),
    st.builds(
        "adaptive_{}pool({})".format, st.sampled_from(["avg", "max"]), pairs(1, 9)
    ),
    st.builds("maxpool({}, stride={}, ceil_mode=true)".format, pairs(1, 3), pairs(1, 3)),
    st.builds("pad({})".format, st.sampled_from(["0", "1", "(2, 0, 1, 3)"])),
    st.sampled_from(["softmax", "gap", "global_maxpool", "log_softmax"]),
)  # fmt: skip

SHAPES = st.tuples(st.integers(1, 2), st.integers(4, 8), st.integers(4, 8))


def fits(pipeline, shape):
    try:
        rows = list(pipeline.rows(shape))
    except CnnvizError:
        return False
    return max(row.memory_bytes for row in rows) < 40_000


@given(st.lists(REGULAR, min_size=1, max_size=3), SHAPES)
@settings(max_examples=40, deadline=None)
def test_windows_reach_the_fields_corners_and_no_further(terms, shape):
    pipeline = parse(" -> ".join(terms))
    assume(fits(pipeline, shape))
    check_fields(pipeline, shape, exact=True)


@given(st.lists(IRREGULAR, min_size=1, max_size=3), SHAPES)
@settings(max_examples=50, deadline=None)
@example(["conv_transpose(2, 3, stride=2)", "conv(1, 2, stride=2)", "upsample(3)"], (1, 5, 6))
@example(["adaptive_avgpool((7, 3))", "conv(1, 2)", "adaptive_maxpool(4)"], (1, 5, 8))
@example(["upsample(2, mode=bilinear)", "maxpool(3, stride=2)"], (1, 5, 4))
def test_no_value_sees_beyond_its_field(terms, shape):
    pipeline = parse(" -> ".join(terms))
    assume(fits(pipeline, shape))
    check_fields(pipeline, shape, exact=False)


@pytest.mark.parametrize(
    "text",
    [
        "conv(2, 3, padding=same) as a -> conv(2, 3, padding=same) -> add(a)",
        "conv(2, 1, stride=2) as a -> from(input) -> conv(2, 3, stride=2, padding=1) -> add(a)",
        "avgpool(2) as a -> from(input) -> conv(1, 5, stride=2, padding=(2, 1, 1, 2)) -> concat(a)",
        "maxpool(2) -> upsample(2) as up -> from(input) -> conv(1, 3, padding=1) -> concat(up)",
        "maxpool(2) -> upsample(2) -> concat(input) -> conv(2, 3)",
        "maxpool(2) -> conv_transpose(2, 2, stride=2) -> add(input) -> conv(2, 2, stride=3)",
        "adaptive_avgpool(3) as a -> from(input) -> adaptive_maxpool(3) -> add(a)",
        "adaptive_avgpool(3) as a -> from(input) -> maxpool(2) -> concat(a)",
        "gap -> upsample((6, 6)) -> add(input) -> conv(2, 3)",
    ],
)
def test_merged_fields_cover_every_branch(text):
    check_fields(parse(text), (2, 6, 6), exact=False)


def test_field_is_never_smaller_for_the_whole_bundled_network():
    rows = list(load_spec("lenet5").pipeline.rows((1, 28, 28)))
    sizes = [row.receptive_field[0] for row in rows]
    assert sizes == sorted(sizes)


def test_empty_pipeline_is_refused():
    with pytest.raises(CnnvizError, match="empty"):
        Pipeline(())
