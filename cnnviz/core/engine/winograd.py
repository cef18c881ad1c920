"""Cross-correlation by 3×3 kernels with fewer multiplications: Winograd's minimal filtering.

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d: α×α of the input,  g: 3×3,  Y: m×m,  α = m + 2

costs α² multiplications a tile instead of 9·m² (Lavin & Gray, "Fast Algorithms for Convolutional
Neural Networks", 2016): 2.25 times fewer with F(2×2, 3×3), 4 times with F(4×4, 3×3). Channels are
summed between the transforms, where each of the α² positions p in a tile is a matrix product,

    #ptc,pco->pto        (t tile, c channel, o filter)

and with channels innermost the transforms are matrix products too: the overlapping tiles of an
axis are then plain strided views, which B or A meets along the columns and along the rows.

Errors, the largest |result − float64 oracle| seen for C = 1 … 512 and normal, uniform, one-signed,
rectified and sparse values, as a share of Σ|terms|:

                             F(2×2)    F(4×4)
    dense values             1.9e-6    1.0e-5    of the window's own Σ|terms|
    any values               0.9e-6    1.9e-6    of the largest Σ|terms| in the window's tile

A tile shares its rounding. Where a window is almost empty (few channels, sparse maps) and its
neighbours are not, it has their error, and no bound relative to its own Σ|terms| holds: with 3
channels, 2 % of them not 0, 2e-4 and 4e-3 were seen. F(6×6) would need a fifth fewer
multiplications but errs by 1e-4 on dense values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

import numpy as np

from cnnviz.core.engine.plan import MAC, SMALL_PRODUCT, Algorithm
from cnnviz.core.engine.problem import Correlation
from cnnviz.core.threads import Band, share, split, that_fit
from cnnviz.core.types import Pair, Tensor
from cnnviz.core.window import view

FILTERS = 64  # in one product
BLOCK = 1 << 16  # filters × channels, at most, in one product
BAND = 1 << 20  # transformed values of a band, at most
DEPTH = 256  # channels in one product: longer sums in float32 err more
PLACES = 4608  # tiles × the positions in each that are summed, at most, in one band's stretch
SPAN = 16  # output columns that one inverse transform writes
KEPT = 8 << 20  # transformed values kept at a time, of weights or tiles
ALONE = 1_500_000  # transformed values a thread makes faster alone
MEMORY = 64 << 20  # bytes beyond input and output
WIDE = 16  # channels and filters
ENERGY = 1e30  # Σ squares of pixels, and of weights, from which on transforms might overflow


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


def _supports(problem: Correlation) -> bool:
    """3×3 windows side by side over all channels, wide enough to gain, if the memory suffices.

    Wide enough to average rounding out, too.
    """
    return (
        problem.kernel_size == (3, 3)
        and problem.window.stride == problem.window.dilation == (1, 1)
        and problem.groups == 1
        and min(problem.depth, problem.filters) >= WIDE
        and all(_layout(each, problem).memory <= MEMORY for each in (F2, F4))
    )


def _work(problem: Correlation, transform: Transform) -> float:
    return _layout(transform, problem).nanoseconds


def _run(problem: Correlation, output: Tensor, threads: int, transform: Transform) -> None:
    """Fill `output` (O, rows, columns)."""
    _Winograd(transform, problem).run(output, threads)


class _Scratch:
    """The arrays of one thread, made once and used again by every piece of its work."""

    def __init__(self) -> None:
        self._arrays: dict[object, Tensor] = {}

    def take(self, key: object, *shape: int) -> Tensor:
        size, array = prod(shape), self._arrays.get(key)
        if array is None or array.size < size:
            array = self._arrays[key] = np.empty(size, np.float32)
        return array[:size].reshape(shape)


class _Layout:
    """One transform on problems of one size: where the tiles are, and how they are cut.

    Tiles go by bands of tile rows and filters by blocks; each product is of one band with one
    block. No size depends on the number of threads, so neither does any value.
    """

    def __init__(self, transform: Transform, size: Pair, depth: int, filters: int) -> None:
        self.transform, self.depth, self.filters = transform, depth, filters
        rows, columns = size
        self.down, self.across = -(-rows // transform.size), -(-columns // transform.size)
        self.span = SPAN // transform.size  # tiles
        width = min(filters, FILTERS, max(1, BLOCK // depth))
        self.blocks = split(filters, width)
        places = transform.alpha**2
        most = min(
            PLACES // places, SMALL_PRODUCT // (width * min(depth, DEPTH)), BAND // (places * depth)
        )
        most = max(most, self.span)
        # A band is a few whole rows of tiles; only a very wide one is cut into stretches, too.
        self.stretches = [
            (self.span * first, min(self.span * stop, self.across))
            for first, stop in split(-(-self.across // self.span), most // self.span)
        ]
        self.longest = max(stop - first for first, stop in self.stretches)
        self.tile_values = places * self.down * self.across * depth
        self.weight_values = places * filters * depth
        # The smaller side is transformed first and kept, the other one as it is needed. Weights
        # too large to be kept go in rounds of as many blocks as fit.
        self.keeps_tiles = self.tile_values <= min(self.weight_values, KEPT)
        pieces = 1 if self.keeps_tiles else 2  # two threads at least share what passes
        self.bands = split(self.down, max(1, most // self.longest), pieces)
        together = KEPT // (places * width * depth)
        together = len(self.blocks) if self.keeps_tiles else max(1, together)
        self.rounds = [
            self.blocks[first : first + together] for first in range(0, len(self.blocks), together)
        ]
        # G g Gᵀ as one matrix that meets all nine weights, and A for all tiles of a span.
        self.kernel = np.einsum("bj,ai->baij", transform.kernel, transform.kernel).reshape(-1, 9)
        eye = np.eye(self.span, dtype=np.float32)
        self.inverse = np.einsum("ib,tu->btui", transform.inverse, eye)

    @property
    def memory(self) -> int:
        """Bytes that two threads need."""
        m, places, depth = self.transform.size, self.transform.alpha**2, self.depth
        height = max(stop - first for first, stop in self.bands)
        width = max(stop - first for first, stop in self.blocks)
        tiles, block = places * height * self.longest, width * depth
        image = (m * height + 2) * (m * (self.across + 3 * self.longest) + 3) * depth
        mixed = 3 * tiles * width
        if self.keeps_tiles:
            return 4 * (self.tile_values + 2 * max(image, (places + 18) * block + mixed))
        kept = places * block * max(len(blocks) for blocks in self.rounds)
        return 4 * (kept + 2 * max(18 * block, image + tiles * depth + mixed))

    @property
    def nanoseconds(self) -> float:
        """Return the price of the multiply-adds, the values transformed and the calls."""
        rounds, places = len(self.rounds), self.transform.alpha**2
        transformed = self.tile_values * rounds
        inverse = places * self.down * self.across * self.filters
        if self.transform is F2:  # of 0 and ±1 alone
            values = 0.16 * transformed + 0.12 * inverse + 0.7 * self.weight_values
        else:
            values = 0.5 * transformed + 0.25 * inverse + 0.45 * self.weight_values
        calls = len(self.bands) * len(self.stretches) * (rounds + len(self.blocks))
        macs = self.tile_values * self.filters
        return MAC * macs + values + 32_000 * calls


_known = lru_cache(maxsize=256)(_Layout)


def _layout(transform: Transform, problem: Correlation) -> _Layout:
    return _known(transform, problem.size, problem.depth, problem.filters)


class _Winograd:
    """One transform on one problem: the steps from input to output."""

    def __init__(self, transform: Transform, problem: Correlation) -> None:
        self.transform, self.problem = transform, problem
        self.layout = _layout(transform, problem)

    def run(self, output: Tensor, threads: int) -> None:
        """Fill `output`."""
        threads = max(min(threads, 2), that_fit(threads, self.layout.memory // 2))
        self.problem.watch_sizes(self.problem.weight, ENERGY)
        for blocks in self.layout.rounds:
            self._round(blocks, output, threads)

    def _round(self, blocks: list[Band], output: Tensor, threads: int) -> None:
        """Transform and keep one side; then meet it with each piece of the other while cached."""
        kept: dict[Band, list[Tensor]] = {}
        layout = self.layout
        tiles, weights = (layout.bands, self.tiles), (blocks, self.weights)
        (held, hold), (passing, make) = (tiles, weights) if layout.keeps_tiles else (weights, tiles)
        values = layout.tile_values if layout.keeps_tiles else layout.weight_values

        def keep(item: Band, scratch: _Scratch) -> None:
            kept[item] = hold(item, scratch, item)

        def meet(item: Band, scratch: _Scratch) -> None:
            made = make(item, scratch, "passing")
            for other in held:
                if layout.keeps_tiles:
                    self.product(output, other, kept[other], item, made, scratch)
                else:
                    self.product(output, item, made, other, kept[other], scratch)

        _each(held, keep, threads if values > ALONE else 1)
        _each(passing, meet, threads)

    def weights(self, block: Band, scratch: _Scratch, key: object) -> list[Tensor]:
        """Return G g Gᵀ of a block of filters: one array (α², C, O)."""
        g = self.problem.weight[slice(*block)].reshape(block[1] - block[0], -1)
        filters, depth = g.shape[0], self.problem.depth
        # Rows a power of two apart share few cache lines: 16 more values a row, and the
        # transposition takes a third of the time and the product after it two thirds.
        odd = scratch.take("odd", filters, 9 * depth + 16)[:, : 9 * depth]
        odd[...] = g
        turned = scratch.take("turned", depth, 9, filters)
        turned.reshape(-1, filters)[...] = odd.T
        places, step = len(self.layout.kernel), depth * filters + 16
        memory = scratch.take(key, places * step)
        weights = view(memory, (places, depth, filters), (step, filters, 1))
        np.matmul(self.layout.kernel, turned, out=weights.transpose(1, 0, 2))
        return [weights]

    def tiles(self, band: Band, scratch: _Scratch, key: object) -> list[Tensor]:
        """Return Bᵀ d B of a band of tile rows: an array (α², tiles, C) for each stretch."""
        problem, m, alpha = self.problem, self.transform.size, self.transform.alpha
        count, depth = band[1] - band[0], problem.depth
        height = m * count + 2
        # One column more than tiles need, or unpadded input would come as a view with its own,
        # perhaps unlucky, strides.
        columns = (0, m * self.layout.across + 3)
        image = problem.rows(m * band[0], m * band[0] + height, columns=columns)
        stretches = []
        for first, stop in self.layout.stretches:
            each = stop - first
            width = m * each + 2
            d = scratch.take("d", height, width, depth)
            d[...] = image[:, :, m * first : m * first + width].transpose(1, 2, 0)
            problem.watch_sizes(d, ENERGY)
            half = scratch.take("half", height, alpha, each, depth)
            np.matmul(
                self.transform.tile,
                view(d, (height, each, alpha, depth), (width * depth, m * depth, depth, 1)),
                out=half.transpose(0, 2, 1, 3),
            )
            tiles = scratch.take((key, first), alpha, alpha, count, each * depth)
            line = each * depth
            np.matmul(
                self.transform.tile,
                view(half, (alpha, count, alpha, line), (line, m * alpha * line, alpha * line, 1)),
                out=tiles.transpose(0, 2, 1, 3),
            )
            stretches.append(tiles.reshape(alpha * alpha, count * each, depth))
        return stretches

    def product(
        self,
        output: Tensor,
        band: Band,
        stretches: list[Tensor],
        block: Band,
        weights: list[Tensor],
        scratch: _Scratch,
    ) -> None:
        """Sum over channels, and write and finish the output of a band and a block."""
        m, depth, filters = self.transform.size, self.problem.depth, slice(*block)
        for (first, stop), tiles in zip(self.layout.stretches, stretches, strict=True):
            shape = (*tiles.shape[:2], block[1] - block[0])
            mixed = scratch.take("mixed", *shape)
            np.matmul(tiles[:, :, :DEPTH], weights[0][:, :DEPTH], out=mixed)
            for start in range(DEPTH, depth, DEPTH):
                more = slice(start, start + DEPTH)
                part = scratch.take("part", *shape)
                mixed += np.matmul(tiles[:, :, more], weights[0][:, more], out=part)
            target = output[filters, m * band[0] : m * band[1], m * first : m * stop]
            # Whole spans share a call; what is left of the columns is a span of its own.
            whole, rest = divmod(target.shape[2], SPAN)
            if whole:
                piece = target[:, :, : whole * SPAN]
                self.untile(mixed, piece, whole, stop - first, 0, scratch)
            if rest:
                piece = target[:, :, whole * SPAN :]
                self.untile(mixed, piece, 1, stop - first, whole * self.layout.span, scratch)
            self.problem.finish(target, filters, confined=True)

    def untile(
        self, mixed: Tensor, piece: Tensor, spans: int, across: int, first: int, scratch: _Scratch
    ) -> None:
        """Write Aᵀ [·] A into `piece` from `spans` spans of tiles, from the `first` of `across`."""
        m, alpha = self.transform.size, self.transform.alpha
        filters, rows, columns = piece.shape
        count, each = mixed.shape[1] // across, -(-columns // (spans * m))
        place, row = mixed.shape[1] * filters, across * filters
        line, span = each * filters, alpha * each * filters
        half = scratch.take("half", m * count, spans, alpha * each, filters)
        np.matmul(
            self.transform.inverse,
            view(
                mixed,
                (alpha, count, spans, alpha, line),
                (alpha * place, row, line, place, 1),
                first * filters,
            ),
            out=view(
                half,
                (alpha, count, spans, m, line),
                (line, m * spans * span, span, spans * span, 1),
            ),
        )
        # Rows of `half` are (Aᵀ's column, tile); this A turns them into pixels side by side.
        wide = self.layout.inverse[:, :each, :each].reshape(alpha * each, m * each)
        np.matmul(
            half[:rows].transpose(0, 1, 3, 2),
            wide[:, : columns // spans],
            out=piece.reshape(filters, rows, spans, -1).transpose(1, 2, 0, 3),
        )


def _each(items: list[Band], work: Callable[[Band, _Scratch], None], threads: int) -> None:
    """Do `work` on each item, with a scratch for each thread."""

    def make_worker() -> Callable[[Band], None]:
        scratch = _Scratch()
        return lambda item: work(item, scratch)

    share(items, make_worker, threads)


WINOGRAD_2 = Algorithm(
    "winograd2",
    "3×3 at stride 1 over 16 channels or more, 2.25 times fewer multiplications",
    _supports,
    partial(_work, transform=F2),
    partial(_run, transform=F2),
    error=2e-6,
    shares_rounding=True,
)
WINOGRAD_4 = Algorithm(
    "winograd4",
    "3×3 at stride 1 over 16 channels or more, 4 times fewer multiplications",
    _supports,
    partial(_work, transform=F4),
    partial(_run, transform=F4),
    error=1e-5,
    shares_rounding=True,
)
