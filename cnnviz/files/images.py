"""Pictures to tensors, and pictures to PNG bytes.

Any image Pillow opens becomes a float32 tensor (C, H, W): the first frame, turned as its EXIF
orientation says. What a stored sample becomes, by Pillow's mode:

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

``color="gray"`` is Pillow's ``L`` (ITU-R 601 luma, rounded to 8 bits); ``"rgb"`` of a gray image
is three equal planes. Then ``resize`` resamples with Pillow's antialiased bilinear filter (as
torchvision does): 8-bit pictures in 8 bits, all others as floats. ``mean`` and ``std`` come last.
``raw`` leaves out the division.
"""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageFile, PngImagePlugin, UnidentifiedImageError

from cnnviz.core.types import Pair, Tensor
from cnnviz.errors import CnnvizError, RequestError, unknown
from cnnviz.files.matrices import (
    SUFFIXES,
    display_name,
    file_error,
    is_matrix,
    matrix_to_tensor,
    open_file,
    read_matrix,
)

_COLORS = ("gray", "rgb")
_UNLOADABLE = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "WMF"})  # Pillow knows only their names

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags

_PNG_LEVEL = 4  # on feature maps within 10 % of level 9, many times faster

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
            _check_resize(self.resize, _pixel_limit(self))
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


_DEFAULTS = InputOptions()


def expand_inputs(arguments: Sequence[str]) -> list[str]:
    """Replace every folder by the images in it, sorted by name.

    Hidden files, number matrices and sub-folders are left out. Files are passed on unread, so
    a missing one is reported when it is loaded; ``-`` is kept.

    Raises
    ------
    CnnvizError
        If a folder holds no image, or cannot be listed.
    """
    return [path for argument in arguments for path in _expand(argument)]


def load_image(source: str, options: InputOptions = _DEFAULTS) -> Tensor:
    """Load a picture or number matrix by the rules at the top of this module.

    Parameters
    ----------
    source : str
        An image file, a ``.csv``, ``.txt`` or ``.npy`` matrix, or ``-`` for either of them on
        standard input.
    options : InputOptions
        How it becomes a tensor. ``color``, ``raw`` and ``background`` do not concern matrices.

    Returns
    -------
    Tensor
        (C, H, W) float32, contiguous.

    Raises
    ------
    CnnvizError
        If it cannot be read, is too large, or ``mean`` and ``std`` do not fit its channels.
    """
    limit = _pixel_limit(options)
    data = _read_stdin(limit) if source == "-" else None
    if is_matrix(source, data):
        matrix = read_matrix(source, data, max_pixels=options.max_pixels)
        tensor = _resize_planes(matrix_to_tensor(matrix, source), options.resize)
    else:
        tensor = _load_picture(source, data, options, limit)
    return _normalise(tensor, options, source)


def stem(source: str) -> str:
    """Name the output folder of an input.

    Examples
    --------
    >>> stem("photos/cat.jpg"), stem("-"), stem("..")
    ('cat', 'stdin', 'image')
    """
    if source == "-":
        return "stdin"
    name = Path(source).stem.rstrip(". ")  # Windows drops these
    return "".join(_folder_character(character) for character in name) or "image"


def png_bytes(image: Image.Image, text: Mapping[str, str]) -> bytes:
    """Encode a picture as PNG with text metadata; the same input gives the same bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture. An indexed one stays indexed, its palette reduced to the entries in use.
    text : Mapping[str, str]
        Keywords and values, written in this order: Latin-1 as tEXt, the rest as iTXt.

    Returns
    -------
    bytes
        The file, without a time.
    """
    metadata = PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        metadata.add_text(keyword, value)
    if image.mode == "P":
        image = _reduce_palette(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=metadata, compress_level=_PNG_LEVEL, icc_profile=None)
    return buffer.getvalue()


# Finding and reading


def _expand(argument: str) -> list[str]:
    try:
        if not argument or not Path(argument).is_dir():
            return [argument]
    except OSError:  # no way to tell: loading it will say why
        return [argument]
    try:
        names = sorted(entry.name for entry in Path(argument).iterdir() if entry.is_file())
    except OSError as error:
        raise CnnvizError(
            f"{argument}: the folder cannot be read: {error.strerror}", hint="allow reading it"
        ) from error
    endings = _image_endings()
    images = [
        str(Path(argument, name))
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in endings
    ]
    if not images:
        raise CnnvizError(
            f"{argument}: no images in this folder",
            hint="number matrices in it are left out: name them one by one",
        )
    return images


