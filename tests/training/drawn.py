"""Digits that MNIST's American writers hardly made: ones with a flag and a foot, crossed sevens,
open fours, and printed ones. They are drawn, to be learnt from beside MNIST's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.training.data import SEED, Digits

PAGE = 160
Line = list[tuple[float, float]]  # x, y from 0, 0 at the top left of the digit's box to 1, 1


def lines_of(digit: int, rng: np.random.Generator) -> list[Line]:
    """Return the pen's ways for one digit, no two alike."""

    def near(x: float, y: float, by: float = 0.05) -> tuple[float, float]:
        return x + rng.uniform(-by, by), y + rng.uniform(-by, by)

    if digit == 1:
        top, bottom = near(0.55, 0), near(0.5, 1)
        flag, foot = rng.random(2) < (0.8, 0.5)
        lines = [[near(0.22, 0.27, 0.12), top, bottom] if flag or not foot else [top, bottom]]
        return [*lines, [near(0.2, 1), near(0.85, 1)]] if foot else lines
    if digit == 4:
        turn, end = near(0.05, 0.62, 0.1), near(0.95, 0.62, 0.1)
        down = [near(0.7, rng.uniform(0, 0.45)), near(0.62, 1)]
        return [[near(0.45, 0, 0.12), turn, end], down]
    top = near(0.9, 0)
    lines = [[near(0.1, 0.02), top, near(0.35, 1, 0.12)], [near(0.3, 0.5), near(0.8, 0.5)]]
    return [[near(0.1, 0.2), lines[0][0]], *lines] if rng.random() < 0.3 else lines


def sketched(lines: list[Line], rng: np.random.Generator) -> np.ndarray:
    """Draw the ways with a round pen, white on black."""
    page = Image.new("L", (PAGE, PAGE))
    draw = ImageDraw.Draw(page)
    pen, wide, high = rng.uniform(5, 18), rng.uniform(35, 75), 100
    for line in lines:
        way = [(30 + x * wide, 30 + y * high) for x, y in line]
        draw.line(way, 255, round(pen), joint="curve")
        for x, y in (way[0], way[-1]):
            draw.circle((x, y), pen / 2, 255)
    return np.asarray(page)


def printed(digit: int, boldness: float) -> np.ndarray:
    """Set a digit in the typeface that comes with Pillow."""
    page = Image.new("L", (PAGE, PAGE))
    font = ImageFont.load_default(100)
    ImageDraw.Draw(page).text((40, 20), str(digit), 255, font, stroke_width=boldness)
    return np.asarray(page)


def drawn(sketches: int = 120, prints: int = 8) -> Digits:
    """Return so many sketches of 1, 4 and 7 each, and so many prints of every digit."""
    rng = np.random.default_rng(SEED)

    def pictures() -> Iterator[tuple[int, np.ndarray]]:
        for digit in (1, 4, 7):
            for _ in range(sketches):
                yield digit, sketched(lines_of(digit, rng), rng)
        for digit in range(10):
            for boldness in np.linspace(0, 4, prints):
                yield digit, printed(digit, boldness)

    labels, made = zip(*pictures(), strict=True)
    return Digits(np.stack(made), np.array(labels))
