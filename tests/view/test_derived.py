"""Derivations as text: aligned, wrapped on a terminal only, readable without special signs."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from cnnviz.core.derivation import Derivation, Line
from cnnviz.view.derived import DerivationView, DerivedStage, markdown

CONV = DerivedStage(
    index=1,
    name="conv1",
    text="conv(64, 7, 2, same)",
    inputs=[("input", (3, 224, 224))],
    output=(64, 112, 112),
    derivation=Derivation(
        (
            Line("channels", "64, one for each filter"),
            Line("rows, columns", "⌊(224 + 2 + 3 − 7) / 2⌋ + 1 = 112"),
            Line(
                "padding",
                "same: ⌈224 / 2⌉ = 112 windows need (112 − 1)·2 + 7 = 229 pixels, 5 more than 224: "
                "2 before, 3 after",
            ),
        ),
        untouched=(0, 0),
    ),
)
ADD = DerivedStage(
    index=2,
    name="sum",
    text="add(input)",
    inputs=[("conv1", (64, 112, 112)), ("input", (3, 224, 224))],
    output=None,
    derivation=Derivation((Line("channels", "64 ≠ 3", fails=True),)),
    follows=False,
)


def drawn(width: int, *, terminal: bool, encoding: str = "utf-8") -> list[str]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="replace")
    console = Console(
        file=stream, width=width, force_terminal=terminal, color_system=None, emoji=False
    )
    console.print(DerivationView([CONV, ADD]), crop=False)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_terminal_wraps_lines_under_their_beginning(width: int) -> None:
    lines = drawn(width, terminal=True)
    assert all(cell_len(line) <= width for line in lines)
    assert all(line == line.rstrip() for line in lines)
    first = next(n for n, line in enumerate(lines) if line.startswith("    padding"))
    column = lines[first].index("same:")
    (formula,) = (line for line in lines if "⌊" in line)
    assert formula.index("⌊") == column
    further = lines[first + 1 : lines.index("")]
    assert further
    assert all(line[:column].isspace() and not line[column].isspace() for line in further)
    words = " ".join(lines[first : lines.index("")]).split()
    assert " ".join(words) == "padding " + CONV.derivation.lines[2].text


def test_a_pipe_has_every_formula_on_one_line() -> None:
    assert drawn(40, terminal=False) == [
        "1 conv1  conv(64, 7, 2, same)  3×224×224 -> 64×112×112",
        "    channels       64, one for each filter",
        "    rows, columns  ⌊(224 + 2 + 3 − 7) / 2⌋ + 1 = 112",
        "    padding        " + CONV.derivation.lines[2].text,
        "",
        "2 sum  add(input)  conv1 64×112×112, input 3×224×224 -> does not fit",
        "    channels       64 ≠ 3",
    ]


def test_shapes_go_below_where_the_line_is_too_short() -> None:
    lines = drawn(40, terminal=True)
    assert lines[:2] == ["1 conv1  conv(64, 7, 2, same)", "    3×224×224 -> 64×112×112"]


def test_without_special_signs() -> None:
    text = "\n".join(drawn(200, terminal=False, encoding="ascii"))
    assert "?" not in text
    assert "floor((224 + 2 + 3 - 7) / 2) + 1 = 112" in text
    assert "ceil(224 / 2) = 112 windows need (112 - 1)*2 + 7 = 229" in text
    assert "64 != 3" in text
    assert "3x224x224 -> 64x112x112" in text


def test_markdown_escapes_what_it_would_take_for_markup() -> None:
    text = markdown([CONV, ADD])
    assert "### 1 conv1: 3×224×224 -> 64×112×112\n\n    conv(64, 7, 2, same)\n" in text
    assert "- rows, columns: ⌊(224 + 2 + 3 − 7) / 2⌋ + 1 = 112\n" in text
    assert "- channels: **64 ≠ 3**\n" in text
    odd = DerivedStage(3, "a_b*c", "relu", [("sum", (4,))], (4,), Derivation(()))
    assert markdown([odd]).startswith("### 3 a\\_b\\*c: 4 -> 4\n")
