"""pool, global_pool and adaptive_pool against float64 brute force and torch."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.engine import (
    POOL_ALGORITHMS,
    PoolProblem,
    adaptive_bins,
    adaptive_pool,
    choose,
    global_pool,
    pool,
)
from cnnviz.core.settings import Padding
from cnnviz.core.threads import set_threads
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError, RequestError
from tests.oracles import (
    NP_PAD,
    adaptive_oracle,
    axis_starts,
    covered_by,
    load_torch,
    noise,
    pad_maps,
    pool_oracle,
)

MODES = ("max", "min", "avg", "lp")
SLIDING = ("rowwise", "doubling")
SEEDS = st.integers(0, 2**31)
REACH = {"reflect": -1, "symmetric": 0, "circular": 0}


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def windows(draw, modes=tuple(NP_PAD), largest_pad=4):
    """Draw (size, Window, pads, mode) in which the window fits."""
    size, kernel = draw(pairs(1, 11)), draw(pairs(1, 7))
    stride, dilation = draw(pairs(1, 4)), draw(pairs(1, 3))
    mode = draw(st.sampled_from(modes))
    limits = [min(largest_pad, size[a] + REACH.get(mode, 99)) for a in (0, 1)]
    pads = tuple(draw(st.integers(0, limits[a % 2])) for a in range(4))
    for a in (0, 1):
        assume(pads[a] + size[a] + pads[a + 2] > dilation[a] * (kernel[a] - 1))
    return size, Window(kernel, stride, Padding.read(pads), dilation), pads, mode


@st.composite
def pools(draw, **options):
    size, window, pads, mode = draw(windows(**options))
    ceil_mode = draw(st.booleans())
    window = Window(window.kernel_size, window.stride, window.padding, window.dilation, ceil_mode)
    for a in (0, 1):  # no window on padding alone
        starts = axis_starts(
            size[a], window.extent[a], window.stride[a], pads[a], pads[a + 2], ceil_mode=ceil_mode
        )
        taps = range(0, window.extent[a], window.dilation[a])
        assume(all(any(0 <= s + tap < size[a] for tap in taps) for s in starts))
    return size, window, pads, mode


@given(
    pools(), SEEDS, st.sampled_from(MODES), st.booleans(),
    st.sampled_from([0.5, 1.0, 2.0, 3.5, 9.0]), st.sampled_from(SLIDING),
)  # fmt: skip
@settings(max_examples=250, deadline=None)
def test_pool_is_the_visit_of_every_cell(case, seed, mode, include, norm, algorithm):
    size, window, pads, padding_mode = case
    x = noise(seed, 2, *size)
    before = x.copy()
    options = {"padding_mode": padding_mode, "count_include_pad": include}
    value = 1.75 if padding_mode == "constant" else 0.0
    actual = pool(x, window, mode, pad_value=value, norm_type=norm, algorithm=algorithm, **options)
    expected = pool_oracle(
        x, mode, kernel_size=window.kernel_size, stride=window.stride, pads=pads,
        dilation=window.dilation, ceil_mode=window.ceil_mode, value=value, norm=norm, **options,
    )  # fmt: skip
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    if mode in ("max", "min"):
        np.testing.assert_array_equal(actual, expected.astype(np.float32))
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("padding_mode", ["zeros", "constant", "reflect"])
@pytest.mark.parametrize("algorithm", SLIDING)
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "pads", "ceil_mode"),
    [
        ((1, 7, 700_000), (3, 5), (2, 3), (1, 2, 0, 1), True),  # strips of columns
        ((1, 1500, 1700), (1200, 1300), (150, 190), (40, 0, 30, 90), True),  # pieces of windows
        ((9, 300, 411), (3, 2), (2, 2), (1, 1, 1, 0), True),  # several maps a block
        ((2, 900, 1800), (40, 3), (1, 3), (0, 2, 1, 2), False),  # bands that overlap much
    ],
)
def test_blocks_do_not_show(shape, kernel, stride, pads, ceil_mode, algorithm, padding_mode):
    """Of whole numbers all sums are exact, in whatever order: cumulative sums are the oracle."""
    x = np.random.default_rng(1).integers(-3, 4, shape).astype(np.float32)
    window = Window(kernel, stride, Padding("explicit", pads), ceil_mode=ceil_mode)
    value = 2.0 if padding_mode == "constant" else 0.0
    actual = pool(
        x, window, "avg", padding_mode=padding_mode, pad_value=value,
        count_include_pad=padding_mode == "zeros", algorithm=algorithm,
    )  # fmt: skip
    padded = pad_maps(x.astype(float), pads, padding_mode, value)
    inside = np.ones_like(padded)
    rows, columns = actual.shape[1:]
    grow = [
        max((count - 1) * step + extent - length, 0)
        for count, step, extent, length in zip(
            (rows, columns), stride, kernel, padded.shape[1:], strict=True
        )
    ]
    sums, counts = (
        _box_sums(np.pad(each, ((0, 0), (0, grow[0]), (0, grow[1]))), kernel)[
            :, : (rows - 1) * stride[0] + 1 : stride[0], : (columns - 1) * stride[1] + 1 : stride[1]
        ]
        for each in (padded, inside)
    )
    np.testing.assert_allclose(actual, sums / counts, rtol=1e-6, atol=1e-6)


def _box_sums(x, kernel):
    """Return the sums of all windows of (C, H, W)."""
    total = np.pad(x.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    kh, kw = kernel
    return total[:, kh:, kw:] - total[:, :-kh, kw:] - total[:, kh:, :-kw] + total[:, :-kh, :-kw]


@given(
    pools(modes=("zeros",)), SEEDS, st.sampled_from(MODES),
    st.sampled_from([np.nan, np.inf, -np.inf]), st.sampled_from(SLIDING),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_nonfinite_pixels_stay_in_their_pools(case, seed, mode, poison, algorithm):
    size, window, pads, _ = case
    x = noise(seed, 2, *size)
    bad = np.random.default_rng(seed).random(size) < 0.15
    spoilt = x.copy()
    spoilt[1, bad] = poison
    covered = covered_by(
        bad, window.kernel_size, window.stride, pads, window.dilation, ceil_mode=window.ceil_mode
    )
    clean = pool(x, window, mode, algorithm=algorithm)
    dirty = pool(spoilt, window, mode, algorithm=algorithm)
    np.testing.assert_array_equal(dirty[0], clean[0])
    np.testing.assert_array_equal(dirty[1, ~covered], clean[1, ~covered])
    if np.isnan(poison):
        assert np.isnan(dirty[1, covered]).all()
    elif mode in ("avg", "lp") or (mode == "max") == (poison > 0):
        expected = abs(poison) if mode == "lp" else poison
        assert (dirty[1, covered] == expected).all()


def test_max_pool_of_minus_infinity_and_empty_padding():
    x = np.full((1, 3, 3), -np.inf, np.float32)
    window = Window((3, 3), padding=Padding("same"))
    assert (pool(x, window, "max") == -np.inf).all()
    assert (pool(np.full((1, 3, 3), -5, np.float32), window, "max") == -5).all()
    assert (pool(np.full((1, 3, 3), 5, np.float32), window, "min") == 5).all()


def test_averages_count_the_cells_of_each_window():
    """With dilation every second window may hold a cell more: 5, 6, 5, 6, 5."""
    x = noise(1, 2, 1, 11)
    window = Window((1, 7), padding=Padding("explicit", (0, 3, 0, 3)), dilation=(1, 2))
    padded = np.pad(x[:, 0].astype(float), ((0, 0), (3, 3)))
    counts = np.array([5, 6, 5, 6, 5])
    expected = [padded[:, start : start + 13 : 2].sum(1) / counts[start] for start in range(5)]
    np.testing.assert_allclose(pool(x, window, "avg")[:, 0], np.transpose(expected), rtol=1e-6)


def test_average_of_many_keeps_its_digits():
    x = np.full((1, 1000, 1000), 0.1, np.float32)
    assert global_pool(x, "avg").item() == np.float32(0.1)
    assert pool(x, Window((1000, 1000)), "avg").item() == np.float32(0.1)
    assert adaptive_pool(x, (1, 1), "avg").item() == np.float32(0.1)


@pytest.mark.parametrize("norm", [2.0, 50.0, 200.0, 1000.0])
@pytest.mark.parametrize("value", [0.1, 1.0, 255.0])
def test_a_large_norm_nears_the_maximum(norm, value):
    """As `lppool` promises; |x|^p itself is far beyond any float."""
    x = np.array([[[value, value / 2], [0, -value]]], np.float32)
    actual = pool(x, Window((2, 2)), "lp", norm_type=norm).item()
    expected = value * (2 + 0.5**norm) ** (1 / norm)
    assert actual == pytest.approx(expected, rel=1e-6)


@given(pairs(1, 12), pairs(1, 15), SEEDS, st.sampled_from(["avg", "max"]))
@settings(max_examples=100)
def test_adaptive_pool_is_the_visit_of_every_bin(size, output_size, seed, mode):
    x = noise(seed, 3, *size)
    actual = adaptive_pool(x, output_size, mode)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, adaptive_oracle(x, output_size, mode), rtol=1e-6, atol=1e-6)


@given(st.integers(1, 50), st.integers(1, 70))
def test_adaptive_bins(length, count):
    starts, stops = adaptive_bins(length, count)
    for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        assert start == i * length // count
        assert stop == -((-(i + 1) * length) // count)
        assert start < stop
    assert (starts[0], stops[-1]) == (0, length)


@given(pairs(1, 9), SEEDS)
def test_global_pool_and_adaptive_pool_to_one_agree(size, seed):
    x = noise(seed, 4, *size)
    assert global_pool(x, "avg").shape == (4, 1, 1)
    np.testing.assert_array_equal(global_pool(x, "max"), adaptive_pool(x, (1, 1), "max"))
    np.testing.assert_allclose(
        global_pool(x, "avg")[:, 0, 0], x.astype(np.float64).mean((1, 2)), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_array_equal(adaptive_pool(x, size, "avg"), x)


@given(SEEDS, st.sampled_from([np.nan, np.inf, -np.inf]), pairs(1, 9))
@settings(max_examples=40)
def test_nonfinite_pixels_stay_in_their_bins(seed, poison, output_size):
    rng = np.random.default_rng(seed)
    x = noise(seed, 2, 7, 6)
    row, column = rng.integers(7), rng.integers(6)
    spoilt = x.copy()
    spoilt[0, row, column] = poison
    for mode in ("avg", "max"):
        clean, dirty = (adaptive_pool(image, output_size, mode) for image in (x, spoilt))
        (top, bottom), (left, right) = (
            adaptive_bins(7, output_size[0]),
            adaptive_bins(6, output_size[1]),
        )
        hit = np.outer((top <= row) & (row < bottom), (left <= column) & (column < right))
        np.testing.assert_array_equal(dirty[1], clean[1])
        np.testing.assert_array_equal(dirty[0, ~hit], clean[0, ~hit])
        if np.isnan(poison):
            assert np.isnan(dirty[0, hit]).all()


# torch ------------------------------------------------------------------------------------------


@st.composite
def torch_pools(draw):
    """Draw what torch's pooling can do: symmetric padding of at most half the kernel."""
    size, kernel, stride = draw(pairs(1, 12)), draw(pairs(1, 5)), draw(pairs(1, 4))
    pads = tuple(draw(st.integers(0, kernel[a] // 2)) for a in (0, 1))
    dilation = draw(pairs(1, 3))
    ceil_mode = draw(st.booleans())
    for a in (0, 1):
        assume(2 * pads[a] + size[a] > dilation[a] * (kernel[a] - 1))
    return size, kernel, stride, pads, dilation, ceil_mode


@pytest.mark.heavy
@given(torch_pools(), SEEDS)
@settings(max_examples=150, deadline=None)
def test_max_pool_is_torchs(case, seed):
    torch = load_torch()
    size, kernel, stride, pads, dilation, ceil_mode = case
    window = Window(kernel, stride, Padding.read(pads), dilation, ceil_mode)
    x = noise(seed, 2, *size)
    expected = torch.nn.functional.max_pool2d(
        torch.from_numpy(x)[None], kernel, stride, pads, dilation, ceil_mode
    )[0].numpy()
    assert window.output_size(size) == expected.shape[1:]
    if np.isinf(expected).any():  # a window on padding alone: torch gives −∞, we an error
        with pytest.raises(CnnvizError, match="padding only"):
            pool(x, window, "max")
        return
    np.testing.assert_array_equal(pool(x, window, "max"), expected)
    np.testing.assert_array_equal(-pool(-x, window, "min"), expected)


@pytest.mark.heavy
@given(torch_pools(), SEEDS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_avg_pool_is_torchs(case, seed, include):
    torch = load_torch()
    size, kernel, stride, pads, _, ceil_mode = case
    assume(all(2 * pads[a] + size[a] >= kernel[a] for a in (0, 1)))
    window = Window(kernel, stride, Padding.read(pads), ceil_mode=ceil_mode)
    x = noise(seed, 2, *size)
    expected = torch.nn.functional.avg_pool2d(
        torch.from_numpy(x)[None].double(), kernel, stride, pads, ceil_mode, include
    )[0].numpy()
    actual = pool(x, window, "avg", count_include_pad=include)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.heavy
@given(pairs(1, 12), pairs(1, 4), pairs(1, 3), SEEDS, st.sampled_from([1.0, 2.0, 3.0, 0.5]))
@settings(max_examples=60, deadline=None)
def test_lp_pool_is_torchs_for_nonnegative_input(size, kernel, stride, seed, norm):
    torch = load_torch()
    assume(kernel[0] <= size[0] and kernel[1] <= size[1])
    x = np.abs(noise(seed, 2, *size))
    expected = torch.nn.functional.lp_pool2d(
        torch.from_numpy(x)[None].double(), norm, kernel, stride
    )[0].numpy()
    actual = pool(x, Window(kernel, stride), "lp", norm_type=norm)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.heavy
@given(pairs(1, 12), pairs(1, 15), SEEDS)
@settings(max_examples=80, deadline=None)
def test_adaptive_pools_are_torchs(size, output_size, seed):
    torch = load_torch()
    x = noise(seed, 2, *size)
    tensor = torch.from_numpy(x)[None]
    np.testing.assert_array_equal(
        adaptive_pool(x, output_size, "max"),
        torch.nn.functional.adaptive_max_pool2d(tensor, output_size)[0].numpy(),
    )
    np.testing.assert_allclose(
        adaptive_pool(x, output_size, "avg"),
        torch.nn.functional.adaptive_avg_pool2d(tensor.double(), output_size)[0].numpy(),
        rtol=1e-6,
        atol=1e-6,
    )


# What a pooling is computed by ------------------------------------------------------------------


@pytest.mark.parametrize("mode", NP_PAD)
def test_strided_and_read_only_input_gives_the_same(mode):
    whole = noise(3, 6, 24, 20)
    whole.flags.writeable = False
    for view in (whole[::2, ::3, ::-1], whole.transpose(0, 2, 1), whole[:, ::-1, 1:-1]):
        plain = np.ascontiguousarray(view)
        for way in MODES:
            for stride in (1, 2):
                window = Window((3, 2), (stride, stride), Padding.read((1, 1, 0, 1)))
                np.testing.assert_array_equal(
                    pool(view, window, way, padding_mode=mode),
                    pool(plain, window, way, padding_mode=mode),
                )
        for bins in ((3, 4), (1, 1), (5, 7)):
            np.testing.assert_array_equal(
                adaptive_pool(view, bins, "avg"), adaptive_pool(plain, bins, "avg")
            )
        np.testing.assert_array_equal(global_pool(view, "avg"), global_pool(plain, "avg"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 1031, 1503), (40, 225, 131), (300, 56, 57)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (3, 2), (31, 1), (5, 3), (2, 7)])
def test_threads_and_algorithms_agree(shape, kernel, stride, mode):
    """Large enough for several blocks and threads; a float64 reference by summed rows."""
    x = noise(kernel, *shape)
    window = Window((kernel, kernel), (stride, stride), Padding.read(kernel // 2))
    results = {}
    for algorithm in SLIDING:
        for threads in (1, 2, 5):
            set_threads(threads)
            try:
                results[algorithm, threads] = pool(x, window, mode, algorithm=algorithm)
            finally:
                set_threads(None)
        for threads in (2, 5):
            np.testing.assert_array_equal(results[algorithm, threads], results[algorithm, 1])
    tolerance = 0 if mode in ("max", "min") else 4e-6
    np.testing.assert_allclose(
        results["rowwise", 1], results["doubling", 1], rtol=tolerance, atol=tolerance
    )


@given(
    st.tuples(st.integers(1, 3), st.integers(20, 90), st.integers(20, 90)),
    pairs(1, 20), pairs(1, 3), SEEDS, st.sampled_from(SLIDING), st.sampled_from([1e-3, 1.0, 1e30]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_averages_keep_their_bound(shape, kernel, stride, seed, algorithm, scale):
    """Within 2e-6 of the mean of the magnitudes, however the signs cancel."""
    x = noise(seed, *shape) * np.float32(scale)
    options = {"stride": stride, "kernel_size": kernel}
    expected = pool_oracle(x, "avg", **options)
    magnitude = pool_oracle(np.abs(x), "avg", **options)
    actual = pool(x, Window(kernel, stride), "avg", algorithm=algorithm)
    assert (np.abs(actual - expected) <= 2e-6 * magnitude).all()


@pytest.mark.parametrize("algorithm", SLIDING)
def test_sums_beyond_float32_are_redone_in_float64(algorithm):
    x = np.full((2, 9, 8), 3e38, np.float32)
    x[0, 0, 0] = np.inf
    actual = pool(x, Window((3, 3)), "avg", algorithm=algorithm)
    assert actual[0, 0, 0] == np.inf
    np.testing.assert_array_equal(actual.ravel()[1:], np.float32(3e38))


def test_a_large_average_keeps_its_digits():
    x = np.full((1, 700, 900), 0.1, np.float32)
    for algorithm in SLIDING:
        actual = pool(x, Window((500, 301), (40, 30)), "avg", algorithm=algorithm)
        np.testing.assert_array_equal(actual, np.float32(0.1))


@pytest.mark.parametrize(
    ("shape", "window", "mode"),
    [
        ((1, 4000, 4000), Window((31, 31)), "avg"),
        ((1, 3000, 4000), Window((901, 701), (100, 90)), "max"),
        ((1, 900, 60000), Window((3, 50001), (1, 3000)), "avg"),
        ((1, 2, 8_000_000), Window((2, 5), (2, 1), Padding("same")), "max"),
        ((4096, 7, 7), Window((3, 3), padding=Padding("same")), "avg"),
        ((64, 224, 224), Window((3, 3), (2, 2), Padding.read(1)), "lp"),
        ((30, 224, 224), Window((2, 2), (2, 2)), "lp"),
    ],
)
def test_little_memory_beside_input_and_output(shape, window, mode):
    x = np.zeros(shape, np.float32)
    out = np.empty(PoolProblem(shape, window, mode).output_shape, np.float32)
    for norm_type in (2.0, 9.0) if mode == "lp" else (2.0,):
        tracemalloc.start()
        try:
            assert pool(x, window, mode, norm_type=norm_type, out=out) is out
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 64 << 20
    assert not out.any()


def test_out_is_written_and_returned():
    x = noise(1, 3, 8, 9)
    whole = np.full((3, 9, 12), 7, np.float32)
    out = whole[:, 2:6, 1:9:2]  # any strides will do
    assert pool(x, Window((2, 2), (2, 2)), "max", out=out) is out
    np.testing.assert_array_equal(out, pool(x, Window((2, 2), (2, 2)), "max"))
    assert (np.delete(whole, np.s_[2:6], axis=1) == 7).all()
    single, bins = np.empty((3, 1, 1), np.float32), np.empty((3, 3, 2), np.float32)
    assert global_pool(x, "avg", out=single) is single
    np.testing.assert_array_equal(single, global_pool(x, "avg"))
    assert adaptive_pool(x, (3, 2), "max", out=bins) is bins
    np.testing.assert_array_equal(bins, adaptive_pool(x, (3, 2), "max"))


@pytest.mark.parametrize("mode", ["max", "min", "avg"])
@pytest.mark.parametrize("shape", [(1, 1200, 1601), (4096, 7, 7), (300, 60, 61)])
def test_whole_maps(shape, mode):
    x = noise(2, *shape)
    expected = {"max": np.max, "min": np.min, "avg": np.mean}[mode](x.astype(float), (1, 2))
    for threads in (1, 2):
        set_threads(threads)
        try:
            actual = global_pool(x, mode)[:, 0, 0]
        finally:
            set_threads(None)
        np.testing.assert_array_equal(actual, expected.astype(np.float32))
    window = Window(shape[1:])
    np.testing.assert_array_equal(
        pool(x, window, mode, algorithm="whole")[:, 0, 0], expected.astype(np.float32)
    )


def test_every_pool_algorithm_wins_somewhere():
    problems = (
        PoolProblem((1, 3000, 4000), Window((2, 2), (2, 2)), "max"),
        PoolProblem((1, 3000, 4000), Window((31, 31)), "avg"),
        PoolProblem((2048, 7, 7), Window((7, 7)), "avg"),
    )
    assert [choose(POOL_ALGORITHMS, problem).algorithm for problem in problems] == list(
        POOL_ALGORITHMS
    )


def test_pool_algorithm_errors():
    x = noise(1, 1, 6, 6)
    with pytest.raises(RequestError, match="unknown algorithm 'rowise'"):
        pool(x, Window((2, 2)), "max", algorithm="rowise")
    with pytest.raises(RequestError, match="whole cannot compute this"):
        pool(x, Window((2, 2)), "max", algorithm="whole")
    with pytest.raises(CnnvizError, match="padding only"):
        pool(x, Window((2, 2), padding=Padding.read(2)), "max")
