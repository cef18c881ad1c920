"""Cross-correlation by Fourier transforms of overlapping tiles, for large kernels of any rank.

    tile[k, y, x] = F⁻¹( Σ_c F(image tile[c]) · F(flipped weight[k, c]) )[eh − 1 + y, ew − 1 + x]

A product of spectra is a circular convolution: of a tile's values the first eh − 1 rows and
ew − 1 columns (the kernel's extent less one) are wrapped around, all others are whole windows.
Each channel's tile is transformed once for all filters that see it. A stride reads fewer of the
values and dilation spreads the kernel: neither changes anything else.

Rounding is spread over a tile, and a window much darker than the rest gets the share of the
brightest. In float64 nothing of that is left once the result is float32 (unless values nearby are
10⁸ times larger). In float32 (twice as fast) it measured below 1e-6 of Σ|terms| on
normal and uniform noise under kernels from 7×7 to 101×101, but 3e-5 where half an image is 255
times darker than the other. Windows that hold only zeros are looked for and give exactly 0 either
way.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import product
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine.plan import Algorithm
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.threads import share, that_fit
from cnnviz.core.types import Pair, Tensor

Spectra = NDArray[Any]  # complex64 or complex128
Mask = NDArray[np.bool_]
Real = np.dtype[Any]
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

FFT: Any = np.fft  # its annotations have double precision only

DEEPEST = 8  # channels a filter sees: the spectra of more leave the cache, and lose everywhere
LENGTHS = sorted(base << shift for base in (4, 5, 6) for shift in range(2, 9))  # 16 … 1536
KERNEL_BYTES = 16 << 20  # spectra of as many filters as are used in one pass over the image
WORKER_BYTES = 12 << 20  # a thread's padded rows and spectra
CACHE_BYTES = 2 << 20  # spectra beyond this are slower to walk through


def _supports(problem: Correlation) -> bool:
    """Return whether the layer is no deeper than pictures are, and the kernel fits a tile."""
    return problem.depth <= DEEPEST and _tiling_of(problem, DOUBLE) is not None


def _work(problem: Correlation, real: Real = DOUBLE) -> float:
    tiling = _tiling_of(problem, real)
    return tiling.nanoseconds if tiling else inf


def _run(problem: Correlation, output: Tensor, threads: int, real: Real = DOUBLE) -> None:
    """Write the correlation into `output`, (O, rows, columns)."""
    tiling = _tiling_of(problem, real)
    if tiling is None:
        raise ValueError("no tile holds this kernel")
    each = problem.filters // problem.groups
    at_once = max(1, KERNEL_BYTES // (problem.depth * tiling.spectrum_bytes))
    for first in range(0, problem.filters, at_once):
        filters = range(first, min(first + at_once, problem.filters))
        kernels = _kernel_spectra(problem, tiling, filters)
        items = [
            (group, strip)
            for group in range(filters[0] // each, filters[-1] // each + 1)
            for strip in range(tiling.strips)
        ]
        worker = partial(_Worker, problem, tiling, kernels, filters, output)
        share(items, worker, that_fit(threads, tiling.worker_bytes, kept=KERNEL_BYTES))


# --- tiles


class _Tiling(NamedTuple):
    """Tiles of `size` padded input values, each yielding `step` output values."""

    size: Pair
    step: Pair
    strips: int  # rows of tiles
    real: Real
    worker_bytes: int
    nanoseconds: float

    @property
    def complex(self) -> type[np.complex64 | np.complex128]:
        """Of the spectra."""
        return np.complex64 if self.real == SINGLE else np.complex128

    @property
    def spectrum_bytes(self) -> int:
        """Of one tile of one channel."""
        return np.dtype(self.complex).itemsize * self.size[0] * (self.size[1] // 2 + 1)


def _tiling_of(problem: Correlation, real: Real) -> _Tiling | None:
    copied = problem.padded_width if any(problem.pads) else 0
    counts = (problem.channels, problem.filters, problem.groups)
    return _tiling(problem.size, problem.window.stride, problem.window.extent, counts, copied, real)


@lru_cache(maxsize=256)
def _tiling(
    size: Pair,
    stride: Pair,
    extent: Pair,
    counts: tuple[int, int, int],
    copied: int,
    real: Real,
) -> _Tiling | None:
    """Choose the fastest tiles that hold the kernel and fit in memory, or None."""
    (channels, filters, groups), best = counts, None
    depth, fewest = channels // groups, inf
    axes = [
        [
            (length, step, -(-size[axis] // step))
            for length in _lengths(extent[axis], (size[axis] - 1) * stride[axis] + extent[axis])
            for step in [(length - extent[axis]) // stride[axis] + 1]
        ]
        for axis in (0, 1)
    ]
    for (high, down, strips), (wide, along, across) in product(*axes):
        values, tiles = float(high * wide), strips * across
        spectra = real.itemsize * (depth + 3) * (wide + 2)
        worker_bytes = high * (spectra + 4 * depth * copied)
        if worker_bytes > WORKER_BYTES:
            continue
        transforms = values * (tiles * (channels + filters) + filters * depth)
        products = values * tiles * filters * depth
        calls = float(tiles * (2 * channels + 8 * filters) + 2 * filters * depth)
        slow = 1.2 if real.itemsize * values > CACHE_BYTES else 1.0
        # The fewer strips there are to share, the longer the last thread works alone.
        alone = 1 + 1 / (strips * groups)
        time = alone * (1.9 * slow * transforms + 0.2 * products + 4000 * calls)
        if time < fewest:
            work = (2.35 if real == SINGLE else 3.2) * transforms + 3000 * calls
            best = _Tiling((high, wide), (down, along), strips, real, worker_bytes, work)
            fewest = time
    return best


def _lengths(extent: int, needed: int) -> list[int]:
    """List transform lengths from the kernel's to the first that holds the whole axis."""
    large = [length for length in LENGTHS if length >= extent]
    enough = next((length for length in large if length >= needed), LENGTHS[-1])
    return [length for length in large if length <= enough]


