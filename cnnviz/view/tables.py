"""Rows and stages as a table for people, drawn with Rich to fit their terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cnnviz.core.types import Stage, Totals
from cnnviz.view.columns import (
    ABSENT,
    COLUMNS,
    DEFAULT,
    Column,
    Entry,
    resolve_columns,
    safe,
    summary,
)

GAP = 2  # cells between columns
LONG_NAME = 24  # cells a name may take before it gives way to other columns
ASCII = str.maketrans({"×": "x", "…": "~", ABSENT: "-", "·": "|", "µ": "u"})


def render_table(
    entries: Sequence[Entry],
    totals: Totals,
    *,
    columns: Sequence[str] | None = None,
    title: str | None = None,
) -> StageTable:
    """Return the table to print: ``console.print(table, crop=False)``."""
    return StageTable(tuple(entries), totals, None if columns is None else tuple(columns), title)


@dataclass(frozen=True)
class StageTable:
    """A table that fits the terminal it is printed on.

    On a terminal the default table leaves out what does not fit, the least important columns
    first (`Column.importance`: name, output, layer, #, params, kernel, min, max, zeros,
    mult-adds, stride, mean, padding, …), and says which; a smaller column may stay where a
    larger one before it did not fit. Numbers are never wrapped or cut; only a long name loses
    its middle. Columns asked for by name are all shown, and in a pipe or a file the table is
    complete, however wide: print it with ``crop=False``.
    """

    entries: tuple[Entry, ...]
    totals: Totals
    columns: tuple[str, ...] | None = None
    title: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the columns for this console and draw them."""
        say = (lambda text: text.translate(ASCII)) if options.ascii_only else str
        strips = {
            key: _Strip.of(COLUMNS[key], self.entries, self.totals, say)
            for key in resolve_columns(self.columns, self.entries)
        }
        droppable = self.columns is None or DEFAULT in self.columns
        limit = options.max_width if droppable and console.is_terminal else None
        named = set(self.columns or ()) - {DEFAULT}
        shown = strips if limit is None else _fit(strips, limit, named)
        dropped = [key for key in strips if key not in shown]

        lines = [safe(self.title)] if self.title else []
        yield from _lines(lines, "bold", limit)
        drawn = options.update(width=_width(shown.values()), height=None)
        yield from console.render(_draw(shown), drawn)
        lines = [say(summary(self.totals, without=shown))]
        if dropped:
            lines.append(say(f"… --columns or a wider terminal shows: {', '.join(dropped)}"))
        yield from _lines(lines, "dim", limit)
        yield from _lines([warning] if (warning := _warning(self.entries)) else [], "yellow", limit)


@dataclass(frozen=True)
class _Strip:
    """One column's cells as they are drawn."""

    column: Column
    head: str
    body: tuple[str, ...]
    foot: str

    @classmethod
    def of(
        cls, column: Column, entries: Sequence[Entry], totals: Totals, say: Callable[[str], str]
    ) -> _Strip:
        body = tuple(say(column.text(entry)) for entry in entries)
        return cls(column, column.title, body, say(column.total(totals, entries)))

    @property
    def width(self) -> int:
        return max(map(cell_len, (*self.head.split("\n"), *self.body, self.foot)))

    def stacked(self) -> _Strip:
        """Put a title of several words on several lines."""
        return replace(self, head=self.head.replace(" ", "\n"))

    def shortened(self, width: int) -> _Strip:
        return replace(self, body=tuple(shorten_middle(cell, width) for cell in self.body))


def shorten_middle(text: str, width: int) -> str:
    """Cut a long name in its middle, for names differ at both ends.

    >>> shorten_middle("layer4.1.downsample.0", 16)
    'layer4.1…ample.0'
    """
    if cell_len(text) <= width:
        return text
    room = max(width - 1, 0)
    tail = set_cell_size(text[::-1], room // 2)[::-1]
    return f"{set_cell_size(text, room - room // 2)}…{tail}"


def _width(strips: Iterable[_Strip]) -> int:
    widths = [strip.width for strip in strips]
    return sum(widths) + GAP * (len(widths) - 1)


def _fit(strips: Mapping[str, _Strip], limit: int, named: Collection[str]) -> dict[str, _Strip]:
    """Keep the columns asked for by name and the most important others, in their usual order."""
    if _width(strips.values()) <= limit:
        return dict(strips)
    strips = {key: strip.stacked() for key, strip in strips.items()}
    short = {**strips, "name": strips["name"].shortened(LONG_NAME)}
    kept = set(named) & set(short)
    for key in sorted(short.keys() - kept, key=lambda key: short[key].column.importance or 0):
        if not kept or _width(short[k] for k in (*kept, key)) <= limit:
            kept.add(key)
    rest = [strips[key] for key in strips if key in kept and key != "name"]
    room = limit - _width(rest) - GAP if rest else limit
    names = strips["name"].shortened(room)
    return {key: {**strips, "name": names}[key] for key in strips if key in kept}


def _draw(strips: Mapping[str, _Strip]) -> Table:
    """Draw the cells with Rich; they are plain text, never markup."""
    table = Table(
        box=box.SIMPLE,
        show_edge=False,
        show_footer=any(strip.foot for key, strip in strips.items() if key != "name"),
        pad_edge=False,
        collapse_padding=True,
        padding=(0, GAP - 1),
        header_style="bold",
        footer_style="bold",
    )
    styles = {"index": "dim", "name": "bold"}
    for key, strip in strips.items():
        table.add_column(
            Text(strip.head),
            Text(strip.foot),
            justify="right" if strip.column.kind.right else "left",
            style=styles.get(key, ""),
            vertical="bottom",
            width=strip.width,
            no_wrap=True,
            overflow="crop",  # "ignore" would skip justify; the width is exact, nothing is cut
        )
    for cells in zip(*(strip.body for strip in strips.values()), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _warning(entries: Sequence[Entry]) -> str:
    """Name the stages whose minimum, maximum and mean do not tell of every value."""
    bad = [
        f"{safe(entry.row.name)} ({entry.statistics.nonfinite:,})"
        for entry in entries
        if isinstance(entry, Stage) and entry.statistics.nonfinite
    ]
    return f"NaN or infinite values: {', '.join(bad)}" if bad else ""


def _lines(lines: Sequence[str], style: str, limit: int | None) -> Iterator[Text]:
    for line in lines:
        if limit is None:
            yield Text(line, style, no_wrap=True, overflow="ignore")
        else:
            yield Text(line, style, overflow="fold")
