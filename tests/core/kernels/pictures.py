"""What tests of kernels share."""

import numpy as np

from cnnviz.core.kernels import (
    build_kernels,
)


def weights(name, *args, **options):
    """The weights of a name that stands for one kernel."""
    (kernel,) = build_kernels(name, *args, **options)
    return kernel.weights


def ramp(rows=12, columns=14):
    """A picture without any symmetry, so that a flipped or transposed kernel shows."""
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    return 0.3 * x**2 + 0.07 * y**3 + x * np.sin(y) + 2 * y
