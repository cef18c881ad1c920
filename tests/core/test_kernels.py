"""Kernels against published numbers, scipy, OpenCV and scikit-image."""

import dataclasses
import math
import re

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cnnviz.core.kernels import (
    KERNELS,
    Kernel,
    KernelEntry,
    build_kernels,
    kernel_from_numbers,
    kernels_from_array,
)
from cnnviz.errors import RequestError

ENTRIES = pytest.mark.parametrize("entry", KERNELS.values(), ids=list(KERNELS))
FIXED_NAMES = [entry.name for entry in KERNELS.values() if entry.kind == "kernel"]

# What PRODUCT.md promises by name.
PROMISED_KERNELS = [
    "identity", "sobel_x", "sobel_y", "scharr_x", "scharr_y", "prewitt_x", "prewitt_y",
    "roberts_x", "roberts_y", "farid_x", "farid_y", "kirsch_n", "kirsch_ne", "kirsch_e",
    "kirsch_se", "kirsch_s", "kirsch_sw", "kirsch_w", "kirsch_nw", "laplacian", "laplacian_8",
    "outline", "sharpen", "unsharp", "emboss", "line_h", "line_v", "line_45", "line_135",
    "corner", *[f"freichen_{number}" for number in range(1, 10)],
]  # fmt: skip
PROMISED_OTHERS = [
    "sobel", "prewitt", "scharr", "roberts", "farid", "kirsch", "freichen", "lines", "gabor_bank",
    "gaussian", "box", "log", "dog", "gabor", "motion", "random",
]  # fmt: skip

# Every fixed kernel that is not checked in a test of its own, written out by hand.
PUBLISHED = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "difference_x": [[-1, 0, 1]],
    "difference_y": [[-1], [0], [1]],
    "sobel_x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "sobel_y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "sobel_5_x": [
        [-1, -2, 0, 2, 1],
        [-4, -8, 0, 8, 4],
        [-6, -12, 0, 12, 6],
        [-4, -8, 0, 8, 4],
        [-1, -2, 0, 2, 1],
    ],
    "scharr_x": [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]],
    "scharr_y": [[-3, -10, -3], [0, 0, 0], [3, 10, 3]],
    "prewitt_x": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    "prewitt_y": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "roberts_x": [[-1, 0], [0, 1]],
    "roberts_y": [[0, -1], [1, 0]],
    "kirsch_n": [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]],
    "kirsch_ne": [[-3, 5, 5], [-3, 0, 5], [-3, -3, -3]],
    "kirsch_e": [[-3, -3, 5], [-3, 0, 5], [-3, -3, 5]],
    "kirsch_se": [[-3, -3, -3], [-3, 0, 5], [-3, 5, 5]],
    "kirsch_s": [[-3, -3, -3], [-3, 0, -3], [5, 5, 5]],
    "kirsch_sw": [[-3, -3, -3], [5, 0, -3], [5, 5, -3]],
    "kirsch_w": [[5, -3, -3], [5, 0, -3], [5, -3, -3]],
    "kirsch_nw": [[5, 5, -3], [5, 0, -3], [-3, -3, -3]],
    "robinson_n": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "robinson_ne": [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]],
    "robinson_e": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "robinson_se": [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "laplacian_8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "outline": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "sharpen_8": [[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "line_h": [[-1, -1, -1], [2, 2, 2], [-1, -1, -1]],
    "line_v": [[-1, 2, -1], [-1, 2, -1], [-1, 2, -1]],
    "line_45": [[-1, -1, 2], [-1, 2, -1], [2, -1, -1]],
    "line_135": [[2, -1, -1], [-1, 2, -1], [-1, -1, 2]],
    "corner": [[1, -2, 1], [-2, 4, -2], [1, -2, 1]],
}

BANK_SIZES = {
    "difference": 2, "sobel": 2, "sobel_5": 2, "scharr": 2, "prewitt": 2, "roberts": 2, "farid": 2,
    "kirsch": 8, "robinson": 8, "lines": 4, "freichen": 9, "laws": 16, "gabor_bank": 8, "dct": 9,
}  # fmt: skip

SIZES = st.integers(0, 15).map(lambda half: 2 * half + 1)
LARGER_SIZES = st.integers(1, 15).map(lambda half: 2 * half + 1)
SIGMAS = st.floats(0.3, 20)
ANGLES = st.floats(-720, 720)


