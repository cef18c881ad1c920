"""The parametric kernels: blurs, blobs, Gabor waves, motion and random weights.

Conventions of all of them: sizes in pixels, an int or (rows, columns); angles in degrees,
counter-clockwise as seen on the screen, 0 pointing right; sigma in pixels. Without a sigma it
follows from the size by OpenCV's formula, 0.3 × ((size - 1)/2 - 1) + 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from cnnviz.core.kernels.checks import (
    affordable,
    finite,
    odd_length,
    odd_size,
    positive,
    read_size,
    size_label,
    whole,
)
from cnnviz.core.kernels.factors import Matrix
from cnnviz.core.kernels.kernel import Kernel, KernelEntry
from cnnviz.core.kernels.sampling import (
    balanced_or_error,
    bell_curve,
    default_sigma,
    grid,
    turned_grid,
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

    Raises
    ------
    RequestError
        If the size is even or out of range, or sigma is not a positive number.

    Examples
    --------
    >>> (gaussian()[0].weights * 16).astype(int).tolist()
    [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    """
    rows, columns = odd_size("gaussian", size)
    if sigma is not None:
        sigma = positive("gaussian", "sigma", sigma)

    def bell(length: int) -> Matrix:
        if length == 3 and sigma is None:
            return np.array([0.25, 0.5, 0.25])
        return bell_curve(length, default_sigma(length) if sigma is None else sigma)

    return (Kernel(f"gaussian_{size_label(rows, columns)}", np.outer(bell(rows), bell(columns))),)


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

    Raises
    ------
    RequestError
        If the size is out of range.

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
    return (Kernel(f"binomial_{size_label(rows, columns)}", weights),)


