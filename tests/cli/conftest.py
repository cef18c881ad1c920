"""Running the command: in this process for speed, or as a true one."""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

SAMPLES = Path(__file__).parents[2] / "sample_images"


@dataclass(frozen=True)
class Result:
    """What a run of the command leaves behind."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line; NaN and Infinity are no JSON."""

        def refuse(token: str) -> None:
            raise AssertionError(f"{token} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        (record,) = self.records
        return record


Run = Callable[..., Result]

built = functools.cache(typer.main.get_command)  # half of the time of a small run


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs ``cnnviz ARGUMENTS`` in this process."""
    from cnnviz.cli import console
    from cnnviz.cli.app import app
    from cnnviz.core import threads

    monkeypatch.setattr(typer.main, "get_command", built)

    def call(*arguments: object, stdin: bytes = b"", encoding: str = "utf-8") -> Result:
        words = [str(argument) for argument in arguments]
        streams = [io.TextIOWrapper(io.BytesIO(), encoding, newline="\n") for _ in range(2)]
        console.stdout.cache_clear()
        console.stderr.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["cnnviz", *words])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            try:
                app(words, prog_name="cnnviz")
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        texts = []
        for stream in streams:
            stream.flush()
            texts.append(stream.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
        console.stdout.cache_clear()
        console.stderr.cache_clear()
        threads.set_threads(None)
        return Result(code, *texts)

    return call


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return what runs ``python -m cnnviz ARGUMENTS`` as a process of its own."""

    def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
        options = {"capture_output": True, "timeout": 60, **options}
        return subprocess.run(command(*arguments), check=False, **options)

    return call


def command(*arguments: object) -> list[str]:
    """Return the words of a true process."""
    return [sys.executable, "-m", "cnnviz", *map(str, arguments)]


def sample(name: str) -> Path:
    """Return the path of a sample image."""
    return SAMPLES / name


def save_plane(path: str | Path, values: Any, dtype: str = "uint8") -> Path:
    """Write a picture of the values; the mode follows from type and shape."""
    Image.fromarray(np.asarray(values, dtype)).save(path)
    return Path(path)


def files_below(folder: str | Path) -> dict[str, bytes]:
    """Return every file below a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def pixels(path: str | Path) -> np.ndarray[Any, Any]:
    """Return a picture's colours, (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def refused(result: Result, code: int, *words: str) -> None:
    """Check an error: its code, one message that holds the words, nothing else anywhere."""
    assert result.code == code, (result.code, result.err)
    assert result.out == ""
    assert "Traceback" not in result.err
    messages = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert len(messages) == 1 or (not messages and "─ Error ─" in result.err), result.err
    text = " ".join(result.err.replace("│", " ").split())
    for word in words:
        assert word in text, (word, result.err)
