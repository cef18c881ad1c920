"""Where a window stops, and what it computes there."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.core.animation import (
    COPY,
    NOTHING,
    NUMBER,
    PIXEL,
    Patches,
    find_stage,
    make_scene,
    stops,
    survey,
)
from cnnviz.core.layers import LAYERS
from cnnviz.core.types import Samples
from cnnviz.errors import RequestError
from cnnviz.files.spec import load_spec
from tests.core.drawn import SEEDS, windows
from tests.oracles import correlate_oracle, noise, pool_oracle


def scene_of(text, x, channel=0, stage=None, **options):
    pipeline = load_spec(text).pipeline
    row = find_stage(pipeline, x.shape, stage)
    return make_scene(pipeline, x, row, channel, **options)


# --- positions ---------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 300))
def test_stops_are_as_many_as_asked_in_raster_order_with_both_ends(rows, columns, count):
    found = stops((rows, columns), count)
    assert len(found) == min(count, rows * columns)
    assert found == sorted(set(found))
    assert all(0 <= row < rows and 0 <= column < columns for row, column in found)
    assert found[-1] == (rows - 1, columns - 1)
    assert found[0] == (0, 0)


def test_all_positions_where_they_are_fewer():
    assert stops((3, 4), 60) == [(row, column) for row in range(3) for column in range(4)]
    assert stops((1, 1), 2) == [(0, 0)]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 400))
def test_the_map_fills_evenly(rows, columns, count):
    found = stops((rows, columns), count)
    for number, (row, column) in enumerate(found):
        filled = (row * columns + column + 1) / (rows * columns)
        even = number / max(len(found) - 1, 1)
        assert abs(filled - even) <= 1 / rows + 1 / (rows * columns) + 1e-9


def test_few_frames_of_a_digit():
    assert stops((28, 28), 5) == [(0, 0), (6, 14), (13, 27), (20, 0), (27, 27)]
    assert stops((28, 28), 2) == [(0, 0), (27, 27)]


@pytest.mark.parametrize("size", [(512, 512), (300, 451), (3000, 4000), (100, 7), (28, 28)])
@pytest.mark.parametrize("count", [60, 150])
def test_the_window_glides(size, count):
    """Sweeps go from the first column to the last, in even steps, down by few rows."""
    found = stops(size, count)
    sweeps = [[found[0]]]
    for at in found[1:]:
        if at[1] <= sweeps[-1][-1][1]:
            sweeps.append([])
        sweeps[-1].append(at)
    for sweep in sweeps:
        assert (sweep[0][1], sweep[-1][1]) == (0, size[1] - 1)
        assert np.ptp(np.diff([column for _, column in sweep])) <= 1
    apart = np.diff([sweep[0][0] for sweep in sweeps])
    assert np.ptp(apart) <= 2 * size[0] / count + 1
    if min(size) > 60:
        steps = [b[1] - a[1] for sweep in sweeps for a, b in itertools.pairwise(sweep)]
        assert 0.5 < np.mean(steps) / np.mean(apart) < 2


def test_the_window_glides_along_each_row_of_a_flat_map():
    found = stops((5, 900), 60)
    for row in range(5):
        steps = np.diff([column for at, column in found if at == row])
        assert steps.size >= 10
        assert np.ptp(steps) <= 1


# --- which stage -------------------------------------------------------------------------------


def test_the_first_stage_with_a_window_unless_one_is_named():
    pipeline = load_spec("relu -> maxpool(2) as small -> conv(2) -> gap -> dense(3)").pipeline
    shape = (1, 20, 20)
    assert find_stage(pipeline, shape).name == "small"
    assert find_stage(pipeline, shape, "relu1").name == find_stage(pipeline, shape, "1").name
    assert find_stage(load_spec("relu").pipeline, shape).name == "relu1"


@pytest.mark.parametrize("stage", ["dense1", "flatten1", "softmax1", "relu2"])
def test_stages_without_a_way_over_maps_are_refused(stage):
    text = "conv(2) -> relu -> flatten -> dense(3) -> relu -> softmax"
    with pytest.raises(RequestError) as error:
        find_stage(load_spec(text).pipeline, (1, 8, 8), stage)
    assert stage in error.value.message
    assert "conv1, relu1" in error.value.hint
    assert "relu2" not in error.value.hint


def test_errors_name_what_there_is():
    pipeline = load_spec("conv(2) -> relu").pipeline
    with pytest.raises(RequestError, match="conv1"):
        find_stage(pipeline, (1, 8, 8), "conf1")
    with pytest.raises(RequestError, match="no stage of this pipeline"):
        find_stage(load_spec("flatten -> softmax").pipeline, (1, 8, 8))
    x = noise(0, 1, 8, 8)
    for channel in (2, -1, 10**9):
        with pytest.raises(RequestError, match=f"no map {channel}.*0 to 1"):
            make_scene(pipeline, x, find_stage(pipeline, x.shape), channel)


# --- the arithmetic ----------------------------------------------------------------------------


def check(scene, expected, magnitude=1.0):
    """Compare map and arithmetic with an oracle's map, at every position."""
    tolerance = 1e-5 * max(1.0, magnitude)
    np.testing.assert_allclose(scene.output, expected, atol=tolerance, rtol=1e-5)
    for at in stops(scene.map_size, 10**6):
        told = scene.arithmetic(at)
        assert abs(told.result - expected[at]) <= tolerance + 1e-5 * abs(expected[at])
        joined = {"sum": np.sum, "largest": np.max, "smallest": np.min}[told.join]
        assert joined(told.terms.part) + (told.bias or 0) == pytest.approx(told.total, abs=1e-9)


