"""What lies beyond an image's edge: one index rule per padding mode, read a band at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Pads, Pair, Tensor
from cnnviz.errors import CnnvizError

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Border:
    """A padding mode: which pixel stands at a coordinate outside an axis of some length."""

    name: str
    summary: str
    source: (
        Callable[[Index, int], Index] | None
    )  # (coordinates, length) -> pixels; None: a constant
    reach: Callable[[int], int | None]  # the largest padding an axis of this length allows


def _reflect(at: Index, length: int) -> Index:
    mirrored: Index = length - 1 - np.abs(length - 1 - np.abs(at))
    return mirrored


def _symmetric(at: Index, length: int) -> Index:
    mirrored = np.where(at < 0, -at - 1, at)
    return np.where(mirrored >= length, 2 * length - 1 - mirrored, mirrored)


BORDERS: Mapping[str, Border] = {
    border.name: border
    for border in (
        Border(
            "zeros", "0 (in pooling: cells that never win and never count)", None, lambda _: None
        ),
        Border("constant", "the number pad_value", None, lambda _: None),
        Border(
            "reflect", "mirrored, edge pixel not repeated: c b | a b c", _reflect, lambda n: n - 1
        ),
        Border("symmetric", "mirrored with the edge pixel: b a | a b c", _symmetric, lambda n: n),
        Border(
            "replicate",
            "the edge pixel again: a a | a b c",
            lambda at, length: np.clip(at, 0, length - 1),
            lambda _: None,
        ),
        Border(
            "circular",
            "the other side: b c | a b c",
            lambda at, length: at % length,
            lambda n: n,
        ),
    )
}


def check_border(mode: str, pads: Pads, size: Pair) -> None:
    """Raise CnnvizError when a mirror or wrap would reach past the image it copies from."""
    for axis, word in ((0, "rows"), (1, "columns")):
        largest, reach = max(pads[axis], pads[axis + 2]), BORDERS[mode].reach(size[axis])
        if reach is not None and largest > reach:
            raise CnnvizError(
                f"{mode} padding of {largest} needs more than the {size[axis]} {word} there are",
                hint=f"it can pad {reach} at most here; replicate or zeros have no limit",
            )


def padded_band(
    x: Tensor,
    pads: Pads,
    start: int,
    stop: int,
    mode: str = "zeros",
    fill: float = 0.0,
    *,
    beyond: float = 0.0,
    hangs: int = 0,
) -> Tensor:
    """Return rows start … stop−1 of the padded tensor, without padding the rest.

    Parameters
    ----------
    x : Tensor
        (C, H, W).
    pads : Pads
        Top, left, bottom, right.
    start, stop : int
        Rows of the padded image: 0 is its first padded row. Rows past its last hold `beyond`.
    mode : str
        One of BORDERS.
    fill : float
        The value of constant padding.
    beyond : float
        The value past the padding, where windows of ceil mode reach.
    hangs : int
        How many columns of `beyond` follow on the right.

    Returns
    -------
    Tensor
        (C, stop − start, left + W + right + hangs); a view of `x` where nothing had to be added.
    """
    _, height, width = x.shape
    top, left, bottom, right = pads
    if top <= start and stop <= top + height and left == right == hangs == 0:
        return x[:, start - top : stop - top]
    band = np.empty((x.shape[0], stop - start, left + width + right + hangs), np.float32)
    source = BORDERS[mode].source
    rows = np.arange(start - top, min(stop - top, height + bottom))
    padded = band[:, : rows.size, : left + width + right]
    band[:, rows.size :] = beyond
    band[:, :, left + width + right :] = beyond
    if source is None:
        # Padding is one number: the image's own rows stand together in the middle.
        first, last = np.searchsorted(rows, (0, height))
        padded[...] = fill
        real = slice(int(rows[first]), int(rows[last - 1]) + 1) if first < last else slice(0)
        padded[:, first:last, left : left + width] = x[:, real]
    else:
        padded[:, :, left : left + width] = x[:, source(rows, height)]
        for columns in (np.arange(-left, 0), np.arange(width, width + right)):
            padded[:, :, left + columns] = padded[:, :, left + source(columns, width)]
    return band
