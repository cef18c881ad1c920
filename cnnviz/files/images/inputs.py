"""What a command is given: images in folders, how each becomes a tensor, what its folder is called.

All of it is checked before any image is opened.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from cnnviz.core.types import Pair
from cnnviz.errors import CnnvizError, RequestError, unknown
from cnnviz.files.matrices import SUFFIXES
from cnnviz.files.preparation import COLORS, FITS, INVERSIONS
from cnnviz.files.samples import PREFIX, named

_DEVICE = re.compile(r"(?i)^(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])(?= *(\.|$))")  # to Windows

_UNLOADABLE = frozenset(
    {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
)  # of these Pillow has only the names


@dataclass(frozen=True)
class InputOptions:
    """How a picture becomes a tensor.

    Attributes
    ----------
    color : str
        ``gray`` (luma), ``rgb`` or ``bgr`` (three planes in this order); number matrices stay as
        they are.
    resize : Pair, optional
        (rows, columns) to resample to. With ``crop``: the size to cover, proportions kept.
    crop : Pair, optional
        (rows, columns) to cut out of the middle, after scaling the picture so that it just covers
        them (or ``resize``, if given).
    fit : str
        The name of one of `FITS`, which finds what the picture shows; ``none`` for none.
    invert : str
        ``always``, ``never``, or ``auto``: make a dark drawing on a light ground light on dark.
    input_range : float, optional
        What white is, 1 if not given: models of OpenCV and Caffe want 255. It does not concern
        what keeps its values: float images and number matrices.
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
    crop: Pair | None = None
    fit: str = "none"
    invert: str = "never"
    input_range: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    raw: bool = False
    background: str = "white"
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        """Reject what is wrong whatever the image."""
        for option, value, choices in (
            ("color", self.color, tuple(COLORS)),
            ("fit", self.fit, ("none", *FITS)),
            ("invert", self.invert, INVERSIONS),
        ):
            if value not in choices:
                raise unknown(option, value, choices)
        if self.max_pixels is not None and self.max_pixels < 1:
            raise RequestError(f"max pixels {self.max_pixels}: must be 1 or more")
        self._check_size()
        if self.input_range is not None:
            _check_range(self.input_range, raw=self.raw)
        for option, values in (("mean", self.mean), ("std", self.std)):
            if values is not None:
                _check_statistic(option, values)
        _ = self.background_rgb

    def _check_size(self) -> None:
        for option, size in (("resize", self.resize), ("crop", self.crop)):
            if size is None:
                continue
            _check_pair(option, size, pixel_limit(self))
            if self.fit != "none":
                raise RequestError(
                    f"fit {self.fit} makes its own size: {option} cannot be given beside it",
                    hint=f"leave out one of them, or say --fit none --{option} {_by(size)}",
                )
        if self.resize and self.crop and any(map(int.__lt__, self.resize, self.crop)):
            raise RequestError(
                f"crop {_by(self.crop)} does not lie within resize {_by(self.resize)}",
                hint="give a smaller --crop or a larger --resize",
            )

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


def _check_pair(option: str, size: Pair, limit: int | None) -> None:
    rows, columns = size
    if rows < 1 or columns < 1:
        raise RequestError(
            f"{option} {_by(size)}: rows and columns must be 1 or more",
            hint=f"for example --{option} 224x224",
        )
    if limit is not None and rows * columns > limit:
        raise RequestError(
            f"{option} {_by(size)}: {rows * columns:,} pixels, the limit is {limit:,}",
            hint="--max-pixels N raises it",
        )


def _check_range(white: float, *, raw: bool) -> None:
    if not (isfinite(white) and 1e-30 <= white <= 1e30):
        raise RequestError(
            f"input range {white:g}: white must be positive, and no more than float32 holds",
            hint="1 and 255 are usual",
        )
    if raw:
        raise RequestError(
            f"raw keeps the stored integers: input range {white:g} cannot be given beside it",
            hint="8-bit pictures are the same with --input-range 255; leave out one of them",
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


def _by(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


def expand_inputs(arguments: Sequence[str]) -> list[str]:
    """Replace every folder by the images in it, sorted by name.

    Hidden files, number matrices and sub-folders are left out. Files are passed on unread, so
    a missing one is reported when it is loaded; ``-`` and ``sample:NAME`` are kept.

    Raises
    ------
    RequestError
        If there is no sample of a name.
    CnnvizError
        If a folder holds no image, or cannot be listed.
    """
    return [path for argument in arguments for path in _expand(named(argument))]


def _expand(argument: str) -> list[str]:
    try:
        if not argument or not Path(argument).is_dir():
            return [argument]
    except OSError:  # loading it will say why
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


def stem(source: str) -> str:
    """Name the output folder of an input.

    Examples
    --------
    >>> stem("photos/cat.jpg"), stem("-"), stem(".."), stem("sample:chelsea"), stem("con.png")
    ('cat', 'stdin', 'image', 'chelsea', 'con_')
    """
    if source == "-":
        return "stdin"
    name = Path(source.removeprefix(PREFIX)).stem.rstrip(". ")  # Windows drops these
    name = _DEVICE.sub(r"\1_", name)
    return "".join(_folder_character(character) for character in name) or "image"


def _folder_character(character: str) -> str:
    return character if character.isprintable() and character not in '<>:"/\\|?*' else "_"


def unique_stems(stems: Sequence[str]) -> list[str]:
    """Make equal stems different by -2, -3, …; the first keeps its name.

    Stems that differ only in case or in Unicode composition count as equal, for file systems
    may hold them so. A number that another image already carries is passed over.

    >>> unique_stems(["cat", "dog", "cat", "Cat", "cat-2"])
    ['cat', 'dog', 'cat-3', 'Cat-4', 'cat-2']
    """
    taken = {_folded(stem) for stem in stems}
    seen: dict[str, int] = {}  # folded stem -> the last number given
    unique = []
    for stem in stems:
        key = _folded(stem)
        number = seen.get(key, 0) + 1
        name = stem
        if number > 1:
            while _folded(name := f"{stem}-{number}") in taken:
                number += 1
            taken.add(_folded(name))
        seen[key] = number
        unique.append(name)
    return unique


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
