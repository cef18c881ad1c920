"""What is compared: every case with its peers and the largest ratios that are good enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from cnnviz.core.engine import (
    ALGORITHMS,
    POOL_ALGORITHMS,
    Correlation,
    PoolProblem,
    as_whole,
    choose,
    computing,
    correlate,
    pool,
)
from cnnviz.core.engine.plan import Algorithm
from cnnviz.core.settings import Padding
from cnnviz.core.shift import shift_errors
from cnnviz.core.types import Samples, Stage, Tensor
from cnnviz.core.window import Window
from cnnviz.files.spec import load_spec, parse
from tests.benchmarks import peers
from tests.benchmarks.peers import Array, Contender, Convolution, Pooling
from tests.benchmarks.timing import Call

Targets = Mapping[str, float | None]

IMAGE = (1, 3000, 4000)  # 12 megapixels of gray
TINY = (1, 30, 40)
EVERY_LIBRARY: Targets = {"torch": 0.35, "onnxruntime": 0.35, "scipy": 0.35}


@dataclass(frozen=True)
class Bench:
    """A case made ready: our call, the peers', and what is known of the work."""

    ours: Call
    peers: Mapping[str, Callable[[], Contender | None]]  # made when their turn comes
    plan: Callable[[], str]
    without: Call | None = None  # ours by the best of the other algorithms
    macs: int = 0
    values: Callable[[Any], Array] = np.asarray
    tolerance: float = 3e-4  # between two libraries, as a share of the largest value


@dataclass(frozen=True)
class Case:
    """Something to compute, and how long it may take beside each peer's time."""

    name: str
    targets: Targets
    build: Callable[..., Bench] = field(compare=False)  # called with tiny=True or False


def cases() -> Iterator[Case]:
    """List all cases that run in this process."""
    yield from _filters()
    yield from _banks()
    yield from _layers()
    yield Case("VGG16 forward 224x224, fast", {"torch": 1.0}, _vgg16)
    yield from _pools()
    yield from _shifts()


# --- filters over one large plane ----------------------------------------------------------------

SOBEL = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32)


def _filters() -> Iterator[Case]:
    drawn = np.random.default_rng(7).standard_normal((31, 31), np.float32)
    bell = np.exp(-(np.arange(-15, 16) ** 2) / (2 * 5.0**2))
    bell = (bell / bell.sum()).astype(np.float32)
    for name, kernel, factors, peer, target in (
        ("Sobel 3x3", SOBEL, None, "cv2", 1.2),
        ("any 3x3", drawn[:3, :3], None, "cv2", 1.5),
        ("any 5x5", drawn[:5, :5], None, "cv2", 1.6),
        ("Gaussian 31x31", np.outer(bell, bell), (bell, bell), "cv2 separable", 0.8),
        ("any 31x31", drawn, None, "cv2", 0.8),
    ):
        yield Case(
            f"{name}, 12 MP",
            {peer: target, **EVERY_LIBRARY},
            partial(_filter, kernel=np.array(kernel, np.float32), factors=factors),
        )
        if name.startswith("Sobel"):
            yield Case("exact 8-bit Sobel 3x3, 12 MP", {"cv2": 0.5, **EVERY_LIBRARY}, _exact)


def _image(shape: tuple[int, int, int]) -> Tensor:
    return np.random.default_rng(1).random(shape, np.float32)


