"""correlate and each of its algorithms against float64 sums, scipy and torch."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from cnnviz.core import threads
from cnnviz.core.engine import (
    ALGORITHMS,
    PRECISIONS,
    Correlation,
    as_whole,
    correlate,
)
from cnnviz.core.settings import Padding
from cnnviz.core.types import Samples
from cnnviz.core.window import Window
from cnnviz.errors import CnnvizError
from tests.core.drawn import SEEDS, SMALL_KERNELS, correlations, pairs, windows
from tests.oracles import NP_PAD, correlate_oracle, covered_by, load_torch, noise, pad_maps

THREADS = st.integers(1, 3)
WIDE = [name for name in ALGORITHMS if name.startswith("winograd")]
OF_TENSORS = [name for name in ALGORITHMS if name != "int16"]
OF_FEW = [name for name in OF_TENSORS if name not in WIDE]
ONES = st.just((1, 1))


@pytest.fixture(autouse=True)
def _any_number_of_threads():
    yield
    threads.set_threads(None)


def oracle(x, weight, window, pads, mode="zeros", groups=1, bias=None, value=0.0):
    """Return the float64 sums and the sums of their terms' magnitudes."""
    return correlate_oracle(
        x, weight, stride=window.stride, pads=pads, dilation=window.dilation, groups=groups,
        mode=mode, value=value, bias=bias,
    )  # fmt: skip


def assert_within(actual, expected, magnitude, error=PRECISIONS["exact"]):
    """At most `error` of the sum of the terms' magnitudes away, output by output."""
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - error * magnitude - 1e-30
    assert excess.max() <= 0, f"{excess.max():g} too far"


def run(name, problem, count):
    """Compute a problem with one algorithm and so many threads."""
    output = np.full((problem.filters, *problem.size), 7, np.float32)
    ALGORITHMS[name].run(problem, output, count)
    return output


# --- the operation -------------------------------------------------------------------------------


@given(correlations(), THREADS)
@settings(max_examples=300, deadline=None)
def test_correlate_is_the_weighted_sum(case, count):
    x, weight, window, pads, mode, groups, bias, value = case
    before = x.copy(), weight.copy()
    threads.set_threads(count)
    actual = correlate(
        x, weight, window, bias=bias, groups=groups, padding_mode=mode, pad_value=value
    )
    assert_within(actual, *oracle(x, weight, window, pads, mode, groups, bias, value))
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
    assert_within(actual[0], expected, magnitude, 4e-6)  # scipy's is float32, too


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
    magnitude = oracle(x, weight, window, pads, mode, groups, bias, value)[1]
    actual = correlate(
        x, weight, window, bias=bias, groups=groups, padding_mode=mode, pad_value=value
    )
    assert_within(actual, expected, magnitude)


# --- every algorithm -----------------------------------------------------------------------------


def check(name, problem, pads, count):
    """Compare an algorithm with the oracle, if it can compute the problem at all."""
    algorithm, asked = ALGORITHMS[name], problem
    problem = as_whole(problem)
    if not algorithm.supports(problem):
        reject()
    x = asked.x.tensor() if isinstance(asked.x, Samples) else asked.x
    expected = oracle(
        x, asked.weight, asked.window, pads, asked.padding_mode, asked.groups,
        asked.bias, asked.fill,
    )  # fmt: skip
    values, magnitude = expected
    if algorithm.shares_rounding:
        weights = np.abs(asked.weight).sum(axis=(1, 2, 3), dtype=float)
        largest = max(np.abs(x).max(), abs(asked.fill))
        magnitude = np.maximum(magnitude, (weights * largest)[:, None, None])
    assert_within(run(name, problem, count), values, magnitude, error=algorithm.error)


@pytest.mark.parametrize("name", OF_FEW)
@given(case=correlations(), count=THREADS)
@settings(max_examples=120, deadline=None, suppress_health_check=["filter_too_much"])
def test_algorithms_sum_whatever_they_support(name, case, count):
    x, weight, window, pads, mode, groups, bias, value = case
    problem = Correlation(x, weight, window, bias, groups, mode, value)
    if not ALGORITHMS[name].supports(problem):  # make it one that more of them do
        window = Window(window.kernel_size, padding=window.padding)
        problem = replace(problem, window=window)
    if not ALGORITHMS[name].supports(problem):
        problem = replace(
            problem, weight=weight[:, :1, ...].copy(), groups=len(x),
            x=x, bias=None,
        ) if len(weight) % len(x) == 0 else problem  # fmt: skip
    check(name, problem, pads, count)


