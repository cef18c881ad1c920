"""``cnnviz layers``: the registry of layers, and one layer's card."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnviz.cli.options import FormatOptions

if TYPE_CHECKING:
    from cnnviz.core.layers import Layer

EXAMPLES = ("cnnviz layers", "cnnviz layers conv", "cnnviz layers --format md")


def layers(
    form: FormatOptions,
    name: Annotated[
        str | None, typer.Argument(metavar="[LAYER]", help="A layer's name.", show_default=False)
    ] = None,
) -> None:
    """List the layers, or show one: formula, options, defaults."""
    from cnnviz.cli.printing import print_listing
    from cnnviz.core.layers import find_layer

    if name is None:
        print_listing("layers", layer_records(), form.format, least=("formula", "family"))
        return
    layer = find_layer(name)
    if form.format == "json":
        from cnnviz.cli.printing import write
        from cnnviz.core.jsontext import json_text

        write(json_text(card(layer)) + "\n")
    else:
        _print_card(layer, form.format)


def layer_records() -> list[dict[str, str]]:
    """Return the registry, a record a line."""
    from cnnviz.core.layers import LAYERS

    return [
        {
            "layer": signature(layer),
            "family": layer.family,
            "what it does": layer.summary,
            "formula": layer.formula,
        }
        for layer in LAYERS.values()
    ]


def signature(layer: type[Layer]) -> str:
    """Return a layer's name with its aliases and its options."""
    from cnnviz.core.layers.base import options_of

    names = [field.name for field, _ in options_of(layer)]
    call = f"{layer.name}({', '.join(names)})" if names else layer.name
    return f"{call}, {', '.join(layer.aliases)}" if layer.aliases else call


def card(layer: type[Layer]) -> dict[str, Any]:
    """Return all facts of a layer's settings, JSON-ready."""
    from cnnviz.core.layers.base import options_of
    from cnnviz.core.text import value_text

    options = []
    for field, how in options_of(layer):
        default = how.shown_default
        if default is None and field.default is not dataclasses.MISSING:
            default = value_text(field.default)
        options.append({"option": field.name, "default": default, "meaning": how.help})
    return {
        "layer": layer.name,
        "aliases": list(layer.aliases),
        "family": layer.family,
        "summary": layer.summary,
        "formula": layer.formula,
        "source": (layer.__doc__ or "").split("\n")[0],
        "options": options,
    }


def _print_card(layer: type[Layer], form: str) -> None:
    from cnnviz.cli.console import stdout
    from cnnviz.cli.printing import print_about, print_listing

    about = card(layer)
    console = stdout()
    console.print(signature(layer), style="bold", markup=False)
    for key in ("summary", "formula", "source"):
        print_about(about[key])
    if about["options"]:
        console.print()
        records = [
            {**option, "default": option["default"] or "needed"} for option in about["options"]
        ]
        print_listing("options", records, form)
