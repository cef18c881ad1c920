"""Kernels: the named ones, drawn as matrices; the parametric ones; and the user's own numbers.

``KERNELS`` is the one registry: a fixed kernel or bank is added in `fixed`, a parametric one in
`families`, and command line, help and contract tests pick it up from there.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType

from cnnviz.core.kernels.families import FAMILIES
from cnnviz.core.kernels.fixed import BANKS, FIXED
from cnnviz.core.kernels.kernel import (
    Kernel,
    KernelEntry,
    kernel_from_numbers,
    kernels_from_array,
)
from cnnviz.errors import RequestError, unknown

__all__ = [
    "KERNELS",
    "Kernel",
    "KernelEntry",
    "build_kernels",
    "kernel_from_numbers",
    "kernels_from_array",
]

KERNELS: Mapping[str, KernelEntry] = MappingProxyType(
    {entry.name: entry for entry in (*FIXED, *BANKS, *FAMILIES)}
)
"""Every kernel, bank and family by name: fixed kernels first, then banks, then families."""


# `name` is positional-only: what the user calls an option must never collide with it.
def build_kernels(name: str, /, *args: object, **options: object) -> tuple[Kernel, ...]:
    """Build the kernels of a registered name.

    Parameters
    ----------
    name : str
        A name in `KERNELS`.
    *args, **options
        The parameters of a bank or family, such as ``7, sigma=1.5`` for ``gaussian``: ints,
        floats, or (rows, columns) tuples of ints.

    Returns
    -------
    tuple of Kernel
        One kernel, or those of the bank.

    Raises
    ------
    RequestError
        If the name or an option is unknown, or a value makes no sense.

    Examples
    --------
    >>> [kernel.name for kernel in build_kernels("sobel")]
    ['sobel_x', 'sobel_y']
    >>> build_kernels("gaussian", 7, sigma=1.5)[0].size
    (7, 7)
    """
    if name not in KERNELS:
        raise unknown("kernel", name, KERNELS, see="cnnviz kernels lists them")
    entry = KERNELS[name]
    parameters = list(inspect.signature(entry.build).parameters)
    if not parameters and (args or options):
        raise RequestError(f"{name} takes no arguments", hint=f"write {name} on its own")
    for option in options:
        if option not in parameters:
            raise unknown(f"option of {name}()", option, parameters)
    if len(args) > len(parameters):
        at_most = "1 argument" if len(parameters) == 1 else f"{len(parameters)} arguments"
        raise RequestError(
            f"{name}() takes at most {at_most}, got {len(args)}", hint=f"write {entry.signature}"
        )
    for option in parameters[: len(args)]:
        if option in options:
            raise RequestError(
                f"{name}() is given {option} twice, the second time as {options[option]!r}",
                hint="leave one of them out",
            )
    return tuple(entry.build(*args, **options))
