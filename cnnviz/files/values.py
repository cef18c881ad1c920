"""Single values as flags write them: numbers and pairs, sizes, shapes."""

from __future__ import annotations

import re
from typing import Any

from cnnviz.errors import RequestError
from cnnviz.files.language import number_of


def parse_value(text: str) -> Any:
    """Read a flag's value as the language would: numbers, ``2,1`` as a pair, else a word.

    >>> parse_value("2,1"), parse_value("same"), parse_value("0.5")
    ((2, 1), 'same', 0.5)
    """
    parts = [part.strip() for part in text.strip().strip("()").split(",")]
    if all(
        re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", part, re.IGNORECASE | re.ASCII)
        for part in parts
    ):
        numbers = tuple(number_of(part) for part in parts)
        return numbers if len(numbers) > 1 else numbers[0]
    return text.strip()


def parse_size(text: str, name: str) -> tuple[int, int]:
    """Read HxW, rows first; one number means a square.

    >>> parse_size("28x32", "--resize")
    (28, 32)
    """
    match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[x×,]\s*(\d{1,6}))?\s*", text, re.ASCII)
    if not match or not int(match[1]) or not int(match[2] or match[1]):
        raise RequestError(f"{name} is {text!r}", hint="write rows x columns, such as 224x224")
    return int(match[1]), int(match[2] or match[1])


def parse_shape(text: str) -> tuple[int, int, int]:
    """Read CxHxW (or HxW, one channel; or N, a vector) as ``--input`` takes it.

    >>> parse_shape("3x224x224"), parse_shape("28x28"), parse_shape("784")
    ((3, 224, 224), (1, 28, 28), (784, 1, 1))
    """
    parts = re.split(r"\s*[x×,]\s*", text.strip().strip("[]()"))
    if len(parts) > 3 or not all(re.fullmatch(r"\d{1,7}", p, re.ASCII) for p in parts):
        raise RequestError(
            f"--input is {text!r}", hint="write channels x rows x columns: 3x224x224"
        )
    sizes = [int(part) for part in parts]
    shape = [*sizes, 1, 1] if len(sizes) == 1 else [1, *sizes][-3:]
    if not all(shape):
        raise RequestError(f"--input is {text!r}", hint="every size must be at least 1")
    return shape[0], shape[1], shape[2]
