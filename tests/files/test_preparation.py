"""Ink and paper, and the digit that is laid as MNIST lays it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from cnnviz.files.images import InputOptions, load_image
from cnnviz.files.images.loading import resize_planes
from cnnviz.files.preparation import FITS, INVERSIONS, inverted, strokes, threshold, without_narrow
from cnnviz.files.preparation import fit_digit as fit_with
from cnnviz.files.spec import load_spec
from cnnviz.files.weights import load_weights

fit_digit = partial(fit_with, resample=resize_planes)

SAMPLES = Path(__file__).parents[2] / "sample_images"
MNIST = [np.asarray(Image.open(SAMPLES / f"digit_{digit}.png")) for digit in range(10)]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def page(picture, size=120, at=(90, 40), shape=(260, 300)):
    """A digit, white on black, somewhere on a larger page; 0..1."""
    digit = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
    whole = Image.new("L", shape[::-1])
    whole.paste(digit, at[::-1])
    return np.asarray(whole) / np.float32(255)


def unlike(one, other):
    """The mean difference, which is 0.1 to 0.2 to a blank picture.

    A centre of mass halfway between pixels may be rounded either way, so one may be moved by one.
    """
    one, other = one.reshape(28, 28), other.reshape(28, 28)
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return min(np.abs(np.roll(one, step, (0, 1)) - other).mean() for step in steps)


# The fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", MNIST)
def test_mnist_stays_what_it_is(picture):
    fitted = fit_digit(picture[None] / np.float32(255))
    assert fitted.shape == FITS["digit"].shape
    assert fitted.dtype == np.float32
    assert unlike(fitted[0], picture / 255) < 0.02


@pytest.mark.parametrize("picture", MNIST)
@pytest.mark.parametrize("at", [(0, 0), (140, 180), (70, 90)])
def test_place_and_size_do_not_matter(picture, at):
    here, there = (fit_digit(page(picture, at=place)[None]) for place in (at, (50, 50)))
    assert unlike(here, there) < 0.02
    assert unlike(fit_digit(page(picture, 60)[None]), there) < 0.04
    assert unlike(here[0], picture / 255) < 0.06


@pytest.mark.parametrize("picture", MNIST)
def test_uneven_light_noise_and_specks_do_not_matter(picture, rng):
    clean = page(picture)
    rows, columns = np.mgrid[-1:1:260j, -1:1:300j]
    paper = 0.7 + 0.15 * rows - 0.1 * columns - 0.1 * rows**2
    photo = paper * (1 - 0.7 * clean) + rng.normal(0, 0.02, clean.shape)
    photo[5:7, 200:202] = 0
    fitted = fit_digit(inverted(photo[None].astype(np.float32), "auto", 1.0))
    assert unlike(fitted, fit_digit(clean[None])) < 0.04


def test_the_table_around_the_paper_is_left_out():
    clean = page(MNIST[5])
    around = clean.copy()
    around[:, -25:] = 0.9
    assert unlike(fit_digit(around[None]), fit_digit(clean[None])) < 0.02


def test_a_drawing_along_the_edge_is_kept_if_nothing_else_is_there():
    stroke = np.zeros((1, 20, 5), np.float32)
    stroke[:, 1:-1, 0] = 1
    assert fit_digit(stroke).sum() > 10


def test_centre_of_mass_and_longest_side():
    stroke = np.zeros((1, 90, 90), np.float32)
    stroke[:, 10:70, 20:26] = 1  # an L
    stroke[:, 64:70, 20:50] = 1
    fitted = fit_digit(stroke)[0]
    for axis in (0, 1):
        masses = fitted.sum(1 - axis)
        assert abs(np.average(np.arange(28), weights=masses) - 14) <= 0.5
    assert np.flatnonzero(fitted.any(1)).size == 20
    assert np.flatnonzero(fitted.any(0)).size == 10
    assert fitted.max() == 1


def test_the_scale_of_numbers_does_not_matter():
    plane = page(MNIST[2])[None]
    for scaled in (plane * 255, plane * 1e30 + 5, plane / 1e30 - 1e-31, np.repeat(plane, 3, 0)):
        np.testing.assert_allclose(
            fit_digit(scaled.astype(np.float32)), fit_digit(plane), atol=0.01
        )


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 50), (3, 2, 2), (1, 28, 28), (1, 300, 7)])
@pytest.mark.parametrize("fill", [0, 1, -1e38, np.nan, np.inf, "noise", "dot", "mixed"])
def test_nothing_to_see_is_no_error(shape, fill, rng):
    if fill == "noise":
        plane = rng.normal(size=shape)
    elif fill in ("dot", "mixed"):
        plane = np.full(shape, 0.0 if fill == "dot" else np.nan)
        plane[:, 0, 0] = 1
    else:
        plane = np.full(shape, fill)
    for how in INVERSIONS:
        fitted = fit_digit(inverted(plane.astype(np.float32), how, None))
        assert fitted.shape == (1, 28, 28)
        assert np.isfinite(fitted).all()
        assert fitted.min() >= 0
        assert fitted.max() <= 1
        if not isinstance(fill, str):
            assert not fitted.any()


# Inversion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", MNIST)
def test_auto_tells_ink_from_paper(picture):
    for plane in (picture[None], page(picture)[None], page(picture, 40)[None]):
        white = 255 if plane.dtype == np.uint8 else 1.0
        np.testing.assert_array_equal(inverted(plane, "auto", white), plane)
        np.testing.assert_allclose(inverted(white - plane, "auto", white), plane, atol=1e-6)
        np.testing.assert_array_equal(inverted(plane, "always", white), white - plane)
        np.testing.assert_array_equal(inverted(white - plane, "never", white), white - plane)
        assert inverted(white - plane, "auto", white).dtype == plane.dtype


def test_without_a_white_lightest_and_darkest_change_places():
    plane = np.float32([[[2, 3], [np.nan, 7]]])
    np.testing.assert_array_equal(inverted(plane, "always", None), [[[7, 6], [np.nan, 2]]])
    nothing = np.full((1, 2, 2), np.nan, np.float32)
    np.testing.assert_array_equal(inverted(nothing, "always", None), nothing)


# The parts ---------------------------------------------------------------------------------------


def test_paper_follows_the_edge_of_a_shadow():
    """And the sum of what is narrower is what stood on it."""
    paper = np.full((80, 100), 0.3)
    paper[:, 60:] = 0.6
    drawing = np.zeros_like(paper)
    drawing[10:70, 50:54] = 0.2
    drawing[30:36, 58:66] = 0.2
    drawing[0:20, 20:24] = 0.2  # touches the picture's edge
    np.testing.assert_allclose(without_narrow(paper + drawing), paper, atol=1e-12)


def test_opening_is_scipys(rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    for shape in ((40, 40), (33, 61), (1, 9)):
        plane = rng.random(shape)
        side = max(shape) // 4 + 4
        inner = without_narrow(plane)[side:-side, side:-side]
        expected = ndimage.grey_opening(plane, (side, side))[side:-side, side:-side]
        np.testing.assert_array_equal(inner, expected)


def test_threshold_is_halfway_between_ink_and_paper():
    plane = np.full((40, 40), 0.1)
    plane[10:20, 10:14] = 0.9
    assert threshold(plane) == (pytest.approx(0.5), pytest.approx(0.1))
    assert threshold(np.zeros((3, 3)))[0] == 0


# On paper ----------------------------------------------------------------------------------------


def lit(picture, rng, light, ink, noise):
    """Return a digit on a page of 330 to 480 pixels, as a camera sees it: 0 to 1, (1, H, W)."""
    rows = int(rng.integers(330, 481))
    columns = int(rows * rng.uniform(0.85, 1.3))
    side = int(min(rows, columns) * rng.uniform(0.5, 0.9))
    large = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
    turned = large.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC)
    digit = np.clip((np.asarray(turned) / 255 - 0.5) * side / 112 + 0.5, 0, 1)
    top, left = (int(rng.integers(0, room - side + 1)) for room in (rows, columns))
    cover = np.zeros((rows, columns))
    cover[top : top + side, left : left + side] = digit
    middle = (top + side * rng.uniform(0.3, 0.7), left + side * rng.uniform(0.3, 0.7))
    seen = light((rows, columns), middle, rng) * (1 - (1 - ink) * cover) * 255
    return (seen + rng.normal(0, noise, seen.shape)).round().clip(0, 255)[None] / 255


def edge_of_a_shadow(size, middle, rng):
    """Light of 0.8, and 0.6 of it behind a straight edge through the digit."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[: size[0], : size[1]]
    behind = (y - middle[0]) * np.sin(angle) + (x - middle[1]) * np.cos(angle) > 0
    return np.where(behind, 0.8 * 0.6, 0.8)


