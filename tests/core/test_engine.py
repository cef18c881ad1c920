"""correlate and pool against float64 brute force, scipy and torch."""

import tracemalloc

import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.engine import (
    adaptive_bins,
    adaptive_pool,
    correlate,
    correlation,
    global_pool,
    pool,
)
from cnnviz.core.engine import pooling as pooling_module
from cnnviz.core.engine.correlation import bands
from cnnviz.core.options import Padding
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError
from tests.oracles import (
    NP_PAD,
    adaptive_oracle,
    axis_starts,
    correlate_oracle,
    covered_by,
    load_torch,
    noise,
    pad_maps,
    pool_oracle,
)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


SEEDS = st.integers(0, 2**31)
REACH = {"reflect": -1, "symmetric": 0, "circular": 0}


@st.composite
def windows(draw, modes=tuple(NP_PAD), largest_pad=4, symmetric_pads=False):
    """Draw (size, Window, pads, mode) in which the window fits."""
    size, kernel = draw(pairs(1, 11)), draw(pairs(1, 5))
    stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3))
    mode = draw(st.sampled_from(modes))
    limits = [min(largest_pad, size[a] + REACH.get(mode, 99)) for a in (0, 1)]
    pads = [draw(st.integers(0, limits[a % 2])) for a in range(4)]
    if symmetric_pads:
        pads[2:] = pads[:2]
    for a in (0, 1):
        assume(pads[a] + size[a] + pads[a + 2] > dilation[a] * (kernel[a] - 1))
    return size, Window(kernel, stride, Padding.read(tuple(pads)), dilation), tuple(pads), mode


def assert_within(actual, expected, magnitude):
    """At most 1e-5 of the sum of the terms' magnitudes away, output by output."""
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - 1e-5 * magnitude - 1e-30
    assert excess.max() <= 0, f"{excess.max():g} too far"


@st.composite
def correlations(draw, **options):
    size, window, pads, mode = draw(windows(**options))
    groups = draw(st.integers(1, 3))
    depth, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    seed = draw(SEEDS)
    x = noise(seed, groups * depth, *size) * draw(st.sampled_from([1e-3, 1.0, 1e6]))
    weight = noise(seed + 1, groups * each, depth, *window.kernel_size)
    bias = noise(seed + 2, groups * each) if draw(st.booleans()) else None
    value = draw(st.sampled_from([0.0, -2.5])) if mode == "constant" else 0.0
    return x, weight, window, pads, mode, groups, bias, value


@given(correlations())
@settings(max_examples=250, deadline=None)
def test_correlate_is_the_weighted_sum(case):
    x, weight, window, pads, mode, groups, bias, value = case
    before = x.copy(), weight.copy()
    actual = correlate(
        x, weight, window, bias=bias, groups=groups, padding_mode=mode, pad_value=value
    )
    expected = correlate_oracle(
        x, weight, stride=window.stride, pads=pads, dilation=window.dilation, groups=groups,
        mode=mode, value=value, bias=bias,
    )  # fmt: skip
    assert_within(actual, *expected)
    assert actual.flags.c_contiguous
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(weight, before[1])


@given(pairs(1, 12), pairs(1, 5), st.sampled_from(["valid", "full", "same"]), SEEDS)
@settings(max_examples=80)
def test_correlate_is_scipys(size, kernel, rule, seed):
    assume(rule == "full" or (kernel[0] <= size[0] and kernel[1] <= size[1]))
    x, weight = noise(seed, 1, *size), noise(seed + 1, 1, 1, *kernel)
    # scipy's `same` puts the odd pixel of an even kernel before, as same-lower does.
    padding = Padding("same-lower" if rule == "same" else rule)
    actual = correlate(x, weight, Window(kernel, padding=padding))
    expected = scipy.signal.correlate(x[0], weight[0, 0], mode=rule, method="direct")
    magnitude = scipy.signal.correlate(np.abs(x[0]), np.abs(weight[0, 0]), rule, "direct")
    assert_within(actual[0], expected, magnitude)


