"""``cnnviz animate``: the window on its way over the picture, as a GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cnnviz.cli.options import (
    ColorOptions,
    ComputeOptions,
    FolderOptions,
    InputOptions,
    WeightOptions,
)
from cnnviz.errors import RequestError

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.animation import Scene, Survey
    from cnnviz.core.types import Row
    from cnnviz.files.images.animation import Animation
    from cnnviz.view.frameplan import Look
    from cnnviz.view.frames import Film

EXAMPLES = (
    "cnnviz animate photo.jpg edges",
    "cnnviz animate matrix.csv 'conv(sobel_x, padding=1)' --duration 400",
    "cnnviz animate digit.png lenet5 --stage conv2 --channel 3 --apng",
)

ANIMATION = "Animation"

HOLD = 1500
"""Milliseconds for which the last frame, the finished map, stays at least."""


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
    weights: WeightOptions,
    inputs: InputOptions,
    folder: FolderOptions,
    colors: ColorOptions,
    compute: ComputeOptions,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Its name or number. (default: the first with a window)",
            rich_help_panel=ANIMATION,
        ),
    ] = None,
    channel: Annotated[
        int,
        typer.Option(metavar="C", help="Which of its maps fills.", rich_help_panel=ANIMATION),
    ] = 0,
    frames: Annotated[
        int,
        typer.Option(
            metavar="N", min=2, max=10_000, rich_help_panel=ANIMATION,
            help="How many frames; a map of fewer values has one for each.",
        ),
    ] = 60,
    duration: Annotated[
        int,
        typer.Option(
            metavar="MS", min=20, max=60_000, rich_help_panel=ANIMATION,
            help="Milliseconds for each, in tens; the last stays longer.",
        ),
    ] = 120,
    loop: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=65_535, rich_help_panel=ANIMATION,
            help="How often it is played; 0: for ever.",
        ),
    ] = 0,
    size: Annotated[
        int,
        typer.Option(
            metavar="PX", min=320, max=4096, rich_help_panel=ANIMATION,
            help="How wide a frame is, about: maps are scaled by whole numbers.",
        ),
    ] = 960,
    apng: Annotated[
        bool,
        typer.Option("--apng", help="An animated PNG, too.", rich_help_panel=ANIMATION),
    ] = False,
    format: Annotated[  # noqa: A002 - the flag's name
        Literal["table", "json"],
        typer.Option(help="How the answer is printed.", rich_help_panel=ANIMATION),
    ] = "table",
) -> None:  # fmt: skip
    """Animate a stage: its window slides over the picture and fills one of its maps.

    Each frame shows the window's cells, the kernel, their products and the sum.
    """
    from cnnviz.cli import process
    from cnnviz.cli.subject import read_subject
    from cnnviz.core.animation import find_stage, make_scene, stops, survey
    from cnnviz.core.engine import check_algorithm, computing
    from cnnviz.core.threads import set_threads
    from cnnviz.files.run import OutputFolder, animation_name
    from cnnviz.files.spec import load_spec
    from cnnviz.view.frames import Film

    if not folder.out:
        raise RequestError("--out names no folder", hint="--out . is the current one")
    process.start_work()
    set_threads(compute.threads)
    check_algorithm(compute.algorithm)
    subject = read_subject(image, load_spec(spec), inputs, weights.weights)
    row = find_stage(subject.pipeline, subject.x.shape, stage)
    output = OutputFolder(folder.out, subject.stem, force=folder.force, record="animate.json")
    kinds = (False, True) if apng else (False,)
    names = [animation_name(row, channel, png=kind) for kind in kinds]
    with computing(compute.precision, compute.algorithm), output:
        output.check(names)
        scene = make_scene(
            subject.pipeline, subject.x, row, channel, subject.params, seed=compute.seed
        )
        positions = stops(scene.map_size, frames)
        found = survey(scene, positions)
        look = _look(subject, scene, found, len(positions), inputs, colors.colormap, size)
        film = Film(scene, positions, found, look)
        text = {"cnnviz:stage": row.name, "cnnviz:pipeline": str(subject.pipeline)}
        files = _animations(film, len(positions), loop, apng=apng, text=text)
        hold = max(duration, HOLD)
        for number, frame in enumerate(_shown(film, len(positions), quiet=folder.quiet), start=1):
            for file in files:
                file.add(frame, hold if number == len(positions) else duration)
        written = [
            (output.write(name, data), len(data))
            for name, file in zip(names, files, strict=True)
            if (data := file.finish())
        ]
        answer = _answer(subject, row, channel, film, written, len(positions), duration, loop)
        output.finish(_record(answer, compute.seed, weights.weights))
    _tell(answer, written, scene, found, folder, compute.seed, format)


def _animations(
    film: Film, count: int, loop: int, *, apng: bool, text: dict[str, str]
) -> list[Animation]:
    from cnnviz.files.images.animation import Apng, Gif

    kinds = (Gif, Apng) if apng else (Gif,)
    return [kind(film.size, film.palette.colours, count, loop=loop, text=text) for kind in kinds]


def _shown(film: Film, count: int, *, quiet: bool) -> Iterator[Any]:
    """Yield the frames, with a bar on a terminal."""
    from cnnviz.cli.console import stderr

    if quiet or not stderr().is_terminal:
        yield from film.frames()
        return
    from rich.progress import track

    yield from track(film.frames(), "frames", total=count, console=stderr(), transient=True)


def _look(
    subject: Subject,
    scene: Scene,
    found: Survey,
    count: int,
    inputs: InputOptions,
    colormap: str,
    size: int,
) -> Look:
    """Say in words what the frames show."""
    from cnnviz.cli.job import input_options
    from cnnviz.core.pipeline import INPUT
    from cnnviz.files.preparation import COLORS
    from cnnviz.view.frameplan import Look

    row, depth = scene.row, scene.source.shape[0]
    read = row.inputs[0]
    color = input_options(inputs, subject.spec.input).color
    planes = COLORS["gray" if depth == 1 else color]
    coloured = read == INPUT and depth == 3 and len(planes) == 3
    channels: Sequence[str] = planes if coloured else [f"channel {c}" for c in range(depth)]
    whole = coloured and len(found.channels) == 3
    source = f"{read}: {_times(scene.source.shape)}"
    if not whole and depth > 1:
        main = found.channels[found.main]
        shown = channels[main] if coloured else f"channel {main} of {depth}"
        source += f", {shown}"
        if len(scene.reads) > len(found.channels):
            source += " (contributes most)"
    maps = row.output_shape[0]
    names = subject.pipeline.map_names(tuple(channels))[row.name]
    output = f"{row.name}: {_times(row.output_shape)}"
    if maps > 1:
        output += f", map {scene.channel} of {maps}"
    if len(names) == maps and row.kernel_size:
        output += f" {names[scene.channel]}" if coloured or maps > 1 else ""
    total = scene.output.size
    note = f"{count:,} of {total:,} positions" if count < total else f"all {total:,} positions"
    flipped = getattr(subject.pipeline.nodes[row.index - 1].layer, "flip", False)
    if flipped:
        note += "; the kernel is rotated by 180 degrees (flip)"
    return Look(
        title=f"{row.name}: {row.text}" if row.name != row.text else row.text,
        notes=[note],
        source=source,
        output=output,
        names=channels,
        colormap=colormap,
        size=size,
        picture=[planes.index(name) for name in ("red", "green", "blue")] if whole else None,
    )


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _answer(
    subject: Subject,
    row: Row,
    channel: int,
    film: Film,
    written: Sequence[tuple[str, int]],
    count: int,
    duration: int,
    loop: int,
) -> dict[str, Any]:
    from cnnviz import __version__

    return {
        "cnnviz": __version__,
        "input": {"path": subject.source, "shape": list(subject.x.shape)},
        "pipeline": str(subject.pipeline),
        "stage": row.name,
        "channel": channel,
        "frames": count,
        "size": list(film.size),
        "duration": duration,
        "loop": loop,
        "files": [path for path, _ in written],
    }


def _record(answer: dict[str, Any], seed: int, weights: str | None) -> dict[str, Any]:
    """Return what animate.json holds: the answer, and how to make the animation again."""
    import sys

    return {
        "cnnviz": answer["cnnviz"],
        "command": ["cnnviz", *sys.argv[1:]],
        "seed": seed,
        "weights": weights,
        **{key: value for key, value in answer.items() if key not in ("cnnviz", "files")},
    }


def _tell(
    answer: dict[str, Any],
    written: Sequence[tuple[str, int]],
    scene: Scene,
    found: Survey,
    folder: FolderOptions,
    seed: int,
    form: str,
) -> None:
    from cnnviz.cli.console import note
    from cnnviz.cli.listing import print_listing

    if form == "json":
        from cnnviz.cli.printing import write
        from cnnviz.core.jsontext import json_text

        write(json_text(answer) + "\n")
    if folder.quiet:
        return
    if form == "table":
        from cnnviz.view.numbers import one_line

        width, height = answer["size"]
        records = [
            {
                "file": one_line(path),
                "frames": str(answer["frames"]),
                "pixels": f"{width}×{height}",
                "bytes": f"{count:,}",
            }
            for path, count in written
        ]
        print_listing("files", records, "table", least=("pixels",))
    if scene.row.weights == "drawn":
        note(f"random weights (seed {seed}): {scene.row.name}")
    maps = scene.row.output_shape[0]
    if maps > 1:
        note(f"map {scene.channel} of {maps} of {scene.row.name} (--channel shows another)")
    if len(found.channels) < len(scene.reads):
        note(
            f"of {len(scene.reads)} channels, channel {found.channels[0]} contributes most: "
            "its patch is shown"
        )
