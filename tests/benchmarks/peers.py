"""The other libraries, each in the configuration that is its fastest here.

A peer gets its input and weights in its own form beforehand, and allocates its output like cnnviz.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.threads import thread_count
from cnnviz.core.types import Tensor
from tests.benchmarks.timing import Call, block, once

Array = NDArray[Any]


@dataclass(frozen=True)
class Contender:
    """A way to compute what a case asks for."""

    call: Call
    values: Callable[[Any], Array]  # what a call returned, as an array like cnnviz's
    how: str = ""


@dataclass(frozen=True)
class Convolution:
    """A cross-correlation, as every library can be told it."""

    x: Array  # (C, H, W), float32 or uint8
    weight: Tensor  # (O, C / groups, kh, kw)
    stride: int = 1
    padding: int = 0
    groups: int = 1
    factors: tuple[Tensor, Tensor] | None = None  # column (kh,) and row (kw,) of a lone kernel


@dataclass(frozen=True)
class Pooling:
    """A pooling; zeros of the padding count in averages."""

    x: Tensor
    mode: str  # max or avg
    kernel: int
    stride: int
    padding: int = 0


def fastest(contenders: Iterator[Contender]) -> Contender:
    """Return the fastest, by a short trial; after a slow one the others get a single call."""
    best, least = next(contenders), float("inf")
    first = once(best.call)
    least = min(block(best.call, first) for _ in range(2)) if first < 0.3 else once(best.call)
    for each in contenders:
        seconds = once(each.call)
        if seconds < 0.3:
            seconds = min(block(each.call, seconds) for _ in range(2))
        elif seconds < 2 * least:
            seconds = once(each.call)
        if seconds < least:
            best, least = each, seconds
    return best


# --- torch ---------------------------------------------------------------------------------------


@cache
def load_torch() -> Any:
    """Import torch, to use as many threads as cnnviz."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
    torch.set_num_threads(thread_count())
    torch.set_grad_enabled(False)
    return torch


def _layouts(x: Array) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, memory format and the input in it, with a batch axis."""
    torch = load_torch()
    for name, layout in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
        yield name, layout, torch.from_numpy(x)[None].contiguous(memory_format=layout)


def _first(result: Any) -> Array:
    values: Array = result[0].numpy()
    return values


def torch_convolution(task: Convolution) -> Contender:
    """Return torch's fastest: either layout; for separable kernels one or two passes."""
    torch = load_torch()
    conv2d, amount = torch.nn.functional.conv2d, task.padding

    def ways() -> Iterator[Contender]:
        for name, layout, x in _layouts(task.x.astype(np.float32)):
            weight = torch.from_numpy(task.weight).contiguous(memory_format=layout)

            def whole(x: Any = x, weight: Any = weight) -> Any:
                return conv2d(x, weight, None, task.stride, amount, 1, task.groups)

            if task.factors is not None:
                column, row = (torch.from_numpy(each) for each in task.factors)

                def twice(x: Any = x, column: Any = column, row: Any = row) -> Any:
                    between = conv2d(x, column[None, None, :, None], None, 1, (amount, 0))
                    return conv2d(between, row[None, None, None], None, 1, (0, amount))

                yield Contender(twice, _first, f"{name}, 2 passes")
            yield Contender(whole, _first, name)

    return fastest(ways())


def torch_pooling(task: Pooling) -> Contender:
    """Return torch's pooling of maps that are stored one after the other, as cnnviz has them."""
    torch = load_torch()
    x = torch.from_numpy(task.x)[None]
    functional = torch.nn.functional
    pool = {"max": functional.max_pool2d, "avg": functional.avg_pool2d}[task.mode]
    return Contender(lambda: pool(x, task.kernel, task.stride, task.padding), _first, "NCHW")


# --- ONNX Runtime --------------------------------------------------------------------------------


def onnxruntime_convolution(task: Convolution) -> Contender:
    """Return a session of one Conv, or of the faster of one and two where the kernel factors."""
    x = task.x.astype(np.float32)[None]

    def ways() -> Iterator[Contender]:
        if task.factors is not None:
            column, row = task.factors
            convolutions = [
                (column[None, None, :, None], (task.padding, 0)),
                (row[None, None, None], (0, task.padding)),
            ]
            yield _session(x, task, convolutions, "2 passes")
        yield _session(x, task, [(task.weight, (task.padding, task.padding))], "")

    return fastest(ways())


