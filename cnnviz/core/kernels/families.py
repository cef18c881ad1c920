"""The parametric kernels: blurs, blobs, Gabor waves, motion and random weights.

Conventions of all of them: sizes in pixels, an int or (rows, columns); angles in degrees,
counter-clockwise as seen on the screen, 0 pointing right; sigma in pixels. Without a sigma it
follows from the size by OpenCV's formula, 0.3 × ((size - 1)/2 - 1) + 0.8. Each raises RequestError
for a value out of its range, and where no weights but 0 would be left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from cnnviz.core.kernels.kernel import (
    LARGEST,
    Kernel,
    KernelEntry,
    Matrix,
    check_bank,
    read_number,
    read_odd_length,
    read_size,
    read_whole,
)
from cnnviz.core.types import Pair
from cnnviz.errors import RequestError

Size = int | Pair
Builder = Callable[..., tuple[Kernel, ...]]

LARGEST_COUNT = 4096
LARGEST_TRANSFORM = 16  # a transform of size n has n² kernels

FAMILIES: list[KernelEntry] = []


def _register(
    kind: Literal["bank", "family"], summary: str, source: str
) -> Callable[[Builder], Builder]:
    """Enter a function into the registry under its own name."""

    def enter(build: Builder) -> Builder:
        FAMILIES.append(KernelEntry(build.__name__, kind, summary, source, build))
        return build

    return enter


def _label(rows: int, columns: int) -> str:
    """Write a size short: 7, or 3x5."""
    return str(rows) if rows == columns else f"{rows}x{columns}"


def _bell_curve(length: int, sigma: float) -> Matrix:
    """Sample a Gaussian of one dimension, (length,), with the sum 1."""
    distance = np.arange(length) - (length - 1) / 2
    with np.errstate(over="ignore"):  # far out, exp(-inf) is 0
        bell = np.exp(-((distance / sigma) ** 2) / 2)
    return np.asarray(bell / bell.sum(), dtype=np.float64)


def _sigma(family: str, sigma: float | None, length: int) -> float:
    """Read a sigma; without one return OpenCV's for a length: most of the bell fits in."""
    if sigma is None:
        return 0.3 * ((length - 1) / 2 - 1) + 0.8
    return read_number(family, "sigma", sigma, positive=True)


def _grid(rows: int, columns: int, degrees: float = 0) -> tuple[Matrix, Matrix]:
    """Return each pixel's distance from the centre along a direction, and 90 degrees aside of it.

    Each is (rows, columns); for 0 degrees they are x, rightwards, and y, upwards.
    """
    x, y = np.meshgrid(np.arange(columns) - (columns - 1) / 2, (rows - 1) / 2 - np.arange(rows))
    # cos(90°) is 6e-17 in floating point: right angles are kept exact, and zeros with them.
    right_angles = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}
    angle = math.radians(degrees % 360)
    cosine, sine = right_angles.get(degrees % 360, (math.cos(angle), math.sin(angle)))
    return x * cosine + y * sine, y * cosine - x * sine


def _check_balanced(family: str, before: Matrix, after: Matrix, sigma: float) -> None:
    """Raise RequestError if making the weights sum to 0 left nothing of them but rounding."""
    if not np.isfinite(after).all() or np.abs(after).max() > LARGEST:
        raise RequestError(
            f"{family}(): the weights overflow for sigma={sigma:g}", hint="use a larger sigma"
        )
    if np.abs(after).max() <= 1e-9 * np.abs(before).max():
        raise RequestError(
            f"{family}(): all weights come out as 0 for sigma={sigma:g} "
            f"and size {_label(*after.shape)}",
            hint="a larger size, or a sigma of about a sixth of it, leaves something to see",
        )


@_register(
    "family",
    "a soft blur",
    "the normal density sampled at the pixels; size 3 without sigma is the binomial 1 2 1",
)
def gaussian(size: Size = 3, sigma: float | None = None) -> tuple[Kernel, ...]:
    """Blur with a Gaussian: exp(-(x² + y²) / (2 sigma²)), scaled to the sum 1.

    Parameters
    ----------
    size : int or (rows, columns), odd
        In pixels.
    sigma : float, optional
        Standard deviation in pixels. Without it, an axis of size 3 gets the binomial 1 2 1, as
        in OpenCV (so that ``gaussian()`` and ``gaussian(3)`` are the same), any other size the
        formula above. OpenCV also has tables for sizes 5 and 7 (9 since version 5), which
        we do not copy: pass it our sigma to get our numbers.

    Examples
    --------
    >>> (gaussian()[0].weights * 16).astype(int).tolist()
    [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    """
    rows, columns = read_size("gaussian", size, odd=True)
    column, row = (
        np.array([0.25, 0.5, 0.25])
        if length == 3 and sigma is None
        else _bell_curve(length, _sigma("gaussian", sigma, length))
        for length in (rows, columns)
    )
    return (Kernel(f"gaussian_{_label(rows, columns)}", np.outer(column, row)),)


