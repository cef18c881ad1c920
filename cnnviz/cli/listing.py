"""Lists of the registries: as a table that fits, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnviz.cli.console import stdout

MARK = "cnnviz:kernel"
"""The text of every picture of kernels or filters, by which cnnviz knows it again."""


def print_listing(
    name: str,
    records: Sequence[Mapping[str, str]],
    form: str,
    least: Sequence[str] = (),
) -> None:
    """Print records of equal keys; a narrow terminal does without the `least` important ones."""
    from cnnviz.cli.printing import write

    if form == "json":
        from cnnviz.core.jsontext import json_text

        write(json_text({name: records}) + "\n")
    elif form == "md":
        write(markdown(records))
    else:
        _print_table(records, least)


def markdown(records: Sequence[Mapping[str, str]]) -> str:
    r"""Return a GitHub table of the records.

    >>> print(markdown([{"a": "x|y", "b": "z"}]), end="")
    | a | b |
    |---|---|
    | x\|y | z |
    """
    lines = [list(records[0]), *(list(record.values()) for record in records)]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|---" * len(lines[0]) + "|", *rows[1:]]) + "\n"


def _print_table(records: Sequence[Mapping[str, str]], least: Sequence[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = stdout()
    wide = {key: max(len(record[key]) for record in records) for key in records[0]}
    keys = list(wide)
    for key in least:
        if sum(wide[kept] + 2 for kept in keys) > console.width:
            keys.remove(key)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for key in keys:
        table.add_column(key, overflow="fold")
    for record in records:
        table.add_row(*(Text(record[key]) for key in keys))
    console.print(table)
