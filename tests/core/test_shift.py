"""Shifts: what must be zero is, and every error is what plain arrays say."""

import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.shift import AXES, MODES, rotation_errors, same_network, shift_errors
from cnnviz.core.types import Samples
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.images import InputOptions, load_pixels
from cnnviz.files.spec import parse
from tests.cli.conftest import sample
from tests.core.circular import CIRCULAR, circular_problems, pictures
from tests.oracles import noise

ROUNDING = 2e-5
PHOTOGRAPHS = ["astronaut.jpg", "chelsea.jpg", "coffee.jpg", "camera.png", "brick.png"]
DIRECTIONS = {"x": (0, 1), "y": (1, 0), "both": (1, 1)}


def tensor(x):
    return x.tensor() if isinstance(x, Samples) else x


@given(circular_problems(), st.sampled_from(AXES))
@settings(deadline=None)
def test_circular_shifts_by_multiples_of_the_total_stride_move_the_maps_along(problem, axis):
    pipeline, x = problem
    by = min(12, *x.shape[1:])
    moved = [a for a in (0, 1) if DIRECTIONS[axis][a]]
    told = shift_errors(pipeline, x, by, axis=axis, mode="circular")
    assert told.stages[0].equivariance == (0.0,) * by
    passed = [Fraction(1)]  # strides on the way: where one is not met, later ones need not help
    for stage in told.stages[1:]:
        passed += [
            Fraction(stage.effective_stride[a]).limit_denominator(1000)
            for a in moved
            if stage.output_shape[1 + a] > 1
        ]
        for d, error in enumerate(stage.equivariance, start=1):
            if all((d / jump).denominator == 1 for jump in passed):
                assert (error is None and stage.norm == 0) or error <= ROUNDING, (stage.name, d)


@given(circular_problems())
@settings(deadline=None, max_examples=20)
def test_a_whole_circle_changes_nothing(problem):
    pipeline, x = problem
    assume(x.shape[2] <= 40)
    told = shift_errors(pipeline, x, x.shape[2], mode="circular")
    for stage in told.stages:
        assert stage.invariance[-1] == 0 or stage.norm == 0


TERMS = (
    "conv(2, (3, 2), (2, 1), padding=same)", "conv(3, 2)", "maxpool(2)", "maxpool((1, 3), 2)",
    "avgpool(3, 1, padding=1)", "relu", "upsample((2, 1))", "transpose((0, 2, 1))",
    "slice(3, axis=2, start=3, step=-1)", "gap", "flatten", "softmax", "adaptive_avgpool((3, 2))",
)  # fmt: skip


def expected_errors(outputs, reference, steps, jumps, *, turned, circular):
    """Both errors of one stage from whole arrays in float64."""
    new, old = (np.asarray(values, np.float64) for values in (outputs, reference))

    def ratio(difference, against):
        below, above = np.linalg.norm(against), np.linalg.norm(difference)
        return (above / below if below else (None if above else 0.0)) if against.size else None

    invariance = ratio(new - old, old)
    if jumps is None or old.ndim != 3:
        return None, invariance
    steps = steps[::-1] if turned else steps
    places = []
    for axis in (0, 1):
        if steps[axis] == 0 or (circular and old.shape[1 + axis] == 1):
            places.append(0)
            continue
        place = Fraction(steps[axis]) / Fraction(jumps[axis]).limit_denominator(1000)
        if place.denominator != 1:
            return None, invariance
        places.append(int(place))
    if circular:
        return ratio(new - np.roll(old, places, (1, 2)), old), invariance
    pairs = [
        ((y, x), (y - places[0], x - places[1]))
        for y in range(old.shape[1])
        for x in range(old.shape[2])
        if 0 <= y - places[0] < old.shape[1] and 0 <= x - places[1] < old.shape[2]
    ]
    if not pairs:
        return None, invariance
    there = np.array([old[:, y, x] for _, (y, x) in pairs])
    here = np.array([new[:, y, x] for (y, x), _ in pairs])
    return ratio(here - there, there), invariance


@given(st.lists(st.sampled_from(TERMS), min_size=1, max_size=4), st.sampled_from(AXES),
       st.sampled_from(MODES), st.integers(1, 4), st.data())  # fmt: skip
