"""Broken weights files: of each format's bytes, and of what lies in a sound file of the format."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnnviz.files.weights import load_weights, save_weights
from tests.files.weights.pickles import Call, Name, archive, dumped, older, saved, tensor
from tests.fuzz.fuzzing import EDGES, Target, mutate
from tests.oracles import noise

JSON_WORDS = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"-", b"null", b"true", b"NaN", b"\\u0000",
    b"\\ud800", b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__":{},', b'"F32"',
    b'"BF16"', b'"F8_E4M3"', b'"I64"', b'"BOOL"', b"[0,0]", b"[0]", b"[]", b"[" * 5000,
    b'{"a":' * 2000, b"[4611686018427387904,4,0]", b"\xff", b"\xef\xbb\xbf", b" " * 9,
)  # fmt: skip
ZIP_WORDS = (
    b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08",
    b"\1\0\x10\0" + b"\xff" * 16, b"\xff\xff\xff\xff", b"\xff\xff", b"\0\0", b"\x08\0",
    b"\x0c\0", b"\x0e\0", b"a.npy", b".npy", b"\x93NUMPY", b"..", b"/", b"\0",
)  # fmt: skip
NPY_WORDS = (
    b"{", b"}", b"(", b")", b"'", b",", b":", b"-", b"L", b"True", b"False", b"None", b"'descr'",
    b"'shape'", b"'fortran_order'", b"'<f4'", b"'>f8'", b"'|O'", b"'<f2'", b"'|b1'", b"'<U9'",
    b"'<i8'", b"'<c8'", b"()", b"(0,)", b"(" + b"1," * 70 + b")", b"(4611686018427387904,4,0)",
    b"\x93NUMPY", b"\n", b"\0", b"\xff", b"f'{0}'", b"__import__('os').abort()",
)  # fmt: skip

PICKLE_WORDS = (
    *(bytes([code]) for code in b"()]}.0123NQRabehjloqrstu\x81\x85\x86\x87\x88\x8f\x90\x91\x93"),
    b"\x94", b"\x80\2", b"\x80\5", b"\x80\xff", b"\x95\xff\0\0\0\0\0\0\0", b"K\0", b"h\0", b"q\0",
    b"J\xff\xff\xff\xff", b"r\xff\xff\xff\xff", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\0",
    b"\x8b\xff\xff\xff\x7f", b"G" + b"\x7f" * 8, b"X\xff\xff\xff\xff", b"X\0\0\0\0",
    b"X\1\0\0\x000", b"\x8c\7storage", b"\x8e" + b"\xff" * 8, b"U\1a", b"S'a'\n", b"I01\n",
    b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n", b"ctorch\nfloat16\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_tensor_v3\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nSize\n", b"ctorch.storage\nUntypedStorage\n",
    b"c__builtin__\nset\n", b"cposix\nmkdir\n", b"cbuiltins\neval\n", b"iposix\nmkdir\n",
    b"\x8c\5posix\x8c\5mkdir\x93", b"(" * 500, b"](" * 500, b"2\x86" * 99,
)  # fmt: skip

LIES = (
    None, True, 0, -1, 2**64, 10**400, 1e308, "", "F32", "F64", "I8", "U16", "BF16", "f32", "F4",
    [], [0], [0, 0], [0, 4], [2**62, 2**62, 0], [10**12], [1] * 65, [[]], {}, ["F32"], "0",
)  # fmt: skip


def targets(folder: Path) -> Iterator[Target]:
    """Yield the readers, whose files are written into a folder."""
    params = {
        "conv1.weight": noise(1, 4, 3, 3, 3),
        "conv1.bias": noise(2, 4),
        "fc.weight": noise(3, 0, 4),
        "scale": np.array(2, np.float32),
    }
    yield _safetensors(folder, params)
    yield _npz(folder, params)
    yield _pytorch(folder, params)


def read_everything(path: str) -> None:
    """Read every tensor of a file, and hold it to what the file promised."""
    weights = load_weights(path)
    shapes = weights.shapes
    for name, value in weights.items():
        assert value.dtype == np.float32
        assert value.shape == shapes[name]
        value.tobytes()  # touches every byte


def lie(rng: random.Random, header: dict[str, Any]) -> dict[str, Any]:
    """Change what a header says, so that it is still the JSON of a header."""
    for _ in range(rng.randint(1, 3)):
        entry = header[rng.choice(list(header))]
        sizes = entry.get(rng.choice(("shape", "data_offsets")))
        match rng.randrange(4):
            case 0:
                entry[rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice(LIES)
            case 1 if isinstance(sizes, list) and sizes:
                size = rng.choice((0, 1, 2, 4, 8, -4, 2**32, 2**62, -(2**63), 0.5))
                sizes[rng.randrange(len(sizes))] = size
            case 2 if isinstance(sizes, list):
                sizes.insert(rng.randint(0, len(sizes)), rng.choice((0, 1, 2**40, -1)))
            case 3:
                header[rng.choice(("x", *header))] = dict(header[rng.choice(list(header))])
    return header


def _safetensors(folder: Path, params: dict[str, np.ndarray]) -> Target:
    path = folder / "w.safetensors"
    save_weights(path, params)
    first = path.read_bytes()
    header = (
        b'{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},'
        b'"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]},'
        b'"c":{"dtype":"BOOL","shape":[3],"data_offsets":[16,19]}}'
    )
    second = len(header).to_bytes(8, "little") + header + bytes(range(19))

    def repack(rng: random.Random) -> bytes:
        """Break the header alone, or what it says, and have its length be right again."""
        data = rng.choice((first, second))
        size = 8 + int.from_bytes(data[:8], "little")
        if rng.random() < 0.5:
            text = bytes(mutate(rng, data[8:size], target))
        else:
            text = json.dumps(lie(rng, json.loads(data[8:size]))).encode()
        return len(text).to_bytes(8, "little") + text + data[size:]

    target = Target(".safetensors", path, (first, second), JSON_WORDS, read_everything, repack)
    return target


def _npz(folder: Path, params: dict[str, np.ndarray]) -> Target:
    path = folder / "w.npz"
    save_weights(path, params)
    stored = path.read_bytes()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **params, half=np.ones(3, np.float16), long=np.ones((2, 2), ">i8"))
    members = []
    for array in (
        params["conv1.weight"],
        np.asfortranarray(np.ones((3, 2))),
        np.zeros((0, 2), bool),
    ):
        member = io.BytesIO()
        np.save(member, array)
        members.append(member.getvalue())

    def repack(rng: random.Random) -> bytes:
        """Break one array and pack it soundly, for a checksum guards what is in an archive."""
        words = Target("", path, (), NPY_WORDS, read_everything)
        archive_bytes = io.BytesIO()
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(archive_bytes, "w", method) as archive:
            archive.writestr("a.npy", bytes(mutate(rng, rng.choice(members), words, most=3)))
            archive.writestr("b.npy", members[0])
        return archive_bytes.getvalue()

    return Target(".npz", path, (stored, buffer.getvalue()), ZIP_WORDS, read_everything, repack)


def _pytorch(folder: Path, params: dict[str, np.ndarray]) -> Target:
    path, storage = folder / "w.pth", {"0": bytes(range(96))}
    views = dumped(
        {
            "state_dict": {
                "a": tensor((2, 3), strides=(1, 2), kind="BFloat16", count=48),
                "b": tensor((4, 5), strides=(0, 1), offset=3, count=24),
                "c": Call(Name("torch._utils._rebuild_parameter"), (tensor((0, 2)), True, {})),
            },
            "list": [1, 2.5, None, (True, "x"), Call(Name("torch.Size"), ((1, 2),))],
        }
    )
    forms = (saved(params), saved(params, old=True), archive(views, storage, byteorder=b"big"))

    def repack(rng: random.Random) -> bytes:
        """Break a pickle, or make one of instructions at random, in a file that is sound."""
        match rng.randrange(3):
            case 0:
                pickle = bytes(mutate(rng, views, words))
            case 1:
                pickle = dumped(_wrong(rng))
            case _:
                steps = rng.choices(PICKLE_WORDS, k=rng.randrange(40))
                pickle = b"\x80\2" + b"".join(steps) + b"."
        if rng.random() < 0.5:
            return archive(pickle, storage)
        return older(pickle, {"0": (rng.choice((24, 48, 96, *EDGES[:-4])), storage["0"])})

    words = Target("", path, (), PICKLE_WORDS, read_everything)
    return Target(".pth", path, forms, PICKLE_WORDS + ZIP_WORDS, read_everything, repack)


def _wrong(rng: random.Random, depth: int = 0) -> Any:
    """Return a checkpoint at random, some of whose tensors have sizes that cannot be."""
    numbers = (0, 1, 2, 3, 4, 5, 6, 24, 2**31, 2**62, 2**63, -1, 0.5, None, "1", 10**30)
    few = numbers[:7]
    match rng.randrange(6) if depth < 5 else 0:
        case 0 | 1:
            axes = rng.randrange(4)
            made = tensor(
                rng.choices(few, k=axes),
                rng.choice("0001"),
                strides=rng.choices(few, k=axes),
                offset=rng.choice(few),
                count=24,
                kind=rng.choice(("Float", "Float", "Half", "Double", "Bool", "QInt8")),
                view=rng.choice(((), (None,), (("1", 0, 2),))),
            )
            if rng.random() < 0.5:
                return made
            arguments = list(made.arguments)
            arguments[rng.randrange(6)] = rng.choice(
                (*numbers, (1, 2), (2**62,) * 3, (1,) * 70, [])
            )
            return Call(made.function, tuple(arguments))
        case 2 | 3:
            keys = rng.choices((*"abc", "weight", 1, 2**80, None, "a.b"), k=rng.randrange(5))
            return {key: _wrong(rng, depth + 1) for key in keys}
        case 4:
            return [_wrong(rng, depth + 1) for _ in range(rng.randrange(4))]
    return Call(Name("collections.OrderedDict"), (_wrong(rng, depth + 1),))
