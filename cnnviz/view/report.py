"""One report for every command: strips and records in; a table, Markdown, CSV or JSON out.

A `Strip` is one column as it is read: its title and its cells, already text. A `Table` of strips
fits the terminal it is printed on, a `Report` is what one command answers in every format.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnviz.view.numbers import joined

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
    from rich.text import Text

GAP = 2  # cells between columns
LONG_NAME = 24  # cells a name may take before it gives way to other columns
SHOWN = 14  # columns given up that are named
ASCII = str.maketrans(
    {
        "×": "x", "…": "~", "–": "-", "·": "|", "µ": "u", "≠": "!", "−": "-", "‖": "|", "∞": "inf",
        "→": ">",
    }
)  # fmt: skip
"""What terminals without these signs are shown."""


class Strip(NamedTuple):
    """One column of a table."""

    key: str  # columns of one key stay or give way together
    title: str
    cells: Sequence[str]
    right: bool = False  # aligned
    importance: float = 0  # the larger gives way first where a terminal is narrow; 0: never
    foot: str = ""
    style: str = ""
    least: int = 0  # cells to which a name may be shortened, in its middle; 0: not at all

    @property
    def width(self) -> int:
        """Cells it takes."""
        from rich.cells import cell_len

        return max(map(cell_len, (*self.title.split("\n"), *self.cells, self.foot)))

    def shortened(self, width: int) -> Strip:
        """Return it with long names cut in their middle, if they may be."""
        if not self.least:
            return self
        return self._replace(cells=[shorten_middle(cell, width) for cell in self.cells])

    def translated(self, signs: Mapping[int, str | int | None]) -> Strip:
        """Return it in other signs."""
        cells = [cell.translate(signs) for cell in self.cells]
        return self._replace(
            title=self.title.translate(signs), cells=cells, foot=self.foot.translate(signs)
        )


def shorten_middle(text: str, width: int) -> str:
    """Cut a long name in its middle, for names differ at both ends.

    >>> shorten_middle("layer4.1.downsample.0", 16)
    'layer4.1…ample.0'
    """
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    room = max(width - 1, 0)
    tail = set_cell_size(text[::-1], room // 2)[::-1]
    return f"{set_cell_size(text, room - room // 2)}…{tail}"


def total_width(strips: Iterable[Strip]) -> int:
    """Return how many cells strips take side by side."""
    widths = [strip.width for strip in strips]
    return sum(widths) + GAP * (len(widths) - 1)


def fit(
    strips: Sequence[Strip], limit: int, named: Collection[str] = (), *, stacks: bool = True
) -> list[Strip]:
    """Return the strips that fit into `limit` cells, in their order.

    With `stacks` titles of several words take several lines. Strips of importance 0 and those
    `named` stay; of the others the most important ones, where a smaller strip may stay though a
    larger one before it did not fit. Numbers are never wrapped or cut; long names lose their
    middle at last.
    """
    if total_width(strips) <= limit:
        return list(strips)
    sign = "\n" if stacks else " "
    stacked = [strip._replace(title=strip.title.replace(" ", sign)) for strip in strips]
    short = [strip.shortened(strip.least) for strip in stacked]
    kept = {strip.key for strip in short if not strip.importance or strip.key in named}
    for strip in sorted(short, key=lambda strip: strip.importance):
        tried = kept | {strip.key}
        if not kept or total_width(s for s in short if s.key in tried) <= limit:
            kept = tried
    shown = [strip for strip in stacked if strip.key in kept]
    longest = max(strip.width for strip in shown)
    rooms = ([strip.shortened(room) for strip in shown] for room in range(longest, 4, -1))
    return next((cut for cut in rooms if total_width(cut) <= limit), shown)


@dataclass(frozen=True)
class Table:
    """Strips side by side: ``console.print(table, crop=False)``.

    On a terminal the columns that do not fit are left out, and named below; in a pipe or a file
    all are there, however wide. `below` are lines that follow from the keys shown.
    """

    strips: Sequence[Strip]
    named: Collection[str] = ()  # keys asked for, which stay
    fixed: bool = False  # no column gives way
    wraps: bool = False  # cells are text, which is folded where it does not fit, in a pipe too
    sections: Collection[int] = ()  # counts of rows after which there is a gap
    below: Callable[[Collection[str]], Sequence[str]] = lambda _: ()
    wider: str = "a wider terminal"  # what shows the columns left out

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the columns for this console and draw them."""
        limit = options.max_width if console.is_terminal or self.wraps else None
        strips = list(self.strips)
        if options.ascii_only:
            strips = [strip.translated(ASCII) for strip in strips]
        shown = strips
        if limit is not None and not self.fixed:
            shown = fit(strips, limit, self.named, stacks=not self.wraps)
        if options.ascii_only:  # the names that were shortened, too
            shown = [strip.translated(ASCII) for strip in shown]
        keys = {strip.key for strip in shown}
        width = limit if limit and self.wraps else max(total_width(shown), 1)
        yield from console.render(self._drawn(shown), options.update(width=width, height=None))
        lines = list(self.below(keys))
        gone = dict.fromkeys(strip.key for strip in strips if strip.key not in keys)
        if gone and not self.wraps:
            lines.append(f"… {self.wider} shows: {joined(list(gone), SHOWN)}")
        yield from Lines(lines, "dim").texts(console, options)

    def _drawn(self, strips: Sequence[Strip]) -> ConsoleRenderable:
        """Draw the cells with Rich; they are plain text, never markup."""
        from rich import box
        from rich.table import Table as Drawing
        from rich.text import Text

        drawing = Drawing(
            box=box.SIMPLE,
            show_edge=False,
            show_footer=any(strip.foot and strip.right for strip in strips),
            pad_edge=False,
            collapse_padding=True,
            padding=(0, GAP - 1),
            header_style="bold",
            footer_style="bold",
        )
        for strip in strips:
            drawing.add_column(
                Text(strip.title),
                Text(strip.foot),
                justify="right" if strip.right else "left",
                style=strip.style,
                vertical="top" if self.wraps else "bottom",
                width=None if self.wraps else strip.width,
                no_wrap=not self.wraps,
                # "ignore" would skip justify; the width is exact, nothing is cut
                overflow="fold" if self.wraps else "crop",
            )
        for number, cells in enumerate(zip(*(strip.cells for strip in strips), strict=True), 1):
            drawing.add_row(*map(Text, cells), end_section=number in self.sections)
        return drawing

    def markdown(self) -> str:
        """Return a GitHub table, aligned to be read as text too, and the lines below it."""
        from rich.cells import cell_len

        def line(cells: Iterable[str]) -> str:
            parts = []
            for cell, width, strip in zip(cells, widths, self.strips, strict=True):
                space = " " * (width - cell_len(cell))
                parts.append(space + cell if strip.right else cell + space)
            return f"| {' | '.join(parts)} |"

        rows = [[strip.title.replace("\n", " ") or strip.key for strip in self.strips]]
        rows += map(list, zip(*(strip.cells for strip in self.strips), strict=True))
        if any(strip.foot for strip in self.strips):
            rows.append([strip.foot for strip in self.strips])
        rows = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row] for row in rows]
        widths = [max(3, *map(cell_len, cells)) for cells in zip(*rows, strict=True)]
        rules = [
            "-" * (width - 1) + ":" if strip.right else "-" * width
            for width, strip in zip(widths, self.strips, strict=True)
        ]
        text = [line(rows[0]), f"| {' | '.join(rules)} |", *map(line, rows[1:])]
        below = self.below({strip.key for strip in self.strips})
        return "\n".join([*text, *([""] if below else []), *below])


