"""README and cnnviz/docs: their tables from the registries, their pictures from the commands.

``python -m tests.tour`` writes both anew; tests/test_docs.py checks that they are up to date, and
that every command prints what stands below it. What it reads in a document:

- ``<!-- table: NAME -->`` … ``<!-- end -->``: one of TABLES;
- a block of ``bash`` with commands of cnnviz, and in the lines after it ``<!-- picture: FILE -->``
  (what the commands write, and the document keeps as the picture below), ``<!-- prints: A; B -->``,
  ``<!-- exit: 1 -->``, ``<!-- slow -->`` and ``<!-- needs: PACKAGE -->``, then perhaps a block of
  ``text`` they print;
- ``<!-- add: FILE -->`` or ``<!-- add: FILE before LINE -->``: the block below it is an example of
  what to add to a file of the package.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
REFERENCE = sorted((ROOT / "cnnviz" / "docs").glob("*.md"))
DOCUMENTS = (README, *REFERENCE)

BLOCK = re.compile(
    r"```bash\n(?P<commands>(?:(?!```).)*)```"
    r"(?P<notes>(?:\n+<!-- (?:picture|prints|exit|slow|needs)[^\n]*-->"
    r"(?:\n!\[[^\]]*\]\([^)]+\))?)*)"
    r"(?:\n+```text\n(?P<shown>.*?)```)?",
    re.DOTALL,
)
TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
ADDITION = re.compile(r"<!-- add: (\S+)(?: before (.+?))? -->\n```(?:python)?\n(.*?)```", re.DOTALL)


# --- examples ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """One block of a document: its commands, what they print and the picture they make."""

    commands: tuple[str, ...]
    made: str | None  # relative to cnnviz-out, or with a leading / to the working folder
    kept: Path | None  # where the document keeps that picture
    prints: tuple[str, ...]
    exit_code: int
    slow: bool
    needs: str | None  # a package that may be missing

    def made_path(self, folder: Path) -> Path:
        """Return where the picture lies after the commands ran in `folder`."""
        assert self.made is not None
        return folder / self.made[1:] if self.made[0] == "/" else folder / "cnnviz-out" / self.made


def examples(document: Path) -> Iterator[Example]:
    """Yield the blocks that run cnnviz itself."""
    for block in BLOCK.finditer(document.read_text("utf-8")):
        lines = block["commands"].splitlines()
        commands = tuple(line for line in lines if line.startswith("cnnviz "))
        if not commands:
            continue
        notes = dict(re.findall(r"<!-- (\w+)(?:: (.*?))? -->", block["notes"]))
        kept = re.search(r"!\[[^\]]*\]\(([^)]+)\)", block["notes"])
        prints = notes["prints"].split("; ") if "prints" in notes else []
        yield Example(
            commands,
            notes.get("picture"),
            (document.parent / kept[1]).resolve() if kept else None,
            (*prints, *filter(None, (block["shown"] or "").splitlines())),
            int(notes.get("exit", 0)),
            "slow" in notes,
            notes.get("needs"),
        )


def run(command: str) -> int:
    """Run one command in this process, in the current folder, and return its exit code."""
    from cnnviz.cli import console
    from cnnviz.cli.app import app

    try:
        console.stdout.cache_clear()
        console.stderr.cache_clear()
        app(shlex.split(command)[1:], prog_name="cnnviz")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Stand in a new, empty folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


# --- tables --------------------------------------------------------------------------------------


def markdown(records: Sequence[Mapping[str, str]]) -> str:
    """Return a GitHub table of records with equal keys."""
    lines = [list(records[0]), *(list(record.values()) for record in records)]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|---" * len(lines[0]) + "|", *rows[1:]]) + "\n"


def answer(command: str) -> Any:
    """Return the JSON that a command prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run(f"{command} --format json") == 0, command
    return json.loads(printed.getvalue())


def layers() -> str:
    """Return a chapter for each family: each layer's formula, source and options."""
    from cnnviz.core.layers import FAMILIES, LAYERS

    cards = [answer(f"cnnviz layers {name}") for name in LAYERS]
    text = ""
    for family in FAMILIES:
        text += f"\n## {family.title()}\n"
        for card in cards:
            if card["family"] == family:
                names = " or ".join(f"`{name}`" for name in (card["layer"], *card["aliases"]))
                text += f"\n### {names}\n\n{card['summary'][0].upper()}{card['summary'][1:]}.\n\n"
                text += f"    {card['formula']}\n\n{card['source']}\n"
                options = [{**o, "default": o["default"] or "needed"} for o in card["options"]]
                text += "\n" + markdown(options) if options else ""
    return text + "\n"


