"""Groups of options that commands share, each declared once; `cli.door.command` spreads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, ClassVar

import typer

from cnnviz.errors import RequestError
from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.report import FORMATS
from cnnviz.view.scale import RANGES, SCALES

LONGEST = 32  # characters of names that help writes in place of what they are names of
GRAYS = {"grey": "gray", "grayscale": "gray", "greyscale": "gray", "l": "gray"}
_SHARED = [sharing.summary for sharing in SCALES.values()]
INPUT = "Input"
OUTPUT = "Output"
TABLE = "Table"
WINDOW = "Window"
NETWORK = "Weights and predictions"

_input, _output, _table, _window, _network = (
    partial(typer.Option, rich_help_panel=panel)
    for panel in (INPUT, OUTPUT, TABLE, WINDOW, NETWORK)
)


def choice(kind: str, *names: str, also: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what makes an option take one of some names, in any case.

    Parameters
    ----------
    kind : str
        What they are names of, for the error.
    also : Mapping, optional
        Other common names of some of them.
    """

    def parse(text: str) -> str:
        word = text.strip().lower()
        word = (also or {}).get(word, word)
        if word not in names:
            raise RequestError(f"unknown {kind} {text!r}", hint=f"choose from {', '.join(names)}")
        return word

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete.lower())]

    listed = "|".join(names)
    metavar = listed if len(listed) <= LONGEST else kind.upper()
    return {"parser": parse, "metavar": metavar, "autocompletion": complete}


class Saved(StrEnum):
    """What may be written beside the pictures."""

    NPY = "npy"
    WEIGHTS = "weights"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="Images, number matrices (.csv .txt .npy), folders of images, sample:NAME, "
        "or - for stdin.",
        show_default=False,
    ),
]


Image = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="An image, a number matrix, sample:NAME, or - for stdin.",
        show_default=False,
    ),
]
SpecText = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="A pipeline: text, a .toml or .onnx file, or a bundled name.",
        show_default=False,
    ),
]


@dataclass(frozen=True, eq=False)
class InputOptions:
    """How an image becomes a tensor."""

    SHOWN: ClassVar[tuple[str, ...]] = ("color", "resize")

    color: Annotated[
        str | None,
        _input(
            **choice("color", "gray", "rgb", "bgr", also=GRAYS),
            help="Gray, or three planes. (default: gray)",
        ),
    ] = None
    resize: Annotated[
        str | None, _input(metavar="HxW", help="Scale to rows x columns; see also --crop.")
    ] = None
    crop: Annotated[
        str | None,
        _input(metavar="HxW", help="Scale to cover --resize, or HxW, and cut out the middle."),
    ] = None
    invert: Annotated[
        str | None,
        _input(
            **choice("--invert", "never", "always", "auto"),
            help="Swap dark and light; auto: where a dark drawing stands on light paper. "
            "(default: never)",
        ),
    ] = None
    fit: Annotated[
        str | None,
        _input(
            **choice("--fit", "none", "digit"),
            help="digit: find bright strokes, free them from their paper, scale them to 20 pixels "
            "and centre them by mass in 28x28, as in MNIST. (default: none)",
        ),
    ] = None
    input_range: Annotated[
        float | None,
        _input(metavar="X", help="What white is; many older models want 255. (default: 1)"),
    ] = None
    mean: Annotated[str | None, _input(metavar="X,…", help="Subtract, one or per channel.")] = None
    std: Annotated[str | None, _input(metavar="X,…", help="Then divide, one or per channel.")] = (
        None
    )
    raw: Annotated[bool, _input("--raw", help="Keep stored integers (0..255).")] = False
    background: Annotated[str, _input(metavar="COLOR", help="Behind transparency.")] = "white"
    max_pixels: Annotated[
        int | None,
        _input(metavar="N", min=1, help="The largest image opened. (default: Pillow's limit)"),
    ] = None


@dataclass(frozen=True, eq=False)
class FormatOptions:
    """How the answer is printed."""

    SHOWN: ClassVar[tuple[str, ...]] = ("format", "json")

    format: Annotated[
        str,
        _table(
            **choice("format", *FORMATS, also={"markdown": "md"}), help="How the answer is printed."
        ),
    ] = "table"
    json: Annotated[bool, _table("--json", help="Short for --format json.")] = False

    def __post_init__(self) -> None:
        """Let --json say the format."""
        if self.json:
            object.__setattr__(self, "format", "json")


@dataclass(frozen=True, eq=False)
class TableOptions(FormatOptions):
    """How a table of stages is printed."""

    SHOWN: ClassVar[tuple[str, ...]] = (*FormatOptions.SHOWN, "columns")

    columns: Annotated[
        str | None, _table(metavar="KEY,…", help="Which columns: name,output,params,… or all.")
    ] = None


@dataclass(frozen=True, eq=False)
class FolderOptions:
    """Where files go, and whether anything is said meanwhile."""

    SHOWN: ClassVar[tuple[str, ...]] = ("out", "force", "quiet")

    out: Annotated[str, _output("--out", "-o", metavar="DIR", help="The folder written to.")] = (
        "cnnviz-out"
    )
    force: Annotated[bool, _output("--force", "-f", help="Overwrite files of others.")] = False
    quiet: Annotated[bool, _output("--quiet", "-q", help="No table, no progress.")] = False


