"""How large a picture becomes: to lie within a size, or to cover one and be cut."""

from __future__ import annotations

from cnnviz.core.types import Pair

Box = tuple[float, float, float, float]
"""A part of a picture in its pixels: left, top, right, bottom."""


def within(size: Pair, longest: int) -> Pair:
    """Return the size of the same proportions whose longer side is `longest`, at least 1.

    >>> within((300, 400), 20), within((1, 1000), 20)
    ((15, 20), (1, 20))
    """
    rows, columns = (max(1, round(side * longest / max(size))) for side in size)
    return rows, columns


def covering(size: Pair, target: Pair) -> Pair:
    """Return the smallest size of the same proportions that covers `target`.

    The other side is rounded down, as by torchvision's ``Resize`` of the shorter side.

    >>> covering((300, 451), (256, 256)), covering((10, 10), (20, 30))
    ((256, 384), (30, 30))
    """
    (rows, columns), (height, width) = size, target
    if height * columns >= width * rows:
        return height, columns * height // rows
    return rows * width // columns, width


def middle(size: Pair, covered: Pair, part: Pair) -> Box:
    """Return what ends up in the middle `part` once the picture is scaled to cover `covered`.

    Halves are rounded as by torchvision's ``CenterCrop``.

    >>> middle((100, 300), (10, 10), (10, 10))
    (100.0, 0.0, 200.0, 100.0)
    """
    spans = []
    for side, scaled, kept in zip(size, covering(size, covered), part, strict=True):
        start = round((scaled - kept) / 2)
        spans.append((start * side / scaled, min((start + kept) * side / scaled, side)))
    (top, bottom), (left, right) = spans
    return left, top, right, bottom