def window_text(window, pads, mode):
    def tuple_of(pair):
        return f"({', '.join(map(str, pair))})"

    text = f"stride={tuple_of(window.stride)}, dilation={tuple_of(window.dilation)}"
    if any(pads):
        text += f", padding={tuple_of(pads)}"
    text += f", padding_mode={mode}"
    return text + (", pad_value=-2.5" if mode == "constant" else "")


@given(windows(sizes=st.tuples(st.integers(1, 8), st.integers(1, 8))), SEEDS, st.data())
@settings(max_examples=40)
def test_convolutions(drawn, seed, data):
    size, window, pads, mode = drawn
    groups, depth, each = (data.draw(st.integers(1, 2)) for _ in range(3))
    x = noise(seed, groups * depth, *size)
    bias = data.draw(st.booleans())
    text = f"conv({groups * each}, ({window.kernel_size[0]}, {window.kernel_size[1]}), "
    text += f"groups={groups}, bias={str(bias).lower()}, {window_text(window, pads, mode)})"
    weight = noise(seed + 1, groups * each, depth, *window.kernel_size)
    params = {"conv1.weight": weight}
    if bias:
        params["conv1.bias"] = noise(seed + 2, groups * each)
    channel = data.draw(st.integers(0, groups * each - 1))
    expected, _ = correlate_oracle(
        x, weight, stride=window.stride, pads=pads, dilation=window.dilation, groups=groups,
        mode=mode, value=-2.5 if mode == "constant" else 0.0, bias=params.get("conv1.bias"),
    )  # fmt: skip
    scene = scene_of(text, x, channel, params=params)
    check(scene, expected[channel])
    assert len(scene.reads) == depth


POOLS = [
    *itertools.product(
        ("max", "min", "avg", "lp"),
        (
            *("2", "(3, 2), (2, 1)", "3, 2, 1", "3, 2, 1, ceil_mode=true", "(1, 3), 4"),
            *("3, 2, 1, padding_mode=reflect", "2, 1, 1, padding_mode=constant, pad_value=7"),
            "3, 1, dilation=(2, 1)",
        ),
    ),
    ("avg", "3, 2, 1, ceil_mode=true, count_include_pad=true"),
    ("lp", "3, 1, norm_type=3"),
]


@pytest.mark.parametrize(("mode", "settings_text"), POOLS)
def test_pooling(mode, settings_text):
    x = noise(3, 2, 7, 10)
    text = f"{mode}pool({settings_text})"
    layer = load_spec(text).pipeline.nodes[0].layer
    window = layer.window(x.shape)
    expected = pool_oracle(
        x, mode, kernel_size=window.kernel_size, stride=window.stride, pads=window.pads((7, 10)),
        dilation=window.dilation, ceil_mode=window.ceil_mode, padding_mode=layer.padding_mode,
        value=layer.pad_value, count_include_pad=getattr(layer, "count_include_pad", False),
        norm=getattr(layer, "norm_type", 2.0),
    )  # fmt: skip
    scene = scene_of(text, x, 1)
    check(scene, expected[1])
    for at in stops(scene.map_size, 10**6):
        told = scene.arithmetic(at)
        assert (told.chosen is not None) == (mode in ("max", "min"))
        if told.chosen is not None:
            shown = Patches.of(told, [1])
            assert shown.value[shown.chosen] == told.result
            assert shown.kind[shown.chosen] != NOTHING


CELLS = [name for name, layer in LAYERS.items() if hasattr(layer, "curve")]


@pytest.mark.parametrize("text", [*CELLS, "batchnorm", "prelu(3)"])
def test_layers_that_go_cell_by_cell(text):
    x = np.abs(noise(5, 3, 4, 5)) * np.float32(0.5) + np.float32(0.1)
    x[:, 0] *= -1 if text != "power" else 1
    pipeline = load_spec(text).pipeline
    rng = np.random.default_rng(0)
    params = {
        key: rng.uniform(0.5, 2, spec.shape).astype(np.float32)
        for key, spec in pipeline.param_specs(x.shape).items()
    }
    expected = pipeline.forward(x, params)
    for channel in range(3):
        scene = scene_of(text, x, channel, params=params)
        check(scene, expected[channel])
        assert scene.window.kernel_size == (1, 1)


