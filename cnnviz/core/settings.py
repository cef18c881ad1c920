"""Settings of layers: each option reads, checks and prints its value.

A layer is a frozen dataclass with fields made by :func:`option`. The readers here are the
only places where a value from outside (pipeline text, TOML, a command's flags, the Python API)
becomes a setting, so every door gives the same errors.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from cnnviz.core.types import Pads
from cnnviz.errors import RequestError, unknown

Reader = Callable[[Any, str], Any]
"""(value, name of the option) -> the setting; raises RequestError."""

LARGEST = 1_000_000
"""No window, stride or padding is sensibly larger; it keeps sizes far from overflow."""


@dataclass(frozen=True)
class Option:
    """What is known of one setting besides its name and default."""

    read: Reader
    help: str
    shown_default: str | None = None
    variadic: Callable[[Any], bool] | None = None
    """Of a first option: whether, given the first argument, it takes all of them."""
    always: bool = False
    """Printed even when it has its default, because it is worth seeing."""


def option(
    read: Reader,
    help: str,  # noqa: A002 - what dataclasses and command lines call it
    *,
    default: Any = dataclasses.MISSING,
    shown: str | None = None,
    variadic: Callable[[Any], bool] | None = None,
    always: bool = False,
) -> Any:
    """Declare a layer's setting: a dataclass field with its reader and help."""
    how = Option(read, help, shown, variadic, always)
    return dataclasses.field(default=default, metadata={"option": how})


