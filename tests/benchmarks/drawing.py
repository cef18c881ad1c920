"""Problems drawn for measuring: what people do with images, what networks do, and pooling.

A drawn problem is a few numbers, so that measurements saved as JSON can be planned anew later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import comb
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.engine import Correlation
from cnnviz.core.engine.correlation.whole import as_whole
from cnnviz.core.engine.pooling import PoolProblem
from cnnviz.core.options import Padding
from cnnviz.core.types import Pair, Samples, Shape, Tensor
from cnnviz.core.window import Window
from tests.benchmarks.engine import Subject, correlation_subject, pool_subject

Plane = NDArray[np.float64]

SEED = 20240229
MOST_MACS = {"image": 5e9, "network": 2e9}  # so that all of them are measured within minutes
MOST_MAPS, MOST_WEIGHTS = 3_400_000, 2_400_000


@dataclass(frozen=True)
class Drawn:
    """A problem, by its numbers."""

    region: str  # image, network or pool
    shape: Shape
    kernel: Pair
    stride: int = 1
    padding: int | None = None  # None: same
    dilation: int = 1
    kind: str = "random"  # of kernel, or the mode of pooling
    filters: int = 1
    groups: int = 1
    samples: bool = False
    seed: int = 0

    def __str__(self) -> str:
        words = [self.kind, "×".join(map(str, self.kernel)), f"on {'×'.join(map(str, self.shape))}"]
        if self.region != "pool":
            words.append(f"→ {self.filters}")
        words += [
            f"{name} {value}"
            for name, value in (("s", self.stride), ("d", self.dilation), ("g", self.groups))
            if value > 1
        ]
        return " ".join([*words, *(["8-bit"] if self.samples else [])])

    @property
    def window(self) -> Window:
        """The window, as cnnviz has it."""
        both = "same" if self.padding is None else (self.padding,) * 4
        strides, gaps = (self.stride, self.stride), (self.dilation, self.dilation)
        return Window(self.kernel, strides, Padding.read(both), gaps)

    def subject(self) -> Subject:
        """Return what measures it."""
        rng = np.random.default_rng(self.seed)
        if self.region == "pool":
            x = rng.standard_normal(self.shape, np.float32)
            shape, window, mode = self.shape, self.window, self.kind
            return pool_subject(lambda: PoolProblem(shape, window, mode), x)
        given: Tensor | Samples
        if self.samples:
            given = Samples(rng.integers(0, 256, self.shape, np.uint8), 255.0)
        else:
            given = rng.random(self.shape, np.float32)
        weight, window, groups = self.weight(rng), self.window, self.groups
        return correlation_subject(
            lambda: as_whole(Correlation(given, weight, window, groups=groups))
        )

    def weight(self, rng: np.random.Generator) -> Tensor:
        """Return (O, C / groups, kh, kw): a network's, or planes that every channel shares."""
        depth = self.shape[0] // self.groups
        if self.region == "network":
            return rng.standard_normal((self.filters, depth, *self.kernel), np.float32)
        planes = np.stack(
            [PLANES[self.kind](self.kernel, each, rng) for each in range(self.filters)]
        )
        weight = np.repeat(planes[:, None], depth, axis=1)
        return np.ascontiguousarray(weight, np.float32)

    def record(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Drawn:
        """Return what `record` returned."""
        lists = {"shape": tuple(record["shape"]), "kernel": tuple(record["kernel"])}
        return cls(**{**record, **lists})


# --- kernels of image processing -----------------------------------------------------------------


def _sobel(size: Pair, index: int, rng: np.random.Generator) -> Plane:
    """Binomials across differences, every second one turned."""
    del rng
    down, along = size if index % 2 else size[::-1]
    smooth = [comb(down - 1, i) for i in range(down)]
    slope = np.sign(np.arange(along) - along // 2) if along > 1 else np.ones(1)
    plane: Plane = np.outer(smooth, slope).astype(np.float64)
    return plane if index % 2 else plane.T


def _bell(length: int, sigma: float) -> Plane:
    bell = np.exp(-(((np.arange(length) - (length - 1) / 2) / sigma) ** 2) / 2)
    normal: Plane = bell / bell.sum()
    return normal


def _gaussian(size: Pair, index: int, rng: np.random.Generator) -> Plane:
    del rng
    return np.outer(*(_bell(length, length / (5 + index)) for length in size))


def _box(size: Pair, index: int, rng: np.random.Generator) -> Plane:
    del index, rng
    return np.full(size, 1 / (size[0] * size[1]))


def _laplacian(size: Pair, index: int, rng: np.random.Generator) -> Plane:
    """The discrete one, or a Gaussian's: a sum of two columns times rows."""
    del rng
    if size == (3, 3):
        return np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float64) * (index + 1)
    bells = [_bell(length, length / (5 + index)) for length in size]
    bends = [
        bell * ((np.arange(bell.size) - (bell.size - 1) / 2) ** 2 / (bell.size / 5) ** 2 - 1)
        for bell in bells
    ]
    plane: Plane = np.outer(bends[0], bells[1]) + np.outer(bells[0], bends[1])
    return plane


def _random(size: Pair, index: int, rng: np.random.Generator) -> Plane:
    del index
    return rng.standard_normal(size)


PLANES = {
    "sobel": _sobel,
    "box": _box,
    "gaussian": _gaussian,
    "laplacian": _laplacian,
    "random": _random,
}


# --- drawing -------------------------------------------------------------------------------------


def drawn(*, quick: bool = False, seed: int = SEED) -> list[Drawn]:
    """Return a seed's problems, always the same: those of a kind, one region after another."""
    counts = (24, 20, 16) if quick else (130, 120, 80)
    regions = tuple(
        draw(Random(seed + number))  # noqa: S311 - always the same, and no secret
        for number, draw in enumerate((_images, _networks, _pools))
    )
    found: dict[Drawn, None] = {}
    for region, count in zip(regions, counts, strict=True):
        enough = len(found) + count
        while len(found) < enough:
            found[next(region)] = None
    return list(found)


IMAGES = [(64, 64), (100, 150), (200, 300), (256, 256), (480, 640), (512, 512), (768, 1024),
          (1080, 1920), (1500, 2000)]  # fmt: skip
KERNELS = [(1, 3), (3, 1), (3, 3), (3, 3), (3, 3), (5, 5), (5, 5), (7, 7), (9, 9), (11, 11),
           (15, 15), (21, 21), (31, 31), (1, 9), (1, 31), (31, 1)]  # fmt: skip


def _images(random: Random) -> Iterator[Drawn]:
    while True:
        kernel, kind = random.choice(KERNELS), random.choice(list(PLANES))
        if kind == "sobel" and max(kernel) > 7:
            kind = random.choice(["gaussian", "random"])
        if kind == "laplacian" and min(kernel) == 1:
            kind = "gaussian"
        channels = random.choice([1, 1, 1, 3])
        problem = Drawn(
            "image",
            (channels, *random.choice(IMAGES)),
            kernel,
            stride=random.choice([1] * 7 + [2]),
            padding=random.choice([None, None, None, 0]),
            dilation=random.choice([1] * 9 + [2]) if max(kernel) <= 7 else 1,
            kind=kind,
            filters=1 if kind == "box" else random.choice([1, 1, 1, 2, 4, 8]),
            samples=channels == 1 and random.random() < 0.35,
            seed=random.randrange(1 << 30),
        )
        if _macs(problem) <= MOST_MACS["image"]:
            yield problem


def _networks(random: Random) -> Iterator[Drawn]:
    for channels, size in ((64, 224), (64, 56), (128, 56), (256, 28), (512, 14)):
        yield Drawn("network", (channels, size, size), (3, 3), padding=1, filters=channels)
    yield Drawn("network", (3, 224, 224), (3, 3), padding=1, filters=64)
    yield Drawn("network", (3, 224, 224), (7, 7), 2, padding=3, filters=64)
    yield Drawn("network", (64, 56, 56), (1, 1), padding=0, filters=256)
    yield Drawn("network", (32, 112, 112), (3, 3), padding=1, filters=32, groups=32)
    widths = [1, 3, 8, 16, 32, 64, 128, 256, 512]
    while True:
        size = random.choice([7, 14, 28, 28, 56, 56, 112, 112, 224, 224])
        kernel = random.choice([1, 1, 3, 3, 3, 3, 5, 7])
        channels, filters, groups = random.choice(widths), random.choice(widths), 1
        draw = random.random()
        if draw < 0.15 and channels >= 8:
            filters = groups = channels
        elif draw < 0.22 and channels >= 8 and filters >= 8:
            groups = random.choice([2, 4])
        dilation = random.choice([1] * 9 + [2]) if kernel > 1 else 1
        problem = Drawn(
            "network",
            (channels, size, size),
            (kernel, kernel),
            stride=random.choice([1, 1, 1, 2]),
            padding=kernel // 2 * dilation,
            dilation=dilation,
            filters=filters,
            groups=groups,
            seed=random.randrange(1 << 30),
        )
        weights = filters * channels // groups * kernel**2
        maps = max(channels, filters) * size**2
        few = _macs(problem) <= MOST_MACS["network"]
        if few and weights <= MOST_WEIGHTS and maps <= MOST_MAPS:
            yield problem


POOLED = [(1, 256, 256), (1, 480, 640), (1, 1000, 1000), (1, 1500, 2000), (3, 480, 640),
          (64, 224, 224), (64, 112, 112), (64, 56, 56), (128, 28, 28), (256, 56, 56),
          (512, 14, 14), (256, 7, 7)]  # fmt: skip


def _pools(random: Random) -> Iterator[Drawn]:
    for shape in ((512, 7, 7), (512, 14, 14), (64, 56, 56), (3, 480, 640), (1, 1000, 1000)):
        for mode in ("max", "avg"):  # of whole maps, as networks end
            yield Drawn("pool", shape, shape[1:], padding=0, kind=mode)
    while True:
        shape = random.choice(POOLED)
        kernel = random.choice([2, 2, 2, 3, 3, 3, 4, 5, 7, 9, 15, 31, 63])
        mode = random.choice(["max"] * 4 + ["avg"] * 4 + ["min", "lp"])
        stride = random.choice([1, 2, kernel])
        # Norms take powers of every value: large windows of them would take all the time.
        if kernel <= min(shape[1:]) and (mode != "lp" or kernel <= 5):
            padding = random.choice([0, 0, kernel // 2])
            yield Drawn("pool", shape, (kernel, kernel), stride, padding, kind=mode)


def _macs(problem: Drawn) -> float:
    """Return about how many multiply-adds the plain sum has."""
    channels, height, width = problem.shape
    taps = problem.kernel[0] * problem.kernel[1] * channels // problem.groups
    return taps * problem.filters * (height // problem.stride) * (width // problem.stride)
