"""Sentences: each is there where the numbers bear it, and only there."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from cnnviz.core.findings import compared, findings, rebuilt
from cnnviz.core.shift import rotation_errors, shift_errors
from cnnviz.files.images import InputOptions, load_pixels
from cnnviz.files.spec import parse
from tests.cli.conftest import sample
from tests.core.circular import CIRCULAR, circular_problems
from tests.oracles import noise


@pytest.fixture(scope="module")
def photo():
    return load_pixels(str(sample("chelsea.jpg")), InputOptions(resize=(48, 60)))


def told(x, text, by=4, **options):
    """Return the sentences, and the stages by name."""
    pipeline = parse(text)
    errors = shift_errors(pipeline, x, by, **{"mode": "circular", **options})
    return findings(pipeline, errors), {stage.name: stage for stage in errors.stages}


def only(notes, *words):
    """Return the one sentence that holds all words."""
    (found,) = [note for note in notes if all(word in note for word in words)]
    return found


def none(notes, word):
    assert not [note for note in notes if word in note]


def test_circular_convolution_stride_pooling_and_global_pooling(photo):
    notes, stages = told(photo, f"conv(sobel, {CIRCULAR}) -> relu -> maxpool(2) -> gap")
    assert only(notes, "equivariant:") == (
        "equivariant: conv1 and relu1 move along with the picture exactly"
    )
    stride = only(notes, "2 pixels apart")
    assert "maxpool1" in stride
    assert "only at shifts by 2, 4 does it move along" in stride
    softened = only(notes, "softens small shifts")
    for place in (0, -1):
        for name in ("relu1", "maxpool1"):
            assert f"{stages[name].invariance[place]:.3g}" in softened
    assert "global_avgpool1" in only(notes, "invariant:")
    none(notes, "padding")
    none(notes, "no multiple")
    assert len(notes) == 4


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("conv(4, padding=same) -> relu", {}, "conv1's zero padding leaks position"),
        ("conv(4, padding=same, padding_mode=reflect)", {}, "conv1's reflect padding leaks"),
        ("conv(4)", {}, "conv1 has no padding"),
        ("conv(4, 1) -> conv(4, padding=1) -> conv(4)", {}, "conv2's zero padding leaks"),
        (f"conv(4, {CIRCULAR})", {"mode": "crop"}, "conv1's circular padding leaks"),
    ],
)
def test_edges(photo, text, options, words):
    notes, stages = told(photo, text, **options)
    sentence = only(notes, words)
    name = words.partition("'")[0].partition(" ")[0]
    assert f"{max(stages[name].equivariance):.3g} at most" in sentence


def test_edges_along_the_other_axis_do_not_matter(photo):
    text = "conv(4, (3, 1), padding=(1, 0))"
    none(told(photo, text, axis="x")[0], "padding")
    only(told(photo, text, axis="y")[0], "zero padding leaks")


def test_crops_without_padding_are_equivariant(photo):
    notes, _ = told(photo, "conv(4, 5) -> relu -> conv(3)", mode="crop")
    assert "conv1, relu1 and conv2 move along" in only(notes, "equivariant:")
    none(notes, "padding")


def test_sizes_that_strides_do_not_divide():
    x = noise(0, 1, 9, 9)
    assert "9 columns are no multiple of maxpool1's stride 2" in only(
        told(x, "maxpool(2, padding=same)")[0], "no multiple"
    )
    assert "9 rows" in only(told(x, "maxpool(2, padding=same)", axis="y")[0], "no multiple")
    none(told(x, "maxpool(3)")[0], "no multiple")
    notes, stages = told(x, "conv(1, padding=same) -> maxpool(3)")  # the edges' error, not sizes'
    assert stages["maxpool1"].equivariance[2] > 1e-3
    none(notes, "no multiple")
    none(told(x, "maxpool(2)", mode="crop")[0], "no multiple")


def test_a_stride_no_shift_reaches(photo):
    notes, _ = told(photo, "maxpool(6)", by=3)
    assert only(notes, "6 pixels apart").endswith("no shift up to 3 moves its map by whole cells")


def test_pooling_that_softens_nothing_is_not_said_to():
    """A checkerboard's left half flips at each step: plain stride makes it all or nothing."""
    x = (np.indices((8, 8)).sum(0) % 2).astype(np.float32)[None] + noise(1, 1, 8, 8) * 0.01
    notes, stages = told(x, "minpool(1, 2)", by=1)
    before, after = (stages[name].invariance[0] for name in ("input", "minpool1"))
    assert (after > 1.02 * before) == bool([n for n in notes if "tell more" in n])
    none(notes, "softens small shifts")


