"""From a file, a pipe or standard input to a tensor.

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
divided by 127, and a gray TIFF of 12 or 16 bits with the tag that white is zero is inverted.
Pillow reads 16-bit *colour*, and 16-bit gray with an alpha channel, as 8 bits: so do we.

``color="gray"`` is ITU-R 601 luma of RGB, rounded to 8 bits: Pillow's ``L``. (The luma that a JPEG
stores, which Pillow's draft mode and OpenCV read in half the time, differs from it where colours
lie beyond RGB, by up to 48 of 255 levels in real photographs.) ``"rgb"`` of a gray image is three
equal planes; ``"bgr"`` is its planes from blue to red. Then ``resize`` resamples with Pillow's
antialiased bilinear filter (as torchvision does): 8-bit pictures in 8 bits, all others as floats.
``crop`` scales so that the picture covers, and cuts out the middle. Then come ``invert``, ``fit``,
``input_range`` (which divides by a smaller number) and last ``mean`` and ``std``. ``raw`` leaves
out the division.

Pictures that are divided by 255, or not at all, stay bytes until floats are needed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.types import Pair, Samples, Tensor
from cnnviz.errors import CnnvizError
from cnnviz.files.images.decoding import decode, guarded, upright
from cnnviz.files.images.inputs import InputOptions, pixel_limit
from cnnviz.files.matrices import (
    display_name,
    file_error,
    is_matrix,
    matrix_to_tensor,
    open_file,
    read_matrix,
)
from cnnviz.files.preparation import COLORS, FITS, Box, inverted, middle, within

_DEFAULTS = InputOptions()
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_BAND = 1 << 18  # pixels taken out of Pillow's memory at a time: they stay in the cache


def load_image(source: str, options: InputOptions = _DEFAULTS) -> Tensor:
    """Load a picture or number matrix by the rules at the top of this file.

    Parameters
    ----------
    source : str
        An image file, a ``.csv``, ``.txt`` or ``.npy`` matrix, ``sample:NAME``, or ``-`` for a
        picture or matrix on standard input.
    options : InputOptions
        How it becomes a tensor. ``color``, ``raw``, ``background`` and, without ``fit``,
        ``input_range`` do not concern matrices.

    Returns
    -------
    Tensor
        (C, H, W) float32, contiguous.

    Raises
    ------
    CnnvizError
        If it cannot be read, is too large, or ``mean`` and ``std`` do not fit its channels.
    """
    return _as_tensor(load_pixels(source, options), source)


def load_pixels(source: str, options: InputOptions = _DEFAULTS) -> Tensor | Samples:
    """Load as `load_image` does, but keep an 8-bit picture as the bytes it is made of.

    Parameters
    ----------
    source : str
        As for `load_image`.
    options : InputOptions
        As for `load_image`.

    Returns
    -------
    Samples
        Of a picture of 8 bits: its bytes (C, H, W), contiguous, with unit 255 (255 divided by
        ``input_range``), or with ``raw`` 1. Its `tensor` is what `load_image` returns.
    Tensor
        Of everything else (deeper than 8 bits, signed, floats, matrices), and with ``fit``,
        ``mean`` or ``std``: (C, H, W) float32, contiguous.

    Raises
    ------
    CnnvizError
        As `load_image`.
    """
    limit = pixel_limit(options)
    data = _read_stdin(limit) if source == "-" else None
    pixels: Tensor | Samples
    if is_matrix(source, data):
        matrix = read_matrix(source, data, max_pixels=options.max_pixels)
        pixels = place_planes(matrix_to_tensor(matrix, source), options)
    else:
        pixels = _load_picture(source, data, options, limit)
    if options.fit != "none":
        pixels = FITS[options.fit].run(_as_tensor(pixels, source), resize_planes)
        pixels *= options.input_range or 1.0
    if options.mean is None and options.std is None:
        return pixels
    return normalise(_as_tensor(pixels, source), options, source)


def _load_picture(
    source: str, data: bytes | None, options: InputOptions, limit: int | None
) -> Tensor | Samples:
    name = display_name(source)
    with _open(source, data, limit) as stream, guarded(name, limit):
        image = decode(stream, name, limit)
        depth = depth_of(image)  # which a turned image no longer has
        return to_pixels(upright(image), depth, options)


def _as_tensor(pixels: Tensor | Samples, source: str) -> Tensor:
    if not isinstance(pixels, Samples):
        return pixels
    with guarded(display_name(source), None):  # four times the memory
        return pixels.tensor()


def _read_stdin(limit: int | None) -> bytes:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise CnnvizError("standard input is closed", hint="pipe an image into it, or name a file")
    try:
        data = _read_bounded(stream, "-", limit)
    except (OSError, ValueError) as error:  # ValueError: it was closed
        raise CnnvizError(f"standard input: cannot be read: {error}", hint="name a file") from error
    if not data:
        raise CnnvizError(
            "standard input: is empty", hint="pipe an image into it; '-' can be given once"
        )
    return data


def _open(source: str, data: bytes | None, limit: int | None) -> BinaryIO:
    """Open something that can seek and is not empty."""
    try:
        stream: BinaryIO = open_file(source) if data is None else io.BytesIO(data)
        if not stream.seekable():  # a named pipe
            with stream:
                stream = io.BytesIO(_read_bounded(stream, source, limit))
        if not stream.read(1):
            stream.close()
            raise CnnvizError(f"{display_name(source)}: is empty", hint="save or copy it again")
        stream.seek(0)
    except OSError as error:
        raise file_error(source, error) from error
    return stream


def _read_bounded(stream: BinaryIO, source: str, limit: int | None) -> bytes:
    """Read a pipe, but not more than an uncompressed image of `limit` pixels could need."""
    if limit is None:
        return stream.read()
    longest = 2**20 + 16 * limit
    data = stream.read(longest + 1)
    if len(data) > longest:
        raise CnnvizError(
            f"{display_name(source)}: more than {longest:,} bytes, too many for {limit:,} pixels",
            hint="--max-pixels N raises the limit",
        )
    return data


# --- modes, depths and planes -------------------------------------------------------------------


class Depth(NamedTuple):
    """How to read the samples of an image that its mode alone does not make 0..255."""

    largest: int | None  # None: floats, kept as they are
    dtype: type[np.generic] | None = None  # the samples' own, if Pillow gives another
    inverted: bool = False


def depth_of(image: Image.Image) -> Depth | None:
    """Return what samples are by format and tags; None for 8-bit pictures."""
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
    """Return a decoded image as (C, H, W): its planes, placed, inverted, divided by its depth.

    An 8-bit picture is returned as its samples.
    """
    white = options.input_range or 1.0
    if depth is None:
        picture = resize(_flatten(image, options), *_placement(image.size[::-1], options))
        samples = inverted(_planes(picture, options.color), options.invert, 255)
        return Samples(samples, 1.0 if options.raw else 255 / white)
    samples = _gray_samples(image, depth, options.background_rgb)[np.newaxis]
    if depth.largest is None:
        placed = place_planes(_scale(samples, 1), options)
    else:
        unit = 1.0 if options.raw else depth.largest / white
        placed = place_planes(_scale(samples, unit), options, depth.largest / unit)
    return np.repeat(placed, len(COLORS[options.color]), axis=0)


def place_planes(tensor: Tensor, options: InputOptions, white: float | None = None) -> Tensor:
    """Resize, crop and invert planes of floats; `white` if they have a value for it."""
    placed = resize_planes(tensor, *_placement((tensor.shape[1], tensor.shape[2]), options))
    return inverted(placed, options.invert, white)


def _placement(size: Pair, options: InputOptions) -> tuple[Pair, Box | None]:
    """Return the size that a picture of `size` is given, and the part of it that is kept."""
    if options.fit != "none":
        longest = FITS[options.fit].longest
        return within(size, longest) if max(size) > longest else size, None
    if options.crop is not None:
        return options.crop, middle(size, options.resize or options.crop, options.crop)
    return options.resize or size, None


def _planes(picture: Image.Image, color: str) -> NDArray[np.uint8]:
    """Return a gray or RGB picture as the planes of a colour, bytes, contiguous."""
    width, height = picture.size
    names = [name[0].upper() if picture.mode == "RGB" else "L" for name in COLORS[color]]
    planes = np.empty((len(names), height, width), np.uint8)
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
    mode = "RGB" if options.color != "gray" and image.mode not in {"1", "L"} else "L"
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


def _scale(samples: NDArray[Any], unit: float) -> Tensor:
    """Divide samples by what stands for 1, in one step from their own type."""
    tensor = np.empty(samples.shape, dtype=np.float32)
    with np.errstate(invalid="ignore"):  # signalling NaNs in float images
        if unit == 1:
            tensor[...] = samples
        else:
            exact = np.float32 if samples.dtype.itemsize <= 2 else np.float64
            np.divide(samples, unit, out=tensor, dtype=exact, casting="same_kind")
    return tensor


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


# --- sizes --------------------------------------------------------------------------------------


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
