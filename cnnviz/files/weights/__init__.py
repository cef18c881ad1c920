"""Weights in files: ``STAGE.weight``, ``STAGE.bias`` and so on, read when a stage needs them.

Two formats, chosen by the file's suffix: ``.safetensors`` and NumPy's ``.npz``. A file may come
from anyone, so all it says of itself is checked before memory is taken for it, nothing is ever
unpickled, and what is wrong with it is a `CnnvizError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cnnviz.core.layers import ParamSpec
from cnnviz.core.types import Params
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.outputs import write_whole
from cnnviz.files.weights.npz import NpzWeights, write_npz
from cnnviz.files.weights.safetensors import SafetensorsWeights, write_safetensors
from cnnviz.files.weights.stored import Weights, by, check_writable, shown

__all__ = ["FORMATS", "Weights", "check_weights", "load_weights", "save_weights", "weights_writer"]


class Format(NamedTuple):
    """How a kind of file is opened and written."""

    open: Callable[[str], Weights]
    write: Callable[[BinaryIO, Params], None]


FORMATS = {
    ".safetensors": Format(SafetensorsWeights, write_safetensors),
    ".npz": Format(NpzWeights, write_npz),
}
"""The formats by suffix."""

BOOKKEEPING = "num_batches_tracked"  # PyTorch's batch norm counts batches; inference does not care


def load_weights(path: str) -> Weights:
    """Open a weights file; its tensors are read when a stage needs them.

    Parameters
    ----------
    path : str
        A ``.safetensors`` or ``.npz`` file.

    Returns
    -------
    Weights
        The tensors by name, as float32, and their ``shapes``.

    Raises
    ------
    RequestError
        If the suffix is neither.
    CnnvizError
        If the file cannot be read, or is not what its suffix says.
    """
    return _format(path, hint="safetensors and numpy.savez write what --weights reads").open(path)


def check_weights(
    weights: Weights, specs: Mapping[str, ParamSpec], optional: frozenset[str], path: str
) -> Params:
    """Return the weights if they are just what a pipeline needs.

    Parameters
    ----------
    weights : Weights
        What the file holds.
    specs : Mapping[str, ParamSpec]
        What the pipeline needs, ``STAGE.weight`` and the like.
    optional : frozenset[str]
        Names the file may lack, such as those of chosen kernels.
    path : str
        The file, for the message.

    Raises
    ------
    CnnvizError
        Listing every name that is missing, unexpected or of another shape.
    """
    found = {n: s for n, s in weights.shapes.items() if not n.endswith(BOOKKEEPING)}
    faults = [
        f"{name} is missing {by(spec.shape)}"
        for name, spec in specs.items()
        if name not in found and name not in optional
    ]
    faults += [
        f"{name} is {by(found[name])}, not {by(spec.shape)}"
        for name, spec in specs.items()
        if name in found and found[name] != spec.shape
    ]
    faults += [
        f"{shown(name)} {by(shape)} has no stage"
        for name, shape in found.items()
        if name not in specs
    ]
    if faults:
        listed = "; ".join(faults[:6]) + (
            f"; and {len(faults) - 6} more" if len(faults) > 6 else ""
        )
        raise CnnvizError(
            f"{path} does not fit the pipeline: {listed}",
            hint="names are STAGE.weight, STAGE.bias; name stages with 'as'"
            if found.keys() ^ (specs.keys() - optional)
            else "they were made for pictures of another size or number of channels",
        )
    return weights


def save_weights(path: str | Path, params: Params) -> str:
    """Write tensors to a file, which appears whole or not at all.

    What is written is read back bit for bit, and equal tensors make equal files: names are sorted
    and no time is kept. An existing file is replaced.

    Parameters
    ----------
    path : str or Path
        Its suffix, ``.safetensors`` or ``.npz``, chooses the format.
    params : Params
        float32 tensors by name, of any shape.

    Returns
    -------
    str
        The path.

    Raises
    ------
    CnnvizError
        If the file cannot be written, or a name or a type has no place in it.
    """
    return write_whole(Path(path), weights_writer(path, params))


def weights_writer(path: str | Path, params: Params) -> Callable[[BinaryIO], None]:
    """Return what writes tensors into an open file, in the format of a path's suffix."""
    chosen = _format(path, hint="name it so that it ends in one of them")
    check_writable(params)
    return lambda file: chosen.write(file, params)


def _format(path: str | Path, *, hint: str) -> Format:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise RequestError(f"{str(path)!r} is neither a .safetensors nor an .npz file", hint=hint)
    return FORMATS[suffix]
