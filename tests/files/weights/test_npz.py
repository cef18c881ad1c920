"""Weights from files: what fits and what does not; and .npz files that are no weights at all."""

# ruff: noqa: S311 - what is random here is not secret

import io
import pickle
import random
import struct
import zipfile

import numpy as np
import pytest

from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.spec import parse
from cnnviz.files.weights import check_weights, load_weights, save_weights
from cnnviz.files.weights.archive import DIRECTORY_LIMIT
from cnnviz.files.weights.npz import MOST_MEMBERS
from tests.oracles import noise

PIPELINE = parse("conv(4, 3) as c -> batchnorm as bn -> relu -> gap -> dense(2) as fc")
SHAPE = (3, 8, 8)
SPECS = PIPELINE.param_specs(SHAPE)


def arrays(dtype=np.float32):
    return {
        name: (np.abs(noise(index, *spec.shape)) * 10).astype(dtype)
        for index, (name, spec) in enumerate(SPECS.items())
    }


def save(folder, values, name="w.npz", *, compressed=False):
    path = folder / name
    if path.suffix == ".safetensors":
        return save_weights(path, {n: np.asarray(v, np.float32) for n, v in values.items()})
    (np.savez_compressed if compressed else np.savez)(path, **values)
    return str(path)


def checked(path, optional=frozenset()):
    return check_weights(load_weights(path), SPECS, optional, path)


def refusal(path, **options):
    with pytest.raises(CnnvizError) as caught:
        checked(path, **options)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 1
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_right_file(tmp_path, compressed):
    values = arrays()
    params = checked(save(tmp_path, values, compressed=compressed))
    assert set(params) == set(values)
    assert len(params) == len(values)
    for name, value in values.items():
        assert params[name].dtype == np.float32
        np.testing.assert_array_equal(params[name], value)
    x = noise(99, *SHAPE)
    for stage, direct in zip(PIPELINE.run(x, params), PIPELINE.run(x, values), strict=True):
        np.testing.assert_array_equal(stage.output, direct.output)
        assert stage.row.weights in ("loaded", None)
    with pytest.raises(KeyError):
        params["nothing"]


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", ">f4", ">f8", "longdouble", "int8", "uint8", "int64", "uint16"]
)
def test_numbers_of_any_width(dtype, tmp_path):
    values = arrays(np.dtype(dtype))
    params = checked(save(tmp_path, values))
    for name, value in values.items():
        assert params[name].dtype == np.dtype(np.float32)
        assert params[name].dtype.isnative
        np.testing.assert_array_equal(params[name], value.astype(np.float32))


def test_order_in_memory_does_not_matter(tmp_path):
    values = {name: np.asfortranarray(value) for name, value in arrays().items()}
    params = checked(save(tmp_path, values))
    for name, value in values.items():
        np.testing.assert_array_equal(params[name], value)
        assert params[name].flags.c_contiguous


def test_numbers_beyond_float32_become_infinite_quietly(tmp_path):
    values = arrays(np.float64)
    values["fc.bias"][:] = [1e300, -1e300]
    params = checked(save(tmp_path, values))
    assert params["fc.bias"].tolist() == [np.inf, -np.inf]


def test_bookkeeping_is_ignored(tmp_path):
    values = arrays() | {"bn.num_batches_tracked": np.array(7)}
    params = checked(save(tmp_path, values))
    list(PIPELINE.run(noise(1, *SHAPE), params))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_missing_extra_or_of_another_shape(tmp_path, suffix):
    def save(folder, values, name="w"):
        return globals()["save"](folder, values, name + suffix)

    values = arrays()
    del values["c.weight"]
    assert "it lacks c.weight (4, 3, 3, 3)" in refusal(save(tmp_path, values))
    values = arrays() | {"d.weight": np.zeros((2, 5), np.float32)}
    assert "no stage takes d.weight (2, 5)" in refusal(save(tmp_path, values))
    values = arrays() | {"c.weight": np.zeros((4, 3, 5, 5), np.float32)}
    told = refusal(save(tmp_path, values))
    assert "it lacks c.weight (4, 3, 3, 3); no stage takes c.weight (4, 3, 5, 5)" in told
    told = refusal(save(tmp_path, {f"x{i}": np.zeros(1) for i in range(20)}))
    assert "and 2 more; no stage takes" in told
    assert "and 14 more" in told
    assert "STAGE.weight" in told
    for empty in ({"c.weight": np.zeros((4, 3, 0, 3))}, {"c.weight": np.array(1.0)}):
        refusal(save(tmp_path, arrays() | empty))