def weights(name, *args, **options):
    """The weights of a name that stands for one kernel."""
    (kernel,) = build_kernels(name, *args, **options)
    return kernel.weights


def ramp(rows=12, columns=14):
    """A picture without any symmetry, so that a flipped or transposed kernel shows."""
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    return 0.3 * x**2 + 0.07 * y**3 + x * np.sin(y) + 2 * y


def correlate(picture, kernel):
    return scipy.ndimage.correlate(picture, kernel, mode="reflect")


# --- the registry


@ENTRIES
def test_entry_builds_and_describes_itself(entry):
    kernels = entry.build()
    assert len(kernels) == BANK_SIZES.get(entry.name, 1)
    assert entry.kind == ("bank" if len(kernels) > 1 else entry.kind)
    assert len({kernel.name for kernel in kernels}) == len(kernels)
    assert entry.summary
    assert not entry.summary.endswith(".")
    assert "\n" not in entry.summary
    assert len(entry.summary) <= 90
    assert entry.source
    assert not entry.source.endswith(".")
    assert build_kernels(entry.name) == tuple(kernels)


@ENTRIES
def test_weights_are_finite_and_read_only(entry):
    for kernel in entry.build():
        assert kernel.weights.dtype == np.float64
        assert kernel.weights.ndim == 2
        assert np.isfinite(kernel.weights).all()
        assert not np.signbit(kernel.weights[kernel.weights == 0]).any()
        with pytest.raises(ValueError, match="read-only"):
            kernel.weights[0, 0] = 1


@ENTRIES
def test_factors_reproduce_the_matrix(entry):
    for kernel in entry.build():
        assert kernel.separable == (np.linalg.matrix_rank(kernel.weights) <= 1)
        assert kernel.rank == np.linalg.matrix_rank(kernel.weights, rtol=2.0**-23)
        factors = kernel.factors()
        assert (factors is not None) == kernel.separable
        if factors:
            column, row = factors
            assert_allclose(np.outer(column, row), kernel.weights, rtol=1e-13, atol=1e-17)


@ENTRIES
def test_signature_lists_the_parameters(entry):
    assert re.fullmatch(r"\w+(\(\w+=[^,=]+(, \w+=[^,=]+)*\))?", entry.signature)
    assert entry.signature.startswith(entry.name)
    assert ("(" in entry.signature) or entry.kind != "family"


def test_names_are_unique_and_ordered_by_kind():
    kinds = [entry.kind for entry in KERNELS.values()]
    parametric = ["gaussian", "binomial", "box", "log", "dog", "gabor", "gabor_bank"]
    assert all(name == entry.name for name, entry in KERNELS.items())
    assert kinds[: len(FIXED_NAMES)] == ["kernel"] * len(FIXED_NAMES)
    assert list(KERNELS)[-10:] == [*parametric, "motion", "dct", "random"]
    assert len({entry.summary for entry in KERNELS.values()}) > len(KERNELS) / 2


def test_no_two_entries_share_a_name():
    from cnnviz.core.kernels.families import FAMILIES
    from cnnviz.core.kernels.fixed import BANKS, FIXED

    assert len(KERNELS) == len(FIXED) + len(BANKS) + len(FAMILIES)


@pytest.mark.parametrize("name", PROMISED_KERNELS)
def test_promised_kernel_is_there(name):
    assert KERNELS[name].kind == "kernel"
    assert build_kernels(name)[0].name == name


@pytest.mark.parametrize("name", PROMISED_OTHERS)
def test_promised_bank_or_family_is_there(name):
    assert KERNELS[name].kind in {"bank", "family"}


def test_signatures():
    assert KERNELS["sobel_x"].signature == "sobel_x"
    assert KERNELS["kirsch"].signature == "kirsch"
    assert KERNELS["gaussian"].signature == "gaussian(size=3, sigma=None)"
    assert KERNELS["random"].signature == "random(count=1, size=3, seed=0)"


