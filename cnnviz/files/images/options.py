"""How a picture is to become a tensor, checked before any is opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor

from cnnviz.core.types import Pair
from cnnviz.errors import RequestError, unknown

_COLORS = ("gray", "rgb")


@dataclass(frozen=True)
class InputOptions:
    """How a picture becomes a tensor.

    Attributes
    ----------
    color : str
        ``gray`` (luma) or ``rgb`` (three planes); number matrices stay as they are.
    resize : Pair, optional
        (rows, columns) to resample to.
    mean, std : tuple of float, optional
        One value, or one a channel: ``(x - mean) / std``, last of all.
    raw : bool
        Keep the stored integers.
    background : str
        What shows through transparent pixels: any Pillow colour.
    max_pixels : int, optional
        The largest image accepted; Pillow's ``Image.MAX_IMAGE_PIXELS`` if not given.
    """

    color: str = "gray"
    resize: Pair | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    raw: bool = False
    background: str = "white"
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        """Reject what is wrong whatever the image."""
        if self.color not in _COLORS:
            raise unknown("color", self.color, _COLORS)
        if self.max_pixels is not None and self.max_pixels < 1:
            raise RequestError(f"max pixels {self.max_pixels}: must be 1 or more")
        if self.resize is not None:
            _check_resize(self.resize, pixel_limit(self))
        for option, values in (("mean", self.mean), ("std", self.std)):
            if values is not None:
                _check_statistic(option, values)
        _ = self.background_rgb

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """The background's red, green and blue; its own alpha, if any, is not used."""
        try:
            return ImageColor.getrgb(self.background)[:3]
        except ValueError as error:
            raise RequestError(
                f"unknown background colour {self.background!r}",
                hint="give a name such as white, or #rrggbb, or rgb(255, 128, 0)",
            ) from error


def pixel_limit(options: InputOptions) -> int | None:
    """Return the largest number of pixels accepted; None for no limit."""
    return Image.MAX_IMAGE_PIXELS if options.max_pixels is None else options.max_pixels


def _check_resize(size: Pair, limit: int | None) -> None:
    rows, columns = size
    if rows < 1 or columns < 1:
        raise RequestError(
            f"resize {rows}x{columns}: rows and columns must be 1 or more",
            hint="for example --resize 224x224",
        )
    if limit is not None and rows * columns > limit:
        raise RequestError(
            f"resize {rows}x{columns}: {rows * columns:,} pixels, the limit is {limit:,}",
            hint="--max-pixels N raises it",
        )


def _check_statistic(option: str, values: tuple[float, ...]) -> None:
    """Require finite numbers, not zero for std, also once they are float32."""
    with np.errstate(all="ignore"):
        rounded = np.asarray(values, dtype=np.float32)
    if not values or not np.isfinite(rounded).all():
        raise RequestError(
            f"{option} {_listed(values)}: must be finite numbers", hint="one, or one a channel"
        )
    if option == "std" and not rounded.all():
        raise RequestError(
            f"std {_listed(values)}: a channel cannot be divided by 0", hint="use 1 to leave it"
        )


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "()"
