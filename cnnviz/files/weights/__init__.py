"""Weights in files: ``STAGE.weight``, ``STAGE.bias`` and so on, read when a stage needs them.

Formats are chosen by the file's suffix: ``.safetensors``, NumPy's ``.npz``, PyTorch's ``.pth`` and
``.pt``. A file may come from anyone, so all it says of itself is checked before memory is taken for
it, nothing in it is ever run, and what is wrong with it is a `CnnvizError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cnnviz.core.types import Params
from cnnviz.errors import RequestError
from cnnviz.files.outputs import write_whole
from cnnviz.files.weights.binding import check_weights
from cnnviz.files.weights.npz import NpzWeights, write_npz
from cnnviz.files.weights.pytorch import PytorchWeights
from cnnviz.files.weights.safetensors import SafetensorsWeights, write_safetensors
from cnnviz.files.weights.stored import Weights, check_writable

__all__ = ["FORMATS", "Weights", "check_weights", "load_weights", "save_weights", "weights_writer"]


class Format(NamedTuple):
    """How a kind of file is opened and written."""

    open: Callable[[str], Weights]
    write: Callable[[BinaryIO, Params], None] | None


FORMATS = {
    ".safetensors": Format(SafetensorsWeights, write_safetensors),
    ".npz": Format(NpzWeights, write_npz),
    ".pth": Format(PytorchWeights, None),
    ".pt": Format(PytorchWeights, None),
}
"""The formats by suffix."""
WRITERS = {suffix: form.write for suffix, form in FORMATS.items() if form.write is not None}


def load_weights(path: str) -> Weights:
    """Open a weights file; its tensors are read when a stage needs them.

    Parameters
    ----------
    path : str
        A ``.safetensors``, ``.npz``, ``.pth`` or ``.pt`` file.

    Returns
    -------
    Weights
        The tensors by name, as float32, and their ``shapes``.

    Raises
    ------
    RequestError
        If the suffix is none of them.
    CnnvizError
        If the file cannot be read, or is not what its suffix says.
    """
    hint = "torch.save, safetensors and numpy.savez write what --weights reads"
    return FORMATS[_suffix(path, FORMATS, hint=hint)].open(path)


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
    write = WRITERS[_suffix(path, WRITERS, hint="name it so that it ends in one of them")]
    check_writable(params)
    return lambda file: write(file, params)


def _suffix(path: str | Path, among: Iterable[str], *, hint: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in among:
        *others, last = among
        raise RequestError(
            f"{str(path)!r} does not end in {', '.join(others)} or {last}", hint=hint
        )
    return suffix
