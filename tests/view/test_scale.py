import numpy as np
import pytest
from hypothesis import given

from cnnviz.core.types import Statistics
from cnnviz.errors import RequestError
from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.maps import count_outside
from cnnviz.view.scale import SCALES, Ends, Scale, choose_scale, signed_scale
from tests.view.pictures import FINITE, scale_for


@pytest.mark.parametrize(
    ("low", "high", "options", "expected"),
    [
        (-1, 4, {}, (-4, 4, "rdbu")),
        (-5, -1, {}, (-5, 5, "rdbu")),
        (-3, -3, {}, (-3, 3, "rdbu")),
        (0, 1020, {}, (0, 1020, "gray")),
        (2, 9, {}, (0, 9, "gray")),
        (7, 7, {}, (0, 7, "gray")),
        (0, 0, {}, (0, 1, "gray")),
        (-0.0, 0.0, {}, (0, 1, "gray")),
        (None, None, {}, (0, 1, "gray")),
        (None, None, {"colormap": "rdbu"}, (-1, 1, "rdbu")),
        (2, 9, {"colormap": "rdbu"}, (-9, 9, "rdbu")),
        (-1, 4, {"colormap": "gray"}, (-1, 4, "gray")),
        (-1, 4, {"colormap": "magma"}, (-1, 4, "magma")),
        (1, 4, {"colormap": "viridis"}, (0, 4, "viridis")),
        (-3, -3, {"colormap": "gray"}, (-3, 0, "gray")),
        (5, 9, {"value_range": (0, 1)}, (0, 1, "gray")),
        (5, 9, {"value_range": (-2, 1)}, (-2, 1, "rdbu")),
        (5, 9, {"value_range": (-2, 1), "colormap": "viridis"}, (-2, 1, "viridis")),
        (None, None, {"value_range": (-2, 1)}, (-2, 1, "rdbu")),
    ],
)
def test_choose_scale(low, high, options, expected):
    assert choose_scale(low, high, **options) == Scale(*expected)


def test_an_unknown_colour_map_is_named_with_the_known():
    with pytest.raises(RequestError, match=r"viridi.*viridis"):
        choose_scale(0, 1, colormap="viridi")


@given(FINITE)
def test_no_value_is_outside_the_scale_chosen_for_it(plane):
    for colormap in ("auto", *COLORMAPS):
        scale = scale_for(plane, colormap=colormap)
        assert scale.low < scale.high
        assert count_outside(plane, scale) == 0


@pytest.mark.parametrize(
    ("low", "high", "nonfinite", "covered"),
    [(-1, 1, 0, True), (0, 0.5, 0, True), (-1, 1, 1, False), (-1.5, 0, 0, False),
     (0, 1.5, 0, False), (None, None, 3, False)],
)  # fmt: skip
def test_what_a_scale_covers(low, high, nonfinite, covered):
    assert Scale(-1, 1, "rdbu").covers(Statistics(low, high, None, 0, nonfinite)) is covered


@pytest.mark.parametrize("name", SCALES)
def test_what_shares_a_scale_has_one(name):
    maps = np.float32([[[1, 2]], [[-3, 4]], [[np.nan, 0]]])
    ends = SCALES[name].ends(maps, Ends(-3, 4), Ends(-9, 9))
    assert len(ends) in (1, len(maps))
    expected = {"unit": [(1, 2), (-3, 4), (0, 0)], "layer": [(-3, 4)], "global": [(-9, 9)]}
    assert ends == expected[name]


def test_ends_widen():
    assert Ends().widened(None, None) == (None, None)
    assert Ends().widened(1, 2).widened(None, None).widened(-1, 1) == (-1, 2)


def test_signed_scales_have_a_white_zero():
    assert signed_scale(0, 3) == Scale(-3, 3, "rdbu")
    assert signed_scale(-5, 3) == Scale(-5, 5, "rdbu")
    assert signed_scale(None, None) == Scale(-1, 1, "rdbu")