@_register("family", "a plain blur: the mean of the neighbourhood", "the moving average")
def box(size: Size = 3) -> tuple[Kernel, ...]:
    """Average all pixels under the kernel: 1 / (rows × columns) everywhere.

    Parameters
    ----------
    size : int or (rows, columns)
        In pixels, odd or even.

    Raises
    ------
    RequestError
        If the size is out of range.

    Examples
    --------
    >>> box((1, 4))[0].weights.tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    rows, columns = read_size("box", size)
    weights = np.full((rows, columns), 1 / (rows * columns))
    return (Kernel(f"box_{size_label(rows, columns)}", weights),)


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

    Raises
    ------
    RequestError
        If the size is even or out of range, sigma is not a positive number, or the weights
        vanish or overflow for this sigma.

    Examples
    --------
    >>> log(5, sigma=0.5)[0].weights[2].round(4).tolist()
    [0.0564, 0.7146, -4.9048, 0.7146, 0.0564]
    """
    length = odd_length("log", size, 3)
    sigma = default_sigma(length) if sigma is None else positive("log", "sigma", sigma)
    across, upwards = grid(length, length)
    bell = np.outer(bell_curve(length, sigma), bell_curve(length, sigma))
    with np.errstate(all="ignore"):  # what overflows is reported by _balanced
        curved = bell * ((across / sigma) ** 2 + (upwards / sigma) ** 2 - 2) / sigma / sigma
        balanced = curved - curved.mean()
    return (Kernel(f"log_{length}", balanced_or_error("log", curved, balanced, sigma)),)


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

    Raises
    ------
    RequestError
        If the size is even or out of range, sigma or ratio makes no sense, or the two Gaussians
        come out the same.

    Examples
    --------
    >>> dog(9, sigma=1)[0].weights[4].round(3).tolist()
    [-0.003, -0.009, -0.007, 0.045, 0.096, 0.045, -0.007, -0.009, -0.003]
    """
    length = odd_length("dog", size, 3)
    sigma = default_sigma(length) if sigma is None else positive("dog", "sigma", sigma)
    ratio = positive("dog", "ratio", ratio)
    if ratio <= 1:
        raise RequestError(
            f"dog(): ratio must be above 1, got {ratio:g}",
            hint="it says how many times wider the second Gaussian is; 1.6 is usual",
        )
    narrow, wide = bell_curve(length, sigma), bell_curve(length, sigma * ratio)
    peak = np.outer(narrow, narrow)
    weights = peak - np.outer(wide, wide)
    return (Kernel(f"dog_{length}", balanced_or_error("dog", peak, weights, sigma)),)


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

    Raises
    ------
    RequestError
        If a value is out of its range, or all weights come out as 0.

    Examples
    --------
    >>> gabor(7, theta=0, wavelength=4, sigma=1.5)[0].symmetry
    ['symmetric left-right', 'symmetric top-bottom']
    """
    rows, columns = odd_size("gabor", size)
    degrees = finite("gabor", "theta", theta)
    if sigma is None:
        # (1, 15) is a one-dimensional kernel: its width is 15.
        sigma = default_sigma(min((each for each in (rows, columns) if each > 1), default=1))
    sigma = positive("gabor", "sigma", sigma)
    wavelength = max(2.0, sigma / 0.56) if wavelength is None else wavelength
    wavelength = positive("gabor", "wavelength", wavelength)
    if wavelength < 2:
        raise RequestError(
            f"gabor(): wavelength must be at least 2, got {wavelength:g}",
            hint="pixels cannot show a finer wave",
        )
    gamma = positive("gabor", "gamma", gamma)
    shift = math.radians(finite("gabor", "phase", phase) % 360)

    along, aside = turned_grid(rows, columns, degrees)
    with np.errstate(over="ignore"):  # far out, exp(-inf) is 0
        bell = np.exp(-((along / sigma) ** 2 + (gamma * (aside / sigma)) ** 2) / 2)
    bell /= bell.sum()
    wave = bell * np.cos(2 * np.pi * along / wavelength + shift)
    weights = balanced_or_error("gabor", bell, wave - bell * wave.sum(), sigma)
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

    The default size is 15, since eight directions cannot be told apart in 3×3 pixels.

    Parameters
    ----------
    count : int
        How many, at least 1.
    size, wavelength, sigma, gamma, phase
        As in `gabor`.

    Raises
    ------
    RequestError
        If a value is out of its range, or the bank would be too large.

    Examples
    --------
    >>> [kernel.name for kernel in gabor_bank(4)]
    ['gabor_0', 'gabor_45', 'gabor_90', 'gabor_135']
    """
    number = whole("gabor_bank", "count", count, 1, LARGEST_COUNT)
    affordable("gabor_bank", number, odd_size("gabor_bank", size))
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

    Raises
    ------
    RequestError
        If the size is even or out of range, or the angle is not a finite number.

    Examples
    --------
    >>> motion(3, angle=90)[0].weights.round(3).tolist()
    [[0.0, 0.333, 0.0], [0.0, 0.333, 0.0], [0.0, 0.333, 0.0]]
    """
    length = odd_length("motion", size, 1)
    degrees = finite("motion", "angle", angle)
    along, aside = turned_grid(length, length, degrees)
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

    Raises
    ------
    RequestError
        If the size is out of range.

    Examples
    --------
    >>> [kernel.name for kernel in dct(2)]
    ['dct_0_0', 'dct_0_1', 'dct_1_0', 'dct_1_1']
    """
    length = whole("dct", "size", size, 1, LARGEST_TRANSFORM)
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

    Raises
    ------
    RequestError
        If a value is out of its range, or the bank would be too large.

    Examples
    --------
    >>> [kernel.name for kernel in random(3, size=5, seed=7)]
    ['random_0', 'random_1', 'random_2']
    """
    number = whole("random", "count", count, 1, LARGEST_COUNT)
    rows, columns = read_size("random", size)
    affordable("random", number, (rows, columns))
    generator = np.random.default_rng(whole("random", "seed", seed, 0, None))
    drawn = generator.normal(0, np.sqrt(2 / (rows * columns)), (number, rows, columns))
    if number == 1:
        return (Kernel("random", drawn[0]),)
    return tuple(Kernel(f"random_{index}", weights) for index, weights in enumerate(drawn))
