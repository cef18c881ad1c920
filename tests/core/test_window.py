"""The one size rule and the receptive field, against walking, published formulas, brute force."""

from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnviz.core.layers import make_layer
from cnnviz.core.pipeline import Pipeline
from cnnviz.core.settings import Padding
from cnnviz.core.window import Window, view
from cnnviz.errors import CnnvizError
from cnnviz.files.spec import load_spec
from tests.oracles import axis_starts, noise, pad_maps


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


SIZES, KERNELS, STRIDES, DILATIONS = pairs(1, 20), pairs(1, 6), pairs(1, 5), pairs(1, 4)
PADS = st.tuples(*[st.integers(0, 6)] * 4)


def explicit(pads):
    return Padding.read(pads)


def starts_of(window, size):
    pads = window.pads(size)
    return [
        axis_starts(
            size[a],
            window.extent[a],
            window.stride[a],
            pads[a],
            pads[a + 2],
            ceil_mode=window.ceil_mode,
        )
        for a in (0, 1)
    ]


@given(SIZES, KERNELS, STRIDES, PADS, DILATIONS, st.booleans())
@settings(max_examples=300)
def test_windows_stand_where_walking_puts_them(size, kernel, stride, pads, dilation, ceil_mode):
    window = Window(kernel, stride, explicit(pads), dilation, ceil_mode)
    walked = starts_of(window, size)
    if not (walked[0] and walked[1]):
        with pytest.raises(CnnvizError, match="does not fit"):
            window.output_size(size)
        return
    assert window.output_size(size) == tuple(map(len, walked))
    rows, columns = window.starts(size)
    assert (rows.tolist(), columns.tolist()) == tuple(walked)


@given(SIZES, KERNELS, STRIDES, DILATIONS)
@settings(max_examples=150)
def test_full_padding_meets_every_overlap(size, kernel, stride, dilation):
    window = Window(kernel, stride, Padding("full"), dilation)
    extent = window.extent
    assert window.pads(size) == (extent[0] - 1, extent[1] - 1) * 2
    # Every window from the one that touches only the first pixel to the one on the last.
    expected = tuple(len(range(-extent[a] + 1, size[a], stride[a])) for a in (0, 1))
    assert window.output_size(size) == expected


def tensorflow_same(length, extent, stride):
    """https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2."""
    remainder = length % stride
    total = max(extent - stride, 0) if remainder == 0 else max(extent - remainder, 0)
    return ceil(length / stride), total // 2, total - total // 2


@given(pairs(1, 60), pairs(1, 9), pairs(1, 7), DILATIONS)
@settings(max_examples=300)
def test_same_is_tensorflows(size, kernel, stride, dilation):
    upper = Window(kernel, stride, Padding("same"), dilation)
    lower = Window(kernel, stride, Padding("same-lower"), dilation)
    extent = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    outs, less, more = zip(
        *(tensorflow_same(size[a], extent[a], stride[a]) for a in (0, 1)), strict=True
    )
    assert upper.output_size(size) == lower.output_size(size) == outs
    assert upper.pads(size) == (*less, *more)
    assert lower.pads(size) == (*more, *less)


@given(pairs(1, 60), pairs(1, 9), pairs(1, 7), DILATIONS, st.booleans())
def test_same_has_no_use_for_ceil_mode(size, kernel, stride, dilation, lower):
    padding = Padding("same-lower" if lower else "same")
    plain = Window(kernel, stride, padding, dilation)
    assert plain.output_size(size) == Window(kernel, stride, padding, dilation, True).output_size(
        size
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size", "pads", "out"),
    [
        (7, 2, "same", 224, (2, 2, 3, 3), 112),
        (7, 2, "same-lower", 224, (3, 3, 2, 2), 112),
        (7, 2, 3, 224, (3, 3, 3, 3), 112),
        (7, 2, "valid", 224, (0, 0, 0, 0), 109),
        (11, 4, 2, 224, (2, 2, 2, 2), 55),
        (11, 4, "valid", 227, (0, 0, 0, 0), 55),
        (3, 2, "valid", 55, (0, 0, 0, 0), 27),
        (5, 1, "valid", 28, (0, 0, 0, 0), 24),
        (3, 1, "full", 5, (2, 2, 2, 2), 7),
        (2, 1, "same", 5, (0, 0, 1, 1), 5),
        (2, 1, "same-lower", 5, (1, 1, 0, 0), 5),
        (1, 2, "same", 5, (0, 0, 0, 0), 3),
    ],
)
def test_known_figures(kernel, stride, padding, size, pads, out):
    window = Window((kernel, kernel), (stride, stride), Padding.read(padding))
    assert window.pads((size, size)) == pads
    assert window.output_size((size, size)) == (out, out)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "floor_mode", "ceil_mode"),
    [(32, 1, 2, 16, 16), (10, 1, 2, 5, 5), (32, 8, 4, 7, 7), (4, 3, 3, 1, 2), (5, 2, 2, 2, 3)],
)
def test_ceil_mode_figures(length, kernel, stride, floor_mode, ceil_mode):
    def out(ceil):
        return Window((kernel, 1), (stride, 1), ceil_mode=ceil).output_size((length, 1))[0]

    assert (out(False), out(True)) == (floor_mode, ceil_mode)


