"""``cnnviz shift``: what moving or turning the picture does to each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from cnnviz.cli.options import ComputeOptions, FolderOptions, InputOptions, WeightOptions
from cnnviz.errors import CnnvizError, RequestError

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.shift import MovementErrors

EXAMPLES = (
    "cnnviz shift photo.jpg 'conv(sobel, padding=same) -> relu -> maxpool(2)' --by 8",
    "cnnviz shift photo.jpg 'conv(8) -> relu -> maxpool(2)' --against 'conv(8, stride=2) -> relu'",
    "cnnviz shift photo.jpg 'conv(8) -> relu -> maxpool(2) -> gap' --axis both --mode crop",
    "cnnviz shift digit.png digits --rotate 20",
)

BY = 8

Form = Literal["table", "json", "csv", "md"]


def shift(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE", help="An image, a number matrix, or - for stdin.", show_default=False
        ),
    ],
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", help="A pipeline: text, a .toml or .onnx file, or a bundled name.",
            show_default=False,
        ),
    ],
    inputs: InputOptions,
    weights: WeightOptions,
    compute: ComputeOptions,
    folder: FolderOptions,
    by: Annotated[
        int | None,
        typer.Option(metavar="N", help=f"Move by 1 … N pixels. (default: {BY})"),
    ] = None,
    axis: Annotated[
        Literal["x", "y", "both"] | None,
        typer.Option(help="x moves the content right, y down. (default: x)"),
    ] = None,
    mode: Annotated[
        Literal["circular", "crop"] | None,
        typer.Option(
            help="circular: what leaves at one edge comes back at the other; crop: two crops, so "
            "that real pixels move in. (default: circular)"
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
    form: Annotated[
        Form, typer.Option("--format", help="How the numbers are printed.")
    ] = "table",
) -> None:  # fmt: skip
    """Move the picture, and tell how far each stage's output follows and how far it changes.

    Invariance error: the output against the unmoved one. Equivariance error:
    against the unmoved one moved along, where that is by whole cells.
    Both are relative to the L2 norm of what is compared.
    """
    from cnnviz.cli import process
    from cnnviz.cli.subject import check_out

    move = _Move.read(by, axis, mode, rotate)
    check_out(folder)
    with process.working(compute):
        subjects = _subjects(image, spec, against, inputs, weights)
        _tell(subjects, move, compute, weights.weights, folder, form)


class _Move(NamedTuple):
    """The movement asked for: a shift, or a rotation."""

    by: int | None  # None: BY, or as far as the pictures allow
    axis: Literal["x", "y", "both"]
    mode: Literal["circular", "crop"]
    rotate: float | None

    @classmethod
    def read(
        cls,
        by: int | None,
        axis: Literal["x", "y", "both"] | None,
        mode: Literal["circular", "crop"] | None,
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
        return cls(by, axis or "x", mode or "circular", rotate)

    def settled(self, subjects: Mapping[str, Subject]) -> _Move:
        """Return it with a length; CnnvizError if a picture is too small to be shifted so far."""
        from cnnviz.core.shift import check_shift, largest_shift

        if self.rotate is not None:
            return self
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
            pipeline, x, self.pixels, axis=self.axis, mode=self.mode, params=params, seed=seed,
            advance=advance,
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

    path = weights.weights
    first = read_subject(image, load_spec(spec), inputs, path)
    if against is None:
        return {"": first}
    return {"A": first, "B": read_another(first, load_spec(against), inputs, path)}


def _tell(
    subjects: Mapping[str, Subject],
    move: _Move,
    compute: ComputeOptions,
    weights: str | None,
    options: FolderOptions,
    form: Form,
) -> None:
    """Run the experiments; write the chart and shift.json; print."""
    from cnnviz.cli.console import counted, note
    from cnnviz.cli.subject import random_notes, repeatable
    from cnnviz.core.findings import compared
    from cnnviz.core.threads import thread_count
    from cnnviz.files.images.png import png_bytes
    from cnnviz.files.matrices import display_name
    from cnnviz.files.run import OutputFolder
    from cnnviz.view.shift import draw_errors

    first = next(iter(subjects.values()))
    asked, move = move, move.settled(subjects)
    called = {name: subject.called for name, subject in subjects.items()}
    title = f"{display_name(first.source)}, {move.words}"
    chart = "shift.png" if move.rotate is None else "shift_rotate.png"
    with OutputFolder(
        options.out, first.stem, force=options.force, record="shift.json", collects=True
    ) as folder:
        folder.check((chart,))
        told = _experiments(subjects, move, compute.seed, quiet=options.quiet)
        notes = _shortened(asked, move) + _findings(subjects, told)
        if len(told) > 1:
            notes += compared(told["A"], told["B"])
        picture = draw_errors(told, called, title)
        about = {"cnnviz:pipeline": str(first.pipeline), "cnnviz:movement": move.words}
        if "B" in subjects:
            about["cnnviz:against"] = str(subjects["B"].pipeline)
        files = [folder.write(chart, png_bytes(picture, about, threads=thread_count()))]
        record = _record(subjects, told, move, notes, files)
        folder.finish(repeatable(record, compute.seed, weights))
    if not options.quiet or form == "json":
        _print(told, called, record, title, form)
    if not options.quiet:
        for sentence in [*notes, *random_notes(subjects, compute.seed)]:
            note(sentence)
        note(f"wrote {counted(len(files) + 1, 'file')} to {folder.path}")


def _shortened(asked: _Move, move: _Move) -> list[str]:
    """Say that the default is too far for the picture, if it is."""
    if asked.rotate is not None or asked.by is not None or move.by == BY:
        return []
    return [f"moved by up to {move.pixels}, not by {BY}, the default: no more fits this picture"]


def _findings(subjects: Mapping[str, Subject], told: Mapping[str, MovementErrors]) -> list[str]:
    """Return what the experiments show, the sentences of two pipelines under their names."""
    from cnnviz.core.findings import findings, rebuilt

    return [
        f"{name}: {sentence}" if name else sentence
        for name, errors in told.items()
        for tell in (
            rebuilt(subjects[name].pipeline, subjects[name].x.shape, errors),
            findings(subjects[name].pipeline, errors),
        )
        for sentence in tell
    ]


def _experiments(
    subjects: Mapping[str, Subject], move: _Move, seed: int, *, quiet: bool
) -> dict[str, MovementErrors]:
    """Run one after another; errors say which pipeline they are of."""
    from cnnviz.cli.console import progress

    told = dict[str, Any]()
    with progress("passes", move.passes * len(subjects), silent=quiet) as advance:
        for name, subject in subjects.items():
            with _naming(name):
                told[name] = move.errors(subject, seed, advance)
    return told


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
    told: Mapping[str, MovementErrors],
    move: _Move,
    notes: Sequence[str],
    files: Sequence[str],
) -> dict[str, Any]:
    """Return the JSON object."""
    from cnnviz import __version__

    (one, *others) = told
    return {
        "cnnviz": __version__,
        **_experiment(subjects[one], told[one]),
        **move.record(),
        "stages": _stages(told[one]),
        "against": next(
            (
                {
                    **_experiment(subjects[name], told[name]),
                    **move.record(),
                    "stages": _stages(told[name]),
                }
                for name in others
            ),
            None,
        ),
        "notes": list(notes),
        "files": list(files),
    }


def _experiment(subject: Subject, told: MovementErrors) -> dict[str, Any]:
    """Return what went in: in crop mode the size of the crops, not the picture's."""
    return {
        "input": {**subject.input_record(), "moved_shape": list(told.shape)},
        "pipeline": str(subject.pipeline),
    }