@pytest.mark.parametrize("name", ["flat", "int16", "separable", "rows"])
@given(
    kernel=st.sampled_from(SMALL_KERNELS),
    drawn=windows(sizes=pairs(3, 30), strides=ONES, kernels=ONES, dilations=pairs(1, 2)),
    channels=st.sampled_from([1, 1, 3]),
    unit=st.sampled_from([None, 1.0, 255.0]),
    seed=SEEDS,
    count=THREADS,
)
@settings(max_examples=200, deadline=None, suppress_health_check=["filter_too_much"])
def test_plane_algorithms_sum_small_kernels(name, kernel, drawn, channels, unit, seed, count):
    size, window, pads, mode = drawn
    kernel = np.float32(kernel)
    window = replace(window, kernel_size=kernel.shape)
    for a in (0, 1):
        assume(pads[a] + size[a] + pads[a + 2] >= window.extent[a])
    weight = np.repeat(kernel[None, None] / np.float32(channels), channels, 1)
    weight = np.concatenate([weight, weight[..., ::-1, :] * 2])
    rng = np.random.default_rng(seed)
    if unit is None:
        x = noise(seed, channels, *size)
    else:
        x = Samples(rng.integers(0, 256, (channels, *size)).astype(np.uint8), unit)
    bias = noise(seed + 1, 2) if seed % 2 else None
    check(name, Correlation(x, weight, window, bias, 1, mode), pads, count)


@pytest.mark.parametrize("name", OF_TENSORS)
@given(
    c=st.integers(1, 9), o=st.integers(1, 9), size=pairs(1, 15), pad=st.integers(0, 2),
    square=st.sampled_from([1, 3]), seed=SEEDS, count=THREADS,
)  # fmt: skip
@settings(max_examples=80, deadline=None, suppress_health_check=["filter_too_much"])
def test_network_layers(name, c, o, size, pad, square, seed, count):
    if name in WIDE:
        c, o, square = c + 15, o + 15, 3
    elif name in {"flat", "separable"}:  # planes, of a bank that is looked at
        c, o, square = 1, min(o, 4), 3
        weight = np.float32([np.outer([1, 2, 1], [1 - n, n, 3]) for n in range(o)])[:, None]
    assume(min(size) + 2 * pad >= square)
    if name not in {"flat", "separable"}:
        weight = noise(seed + 1, o, c, square, square)
    window = Window((square, square), padding=Padding.read(pad))
    problem = Correlation(noise(seed, c, *size), weight, window, noise(seed + 2, o))
    check(name, problem, (pad,) * 4, count)


LARGE = (  # enough for several bands: name, (channels, rows, columns), filters, kernel, stride
    ("windows", (8, 120, 400), 5, 3, 1),
    ("windows", (3, 300, 700), 70, 1, 1),
    ("windows", (1, 40, 90_000), 2, 3, 2),
    ("rows", (8, 120, 1500), 5, 3, 1),
    ("rows", (1, 900, 1300), 1, 5, 2),
    ("rows", (40, 60, 300), 30, 3, 1),
    ("flat", (1, 400, 1700), 1, 3, 1),
    ("flat", (2, 300, 2100), 4, 3, 1),
    ("int16", (1, 600, 2100), 2, 3, 1),
)