def test_ceil_mode_drops_a_window_that_would_start_in_right_padding():
    # PyTorch's rule; its own documentation's example of the case.
    window = Window((1, 1), (3, 3), explicit((0, 0, 2, 2)), ceil_mode=True)
    assert window.output_size((4, 4)) == (2, 2)
    assert Window((2, 2), (2, 2), explicit(1), ceil_mode=True).output_size((3, 3)) == (2, 2)


@given(SIZES, KERNELS, STRIDES, PADS, DILATIONS, st.booleans(), st.booleans())
@settings(max_examples=200)
def test_counts_are_the_cells_there_are(size, kernel, stride, pads, dilation, ceil_mode, include):
    window = Window(kernel, stride, explicit(pads), dilation, ceil_mode)
    walked = starts_of(window, size)
    assume(walked[0] and walked[1])
    for axis, counts in enumerate(window.counts(size, include_pad=include)):
        low = -pads[axis] if include else 0
        high = size[axis] + (pads[axis + 2] if include else 0)
        expected = [
            sum(low <= start + tap * dilation[axis] < high for tap in range(kernel[axis]))
            for start in walked[axis]
        ]
        assert counts.tolist() == expected


@given(pairs(1, 12), pairs(1, 4), pairs(1, 3), PADS, DILATIONS)
def test_require_pixels_finds_windows_of_padding(size, kernel, stride, pads, dilation):
    window = Window(kernel, stride, explicit(pads), dilation)
    walked = starts_of(window, size)
    assume(walked[0] and walked[1])
    empty = any(
        not any(0 <= start + tap * dilation[a] < size[a] for tap in range(kernel[a]))
        for a in (0, 1)
        for start in walked[a]
    )
    if not empty:
        window.require_pixels(size)
        return
    with pytest.raises(CnnvizError, match="padding only") as caught:
        window.require_pixels(size)
    assert caught.value.hint


@given(pairs(1, 9), pairs(1, 3), pairs(1, 3), PADS, DILATIONS)
def test_views_are_the_windows(size, kernel, stride, pads, dilation):
    window = Window(kernel, stride, explicit(pads), dilation)
    walked = starts_of(window, size)
    assume(walked[0] and walked[1])
    padded = pad_maps(noise(0, 2, *size), pads)
    views = window.views(padded)
    assert views.shape == (2, *kernel, *map(len, walked))
    assert not views.flags.writeable
    assert np.shares_memory(views, padded)
    for y, row in enumerate(walked[0]):
        for x, column in enumerate(walked[1]):
            top, left = row + pads[0], column + pads[1]
            expected = padded[
                :,
                top : top + window.extent[0] : dilation[0],
                left : left + window.extent[1] : dilation[1],
            ]
            np.testing.assert_array_equal(views[..., y, x], expected)


def message_of(call, *arguments):
    with pytest.raises(CnnvizError) as caught:
        call(*arguments)
    assert caught.value.hint
    return caught.value.message


def test_errors_state_both_numbers():
    told = message_of(Window((5, 7)).output_size, (4, 6))
    assert "5×7" in told
    assert "4×6" in told
    told = message_of(Window((5, 5), padding=explicit(1), dilation=(2, 3)).output_size, (4, 6))
    assert "9×13" in told  # the extent, which is what does not fit
    assert "4×6" in told
    assert "6×8" in told
    told = message_of(Window((2, 3), padding=explicit((4, 0, 0, 0))).require_pixels, (5, 5))
    for part in ("2×3", "4,0,0,0", "5×5"):
        assert part in told
    message_of(Window((2, 3), padding=explicit((0, 0, 0, 5))).require_pixels, (5, 5))


def test_mirror_errors_state_both_numbers():
    layer = make_layer("conv", 1, 3, padding=5, padding_mode="reflect")
    x = np.zeros((1, 4, 9), np.float32)
    params = layer.initial_params(0, x.shape)
    with pytest.raises(CnnvizError) as caught:
        layer.apply(x, params=params)
    assert "5" in caught.value.message
    assert "4 rows" in caught.value.message
    assert "3 at most" in caught.value.hint


# Receptive fields -------------------------------------------------------------------------------


def last_row(name, shape, stage):
    rows = load_spec(name).pipeline.rows(shape)
    return next(row for row in rows if row.name == stage)


def test_vgg16_figures():
    """As Araujo, Norris & Sim (Distill 2019) tabulate VGG-16's last pooling layer."""
    row = last_row("vgg16", (3, 224, 224), "features.30")
    assert row.receptive_field == (212, 212)
    assert row.effective_stride == (32.0, 32.0)
    assert row.effective_padding == (90.0, 90.0, 90.0, 90.0)


def test_alexnet_figures():
    row = last_row("alexnet", (3, 224, 224), "features.12")
    assert row.receptive_field == (195, 195)  # Distill's table for AlexNet v2
    assert row.effective_stride == (32.0, 32.0)
    assert row.effective_padding == (66.0,) * 4  # 2 + 2·8 + 3·(1·16), torchvision's paddings


def test_empty_pipeline_is_refused():
    with pytest.raises(CnnvizError, match="empty"):
        Pipeline(())


def test_views_step_over_values():
    memory = np.arange(12.0)
    windows = view(memory, (3, 2), (4, 1), 2)
    np.testing.assert_array_equal(windows, [[2, 3], [6, 7], [10, 11]])
    assert np.shares_memory(windows, memory)
