"""``cnnviz samples``, and samples in place of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnviz.files.samples import sample_files
from tests.cli.conftest import Run, refused, sample


def test_every_sample_is_listed_in_every_format(run: Run) -> None:
    records = run("samples", "--json").record["samples"]
    assert list(records[0]) == ["sample", "size", "what it shows", "licence", "source"]
    assert len(records) == len(sample_files())
    for form in ("table", "csv", "md"):
        out = run("samples", "--format", form).out
        for name in sample_files():
            assert f"sample:{name}" in out


@pytest.mark.parametrize(
    "words",
    [
        ("convolve", "SAMPLE:Tutorial"),
        ("pool", "sample:tutorial"),
        ("pipeline", "sample:tutorial", "relu"),
        ("explain", "sample:tutorial", "conv(sobel_x)"),
        ("compare", "sample:tutorial", "maxpool(2)", "avgpool(2)"),
        ("shift", "sample:tutorial", "maxpool(2)", "--by", "1"),
        ("animate", "sample:tutorial", "maxpool(2)"),
    ],
)
def test_every_command_takes_samples(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words, "--json")
    assert result.code == 0, result.err
    assert result.record["input"]["path"] == "sample:tutorial"
    assert any(Path("cnnviz-out", "tutorial").iterdir())


def test_the_record_names_the_sample(run: Run) -> None:
    assert run("convolve", "sample:chelsea", "-q").code == 0
    record = json.loads(Path("cnnviz-out/chelsea/run.json").read_text())
    assert record["input"]["path"] == "sample:chelsea"
    assert record["command"] == ["cnnviz", "convolve", "sample:chelsea", "-q"]


def test_a_sample_among_files(run: Run) -> None:
    result = run("pool", sample("chelsea.jpg"), "sample:chelsea", "--json")
    assert [Path(record["input"]["path"]).stem for record in result.records] == [
        "chelsea",
        "sample:chelsea",
    ]
    assert Path("cnnviz-out/chelsea-2/run.json").exists()


def test_unknown_samples(run: Run) -> None:
    refused(run("convolve", "sample:chelse"), 2, "unknown sample 'chelse'", "chelsea")
    refused(run("explain", "sample:nothing", "relu"), 2, "sample", "cnnviz samples lists them")