class Lines(NamedTuple):
    """Lines of plain text beside tables."""

    lines: Sequence[str]
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print them: folded on a terminal, whole in a pipe."""
        yield from self.texts(console, options)

    def texts(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield them as this console has them."""
        from rich.text import Text

        for line in self.lines:
            text = line.translate(ASCII) if options.ascii_only else line
            if console.is_terminal:
                yield Text(text, self.style, overflow="fold")
            else:
                yield Text(text, self.style, no_wrap=True, overflow="ignore")

    def markdown(self) -> str:
        """Return one line as a paragraph, several as a list."""
        lines = [" ".join(line.split()) for line in self.lines if line.strip()]
        return "\n".join(f"- {line}" for line in lines) if len(lines) > 1 else "".join(lines)


class Block(NamedTuple):
    """Lines that stand as they are: their spaces and styles have a meaning."""

    lines: Sequence[Text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print them, each whole."""
        yield from self.lines

    def markdown(self) -> str:
        """Return them as a block of code."""
        return "\n".join(["```", *(line.plain for line in self.lines), "```"])


class Report(NamedTuple):
    """What a command answers, in every format."""

    record: Mapping[str, Any]  # JSON
    parts: Sequence[Any]  # what people read, one below the other: Table, Lines, or Rich's own
    rows: Iterable[Sequence[object]] = ()  # CSV

    def markdown(self) -> str:
        """Return the parts that have a form in Markdown."""
        texts = (part.markdown() for part in self.parts if hasattr(part, "markdown"))
        return "\n\n".join(text for text in texts if text) + "\n"

    def csv(self) -> str:
        """Return the rows as CSV (RFC 4180)."""
        return csv_text(self.rows)


def _json(report: Report) -> str:
    from cnnviz.core.jsontext import json_text  # here: help reads the table, and waits for no NumPy

    return json_text(report.record) + "\n"


FORMATS: Mapping[str, Callable[[Report], str] | None] = {
    "table": None,  # for people: a console draws the parts
    "json": _json,
    "csv": Report.csv,
    "md": Report.markdown,
}
"""What ``--format`` can be, and the text that a report is then."""


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV (RFC 4180)."""
    import csv  # here, for help waits for no more than it needs

    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue()


def listing(records: Sequence[Mapping[str, str]], least: Sequence[str] = ()) -> Table:
    """Return records of equal keys as a table; a narrow terminal does without the `least` keys."""
    return Table(
        [
            Strip(
                key,
                key,
                [record[key] for record in records],
                importance=1 + len(least) - least.index(key) if key in least else 0,
            )
            for key in records[0]
        ],
        wraps=True,
    )
