"""What everything is measured on."""

from __future__ import annotations

import ctypes
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from cnnviz.core.threads import thread_count
from tests.benchmarks.timing import block

PACKAGES = ("torch", "opencv-python-headless", "onnxruntime", "scipy", "scikit-image", "pillow")
SIDE = 2048  # of the matrices whose product shows what BLAS can do


def processor() -> str:
    """Return the processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def blas_core() -> str:
    """Return the kind of processor OpenBLAS works for: Haswell, SkylakeX, …; empty if unknown."""
    from numpy.linalg import _umath_linalg

    try:
        library = ctypes.CDLL(_umath_linalg.__file__)
    except OSError:
        return ""
    for name in ("scipy_openblas_get_corename64_", "openblas_get_corename"):
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype = ctypes.c_char_p
            return str(function().decode())
    return ""


def sgemm_peak() -> float:
    """Return the GFLOP/s of a large float32 matrix product on all of BLAS's threads."""
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, SIDE, SIDE), np.float32)
    out = np.empty_like(one)
    seconds = min(block(lambda: np.matmul(one, other, out=out)) for _ in range(3))
    return 2 * SIDE**3 / seconds * 1e-9


def packages() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def description() -> dict[str, object]:
    """Return everything known about this machine before measuring."""
    return {
        "processor": processor(),
        "cores": thread_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas_core(),
        "settings": {  # a pinned core type holds BLAS back, and no peer
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("OPENBLAS_", "OMP_", "MKL_"))
        },
        "packages": packages(),
    }
