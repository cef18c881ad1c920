"""The one size rule: where windows stand on an image, and how many there are.

Convolution, pooling, tables, explanations and animations all ask here. Sizes are (rows, columns);
one axis of length L, padded by `before` and `after`, under a window of `extent` dilated cells that
moves by `stride`, holds

    out = ⌊(L + before + after − extent) / stride⌋ + 1,   extent = dilation · (kernel − 1) + 1

windows (Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.settings import Padding
from cnnviz.core.types import Pads, Pair, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError


@dataclass(frozen=True)
class Window:
    """A sliding window: its kernel size, stride, padding and dilation, per axis.

    >>> window = Window((7, 7), stride=(2, 2), padding=Padding("same"))
    >>> window.pads((224, 224)), window.output_size((224, 224))
    ((2, 2, 3, 3), (112, 112))
    """

    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Padding = Padding()
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    @cached_property
    def extent(self) -> Pair:
        """Rows and columns from a window's first cell to its last, both counted."""
        (kh, kw), (dh, dw) = self.kernel_size, self.dilation
        return (dh * (kh - 1) + 1, dw * (kw - 1) + 1)

    def pads(self, size: Pair) -> Pads:
        """Return the padding (top, left, bottom, right) in pixels for an image of `size`."""
        match self.padding.rule:
            case "valid":
                return (0, 0, 0, 0)
            case "explicit":
                return self.padding.amounts
            case "full":
                (rows, columns) = self.extent
                return (rows - 1, columns - 1, rows - 1, columns - 1)
        # same: as much as ⌈L / stride⌉ windows need; the odd pixel goes after, or (lower) before.
        totals = [
            max((-(-length // stride) - 1) * stride + extent - length, 0)
            for length, stride, extent in zip(size, self.stride, self.extent, strict=True)
        ]
        less, more = [total // 2 for total in totals], [-(-total // 2) for total in totals]
        before, after = (less, more) if self.padding.rule == "same" else (more, less)
        return (before[0], before[1], after[0], after[1])

    def output_size(self, size: Pair) -> Pair:
        """Return how many windows stand on an image of `size`.

        Raises
        ------
        CnnvizError
            If the padded image is smaller than the window.
        """
        top, left, bottom, right = self.pads(size)
        padded = (size[0] + top + bottom, size[1] + left + right)
        if padded[0] < self.extent[0] or padded[1] < self.extent[1]:
            raise CnnvizError(
                f"a window of {_by(self.extent)} does not fit an input of {_by(size)}"
                + (f" padded to {_by(padded)}" if padded != size else ""),
                hint="use padding=same, a smaller kernel or dilation, or a larger image",
            )
        return (
            sum(self.count_axis(0, size[0], (top, bottom))),
            sum(self.count_axis(1, size[1], (left, right))),
        )

    def count_axis(self, axis: int, length: int, pads: Pair) -> Pair:
        """Return how many whole windows an axis holds, and how many of ceil mode hang over it."""
        steps, rest = divmod(length + sum(pads) - self.extent[axis], self.stride[axis])
        # One more may hang over the end, unless it would start in the padding after.
        hangs = self.ceil_mode and rest > 0 and (steps + 1) * self.stride[axis] < length + pads[0]
        return (steps + 1, int(hangs))

    def starts(self, size: Pair) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return each window's first row and first column, in input coordinates (may be < 0)."""
        top, left, _, _ = self.pads(size)
        rows, columns = self.output_size(size)
        return (
            np.arange(rows) * self.stride[0] - top,
            np.arange(columns) * self.stride[1] - left,
        )

    def counts(self, size: Pair, *, include_pad: bool = False) -> tuple[NDArray[np.intp], ...]:
        """Return how many of each window's rows and columns lie on the image.

        With `include_pad` padding counts too; cells beyond it (ceil mode) never do.
        """
        top, left, bottom, right = self.pads(size) if include_pad else (0, 0, 0, 0)
        limits = ((-top, size[0] + bottom), (-left, size[1] + right))
        counts = []
        for axis, starts in enumerate(self.starts(size)):
            taps = np.arange(self.kernel_size[axis]) * self.dilation[axis]
            low, high = limits[axis]
            # Count the taps in low <= start + tap < high without a (windows × taps) table.
            first = np.searchsorted(taps, low - starts, side="left")
            stop = np.searchsorted(taps, high - starts, side="left")
            counts.append(np.asarray(stop - first))
        return tuple(counts)

    def taps(self, size: Pair, axis: int, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the coordinates along `axis` of the cells of some windows, (windows, kernel).

        They are the input's, and lie in the padding where they are negative or past its end.
        """
        starts = positions * self.stride[axis] - self.pads(size)[axis]
        return starts[:, None] + np.arange(self.kernel_size[axis]) * self.dilation[axis]

    def contamination(self, size: Pair) -> float:
        """Return the share of all windows' cells that lie off an image of `size`.

        That is in padding of any mode, or beyond it, where windows of ceil mode hang over: neither
        holds a pixel of its own. It is exactly 0 where no window leaves the image.
        """
        return _contamination(self, size)

    def require_pixels(self, size: Pair) -> None:
        """Raise CnnvizError if some window holds no pixel of an image of `size`, only padding.

        It is a RequestError where the first window does so on every image.
        """
        pads, positions = self.pads(size), self.output_size(size)
        for axis in (0, 1):
            length, before = size[axis], pads[axis]
            last = (positions[axis] - 1) * self.stride[axis] - before
            alone = before >= self.extent[axis] or last >= length
            # Only an image shorter than the gaps between a window's cells can slip through them.
            if not alone and length < self.dilation[axis]:
                alone = not self.counts(size)[axis].all()
            if alone:
                error = RequestError if before >= self.extent[axis] else CnnvizError
                raise error(
                    f"a window would hold padding only: kernel {_by(self.kernel_size)}, "
                    f"padding {','.join(map(str, pads))}, input {_by(size)}",
                    hint="pooling padding must be smaller than the window",
                )

    def views(self, padded: Tensor) -> Tensor:
        """Return every whole window of an already padded tensor, without copying.

        Parameters
        ----------
        padded : Tensor
            (C, H, W).

        Returns
        -------
        Tensor
            (C, kh, kw, rows, columns), read-only: element [c, i, j, y, x] is
            padded[c, y·stride + i·dilation, x·stride + j·dilation].
        """
        channels, height, width = padded.shape
        (kh, kw), (sh, sw), (dh, dw) = self.kernel_size, self.stride, self.dilation
        rows = (height - self.extent[0]) // sh + 1
        columns = (width - self.extent[1]) // sw + 1
        step_c, step_h, step_w = padded.strides
        return np.lib.stride_tricks.as_strided(
            padded,
            (channels, kh, kw, rows, columns),
            (step_c, dh * step_h, dw * step_w, sh * step_h, sw * step_w),
            writeable=False,
        )


@lru_cache(maxsize=1024)  # the same stages are asked for again and again
def _contamination(window: Window, size: Pair) -> float:
    pads = window.pads(size)
    if not any(pads) and not window.ceil_mode:
        return 0.0
    positions = window.output_size(size)
    # Σ over windows of (rows on the image · columns on it) = the product of the two sums.
    on_image = cells = 1
    for axis in (0, 1):
        stride, count = window.stride[axis], positions[axis]
        first = np.arange(window.kernel_size[axis]) * window.dilation[axis] - pads[axis]
        # Cell i of window p is on the image where 0 <= p·stride + first[i] < length. It is
        # counted by cell, for there may be a million windows, and this is for shapes alone.
        low, high = -(first // stride), -((first - size[axis]) // stride)
        on_image *= int((np.clip(high, 0, count) - np.clip(low, 0, count)).sum())
        cells *= count * window.kernel_size[axis]
    return (cells - on_image) / cells


def view(array: NDArray[Any], shape: Shape, steps: Shape, start: int = 0) -> NDArray[Any]:
    """Return a view of contiguous memory; steps and start in values."""
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array, size * start, [size * step for step in steps])


def _by(size: Pair) -> str:
    return f"{size[0]}×{size[1]}"
