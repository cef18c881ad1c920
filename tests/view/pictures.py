"""What the tests of pictures share: values to draw, and a look at what was drawn."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cnnviz.view.scale import choose_scale

NEUTRAL = (247, 247, 247)
BIGGEST = float(np.finfo(np.float32).max)
TINIEST = float(np.float32(1e-45))


def planes(**elements):
    shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
    return arrays(np.float32, shapes, elements=st.floats(width=32, **elements))


FINITE = planes(allow_nan=False, allow_infinity=False)
ANY = planes()


def ends(plane):
    finite = plane[np.isfinite(plane)]
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)


def scale_for(plane, **options):
    return choose_scale(*ends(plane), **options)


def rgb(image):
    return np.asarray(image.convert("RGB"))


def find(picture, pixels):
    """Return the (row, column) of every place where pixels stand in a picture."""
    height, width = pixels.shape[:2]
    rows, columns = picture.shape[0] - height, picture.shape[1] - width
    places = (picture[: rows + 1, : columns + 1] == pixels[0, 0]).all(axis=2)
    for i, j in [(0, width - 1), (height - 1, 0), (height // 2, width // 2)]:
        places &= (picture[i : i + rows + 1, j : j + columns + 1] == pixels[i, j]).all(axis=2)
    return [
        (int(i), int(j))
        for i, j in np.argwhere(places)
        if (picture[i : i + height, j : j + width] == pixels).all()
    ]
