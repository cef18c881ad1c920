"""Explanations of values, for every layer and for drawn pipelines: against whole runs."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.explanation import (
    Box,
    check_place,
    explain,
    locate,
    read_by,
    read_place,
    trace,
)
from cnnviz.core.field import ALL
from cnnviz.core.types import Samples
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.spec import parse
from tests.core.test_layers import STAGES, inputs_for, layers_of, simplest
from tests.oracles import noise

CANDIDATES = (-1e6, -40.0, -3.0, -0.6, 0.4, 2.5, 5.0, 40.0, 1e6)
"""What a pixel is set to, to see whether a value depends on it."""


def drawn(data, name):
    """Draw a layer that fits, inputs and generic weights: (layer, inputs, params, output).

    The simplest of its kind where the one drawn does not fit.
    """
    layer = data.draw(layers_of(name))
    shapes = inputs_for(data.draw, name, layer)
    try:
        layer.output_shape(*shapes)
    except CnnvizError:
        layer, shapes = simplest(name), [(4, 9, 7)] * len(shapes)
        if name == "dense":
            shapes = [(4, 1, 1)]
    specs = layer.param_shapes(*shapes)
    seed = data.draw(st.integers(0, 2**31))
    inputs = [noise(seed + number, *shape) for number, shape in enumerate(shapes)]
    if name == "log":
        inputs = [np.abs(x) + np.float32(0.1) for x in inputs]
    params = {
        key: np.abs(noise(seed + 9 + number, *spec.shape)) + np.float32(0.1)
        if "var" in key
        else noise(seed + 9 + number, *spec.shape)
        for number, (key, spec) in enumerate(sorted(specs.items()))
    }
    with np.errstate(all="ignore"):
        return layer, inputs, params, layer.apply(*inputs, params=params)


def a_cell(data, shape):
    """Draw a cell, corners more often than not."""
    return tuple(data.draw(st.sampled_from([0, side - 1, side // 2])) for side in shape)


def mass(arithmetic):
    """What rounding errors of a sum are relative to."""
    terms = arithmetic.terms
    with np.errstate(all="ignore"):
        return float(np.abs(terms.part).sum() + abs(arithmetic.bias or 0))


def is_near(value, expected, scale=0.0):
    value, expected = np.asarray(value, float), np.asarray(expected, float)
    same = (value == expected) | (np.isnan(value) & np.isnan(expected))
    with np.errstate(all="ignore"):
        room = 2e-5 * np.maximum(np.abs(expected), scale) + 2e-6
        return bool((same | (np.abs(value - expected) <= room)).all())


@pytest.mark.parametrize("name", STAGES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_layer_explains_its_values(name, data):
    layer, inputs, params, output = drawn(data, name)
    at = a_cell(data, output.shape)
    told = layer.explain(at, *inputs, params=params)
    terms = told.terms
    assert len(terms) or name == "conv_transpose"  # whose outputs no input may reach
    scale = mass(told) if told.result == told.total else 0.0
    with np.errstate(all="ignore"):
        assert is_near(np.float32(told.result), output[at], scale)
        joined = {
            "sum": lambda: terms.part.sum() + (told.bias or 0),
            "product": terms.part.prod,
            "largest": terms.part.max,
            "smallest": terms.part.min,
        }[told.join]()
    assert is_near(joined, told.total, mass(told))
    # What is said of each term is so: where it was read, and what its weight makes of it.
    for value, cell, source, padding in zip(
        terms.value, terms.at, terms.source, terms.padding, strict=True
    ):
        if cell[-1] >= 0:
            assert value == inputs[source][tuple(cell)]
        else:
            assert padding
    if terms.weight is not None:
        np.testing.assert_array_equal(terms.part, terms.value * terms.weight)
    if terms.place is not None and told.kernel_size is not None:
        assert (terms.place < told.kernel_size).all()
    if told.chosen is not None and told.join in ("largest", "smallest"):
        assert terms.part[told.chosen] == told.result


def depends(compute, base, x, row, column):
    """Tell whether a value changes with some number in a pixel, over all channels at once."""
    for number in CANDIDATES:
        changed = x.copy()
        changed[:, row, column] = number * (1 + np.arange(len(x), dtype=np.float32))
        value = compute(changed)
        if value != base and not (math.isnan(value) and math.isnan(base)):
            return True
    return False


@pytest.mark.parametrize("name", STAGES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_value_depends_on_what_it_reads_and_on_nothing_else(name, data):
    layer, inputs, params, output = drawn(data, name)
    assume(all(x.ndim == 3 for x in inputs))
    at = a_cell(data, output.shape)
    patch = tuple(np.array([index]) for index in at)
    reads = read_by(layer, patch, *(x.shape for x in inputs))

    def compute(*changed):
        with np.errstate(all="ignore"):
            return float(layer.apply(*changed, params=params)[at])

    others = [noise(77, *x.shape) for x in inputs]
    for other, x, cells in zip(others, inputs, reads, strict=True):
        if min(map(len, cells)):
            inside = np.ix_(*cells)
            other[inside] = x[inside]
    assert is_near(compute(*others), output[at], float(np.abs(output).max()))
    if is_constant(layer, inputs) or not np.isfinite(output[at]):
        return
    for number, (x, cells) in enumerate(zip(inputs, reads, strict=True)):

        def with_it(changed, number=number):
            return compute(*inputs[:number], changed, *inputs[number + 1 :])

        for row, column in corners(cells):
            assert depends(with_it, float(output[at]), x, row, column), (number, row, column)


def corners(cells):
    """Return the rows and columns of the outermost cells, none of no cells."""
    if not min(map(len, cells)):
        return []
    return product(*({int(axis[0]), int(axis[-1])} for axis in cells[1:]))


def is_constant(layer, inputs):
    """Tell of the few settings with which no input matters."""
    joining = ("instancenorm", "layernorm", "softmax", "log_softmax", "argmax")
    if layer.name in joining:  # alone with itself
        shape = inputs[0].shape
        sides = zip(shape, layer.reads(shape)[0], strict=True)
        return {side for side, reach in sides if reach is ALL} == {1}
    if layer.name == "clip" and None not in (layer.low, layer.high):
        return layer.low >= layer.high
    return layer.name == "scale" and layer.value == 0


PIPELINES = (
    "conv(3, (3, 2), (2, 1), padding=same) -> relu -> maxpool((2, 3), 2, padding=1) -> conv(2, 3)",
    "conv(4, 3, padding=2, padding_mode=circular) -> batchnorm -> avgpool(3, 2, same) -> upsample",
    "conv(4, (2, 5), 1, full, reflect, dilation=(2, 1)) -> depthwise(2, 3) -> gelu",
    "conv(4, 3, 1, same) as a -> relu -> conv(4, 3, 1, 1) -> add(a) -> gap -> dense(3) -> softmax",
    "maxpool(2) as m -> from(input) -> avgpool(2) -> concat(m) -> conv_transpose(3, 3, 2) -> relu6",
    "lppool(3, 1, same) -> lrn(3) -> adaptive_maxpool((3, 2)) -> flatten -> dense(5) -> tanh",
    "pad((1, 2, 0, 3), replicate) -> resize((1.7, 0.6), mode=bicubic) -> conv(3, 2) -> magnitude",
    "conv(4, 3, groups=1) -> depth_to_space(2) -> transpose((0, 2, 1)) -> maxpool(2, 1)",
    "conv(6, 3, padding=same) -> conv(6, 3, groups=3) -> slice(2, axis=0, start=3) -> softplus",
)


@pytest.mark.parametrize("text", PIPELINES)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_a_traced_value_is_the_run_s_down_to_the_input(text, data):
    pipeline = parse(text)
    shape = (
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(9, 17)),
        data.draw(st.integers(9, 17)),
    )
    x = noise(data.draw(st.integers(0, 999)), *shape)
    outputs = {stage.row.name: stage.output for stage in pipeline.run(x, seed=3)}
    name = data.draw(st.sampled_from([node.name for node in pipeline.nodes]))
    at = a_cell(data, outputs[name].shape)
    told = list(trace(pipeline, x, name, at, seed=3))
    assert told[0].row.name == name
    outputs["input"] = x
    for explanation in told:
        value = outputs[explanation.row.name][explanation.at]
        assert is_near(explanation.result, value, 0.1 * mass(explanation.arithmetic) + 0.1)
        terms = explanation.arithmetic.terms
        for number, cell, source in zip(terms.value, terms.at, terms.source, strict=True):
            if cell[-1] >= 0:
                read = outputs[explanation.inputs[source]]
                assert is_near(number, read[tuple(cell)], float(np.abs(read).max()))
    # Each step explains a value that the one before read.
    for before, after in pairwise(told):
        cells = {tuple(map(int, cell)) for cell in before.arithmetic.terms.at}
        assert after.at in cells
        assert after.row.name in before.inputs
    assert "input" in told[-1].inputs or not told[-1].arithmetic.terms.real.any()


def value_of(pipeline, x, name, at):
    return float(next(s.output[at] for s in pipeline.run(x, seed=3) if s.row.name == name))


@pytest.mark.parametrize("text", PIPELINES)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_the_box_on_the_input_is_what_a_value_depends_on(text, data):
    pipeline = parse(text)
    size = (data.draw(st.integers(9, 17)), data.draw(st.integers(9, 17)))
    x = noise(data.draw(st.integers(0, 999)), 2, *size)
    rows = list(pipeline.rows(x.shape))
    row = data.draw(st.sampled_from(rows))
    at = a_cell(data, row.output_shape)
    box = explain(pipeline, x, row.name, at, seed=3).field
    assert box.rows is not None
    assert box.columns is not None
    (top, bottom), (left, right) = box.rows, box.columns
    base = value_of(pipeline, x, row.name, at)
    other = noise(5, *x.shape)
    other[:, top : bottom + 1, left : right + 1] = x[:, top : bottom + 1, left : right + 1]
    assert is_near(value_of(pipeline, other, row.name, at), base, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "conv(3, (3, 2), (2, 1), padding=same) -> softplus -> conv(2, 3, dilation=2, padding=2)",
        "conv(3, 3, padding=2, padding_mode=circular) -> avgpool(3, 2, same) -> upsample(2)",
        "conv(3, (2, 5), 1, full, reflect) -> depthwise(2, 3) -> silu -> avgpool(2)",
        "conv(3, 3) -> conv_transpose(3, 3, 2) -> tanh -> conv(2, 2)",
        "pad((1, 2, 0, 3), replicate) -> resize((1.7, 0.6), mode=bilinear) -> conv(3, 2)",
        "conv(4, 3) -> depth_to_space(2) -> transpose((0, 2, 1)) -> avgpool(2, 1)",
    ],
)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_every_corner_of_the_box_matters(text, data):
    """For generic weights and smooth activations."""
    pipeline = parse(text)
    size = (data.draw(st.integers(9, 17)), data.draw(st.integers(9, 17)))
    x = noise(data.draw(st.integers(0, 999)), 2, *size)
    row = list(pipeline.rows(x.shape))[-1]
    at = a_cell(data, row.output_shape)
    box = explain(pipeline, x, row.name, at, seed=3).field

    def compute(changed):
        return value_of(pipeline, changed, row.name, at)

    for top in set(box.rows):
        for left in set(box.columns):
            assert depends(compute, compute(x), x, top, left), (at, box, top, left)


def test_pixels_and_samples_are_explained_alike():
    values = np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8)
    pipeline = parse("conv(4, 3, padding=same) -> maxpool(2)")
    samples = Samples(values, 255.0)
    one = explain(pipeline, samples, "maxpool1", (2, 9, 14))
    two = explain(pipeline, samples.tensor(), "maxpool1", (2, 9, 14))
    assert one.result == two.result


def test_circular_padding_looks_at_both_sides():
    pipeline = parse("conv(1, 3, padding=1, padding_mode=circular)")
    patch = tuple(np.array([index]) for index in (0, 0, 40))
    (pixels,) = read_by(pipeline.nodes[0].layer, patch, (1, 100, 80))
    assert pixels[1].tolist() == [0, 1, 99]
    box = explain(pipeline, noise(0, 1, 100, 80), "conv1", (0, 0, 40)).field
    assert box == Box((0, 99), (39, 41))
    assert box.size == (100, 3)


@pytest.mark.parametrize("before", ["relu", "add(input)", "softmax"])
def test_padding_alone_beside_a_side_of_one_looks_at_nothing(before):
    x = np.ones((1, 1, 7), np.float32)
    pipeline = parse(f"{before} -> conv(1, 1, padding=(1, 0))")
    assert explain(pipeline, x, "conv1", (0, 0, 0)).field == Box(None, None)
    assert explain(pipeline, x, "conv1", (0, 1, 0)).field.size[0] == 1


def test_branches_do_not_lend_each_other_rows():
    """A branch that reads padding alone has no rows; joined with the other it would seem to."""
    pipeline = parse(
        "depthwise(kernel_size=3, stride=(2, 1), padding=(0, 1, 2, 3)) as s -> adaptive_avgpool(3)"
        " -> resize((0.6, 0.6), mode=bilinear) -> resize(size=(6, 5)) -> add(s)"
    )
    x = noise(0, 2, 11, 3)
    box = explain(pipeline, x, "add1", (1, 5, 4)).field
    base = value_of(pipeline, x, "add1", (1, 5, 4))
    rows = []
    for row in range(11):
        changed = x.copy()
        changed[:, row] += 10
        if value_of(pipeline, changed, "add1", (1, 5, 4)) != base:
            rows.append(row)
    assert box.rows == (rows[0], rows[-1])


def test_many_branches_stay_countable():
    """Twenty residual blocks: patches that lie within others are not kept."""
    terms = ["conv(2, 3, padding=1) as r0"]
    blocks = (f"conv(2, 3, padding=1) -> relu -> add(r{n}) as r{n + 1}" for n in range(20))
    pipeline = parse(" -> ".join([*terms, *blocks]))
    box = explain(pipeline, noise(0, 1, 90, 90), "r20", (0, 45, 45)).field
    assert box == Box((24, 66), (24, 66))


@pytest.mark.parametrize("at", [(-1, 0, 0), (0, 8, 0), (0, 0), (0, 0, 0, 0)])
def test_the_python_function_refuses_what_is_no_cell(at):
    with pytest.raises(CnnvizError):
        explain(parse("conv(2, padding=same)"), noise(0, 1, 8, 7), "conv1", at)


@pytest.mark.parametrize("stage", ["nonsense", "9", "input"])
def test_the_python_function_refuses_what_is_no_stage(stage):
    with pytest.raises(RequestError):
        explain(parse("conv(2)"), noise(0, 1, 8, 7), stage, (0, 0, 0))
    assert explain(parse("conv(2)"), noise(0, 1, 8, 7), "1", (0, 0, 0)).row.name == "conv1"


def test_the_python_function_refuses_what_is_no_image():
    with pytest.raises(CnnvizError, match="has shape"):
        explain(parse("relu"), noise(0, 8, 7), "relu1", (0, 0, 0))


@pytest.mark.parametrize("text", ["scale(0)", "scale(3e38)", "shift(3e38)", "power(0.5)", "exp"])
def test_infinities_are_explained_in_silence(text):
    x = np.array([[[np.inf, -1], [np.nan, 3e38]]], np.float32)
    pipeline = parse(text)
    output = next(pipeline.run(x)).output
    for cell in np.ndindex(output.shape):
        told = explain(pipeline, x, pipeline.nodes[0].name, cell)
        assert is_near(told.result, output[cell])


def test_a_window_of_padding_alone_looks_at_nothing():
    told = explain(parse("conv(1, 3, padding=5)"), noise(0, 1, 8, 9), "conv1", (0, 0, 0))
    assert told.field == Box(None, None)
    assert told.field.size == (0, 0)
    assert told.result == 0
    assert told.arithmetic.terms.padding.all()


def test_the_textbook_s_first_sum():
    x = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0],
                  [0, 1, 1, 0, 0]], np.float32)[None]  # fmt: skip
    told = explain(parse("conv('1,0,1; 0,1,0; 1,0,1')"), x, "conv1", (0, 0, 0))
    assert told.result == 4
    assert told.arithmetic.terms.part.tolist() == [1, 0, 1, 0, 1, 0, 0, 0, 1]
    assert told.arithmetic.bias is None


def test_averages_say_what_they_divide_by():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    told = explain(parse("avgpool(3, 1, padding=1)"), x, "avgpool1", (0, 0, 0)).arithmetic
    assert (told.total, told.result) == (10, 2.5)
    assert told.steps == ("10 / 4 = 2.5 (5 of 9 cells are padding and do not count)",)
    pipeline = parse("avgpool(3, 1, padding=1, count_include_pad=true)")
    told = explain(pipeline, x, "avgpool1", (0, 0, 0)).arithmetic
    assert told.steps == ("10 / 9 = 1.11111 (padding counts: 5 of the cells)",)


def test_ties_and_nan_are_told():
    x = np.array([[[1, 5], [5, np.nan]]], np.float32)
    pipeline = parse("maxpool(1, 2) -> maxpool(1)")
    assert explain(pipeline, x, "maxpool1", (0, 0, 0)).result == 1
    told = explain(parse("maxpool(2)"), x, "maxpool1", (0, 0, 0))
    assert math.isnan(told.result)
    assert told.arithmetic.chosen == 3
    told = explain(parse("maxpool((2, 1))"), x[:, :, [1, 1]], "maxpool1", (0, 0, 0))
    assert math.isnan(told.result)
    told = explain(parse("maxpool((1, 2))"), x[:, ::-1], "maxpool1", (0, 1, 0)).arithmetic
    assert told.steps == ("the largest is 5, from cell 0,1,1",)
    tie = np.array([[[5, 5], [1, 5]]], np.float32)
    told = explain(parse("maxpool(2)"), tie, "maxpool1", (0, 0, 0)).arithmetic
    assert told.steps == ("the largest is 5, from cell 0,0,0, the first of 3 that are equal",)


def test_the_mean_of_a_large_map_lists_only_its_largest_terms():
    x = noise(0, 1, 400, 500)
    told = explain(parse("gap"), x, "global_avgpool1", (0, 0, 0)).arithmetic
    assert len(told.terms) == 65536
    assert told.terms.omitted == 400 * 500 - 65536
    assert told.result == pytest.approx(x.mean(dtype=np.float64), rel=1e-9)
    smallest = np.abs(told.terms.part).min()
    assert np.count_nonzero(np.abs(x) > smallest) < 65536
    told = explain(parse("global_maxpool"), -x, "global_maxpool1", (0, 0, 0)).arithmetic
    assert told.result == -x.min()


# Places ----------------------------------------------------------------------------------------


def test_places_are_read():
    pipeline = parse("conv(2) as a.b -> relu -> gap -> dense(3)")
    assert read_place(pipeline, "a.b:1,2,3").cell == (1, 2, 3)
    assert read_place(pipeline, "2:0, 4 ,5") == read_place(pipeline, "relu1:0,4,5")
    assert read_place(pipeline, "dense1:2").cell == (2,)
    assert read_place(pipeline, "relu1:max").extreme == "max"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("relu1", "--at is 'relu1'"),
        ("", "--at is ''"),
        (":1", "--at is ':1'"),
        ("rellu1:1", "Did you mean|relu1"),
        ("9:0,0,0", "no stage 9"),
        ("input:0,0,0", "input is the image"),
        ("relu1:a", "no cell"),
        ("relu1:-1,0,0", "no cell"),
        ("relu1:1.5", "no cell"),
        ("relu1:٣", "no cell"),
        ("relu1:99999999999999", "no cell"),
    ],
)
def test_what_is_no_place_is_told(text, words):
    with pytest.raises(RequestError) as caught:
        read_place(parse("conv(2) -> relu"), text)
    told = f"{caught.value.message} {caught.value.hint}"
    assert any(word in told for word in words.split("|")), told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("relu1:2,0,0", "relu1 has no channel 2|channel 0 to 1, row 0 to 7, column 0 to 6"),
        ("relu1:0,8,0", "no row 8"),
        ("relu1:0,0,7", "no column 7"),
        ("relu1:0,0", "2×8×7"),
        ("dense1:3", "no index 3|index 0 to 2"),
        ("dense1:0,0,0", "0,0,0 is no cell of dense1"),
    ],
)
def test_a_cell_out_of_range_is_told_the_range(text, words):
    pipeline = parse("conv(2, padding=same) -> relu -> gap -> dense(3)")
    with pytest.raises(CnnvizError) as caught:
        check_place(pipeline, (1, 8, 7), read_place(pipeline, text))
    told = f"{caught.value.message} {caught.value.hint}"
    assert all(word in told for word in words.split("|")), told


def test_one_value_a_map_needs_no_row_and_column():
    pipeline = parse("conv(2) -> gap")
    place = read_place(pipeline, "global_avgpool1:1")
    assert check_place(pipeline, (1, 8, 7), place).cell == (1, 0, 0)


@pytest.mark.parametrize("which", ["max", "min"])
def test_extremes_are_found(which):
    pipeline = parse("conv(3, 3) -> tanh")
    x = noise(4, 2, 13, 9)
    output = list(pipeline.run(x, seed=5))[-1].output
    found = locate(read_place(pipeline, f"tanh1:{which}"), output)
    assert output[found.cell] == getattr(output, which)()
    assert found.passed_over == 0


def test_extremes_pass_over_nan():
    x = np.array([[[np.nan, 1], [np.inf, -4]]], np.float32)
    pipeline = parse("dropout")
    assert locate(read_place(pipeline, "dropout1:max"), x) == ((0, 0, 1), 2)
    assert locate(read_place(pipeline, "dropout1:min"), x) == ((0, 1, 1), 2)
    with pytest.raises(CnnvizError, match="no finite value"):
        locate(read_place(pipeline, "dropout1:min"), x[:, :1, :1])
