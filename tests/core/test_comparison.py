"""Conventions, shifts and differences against numpy, brute force and torch."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnviz
from cnnviz.core.comparison import (
    CONVENTIONS,
    changes,
    difference,
    furthest_apart,
    pairs_of,
    part_at,
    shift_between,
    with_convention,
)
from cnnviz.core.layers import make_layer
from cnnviz.core.pipeline import Node, Pipeline
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.spec import parse
from tests.oracles import load_torch, noise

SEEDS = st.integers(0, 2**31)
SMALL = st.integers(1, 4)


def converted(text, convention, shape):
    return str(with_convention(cnnviz.parse(text), shape, convention))


def last(pipeline, x):
    return list(pipeline.run(x))[-1].output


# --- conventions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "convention", "expected"),
    [
        # 7×7 with stride 2 on 224: 5 pixels in all.
        ("conv(8, 7, 2, same)", "tensorflow", "conv(8, 7, 2, same)"),
        ("conv(8, 7, 2, same)", "onnx-lower", "conv(8, 7, 2, same-lower)"),
        ("conv(8, 7, 2, same)", "pytorch", "conv(8, 7, 2, 3)"),
        ("conv(8, 7, 2, same-lower)", "tensorflow", "conv(8, 7, 2, same)"),
        ("depthwise(2, 7, 2, same)", "pytorch", "depthwise(2, 7, 2, 3)"),
        ("conv(8, (3, 7), (2, 1), same)", "pytorch", "conv(8, (3, 7), (2, 1), (1, 3))"),
        ("conv(8, 3, 2, same, dilation=2)", "pytorch", "conv(8, 3, 2, 2, dilation=2)"),
        # At stride 1 PyTorch has 'same': the odd pixel of an even kernel after, as here.
        ("conv(8, 4, padding=same)", "pytorch", "conv(8, 4, padding=same)"),
        ("conv(8, 4, padding=same-lower)", "pytorch", "conv(8, 4, padding=same)"),
        ("conv(8, 4, padding=same)", "onnx-lower", "conv(8, 4, padding=same-lower)"),
        # What comes out equal stays as it is written.
        ("conv(8, 3, padding=same)", "onnx-lower", "conv(8, 3, padding=same)"),
        ("maxpool(2, padding=same)", "pytorch", "maxpool(2, padding=same)"),
        ("maxpool(3, 2, same)", "pytorch", "maxpool(3, 2, 1)"),
        ("maxpool(3, 2, same)", "onnx-lower", "maxpool(3, 2, same-lower)"),
        ("lppool(3, 2, same)", "pytorch", "lppool(3, 2, 1)"),
        ("avgpool(3, 2, same)", "pytorch", "avgpool(3, 2, 1, count_include_pad=true)"),
        ("avgpool(3, 1, 1)", "pytorch", "avgpool(3, 1, 1, count_include_pad=true)"),
        ("avgpool(3, 1, 1, count_include_pad=true)", "tensorflow", "avgpool(3, 1, 1)"),
        ("avgpool(3, 1, 1, count_include_pad=true)", "onnx-lower",
         "avgpool(3, 1, 1, count_include_pad=true)"),
        ("avgpool(2)", "pytorch", "avgpool(2)"),
        ("conv(8, 7, 2, 3)", "tensorflow", "conv(8, 7, 2, 3)"),
        ("conv_transpose(4, 4, 2, same)", "pytorch", "conv_transpose(4, 4, 2, same)"),
        ("conv_transpose(4, 3, 2, same)", "pytorch", "conv_transpose(4, 3, 2, 1, 1)"),
        ("conv_transpose(4, 3, 2, same)", "onnx-lower", "conv_transpose(4, 3, 2, same-lower)"),
        ("gap -> flatten -> dense(4)", "pytorch", "global_avgpool -> flatten -> dense(4)"),
    ],
)  # fmt: skip
def test_what_each_framework_makes_of_same(text, convention, expected):
    assert converted(text, convention, (3, 224, 224)) == str(cnnviz.parse(expected))


@given(
    st.sampled_from(["conv", "depthwise", "maxpool", "lppool", "avgpool", "conv_transpose"]),
    st.sampled_from(list(CONVENTIONS)), st.sampled_from(["same", "same-lower"]),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)), st.tuples(SMALL, SMALL), st.integers(1, 2),
)  # fmt: skip
def test_conventions_of_drawn_layers(name, convention, rule, size, kernel, stride, dilation):
    counts = (1,) if name in ("conv", "conv_transpose") else ()
    layer = make_layer(
        name, *counts, kernel_size=kernel, stride=stride, padding=rule, dilation=dilation
    )
    pipeline = Pipeline((Node("one", layer, ("input",)),))
    try:
        (before,) = pipeline.rows((1, *size))
        after = with_convention(pipeline, (1, *size), convention)
    except CnnvizError:
        return  # it does not fit
    (row,) = after.rows((1, *size))
    if convention != "pytorch":
        assert row.output_shape == before.output_shape
        wanted = "same" if convention == "tensorflow" else "same-lower"
        reference = make_layer(
            name, *counts, kernel_size=kernel, stride=stride, padding=wanted, dilation=dilation
        )
        x = noise(0, 1, *size)
        np.testing.assert_array_equal(
            last(after, x), last(Pipeline((Node("one", reference, ("input",)),)), x)
        )
    elif name != "conv_transpose" and (stride != (1, 1) or name.endswith("pool")):
        half = [(dilation * (k - 1)) // 2 for k in kernel]
        assert row.padding == (*half, *half)
        expected = [
            (n + 2 * p - dilation * (k - 1) - 1) // s + 1
            for n, p, k, s in zip(size, half, kernel, stride, strict=True)
        ]
        assert list(row.output_shape[1:]) == expected
    elif name == "conv_transpose" and all(
        dilation * (k - 1) + 1 + k % 2 >= s for k, s in zip(kernel, stride, strict=True)
    ):
        odd = all((dilation * (k - 1) + 1) % 2 for k in kernel)
        if odd:
            assert row.output_shape == before.output_shape


def test_changes_name_stages_and_pads():
    pipeline = cnnviz.parse(
        "conv(4, 7, 2, same) -> relu -> maxpool(3, 2, same) -> avgpool(3, 1, same) -> flatten"
    )
    shape = (3, 224, 220)
    found = changes(pipeline, with_convention(pipeline, shape, "pytorch"), shape)
    assert [tuple(change) for change in found] == [
        ("conv1", (2, 2, 3, 3), (3, 3, 3, 3), None),
        ("maxpool1", (0, 0, 1, 1), (1, 1, 1, 1), None),
        ("avgpool1", (1, 1, 1, 1), (1, 1, 1, 1), True),
    ]
    assert changes(pipeline, with_convention(pipeline, shape, "tensorflow"), shape) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("maxpool(3, 1, same, dilation=2)", "refuses more than half"),
        ("conv_transpose(1, 3, stride=2, padding=same, output_padding=1)", "output_padding"),
    ],
)
def test_what_pytorch_refuses_is_refused(text, words):
    with pytest.raises(RequestError, match=words):
        with_convention(parse(text), (1, 9, 8), "pytorch")
    with_convention(parse(text), (1, 9, 8), "tensorflow")


def test_conventions_that_cannot_be():
    pipeline = cnnviz.parse("conv(outline, gaussian(5), stride=2, padding=same)")
    with pytest.raises(RequestError, match=r"unknown convention 'torch' \(did you mean pytorch"):
        with_convention(pipeline, (1, 8, 8), "torch")
    with pytest.raises(RequestError, match="as pytorch does it, stage 1 conv1: kernels of diff"):
        with_convention(pipeline, (1, 8, 8), "pytorch")
    assert with_convention(pipeline, (1, 8, 8), "onnx-lower").nodes[0].layer.padding.rule == (
        "same-lower"
    )
    branch = cnnviz.parse("maxpool(4, 1, same) -> add(input)")
    with pytest.raises(CnnvizError, match="stage 2 add1"):  # PyTorch's pooling is one shorter
        with_convention(branch, (1, 8, 8), "pytorch")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("kind", "kernel", "stride"), [("conv", 7, 2), ("maxpool", 3, 2), ("avgpool", 3, 2)]
)
def test_values_differ_by_what_torch_shows(kind, kernel, stride):
    """On 224: TensorFlow pads (2, 3) or (0, 1), PyTorch 3 or 1 on both sides; both give 112."""
    torch = load_torch()
    x = noise(1, 3, 224, 224) + (1 if kind == "maxpool" else 0)
    count = "4, " if kind == "conv" else ""
    a = cnnviz.parse(f"{kind}({count}{kernel}, {stride}, padding=same)")
    b = with_convention(a, x.shape, "pytorch")
    outputs = [last(pipeline, x) for pipeline in (a, b)]
    assert [output.shape[1:] for output in outputs] == [(112, 112)] * 2
    image = torch.from_numpy(x)[None]
    functional = torch.nn.functional
    total = (112 - 1) * stride + kernel - 224
    odd = (total // 2, total - total // 2) * 2
    assert odd[:2] == ((2, 3) if kernel == 7 else (0, 1))
    if kind == "conv":
        weight = torch.from_numpy(a.params(x.shape)["conv1.weight"])
        tf = functional.conv2d(functional.pad(image, odd), weight, stride=stride)
        pt = functional.conv2d(image, weight, stride=stride, padding=3)
    elif kind == "maxpool":
        tf = functional.max_pool2d(functional.pad(image, odd, value=-np.inf), kernel, stride)
        pt = functional.max_pool2d(image, kernel, stride, padding=1)
    else:
        ones = functional.avg_pool2d(functional.pad(torch.ones_like(image), odd), kernel, stride)
        tf = functional.avg_pool2d(functional.pad(image, odd), kernel, stride) / ones
        pt = functional.avg_pool2d(image, kernel, stride, padding=1)
    for ours, theirs in zip(outputs, (tf, pt), strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=2e-5)
    expected = float((tf - pt).abs().max())
    assert expected > 0.5
    assert difference(*outputs).max == pytest.approx(expected, abs=5e-5)


# --- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "index", "pairs"),
    [
        ("relu -> maxpool(2)", "tanh -> avgpool(2)", None, [(1, 1), (2, 2)]),
        ("relu -> maxpool(2)", "relu -> maxpool(2) -> relu", 3, [(1, 1), (2, 2), (2, 3)]),
        ("flatten -> dense(10)", "gap -> dense(10)", 1, [(2, 2)]),
        ("relu -> flatten -> dense(9)", "relu -> gap -> flatten -> dense(9)", 2, [(1, 1), (3, 4)]),
        ("maxpool(2)", "maxpool(3)", 1, []),
        ("conv(2) -> conv(2, 3, 2)", "conv(2) -> conv(2, 3, 3)", 2, [(1, 1)]),
    ],
)
def test_where_shapes_part(a, b, index, pairs):
    rows = [list(cnnviz.parse(text).rows((2, 12, 12))) for text in (a, b)]
    assert part_at((2, 12, 12), rows[0], (2, 12, 12), rows[1]) == index
    assert [(one.index, two.index) for one, two in pairs_of(*rows)] == pairs


def test_inputs_may_part_too():
    rows = [list(cnnviz.parse("gap -> dense(4)").rows(shape)) for shape in ((1, 9, 9), (3, 8, 8))]
    assert part_at((1, 9, 9), rows[0], (3, 8, 8), rows[1]) == 0
    assert [one.index for one, _ in pairs_of(*rows)] == [2]


# --- shifts ------------------------------------------------------------------------------------


def test_shifts_add_up():
    a = cnnviz.parse("conv(1, 7, 2, same) -> relu -> maxpool(3, 2, same) -> gap -> flatten")
    shape = (1, 224, 224)
    b = with_convention(a, shape, "pytorch")
    found = shift_between(a, b, shape, shape)
    one, none = Fraction(1), Fraction(0)
    assert found["conv1", "conv1"] == ((-one, -one), (-one, -one))
    assert found["relu1", "relu1"] == ((none, none), (-one, -one))
    # One pixel of its own input, where a pixel is two of the image; and the one from before.
    assert found["maxpool1", "maxpool1"] == ((-one, -one), (-3 * one, -3 * one))
    assert ("flatten1", "flatten1") not in found
    # What does not look alike is not shifted, it is different.
    other = cnnviz.parse("conv(1, 5, 2, same) -> relu")
    assert shift_between(a, other, shape, shape) == {}


@given(
    st.sampled_from(["conv", "maxpool", "minpool"]), SEEDS,
    st.tuples(st.integers(20, 30), st.integers(20, 30)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)), st.tuples(SMALL, SMALL),
    st.sampled_from(list(CONVENTIONS)), st.sampled_from(["same", "same-lower"]),
)  # fmt: skip
def test_a_shift_is_what_moving_the_image_does(name, seed, size, kernel, stride, convention, rule):
    """Away from the edges B of an image is A of the image moved by the shift."""
    counts = "2, " if name == "conv" else ""
    text = f"{name}({counts}{kernel}, {stride}, padding={rule}) -> maxpool(3, 2, padding={rule})"
    a = cnnviz.parse(text)
    try:
        b = with_convention(a, (1, *size), convention)
    except CnnvizError:
        return
    shifts = shift_between(a, b, (1, *size), (1, *size))
    x = noise(seed, 1, *size)
    for one, two in zip(a.run(x), b.run(x), strict=True):
        shift = shifts[one.row.name, two.row.name].input
        assert all(part.denominator == 1 for part in shift)
        down, right = (int(part) for part in shift)
        moved = list(a.run(np.roll(x, (-down, -right), (1, 2))))[one.row.index - 1].output
        inside = []
        for axis in (0, 1):
            jump, reach = one.row.effective_stride[axis], one.row.receptive_field[axis]
            first = int(-(-(reach + 4) // jump))
            count = min(moved.shape[axis + 1], two.output.shape[axis + 1])
            last_one = int((size[axis] - reach - 4) // jump)
            inside.append(slice(first, min(count, last_one)))
        np.testing.assert_allclose(
            moved[:, inside[0], inside[1]], two.output[:, inside[0], inside[1]], atol=1e-5
        )


# --- differences -------------------------------------------------------------------------------


@given(
    st.one_of(
        st.tuples(SMALL, SMALL, SMALL),
        st.tuples(st.integers(1, 60)),
        st.sampled_from([(2, 700, 400), (600_000,)]),  # of several blocks
    ),
    SEEDS,
    st.booleans(),
)
@settings(deadline=None)
def test_differences_are_numpys(shape, seed, odd):
    random = np.random.default_rng(seed)
    a, b = (random.normal(size=shape).astype(np.float32) for _ in range(2))
    b = np.where(random.random(shape) < 0.4, a, b)
    if odd:
        values = np.float32([np.nan, np.inf, -np.inf])
        for one in (a, b):
            where = random.random(shape) < 0.3
            one[where] = random.choice(values, int(where.sum()))
    found = difference(a, b)
    finite = np.isfinite(a) & np.isfinite(b)
    assert found.nonfinite == (int((~np.isfinite(a)).sum()), int((~np.isfinite(b)).sum()))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    assert found.share == pytest.approx(1 - same.mean())
    if not finite.any():
        assert (found.max, found.mean, found.relative, found.at) == (None, None, None, None)
        return
    gaps = np.abs(a[finite].astype(np.float64) - b[finite])
    assert found.max == gaps.max()
    assert found.mean == pytest.approx(gaps.mean())
    norm = np.linalg.norm(a[finite].astype(np.float64))
    if norm:
        assert found.relative == pytest.approx(np.linalg.norm(gaps) / norm)
    if found.max == 0:
        assert found.at is found.values is None
    else:
        assert found.values == (a[found.at], b[found.at])
        assert abs(found.values[0] - found.values[1]) == pytest.approx(found.max)
        with np.errstate(invalid="ignore"):
            every = np.where(finite, np.abs(a.astype(np.float64) - b), -1)
        assert found.at == np.unravel_index(every.argmax(), shape)  # the first of equal ones


def test_nothing_against_something():
    zeros, ones = np.zeros((1, 2, 2), np.float32), np.ones((1, 2, 2), np.float32)
    assert difference(zeros, zeros).relative == 0.0
    assert difference(zeros, ones).relative is None
    assert difference(ones, zeros).relative == 1.0
    with pytest.raises(CnnvizError, match="shapes differ"):
        difference(zeros, ones[:, 0])


def test_a_pipeline_and_itself_are_equal():
    pipeline = cnnviz.parse("conv(4, 3, padding=same) -> relu -> maxpool(2) -> flatten -> dense(3)")
    x = noise(2, 1, 9, 12)
    for one, two in zip(pipeline.run(x), pipeline.run(x), strict=True):
        found = difference(one.output, two.output)
        assert (found.max, found.mean, found.relative, found.share) == (0.0, 0.0, 0.0, 0.0)


def test_channels_that_differ_most_come_first():
    a = np.zeros((5, 2, 2), np.float32)
    b = a.copy()
    b[1, 0, 1], b[2, 1, 1], b[3, 0, 0], a[3, 0, 0] = -3, 2, np.nan, np.nan
    assert furthest_apart(a, b) == [1, 2, 0, 3, 4]
    b[4, 0, 0] = np.inf
    assert furthest_apart(a, b) == [4, 1, 2, 0, 3]