def test_registry_and_entries_cannot_be_changed():
    with pytest.raises(TypeError):
        KERNELS["mine"] = KERNELS["box"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        KERNELS["box"].name = "mine"


def test_an_entry_may_be_anyones():
    entry = KernelEntry("pair", "family", "two", "me", lambda size=2: [Kernel("a", np.eye(size))])
    assert entry.signature == "pair(size=2)"


def test_bank_members_are_registered_kernels():
    for name in ["sobel", "sobel_5", "scharr", "prewitt", "roberts", "farid", "difference",
                 "kirsch", "robinson", "lines", "freichen"]:  # fmt: skip
        for kernel in build_kernels(name):
            assert build_kernels(kernel.name) == (kernel,)


# --- fixed kernels


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights(name):
    assert_array_equal(weights(name), PUBLISHED[name])


def test_every_fixed_kernel_has_its_numbers_checked_somewhere():
    elsewhere = ("farid_", "freichen_", "unsharp", "mexican_hat", "sobel_5_y", "robinson_")
    assert [name for name in FIXED_NAMES
            if name not in PUBLISHED and not name.startswith(elsewhere)] == []  # fmt: skip


def test_unsharp_is_the_tabulated_matrix():
    table = [
        [1, 4, 6, 4, 1],
        [4, 16, 24, 16, 4],
        [6, 24, -476, 24, 6],
        [4, 16, 24, 16, 4],
        [1, 4, 6, 4, 1],
    ]
    assert_array_equal(weights("unsharp"), np.array(table) / -256)


def test_mexican_hat_is_the_tabulated_matrix():
    top = [[0, 0, -1, 0, 0], [0, -1, -2, -1, 0], [-1, -2, 16, -2, -1]]
    assert_array_equal(weights("mexican_hat"), [*top, top[1], top[0]])


def test_farid_has_the_published_taps():
    # Farid & Simoncelli 2004, Table 1, 5-tap first derivative, to its 6 decimals.
    smoothing = [0.037659, 0.249153, 0.426375, 0.249153, 0.037659]
    difference = [-0.109604, -0.276691, 0.0, 0.276691, 0.109604]
    assert_allclose(weights("farid_x"), np.outer(smoothing, difference), atol=1e-6)
    assert_allclose(weights("farid_y"), np.outer(difference, smoothing), atol=1e-6)
    column, row = build_kernels("farid_x")[0].factors()
    assert_allclose(column, smoothing, atol=1e-6)
    assert_allclose(row, difference, atol=1e-6)


def test_freichen_is_an_orthonormal_basis():
    basis = np.array([kernel.weights.ravel() for kernel in build_kernels("freichen")])
    assert_allclose(basis @ basis.T, np.eye(9), atol=1e-15)


def test_freichen_has_the_published_masks():
    root = math.sqrt(2)
    masks = [
        np.array([[1, root, 1], [0, 0, 0], [-1, -root, -1]]) / (2 * root),
        np.array([[1, 0, -1], [root, 0, -root], [1, 0, -1]]) / (2 * root),
        np.array([[0, -1, root], [1, 0, -1], [-root, 1, 0]]) / (2 * root),
        np.array([[root, -1, 0], [-1, 0, 1], [0, 1, -root]]) / (2 * root),
        np.array([[0, 1, 0], [-1, 0, -1], [0, 1, 0]]) / 2,
        np.array([[-1, 0, 1], [0, 0, 0], [1, 0, -1]]) / 2,
        np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6,
        np.array([[-2, 1, -2], [1, 4, 1], [-2, 1, -2]]) / 6,
        np.ones((3, 3)) / 3,
    ]
    for number, mask in enumerate(masks, start=1):
        assert_allclose(weights(f"freichen_{number}"), mask, atol=1e-15)


def test_opposite_compass_points_are_half_turns():
    for name in ["kirsch", "robinson"]:
        bank = [kernel.weights for kernel in build_kernels(name)]
        assert_array_equal(bank[2], np.rot90(bank[0], -1))  # north to east is clockwise
        assert_array_equal(bank[3], np.rot90(bank[1], -1))
        for index in range(4):
            assert_array_equal(bank[index + 4], np.rot90(bank[index], 2))


@pytest.mark.parametrize("name", [n for n in FIXED_NAMES if n.endswith(("_x", "_y"))])
def test_slopes_are_positive_from_dark_to_bright(name):
    kernel = weights(name)
    side = name[-1]
    bright = np.zeros(kernel.shape)
    if side == "x":
        bright[:, (kernel.shape[1] + 1) // 2 :] = 1
    else:
        bright[(kernel.shape[0] + 1) // 2 :, :] = 1
    assert (kernel * bright).sum() > 0
    if not name.startswith("roberts"):
        assert_array_equal(weights(f"{name[:-1]}y"), weights(f"{name[:-1]}x").T)


@pytest.mark.parametrize(("point", "row", "column"), [("n", 0, 1), ("e", 1, 2), ("sw", 2, 0)])
def test_compass_kernels_look_for_the_bright_side(point, row, column):
    picture = np.zeros((3, 3))
    picture[row, column] = 1
    for bank in ["kirsch", "robinson"]:
        answers = {kernel.name: (kernel.weights * picture).sum() for kernel in build_kernels(bank)}
        assert answers[f"{bank}_{point}"] == max(answers.values())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("line_h", [[0, 0, 0], [1, 1, 1], [0, 0, 0]]),
        ("line_v", [[0, 1, 0], [0, 1, 0], [0, 1, 0]]),
        ("line_45", [[0, 0, 1], [0, 1, 0], [1, 0, 0]]),  # rising to the right, /
        ("line_135", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_line_kernels_answer_most_to_their_own_direction(name, line):
    answers = {kernel.name: (kernel.weights * line).sum() for kernel in build_kernels("lines")}
    assert answers[name] == 6
    assert all(answer <= 0 for other, answer in answers.items() if other != name)


def test_corner_ignores_straight_edges_and_answers_to_a_corner():
    upright = np.repeat([[0, 1, 1]], 3, axis=0)
    quadrant = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]])
    assert (weights("corner") * upright).sum() == 0
    assert (weights("corner") * upright.T).sum() == 0
    assert (weights("corner") * quadrant).sum() != 0


def test_laws_kernels_are_all_products():
    bank = {kernel.name: kernel.weights for kernel in build_kernels("laws")}
    assert_array_equal(bank["laws_l5e5"], weights("sobel_5_x"))
    assert_array_equal(bank["laws_e5l5"], weights("sobel_5_y"))
    assert_array_equal(bank["laws_s5s5"][2], [-2, 0, 4, 0, -2])
    assert_array_equal(bank["laws_r5r5"][0], [1, -4, 6, -4, 1])
    assert [name for name, kernel in bank.items() if kernel.sum()] == ["laws_l5l5"]


def test_sums():
    ones = {"identity", "sharpen", "sharpen_8", "unsharp", "emboss"}
    for name in FIXED_NAMES:
        total = build_kernels(name)[0].total
        expected = 3 if name == "freichen_9" else 1 if name in ones else 0
        assert total == pytest.approx(expected, abs=1e-15), name


def test_rounding_is_not_told_as_a_sum():
    assert Kernel("almost", np.array([[0.1, 0.2, -0.3]])).total == 0


# --- fixed kernels against other implementations


@pytest.mark.parametrize("axis", ["x", "y"])
def test_sobel_and_prewitt_agree_with_scipy(axis):
    picture = ramp()
    number = {"x": 1, "y": 0}[axis]
    assert_allclose(
        correlate(picture, weights(f"sobel_{axis}")),
        scipy.ndimage.sobel(picture, axis=number, mode="reflect"),
        atol=1e-10,
    )
    assert_allclose(
        correlate(picture, weights(f"prewitt_{axis}")),
        scipy.ndimage.prewitt(picture, axis=number, mode="reflect"),
        atol=1e-10,
    )


def test_laplacian_agrees_with_scipy():
    picture = ramp()
    assert_allclose(
        correlate(picture, weights("laplacian")),
        scipy.ndimage.laplace(picture, mode="reflect"),
        atol=1e-10,
    )


@pytest.mark.heavy
def test_edges_agree_with_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    picture = ramp()
    inside = (slice(3, -3), slice(3, -3))  # borders are treated in other ways
    pairs = [
        (weights("scharr_x") / 16, filters.scharr_v),
        (weights("scharr_y") / 16, filters.scharr_h),
        (weights("sobel_x") / 4, filters.sobel_v),
        (weights("prewitt_y") / 3, filters.prewitt_h),
        (weights("farid_x"), filters.farid_v),
        (weights("farid_y"), filters.farid_h),
    ]
    for kernel, oracle in pairs:
        ours = correlate(picture, kernel)[inside]
        assert_allclose(ours, oracle(picture)[inside], atol=1e-10)
    # Roberts: SciPy hangs an even kernel on its other corner when it convolves.
    for axis, oracle in [("x", filters.roberts_pos_diag), ("y", filters.roberts_neg_diag)]:
        ours = correlate(picture, weights(f"roberts_{axis}"))
        assert_allclose(ours[4:-2, 4:-2], oracle(picture)[inside], atol=1e-10)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "order", "size"),
    [("sobel", (1, 0), 3), ("sobel_5", (1, 0), 5), ("scharr", (1, 0), -1)],
)
def test_derivatives_agree_with_opencv(name, order, size):
    cv2 = pytest.importorskip("cv2")
    row, column = cv2.getDerivKernels(*order, size, ktype=cv2.CV_64F)
    assert_array_equal(weights(f"{name}_x"), np.outer(column, row))
    assert_array_equal(weights(f"{name}_y"), np.outer(row, column))


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


