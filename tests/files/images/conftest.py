"""Fixtures of pictures' tests."""

import io
import sys
import types

import numpy as np
import pytest

from tests.files.images.samples import SIZE


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def deep(rng):
    levels = rng.integers(0, 65536, SIZE, dtype=np.uint16)
    levels.flat[:3] = 0, 1, 65535
    return levels


@pytest.fixture
def stdin(monkeypatch):
    def feed(data):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))

    return feed
