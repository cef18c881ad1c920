"""Sums of squared differences, block by block, against plain float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.core.distance import Reference, moved_parts, relative
from cnnviz.core.threads import set_threads
from tests.oracles import noise

SHAPES = st.one_of(
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 11)),
    st.sampled_from([(2, 300, 217), (400, 9, 20), (1, 3, 40_000)]),  # several blocks of each kind
)


@st.composite
def moved_maps(draw):
    shape = draw(SHAPES)
    offset = draw(st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
    seed, scale = draw(st.integers(0, 99)), draw(st.sampled_from([1e-25, 1e-3, 1.0, 1e25]))
    return noise(seed, *shape) * np.float32(scale), noise(seed + 1, *shape) * scale, offset


def squares(a, b):
    return float(np.square(np.subtract(a, b, dtype=np.float64)).sum())


@given(moved_maps())
@settings(deadline=None)
def test_rolled_and_overlapping_parts(problem):
    new, old, (down, right) = problem
    new, old = new.astype(np.float32), old.astype(np.float32)
    size = new.shape[1:]
    offset = (down % size[0], right % size[1])
    own, moved = Reference.of(old).distances(new, moved_parts(size, offset, circular=True))
    assert own == pytest.approx(squares(new, old), rel=1e-5)
    assert moved == pytest.approx(squares(new, np.roll(old, offset, (1, 2))), rel=1e-5)
    if abs(down) < size[0] and abs(right) < size[1]:
        parts = moved_parts(size, (down, right), circular=False)
        _, moved = Reference.of(old).distances(new, parts)
        there = new[:, max(down, 0) : size[0] + down, max(right, 0) : size[1] + right]
        before = old[:, max(-down, 0) : size[0] - down, max(-right, 0) : size[1] - right]
        assert moved == pytest.approx(squares(there, before), rel=1e-5)


def test_the_sum_does_not_depend_on_threads():
    old, new = noise(0, 5, 512, 500), noise(1, 5, 512, 500)
    sums = set()
    for threads in (1, 2, 3):
        set_threads(threads)
        sums.add(Reference.of(old).distances(new, moved_parts((512, 500), (3, 7), circular=True)))
    set_threads(None)
    assert len(sums) == 1


def test_samples_are_compared_as_numbers_not_modulo_256():
    old = np.array([[[0, 255, 3]]], np.uint8)
    new = np.array([[[255, 0, 4]]], np.uint8)
    assert Reference.of(old).distances(new)[0] == 2 * 255**2 + 1
    assert Reference.of(old).norm == pytest.approx(np.hypot(255, 3))


def test_large_differences_of_ordinary_maps_do_not_overflow():
    old = np.ones((1, 1, 2), np.float32)
    new = np.array([[[3e38, 1]]], np.float32)
    assert Reference.of(old).distances(new)[0] == pytest.approx(9e76, rel=1e-6)
    far = Reference.of(-new).distances(new)[0]
    assert far == pytest.approx(3.6e77, rel=1e-6)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_distance(odd):
    old = np.ones((2, 3, 3), np.float32)
    new = old.copy()
    new[1, 2, 0] = odd
    assert relative(Reference.of(old).distances(new)[0], 18.0) is None
    assert relative(0.0, float(Reference.of(new).energy.sum())) is None


def test_a_reference_of_zeros():
    zeros = np.zeros(4, np.float32)
    assert relative(Reference.of(zeros).distances(zeros)[0], 0.0) == 0
    tiny = np.full(4, 1e-30, np.float32)
    assert relative(Reference.of(zeros).distances(tiny)[0], 0.0) is None
