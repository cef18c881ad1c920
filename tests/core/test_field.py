"""What layers read and how far back stages see: against marking every pixel."""

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cnnviz.core.field import AxisField, Field
from cnnviz.core.layers import make_layer
from cnnviz.errors import CnnvizError
from cnnviz.files.spec import load_spec, parse
from tests.oracles import noise


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


PADS = st.tuples(*[st.integers(0, 6)] * 4)
STEP = st.tuples(pairs(1, 6), pairs(1, 5), PADS, pairs(1, 2))
WINDOW_STEPS = st.lists(STEP, min_size=1, max_size=4)


@given(WINDOW_STEPS)
@settings(max_examples=150)
def test_field_follows_the_recurrences(steps):
    """r = r + (k − 1)·j, start and padding likewise; computed per axis by hand."""
    shape = (1, 60, 70)
    field = Field.of_input(shape[1:])
    reach, jump, before, after = [1, 1], [1, 1], [0, 0], [0, 0]
    for kernel, stride, pads, dilation in steps:
        layer = make_layer("conv", 1, kernel, stride, pads, dilation=dilation)
        try:
            output = layer.output_shape(shape)
        except CnnvizError:
            break
        field = Field.after([field], layer.reads(shape), output)
        for a in (0, 1):
            reach[a] += (kernel[a] - 1) * dilation[a] * jump[a]
            before[a] += pads[a] * jump[a]
            after[a] += pads[a + 2] * jump[a]
            jump[a] *= stride[a]
        shape = output
    assert field.size == tuple(reach)
    assert field.effective_stride == tuple(map(float, jump))
    assert field.effective_padding == tuple(map(float, (*before, *after)))
    assert (field.rows.positions, field.columns.positions) == shape[1:]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("avgpool(4) -> upsample(4)", 4),
        ("conv(1, 3, stride=2) -> conv_transpose(1, 2, stride=2)", 3),
        ("avgpool(8) -> conv_transpose(1, 8, stride=8)", 8),
        ("conv_transpose(1, 1, stride=2) -> conv(1, 2, dilation=2)", 2),
        ("upsample(2) -> maxpool(2)", 1),
        ("upsample(3) -> conv(1, 3)", 2),
        ("slice(20, axis=1, start=39, step=-2) -> slice(20, axis=2) -> conv(1, 3)", 5),
        ("resize(size=(20, 20)) -> conv(1, 2)", 3),
    ],
)
def test_gaps_and_copies_are_counted_exactly(text, size):
    *_, last = parse(text).rows((1, 40, 40))
    assert last.receptive_field[0] == size


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


@pytest.mark.parametrize(
    "text",
    [
        "upsample(1000000) -> upsample(999983) -> conv(1, 3) -> gap",
        "upsample(1000000) -> upsample(999983) -> adaptive_avgpool(7) -> conv(1, 2)",
        "upsample(1000000) -> upsample(999983) -> adaptive_avgpool(32) -> conv(1, 2)",
        "conv_transpose(1, 1000000, stride=999983, dilation=7) -> conv(1, 2, dilation=1000000)",
        "resize(size=(999983, 999979)) -> maxpool(4000, 1) -> resize(size=(7, 999961))",
        "resize(size=(999983, 3)) as a -> from(input) -> upsample((999983, 3)) -> maximum(a)",
    ],
)
def test_absurd_sizes_take_no_memory(text):
    """Whether or not the last stage fits."""
    tracemalloc.start()
    try:
        rows = parse(text).rows((1, 224, 224))
        with suppress(CnnvizError):
            assert all(row.receptive_field[0] >= 1 for row in rows)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


AXES = st.builds(
    lambda period, shift, ends, positions: AxisField(
        jump=shift / period,
        first=np.array([low for low, _ in ends[:period]]) if period > 1 else ends[0][0],
        last=np.array([low + more for low, more in ends[:period]]) if period > 1 else sum(ends[0]),
        shift=shift,
        period=period,
        after=0,
        positions=positions,
    ),
    period=st.integers(1, 3),
    shift=st.integers(0, 4),
    ends=st.lists(st.tuples(st.integers(-9, 9), st.integers(-1, 9)), min_size=3, max_size=3),
    positions=st.integers(1, 9),
)


