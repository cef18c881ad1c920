"""Derivations of shapes: their arithmetic holds, for every layer, and comes to the output."""

import operator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnviz.core.derivation import Line, attempt, derive, left_over, unread_by
from cnnviz.core.layers import make_layer
from cnnviz.core.settings import Padding
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError
from cnnviz.files.spec import load_spec, parse
from tests.core.arithmetic import equations, stated_shape
from tests.core.drawn import pairs
from tests.core.test_layers import STAGES, inputs_for, layers_of
from tests.oracles import NP_PAD, axis_starts, noise

PADDINGS = st.one_of(
    st.sampled_from(["valid", "same", "same-lower", "full"]), st.tuples(*[st.integers(0, 5)] * 4)
).map(Padding.read)
WINDOWS = st.builds(
    Window, pairs(1, 5), pairs(1, 6), PADDINGS, pairs(1, 4), ceil_mode=st.booleans()
)


def text_of(derivation, label):
    return [line.text for line in derivation.lines if line.label == label]


def fits(derivation):
    return not any(line.fails for line in derivation.lines)


def pool_of(window, mode="zeros"):
    """A layer on a map that slides the window."""
    return make_layer(
        "maxpool",
        window.kernel_size,
        window.stride,
        window.padding.value(),
        mode,
        window.dilation,
        ceil_mode=window.ceil_mode,
    )


def check_arithmetic(derivation):
    for line in derivation.lines:
        assert line.text == line.text.strip()
        for left, right in equations(line.text):
            assert left == right, line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("⌊(224 + 2 + 3 − 7) / 2⌋ + 1 = 112", [(112, 112)]),
        ("⌈7 / 2⌉ = 4 windows need (4 − 1)·2 + 3 = 8 pixels", [(4, 4), (9, 8)]),
        ("5 + 0 + 0 − 7 = −2 < 0", [(-2, -2)]),
        ("64·3·7·7 + 64 = 9,472 (weight + bias)", [(9472, 9472)]),
        ("valid: none", []),
    ],
)
def test_arithmetic_is_read_right(text, expected):
    """What the tests below rely on, wrong sums included."""
    assert list(equations(text)) == expected


# Every layer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_layer_derives_its_output_shape(name, data):
    layer = data.draw(layers_of(name))
    shapes = inputs_for(data.draw, name, layer)
    if len(shapes) > 1 and data.draw(st.booleans()):  # merges: inputs that may not be alike
        shapes[1] = tuple(max(1, side + data.draw(st.integers(-1, 1))) for side in shapes[1])
    try:
        promised, error = layer.output_shape(*shapes), None
    except CnnvizError as caught:
        promised, error = None, caught
    derivation = derive(layer, *shapes, error=error)
    check_arithmetic(derivation)
    assert fits(derivation) == (promised is not None), derivation
    if promised is None:
        return
    assert stated_shape(derivation) == promised
    trained = sum(np.prod(s.shape) for s in layer.param_shapes(*shapes).values() if s.trained)
    told = text_of(derivation, "parameters")
    assert len(told) == (trained > 0)
    assert all(f"{trained:,} (" in text for text in told)


def dependence(layer, shape, axis):
    """List the rows (or columns) of an input of which no output knows: NaN there stays unseen."""
    params, unseen = layer.initial_params(0, shape), []
    for at in range(shape[axis]):
        x = noise(at, *shape)
        x[(slice(None),) * axis + (at,)] = np.nan
        with np.errstate(all="ignore"):
            if not np.isnan(layer.apply(x, params=params)).any():
                unseen.append(at)
    return unseen


