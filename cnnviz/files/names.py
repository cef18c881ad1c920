"""What the files in an image's folder are called."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cnnviz.core.types import Row

INPUT_PICTURE = "00_input.png"
WEIGHTS = "weights.safetensors"
"""The name of a pipeline's weights."""

_SINGLE = frozenset(
    {INPUT_PICTURE, WEIGHTS, "shapes.csv", "compare.png", "shift.png", "shift_rotate.png"}
)
_OF_A_STAGE = re.compile(
    r"\d{2,}_[a-z][a-z\d]*_[\w.-]+"
    r"(?:(?:_grid|_c\d{3,}(?:_winners)?|_rgb\d{3,}"
    r"|_at(?:_\d+)+(?:_[a-z]+(?:_over|_curves|_c\d{3})?)?)\.png|_c\d{3,}\.gif|\.npy)",
    re.ASCII,
)


def is_output(name: str) -> bool:
    """Whether a file is called as those that cnnviz writes into an image's folder.

    Others are never written, and a record that lists them is not believed.

    >>> is_output("03_conv_conv2_grid.png"), is_output("holiday.png"), is_output("../00_input.png")
    (True, False, False)
    """
    return name in _SINGLE or _OF_A_STAGE.fullmatch(name) is not None


def map_name(row: Row, channel: int) -> str:
    """Name the picture of one channel: ``03_conv_conv2_c007.png``."""
    return f"{_stage_name(row)}_c{channel:03d}.png"


def colour_name(row: Row, kernel: int) -> str:
    """Name the picture of three channels recombined: ``01_depthwise_depthwise1_rgb000.png``."""
    return f"{_stage_name(row)}_rgb{kernel:03d}.png"


def grid_name(row: Row) -> str:
    """Name the picture of all channels: ``03_conv_conv2_grid.png``."""
    return f"{_stage_name(row)}_grid.png"


def explanation_name(row: Row, at: Sequence[int]) -> str:
    """Name the picture of an explained value: ``03_conv_conv2_at_7_0_12.png``."""
    return f"{_stage_name(row)}_at_{'_'.join(map(str, at))}.png"


def heatmap_name(row: Row, at: Sequence[int], kind: str, ending: str = "png") -> str:
    """Name a picture of a heatmap, or its values: ``23_dense_fc_at_3_cam.png``, ``….npy``."""
    return f"{_stage_name(row)}_at_{'_'.join(map(str, at))}_{kind}.{ending}"


def winners_name(row: Row, channel: int) -> str:
    """Name the picture of a pooling's winners: ``02_maxpool_maxpool1_c007_winners.png``."""
    return f"{_stage_name(row)}_c{channel:03d}_winners.png"


def animation_name(row: Row, channel: int) -> str:
    """Name the animation of one channel: ``03_conv_conv2_c007.gif``."""
    return f"{_stage_name(row)}_c{channel:03d}.gif"


def array_name(row: Row) -> str:
    """Name the stage's numbers: ``03_conv_conv2.npy``."""
    return f"{_stage_name(row)}.npy"


def _stage_name(row: Row) -> str:
    return f"{row.index:02d}_{row.layer}_{row.name}"
