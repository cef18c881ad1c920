"""Rows, stages and runs as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnviz.core.derivation import Derivation
from cnnviz.core.jsontext import json_ready
from cnnviz.core.statistics import Ends
from cnnviz.core.types import Shape, Stage, Statistics, Totals
from cnnviz.view.columns import Entry, finite, row_of


def stage_record(entry: Entry, files: Sequence[str] = ()) -> dict[str, object]:
    """Return one stage as JSON has it; what a row alone does not hold is null."""
    row = row_of(entry)
    stage = entry if isinstance(entry, Stage) else None
    facts = stage.statistics if stage else Statistics(None, None, None, math.nan, 0)
    return {
        "index": row.index,
        "name": row.name,
        "layer": row.layer,
        "settings": json_ready(row.settings),
        "inputs": list(row.inputs),
        "kernel_size": _list(row.kernel_size),
        "stride": _list(row.stride),
        "padding": _list(row.padding),
        "dilation": _list(row.dilation),
        "groups": row.groups,
        "input_shape": _list(row.input_shape),
        "output_shape": _list(row.output_shape),
        "params": row.params,
        "mult_adds": row.macs,
        "receptive_field": _list(row.receptive_field),
        "effective_stride": _list(row.effective_stride),
        "effective_padding": _list(row.effective_padding),
        "memory_bytes": row.memory_bytes,
        "algorithm": stage.algorithm if stage else None,
        "min": finite(facts.min),
        "max": finite(facts.max),
        "mean": finite(facts.mean),
        "zeros": finite(facts.zeros),
        "seconds": finite(stage.seconds) if stage else None,
        **_losses(stage),
        "files": list(files),
    }


def _losses(stage: Stage | None) -> dict[str, object]:
    """Return what a stage let go of, if a run was asked to find out."""
    if stage is None or stage.losses is None:
        return {}
    return {
        "dead": stage.losses.dead,
        "discarded": finite(stage.losses.discarded),
        "contamination": finite(stage.row.contamination),
    }


def derivation_record(derivation: Derivation) -> dict[str, object]:
    """Return how a stage's shape comes about, as JSON has it beside `stage_record`.

    `untouched` counts the rows and columns of the input that no output reads; null for layers
    where that is no question.
    """
    gone = derivation.untouched
    return {
        "derivation": [{"label": line.label, "text": line.text} for line in derivation.lines],
        "untouched": None if gone is None else {"rows": gone[0], "columns": gone[1]},
    }


def document(
    version: str,
    source: str | None,
    shape: Shape,
    ends: Ends | None,
    pipeline: str,
    stages: Sequence[Mapping[str, object]],
    totals: Totals | None,
    predictions: Sequence[Mapping[str, object]] = (),
) -> dict[str, Any]:
    """Return the whole JSON object.

    Without an image `source` and `ends` are None, without a last stage `totals`.
    """
    return {
        "cnnviz": version,
        "input": {
            "path": source,
            "shape": list(shape),
            "min": ends[0] if ends else None,
            "max": ends[1] if ends else None,
        },
        "pipeline": pipeline,
        "stages": list(stages),
        "totals": totals_record(totals) if totals else None,
        "predictions": list(predictions),
    }


def totals_record(totals: Totals) -> dict[str, object]:
    """Return the sums as JSON has them."""
    return {
        "params": totals.params,
        "mult_adds": totals.macs,
        "memory_bytes": totals.memory_bytes,
        "peak_bytes": totals.peak_bytes,
    }


def _list(values: Iterable[float] | None) -> list[int | float | None] | None:
    """Return numbers with the whole ones as integers; None for NaN and infinities."""
    if values is None:
        return None
    return [
        None if not math.isfinite(value) else int(value) if value == int(value) else value
        for value in values
    ]
