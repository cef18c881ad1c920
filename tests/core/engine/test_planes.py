"""Kernels taken apart: recipes of few passes, and columns times rows."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.core.engine.planes import factor, recipe_of
from tests.core.drawn import SMALL_KERNELS
from tests.oracles import noise


@pytest.mark.parametrize("kernel", SMALL_KERNELS)
def test_recipes_are_the_kernel(kernel):
    kernel = np.float64(kernel)
    recipe = recipe_of(kernel)
    assert (not recipe.sums) == (not kernel.any())
    if not recipe.sums:
        return
    line = noise(1, 1, 12, 20).reshape(-1).astype(np.float64)
    spare, size = np.empty_like(line), line.size - 6 * 20
    left = sum(taps.span((20, 1)) for taps in recipe.sums)
    for taps in recipe.sums:
        left -= taps.span((20, 1))
        out = np.empty(size + left)
        taps.over(line, (20, 1), out, spare[: out.size])
        line = out
    direct = sum(
        weight * noise(1, 1, 12, 20).reshape(-1)[i * 20 + j :][:size]
        for (i, j), weight in np.ndenumerate(kernel)
    )
    np.testing.assert_allclose(out * recipe.scale, direct, atol=1e-6)
    assert recipe.passes <= 2 * np.count_nonzero(kernel)


@given(
    st.lists(
        st.sampled_from([(1, 1), (1, 0, 1), (1, 1, 1), (1, 2), (3, 1)]), min_size=1, max_size=5
    )
)
def test_sums_of_sums_are_the_taps(steps):
    taps = reduce(np.convolve, steps, np.ones(1))
    recipe = recipe_of(taps[None])
    found = []
    for part in recipe.sums:
        line = np.zeros(part.span((99, 1)) + 1)
        for group in part.groups:
            line[[column for _, column in group.plus]] = group.strength
            line[[column for _, column in group.minus]] = -group.strength
        found.append(line)
    np.testing.assert_array_equal(reduce(np.convolve, found) * recipe.scale, taps)
    assert np.prod([np.abs(part).sum() for part in found]) * recipe.scale == np.abs(taps).sum()
    if set(steps) <= {(1, 1)}:
        # Neighbours added again and again, down and along.
        assert recipe_of(np.outer(taps, taps)).passes == 2 * len(steps)


def test_boxes_are_added_by_doubling():
    assert recipe_of(np.ones((15, 15))).passes == 12


def test_terms_that_would_leak_through_a_zero_are_refused():
    plus = np.zeros((7, 7))
    plus[3], plus[:, 3] = 1, 1
    assert factor(plus) is None
    assert factor(noise(1, 7, 7).astype(np.float64)) is None
