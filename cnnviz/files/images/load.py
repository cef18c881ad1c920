"""From a file, a pipe or standard input to a tensor."""

from __future__ import annotations

import io
import sys
from typing import BinaryIO

from cnnviz.core.types import Samples, Tensor
from cnnviz.errors import CnnvizError
from cnnviz.files.images.decode import decode, guarded, upright
from cnnviz.files.images.options import InputOptions, pixel_limit
from cnnviz.files.images.pixels import depth_of, normalise, place_planes, to_pixels
from cnnviz.files.images.sizes import resize_planes
from cnnviz.files.matrices import (
    display_name,
    file_error,
    is_matrix,
    matrix_to_tensor,
    open_file,
    read_matrix,
)
from cnnviz.files.preparation import FITS

_DEFAULTS = InputOptions()


def load_image(source: str, options: InputOptions = _DEFAULTS) -> Tensor:
    """Load a picture or number matrix by the rules at the top of `cnnviz.files.images.pixels`.

    Parameters
    ----------
    source : str
        An image file, a ``.csv``, ``.txt`` or ``.npy`` matrix, or ``-`` for either of them on
        standard input.
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
        image = decode(stream, name, limit, gray=options.color == "gray")
        depth = depth_of(image)  # which a turned image no longer tells
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
