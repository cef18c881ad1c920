"""What a command looks closely at: one image on its way through one pipeline."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnviz.errors import CnnvizError, RequestError

if TYPE_CHECKING:
    from cnnviz.cli.options import FolderOptions, InputOptions
    from cnnviz.core.pipeline import Pipeline
    from cnnviz.core.types import Params, Samples, Tensor
    from cnnviz.files.spec import Spec


class Subject(NamedTuple):
    """An image, the pipeline it goes through, and that pipeline's weights."""

    source: str  # as it was given
    stem: str  # names its folder of output
    spec: Spec
    x: Tensor | Samples
    params: Params | None  # loaded ones; stages that are not in it use their own

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return self.spec.pipeline

    @property
    def called(self) -> str:
        """What people call the pipeline: a bundled one or a file by its name, else its text."""
        return str(self.pipeline) if self.spec.name == "pipeline" else self.spec.name

    def input_record(self) -> dict[str, Any]:
        """Return what JSON says of the image."""
        from cnnviz.core.statistics import finite_range

        low, high = finite_range(self.x)
        return {"path": self.source, "shape": list(self.x.shape), "min": low, "max": high}

    def random_stages(self, last: int | None = None) -> list[str]:
        """Return the stages whose weights are drawn, up to number `last`."""
        rows = self.pipeline.rows(self.x.shape, self.params)
        return [
            row.name
            for row in rows
            if row.weights == "drawn" and (last is None or row.index <= last)
        ]


def random_note(stages: Sequence[str], seed: int) -> str:
    """Say that the weights of some stages are drawn."""
    from cnnviz.cli.printing import joined

    return f"random weights (seed {seed}): {joined(stages)}"


def random_notes(subjects: Mapping[str, Subject], seed: int) -> list[str]:
    """Say of each pipeline, by its name, which weights are drawn; once of those that draw alike."""
    owners = dict[tuple[str, ...], list[str]]()
    for name, subject in subjects.items():
        if random := subject.random_stages():
            owners.setdefault(tuple(random), []).append(name)
    return [
        (f"{whose}: " if (whose := " and ".join(names)) else "") + random_note(random, seed)
        for random, names in owners.items()
    ]


def check_out(folder: FolderOptions) -> None:
    """Raise RequestError if --out is empty."""
    if not folder.out:
        raise RequestError("--out names no folder", hint="--out . is the current one")


def repeatable(answer: Mapping[str, Any], seed: int, weights: str | None) -> dict[str, Any]:
    """Return what a command's record holds: its answer, and how to get it again."""
    return {
        "cnnviz": answer["cnnviz"],
        "command": ["cnnviz", *sys.argv[1:]],
        "seed": seed,
        "weights": weights,
        **{key: value for key, value in answer.items() if key not in ("cnnviz", "files")},
    }


def read_subject(
    source: str, spec: Spec, inputs: InputOptions, weights: str | None = None
) -> Subject:
    """Load an image as the flags, or else the pipeline's own settings, prepare it.

    `weights` is a file's path, and wins over what comes with the pipeline.

    Raises
    ------
    CnnvizError
        If the image or the weights cannot be read, or do not fit the pipeline; if `source` is a
        folder of several images.
    """
    from cnnviz.cli.job import input_options
    from cnnviz.files.images import expand_inputs, load_pixels, stem

    found = expand_inputs([source])
    if len(found) != 1:
        raise CnnvizError(
            f"{source} holds {len(found)} images", hint="name one of them: one is looked at"
        )
    x = load_pixels(found[0], input_options(inputs, spec.input))
    return _subject(found[0], stem(found[0]), spec, x, weights)


def read_another(
    subject: Subject, spec: Spec, inputs: InputOptions, weights: str | None = None
) -> Subject:
    """Return a subject's image on its way through another pipeline, prepared as that one says.

    It is read again only where that differs; parameters and errors are those of `read_subject`.
    """
    from cnnviz.cli.job import input_options

    if input_options(inputs, spec.input) != input_options(inputs, subject.spec.input):
        if subject.source == "-":
            raise RequestError(
                "standard input is read once, and the two pipelines want it prepared differently",
                hint="give the image as a file, or say how by flags: --color, --resize, …",
            )
        return read_subject(subject.source, spec, inputs, weights)
    return _subject(subject.source, subject.stem, spec, subject.x, weights)


def _subject(
    source: str, stem: str, spec: Spec, x: Tensor | Samples, weights: str | None
) -> Subject:
    list(spec.pipeline.rows(x.shape))  # what does not fit is told before any weight is read
    path = weights if weights is not None else spec.input.weights
    params = load_params(spec.pipeline, x.shape, path, spec.params)
    return Subject(source, stem, spec, x, params)


def load_params(
    pipeline: Pipeline, shape: tuple[int, ...], path: str | None, own: Params | None = None
) -> Params | None:
    """Return a pipeline's weights for an input of `shape`: from a file, over its `own`.

    Stages of chosen kernels and those with weights of their own need none in the file.
    """
    if path is None:
        return own
    from cnnviz.files.weights import check_weights, load_weights

    specs = pipeline.param_specs(shape)
    chosen = {row.name for row in pipeline.rows(shape) if row.weights == "kernels"}
    given = own or {}
    optional = frozenset(key for key in specs if key in given or key.rpartition(".")[0] in chosen)
    loaded = check_weights(load_weights(path), specs, optional, path)
    return {**given, **loaded} if given else loaded