@pytest.mark.heavy
@given(correlations())
@settings(max_examples=150, deadline=None)
def test_correlate_is_torchs(case):
    torch = load_torch()
    x, weight, window, pads, mode, groups, bias, value = case
    top, left, bottom, right = pads
    names = {"zeros": "constant", "constant": "constant", "reflect": "reflect",
             "replicate": "replicate", "circular": "circular"}  # fmt: skip
    if mode == "symmetric":
        padded = torch.from_numpy(pad_maps(x, pads, mode))[None]
    else:
        options = {"value": value} if mode == "constant" else {}
        padded = torch.nn.functional.pad(
            torch.from_numpy(x)[None], (left, right, top, bottom), names[mode], **options
        )
    expected = torch.nn.functional.conv2d(
        padded.double(),
        torch.from_numpy(weight).double(),
        None if bias is None else torch.from_numpy(bias).double(),
        stride=window.stride,
        dilation=window.dilation,
        groups=groups,
    )[0].numpy()
    magnitude = correlate_oracle(
        x, weight, stride=window.stride, pads=pads, dilation=window.dilation, groups=groups,
        mode=mode, value=value, bias=bias,
    )[1]  # fmt: skip
    actual = correlate(
        x, weight, window, bias=bias, groups=groups, padding_mode=mode, pad_value=value
    )
    assert_within(actual, expected, magnitude)


@given(correlations(), st.sampled_from([1, 500, 4000]))
@settings(max_examples=60, deadline=None)
def test_bands_do_not_show_in_correlate(case, band_bytes):
    x, weight, window, pads, mode, groups, bias, value = case

    def run():
        return correlate(
            x, weight, window, bias=bias, groups=groups, padding_mode=mode, pad_value=value
        )

    whole = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlation, "BAND_BYTES", band_bytes)
        cut = run()
    magnitude = correlate_oracle(
        x, weight, stride=window.stride, pads=pads, dilation=window.dilation, groups=groups,
        mode=mode, value=value, bias=bias,
    )[1]  # fmt: skip
    assert_within(cut, whole, magnitude)


@given(st.integers(1, 60), st.integers(0, 99), st.integers(1, 500))
def test_bands_tile_the_rows(rows, row_bytes, band_bytes):
    spans = list(bands(rows, row_bytes, band_bytes))
    assert [row for first, stop in spans for row in range(first, stop)] == list(range(rows))
    assert all((stop - first) * row_bytes <= max(band_bytes, row_bytes) for first, stop in spans)


@given(windows(modes=("zeros",)), SEEDS, st.sampled_from([np.nan, np.inf, -np.inf]))
@settings(max_examples=100, deadline=None)
def test_nonfinite_pixels_stay_in_their_windows(case, seed, poison):
    size, window, pads, _ = case
    rng = np.random.default_rng(seed)
    x, weight = noise(seed, 3, *size), noise(seed + 1, 4, 3, *window.kernel_size)
    weight[rng.random(weight.shape) < 0.3] = 0  # 0 · ∞ is NaN: a zero weight still reads its cell
    bad = rng.random(size) < 0.1
    spoilt = x.copy()
    spoilt[rng.integers(3), bad] = poison
    covered = covered_by(bad, window.kernel_size, window.stride, pads, window.dilation)
    clean = correlate(x, weight, window)
    with np.errstate(all="ignore"):
        dirty = correlate(spoilt, weight, window)
    np.testing.assert_array_equal(dirty[:, ~covered], clean[:, ~covered])
    assert not np.isfinite(dirty[:, covered]).any()


def test_nonfinite_pixels_stay_in_their_group():
    x, weight = noise(1, 4, 6, 6), noise(2, 4, 2, 3, 3)
    spoilt = x.copy()
    spoilt[3] = np.nan
    window = Window((3, 3))
    clean, dirty = (correlate(image, weight, window, groups=2) for image in (x, spoilt))
    np.testing.assert_array_equal(dirty[:2], clean[:2])
    assert np.isnan(dirty[2:]).all()


@pytest.mark.parametrize("mode", NP_PAD)
def test_strided_input_gives_the_same(mode):
    whole = noise(3, 6, 24, 20)
    for view in (whole[::2, ::3, ::-1], whole.transpose(0, 2, 1), whole[:, ::-1, 1:-1]):
        assert not view.flags.c_contiguous
        plain = np.ascontiguousarray(view)
        weight = noise(4, 2, view.shape[0], 3, 2)
        window = Window((3, 2), (2, 1), Padding.read((1, 1, 0, 1)))
        np.testing.assert_array_equal(
            correlate(view, weight[:, :, ::-1], window, padding_mode=mode),
            correlate(plain, weight[:, :, ::-1].copy(), window, padding_mode=mode),
        )
        for way in ("max", "min", "avg", "lp"):
            np.testing.assert_array_equal(
                pool(view, window, way, padding_mode=mode),
                pool(plain, window, way, padding_mode=mode),
            )
        np.testing.assert_array_equal(
            adaptive_pool(view, (3, 4), "avg"), adaptive_pool(plain, (3, 4), "avg")
        )
        np.testing.assert_allclose(global_pool(view, "avg"), global_pool(plain, "avg"), rtol=1e-6)


