"""The fixed kernels, drawn as matrices, and the banks made of them.

Weights are the published ones. Where publications differ in sign or scale, the rule is: a kernel
named ``_x`` is positive for dark to bright from left to right, ``_y`` from top to bottom, and
whole numbers stay whole (Sobel's derivative is 8 times the slope, and is not written with 1/8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cnnviz.core.kernels.kernel import Kernel, KernelEntry, Matrix

SQRT_2 = float(np.sqrt(2))

# Almost every edge kernel is a difference one way and a smoothing the other way, which calms
# the noise along the edge: np.outer(column, row) is column × row.
DIFFERENCE = np.array([-1.0, 0.0, 1.0])
SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0])
BINOMIAL_3 = np.array([1.0, 2.0, 1.0])
BINOMIAL_5 = np.array([1.0, 4.0, 6.0, 4.0, 1.0])  # 1 2 1 smoothed by itself
DIFFERENCE_5 = np.array([-1.0, -2.0, 0.0, 2.0, 1.0])  # -1 0 1 smoothed by 1 2 1
FLAT_3 = np.ones(3)
SCHARR_3 = np.array([3.0, 10.0, 3.0])
FREI_CHEN_3 = np.array([1.0, SQRT_2, 1.0])  # a neighbour counts by 1/distance

# Farid & Simoncelli's Table 1, to the decimals their code gives (as in scikit-image).
FARID_SMOOTHING = np.array(
    [0.0376593171958126, 0.249153396177344, 0.426374573253687, 0.249153396177344,
     0.0376593171958126]
)  # fmt: skip
FARID_DIFFERENCE = np.array(
    [-0.109603762960254, -0.276690988455557, 0.0, 0.276690988455557, 0.109603762960254]
)

IDENTITY = [
    [0, 0, 0],
    [0, 1, 0],
    [0, 0, 0],
]  # fmt: skip

ROBERTS_X = [
    [-1, 0],
    [ 0, 1],
]  # fmt: skip

ROBERTS_Y = [
    [0, -1],
    [1,  0],
]  # fmt: skip

LAPLACIAN = [
    [0,  1, 0],
    [1, -4, 1],
    [0,  1, 0],
]  # fmt: skip

LAPLACIAN_8 = [
    [1,  1, 1],
    [1, -8, 1],
    [1,  1, 1],
]  # fmt: skip

MEXICAN_HAT = [
    [ 0,  0, -1,  0,  0],
    [ 0, -1, -2, -1,  0],
    [-1, -2, 16, -2, -1],
    [ 0, -1, -2, -1,  0],
    [ 0,  0, -1,  0,  0],
]  # fmt: skip

OUTLINE = [
    [-1, -1, -1],
    [-1,  8, -1],
    [-1, -1, -1],
]  # fmt: skip

SHARPEN = [
    [ 0, -1,  0],
    [-1,  5, -1],
    [ 0, -1,  0],
]  # fmt: skip

SHARPEN_8 = [
    [-1, -1, -1],
    [-1,  9, -1],
    [-1, -1, -1],
]  # fmt: skip

EMBOSS = [
    [-2, -1, 0],
    [-1,  1, 1],
    [ 0,  1, 2],
]  # fmt: skip

KIRSCH_NORTH = np.array([
    [ 5,  5,  5],
    [-3,  0, -3],
    [-3, -3, -3],
])  # fmt: skip

ROBINSON_NORTH = np.array([
    [ 1,  2,  1],
    [ 0,  0,  0],
    [-1, -2, -1],
])  # fmt: skip

LINE_HORIZONTAL = np.array([
    [-1, -1, -1],
    [ 2,  2,  2],
    [-1, -1, -1],
])  # fmt: skip

# An image minus its blur is its detail; added once: 2 × identity - blur.
UNSHARP = 2 * np.pad(np.array(IDENTITY), 1) - np.outer(BINOMIAL_5, BINOMIAL_5) / 256

RIPPLE = np.array([
    [      0, -1, SQRT_2],
    [      1,  0,     -1],
    [-SQRT_2,  1,      0],
])  # fmt: skip

LINE_CROSS = [
    [ 0, 1,  0],
    [-1, 0, -1],
    [ 0, 1,  0],
]  # fmt: skip

LAPLACE_DIAGONAL = [
    [-2, 1, -2],
    [ 1, 4,  1],
    [-2, 1, -2],
]  # fmt: skip

# A spot's mean (1 2 1 both ways) minus that of its surroundings: 0 where nothing changes.
CENTRE_SURROUND = np.pad(np.outer(BINOMIAL_3, BINOMIAL_3) / 16, 2) - np.ones((7, 7)) / 49

# How red, green and blue count in the colours that exclude each other, yellow being red and green.
RED_GREEN = np.array([1.0, -1.0, 0.0])
BLUE_YELLOW = np.array([-0.5, -0.5, 1.0])

# An orthonormal basis of all 3×3 patches. Signs are the published ones, hence freichen_1 and
# freichen_2 answer to bright at the top and at the left.
FREI_CHEN: Sequence[tuple[Matrix, str]] = (
    (np.outer(-DIFFERENCE, FREI_CHEN_3) / (2 * SQRT_2), "edge, bright above dark"),
    (np.outer(FREI_CHEN_3, -DIFFERENCE) / (2 * SQRT_2), "edge, bright left of dark"),
    (RIPPLE / (2 * SQRT_2), "ripple along the rising diagonal"),
    (RIPPLE[:, ::-1] / (2 * SQRT_2), "ripple along the falling diagonal"),
    (np.array(LINE_CROSS) / 2, "line: vertical positive, horizontal negative"),
    (np.outer(-DIFFERENCE, DIFFERENCE) / 2, "line: rising positive, falling negative"),
    (np.outer(SECOND_DIFFERENCE, SECOND_DIFFERENCE) / 6, "spot against its side neighbours"),
    (np.array(LAPLACE_DIAGONAL) / 6, "spot against its diagonal neighbours"),
    (np.outer(FLAT_3, FLAT_3) / 3, "average brightness (3 times the mean)"),
)

COMPASS = {
    "n": "top",
    "ne": "top right",
    "e": "right",
    "se": "bottom right",
    "s": "bottom",
    "sw": "bottom left",
    "w": "left",
    "nw": "top left",
}

LAWS = {
    "l5": BINOMIAL_5,  # level
    "e5": DIFFERENCE_5,  # edge
    "s5": np.array([-1.0, 0.0, 2.0, 0.0, -1.0]),  # spot
    "r5": np.array([1.0, -4.0, 6.0, -4.0, 1.0]),  # ripple
}

GONZALEZ_WOODS = "Gonzalez & Woods, Digital Image Processing, 3rd ed. 2008"
SOBEL = "Sobel & Feldman 1968 (talk), as given in Duda & Hart 1973, p. 271"
SOBEL_5 = "Danielsson & Seger 1990, Generalized and separable Sobel operators; OpenCV ksize=5"
PREWITT = "Prewitt 1970, Object enhancement and extraction"
SCHARR = "Scharr 2000, PhD thesis, Heidelberg; its whole numbers as in OpenCV, without the 1/32"
ROBERTS = "Roberts 1965, Machine perception of three-dimensional solids; sign by our rule"
FARID = "Farid & Simoncelli 2004, IEEE Trans. Image Processing 13(4), Table 1, 5 taps"
KIRSCH = "Kirsch 1971, Computers and Biomedical Research 4, 315-328"
ROBINSON = "Robinson 1977, Edge detection by compass gradient masks, CGIP 6, 492-501"
FREI = "Frei & Chen 1977, IEEE Trans. Computers C-26(10), 988-998"
LINES = f"{GONZALEZ_WOODS}, section 10.2.3 (whose axes name the diagonals the other way round)"
CENTRED = "the central difference; as used by Dalal & Triggs 2005, Histograms of oriented gradients"
POWELL = "Powell, Image Kernels Explained Visually, setosa.io/ev/image-kernels"
GIMP_MANUAL = f"GIMP manual, Convolution Matrix; {POWELL}"
OPPONENT = (
    "opponent colours, spot against surroundings, as in Itti, Koch & Niebur 1998, IEEE PAMI "
    "20(11), 1254-1259; after Livingstone & Hubel 1984, J. Neuroscience 4, 309-356"
)
LAWS_1980 = "Laws 1980, Rapid texture identification, Proc. SPIE 238, 376-380"

_FALLING = "edges across the falling diagonal: bright towards the bottom right is positive"
_RISING = "edges across the rising diagonal: bright towards the bottom left is positive"


def turned(matrix: Matrix, steps: int) -> Matrix:
    """Turn the outer ring of a 3×3 matrix clockwise by `steps` times 45 degrees.

    The rule that makes eight compass kernels of one (Kirsch 1971, Robinson 1977).

    >>> turned(np.array([[1, 2, 3], [8, 0, 4], [7, 6, 5]]), 1).tolist()
    [[8, 1, 2], [7, 0, 3], [6, 5, 4]]
    """
    rows = [0, 0, 0, 1, 2, 2, 2, 1]  # clockwise from the top left
    columns = [0, 1, 2, 2, 2, 1, 0, 0]
    result = matrix.copy()
    result[rows, columns] = np.roll(matrix[rows, columns], steps)
    return result


def _kernel(name: str, weights: object, summary: str, source: str) -> KernelEntry:
    kernels = (Kernel(name, np.asarray(weights, dtype=np.float64)),)
    return KernelEntry(name, "kernel", summary, source, lambda: kernels)


def _slopes(name: str, smoothing: Matrix, difference: Matrix, source: str) -> Iterator[KernelEntry]:
    """Give the ``_x`` and ``_y`` kernels of one smoothing and one difference."""
    along_x, along_y = np.outer(smoothing, difference), np.outer(difference, smoothing)
    yield _kernel(
        f"{name}_x", along_x, "vertical edges: dark to bright rightwards is positive", source
    )
    yield _kernel(
        f"{name}_y", along_y, "horizontal edges: dark to bright downwards is positive", source
    )


def _compass(name: str, north: Matrix, source: str) -> Iterator[KernelEntry]:
    """Give the eight turns of one kernel, clockwise from north."""
    for steps, (point, side) in enumerate(COMPASS.items()):
        summary = f"edges whose {side} side is the bright one"
        yield _kernel(f"{name}_{point}", turned(north, steps), summary, source)


def _frei_chen() -> Iterator[KernelEntry]:
    for number, (weights, shows) in enumerate(FREI_CHEN, start=1):
        yield _kernel(f"freichen_{number}", weights, f"Frei-Chen basis: {shows}", FREI)


FIXED: Sequence[KernelEntry] = (
    _kernel("identity", IDENTITY, "nothing: the picture as it is", "the unit of convolution"),
    *_slopes("difference", np.ones(1), DIFFERENCE, CENTRED),
    *_slopes("sobel", BINOMIAL_3, DIFFERENCE, SOBEL),
    *_slopes("sobel_5", BINOMIAL_5, DIFFERENCE_5, SOBEL_5),
    *_slopes("scharr", SCHARR_3, DIFFERENCE, SCHARR),
    *_slopes("prewitt", FLAT_3, DIFFERENCE, PREWITT),
    _kernel("roberts_x", ROBERTS_X, _FALLING, ROBERTS),
    _kernel("roberts_y", ROBERTS_Y, _RISING, ROBERTS),
    *_slopes("farid", FARID_SMOOTHING, FARID_DIFFERENCE, FARID),
    *_compass("kirsch", KIRSCH_NORTH, KIRSCH),
    *_compass("robinson", ROBINSON_NORTH, ROBINSON),
    _kernel(
        "laplacian", LAPLACIAN,
        "fine detail in all directions: negative on bright spots, a sign change at each edge",
        f"{GONZALEZ_WOODS}, section 3.6.2: the five-point stencil of the second derivatives",
    ),
    _kernel(
        "laplacian_8", LAPLACIAN_8,
        "fine detail, diagonals included: negative on bright spots",
        f"{GONZALEZ_WOODS}, section 3.6.2",
    ),
    _kernel(
        "mexican_hat", MEXICAN_HAT,
        "bright spots about 3 pixels wide, ringed by a negative halo",
        f"{GONZALEZ_WOODS}, section 10.2.6: a whole-number -LoG after Marr & Hildreth 1980",
    ),
    _kernel("outline", OUTLINE, "outlines of everything, flat areas go dark", POWELL),
    _kernel("sharpen", SHARPEN, "a crisper picture: itself minus its laplacian", GIMP_MANUAL),
    _kernel(
        "sharpen_8", SHARPEN_8,
        "a much crisper picture: itself minus its laplacian_8",
        f"{GONZALEZ_WOODS}, section 3.6.2",
    ),
    _kernel(
        "unsharp", UNSHARP,
        "a crisper picture: itself plus its difference to a 5x5 blur",
        "unsharp masking with amount 1; as tabulated in Wikipedia, Kernel (image processing)",
    ),
    _kernel("emboss", EMBOSS, "a relief lit from the top left", GIMP_MANUAL),
    _kernel(
        "line_h", LINE_HORIZONTAL, "bright horizontal lines, 1 pixel thick", LINES
    ),
    _kernel(
        "line_v", turned(LINE_HORIZONTAL, 2), "bright vertical lines, 1 pixel thick", LINES
    ),
    _kernel(
        "line_45", turned(LINE_HORIZONTAL, -1), "bright lines rising to the right, /", LINES
    ),
    _kernel(
        "line_135", turned(LINE_HORIZONTAL, 1), "bright lines falling to the right, \\", LINES
    ),
    _kernel(
        "corner", np.outer(SECOND_DIFFERENCE, SECOND_DIFFERENCE),
        "corners, line ends and single points; straight level or upright edges give 0",
        "6 x Frei-Chen's 7th, also Immerkaer 1996's noise operator; a linear filter can only "
        "approximate a corner detector",
    ),
    *_frei_chen(),
    _kernel(
        "red_green", np.multiply.outer(RED_GREEN, CENTRE_SURROUND),
        "changes of colour: redder than its surroundings is positive, greener negative", OPPONENT,
    ),
    _kernel(
        "blue_yellow", np.multiply.outer(BLUE_YELLOW, CENTRE_SURROUND),
        "changes of colour: bluer than its surroundings is positive, yellower negative", OPPONENT,
    ),
)  # fmt: skip


def _bank(name: str, members: Sequence[str], summary: str, source: str) -> KernelEntry:
    kernels = tuple(kernel for member in members for kernel in _BY_NAME[member].build())
    return KernelEntry(name, "bank", summary, source, lambda: kernels)


def _laws() -> KernelEntry:
    kernels = tuple(
        Kernel(f"laws_{down}{across}", np.outer(LAWS[down], LAWS[across]))
        for down in LAWS
        for across in LAWS
    )
    summary = "texture, 16 kernels: level, edge, spot and ripple downwards times the same across"
    return KernelEntry("laws", "bank", summary, LAWS_1980, lambda: kernels)


_BY_NAME = {entry.name: entry for entry in FIXED}
_XY = "edges in both directions, x and y"

BANKS: Sequence[KernelEntry] = (
    _bank("difference", ["difference_x", "difference_y"], f"{_XY}, without smoothing", CENTRED),
    _bank("sobel", ["sobel_x", "sobel_y"], _XY, SOBEL),
    _bank("sobel_5", ["sobel_5_x", "sobel_5_y"], f"{_XY}, calmer in noise", SOBEL_5),
    _bank("scharr", ["scharr_x", "scharr_y"], f"{_XY}, the direction truer than Sobel's", SCHARR),
    _bank("prewitt", ["prewitt_x", "prewitt_y"], f"{_XY}, with flat smoothing", PREWITT),
    _bank("roberts", ["roberts_x", "roberts_y"], "edges across both diagonals, 2x2", ROBERTS),
    _bank("farid", ["farid_x", "farid_y"], f"{_XY}, equally strong at all angles", FARID),
    _bank(
        "kirsch", [f"kirsch_{point}" for point in COMPASS],
        "edges by the side that is bright, 8 compass directions clockwise from north", KIRSCH,
    ),
    _bank(
        "robinson", [f"robinson_{point}" for point in COMPASS],
        "edges by the side that is bright, 8 compass directions with Sobel's weights", ROBINSON,
    ),
    _bank(
        "lines", ["line_h", "line_45", "line_v", "line_135"],
        "thin bright lines in 4 directions, each turned 45 degrees further", LINES,
    ),
    _bank(
        "freichen", [f"freichen_{number}" for number in range(1, 10)],
        "everything a 3x3 patch can hold: 4 edge, 4 line and spot kernels, and the average", FREI,
    ),
    _laws(),
)  # fmt: skip
