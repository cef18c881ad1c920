"""Kernels: the named ones, drawn as matrices; the parametric ones; and the user's own numbers.

``KERNELS`` is the one registry: a fixed kernel or bank is added in `fixed`, a parametric one in
`families`, and command line, help and contract tests pick it up from there.
"""

from cnnviz.core.kernels.kernel import (
    Kernel,
    KernelEntry,
    kernel_from_numbers,
    kernels_from_array,
)
from cnnviz.core.kernels.registry import KERNELS, build_kernels

__all__ = [
    "KERNELS",
    "Kernel",
    "KernelEntry",
    "build_kernels",
    "kernel_from_numbers",
    "kernels_from_array",
]
