"""``cnnviz help``: what commands share, described once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from cnnviz.cli.options import ComputeOptions, InputOptions, OutputOptions, TableOptions
from cnnviz.errors import unknown

EXAMPLES = ("cnnviz help input", "cnnviz help convolve")


def _input(options: InputOptions) -> None:
    """How every command makes an image or a matrix into numbers."""


def _output(options: OutputOptions) -> None:
    """How convolve, pool and pipeline write and show, and in which colours and scale.

    Terminals that take pictures (kitty, iTerm2, sixels) are shown the grid, others half blocks.
    """


def _table(options: TableOptions) -> None:
    """How every command prints its answer."""


def _compute(options: ComputeOptions) -> None:
    """How stages are computed: with which random weights, threads and algorithms."""


TOPICS: dict[str, Callable[..., None]] = {
    "input": _input,
    "output": _output,
    "table": _table,
    "compute": _compute,
}


def help(  # noqa: A001 - the command's name
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]",
            help=f"{', '.join(TOPICS)}, or a command.",
            show_default=False,
            autocompletion=lambda incomplete: [t for t in TOPICS if t.startswith(incomplete)],
        ),
    ] = None,
) -> None:
    """Describe a command, or the options that commands share."""
    from cnnviz.cli.app import COMMANDS, make_app
    from cnnviz.cli.door import App, command

    if topic is None or topic in COMMANDS:
        app, words = make_app(), [topic, "--help-all"] if topic else ["--help"]
    elif topic in TOPICS:
        app, words = App(rich_markup_mode="rich", add_completion=False), ["--help"]
        app.command("COMMAND")(command(TOPICS[topic], every=True))
    else:
        raise unknown("topic", topic, [*TOPICS, *COMMANDS])
    name = "cnnviz COMMAND" if topic in TOPICS else "cnnviz"
    typer.main.get_command(app).main(words, prog_name=name, standalone_mode=False)
