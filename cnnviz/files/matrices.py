"""Number matrices: ``.csv``, ``.txt`` and ``.npy`` files as arrays.

Text holds one row a line; the numbers are separated by commas, semicolons, tabs or spaces. Between
semicolons or tabs, and in quotes, ``0,5`` is a number with a decimal comma.
``#`` starts a comment, blank lines are skipped, ``1/9`` is a number. Everything read is bounded
before memory is taken for it, and nothing is ever unpickled.
"""

from __future__ import annotations

import csv
import io
import math
import re
from array import array as packed
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Tensor
from cnnviz.errors import CnnvizError
from cnnviz.files.samples import located

SUFFIXES = frozenset({".csv", ".txt", ".npy"})
MAX_NUMBERS = 1024**3 // 4 // 3
"""The default bound on how many numbers a matrix holds: Pillow's bound on pixels."""

_NPY_MAGIC = b"\x93NUMPY"
_NPY_HEADER_LIMIT = 10_000  # characters, as numpy.load
_NPY_DESCR = re.compile(r"""['"]descr['"] *: *('[^']*'|"[^"]*"|\[)""")
_NPY_ORDER = re.compile(r"""['"]fortran_order['"] *: *(True|False)""")
_NPY_SHAPE = re.compile(r"""['"]shape['"] *: *\(([0-9L, ]{0,2000})\)""")
_NPY_FIELDS = (_NPY_DESCR, _NPY_ORDER, _NPY_SHAPE)
_NPY_FIELD = "|".join(field.pattern for field in _NPY_FIELDS)
_NPY_HEADER = re.compile(rf"\{{ *(?:(?:{_NPY_FIELD})[, ]*)+\}}[ \n]*")
_ROW_LIMIT = 2**20  # numbers in one line of text; longer rows belong in a .npy file
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+\u2212-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
_QUOTED = re.compile(r'"[^"]*"')
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_FIRST_ROW = re.compile(rb"^[ \t\r\f\v]*([^#\s].*)$", re.MULTILINE)
_FIRST_NUMBER = re.compile(rb"(?:[+-]|\xe2\x88\x92)?(?:\.?[0-9]|nan\b|inf)", re.IGNORECASE)


def read_matrix(
    source: str, data: bytes | None = None, *, max_pixels: int | None = None
) -> NDArray[np.float64]:
    r"""Read the numbers of a text or ``.npy`` file, with one to four axes.

    Parameters
    ----------
    source : str
        The file, or the name to use in messages when `data` is given.
    data : bytes, optional
        The file's bytes, if they have been read already (standard input).
    max_pixels : int, optional
        The largest number of numbers accepted; `MAX_NUMBERS` if not given.

    Returns
    -------
    NDArray[np.float64]
        Two axes for text. NaN and infinities that were spelled out are kept.

    Raises
    ------
    CnnvizError
        If the file cannot be read or does not hold numbers.

    Examples
    --------
    >>> read_matrix("-", b"1, 2\n1/2, -1  # half")
    array([[ 1. ,  2. ],
           [ 0.5, -1. ]])
    """
    name = display_name(source)
    limit = MAX_NUMBERS if max_pixels is None else max_pixels
    binary = is_npy(data) if data is not None else Path(located(source)).suffix.lower() == ".npy"
    try:
        with open_file(source) if data is None else io.BytesIO(data) as stream:
            matrix = (_read_npy if binary else _read_text)(stream, name, limit)
    except OSError as error:
        raise file_error(source, error) from error
    except MemoryError as error:
        raise CnnvizError(f"{name}: does not fit in memory", hint="use a smaller matrix") from error
    return matrix


