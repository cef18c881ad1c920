"""The words every room uses: tensors, shapes, pairs, and the rows and stages of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[np.float32]
"""float32, (C, H, W) for maps or (N,) for vectors."""

Shape = tuple[int, ...]
"""(C, H, W) or (N,)."""

Pair = tuple[int, int]
"""(rows, columns)."""

Seed = int | tuple[int, ...]
"""What random numbers are drawn from, as ``numpy.random.default_rng`` takes it."""

Pads = tuple[int, int, int, int]
"""(top, left, bottom, right)."""


@dataclass(frozen=True, eq=False)
class Samples:
    """An image as its 8-bit samples: each stands for the float32 nearest to sample / unit.

    A quarter of a tensor's memory, and what exact integer arithmetic can work on.
    """

    values: NDArray[np.uint8]  # (C, H, W)
    unit: float = 1.0  # 255 for pixels in 0..1, 1 for raw ones

    @cached_property
    def shape(self) -> Shape:
        """(C, H, W)."""
        return self.values.shape

    def __getitem__(self, channels: slice | list[int]) -> Samples:
        """Return some channels, as indexing a tensor does."""
        return Samples(self.values[channels], self.unit)

    def tensor(self) -> Tensor:
        """Return the values as float32."""
        return np.divide(self.values, np.float32(self.unit), dtype=np.float32)


Params = Mapping[str, Tensor]
"""Weights by name: ``conv1.weight`` for a pipeline, ``weight`` inside one layer."""


@dataclass(frozen=True)
class Row:
    """What a stage promises from shapes alone, before any pixel is read.

    Sizes are (rows, columns); fields that make no sense for a layer are None.
    """

    index: int  # 1 for the first layer
    name: str
    layer: str  # the registry's name: conv, maxpool, …
    text: str  # the layer as pipeline text: conv(8, 5, padding=same)
    settings: Mapping[str, Any]  # JSON-ready
    inputs: tuple[str, ...]  # stage names, or "input"
    input_shape: Shape
    output_shape: Shape
    kernel_size: Pair | None
    stride: Pair | None
    padding: Pads | None
    dilation: Pair | None
    groups: int | None
    params: int  # trained numbers; running statistics are not counted
    macs: int  # multiply-adds with weights, bias not counted
    receptive_field: Pair | None
    effective_stride: tuple[float, float] | None
    effective_padding: tuple[float, float, float, float] | None
    memory_bytes: int  # of the output, float32
    weights: str | None  # where they come from: "kernels", "drawn", "loaded"; None without any
    contamination: float | None = None  # share of all windows' cells that are off the image


@dataclass(frozen=True)
class Statistics:
    """Facts about the values of a computed stage; None where no finite value exists."""

    min: float | None  # of the finite values
    max: float | None
    mean: float | None
    zeros: float  # fraction of exact zeros
    nonfinite: int  # how many values are NaN or infinite


@dataclass(frozen=True)
class Losses:
    """What a computed stage let go of; None where the question makes no sense for the layer."""

    dead: int | None  # maps of zeros alone
    discarded: float | None  # share of a pooling's input values that win in no window


class Computed(NamedTuple):
    """A stage's output and how it was computed."""

    row: Row
    output: Tensor
    algorithm: str | None
    seconds: float
    losses: Losses | None  # where they were asked for


@dataclass(frozen=True)
class Stage:
    """A computed stage: its row, its output and what computing it showed."""

    row: Row
    output: Tensor
    algorithm: str | None
    statistics: Statistics
    seconds: float
    losses: Losses | None = None  # only where they were asked for: they take time


@dataclass(frozen=True)
class Totals:
    """Sums over a pipeline's rows."""

    params: int
    macs: int
    memory_bytes: int
    peak_bytes: int  # the largest sum of tensors alive at once, the input included


def size_text(sizes: Iterable[float], sign: str = "×") -> str:
    """Write a size or a shape.

    >>> size_text((3, 224, 224)), size_text((1.5, 2), "x")
    ('3×224×224', '1.5x2')
    """
    return sign.join(f"{size:g}" if isinstance(size, float) else str(size) for size in sizes)
