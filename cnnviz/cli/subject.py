"""What a command looks at: one image on its way through one pipeline, and what is kept of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cnnviz.cli.console import counted, note
from cnnviz.errors import CnnvizError, RequestError

if TYPE_CHECKING:
    from cnnviz.cli.options import FolderOptions, InputOptions
    from cnnviz.core.pipeline import Pipeline
    from cnnviz.core.types import Params, Row, Samples, Tensor
    from cnnviz.files import images
    from cnnviz.files.outputs import OutputFolder
    from cnnviz.files.spec import InputSettings, Spec


@dataclass(frozen=True, eq=False)
class Subject:
    """An image, the pipeline it goes through, and that pipeline's weights."""

    source: str  # as it was given
    stem: str  # names its folder of output
    spec: Spec
    input: images.InputOptions  # how it was prepared
    x: Tensor | Samples
    params: Params | None  # loaded ones; stages that are not in it use their own

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return self.spec.pipeline

    @cached_property
    def rows(self) -> Sequence[Row]:
        """What the pipeline promises of each stage."""
        return tuple(self.pipeline.rows(self.x.shape, self.params))

    @property
    def called(self) -> str:
        """What people call the pipeline: a bundled one or a file by its name, else its text."""
        return str(self.pipeline) if self.spec.name == "pipeline" else self.spec.name

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the input's channels: their colours, or their numbers."""
        from cnnviz.files.preparation import COLORS

        count = self.x.shape[0]
        colors = COLORS["gray" if count == 1 else self.input.color]
        return colors if len(colors) == count else tuple(map(str, range(count)))

    def remarks(self, seed: int, last: int | None = None) -> Iterator[str]:
        """Yield how a network's picture was prepared, and which weights are drawn up to a stage."""
        from cnnviz.files.spec import InputSettings

        if replace(self.spec.input, labels=None, weights=None) != InputSettings():
            yield f"{self.spec.name}: the picture is {self._prepared()}"
        if random := self.random_stages(last):
            yield random_note(random, seed)

    def _prepared(self) -> str:
        """Return how the picture was prepared, by the pipeline's own settings and by flags."""
        from cnnviz.core.types import size_text

        how, parts = self.input, [self.input.color]
        if how.crop:
            parts.append(f"scaled to cover {size_text(how.resize or how.crop)}")
            parts.append(f"cut to its middle {size_text(how.crop)}")
        elif how.resize:
            parts.append(f"scaled to {size_text(how.resize)}")
        parts += [f"fitted ({how.fit})"] * (how.fit != "none")
        parts += [f"inverted ({how.invert})"] * (how.invert != "never")
        if how.input_range is not None:
            parts.append(f"0 to {how.input_range:g}")
        for sign, values in (("−", how.mean), ("/", how.std)):
            if values is not None:
                parts.append(f"{sign} {', '.join(f'{value:g}' for value in values)}")
        if self.spec.params is not None and how.mean is None:
            parts.append("and the file tells no mean and deviation (--mean, --std)")
        return "; ".join(parts)

    def input_record(self) -> dict[str, Any]:
        """Return what JSON says of the image."""
        from cnnviz.core.statistics import finite_range

        low, high = finite_range(self.x)
        return {"path": self.source, "shape": list(self.x.shape), "min": low, "max": high}

    def random_stages(self, last: int | None = None) -> list[str]:
        """Return the stages of drawn weights, up to number `last`."""
        return [
            row.name
            for row in self.rows
            if row.weights == "drawn" and (last is None or row.index <= last)
        ]

    def folder(
        self, options: FolderOptions, names: Sequence[str], record: str, *, collects: bool = False
    ) -> OutputFolder:
        """Return the folder that is written to, once it is sure that it can take these files."""
        from cnnviz.files.outputs import OutputFolder

        folder = OutputFolder(
            options.out, self.stem, force=options.force, record=record, collects=collects
        )
        folder.check(names)
        return folder


# --- reading it --------------------------------------------------------------------------------


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
    from cnnviz.files.images import expand_inputs, stem

    tell_notes(spec)
    found = expand_inputs([source])
    if len(found) != 1:
        raise CnnvizError(
            f"{source} holds {len(found)} images", hint="name one of them: one is looked at"
        )
    return prepared(found[0], stem(found[0]), spec, input_options(inputs, spec.input), weights)


def tell_notes(spec: Spec) -> None:
    """Say what was left out, or chosen, in reading a pipeline."""
    for text in spec.notes:
        note(f"{spec.name}: {text}")


def read_another(
    subject: Subject, spec: Spec, inputs: InputOptions, weights: str | None = None
) -> Subject:
    """Return a subject's image on its way through another pipeline, prepared as that one says.

    It is read again only where that differs; parameters and errors are those of `read_subject`.
    """
    prepared_as = input_options(inputs, spec.input)
    if prepared_as != subject.input and subject.source == "-":
        raise RequestError(
            "standard input is read once, and the two pipelines want it prepared differently",
            hint="give the image as a file, or say how by flags: --color, --resize, …",
        )
    x = subject.x if prepared_as == subject.input else None
    return prepared(subject.source, subject.stem, spec, prepared_as, weights, x)


