"""``cnnviz kernels --weights``: what a weights file holds, and a stage's filters as a picture."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cnnviz.core.statistics import statistics_of
from cnnviz.core.types import Tensor
from cnnviz.errors import CnnvizError, safe, unknown
from cnnviz.files.weights import Weights, load_weights
from cnnviz.view.filters import Filters
from cnnviz.view.numbers import format_number

MOST_WEIGHTS = 2**26  # of a stage that is looked at: an archive of few bytes can hold more
LISTED = 64  # filters in the table
SHOWN = 12  # drawn in the terminal


def list_tensors(path: str, form: str) -> None:
    """Print every tensor's name, shape and type."""
    from cnnviz.cli.console import note
    from cnnviz.cli.printing import print_listing, write
    from cnnviz.core.jsontext import json_text

    tensors = load_weights(path).stored
    if form == "json":
        listed = [
            {"name": name, "shape": shape, "type": kind, "numbers": prod(shape)}
            for name, (shape, kind) in tensors.items()
        ]
        write(json_text({"weights": path, "tensors": listed}) + "\n")
        return
    records = [
        {
            "tensor": safe(name),
            "shape": _times(shape),
            "type": kind,
            "numbers": f"{prod(shape):,}",
        }
        for name, (shape, kind) in tensors.items()
    ]
    if records:
        print_listing("tensors", records, form, least=("numbers", "type"))
    else:
        note(f"{path} holds no tensors")


def show_filters(path: str, stage: str, out: Path | None, form: str, *, force: bool) -> None:
    """Print a stage's filters: their picture, and of each its range, mean and norm."""
    weights = load_weights(path)
    weight = _filters(weights, stage)
    filters = Filters.of(weight)
    if out is not None:
        _draw(filters, f"{stage}.weight  {_times(weight.shape)}", out, stage, force=force)
    facts = _facts(weight)
    if form == "json":
        from cnnviz.cli.printing import write
        from cnnviz.core.jsontext import json_text

        about = _about(weights, stage, weight)
        write(json_text({**about, "coloured": filters.coloured, "filters": facts}) + "\n")
        return
    from cnnviz.cli.printing import print_listing

    if form == "table":
        _print_card(_about(weights, stage, weight), filters)
    listed = facts if form == "md" else facts[:LISTED]
    records = [
        {key: str(v) if key == "filter" else format_number(v) for key, v in fact.items()}
        for fact in listed
    ]
    print_listing("filters", records, form)
    if len(listed) < len(facts):
        from cnnviz.cli.console import note

        note(f"{len(facts) - len(listed):,} more filters: --format json or md lists all")


def _filters(weights: Weights, stage: str) -> Tensor:
    """Return a stage's weights, if they are filters that can be drawn."""
    name = f"{stage}.weight"
    if name not in weights:
        stages = [
            key.removesuffix(".weight")
            for key, shape in weights.shapes.items()
            if key.endswith(".weight") and len(shape) == 4
        ]
        if not stages:
            raise CnnvizError(
                f"{weights.path} holds no filters",
                hint="they are STAGE.weight with four axes: filters, channels, rows, columns",
            )
        raise unknown(f"stage of {weights.path}", stage, stages)
    shape = weights.shapes[name]
    if len(shape) != 4 or not prod(shape):
        raise CnnvizError(
            f"{weights.path}: {name} is {_times(shape) or 'one number'}, no filters",
            hint="filters have four axes: filters, channels, rows, columns",
        )
    if prod(shape) > MOST_WEIGHTS:
        raise CnnvizError(
            f"{weights.path}: {name} is {_times(shape)}, {prod(shape):,} numbers",
            hint=f"up to {MOST_WEIGHTS:,} are drawn",
        )
    return weights[name]


def _about(weights: Weights, stage: str, weight: Tensor) -> dict[str, Any]:
    """Return what there is to say of all filters together, JSON-ready."""
    facts = statistics_of(weight)
    return {
        "weights": weights.path,
        "stage": stage,
        "shape": list(weight.shape),
        "type": weights.stored[f"{stage}.weight"].kind,
        "bias": f"{stage}.bias" in weights,
        "min": facts.min,
        "max": facts.max,
        "mean": facts.mean,
    }


def _facts(weight: Tensor) -> list[dict[str, float]]:
    """Return what there is to say of each filter."""
    rows = weight.reshape(len(weight), -1)
    with np.errstate(all="ignore"):  # NaN and infinities are values here
        columns = {
            "min": rows.min(axis=1),
            "max": rows.max(axis=1),
            "mean": rows.mean(axis=1, dtype=np.float64),
            "norm": np.sqrt(np.einsum("ki,ki->k", rows, rows, dtype=np.float64)),  # k: filter
        }
    return [
        {"filter": index, **{key: float(column[index]) for key, column in columns.items()}}
        for index in range(len(weight))
    ]


def _print_card(about: dict[str, Any], filters: Filters) -> None:
    from cnnviz.cli.console import PLAIN, coloured, printable, stdout
    from cnnviz.cli.printing import print_about
    from cnnviz.view.terminal import tile

    console = stdout()
    title = f"{about['stage']}.weight  {_times(about['shape'])}"
    console.print(printable(title), style="bold", **PLAIN)
    if about["min"] is None:
        span = "none finite"
    else:
        low, high, mean = (format_number(about[key]) for key in ("min", "max", "mean"))
        span = f"from {low} to {high}, mean {mean}"
    bias = "a bias" if about["bias"] else "no bias"
    print_about(f"{prod(about['shape']):,} weights {span}; {bias}; stored as {about['type']}")
    colours = coloured(console)
    print_about(filters.legend if colours else "dark is low, bright is high")
    pictures = filters.pictures(SHOWN, colours=colours)
    console.print()
    count = len(filters.labels)
    console.print(tile(pictures, filters.labels[:SHOWN], width=console.width, of=count))


def _draw(filters: Filters, title: str, path: Path, stage: str, *, force: bool) -> None:
    """Write the picture to the .png named, or into the folder under the stage's name."""
    from cnnviz.cli.console import note
    from cnnviz.cli.printing import MARK
    from cnnviz.files.images import png_bytes
    from cnnviz.files.outputs import write_file

    text = {
        MARK: stage,
        "cnnviz:min": repr(filters.scale.low),
        "cnnviz:max": repr(filters.scale.high),
    }
    # A stage's name may hold anything in a file that is not ours, even a path.
    name = re.sub(r"[^\w.-]", "_", stage)
    target = path if path.suffix else path / f"{name}.png"
    png = png_bytes(filters.sheet(title), text)
    note(f"wrote {write_file(target, png, mark=MARK.encode(), force=force)}")


def _times(shape: Any) -> str:
    return "×".join(map(str, shape))