def _filter(tiny: bool, kernel: Tensor, factors: tuple[Tensor, Tensor] | None) -> Bench:
    x = _image(TINY if tiny else IMAGE)
    task = Convolution(x, kernel[None, None], padding=kernel.shape[0] // 2, factors=factors)
    return _convolution(task)


def _exact(tiny: bool) -> Bench:
    values = np.random.default_rng(1).integers(0, 256, TINY if tiny else IMAGE, np.uint8)
    task = Convolution(values, SOBEL[None, None], padding=1)

    def ours() -> Array:
        # The type of `out` is what asks for whole numbers, so it is allocated here.
        out = np.empty(values.shape, np.int16)
        return correlate(Samples(values), task.weight, _window(task), out=out)

    return _convolution(task, ours, Samples(values))


# --- banks and layers ----------------------------------------------------------------------------

LAYERS = {  # channels, size: the largest ratios when fast, and when exact
    (64, 224): 0.85,
    (64, 56): 0.9,
    (128, 56): 0.8,
    (256, 28): 0.85,
    (512, 14): 1.0,
}


def _banks() -> Iterator[Case]:
    yield Case(
        "8 filters 5x5 over 512x512", {"torch": 0.7, "cv2": 0.7}, partial(_layer, (1, 512), 8, 5)
    )


def _layers() -> Iterator[Case]:
    for (channels, size), target in LAYERS.items():
        for precision, largest in (("fast", target), ("exact", 1.3)):
            yield Case(
                f"3x3 {channels}->{channels} @{size}, {precision}",
                {"torch": largest},
                partial(_layer, (channels, size), channels, 3, precision=precision),
            )
    yield Case("3x3 3->64 @224", {"torch": 1.1}, partial(_layer, (3, 224), 64, 3))
    yield Case("stem 7x7 s2 3->64 @224", {"torch": 1.5}, partial(_layer, (3, 224), 64, 7, 2))
    yield Case("1x1 64->256 @56", {"torch": 1.4}, partial(_layer, (64, 56), 256, 1))
    yield Case(
        "depthwise 3x3 32 @112", {"torch": 1.8}, partial(_layer, (32, 112), 32, 3, depthwise=True)
    )


def _layer(
    maps: tuple[int, int],
    filters: int,
    kernel: int,
    stride: int = 1,
    tiny: bool = False,
    *,
    depthwise: bool = False,
    precision: str = "exact",
) -> Bench:
    channels, size = maps
    if tiny:
        channels, filters, size = min(channels, 4), 4, 14
    rng = np.random.default_rng(2)
    groups = channels if depthwise else 1
    x = rng.standard_normal((channels, size, size), np.float32)
    weight = rng.standard_normal((filters, channels // groups, kernel, kernel), np.float32)
    task = Convolution(x, weight, stride, kernel // 2, groups)
    return _convolution(task, precision=precision)


# --- what all convolutions share -----------------------------------------------------------------

CONVOLUTIONS: Mapping[str, Callable[[Convolution], Contender]] = {
    "cv2": peers.cv2_filters,
    "cv2 separable": peers.cv2_separable,
    "torch": peers.torch_convolution,
    "onnxruntime": peers.onnxruntime_convolution,
    "scipy": peers.scipy_filter,
}


def _window(task: Convolution) -> Window:
    kernel = (task.weight.shape[2], task.weight.shape[3])
    return Window(kernel, (task.stride, task.stride), Padding.read((task.padding,) * 4))


def _convolution(
    task: Convolution,
    ours: Call | None = None,
    x: Tensor | Samples | None = None,
    *,
    precision: str = "exact",
) -> Bench:
    given = task.x if x is None else x

    def usual() -> Array:
        with computing(precision):
            return correlate(given, task.weight, _window(task), groups=task.groups)

    problem = Correlation(given, task.weight, _window(task), groups=task.groups)
    # The plan of `correlate` itself: whole numbers out of samples have one algorithm.
    able = ALGORITHMS if ours is None else {"int16": ALGORITHMS["int16"]}
    chosen = choose(able, problem, precision=precision)
    second = _second(ALGORITHMS, as_whole(problem), chosen.algorithm, precision)

    def without() -> Array:
        return correlate(given, task.weight, _window(task), groups=task.groups, algorithm=second)

    return Bench(
        ours or usual,
        {name: partial(make, task) for name, make in CONVOLUTIONS.items()},
        lambda: f"{chosen.algorithm}/{chosen.threads}",
        without if second else None,
        problem.macs,
    )


def _second(
    algorithms: Mapping[str, Algorithm[Any]], problem: Any, chosen: str, precision: str = "exact"
) -> str | None:
    """Return the algorithm that would be chosen without `chosen`; None if no other can."""
    others = {
        name: each for name, each in algorithms.items() if name != chosen and each.supports(problem)
    }
    return choose(others, problem, precision=precision).algorithm if others else None


# --- a whole network -----------------------------------------------------------------------------


def _vgg16(tiny: bool) -> Bench:
    text = "conv(4, 3, padding=1) -> relu -> maxpool(2) -> flatten -> dense(5) -> softmax"
    pipeline = parse(text) if tiny else load_spec("vgg16").pipeline
    shape = (3, 14, 14) if tiny else (3, 224, 224)
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape, np.float32)
    params = {}
    for name, spec in pipeline.param_specs(shape).items():
        values = rng.standard_normal(spec.shape, np.float32)
        fan_in = np.prod(spec.shape[1:]) if len(spec.shape) > 1 else 1e4
        params[name] = values * np.float32(sqrt(2 / fan_in))

    def forward() -> Tensor:
        with computing("fast"):
            return pipeline.forward(x, params)

    def algorithms() -> str:
        with computing("fast"):
            names = {
                each: None
                for stage in pipeline.run(x, params)
                for each in (stage.algorithm or "").split(", ")
            }
        return ", ".join(name for name in names if name)

    macs = sum(row.macs for row in pipeline.rows(shape))
    torch = {"torch": partial(_torch_network, pipeline, x, params)}
    return Bench(forward, torch, algorithms, macs=macs, tolerance=5e-3)


def _torch_network(pipeline: Any, x: Tensor, params: Mapping[str, Tensor]) -> Contender:
    """Build the same network of torch's modules; they share our weights' memory."""
    torch = peers.load_torch()
    parts = []
    for node in pipeline.nodes:
        own = {
            name: torch.from_numpy(params[f"{node.name}.{name}"])
            for name in ("weight", "bias")
            if f"{node.name}.{name}" in params
        }
        parts.append((node.layer, own))

    def ways() -> Iterator[Contender]:
        for name, layout in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
            # A module's weights are converted in place: each way needs modules of its own.
            modules = [_torch_module(layer, own) for layer, own in parts]
            network = torch.nn.Sequential(*modules).eval().to(memory_format=layout)
            given = torch.from_numpy(x)[None].contiguous(memory_format=layout)
            yield Contender(partial(network, given), lambda result: result[0].numpy(), name)

    return peers.fastest(ways())


def _torch_module(layer: Any, own: Mapping[str, Any]) -> Any:
    torch = peers.load_torch()
    nn, name = torch.nn, layer.name
    if name in {"conv", "dense"}:
        weight = own["weight"]
        with torch.device("meta"):  # no memory: our weights come next
            module = (
                nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), padding="same")
                if name == "conv"
                else nn.Linear(weight.shape[1], weight.shape[0])
            )
        for key, value in own.items():
            setattr(module, key, nn.Parameter(value, requires_grad=False))
        return module
    return {
        "relu": lambda: nn.ReLU(inplace=True),
        "maxpool": lambda: nn.MaxPool2d(2),
        "adaptive_avgpool": lambda: nn.AdaptiveAvgPool2d(7),
        "flatten": nn.Flatten,
        "dropout": nn.Dropout,
        "softmax": lambda: nn.Softmax(dim=1),
    }[name]()


# --- pooling -------------------------------------------------------------------------------------


def _pools() -> Iterator[Case]:
    for mode in ("max", "avg"):
        for shape, where in ((IMAGE, "12 MP"), ((64, 224, 224), "64 @224")):
            for kernel, stride in ((2, 2), (3, 2), (3, 1), (31, 1)):
                targets: dict[str, float | None] = {"torch": 0.7}
                if shape == IMAGE and (stride == 1 or (mode == "avg" and kernel == 2)):
                    targets["cv2"] = 1.2
                task = partial(_pooling, mode, shape, kernel, stride)
                yield Case(f"{mode} pool {kernel}x{kernel} s{stride}, {where}", targets, task)


def _pooling(mode: str, shape: tuple[int, int, int], kernel: int, stride: int, tiny: bool) -> Bench:
    if tiny:
        shape = (min(shape[0], 4), 34, 40)
    # Windows at every pixel keep the size, as OpenCV's do.
    padding = kernel // 2 if stride == 1 else 0
    x = np.random.default_rng(4).standard_normal(shape, np.float32)
    task = Pooling(x, mode, kernel, stride, padding)
    window = Window((kernel, kernel), (stride, stride), Padding.read((padding,) * 4))
    problem = PoolProblem(x.shape, window, mode, count_include_pad=True)
    chosen = choose(POOL_ALGORITHMS, problem)
    second = _second(POOL_ALGORITHMS, problem, chosen.algorithm)
    return Bench(
        lambda: pool(x, window, mode, count_include_pad=True),
        {
            "torch": partial(peers.torch_pooling, task),
            "cv2": partial(peers.cv2_pooling, task),
        },
        lambda: f"{chosen.algorithm}/{chosen.threads}",
        lambda: pool(x, window, mode, count_include_pad=True, algorithm=second),
    )


# --- an experiment, beside what its passes alone would take --------------------------------------

PASSES = "16 forward passes"


def _shifts() -> Iterator[Case]:
    for name, first in (("8 filters 5x5", "conv(8, 5"), ("Sobel", "conv(sobel")):
        text = f"{first}, padding=same) -> relu -> maxpool(2)"
        yield Case(f"shift by 16, {name}, 512x512", {PASSES: 3.0}, partial(_shift, text))


def _shift(text: str, tiny: bool) -> Bench:
    pipeline, side = parse(text), 40 if tiny else 512
    x = Samples(np.random.default_rng(5).integers(0, 256, (1, side, side), np.uint8), 255.0)

    def passes() -> list[Stage]:
        for _ in range(16):
            stages = list(pipeline.run(x))
        return stages

    return Bench(
        lambda: shift_errors(pipeline, x, 16, mode="circular"),
        {PASSES: lambda: Contender(passes, _norms_of_outputs, "run, with its statistics")},
        lambda: "",
        values=lambda told: np.float32([stage.norm for stage in told.stages[1:]]),
    )


def _norms_of_outputs(stages: list[Stage]) -> Array:
    return np.float32([np.linalg.norm(stage.output) for stage in stages])