# --- asking for kernels the wrong way


@pytest.mark.parametrize(
    ("name", "args", "options", "message"),
    [
        ("sobelx", (), {}, "unknown kernel 'sobelx' (did you mean sobel_x"),
        ("nothing", (), {}, "unknown kernel 'nothing'"),
        ("sobel_x", (3,), {}, "sobel_x takes no arguments (write sobel_x on its own)"),
        ("sobel", (), {"size": 3}, "sobel takes no arguments"),
        ("gaussian", (), {"sigm": 3}, "unknown option of gaussian() 'sigm' (did you mean sigma?)"),
        ("gaussian", (), {"name": 3}, "unknown option of gaussian() 'name'"),
        ("gaussian", (3, 1, 2), {}, "takes at most 2 arguments, got 3 (write gaussian(size=3"),
        ("box", (3, 1), {}, "box() takes at most 1 argument, got 2"),
        ("gaussian", (3,), {"size": 5}, "gaussian() is given size twice, the second time as 5"),
        ("gaussian", (4,), {}, "gaussian(): size must be odd, got 4 (it needs a centre pixel: use"),
        ("gaussian", ((3, 4),), {}, "size must be odd, got 4"),
        ("gaussian", ((3, 5, 7),), {}, "size has 3 numbers, (3, 5, 7)"),
        ("gaussian", (0,), {}, "gaussian(): size must be from 1 to 1001, got 0"),
        ("gaussian", (1003,), {}, "size must be from 1 to 1001, got 1003"),
        ("gaussian", (3.0,), {}, "size must be a whole number, got 3.0"),
        ("gaussian", ("3",), {}, "size must be a whole number, got '3'"),
        ("gaussian", (True,), {}, "size must be a whole number, got True"),
        ("gaussian", (None,), {}, "size must be a whole number, got None"),
        ("gaussian", (3, 0), {}, "gaussian(): sigma must be above 0, got 0"),
        ("gaussian", (3, -1.5), {}, "sigma must be above 0, got -1.5"),
        ("gaussian", (3, math.nan), {}, "sigma must be a finite number, got nan"),
        ("gaussian", (3, math.inf), {}, "sigma must be a finite number, got inf"),
        ("gaussian", (3, 10**400), {}, "sigma must be a finite number, got inf"),
        ("gaussian", (3, "wide"), {}, "sigma must be a number, got 'wide'"),
        ("gaussian", (3, (1, 2)), {}, "sigma must be a number, got (1, 2)"),
        ("gaussian", (3, False), {}, "sigma must be a number, got False"),
        ("box", (-1,), {}, "box(): size must be from 1 to 1001, got -1"),
        ("binomial", (0,), {}, "binomial(): size must be from 1 to 1001, got 0"),
        ("log", (4,), {}, "log(): size must be odd, got 4"),
        ("log", (1,), {}, "log(): size must be from 3 to 1001, got 1"),
        ("log", ((3, 5),), {}, "log(): size must be a whole number, got (3, 5)"),
        ("log", (9, 0), {}, "log(): sigma must be above 0, got 0"),
        ("log", (9, 1e-200), {}, "log(): the weights overflow for sigma=1e-200"),
        ("log", (9, 1e200), {}, "log(): all weights come out as 0 for sigma=1e+200 and size 9"),
        ("dog", (9, 1, 1), {}, "dog(): ratio must be above 1, got 1"),
        ("dog", (9, 1, -1), {}, "dog(): ratio must be above 0, got -1"),
        ("dog", (9, 0.001), {}, "dog(): all weights come out as 0 for sigma=0.001 and size 9"),
        ("gabor", (4,), {}, "gabor(): size must be odd, got 4"),
        ("gabor", (1,), {}, "gabor(): all weights come out as 0"),
        ("gabor", (15, math.inf), {}, "gabor(): theta must be a finite number"),
        ("gabor", (15,), {"wavelength": 1}, "gabor(): wavelength must be at least 2, got 1"),
        ("gabor", (15,), {"wavelength": 0}, "gabor(): wavelength must be above 0, got 0"),
        ("gabor", (15,), {"sigma": 1e-300}, "gabor(): all weights come out as 0"),
        ("gabor", (15,), {"gamma": 0}, "gabor(): gamma must be above 0, got 0"),
        ("gabor", (15,), {"phase": "up"}, "gabor(): phase must be a number, got 'up'"),
        ("gabor_bank", (0,), {}, "gabor_bank(): count must be from 1 to 4096, got 0"),
        ("gabor_bank", (4096, 1001), {}, "4096 kernels of 1001x1001 are 4104196096 weights"),
        ("gabor_bank", (8, 4), {}, "gabor_bank(): size must be odd, got 4"),
        ("motion", (4,), {}, "motion(): size must be odd, got 4"),
        ("motion", ((3, 5),), {}, "motion(): size must be a whole number, got (3, 5)"),
        ("motion", (3, math.nan), {}, "motion(): angle must be a finite number, got nan"),
        ("dct", (17,), {}, "dct(): size must be from 1 to 16, got 17"),
        ("random", (0,), {}, "random(): count must be from 1 to 4096, got 0"),
        ("random", (1.5,), {}, "random(): count must be a whole number, got 1.5"),
        ("random", (1,), {"seed": -1}, "random(): seed must be 0 or more, got -1"),
        ("random", (4000, 999), {}, "random(): 4000 kernels of 999x999 are 3992004000 weights"),
    ],
)
def test_wrong_requests(name, args, options, message):
    with pytest.raises(RequestError) as caught:
        build_kernels(name, *args, **options)
    assert message in str(caught.value)
    assert caught.value.hint


