"""The picture of an explanation: rings where they belong, true colours, whatever is explained."""

import numpy as np
import pytest

from cnnviz.core.explanation import Box, explain
from cnnviz.core.types import Samples
from cnnviz.files.spec import parse
from cnnviz.view.explanation_sheet import Excerpted, Won, draw_box, draw_explanation, draw_winners
from cnnviz.view.maps import draw_map
from cnnviz.view.scale import Scale
from cnnviz.view.sheet import ACCENT, EMPTY
from tests.oracles import noise


def rings(image):
    """Return the boxes of pixels inside each bright ring: (left, top, right, bottom)."""
    bright = (np.asarray(image) == ACCENT).all(axis=2)
    boxes, seen = [], np.zeros_like(bright)
    for y, x in np.argwhere(bright):
        if seen[y, x]:
            continue
        width = int(np.argmin(np.append(bright[y, x:], False)))
        height = int(np.argmin(np.append(bright[y:, x], False)))
        seen[y : y + height, x : x + width] = True
        boxes.append((int(x) + 3, int(y) + 3, int(x) + width - 3, int(y) + height - 3))
    return boxes


def drawn(text, x, at, part=None, stage=None, **options):
    pipeline = parse(text)
    told = explain(pipeline, x, stage or pipeline.nodes[-1].name, at)
    return draw_explanation(told, x, part, **options)


def test_the_box_and_the_cell_are_ringed():
    x = np.zeros((1, 8, 6), np.float32)
    output = np.zeros((6, 4), np.float32)
    image = drawn("conv('1,1,1;1,1,1;1,1,1')", x, (0, 2, 1), Excerpted(output, 0, 0, (6, 4)))
    whole, cell = rings(image)
    # The input is enlarged 48 times and begins at (17, …): rows 2 to 4 and columns 1 to 3 of it.
    assert (whole[0], whole[2] - whole[0], whole[3] - whole[1]) == (17 + 48, 3 * 48, 3 * 48)
    assert (cell[2] - cell[0], cell[3] - cell[1]) == (64, 64)  # 6 rows in 384 pixels
    assert (whole[1] - cell[1]) == 2 * 48 - 2 * 64


def test_a_small_box_of_a_large_picture_is_enlarged():
    x = noise(0, 1, 300, 200)
    image = drawn("conv(1, 3)", x, (0, 100, 50))
    small, near = rings(image)
    assert small[2] - small[0] < 5
    assert near[2] - near[0] == near[3] - near[1] == 3 * (384 // 9)


def test_colours_are_the_maps():
    x = noise(1, 1, 5, 7)
    output = np.arange(12, dtype=np.float32).reshape(3, 4)
    image = drawn("conv(1, (3, 4))", x, (0, 1, 2), Excerpted(output, 0, 0, (3, 4)))
    expected = np.asarray(draw_map(output, Scale(0, 11, "gray")).convert("RGB"))
    _, cell = rings(image)
    up = cell[2] - cell[0]
    left, top = cell[0] - 2 * up, cell[1] - up
    shown = np.asarray(image)[top + 4 : top + 3 * up : up, left + 4 : left + 4 * up : up]
    np.testing.assert_array_equal(shown, expected)


def test_windows_show_padding_kernel_and_products(said):
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3)
    image = drawn("conv('1,2;3,4', padding=1)", x, (0, 0, 1))
    said = [text for _, _, text in said]
    at = said.index("window")
    assert said[at : at + 5] == ["window", "0", "0", "1", "2"]
    at = said.index("kernel")
    assert [word for word in said[at:] if word != "x"][:5] == ["kernel", "1", "2", "3", "4"]
    at = said.index("products")
    assert [word for word in said[at:] if word != "="][:5] == ["products", "0", "0", "3", "8"]
    assert said[-2:] == ["11", "="]
    assert (np.asarray(image) == EMPTY).all(axis=2).sum() > 2000


def test_dense_layers_show_products_and_softmax_exponentials(said):
    x = np.log(np.float32([1, 2, 5])).reshape(3, 1, 1)
    drawn("softmax", x, (1, 0, 0))
    texts = [text for _, _, text in said]
    assert {"0.4", "0.2", "1", "->", "sum", "1.6", "e^(x - 1.60944)"} <= set(texts)
    said.clear()
    drawn("dense(2)", noise(0, 30, 1, 1), (1,))
    texts = [text for _, _, text in said]
    assert texts.count("x") == 1
    assert {"value", "weight", "products", "sum, with 20 more"} <= set(texts)


@pytest.mark.parametrize(
    ("text", "x", "at"),
    [
        ("relu", noise(0, 3, 20, 30), (2, 3, 4)),
        ("relu", noise(0, 5, 1, 400), (2, 0, 4)),
        ("relu", noise(0, 1, 500, 1), (0, 3, 0)),
        ("gap -> dense(3) -> softmax", noise(0, 2, 6, 6), (1,)),
        ("conv(2, 3, padding=5)", noise(0, 1, 4, 4), (1, 0, 0)),
        ("conv(2, 9, padding=5)", noise(0, 1, 4, 4), (1, 0, 0)),
        ("maxpool(2)", np.full((1, 4, 4), np.nan, np.float32), (0, 1, 1)),
        ("maxpool(2)", np.full((1, 4, 4), np.inf, np.float32), (0, 1, 1)),
        ("conv(2, 3)", np.zeros((1, 4, 4), np.float32), (0, 1, 1)),
    ],
)
def test_whatever_is_explained_is_drawn(text, x, at):
    image = drawn(text, x, at)
    assert min(image.size) > 100
    assert max(image.size) < 2000


def test_samples_are_drawn_like_their_values():
    values = np.random.default_rng(0).integers(0, 256, (3, 40, 60), dtype=np.uint8)
    samples = Samples(values, 255.0)
    one = drawn("conv(1, 3)", samples, (0, 5, 6))
    two = drawn("conv(1, 3)", samples.tensor(), (0, 5, 6))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_a_terminal_s_picture_has_the_box():
    x = np.zeros((1, 100, 200), np.float32)
    image = draw_box(x, Box((50, 69), (100, 139)), (48, 80))
    assert image.size == (80, 40)
    bright = np.argwhere((np.asarray(image.convert("RGB")) == ACCENT).all(axis=2))
    (top, left), (bottom, right) = bright.min(axis=0), bright.max(axis=0)
    assert (top, left) == (19, 39)
    assert (bottom, right) == (28, 56)
    assert draw_box(x[:, :3, :4], Box(None, None), (48, 80)).size == (64, 48)


def test_dots_are_on_the_winners():
    values = np.zeros((10, 12), np.float32)
    won = np.zeros((10, 12), bool)
    won[2, 3] = won[9, 11] = True
    part = Won(values, won, 5, 7, (7, 10, 9, 12), 0.125)
    image = draw_winners(part, title="t", caption="c")
    bright = (np.asarray(image) == ACCENT).all(axis=2)
    up = 640 // 12
    ring = rings(image)[0]
    left, top = ring[0] - 3 * up, ring[1] - 2 * up  # the ring is at row 7 − 5, column 10 − 7
    cells = bright[top : top + 10 * up, left : left + 12 * up].reshape(10, up, 12, up)
    inner = cells[:, 8:-8, :, 8:-8].sum(axis=(1, 3))
    assert [tuple(map(int, cell)) for cell in np.argwhere(inner)] == [(2, 3), (9, 11)]
