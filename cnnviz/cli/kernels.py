"""``cnnviz kernels``: the registry of kernels, and one kernel's card."""

from __future__ import annotations

from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnviz.cli.options import FormatOptions

if TYPE_CHECKING:
    from cnnviz.core.kernels import Kernel, KernelEntry

EXAMPLES = (
    "cnnviz kernels",
    "cnnviz kernels sobel_x",
    "cnnviz kernels 'gabor(15, theta=45, wavelength=6, sigma=3)' -o gabor.png",
    "cnnviz pipeline sample:digit_3 digits --save weights",
    "cnnviz kernels --weights cnnviz-out/digit_3/weights.safetensors --stage conv1 -o filters.png",
)


def kernels(
    form: FormatOptions,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[KERNEL]", help="A name, bank, call, numbers or @file.", show_default=False
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="List the tensors of a file of weights instead."),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show the filters NAME.weight of that file: in colour if they read 3 channels.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="PATH", help="Also draw it: one .png file, or a folder."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")] = False,
) -> None:
    """List the kernels, or show one: weights, rank, symmetry, a picture.

    With --weights, a network's own: what its file holds, and the filters of a stage.
    """
    from cnnviz.cli.printing import print_listing

    path = _picture_path(out, drawn=stage if weights is not None else name)
    if weights is not None or stage is not None:
        _show_weights(weights, stage, name, path, form.format, force=force)
    elif name is None:
        print_listing("kernels", kernel_records(), form.format, least=("source", "kind"))
    else:
        _show_kernels(name, path, form.format, force=force)


def _picture_path(out: str | None, drawn: str | None) -> Path | None:
    """Return where --out has one thing drawn."""
    from cnnviz.errors import RequestError

    if out is None:
        return None
    if drawn is None:
        raise RequestError(
            "--out draws one kernel, or with --weights the filters of one --stage",
            hint="name it: cnnviz kernels sobel_x -o . (or --weights FILE --stage conv1 -o .)",
        )
    if out == "-" or Path(out).suffix.lower() not in ("", ".png"):
        raise RequestError(f"--out is {out!r}", hint="name a .png file or a folder")
    return Path(out)


def _show_weights(
    weights: str | None,
    stage: str | None,
    name: str | None,
    out: Path | None,
    form: str,
    *,
    force: bool,
) -> None:
    """List a file's tensors, or show one stage's filters."""
    from cnnviz.errors import RequestError

    if name is not None:
        raise RequestError(
            f"both the kernel {name!r} and a network's filters are asked for",
            hint="--weights FILE --stage NAME shows the filters alone",
        )
    if weights is None:
        raise RequestError(
            f"--stage {stage} is a stage of no file", hint="add the file: --weights FILE"
        )
    from cnnviz.cli.weights import list_tensors, show_filters

    if stage is None:
        list_tensors(weights, form)
    else:
        show_filters(weights, stage, out, form, force=force)


def _show_kernels(name: str, out: Path | None, form: str, *, force: bool) -> None:
    """Print the cards of one or several kernels."""
    from cnnviz.core.kernels import KERNELS
    from cnnviz.files.kernel_text import parse_kernels

    group = parse_kernels(name)
    if out is not None:
        _draw(group.text, group.kernels, out, force=force)
    entry = KERNELS.get(group.text.partition("(")[0])
    about = {"summary": entry.summary, "source": entry.source} if entry else {}
    if form == "json":
        from cnnviz.cli.printing import write
        from cnnviz.core.jsontext import json_text

        cards = [_facts(kernel) for kernel in group.kernels]
        write(json_text({"kernel": group.text, **about, "kernels": cards}) + "\n")
    else:
        if entry is not None and entry.signature != entry.name:
            about["options"] = explained(entry)
        _print_cards(group.text, about, group.kernels)