# --- numbers and arrays of the user's


def test_kernel_from_numbers():
    kernel = kernel_from_numbers([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    assert kernel.name == "custom"
    assert_array_equal(kernel.weights, -weights("sobel_x"))
    assert kernel_from_numbers(((1 / 9, np.float32(2)),), "mine").name == "mine"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "kernel 'custom' has no numbers"),
        ([[]], "row 1 of kernel 'custom' is empty"),
        ([[1], []], "row 2 of kernel 'custom' is empty"),
        ([[1, 2, 3], [1, 2]], "row 2 of kernel 'custom' has 2 numbers, row 1 has 3"),
        ([[1, 2, 3], [1]], "row 2 of kernel 'custom' has 1 number, row 1 has 3"),
        ([[1, 2], [1, math.nan]], "row 2 of kernel 'custom' holds nan"),
        ([[1, -math.inf]], "row 1 of kernel 'custom' holds -inf"),
        ([[1, 1e39]], "row 1 of kernel 'custom' holds 1e+39"),
        ([[10**5000]], "row 1 of kernel 'custom' holds too large a number"),
        ([[1, "a"]], "row 1 of kernel 'custom' holds 'a'"),
        ([[1, 1j]], "row 1 of kernel 'custom' holds 1j"),
    ],
)
def test_wrong_numbers(rows, message):
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        kernel_from_numbers(rows)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("shape", "names", "inner"),
    [
        ((3, 5), ["k"], (3, 5)),
        ((1, 3, 5), ["k"], (3, 5)),
        ((2, 3, 5), ["k_0", "k_1"], (3, 5)),
        ((1, 4, 3, 5), ["k"], (4, 3, 5)),
        ((2, 4, 3, 5), ["k_0", "k_1"], (4, 3, 5)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int16", "bool", "float64", ">f4"])
def test_kernels_from_array(shape, names, inner, dtype):
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    kernels = kernels_from_array(array, "k")
    assert [kernel.name for kernel in kernels] == names
    assert {kernel.weights.shape for kernel in kernels} == {inner}
    assert {kernel.size for kernel in kernels} == {(3, 5)}
    assert_array_equal(np.array([kernel.weights for kernel in kernels]).reshape(shape), array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.float64(3), "has 0 dimensions, shape ()"),
        (np.ones(3), "has 1 dimensions, shape (3,)"),
        (np.ones((1, 1, 1, 1, 1)), "has 5 dimensions"),
        (np.ones((0, 3, 3)), "is empty, shape (0, 3, 3)"),
        (np.ones((3, 0)), "is empty, shape (3, 0)"),
        (np.ones((3, 3), complex), "holds values of type complex128"),
        (np.array([["a"]]), "holds values of type <U1"),
        (np.array([[None]]), "holds values of type object"),
        (np.array([[1, 2], [3, math.nan]]), "holds nan at index (1, 1)"),
        (np.array([[[1, math.inf]]]), "holds inf at index (0, 0, 1)"),
        (np.array([[1e39]]), "holds 1e+39 at index (0, 0)"),
    ],
)
def test_wrong_arrays(array, message):
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        kernels_from_array(array, "k")
    assert "kernel 'k'" in caught.value.message
    assert caught.value.hint