@dataclass(frozen=True, eq=False)
class ColorOptions:
    """How values become colours."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    colormap: Annotated[
        str,
        _output(
            **choice("colour map", "auto", *COLORMAPS, also=GRAYS),
            help="auto: red/blue around 0 where values are signed, grays where not.",
        ),
    ] = "auto"


@dataclass(frozen=True, eq=False)
class ComputeOptions:
    """How stages are computed."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    seed: Annotated[int, _output(metavar="N", min=0, help="Draws random filters.")] = 0
    threads: Annotated[
        int | None, _output(metavar="N", min=1, help="Threads for arithmetic. (default: all)")
    ] = None
    precision: Annotated[
        str,
        _output(
            **choice("precision", "exact", "fast"),
            help="fast admits sums that are 1e-5 off, where they take less time.",
        ),
    ] = "exact"
    algorithm: Annotated[
        str | None,
        _output(
            metavar="NAME",
            help="Compute with this one wherever it can; --columns algorithm tells which did. "
            "(default: the quickest)",
        ),
    ] = None


@dataclass(frozen=True, eq=False)
class ScaleOptions(ColorOptions):
    """Which values have colours of their own."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    range_: Annotated[
        str,
        _output(
            "--range",
            **choice("range", *RANGES),
            help="What grids and the terminal show: all but 0.5 % of what is drawn, or all of it.",
        ),
    ] = "robust"


@dataclass(frozen=True, eq=False)
class OutputOptions(ComputeOptions, ScaleOptions, FolderOptions):
    """What a run of whole pipelines writes and shows."""

    SHOWN: ClassVar[tuple[str, ...]] = (*FolderOptions.SHOWN, "only", "show", "values")

    scale: Annotated[
        str,
        _output(
            **choice("scale", *SCALES, also={"map": "unit", "stage": "layer"}),
            help=f"One range of values for {', '.join(_SHARED[:-1])}, or {_SHARED[-1]}.",
        ),
    ] = "layer"
    value_range: Annotated[
        str | None, _output(metavar="LO,HI", help="Draw this range instead.")
    ] = None
    only: Annotated[
        str | None,
        _output(
            **choice("--only", "maps", "grid", also={"map": "maps", "grids": "grid"}),
            help="Only one PNG a map, or only grids.",
        ),
    ] = None
    save: Annotated[
        list[Saved] | None,
        _output(
            help="Also save each stage's numbers, or the weights used, as --weights reads them; "
            "repeatable."
        ),
    ] = None
    nrow: Annotated[int | None, _output(metavar="N", min=1, help="Maps in a grid's row.")] = None
    sort: Annotated[
        str,
        _output(
            **choice("order", "auto", "none", "variance", "max"),
            help="The order of a grid's maps: none is by channel, variance and max have the "
            "largest first (ties by channel, NaN last); auto: by variance where --limit cuts.",
        ),
    ] = "auto"
    limit: Annotated[
        int,
        _output(
            metavar="N",
            min=1,
            help="Only the first N maps in a grid, after sorting; the scale stays that of all.",
        ),
    ] = 64
    stages: Annotated[
        str | None, _output(metavar="NAME,…", help="Only write these stages (names or numbers).")
    ] = None
    show: Annotated[bool, _output("--show", help="Draw maps in the terminal.")] = False
    values: Annotated[bool, _output("--values", help="Print small maps as numbers.")] = False


Without = Annotated[
    list[str] | None,
    _network(
        "--without",
        metavar="STAGE:C,…",
        help="Zero these maps, and tell what is lost.",
    ),
]


@dataclass(frozen=True, eq=False)
class SpecOptions:
    """How a pipeline is read."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    allow_outside: Annotated[
        bool, _network("--allow-outside", help="Let a .toml name files that do not lie beside it.")
    ] = False


@dataclass(frozen=True, eq=False)
class WeightOptions(SpecOptions):
    """Weights in."""

    SHOWN: ClassVar[tuple[str, ...]] = ("weights",)

    weights: Annotated[
        str | None,
        _network(metavar="FILE", help="Trained weights: a .safetensors, .npz, .pth or .pt file."),
    ] = None


@dataclass(frozen=True, eq=False)
class NetworkOptions(WeightOptions):
    """Weights in, predictions out."""

    SHOWN: ClassVar[tuple[str, ...]] = (*WeightOptions.SHOWN, "labels", "top")

    labels: Annotated[str | None, _network(metavar="FILE", help="One class name a line.")] = None
    without: Without = None
    top: Annotated[int, _network(metavar="K", min=1, help="How many predictions.")] = 5


@dataclass(frozen=True, eq=False)
class WindowOptions:
    """How windows stand, for convolution and pooling alike. None: the layer's own default."""

    SHOWN: ClassVar[tuple[str, ...]] = ("stride", "padding", "padding_mode", "dilation")

    stride: Annotated[
        str | None,
        _window(metavar="N|H,W", help="Steps down,across. (default: 1; pooling: the window)"),
    ] = None
    padding: Annotated[
        str | None,
        _window(
            metavar="P", help="valid, same, same-lower, full, N, H,W or T,L,B,R. (default: valid)"
        ),
    ] = None
    padding_mode: Annotated[
        str | None,
        _window(
            metavar="MODE",
            help="zeros, constant, reflect, symmetric, replicate or circular. (default: zeros)",
        ),
    ] = None
    pad_value: Annotated[float | None, _window(metavar="X", help="Pad with this number.")] = None
    dilation: Annotated[str | None, _window(metavar="N|H,W", help="Cell to cell. (default: 1)")] = (
        None
    )

    def settings(self) -> dict[str, Any]:
        """Return what was given, as settings of a layer."""
        given = {
            "stride": self.stride,
            "padding": self.padding,
            "padding_mode": self.padding_mode,
            "dilation": self.dilation,
        }
        written = {name: text for name, text in given.items() if text is not None}
        settings: dict[str, Any] = {}
        if written:
            from cnnviz.files.language import parse_value

            settings = {name: parse_value(text) for name, text in written.items()}
        if self.pad_value is not None:
            settings = {"padding_mode": "constant", **settings, "pad_value": self.pad_value}
        return settings