def matrix_to_tensor(array: NDArray[Any], source: str) -> Tensor:
    """See a matrix as planes: (H, W) is one, (H, W, 1|3|4) and (C, H, W) are several.

    Parameters
    ----------
    array : NDArray
        Numbers with one, two or three axes; one axis is a single row.
    source : str
        Where it comes from, for messages.

    Returns
    -------
    Tensor
        (C, H, W) float32, contiguous, the values unchanged.

    Raises
    ------
    CnnvizError
        If the array is empty, has four axes, or holds a number float32 cannot.

    Examples
    --------
    >>> matrix_to_tensor(np.zeros((5, 4, 3)), "x.npy").shape
    (3, 5, 4)
    >>> matrix_to_tensor(np.zeros((2, 5, 7)), "x.npy").shape
    (2, 5, 7)
    """
    name = display_name(source)
    if not array.size:
        raise _empty(name, array.shape)
    if array.ndim == 1:
        planes = array[np.newaxis, np.newaxis, :]
    elif array.ndim == 2:
        planes = array[np.newaxis]
    elif array.ndim == 3:
        planes = array.transpose(2, 0, 1) if array.shape[2] in {1, 3, 4} else array
    else:
        raise CnnvizError(
            f"{name}: an array of shape {array.shape} is not a picture",
            hint="give (H,W), (H,W,C) or (C,H,W)",
        )
    with np.errstate(over="ignore"):
        tensor = np.array(planes, dtype=np.float32, order="C")
    lost = np.isinf(tensor) & np.isfinite(planes)
    if lost.any():
        raise CnnvizError(
            f"{name}: {planes[lost][0]:g} is too large for float32", hint="scale the numbers down"
        )
    return tensor


def is_matrix(source: str, data: bytes | None = None) -> bool:
    r"""Return whether a path names a matrix or, given bytes, whether they hold one.

    Examples
    --------
    >>> is_matrix("tutorial.CSV"), is_matrix("cat.png"), is_matrix("-", b"# rows\n1 2\n3 4")
    (True, False, True)
    """
    if data is None:
        return Path(located(source)).suffix.lower() in SUFFIXES
    if is_npy(data):
        return True
    text = data.removeprefix(b"\xef\xbb\xbf")
    row = None if b"\0" in text[:4096] else _FIRST_ROW.search(text)
    return row is not None and _FIRST_NUMBER.match(row[1]) is not None


def is_npy(data: bytes) -> bool:
    """Return whether bytes start as a ``.npy`` file does."""
    return data.startswith(_NPY_MAGIC)


def display_name(source: str) -> str:
    """Name a source in a message: ``-`` is standard input."""
    return "standard input" if source == "-" else source or "''"


def open_file(source: str) -> BinaryIO:
    """Open a file or a sample for reading bytes.

    Raises
    ------
    CnnvizError
        If the name cannot be a file's; everything else is an `OSError` (see `file_error`).
    """
    try:
        if not source:
            raise FileNotFoundError
        return Path(located(source)).open("rb")
    except ValueError as error:  # a NUL inside the name
        raise CnnvizError(f"{source!r}: not a file name", hint="check the path") from error


def file_error(source: str, error: OSError) -> CnnvizError:
    """Say why a file cannot be opened or read."""
    name = display_name(source)
    if isinstance(error, FileNotFoundError):
        return CnnvizError(f"{name}: no such file", hint="check the path")
    if isinstance(error, IsADirectoryError):
        return CnnvizError(f"{name}: is a folder, not a file", hint="name a file in it")
    if isinstance(error, PermissionError):
        return CnnvizError(f"{name}: permission denied", hint="allow reading it, or copy it")
    return CnnvizError(f"{name}: cannot be read: {error.strerror or error}", hint="check the file")


