"""The .safetensors format: every type and shape, and files that mean harm."""

import json
import os
import resource
import struct

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.errors import CnnvizError
from cnnviz.files.weights import load_weights, save_weights
from cnnviz.files.weights.safetensors import HEADER_LIMIT, KINDS
from tests.oracles import load_safetensors

STORED = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
SHAPES = arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "w.safetensors"


def packed(header, data=b"", length=None):
    """Return a file's bytes; the header is text, or what becomes JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin=0, end=8, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(CnnvizError) as caught:
        load_weights(str(path))
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert len(caught.value.message) < 1000
    return caught.value.message


@given(st.data())
def test_numbers_of_every_type_are_widened(path, data):
    kind = data.draw(st.sampled_from(list(STORED)))
    values = data.draw(arrays.arrays(STORED[kind], SHAPES))
    path.write_bytes(packed({"w": entry(0, values.nbytes, values.shape, kind)}, values.tobytes()))
    weights = load_weights(str(path))
    with np.errstate(all="ignore"):
        expected = values.astype(np.float32)
    assert weights.shapes == {"w": values.shape}
    assert weights["w"].dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(weights["w"], expected)
    if kind == "F32":
        assert weights["w"].tobytes() == values.tobytes()


@given(values=arrays.arrays(np.uint16, SHAPES))
def test_bfloat16_is_the_upper_half_of_a_float32(path, values):
    path.write_bytes(packed({"w": entry(0, values.nbytes, values.shape, "BF16")}, values.tobytes()))
    expected = (values.astype(np.uint32) << 16).tobytes()
    assert load_weights(str(path))["w"].tobytes() == expected
    assert load_weights(str(path)).stored["w"].kind == "bfloat16"


def test_float32_is_not_copied(path):
    save_weights(path, {"w": np.arange(6, dtype=np.float32)})
    weights = load_weights(str(path))
    assert np.shares_memory(weights["w"], weights["w"])
    assert not weights["w"].flags.writeable
    # Nor must numbers lie where a processor likes them: then they are.
    for spaces in range(4):
        text = json.dumps({"w": entry()}).encode() + b" " * spaces
        path.write_bytes(packed(text, np.float32([1, 2]).tobytes()))
        tensor = load_weights(str(path))["w"]
        assert tensor.tolist() == [1, 2]
        assert tensor.flags.aligned


def test_opening_a_large_file_reads_none_of_its_numbers(path):
    size = 10**11
    text = json.dumps({"w": entry(0, 4 * size, (size,))}).encode()
    header = packed(text + b" " * (-len(text) % 8))
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 4 * size)  # a hole, as large as it says
    weights = load_weights(str(path))
    assert weights.shapes == {"w": (size,)}
    assert not weights["w"][-1]
    path.write_bytes(b"")


@given(params=st.dictionaries(
    st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=20)
    .filter(str.isprintable),
    arrays.arrays(np.float32, SHAPES), max_size=4,
))  # fmt: skip
def test_the_reference_reads_what_we_write_and_writes_the_same(path, params):
    oracle = load_safetensors()
    save_weights(path, params)
    assert path.read_bytes() == oracle.save(params)
    assert {name: value.tobytes() for name, value in oracle.load_file(path).items()} == {
        name: value.tobytes() for name, value in params.items()
    }


@given(st.data())
def test_we_read_what_the_reference_writes(path, data):
    oracle = load_safetensors()
    kinds = data.draw(st.lists(st.sampled_from(list(STORED)), max_size=4))
    params = {f"{i}.{k}": data.draw(arrays.arrays(STORED[k], SHAPES)) for i, k in enumerate(kinds)}
    path.write_bytes(oracle.save(params, metadata={"format": "np", "é": '"'}))
    weights = load_weights(str(path))
    assert set(weights) == set(params)
    for name, value in params.items():
        assert weights.stored[name].kind == value.dtype.name
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(weights[name], value.astype(np.float32))


def test_every_type_of_the_format_is_tested():
    assert set(KINDS) == {*STORED, "BF16"}


# --- hostile files -----------------------------------------------------------------------------

TWO = {"a": entry(0, 8), "b": entry(8, 16)}

BAD = {
    "empty": (b"", "ends after 0 bytes"),
    "short": (b"\3\0\0", "ends after 3 bytes"),
    "length beyond the file": (packed(b"{}", length=3), "claims a header of 3 bytes"),
    "huge length": (packed(b"{}", length=2**64 - 1), "claims a header of 18,446,744"),
    "wrong magic": (b"PK\3\4" * 9, "claims a header"),
    "pickle": (b"\x80\4\x95" + b"\0" * 40, "claims a header"),
    "a list": (packed(b"[]"), "not a JSON object"),
    "no header": (packed(b""), "not a JSON object"),
    "space first": (packed(b" {}"), "not a JSON object"),
    "no JSON": (packed(b'{"a": }'), "not JSON: Expecting value"),
    "cut JSON": (packed(b'{"a": {"dtype": "F'), "not JSON"),
    "more JSON": (packed(b"{}{}"), "not JSON: Extra data"),
    "no UTF-8": (packed(b'{"\xff": 0}'), "not JSON: 'utf-8' codec"),
    "UTF-16": (packed('{"a": 0}'.encode("utf-16-le")), "not JSON"),
    "nested": (packed(b'{"a":' * 100_000), "nested too deeply"),
    "nested lists": (packed(b'{"a":' + b"[" * 1_000_000), "nested too deeply"),
    "nested metadata": (packed(b'{"__metadata__":' + b"[" * 1_000_000), "nested too deeply"),
    "endless number": (packed(b'{"a": ' + b"9" * 100_000 + b"}"), "not JSON"),
    "tensor twice": (packed(b'{"a": {}, "b": 1, "a": {}}'), "names 'a' twice"),
    "key twice": (packed(b'{"a": {"dtype": "F32", "dtype": "F16"}}'), "names 'dtype' twice"),
    "entry": (packed({"a": 1}), "'a' lacks"),
    "entry list": (packed({"a": []}), "'a' lacks"),
    "keys": (packed({"a": {"dtype": "F32", "shape": [2]}}, b"\0" * 8), "'a' lacks"),
    "unknown type": (packed({"a": entry(dtype="F8_E4M3")}, b"\0" * 8), "type 'F8_E4M3', which"),
    "lower case": (packed({"a": entry(dtype="f32")}, b"\0" * 8), "type 'f32', which"),
    "type no name": (packed({"a": entry(dtype=["F32"])}, b"\0" * 8), "dtype that is no name"),
    "negative size": (packed({"a": entry(shape=(-2,))}, b"\0" * 8), "no list of sizes"),
    "negative sizes": (packed({"a": entry(shape=(-2, -1))}, b"\0" * 8), "no list of sizes"),
    "true size": (packed({"a": entry(0, 4, (True,))}, b"\0" * 4), "no list of sizes"),
    "float size": (packed({"a": entry(shape=(2.0,))}, b"\0" * 8), "no list of sizes"),
    "shape no list": (packed({"a": {**entry(), "shape": 2}}, b"\0" * 8), "no list of sizes"),
    "10^12 numbers": (packed({"a": entry(shape=(10**6, 10**6))}, b"\0" * 8), "4,000,000,000,000"),
    "overflow": (packed({"a": entry(0, 0, (2**62, 4))}), "no array can have"),
    "overflow to 0": (packed({"a": entry(0, 0, (2**32, 2**32))}), "no array can have"),
    "overflow of none": (packed({"a": entry(0, 0, (2**62, 2**62, 0))}), "no array can have"),
    "huge size": (packed({"a": entry(0, 0, (10**4000,))}), "no array can have"),
    "axes": (packed({"a": entry(0, 4, [1] * 65)}, b"\0" * 4), "no array can have"),
    "offsets turned": (packed({"a": entry(8, 0)}, b"\0" * 8), "no begin and end"),
    "offset negative": (packed({"a": entry(-8, 0)}, b"\0" * 8), "no begin and end"),
    "offset float": (packed({"a": entry(0, 8.0)}, b"\0" * 8), "no begin and end"),
    "one offset": (packed({"a": {**entry(), "data_offsets": [8]}}, b"\0" * 8), "no begin and end"),
    "offset beyond": (packed({"a": entry(0, 8)}, b"\0" * 7), "no begin and end"),
    "offset far": (packed({"a": entry(0, 10**4000, (10**4000,))}), "no begin and end"),
    "wrong size": (packed({"a": entry(0, 8, (3,))}, b"\0" * 8), "takes 12 bytes, and its"),
    "overlap": (packed({**TWO, "c": entry(4, 12)}, b"\0" * 16), "'c' overlaps 'a'"),
    "same place": (packed({"a": entry(), "b": entry()}, b"\0" * 8), "'b' overlaps 'a'"),
    "gap": (packed({"a": entry(0, 8), "b": entry(12, 20)}, b"\0" * 20), "a gap after 'a'"),
    "gap at first": (packed({"b": entry(4, 12)}, b"\0" * 12), "a gap after 'the header'"),
    "more data": (packed(TWO, b"\0" * 17), "16 bytes, and 17 follow"),
    "data alone": (packed(b"{}", b"\0"), "0 bytes, and 1 follow"),
    "empty inside": (packed({**TWO, "c": entry(4, 4, (0,))}, b"\0" * 16), "'c' overlaps 'a'"),
    "long name": (packed({"x" * 10**6: 1}), "x…x"),
}


@pytest.mark.parametrize("name", BAD)
def test_hostile_files(path, name):
    data, words = BAD[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert words in refusal(path, data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,", b'"a",', b'{"":0},'])
def test_headers_of_many_small_things(path, piece):
    """JSON of a few bytes a value is the largest in memory that a header can be."""
    count = (HEADER_LIMIT - 20) // len(piece)
    assert "'a' lacks" in refusal(path, packed(b'{"a": [' + piece * count + b"0]}"))
    assert "is over 4,194,304" in refusal(path, packed(b"{" + b" " * HEADER_LIMIT + b"}"))


def test_what_we_refuse_the_reference_refuses():
    oracle = load_safetensors()
    accepted = []
    for name, (data, _) in BAD.items():
        try:
            oracle.load(data)
        except Exception:  # noqa: BLE001, S112 - of whatever kind
            continue
        accepted.append(name)
    assert accepted == ["space first"]  # which the format's own description forbids


def test_every_truncation_is_noticed(path):
    save_weights(path, {"a.weight": np.ones((2, 3), np.float32), "b": np.ones((), np.float32)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        refusal(path, whole[:length])
    refusal(path, whole + b"\0")


def test_a_file_that_shrinks_while_it_is_mapped(path):
    save_weights(path, {"w": np.ones(100_000, np.float32)})
    weights = load_weights(str(path))
    path.write_bytes(b"gone")
    with pytest.raises(CnnvizError, match="shrank to 4 bytes"):
        weights["w"]


def test_metadata_is_ignored(path):
    for told in ({}, {"format": "pt"}, 7, None):
        path.write_bytes(packed({"__metadata__": told, "w": entry()}, b"\0" * 8))
        assert dict(load_weights(str(path)).shapes) == {"w": (2,)}


def test_files_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "endless.safetensors").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "endless", "missing", "a\0b", "x" * 5000):
        with pytest.raises(CnnvizError):
            load_weights(str(tmp_path / f"{name}.safetensors"))