def _stages(told: MovementErrors) -> list[dict[str, Any]]:
    return [
        {
            "index": stage.index,
            "name": stage.name,
            "layer": stage.layer,
            "output_shape": list(stage.output_shape),
            "effective_stride": None
            if stage.effective_stride is None
            else [int(step) if step.is_integer() else step for step in stage.effective_stride],
            "shifts": list(told.movement.amounts),
            "equivariance": list(stage.equivariance),
            "invariance": list(stage.invariance),
        }
        for stage in told.stages
    ]


def _print(
    told: Mapping[str, MovementErrors],
    called: Mapping[str, str],
    record: Mapping[str, Any],
    title: str,
    form: Form,
) -> None:
    """Print the numbers in the form asked for."""
    from cnnviz.cli.printing import write
    from cnnviz.view import shift as view

    match form:
        case "json":
            from cnnviz.core.jsontext import json_text

            write(json_text(record) + "\n")
        case "csv":
            write(view.csv_text(told))
        case "md":
            write(view.markdown_text(told))
        case _:
            _print_tables(told, called, title)


def _print_tables(
    told: Mapping[str, MovementErrors], called: Mapping[str, str], title: str
) -> None:
    from cnnviz.cli.console import PLAIN, printable, stdout
    from cnnviz.view.chart import LineChart
    from cnnviz.view.shift import ErrorTables, charts, not_drawn

    console = stdout()
    console.print(printable(title), style="bold", **PLAIN)
    for name, text in called.items():
        if name:
            console.print(printable(f"{name}: {text}"), **PLAIN)
    console.print(ErrorTables(told), crop=False)
    console.print(LineChart(charts(told)[0], width=min(console.width, 100)), crop=False)
    for text in not_drawn(told):
        console.print(text, style="dim", **PLAIN)
