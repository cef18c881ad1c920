"""Weights into files: what is written is read back bit for bit, and the same each time."""

import errno
import time
import zipfile

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.weights import WRITERS, load_weights, save_weights

NAMES = st.text(min_size=1, max_size=20).filter(
    lambda name: name.isprintable() and name != "__metadata__"
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
PARAMS = st.dictionaries(NAMES, arrays.arrays(np.float32, SHAPES), max_size=4)

pytestmark = pytest.mark.parametrize("suffix", list(WRITERS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("saving")


@given(params=PARAMS)
def test_what_is_written_is_read_back_bit_for_bit(folder, suffix, params):
    path = save_weights(folder / f"w{suffix}", params)
    weights = load_weights(path)
    assert list(weights) == sorted(params)
    for name, value in params.items():
        assert weights[name].shape == value.shape
        assert weights[name].tobytes() == value.tobytes()
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            assert {name: archive[name].tobytes() for name in archive} == {
                name: value.tobytes() for name, value in params.items()
            }


def test_the_same_tensors_make_the_same_file(tmp_path, suffix, monkeypatch):
    first = {"b": np.ones((2, 3), np.float32), "a": np.zeros((), np.float32)}
    second = {"a": first["a"], "b": np.asfortranarray(first["b"])}
    save_weights(tmp_path / f"1{suffix}", first)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    save_weights(tmp_path / f"2{suffix}", second)
    assert (tmp_path / f"1{suffix}").read_bytes() == (tmp_path / f"2{suffix}").read_bytes()
    if suffix == ".npz":
        with zipfile.ZipFile(tmp_path / f"1{suffix}") as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_nothing_that_would_not_be_read_back(tmp_path, suffix):
    one = np.ones(1, np.float32)
    for params in ({"": one}, {"__metadata__": one}, {"a\nb": one}, {"\ud800": one}):
        with pytest.raises(CnnvizError, match="cannot name a tensor"):
            save_weights(tmp_path / f"w{suffix}", params)
    with pytest.raises(CnnvizError, match="a is float64, weights are float32"):
        save_weights(tmp_path / f"w{suffix}", {"a": np.ones(1)})
    with pytest.raises(RequestError, match="ends in one of them"):
        save_weights(tmp_path / f"w{suffix}.pt", {"a": one})
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    save_weights(path, {"a": np.ones(4, np.float32)})
    before = path.read_bytes()

    class Full(dict):
        def __getitem__(self, name):
            if name == "b":
                raise OSError(errno.ENOSPC, "no space")
            return super().__getitem__(name)

    params = Full(a=np.zeros(4, np.float32), b=np.zeros(4, np.float32))
    with pytest.raises(CnnvizError, match="the disk is full"):
        save_weights(path, params)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(CnnvizError, match="cannot write"):
        save_weights(tmp_path / "missing" / f"w{suffix}", {})


def test_an_open_file_may_be_replaced(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    save_weights(path, {"a": np.arange(4, dtype=np.float32)})
    weights = load_weights(str(path))
    save_weights(path, {"a": weights["a"] + 1})
    save_weights(path, load_weights(str(path)))  # from itself
    assert weights["a"].tolist() == [0, 1, 2, 3]
    assert load_weights(str(path))["a"].tolist() == [1, 2, 3, 4]
