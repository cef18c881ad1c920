"""Every change that is suggested makes the pipeline fit, on real pixels too."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.derivation import attempt
from cnnviz.core.fixes import MOST, STAGES, Fix, fixes, put_before
from cnnviz.errors import CnnvizError
from cnnviz.files.spec import load_spec, parse
from tests.oracles import noise

BYTES = 32 << 20  # of tensors and weights: larger fixes are derived, not computed


def found(text, shape, params=None):
    return {fix.text: fix for fix in fixes(load_spec(text).pipeline, shape, params)}


def check(fix, params=None):
    """Run a fix: its text reads back, its rows go to the end, and so do pixels."""
    assert fix.text
    assert parse(str(fix.pipeline)) == fix.pipeline
    rows = list(fix.pipeline.rows(fix.shape, params))
    totals = fix.pipeline.totals(fix.shape)
    if totals.peak_bytes + 4 * totals.params > BYTES or totals.macs > 1 << 26:
        return
    stages = list(fix.pipeline.run(noise(1, *fix.shape), params))
    assert [stage.output.shape for stage in stages] == [row.output_shape for row in rows]


# Known cases --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("conv(8, 7)", (1, 5, 6), {
            "set padding=same at conv1": "conv(8, 7, padding=same)",
            "set kernel_size=(5, 6) at conv1": "conv(8, (5, 6))",
            "use an input of 1×7×7": (1, 7, 7),
        }),
        ("conv(8, 3, dilation=4)", (1, 5, 6), {
            "set dilation=1 at conv1": "conv(8, 3)",
            "set padding=same at conv1": "conv(8, 3, padding=same, dilation=4)",
        }),
        ("conv(8, padding=9, padding_mode=reflect)", (1, 5, 8), {
            "set padding=(4, 7) at conv1": "conv(8, padding=(4, 7), padding_mode=reflect)",
            "set padding_mode=replicate at conv1": "conv(8, padding=9, padding_mode=replicate)",
            "use an input of 1×10×10": (1, 10, 10),
        }),
        ("conv(4) -> relu -> dense(8)", (1, 5, 6), {
            "put flatten before dense1": "conv(4) -> relu -> flatten -> dense(8)",
            "put global_avgpool before dense1": "conv(4) -> relu -> global_avgpool -> dense(8)",
        }),
        ("conv(6, groups=4)", (8, 5, 6), {
            "set groups=2 at conv1": "conv(6, groups=2)",
            "set filters=8 at conv1": "conv(8, groups=4)",
        }),
        ("maxpool(2, padding=3)", (1, 5, 6), {
            "set padding=1 at maxpool1": "maxpool(2, padding=1)",
            "set padding=same at maxpool1": "maxpool(2, padding=same)",
            "set kernel_size=4 at maxpool1": "maxpool(4, padding=3)",
        }),
        ("maxpool(2) -> maxpool(2) -> conv(5, 3)", (1, 10, 30), {
            "set padding=same at conv1": "maxpool(2) -> maxpool(2) -> conv(5, 3, padding=same)",
            "leave out maxpool2": "maxpool(2) -> conv(5, 3)",
            "set stride=1 at maxpool2": "maxpool(2) -> maxpool(2, 1) -> conv(5, 3)",
            "use an input of 1×12×30": (1, 12, 30),
        }),
        ("conv(8, 3) as a -> conv(8, 3) -> add(a)", (1, 12, 30), {
            "set padding=same at conv2": "conv(8, 3) as a -> conv(8, 3, padding=same) -> add(a)",
        }),
        ("conv(8, padding=same) as a -> conv(16, stride=2, padding=same) -> add(a)", (1, 12, 31), {
            "put conv(16, 1, 2) between a and add1":
                "conv(8, padding=same) as a -> conv(16, stride=2, padding=same) -> from(a) -> "
                "conv(16, 1, 2) as shortcut -> from(conv2) -> add(shortcut)",
        }),
        ("maxpool(2) -> conv(8, padding=same) -> upsample(2) -> concat(input)", (3, 13, 31), {
            "use an input of 3×14×32": (3, 14, 32),
            "put resize(size=(12, 30)) between input and concat1":
                "maxpool(2) -> conv(8, padding=same) -> upsample(2) -> from(input) -> "
                "resize(size=(12, 30)) -> from(upsample1) -> concat(resize1)",
        }),
        ("flatten -> dense(4) as d -> from(input) -> gap -> add(d)", (4, 5, 6), {
            "put reshape((4, 1, 1)) between d and add1":
                "flatten -> dense(4) as d -> from(input) -> gap -> from(d) -> reshape((4, 1, 1)) "
                "-> from(global_avgpool1) -> add(reshape1)",
        }),
        ("reshape((3, 5, 7))", (3, 5, 6), {"set shape=(3, 5, 6) at reshape1": "reshape((3,5,6))"}),
        ("slice(9, axis=2, start=1, step=2)", (3, 5, 6), {
            "set length=3 at slice1": "slice(3, axis=2, start=1, step=2)",
        }),
        ("slice(3, start=4)", (5, 5, 6), {"set start=2 at slice1": "slice(3, start=2)"}),
        ("slice(3, step=-1)", (5, 5, 6), {"set start=2 at slice1": "slice(3, start=2, step=-1)"}),
        ("depth_to_space(3)", (8, 5, 6), {
            "set block=2 at depth_to_space1": "depth_to_space(2)",
            "use an input of 9×5×6": (9, 5, 6),
        }),
        ("prelu(3)", (2, 5, 6), {
            "set num_parameters=2 at prelu1": "prelu(2)", "use an input of 3×5×6": (3, 5, 6),
        }),
        ("resize(0.1)", (3, 5, 40), {"set scale=(0.2, 0.1) at resize1": "resize((0.2, 0.1))"}),
        ("scale(shape=(3, 2, 6))", (3, 5, 6), {
            "set shape=(3, 1, 6) at scale1": "scale(shape=(3, 1, 6))",
        }),
        ("conv_transpose(2, 3, padding=5)", (3, 2, 2), {
            "set padding=valid at conv_transpose1": "conv_transpose(2, 3)",
        }),
        ("flatten -> softmax(axes=1)", (3, 5, 6), {
            "set axes=(0) at softmax1": "flatten -> softmax", "leave out flatten1": "softmax(1)",
        }),
        ("flatten -> conv(3)", (3, 5, 6), {"leave out flatten1": "conv(3)"}),
        ("conv(8)->gap as g->from(conv1)->flatten->mul(g)", (3, 7, 7), {
            "leave out flatten1": "conv(8) -> gap as g -> from(conv1) -> mul(g)",
        }),
        ("lenet5", (1, 10, 11), {
            "leave out avgpool1": None,
            "set padding=same at avgpool2": None,
            "use an input of 1×12×12": (1, 12, 12),
        }),
    ],
)  # fmt: skip
def test_changes_that_are_suggested(text, shape, expected):
    suggested = found(text, shape)
    assert 1 <= len(suggested) <= MOST
    for fix in suggested.values():
        check(fix)
    for told, result in expected.items():
        assert told in suggested, (told, list(suggested))
        fix = suggested[told]
        if isinstance(result, tuple):
            assert fix.shape == result
            assert fix.pipeline == load_spec(text).pipeline
        elif result is not None:
            assert fix.shape == shape
            assert [n.layer for n in fix.pipeline.nodes] == [n.layer for n in parse(result).nodes]


def test_the_most_local_change_comes_first_and_the_input_last():
    texts = list(found("maxpool(2) -> maxpool(2) -> conv(5, 3)", (1, 10, 30)))
    assert texts[0] == "set padding=same at conv1"
    assert texts[-1] == "use an input of 1×12×30"


@pytest.mark.parametrize(
    ("text", "shape", "words"),
    [
        ("flatten -> dense(10) -> conv(3, 3)", (3, 5, 6),
         ("put reshape((10, 1, 1)) before conv1", "and set padding=same at conv1")),
        ("conv(2, 9) -> gap -> conv(3, 3) -> dense(2) -> slice(5)", (1, 5, 5),
         ("at conv1, and", "at conv2, and", "at slice1")),
    ],
)  # fmt: skip
def test_changes_are_combined_where_one_is_not_enough(text, shape, words):
    suggested = found(text, shape)
    assert any(all(word in told for word in words) for told in suggested), list(suggested)
    for fix in suggested.values():
        check(fix)


def test_where_nothing_else_helps_the_stage_is_left_out():
    assert list(found("gap -> slice(2, axis=1, start=3)", (1, 5, 5)))
    for fix in found("gap -> slice(2, axis=1, start=3)", (1, 5, 5)).values():
        check(fix)


def test_what_fits_needs_no_fix():
    assert fixes(parse("conv(3) -> relu"), (1, 5, 5)) == []


def test_the_smallest_input_is_the_smallest():
    """One row or column less would not fit."""
    pipeline = parse("conv(4, (5, 3), stride=2) -> maxpool(3) -> conv(2, (2, 3))")
    (fix,) = (fix for fix in fixes(pipeline, (1, 4, 40)) if fix.text.startswith("use an input"))
    _, rows, columns = fix.shape
    assert columns == 40
    assert attempt(pipeline, (1, rows - 1, columns)).error is not None


def test_other_stages_keep_their_names_and_weights():
    pipeline = parse("maxpool(2) -> maxpool(2) -> conv(2, 3, bias=false)")
    params = {"conv1.weight": noise(1, 2, 1, 3, 3)}
    for fix in fixes(pipeline, (1, 10, 30), params):
        assert fix.pipeline.nodes[-1].name == "conv1"
        check(fix, params)
        outputs = list(fix.pipeline.run(noise(2, *fix.shape), params))
        assert outputs[-1].row.weights == "loaded"


def test_weights_of_another_number_of_channels_ask_for_that_input():
    params = {"conv1.weight": noise(1, 2, 5, 3, 3), "conv1.bias": noise(2, 2)}
    suggested = found("conv(2, 3)", (3, 8, 9), params)
    assert suggested["use an input of 5×8×9"].shape == (5, 8, 9)
    tried = attempt(parse("conv(2, 3)"), (3, 8, 9), params)
    assert "(2, 5, 3, 3)" in str(tried.error)
    assert any(line.fails for line in tried.failed.lines)


def test_weights_of_another_size_ask_for_the_size_they_were_made_for():
    text = "conv(2, 3) -> maxpool(2) -> flatten -> dense(4)"
    params = dict(parse(text).params((1, 28, 28)))
    for shape in ((1, 40, 30), (1, 20, 20)):
        suggested = found(text, shape, params)
        assert suggested["use an input of 1×28×28"].pipeline == parse(text)
        for fix in suggested.values():
            check(fix, params)


def assert_minimal(pipeline, shape, fix):
    """Without any one of its changes a fix fails, and none takes another back."""
    start = Fix((), pipeline, shape)
    made = start.then(fix.changes)
    assert made == fix
    assert made.changes == fix.changes
    for place in range(len(fix.changes)):
        less = start.then(fix.changes[:place] + fix.changes[place + 1 :])
        assert attempt(less.pipeline, less.shape).error is not None, (fix.text, less.text)
    added = {name for change in fix.changes for name in change.adds}
    assert not added & {change.removes for change in fix.changes}


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("dense(5) -> maxpool(2)", (1, 4, 4)),
        ("dense(10) -> conv(4, 3)", (1, 8, 8)),
        ("dense(10) -> softmax(axes=(1, 2)) -> conv(2, 3)", (2, 8, 7)),
    ],
)
def test_no_stage_is_put_in_and_left_out_again(text, shape):
    suggested = found(text, shape)
    assert suggested
    for fix in suggested.values():
        assert_minimal(parse(text), shape, fix)
        check(fix)


def test_of_several_stages_only_those_that_matter_are_changed():
    """Convolutions with padding=1 keep sizes already, and a needs no padding where b has none."""
    (last, *_) = (fix for fix in found("vgg16", (3, 20, 20)).values() if len(fix.changes) > 1)
    assert last.text == "set padding=same at features.16 and features.23"
    text = "conv(8) as a -> conv(8, padding=2) -> conv(8, padding=same) -> conv(8, 7) -> add(a)"
    several = [told for told in found(text, (3, 28, 28)) if told.startswith("set padding=same at")]
    assert several == ["set padding=same at conv2 and conv4"]


def test_fixes_of_many_stages_are_told_only_where_there_are_no_others():
    text = " -> ".join(["conv(2)"] * 9)
    for told, fix in found(text, (1, 5, 9)).items():
        assert len(fix.changes) <= STAGES, told


# Drawn --------------------------------------------------------------------------------------------

SMALL = st.integers(1, 5)
TERMS = st.one_of(
    st.builds(
        "conv({}, {}, {}, padding={}, padding_mode={}, dilation={}, groups={})".format,
        SMALL, SMALL, st.integers(1, 3), st.sampled_from(["valid", "same", "full", "1", "(0, 4)"]),
        st.sampled_from(["zeros", "reflect", "circular"]), st.integers(1, 3), st.integers(1, 2),
    ),
    st.builds(
        "{}({}, {}, padding={}, ceil_mode={})".format,
        st.sampled_from(["maxpool", "avgpool"]), SMALL, SMALL,
        st.sampled_from(["valid", "same", "full", "2", "(0, 1, 3, 0)"]),
        st.sampled_from(["true", "false"]),
    ),
    st.builds("conv_transpose({}, {}, {}, padding={})".format, SMALL, SMALL, SMALL, SMALL),
    st.builds("slice({}, axis={}, start={})".format, SMALL, st.integers(0, 2), SMALL),
    st.builds("reshape({})".format, st.sampled_from(["(2, 3, 4)", "12", "(1, 6, 5)"])),
    st.builds("prelu({})".format, SMALL),
    st.builds("depth_to_space({})".format, st.integers(2, 3)),
    st.builds("adaptive_maxpool({})".format, SMALL),
    st.builds("scale(shape={})".format, st.sampled_from(["(2, 1, 1)", "4", "(1, 3, 1)"])),
    st.builds("resize({})".format, st.sampled_from(["0.3", "1.5", "(0.1, 2.0)"])),
    st.builds("reduce(sum, {})".format, st.integers(0, 2)),
    st.builds(
        "{}({})".format,
        st.sampled_from(["add", "mul", "concat", "from"]),
        st.sampled_from(["input", "1", "2"]),
    ),
    st.builds("concat(input, axis={})".format, st.integers(0, 2)),
    st.builds("dense({})".format, SMALL),
    st.sampled_from(["flatten", "gap", "relu", "lrn", "softmax(axes=(1, 2))", "upsample(2)"]),
)  # fmt: skip


@st.composite
def misfits(draw):
    """Draw a pipeline and an input that it does not fit."""
    text = " -> ".join(draw(st.lists(TERMS, min_size=1, max_size=6)))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)))
    try:
        pipeline = parse(text)
    except CnnvizError:
        assume(False)
    assume(attempt(pipeline, shape).error is not None)
    return pipeline, shape


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 3), (2, 8, 5)])
def test_a_name_that_is_taken_is_not_given_again(shape):
    """flatten1 left out, put back elsewhere: without the first change its name is still taken."""
    text = "maxpool(1) -> flatten -> conv_transpose(1, 1, padding=1) -> dense(1)"
    for fix in fixes(parse(text), shape):
        list(fix.pipeline.rows(fix.shape))
    dense, flatten = parse(text).nodes[-1], parse("flatten").nodes[0].layer
    start = Fix((), parse(text), shape)
    assert start.then([put_before(dense, "conv_transpose1", flatten, "flatten1")]) == start
    assert start.then([put_before(dense, "conv_transpose1", flatten, "flatten2")]) != start


@given(misfits())
@settings(max_examples=100, deadline=None)
def test_every_suggested_fix_runs(misfit):
    pipeline, shape = misfit
    suggested = fixes(pipeline, shape)
    assert len(suggested) <= MOST
    keys = {(str(fix.pipeline), fix.shape) for fix in suggested}
    assert len(keys) == len({fix.text for fix in suggested}) == len(suggested)
    assert (str(pipeline), shape) not in keys
    for fix in suggested:
        check(fix)
        assert_minimal(pipeline, shape, fix)
    tried = attempt(pipeline, shape)
    assert tried.error is not None
    assert any(line.fails for line in tried.failed.lines)
    assert len(tried.rows) == len(tried.derivations) < len(pipeline.nodes)


def test_a_pipeline_of_one_stage_is_not_emptied():
    for fix in fixes(parse("slice(9)"), (1, 5, 5)):
        assert len(fix.pipeline.nodes) == 1