def explained(entry: KernelEntry) -> str:
    """Return what a parametric kernel's options mean: its docstring's own section."""
    text = getdoc(entry.build) or ""
    start, stop = text.find("Parameters\n"), text.find("\n\nExamples\n")
    lines = text[start:stop].splitlines()[2:]
    # A name stands at the margin, its meaning below it: each becomes one line.
    joined = "\n".join(line if line.startswith(" ") else f"\0{line}:" for line in lines)
    meanings = [" ".join(one.split()) for one in joined.split("\0")[1:]]
    return "\n".join([entry.signature, *meanings])


def kernel_records() -> list[dict[str, str]]:
    """Return the registry, a record a line."""
    from cnnviz.core.kernels import KERNELS

    return [
        {
            "kernel": entry.signature,
            "kind": entry.kind,
            "what it shows": entry.summary,
            "source": entry.source,
        }
        for entry in KERNELS.values()
    ]


def _facts(kernel: Kernel) -> dict[str, Any]:
    """Return what the card says, JSON-ready."""
    factors = kernel.factors()
    return {
        "name": kernel.name,
        "size": list(kernel.weights.shape),
        "weights": kernel.weights.tolist(),
        "sum": kernel.total,
        "rank": kernel.rank,
        "separable": kernel.separable,
        "factors": [part.ravel().tolist() for part in factors] if factors else None,
        "symmetry": kernel.symmetry,
    }


def _print_cards(text: str, about: dict[str, str], kernels: tuple[Kernel, ...]) -> None:
    from cnnviz.cli.console import PLAIN, coloured, printable, stdout
    from cnnviz.cli.printing import print_about, values_text
    from cnnviz.view.maps import draw_map
    from cnnviz.view.numbers import format_number
    from cnnviz.view.scale import choose_scale
    from cnnviz.view.terminal import half_blocks

    console = stdout()
    console.print(printable(text), style="bold", **PLAIN)
    for line in about.values():
        print_about(line)
    for kernel in kernels:
        console.print()
        sizes = "×".join(map(str, kernel.weights.shape))
        console.print(printable(f"{kernel.name}  {sizes}"), style="bold", **PLAIN)
        console.print(values_text(kernel.weights, console), **PLAIN)
        kind = f"rank {kernel.rank}"
        if factors := kernel.factors():
            column, row = (" ".join(format_number(v) for v in part.ravel()) for part in factors)
            kind = f"rank 1, separable: column ({column}) × row ({row})"
        console.print(f"sum {format_number(kernel.total)}; {kind}", markup=False)
        console.print("; ".join(kernel.symmetry) or "no symmetry", **PLAIN)
        plane = kernel.weights.reshape(-1, kernel.weights.shape[-1]).astype("float32")
        # Without colours red and blue would look alike: then from the lowest, dark, to the highest.
        colormap = "rdbu" if coloured(console) else "gray"
        scale = choose_scale(float(plane.min()), float(plane.max()), colormap=colormap)
        console.print(half_blocks(draw_map(plane, scale), width=min(console.width, 32)))


def _draw(text: str, kernels: tuple[Kernel, ...], path: Path, *, force: bool) -> None:
    """Write one sheet to the .png named, or each kernel's picture into the folder."""
    from cnnviz.cli.console import note
    from cnnviz.cli.printing import MARK
    from cnnviz.files.images import png_bytes, unique_stems
    from cnnviz.files.outputs import write_file
    from cnnviz.view.filters import draw_kernels

    names = unique_stems([kernel.name for kernel in kernels])
    weights = {name: kernel.weights for kernel, name in zip(kernels, names, strict=True)}
    sheets = {path: weights}
    if not path.suffix:
        sheets = {path / f"{name}.png": {name: one} for name, one in weights.items()}
    for target, drawn in sheets.items():
        title = kernels[names.index(next(iter(drawn)))].name if len(drawn) == 1 else text
        png = png_bytes(draw_kernels(drawn, title), {MARK: title})
        note(f"wrote {write_file(target, png, mark=MARK.encode(), force=force)}")
