"""Weights from files: .npz archives read member by member, checked before anything is loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tokenize import TokenError

import numpy as np

from cnnviz.core.layers import ParamSpec
from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError

BOOKKEEPING = "num_batches_tracked"  # PyTorch's batch norm counts batches; inference does not care


class NpzWeights(Mapping[str, Tensor]):
    """The arrays of an .npz file, each read when asked for and widened to float32."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                self.shapes = {
                    name.removesuffix(".npy"): self._shape(archive, name) for name in names
                }
        except FileNotFoundError:
            raise CnnvizError(f"{path} does not exist", hint="check the path") from None
        except _UNREADABLE as error:
            raise CnnvizError(
                f"{path} is not a readable .npz file: {error}", hint="numpy.savez writes one"
            ) from None

    def _shape(self, archive: zipfile.ZipFile, name: str) -> Shape:
        with archive.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise ValueError(f"{name}: .npy version {version} is not known")
            shape, _, dtype = read(member)
        if dtype.kind not in "fiu" or any(length < 0 for length in shape):
            raise ValueError(f"{name}: {dtype} {shape} holds no weights")
        return tuple(shape)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(f"{name}.npy") as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
        except _UNREADABLE as error:
            raise CnnvizError(f"{self._path}: {name} cannot be read: {error}") from None
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            return np.ascontiguousarray(array, np.float32).reshape(array.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error,
               NotImplementedError, RuntimeError, SyntaxError, RecursionError, TypeError,
               MemoryError, TokenError)  # fmt: skip
"""What zipfile and numpy's header reader raise on broken or hostile archives."""


def load_weights(path: str) -> NpzWeights:
    """Open a weights file; its arrays are read when a stage needs them."""
    if Path(path).suffix.lower() != ".npz":
        raise RequestError(f"--weights {path} is not an .npz file", hint="numpy.savez writes one")
    return NpzWeights(path)


def check_weights(
    weights: NpzWeights, specs: Mapping[str, ParamSpec], optional: frozenset[str], path: str
) -> Params:
    """Return the weights if they are just what a pipeline needs.

    Parameters
    ----------
    weights : NpzWeights
        What the file holds.
    specs : Mapping[str, ParamSpec]
        What the pipeline needs, ``STAGE.weight`` and the like.
    optional : frozenset[str]
        Names the file may lack, such as those of chosen kernels.

    Raises
    ------
    CnnvizError
        Listing every name that is missing, unexpected or of another shape.
    """
    found = {n: s for n, s in weights.shapes.items() if not n.endswith(BOOKKEEPING)}
    faults = [
        f"{name} is missing {_by(spec.shape)}"
        for name, spec in specs.items()
        if name not in found and name not in optional
    ]
    faults += [
        f"{name} is {_by(found[name])}, not {_by(spec.shape)}"
        for name, spec in specs.items()
        if name in found and found[name] != spec.shape
    ]
    faults += [
        f"{name} {_by(shape)} has no stage" for name, shape in found.items() if name not in specs
    ]
    if faults:
        told = "; ".join(faults[:6]) + (f"; and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise CnnvizError(
            f"{path} does not fit the pipeline: {told}",
            hint="names are STAGE.weight, STAGE.bias; name stages with 'as'",
        )
    return weights


def _by(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
