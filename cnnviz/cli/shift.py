"""``cnnviz shift``: what moving or turning the picture does to each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from cnnviz.cli.options import (
    ComputeOptions,
    FolderOptions,
    FormatOptions,
    Image,
    InputOptions,
    SpecText,
    WeightOptions,
    choice,
)
from cnnviz.errors import CnnvizError, RequestError

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.shift import MovementErrors

EXAMPLES = (
    "cnnviz shift sample:chelsea 'conv(sobel) -> relu -> maxpool(2)' --by 8",
    "cnnviz shift sample:coffee 'maxpool(2)' --against 'conv(gaussian, stride=2)'",
    "cnnviz shift sample:chelsea 'conv(8) -> relu -> gap' --axis both",
    "cnnviz shift sample:digit_3 digits --rotate 20",
)

BY = 8


def shift(
    image: Image,
    spec: SpecText,
    inputs: InputOptions,
    weights: WeightOptions,
    compute: ComputeOptions,
    folder: FolderOptions,
    form: FormatOptions,
    by: Annotated[
        int | None,
        typer.Option(metavar="N", help=f"Move by 1 … N pixels. (default: {BY})"),
    ] = None,
    axis: Annotated[
        str | None,
        typer.Option(
            **choice("axis", "x", "y", "both"),
            help="x moves the content right, y down. (default: x)"),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            **choice("mode", "crop", "circular", also={"wrap": "circular"}),
            help="crop: two crops, so that real pixels move in; circular: what leaves at one edge "
            "comes back at the other. (default: crop, if the network can read the crops)"
        ),
    ] = None,
    rotate: Annotated[
        float | None,
        typer.Option(
            metavar="DEG",
            help="Turn by angles up to this one instead, anticlockwise about the centre.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="SPEC_B", help="Tell of a second pipeline beside it."),
    ] = None,
) -> None:  # fmt: skip
    """Move the picture, and tell how far each stage's output follows and how far it changes.

    Invariance error: the output against the unmoved one. Equivariance error: against the unmoved
    one moved along. Both are relative to the L2 norm.
    """
    from cnnviz.cli.door import working
    from cnnviz.cli.subject import check_out

    move = _Move.read(by, axis, mode, rotate)
    check_out(folder)
    with working(compute):
        subjects = _subjects(image, spec, against, inputs, weights)
        _run(subjects, move, compute, weights.weights, folder, form.format)


class _Move(NamedTuple):
    """The movement asked for: a shift, or a rotation."""

    by: int | None  # None: BY, or as far as the pictures allow
    axis: Literal["x", "y", "both"]
    mode: Literal["circular", "crop"] | None  # None: crop, or circular where crops do not fit
    rotate: float | None

    @classmethod
    def read(
        cls,
        by: int | None,
        axis: Any,
        mode: Any,
        rotate: float | None,
    ) -> _Move:
        """Fill in what is left open; RequestError for what does not go together."""
        from cnnviz.core.shift import check_angle

        if rotate is not None:
            flags = {"--by": by, "--axis": axis, "--mode": mode}
            given = [flag for flag, value in flags.items() if value is not None]
            if given:
                raise RequestError(
                    f"{given[0]} says how the picture is shifted, --rotate turns it",
                    hint=f"give one of {given[0]} and --rotate",
                )
            check_angle(rotate)
        if by is not None and by < 1:
            raise RequestError(
                f"--by is {by}", hint="give a whole number of pixels, from 1: --by 8 shifts by 1…8"
            )
        return cls(by, axis or "x", mode, rotate)

    def settled(self, subjects: Mapping[str, Subject]) -> _Move:
        """Return it with a length; CnnvizError if a picture is too small to be shifted so far."""
        from cnnviz.core.shift import check_shift, largest_shift, same_network

        if self.rotate is not None:
            return self
        if self.mode is None:
            fits = all(
                same_network(one.pipeline, one.x.shape, self.pixels, self.axis)
                for one in subjects.values()
            )
            return self._replace(mode="crop" if fits else "circular").settled(subjects)
        by = self.by
        if by is None:
            longest = (
                largest_shift(one.pipeline, one.x.shape, BY, self.axis, self.mode, one.params)
                for one in subjects.values()
            )
            by = max(1, min(longest))
        for name, one in subjects.items():
            with _naming(name):
                check_shift(one.pipeline, one.x.shape, by, self.axis, self.mode, one.params)
        return self._replace(by=by)

    def errors(self, subject: Subject, seed: int, advance: Callable[[], object]) -> MovementErrors:
        """Run the experiment."""
        from cnnviz.core.shift import rotation_errors, shift_errors

        pipeline, x, params = subject.pipeline, subject.x, subject.params
        if self.rotate is not None:
            return rotation_errors(
                pipeline, x, self.rotate, params=params, seed=seed, advance=advance
            )
        return shift_errors(
            pipeline, x, self.pixels, axis=self.axis, mode=self.mode or "crop",
            params=params, seed=seed, advance=advance,
        )  # fmt: skip

    @property
    def pixels(self) -> int:
        """The largest shift."""
        return self.by or BY

    @property
    def passes(self) -> int:
        """How many times a pipeline runs."""
        from cnnviz.core.shift import STEPS

        return 1 + (self.pixels if self.rotate is None else STEPS)

    @property
    def words(self) -> str:
        """What is done to the picture."""
        if self.rotate is not None:
            return f"turned anticlockwise by up to {self.rotate:g} degrees"
        where = {"x": "right", "y": "down", "both": "right and down"}[self.axis]
        upto = f"1 … {self.pixels} pixels" if self.pixels > 1 else "1 pixel"
        return f"content moved {where} by {upto}, {self.mode}"

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        if self.rotate is not None:
            return {"by": None, "axis": None, "mode": "rotate", "rotate": self.rotate}
        return {"by": self.pixels, "axis": self.axis, "mode": self.mode, "rotate": None}


def _subjects(
    image: str, spec: str, against: str | None, inputs: InputOptions, weights: WeightOptions
) -> dict[str, Subject]:
    """Read the picture for one pipeline, named "", or for two, A and B."""
    from cnnviz.cli.subject import read_another, read_subject
    from cnnviz.files.spec import load_spec

    path, outside = weights.weights, weights.allow_outside
    first = read_subject(image, load_spec(spec, allow_outside=outside), inputs, path)
    if against is None:
        return {"": first}
    other = load_spec(against, allow_outside=outside)
    return {"A": first, "B": read_another(first, other, inputs, path)}


def _run(
    subjects: Mapping[str, Subject],
    asked: _Move,
    compute: ComputeOptions,
    weights: str | None,
    options: FolderOptions,
    form: str,
) -> None:
    """Run the experiments; write the chart and shift.json; print."""
    from cnnviz.cli.console import note
    from cnnviz.cli.printing import print_report
    from cnnviz.cli.subject import random_notes, repeatable, wrote
    from cnnviz.core.findings import compared
    from cnnviz.files.images import png_bytes
    from cnnviz.files.matrices import display_name
    from cnnviz.view.movement import draw_errors, error_report

    first, move = next(iter(subjects.values())), asked.settled(subjects)
    called = {name: subject.called for name, subject in subjects.items()}
    title = f"{display_name(first.source)}, {move.words}"
    chart = "shift.png" if move.rotate is None else "shift_rotate.png"
    with first.folder(options, [chart], "shift.json", collects=True) as folder:
        errors = _experiments(subjects, move, compute.seed, quiet=options.quiet)
        notes = _shortened(asked, move) + _findings(subjects, errors)
        if len(errors) > 1:
            notes += compared(errors["A"], errors["B"])
        picture = draw_errors(errors, called, title)
        about = {"cnnviz:pipeline": str(first.pipeline), "cnnviz:movement": move.words}
        if "B" in subjects:
            about["cnnviz:against"] = str(subjects["B"].pipeline)
        files = [folder.write(chart, png_bytes(picture, about))]
        record = _record(subjects, errors, move, notes, files)
        folder.finish(repeatable(record, compute.seed, weights))
    print_report(error_report(errors, called, title, record), form, quiet=options.quiet)
    if not options.quiet:
        for sentence in [*notes, *random_notes(subjects, compute.seed)]:
            note(sentence)
        wrote(len(files), folder, files[0])


def _shortened(asked: _Move, move: _Move) -> list[str]:
    """Say where the picture did not allow the defaults."""
    notes = []
    if asked.rotate is None and asked.by is None and move.by != BY:
        notes = [
            f"moved by up to {move.pixels}, not by {BY}, the default: no more fits this picture"
        ]
    if asked.mode is None and move.mode == "circular":
        notes.append(
            "what leaves at one edge comes back at the other (circular), and the seam between them "
            f"counts in the errors: the network is not made for crops {asked.pixels} pixels smaller"
        )
    return notes


def _findings(subjects: Mapping[str, Subject], errors: Mapping[str, MovementErrors]) -> list[str]:
    """Return what the experiments show, the sentences of two pipelines under their names."""
    from cnnviz.core.findings import findings, rebuilt

    return [
        f"{name}: {sentence}" if name else sentence
        for name, found in errors.items()
        for sentence in (
            *rebuilt(subjects[name].pipeline, subjects[name].x.shape, found),
            *findings(subjects[name].pipeline, found),
        )
    ]


def _experiments(
    subjects: Mapping[str, Subject], move: _Move, seed: int, *, quiet: bool
) -> dict[str, MovementErrors]:
    """Run one after another; errors say which pipeline they are of."""
    from cnnviz.cli.console import progress

    errors = dict[str, Any]()
    with progress("passes", move.passes * len(subjects), silent=quiet) as advance:
        for name, subject in subjects.items():
            with _naming(name):
                errors[name] = move.errors(subject, seed, advance)
    return errors


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except CnnvizError as error:
        if not name:
            raise
        raise error.within(f"pipeline {name}") from None


def _record(
    subjects: Mapping[str, Subject],
    errors: Mapping[str, MovementErrors],
    move: _Move,
    notes: Sequence[str],
    files: Sequence[str],
) -> dict[str, Any]:
    """Return the JSON object."""
    from cnnviz import __version__

    (one, *others) = errors
    return {
        "cnnviz": __version__,
        **_experiment(subjects[one], errors[one]),
        **move.record(),
        "stages": _stages(errors[one]),
        "against": next(
            (
                {
                    **_experiment(subjects[name], errors[name]),
                    **move.record(),
                    "stages": _stages(errors[name]),
                }
                for name in others
            ),
            None,
        ),
        "notes": list(notes),
        "files": list(files),
    }


def _experiment(subject: Subject, errors: MovementErrors) -> dict[str, Any]:
    """Return what went in: in crop mode the size of the crops, not the picture's."""
    return {
        "input": {**subject.input_record(), "moved_shape": list(errors.shape)},
        "pipeline": str(subject.pipeline),
    }


def _stages(errors: MovementErrors) -> list[dict[str, Any]]:
    return [
        {
            "index": stage.index,
            "name": stage.name,
            "layer": stage.layer,
            "output_shape": list(stage.output_shape),
            "effective_stride": None
            if stage.effective_stride is None
            else [int(step) if step.is_integer() else step for step in stage.effective_stride],
            "shifts": list(errors.movement.amounts),
            "equivariance": list(stage.equivariance),
            "invariance": list(stage.invariance),
        }
        for stage in errors.stages
    ]
