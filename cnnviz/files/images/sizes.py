"""Resampling pictures and planes of floats to a size."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from cnnviz.core.types import Pair, Tensor
from cnnviz.files.preparation.sizes import Box


def resize(picture: Image.Image, size: Pair, box: Box | None = None) -> Image.Image:
    """Resample a picture, or a part of it, with Pillow's antialiased bilinear filter."""
    if box is None and size == picture.size[::-1]:
        return picture
    return picture.resize(size[::-1], Image.Resampling.BILINEAR, box)


def resize_planes(tensor: Tensor, size: Pair, box: Box | None = None) -> Tensor:
    """Resample planes of floats as Pillow resamples pictures."""
    if box is None and size == tensor.shape[1:]:
        return tensor
    planes: list[Any] = [resize(Image.fromarray(plane), size, box) for plane in tensor]
    return np.stack([np.asarray(plane) for plane in planes])