def prepared(
    source: str,
    stem: str,
    spec: Spec,
    how: images.InputOptions,
    weights: str | None,
    x: Tensor | Samples | None = None,
) -> Subject:
    """Load an image, unless it is given as `x`, and the weights for it."""
    from cnnviz.files.images import load_pixels

    if x is None:
        x = load_pixels(source, how)
    spec = spec.fitted(x.shape)
    list(spec.pipeline.rows(x.shape))  # what does not fit is said before any weight is read
    path = weights if weights is not None else spec.input.weights
    params = load_params(spec.pipeline, x.shape, path, spec.params)
    return Subject(source, stem, spec, how, x, params)


def load_params(
    pipeline: Pipeline, shape: tuple[int, ...], path: str | None, own: Params | None = None
) -> Params | None:
    """Return a pipeline's weights for an input of `shape`: from a file, over its `own`.

    Stages of chosen kernels and those with weights of their own need none in the file.
    """
    if path is None:
        return own
    from cnnviz.files.samples import located
    from cnnviz.files.weights import check_weights, load_weights

    specs = pipeline.param_specs(shape)
    chosen = {row.name for row in pipeline.rows(shape) if row.weights == "kernels"}
    given = own or {}
    optional = frozenset(key for key in specs if key in given or key.rpartition(".")[0] in chosen)
    loaded = check_weights(load_weights(located(path)), specs, optional, path)
    if loaded.note:
        note(f"{path}: {loaded.note}")
    return {**given, **loaded} if given else loaded


def input_options(inputs: InputOptions, own: InputSettings) -> images.InputOptions:
    """Return how images are prepared: as the flags say, else as the pipeline's `own` settings do.

    Size, crop and fit say one thing together: a flag for one of them takes the place of all three.
    """
    from cnnviz.files import images
    from cnnviz.files.language import parse_size
    from cnnviz.files.spec import InputSettings

    def size(text: str | None, name: str) -> tuple[int, int] | None:
        return None if text is None else parse_size(text, name)

    sized = own
    if any(flag is not None for flag in (inputs.resize, inputs.crop, inputs.fit)):
        sized = InputSettings(
            size=size(inputs.resize, "--resize"), crop=size(inputs.crop, "--crop"), fit=inputs.fit
        )
    as_stored = inputs.raw and inputs.input_range is None  # integers have the range they have
    own_range = None if as_stored else own.input_range
    return images.InputOptions(
        color=inputs.color or own.color or "gray",
        resize=sized.size,
        crop=sized.crop,
        fit=sized.fit or "none",
        invert=inputs.invert or own.invert or "never",
        input_range=own_range if inputs.input_range is None else inputs.input_range,
        mean=numbers(inputs.mean, "--mean") or own.mean,
        std=numbers(inputs.std, "--std") or own.std,
        raw=inputs.raw,
        background=inputs.background,
        max_pixels=inputs.max_pixels,
    )


def numbers(text: str | None, name: str) -> tuple[float, ...] | None:
    """Read an option's numbers, separated by commas."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(
            f"{name} is {text!r}", hint=f"write numbers: {name} 0.5,0.5,0.5"
        ) from None


def read_without(texts: Sequence[str] | None) -> dict[str, list[int]]:
    """Read ``STAGE:C,C`` into the maps of each stage.

    >>> read_without(["conv1:0,3", "conv1:5"])
    {'conv1': [0, 3, 5]}
    """
    found = dict[str, list[int]]()
    for text in texts or ():
        stage, _, maps = text.rpartition(":")
        parts = [part.strip() for part in maps.split(",")]
        if not stage or not all(p.isascii() and p.isdecimal() and len(p) < 10 for p in parts):
            raise RequestError(
                f"--without is {text!r}", hint="name a stage and its maps: --without conv1:0,3"
            )
        found.setdefault(stage, []).extend(map(int, parts))
    return found


def check_out(folder: FolderOptions) -> None:
    """Raise RequestError if --out is empty."""
    if not folder.out:
        raise RequestError("--out names no folder", hint="--out . is the current one")


# --- what is kept and said of it ---------------------------------------------------------------


def repeatable(
    answer: Mapping[str, Any], seed: int, weights: str | None, **settings: object
) -> dict[str, Any]:
    """Return what a command's record holds: its answer, and how to get it again."""
    return {
        "cnnviz": answer["cnnviz"],
        "command": ["cnnviz", *sys.argv[1:]],
        "seed": seed,
        "weights": weights,
        **settings,
        **{key: value for key, value in answer.items() if key not in ("cnnviz", "files")},
    }


def random_note(stages: Sequence[str], seed: int) -> str:
    """Say that the weights of some stages are drawn."""
    from cnnviz.view.numbers import joined

    return f"random weights (seed {seed}): {joined(stages)}"


def random_notes(subjects: Mapping[str, Subject], seed: int) -> list[str]:
    """Say of each pipeline, by its name, which weights are drawn; once of those that draw alike."""
    owners = dict[tuple[str, ...], list[str]]()
    for name, subject in subjects.items():
        if random := subject.random_stages():
            owners.setdefault(tuple(random), []).append(name)
    return [
        (f"{owner}: " if (owner := " and ".join(names)) else "") + random_note(random, seed)
        for random, names in owners.items()
    ]


def wrote(count: int, folder: OutputFolder, first: str | None) -> None:
    """Say how many files there are, the record among them, and which picture to open first."""
    text = f"wrote {counted(count + 1, 'file')} to {folder.path}"
    if folder.replaced:
        text += f" (in place of {counted(folder.replaced, 'file')} of an earlier run)"
    note(f"{text}; open {first}" if first else text)
