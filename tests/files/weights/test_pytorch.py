"""PyTorch's own files: what torch.save writes is read, and what means harm runs nothing."""

import io
import os
import pickle
import resource
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cnnviz.errors import CnnvizError
from cnnviz.files.weights import load_weights
from cnnviz.files.weights.pytorch import PICKLE_LIMIT
from tests.files.weights.pickles import (
    MAGIC,
    Call,
    Name,
    archive,
    dumped,
    older,
    saved,
    tensor,
)
from tests.oracles import load_torch, noise

SIX = np.arange(6, dtype=np.float32)
ONE = {"0": SIX.tobytes()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pth"


def read(path, data):
    path.write_bytes(data)
    return load_weights(str(path))


def refusal(path, data):
    with pytest.raises(CnnvizError) as caught:
        read(path, data)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def one(**options):
    """Return a file of one tensor, of six numbers or a view of them."""
    return archive(dumped({"w": tensor(**{"shape": (2, 3), "count": 6, **options})}), ONE)


# What is right ----------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True])
def test_numbers_of_every_type(path, old):
    arrays = {
        dtype: (np.arange(6).reshape(1, 2, 3) - 2).astype(dtype)
        for dtype in (
            *("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"),
        )
    } | {"scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 3), np.float32)}
    weights = read(path, saved(arrays, old=old))
    assert list(weights) == list(arrays)
    for name, value in arrays.items():
        assert weights[name].dtype == np.float32
        assert weights.stored[name] == (value.shape, value.dtype.name)
        np.testing.assert_array_equal(weights[name], value.astype(np.float32))


def test_views_of_one_storage(path):
    views = {
        "whole": tensor((2, 3)),
        "across": tensor((3, 2), strides=(1, 3), count=6),
        "every other": tensor((2,), strides=(2,), offset=1, count=6),
        "repeated": tensor((4, 2), strides=(0, 5), count=6),
        "of size one": tensor((1, 2), strides=(2**62, 1), offset=4, count=6),
        "none": tensor((0, 2), strides=(1, 1), offset=2**62, count=6),
    }
    weights = read(path, archive(dumped(views), ONE))
    assert {name: value.tolist() for name, value in weights.items()} == {
        "whole": [[0, 1, 2], [3, 4, 5]],
        "across": [[0, 3], [1, 4], [2, 5]],
        "every other": [1, 3],
        "repeated": [[0, 5]] * 4,
        "of size one": [[4, 5]],
        "none": [],
    }


def test_big_ends_first(path):
    data = archive(
        dumped({"w": tensor((6,))}), {"0": SIX.astype(">f4").tobytes()}, byteorder=b"big"
    )
    assert read(path, data)["w"].tolist() == SIX.tolist()
    halves = (SIX.view(np.uint32) >> 16).astype(">u2").tobytes()
    pickled = dumped({"w": tensor((6,), kind="BFloat16")})
    weights = read(path, archive(pickled, {"0": halves}, byteorder=b"big"))
    assert weights["w"].tolist() == SIX.tolist()
    assert weights.stored["w"].kind == "bfloat16"


def test_checkpoints_in_containers(path):
    """Names lead to tensors; what holds none is left out, shared and cyclic parts are read once."""
    state = dumped({"a": tensor((2, 3))})[2:-1] + b"q\1"
    checkpoint = {
        "epoch": 3,
        "state_dict": state,
        "alias": b"h\1",
        "optimizer": {
            "state": {0: {"step": 2.5, "exp_avg": tensor((6,))}},
            "groups": [{"lr": 0.1}],
        },
        "loop": b"]q\2h\2a",
        "list": [None, tensor((), count=6), (True, tensor((1,), count=6))],
        "set": Call(Name("__builtin__.set"), ([1, 2],)),
        "bytes": Call(Name("_codecs.encode"), ("x", "latin1")),
        "milestones": Call(Name("collections.Counter"), ({30: 1},)),
        "shape": Call(Name("torch.Size"), ((2, 3),)),
        "type": Name("torch.float32"),
        "python 2": Call(Name("collections.OrderedDict"), ([["a", tensor((2,), count=6)]],)),
        "parameter": Call(Name("torch._utils._rebuild_parameter"), (tensor((6,)), True, {})),
        "cuda": b"U\1xU\1yU\1z\x87",  # as Python 2 wrote text
    }
    weights = read(path, archive(dumped(checkpoint), ONE))
    assert weights.shapes == {
        "state_dict.a": (2, 3),
        "optimizer.state.0.exp_avg": (6,),
        "list.1": (),
        "list.2.1": (1,),
        "python 2.a": (2,),
        "parameter": (6,),
    }


def test_what_holds_no_tensors_is_empty(path):
    for value in ({}, [], 3, "text", {"a": 1}):
        assert len(read(path, archive(dumped(value), {}))) == 0
        assert len(read(path, older(dumped(value), {}))) == 0


def test_the_suffix_pt_is_the_same_and_may_be_large_letters(tmp_path):
    for name in ("w.pt", "W.PTH"):
        assert list(read(tmp_path / name, one())) == ["w"]


# What PyTorch itself writes ---------------------------------------------------------------------


def objects(torch):
    """Return tensors in all ways that state dicts have them, and what stands beside them."""
    base = torch.from_numpy(noise(1, 2, 3, 4))
    plain = {
        "base": base,
        "moved": base.transpose(0, 2),
        "sliced": base[1:, ::2],
        "expanded": torch.ones(1).expand(4),
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "long": torch.arange(3),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "uint16": torch.arange(5).to(torch.uint16),
        "parameter": torch.nn.Parameter(base),
    }
    beside = {"set": {1, 2}, "bytes": b"xx", "complex": 1j, "size": base.shape, "big": 10**30,
              "type": torch.float32, "device": torch.device("cpu"), "text": "é"}  # fmt: skip
    return plain, beside


@pytest.mark.heavy
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves(path, zipped, protocol):
    torch = load_torch()
    plain, beside = objects(torch)
    torch.save(
        {**plain, "nested": [plain["base"], ({3: plain["moved"]},)], **beside},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    weights = load_weights(str(path))
    expected = {**plain, "nested.0": plain["base"], "nested.1.0.3": plain["moved"]}
    assert list(weights) == list(expected)
    for name, value in expected.items():
        assert weights.stored[name].kind == str(value.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(weights[name], value.detach().float().numpy())


@pytest.mark.heavy
@pytest.mark.parametrize("zipped", [True, False])
def test_our_files_are_as_torchs(path, zipped):
    """What the other tests read is what PyTorch reads, too."""
    torch = load_torch()
    path.write_bytes(saved({"a": SIX.reshape(2, 3), "b": np.arange(3)}, old=not zipped))
    state = torch.load(path)
    assert state["a"].tolist() == SIX.reshape(2, 3).tolist()
    assert state["b"].tolist() == [0, 1, 2]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of what it will give up
def test_the_line_to_run_in_pytorch(tmp_path, monkeypatch):
    """Each refusal ends in Python that writes a file which is read."""
    torch = load_torch()
    monkeypatch.chdir(tmp_path)
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    state = network.state_dict()
    files = {
        "torch.nn.modules.container.Sequential": network,
        "torch.nn.modules.conv.Conv2d": {"epoch": 1, "net": network[0], "state_dict": state},
        "quantized": {"w": quantized, "n": 1},
        "sparse": {"w": torch.eye(3).to_sparse(), "v": torch.ones(2)},
        "16 bits": {"w": torch.ones(3).to(torch.float8_e4m3fn)},
    }
    for words, value in files.items():
        torch.save(value, "w.pth")
        told = run_the_hint(torch, Path("w.pth"))
        assert words in told
    torch.jit.save(torch.jit.script(network), "w.pt")
    assert "TorchScript" in run_the_hint(torch, Path("w.pt"))


def run_the_hint(torch, path):
    with pytest.raises(CnnvizError) as caught:
        load_weights(str(path))
    assert isinstance(caught.value.hint, str)
    line = caught.value.hint.partition("in PyTorch: ")[2]
    Path("weights.pth").unlink(missing_ok=True)
    exec(line, {"torch": torch})  # noqa: S102 - it is what we advise to run
    assert load_weights("weights.pth").shapes
    return caught.value.message


# What is wrong ----------------------------------------------------------------------------------


def unsafe(name, *arguments):
    return Call(Name(name), arguments)


UNKNOWN = {
    "posix.system": unsafe("posix.system", "touch ran"),
    "builtins.__import__": {"a": unsafe("builtins.__import__", "this")},
    "argparse.Namespace": {
        "state_dict": {"w": tensor((2, 3))},
        "args": unsafe("argparse.Namespace"),
    },
    "numpy.core.multiarray.scalar": {"loss": unsafe("numpy.core.multiarray.scalar")},
    "torch.ComplexFloatStorage": {"w": tensor((3,), kind="ComplexFloat")},
    "torch.load": unsafe("torch.load", "other.pth"),
    "torch._utils._import_dotted_name": unsafe("torch._utils._import_dotted_name", "os.system"),
    "functools.partial": unsafe("functools.partial", Name("builtins.print")),
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", UNKNOWN)
def test_other_globals_are_refused_by_name(path, name, old):
    pickled = dumped(UNKNOWN[name])
    told = refusal(path, older(pickled, {}) if old else archive(pickled, ONE))
    assert name in told
    assert "torch.save(torch.load(" in told


def test_what_is_of_another_kind_is_told(path):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as file:
        file.addfile(tarfile.TarInfo("storages"))
    assert "is a tar archive" in refusal(path, tar.getvalue())
    newer = b"\x80\x06}."
    assert "of the newer protocol 6" in refusal(path, archive(newer, {}))
    version = older(dumped({}), {}).replace(b"M\xe9\x03", b"M\xea\x03")
    assert "of the newer protocol 1002" in refusal(path, version)
    script = archive(dumped({}), {}, constants_pkl=b"")
    assert "torch.jit.load" in refusal(path, script)
    assert "is empty" in refusal(path, b"")
    for data in (b"<!DOCTYPE html>" * 50, b"version https://git-lfs", bytes(300)):
        assert "torch.save" in refusal(path, data)
    plain = pickle.dumps({"a": 1}, protocol=2)
    assert "is a pickle, and not one that torch.save writes" in refusal(path, plain)
    for name in ("missing.pth", "folder.pt"):
        (path.parent / "folder.pt").mkdir(exist_ok=True)
        with pytest.raises(CnnvizError, match=name):
            load_weights(str(path.parent / name))


class Evil:
    """Does what its making says when it is unpickled."""

    def __init__(self, function, *arguments):
        self.making = function, arguments

    def __reduce__(self):
        return self.making


HARM = [
    Evil(os.system, "mkdir ran"),
    Evil(os.mkdir, "ran"),
    Evil(eval, "__import__('os').mkdir('ran')"),
    Evil(exec, "import os; os.mkdir('ran')"),
    Evil(subprocess.check_output, ["mkdir", "ran"]),
    Evil(pickle.loads, b"cposix\nmkdir\n(S'ran'\ntR."),
]


@pytest.mark.parametrize("evil", HARM)
def test_known_malicious_pickles_run_nothing(path, evil, monkeypatch):
    monkeypatch.chdir(path.parent)
    for protocol in range(6):
        data = pickle.dumps({"w": evil}, protocol)
        for wrapped in (archive(data, {}), older(data, {}), data):
            refusal(path, wrapped)
    assert not Path("ran").exists()
    pickle.loads(pickle.dumps(evil))  # noqa: S301 - so they would have run
    assert Path("ran").exists()


DOUBLED = b"\x80\2)" + b"2\x86" * 99 + b"."  # a tuple of two that are one, 99 times
SIXES = dumped({"w": tensor((6,))})
BAD = {
    "beyond its storage": (one(offset=1), "'w' (2, 3) reaches beyond its storage"),
    "strides beyond": (one(strides=(4, 1)), "reaches beyond its storage"),
    "larger than the file": (one(shape=(10**6, 3), strides=(0, 0)), "is larger than the file"),
    "of no array": (one(shape=(2**40, 2**40), strides=(0, 0)), "is larger than the file"),
    "a short storage": (one(count=7), "the storage of 'w' is missing or too short"),
    "no storage": (one(key="1"), "the storage of 'w' is missing or too short"),
    "negative": (one(offset=-1), "makes no sense"),
    "a negative stride": (one(strides=(-3, 1)), "makes no sense"),
    "half a number": (one(offset=0.5), "makes no sense"),
    "a huge number": (one(offset=10**70), "makes no sense"),
    "of 65 axes": (one(shape=(1,) * 65), "makes no sense"),
    "axes without strides": (one(strides=(1,)), "makes no sense"),
    "part of a storage": (one(view=(("1", 0, 3),)), "a storage is part of another one"),
    "twice": (archive(dumped({"a": {"b": tensor((6,))}, "a.b": tensor((6,))}), ONE), "'a.b' twice"),
    "no pickle": (archive(b"", {}), "pickle exhausted"),
    "cut in its pickle": (older(SIXES, {})[:99], "no newline found"),
    "cut in its numbers": (older(SIXES, {"0": (6, b"1234")}), "it ends after"),
    "counts too many": (older(SIXES, {"0": (2**62, b"")}), "it ends after"),
    "counts too few": (older(SIXES, {"0": (5, ONE["0"])}), "missing or too short"),
    "storages unheard of": (older(dumped({}), {"7": (1, b"1234")}), "makes no sense"),
    "a doubled version": (MAGIC[:15] + DOUBLED, "makes no sense"),
    "a doubled key": (MAGIC + dumped({}) + SIXES + dumped([DOUBLED[2:-1]]), "makes no sense"),
    "a long pickle": (archive(dumped(["x" * PICKLE_LIMIT]), {}), "is over 4,194,304"),
    "long pickles": (older(dumped(["x" * PICKLE_LIMIT]), {}), "are over 4,194,304 bytes"),
    "cut off": (one()[:-30], "File is not a zip file"),
    "no archive of ours": (b"PK\5\6" + bytes(18), "without data.pkl"),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_files(path, name):
    data, words = BAD[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert words in refusal(path, data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_packed_archives_are_refused(path):
    """A bomb of a thousandfold is one, too."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("net/data.pkl", dumped({"w": tensor((10**6,))}))
        file.writestr("net/data/0", bytes(4 * 10**6))
    assert "packed or encrypted" in refusal(path, path.read_bytes())


def test_members_that_are_not_where_the_archive_says(path):
    data = bytearray(one())
    at = data.index(b"PK\3\4", data.index(b"net/version"))  # of the storage
    data[at] = 0
    assert "'net/data/0' is not where the archive says" in refusal(path, data)
    data = bytearray(one())
    data[at + 28 : at + 30] = b"\xff\xff"  # what else stands before it
    assert "is not where the archive says" in refusal(path, data)


def test_every_truncation_is_noticed(path):
    for old in (False, True):
        whole = saved({"a": SIX, "b": SIX[:2]}, old=old)
        for length in range(len(whole)):
            refusal(path, whole[:length])


def test_a_file_that_shrinks(path):
    weights = read(path, one())
    path.write_bytes(b"gone")
    with pytest.raises(CnnvizError, match="it shrank to 4 bytes"):
        weights["w"]


@pytest.mark.parametrize("spaces", range(4))
def test_numbers_that_lie_well_are_not_copied(path, spaces):
    """The pickle's length decides where they lie."""
    name = "w" + " " * spaces
    weights = read(path, older(dumped({name: tensor((6,))}), {"0": (6, ONE["0"])}))
    numbers = weights.read(name)
    assert numbers.flags.aligned
    assert numbers.tolist() == SIX.tolist()
    copied = path.read_bytes().index(ONE["0"]) % 4 != 0
    assert np.shares_memory(numbers, weights.read(name)) != copied
