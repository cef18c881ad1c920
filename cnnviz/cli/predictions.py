"""What a classifier says: shares of classes, their worth, and what leaving maps out costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.cli.printing import Prediction
from cnnviz.core.types import Row, Tensor
from cnnviz.errors import CnnvizError, safe
from cnnviz.view.numbers import joined

if TYPE_CHECKING:
    from cnnviz.cli.images import Job
    from cnnviz.cli.subject import Subject

CLASSIFIERS = ("softmax", "log_softmax", "dense")


def class_count(last: Row) -> int | None:
    """Return how many classes a pipeline's last stage distinguishes; None if no classifier."""
    shape = last.output_shape
    per_class = prod(shape[1:]) == 1  # (N,), or (N, 1, 1) after global pooling
    return shape[0] if per_class and last.layer in CLASSIFIERS else None


def doubt(subject: Subject) -> str | None:
    """Return why the last stage's shares tell nothing, if so."""
    if subject.random_stages():
        return "untrained: with random weights these percentages mean nothing"
    if subject.rows[-1].output_shape[0] == 1:
        return "of a single class this is always 100 %: softmax compares classes"
    return None


def of_one_channel(rows: Sequence[Row]) -> str | None:
    """Say which softmax has a single channel to share 1 among."""
    alone = [row.name for row in rows if row.layer == "softmax" and row.output_shape[0] == 1]
    return f"softmax over a single channel is 1 everywhere: {joined(alone)}" if alone else None


def check_labels(job: Job, classes: int | None) -> None:
    """Raise CnnvizError if there are labels, and not one for each class."""
    if job.labels is not None and classes is not None and classes != len(job.labels):
        owner = job.network.labels or "the pipeline's [input]"
        raise CnnvizError(
            f"{owner} has {len(job.labels)} labels, the last stage {classes} values",
            hint="give one label a line for each class",
        )


def shares(row: Row, output: Tensor) -> NDArray[np.float64]:
    """Return the probabilities that a classifier's last stage gives, or its scores make."""
    values = output.reshape(-1).astype(np.float64)
    if row.layer == "log_softmax":
        values = np.exp(values)
    elif row.layer == "dense":
        values = np.exp(values - values.max())
        values /= values.sum()
    return values


def predict(job: Job, row: Row, output: Tensor) -> list[Prediction]:
    """Return the likeliest classes of a classifier's last stage, the likeliest first."""
    values = shares(row, output)
    names = class_names(job.labels, len(values))
    # A stable sort: equal probabilities come in the order of their classes.
    best = np.argsort(-values, kind="stable")[: job.network.top]
    return [Prediction(names[i], float(values[i])) for i in best]


def class_names(labels: Sequence[str] | None, count: int) -> Sequence[str]:
    """Return the classes' labels; their numbers where there are none, or others."""
    return labels if labels and len(labels) == count else list(map(str, range(count)))


def lost_without(subject: Subject, job: Job, output: Tensor) -> list[dict[str, Any]]:
    """Return what leaving maps out does to the likeliest classes of the whole network."""
    if not subject.pipeline.muted:
        return []
    whole = subject.pipeline.without({})
    scores = whole.forward(subject.x, subject.params, seed=job.output.seed)
    return losses_of_classes(subject.rows[-1], scores, output, job.labels, job.network.top)


def losses_of_classes(
    last: Row, whole: Tensor, left: Tensor, labels: Sequence[str] | None, top: int
) -> list[dict[str, Any]]:
    """Return the shares of the `top` likeliest classes of one output of a stage, and in another."""
    before, after = shares(last, whole), shares(last, left)
    names = class_names(labels, len(before))
    best = np.argsort(-before, kind="stable")[:top]
    return [
        {"label": names[i], "before": float(before[i]), "after": float(after[i])}
        for i in best.tolist()
    ]


def loss_text(lost: Mapping[str, Any]) -> str:
    """Write what a class loses."""
    return f"{safe(lost['label'])} {100 * lost['before']:.1f}% → {100 * lost['after']:.1f}%"
