"""``cnnviz explain --heatmap``: where on the picture a value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import typer

from cnnviz.cli.options import choice
from cnnviz.errors import RequestError

if TYPE_CHECKING:
    from cnnviz.cli.subject import Subject
    from cnnviz.core.explanation import Explanation
    from cnnviz.core.heatmap import Curve, Heatmap
    from cnnviz.core.types import Pair, Tensor
    from cnnviz.files.outputs import OutputFolder

CHOICES = ("auto", "cam", "gradcam", "gradient", "occlusion")
"""The methods of `core.heatmap`, which is not imported for help."""

_heatmap = partial(typer.Option, rich_help_panel="Heatmap")

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class HeatmapOptions:
    """Where on the picture a value comes from."""

    SHOWN: ClassVar[tuple[str, ...]] = ("heatmap",)

    heatmap: Annotated[
        str | None,
        typer.Option(
            **choice(
                "method",
                *CHOICES,
                also={"grad-cam": "gradcam", "saliency": "gradient", "gradients": "gradient"},
            ),
            help="Draw where on the picture it comes from: auto, cam, gradcam, …",
        ),
    ] = None
    on: Annotated[
        str | None,
        _heatmap(
            metavar="STAGE",
            help="gradcam: whose maps are weighed. (default: the last with rows and columns)",
        ),
    ] = None
    times_input: Annotated[
        bool, _heatmap("--times-input", help="gradient: times the pixel itself.")
    ] = False
    patch: Annotated[
        str | None,
        _heatmap(
            metavar="HxW", help="occlusion: the patch. (default: an eighth of the shorter side)"
        ),
    ] = None
    stride: Annotated[
        str | None,
        _heatmap(metavar="HxW", help="occlusion: the patch's steps. (default: half of it)"),
    ] = None
    save: Annotated[
        str | None,
        _heatmap(**choice("--save", "npy"), help="Also save the map's values as computed."),
    ] = None
    faithfulness: Annotated[
        bool,
        _heatmap(
            "--faithfulness",
            help="Cover, and uncover, what the map points at, against a random map.",
        ),
    ] = False

    def check(self) -> None:
        """Raise RequestError for an option that its heatmap does not have."""
        for flag, given, methods in (
            ("--on", self.on, ("gradcam",)),
            ("--times-input", self.times_input or None, ("gradient",)),
            ("--patch", self.patch, ("occlusion",)),
            ("--stride", self.stride, ("occlusion",)),
            ("--save", self.save, None),
            ("--faithfulness", self.faithfulness or None, None),
        ):
            if given is None or (self.heatmap if methods is None else self.heatmap in methods):
                continue
            wanted = " or ".join(methods or ("auto",))
            other = f", not to {self.heatmap}" if self.heatmap else ""
            raise RequestError(
                f"{flag} belongs to --heatmap {wanted}{other}",
                hint=f"say --heatmap {wanted}, or leave {flag} out",
            )


@dataclass(frozen=True, eq=False)
class Heat:
    """A heatmap, and whether it deserves trust, of one value of a subject."""

    subject: Subject
    explained: Explanation
    heatmap: Heatmap
    curves: tuple[Curve, Curve] | None
    files: list[str]

    def record(self) -> dict[str, Any]:
        """Return what JSON says."""
        from cnnviz.core.statistics import finite_range
        from cnnviz.view.columns import finite

        found = self.heatmap
        low, high = finite_range(found.values)
        deletion, insertion = self.curves or (None, None)
        return {
            "method": found.method,
            "stage": found.stage,
            "of": found.scored,
            "at": list(found.at),
            "shape": list(found.values.shape),
            "file": self.files[0],
            "min": low,
            "max": high,
            "mean": finite(float(found.values.mean(dtype="f8"))),
            "bias": finite(found.bias),
            "value": finite(found.value),
            "deletion": _curve_record(deletion),
            "insertion": _curve_record(insertion),
        }

    def lines(self) -> Iterator[str]:
        """Yield what is said of it."""
        from cnnviz.core.arithmetic import written

        found, explained = self.heatmap, self.explained
        score = f"{_named(found, self.subject)} = {written(found.value)}"
        if found.scored != explained.row.name:
            score += f", the score that enters {explained.row.name}"
        yield f"{found.method} of {score}"
        yield f"  {found.reason}"
        if found.bias is not None:
            mean = float(found.values.mean(dtype="f8"))
            yield (
                f"  mean of the map {written(mean)} + bias {written(found.bias)} = "
                f"{written(mean + found.bias)}"
            )
        size = "×".join(map(str, found.values.shape[1:]))
        if found.patches is not None:
            yield "  over the picture each pixel has the mean of the patches that covered it"
        elif found.values.shape[1:] != self.subject.x.shape[1:]:
            whole = "×".join(map(str, self.subject.x.shape[1:]))
            yield f"  its {size} cells are stretched bilinearly over the picture of {whole}"
        if self.curves:
            from cnnviz.view.heat import verdict

            yield f"  does it deserve trust? {verdict(*self.curves)}"
        for way, curve in zip(("deletion", "insertion"), self.curves or (), strict=False):
            yield (
                f"  {way}: mean {written(curve.area(curve.scores))}, of a random map "
                f"{written(curve.area(curve.random))} ({_better(way)} is better)"
            )


def _named(found: Heatmap, subject: Subject) -> str:
    """Return a score's stage and cell, and the label of its class where it has one."""
    from cnnviz.core.arithmetic import cell_text
    from cnnviz.errors import safe

    text, labels = f"{found.scored} {cell_text(found.at)}", subject.spec.input.labels
    shape = subject.rows[subject.pipeline.find(found.scored)].output_shape
    if labels and shape[0] == len(labels):
        text += f" ({safe(labels[found.at[0]])})"
    return text


