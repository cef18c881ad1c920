"""Derivations of shapes as text: for a terminal, drawn with Rich, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cnnviz.core.arithmetic import by
from cnnviz.core.derivation import Derivation
from cnnviz.core.types import Shape
from cnnviz.errors import safe

ASCII = str.maketrans(
    {
        "×": "x", "·": "*", "−": "-", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")",
        "≤": "<=", "≥": ">=", "≠": "!=", "…": "...",
    }
)  # fmt: skip
"""What terminals without these signs are shown."""

INDENT = 4  # cells before a line of a stage
GAP = 2
UNLIMITED = 1_000_000


@dataclass(frozen=True)
class DerivedStage:
    """A stage with the derivation of its output's shape."""

    index: int
    name: str
    text: str  # the layer as pipeline text
    inputs: Sequence[tuple[str, Shape]]  # the stages it reads, with their shapes
    output: Shape | None  # None where the inputs do not fit
    derivation: Derivation
    follows: bool = True  # it reads the stage before it alone

    @property
    def title(self) -> str:
        """The stage's number and name."""
        return f"{self.index} {safe(self.name)}"

    @property
    def shapes(self) -> str:
        """From which shapes to which."""
        given = ", ".join(
            by(shape) if self.follows else f"{safe(name)} {by(shape)}"
            for name, shape in self.inputs
        )
        return f"{given} -> {by(self.output) if self.output else 'does not fit'}"


@dataclass(frozen=True)
class DerivationView:
    """Stages with their derivations: ``console.print(view, crop=False)``.

    On a terminal long lines are wrapped under their beginning; in a pipe or a file each stays one.
    """

    stages: Sequence[DerivedStage]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw a headline and an aligned block for each stage."""
        say = (lambda text: safe(text).translate(ASCII)) if options.ascii_only else safe
        width = options.max_width if console.is_terminal else UNLIMITED
        lines = [line for stage in self.stages for line in stage.derivation.lines]
        column = INDENT + max((cell_len(line.label) for line in lines), default=0) + GAP
        for number, stage in enumerate(self.stages):
            if number:
                yield Text("")
            left = Text.assemble((say(stage.title), "bold"), "  ", say(stage.text))
            right = Text(say(stage.shapes), "bold" if stage.output else "bold red")
            if left.cell_len + GAP + right.cell_len <= width:
                yield _unwrapped(Text.assemble(left, " " * GAP, right))
            else:  # too long for one line: the shapes go below
                yield from _hanging(console, Text(""), left, INDENT, width)
                yield from _hanging(console, Text(" " * INDENT), right, INDENT, width)
            for line in stage.derivation.lines:
                label = Text(" " * INDENT).append(line.label, "red" if line.fails else "dim")
                label.pad_right(column - label.cell_len)
                text = Text(say(line.text), "red" if line.fails else "")
                yield from _hanging(console, label, text, column, width)


def _hanging(console: Console, label: Text, text: Text, column: int, width: int) -> Iterator[Text]:
    """Yield a label and a text wrapped to end at `width`, its further lines from `column` on."""
    for line in text.wrap(console, max(width - column, 20)):
        line.rstrip()
        yield _unwrapped(Text.assemble(label, line))
        label = Text(" " * column)


def _unwrapped(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ignore"
    return text


def markdown(stages: Sequence[DerivedStage]) -> str:
    """Return the derivations as Markdown: a heading and a list for each stage."""
    return "\n".join(_markdown_lines(stages)) + "\n"


def _markdown_lines(stages: Sequence[DerivedStage]) -> Iterator[str]:
    for number, stage in enumerate(stages):
        if number:
            yield ""
        yield f"### {_escaped(stage.title)}: {stage.shapes}"
        yield ""
        yield f"    {safe(stage.text)}"
        yield ""
        for line in stage.derivation.lines:
            text = _escaped(safe(line.text))
            yield f"- {line.label}: " + (f"**{text}**" if line.fails else text)


def _escaped(text: str) -> str:
    """Keep what Markdown would take for markup as it is."""
    return "".join("\\" + sign if sign in "\\`*_[]" else sign for sign in text)