def _session(
    x: Tensor, task: Convolution, convolutions: list[tuple[Tensor, tuple[int, int]]], how: str
) -> Contender:
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    nodes, weights = [], []
    for index, (weight, (down, along)) in enumerate(convolutions):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(weight), f"w{index}"))
        nodes.append(
            helper.make_node(
                "Conv",
                [f"t{index}", f"w{index}"],
                [f"t{index + 1}"],
                strides=[task.stride] * 2,
                pads=[down, along, down, along],
                group=task.groups,
                kernel_shape=list(weight.shape[2:]),
            )
        )
    number = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("t0", number, x.shape)],
        [helper.make_tensor_value_info(f"t{len(nodes)}", number, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8  # what an opset of 17 came with: every runtime reads it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Contender(
        lambda: session.run(None, {"t0": x}), lambda result: np.asarray(result[0][0]), how
    )


# --- OpenCV --------------------------------------------------------------------------------------


def _load_cv2() -> Any:
    import cv2

    cv2.setNumThreads(thread_count())
    return cv2


def cv2_filters(task: Convolution) -> Contender:
    """Return filter2D of one plane, once a filter; of bytes to 16-bit integers."""
    cv2 = _load_cv2()
    plane, depth = task.x[0], cv2.CV_16S if task.x.dtype == np.uint8 else cv2.CV_32F
    kernels = [np.ascontiguousarray(kernel[0]) for kernel in task.weight]
    if len(kernels) == 1:
        return Contender(
            lambda: cv2.filter2D(plane, depth, kernels[0], borderType=cv2.BORDER_CONSTANT),
            lambda result: result[None],
            "filter2D",
        )
    return Contender(
        lambda: [
            cv2.filter2D(plane, depth, kernel, borderType=cv2.BORDER_CONSTANT) for kernel in kernels
        ],
        np.stack,
        "filter2D each",
    )


def cv2_separable(task: Convolution) -> Contender:
    """Return sepFilter2D of one plane."""
    cv2 = _load_cv2()
    assert task.factors is not None
    column, row = task.factors
    return Contender(
        lambda: cv2.sepFilter2D(task.x[0], cv2.CV_32F, row, column, borderType=cv2.BORDER_CONSTANT),
        lambda result: result[None],
        "sepFilter2D",
    )


def cv2_pooling(task: Pooling) -> Contender | None:
    """Return the operation that is this pooling of a plane, if OpenCV has one."""
    cv2 = _load_cv2()
    plane, size = task.x[0], (task.kernel, task.kernel)

    def values(result: Any) -> Array:
        return np.asarray(result)[None]

    if task.x.shape[0] > 1:
        return None
    if task.stride == 1 and task.mode == "max":
        cells = np.ones(size, np.uint8)
        return Contender(lambda: cv2.dilate(plane, cells), values, "dilate")
    if task.stride == 1:
        border = cv2.BORDER_CONSTANT
        return Contender(lambda: cv2.blur(plane, size, borderType=border), values, "blur")
    if task.mode == "avg" and task.kernel == task.stride:
        half = (plane.shape[1] // task.stride, plane.shape[0] // task.stride)
        area = cv2.INTER_AREA
        return Contender(
            lambda: cv2.resize(plane, half, interpolation=area), values, "resize INTER_AREA"
        )
    return None


# --- scipy ---------------------------------------------------------------------------------------


def scipy_filter(task: Convolution) -> Contender:
    """Return ndimage's correlation of one plane; along one axis after the other if it factors."""
    from scipy import ndimage

    plane, kernel = task.x[0], task.weight[0, 0]
    if task.factors is not None:
        column, row = task.factors

        def twice() -> Array:
            between = ndimage.correlate1d(plane, column, 0, mode="constant")
            return np.asarray(ndimage.correlate1d(between, row, 1, mode="constant"))

        return Contender(twice, lambda result: result[None], "correlate1d")
    output = np.int16 if plane.dtype == np.uint8 else np.float32
    return Contender(
        lambda: ndimage.correlate(plane, kernel, output, mode="constant"),
        lambda result: result[None],
        "correlate",
    )
