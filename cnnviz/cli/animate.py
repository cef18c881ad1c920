"""``cnnviz animate``: the window on its way over the picture, as a GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cnnviz import __version__
from cnnviz.cli.console import note, printable, stderr
from cnnviz.cli.options import (
    ColorOptions,
    ComputeOptions,
    FolderOptions,
    InputOptions,
    WeightOptions,
)

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.animation import Scene, Survey
    from cnnviz.core.types import Row
    from cnnviz.view.frames import Film
    from cnnviz.view.maps import Bytes

EXAMPLES = (
    "cnnviz animate photo.jpg edges",
    "cnnviz animate matrix.csv 'conv(sobel_x, padding=1)' --duration 400",
    "cnnviz animate digit.png lenet5 --stage conv2 --channel 3",
)

ANIMATION = "Animation"

HOLD = 1500
"""Milliseconds for which the last frame, the finished map, stays at least."""


@dataclass(frozen=True, eq=False)
class AnimationOptions:
    """What moves, and how the file plays."""

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
            help="How wide a frame is, about: maps are scaled by whole numbers; at least 360.",
        ),
    ] = 960
    format: Annotated[
        Literal["table", "json"],
        typer.Option(help="How the answer is printed.", rich_help_panel=ANIMATION),
    ] = "table"


def animate(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE", help="An image, a number matrix (.csv .txt .npy), or - for stdin.",
            show_default=False,
        ),
    ],
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", help="A pipeline: text, a .toml or .onnx file, or a bundled name.",
            show_default=False,
        ),
    ],
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
    from cnnviz.cli import process
    from cnnviz.cli.subject import check_out, random_note, read_subject, repeatable
    from cnnviz.core.animation import find_stage, make_scene, stops, survey
    from cnnviz.files.run import OutputFolder, animation_name
    from cnnviz.files.spec import load_spec
    from cnnviz.view.frameplan import Look
    from cnnviz.view.frames import Film

    check_out(folder)
    with process.working(compute):
        loaded = load_spec(spec)
        if animation.stage is not None:
            loaded.pipeline.find(animation.stage)  # told before any image is read
        subject = read_subject(image, loaded, inputs, weights.weights)
        pipeline, x, params = subject.pipeline, subject.x, subject.params
        row = find_stage(pipeline, x.shape, animation.stage, params)
        name = animation_name(row, animation.channel)
        output = OutputFolder(
            folder.out, subject.stem, force=folder.force, record="animate.json", collects=True
        )
        output.check([name])
        scene = make_scene(pipeline, x, row, animation.channel, params, seed=compute.seed)
        positions = stops(scene.map_size, animation.frames)
        found = survey(scene, positions)
        look = Look(
            **_words(subject, scene, found, len(positions), inputs),
            colormap=colors.colormap,
            size=animation.size,
        )
        film = Film(scene, positions, found, look)
        encoded = _encode(film, subject, row, len(positions), animation, quiet=folder.quiet)
    with output:
        path = output.write(name, encoded)
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
            "files": [path],
        }
        output.finish(repeatable(answer, compute.seed, weights.weights))
    _print(answer, len(encoded), animation.format, quiet=folder.quiet)
    if not folder.quiet:
        if random := subject.random_stages(row.index):
            note(random_note(random, compute.seed))
        _tell(scene, found)
        note(f"wrote 2 files to {output.path}")  # the record is one, too


def _encode(
    film: Film, subject: Subject, row: Row, count: int, options: AnimationOptions, *, quiet: bool
) -> bytes:
    """Draw the frames one after another, and return the file's bytes."""
    from cnnviz.files.images.animation import Gif

    text = {"cnnviz:stage": row.name, "cnnviz:pipeline": str(subject.pipeline)}
    file = Gif(film.size, film.palette.colours, count, loop=options.loop, text=text)
    for number, frame in enumerate(_with_progress(film.frames(), count, quiet=quiet), start=1):
        hold = max(options.duration, HOLD) if number == count else options.duration
        file.add(frame, hold)
    return file.finish()


def _with_progress(frames: Iterator[Bytes], count: int, *, quiet: bool) -> Iterator[Bytes]:
    """Yield the frames; meanwhile a bar on a terminal, nothing in a pipe."""
    if quiet or not stderr().is_terminal:
        yield from frames
        return
    from rich.progress import track

    yield from track(frames, "frames", total=count, console=stderr(), transient=True)


def _words(
    subject: Subject, scene: Scene, found: Survey, count: int, inputs: InputOptions
) -> dict[str, Any]:
    """Say what the frames show: title, note, captions, and the names of the channels read."""
    from cnnviz.core.pipeline import INPUT

    row, depth, maps = scene.row, scene.shape[0], scene.row.output_shape[0]
    planes = _planes(subject, inputs)
    coloured = row.inputs[0] == INPUT and set(planes) == {"red", "green", "blue"}
    channels = planes if coloured else tuple(f"channel {channel}" for channel in range(depth))
    whole = coloured and len(found.channels) == 3
    source = f"{row.inputs[0]}: {_times(scene.shape)}"
    if depth > 1 and not whole:
        source += f", {channels[found.channels[found.main]]}"
    if len(scene.reads) > len(found.channels):
        source += ", which contributes most"
    output = f"{row.name}: {_times(row.output_shape)}"
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


def _planes(subject: Subject, inputs: InputOptions) -> tuple[str, ...]:
    """Return the names of the input's channels: their colours, or their numbers."""
    from cnnviz.cli.job import input_options
    from cnnviz.files.preparation import COLORS

    count = subject.x.shape[0]
    color = input_options(inputs, subject.spec.input).color
    planes = COLORS["gray" if count == 1 else color]
    return planes if len(planes) == count else tuple(map(str, range(count)))


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _print(answer: dict[str, Any], size: int, form: str, *, quiet: bool) -> None:
    """Print the answer: JSON even where all else is quiet."""
    if form == "json":
        from cnnviz.cli.printing import write
        from cnnviz.core.jsontext import json_text

        write(json_text(answer) + "\n")
    elif not quiet:
        _print_file(answer, size)


def _print_file(answer: dict[str, Any], size: int) -> None:
    """Print the file as a table, which does without columns before it would break the path.

    Where not even path and bytes fit, the path is a line that is not wrapped.
    """
    from cnnviz.cli.console import PLAIN, stdout
    from cnnviz.cli.listing import print_listing

    width, height = answer["size"]
    (path,) = answer["files"]
    record = {
        "file": printable(path),
        "frames": str(answer["frames"]),
        "pixels": f"{width}×{height}",
        "bytes": f"{size:,}",
    }
    for left_out in ("pixels", "frames", None):
        if sum(max(len(key), len(text)) + 2 for key, text in record.items()) <= stdout().width:
            print_listing("files", [record], "table")
            return
        record = {key: text for key, text in record.items() if key != left_out}
    stdout().print(printable(path), **PLAIN)
    about = f"  {answer['frames']} frames, {width}×{height} pixels, {size:,} bytes"
    stdout().print(about, style="dim", **PLAIN)


def _tell(scene: Scene, found: Survey) -> None:
    """Tell on stderr what a viewer should know."""
    row, maps = scene.row, scene.row.output_shape[0]
    if maps > 1:
        note(f"{row.name} has {maps} maps, this is map {scene.channel} (--channel chooses)")
    if len(found.channels) < len(scene.reads):
        note(
            f"of the {len(scene.reads)} channels it reads, channel {found.channels[0]} "
            "contributes most: its window and products are shown"
        )
