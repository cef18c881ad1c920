"""Facts about values: right for any, the same for any number of threads."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn_arrays

from cnnviz.core import statistics, threads
from cnnviz.core.statistics import MEASURES, finite_range, rank_maps, statistics_of
from cnnviz.core.types import Samples, Statistics

BIGGEST = float(np.finfo(np.float32).max)
MANY = 3 * statistics.BLOCK + 17


@pytest.fixture
def limit():
    yield threads.set_threads
    threads.set_threads(None)


def test_facts():
    facts = statistics_of(np.array([0, -0.0, 1, -3, np.nan, np.inf], np.float32))
    assert (facts.min, facts.max, facts.mean) == (-3, 1, -0.5)
    assert facts.zeros == pytest.approx(2 / 6)
    assert facts.nonfinite == 2
    nothing = statistics_of(np.full((1, 2, 2), np.nan, np.float32))
    assert nothing == Statistics(None, None, None, 0.0, 4)


def test_the_mean_is_exact():
    large = statistics_of(np.full(MANY, 0.1, np.float32))
    assert large.mean == pytest.approx(np.float32(0.1), rel=1e-12)


@given(st.lists(st.floats(width=32), min_size=1, max_size=40), st.booleans())
@settings(deadline=None)
def test_facts_of_anything(values, several_blocks):
    array = np.array(values, np.float32)
    if several_blocks:
        array = np.tile(array, MANY // len(values))
    facts = statistics_of(array)
    ends = finite_range(array)
    sound = array[np.isfinite(array)].astype(float)
    assert facts.nonfinite == array.size - sound.size
    assert facts.zeros == (array == 0).mean()
    assert (facts.min, facts.max) == ends
    if sound.size:
        assert ends == (sound.min(), sound.max())
        rounding = 1e-14 * float(np.abs(sound).max())  # large values may cancel one another
        assert facts.mean == pytest.approx(sound.mean(), rel=1e-9, abs=max(rounding, 1e-30))
    else:
        assert ends == (None, None)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "every second"])
def test_threads_do_not_change_the_facts(limit, layout):
    rng = np.random.default_rng(0)
    array = rng.normal(size=(2, 1200, 1100)).astype(np.float32)
    array[0, 5, 7:900] = np.nan
    array[1, 3] = -np.inf
    array[1, ::9] = 0
    if layout == "transposed":
        array = array.transpose(0, 2, 1)
    elif layout == "every second":
        array = array[:, :, ::2]
    assert array.size >= statistics.THREADED
    facts = []
    for count in (1, 2, 5):
        limit(count)
        facts.append(statistics_of(array))
        assert finite_range(array) == (facts[0].min, facts[0].max)
    assert facts[0] == facts[1] == facts[2]
    sound = array[np.isfinite(array)].astype(float)
    assert facts[0].mean == pytest.approx(sound.mean(), rel=1e-9)
    assert facts[0].zeros == (array == 0).mean()


def test_the_range_of_samples_is_that_of_their_tensor():
    samples = Samples(np.arange(3, 250, dtype=np.uint8).reshape(1, 13, 19), 255.0)
    assert finite_range(samples) == finite_range(samples.tensor())


# --- the order of maps: by variance or by maximum


def maps_of(*rows):
    return np.array(rows, np.float32)[:, None]


def test_the_order_of_512_known_maps():
    """Map c is c' times one pattern, c' a permutation: the order is known, whatever the measure."""
    strength = np.random.default_rng(0).permutation(512)
    pattern = np.random.default_rng(1).uniform(1, 2, (7, 5))
    maps = (strength[:, None, None] * pattern).astype(np.float32)
    expected = np.argsort(-strength).tolist()
    assert rank_maps(maps, "variance") == expected
    assert rank_maps(maps, "max") == expected
    assert rank_maps(-maps, "variance") == expected
    assert rank_maps(-maps, "max") == expected[::-1]


@pytest.mark.parametrize("by", MEASURES)
def test_ties_keep_the_order_of_the_channels(by):
    assert rank_maps(np.zeros((5, 3, 3), np.float32), by) == [0, 1, 2, 3, 4]
    assert rank_maps(maps_of([1, 0], [0, 5], [1, 0], [5, 0], [0, 1]), by) == [1, 3, 0, 2, 4]


@pytest.mark.parametrize("value", [0.1, 1e-30, -3e38, 16_777_217])
def test_constant_maps_vary_by_exactly_nothing(value):
    constant = [np.full((1, 37, 41), value * part, np.float32) for part in (1, 0.3, 0.7)]
    barely = constant[0].copy()
    barely[0, 5, 5] = np.nextafter(barely[0, 5, 5], np.float32(np.inf))
    assert rank_maps(np.concatenate([*constant, barely]), "variance") == [3, 0, 1, 2]


def test_the_same_values_elsewhere_vary_as_much():
    """Sums in another order differ by their rounding, which must not decide."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=90 * 91).astype(np.float32)
    maps = np.stack([rng.permutation(values) for _ in range(40)]).reshape(40, 90, 91)
    assert rank_maps(maps, "variance") == list(range(40))


def test_nan_is_last_and_infinity_is_a_maximum():
    rows = [math.nan, 9], [0, 1], [math.inf, 1], [math.nan, math.nan], [0, 3], [-math.inf, 2]
    assert rank_maps(maps_of(*rows), "variance") == [4, 1, 0, 2, 3, 5]
    assert rank_maps(maps_of(*rows), "max") == [2, 4, 5, 1, 0, 3]


def test_the_largest_and_the_smallest_numbers():
    rows = [-BIGGEST, BIGGEST], [BIGGEST, BIGGEST], [1e-38, 0], [1, 0], [0, BIGGEST]
    assert rank_maps(maps_of(*rows), "variance") == [0, 4, 3, 2, 1]


@given(
    drawn_arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 9)),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    st.booleans(),
)
@settings(deadline=None)
def test_deviations_of_anything(maps, several_blocks):
    if several_blocks:
        maps = np.tile(maps, (1, 1, statistics.BLOCK // maps[0].size + 9))
    deviations = MEASURES["variance"](maps)
    expected = maps.astype(np.float64).std(axis=(1, 2))
    np.testing.assert_allclose(deviations, expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("shape", [(3, 700, 800), (900, 41, 43)])
def test_threads_do_not_change_the_measures(limit, shape):
    maps = np.random.default_rng(0).normal(5, 1, shape).astype(np.float32)
    assert maps.size >= statistics.THREADED
    found = []
    for count in (1, 2, 5):
        limit(count)
        found.append(MEASURES["variance"](maps))
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    np.testing.assert_allclose(found[0], maps.astype(np.float64).std(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("by", MEASURES)
def test_no_copy_of_the_maps_is_made(limit, by):
    limit(1)
    maps = np.ones((64, 400, 400), np.float32)
    tracemalloc.start()
    rank_maps(maps, by)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < maps.nbytes / 8
