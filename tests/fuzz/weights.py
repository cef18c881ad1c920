"""Broken weights files: .safetensors, and .npz as an archive and as arrays in a sound one."""

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
from tests.fuzz.fuzzing import Target, mutate
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


def read_everything(path: str) -> None:
    """Read every tensor of a file, and hold it to what the file promised."""
    weights = load_weights(path)
    shapes = weights.shapes
    for name, tensor in weights.items():
        assert tensor.dtype == np.float32
        assert tensor.shape == shapes[name]
        tensor.tobytes()  # touches every byte


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