# --- work


class _Worker:
    """One thread's: the buffers it transforms tiles in."""

    def __init__(
        self,
        problem: Correlation,
        tiling: _Tiling,
        kernels: Spectra,
        filters: range,
        output: Tensor,
    ) -> None:
        self.problem, self.tiling, self.kernels = problem, tiling, kernels
        self.filters, self.output = filters, output
        (high, wide), half = tiling.size, tiling.size[1] // 2 + 1
        self.spectra = np.empty((problem.depth, high, half), tiling.complex)
        self.product, self.term = np.empty((2, high, half), tiling.complex)
        self.values = np.empty((tiling.step[0], wide), tiling.real)

    def __call__(self, item: Pair) -> None:
        """Compute the tiles of a strip for the filters of one group."""
        (group, strip), problem = item, self.problem
        (rows, columns), (down, along) = problem.size, self.tiling.step
        stride, extent = problem.window.stride[1], problem.window.extent[1]
        top, bottom = strip * down, min((strip + 1) * down, rows)
        band = problem.band(top, bottom, slice(group * problem.depth, (group + 1) * problem.depth))
        for left in range(0, columns, along):
            right = min(left + along, columns)
            tile = band[:, :, left * stride : (right - 1) * stride + extent]
            self._tile(tile, group, (slice(top, bottom), slice(left, right)))

    def _tile(self, tile: Tensor, group: int, place: tuple[slice, slice]) -> None:
        problem, wide = self.problem, self.tiling.size[1]
        each = problem.filters // problem.groups
        (sh, sw), (eh, ew) = problem.window.stride, problem.window.extent
        # Unscaled, NumPy would always transform in double; "ortho" both ways is 1/n in all.
        rows = self.spectra[:, : tile.shape[1]]
        FFT.rfft(tile.astype(self.tiling.real, copy=False), wide, norm="ortho", out=rows)
        self.spectra[:, tile.shape[1] :] = 0
        FFT.fft(self.spectra, axis=-2, norm="ortho", out=self.spectra)
        dark = _dark(tile, problem)
        for k in range(
            max(group * each, self.filters[0]), min((group + 1) * each, self.filters.stop)
        ):
            piece = self.output[k : k + 1, *place]
            kernel = self.kernels[k - self.filters.start]
            np.multiply(self.spectra[0], kernel[0], out=self.product)
            for spectrum, other in zip(self.spectra[1:], kernel[1:], strict=True):
                np.multiply(spectrum, other, out=self.term)
                self.product += self.term
            FFT.ifft(self.product, axis=-2, norm="ortho", out=self.product)
            values = self.values[: piece.shape[1]]
            whole = self.product[eh - 1 :: sh][: piece.shape[1]]
            FFT.irfft(whole, wide, norm="ortho", out=values)
            piece[0] = values[:, ew - 1 :: sw][:, : piece.shape[2]]
            if dark is not None:
                np.copyto(piece[0], 0, where=dark)
            problem.finish(piece, slice(k, k + 1))


def _kernel_spectra(problem: Correlation, tiling: _Tiling, filters: range) -> Spectra:
    """Transform the flipped, spread weights of some filters: (filters, depth, rows, columns)."""
    (dh, dw), (eh, ew) = problem.window.dilation, problem.window.extent
    spread = np.zeros((eh, ew))
    high, wide = tiling.size
    spectra = np.empty((len(filters), problem.depth, high, wide // 2 + 1), tiling.complex)
    for place in np.ndindex(spectra.shape[:2]):
        spread[::dh, ::dw] = problem.weight[filters.start + place[0], place[1], ::-1, ::-1]
        spectra[place] = FFT.rfft2(spread, tiling.size)
    return spectra


def _dark(tile: Tensor, problem: Correlation) -> Mask | None:
    """Find the windows of a tile that hold only 0, or None where there cannot be any."""
    seen = tile[0] != 0
    for channel in tile[1:]:
        seen |= channel != 0
    (kh, kw), (dh, dw), (sh, sw) = (
        problem.window.kernel_size,
        problem.window.dilation,
        problem.window.stride,
    )
    if seen.size - np.count_nonzero(seen) < kh * kw:
        return None
    seen = _any_of(_any_of(seen, kh, dh).T, kw, dw).T
    return ~seen[::sh, ::sw]


def _any_of(seen: Mask, taps: int, step: int) -> Mask:
    """Return for each row whether it or one of the next taps − 1 rows, `step` apart, is true."""
    reach = 1
    while reach < taps:
        by = min(reach, taps - reach)  # doubling: what reaches r and what reaches r, r further on
        seen = seen[: len(seen) - by * step] | seen[by * step :]
        reach += by
    return seen


FFT_DOUBLE = Algorithm(
    "fft",
    "Fourier transforms of overlapping tiles, in double precision",
    _supports,
    _work,
    _run,
    error=2e-7,
)
FFT_SINGLE = Algorithm(
    "fft32",
    "Fourier transforms of overlapping tiles, in single precision",
    _supports,
    partial(_work, real=SINGLE),
    partial(_run, real=SINGLE),
    error=1e-5,
    shares_rounding=True,
)
