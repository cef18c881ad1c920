"""Layers as text, in the words of the pipeline language; ``files.spec`` reads them back."""

from __future__ import annotations

import re
from typing import Any

from cnnviz.core.layers import KernelGroup, Layer
from cnnviz.core.layers.base import options_of
from cnnviz.core.settings import Padding

_BARE = re.compile(r"[A-Za-z_](?:[\w.]|-(?!>))*", re.ASCII)
_CALL = re.compile(r"[A-Za-z_]\w*\([\w\s.,=+/-]*\)", re.ASCII)


def layer_text(layer: Layer) -> str:
    """Return the layer as a pipeline term.

    >>> from cnnviz.core.layers import make_layer
    >>> layer_text(make_layer("conv", 8, (5, 3), padding="same"))
    'conv(8, (5, 3), padding=same)'
    """
    given = [
        value_text(value) if name is None else f"{name}={value_text(value)}"
        for name, value in layer.arguments()
    ]
    return f"{layer.name}({', '.join(given)})" if given else layer.name


def value_text(value: Any) -> str:
    """Return a setting's value as text that reads back to it."""
    match value:
        case bool():
            text = "true" if value else "false"
        case Padding():
            text = value_text(value.value())
        case KernelGroup():
            plain = _BARE.fullmatch(value.text) or _CALL.fullmatch(value.text)
            text = value.text if plain else quoted(value.text)
        case str():
            text = value if _BARE.fullmatch(value) or value.isdecimal() else quoted(value)
        case (KernelGroup() | str(), *_):
            text = ", ".join(value_text(one) for one in value)
        case (int() as rows, int() as columns) if rows == columns:
            text = str(rows)
        case tuple():
            text = f"({', '.join(value_text(one) for one in value)})"
        case _:
            text = str(value)
    return text


def quoted(text: str) -> str:
    r"""Return text in double quotes, with quotes and backslashes escaped.

    >>> print(quoted('@my "kernel".csv'))
    "@my \"kernel\".csv"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def json_settings(layer: Layer) -> dict[str, object]:
    """Return every setting of a layer by name, as JSON has it."""
    names = (field.name for field, _ in options_of(type(layer)))
    return {name: json_value(getattr(layer, name)) for name in names}


def json_value(value: Any) -> Any:
    """Return a setting's value as JSON has it."""
    match value:
        case Padding():
            return json_value(value.value())
        case KernelGroup():
            return value.text
        case tuple():
            return [json_value(one) for one in value]
        case _:
            return value