def test_pale_ink_is_read_in_small_pictures_too(rng):
    spec = load_spec("digits")
    params = dict(load_weights(spec.input.weights))
    right = 0
    for number in range(60):
        clean = page(MNIST[number % 10], 64, tuple(rng.integers(0, 64, 2)), (128, 139))
        photo = (210 - 45 * clean + rng.normal(0, 10, clean.shape)).clip(0, 255)[None] / 255
        fitted = fit_digit(inverted(photo.astype(np.float32), "auto", 1.0))
        right += int(spec.pipeline.forward(fitted, params).argmax()) == number % 10
    assert right >= 54


@pytest.mark.parametrize(
    ("light", "ink", "noise"),
    [
        (edge_of_a_shadow, 0.55, 3),
        (lambda *_: 200 / 255, 1 - 45 / 200, 20),  # 45 levels of contrast
    ],
    ids=["shadow", "pale ink in noise"],
)
def test_digits_on_paper_are_read(light, ink, noise):
    """Nine of ten; unblurred and with a smooth surface for paper one or two of ten were."""
    spec = load_spec("digits")
    params = dict(load_weights(spec.input.weights))
    rng, right = np.random.default_rng(1), 0
    for number in range(60):
        photo = lit(MNIST[number % 10], rng, light, ink, noise).astype(np.float32)
        fitted = fit_digit(inverted(photo, "auto", 1.0))
        right += int(spec.pipeline.forward(fitted, params).argmax()) == number % 10
    assert right >= 54


