"""Numbers, and text from outside, as short words that fit a label."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence


def format_number(value: float, digits: int = 4) -> str:
    """Write a number shortly, for a label: never '-0'.

    >>> [format_number(v) for v in (1020, 0.25, 1.5e-7, -0.0, 1 / 3, 65535, 12345.6, 1e6)]
    ['1020', '0.25', '1.5e-07', '0', '0.3333', '65535', '12346', '1e+06']
    """
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if 10 ** (digits - 1) <= abs(value) < 999_999.5 or (value == round(value) and abs(value) < 1e6):
        return str(round(value))
    return f"{value:.{digits}g}"


def format_range(low: float, high: float) -> str:
    """Write two ends, shortly: '±3.2' when they mirror each other, else '0 to 1020'.

    >>> format_range(-3.2, 3.2), format_range(0, 1020)
    ('±3.2', '0 to 1020')
    """
    if low == -high and high > 0:
        return f"±{format_number(high, 3)}"
    return f"{format_number(low, 3)} to {format_number(high, 3)}"


def format_cell(value: float) -> str:
    """Write a number into a cell, in at most seven characters or so.

    >>> [format_cell(v) for v in (0.63814, -1.25, 0.012345, 4.5e-5, -4e-12, 16384, 1.5e9, -0.0)]
    ['0.638', '-1.25', '0.0123', '4.5e-5', '-4e-12', '16384', '1.5e9', '0']
    """
    if 0.001 <= abs(value) < 0.1:
        return f"{round(value, 4):.3g}"
    text = format_number(value, 2 if value and not 0.001 <= abs(value) < 1e6 else 3)
    return re.sub(r"e([+-]?)0*", lambda match: "e" + match[1].replace("+", ""), text)


def format_fraction(value: float, other: Callable[[float], str] = format_number) -> str:
    """Write a number as a fraction where that is exact and shorter.

    >>> [format_fraction(v) for v in (1 / 16, 1 / 9, 0.5, -2.0, 0.25, 0.1, -0.0, 2 ** 0.5)]
    ['1/16', '1/9', '0.5', '-2', '1/4', '0.1', '0', '1.414']
    """
    from fractions import Fraction

    if math.isfinite(value) and value:
        fraction = Fraction(value).limit_denominator(1024)
        exact = abs(float(fraction) - value) <= 2 * math.ulp(value)
        if exact and len(str(fraction)) < len(f"{value:.15g}"):
            return str(fraction)
    return other(value)


def format_value(value: float) -> str:
    """Show four significant digits, and never -0.

    >>> [format_value(v) for v in (0.123456, -0.0, 255, 12345.6, 1.5e-7)]
    ['0.1235', '0', '255', '12,346', '1.5e-07']
    """
    if value == 0:
        return "0"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.4g}"


def format_bytes(count: int) -> str:
    """Show a size in units of 1024.

    >>> [format_bytes(n) for n in (40, 4000, 12_845_056)]
    ['40 B', '3.91 KB', '12.25 MB']
    """
    if count < 1024:
        return f"{count} B"
    size, units = count / 1024, ["TB", "GB", "MB", "KB"]
    while round(size, 2) >= 1024 and len(units) > 1:
        size /= 1024
        units.pop()
    return f"{size:,.2f} {units[-1]}"


def format_percent(fraction: float) -> str:
    """Show a fraction as percent; only a true 0 or 1 says so.

    >>> [format_percent(z) for z in (0, 0.00001, 0.5, 0.99999, 1)]
    ['0%', '<0.1%', '50.0%', '>99.9%', '100%']
    """
    if fraction in {0, 1}:
        return f"{fraction:.0%}"
    if fraction < 0.0005:
        return "<0.1%"
    return ">99.9%" if fraction >= 0.9995 else f"{fraction:.1%}"


def format_seconds(seconds: float) -> str:
    """Show a duration.

    >>> [format_seconds(s) for s in (0.0000031, 0.00123, 0.25, 12.34)]
    ['3 µs', '1.2 ms', '250 ms', '12.3 s']
    """
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.1f} ms" if seconds < 0.09995 else f"{seconds * 1e3:.0f} ms"
    return f"{seconds:,.1f} s"


def joined(names: Sequence[str], most: int = 6) -> str:
    """Write names joined by commas, many of them shortened.

    >>> joined(["a", "b"]), joined(list("abcdefgh"), 3)
    ('a, b', 'a, b, c and 5 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