def read_bounded(path: Path, most: int, called: str) -> bytes:
    """Return a whole file's bytes, unless they are more than `most`; errors name it as `called`."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise CnnvizError(f"{called} does not exist", hint="check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CnnvizError(f"{called} cannot be read: {reason}") from None
    if len(data) > most:
        raise CnnvizError(f"{called} is larger than {most:,} bytes")
    return data


def _empty(name: str, shape: tuple[int, ...]) -> CnnvizError:
    return CnnvizError(f"{name}: holds no numbers (shape {shape})", hint="give at least one number")


def _too_many(name: str, count: str, limit: int) -> CnnvizError:
    return CnnvizError(
        f"{name}: holds {count} numbers, more than the limit of {limit:,}",
        hint="--max-pixels N raises it",
    )


# Text


def _read_text(stream: BinaryIO, name: str, limit: int) -> NDArray[np.float64]:
    """Read rows into one flat, growing buffer of doubles."""
    numbers = packed("d")
    width = first = 0
    with io.TextIOWrapper(stream, encoding="utf-8-sig") as text:  # any of the three line endings
        for line_number, line in _lines(text, name, limit):
            where = f"{name}, line {line_number}"
            row = _parse_row(line, where)
            if len(numbers) + len(row) > limit:
                raise _too_many(name, f"at least {len(numbers) + len(row):,}", limit)
            if not width:
                width, first = len(row), line_number
            elif len(row) != width:
                raise CnnvizError(
                    f"{where}: row of {len(row)} where line {first} has a row of {width}",
                    hint="every row needs as many",
                )
            numbers.extend(row)
    if not width:
        raise CnnvizError(f"{name}: holds no numbers", hint="give at least one row of them")
    return np.frombuffer(numbers, dtype=np.float64).reshape(-1, width)


def _lines(text: TextIO, name: str, limit: int) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold numbers, stripped of comments, with their line numbers."""
    longest = 1024 + 32 * min(limit, _ROW_LIMIT)
    line_number = 0
    try:
        while line := text.readline(longest + 1):
            line_number += 1
            if "\0" in line:
                raise _not_text(name, "a zero byte")
            if len(line) > longest:
                raise CnnvizError(
                    f"{name}, line {line_number}: is longer than {longest:,} characters",
                    hint="write one row a line, or save long rows as .npy",
                )
            if content := line.partition("#")[0].strip():
                yield line_number, content
    except UnicodeDecodeError as error:
        raise _not_text(name, f"the byte 0x{error.object[error.start]:02x}") from error


def _not_text(name: str, found: str) -> CnnvizError:
    return CnnvizError(
        f"{name}: is not UTF-8 text, it holds {found}",
        hint="save it as UTF-8 text, or give a binary file its own ending (.npy, .png, …)",
    )


def _parse_row(line: str, where: str) -> list[float]:
    cells = _cells(line)
    if len(cells) > _ROW_LIMIT:
        raise CnnvizError(
            f"{where}: holds more than {_ROW_LIMIT:,} numbers", hint="save long rows as .npy"
        )
    if line.isascii() and "_" not in line:  # float() would take 1_000 and digits of any script
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            pass  # a fraction or a mistake
        else:
            if not any(map(math.isinf, row)):  # 1e999 is not an infinity that was asked for
                return row
    return [_parse_cell(cell.strip(), f"{where}, column {j}") for j, cell in enumerate(cells, 1)]


def _cells(line: str) -> list[str]:
    """Split a row; beside semicolons and tabs, and in quotes, commas are decimal ones."""
    bare = _QUOTED.sub("", line) if '"' in line else line
    wide = next((mark for mark in ";\t" if mark in bare), None)
    separator = wide if wide and "," in bare and _is_decimal(line, wide) else None
    separator = separator or next((mark for mark in ",;\t" if mark in bare), None)
    if '"' in line:
        cells = next(csv.reader([line], delimiter=separator or " ", skipinitialspace=True))
    else:
        cells = line.split(separator, _ROW_LIMIT)
    return [cell.replace(",", ".") if _COMMA.fullmatch(cell.strip()) else cell for cell in cells]


def _is_decimal(line: str, separator: str) -> bool:
    """Tell whether every comma of a row stands within a number."""
    cells = (cell.strip().strip('"') for cell in line.split(separator))
    return all("," not in cell or _COMMA.fullmatch(cell) for cell in cells)


