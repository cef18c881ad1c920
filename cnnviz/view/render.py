"""The pictures by name, each from its own room.

The labelled sheets are imported when they are first asked for: who writes only maps, one pixel a
value, does not wait for fonts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cnnviz.view.maps import draw_colour, draw_map
from cnnviz.view.numbers import format_number
from cnnviz.view.scale import Scale, choose_scale, count_outside

if TYPE_CHECKING:
    from cnnviz.view.grid import draw_grid
    from cnnviz.view.kernel import draw_kernel
    from cnnviz.view.vector import draw_vector

__all__ = [
    "Scale",
    "choose_scale",
    "count_outside",
    "draw_colour",
    "draw_grid",
    "draw_kernel",
    "draw_map",
    "draw_vector",
    "format_number",
]

_SHEETS = {"draw_grid": "grid", "draw_kernel": "kernel", "draw_vector": "vector"}


def __getattr__(name: str) -> object:
    if name not in _SHEETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cnnviz.view.{_SHEETS[name]}"), name)
