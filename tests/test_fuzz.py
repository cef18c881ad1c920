"""The fuzzer itself: a few inputs for each reader, and readers it must blame."""

from __future__ import annotations

import dataclasses
import time

import pytest

from tests.fuzz import fuzzing, weights
from tests.fuzz.fuzzing import fuzz

FORMATS = (".safetensors", ".npz", ".pth")


@pytest.fixture(params=FORMATS)
def target(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (target,) = (one for one in weights.targets(tmp_path) if one.name == request.param)
    return target


def test_valid_files_are_read(target):
    for data in target.seeds:
        target.path.write_bytes(data)
        target.read(str(target.path))


def test_broken_files_are_refused(target):
    report = fuzz(target, 500, seed=1)
    assert report.accepted + report.refused.total() == 500
    assert report.refused.total() > 250
    assert str(report).startswith(f"{target.name}: 500 inputs")


def test_the_same_seed_breaks_files_alike(target):
    assert fuzz(target, 50, seed=2).refused == fuzz(target, 50, seed=2).refused


def test_readers_that_fail_otherwise_are_blamed(target, tmp_path, monkeypatch):
    def careless(path):
        raise KeyError(path)

    with pytest.raises(AssertionError, match=r"input 0, .*KeyError.* culprit"):
        fuzz(dataclasses.replace(target, read=careless), 5, seed=0)
    assert (tmp_path / f"culprit{target.name}").is_file()
    monkeypatch.setattr(fuzzing, "SECONDS", 0.001)
    with pytest.raises(AssertionError, match="input 0"):
        fuzz(dataclasses.replace(target, read=lambda _: time.sleep(0.01)), 5, seed=0)