def test_optional_weights_may_be_missing(tmp_path):
    values = arrays()
    weight = values.pop("c.weight")
    path = save(tmp_path, values)
    params = checked(path, optional=frozenset({"c.weight"}))
    assert "c.weight" not in params
    # But what is there must fit.
    wrong = save(tmp_path, values | {"c.weight": weight[:, :2]})
    assert "takes c.weight (4, 2, 3, 3)" in refusal(wrong, optional=frozenset({"c.weight"}))


def test_the_suffix_chooses_the_format(tmp_path):
    for name in ("w.onnx", "w", "w.npy", "w.npz.txt", ""):
        with pytest.raises(RequestError, match=r"end in \.safetensors, \.npz, \.pth or \.pt"):
            load_weights(name)
    path = save(tmp_path, arrays())
    upper = tmp_path / "W.NPZ"
    upper.write_bytes((tmp_path / "w.npz").read_bytes())
    assert len(load_weights(str(upper))) == len(load_weights(path))


def test_paths_that_cannot_be_read(tmp_path):
    assert "no such file" in refusal(str(tmp_path / "missing.npz"))
    (tmp_path / "folder.npz").mkdir()
    refusal(str(tmp_path / "folder.npz"))
    for name in ("a\0b.npz", "x" * 5000 + ".npz"):
        with pytest.raises(CnnvizError):
            load_weights(name)


def test_files_that_are_no_archives(tmp_path):
    path = tmp_path / "w.npz"
    for data in (
        b"",
        b"PK",
        b"not a zip" * 100,
        b"PK\5\6" + b"\0" * 18 + b"x",
        bytes(range(256)) * 9,
    ):
        path.write_bytes(data)
        refusal(str(path))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())  # an .npy by the wrong name
    refusal(str(path))


def zipped(folder, members, **options):
    path = folder / "w.npz"
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return str(path)


