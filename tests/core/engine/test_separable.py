"""Correlation by columns times rows against tap-by-tap sums in float64."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.engine import ALGORITHMS, Correlation
from cnnviz.core.engine.planes import factor
from cnnviz.core.settings import Padding
from cnnviz.core.window import Window
from tests.core.drawn import compute, oracle, problems
from tests.oracles import covered_by, noise

SEPARABLE = ALGORITHMS["separable"]
OF_TERMS = 2e-6


def rank_one(seed, filters, depth, kh, kw):
    """Draw filters that are a mixture of channels times a column times a row, as float32."""
    down, along = noise(seed, filters, kh), noise(seed + 1, filters, kw)
    if seed % 3 == 0:
        down, along = np.round(3 * down), np.round(3 * along) + 1
    kernels = (down[:, :, None].astype(np.float64) * along[:, None]).astype(np.float32)
    if not kernels.any():
        kernels += 1
    return np.array([1, 1, -2], np.float32)[:depth, None, None] * kernels[:, None]


def gaussian(side, sigma):
    at = np.arange(side) - (side - 1) / 2
    bell = np.exp(-(at**2) / (2 * sigma**2))
    return np.outer(bell, bell) / bell.sum() ** 2


@given(problems(rank_one), st.integers(1, 3))
@settings(max_examples=200, deadline=None, suppress_health_check=["filter_too_much"])
def test_it_is_the_weighted_sum(problem, threads):
    assume(len(problem.weight) <= 4)  # more are not looked at over images as small as these
    assert SEPARABLE.supports(problem) or problem.kernel_size == (1, 1)
    expected, magnitude = oracle(problem)
    excess = np.abs(compute(SEPARABLE, problem, threads) - expected) - OF_TERMS * magnitude
    assert excess.max() <= 0


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("size", [(101, 237), (40, 9000)])  # several bands; rows cut into products
def test_bands_and_tails_join(size, stride):
    x, weight = noise(1, 6, *size), rank_one(2, 4, 3, 11, 8)
    window = Window((11, 8), stride=stride, padding=Padding("same"))
    problem = Correlation(x, weight, window, bias=noise(3, 4), groups=2)
    expected, magnitude = oracle(problem)
    actual = compute(SEPARABLE, problem)
    assert (np.abs(actual - expected) / magnitude).max() < OF_TERMS
    np.testing.assert_array_equal(actual, compute(SEPARABLE, problem, threads=3))


@pytest.mark.parametrize(("side", "sigma"), [(3, 0.5), (5, 1), (31, 1.5), (31, 5), (101, 12)])
def test_gaussians_have_one_term_however_small_their_tails(side, sigma):
    weight = gaussian(side, sigma).astype(np.float32)[None]
    downs, alongs = factor(weight[0].astype(np.float64))
    assert len(downs) == len(alongs) == 1
    problem = Correlation(noise(1, 1, 120, 130), weight[None], Window((side, side)))
    expected, magnitude = oracle(problem)
    assert (np.abs(compute(SEPARABLE, problem) - expected) / magnitude).max() < OF_TERMS


def test_whole_numbers_stay_exact():
    image = np.random.default_rng(1).integers(0, 256, (1, 50, 60)).astype(np.float32)
    for column, row in (([1, 2, 1], [-1, 0, 1]), ([3, 10, 3], [-1, 0, 1]), ([2, 3], [4, 6, 9])):
        weight = np.outer(column, row).astype(np.float32)[None, None]
        problem = Correlation(image, weight, Window(weight.shape[2:]))
        np.testing.assert_array_equal(compute(SEPARABLE, problem), oracle(problem)[0])


def test_a_kernel_repeated_over_channels_is_applied_to_their_mean():
    weight = np.repeat(gaussian(5, 1)[None, None] / 3, 3, axis=1).astype(np.float32)
    problem = Correlation(noise(1, 3, 40, 50), weight, Window((5, 5)))
    single = Correlation(problem.x[:1], weight[:, :1], Window((5, 5)))
    assert SEPARABLE.work(problem) < 2 * SEPARABLE.work(single)
    expected, magnitude = oracle(problem)
    assert (np.abs(compute(SEPARABLE, problem) - expected) / magnitude).max() < OF_TERMS


def test_sums_of_a_few_terms_are_kept_where_they_do_not_cancel():
    rings = gaussian(15, 3) - gaussian(15, 1.5)
    downs, _ = factor(rings.astype(np.float32).astype(np.float64))
    assert len(downs) == 2
    problem = Correlation(
        noise(1, 1, 80, 90), rings.astype(np.float32)[None, None], Window((15, 15))
    )
    expected, magnitude = oracle(problem)
    assert (np.abs(compute(SEPARABLE, problem) - expected) / magnitude).max() < OF_TERMS


def test_no_weight_at_all_gives_zeros():
    problem = Correlation(
        noise(1, 2, 9, 9), np.zeros((4, 1, 3, 3), np.float32), Window((3, 3)), groups=2
    )
    assert SEPARABLE.supports(problem) or problem.kernel_size == (1, 1)
    assert not compute(SEPARABLE, problem).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_makes_a_finite_value(bad):
    x = noise(1, 1, 90, 80)
    x[0, 50, 40] = bad
    problem = Correlation(x, rank_one(2, 1, 1, 9, 9), Window((9, 9)))
    with np.errstate(invalid="ignore"):
        actual = compute(SEPARABLE, problem)
    seen = covered_by(~np.isfinite(x[0]), (9, 9), (1, 1), problem.pads, (1, 1))
    assert not np.isfinite(actual[0, seen]).any()
    assert problem.spills


def test_memory_stays_small():
    x = noise(1, 3, 400, 4000)
    window = Window((31, 31), padding=Padding("same"))
    problem = Correlation(x, rank_one(2, 2, 3, 31, 31), window)
    output = np.empty((2, 400, 4000), np.float32)
    assert SEPARABLE.supports(problem) or problem.kernel_size == (1, 1)
    tracemalloc.start()
    SEPARABLE.run(problem, output, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_work_grows_with_the_image():
    small, large = (
        SEPARABLE.work(
            Correlation(noise(1, 1, side, side), rank_one(2, 1, 1, 31, 31), Window((31, 31)))
        )
        for side in (300, 1200)
    )
    assert 0 < small < large < 40 * small
