"""What a pipeline's file says beside the pipeline, and where those that come with cnnviz lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnviz.core.types import Shape
from cnnviz.files.preparation import COLORS, FITS

BUNDLE = Path(__file__).parents[1] / "pipelines"
"""The folder of the bundled pipelines and their weights."""


@dataclass(frozen=True)
class InputSettings:
    """How a pipeline wants its image: ``[input]`` of a .toml file. None: as the user says."""

    color: str | None = None
    size: tuple[int, int] | None = None  # rows, columns
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None
    weights: str | None = None  # a path
    crop: tuple[int, int] | None = None  # rows, columns
    fit: str | None = None
    invert: str | None = None
    input_range: float | None = None

    @property
    def shape(self) -> Shape | None:
        """The shape every picture is given; None if it depends on the picture."""
        if self.fit in FITS:
            return FITS[self.fit].shape
        size = self.crop or self.size
        return (len(COLORS[self.color or "gray"]), *size) if size else None
