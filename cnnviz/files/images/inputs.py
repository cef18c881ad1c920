"""What a command is given: the images in folders, and the names of their output folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from cnnviz.errors import CnnvizError
from cnnviz.files.matrices import SUFFIXES

_UNLOADABLE = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "WMF"})  # Pillow knows only their names


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


def _folder_character(character: str) -> str:
    return character if character.isprintable() and character not in '<>:"/\\|?*' else "_"