def test_read_only_input_is_enough():
    x, weight = noise(1, 2, 9, 8), noise(2, 3, 2, 3, 3)
    x.flags.writeable = weight.flags.writeable = False
    correlate(x, weight, Window((3, 3), padding=Padding("same")), bias=noise(3, 3))
    for mode in ("max", "min", "avg", "lp"):
        pool(x, Window((2, 3), padding=Padding("same")), mode)
        adaptive_pool(x, (2, 3), mode) if mode != "lp" else None


def test_engine_errors():
    x = noise(1, 2, 4, 5)
    with pytest.raises(CnnvizError, match="does not fit"):
        correlate(x, noise(2, 1, 2, 6, 1), Window((6, 1)))
    with pytest.raises(CnnvizError, match="reflect padding of 4"):
        correlate(
            x, noise(2, 1, 2, 3, 3), Window((3, 3), padding=Padding.read(4)), padding_mode="reflect"
        )
    with pytest.raises(CnnvizError, match="padding only"):
        pool(x, Window((2, 2), padding=Padding.read(2)), "max")


# Pooling ----------------------------------------------------------------------------------------


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
    pools(), SEEDS, st.sampled_from(["max", "min", "avg", "lp"]), st.booleans(),
    st.sampled_from([1.0, 2.0, 3.5]),
)  # fmt: skip
@settings(max_examples=250, deadline=None)
def test_pool_is_the_visit_of_every_cell(case, seed, mode, include, norm):
    size, window, pads, padding_mode = case
    x = noise(seed, 2, *size)
    before = x.copy()
    options = {"padding_mode": padding_mode, "count_include_pad": include}
    value = 1.75 if padding_mode == "constant" else 0.0
    actual = pool(x, window, mode, pad_value=value, norm_type=norm, **options)
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


@given(pools(), SEEDS, st.sampled_from(["max", "min", "avg", "lp"]), st.sampled_from([1, 300]))
@settings(max_examples=80, deadline=None)
def test_bands_do_not_show_in_pool(case, seed, mode, band_bytes):
    size, window, _, padding_mode = case
    x = noise(seed, 2, *size)
    whole = pool(x, window, mode, padding_mode=padding_mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling_module, "BAND_BYTES", band_bytes)
        np.testing.assert_array_equal(whole, pool(x, window, mode, padding_mode=padding_mode))


@given(
    pools(modes=("zeros",)), SEEDS, st.sampled_from(["max", "min", "avg", "lp"]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_nonfinite_pixels_stay_in_their_pools(case, seed, mode, poison):
    size, window, pads, _ = case
    x = noise(seed, 2, *size)
    bad = np.random.default_rng(seed).random(size) < 0.15
    spoilt = x.copy()
    spoilt[1, bad] = poison
    covered = covered_by(
        bad, window.kernel_size, window.stride, pads, window.dilation, ceil_mode=window.ceil_mode
    )
    clean = pool(x, window, mode)
    with np.errstate(all="ignore"):
        dirty = pool(spoilt, window, mode)
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


def test_a_nonfinite_pixel_of_a_large_image_stays_in_its_windows():
    # Large enough for blocked, threaded matrix products and several bands.
    x, weight = noise(5, 3, 257, 301), noise(6, 16, 3, 5, 5)
    window = Window((5, 5), padding=Padding("same"))
    clean = correlate(x, weight, window)
    for poison in (np.nan, np.inf):
        spoilt = x.copy()
        spoilt[1, 100, 200] = poison
        with np.errstate(all="ignore"):
            dirty = correlate(spoilt, weight, window)
        hit = np.zeros(x.shape[1:], bool)
        hit[98:103, 198:203] = True
        np.testing.assert_array_equal(dirty[:, ~hit], clean[:, ~hit])
        assert not np.isfinite(dirty[:, hit]).any()


def test_a_kernel_wider_than_the_band_needs_no_more_memory():
    """One output row's windows would take 3000 × 401² × 4 bytes = 1.9 GB."""
    x = noise(0, 1, 2, 3000)
    weight = np.ones((1, 1, 401, 401), np.float32)
    window = Window((401, 401), (1, 300), Padding("same"))
    tracemalloc.start()
    try:
        output = correlate(x, weight, window)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    starts = np.arange(10) * 300 - window.pads((2, 3000))[1]
    sums = [x[0, :, max(start, 0) : start + 401].sum(dtype=float) for start in starts]
    np.testing.assert_allclose(output[0], [sums, sums], rtol=1e-4, atol=1e-3)
