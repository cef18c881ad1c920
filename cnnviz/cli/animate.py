"""``cnnviz animate``: the window on its way over the picture, as a GIF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cnnviz import __version__
from cnnviz.cli.console import note, progress
from cnnviz.cli.options import (
    ColorOptions,
    ComputeOptions,
    FolderOptions,
    FormatOptions,
    Image,
    InputOptions,
    SpecText,
    WeightOptions,
)
from cnnviz.errors import CnnvizError, safe

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.animation import Scene, Survey
    from cnnviz.core.types import Row
    from cnnviz.view.frames import Film
    from cnnviz.view.maps import Bytes
    from cnnviz.view.report import Report

EXAMPLES = (
    "cnnviz animate sample:chelsea edges",
    "cnnviz animate sample:tutorial 'conv(sobel_x, padding=1)' --duration 400",
    "cnnviz animate sample:digit_3 lenet5 --stage conv2 --channel 3",
)

ANIMATION = "Animation"

SMALL = 24
"""Rows and columns of a picture on which every step can be watched."""

_WATCHED = 1024  # steps up to which they can be, whatever the picture

HOLD = 1500
"""Milliseconds for which the last frame, the finished map, stays at least."""


@dataclass(frozen=True, eq=False)
class AnimationOptions(FormatOptions):
    """What moves, and how the file plays."""

    SHOWN: ClassVar[tuple[str, ...]] = (
        *FormatOptions.SHOWN,
        "stage",
        "channel",
        "frames",
        "duration",
        "size",
    )

    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Its name or number. (default: the first with a window)",
            rich_help_panel=ANIMATION,
        ),
    ] = None
    channel: Annotated[
        int,
        typer.Option(
            metavar="C", min=0, help="Which of its maps fills.", rich_help_panel=ANIMATION
        ),
    ] = 0
    frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=2,
            max=10_000,
            rich_help_panel=ANIMATION,
            help="How many frames; a map of fewer values has one for each.",
        ),
    ] = 60
    duration: Annotated[
        int,
        typer.Option(
            metavar="MS",
            min=20,
            max=60_000,
            rich_help_panel=ANIMATION,
            help="Milliseconds for each, in tens; the last stays longer.",
        ),
    ] = 120
    loop: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=65_535,
            rich_help_panel=ANIMATION,
            help="How often it is played; 0: for ever.",
        ),
    ] = 0
    size: Annotated[
        int,
        typer.Option(
            metavar="PX",
            min=360,
            max=4096,
            rich_help_panel=ANIMATION,
            help="How wide a frame may be, about; at least 360.",
        ),
    ] = 960


def animate(
    image: Image,
    spec: SpecText,
    animation: AnimationOptions,
    weights: WeightOptions,
    inputs: InputOptions,
    folder: FolderOptions,
    colors: ColorOptions,
    compute: ComputeOptions,
) -> None:  # fmt: skip
    """Animate a stage: its window slides over the picture and fills one of its maps.

    Each frame shows the window's cells, the kernel, their products and the sum.
    """
    from cnnviz.cli.door import working
    from cnnviz.cli.printing import print_report
    from cnnviz.cli.subject import check_out, read_subject, repeatable, wrote
    from cnnviz.core.animation import find_stage, make_scene, stops, survey
    from cnnviz.files.names import animation_name
    from cnnviz.files.spec import load_spec
    from cnnviz.view.frameplan import Look
    from cnnviz.view.frames import Film

    check_out(folder)
    with working(compute):
        loaded = load_spec(spec, allow_outside=weights.allow_outside)
        if animation.stage is not None:
            loaded.pipeline.find(animation.stage)  # an error comes before any image is read
        subject = read_subject(image, loaded, inputs, weights.weights)
        pipeline, x, params = subject.pipeline, subject.x, subject.params
        row = find_stage(pipeline, x.shape, animation.stage, params)
        name = animation_name(row, animation.channel)
        output = subject.folder(folder, [name], "animate.json", collects=True)
        scene = make_scene(pipeline, x, row, animation.channel, params, seed=compute.seed)
        positions = stops(scene.map_size, animation.frames)
        found = survey(scene, positions)
        look = Look(
            **_words(subject, scene, found, len(positions)),
            colormap=colors.colormap,
            size=animation.size,
        )
        film = Film(scene, positions, found, look)
        encoded = _encode(film, subject, row, len(positions), animation, quiet=folder.quiet)
    with output:
        files = [output.write(name, encoded)]
        answer = {
            "cnnviz": __version__,
            "input": subject.input_record(),
            "pipeline": str(pipeline),
            "stage": row.name,
            "channel": scene.channel,
            "frames": len(positions),
            "size": list(film.size),
            "duration": animation.duration,
            "loop": animation.loop,
            "files": files,
        }
        output.finish(repeatable(answer, compute.seed, weights.weights))
    print_report(_report(answer, len(encoded)), animation.format, quiet=folder.quiet)
    if not folder.quiet:
        for text in subject.remarks(compute.seed, row.index):
            note(text)
        _tell(scene, found)
        if every := _every_step(subject, row, len(positions)):
            note(every)
        wrote(len(files), output, files[0])


def _encode(
    film: Film, subject: Subject, row: Row, count: int, options: AnimationOptions, *, quiet: bool
) -> bytes:
    """Draw the frames one after another and return the file's bytes."""
    from cnnviz.files.images.gif import gif_bytes

    drawn = enumerate(_with_progress(film.frames(), count, quiet=quiet), start=1)
    held = (
        (frame, max(options.duration, HOLD) if number == count else options.duration)
        for number, frame in drawn
    )
    text = {"cnnviz:stage": row.name, "cnnviz:pipeline": str(subject.pipeline)}
    return gif_bytes(held, film.size, film.palette.colours, loop=options.loop, text=text)