@pytest.mark.parametrize("text", ["conv(3, 2)", "depthwise(2, 3)", "maxpool(2)", "relu"])
def test_samples_give_what_their_tensor_gives(text):
    rng = np.random.default_rng(0)
    samples = Samples(rng.integers(0, 256, (3, 6, 7)).astype(np.uint8), 255.0)
    a, b = scene_of(text, samples, 2), scene_of(text, samples.tensor(), 2)
    np.testing.assert_allclose(a.output, b.output, atol=1e-6)
    assert a.arithmetic((1, 2)).result == b.arithmetic((1, 2)).result
    read = list(a.reads)[::-1]
    np.testing.assert_array_equal(a.planes(read), samples.tensor()[read])
    assert len(a.source.values if isinstance(a.source, Samples) else a.source) == len(read)


def test_a_stage_deep_in_a_graph():
    text = "conv(4, 3, padding=same) as a -> relu -> maxpool(2) -> from(a) -> conv(5, 2) as b"
    x = noise(6, 2, 9, 8)
    pipeline = load_spec(text).pipeline
    (whole,) = (stage.output for stage in pipeline.run(x, seed=7) if stage.row.name == "b")
    scene = scene_of(text, x, 3, "b", seed=7)
    check(scene, whole[3])
    assert scene.start((2, 3)) == (2, 3)


# --- what is shown -----------------------------------------------------------------------------


def test_patches_are_the_terms_in_their_places():
    x = noise(7, 2, 5, 6)
    scene = scene_of("conv(1, (2, 3), padding=(1, 0, 0, 0), stride=2)", x)
    weight = load_spec("conv(1, (2, 3), padding=(1, 0, 0, 0), stride=2)").pipeline.params(x.shape)[
        "conv1.weight"
    ]
    shown = Patches.of(scene.arithmetic((0, 1)), [0, 1])
    expected = np.pad(x, ((0, 0), (1, 0), (0, 0)))[:, 0:2, 2:5]
    np.testing.assert_array_equal(shown.value, expected.astype(np.float64))
    np.testing.assert_array_equal(shown.weight, weight[0].astype(np.float64))
    np.testing.assert_array_equal(shown.part, shown.value * shown.weight)
    assert (shown.kind[:, 0] == NUMBER).all()
    assert (shown.kind[:, 1] == PIXEL).all()
    one = Patches.of(scene.arithmetic((0, 1)), [1])
    np.testing.assert_array_equal(one.value[0], shown.value[1])


def test_kinds_of_cells_beyond_the_edge():
    x = noise(8, 1, 4, 4)
    mirrored = scene_of("conv(1, 3, padding=1, padding_mode=reflect)", x)
    kind = Patches.of(mirrored.arithmetic((0, 0)), [0]).kind[0]
    assert kind.tolist() == [[COPY, COPY, COPY], [COPY, 0, 0], [COPY, 0, 0]]
    np.testing.assert_array_equal(
        Patches.of(mirrored.arithmetic((0, 0)), [0]).value[0],
        np.pad(x[0], 1, mode="reflect")[:3, :3],
    )
    padded = Patches.of(scene_of("maxpool(3, 2, 1)", x).arithmetic((0, 0)), [0])
    assert (padded.kind[0] == NUMBER).sum() == 5
    hanging = Patches.of(scene_of("avgpool(3, 3, ceil_mode=true)", x).arithmetic((1, 1)), [0])
    assert (hanging.kind[0] == NOTHING).sum() == 8


def test_the_channel_that_contributes_most_is_shown():
    x = noise(9, 6, 5, 5) * np.float32(0.01)
    x[4] += 3
    found = survey(scene_of("conv(2, 3)", x), stops((3, 3), 9))
    assert found.channels == (4,)
    terms = [scene_of("conv(2, 3)", x).arithmetic(at).terms for at in stops((3, 3), 9)]
    expected = max(np.abs(t.part[t.at[:, 0] == 4]).max() for t in terms)
    assert found.reach == pytest.approx(expected)
    few = survey(scene_of("conv(2, 3)", x[2:5]), stops((3, 3), 9))
    assert (few.channels, few.main) == ((0, 1, 2), 2)


def test_what_is_not_finite_does_not_choose():
    x = np.full((5, 3, 3), np.nan, np.float32)
    x[3] = 2
    x[1, 0, 0] = np.inf
    found = survey(scene_of("conv(1, 2)", x), stops((2, 2), 4))
    assert found.channels == (3,)
    assert np.isfinite(found.reach)
