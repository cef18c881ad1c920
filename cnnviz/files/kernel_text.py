"""What ``-k`` and ``conv(…)`` take as a kernel: a name, a call, numbers, or a file."""

from __future__ import annotations

import re
from pathlib import PurePath

from cnnviz.core.kernels import Kernel, build_kernels, kernel_from_numbers, kernels_from_array
from cnnviz.core.layers import KernelGroup
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.language import Call, parse_call

_NUMBERS = re.compile(r"\s*[+\-.\d]")
_GEOMETRY = re.compile(r"\s*(\d{1,4})x(\d{1,4})(?:\+\d+\+\d+)?\s*:(.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf)", re.IGNORECASE)


def parse_kernels(text: str) -> KernelGroup:
    """Read one kernel expression.

    Parameters
    ----------
    text : str
        ``sobel_x``, ``gaussian(7, sigma=1.5)``, ``"1,0,-1; 2,0,-2; 1,0,-1"`` (fractions such as
        1/9 allowed), ImageMagick's ``"3x3: 1,0,-1 2,0,-2 1,0,-1"``, or ``@file``.

    Raises
    ------
    RequestError
        If the text is not a kernel; CnnvizError if a file cannot be read.

    Examples
    --------
    >>> parse_kernels("1,0,-1; 2,0,-2; 1/2,0,-1/2").kernels[0].weights.tolist()
    [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [0.5, 0.0, -0.5]]
    """
    text = text.strip()
    if not text:
        raise RequestError("the kernel is empty", hint='give a name, numbers "1,0,-1" or @file')
    if text.startswith("@"):
        return KernelGroup(text, _from_file(text[1:]))
    if geometry := _GEOMETRY.fullmatch(text):
        return _inline(_by_geometry(text, *geometry.groups()))
    if _NUMBERS.match(text):
        rows = [_row(row, text) for row in text.rstrip("; \t\n").split(";")]
        return _inline(rows)
    if re.fullmatch(r"[A-Za-z_]\w*(\s*[,;]\s*[A-Za-z_]\w*)+", text):
        raise RequestError(
            f"{_short(text)} names several kernels", hint="repeat -k: -k sobel_x -k sobel_y"
        )
    return kernels_of_call(parse_call(text, f"kernel {_short(text)}"))


def kernels_of_call(call: Call) -> KernelGroup:
    """Return what a name or call of the registry gives."""
    values = tuple(_plain(value, call) for value in call.values)
    settings = {name: _plain(value, call) for name, value in call.settings.items()}
    text = call.text if values or settings else call.name
    return KernelGroup(text, build_kernels(call.name, *values, **settings))


def _plain(value: object, call: Call) -> object:
    if isinstance(value, Call):
        raise RequestError(f"{call.text}: {value.text} cannot be an argument of a kernel")
    return value


def _inline(rows: list[list[float]]) -> KernelGroup:
    text = ";".join(",".join(format(value, ".17g") for value in row) for row in rows)
    return KernelGroup(text, (kernel_from_numbers(rows),))


def _row(text: str, kernel: str) -> list[float]:
    cells = [cell for cell in re.split(r"\s*,\s*|\s+", text.strip()) if cell]
    if not cells:
        raise RequestError(f"kernel {_short(kernel)} has an empty row", hint="rows part at ;")
    return [_number(cell, kernel) for cell in cells]


def _number(cell: str, kernel: str) -> float:
    above, slash, below = cell.partition("/")
    if not _NUMBER.fullmatch(above) or (slash and not _NUMBER.fullmatch(below)):
        raise RequestError(
            f"kernel {_short(kernel)}: {_short(cell)} is not a number",
            hint='write rows as "1,0,-1; 2,0,-2; 1,0,-1"',
        )
    if slash and not float(below):
        raise RequestError(f"kernel {_short(kernel)}: {cell} divides by 0")
    return float(above) / float(below) if slash else float(above)


def _by_geometry(text: str, width: str, height: str, numbers: str) -> list[list[float]]:
    """Read ImageMagick's form, where width comes first and rows are not marked."""
    columns, rows = int(width), int(height)
    values = _row(numbers.replace(";", " "), text)
    if not columns or len(values) != columns * rows:
        raise RequestError(
            f"kernel {_short(text)} has {len(values)} numbers, {columns}x{rows} needs "
            f"{columns * rows}",
            hint="ImageMagick's form is WIDTHxHEIGHT: numbers",
        )
    return [values[start : start + columns] for start in range(0, len(values), columns)]


def _from_file(path: str) -> tuple[Kernel, ...]:
    from cnnviz.files.matrices import read_matrix

    if not path:
        raise RequestError("@ names no file", hint="write @kernel.csv")
    array = read_matrix(path)
    try:
        return kernels_from_array(array, PurePath(path).stem)
    except RequestError as error:
        # The request is fine; what the file holds is not.
        raise CnnvizError(f"{path}: {error.message}", hint=error.hint) from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "…")
