"""The ``cnnviz`` command and its subcommands."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from cnnviz import __version__
from cnnviz.cli.door import App, command
from cnnviz.cli.options import choice
from cnnviz.cli.shells import SHELLS, install

COMMANDS = (
    "convolve",
    "pool",
    "pipeline",
    "shapes",
    "explain",
    "shift",
    "compare",
    "animate",
    "kernels",
    "layers",
    "samples",
    "help",
)
"""Each is a module of its name in `cnnviz.cli` with a function of its name."""

if TYPE_CHECKING:
    app: App


def __getattr__(name: str) -> App:
    """Make ``app``, with all commands, when it is first asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = make_app()
    return made


def app_for(arguments: Sequence[str]) -> App:
    """Return what runs these words: with the one command they begin with, else what lists all.

    Making a command takes a millisecond or two, and only one of them is ever run.
    """
    first = arguments[0] if arguments else None
    if first == "version":
        typer.echo(f"cnnviz {__version__}")
        raise SystemExit(0)
    return make_app([first]) if first in COMMANDS else make_app(listed=True)


def make_app(names: Sequence[str] = COMMANDS, *, listed: bool = False) -> App:
    """Make the program with some of its commands, or with all as a list needs them."""
    app = App(
        name="cnnviz",
        help="See what a convolutional network does to your own picture.",
        epilog=(
            "Start with:  cnnviz convolve sample:chelsea -k sobel\n\n"
            "Learn more:  cnnviz COMMAND --help, cnnviz kernels|layers|samples"
        ),
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in names:
        module = import_module(f"cnnviz.cli.{name}")
        lines = ["Examples:", *module.EXAMPLES]
        if len(names) == 1 and name != "help":
            lines.append("More: cnnviz help input|output|table|compute")
        epilog = "\b\n" + "\n".join(lines)  # which keeps its lines
        function = getattr(module, name)
        if listed:
            app.command(name, help=inspect.getdoc(function))(lambda: None)
        else:
            app.command(name, epilog=epilog)(command(function))
    app.callback(invoke_without_command=True)(_root)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cnnviz {__version__}")
        raise typer.Exit


def _install(shell: str | None) -> None:
    if shell is not None:
        for path in install(shell):
            typer.echo(f"wrote {path}")
        typer.echo(f"from the next start of {shell}, Tab completes cnnviz")
        raise typer.Exit


def _show(shell: str | None) -> None:
    if shell is not None:
        typer.echo(SHELLS[shell].script, nl=False)
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    install_completion: Annotated[  # noqa: ARG001
        str | None,
        typer.Option(
            **choice("shell", *SHELLS),
            callback=_install,
            is_eager=True,
            help="Have Tab complete names and options. (default: $SHELL)",
        ),
    ] = None,
    show_completion: Annotated[  # noqa: ARG001
        str | None,
        typer.Option(
            **choice("shell", *SHELLS),
            callback=_show,
            is_eager=True,
            help="Print the script that does it.",
        ),
    ] = None,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