def test_vectors_and_missing_numbers():
    x = noise(0, 1, 6, 6)
    notes, _ = told(x, "flatten -> dense(3) -> softmax")
    assert only(notes, "no grid").startswith("flatten1, dense1 and softmax1 have no grid")
    x[0, 0, 0] = np.inf
    notes, _ = told(x, "relu")
    assert only(notes, "NaN or infinite").startswith("input and relu1:")
    dot = np.zeros((1, 4, 6), np.float32)
    dot[0, 2, 3] = 1  # between the pixels that the stride reads
    notes, stages = told(dot, "maxpool(1, 2)", by=2)
    assert stages["maxpool1"].invariance == (None, 0.0)
    assert only(notes, "all values are 0").startswith("maxpool1:")


@given(circular_problems())
@settings(deadline=None)
def test_what_is_called_equivariant_is(problem):
    pipeline, x = problem
    errors = shift_errors(pipeline, x, min(4, x.shape[2]), mode="circular")
    for note in findings(pipeline, errors):
        if note.startswith("equivariant:"):
            for stage in errors.stages[1:]:
                if f" {stage.name} " in note.replace(",", " "):
                    assert max(stage.equivariance) < 2e-5
                    assert None not in stage.equivariance


def test_two_pipelines_are_compared_by_their_last_stages(photo):
    sharp, soft = (
        shift_errors(parse(text), photo, 3) for text in ("maxpool(1, 2)", "avgpool(4, 2)")
    )
    (note,) = compared(sharp, soft)
    assert "A's last stage, maxpool1" in note
    assert note.endswith("B changes less at every amount")
    assert compared(soft, sharp)[0].endswith("A changes less at every amount")
    assert compared(soft, soft) == []


def changed(told, place, factor):
    """Return an experiment whose last stage has another invariance error at one place."""
    *others, last = told.stages
    errors = list(last.invariance)
    errors[place] *= factor
    return replace(told, stages=(*others, replace(last, invariance=tuple(errors))))


def test_pipelines_are_compared_where_they_differ_by_a_percent(photo):
    told = shift_errors(parse("maxpool(2)"), photo, 3)
    assert compared(told, changed(told, 0, 1.009)) == []
    (note,) = compared(told, changed(changed(told, 0, 1.009), 1, 0.9))
    assert note.startswith("at 2 pixels the invariance error of A's last stage")
    assert "changes less" not in note


@pytest.mark.parametrize(("factor", "words"), [(0.995, ""), (0.9, "softens"), (1.1, "tell more")])
def test_softening_is_told_from_a_percent_on(photo, factor, words):
    pipeline = parse("maxpool(1)")
    told = changed(shift_errors(pipeline, photo, 2, mode="circular"), 0, factor)
    notes = [note for note in findings(pipeline, told) if "small shifts" in note]
    assert len(notes) == bool(words)
    assert all(words in note and " at 2" not in note for note in notes)  # which is as before


def test_no_finding_goes_from_0_to_0():
    x = noise(3, 1, 6, 8)
    notes, stages = told(x, "relu -> maxpool(2)", by=8)  # once around
    assert stages["maxpool1"].invariance[-1] == 0
    none(notes, "from 0 to 0")
    only(notes, "small shifts")
    pipeline = parse("relu -> maxpool(3)")
    still = rotation_errors(pipeline, np.ones((1, 9, 9), np.float32), 30)
    none(findings(pipeline, still), "goes from")


def test_one_stage_is_told_of_once():
    """A map whose stride does not divide it: the coarsest grid, and its size, in one sentence."""
    x = noise(0, 1, 14, 14)
    notes, _ = told(x, "maxpool(2) -> maxpool(2)", by=8)
    sentence = only(notes, "maxpool2's values lie 4 pixels apart")
    assert "only at shifts by 4, 8 could it move along (equivariance error" in sentence
    assert sentence.endswith(
        "; 7 columns are no multiple of maxpool2's stride 2, so its map does not close to a circle"
    )
    assert len([note for note in notes if "maxpool2's" in note]) == 1
    notes, stages = told(noise(0, 1, 15, 15), "maxpool(2) -> maxpool(2)", by=8)
    none([only(notes, "4 pixels apart")], "no multiple")
    own = only(notes, "15 columns are no multiple of maxpool1's stride 2")
    error = max(error for error in stages["maxpool1"].equivariance if error is not None)
    assert own.endswith(f"and maxpool1's equivariance error is {error:.3g} at most")


def test_a_dense_layer_of_crops_reads_less():
    x = noise(0, 1, 9, 12)
    pipeline = parse("conv(2) -> flatten -> dense(4) -> relu -> dense(3)")
    (note,) = rebuilt(pipeline, x.shape, shift_errors(pipeline, x, 2, mode="crop"))
    assert "the crops, 9×10: dense1 reads 112 values, not 140" in note
    assert rebuilt(pipeline, x.shape, shift_errors(pipeline, x, 2, mode="circular")) == []
    pooled = parse("conv(2) -> gap -> dense(3)")
    assert rebuilt(pooled, x.shape, shift_errors(pooled, x, 2, mode="crop")) == []
