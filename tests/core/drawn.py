"""Problems for the engine, drawn: sizes of 1, asymmetric everything, every padding mode."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from cnnviz.core.engine import Correlation
from cnnviz.core.settings import Padding
from cnnviz.core.window import Window
from tests.oracles import NP_PAD, correlate_oracle, noise

SEEDS = st.integers(0, 2**31)
REACH = {"reflect": -1, "symmetric": 0, "circular": 0}


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def windows(
    draw,
    modes=tuple(NP_PAD),
    largest_pad=4,
    symmetric_pads=False,
    sizes=pairs(1, 11),  # noqa: B008 - a strategy is a value
    kernels=pairs(1, 5),  # noqa: B008
    strides=pairs(1, 6),  # noqa: B008
    dilations=pairs(1, 3),  # noqa: B008
):
    """Draw (size, Window, pads, mode) in which the window fits."""
    size, kernel = draw(sizes), draw(kernels)
    stride, dilation = draw(strides), draw(dilations)
    mode = draw(st.sampled_from(modes))
    limits = [min(largest_pad, size[a] + REACH.get(mode, 99)) for a in (0, 1)]
    pads = [draw(st.integers(0, limits[a % 2])) for a in range(4)]
    if symmetric_pads:
        pads[2:] = pads[:2]
    for a in (0, 1):
        assume(pads[a] + size[a] + pads[a + 2] > dilation[a] * (kernel[a] - 1))
    return size, Window(kernel, stride, Padding.read(tuple(pads)), dilation), tuple(pads), mode


@st.composite
def correlations(draw, **options):
    """Draw what `correlate` takes: (x, weight, window, pads, mode, groups, bias, pad_value)."""
    size, window, pads, mode = draw(windows(**options))
    groups = draw(st.integers(1, 3))
    depth, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    seed = draw(SEEDS)
    x = noise(seed, groups * depth, *size) * draw(st.sampled_from([1e-3, 1.0, 1e6]))
    weight = noise(seed + 1, groups * each, depth, *window.kernel_size)
    bias = noise(seed + 2, groups * each) if draw(st.booleans()) else None
    value = draw(st.sampled_from([0.0, -2.5])) if mode == "constant" else 0.0
    return x, weight, window, pads, mode, groups, bias, value


@st.composite
def problems(draw, make_weight=noise, largest_kernel=9, largest_size=40):
    """Draw a problem that fits; make_weight(seed, filters, depth, kh, kw) makes its weights."""
    mode = draw(st.sampled_from(list(NP_PAD)))
    sizes, kernel, pads, stride, dilation = [], [], [[], []], [], []
    for _ in range(2):
        kernel.append(draw(st.integers(1, largest_kernel)))
        stride.append(draw(st.integers(1, 3)))
        dilation.append(draw(st.integers(1, 3)))
        extent = dilation[-1] * (kernel[-1] - 1) + 1
        size = draw(st.integers(1, largest_size))
        most = min(extent, size + REACH[mode]) if mode in REACH else extent
        before, after = draw(st.integers(0, most)), draw(st.integers(0, most))
        sizes.append(max(size, extent - before - after))
        pads[0].append(before)
        pads[1].append(after)
    seed, groups = draw(st.integers(0, 2**31)), draw(st.integers(1, 3))
    depth, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    window = Window(
        tuple(kernel), tuple(stride), Padding("explicit", (*pads[0], *pads[1])), tuple(dilation)
    )
    x = noise(seed, groups * depth, *sizes)
    if draw(st.booleans()):  # an image whose values do not lie side by side
        x = np.asfortranarray(x)
    return Correlation(
        x,
        make_weight(seed + 1, groups * each, depth, *kernel),
        window,
        bias=noise(seed + 2, groups * each) if draw(st.booleans()) else None,
        groups=groups,
        padding_mode=mode,
        pad_value=-2.5 if mode == "constant" else 0.0,
    )


def compute(algorithm, problem, threads=1):
    """Run an algorithm on an output that holds rubbish."""
    output = np.full((problem.filters, *problem.size), np.nan, np.float32)
    algorithm.run(problem, output, threads)
    return output


def oracle(problem):
    """Return the float64 answer and the sums of the terms' magnitudes."""
    window = problem.window
    return correlate_oracle(
        problem.x, problem.weight, stride=window.stride, pads=problem.pads,
        dilation=window.dilation, groups=problem.groups, mode=problem.padding_mode,
        value=problem.pad_value, bias=problem.bias,
    )  # fmt: skip


SMALL_KERNELS = (
    [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    [[1 / 9] * 3] * 3,
    [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]],
    np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256,
    [[1, 0], [0, -1]],
    [[-1]],
    [[0, 0]],
    [[2, -2, 0, 7]],
    [[3], [0], [7]],
    [[0.3, -1.7], [0, 2.5], [11, 1]],
)
