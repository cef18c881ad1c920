"""Pillow on files that are not trusted: its limits, its many errors, what it prints."""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import reduce
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from cnnviz.errors import CnnvizError

_UPRIGHT = {  # EXIF orientation -> what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow's fifty parsers raise on files that are not what they claim. It documents OSError,
# but a wrong length or offset also surfaces as whatever Python made of it.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    BufferError,
    struct.error,
    zlib.error,
)

_BITS, _SAMPLE_FORMAT = 258, 339  # TIFF tags
_ONE_AT_A_TIME = threading.RLock()  # Pillow's pixel limit and Python's warnings are global
logging.getLogger("PIL").addHandler(logging.NullHandler())  # it logs about damage to stderr


@contextmanager
def guarded(name: str, limit: int | None) -> Iterator[None]:
    """Run Pillow on an untrusted file: errors become one kind, warnings and its limit stay here."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = limit
        try:
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            pixels = re.search(r"[0-9]+", str(error))
            found = f"{int(pixels[0]):,} pixels" if pixels else "too many pixels"
            raise _too_large(name, found, limit) from error
        except UnidentifiedImageError as error:
            raise CnnvizError(
                f"{name}: is not an image that can be read",
                hint="convert it to PNG or TIFF; number matrices end in .csv, .txt or .npy",
            ) from error
        except MemoryError as error:
            raise CnnvizError(f"{name}: does not fit in memory", hint="make it smaller") from error
        except _DAMAGE as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise CnnvizError(
                f"{name}: cannot be decoded: {reason}",
                hint="the file may be damaged or of a rare kind: save it again, as PNG if possible",
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS = before


def decode(stream: BinaryIO, name: str, limit: int | None) -> ImageFile.ImageFile:
    """Read an image's first frame, `guarded`: it has pixels, and not more than `limit`."""
    try:
        image = Image.open(stream)
    except UnidentifiedImageError:
        _refuse_float_tiff(stream, name)
        raise
    _check_size(name, image.size, limit)
    key = _transparent_value(image)
    with _silent_libtiff() if image.format == "TIFF" else nullcontext():
        image.load()
    _check_size(name, image.size, limit)
    if key is not None:
        image.putalpha(_unlike(key, image, stream))
    return image


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; EXIF that cannot be read says nothing."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        turn = _UPRIGHT.get(orientation)
    except _DAMAGE:
        turn = None
    return image if turn is None else image.transpose(turn)


def _transparent_value(image: ImageFile.ImageFile) -> tuple[int, ...] | None:
    """Bring a PNG's transparent value to the 8 bits that Pillow widens fewer to.

    That of 16-bit colour is taken from the picture and returned: 8 bits do not tell it.
    """
    value = image.info.get("transparency")
    if image.format == "PNG" and image.tile and not isinstance(value, bytes | None):
        widen = {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
        if isinstance(value, int):
            image.info["transparency"] = value * widen
        elif image.tile[0].args == "RGB;16B":
            del image.info["transparency"]
            return tuple(value)
    return None


def _unlike(key: tuple[int, ...], image: Image.Image, stream: BinaryIO) -> Image.Image:
    """Return the opacity, 0 or 255, of 16-bit colour: pixels like the `key` are transparent.

    Pillow keeps the high bytes. Read again as if the low ones came last, it keeps those.
    """
    from PIL import ImageChops

    stream.seek(0)
    low = Image.open(stream)
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]
    low.load()
    planes = (*image.split(), *low.split())
    levels = (*(sample >> 8 for sample in key), *(sample & 255 for sample in key))
    unlike = [
        plane.point([255 * (one != level) for one in range(256)])
        for plane, level in zip(planes, levels, strict=True)
    ]
    return reduce(ImageChops.lighter, unlike)


def _refuse_float_tiff(stream: BinaryIO, name: str) -> None:
    """Raise CnnvizError if what Pillow does not know is a TIFF of floats of another kind."""
    from PIL import TiffImagePlugin

    stream.seek(0)
    head = stream.read(8)
    if not head.startswith((b"II*\0", b"MM\0*")):
        return
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    stream.seek(tags.next)
    tags.load(stream)
    bits = tags.get(_BITS, (1,))
    if tags.get(_SAMPLE_FORMAT, (1,))[0] == 3:
        kind = "gray" if len(bits) == 1 else f"{len(bits)} channels"
        raise CnnvizError(
            f"{name}: is a TIFF of {bits[0]}-bit floats, {kind}; of floats Pillow reads gray of 32",
            hint="save its numbers as .npy: "
            "numpy.save('photo.npy', tifffile.imread('photo.tif').astype('float32'))",
        )


@contextmanager
def _silent_libtiff() -> Iterator[None]:
    """Keep libtiff, which prints about damage past Python, from the standard error stream."""
    try:
        stderr = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _check_size(name: str, size: tuple[int, int], limit: int | None) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise CnnvizError(f"{name}: has no pixels ({height} × {width})", hint="save it again")
    if limit is not None and width * height > limit:
        raise _too_large(name, f"{height:,} × {width:,} = {width * height:,} pixels", limit)


def _too_large(name: str, found: str, limit: int | None) -> CnnvizError:
    return CnnvizError(
        f"{name}: {found}, the limit is {limit:,}",
        hint="if you trust the file, --max-pixels N raises it",
    )