def test_changing_the_array_does_not_change_the_kernel():
    array = np.ones((3, 3))
    (kernel,) = kernels_from_array(array, "k")
    array[0, 0] = 5
    assert kernel.weights[0, 0] == 1
    assert array.flags.writeable


# --- one kernel


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3, 4), (0, 3)])
def test_kernel_of_a_wrong_shape(shape):
    with pytest.raises(RequestError, match="has the shape"):
        Kernel("k", np.ones(shape))


def test_kernel_of_a_wrong_value():
    with pytest.raises(RequestError, match=r"holds nan at index \(0, 1\)"):
        Kernel("k", np.array([[1, math.nan]]))


def test_equality_and_hash_by_name_and_weights():
    one, same = (Kernel("k", np.eye(3)) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same}) == 1
    assert one != Kernel("l", np.eye(3))
    assert one != Kernel("k", np.eye(3) * 2)
    assert one != Kernel("k", np.eye(3)[np.newaxis])
    assert one != "k"
    positive, negative = Kernel("z", np.array([[0.0]])), Kernel("z", np.array([[-0.0]]))
    assert positive == negative
    assert hash(positive) == hash(negative)


def test_flipped_is_half_a_turn_of_every_plane():
    planes = np.arange(12.0).reshape(2, 2, 3)
    flipped = Kernel("k", planes).flipped()
    assert flipped.name == "k"
    assert_array_equal(flipped.weights[0], [[5, 4, 3], [2, 1, 0]])
    assert flipped.flipped() == Kernel("k", planes)


