"""Measure ``digits`` or a sibling as it is used: ``python -m tests.training.measure [NETWORK]``.

Pictures are written as PNGs, loaded and prepared by the command's own code, and run through the
bundled pipeline with the bundled weights.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from cnnviz.cli.options import InputOptions
from cnnviz.cli.subject import input_options
from cnnviz.files.images import load_image
from cnnviz.files.spec import load_spec
from cnnviz.files.weights import load_weights
from tests.training.data import Digits, held_out

Drawing = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def wrong_ones(
    digits: Digits, drawing: Drawing, folder: Path, network: str = "digits"
) -> list[int]:
    """Return the places of the digits that are taken for another once drawn and saved."""
    spec = load_spec(network)
    options = input_options(InputOptions(), spec.input)
    params = dict(load_weights(spec.input.weights))
    rng = np.random.default_rng(0)
    wrong = []
    for place, (picture, label) in enumerate(zip(digits.pictures, digits.labels, strict=True)):
        path = folder / "digit.png"
        Image.fromarray(drawing(picture, rng)).save(path)
        for stage in spec.pipeline.run(load_image(str(path), options), params):
            output = stage.output
        if output.argmax() != label:
            wrong.append(place)
    return wrong


def white_on_black(picture: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Return MNIST's own."""
    return picture


def black_on_white(picture: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Return ink on paper."""
    return 255 - picture


def enlarged(size: int) -> Drawing:
    """Return what draws black on white, off the middle of a page of about twice that size."""

    def draw(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        digit = Image.fromarray(255 - picture).resize((size, size), Image.Resampling.BICUBIC)
        page = Image.new("L", (2 * size + 11, 2 * size), 255)
        page.paste(digit, tuple(int(place) for place in rng.integers(0, size, 2)))
        return np.asarray(page)

    return draw


def photographed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return gray ink on unevenly lit paper: turned, out of focus, with the camera's noise."""
    page = enlarged(120)(picture, rng)
    turned = Image.fromarray(page).rotate(
        rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=255
    )
    sharp = np.asarray(turned.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2)))) / 255
    rows, columns = np.mgrid[-1 : 1 : sharp.shape[0] * 1j, -1 : 1 : sharp.shape[1] * 1j]
    light = 0.65 + rng.uniform(-0.2, 0.2) * rows + rng.uniform(-0.2, 0.2) * columns
    light -= rng.uniform(0, 0.15) * (rows**2 + columns**2)
    ink = rng.uniform(0.15, 0.5)
    seen = light * (ink + (1 - ink) * sharp) + rng.normal(0, 0.03, sharp.shape)
    return (seen.clip(0, 1) * 255).astype(np.uint8)


def few_pixels() -> Digits:
    """Return scikit-learn's 1,797 digits of 8x8 pixels, by 43 other writers in Turkey."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Digits((digits.images / 16 * 255).astype(np.uint8), digits.target)


def cases() -> Iterator[tuple[str, Digits, Drawing]]:
    """Yield what is measured: a line of text, the digits, and how each is drawn."""
    unseen = held_out()
    yield "held out, white on black, 28x28", unseen, white_on_black
    yield "held out, black on white, 28x28", unseen, black_on_white
    for size in (20, 64, 200):
        yield f"held out, {size} pixels somewhere on a white page", unseen, enlarged(size)
    yield "held out, as if photographed", unseen, photographed
    elsewhere = few_pixels()
    yield "scikit-learn, white on black, 8x8", elsewhere, white_on_black
    yield "scikit-learn, 64 pixels somewhere on a white page", elsewhere, enlarged(64)


def main() -> None:
    """Print one line a case, of the network named or of `digits`."""
    network = sys.argv[1] if len(sys.argv) > 1 else "digits"
    with tempfile.TemporaryDirectory() as name:
        for title, digits, drawing in cases():
            wrong = wrong_ones(digits, drawing, Path(name), network)
            count = len(digits.labels)
            share = f"{1 - len(wrong) / count:.2%}"
            print(f"{title}: {share}, {len(wrong)} of {count:,} wrong", flush=True)


if __name__ == "__main__":
    main()
