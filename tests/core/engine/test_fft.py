"""Correlation by Fourier transforms against tap-by-tap sums in float64."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.core.engine import ALGORITHMS, Correlation
from cnnviz.core.settings import Padding
from cnnviz.core.window import Window
from tests.core.drawn import compute, oracle, problems
from tests.oracles import covered_by, noise

FFT = ALGORITHMS["fft"]

# Rounding spreads over a tile, so in general it is measured by the map's largest window …
OF_LARGEST = 2e-6
# … and by the window itself where many values of one size come together.
OF_TERMS = 2e-6


@given(problems(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_it_is_the_weighted_sum(problem, threads):
    assert FFT.supports(problem)
    expected, magnitude = oracle(problem)
    excess = np.abs(compute(FFT, problem, threads) - expected)
    assert excess.max() <= OF_LARGEST * magnitude.max()


@pytest.mark.parametrize("side", [7, 15, 31, 101])
@pytest.mark.parametrize("draw", ["normal", "random"])
def test_the_error_is_a_small_part_of_the_terms(side, draw):
    generator = np.random.default_rng(side)
    x = getattr(generator, draw)(size=(1, 150, 170)).astype(np.float32)
    weight = getattr(generator, draw)(size=(2, 1, side, side)).astype(np.float32)
    problem = Correlation(x, weight, Window((side, side)))
    expected, magnitude = oracle(problem)
    assert (np.abs(compute(FFT, problem) - expected) / magnitude).max() < OF_TERMS


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_tiles_and_tails_join(stride):
    x, weight = noise(1, 4, 420, 1700), noise(2, 2, 2, 11, 8)  # wider than any tile
    window = Window((11, 8), stride=stride, padding=Padding("same"))
    problem = Correlation(x, weight, window, bias=noise(3, 2), groups=2)
    expected, magnitude = oracle(problem)
    actual = compute(FFT, problem)
    assert (np.abs(actual - expected) / magnitude).max() < OF_TERMS
    np.testing.assert_array_equal(actual, compute(FFT, problem, threads=3))


@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (3, 2)])
def test_windows_of_zeros_give_the_bias_alone(dilation, stride):
    x = np.zeros((2, 150, 140), np.float32)
    x[0, 40:60, 30:90] = noise(1, 20, 60)
    x[1, 130, 130] = 1e6
    bias = np.array([0.1, -3], np.float32)
    window = Window((9, 7), stride, Padding("same"), dilation)
    problem = Correlation(x, noise(2, 2, 2, 9, 7), window, bias=bias)
    seen = covered_by((x != 0).any(0), (9, 7), stride, problem.pads, dilation)
    actual = compute(FFT, problem)
    assert 0 < seen.mean() < 1
    for k in range(2):
        assert (actual[k, ~seen] == bias[k]).all()
        assert (actual[k, seen] != bias[k]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_makes_a_finite_value(bad):
    x = noise(1, 1, 90, 80)
    x[0, 50, 40] = bad
    problem = Correlation(x, noise(2, 1, 1, 9, 9), Window((9, 9)))
    with np.errstate(invalid="ignore"):
        actual = compute(FFT, problem)
    seen = covered_by(~np.isfinite(x[0]), (9, 9), (1, 1), problem.pads, (1, 1))
    assert not np.isfinite(actual[0, seen]).any()
    assert problem.spills


def test_kernels_larger_than_any_tile_are_refused():
    side = 1537
    x, weight = np.zeros((1, side, side), np.float32), np.zeros((1, 1, side, side), np.float32)
    assert not FFT.supports(Correlation(x, weight, Window((side, side))))


def test_memory_stays_small():
    x, weight = noise(1, 3, 700, 3000), noise(2, 40, 3, 31, 31)
    problem = Correlation(x, weight, Window((31, 31), padding=Padding("same")))
    output = np.empty((40, 700, 3000), np.float32)
    assert FFT.supports(problem)
    small = Correlation(x[:, :300], weight, problem.window)
    tracemalloc.start()
    FFT.run(small, output[:, :300], 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
    # Filters go a few at a time; the last ones are computed as if they were alone.
    last = Correlation(x[:, :300], weight[-1:], problem.window)
    np.testing.assert_array_equal(output[-1:, :300], compute(FFT, last))


def test_work_grows_with_the_image():
    weight = noise(2, 1, 1, 31, 31)
    small, large = (
        FFT.work(Correlation(noise(1, 1, side, side), weight, Window((31, 31))))
        for side in (300, 1200)
    )
    assert 0 < small < large < 40 * small