@pytest.mark.parametrize(("name", "shape", "filters", "kernel", "stride"), LARGE)
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_bands_do_not_show(name, shape, filters, kernel, stride, mode):
    channels, *size = shape
    depth = 1 if name in {"flat", "int16"} else channels
    pads, bias = (kernel // 2, 0, kernel // 2, 1 if kernel > 1 else 0), noise(3, filters)
    x, weight = noise(1, channels, *size), noise(2, filters, depth, kernel, kernel)
    if name == "int16":
        x, weight = Samples(np.abs(x * 50).astype(np.uint8)), np.rint(weight * 2)
    window = Window((kernel, kernel), (stride, stride), Padding("explicit", pads))
    check(name, Correlation(x, weight, window, bias, channels // depth, mode), pads, 2)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_threads_do_not_show(name):
    """The bands may depend on the number of threads, the sums but by rounding."""
    x, image = noise(1, 8, 70, 90), noise(1, 1, 70, 900)
    grey = Samples((np.abs(image) * 60).astype(np.uint8), 255.0)
    sobel = np.float32(SMALL_KERNELS[0])[None, None]
    same = Padding("same")
    problems = [
        Correlation(x, noise(2, 6, 8, 3, 3), Window((3, 3), padding=same)),
        Correlation(x, noise(2, 6, 8, 1, 1), Window((1, 1))),
        Correlation(image, sobel, Window((3, 3), padding=same)),
        Correlation(grey, sobel, Window((3, 3), padding=same)),
        Correlation(image, noise(3, 1, 1, 15, 17), Window((15, 17), padding=same)),
        Correlation(noise(1, 16, 70, 90), noise(2, 16, 16, 3, 3), Window((3, 3), padding=same)),
    ]
    problems = [as_whole(problem) for problem in problems]
    problem = next(each for each in problems if ALGORITHMS[name].supports(each))
    first, *others = (run(name, problem, count) for count in (1, 2, 3, 5))
    scale = np.abs(first).max()
    for other in others:
        np.testing.assert_allclose(other, first, rtol=0, atol=ALGORITHMS[name].error * scale)
    np.testing.assert_array_equal(run(name, problem, 2), others[0])


# --- exact integers ------------------------------------------------------------------------------


@given(st.sampled_from(SMALL_KERNELS), pairs(8, 40), SEEDS, st.sampled_from(["same", "valid"]))
@settings(max_examples=100, deadline=None)
def test_int16_is_exact_or_refused(kernel, size, seed, rule):
    kernel = np.float32(kernel)
    x = np.random.default_rng(seed).integers(0, 256, (1, *size)).astype(np.uint8)
    window = Window(kernel.shape, padding=Padding(rule))
    problem = Correlation(Samples(x), kernel[None, None], window)
    possible = ALGORITHMS["int16"].supports(problem)
    is_whole = (kernel == np.rint(kernel)).all() and np.abs(kernel).sum() * 255 < 2**15
    assert possible or not is_whole
    if not is_whole:
        return
    out = np.empty((1, *problem.size), np.int16)
    assert correlate(Samples(x, 255.0), kernel[None, None], window, out=out) is out
    np.testing.assert_array_equal(out, oracle(x, kernel[None, None], window, problem.pads)[0])


def test_values_of_samples_are_rounded_once():
    x = np.random.default_rng(1).integers(0, 256, (1, 40, 50)).astype(np.uint8)
    sobel, window = np.float32(SMALL_KERNELS[0])[None, None], Window((3, 3))
    whole = oracle(x, sobel, window, (0, 0, 0, 0))[0]
    actual = correlate(Samples(x, 255.0), sobel, window, algorithm="int16")
    np.testing.assert_array_equal(actual, (whole / 255).astype(np.float32))


@pytest.mark.parametrize("name", ["windows", "rows", "flat", "int16", "separable"])
@pytest.mark.parametrize("channels", [1, 3])
def test_whole_numbers_cancel_exactly(name, channels):
    """A constant image has no edges, whatever adds it up."""
    constant = Samples(np.full((channels, 40, 60), 77, np.uint8), 255.0)
    for kernel in SMALL_KERNELS[:2] + SMALL_KERNELS[3:4] + SMALL_KERNELS[5:6]:
        plane = np.float32(kernel)[None, None] / np.float32(channels)
        weight, window = plane.repeat(channels, 1), Window(plane.shape[2:])
        problem = as_whole(Correlation(constant, weight, window))
        if plane.sum() == 0 and ALGORITHMS[name].supports(problem):
            assert not run(name, problem, 1).any()
            assert not correlate(constant, weight, window).any()


def test_int16_never_overflows():
    window = Window((1, 2))
    for weights, fits in (([64, 64], True), ([65, 64], False), ([-128, 0], True)):
        weight = np.float32(weights)[None, None, None]
        problem = Correlation(Samples(np.full((1, 4, 9), 255, np.uint8)), weight, window)
        assert ALGORITHMS["int16"].supports(problem) == fits


# --- what is not finite --------------------------------------------------------------------------


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
    with np.errstate(all="ignore"):
        dirty = correlate(spoilt, weight, window)
    expected, magnitude = oracle(x, weight, window, pads)
    assert_within(dirty[:, ~covered], expected[:, ~covered], magnitude[:, ~covered]) if (
        not covered.all()
    ) else None
    assert not np.isfinite(dirty[:, covered]).any()


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_no_algorithm_spreads_what_is_not_finite(name, poison):
    window = Window((3, 3), padding=Padding("same"))
    sobel = np.float32(SMALL_KERNELS[0])[None, None]
    for channels, weight in ((1, sobel), (64, noise(2, 64, 64, 3, 3)), (4, noise(3, 4, 4, 1, 1))):
        window = Window(weight.shape[2:], padding=Padding("same"))
        x = noise(1, channels, 40, 50)
        x[channels // 2, 17, 23] = poison
        if not ALGORITHMS[name].supports(Correlation(x, weight, window)):
            continue
        with np.errstate(all="ignore"):
            actual = correlate(x, weight, window, algorithm=name)
        bad = np.zeros((40, 50), bool)
        reach = weight.shape[2] // 2
        bad[17 - reach : 18 + reach, 23 - reach : 24 + reach] = True
        assert not np.isfinite(actual[:, bad]).any()
        assert np.isfinite(actual[:, ~bad]).all()


def test_nonfinite_pixels_stay_in_their_group():
    x, weight = noise(1, 4, 6, 6), noise(2, 4, 2, 3, 3)
    spoilt = x.copy()
    spoilt[3] = np.nan
    window = Window((3, 3))
    clean, dirty = (correlate(image, weight, window, groups=2) for image in (x, spoilt))
    np.testing.assert_allclose(dirty[:2], clean[:2], rtol=1e-5, atol=1e-6)
    assert np.isnan(dirty[2:]).all()


def test_a_nonfinite_bias_or_weight_is_no_reason_to_fail():
    x, window = noise(1, 1, 9, 9), Window((3, 3))
    bias = np.float32([np.inf, 1])
    with np.errstate(all="ignore"):
        output = correlate(x, noise(2, 2, 1, 3, 3), window, bias=bias)
        spoilt = correlate(x, np.full((1, 1, 3, 3), np.nan, np.float32), window)
    assert np.isposinf(output[0]).all()
    assert np.isfinite(output[1]).all()
    assert np.isnan(spoilt).all()


# --- memory, arrays, plans -----------------------------------------------------------------------


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


def test_read_only_input_is_enough():
    x, weight = noise(1, 2, 9, 8), noise(2, 3, 2, 3, 3)
    x.flags.writeable = weight.flags.writeable = False
    correlate(x, weight, Window((3, 3), padding=Padding("same")), bias=noise(3, 3))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_extra_memory_is_bounded(name):
    """At most 64 MB beside input and output, whatever the algorithm."""
    sobel = np.float32(SMALL_KERNELS[0])[None, None]
    same = Padding("same")
    problems = [
        Correlation(noise(1, 1, 1500, 4000), sobel, Window((3, 3), padding=same)),
        Correlation(noise(1, 1, 1500, 2000), noise(2, 1, 1, 21, 23), Window((21, 23))),
        Correlation(
            noise(1, 1, 2, 3000), noise(2, 1, 1, 401, 401), Window((401, 401), (1, 1), same)
        ),
        Correlation(noise(1, 64, 224, 224), noise(2, 64, 64, 3, 3), Window((3, 3), padding=same)),
        Correlation(noise(1, 600, 14, 14), noise(2, 700, 600, 3, 3), Window((3, 3), padding=same)),
        Correlation(noise(1, 64, 300, 300), noise(2, 64, 64, 1, 1), Window((1, 1))),
        Correlation(
            Samples(np.ones((1, 1500, 4000), np.uint8), 255.0), sobel, Window((3, 3), padding=same)
        ),
    ]
    problems = [as_whole(problem) for problem in problems]
    able = [problem for problem in problems if ALGORITHMS[name].supports(problem)]
    assert able
    for problem in able:
        if problem.macs > 4e9 or (name == "windows" and problem.macs > 1e9):
            continue  # minutes of a plain algorithm show nothing new
        output = np.empty((problem.filters, *problem.size), np.float32)
        tracemalloc.start()
        ALGORITHMS[name].run(problem, output, 16)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64 << 20, f"{problem.x.shape} {problem.weight.shape}: {peak >> 20} MB"


def test_out_is_filled_or_refused():
    x, weight, window = noise(1, 1, 9, 8), noise(2, 2, 1, 3, 3), Window((3, 3))
    out = np.empty((2, 7, 6), np.float32)
    assert correlate(x, weight, window, out=out) is out
    np.testing.assert_array_equal(out, correlate(x, weight, window))
    for wrong in (np.empty((2, 7, 5), np.float32), np.empty((2, 7, 12), np.float32)[..., ::2]):
        with pytest.raises(CnnvizError, match="out has shape"):
            correlate(x, weight, window, out=wrong)
    with pytest.raises(CnnvizError, match=r"out has shape .* int16"):
        correlate(x, weight, window, out=np.empty((2, 7, 6), np.int16))


def test_errors():
    x = noise(1, 2, 4, 5)
    with pytest.raises(CnnvizError, match="does not fit"):
        correlate(x, noise(2, 1, 2, 6, 1), Window((6, 1)))
    with pytest.raises(CnnvizError, match="reflect padding of 4"):
        correlate(
            x, noise(2, 1, 2, 3, 3), Window((3, 3), padding=Padding.read(4)), padding_mode="reflect"
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": noise(1, 4, 5)}, "x has shape"),
        ({"weight": noise(1, 3, 3)}, "weight"),
        ({"weight": noise(1, 3, 1, 3, 3)}, "do not fit 2 channels"),
        ({"weight": noise(1, 3, 4, 3, 3)}, "do not fit 2 channels"),
        ({"groups": 2}, "do not fit"),
        ({"groups": 0}, "do not fit"),
        ({"window": Window((3, 2))}, "the window's"),
        ({"window": Window((5, 5))}, "the window's"),
        ({"bias": np.zeros(1)}, "bias has shape"),
        ({"bias": np.zeros(4)}, "bias has shape"),
        ({"padding_mode": "mirror"}, "unknown padding mode"),
        ({"algorithm": "magic"}, "unknown algorithm"),
        ({"out": np.empty((3, 5, 7), np.float64)}, "out has shape"),
        ({"out": [1]}, "out has shape"),
    ],
)
@pytest.mark.parametrize("algorithm", [None, "fft", "rows"])
def test_what_does_not_go_together_is_an_error(changes, message, algorithm):
    given = {
        "x": noise(1, 2, 7, 9), "weight": noise(2, 3, 2, 3, 3), "window": Window((3, 3)),
        "algorithm": algorithm, **changes,
    }  # fmt: skip
    with pytest.raises(CnnvizError, match=message):
        correlate(**given)


def test_out_may_not_be_the_input():
    x = noise(1, 1, 9, 9)
    with pytest.raises(CnnvizError, match="overlaps"):
        correlate(x, noise(2, 1, 1, 3, 3), Window((3, 3), padding=Padding("same")), out=x)


def test_a_nonfinite_pixel_of_a_large_image_stays_in_its_windows():
    image = noise(1, 1, 400, 500)
    image[0, 200, 250] = np.inf
    for size in (3, 9, 31):  # GEMM, separable or not, FFT
        weight = noise(2, 1, 1, size, size)
        with np.errstate(all="ignore"):
            output = correlate(image, weight, Window((size, size)))
        bad = ~np.isfinite(output[0])
        rows, columns = np.nonzero(bad)
        assert bad.sum() == size * size
        assert (rows.min(), rows.max()) == (201 - size, 200)
        assert (columns.min(), columns.max()) == (251 - size, 250)