@pytest.mark.parametrize(
    ("matrix", "column", "row"),
    [
        ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], [1, 2, 1], [-1, 0, 1]),
        ([[1, 0, -1], [2, 0, -2], [1, 0, -1]], [1, 2, 1], [1, 0, -1]),
        ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], [-1, 0, 1], [1, 2, 1]),
        ([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], [1, 0, -1], [1, 2, 1]),
        ([[1, 1], [1, 1]], [1, 1], [1, 1]),
        ([[-1, -1], [-1, -1]], [-1, -1], [1, 1]),
        ([[4, 6], [6, 9]], [2, 3], [2, 3]),
        ([[-6, 0, 6], [-20, 0, 20], [-6, 0, 6]], [6, 20, 6], [-1, 0, 1]),
        ([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], [1, -2, 1], [-1, 2, -1]),
        ([[0.0625, 0.125], [0.1875, 0.375]], [0.25 * 3**0.5, 0.75 * 3**0.5], None),
        ([[-0.125, 0, 0.125], [-0.25, 0, 0.25], [-0.125, 0, 0.125]], [0.25, 0.5, 0.25],
         [-0.5, 0, 0.5]),
        ([[0, 0], [0, 3]], [0, 3], [0, 1]),
        ([[-7]], [-7], [1]),
    ],
)  # fmt: skip
def test_factors_are_easy_to_read(matrix, column, row):
    kernel = kernel_from_numbers(matrix)
    found_column, found_row = kernel.factors()
    assert_allclose(np.outer(found_column, found_row), matrix, rtol=1e-15)
    if row is not None:
        assert_array_equal(found_column, column)
        assert_array_equal(found_row, row)
        assert not np.signbit(found_row[found_row == 0]).any()