@pytest.mark.parametrize(
    "name",
    [
        *("conv", "depthwise", "conv_transpose", "maxpool", "minpool", "avgpool", "lppool"),
        *("adaptive_maxpool", "pad", "slice", "resize"),
    ],
)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_untouched_pixels_are_those_no_output_depends_on(name, data):
    layer = data.draw(layers_of(name))
    shape = data.draw(st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 8), st.integers(1, 8)))
    try:
        layer.output_shape(shape)
    except CnnvizError:
        return
    derivation = derive(layer, shape)
    assert derivation.untouched is not None
    unseen = [dependence(layer, shape, axis) for axis in (1, 2)]
    if any(map(operator.eq, derivation.untouched, shape[1:])):  # without rows no column is read
        assert tuple(map(len, unseen)) == shape[1:]
        return
    assert derivation.untouched == tuple(map(len, unseen))
    if name not in ("adaptive_maxpool", "slice", "pad"):
        texts = text_of(derivation, "untouched") * 2 or [
            *text_of(derivation, "untouched, rows"),
            *text_of(derivation, "untouched, columns"),
        ]
        for text, gone, length in zip(texts, unseen, shape[1:], strict=True):
            assert text == left_over(np.array(gone, int), length)


# Windows ------------------------------------------------------------------------------------------


def walked(window, size, axis):
    """List where windows start on one axis, by walking."""
    pads = window.pads(size)
    return axis_starts(
        size[axis],
        window.extent[axis],
        window.stride[axis],
        pads[axis],
        pads[axis + 2],
        ceil_mode=window.ceil_mode,
    )


@given(pairs(1, 15), WINDOWS)
@settings(max_examples=200)
@example((7, 8), Window((3, 2), (2, 3), Padding.read((1, 0, 0, 1)), (1, 1), True))
@example((5, 5), Window((2, 2), (2, 2), Padding.read((0, 0, 1, 1)), (1, 1), True))
def test_the_formula_counts_the_windows_that_walking_finds(size, window):
    counted = [len(walked(window, size, axis)) for axis in (0, 1)]
    derivation = derive(pool_of(window, "replicate"), (1, *size))
    check_arithmetic(derivation)
    if not all(counted):
        assert any("< 0: no window fits" in line.text for line in derivation.lines if line.fails)
        return
    assert fits(derivation)
    assert stated_shape(derivation) == (1, *counted)


@given(pairs(1, 15), WINDOWS, st.sampled_from(list(NP_PAD)))
@settings(max_examples=200)
def test_unread_pixels_are_those_no_walking_window_meets(size, window, mode):
    layer = pool_of(window, mode)
    try:
        layer.output_shape((1, *size))
    except CnnvizError:
        return
    pads = window.pads(size)
    for axis, unread in enumerate(unread_by(layer, (1, *size))):
        options = {"constant_values": -1} if NP_PAD[mode] == "constant" else {}
        line = np.pad(np.arange(size[axis]), (pads[axis], pads[axis + 2]), NP_PAD[mode], **options)
        met = {
            int(line[start + pads[axis] + tap * window.dilation[axis]])
            for start in walked(window, size, axis)
            for tap in range(window.kernel_size[axis])
            if start + pads[axis] + tap * window.dilation[axis] < len(line)
        }
        assert unread.tolist() == [at for at in range(size[axis]) if at not in met]


def test_the_stem_of_resnet_is_derived():
    derivation = derive(make_layer("conv", 64, 7, stride=2, padding="same"), (3, 224, 224))
    assert derivation.lines == (
        Line("channels", "64, one for each filter"),
        Line("rows, columns", "⌊(224 + 2 + 3 − 7) / 2⌋ + 1 = 112"),
        Line(
            "padding",
            "same: ⌈224 / 2⌉ = 112 windows need (112 − 1)·2 + 7 = 229 pixels, 5 more than 224: "
            "2 before, 3 after",
        ),
        Line("untouched", "none"),
        Line("parameters", "64·3·7·7 + 64 = 9,472 (weight + bias)"),
    )
    assert derivation.untouched == (0, 0)