@_register(
    "family",
    "a soft blur of whole-number weights",
    "rows of Pascal's triangle; size 5 as in OpenCV's pyrDown",
)
def binomial(size: Size = 3) -> tuple[Kernel, ...]:
    """Blur with binomial coefficients: 1 2 1, 1 4 6 4 1, …, the blur 1 1 applied size - 1 times.

    Parameters
    ----------
    size : int or (rows, columns)
        In pixels, odd or even. It is close to a Gaussian of sigma = sqrt(size - 1) / 2.

    Examples
    --------
    >>> (binomial(5)[0].weights[2] * 256).astype(int).tolist()
    [6, 24, 36, 24, 6]
    """
    rows, columns = read_size("binomial", size)

    def coefficients(length: int) -> Matrix:
        # Whole numbers until the division: as floats, 2.0**1024 and more would overflow.
        above = 2 ** (length - 1)
        return np.array([math.comb(length - 1, index) / above for index in range(length)])

    weights = np.outer(coefficients(rows), coefficients(columns))
    return (Kernel(f"binomial_{_label(rows, columns)}", weights),)


@_register("family", "a plain blur: the mean of the neighbourhood", "the moving average")
def box(size: Size = 3) -> tuple[Kernel, ...]:
    """Average all pixels under the kernel: 1 / (rows × columns) everywhere.

    Parameters
    ----------
    size : int or (rows, columns)
        In pixels, odd or even.

    Examples
    --------
    >>> box((1, 4))[0].weights.tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    rows, columns = read_size("box", size)
    return (Kernel(f"box_{_label(rows, columns)}", np.full((rows, columns), 1 / (rows * columns))),)


@_register(
    "family",
    "spots and edges of one scale: negative on bright spots, a sign change at each edge",
    "Marr & Hildreth 1980, Theory of edge detection; discretised as MATLAB's fspecial('log')",
)
def log(size: int = 3, sigma: float | None = None) -> tuple[Kernel, ...]:
    """Laplacian of a Gaussian: the second derivatives of a blurred picture, in one kernel.

    G(x, y) × (x² + y² - 2 sigma²) / sigma⁴ with G scaled to the sum 1, then minus its mean, so
    that flat areas give 0. Negative in the centre, as `laplacian` is.

    Parameters
    ----------
    size : int, odd, at least 3
        In pixels; about 6 sigma holds all of it.
    sigma : float, optional
        Standard deviation in pixels, by default from the size. Spots of radius sigma × sqrt(2)
        answer most.

    Examples
    --------
    >>> log(5, sigma=0.5)[0].weights[2].round(4).tolist()
    [0.0564, 0.7146, -4.9048, 0.7146, 0.0564]
    """
    length = read_odd_length("log", size, 3)
    sigma = _sigma("log", sigma, length)
    across, upwards = _grid(length, length)
    bell = np.outer(_bell_curve(length, sigma), _bell_curve(length, sigma))
    with np.errstate(all="ignore"):  # what overflows is an error below
        curved = bell * ((across / sigma) ** 2 + (upwards / sigma) ** 2 - 2) / sigma / sigma
        balanced = curved - curved.mean()
    _check_balanced("log", curved, balanced, sigma)
    return (Kernel(f"log_{length}", balanced),)


@_register(
    "family",
    "bright spots of one scale: positive on the spot, negative around it",
    "Marr & Hildreth 1980, Theory of edge detection: ratio 1.6 comes closest to -LoG",
)
def dog(size: int = 3, sigma: float | None = None, ratio: float = 1.6) -> tuple[Kernel, ...]:
    """Difference of two Gaussians, a narrow one minus a wide one; each of them has the sum 1.

    Parameters
    ----------
    size : int, odd, at least 3
        In pixels; about 6 × ratio × sigma holds all of it.
    sigma : float, optional
        Standard deviation of the narrow one in pixels, by default from the size.
    ratio : float
        How many times wider the other one is, above 1.

    Examples
    --------
    >>> dog(9, sigma=1)[0].weights[4].round(3).tolist()
    [-0.003, -0.009, -0.007, 0.045, 0.096, 0.045, -0.007, -0.009, -0.003]
    """
    length = read_odd_length("dog", size, 3)
    sigma = _sigma("dog", sigma, length)
    ratio = read_number("dog", "ratio", ratio, positive=True)
    if ratio <= 1:
        raise RequestError(
            f"dog(): ratio must be above 1, got {ratio:g}",
            hint="it says how many times wider the second Gaussian is; 1.6 is usual",
        )
    narrow, wide = _bell_curve(length, sigma), _bell_curve(length, sigma * ratio)
    peak = np.outer(narrow, narrow)
    weights = peak - np.outer(wide, wide)
    _check_balanced("dog", peak, weights, sigma)
    return (Kernel(f"dog_{length}", weights),)


GABOR = "Daugman 1985, J. Opt. Soc. Am. A 2, 1160-1169, after Gabor 1946"


@_register("family", "stripes and edges of one direction and one width", GABOR)
def gabor(
    size: Size = 3,
    theta: float = 0,
    wavelength: float | None = None,
    sigma: float | None = None,
    gamma: float = 0.5,
    phase: float = 0,
) -> tuple[Kernel, ...]:
    """Gabor kernel: a wave under a Gaussian, as simple cells of the visual cortex respond.

    With x to the right, y upwards, x' = x cos(theta) + y sin(theta), y' = y cos(theta) -
    x sin(theta) and G = exp(-(x'² + gamma² y'²) / (2 sigma²)) scaled to the sum 1, the weights
    are G × (cos(2 pi x' / wavelength + phase) - mean), the mean being that of the wave under G:
    so the weights sum to 0, and flat areas give 0.

    OpenCV's getGaborKernel scales G to the peak 1, does not subtract the mean, turns theta the
    other way, and turns the result by 180 degrees.

    Parameters
    ----------
    size : int or (rows, columns), odd
        In pixels; about 6 sigma / gamma holds all of it.
    theta : float
        The direction in which the wave travels, in degrees counter-clockwise on the screen: 0
        answers to upright stripes, 90 to level ones, 45 to stripes falling to the right.
    wavelength : float, optional
        Pixels from stripe to stripe, at least 2. By default sigma / 0.56, the bandwidth of one
        octave found in the cortex, but at least 2.
    sigma : float, optional
        Standard deviation of G across the stripes in pixels, by default from the smaller of
        the two sizes that exceeds 1.
    gamma : float
        Aspect ratio: G is 1/gamma times longer along the stripes than across them.
    phase : float
        In degrees. 0 puts a bright stripe in the centre (lines); -90 an edge, dark to bright
        in the direction theta.

    Examples
    --------
    >>> gabor(7, theta=0, wavelength=4, sigma=1.5)[0].symmetry
    ['symmetric left-right', 'symmetric top-bottom']
    """
    rows, columns = read_size("gabor", size, odd=True)
    degrees = read_number("gabor", "theta", theta)
    # (1, 15) is a one-dimensional kernel: its width is 15.
    sigma = _sigma("gabor", sigma, min((each for each in (rows, columns) if each > 1), default=1))
    wavelength = max(2.0, sigma / 0.56) if wavelength is None else wavelength
    wavelength = read_number("gabor", "wavelength", wavelength, positive=True)
    if wavelength < 2:
        raise RequestError(
            f"gabor(): wavelength must be at least 2, got {wavelength:g}",
            hint="pixels cannot show a finer wave",
        )
    gamma = read_number("gabor", "gamma", gamma, positive=True)
    shift = math.radians(read_number("gabor", "phase", phase) % 360)

    along, aside = _grid(rows, columns, degrees)
    with np.errstate(over="ignore"):  # far out, exp(-inf) is 0
        bell = np.exp(-((along / sigma) ** 2 + (gamma * (aside / sigma)) ** 2) / 2)
    bell /= bell.sum()
    wave = bell * np.cos(2 * np.pi * along / wavelength + shift)
    weights = wave - bell * wave.sum()
    _check_balanced("gabor", bell, weights, sigma)
    return (Kernel(f"gabor_{degrees % 360:g}", weights),)


@_register("bank", "stripes and edges of one width, in evenly spaced directions", GABOR)
def gabor_bank(
    count: int = 8,
    size: Size = 15,
    wavelength: float | None = None,
    sigma: float | None = None,
    gamma: float = 0.5,
    phase: float = 0,
) -> tuple[Kernel, ...]:
    """Gabor kernels with theta = 0, 180/count, 2 × 180/count, … degrees.

    The default size is 15, since eight directions cannot be distinguished in 3×3 pixels.

    Parameters
    ----------
    count : int
        How many, at least 1.
    size, wavelength, sigma, gamma, phase
        As in `gabor`.

    Examples
    --------
    >>> [kernel.name for kernel in gabor_bank(4)]
    ['gabor_0', 'gabor_45', 'gabor_90', 'gabor_135']
    """
    number = read_whole("gabor_bank", "count", count, 1, LARGEST_COUNT)
    check_bank("gabor_bank", number, read_size("gabor_bank", size, odd=True))
    return tuple(
        kernel
        for index in range(number)
        for kernel in gabor(size, index * 180 / number, wavelength, sigma, gamma, phase)
    )


@_register(
    "family",
    "the blur of a camera moved in one direction",
    "a line of light drawn antialiased: 1 - distance, as in MATLAB's fspecial('motion')",
)
def motion(size: int = 3, angle: float = 0) -> tuple[Kernel, ...]:
    """Smear along a line: max(0, 1 - distance to the line segment), scaled to the sum 1.

    Parameters
    ----------
    size : int, odd
        Length of the line in pixels, first and last included.
    angle : float
        Direction of the line in degrees counter-clockwise on the screen: 0 is level, 90
        upright, 45 rises to the right.

    Examples
    --------
    >>> motion(3, angle=90)[0].weights.round(3).tolist()
    [[0.0, 0.333, 0.0], [0.0, 0.333, 0.0], [0.0, 0.333, 0.0]]
    """
    length = read_odd_length("motion", size, 1)
    degrees = read_number("motion", "angle", angle)
    along, aside = _grid(length, length, degrees)
    beyond = np.maximum(np.abs(along) - (length - 1) / 2, 0)
    weights = np.maximum(1 - np.hypot(beyond, aside), 0)
    return (Kernel(f"motion_{length}_{degrees % 180:g}", weights / weights.sum()),)


@_register(
    "bank",
    "how much of each wave, from flat to finest, a patch holds; dct(8) is what JPEG stores",
    "Ahmed, Natarajan & Rao 1974, Discrete cosine transform; orthonormal type II",
)
def dct(size: int = 3) -> tuple[Kernel, ...]:
    """All size² kernels of the two-dimensional cosine transform, the flat one first.

    dct_i_j is c(i) c(j) cos(pi (2 row + 1) i / (2 size)) cos(pi (2 column + 1) j / (2 size))
    with c(0) = sqrt(1 / size) and sqrt(2 / size) otherwise. They are orthonormal, so with
    a stride of `size` they keep the picture's energy; dct(2) is the Haar basis.

    Parameters
    ----------
    size : int
        In pixels, odd or even, at most 16.

    Examples
    --------
    >>> [kernel.name for kernel in dct(2)]
    ['dct_0_0', 'dct_0_1', 'dct_1_0', 'dct_1_1']
    """
    length = read_whole("dct", "size", size, 1, LARGEST_TRANSFORM)
    place = np.arange(length)
    waves = np.cos(np.pi * np.outer(place, 2 * place + 1) / (2 * length)) * np.sqrt(2 / length)
    waves[0] = np.sqrt(1 / length)
    waves[np.abs(waves) < 1e-15] = 0  # cos(90°) is 6e-17 in floating point
    return tuple(
        Kernel(f"dct_{down}_{across}", np.outer(waves[down], waves[across]))
        for down in place
        for across in place
    )


@_register(
    "family",
    "what an untrained network sees: weights drawn at random",
    "He et al. 2015, Delving deep into rectifiers: normal, variance 2 / (rows x columns)",
)
def random(count: int = 1, size: Size = 3, seed: int = 0) -> tuple[Kernel, ...]:
    """Draw weights as an untrained convolution layer does: normal, mean 0, He's variance.

    The same seed gives the same weights (NumPy's PCG64), and the first kernels do not depend
    on how many follow.

    Parameters
    ----------
    count : int
        How many kernels, at least 1.
    size : int or (rows, columns)
        In pixels, odd or even.
    seed : int
        0 or more.

    Examples
    --------
    >>> [kernel.name for kernel in random(3, size=5, seed=7)]
    ['random_0', 'random_1', 'random_2']
    """
    number = read_whole("random", "count", count, 1, LARGEST_COUNT)
    rows, columns = read_size("random", size)
    check_bank("random", number, (rows, columns))
    generator = np.random.default_rng(read_whole("random", "seed", seed, 0, None))
    drawn = generator.normal(0, np.sqrt(2 / (rows * columns)), (number, rows, columns))
    if number == 1:
        return (Kernel("random", drawn[0]),)
    return tuple(Kernel(f"random_{index}", weights) for index, weights in enumerate(drawn))
