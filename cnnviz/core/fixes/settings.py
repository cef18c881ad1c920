"""Which values of a setting may make its stage fit, worked out from the shape it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import gcd, prod
from typing import Any

from cnnviz.core.border import BORDERS
from cnnviz.core.layers import Layer
from cnnviz.core.layers.base import plane
from cnnviz.core.types import Pads, Shape
from cnnviz.core.window import Window


def _windowed(layer: Layer, shape: Shape) -> tuple[Window, Pads] | None:
    """Return a layer's window and its pads on an input of `shape`, if one slides."""
    window = layer.window(shape) if len(shape) == 3 else None
    return None if window is None else (window, window.pads(plane(shape)))


def _fitting_kernel(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the largest kernel that fits the padded map; one that padding alone cannot hold."""
    if (found := _windowed(layer, shape)) is None:
        return
    window, pads = found
    sizes, above = plane(shape), []
    fitting = []
    for axis in (0, 1):
        kernel, step = window.kernel_size[axis], window.dilation[axis]
        padded = sizes[axis] + pads[axis] + pads[axis + 2]
        fitting.append(min(kernel, (padded - 1) // step + 1))
        above.append(max(kernel, max(pads[axis], pads[axis + 2]) // step + 1))
    if layer.family != "pooling" or fitting != [1, 1]:  # pooling single cells is none
        yield tuple(fitting)
    yield tuple(above)


def _smaller_padding(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the padding cut to what a mirror reaches, or to less than the window; then none."""
    if (found := _windowed(layer, shape)) is None:
        return
    window, pads = found
    reach = BORDERS[getattr(layer, "padding_mode", "zeros")].reach
    limits = [
        extent - 1 if (limit := reach(length)) is None else limit
        for extent, length in zip(window.extent, plane(shape), strict=True)
    ]
    yield tuple(min(pad, limits[side % 2]) for side, pad in enumerate(pads))
    yield "valid"


def _common_groups(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the divisors of the channels in and out, from the groups asked for down."""
    both = gcd(shape[0], getattr(layer, "count", 1))
    for groups in range(min(getattr(layer, "groups", 1), both), 0, -1):
        if both % groups == 0:
            yield groups
            return


def _next_filters(layer: Layer) -> Iterator[Any]:
    """Yield the next number of filters that the groups divide."""
    filters, groups = getattr(layer, "filters", None), getattr(layer, "groups", 1)
    if isinstance(filters, int):
        yield -(-filters // groups) * groups


def _side(layer: Layer, shape: Shape) -> int:
    """Return the length of the axis a layer works along, 0 where there is none."""
    axis = getattr(layer, "axis", 0)
    return shape[axis] if axis < len(shape) else 0


def _fitting_slice(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield how many positions there are from the start on."""
    start, step = getattr(layer, "start", 0), getattr(layer, "step", 1)
    side = _side(layer, shape)
    if start < side:
        yield (side - 1 - start) // step + 1 if step > 0 else start // -step + 1


def _fitting_start(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the start nearest to the one asked for from which all positions exist."""
    step, span = getattr(layer, "step", 1), getattr(layer, "length", 1) - 1
    side = _side(layer, shape)
    yield side - 1 - span * step if step > 0 else min(side - 1, max(-span * step, 0))


def _full_shapes(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield shapes that hold all values: two sides kept, then a vector."""
    asked, count = tuple(getattr(layer, "shape", None) or ()), prod(shape)
    for side in range(len(asked) if len(asked) == 3 else 0):
        rest = prod(length for axis, length in enumerate(asked) if axis != side)
        if count % rest == 0:
            yield (*asked[:side], count // rest, *asked[side + 1 :])
    if len(asked) == 3:
        yield (count, 1, 1)
    yield (count,)


def _stretching_shapes(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the parameter's shape with the sides that are wrong made 1; one for each channel."""
    asked = tuple(getattr(layer, "shape", None) or ())
    if len(asked) == len(shape):
        yield tuple(a if a == b else 1 for a, b in zip(asked, shape, strict=True))
    yield None


def _fitting_block(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield the largest block not above the one asked for that channels fill."""
    for block in range(min(getattr(layer, "block", 1), int(shape[0] ** 0.5)), 0, -1):
        if shape[0] % block**2 == 0:
            yield block
            return


def _leaving_scale(layer: Layer, shape: Shape) -> Iterator[Any]:
    """Yield a scale that leaves at least one row and column."""
    scale = getattr(layer, "scale", None)
    if len(shape) == 3 and isinstance(scale, tuple):
        least = [-(-1000 // length) / 1000 for length in plane(shape)]
        yield tuple(max(own, low) for own, low in zip(scale, least, strict=True))


def _always(*values: Any) -> Callable[[Layer, Shape], Iterator[Any]]:
    return lambda _layer, _shape: iter(values)


SETTINGS: tuple[tuple[str, Callable[[Layer, Shape], Iterator[Any]]], ...] = (
    ("padding", _always("same")),
    ("padding", _smaller_padding),
    ("kernel_size", _fitting_kernel),
    ("dilation", _always(1)),
    ("padding_mode", _always("replicate", "zeros")),
    ("groups", _common_groups),
    ("filters", lambda layer, _: _next_filters(layer)),
    ("num_parameters", lambda _, shape: iter((shape[0], 1))),
    ("length", _fitting_slice),
    ("start", _fitting_start),
    ("block", _fitting_block),
    ("scale", _leaving_scale),
    ("axes", _always(0)),
    ("axis", _always(0)),
    ("shape", _full_shapes),
    ("shape", _stretching_shapes),
    ("stride", _always(1)),
)
"""A setting, and the values that may make its stage fit, the least change first."""
