"""Weights from files: .npz archives read member by member, checked before anything is loaded."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from cnnviz.core.layers import ParamSpec
from cnnviz.core.types import Params, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.matrices import NpyHeader, npy_header, npy_values

BOOKKEEPING = "num_batches_tracked"  # PyTorch's batch norm counts batches; inference does not care


class NpzWeights(Mapping[str, Tensor]):
    """The arrays of an .npz file, each read when asked for and widened to float32."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._headers = {
                    name.removesuffix(".npy"): self._header(archive, name)
                    for name in archive.namelist()
                    if name.endswith(".npy")
                }
        except FileNotFoundError:
            raise CnnvizError(f"{path} does not exist", hint="check the path") from None
        except _UNREADABLE as error:
            raise self._unreadable(error) from None

    @property
    def shapes(self) -> dict[str, Shape]:
        """The arrays' shapes by name."""
        return {name: header.shape for name, header in self._headers.items()}

    def _header(self, archive: zipfile.ZipFile, name: str) -> NpyHeader:
        with archive.open(name) as member:
            return npy_header(member, f"{self._path}: {name}")

    def _unreadable(self, error: Exception) -> CnnvizError:
        return CnnvizError(
            f"{self._path} is not a readable .npz file: {error}", hint="numpy.savez writes one"
        )

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._headers:
            raise KeyError(name)
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(f"{name}.npy") as member:
                where = f"{self._path}: {name}"
                array = npy_values(member, npy_header(member, where), where)
        except _UNREADABLE as error:
            raise self._unreadable(error) from None
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite
            return np.ascontiguousarray(array, np.float32).reshape(array.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error,
               lzma.LZMAError, NotImplementedError, RuntimeError)  # fmt: skip
"""What zipfile raises on broken, encrypted or hostile archives."""


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