# Strokes -----------------------------------------------------------------------------------------


def test_pieces_touch_at_corners_and_specks_are_dropped():
    plane = np.zeros((30, 30))
    drawn = Image.new("L", (30, 30))
    ImageDraw.Draw(drawn).line([(5, 5), (20, 25), (25, 8)], 1)
    plane += np.asarray(drawn)
    kept = plane > 0
    plane[2, 20] = 1
    np.testing.assert_array_equal(strokes(plane, 0.5), kept)
    plane[10:13, 3:6] = 1  # a dot of nine pixels belongs to it
    kept[10:13, 3:6] = True
    np.testing.assert_array_equal(strokes(plane, 0.5), kept)


def test_a_long_winding_stroke_is_one_piece():
    plane = np.zeros((60, 60))
    plane[::2] = 1
    plane[1::4, -1] = 1
    plane[3::4, 0] = 1
    plane[58, 5] = 0  # its end is cut off
    kept = plane > 0
    kept[58:, :5] = False
    np.testing.assert_array_equal(strokes(plane, 0.5), kept)


# Through a file ----------------------------------------------------------------------------------


def test_pictures_and_matrices_of_a_digit_are_fitted_alike(tmp_path):
    drawn = Image.fromarray((255 * page(MNIST[4])).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(1)
    )
    drawn.save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", 255 - np.asarray(drawn).astype(np.float64))
    Image.merge("RGB", [drawn.point(lambda level: 255 - level)] * 3).save(tmp_path / "c.png")
    options = InputOptions(fit="digit", invert="auto")
    first = load_image(str(tmp_path / "a.png"), options)
    for name in ("b.npy", "c.png"):
        np.testing.assert_allclose(load_image(str(tmp_path / name), options), first, atol=1e-3)
    twice = load_image(str(tmp_path / "a.png"), InputOptions(fit="digit", input_range=255))
    np.testing.assert_allclose(twice, 255 * first, rtol=1e-6)
    moved = load_image(str(tmp_path / "a.png"), InputOptions(fit="digit", mean=(0.5,), std=(0.5,)))
    np.testing.assert_allclose(moved, 2 * first - 1, atol=1e-6)


def test_large_pictures_are_scaled_down_first(tmp_path):
    large = np.kron(np.pad(MNIST[7], 20), np.ones((40, 40), np.uint8))
    Image.fromarray(large).save(tmp_path / "large.png")
    fitted = load_image(str(tmp_path / "large.png"), InputOptions(fit="digit"))
    assert unlike(fitted[0], MNIST[7] / 255) < 0.05
