"""Rotation: the routine against NumPy and SciPy, the errors against whole arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cnnviz.core.findings import findings
from cnnviz.core.rotation import disc, rotate
from cnnviz.core.shift import rotation_errors
from cnnviz.core.types import Samples
from cnnviz.errors import RequestError
from cnnviz.files.images import InputOptions, load_pixels
from cnnviz.files.spec import parse
from tests.cli.conftest import sample
from tests.oracles import noise


def oracle(plane, degrees):
    """Turn by complex numbers (y up) and read with SciPy."""
    height, width = plane.shape
    y, x = np.indices(plane.shape)
    places = (x - (width - 1) / 2) - 1j * (y - (height - 1) / 2)
    sources = places * np.exp(-1j * np.deg2rad(degrees))
    at = [(height - 1) / 2 - sources.imag, (width - 1) / 2 + sources.real]
    return ndimage.map_coordinates(plane.astype(np.float64), at, order=1, mode="nearest")


@given(st.tuples(*[st.integers(1, 9)] * 3), st.floats(-360, 360))
@settings(deadline=None)
def test_rotation_is_bilinear_about_the_centre(shape, degrees):
    x = noise(4, *shape)
    turned = rotate(x, degrees)
    assert turned.dtype == np.float32
    assert turned.shape == shape
    for plane, found in zip(x, turned, strict=True):
        assert found == pytest.approx(oracle(plane, degrees), abs=2e-5)


@pytest.mark.parametrize("side", [1, 2, 7, 8])
def test_quarter_turns_of_a_square(side):
    x = noise(5, 2, side, side)
    assert (rotate(x, 0) == x).all()
    for quarters in (1, 2, 3, 4):
        expected = np.rot90(x, quarters, (1, 2))
        assert rotate(x, 90 * quarters) == pytest.approx(expected, abs=1e-6)


def masked(size, jumps=(1.0, 1.0)):
    """Positions of the inscribed disc, one by one."""
    height, width = size
    radius = min(height * jumps[0], width * jumps[1]) / 2
    mask = np.zeros(size, bool)
    for y in range(height):
        for x in range(width):
            away = np.hypot((y - (height - 1) / 2) * jumps[0], (x - (width - 1) / 2) * jumps[1])
            mask[y, x] = away <= radius + 1e-9
    return mask


@pytest.mark.parametrize("samples", [True, False])
def test_errors_are_what_whole_arrays_say(samples):
    values = np.random.default_rng(0).integers(0, 256, (2, 17, 22), np.uint8)
    x = Samples(values, 255.0) if samples else values.astype(np.float32)
    pixels = x.tensor() if samples else x
    pipeline = parse("conv(3, (3, 2), padding=same) -> relu -> maxpool(2) -> gap -> dense(2)")
    told = rotation_errors(pipeline, x, 40, steps=4)
    assert told.movement.amounts == (10, 20, 30, 40)
    before = [pixels, *(stage.output for stage in pipeline.run(pixels))]
    for place, degrees in enumerate(told.movement.amounts):
        turned = rotate(pixels, degrees)
        after = [turned, *(stage.output for stage in pipeline.run(turned))]
        pairs = [
            (new.astype(float), old.astype(float)) for new, old in zip(after, before, strict=True)
        ]
        for stage, (new, old) in zip(told.stages, pairs, strict=True):
            if old.ndim == 1:
                assert stage.equivariance[place] is None
                expected = np.linalg.norm(new - old) / np.linalg.norm(old)
                assert stage.invariance[place] == pytest.approx(expected, rel=1e-5)
                continue
            mask = masked(old.shape[1:])
            moved = np.stack([oracle(plane, degrees) for plane in old])
            norm = np.linalg.norm(old[:, mask])
            for errors, against in ((stage.invariance, old), (stage.equivariance, moved)):
                expected = np.linalg.norm((new - against)[:, mask]) / norm
                assert errors[place] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "relu",
        "maxpool(1, (1, 2))",
        "maxpool(1, (3, 1))",
        "transpose((0, 2, 1))",
        "slice(61, axis=2, start=60, step=-1)",
        "transpose((0, 2, 1)) -> slice(49, axis=2, start=48, step=-1) -> maxpool(1, (1, 2))",
    ],
)
def test_a_map_turns_as_its_picture_does(text):
    """A smooth blob off the centre: stretched, mirrored or exchanged axes turn their own way."""
    y, x = np.indices((49, 61))
    blob = np.exp(-((y - 15) ** 2 + (x - 38) ** 2) / 60).astype(np.float32)[None]
    told = rotation_errors(parse(text), blob, 40, steps=2)
    for stage in told.stages[1:]:
        assert max(stage.equivariance) < 0.08, stage.name
        assert min(stage.invariance) > 0.4


def test_the_disc():
    for size, jumps in (((5, 5), (1, 1)), ((4, 7), (1, 1)), ((6, 9), (2, 1)), ((3, 8), (1, 0.5))):
        mask = np.zeros(size, bool)
        mask[tuple(disc(size, jumps))] = True
        assert (mask == masked(size, jumps)).all()


def test_pooling_gives_little_against_rotation():
    x = load_pixels(str(sample("astronaut.jpg")), InputOptions(resize=(128, 128)))
    pipeline = parse("conv(sobel, padding=same) -> relu -> maxpool(2) -> conv(4) -> gap")
    told = rotation_errors(pipeline, x, 20)
    _, _, relu, pooled, _, pool = told.stages
    assert 0.7 * relu.invariance[-1] < pooled.invariance[-1] < relu.invariance[-1]
    assert pool.invariance[-1] < 0.3
    notes = findings(pipeline, told)
    assert any(
        note.startswith("maxpool1 gives little against rotation")
        and f"{relu.invariance[-1]:.3g} to {pooled.invariance[-1]:.3g}" in note
        for note in notes
    )


@pytest.mark.parametrize("degrees", [0, -3, 180.5, float("nan"), float("inf")])
def test_angles_out_of_range(degrees):
    with pytest.raises(RequestError, match="at most 180"):
        rotation_errors(parse("relu"), noise(0, 1, 4, 4), degrees)


def test_a_map_the_disc_misses_has_no_errors():
    pipeline = parse("maxpool(1, (1, 3))")  # 2x2 values, three times as far apart along a row
    told = rotation_errors(pipeline, noise(0, 1, 2, 4), 10)
    assert told.stages[1].invariance == told.stages[1].equivariance == (None,) * 8
    assert findings(pipeline, told) == []
