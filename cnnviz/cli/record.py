"""What is remembered of a run: its JSON object, its predictions, and run.json."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnnviz import __version__
from cnnviz.cli.job import Job
from cnnviz.cli.pictures import Written
from cnnviz.core.statistics import Ends
from cnnviz.core.types import Row, Shape, Stage, Tensor
from cnnviz.view import records

CLASSIFIERS = ("softmax", "log_softmax", "dense")


class Prediction(NamedTuple):
    """A class and its probability."""

    label: str
    probability: float


def class_count(last: Row) -> int | None:
    """Return how many classes a pipeline's last stage tells apart; None if it is no classifier."""
    shape = last.output_shape
    per_class = prod(shape[1:]) == 1  # (N,), or (N, 1, 1) after global pooling
    return shape[0] if per_class and last.layer in CLASSIFIERS else None


def predict(job: Job, row: Row, output: Tensor) -> list[Prediction]:
    """Return the likeliest classes where the pipeline ends in a classifier, the likeliest first."""
    if class_count(row) is None:
        return []
    values = output.reshape(-1).astype(np.float64)
    if row.layer == "log_softmax":
        values = np.exp(values)
    elif row.layer == "dense":
        values = np.exp(values - values.max())
        values /= values.sum()
    labels = job.labels if job.labels and len(job.labels) == len(values) else None
    # A stable sort: equal probabilities come in the order of their classes.
    best = np.argsort(-values, kind="stable")[: job.network.top]
    return [Prediction(labels[i] if labels else str(i), float(values[i])) for i in best]


def run_record(
    source: str,
    shape: Shape,
    ends: Ends,
    job: Job,
    stages: Sequence[Stage],
    written: Mapping[str, Written],
    predictions: Sequence[Prediction],
) -> dict[str, Any]:
    """Return the JSON object of section 8 of the contract."""
    pipeline = job.pipeline
    return records.document(
        __version__,
        source,
        shape,
        ends,
        str(pipeline),
        [
            records.stage_record(
                stage, written[stage.row.name].files if stage.row.name in written else ()
            )
            for stage in stages
        ],
        pipeline.totals(shape),
        [{"label": one.label, "probability": one.probability} for one in predictions],
    )


def _weights_name(job: Job) -> str | None:
    """Return the weights' path as given; of those that come with cnnviz the name alone."""
    from cnnviz.files.spec import BUNDLE

    path = job.network.weights
    return Path(path).name if path and Path(path).parent == BUNDLE else path


def repeatable_record(
    record: Mapping[str, Any], job: Job, written: Mapping[str, Written]
) -> dict[str, Any]:
    """Return what run.json holds: the record without times, and how to run it again."""
    stages = [
        {**stage, "seconds": None, "pictures": written[stage["name"]].pictures}
        if stage["name"] in written
        else {**stage, "seconds": None}
        for stage in record["stages"]
    ]
    return {
        "cnnviz": record["cnnviz"],
        "command": ["cnnviz", *sys.argv[1:]],
        "seed": job.output.seed,
        "weights": _weights_name(job),
        "sort": job.output.sort,
        "limit": job.output.limit,
        "preparation": asdict(job.input),
        **{key: value for key, value in record.items() if key not in ("cnnviz", "stages")},
        "stages": stages,
    }
