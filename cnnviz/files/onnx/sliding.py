"""Operators that slide windows, pool, pad and resample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cnnviz.core.types import Pads, Pair
from cnnviz.errors import CnnvizError
from cnnviz.files.onnx.arranging import merged_axes, turned, widened
from cnnviz.files.onnx.call import Call, UnsupportedError, Value, place, shortest
from cnnviz.files.onnx.protobuf import Array

_AUTO = {"SAME_UPPER": "same", "SAME_LOWER": "same-lower", "VALID": "valid"}


def _padding(call: Call, rank: int) -> str | Pads:
    """Return the padding as layers take it."""
    rule = call.text("auto_pad", "NOTSET")
    if rule != "NOTSET":
        if rule not in _AUTO:
            raise UnsupportedError(f"auto_pad {rule}")
        return _AUTO[rule]
    pads = call.integers("pads") or (0,) * (2 * (rank - 2))
    if len(pads) != 2 * (rank - 2):
        raise CnnvizError(f"its pads are {len(pads)} numbers for {rank - 2} axes")
    if rank == 3:
        return (0, pads[0], 0, pads[1])
    return (pads[0], pads[1], pads[2], pads[3])


def _window(call: Call, rank: int) -> dict[str, Any]:
    """Return stride, padding and dilation."""
    return {
        "stride": call.pair("strides", 1, rank),
        "padding": _padding(call, rank),
        "dilation": call.pair("dilations", 1, rank),
    }


def _filters(call: Call, x: Value) -> tuple[Array, dict[str, Array]]:
    """Return the weight as (O, I, kh, kw), and the parameters of the layer."""
    weight, bias = call.constant(1), call.optional(2)
    if weight.ndim != x.rank:
        raise CnnvizError(f"its weight has {weight.ndim} axes, its input {x.rank}")
    if x.rank == 3:
        weight = weight[:, :, None]
    kernel = weight.shape[2:]
    if call.node.attributes.get("kernel_shape") and call.pair("kernel_shape", 1, x.rank) != kernel:
        raise CnnvizError(f"its kernel_shape is not that of its weight, {kernel[0]}×{kernel[1]}")
    return weight, {"weight": weight} | ({} if bias is None else {"bias": bias})


def _bias(params: dict[str, Array]) -> bool | None:
    """Return a layer's setting: a bias is the default."""
    return None if "bias" in params else False


