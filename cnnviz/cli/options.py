"""Groups of options that commands share, each declared once; `cli.door.command` spreads them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.scale import SCALES

# Choices that grow by an entry in their table; type checkers see text.
if TYPE_CHECKING:
    ColormapName: TypeAlias = str
    ScaleName: TypeAlias = str
else:
    ColormapName = Literal["auto", *COLORMAPS]
    ScaleName = Literal[tuple(SCALES)]

_SHARED = [sharing.summary for sharing in SCALES.values()]

INPUT = "Input"
OUTPUT = "Output"
TABLE = "Table"
WINDOW = "Window"
NETWORK = "Weights and predictions"


class Saved(StrEnum):
    """What may be written beside the pictures."""

    NPY = "npy"
    WEIGHTS = "weights"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="Images, number matrices (.csv .txt .npy), folders of images, or - for stdin.",
        show_default=False,
    ),
]


@dataclass(frozen=True, eq=False)
class InputOptions:
    """How an image becomes a tensor."""

    color: Annotated[
        Literal["gray", "rgb", "bgr"] | None,
        typer.Option(
            help="One gray plane or three; bgr for models of OpenCV and Caffe. (default: gray)",
            rich_help_panel=INPUT,
        ),
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Resample to rows x columns. With --crop: to cover them, proportions kept.",
            rich_help_panel=INPUT,
        ),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Scale to cover --resize (if not given, HxW itself) and cut out the middle.",
            rich_help_panel=INPUT,
        ),
    ] = None
    invert: Annotated[
        Literal["never", "always", "auto"] | None,
        typer.Option(
            help="Swap dark and light; auto: if the darkest spot is further from the border's "
            "median than the lightest. (default: never)",
            rich_help_panel=INPUT,
        ),
    ] = None
    fit: Annotated[
        Literal["none", "digit"] | None,
        typer.Option(
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
class TableOptions:
    """How the table is told."""

    format: Annotated[
        Literal["table", "json", "csv", "md"],
        typer.Option(help="How the table is printed.", rich_help_panel=TABLE),
    ] = "table"
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

    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="DIR", help="The folder written to.", rich_help_panel=OUTPUT
        ),
    ] = "cnnviz-out"
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite files of others.", rich_help_panel=OUTPUT),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No table, no progress.", rich_help_panel=OUTPUT),
    ] = False


@dataclass(frozen=True, eq=False)
class ColorOptions:
    """How values become colours."""

    colormap: Annotated[
        ColormapName,
        typer.Option(
            help="auto: red/blue around 0 where values are signed, grays where not.",
            rich_help_panel=OUTPUT,
        ),
    ] = "auto"


@dataclass(frozen=True, eq=False)
class ComputeOptions:
    """How stages are computed."""

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
        Literal["exact", "fast"],
        typer.Option(
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
class OutputOptions(ComputeOptions, ColorOptions, FolderOptions):
    """What a run of whole pipelines writes and shows."""

    scale: Annotated[
        ScaleName,
        typer.Option(
            help=f"One range of values for {', '.join(_SHARED[:-1])}, or {_SHARED[-1]}.",
            rich_help_panel=OUTPUT,
        ),
    ] = "layer"
    value_range: Annotated[
        str | None,
        typer.Option(metavar="LO,HI", help="Draw this range instead.", rich_help_panel=OUTPUT),
    ] = None
    only: Annotated[
        Literal["maps", "grid"] | None,
        typer.Option(help="Only one PNG a map, or only grids.", rich_help_panel=OUTPUT),
    ] = None
    save: Annotated[
        list[Saved] | None,
        typer.Option(
            help="Also save each stage's numbers, or the weights used, as --weights reads them; "
            "repeatable.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    png_level: Annotated[
        int | None,
        typer.Option(
            "--png-level", metavar="0..9", min=0, max=9,
            help="0 writes PNGs fast and large, 9 slowly and small. (default: fast, yet small)",
            rich_help_panel=OUTPUT,
        ),
    ] = None  # fmt: skip
    nrow: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Maps in a grid's row.", rich_help_panel=OUTPUT),
    ] = None
    sort: Annotated[
        Literal["none", "variance", "max"],
        typer.Option(
            help="The order of a grid's maps: none is by channel; else the largest variance or "
            "maximum first (ties by channel, NaN last).",
            rich_help_panel=OUTPUT,
        ),
    ] = "none"
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Only the first N maps in a grid, after sorting; the scale "
            "stays that of all.",
            rich_help_panel=OUTPUT,
        ),
    ] = None  # fmt: skip
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
            help="STAGE.weight, STAGE.bias, … from a .safetensors or .npz file.",
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
            from cnnviz.files.values import parse_value

            settings = {name: parse_value(text) for name, text in written.items()}
        if self.pad_value is not None:
            settings = {"padding_mode": "constant", **settings, "pad_value": self.pad_value}
        return settings