@pytest.mark.parametrize(
    ("term", "shape", "label", "text"),
    [
        ("conv(2, 3, padding=same-lower, stride=2)", (1, 8, 8), "padding",
         ("same-lower: ⌈8 / 2⌉ = 4 windows need (4 − 1)·2 + 3 = 9 pixels, 1 more than 8: "
          "1 before, 0 after")),
        ("conv(2, 1, padding=same, stride=4)", (1, 8, 8), "padding",
         "same: ⌈8 / 4⌉ = 2 windows need (2 − 1)·4 + 1 = 5 pixels, 8 are there: none"),
        ("conv(2, 1, stride=4)", (1, 8, 6), "untouched, columns", "4 of 6: 1, 2, 3, 5"),
        ("conv(2, 3)", (1, 8, 6), "padding", "valid: none"),
        ("conv(2, 3, padding=full)", (1, 8, 6), "padding",
         "full: every overlap, 3 − 1 = 2 before and after"),
        ("conv(2, 3, padding=(0, 1, 2, 1))", (1, 8, 6), "padding, rows",
         "as given: 0 before, 2 after"),
        ("conv(2, 3, dilation=(2, 1))", (1, 8, 6), "extent, rows",
         "2·(3 − 1) + 1 = 5 pixels, first cell to last"),
        ("conv(2, (2, 1), stride=5, dilation=(3, 1))", (1, 9, 6), "untouched, rows",
         "5 of 9: 1, 2, 4, … 7"),
        ("conv(6, groups=2)", (4, 8, 6), "groups", "4 / 2 = 2 channels for each of 2 groups"),
        ("conv(2, padding=1, padding_mode=reflect)", (1, 8, 8), "reflect",
         "copies 1 ≤ 8 − 1 = 7 pixels"),
        ("maxpool(2, ceil_mode=true)", (1, 5, 4), "ceil mode, rows",
         "1 left over; a further window starts at 2·2 − 0 = 4 < 5, on the image: + 1"),
        ("maxpool(2, ceil_mode=true)", (1, 5, 4), "ceil mode, columns",
         "nothing is left over: no further window"),
        ("maxpool(2, ceil_mode=true, padding=(0, 0, 1, 1))", (1, 4, 4), "ceil mode",
         "1 left over; a further window starts at 2·2 − 0 = 4 ≥ 4, in the padding after: dropped"),
        ("depthwise(3)", (4, 8, 6), "channels", "4·3 = 12: channels · filters"),
        ("adaptive_avgpool(4)", (1, 8, 6), "rows", "4, as asked: bins of 8 / 4 = 2"),
        ("adaptive_avgpool(4)", (1, 8, 6), "columns",
         ("4, as asked: bin p spans ⌊p·6/4⌋ to ⌈(p+1)·6/4⌉, 2 long; together they are 2 longer "
          "than 6: neighbours overlap")),
        ("gap", (5, 8, 6), "rows, columns", "1: the window is the whole map, 8×6"),
        ("conv_transpose(2, 3, stride=2, padding=1, output_padding=1)", (1, 5, 5), "rows, columns",
         "(5 − 1)·2 + 3 − 1 − 1 + 1 = 10"),
        ("flatten", (5, 8, 6), "values", "5·8·6 = 240"),
        ("resize(size=(4, 3))", (5, 8, 6), "untouched, rows", "4 of 8: 1, 3, 5, 7"),
    ],
)  # fmt: skip
def test_lines_say_why(term, shape, label, text):
    (node,) = parse(term).nodes
    assert text in text_of(derive(node.layer, shape), label)


