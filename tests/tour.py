"""README's tables and pictures: made from the registries and by the commands beside them.

``python -m tests.tour`` remakes them; tests/test_docs.py checks that they are up to date.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(
    r"```bash\n(?P<commands>.*?)```"
    r"(?:\n+<!-- picture: (?P<made>\S+) -->\n!\[[^\]]*\]\((?P<kept>\S+)\))?",
    re.DOTALL,
)
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One block of README: its commands, the picture they make and where README keeps it."""

    commands: tuple[str, ...]
    made: str | None  # relative to cnnviz-out, or with a leading / to the working folder
    kept: str | None

    def made_path(self, folder: Path) -> Path:
        """Return where the picture lies after the commands ran in `folder`."""
        assert self.made is not None
        return folder / self.made[1:] if self.made[0] == "/" else folder / "cnnviz-out" / self.made


def examples(text: str) -> Iterator[Example]:
    """Yield the blocks that run cnnviz itself."""
    for match in BLOCK.finditer(text):
        commands = tuple(
            line for line in match["commands"].splitlines() if line.startswith("cnnviz ")
        )
        if commands:
            yield Example(commands, match["made"], match["kept"])


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
    """Stand in a new folder that has README's sample_images."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sample_images").symlink_to(ROOT / "sample_images")
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def table(name: str) -> str:
    """Return one of README's reference tables."""
    from cnnviz.cli.kernels import kernel_records
    from cnnviz.cli.layers import layer_records
    from cnnviz.core.border import BORDERS
    from cnnviz.core.engine import ALGORITHMS, POOL_ALGORITHMS
    from cnnviz.view.columns import COLUMNS
    from cnnviz.view.report import listing

    records = {
        "algorithms": [
            {
                "algorithm": each.name,
                "of": operation,
                "how": each.summary,
                "error": f"{each.error:.1g}{' ¹' if each.shares_rounding else ''}",
            }
            for operation, algorithms in (("convolution", ALGORITHMS), ("pooling", POOL_ALGORITHMS))
            for each in algorithms.values()
        ],
        "borders": [{"mode": b.name, "beyond the edge": b.summary} for b in BORDERS.values()],
        "layers": layer_records(),
        "kernels": kernel_records(),
        "columns": [
            {"column": column.title, "key": key, "tells": column.help}
            for key, column in COLUMNS.items()
        ],
    }
    return listing(records[name]).markdown() + "\n"


def with_tables(text: str) -> str:
    """Return README's text with its reference tables made anew."""
    return TABLE.sub(lambda found: found[1] + table(found[2]) + found[4], text)


def remake() -> None:
    """Write README's tables and pictures."""
    text = README.read_text("utf-8")
    README.write_text(with_tables(text), "utf-8")
    with working_folder() as folder:
        for example in examples(text):
            for command in example.commands:
                with contextlib.redirect_stdout(io.StringIO()):
                    assert run(command) == 0, command
            if example.made and example.kept:
                shutil.copyfile(example.made_path(folder), ROOT / example.kept)
        assert run("cnnviz pipeline sample_images/astronaut.jpg edges -q") == 0
        made = folder / "cnnviz-out" / "astronaut" / "06_maxpool_maxpool1_grid.png"
        shutil.copyfile(made, ROOT / "sample_images" / "tour" / "edges.png")


if __name__ == "__main__":
    remake()
