"""Families of kernels against their formulas, scipy, OpenCV and scikit-image."""

import math

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cnnviz.core.kernels import (
    build_kernels,
)
from cnnviz.errors import RequestError
from tests.core.kernels.pictures import ramp, weights

SIZES = st.integers(0, 15).map(lambda half: 2 * half + 1)
LARGER_SIZES = st.integers(1, 15).map(lambda half: 2 * half + 1)
SIGMAS = st.floats(0.3, 20)
ANGLES = st.floats(-720, 720)


# --- blurs


def test_gaussian_without_arguments_is_the_binomial():
    expected = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    for built in [weights("gaussian"), weights("gaussian", 3), weights("gaussian", size=(3, 3))]:
        assert_array_equal(built, expected)
    assert not np.allclose(weights("gaussian", 3, sigma=0.8), expected)


@pytest.mark.parametrize("size", [1, 5, 7, 9, 31])
def test_gaussian_takes_opencvs_sigma(size):
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    assert_allclose(weights("gaussian", size), weights("gaussian", size, sigma), rtol=1e-15)


def test_gaussian_against_numbers_by_hand():
    # exp(-x²/2) for x = -1, 0, 1, and 0.6065 = exp(-1/2).
    side = math.exp(-0.5)
    bell = np.array([side, 1, side]) / (1 + 2 * side)
    assert_allclose(weights("gaussian", 3, sigma=1), np.outer(bell, bell), rtol=1e-15)