def _better(way: str) -> str:
    return "lower" if way == "deletion" else "higher"


def _curve_record(curve: Curve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {
        **curve._asdict(),
        "mean": curve.area(curve.scores),
        "random_mean": curve.area(curve.random),
    }


def find(
    explained: Explanation,
    subject: Subject,
    output: OutputFolder,
    options: HeatmapOptions,
    seed: int,
    held: Mapping[str, Tensor],
    *,
    quiet: bool,
) -> Heat | None:
    """Compute the heatmap of an explained value, if one is asked for, and write its pictures.

    `held` are outputs of stages that are known.
    """
    if options.heatmap is None:
        return None
    from cnnviz.cli.console import progress
    from cnnviz.cli.predictions import class_count
    from cnnviz.core import heatmap
    from cnnviz.files.language import parse_size

    def size(text: str | None, name: str) -> Pair | None:
        return None if text is None else parse_size(text, name)

    def wrap(steps: Sequence[Item]) -> Iterator[Item]:
        with progress(options.heatmap or "", len(steps), silent=quiet) as advance:
            for step in steps:
                yield step
                advance()

    row, pipeline = explained.row, subject.pipeline
    found = heatmap.heatmap(
        pipeline, subject.x, row.name, explained.at, subject.params,
        method=options.heatmap, on=options.on, times_input=options.times_input,
        patch=size(options.patch, "--patch"), stride=size(options.stride, "--stride"),
        seed=seed, wrap=wrap,
    )  # fmt: skip
    curves = None
    if options.faithfulness:
        curves = heatmap.faithfulness(
            pipeline, subject.x, row.name, explained.at, found, subject.params,
            seed=seed, wrap=wrap,
        )  # fmt: skip
    last = subject.rows[-1].name
    scores = held.get(last)
    if scores is None and class_count(subject.rows[-1]) is not None:
        scores = pipeline.forward(subject.x, subject.params, seed=seed)
    files = list(_write(found, curves, explained, subject, output, options, scores))
    return Heat(subject, explained, found, curves, files)


def _write(
    found: Heatmap, curves: tuple[Curve, Curve] | None, explained: Explanation, subject: Subject,
    output: OutputFolder, options: HeatmapOptions, scores: Tensor | None,
) -> Iterator[str]:  # fmt: skip
    """Write the map's values and planes, the map over the picture, and the sheet of all."""
    from cnnviz.cli.pictures import draw_input
    from cnnviz.core.arithmetic import cell_text
    from cnnviz.core.statistics import finite_range
    from cnnviz.files.images import png_bytes
    from cnnviz.files.names import heatmap_name
    from cnnviz.view.heat import Overlay, draw_curves
    from cnnviz.view.maps import draw_map
    from cnnviz.view.numbers import format_number
    from cnnviz.view.scale import choose_scale

    row, at, method = explained.row, explained.at, found.method
    text = {
        "cnnviz:stage": found.stage,
        "cnnviz:at": cell_text(at),
        "cnnviz:value": repr(found.value),
        "cnnviz:pipeline": str(subject.pipeline),
    }

    def write(kind: str, image: Any, **more: str) -> str:
        named = {**text, **{f"cnnviz:{key}": value for key, value in more.items()}}
        return output.write(heatmap_name(row, at, kind), png_bytes(image, named))

    if options.save:
        yield output.write_array(heatmap_name(row, at, method, "npy"), found.values)
    for number, plane in enumerate(found.values):
        scale = choose_scale(*finite_range(plane))
        ends = {"min": repr(scale.low), "max": repr(scale.high)}
        yield write(f"{method}_c{number:03d}", draw_map(plane, scale), **ends)
    title = f"{_named(found, subject)}, {method}"
    overlay = Overlay(found, draw_input(subject.x, subject.channels)[0])
    yield write(f"{method}_over", overlay.alone_over(title))
    if curves is not None:
        which = f"{row.name} {cell_text(at)} by {method}: does the map deserve trust?"
        yield write(f"{method}_curves", draw_curves(*curves, which))
    colours = "red speaks for it, blue against it" if found.signed else "red: it looks there"
    notes = [found.reason, colours]
    if overlay.part:
        notes.append("close up: the value reads nothing else of the picture")
    if row.name != found.scored:
        notes.insert(0, f"{row.name} {cell_text(at)} is {format_number(explained.result)}")
    yield write(method, overlay.sheet(title, notes, _shares(subject, scores)))


def _shares(subject: Subject, scores: Tensor | None) -> Any:
    """Draw the classes' shares by the last output; None where the pipeline does not classify."""
    from cnnviz.cli.predictions import class_count, doubt, shares
    from cnnviz.view.vector import draw_shares

    last = subject.rows[-1]
    if scores is None or class_count(last) is None:
        return None
    values, labels = shares(last, scores), subject.spec.input.labels
    fits = labels if labels and len(labels) == len(values) else None
    return draw_shares(values, f"{last.name}: classes", fits, doubt(subject))
