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
    image = Image.open(stream)
    _check_size(name, image.size, limit)
    _mend_transparency(image)
    with _silent_libtiff() if image.format == "TIFF" else nullcontext():
        image.load()
    _check_size(name, image.size, limit)
    return image


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; EXIF that cannot be read says nothing."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        turn = _UPRIGHT.get(orientation)
    except _DAMAGE:
        turn = None
    return image if turn is None else image.transpose(turn)


def _mend_transparency(image: ImageFile.ImageFile) -> None:
    """Bring a PNG's transparent value to the 8 bits that Pillow widens or narrows samples to."""
    value = image.info.get("transparency")
    if image.format == "PNG" and image.tile and not isinstance(value, bytes | None):
        widen = {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
        if isinstance(value, int):
            image.info["transparency"] = value * widen
        elif image.tile[0].args == "RGB;16B":
            image.info["transparency"] = tuple(sample >> 8 for sample in value)


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