@given(
    column=st.lists(st.integers(-9, 9), min_size=1, max_size=6),
    row=st.lists(st.integers(-9, 9), min_size=1, max_size=6),
)
def test_whole_products_come_apart_into_whole_numbers(column, row):
    matrix = np.outer(column, row).astype(np.float64)
    kernel = Kernel("k", matrix)
    assert kernel.rank == (1 if matrix.any() else 0)
    found_column, found_row = kernel.factors()
    assert_array_equal(np.outer(found_column, found_row), matrix)
    assert_array_equal(found_column, found_column.round())
    assert_array_equal(found_row, found_row.round())


@given(
    column=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    row=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
)
def test_factors_of_any_product(column, row):
    matrix = np.outer(column, row)
    factors = Kernel("k", matrix).factors()
    if factors is None:  # underflow can spoil a product of tiny numbers
        assert np.abs(matrix[matrix != 0]).min() < 1e-300
        return
    assert_allclose(np.outer(*factors), matrix, rtol=1e-6, atol=1e-6 * np.abs(matrix).max())


def test_factors_survive_float32():
    single = weights("gaussian", 9, sigma=1.7).astype(np.float32)
    kernel = Kernel("from_file", single)
    assert kernel.rank == 1
    assert_allclose(np.outer(*kernel.factors()), single, rtol=1e-6)


def test_what_is_not_separable_has_no_factors():
    laplacian = build_kernels("laplacian")[0]
    assert (laplacian.rank, laplacian.separable, laplacian.factors()) == (2, False, None)


def test_rank_of_planes():
    planes = Kernel("k", np.stack([np.zeros((3, 3)), np.outer([1, 2, 1], [1, 0, 1]), np.eye(3)]))
    assert planes.rank == 3
    assert not planes.separable
    assert planes.factors() is None
    single = Kernel("k", np.ones((1, 3, 3)))
    assert single.separable
    assert_array_equal(single.factors()[0], [1, 1, 1])
    twins = Kernel("k", np.ones((2, 3, 3)))
    assert (twins.rank, twins.separable) == (1, False)
    assert Kernel("k", np.zeros((2, 2))).separable
    assert_array_equal(np.outer(*Kernel("k", np.zeros((2, 2))).factors()), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
         ["antisymmetric left-right", "symmetric top-bottom"]),
        ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
         ["symmetric left-right", "antisymmetric top-bottom"]),
        ([[0, 1, 0], [1, -4, 1], [0, 1, 0]],
         ["symmetric left-right", "symmetric top-bottom", "symmetric about both diagonals"]),
        ([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], ["symmetric about the falling diagonal"]),
        ([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]],
         ["antisymmetric about the falling diagonal", "symmetric about the rising diagonal"]),
        ([[1, 2, 3], [4, 5, 4], [3, 2, 1]], ["point-symmetric"]),
        ([[1, 2, 3], [4, 0, -4], [-3, -2, -1]], ["point-antisymmetric"]),
        ([[1, 2, 0, 1], [0, 3, 3, 2], [2, 3, 3, 0], [1, 0, 2, 1]], ["unchanged by quarter turns"]),
        ([[1, 2, 3]], []),
        ([[1, 2, 1]], ["symmetric left-right"]),
        ([[1], [0], [-1]], ["antisymmetric top-bottom"]),
        ([[1, 2], [3, 4]], []),
        ([[5]], []),
        ([[0, 0], [0, 0]], []),
        ([[1, 2, 3], [3, 2, 1]], ["point-symmetric"]),
    ],
)  # fmt: skip
def test_symmetry_words(matrix, words):
    assert kernel_from_numbers(matrix).symmetry == words


def test_symmetry_of_planes_is_that_of_all():
    sobel, laplacian = weights("sobel_x"), weights("laplacian")
    assert Kernel("k", np.stack([sobel, 2 * sobel])).symmetry == [
        "antisymmetric left-right",
        "symmetric top-bottom",
    ]
    assert Kernel("k", np.stack([sobel, laplacian])).symmetry == ["symmetric top-bottom"]