def _with_progress(frames: Iterator[Bytes], count: int, *, quiet: bool) -> Iterator[Bytes]:
    """Yield the frames; meanwhile a bar on a terminal, nothing in a pipe."""
    with progress("frames", count, silent=quiet) as advance:
        for frame in frames:
            yield frame
            advance()


def _words(subject: Subject, scene: Scene, found: Survey, count: int) -> dict[str, Any]:
    """Say what the frames show: title, note, captions, and the names of the channels read."""
    from cnnviz.core.pipeline import INPUT
    from cnnviz.core.types import size_text

    row, depth, maps = scene.row, scene.shape[0], scene.row.output_shape[0]
    planes = subject.channels
    coloured = row.inputs[0] == INPUT and set(planes) == {"red", "green", "blue"}
    channels = planes if coloured else tuple(f"channel {channel}" for channel in range(depth))
    whole = coloured and len(found.channels) == 3
    source = f"{row.inputs[0]}: {size_text(scene.shape, ' x ')}"
    if depth > 1 and not whole:
        source += f", {channels[found.channels[found.main]]}"
    if len(scene.reads) > len(found.channels):
        source += ", which contributes most"
    output = f"{row.name}: {size_text(row.output_shape, ' x ')}"
    if maps > 1:
        output += f", map {scene.channel}"
        names = subject.pipeline.map_names(planes)[row.name]
        if len(names) == maps:
            output += f": {names[scene.channel]}"
    total = scene.output.size
    note = f"{count:,} of {total:,} positions" if count < total else f"all {total:,} positions"
    if getattr(subject.pipeline.nodes[row.index - 1].layer, "flip", False):
        note += "; the kernel is rotated by 180 degrees"
    return {
        "title": f"{row.name}: {row.text}",
        "notes": [note],
        "source": source,
        "output": output,
        "names": channels,
        "picture": [planes.index(name) for name in ("red", "green", "blue")] if whole else None,
    }


def _report(answer: dict[str, Any], size: int) -> Report:
    """Return the file as a table, which does without columns before it would break a path."""
    from cnnviz.core.types import size_text
    from cnnviz.view.report import Report, Strip, Table

    pixels, count = size_text(answer["size"]), str(answer["frames"])
    rows = [[path, count, pixels, str(size)] for path in answer["files"]]
    table = Table(
        [
            Strip("file", "file", [safe(row[0]) for row in rows]),
            Strip("frames", "frames", [count], right=True, importance=1),
            Strip("pixels", "pixels", [pixels], right=True, importance=2),
            Strip("bytes", "bytes", [f"{size:,}"], right=True, importance=1),
        ]
    )
    return Report(answer, [table], [["file", "frames", "pixels", "bytes"], *rows])


def _tell(scene: Scene, found: Survey) -> None:
    """Print on stderr what the animation shows."""
    row, maps = scene.row, scene.row.output_shape[0]
    if maps > 1:
        note(f"{row.name} has {maps} maps, this is map {scene.channel} (--channel chooses)")
    if len(found.channels) < len(scene.reads):
        note(
            f"of the {len(scene.reads)} channels it reads, channel {found.channels[0]} "
            "contributes most: its window and products are shown"
        )


def _every_step(subject: Subject, row: Row, shown: int) -> str | None:
    """Say how every step of a stage could be shown, if only some are."""
    total = prod(row.output_shape[1:])
    if shown == total:
        return None
    way = f"--frames {total}"
    if total > _WATCHED:
        # No further than the stage: what comes behind it may not fit so small a picture.
        rows = subject.pipeline.rows((subject.x.shape[0], SMALL, SMALL), subject.params)
        try:
            small = next(islice(rows, row.index - 1, None))
        except CnnvizError:
            return None
        steps = prod(small.output_shape[1:])
        way = f"--resize {SMALL}x{SMALL}" + (f" --frames {steps}" if steps > shown else "")
    return f"{shown:,} of {total:,} steps are shown; {way} shows every step"