def _image_endings() -> frozenset[str]:
    """List the file endings, in small letters, of the formats that Pillow can load."""
    loadable = Image.registered_extensions().items()
    return frozenset(
        ending for ending, kind in loadable if kind in Image.OPEN and kind not in _UNLOADABLE
    ).difference(SUFFIXES)


def _pixel_limit(options: InputOptions) -> int | None:
    return Image.MAX_IMAGE_PIXELS if options.max_pixels is None else options.max_pixels


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


# Decoding


def _load_picture(
    source: str, data: bytes | None, options: InputOptions, limit: int | None
) -> Tensor:
    name = display_name(source)
    with _open(source, data, limit) as stream, _pillow(name, limit):
        image = Image.open(stream)
        _check_size(name, image.size, limit)
        _mend_transparency(image)
        with _silent_libtiff() if image.format == "TIFF" else nullcontext():
            image.load()
        _check_size(name, image.size, limit)
        depth = _depth(image)
        return _to_tensor(_upright(image), depth, options)


@contextmanager
def _pillow(name: str, limit: int | None) -> Iterator[None]:
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


def _upright(image: Image.Image) -> Image.Image:
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


class _Depth(NamedTuple):
    """How to read the samples of an image whose mode alone does not make them 0..255."""

    largest: int | None  # None: floats, kept as they are
    dtype: type[np.generic] | None = None  # the samples' own, if Pillow gives another
    inverted: bool = False


def _depth(image: Image.Image) -> _Depth | None:
    """Tell from format and tags what samples are; None for 8-bit pictures."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})  # only TIFF has them
    bits, signed = tags.get(_BITS, (8,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
    if image.mode == "F":
        return _Depth(None)
    if image.mode.startswith("I;16"):
        return _Depth(4095 if bits == 12 else 65535, inverted=tags.get(_PHOTOMETRIC) == 0)
    if image.mode == "I" and tags:
        return _Depth(2 ** (bits - 1) - 1) if signed else _Depth(2**32 - 1, np.uint32)
    if image.mode == "I":
        return _Depth(65535 if image.format in {"PNG", "PPM"} else 2**31 - 1)
    if image.mode == "L" and signed:
        return _Depth(127, np.int8)
    return None


def _to_tensor(image: Image.Image, depth: _Depth | None, options: InputOptions) -> Tensor:
    planes = 3 if options.color == "rgb" else 1
    if depth is None:
        picture = _flatten(image, options)
        if options.resize is not None:
            picture = picture.resize(options.resize[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)
        return _scale(np.atleast_3d(pixels).transpose(2, 0, 1), None if options.raw else 255)
    samples = _gray_samples(image, depth, options.background_rgb)[np.newaxis]
    gray = _resize_planes(_scale(samples, None if options.raw else depth.largest), options.resize)
    return np.repeat(gray, planes, axis=0)


def _flatten(image: Image.Image, options: InputOptions) -> Image.Image:
    """Composite an 8-bit picture over the background and make it gray or RGB."""
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, options.background_rgb)
        canvas.paste(image, mask=image)
        image = canvas
    elif image.mode == "LAB":
        image = image.convert("RGB")
    return image.convert("RGB" if options.color == "rgb" else "L")


def _gray_samples(
    image: Image.Image, depth: _Depth, background: tuple[int, int, int]
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


def _resize_planes(tensor: Tensor, size: Pair | None) -> Tensor:
    """Resample planes of floats as Pillow resamples pictures."""
    if size is None:
        return tensor
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))
        for plane in tensor
    ]
    return np.stack(planes)


def _normalise(tensor: Tensor, options: InputOptions, source: str) -> Tensor:
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


# Checks and small parts


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


def _folder_character(character: str) -> str:
    return character if character.isprintable() and character not in '<>:"/\\|?*' else "_"


def _reduce_palette(image: Image.Image) -> Image.Image:
    """Keep the palette's entries in use, in their order, so that small maps are small files."""
    used = [index for index, count in enumerate(image.histogram()) if count]
    palette = image.getpalette("RGB") or []
    entries = [palette[3 * index : 3 * index + 3] or [0, 0, 0] for index in used]
    new_index = dict(zip(used, range(len(used)), strict=True))
    reduced = image.point([new_index.get(index, 0) for index in range(256)])
    reduced.putpalette([level for entry in entries for level in entry])
    alpha = reduced.info.pop("transparency", None)  # an index, or an alpha for each
    if isinstance(alpha, bytes):
        reduced.info["transparency"] = bytes((alpha + b"\xff" * 256)[index] for index in used)
    elif alpha in new_index:
        reduced.info["transparency"] = new_index[alpha]
    return reduced