@given(AXES, AXES)
def test_union_covers_both_and_nothing_else(one, two):
    both = one.union(two)
    at = np.arange(max(one.positions, two.positions))
    fields = [field.at(at) for field in (one, two)]
    for p in at:
        seen = [(int(a[p]), int(b[p])) for a, b in fields if a[p] <= b[p]]
        first, last = (int(end[p]) for end in both.at(at))
        if seen:
            assert (first, last) == (min(a for a, _ in seen), max(b for _, b in seen))
        else:
            assert last < first


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


def fields_of(pipeline, shape):
    shapes, fields = {"input": shape}, {"input": Field.of_input(shape[1:])}
    for node in pipeline.nodes:
        given_shapes = [shapes[name] for name in node.inputs]
        output = shapes[node.name] = node.layer.output_shape(*given_shapes)
        given = [fields[name] for name in node.inputs]
        fields[node.name] = Field.after(given, node.layer.reads(*given_shapes), output)
        yield node.name, fields[node.name]


def check_fields(pipeline, shape, *, exact):
    """Every pixel marked in turn: no value sees beyond its field, and its ends are reached."""
    fields = dict(fields_of(pipeline, shape))
    for name, table in stages_reached(pipeline, noise(1, *shape)).items():
        for axis, field in enumerate((fields[name].rows, fields[name].columns)):
            length = shape[1 + axis]
            # For every output position of this axis: the pixels of this axis it depends on.
            seen = table.any(axis=(1 - axis, 3 - axis))
            lows, highs = field.at(np.arange(seen.shape[0]))
            for p, (low, high) in enumerate(zip(lows, highs, strict=True)):
                pixels = np.flatnonzero(seen[p])
                assert all(low <= pixel <= high for pixel in pixels), (name, axis, p)
                assert pixels.size <= field.size
                # Where the other axis holds padding only, nothing is read at all.
                if exact and table.any() and 0 <= low <= high <= length - 1:
                    assert (pixels[0], pixels[-1]) == (low, high), (name, axis, p)


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


SPARSE = st.one_of(
    st.builds(
        "conv(2, {}, stride={}, dilation={}, bias=false)".format,
        pairs(1, 3), pairs(1, 2), pairs(1, 3),
    ),
    st.builds(
        "conv_transpose(2, {}, stride={}, dilation={})".format,
        pairs(1, 4), pairs(1, 3), pairs(1, 3),
    ),
    st.builds("avgpool({}, stride={})".format, pairs(1, 3), pairs(1, 3)),
    st.builds(
        "upsample({}, mode={})".format, pairs(1, 3), st.sampled_from(["nearest", "bilinear"])
    ),
    st.builds("resize({}, mode=bicubic)".format, st.sampled_from([2, 0.5, "(1.5, 3)"])),
    st.sampled_from(["tanh", "slice(9, axis=1, start=30, step=-2)", "depth_to_space(1)"]),
)  # fmt: skip


@given(st.lists(SPARSE, min_size=1, max_size=4), st.integers(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_field_s_size_is_what_changes(terms, axis):
    """Perturb every row or column: the most, over all values, from the first to the last."""
    pipeline, shape = parse(" -> ".join(terms)), (1, 36, 34)
    try:
        rows = list(pipeline.rows(shape))
    except CnnvizError:
        assume(False)
    assume(max(row.memory_bytes for row in rows) < 4_000_000)
    size = rows[-1].receptive_field[axis]
    assume(size <= 12)
    x, seen = noise(2, *shape), []
    for line in range(shape[1 + axis]):
        marked = x.copy()
        marked[(slice(None), line) if axis == 0 else (slice(None), slice(None), line)] = np.nan
        seen.append(np.isnan(pipeline.forward(marked)).any(axis=(0, 2 - axis)))
    table = np.stack(seen)
    table = table[:, table.any(axis=0)]
    spans = [np.flatnonzero(column) for column in table.T]
    assert max((span[-1] - span[0] + 1 for span in spans), default=0) == size


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
