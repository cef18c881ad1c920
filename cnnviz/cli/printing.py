"""Answers on stdout: tables in four formats, values, terminal pictures, predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from cnnviz import __version__
from cnnviz.cli.console import PLAIN, stderr, stdout
from cnnviz.cli.options import TableOptions
from cnnviz.core.jsontext import json_text
from cnnviz.core.pipeline import Pipeline
from cnnviz.core.types import Row, Shape, Stage
from cnnviz.view import records
from cnnviz.view.columns import parse_columns

if TYPE_CHECKING:
    from rich.console import Console

    from cnnviz.cli.record import Prediction


def print_table(
    entries: Sequence[Row | Stage],
    pipeline: Pipeline,
    shape: Shape,
    options: TableOptions,
    *,
    record: Mapping[str, Any] | None = None,
    image: str | None = None,
    header: bool = True,
) -> None:
    """Print the table of promised rows or computed stages in the format asked for.

    `record` is the run's JSON object; without one the rows' own is made. `image` and `header` are
    for CSV of several images.
    """
    columns = None if options.columns is None else parse_columns(options.columns)
    totals = pipeline.totals(shape)
    match options.format:
        case "json":
            if record is None:
                stages = [records.stage_record(entry) for entry in entries]
                record = records.document(
                    __version__, None, shape, None, str(pipeline), stages, totals
                )
            write(json_text(record) + "\n")
        case "csv":
            write(records.csv_text(entries, columns=columns, image=image, header=header))
        case "md":
            write(records.markdown_text(entries, totals, columns) + "\n")
        case _:
            from cnnviz.view.tables import render_table

            table = render_table(entries, totals, columns=columns)
            stdout().print(table, crop=False)


def write(text: str) -> None:
    """Write text for machines to stdout as it is."""
    import sys

    sys.stdout.write(text)


def beside(options: TableOptions) -> Console:
    """Return where drawings and values go: stdout, or stderr when machines read stdout."""
    return stdout() if options.format == "table" else stderr()


def print_values(stage: Stage, console: Console, *, heading: bool) -> None:
    """Print a stage's maps as numbers."""
    if heading:
        shape = "×".join(map(str, stage.output.shape))
        console.print(f"{stage.row.name} ({shape})", style="bold", **PLAIN)
    console.print(values_text(stage.output, console), **PLAIN)


def values_text(maps: NDArray[Any], console: Console) -> str:
    """Return maps as numbers; on a terminal as many columns of them as it is wide."""
    from cnnviz.view.terminal import format_values

    text = format_values(maps)
    if maps.ndim == 1 or maps.shape[-2:] == (1, 1):  # written as lines, wrapped
        return text
    for limit in (20, 16, 12, 8, 4):
        if not console.is_terminal or max(map(len, text.split("\n"))) <= console.width:
            break
        text = format_values(maps, limit=limit)
    return text


def print_about(text: str) -> None:
    """Print a line of a card, indented; longer than the terminal is wide, it is wrapped."""
    from rich.padding import Padding
    from rich.text import Text

    stdout().print(Padding(Text(text), (0, 0, 0, 2), expand=False))


def print_predictions(
    predictions: Sequence[Prediction], console: Console, *, note: str | None
) -> None:
    """Print the likeliest classes as bars."""
    from cnnviz.view.terminal import bars

    if note:
        console.print(note, style="dim", **PLAIN)
    labels = [prediction.label for prediction in predictions]
    probabilities = [prediction.probability for prediction in predictions]
    console.print(bars(labels, probabilities, width=min(console.width, 80)))


def joined(names: Sequence[str], limit: int = 6) -> str:
    """Return names joined by commas, many of them shortened.

    >>> joined(["a", "b"]), joined(list("abcdefgh"), limit=3)
    ('a, b', 'a, b, c and 5 more')
    """
    return ", ".join(_some(names, limit))


def _some(names: Sequence[str], limit: int) -> Iterator[str]:
    kept = names if len(names) <= limit else names[:limit]
    yield from kept[:-1]
    more = len(names) - len(kept)
    yield kept[-1] + (f" and {more} more" if more else "")
