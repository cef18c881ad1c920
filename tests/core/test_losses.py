"""Winners, discarded values, dead maps and contamination against brute force and torch."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnnviz
from cnnviz.core.border import BORDERS
from cnnviz.core.engine import correlate, unpool
from cnnviz.core.layers import make_layer
from cnnviz.core.losses import dead_maps, discarded, winners
from cnnviz.core.types import Losses
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError
from tests.core.engine.test_pool import SEEDS, pools
from tests.oracles import axis_starts, load_torch


def uneven(seed, *shape):
    """Draw values full of ties, with some infinities, NaN and both zeros."""
    values = np.array([-3, -2, -1, 0, -0.0, 1, 2, 3, np.inf, -np.inf, np.nan], np.float32)
    chances = np.array([1, 1, 2, 1, 1, 3, 2, 2, 0.2, 0.5, 0.3])
    return np.random.default_rng(seed).choice(values, shape, p=chances / chances.sum())


def winner_of(cells, sign):
    """Walk (value, index) pairs as PyTorch does; None without any."""
    best, at = None, None
    for value, index in cells:
        if best is None or sign * value > sign * best or np.isnan(value):
            best, at = value, index
    return at


def winners_oracle(x, layer):
    """Visit every cell of every window."""
    window, size = layer.window(x.shape), x.shape[1:]
    pads = window.pads(size)
    starts = [
        axis_starts(size[a], window.extent[a], window.stride[a], pads[a], pads[a + 2],
                    ceil_mode=layer.ceil_mode)
        for a in (0, 1)
    ]  # fmt: skip
    source = BORDERS[layer.padding_mode].source
    output = np.full((len(x), len(starts[0]), len(starts[1])), -7)
    for c, plane in enumerate(x):
        for r, top in enumerate(starts[0]):
            for k, left in enumerate(starts[1]):
                cells = []
                for i in range(window.kernel_size[0]):
                    for j in range(window.kernel_size[1]):
                        at = [top + i * window.dilation[0], left + j * window.dilation[1]]
                        if any(at[a] >= size[a] + pads[a + 2] for a in (0, 1)):
                            continue  # beyond the padding
                        if source is not None:
                            at = [int(source(np.array([at[a]]), size[a])[0]) for a in (0, 1)]
                        if all(0 <= at[a] < size[a] for a in (0, 1)):
                            cells.append((plane[at[0], at[1]], at[0] * size[1] + at[1]))
                        elif layer.padding_mode == "constant":
                            cells.append((np.float32(layer.pad_value), -1))
                found = winner_of(cells, 1 if layer.mode == "max" else -1)
                output[c, r, k] = -1 if found is None else found
    return output


@given(pools(), SEEDS, st.sampled_from(["maxpool", "minpool"]), st.sampled_from([1, 40, 2**19]))
def test_winners_are_those_of_a_visit_of_every_cell(case, seed, name, cells):
    size, window, pads, mode = case
    layer = make_layer(
        name, window.kernel_size, window.stride, padding=pads, padding_mode=mode,
        dilation=window.dilation, ceil_mode=window.ceil_mode,
        pad_value=1.0 if mode == "constant" else 0.0,
    )  # fmt: skip
    x = uneven(seed, 3, *size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpool, "CELLS", cells)
        found = winners(x, layer)
        share = discarded(x, layer)
    expected = winners_oracle(x, layer)
    np.testing.assert_array_equal(found, expected)
    used = sum(len(set(one.ravel().tolist()) - {-1}) for one in expected)
    assert share == pytest.approx(1 - used / x.size, abs=1e-12)
    # What wins is what the layer hands on.
    output = layer.apply(x, params={})
    flat = np.take_along_axis(x.reshape(3, -1), np.maximum(found, 0).reshape(3, -1), 1)
    pad_won = found.reshape(3, -1) < 0
    np.testing.assert_array_equal(np.where(pad_won, 1.0, flat), output.reshape(3, -1))


@given(
    st.tuples(st.integers(1, 13), st.integers(1, 13)), SEEDS,
    st.tuples(st.integers(1, 15), st.integers(1, 15)), st.sampled_from([1, 30, 2**19]),
)  # fmt: skip
def test_winners_of_bins(size, seed, output_size, cells):
    x = uneven(seed, 2, *size)
    layer = make_layer("adaptive_maxpool", output_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpool, "CELLS", cells)
        found = winners(x, layer)
        whole = winners(x, make_layer("global_maxpool"))
    for c, plane in enumerate(x):
        for r in range(output_size[0]):
            for k in range(output_size[1]):
                rows, columns = (
                    range(at * side // count, -(-(at + 1) * side // count))
                    for at, side, count in zip((r, k), size, output_size, strict=True)
                )
                every = [(plane[i, j], i * size[1] + j) for i in rows for j in columns]
                assert found[c, r, k] == winner_of(every, 1)
        assert whole[c, 0, 0] == winner_of(list(zip(plane.ravel(), range(plane.size))), 1)  # noqa: B905


@pytest.mark.heavy
@given(pools(modes=("zeros",)), SEEDS)
def test_winners_are_torchs(case, seed):
    torch = load_torch()
    size, window, pads, _ = case
    pads = tuple(min(p, k // 2) for p, k in zip(pads[:2], window.kernel_size, strict=True))
    layer = make_layer(
        "maxpool", window.kernel_size, window.stride, padding=pads, dilation=window.dilation,
        ceil_mode=window.ceil_mode,
    )  # fmt: skip
    x = uneven(seed, 2, *size)
    try:
        _, expected = torch.nn.functional.max_pool2d(
            torch.from_numpy(x)[None], window.kernel_size, window.stride, pads, window.dilation,
            window.ceil_mode, return_indices=True,
        )  # fmt: skip
        found = winners(x, layer)
    except (RuntimeError, CnnvizError):
        return  # it fits neither, or holds a window without a pixel
    np.testing.assert_array_equal(found, expected[0].numpy())


@pytest.mark.heavy
@pytest.mark.parametrize("output_size", [(1, 1), (3, 5), (7, 4), (9, 20)])
def test_winners_of_bins_are_torchs(output_size):
    torch = load_torch()
    x = uneven(3, 4, 9, 14)
    _, expected = torch.nn.functional.adaptive_max_pool2d(
        torch.from_numpy(x)[None], output_size, return_indices=True
    )
    found = winners(x, make_layer("adaptive_maxpool", output_size))
    np.testing.assert_array_equal(found, expected[0].numpy())


def test_shares_by_hand():
    x = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    # Of each 2×2 block one value wins; a global maximum leaves 23 of 24.
    assert discarded(x, make_layer("maxpool", 2)) == 0.75
    assert discarded(x, make_layer("global_maxpool")) == 1 - 1 / 24
    # Windows of one pixel discard nothing; with stride 2 down and 3 across, 20 of 24 are unseen.
    assert discarded(x, make_layer("maxpool", 1)) == 0
    assert discarded(x, make_layer("maxpool", 1, (2, 3))) == 1 - 4 / 24
    # A map is told from the next: the second's winners are the last of each block, too.
    both = np.concatenate([x, -x])
    np.testing.assert_array_equal(
        winners(both, make_layer("maxpool", 2))[:, 0], [[7, 9, 11], [0, 2, 4]]
    )
    assert discarded(both, make_layer("maxpool", 2)) == 0.75


def test_only_what_picks_one_has_winners():
    x = np.zeros((1, 4, 4), np.float32)
    for name, settings in (("avgpool", (2,)), ("lppool", (2,)), ("gap", ()), ("relu", ())):
        with pytest.raises(RequestError, match="picks no winner"):
            winners(x, make_layer(name, *settings))
    with pytest.raises(CnnvizError, match="does not fit"):
        winners(x, make_layer("maxpool", 5))


def test_dead_maps():
    maps = np.zeros((4, 2, 3), np.float32)
    maps[1, 1, 2], maps[2, 0, 0], maps[3] = 1e-30, np.nan, -0.0
    assert dead_maps(maps) == 2
    assert dead_maps(np.zeros(5, np.float32)) is None


def test_a_run_tells_its_losses_only_if_asked():
    pipeline = cnnviz.parse("relu -> maxpool(2) -> avgpool(2) -> gap -> flatten -> relu")
    x = np.stack([-np.ones((8, 8)), np.arange(64).reshape(8, 8)]).astype(np.float32)
    assert [stage.losses for stage in pipeline.run(x)] == [None] * 6
    for reuse in (False, True):
        stages = list(pipeline.run(x, reuse=reuse, losses=True))
        assert [stage.losses for stage in stages] == [
            Losses(1, None), Losses(1, 0.75), Losses(1, None), Losses(1, None),
            Losses(None, None), Losses(None, None),
        ]  # fmt: skip


@pytest.mark.heavy
def test_memory_stays_small():
    x = np.random.default_rng(0).normal(size=(1, 3000, 4000)).astype(np.float32)
    layer = make_layer("maxpool", 3, 2, padding="same")
    tracemalloc.start()
    discarded(x, layer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


# --- contamination -----------------------------------------------------------------------------


@given(pools(modes=("zeros",)))
def test_contamination_counts_cells_off_the_image(case):
    size, window, pads, _ = case
    off = taps = 0
    starts = [
        axis_starts(size[a], window.extent[a], window.stride[a], pads[a], pads[a + 2],
                    ceil_mode=window.ceil_mode)
        for a in (0, 1)
    ]  # fmt: skip
    for top in starts[0]:
        for left in starts[1]:
            for i in range(window.kernel_size[0]):
                for j in range(window.kernel_size[1]):
                    y, x = top + i * window.dilation[0], left + j * window.dilation[1]
                    off += not (0 <= y < size[0] and 0 <= x < size[1])
                    taps += 1
    assert window.contamination(size) == pytest.approx(off / taps, abs=1e-12)
    if not window.ceil_mode:
        ones = np.ones((1, 1, *window.kernel_size), np.float32)
        counts = correlate(np.ones((1, *size), np.float32), ones, window)
        share = 1 - float(counts.mean(dtype=np.float64)) / ones.size
        assert window.contamination(size) == pytest.approx(share, abs=1e-6)


def test_contamination_of_stages():
    text = (
        "conv(4, 3) -> conv(4, (3, 5), padding=same) -> conv(4, 3, padding=1, padding_mode=reflect)"
        " -> relu -> conv_transpose(4, 3, 2, padding=1) -> maxpool(2) -> pad(1) -> gap -> flatten"
    )
    rows = list(cnnviz.parse(text).rows((1, 12, 12)))
    shares = [row.contamination for row in rows]
    assert shares[0] == 0.0
    # Of 10 rows of windows the outer two lack 1 of 3, of 10 columns the outer four 2, 1, 1, 2 of 5.
    assert shares[1] == pytest.approx(1 - (28 / 30) * (44 / 50))
    assert shares[2] == pytest.approx(1 - (28 / 30) ** 2)
    assert shares[3] is None
    assert shares[4] is None
    assert shares[5] == 0.0
    assert shares[6] == pytest.approx(1 - 81 / 121)
    assert shares[7] == 0.0
    assert shares[8] is None


def test_valid_is_exactly_0_and_ceil_mode_hangs_over():
    assert Window((7, 7), (2, 2)).contamination((224, 224)) == 0.0
    # 3 windows of 2 over 5 columns: the last holds 1 of its 2 cells, 5 of 6 in all.
    assert Window((1, 2), (1, 2), ceil_mode=True).contamination((3, 5)) == pytest.approx(1 / 6)