@pytest.mark.parametrize(("size", "sigma"), [(9, 1.0), (13, 1.5), (21, 2.5), (25, 3)])
def test_gaussian_is_what_scipy_makes_of_an_impulse(size, sigma):
    impulse = np.zeros((size, size))
    impulse[size // 2, size // 2] = 1
    oracle = scipy.ndimage.gaussian_filter(impulse, sigma, radius=size // 2)
    assert_allclose(weights("gaussian", size, sigma=sigma), oracle, rtol=1e-12, atol=1e-16)


@pytest.mark.heavy
@pytest.mark.parametrize(("size", "sigma"), [(3, 0.5), (5, 1.1), (7, 1.4), (31, 4.0)])
def test_gaussian_agrees_with_opencv(size, sigma):
    cv2 = pytest.importorskip("cv2")
    bell = cv2.getGaussianKernel(size, sigma, ktype=cv2.CV_64F).ravel()
    assert_allclose(weights("gaussian", size, sigma), np.outer(bell, bell), rtol=1e-6)
    third = cv2.getGaussianKernel(3, 0, ktype=cv2.CV_64F).ravel()
    assert_allclose(weights("gaussian"), np.outer(third, third), rtol=1e-12)


def test_gaussian_takes_a_pair():
    (kernel,) = build_kernels("gaussian", (3, 7))
    assert kernel.name == "gaussian_3x7"
    column, row = kernel.factors()
    assert_allclose(column, [0.25, 0.5, 0.25], rtol=1e-15)
    assert_allclose(row, weights("gaussian", (1, 7)).ravel(), rtol=1e-14)


def test_extreme_sigmas_end_in_an_impulse_and_a_mean():
    impulse = weights("gaussian", 5, sigma=5e-324)
    assert impulse[2, 2] == impulse.sum() == 1
    assert_allclose(weights("gaussian", 5, sigma=1e300), np.full((5, 5), 1 / 25))


@given(size=st.tuples(SIZES, SIZES), sigma=st.none() | SIGMAS)
def test_gaussian_properties(size, sigma):
    (kernel,) = build_kernels("gaussian", size, sigma=sigma)
    assert kernel.size == size
    assert kernel.separable
    assert kernel.total == pytest.approx(1, abs=1e-12)
    assert (kernel.weights >= 0).all()
    assert_array_equal(kernel.weights, kernel.flipped().weights)


@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_box_and_binomial_properties(size):
    for name in ["box", "binomial"]:
        (kernel,) = build_kernels(name, size)
        assert kernel.size == size
        assert kernel.separable
        assert kernel.total == pytest.approx(1, abs=1e-12)
    assert_array_equal(weights("box", size), np.full(size, 1 / (size[0] * size[1])))


def test_binomial_rows_are_pascals():
    assert_array_equal(weights("binomial"), weights("gaussian"))
    assert_array_equal(weights("binomial", (1, 6)), np.array([[1, 5, 10, 10, 5, 1]]) / 32)
    huge = weights("binomial", (1, 1001))
    assert huge.sum() == pytest.approx(1)
    assert huge[0, 500] == pytest.approx(1 / math.sqrt(500 * math.pi), rel=1e-3)


def test_box_keeps_its_size_in_its_name():
    assert build_kernels("box", 5)[0].name == "box_5"
    assert build_kernels("box", (2, 3))[0].name == "box_2x3"


# --- blobs


def test_log_is_matlabs():
    # MATLAB's fspecial('log', 5, 0.5), to the four decimals it prints.
    expected = [
        [0.0448, 0.0468, 0.0564, 0.0468, 0.0448],
        [0.0468, 0.3167, 0.7146, 0.3167, 0.0468],
        [0.0564, 0.7146, -4.9048, 0.7146, 0.0564],
        [0.0468, 0.3167, 0.7146, 0.3167, 0.0468],
        [0.0448, 0.0468, 0.0564, 0.0468, 0.0448],
    ]
    assert_allclose(weights("log", 5, sigma=0.5), expected, atol=5e-5)


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
def test_log_is_what_scipy_makes_of_an_impulse(sigma):
    half = math.ceil(6 * sigma)
    impulse = np.zeros((2 * half + 1, 2 * half + 1))
    impulse[half, half] = 1
    oracle = scipy.ndimage.gaussian_laplace(impulse, sigma, mode="constant", truncate=6)
    built = weights("log", 2 * half + 1, sigma)
    # The mean that we take off, so that flat areas give exactly 0, is all the difference.
    assert_allclose(built, oracle, atol=1e-6)
    assert built[half, half] < 0


@given(size=LARGER_SIZES, sigma=st.none() | SIGMAS)
def test_log_properties(size, sigma):
    (kernel,) = build_kernels("log", size, sigma)
    assert kernel.size == (size, size)
    assert abs(kernel.weights.sum()) <= 1e-12 * np.abs(kernel.weights).sum()
    assert kernel.total == 0
    assert "symmetric about both diagonals" in kernel.symmetry


@given(size=LARGER_SIZES, sigma=st.none() | st.floats(0.3, 20), ratio=st.floats(1.05, 4))
def test_dog_properties(size, sigma, ratio):
    (kernel,) = build_kernels("dog", size, sigma, ratio=ratio)
    assert kernel.size == (size, size)
    assert kernel.total == pytest.approx(0, abs=1e-14)
    assert kernel.weights[size // 2, size // 2] == kernel.weights.max() > 0


def test_dog_is_the_difference_of_scipys_gaussians():
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 1
    narrow, wide = (scipy.ndimage.gaussian_filter(impulse, s, radius=20) for s in (2, 3.2))
    assert_allclose(weights("dog", 41, sigma=2), narrow - wide, atol=1e-15)
    assert_allclose(weights("dog", 41, 2, 1.6), narrow - wide, atol=1e-15)


# --- Gabor


def gabor_by_loops(size, theta, wavelength, sigma, gamma, phase):
    """Daugman's formula, pixel by pixel, with complex numbers instead of a rotated grid."""
    rows, columns = size
    bell, wave = np.zeros(size), np.zeros(size)
    for row in range(rows):
        for column in range(columns):
            place = complex(column - columns // 2, rows // 2 - row)  # y upwards
            turned = place * complex(math.cos(math.radians(theta)), -math.sin(math.radians(theta)))
            bell[row, column] = math.exp(
                -(turned.real**2 + gamma**2 * turned.imag**2) / (2 * sigma**2)
            )
            wave[row, column] = math.cos(
                2 * math.pi * turned.real / wavelength + math.radians(phase)
            )
    bell /= bell.sum()
    return bell * (wave - (bell * wave).sum())


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((15, 15), (45, 6, 3, 0.5, 0)),
        ((9, 15), (-20, 5, 2, 0.8, 30)),
        ((21, 21), (110, 8, 4, 1.0, -90)),
    ],
)
def test_gabor_follows_its_formula(size, options):
    assert_allclose(weights("gabor", size, *options), gabor_by_loops(size, *options), atol=1e-15)


@pytest.mark.heavy
@pytest.mark.parametrize(("theta", "phase"), [(0, 0), (30, 0), (45, 40), (120, -90)])
def test_gabor_agrees_with_opencv(theta, phase):
    cv2 = pytest.importorskip("cv2")
    theirs = cv2.getGaborKernel(
        (15, 15), 3, math.radians(-theta), 6, 0.5, math.radians(phase), cv2.CV_64F
    )[::-1, ::-1]  # theta the other way, the result turned by 180 degrees
    bell = cv2.getGaborKernel((15, 15), 3, math.radians(-theta), 1e12, 0.5, 0, cv2.CV_64F)
    theirs = theirs / bell.sum()
    theirs = theirs - bell / bell.sum() * theirs.sum()
    assert_allclose(weights("gabor", 15, theta, 6, 3, phase=phase), theirs, atol=1e-12)


@pytest.mark.heavy
def test_gabor_agrees_with_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    theirs = filters.gabor_kernel(
        1 / 6, theta=math.radians(-30), sigma_x=2, sigma_y=2, n_stds=6, dtype=np.complex128
    ).real
    ours = weights("gabor", theirs.shape, 30, wavelength=6, sigma=2, gamma=1)
    # Theirs keeps its mean; ours subtracts it.
    assert_allclose(ours, theirs, atol=2 * abs(theirs.sum()) / (2 * math.pi * 4))


def test_gabor_answers_to_stripes_across_theta():
    y, x = np.mgrid[10:-11:-1, -10:11]  # y upwards
    bank = build_kernels("gabor_bank", 4, size=21, wavelength=6, sigma=3)
    for theta in (0, 45, 90, 135):
        way = math.radians(theta)
        stripes = np.cos(2 * math.pi * (x * math.cos(way) + y * math.sin(way)) / 6)
        answers = {kernel.name: abs((kernel.weights * stripes).sum()) for kernel in bank}
        assert max(answers, key=answers.get) == f"gabor_{theta}"


def test_gabor_phase_turns_a_line_into_an_edge():
    (line,) = build_kernels("gabor", 15, phase=0)
    (edge,) = build_kernels("gabor", 15, phase=-90)
    assert line.symmetry == ["symmetric left-right", "symmetric top-bottom"]
    assert edge.symmetry == ["antisymmetric left-right", "symmetric top-bottom"]
    assert edge.weights[:, 8:].sum() > 0  # dark to bright, left to right


@given(
    size=st.tuples(LARGER_SIZES, LARGER_SIZES),
    theta=ANGLES,
    wavelength=st.none() | st.floats(2, 12),
    sigma=st.none() | st.floats(0.6, 8),
    gamma=st.floats(0.2, 2),
    phase=st.floats(-360, 360),
)
def test_gabor_properties(size, theta, wavelength, sigma, gamma, phase):
    try:
        (kernel,) = build_kernels("gabor", size, theta, wavelength, sigma, gamma, phase)
    except RequestError as error:
        assert "come out as 0" in str(error)  # noqa: PT017 - allowed, not expected
        return
    assert kernel.size == size
    assert np.isfinite(kernel.weights).all()
    assert abs(kernel.weights.sum()) <= 1e-15
    assert np.abs(kernel.weights).sum() <= 2


def test_gabor_bank_is_evenly_spread():
    names = [f"gabor_{angle:g}" for angle in np.arange(8) * 22.5]
    bank = build_kernels("gabor_bank", 8)
    assert [kernel.name for kernel in bank] == names
    assert {kernel.size for kernel in bank} == {(15, 15)}
    assert_array_equal(bank[2].weights, weights("gabor", 15, theta=45))
    assert_allclose(bank[4].weights, bank[0].weights.T, atol=1e-15)


def test_one_dimensional_gabor():
    row = weights("gabor", (1, 15), wavelength=5)
    assert row.shape == (1, 15)
    assert_allclose(row.ravel(), weights("gabor", (15, 1), 90, wavelength=5).ravel(), atol=1e-15)


# --- motion, dct, random


def test_motion_along_the_axes_is_a_plain_mean():
    assert_allclose(weights("motion", 5)[2], np.full(5, 0.2), rtol=1e-15)
    assert_array_equal(weights("motion", 5, 90), weights("motion", 5, 0).T)
    assert np.count_nonzero(weights("motion", 5, angle=90)) == 5
    assert_array_equal(weights("motion", 1), [[1]])


def test_motion_rises_to_the_right():
    bright = weights("motion", 15, angle=30)
    y, x = np.mgrid[7:-8:-1, -7:8]
    assert (bright * x * y).sum() > 0
    # The long axis of its second moments is its direction.
    angle = 0.5 * math.atan2(2 * (bright * x * y).sum(), (bright * (x**2 - y**2)).sum())
    assert math.degrees(angle) == pytest.approx(30, abs=0.5)


def test_motion_of_45_degrees_by_hand():
    # Half a length of 1 along the diagonal reaches 0.7071 each way. The corner pixels lie
    # 1.4142 - 1 beyond its end; the side pixels lie 0.7071 aside of it.
    corner, side = 1 - (math.sqrt(2) - 1), 1 - math.sqrt(0.5)
    expected = np.array([[0, side, corner], [side, 1, side], [corner, side, 0]])
    assert_allclose(weights("motion", 3, 45), expected / expected.sum(), rtol=1e-12, atol=1e-16)


@given(size=SIZES, angle=ANGLES)
def test_motion_properties(size, angle):
    (kernel,) = build_kernels("motion", size, angle=angle)
    assert kernel.size == (size, size)
    assert kernel.total == pytest.approx(1, abs=1e-12)
    assert (kernel.weights >= 0).all()
    assert_allclose(kernel.weights, kernel.flipped().weights, atol=1e-12)
    (further,) = build_kernels("motion", size, angle + 90)
    assert_allclose(further.weights, np.rot90(kernel.weights), atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_dct_is_scipys(size):
    bank = build_kernels("dct", size)
    picture = ramp(size, size)
    coefficients = [(kernel.weights * picture).sum() for kernel in bank]
    oracle = scipy.fft.dctn(picture, norm="ortho")
    assert_allclose(np.reshape(coefficients, (size, size)), oracle, atol=1e-10)
    names = [kernel.name for kernel in bank]
    assert names == [f"dct_{row}_{column}" for row in range(size) for column in range(size)]


def test_random_is_repeatable_and_prefix_stable():
    bank = build_kernels("random", 8, size=5, seed=3)
    assert bank == build_kernels("random", 8, 5, 3)
    assert bank != build_kernels("random", 8, 5, 4)
    assert bank[:4] == build_kernels("random", 4, 5, 3)
    assert [kernel.name for kernel in bank] == [f"random_{index}" for index in range(8)]
    (alone,) = build_kernels("random", seed=3, size=5)
    assert alone.name == "random"
    assert_array_equal(alone.weights, bank[0].weights)


def test_random_has_hes_variance():
    drawn = np.array([kernel.weights for kernel in build_kernels("random", 1000, size=(3, 5))])
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(math.sqrt(2 / 15), rel=0.02)


def test_largest_kernels_are_built():
    assert build_kernels("box", 1001)[0].size == (1001, 1001)
    assert build_kernels("gabor", 1001, 30)[0].size == (1001, 1001)
