"""Reads the arithmetic that derivations print, and works it out again."""

import re

NUMBER = r"−?\d[\d,]*(?:\.\d+)?"
EQUATION = re.compile(rf"(?P<left>[⌊⌈(\d−][⌊⌋⌈⌉()\d.+\-−·/ ]*?) = (?P<right>{NUMBER})")
SIGNS = str.maketrans(
    {"⌊": "floor(", "⌈": "ceil(", "⌋": ")", "⌉": ")", "−": "-", "·": "*", ",": ""}
)


def equations(text):
    """Yield (what the left side comes to, the right side) of every equation in a text."""
    from math import ceil, floor

    for match in EQUATION.finditer(text):
        left, right = (match[side].translate(SIGNS) for side in ("left", "right"))
        names = {"floor": floor, "ceil": ceil, "__builtins__": {}}
        yield eval(left, names), float(right)  # noqa: S307 - digits and signs only


def stated(text):
    """Return the number a side's line ends in: the result of its formula, or its first word."""
    if match := re.match(r"(\d+)(?=[,:]|$)", text):
        return int(match[1])
    ((_, right),) = equations(text)
    return int(right)


def stated_shape(derivation):
    """Return the output shape that a derivation's lines end in."""
    found = {}
    for line in derivation.lines:
        if line.label == "shape":
            return tuple(map(int, line.text.split(",")[0].split("×")))
        for label in line.label.split(", "):
            if line.label in ("channels", "rows", "columns", "rows, columns", "values"):
                found[label] = stated(line.text)
    if "values" in found:
        return (found["values"],)
    return (found["channels"], found["rows"], found["columns"])
