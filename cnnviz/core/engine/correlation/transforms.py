"""The matrices of Winograd's minimal filtering F(m×m, 3×3), and the points they are made from.

Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnviz.core.types import Tensor


@dataclass(frozen=True, eq=False)
class Transform:
    """The matrices of F(m×m, 3×3)."""

    inverse: Tensor  # Aᵀ, m × α
    kernel: Tensor  # G, α × 3
    tile: Tensor  # Bᵀ, α × α

    @property
    def size(self) -> int:
        """The side of an output tile, m."""
        return len(self.inverse)

    @property
    def alpha(self) -> int:
        """The side of an input tile, α."""
        return len(self.tile)


def _matrix(*rows: tuple[float, ...]) -> Tensor:
    return np.array(rows, np.float32)


# fmt: off
F2 = Transform(  # through the points 0, 1, −1, ∞
    inverse=_matrix(
        (1, 1,  1,  0),
        (0, 1, -1, -1),
    ),
    kernel=_matrix(
        (  1,    0,   0),
        (1/2,  1/2, 1/2),
        (1/2, -1/2, 1/2),
        (  0,    0,   1),
    ),
    tile=_matrix(
        (1,  0, -1,  0),
        (0,  1,  1,  0),
        (0, -1,  1,  0),
        (0,  1,  0, -1),
    ),
)

# Through 0, ±3/4, ±3/2, ∞: a third of the error of the usual 0, ±1, ±2, ∞ (relative to a tile).
# Good points are found by trying (Barabasz et al., "Error Analysis and Improving the Accuracy of
# Winograd Convolution for Deep Neural Networks", 2020); of these A and B are exact in binary.
F4 = Transform(
    inverse=_matrix(
        (1,     1,      1,    1,     1, 0),
        (0,   3/4,   -3/4,  3/2,  -3/2, 0),
        (0,  9/16,   9/16,  9/4,   9/4, 0),
        (0, 27/64, -27/64, 27/8, -27/8, 1),
    ),
    kernel=_matrix(
        (  64/81,      0,      0),
        (-128/243, -32/81, -8/27),
        (-128/243,  32/81, -8/27),
        (  32/243,  16/81,  8/27),
        (  32/243, -16/81,  8/27),
        (       0,      0,     1),
    ),
    tile=_matrix(
        (81/64,      0, -45/16,     0, 1, 0),
        (    0, -27/16,   -9/4,   3/4, 1, 0),
        (    0,  27/16,   -9/4,  -3/4, 1, 0),
        (    0, -27/32,  -9/16,   3/2, 1, 0),
        (    0,  27/32,  -9/16,  -3/2, 1, 0),
        (    0,  81/64,      0, -45/16, 0, 1),
    ),
)
# fmt: on
