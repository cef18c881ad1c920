"""A pipeline on many images: each is loaded, computed stage by stage, drawn, written, printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnviz import __version__
from cnnviz.cli.console import PLAIN, coloured, draw, note, printable, progress, tell_error
from cnnviz.cli.door import working
from cnnviz.cli.options import InputOptions, NetworkOptions, OutputOptions, Saved, TableOptions
from cnnviz.cli.pictures import (
    CROWD,
    LONGEST,
    MOST_MAPS,
    ORDERS,
    DrawnStage,
    Pictures,
    Written,
    draw_input,
    fitted,
    write_input,
)
from cnnviz.cli.predictions import (
    check_labels,
    class_count,
    doubt,
    loss_text,
    lost_without,
    of_one_channel,
    predict,
)
from cnnviz.cli.printing import (
    Prediction,
    beside,
    print_predictions,
    print_report,
    print_values,
    write,
)
from cnnviz.cli.subject import (
    Subject,
    check_out,
    input_options,
    numbers,
    prepared,
    repeatable,
    wrote,
)
from cnnviz.cli.writing import Writer
from cnnviz.core.statistics import finite_range
from cnnviz.core.threads import thread_count
from cnnviz.core.types import Row, Stage, Tensor, size_text
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.images import expand_inputs, stem, unique_stems
from cnnviz.files.matrices import display_name
from cnnviz.files.names import INPUT_PICTURE, WEIGHTS, array_name
from cnnviz.files.outputs import OutputFolder
from cnnviz.files.spec import BUNDLE, Spec, read_labels
from cnnviz.view import records
from cnnviz.view.columns import asks_for_losses, parse_columns, stage_report, stage_rows
from cnnviz.view.numbers import joined
from cnnviz.view.report import csv_text
from cnnviz.view.scale import SCALES, Ends

if TYPE_CHECKING:
    from cnnviz.files import images as files

PICTURE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
INSET = 96  # pixels of the input at the head of grids, its longer side


class Job(NamedTuple):
    """What is asked for, read and checked before the first image is opened."""

    spec: Spec
    input: files.InputOptions
    output: OutputOptions
    table: TableOptions
    network: NetworkOptions
    labels: tuple[str, ...] | None
    pictures: Pictures
    columns: Sequence[str] | None
    written: frozenset[str]  # names of the stages to draw

    @property
    def draws(self) -> bool:
        """Whether maps or values are printed while the stages run."""
        return self.output.show or self.output.values

    def saves(self, what: Saved) -> bool:
        """Whether --save asks for it."""
        return what in (self.output.save or ())


@dataclass
class Outcome:
    """What a run leaves behind; of the tensors only a classifier's last, for the predictions."""

    scores: Tensor | None = None
    stages: list[Stage] = field(default_factory=list)
    written: dict[str, Written] = field(default_factory=dict)
    crowded: bool = False  # so many maps that grids alone were written


def run_images(
    arguments: Sequence[str],
    spec: Spec,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
    network: NetworkOptions | None = None,
) -> int:
    """Run a pipeline on every image and return the exit code: 1 if any of them failed."""
    job = read_job(spec, inputs, output, table, network or NetworkOptions())
    with working(output):
        sources = expand_inputs(arguments)
        failed, done = False, 0
        for source, name in zip(sources, unique_stems([stem(s) for s in sources]), strict=True):
            try:
                _run_image(source, name, job, among=len(sources), done=done)
                done += 1
            except RequestError:
                raise  # wrong for every image
            except (CnnvizError, MemoryError) as error:
                if len(sources) == 1:
                    raise
                if isinstance(error, MemoryError):
                    error = CnnvizError("not enough memory", hint="resize it with --resize")
                named = display_name(source) in error.message
                tell_error(error if named else error.within(source))
                failed = True
        return int(failed)


def read_job(
    spec: Spec,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
    network: NetworkOptions,
) -> Job:
    """Read every option that does not need an image; RequestError for a wrong one."""
    check_out(output)
    if Path(output.out).suffix.lower() in PICTURE_ENDINGS:
        raise RequestError(
            f"--out is {output.out!r}, the name of a picture",
            hint="it names a folder, in which each image gets one of its own: --out pictures",
        )
    written = [node.name for node in spec.pipeline.nodes]
    if output.stages is not None:
        chosen = [name.strip() for name in output.stages.split(",") if name.strip()]
        if not chosen:
            raise RequestError("--stages names no stage", hint="give names or numbers: --stages 1")
        written = [name for path in chosen for name in spec.pipeline.below(path)]
    weights = spec.input.weights if network.weights is None else network.weights
    return Job(
        spec=spec,
        input=input_options(inputs, spec.input),
        output=output,
        table=table,
        network=replace(network, weights=weights),
        labels=spec.input.labels if network.labels is None else read_labels(Path(network.labels)),
        pictures=Pictures(
            scale=output.scale,
            value_range=_range(output.value_range),
            colormap=output.colormap,
            only=output.only,
            nrow=output.nrow,
            sort=output.sort,
            limit=output.limit,
            range_=output.range_,
        ),
        columns=None if table.columns is None else parse_columns(table.columns),
        written=frozenset(written),
    )


def _range(text: str | None) -> tuple[float, float] | None:
    values = numbers(text, "--value-range")
    if values is None:
        return None
    if len(values) != 2 or not all(map(isfinite, values)) or values[0] >= values[1]:
        raise RequestError(
            f"--value-range is {text!r}", hint="write two numbers, the smaller first: -1,1"
        )
    return values[0], values[1]


def _run_image(source: str, name: str, job: Job, *, among: int, done: int) -> None:
    """Load, run, write and print one image of `among`, after `done` others."""
    subject = prepared(source, name, job.spec, job.input, job.network.weights)
    rows = subject.rows
    check_labels(job, class_count(rows[-1]))
    ends = finite_range(subject.x)
    form, quiet = job.table.format, job.output.quiet
    with subject.folder(job.output, (), "run.json") as folder:
        if job.network.weights is not None:
            folder.keep(job.network.weights)
        outcome = _compute(subject, job, folder)
        predictions, lost = list[Prediction](), list[dict[str, Any]]()
        if outcome.scores is not None:
            predictions = predict(job, rows[-1], outcome.scores)
            lost = lost_without(subject, job, outcome.scores)
        if job.saves(Saved.WEIGHTS):
            _write_weights(subject, job, folder)
        files = {name: one.files for name, one in outcome.written.items()}
        pipeline, totals = subject.pipeline, subject.pipeline.totals(subject.x.shape)
        record = records.document(
            __version__,
            source,
            subject.x.shape,
            ends,
            str(pipeline),
            [records.stage_record(one, files.get(one.row.name, ())) for one in outcome.stages],
            totals,
            [one._asdict() for one in predictions],
        )
        if maps := pipeline.muted:
            record["without"] = {"maps": maps, "predictions": lost}
        table = csv_text(stage_rows(outcome.stages))
        folder.write("shapes.csv", table.encode("utf-8", "backslashreplace"))
        folder.finish(_repeatable(record, job, outcome.written))
    if not job.draws:
        _print_title(subject, job)
    if form == "md" and done and not quiet:
        write("\n")
    image = source if among > 1 else None
    report = stage_report(outcome.stages, totals, record, job.columns, image=image, header=not done)
    print_report(report, form, quiet=quiet)
    if quiet:
        return
    if predictions:
        about = [said] if (said := doubt(subject)) else []
        about += [f"without those maps: {', '.join(map(loss_text, lost))}"] * bool(lost)
        about += ["softmax of the scores:"] * (rows[-1].layer == "dense")
        print_predictions(predictions, beside(form), note="\n".join(about) or None)
    _print_notes(subject, job, outcome)
    written = sum(map(len, files.values())) + 2 + job.saves(Saved.WEIGHTS)  # input, shapes.csv
    pictures = [path for paths in reversed(files.values()) for path in paths]
    grids = [path for path in pictures if path.endswith("_grid.png")]
    wrote(written, folder, next(iter([*grids, *pictures]), None))


def _write_weights(subject: Subject, job: Job, folder: OutputFolder) -> None:
    from cnnviz.files.weights import weights_writer

    params = subject.pipeline.params(subject.x.shape, subject.params, seed=job.output.seed)
    folder.write_by(WEIGHTS, weights_writer(WEIGHTS, params))


def _print_title(subject: Subject, job: Job) -> None:
    if job.output.quiet or job.table.format != "table":
        return
    name = "stdin" if subject.source == "-" else subject.source
    title = f"{name}  {size_text(subject.x.shape)}"
    beside(job.table.format).print(printable(title), style="bold", **PLAIN)


# --- computing ---------------------------------------------------------------------------------


def _stages(subject: Subject, job: Job, *, losses: bool = False) -> Iterator[Stage]:
    """Compute the pipeline's stages, each to be read before the next is asked for."""
    return subject.pipeline.run(
        subject.x, subject.params, seed=job.output.seed, reuse=True, losses=losses
    )


def _compute(subject: Subject, job: Job, folder: OutputFolder) -> Outcome:
    """Run the stages; draw, write and show each while its tensor lives."""
    ranges, outcome = _shared_ranges(subject, job), Outcome()
    seen, scale = draw_input(subject.x, subject.channels)
    seen = fitted(seen, LONGEST)
    inset = fitted(seen, INSET)
    times = max(1, INSET // max(inset.size))
    inset = inset.resize((inset.width * times, inset.height * times), 0)  # in whole pixels
    pictures = job.pictures._replace(inset=inset, doubt=doubt(subject))
    outcome.crowded = pictures.only is None and _map_files(subject, job) > CROWD
    if outcome.crowded:
        pictures = pictures._replace(only="grid")
    rows, text = subject.rows, str(subject.pipeline)
    names = subject.pipeline.map_names(subject.channels)
    classifies = class_count(rows[-1]) is not None
    if classifies and job.labels:
        names[rows[-1].name] = job.labels
    _plan(folder, job, [row for row in rows if row.name in job.written], pictures, names)
    silent = job.output.quiet or job.draws  # a bar would run into what is printed meanwhile
    bar = progress(subject.source, len(rows), silent=silent)
    with Writer(folder, thread_count()) as writer, bar as advance:
        for stage in _stages(subject, job, losses=asks_for_losses(job.columns)):
            name = stage.row.name
            if name in job.written:
                if not outcome.written:  # not sooner: what fails at once leaves nothing
                    write_input(seen, scale, text, writer)
                picture = pictures.draw(stage, names[name], text, ranges)
                if job.draws and not outcome.written:
                    _print_title(subject, job)
                outcome.written[name] = picture.write(writer, array=job.saves(Saved.NPY))
                if job.draws:
                    _show(job, picture)
                del picture
            outcome.stages.append(replace(stage, output=stage.output[:0].copy()))
            if classifies and len(outcome.stages) == len(rows):
                outcome.scores = stage.output
            del stage
            advance()
    return outcome


def _plan(
    folder: OutputFolder,
    job: Job,
    rows: Sequence[Row],
    pictures: Pictures,
    names: Mapping[str, Sequence[str]],
) -> None:
    """Have all files checked before the first is computed, and listed at once."""
    files = [INPUT_PICTURE, "shapes.csv"]
    for row in rows:
        files += pictures.file_names(row, names[row.name])
        files += [array_name(row)] if job.saves(Saved.NPY) else []
    folder.plan([*files, WEIGHTS] if job.saves(Saved.WEIGHTS) else files)


def _map_files(subject: Subject, job: Job) -> int:
    """Count the pictures of single maps that an image would get."""
    shapes = [row.output_shape for row in subject.rows if row.name in job.written]
    mapped = [shape for shape in shapes if len(shape) == 3 and shape[1:] != (1, 1)]
    return sum(shape[0] for shape in mapped if shape[0] <= MOST_MAPS)


def _show(job: Job, picture: DrawnStage) -> None:
    """Print a stage's numbers and its maps, as far as asked for."""
    console = beside(job.table.format)
    if job.output.values:
        print_values(picture.stage, console, heading=len(job.written) > 1)
    if job.output.show:
        draw(
            console,
            picture.grid_png,
            lambda: picture.in_terminal(console.width, colours=coloured(console)),
        )


def _shared_ranges(subject: Subject, job: Job) -> Ends:
    """Return the range all stages share under --scale global.

    It is known only at the end, so the pipeline runs twice.
    """
    ranges = Ends()
    if SCALES[job.output.scale].whole_run and job.pictures.value_range is None:
        for stage in _stages(subject, job):
            if stage.row.name in job.written:
                ranges = ranges.widened(stage.statistics.min, stage.statistics.max)
    return ranges


# --- what is kept and said ---------------------------------------------------------------------


def _repeatable(
    record: Mapping[str, Any], job: Job, written: Mapping[str, Written]
) -> dict[str, Any]:
    """Return what run.json holds: the record without times, and how to run it again."""
    stages = [
        {**stage, "seconds": None}
        | ({"pictures": written[name].pictures} if (name := stage["name"]) in written else {})
        for stage in record["stages"]
    ]
    rest = {key: value for key, value in record.items() if key != "stages"}
    weights = job.network.weights
    if weights and Path(weights).parent == BUNDLE:  # those that come with cnnviz: the name alone
        weights = Path(weights).name
    return repeatable(
        {**rest, "stages": stages},
        job.output.seed,
        weights,
        sort=job.output.sort,
        limit=job.output.limit,
        **({"without": record["without"]} if "without" in record else {}),
        preparation=asdict(job.input),
    )


def _print_notes(subject: Subject, job: Job, outcome: Outcome) -> None:
    """Print on stderr what the pictures leave unsaid."""
    from cnnviz.core.layers.convolution import Convolution

    layers = [node.layer for node in subject.pipeline.nodes]
    convolutions = [layer for layer in layers if isinstance(layer, Convolution)]
    if any(layer.kernels for layer in convolutions):
        flipped = any(layer.flip for layer in convolutions)
        note(
            "convolution: kernels rotated by 180° (--flip)"
            if flipped
            else "cross-correlation, as in every CNN (--flip rotates the kernels)"
        )
    for text in (*subject.remarks(job.output.seed), of_one_channel(subject.rows)):
        if text:
            note(text)
    grids = [name for name, one in outcome.written.items() if one.only_grid_for_size]
    if grids:
        note(f"more than {MOST_MAPS} maps, grid only: {joined(grids)} (--only maps writes each)")
    if outcome.crowded:
        note(f"more than {CROWD} maps in all: grids only (--only maps writes each)")
    cut = {name: one.in_grid for name, one in outcome.written.items() if one.in_grid}
    if cut:
        counts = [f"{name} ({shown:,} of {maps:,} maps)" for name, (shown, maps) in cut.items()]
        sort = "variance" if job.output.sort == "auto" else job.output.sort
        order = ORDERS.get(sort, "in channel order")
        note(f"in the grids, {order}: {joined(counts)}")
    forced = job.output.algorithm
    if forced and not any(forced in (stage.algorithm or "") for stage in outcome.stages):
        note(f"{forced} can compute none of these stages: others did (--columns algorithm)")
    for name, one in outcome.written.items():
        if one.outside:
            note(f"{name}: {one.outside:,} values outside --value-range are drawn at its ends")
