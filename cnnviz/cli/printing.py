"""Answers on stdout: a report in the format asked for, values, predictions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from cnnviz.cli.console import PLAIN, stderr, stdout
from cnnviz.core.types import Stage, size_text

MARK = "cnnviz:kernel"
"""The text of every picture of kernels or filters, by which cnnviz recognises it."""

if TYPE_CHECKING:
    from rich.console import Console

    from cnnviz.view.report import Report


class Prediction(NamedTuple):
    """A class and its probability."""

    label: str
    probability: float


def print_report(report: Report, form: str, *, quiet: bool = False) -> None:
    """Print a report in one of FORMATS; where all is to be quiet, JSON alone."""
    from cnnviz.view.report import FORMATS

    if quiet and form != "json":
        return
    if (text := FORMATS[form]) is not None:
        write(text(report))
        return
    for part in report.parts:
        stdout().print(part, crop=False)


def print_listing(
    name: str, records: Sequence[Mapping[str, str]], form: str, least: Sequence[str] = ()
) -> None:
    """Print records of equal keys; a narrow terminal does without the `least` important ones."""
    from cnnviz.view.report import Report, listing

    rows = [list(records[0]), *(list(record.values()) for record in records)]
    print_report(Report({name: records}, [listing(records, least)], rows), form)


def write(text: str) -> None:
    """Write text for machines to stdout as it is."""
    sys.stdout.write(text)


def beside(form: str) -> Console:
    """Return where drawings and values go: stdout, or stderr when machines read stdout."""
    return stdout() if form == "table" else stderr()


def print_values(stage: Stage, console: Console, *, heading: bool) -> None:
    """Print a stage's maps as numbers."""
    if heading:
        shape = size_text(stage.output.shape)
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
