"""The ``cnnviz`` command and its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnviz import __version__
from cnnviz.cli import convolve, kernels, layers, pipeline, pool, shapes
from cnnviz.cli.door import App, command

app = App(
    name="cnnviz",
    help="See what a convolutional network does to your own picture.",
    epilog=(
        "Start with:  cnnviz convolve photo.jpg -k sobel\n\n"
        "Learn more:  cnnviz COMMAND --help, cnnviz kernels, cnnviz layers"
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for module in (convolve, pool, pipeline, shapes, kernels, layers):
    name = module.__name__.rpartition(".")[2]
    app.command(name, epilog="\n\n".join(["Examples:", *module.EXAMPLES]))(
        command(getattr(module, name))
    )


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cnnviz {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass
