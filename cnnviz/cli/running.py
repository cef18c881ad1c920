"""Running a pipeline on images: load, compute stage by stage, draw, write, tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from cnnviz.cli import process
from cnnviz.cli.console import PLAIN, coloured, note, printable, progress, tell_error
from cnnviz.cli.job import Job, read_job
from cnnviz.cli.options import InputOptions, NetworkOptions, OutputOptions, Saved, TableOptions
from cnnviz.cli.pictures import ORDERS, DrawnStage, Written
from cnnviz.cli.record import Prediction, class_count, predict, repeatable_record, run_record
from cnnviz.cli.subject import load_params, random_note
from cnnviz.cli.writing import Writer
from cnnviz.core.pipeline import Pipeline
from cnnviz.core.statistics import finite_range
from cnnviz.core.threads import thread_count
from cnnviz.core.types import Params, Row, Samples, Stage, Tensor
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.images import expand_inputs, load_pixels, stem
from cnnviz.files.matrices import display_name
from cnnviz.files.preparation import COLORS
from cnnviz.files.run import WEIGHTS, OutputFolder, unique_stems
from cnnviz.view import records
from cnnviz.view.columns import asks_for_losses
from cnnviz.view.scale import SCALES, Ends

if TYPE_CHECKING:
    from cnnviz.files.settings import InputSettings


def run_images(
    arguments: Sequence[str],
    pipeline: Pipeline,
    inputs: InputOptions,
    output: OutputOptions,
    table: TableOptions,
    network: NetworkOptions | None = None,
    *,
    own: InputSettings | None = None,
    params: Params | None = None,
) -> int:
    """Run a pipeline on every image and return the exit code: 1 if any of them failed.

    `own` are the settings that came with the pipeline, `params` its weights.
    """
    job = read_job(pipeline, inputs, output, table, network or NetworkOptions(), own, params)
    with process.working(output):
        return _run_all(arguments, job)


def _run_all(arguments: Sequence[str], job: Job) -> int:
    sources = expand_inputs(arguments)
    failed, told = False, 0
    for source, name in zip(sources, unique_stems([stem(s) for s in sources]), strict=True):
        try:
            _run_image(source, name, job, among=len(sources), told=told)
            told += 1
        except RequestError:
            raise  # wrong for every image
        except CnnvizError as error:
            if len(sources) == 1:
                raise
            tell_error(error if display_name(source) in error.message else error.within(source))
            failed = True
    return int(failed)


class Prepared(NamedTuple):
    """An image ready to run: all that can fail without computing has not."""

    source: str
    x: Tensor | Samples
    params: Params | None
    rows: Sequence[Row]
    names: Mapping[str, tuple[str, ...]]  # of each stage's maps
    folder: OutputFolder

    def stages(self, job: Job, *, losses: bool = False) -> Iterator[Stage]:
        """Compute the pipeline's stages, each to be read before the next is asked for."""
        return job.pipeline.run(
            self.x, self.params, seed=job.output.seed, reuse=True, losses=losses
        )


@dataclass
class Outcome:
    """What a run leaves behind; of the tensors only a classifier's last, for the predictions."""

    scores: Tensor | None = None
    stages: list[Stage] = field(default_factory=list)
    written: dict[str, Written] = field(default_factory=dict)


def _run_image(source: str, name: str, job: Job, *, among: int, told: int) -> None:
    """Load, run, write and tell one image of `among`, of which `told` were told before."""
    ready = _prepare(source, name, job)
    shape, ends = ready.x.shape, finite_range(ready.x)
    speaks = not job.output.quiet
    with ready.folder as folder:
        outcome = _compute(ready, job)
        predictions = list[Prediction]()
        if outcome.scores is not None:
            predictions = predict(job, ready.rows[-1], outcome.scores)
        if _saves(job, Saved.WEIGHTS):
            _write_weights(ready, job)
        record = run_record(source, shape, ends, job, outcome.stages, outcome.written, predictions)
        folder.write("shapes.csv", records.csv_text(outcome.stages, timing=False).encode())
        folder.finish(repeatable_record(record, job, outcome.written))
    if not _draws(job):
        _print_title(job, ready)
    if speaks or job.table.format == "json":
        from cnnviz.cli import printing

        printing.print_table(
            outcome.stages,
            job.pipeline,
            shape,
            job.table,
            record=record,
            image=source if among > 1 else None,
            header=not told,
        )
    if speaks and predictions:
        from cnnviz.cli import printing

        of_scores = ready.rows[-1].layer == "dense"
        printing.print_predictions(
            predictions,
            printing.beside(job.table),
            note="softmax of the scores:" if of_scores else None,
        )
    if speaks:
        _tell(job, ready, outcome)


def _draws(job: Job) -> bool:
    """Whether maps or values are printed while the stages run."""
    return job.output.show or job.output.values


def _saves(job: Job, what: Saved) -> bool:
    return what in (job.output.save or ())


def _write_weights(ready: Prepared, job: Job) -> None:
    from cnnviz.files.weights import weights_writer

    params = job.pipeline.params(ready.x.shape, ready.params, seed=job.output.seed)
    ready.folder.write_by(WEIGHTS, weights_writer(WEIGHTS, params))


def _print_title(job: Job, ready: Prepared) -> None:
    if job.output.quiet or job.table.format != "table":
        return
    from cnnviz.cli import printing

    name = "stdin" if ready.source == "-" else ready.source
    title = f"{name}  {'×'.join(map(str, ready.x.shape))}"
    printing.beside(job.table).print(printable(title), style="bold", **PLAIN)


def _prepare(source: str, name: str, job: Job) -> Prepared:
    x = load_pixels(source, job.input)
    folder = OutputFolder(job.output.out, name, force=job.output.force)
    folder.check()
    params = load_params(job.pipeline, x.shape, job.network.weights, job.params)
    if job.network.weights is not None:
        folder.keep(job.network.weights)
    rows = list(job.pipeline.rows(x.shape, params))
    _check_labels(job, class_count(rows[-1]))
    planes = COLORS["gray" if x.shape[0] == 1 else job.input.color]
    channels = planes if x.shape[0] == len(planes) else tuple(map(str, range(x.shape[0])))
    return Prepared(source, x, params, rows, job.pipeline.map_names(channels), folder)


def _compute(ready: Prepared, job: Job) -> Outcome:
    """Run the stages; draw, write and show each while its tensor lives."""
    ranges, outcome = _shared_ranges(ready, job), Outcome()
    text = str(job.pipeline)
    classifies = class_count(ready.rows[-1]) is not None
    silent = job.output.quiet or _draws(job)  # a bar would run into what is printed meanwhile
    bar = progress(ready.source, len(ready.rows), silent=silent)
    with Writer(ready.folder, thread_count()) as writer, bar as advance:
        for stage in ready.stages(job, losses=asks_for_losses(job.columns)):
            name = stage.row.name
            if name in job.written:
                picture = job.pictures.draw(stage, ready.names[name], text, ranges)
                first = not outcome.written
                outcome.written[name] = picture.write(writer, array=_saves(job, Saved.NPY))
                if _draws(job):
                    if first:
                        _print_title(job, ready)
                    _show(job, picture)
                del picture
            outcome.stages.append(replace(stage, output=stage.output[:0].copy()))
            if classifies and len(outcome.stages) == len(ready.rows):
                outcome.scores = stage.output
            del stage
            advance()
    return outcome


def _show(job: Job, picture: DrawnStage) -> None:
    """Print a stage's numbers and its maps, as far as asked for."""
    from cnnviz.cli import printing

    console = printing.beside(job.table)
    if job.output.values:
        printing.print_values(picture.stage, console, heading=len(job.written) > 1)
    if job.output.show:
        console.print(picture.in_terminal(console.width, colours=coloured(console)))


def _shared_ranges(ready: Prepared, job: Job) -> Ends:
    """Return the range all stages share under --scale global.

    It is known only at the end, so the pipeline runs twice.
    """
    ranges = Ends()
    if SCALES[job.output.scale].whole_run and job.pictures.value_range is None:
        for stage in ready.stages(job):
            if stage.row.name in job.written:
                ranges = ranges.widened(stage.statistics.min, stage.statistics.max)
    return ranges


def _check_labels(job: Job, classes: int | None) -> None:
    if job.labels is not None and classes is not None and classes != len(job.labels):
        whose = job.network.labels or "the pipeline's [input]"
        raise CnnvizError(
            f"{whose} has {len(job.labels)} labels, the last stage {classes} values",
            hint="give one label a line for each class",
        )


def _tell(job: Job, ready: Prepared, outcome: Outcome) -> None:
    """Tell on stderr what a reader of the pictures should know."""
    from cnnviz.cli import printing
    from cnnviz.core.layers.convolution import Convolution

    convolutions = [
        node.layer for node in job.pipeline.nodes if isinstance(node.layer, Convolution)
    ]
    if any(layer.kernels for layer in convolutions):
        flipped = any(layer.flip for layer in convolutions)
        note(
            "convolution: kernels rotated by 180° (--flip)"
            if flipped
            else "cross-correlation, as in every CNN (--flip rotates the kernels)"
        )
    random = [row.name for row in ready.rows if row.weights == "drawn"]
    if random:
        note(random_note(random, job.output.seed))
    grids = [name for name, one in outcome.written.items() if one.only_grid_for_size]
    if grids:
        note(f"more than 64 maps, grid only: {printing.joined(grids)} (--only maps writes each)")
    cut = {name: one.in_grid for name, one in outcome.written.items() if one.in_grid}
    if cut:
        counts = [f"{name} ({shown:,} of {maps:,} maps)" for name, (shown, maps) in cut.items()]
        order = ORDERS.get(job.output.sort, "in channel order")
        note(f"in the grids, {order}: {printing.joined(counts)}")
    forced = job.output.algorithm
    if forced and not any(forced in (stage.algorithm or "") for stage in outcome.stages):
        note(f"{forced} can compute none of these stages: others did (--columns algorithm)")
    for name, one in outcome.written.items():
        if one.outside:
            note(f"{name}: {one.outside:,} values outside --value-range are drawn at its ends")
    files = sum(len(one.files) for one in outcome.written.values())
    files += 2 + _saves(job, Saved.WEIGHTS)  # shapes.csv and run.json, always
    note(f"wrote {files} files to {ready.folder.path}")
