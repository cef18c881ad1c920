"""Facts about values: right for any, the same for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.core import statistics, threads
from cnnviz.core.statistics import finite_range, statistics_of
from cnnviz.core.types import Samples, Statistics

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


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_facts_of_anything(values):
    array = np.array(values, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "BLOCK", 7)
        patch.setattr(statistics, "THREADED", 20)
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