def whole(minimum: int = 1, maximum: int = LARGEST) -> Reader:
    """Read a whole number from `minimum` to `maximum`."""

    def read(value: Any, name: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise RequestError(f"{name} must be a whole number, not {value!r}")
        if not minimum <= value <= maximum:
            raise RequestError(
                f"{name} is {value}", hint=f"it must be from {minimum:,} to {maximum:,}"
            )
        return value

    return read


LARGEST_FLOAT32 = 3.4028235677973362e38  # what is larger rounds to infinity


def number(
    *, above: float | None = None, least: float | None = None, most: float | None = None
) -> Reader:
    """Read a finite number: greater than `above`, at least `least`, at most `most`."""

    def read(value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RequestError(f"{name} must be a number, not {value!r}")
        given = float(value)
        if not math.isfinite(given):
            raise RequestError(f"{name} is {given}", hint="it must be finite")
        if abs(given) > LARGEST_FLOAT32:
            raise RequestError(
                f"{name} is {given:g}", hint=f"float32 holds numbers up to {LARGEST_FLOAT32:.6g}"
            )
        wrong = ""
        if above is not None and given <= above:
            wrong = f"greater than {above:g}"
        elif least is not None and given < least:
            wrong = f"at least {least:g}"
        elif most is not None and given > most:
            wrong = f"at most {most:,}"
        if wrong:
            raise RequestError(f"{name} is {given:g}", hint=f"it must be {wrong}")
        return given

    return read


def several(read: Reader, fewest: int = 1, most: int = 3, *, counts: str = "") -> Reader:
    """Read one value, or `fewest` to `most` of them, as a tuple; `counts` says so in words."""
    counts = counts or (f"{fewest}" if fewest == most else f"{fewest} to {most}")

    def read_all(value: Any, name: str) -> tuple[Any, ...]:
        values = value if isinstance(value, (tuple, list)) else (value,)
        if not fewest <= len(values) <= most:
            raise RequestError(f"{name} has {len(values)} values", hint=f"give {counts}")
        return tuple(read(one, name) for one in values)

    return read_all


def for_both_axes(read: Reader) -> Reader:
    """Read one value for both axes, or two, for rows and columns."""
    read_all = several(read, 1, 2, counts="one number or rows,columns")

    def read_pair(value: Any, name: str) -> tuple[Any, Any]:
        values = read_all(value, name)
        return (values[0], values[-1])

    return read_pair


def pair(minimum: int = 1, maximum: int = LARGEST) -> Reader:
    """Read one whole number for both axes, or a (rows, columns) pair."""
    return for_both_axes(whole(minimum, maximum))


factors = for_both_axes(number(above=0, most=LARGEST))
"""Reads one positive factor for both axes, or two, for rows and columns."""


def read_axes(value: Any, name: str) -> tuple[int, ...]:
    """Read axes of (C, H, W), each once, in their order."""
    axes: tuple[int, ...] = several(whole(0, 2))(value, name)
    if len(set(axes)) != len(axes):
        raise RequestError(f"{name} names an axis twice: {axes}")
    return tuple(sorted(axes))


def read_shape(value: Any, name: str) -> tuple[int, ...]:
    """Read (C, H, W), or N for a vector."""
    shape: tuple[int, ...] = several(whole(1, 2**31))(value, name)
    if len(shape) == 2:
        raise RequestError(f"{name} has 2 values", hint="give N, or (channels, rows, columns)")
    return shape


def optional(read: Reader) -> Reader:
    """Let None stand for "not given"."""
    return lambda value, name: None if value is None else read(value, name)


def flag(value: Any, name: str) -> bool:
    """Read true or false."""
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise RequestError(f"{name} must be true or false, not {value!r}")


def choice(choices: Collection[str]) -> Reader:
    """Read one of a few words, in any case."""

    def read(value: Any, name: str) -> str:
        if isinstance(value, str) and value.lower() in choices:
            return value.lower()
        raise not_among(name, value, choices)

    return read


def not_among(name: str, value: Any, choices: Collection[str]) -> RequestError:
    """Build the error for a value that is none of a setting's choices."""
    return RequestError(f"{name} is {value!r}", hint=unknown(name, str(value), choices).hint)


STAGE_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def stage_name(value: Any, name: str) -> str:
    """Read a reference to a stage: its name, or its index as text."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and (STAGE_NAME.fullmatch(value) or value.isdecimal()):
        return value
    raise RequestError(f"{name}: {value!r} is not the name of a stage")


@dataclass(frozen=True, slots=True)
class Padding:
    """How padding is asked for: a rule that needs the size, or amounts in pixels.

    >>> Padding.read("SAME_UPPER"), Padding.read((1, 2))
    (Padding(rule='same', amounts=(0, 0, 0, 0)), Padding(rule='explicit', amounts=(1, 2, 1, 2)))
    """

    rule: str = "valid"  # valid | same | same-lower | full | explicit
    amounts: Pads = (0, 0, 0, 0)  # top, left, bottom, right, for "explicit"

    @classmethod
    def read(cls, value: Any, name: str = "padding") -> Padding:
        """Read `valid`, `same`, `same-lower`, `full`, N, (H, W) or (T, L, B, R).

        TensorFlow's and ONNX's spellings (SAME, SAME_UPPER, SAME_LOWER, NOTSET) are accepted.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            rule = _PADDING_RULES.get(value.lower().replace("_", "-"))
            if rule is None:
                raise not_among(name, value, set(_PADDING_RULES.values()))
            return cls(rule)
        counts = "N, rows,columns or top,left,bottom,right"
        match several(whole(0), 1, 4, counts=counts)(value, name):
            case (every,):
                pads = (every, every, every, every)
            case (rows, columns):
                pads = (rows, columns, rows, columns)
            case (top, left, bottom, right):
                pads = (top, left, bottom, right)
            case amounts:
                raise RequestError(f"{name} has {len(amounts)} values", hint=f"give {counts}")
        return cls("explicit", pads) if any(pads) else cls()

    def value(self) -> str | int | tuple[int, ...]:
        """Return the shortest value that reads back to this padding."""
        if self.rule != "explicit":
            return self.rule
        top, left, bottom, right = self.amounts
        if (top, left) != (bottom, right):
            return self.amounts
        return top if top == left else (top, left)


_PADDING_RULES = {
    "valid": "valid",
    "notset": "valid",
    "same": "same",
    "same-upper": "same",
    "same-lower": "same-lower",
    "full": "full",
}
