import math

import numpy as np
import pytest

from cnnviz.view import kernel
from cnnviz.view.kernel import draw_kernel
from tests.view.pictures import NEUTRAL, rgb


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 7), (5, 2), (15, 15), (101, 101)])
def test_kernels_of_any_size(size):
    image = draw_kernel(np.random.default_rng(0).normal(size=size), "random")
    assert 300 <= image.width <= 900
    assert image.height <= 1000


def test_kernel_colours():
    picture = rgb(draw_kernel(np.float64([[-2, 0, 2]]), "k"))
    cells = {tuple(pixel) for pixel in picture[-60:-20].reshape(-1, 3).tolist()}
    assert {(5, 48, 97), NEUTRAL, (103, 0, 31)} <= cells


def test_odd_kernels():
    for values in ([[0.0]], [[math.nan, 1]], [[math.inf, -math.inf]], [[1e308, 1e308]], [[5e-324]]):
        draw_kernel(np.float64(values), "k")


def test_a_sum_of_ninths_is_one():
    assert kernel._tidy_sum(np.full((3, 3), 1 / 9)) == 1
    assert kernel._tidy_sum(np.float64([[0.1, 0.2, -0.3]])) == 0
    assert kernel._tidy_sum(np.float64([[1e-12]])) == 1e-12
