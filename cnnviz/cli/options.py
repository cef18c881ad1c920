"""Groups of options that commands share, each declared once; `cli.door.command` spreads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
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
        typer.Option(
            **choice("color", "gray", "rgb", "bgr", also=GRAYS),
            help="Gray, or three planes. (default: gray)",
            rich_help_panel=INPUT,
        ),
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Scale to rows x columns; see also --crop.",
            rich_help_panel=INPUT,
        ),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Scale to cover --resize, or HxW, and cut out the middle.",
            rich_help_panel=INPUT,
        ),
    ] = None
    invert: Annotated[
        str | None,
        typer.Option(
            **choice("--invert", "never", "always", "auto"),
            help="Swap dark and light; auto: where a dark drawing stands on light paper. "
            "(default: never)",
            rich_help_panel=INPUT,
        ),
    ] = None
    fit: Annotated[
        str | None,
        typer.Option(
            **choice("--fit", "none", "digit"),
            help="digit: find bright strokes, free them from their paper, scale them to 20 pixels "
            "and centre them by mass in 28x28, as in MNIST. (default: none)",
            rich_help_panel=INPUT,
        ),
    ] = None
    input_range: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="What white is; many older models want 255. (default: 1)",
            rich_help_panel=INPUT,
        ),
    ] = None  # fmt: skip
    mean: Annotated[
        str | None,
        typer.Option(metavar="X,…", help="Subtract, one or per channel.", rich_help_panel=INPUT),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(metavar="X,…", help="Then divide, one or per channel.", rich_help_panel=INPUT),
    ] = None
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Keep stored integers (0..255).", rich_help_panel=INPUT),
    ] = False
    background: Annotated[
        str,
        typer.Option(metavar="COLOR", help="Behind transparency.", rich_help_panel=INPUT),
    ] = "white"
    max_pixels: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="The largest image opened. (default: Pillow's limit)",
            rich_help_panel=INPUT,
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True, eq=False)
class FormatOptions:
    """How the answer is printed."""

    SHOWN: ClassVar[tuple[str, ...]] = ("format", "json")

    format: Annotated[
        str,
        typer.Option(
            **choice("format", *FORMATS, also={"markdown": "md"}),
            help="How the answer is printed.",
            rich_help_panel=TABLE,
        ),
    ] = "table"
    json: Annotated[
        bool, typer.Option("--json", help="Short for --format json.", rich_help_panel=TABLE)
    ] = False

    def __post_init__(self) -> None:
        """Let --json say the format."""
        if self.json:
            object.__setattr__(self, "format", "json")


@dataclass(frozen=True, eq=False)
class TableOptions(FormatOptions):
    """How a table of stages is printed."""

    SHOWN: ClassVar[tuple[str, ...]] = (*FormatOptions.SHOWN, "columns")

    columns: Annotated[
        str | None,
        typer.Option(
            metavar="KEY,…", help="Which columns: name,output,params,… or all.",
            rich_help_panel=TABLE,
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True, eq=False)
class FolderOptions:
    """Where files go, and whether anything is said meanwhile."""

    SHOWN: ClassVar[tuple[str, ...]] = ("out", "force", "quiet")

    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="DIR", help="The folder written to.", rich_help_panel=OUTPUT
        ),
    ] = "cnnviz-out"
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Overwrite files of others.", rich_help_panel=OUTPUT),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No table, no progress.", rich_help_panel=OUTPUT),
    ] = False


@dataclass(frozen=True, eq=False)
class ColorOptions:
    """How values become colours."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    colormap: Annotated[
        str,
        typer.Option(
            **choice("colour map", "auto", *COLORMAPS, also=GRAYS),
            help="auto: red/blue around 0 where values are signed, grays where not.",
            rich_help_panel=OUTPUT,
        ),
    ] = "auto"


@dataclass(frozen=True, eq=False)
class ComputeOptions:
    """How stages are computed."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    seed: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Draws random filters.", rich_help_panel=OUTPUT),
    ] = 0
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Threads for arithmetic. (default: all)",
            rich_help_panel=OUTPUT,
        ),
    ] = None  # fmt: skip
    precision: Annotated[
        str,
        typer.Option(
            **choice("precision", "exact", "fast"),
            help="fast admits sums that are 1e-5 off, where they take less time.",
            rich_help_panel=OUTPUT,
        ),
    ] = "exact"
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compute with this one wherever it can; --columns algorithm tells which did. "
            "(default: the quickest)",
            rich_help_panel=OUTPUT,
        ),
    ] = None


@dataclass(frozen=True, eq=False)
class ScaleOptions(ColorOptions):
    """Which values have colours of their own."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    range_: Annotated[
        str,
        typer.Option(
            "--range",
            **choice("range", *RANGES),
            help="What grids and the terminal show: all but 0.5 % of what is drawn, or all of it.",
            rich_help_panel=OUTPUT,
        ),
    ] = "robust"


