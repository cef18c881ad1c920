"""``cnnviz layers``: the list and the card."""

from __future__ import annotations

import pytest

import cnnviz
from cnnviz.core.layers import ALIASES
from tests.cli.conftest import Run, refused


def test_every_layer_is_listed_in_every_format(run: Run) -> None:
    table, md = run("layers").out, run("layers", "--format", "md").out
    records = run("layers", "--format", "json").record["layers"]
    assert len(records) == len(cnnviz.LAYERS)
    for name, record in zip(cnnviz.LAYERS, records, strict=True):
        assert list(record) == ["layer", "family", "what it does", "formula"]
        assert name in record["layer"]
        assert name in table
        assert name in md
        assert all(record.values())
    assert len({line.count("|") - line.count("\\|") for line in md.splitlines()}) == 1


def test_the_card_of_conv(run: Run) -> None:
    text = run("layers", "conv").out
    for word in ("filters", "needed", "kernel_size", "padding_mode", "Σ", "meaning"):
        assert word in text
    record = run("layers", "conv", "--format", "json").record
    assert list(record) == [
        "layer", "aliases", "family", "summary", "formula", "source", "options",
    ]  # fmt: skip
    options = {option["option"]: option for option in record["options"]}
    assert options["filters"]["default"] is None
    assert options["kernel_size"]["default"] == "3"
    assert options["padding"]["default"] == "valid"
    assert all(option["meaning"] for option in options.values())


@pytest.mark.parametrize("name", [*cnnviz.LAYERS, *ALIASES])
def test_every_layer_has_a_card(run: Run, name: str) -> None:
    for form in ("table", "md", "json"):
        result = run("layers", name, "--format", form)
        assert (result.code, result.err) == (0, "")
        assert result.out


def test_options_are_told_in_markdown_too(run: Run) -> None:
    assert "| filters      | needed  " in run("layers", "conv", "--format", "md").out


@pytest.mark.parametrize(
    ("name", "word"), [("cnv", "conv"), ("Max_Pool", "maxpool"), ("", "''"), ("\x1b[31m", r"\x1b")]
)
def test_unknown_layers(run: Run, name: str, word: str) -> None:
    refused(run("layers", name), 2, word)