def _conv(call: Call) -> Value:
    x = call.maps()
    weight, params = _filters(call, x)
    groups, channels, filters = call.integer("group", 1), x.shape[1], weight.shape[0]
    settings = _window(call, x.rank) | {"kernel_size": weight.shape[2:], "bias": _bias(params)}
    if groups == channels > 1 and filters and filters % channels == 0:
        return call.add("depthwise", x, params=params, filters=filters // channels, **settings)
    return call.add("conv", x, params=params, filters=filters, groups=groups, **settings)


def _conv_transpose(call: Call) -> Value:
    x = call.maps()
    weight, params = _filters(call, x)
    groups = call.integer("group", 1)
    settings = _window(call, x.rank)
    extra = call.pair("output_padding", 0, x.rank) if x.rank == 4 else (
        0, *(call.integers("output_padding") or (0,)),
    )  # fmt: skip
    wanted = call.integers("output_shape")
    if wanted is not None:
        settings["padding"], extra = _to_reach(call, x, wanted, weight.shape[2:], settings, extra)
    return call.add(
        "conv_transpose", x, params=params, filters=weight.shape[1] * groups, groups=groups,
        kernel_size=weight.shape[2:], output_padding=extra, bias=_bias(params), **settings,
    )  # fmt: skip


def _to_reach(
    call: Call, x: Value, wanted: tuple[int, ...], kernel: Any, settings: dict[str, Any],
    extra: Any,
) -> tuple[Pads, Pair]:  # fmt: skip
    """Return the padding and output padding that give an output of the size wanted.

    total = stride · (L − 1) + output padding + extent − wanted, the odd pixel at the end unless
    auto_pad is SAME_UPPER (ONNX's rule).
    """
    if x.rank != 4 or len(wanted) < 2:
        raise UnsupportedError("output_shape of one axis")
    before, after, more = [], [], []
    for axis in (0, 1):
        extent = settings["dilation"][axis] * (kernel[axis] - 1) + 1
        length = settings["stride"][axis] * (x.shape[2 + axis] - 1) + extent + extra[axis]
        total = length - wanted[axis - 2]
        more.append(extra[axis] - min(total, 0))
        total = max(total, 0)
        less = total // 2
        upper = call.text("auto_pad", "NOTSET") == "SAME_UPPER"
        before.append(less if upper else total - less)
        after.append(total - less if upper else less)
    return (before[0], before[1], after[0], after[1]), (more[0], more[1])


def _pool(layer: str, **own: Callable[[Call], Any]) -> Callable[[Call], Value]:
    """Return the builder of a sliding pool; `own` settings are read from the node."""

    def build(call: Call) -> Value:
        if call.value().rank == 5:
            return _pool_of_five(call, build)
        x = call.maps()
        if call.integer("storage_order", 0):
            raise UnsupportedError("storage_order 1")
        settings = _window(call, x.rank) | {
            "kernel_size": call.pair("kernel_shape", 0, x.rank),
            "ceil_mode": bool(call.integer("ceil_mode", 0)),
        }
        return call.add(layer, x, **settings, **{name: read(call) for name, read in own.items()})

    return build


def _pool_of_five(call: Call, build: Callable[[Call], Value]) -> Value:
    """Pool over one of five axes, as exporters write PyTorch's local response normalisation."""
    x, names = call.value(), ("kernel_shape", "strides", "dilations")
    given = {name: call.integers(name) or (1, 1, 1) for name in names}
    pads = call.integers("pads") or (0,) * 6
    still = [
        all(of[at] == 1 for of in given.values()) and pads[at] == pads[at + 3] == 0 for at in (1, 2)
    ]
    if any(len(of) != 3 for of in given.values()) or len(pads) != 6 or not all(still):
        raise UnsupportedError("windows of three axes")
    attributes = {
        **call.node.attributes, **{name: of[:2] for name, of in given.items()},
        "pads": (pads[0], 0, pads[3], 0),
    }  # fmt: skip
    folded = call.view(x, (*x.shape[:3], x.shape[3] * x.shape[4]), ".folded")
    node = call.node._replace(attributes=attributes)
    made = build(replace(call, node=node, inputs=(folded, *call.inputs[1:])))
    return call.view(made, (*made.shape[:3], *x.shape[3:]))


def _p(call: Call) -> float:
    found = call.node.attributes.get("p", 2)
    if not isinstance(found, (int, float)):
        raise CnnvizError(f"its p is {found!r}")
    return found


def _whole(layer: str) -> Callable[[Call], Value]:
    return lambda call: call.add(layer, call.maps())


def _global_lp(call: Call) -> Value:
    return call.add("global_lppool", call.maps(), norm_type=_p(call))


_BORDERS = {
    "constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular",
}  # fmt: skip


def _pad(call: Call) -> Value:
    x = call.value()
    amounts = call.integers("pads", 1) or call.integers("paddings") or ()
    fill = call.static("value", 2) if call.opset < 11 else call.optional(2)
    axes = call.integers("axes", 3)
    axes = tuple(range(x.rank)) if axes is None else axes
    if len(amounts) != 2 * len(axes):
        raise CnnvizError(f"its pads are {len(amounts)} numbers for {len(axes)} axes")
    mode = call.text("mode", "constant")
    if mode not in _BORDERS:
        raise UnsupportedError(f"mode {mode}")
    pads = [(0, 0)] * x.rank
    for number, axis in enumerate(axes):
        pads[place(axis, x.rank)] = (amounts[number], amounts[number + len(axes)])
    value = 0.0 if fill is None or fill.size == 0 else shortest(float(fill.reshape(-1)[0]))
    return _padded(call, x, pads, _BORDERS[mode], value if mode == "constant" else 0.0)


def _padded(call: Call, x: Value, pads: list[Pair], mode: str, value: float) -> Value:
    """Pad every axis by its two numbers; negative ones cut."""
    if x.rank > 4:  # axes that are not padded are one
        merged, kept = merged_axes(x.shape, [pad != (0, 0) for pad in pads])
        made = _padded(call, call.view(x, merged), [pads[at] for at in kept], mode, value)
        return call.view(
            made, tuple(side + sum(pad) for side, pad in zip(x.shape, pads, strict=True))
        )
    source, path = call.stages.turned.get(x.stage, (x, ()))
    if len(path) == x.rank == source.rank:  # before it is turned
        own = [pads[path.index(axis)] for axis in range(x.rank)]
        return turned(call, _padded(call, source, own, mode, value), path)
    for axis, (before, after) in enumerate(pads):
        x = _cropped(call, x, axis, max(-before, 0), max(-after, 0))
    sides = [0, 0, 0, 0]
    for axis, (before, after) in enumerate(pads):
        pad = (max(before, 0), max(after, 0))
        if pad == (0, 0):
            continue
        at = x.axis(axis)
        if at:
            sides[at - 1], sides[at + 1] = pad
        elif mode == "constant":
            x = widened(call, x, axis, pad, f".channels{axis}", value)
        else:
            raise UnsupportedError(f"pads channels by mode {mode}")
    if not any(sides):
        return x
    settings: dict[str, Any] = {"padding_mode": mode}
    if mode == "constant":
        settings = {"padding_mode": "constant", "pad_value": value} if value else {}
    return call.add("pad", x, padding=tuple(sides), **settings)


def _cropped(call: Call, x: Value, axis: int, before: int, after: int) -> Value:
    if before == after == 0:
        return x
    length = x.shape[axis] - before - after
    if length < 1:
        raise CnnvizError(f"it cuts {before + after} of the {x.shape[axis]} of an axis")
    part = f".cut{axis}"
    return call.add("slice", x, axis=x.axis(axis), start=before, length=length, part=part)


_MODES = {
    "nearest": "nearest", "linear": "bilinear", "bilinear": "bilinear", "cubic": "bicubic",
}  # fmt: skip
_COPIES = {
    ("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"), ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"), ("tf_half_pixel_for_nn", "floor"),
}  # fmt: skip
"""Ways to find the nearest input that copy each value as often as a whole scale says."""


def _upsample(call: Call) -> Value:
    """Build Upsample, and Resize before opset 11: x/scale, rounded down."""
    x = call.maps()
    scales = call.static("scales", 1)
    scale = _of_maps(call, x, None if scales is None else scales.reshape(-1).tolist(), (1,) * 4)
    return _resampled(call, x, "asymmetric", "floor", scale=scale)


def _resize(call: Call) -> Value:
    if call.opset < 11:
        return _upsample(call)
    if call.integer("antialias", 0):
        raise UnsupportedError("antialias")
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise UnsupportedError(f"keep_aspect_ratio_policy {policy}")
    coordinates = call.text("coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_crop_and_resize":
        raise UnsupportedError(f"coordinate_transformation_mode {coordinates}")
    rounding = call.text("nearest_mode", "round_prefer_floor")
    x, sizes, scales = call.maps(), call.integers("sizes", 3), call.optional(2)
    if sizes:
        size = _of_maps(call, x, list(sizes), x.shape)
        return _resampled(call, x, coordinates, rounding, size=size)
    scale = _of_maps(call, x, None if scales is None else scales.reshape(-1).tolist(), (1,) * 4)
    return _resampled(call, x, coordinates, rounding, scale=scale)


def _of_maps(
    call: Call, x: Value, given: list[Any] | None, same: tuple[int, ...]
) -> tuple[Any, Any]:
    """Return the numbers given for rows and columns; for other axes they must change nothing."""
    axes = call.integers("axes") or tuple(range(x.rank))
    if not given or len(given) != len(axes):
        raise CnnvizError("it has neither scales nor sizes for its axes")
    numbers = dict(enumerate(same[: x.rank]))
    numbers.update(zip((axis % x.rank for axis in axes), given, strict=True))
    if (numbers[0], numbers[1]) != same[:2]:
        raise UnsupportedError("resizes channels")
    return (numbers[2], numbers[3]) if x.rank == 4 else (1, numbers[2])


def _resampled(
    call: Call, x: Value, coordinates: str, rounding: str, *,
    scale: tuple[float, float] | None = None, size: Pair | None = None,
) -> Value:  # fmt: skip
    """Add an `upsample` where it does the same, else a `resize`."""
    mode = call.text("mode", "nearest")
    if mode not in _MODES:
        raise UnsupportedError(f"mode {mode}")
    copies = mode == "nearest" and (coordinates, rounding) in _COPIES
    blends = _MODES[mode] == "bilinear" and coordinates in ("half_pixel", "pytorch_half_pixel")
    settings: dict[str, Any] = {"mode": _MODES[mode]}
    if scale and all(one >= 1 and float(one).is_integer() for one in scale) and (copies or blends):
        return call.add("upsample", x, scale=(int(scale[0]), int(scale[1])), **settings)
    settings["coordinates"] = coordinates
    if mode == "nearest":
        settings["rounding"] = rounding
    if mode == "cubic":
        settings["cubic_coeff_a"] = shortest(call.number("cubic_coeff_a", -0.75))
        if call.integer("exclude_outside", 0):
            raise UnsupportedError("exclude_outside")
    if size:
        return call.add("resize", x, size=size, **settings)
    return call.add("resize", x, scale=tuple(map(shortest, scale or (1, 1))), **settings)


def _depth_to_space(call: Call) -> Value:
    mode = call.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise UnsupportedError(f"mode {mode}")
    channels = "inner" if mode == "DCR" else "outer"
    return call.add(
        "depth_to_space", call.maps(), block=call.integer("blocksize", 0), channels=channels
    )


def _space_to_depth(call: Call) -> Value:
    block = call.integer("blocksize", 0)
    return call.add("space_to_depth", call.maps(), block=block, channels="inner")


OPERATORS: dict[str, Callable[[Call], Value]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("maxpool"),
    "AveragePool": _pool(
        "avgpool", count_include_pad=lambda call: bool(call.integer("count_include_pad", 0))
    ),
    "LpPool": _pool("lppool", norm_type=_p),
    "GlobalAveragePool": _whole("global_avgpool"),
    "GlobalMaxPool": _whole("global_maxpool"),
    "GlobalLpPool": _global_lp,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _upsample,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
