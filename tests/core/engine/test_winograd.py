"""Winograd's transforms are exact in rationals; its convolutions keep to the oracle."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from cnnviz.core.border import BORDERS
from cnnviz.core.engine import ALGORITHMS, Correlation
from cnnviz.core.engine.winograd import F2, F4
from cnnviz.core.settings import Padding
from cnnviz.core.types import Samples
from cnnviz.core.window import Window
from tests.oracles import correlate_oracle, noise

WAYS = {
    "f2": (F2, ALGORITHMS["winograd2"], 2e-6),
    "f4": (F4, ALGORITHMS["winograd4"], 5e-6),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def problem_of(x, weight, pads=(1, 1, 1, 1), **options):
    return Correlation(x, weight, Window((3, 3), padding=Padding("explicit", pads)), **options)


def compute(algorithm, problem, threads=1):
    output = np.full((problem.filters, *problem.size), np.nan, np.float32)
    algorithm.run(problem, output, threads)
    return output


def error(got, transform, x, weight, pads=(1, 1, 1, 1), **options):
    """Return the largest error, as a share of the largest Σ|terms| of the windows of its tile."""
    expected, magnitude = correlate_oracle(x, weight, pads=pads, **options)
    reach = 2 * transform.size - 1  # wherever the tiles stand
    largest = maximum_filter(magnitude, (1, reach, reach))
    return float(np.max(np.abs(got - expected) / np.maximum(largest, 1e-30)))


def in_fractions(matrix):
    """Read float32 back as the small fractions they were written as."""
    return [[Fraction(float(v)).limit_denominator(1000) for v in row] for row in matrix]


def test_the_identity_holds_exactly(way):
    # One axis: Σ_a Aᵀ[i, a] G[a, j] Bᵀ[a, k] is 1 where k = i + j, else 0.
    transform = way[0]
    inverse, kernel, tile = (
        in_fractions(m) for m in (transform.inverse, transform.kernel, transform.tile)
    )
    m, alpha = transform.size, transform.alpha
    assert alpha == m + 2
    for i, j, k in product(range(m), range(3), range(alpha)):
        total = sum(inverse[i][a] * kernel[a][j] * tile[a][k] for a in range(alpha))
        assert total == (k == i + j)


@given(data=st.data())
def test_any_size_padding_and_mode(data):
    transform, algorithm, bound = WAYS[data.draw(st.sampled_from(sorted(WAYS)))]
    height, width = (data.draw(st.integers(1, 40)) for _ in range(2))
    depth, filters = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    mode = data.draw(st.sampled_from(sorted(BORDERS)))
    pads = []
    for length in (height, width) * 2:
        reach = BORDERS[mode].reach(length)
        pads.append(data.draw(st.integers(0, 4 if reach is None else min(4, reach))))
    top, left, bottom, right = pads
    if top + height + bottom < 3 or left + width + right < 3:
        return
    x, weight = noise(height, depth, height, width), noise(width, filters, depth, 3, 3)
    bias = noise(1, filters) if data.draw(st.booleans()) else None
    pads = (top, left, bottom, right)
    problem = problem_of(
        x, weight, pads, bias=bias, padding_mode=mode, pad_value=0.5 if mode == "constant" else 0.0
    )
    got = compute(algorithm, problem, data.draw(st.integers(1, 3)))
    value = problem.pad_value
    assert error(got, transform, x, weight, pads, mode=mode, value=value, bias=bias) < bound


@pytest.mark.parametrize(
    ("depth", "filters", "height", "width"),
    [
        (1, 1, 1, 1),
        (5, 70, 9, 13),  # two blocks of filters
        (3, 4, 7, 1200),  # stretches
        (300, 130, 9, 21),  # sums in two parts; tiles are kept
        (70, 20, 60, 60),  # weights are kept
    ],
)
def test_every_division_of_the_work_gives_the_same(way, depth, filters, height, width):
    transform, algorithm, bound = way
    x, weight = noise(1, depth, height, width), noise(2, filters, depth, 3, 3)
    problem = problem_of(x, weight)
    one, two, three = (compute(algorithm, problem, threads) for threads in (1, 2, 3))
    assert error(one, transform, x, weight) < bound
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


def test_weights_too_large_to_keep_go_in_rounds(way):
    _, algorithm, bound = way
    sides = {"winograd2": (700, 760, 60), "winograd4": (480, 512, 100)}
    depth, filters, side = sides[algorithm.name]  # above 8 million transformed weights
    x, weight = noise(1, depth, side, side), noise(2, filters, depth, 3, 3)
    problem = problem_of(x, weight)
    got = compute(algorithm, problem, 2)
    expected = compute(ALGORITHMS["windows"], problem, 2)
    magnitude = np.abs(x).mean() * np.abs(weight).mean() * 9 * depth
    assert np.abs(got - expected).max() < bound * magnitude


def test_any_strides_and_samples(way):
    transform, algorithm, bound = way
    weight = noise(2, 6, 4, 3, 3)
    x = noise(1, 22, 40, 4).transpose(2, 0, 1)[:, ::-1, ::2]
    assert error(compute(algorithm, problem_of(x, weight)), transform, x, weight) < bound
    samples = Samples(np.arange(4 * 11 * 13, dtype=np.uint8).reshape(4, 11, 13), 255.0)
    got = compute(algorithm, problem_of(samples, weight))
    assert error(got, transform, samples.tensor(), weight) < bound


@pytest.mark.parametrize("depth", [1, 16, 512])
@pytest.mark.parametrize("kind", ["normal", "uniform", "rectified", "sparse"])
@pytest.mark.parametrize("sign", ["normal", "uniform"])
def test_errors_stay_below_what_is_stated(way, depth, kind, sign):
    transform, algorithm, bound = way
    rng = np.random.default_rng(depth)
    normal = rng.normal(size=(depth, 26, 26))
    x = {
        "normal": normal,
        "uniform": rng.random(normal.shape),
        "rectified": np.maximum(normal, 0),
        "sparse": normal * (rng.random(normal.shape) < 0.02),
    }[kind].astype(np.float32)
    draw = rng.normal if sign == "normal" else rng.random
    weight = draw(size=(8, depth, 3, 3)).astype(np.float32)
    assert error(compute(algorithm, problem_of(x, weight)), transform, x, weight) < bound


def test_infinities_are_noticed(way):
    x = noise(1, 2, 12, 12)
    x[1, 5, 5] = np.inf
    problem = problem_of(x, noise(2, 3, 2, 3, 3))
    with np.errstate(invalid="ignore"):
        compute(way[1], problem)
    assert problem.spills


def test_what_it_does_not_do(way):
    supports = way[1].supports
    x, weight = noise(1, 16, 9, 9), noise(2, 16, 16, 3, 3)
    assert supports(problem_of(x, weight))
    assert not supports(problem_of(x, weight[:8]))  # too few filters to average rounding out
    assert not supports(Correlation(x, weight, Window((3, 3), stride=(2, 1))))
    assert not supports(Correlation(x, weight, Window((3, 3), dilation=(1, 2))))
    assert not supports(Correlation(x, noise(2, 16, 16, 3, 5), Window((3, 5))))
    assert not supports(Correlation(x, noise(2, 16, 8, 3, 3), Window((3, 3)), groups=2))
    wide = np.broadcast_to(np.float32(0), (4096, 3, 4000))
    assert not supports(Correlation(wide, np.zeros((16, 4096, 3, 3), np.float32), Window((3, 3))))


@pytest.mark.parametrize(
    ("depth", "filters", "size"),
    [(64, 64, 224), (512, 512, 28), (1024, 1024, 56), (4096, 64, 7)],
)
def test_large_layers_fit_into_memory(way, depth, filters, size):
    x = np.broadcast_to(np.float32(0), (depth, size, size))
    weight = np.broadcast_to(np.float32(0), (filters, depth, 3, 3))
    problem = problem_of(x, weight)
    assert way[1].supports(problem)
    assert way[1].work(problem) > 0