@pytest.mark.parametrize(
    ("text", "shape", "label", "failing"),
    [
        ("conv(2, 5)", (1, 2, 9), "rows", "2 + 0 + 0 − 5 = −3 < 0: no window fits"),
        ("maxpool(2, padding=2)", (1, 5, 5), "padding only",
         "2 ≥ 2: the padding before holds a whole window"),
        ("maxpool(2, padding=(0, 0, 4, 0))", (1, 5, 4), "padding only, rows",
         "(4 − 1)·2 − 0 = 6 ≥ 5: the last window starts in the padding after"),
        ("maxpool(2, dilation=4, padding=2, stride=2)", (1, 2, 2), "padding only",
         "4 > 2: the image lies between a window's cells"),
        ("conv(2, 3, padding=5, padding_mode=reflect)", (1, 5, 9), "reflect, rows",
         "copies 5 > 5 − 1 = 4 pixels, more than there are"),
        ("conv(4, groups=3)", (6, 5, 9), "groups",
         "4 − 1·3 = 1 left over: 3 does not divide the filters"),
        ("conv_transpose(2, 3, padding=4)", (1, 2, 9), "rows",
         "(2 − 1)·1 + 3 − 4 − 4 + 0 = −4 < 1: nothing is left"),
        ("reshape((2, 3, 4))", (1, 5, 5), "count", "1·5·5 = 25 values, 2·3·4 = 24 places: 25 ≠ 24"),
        ("slice(3, start=2)", (4, 5, 5), "kept",
         "from 2 on, the last is 2 + (3 − 1)·(1) = 4: channels are 0 to 3 only"),
        ("depth_to_space(2)", (6, 5, 5), "channels",
         "6 − 1·(2·2) = 2 left over: they do not fill blocks"),
        ("dense(3)", (6, 5, 4), "inputs", "5·4 = 20 ≠ 1: 6×5×4 is not a vector"),
        ("prelu(3)", (6, 5, 4), "slopes", "3 ≠ 6 channels, and not 1 for all"),
        ("scale(shape=(6, 5, 2))", (6, 5, 4), "weight",
         "6×5×2 meets 6×5×4: 2 of columns is neither 1 nor 4"),
        ("resize(0.1)", (6, 5, 40), "rows", "⌊5·0.1⌋ = 0 < 1: nothing is left"),
        ("maxpool((2, 1)) -> add(input)", (6, 8, 4), "columns", None),
        ("maxpool(2) -> add(input)", (6, 8, 4), "rows", "4 ≠ 8"),
        ("flatten -> add(input)", (6, 8, 4), "shape",
         "192, 6×8×4: maps and vectors do not go together"),
        ("maxpool(2) -> concat(input)", (6, 8, 4), "columns", "2 ≠ 4"),
        ("flatten -> conv(3)", (6, 8, 4), "input",
         "conv needs maps (C, H, W), not a vector of 192"),
        ("flatten -> lrn", (6, 8, 4), "input", "lrn needs maps (C, H, W), not a vector of 192"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_with_which_numbers(text, shape, label, failing):
    tried = attempt(parse(text), shape)
    assert tried.error is not None
    assert tried.failed is not None
    lines = {line.label: line.text for line in tried.failed.lines if line.fails}
    if failing is None:
        assert label not in lines
    else:
        assert lines[label] == failing


def test_a_whole_network_is_derived_stage_by_stage():
    pipeline = load_spec("resnet18").pipeline
    tried = attempt(pipeline, (3, 224, 190))
    assert tried.error is tried.failed is None
    assert len(tried.rows) == len(tried.derivations) == len(pipeline.nodes)
    for row, derivation in zip(tried.rows, tried.derivations, strict=True):
        assert stated_shape(derivation) == row.output_shape == tried.shapes[row.name]
        check_arithmetic(derivation)
        told = [line.text for line in derivation.lines if line.label == "parameters"]
        assert all(f"{row.params:,} (" in text for text in told)
        assert len(told) == (row.params > 0)


def test_huge_images_and_windows_are_counted_without_walking():
    window = Window((400_001, 3), (3, 5), Padding("same"), (2, 1))
    derivation = derive(pool_of(window), (1, 1_000_000, 1_000_000))
    assert derivation.untouched == (0, 400_000)