@dataclass(frozen=True, eq=False)
class OutputOptions(ComputeOptions, ScaleOptions, FolderOptions):
    """What a run of whole pipelines writes and shows."""

    SHOWN: ClassVar[tuple[str, ...]] = (*FolderOptions.SHOWN, "only", "show", "values")

    scale: Annotated[
        str,
        typer.Option(
            **choice("scale", *SCALES, also={"map": "unit", "stage": "layer"}),
            help=f"One range of values for {', '.join(_SHARED[:-1])}, or {_SHARED[-1]}.",
            rich_help_panel=OUTPUT,
        ),
    ] = "layer"
    value_range: Annotated[
        str | None,
        typer.Option(metavar="LO,HI", help="Draw this range instead.", rich_help_panel=OUTPUT),
    ] = None
    only: Annotated[
        str | None,
        typer.Option(
            **choice("--only", "maps", "grid", also={"map": "maps", "grids": "grid"}),
            help="Only one PNG a map, or only grids.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    save: Annotated[
        list[Saved] | None,
        typer.Option(
            help="Also save each stage's numbers, or the weights used, as --weights reads them; "
            "repeatable.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    nrow: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Maps in a grid's row.", rich_help_panel=OUTPUT),
    ] = None
    sort: Annotated[
        str,
        typer.Option(
            **choice("order", "auto", "none", "variance", "max"),
            help="The order of a grid's maps: none is by channel, variance and max have the "
            "largest first (ties by channel, NaN last); auto: by variance where --limit cuts.",
            rich_help_panel=OUTPUT,
        ),
    ] = "auto"
    limit: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Only the first N maps in a grid, after sorting; the scale "
            "stays that of all.",
            rich_help_panel=OUTPUT,
        ),
    ] = 64  # fmt: skip
    stages: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…", help="Only write these stages (names or numbers).",
            rich_help_panel=OUTPUT,
        ),
    ] = None  # fmt: skip
    show: Annotated[
        bool, typer.Option("--show", help="Draw maps in the terminal.", rich_help_panel=OUTPUT)
    ] = False
    values: Annotated[
        bool,
        typer.Option("--values", help="Print small maps as numbers.", rich_help_panel=OUTPUT),
    ] = False


@dataclass(frozen=True, eq=False)
class WeightOptions:
    """Weights in."""

    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A .safetensors or .npz file of trained weights.",
            rich_help_panel=NETWORK,
        ),
    ] = None


@dataclass(frozen=True, eq=False)
class NetworkOptions(WeightOptions):
    """Weights in, predictions out."""

    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="One class name a line.", rich_help_panel=NETWORK),
    ] = None
    top: Annotated[
        int,
        typer.Option(metavar="K", min=1, help="How many predictions.", rich_help_panel=NETWORK),
    ] = 5


@dataclass(frozen=True, eq=False)
class WindowOptions:
    """How windows stand, for convolution and pooling alike. None: the layer's own default."""

    SHOWN: ClassVar[tuple[str, ...]] = ("stride", "padding", "padding_mode", "dilation")

    stride: Annotated[
        str | None,
        typer.Option(
            metavar="N|H,W", help="Steps down,across. (default: 1; pooling: the window)",
            rich_help_panel=WINDOW,
        ),
    ] = None  # fmt: skip
    padding: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="valid, same, same-lower, full, N, H,W or T,L,B,R. (default: valid)",
            rich_help_panel=WINDOW,
        ),
    ] = None
    padding_mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="zeros, constant, reflect, symmetric, replicate or circular. (default: zeros)",
            rich_help_panel=WINDOW,
        ),
    ] = None
    pad_value: Annotated[
        float | None,
        typer.Option(metavar="X", help="Pad with this number.", rich_help_panel=WINDOW),
    ] = None
    dilation: Annotated[
        str | None,
        typer.Option(metavar="N|H,W", help="Cell to cell. (default: 1)", rich_help_panel=WINDOW),
    ] = None

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