def _parse_cell(cell: str, where: str) -> float:
    """Read one number, fraction, nan or inf."""
    text = cell.replace("\N{MINUS SIGN}", "-")
    if _NOT_FINITE.fullmatch(text):
        return float(text)
    parts = [part.strip() for part in text.split("/")]
    if len(parts) <= 2 and all(_NUMBER.fullmatch(part) for part in parts):
        over, under = float(parts[0]), float(parts[1]) if len(parts) == 2 else 1.0
        if under == 0:
            raise CnnvizError(f"{where}: {_quoted(cell)} divides by zero", hint="write nan or inf")
        if math.isfinite(value := over / under):
            return value
        raise CnnvizError(
            f"{where}: {_quoted(cell)} is too large for a number", hint="write inf if you mean it"
        )
    if not cell:
        raise CnnvizError(f"{where}: the cell is empty", hint="write 0 or nan, or drop the comma")
    raise CnnvizError(
        f"{where}: {_quoted(cell)} is not a number",
        hint="separate numbers by one of comma, semicolon, tab or spaces; '#' starts a comment",
    )


def _quoted(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:39]}…")


# NumPy's format: magic, version, length of the header, a Python dict, the numbers.


class NpyHeader(NamedTuple):
    """What an array in NumPy's format says of itself."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def _read_npy(stream: BinaryIO, name: str, limit: int) -> NDArray[np.float64]:
    header = npy_header(stream, name)
    if not 1 <= len(header.shape) <= 4:
        raise CnnvizError(
            f"{name}: an array of shape {header.shape}", hint="one to four axes are read"
        )
    count = math.prod(header.shape)
    if not count:
        raise _empty(name, header.shape)
    if count > limit:
        raise _too_many(name, f"{' × '.join(map(str, header.shape))} = {count:,}", limit)
    with np.errstate(over="ignore", invalid="ignore"):  # long doubles, signalling NaNs
        return npy_values(stream, header, name).astype(np.float64)


def npy_values(stream: IO[bytes], header: NpyHeader, name: str) -> NDArray[Any]:
    """Read the numbers that follow a header, which the caller has found not too many."""
    size = math.prod(header.shape) * header.dtype.itemsize
    data = stream.read(size)
    if len(data) < size:
        raise CnnvizError(
            f"{name}: ends after {len(data):,} of {size:,} bytes", hint="save or copy it again"
        )
    flat = np.frombuffer(data, header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def npy_header(stream: IO[bytes], name: str) -> NpyHeader:
    """Read the header: a dict literal of three known keys, which needs no evaluating."""
    start = stream.read(8)
    if not start:
        raise CnnvizError(f"{name}: is empty", hint="save it again with numpy.save")
    if not is_npy(start):
        raise CnnvizError(f"{name}: is not a .npy file", hint="save it with numpy.save")
    length_bytes = 2 if start[6:7] == b"\x01" else 4
    length = int.from_bytes(stream.read(length_bytes), "little")
    if length > _NPY_HEADER_LIMIT:
        raise _bad_header(name, f"it claims {length:,} bytes")
    text = stream.read(length).decode("latin-1")
    fields = [pattern.findall(text) for pattern in _NPY_FIELDS]
    unlike = _bad_header(name, "it is not the dict numpy.save writes")
    if any(len(field) != 1 for field in fields):
        raise unlike
    descr, order, shape = (field[0] for field in fields)
    dtype = _npy_dtype(descr.strip("'\""), name)
    if not _NPY_HEADER.fullmatch(text):
        raise unlike
    sizes = tuple(int(size) for size in re.findall(r"[0-9]+", shape))  # Python 2 wrote 3L
    return NpyHeader(sizes, order == "True", dtype)


def _npy_dtype(descr: str, name: str) -> np.dtype[Any]:
    """Accept real numbers and booleans of a fixed size, nothing else."""
    known = re.fullmatch(r"[<>|=]?([a-zA-Z])[0-9]{0,9}", descr)
    if known and known[1] in "biuf":
        try:
            return np.dtype(known[0])
        except TypeError as error:
            raise _bad_header(name, f"its type is {descr!r}") from error
    kinds = {"O": "Python objects", "c": "complex numbers", "[": "named fields"}
    kind = kinds.get(known[1] if known else descr[:1])
    raise CnnvizError(
        f"{name}: holds {kind or f'values of type {_quoted(descr)}'}, not real numbers",
        hint="save it as float32 or float64",
    )


def _bad_header(name: str, reason: str) -> CnnvizError:
    return CnnvizError(f"{name}: has a broken .npy header: {reason}", hint="save it again")