def kernels() -> str:
    """Return the kernels by kind."""
    return markdown(answer("cnnviz kernels")["kernels"])


def kernel_options() -> str:
    """Return what the options of banks and families mean."""
    from cnnviz.cli.kernels import explained
    from cnnviz.core.kernels import KERNELS

    texts = []
    for entry in KERNELS.values():
        if entry.signature != entry.name:
            head, *options = explained(entry).replace("``", "`").splitlines()
            items = [re.sub(r"(\w+) : ([^:]+): ", r"- `\1` (\2): ", option) for option in options]
            texts.append("\n".join([f"**{head}**", "", *items]))
    return "\n" + "\n\n".join(texts) + "\n\n"


def pipelines() -> str:
    """Return the bundled networks with their sizes."""
    records = []
    for path in sorted((ROOT / "cnnviz" / "pipelines").glob("*.toml")):
        comment = re.match(r"(?:# .*\n)+", path.read_text("utf-8"))
        assert comment is not None, f"{path.name} begins with what it is and where from"
        about = " ".join(comment[0].replace("# ", "").split())
        sized = {"size", "crop", "fit"} & tomllib.loads(path.read_text("utf-8"))["input"].keys()
        made = answer(f"cnnviz shapes {path.stem}{'' if sized else ' --input 1x224x224'}")
        records.append(
            {
                "name": f"`{path.stem}`",
                "input": "×".join(map(str, made["input"]["shape"])),
                "parameters": f"{made['totals']['params']:,}",
                "multiply-adds": f"{made['totals']['mult_adds']:,}",
                "what it is": re.sub(r"[.:] [\d,]+ parameters(?: \([^)]*\))?\.?", ".", about),
            }
        )
    return markdown(records)


def borders() -> str:
    """Return the padding modes."""
    from cnnviz.core.border import BORDERS

    return markdown([{"mode": b.name, "beyond the edge": b.summary} for b in BORDERS.values()])


def columns() -> str:
    """Return the columns of a table of stages."""
    from cnnviz.view.columns import COLUMNS

    return markdown(
        [{"column": c.title, "key": key, "shows": c.help} for key, c in COLUMNS.items()]
    )


def colormaps() -> str:
    """Return the colour maps."""
    from cnnviz.view.colormaps import COLORMAPS

    return markdown(
        [{"name": c.name, "colours": c.summary, "source": c.source} for c in COLORMAPS.values()]
    )


def algorithms() -> str:
    """Return what computes convolutions and poolings, and how exactly."""
    from cnnviz.core.engine import ALGORITHMS, POOL_ALGORITHMS

    return markdown(
        [
            {
                "algorithm": each.name,
                "of": operation,
                "how": each.summary,
                "error": f"{each.error:.1g}{' ¹' if each.shares_rounding else ''}",
            }
            for operation, table in (("convolution", ALGORITHMS), ("pooling", POOL_ALGORITHMS))
            for each in table.values()
        ]
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "layers": layers,
    "kernels": kernels,
    "kernel-options": kernel_options,
    "pipelines": pipelines,
    "borders": borders,
    "columns": columns,
    "colormaps": colormaps,
    "algorithms": algorithms,
}


def with_tables(text: str) -> str:
    """Return a document's text with its tables made anew."""
    return TABLE.sub(lambda found: found[1] + TABLES[found[2]]() + found[4], text)


# --- writing -------------------------------------------------------------------------------------


def remake() -> None:
    """Write the tables and pictures of all documents."""
    for document in DOCUMENTS:
        document.write_text(with_tables(document.read_text("utf-8")), "utf-8")
    with working_folder() as folder:
        for example in (e for document in DOCUMENTS for e in examples(document) if e.kept):
            for command in example.commands:
                with contextlib.redirect_stdout(io.StringIO()):
                    assert run(command) == example.exit_code, command
            shutil.copyfile(example.made_path(folder), example.kept)


if __name__ == "__main__":
    remake()
