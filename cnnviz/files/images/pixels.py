"""Decoded images to numbers: modes and depths, transparency, gray, size, mean and deviation.

What a stored sample becomes, by Pillow's mode:

=================  ==============================================  ========================
mode               meaning                                         largest value, divided by
=================  ==============================================  ========================
1, L               black and white, gray; 1, 2 and 4 bits are      255
                   widened to 8 (black 0, white 255)
P                  the palette's colours                           255
RGB, RGBX          colour; the X is padding and is dropped         255
YCbCr, HSV, CMYK   Pillow's conversion to RGB; gray of YCbCr is Y  255
LAB                through Pillow's LAB and sRGB profiles          255
LA, PA, RGBA, La,  composited over the background, in 8 bits, to   255
RGBa; tRNS chunks  the nearest level; *a* modes are unpremultiplied
I;16 (any order)   16-bit gray; a 12-bit TIFF has 12               65535; 4095
I                  from PNG and PPM: 16 bits                       65535
                   from TIFF: as its tags say, signed 16 bits,     32767,
                   signed 32 bits, unsigned 32 bits                2**31 - 1, 2**32 - 1
                   from elsewhere: signed 32 bits                  2**31 - 1
F                  float: the values are kept                      nothing
=================  ==============================================  ========================

The depth comes from the file's format and tags, never from its pixels. A signed 8-bit TIFF is
divided by 127, and a gray TIFF of 12 or 16 bits whose tag says that white is zero is inverted.
Pillow reads 16-bit *colour*, and 16-bit gray with an alpha channel, as 8 bits: so do we.

``color="gray"`` is ITU-R 601 luma, rounded to 8 bits: Pillow's ``L``, and of a JPEG the luma it
stores, as OpenCV reads it too. (By way of RGB, where colours beyond its range are clipped, it
would differ by at most 7 of 255 levels, 0.01 in the mean, in our sample photographs; more, up to
40, only in synthetic patterns of saturated colours.) ``"rgb"`` of a gray image is three equal
planes. Then ``resize`` resamples with Pillow's antialiased bilinear filter (as torchvision does):
8-bit pictures in 8 bits, all others as floats. ``mean`` and ``std`` come last. ``raw`` leaves out
the division.

Pictures that are divided by 255, or not at all, stay bytes until somebody needs floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.types import Pair, Samples, Tensor
from cnnviz.errors import CnnvizError
from cnnviz.files.images.options import InputOptions
from cnnviz.files.matrices import display_name

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_BAND = 1 << 18  # pixels taken out of Pillow's memory at a time: they stay in the cache


class Depth(NamedTuple):
    """How to read the samples of an image whose mode alone does not make them 0..255."""

    largest: int | None  # None: floats, kept as they are
    dtype: type[np.generic] | None = None  # the samples' own, if Pillow gives another
    inverted: bool = False


def depth_of(image: Image.Image) -> Depth | None:
    """Tell from format and tags what samples are; None for 8-bit pictures."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})  # only TIFF has them
    bits, signed = tags.get(_BITS, (8,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
    if image.mode == "F":
        return Depth(None)
    if image.mode.startswith("I;16"):
        return Depth(4095 if bits == 12 else 65535, inverted=tags.get(_PHOTOMETRIC) == 0)
    if image.mode == "I" and tags:
        return Depth(2 ** (bits - 1) - 1) if signed else Depth(2**32 - 1, np.uint32)
    if image.mode == "I":
        return Depth(65535 if image.format in {"PNG", "PPM"} else 2**31 - 1)
    if image.mode == "L" and signed:
        return Depth(127, np.int8)
    return None


def to_pixels(image: Image.Image, depth: Depth | None, options: InputOptions) -> Tensor | Samples:
    """Return a decoded image as (C, H, W): gray or RGB, resized, and divided by its depth.

    An 8-bit picture is returned as its samples.
    """
    planes = 3 if options.color == "rgb" else 1
    if depth is None:
        picture = _flatten(image, options)
        if options.resize is not None:
            picture = picture.resize(options.resize[::-1], Image.Resampling.BILINEAR)
        return Samples(_planes(picture, planes), 1.0 if options.raw else 255.0)
    samples = _gray_samples(image, depth, options.background_rgb)[np.newaxis]
    gray = resize_planes(_scale(samples, None if options.raw else depth.largest), options.resize)
    return np.repeat(gray, planes, axis=0)


def _planes(picture: Image.Image, count: int) -> NDArray[np.uint8]:
    """Return a gray or RGB picture as `count` planes of bytes, contiguous."""
    width, height = picture.size
    planes = np.empty((count, height, width), np.uint8)
    names = "RGB" if picture.mode == "RGB" else "L" * count
    step = max(1, _BAND // width)  # several times faster than all rows at once
    for top in range(0, height, step):
        part = picture.crop((0, top, width, min(top + step, height)))
        for plane, name in zip(planes[:, top : top + part.height], names, strict=True):
            plane[...] = np.frombuffer(part.tobytes("raw", name), np.uint8).reshape(plane.shape)
    return planes


def _flatten(image: Image.Image, options: InputOptions) -> Image.Image:
    """Composite an 8-bit picture over the background and make it RGB, or gray if it may be."""
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, options.background_rgb)
        canvas.paste(image, mask=image)
        image = canvas
    elif image.mode == "LAB":
        image = image.convert("RGB")
    mode = "RGB" if options.color == "rgb" and image.mode not in {"1", "L"} else "L"
    return image if image.mode == mode else image.convert(mode)


def _gray_samples(
    image: Image.Image, depth: Depth, background: tuple[int, int, int]
) -> NDArray[Any]:
    """Read the samples of a gray image as they are stored: integers or floats."""
    samples = np.asarray(image)
    if depth.dtype is not None:
        samples = samples.view(depth.dtype)
    if depth.inverted and depth.largest is not None:
        samples = depth.largest - samples
    transparent = image.info.get("transparency")
    if depth.largest is not None and isinstance(transparent, int):
        luma = Image.new("RGB", (1, 1), background).convert("L").tobytes()[0]
        samples = np.where(samples == transparent, luma * depth.largest // 255, samples)
    return samples


def _scale(samples: NDArray[Any], largest: int | None) -> Tensor:
    """Divide samples by the largest value of their depth, in one step from their own type."""
    tensor = np.empty(samples.shape, dtype=np.float32)
    with np.errstate(invalid="ignore"):  # signalling NaNs in float images
        if largest is None:
            tensor[...] = samples
        else:
            exact = np.float32 if samples.dtype.itemsize <= 2 else np.float64
            np.divide(samples, largest, out=tensor, dtype=exact, casting="same_kind")
    return tensor


def resize_planes(tensor: Tensor, size: Pair | None) -> Tensor:
    """Resample planes of floats as Pillow resamples pictures."""
    if size is None:
        return tensor
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))
        for plane in tensor
    ]
    return np.stack(planes)


def normalise(tensor: Tensor, options: InputOptions, source: str) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel, in place."""
    for option, values, apply in (
        ("mean", options.mean, np.subtract),
        ("std", options.std, np.divide),
    ):
        if values is None:
            continue
        if len(values) not in {1, len(tensor)}:
            raise CnnvizError(
                f"{display_name(source)}: {option} has {len(values)} values, "
                f"the image has {len(tensor)} channel{'s' * (len(tensor) != 1)}",
                hint="give one value or one a channel; --color rgb has three",
            )
        with np.errstate(all="ignore"):  # NaN and infinities of the image stay what they are
            apply(tensor, np.asarray(values, dtype=np.float32).reshape(-1, 1, 1), out=tensor)
    return tensor