@settings(deadline=None)
def test_errors_are_what_whole_arrays_say(terms, axis, mode, by, data):
    x = data.draw(pictures(data.draw(st.integers(1, 2)), 9, 12))
    pipeline = parse(" -> ".join(terms))
    try:
        told = shift_errors(pipeline, x, by, axis=axis, mode=mode)
    except CnnvizError:
        assume(False)
    down, right = DIRECTIONS[axis]
    values = tensor(x)

    def picture(d):
        if mode == "circular":
            return np.roll(values, (d * down, d * right), (1, 2))
        top, left = (by - d) * down, (by - d) * right
        return values[:, top : top + 9 - by * down, left : left + 12 - by * right]

    before = [picture(0), *(stage.output for stage in pipeline.run(picture(0)))]
    turns = np.cumsum([0, *(node.layer.name == "transpose" for node in pipeline.nodes)])
    for d in range(1, by + 1):
        after = [picture(d), *(stage.output for stage in pipeline.run(picture(d)))]
        for place, stage in enumerate(told.stages):
            expected = expected_errors(
                after[place], before[place], (d * down, d * right), stage.effective_stride,
                turned=turns[place] % 2 == 1, circular=mode == "circular",
            )  # fmt: skip
            found = (stage.equivariance[d - 1], stage.invariance[d - 1])
            for one, two in zip(found, expected, strict=True):
                assert (one is None) == (two is None), (stage, expected)
                assert one is None or one == pytest.approx(two, rel=1e-4, abs=2e-6)


def test_the_direction_is_right_and_down():
    """A bright column on the left: what moves in from the left is darker or the other edge."""
    x = np.zeros((1, 3, 6), np.float32)
    x[:, :, 2] = 1
    for mode, moved in (("circular", 2), ("crop", 2)):
        told = shift_errors(parse("conv('0,0,1', padding=same)"), x, moved, mode=mode)
        assert told.stages[0].equivariance == (0.0, 0.0)
        # The filter reads one pixel to the right; a move to the left would not be 0 at d = 1.
        assert told.stages[1].equivariance[0] == 0


def test_global_pooling_after_circular_convolutions_is_invariant():
    x = load_pixels(str(sample("chelsea.jpg")), InputOptions(resize=(60, 90)))
    text = f"conv(4, 5, {CIRCULAR}) -> relu -> conv(6, 3, {CIRCULAR}) -> relu -> gap"
    told = shift_errors(parse(text), x, 9, axis="both", mode="circular")
    assert max(told.stages[-1].invariance) < 1e-6
    assert told.stages[-1].equivariance == told.stages[-1].invariance
    assert min(told.stages[-2].invariance) > 0.01


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("first", [f"conv(sobel, {CIRCULAR})", f"conv(8, 5, {CIRCULAR})"])
def test_blur_pooling_changes_less_than_max_and_max_less_than_plain_stride(name, first):
    """Zhang, "Making convolutional networks shift-invariant again", ICML 2019.

    The order shows in the invariance error of small shifts: the equivariance error is defined at
    multiples of the stride only, and is 0 there for all three.
    """
    x = load_pixels(str(sample(name)), InputOptions())
    blur = f"depthwise(gaussian(3), stride=2, {CIRCULAR})"
    ends = {
        "stride": "maxpool(1, 2)",
        "max": "maxpool(2)",
        "blur": f"maxpool(2, 1, {CIRCULAR}) -> {blur}",
    }
    errors = {
        key: shift_errors(parse(f"{first} -> relu -> {end}"), x, 2).stages[-1].invariance
        for key, end in ends.items()
    }
    for d in (0, 1):
        assert errors["blur"][d] < errors["max"][d] < errors["stride"][d]
    assert errors["blur"][0] < 0.85 * errors["stride"][0]


def test_samples_and_their_values_give_the_same_errors():
    values = np.random.default_rng(3).integers(0, 256, (3, 14, 11), np.uint8)
    x = Samples(values, 255.0)
    pipeline = parse("conv(4, 3, padding=same) -> relu -> maxpool(2)")
    for mode in MODES:
        one = shift_errors(pipeline, x, 3, mode=mode)
        two = shift_errors(pipeline, x.tensor(), 3, mode=mode)
        for a, b in zip(one.stages, two.stages, strict=True):
            assert a.norm == pytest.approx(b.norm, rel=1e-5)
            for measure in ("equivariance", "invariance"):
                left, right = getattr(a, measure), getattr(b, measure)
                assert [v is None for v in left] == [v is None for v in right]
                pairs = [(v, w) for v, w in zip(left, right, strict=True) if v is not None]
                assert all(v == pytest.approx(w, rel=1e-3, abs=1e-6) for v, w in pairs)


