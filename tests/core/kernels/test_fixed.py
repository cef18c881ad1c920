"""Fixed kernels against published numbers, scipy, OpenCV and scikit-image."""

import math

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from numpy.testing import assert_allclose, assert_array_equal

from cnnviz.core.kernels import (
    KERNELS,
    Kernel,
    build_kernels,
)
from tests.core.kernels.pictures import ramp, weights

FIXED_NAMES = [entry.name for entry in KERNELS.values() if entry.kind == "kernel"]
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


def correlate(picture, kernel):
    return scipy.ndimage.correlate(picture, kernel, mode="reflect")


# --- fixed kernels


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights(name):
    assert_array_equal(weights(name), PUBLISHED[name])


def test_every_fixed_kernel_has_its_numbers_checked_somewhere():
    elsewhere = ("farid_", "freichen_", "unsharp", "mexican_hat", "sobel_5_y", "robinson_",
                 "red_green", "blue_yellow")  # fmt: skip
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


@pytest.mark.parametrize(
    ("name", "spot", "opposite"),
    [
        ("red_green", (1, 0, 0), (0, 1, 0)),
        ("blue_yellow", (0, 0, 1), (1, 1, 0)),
    ],
)
def test_colour_opponents_answer_to_changes_of_colour_alone(name, spot, opposite):
    def answer(picture):  # (7, 7, 3)
        return (weights(name) * np.moveaxis(picture, 2, 0)).sum()

    def around(middle, ground):
        picture = np.tile(np.array(ground, float), (7, 7, 1))
        picture[2:5, 2:5] = middle
        return picture

    grey = (0.4, 0.4, 0.4)
    assert weights(name).shape == (3, 7, 7)
    assert_allclose(weights(name).sum(axis=(1, 2)), 0, atol=1e-15)  # one colour all over
    assert_allclose(weights(name).sum(axis=0), 0, atol=1e-15)  # any grey picture
    share = 1 - 9 / 49  # of the spot in its own surroundings
    assert answer(around(spot, grey)) == pytest.approx(share)
    assert answer(around(opposite, grey)) == pytest.approx(-share)
    assert answer(around(spot, opposite)) == pytest.approx(2 * share)


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