def npy(header, data=b"", version=1):
    text = header.encode("latin-1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def header(shape="(2,)", descr="'<f4'", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def test_an_archive_of_garbage(tmp_path):
    refusal(zipped(tmp_path, {"c.weight.npy": b"garbage", "readme.txt": b"hello"}))
    refusal(zipped(tmp_path, {"c.weight.npy": b""}))
    told = refusal(zipped(tmp_path, {"readme.txt": b"hello"}))
    assert "it lacks c.weight" in told


def test_pickles_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    values = np.empty((2,), object)
    values[:] = [Trap(), Trap()]
    path = save(tmp_path, {"fc.bias": values})
    told = refusal(path)
    assert "object" in told
    refusal(zipped(tmp_path, {"fc.bias.npy": pickle.dumps(Trap())}))
    for dtype in ("S3", "U3", "M8[s]", "c8", "V4", [("a", "f4")]):
        refusal(save(tmp_path, arrays() | {"fc.bias": np.zeros(2, dtype)}))


@pytest.mark.parametrize(
    "text",
    [
        header("(1000000000, 1000000000)"), header(f"({10**30},)"), header("(-2,)"),
        header("(" + "1," * 100 + ")"), header("(2.0,)"), header("2"), header("(True, 2)"),
        header("(9" + "9" * 5000 + ",)"), header(descr="'O'"), header(descr="'<f3'"),
        header(descr="[('a', [])]"), header(descr="('<f4', (2,))"), header(order="3"),
        "", " ", "{}", "[]", "{[]: 1}", "{{}}", "{1: 2, 'a': 3}", "{'descr': ", "{'a", "'''",
        "((((",
        "(" * 500, "-" * 9000 + "1", "\0", "x" * 20_000, "{**1}", "b'\\xff'", "\n  x\n y", "1e999",
        "__import__('os').abort()", header("(2L,)"), "{'descr': '<f4', 'shape': (2,)}",
    ],
    ids=lambda text: repr(text[:40]),
)  # fmt: skip
@pytest.mark.parametrize("version", [1, 2])
def test_broken_headers(text, version, tmp_path):
    member = npy(text, b"\0" * 64, version)
    path = zipped(tmp_path, {"fc.bias.npy": member})
    refusal(path)  # and no warning of numpy's gets out


def test_unknown_versions(tmp_path):
    for version in (0, 3, 4, 255):
        refusal(zipped(tmp_path, {"fc.bias.npy": npy(header(), b"\0" * 8, version)}))


def read_everything(path):
    params = checked(path)
    return [params[name] for name in params]


def test_a_header_that_promises_more_than_there_is(tmp_path):
    values = {f"{name}.npy": None for name in SPECS}
    for name, value in arrays().items():
        buffer = io.BytesIO()
        np.save(buffer, value)
        values[f"{name}.npy"] = buffer.getvalue()
    values["c.weight.npy"] = values["c.weight.npy"][:-40]
    path = zipped(tmp_path, values)
    with pytest.raises(CnnvizError, match=r"c\.weight"):
        read_everything(path)
    # A stage that needs gigabytes by its spec is met by a header alone: still no crash.
    values["c.weight.npy"] = npy(header("(1000000, 1000000)"))
    path = zipped(tmp_path, values)
    with pytest.raises(CnnvizError):
        load_weights(path)["c.weight"]


def test_a_file_that_changes_after_it_was_opened(tmp_path):
    values = arrays() | {"c.weight": noise(1, 4, 3, 300, 300)}  # more than a buffer holds
    path = save(tmp_path, values)
    weights = load_weights(path)
    (tmp_path / "w.npz").write_bytes(b"gone")
    with pytest.raises(CnnvizError, match=r"w\.npz"):
        weights["c.weight"]
    # What takes its place by renaming is another file; the one that was checked is read.
    save(tmp_path, values)
    weights = load_weights(path)
    (tmp_path / "other").write_bytes(b"gone")
    (tmp_path / "other").replace(path)
    np.testing.assert_array_equal(weights["c.weight"], values["c.weight"])


def test_asking_for_a_name_does_not_unpack_it(tmp_path):
    weights = load_weights(save(tmp_path, arrays()))
    (tmp_path / "w.npz").write_bytes(b"gone")
    assert "c.weight" in weights
    assert "nothing" not in weights


def test_bombs_are_found_before_they_are_unpacked(tmp_path):
    """Each claims far more than it holds, or is not what NumPy would have written."""
    deflated = {"compression": zipfile.ZIP_DEFLATED}
    member = npy(header("(1000000,)"), b"\0" * 4_000_000)
    path = zipped(tmp_path, {"w.npy": member}, **deflated)
    assert len(load_weights(path)["w"]) == 1_000_000  # a thousandfold, yet honest
    data = bytearray((tmp_path / "w.npz").read_bytes())
    at = data.index(b"PK\1\2") + 24  # the size it unpacks to
    data[at : at + 4] = struct.pack("<I", 2**32 - 2)
    (tmp_path / "w.npz").write_bytes(data)
    assert "claims 4,294,967,294 bytes" in refusal(path)
    (tmp_path / "w.npz").write_bytes(data[: at - 14] + b"\0\0" + data[at - 12 :])  # "stored"
    assert "claims 4,294,967,294 bytes" in refusal(path)
    shape = header("(1000000, 1000000)")
    assert "takes 4,000,000,000,000 bytes, and 8 follow" in refusal(
        zipped(tmp_path, {"w.npy": npy(shape, b"\0" * 8)}, **deflated)
    )
    for sizes in ("(4611686018427387904, 4611686018427387904, 0)", "(" + "1," * 70 + ")"):
        text = refusal(zipped(tmp_path, {"w.npy": npy(header(sizes))}))
        assert "no array can have" in text
    assert "8 bytes, and 4 follow" in refusal(zipped(tmp_path, {"w.npy": npy(header(), b"0000")}))
    assert "8 bytes, and 9 follow" in refusal(zipped(tmp_path, {"w.npy": npy(header(), b"0" * 9)}))


def test_archives_of_too_many_members(tmp_path):
    one = npy(header("(0,)"))
    many = {f"{index}.npy": one for index in range(MOST_MEMBERS)}
    assert len(load_weights(zipped(tmp_path, many))) == MOST_MEMBERS
    assert "10,001 arrays, over 10,000" in refusal(zipped(tmp_path, many | {"one more.npy": one}))
    few = {f"{index:>60000}.npy": one for index in range(DIRECTORY_LIMIT // 60000 + 1)}
    assert "list of members is over 2,097,152 bytes" in refusal(zipped(tmp_path, few))
    path = zipped(tmp_path, {"a.npy": one})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.npy", one)
    assert "holds 'a' twice" in refusal(path)


def test_truncated_archives(tmp_path):
    whole = (tmp_path / "w.npz", save(tmp_path, arrays(), compressed=True))[0].read_bytes()
    path = tmp_path / "t.npz"
    for length in range(0, len(whole), max(1, len(whole) // 300)):
        path.write_bytes(whole[:length])
        with pytest.raises(CnnvizError):
            read_everything(str(path))


def flip(folder, count, seed):
    rng = random.Random(seed)
    originals = [
        (folder / f"{kind}.npz").read_bytes()
        for kind in (False, True)
        if save(folder, arrays(), f"{kind}.npz", compressed=kind)
    ]
    path = folder / "f.npz"
    for _ in range(count):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            match rng.randint(0, 3):
                case 0:
                    data[at] ^= 1 << rng.randint(0, 7)
                case 1:
                    data[at] = rng.randint(0, 255)
                case 2:
                    del data[at : at + rng.randint(1, 9)]
                case 3:
                    data[at:at] = bytes(rng.randint(0, 255) for _ in range(rng.randint(1, 9)))
        path.write_bytes(data)
        try:
            with np.errstate(all="ignore"):
                read_everything(str(path))
        except CnnvizError:
            pass
        except Exception as error:
            (folder / "culprit.npz").write_bytes(data)
            raise AssertionError(
                f"{type(error).__name__}: {error}: {folder}/culprit.npz"
            ) from error


def test_flipped_bytes(tmp_path):
    flip(tmp_path, 1500, 24)


@pytest.mark.heavy
def test_many_flipped_bytes(tmp_path):
    flip(tmp_path, 8000, None)


def test_flipped_headers(tmp_path):
    """The checksum guards a zip's data, so broken headers are packed anew."""
    rng = random.Random(25)
    good = header().encode()
    pieces = [b"{", b"}", b"[", b"]", b"(", b")", b"'", b'"', b",", b":", b"L", b"-", b"0",
    b"#", b"\\",
              b"\n", b"\0", b"\xff", b"**", b"True", b"None", b"1e9", b"j", b"f'"]  # fmt: skip
    path = tmp_path / "w.npz"
    for _ in range(1500):
        text = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text) + 1)
            text[at : at + rng.randint(0, 3)] = rng.choice(pieces)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fc.bias.npy", npy(text.decode("latin-1"), b"\0" * 16))
        try:
            load_weights(str(path))["fc.bias"]
        except CnnvizError:
            pass
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}: {bytes(text)}") from error


def test_what_zipfile_says_is_cut(tmp_path):
    path = save(tmp_path, arrays())
    data = bytearray((tmp_path / "w.npz").read_bytes())
    data[26:28] = struct.pack("<H", 5000)  # the length of the first name, at the array itself
    (tmp_path / "w.npz").write_bytes(data)
    assert len(refusal(path)) < 600


def test_encrypted_and_odd_compressions(tmp_path):
    """Four kilobytes of bzip2 can stand for gigabytes, which Python unpacks in one go."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2, np.float32))
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = zipped(tmp_path, {"fc.bias.npy": buffer.getvalue()}, compression=method)
        assert "packed in a way NumPy does not use" in refusal(path)
    path = zipped(tmp_path, {"fc.bias.npy": buffer.getvalue()})
    data = bytearray((tmp_path / "w.npz").read_bytes())
    for at in (6, data.index(b"PK\1\2") + 8):
        data[at] |= 1  # says it is encrypted
    (tmp_path / "w.npz").write_bytes(data)
    assert "encrypted" in refusal(path)