def test_what_is_not_finite_is_none():
    x = noise(0, 1, 6, 6)
    x[0, 2, 3] = np.nan
    told = shift_errors(parse("conv(1, 1) -> gap"), x, 2)
    for stage in told.stages:
        assert stage.invariance == (None, None)
        assert stage.equivariance == (None, None)


def test_the_input_is_left_as_it_is():
    x = noise(0, 1, 8, 8)
    before = x.copy()
    shift_errors(parse("relu -> dropout -> relu"), x, 3)
    shift_errors(parse("relu"), x, 3, mode="crop")
    assert (x == before).all()


@pytest.mark.parametrize(
    ("text", "by", "axis", "same"),
    [
        ("conv(2) -> gap -> dense(3)", 5, "both", True),
        ("conv(2) -> flatten -> dense(3)", 1, "x", False),  # it reads fewer values
        ("conv(2, 7)", 3, "x", True),
        ("conv(2, 7)", 4, "x", False),
        ("conv(2, 7)", 1, "y", False),
        ("relu", 10, "x", False),
    ],
)
def test_crops_that_the_same_network_reads(text, by, axis, same):
    assert same_network(parse(text), (1, 7 + 5 * (axis == "both"), 10), by, axis) is same


@pytest.mark.parametrize(
    ("by", "options", "kind", "words"),
    [
        (0, {}, RequestError, ["0 pixels", "from 1"]),
        (-2, {"mode": "crop"}, RequestError, ["-2 pixels"]),
        (11, {"mode": "circular"}, CnnvizError, ["11", "10 columns", "1 to 10"]),
        (8, {"axis": "y", "mode": "circular"}, CnnvizError, ["8", "7 rows", "1 to 7"]),
        (8, {"axis": "both", "mode": "circular"}, CnnvizError, ["7 rows or columns", "1 to 7"]),
        (10, {}, CnnvizError, ["nothing", "7×10", "1 to 6"]),
        (7, {"mode": "crop"}, CnnvizError, ["7×3", "stage 2", "1 to 6"]),
        (99, {"mode": "crop", "axis": "y"}, CnnvizError, ["nothing", "1 to 3"]),
    ],
)
def test_shifts_out_of_range(by, options, kind, words):
    pipeline = parse("conv(1, 3) -> maxpool(2)")
    with pytest.raises(kind) as caught:
        shift_errors(pipeline, noise(0, 1, 7, 10), by, **options)
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("by", "fitting"), [(5, 4), (1, 14)])
def test_a_pipeline_that_fits_some_sizes_only_says_which(by, fitting):
    """Halved and doubled, only even sizes are as before."""
    pipeline = parse("maxpool(2) -> upsample(2) -> add(input)")
    with pytest.raises(CnnvizError, match=f"--by {fitting} fits here"):
        shift_errors(pipeline, noise(0, 1, 16, 16), by, mode="crop")
    assert shift_errors(pipeline, noise(0, 1, 16, 16), fitting, mode="crop").stages


def test_no_image_is_an_error():
    for errors, amount in ((shift_errors, 2), (rotation_errors, 10.0)):
        with pytest.raises(CnnvizError, match="has shape"):
            errors(parse("relu"), noise(0, 7, 10), amount)


def test_a_pipeline_that_fits_one_size_only_says_so():
    with pytest.raises(CnnvizError, match="--mode circular"):
        shift_errors(parse("reshape(70)"), noise(0, 1, 7, 10), 2, mode="crop")


def test_reference_outputs_must_fit_into_memory(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1}.get(name, 7000))
    x, pipeline = noise(0, 1, 20, 20), parse("relu -> relu -> relu")
    list(pipeline.run(x))  # three maps of 1600 bytes are alive at once, at most
    shift_errors(parse("relu"), x, 1)
    with pytest.raises(CnnvizError, match="GiB"):
        shift_errors(pipeline, x, 1)
    assert len(list(pipeline.outputs(x))) == 3


def test_outputs_are_those_of_run():
    x = noise(0, 2, 9, 7)
    pipeline = parse("conv(3, 2) as a -> relu -> add(a) -> gap")
    pairs = zip(pipeline.run(x), pipeline.outputs(x), strict=True)
    for stage, (row, output, *_) in pairs:
        assert row == stage.row
        assert (output == stage.output).all()


def test_advance_is_called_after_each_pass():
    calls = []
    shift_errors(parse("relu"), noise(0, 1, 4, 4), 3, advance=lambda: calls.append(1))
    assert len(calls) == 4
