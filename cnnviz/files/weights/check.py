"""Do these weights fit this pipeline? Names and shapes against names and shapes."""

from __future__ import annotations

from collections.abc import Mapping

from cnnviz.core.layers import ParamSpec
from cnnviz.core.types import Params
from cnnviz.errors import CnnvizError
from cnnviz.files.weights.base import Weights, by, shown

BOOKKEEPING = "num_batches_tracked"  # PyTorch's batch norm counts batches; inference does not care


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
        told = "; ".join(faults[:6]) + (f"; and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise CnnvizError(
            f"{path} does not fit the pipeline: {told}",
            hint="names are STAGE.weight, STAGE.bias; name stages with 'as'"
            if found.keys() ^ (specs.keys() - optional)
            else "they were made for pictures of another size or number of channels",
        )
    return weights
