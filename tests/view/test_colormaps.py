import numpy as np
import pytest

from cnnviz.view.colormaps import COLORMAPS
from cnnviz.view.maps import ODD_COLOURS

# Samples of the originals at 0, 64, 128, 192 and 255 of 255 (matplotlib 3.11).
ORIGINALS = {
    "viridis": [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)],
    "magma": [(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)],
}


def luminance(colours):
    """CIE relative luminance."""
    c = colours / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_the_promised_maps_are_there():
    assert {"gray", "rdbu", "viridis", "magma"} <= set(COLORMAPS)
    for name, colormap in COLORMAPS.items():
        assert colormap.name == name
        assert colormap.summary
        assert colormap.source


@pytest.mark.parametrize("name", COLORMAPS)
@pytest.mark.parametrize("n", [2, 3, 11, 253, 256])
def test_colours_are_n_rows_of_bytes(name, n):
    colours = COLORMAPS[name].colours(n)
    assert colours.shape == (n, 3)
    assert colours.dtype == np.uint8


@pytest.mark.parametrize("name", ["gray", "viridis", "magma"])
def test_brightness_grows(name):
    steps = np.diff(luminance(COLORMAPS[name].colours(253)))
    assert (steps > -3e-4).all()  # rounding to bytes; the original viridis dips as much
    assert (np.diff(luminance(COLORMAPS[name].colours(85))) > 0).all()


def test_rdbu_is_brightest_in_the_middle_and_falls_to_both_sides():
    colours = COLORMAPS["rdbu"].colours(253)
    steps = np.diff(luminance(colours))
    assert (steps[:126] > 0).all()
    assert (steps[126:] < 0).all()
    assert colours[126].tolist() == [247, 247, 247]
    blue, red = colours[20].astype(int), colours[-21].astype(int)
    assert blue[2] > blue[0] + 80
    assert red[0] > red[2] + 80


@pytest.mark.parametrize("name", ORIGINALS)
def test_samples_are_near_the_original(name):
    colours = COLORMAPS[name].colours(256)[[0, 64, 128, 192, 255]]
    assert np.abs(colours.astype(int) - ORIGINALS[name]).max() <= 2


@pytest.mark.parametrize("name", COLORMAPS)
def test_colours_for_nan_and_infinities_stand_apart(name):
    colours = COLORMAPS[name].colours(256).astype(int)
    for reserved in ODD_COLOURS.values():
        assert np.abs(colours - reserved).sum(axis=1).min() > 200
