"""What is told of an experiment: how the picture was moved, and each stage's errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cnnviz.core.types import Shape

Axis = Literal["x", "y", "both"]
Mode = Literal["circular", "crop"]

AXES: tuple[Axis, ...] = ("x", "y", "both")
MODES: tuple[Mode, ...] = ("circular", "crop")

Errors = tuple[float | None, ...]
"""One number for each amount of the movement, None where there is none to tell."""


@dataclass(frozen=True)
class Movement:
    """How the picture is moved, and how far: pixels of a shift, degrees of a rotation."""

    amounts: tuple[float, ...]
    axis: Axis | None  # None: it is turned
    mode: Mode | None

    @property
    def unit(self) -> str:
        """What the amounts are."""
        return "degrees" if self.axis is None else "pixels"

    def told(self, amount: float) -> str:
        """Write one amount with its unit.

        >>> Movement((1, 2), "x", "crop").told(1), Movement((2.5,), None, None).told(2.5)
        ('1 pixel', '2.5 degrees')
        """
        return f"{amount:g} {self.unit[:-1] if amount == 1 else self.unit}"


@dataclass(frozen=True)
class StageErrors:
    """How far a stage's output f(x) changes when the picture x does: both errors are relative.

    With x_d the picture moved by d, S_d the same movement of a map, and norms over all values
    compared:

    - invariance: ‖f(x_d) − f(x)‖₂ / ‖f(x)‖₂, 0 if the output does not notice;
    - equivariance: ‖f(x_d) − S_d f(x)‖₂ / ‖f(x)‖₂, 0 if the output moves along.
    """

    index: int  # 0 for the picture itself
    name: str
    layer: str
    output_shape: Shape
    effective_stride: tuple[float, float] | None
    norm: float  # ‖f(x)‖₂; NaN or infinite if some value is
    equivariance: Errors
    invariance: Errors


@dataclass(frozen=True)
class MovementErrors:
    """An experiment with one pipeline: its stages' errors, those of the picture itself first."""

    movement: Movement
    shape: Shape  # of the picture that went in; in crop mode it is smaller than the one given
    stages: tuple[StageErrors, ...]
