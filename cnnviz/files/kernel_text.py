"""What ``-k`` and ``conv(…)`` take as a kernel: a name, a call, numbers, or a file."""

from __future__ import annotations

import re
from math import isqrt
from pathlib import PurePath

from cnnviz.core.kernels import Kernel, build_kernels, kernel_from_numbers, kernels_from_array
from cnnviz.core.layers import KernelGroup
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.language import Call, parse_call

_NUMBERS = re.compile(r"\s*[+\-.\d]")
_GEOMETRY = re.compile(r"\s*(\d{1,4})x(\d{1,4})(?:\+(\d+)\+(\d+))?\s*:(.*)", re.DOTALL)
_ROW_ENDS = re.compile(r"[ \t]*(?:;\s*|(?:\r?\n[ \t]*)+;?)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf)", re.IGNORECASE)


def parse_kernels(text: str) -> KernelGroup:
    """Read one kernel expression.

    Parameters
    ----------
    text : str
        ``sobel_x``, ``gaussian(7, sigma=1.5)``, ``"1,0,-1; 2,0,-2; 1,0,-1"`` (fractions such as
        1/9 allowed; new lines part rows, too), nested lists ``[[1, 0, -1], [2, 0, -2]]``,
        ImageMagick's ``"3x3: 1,0,-1 2,0,-2 1,0,-1"``, or ``@file``.

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
    if text.startswith("["):
        return _inline(_nested(text))
    if _NUMBERS.match(text):
        rows = [_row(row, text) for row in _ROW_ENDS.split(text.rstrip("; \t\r\n"))]
        return _inline(rows)
    if re.fullmatch(r"[A-Za-z_]\w*(\s*[,;]\s*[A-Za-z_]\w*)+", text):
        raise RequestError(
            f"{_short(text)} names several kernels", hint="repeat -k: -k sobel_x -k sobel_y"
        )
    return kernels_of_call(parse_call(text, f"kernel {_short(text)}"))


def doubt(group: KernelGroup) -> str | None:
    """Return what inline numbers were read as, if a person probably meant another kernel.

    >>> doubt(parse_kernels("1,0,-1,2,0,-2,1,0,-1"))
    'kernel 1,0,-1,2,0,-2,1,0,-1 is one row of 9 numbers; for 3×3 write 1,0,-1; 2,0,-2; 1,0,-1'
    >>> doubt(parse_kernels("3"))
    'kernel 3 is one number, which multiplies every pixel; a window of 3×3 is box(3)'
    """
    if len(group.kernels) != 1 or not _NUMBERS.match(group.text):
        return None
    (rows, count), cells = group.kernels[0].size, group.text.split(",")
    side = isqrt(count)
    if rows == 1 and count > 1 and side * side == count and side % 2:
        lines = [",".join(cells[at : at + side]) for at in range(0, count, side)]
        return (
            f"kernel {_shortened(group.text)} is one row of {count} numbers; for {side}×{side} "
            f"write {'; '.join(lines)}"
        )
    value = float(group.kernels[0].weights.flat[0])
    if (rows, count) == (1, 1) and value > 1 and value.is_integer():
        window = f"a window of {value:g}×{value:g} is box({value:g})"
        return f"kernel {value:g} is one number, which multiplies every pixel; {window}"
    return None


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


def _nested(text: str) -> list[list[float]]:
    """Read a list of rows, as Python, NumPy and JSON write it; a list of numbers is one row."""
    inner = text[1:-1].strip() if text.endswith("]") else ""
    rows = re.findall(r"\[([^\[\]]*)\]", inner) if "[" in inner else [inner]
    if not inner or (re.sub(r"\[[^\[\]]*\]", "", inner) if "[" in inner else "").strip(", \t\r\n"):
        raise RequestError(
            f"kernel {_short(text)} is no list of rows",
            hint='write rows as "[[1,0,-1],[2,0,-2],[1,0,-1]]", or as "1,0,-1; 2,0,-2; 1,0,-1"',
        )
    return [_row(row, text) for row in rows]


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


def _by_geometry(
    text: str, width: str, height: str, x: str | None, y: str | None, numbers: str
) -> list[list[float]]:
    """Read ImageMagick's form, where width comes first and rows are not marked.

    Its origin, column and row, is where ours lies, in the middle, or else refused.
    """
    columns, rows = int(width), int(height)
    if x is not None and (int(x), int(y or 0)) != ((columns - 1) // 2, (rows - 1) // 2):
        middle = f"+{(columns - 1) // 2}+{(rows - 1) // 2}"
        raise RequestError(
            f"kernel {_short(text)} has its origin at +{x}+{y}, a kernel of cnnviz in its middle, "
            f"{middle}",
            hint="leave the origin out, and put zeros around the numbers until it is the middle",
        )
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
    return repr(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"
