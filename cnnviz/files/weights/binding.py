"""Which tensor of a file is which of a pipeline: by name, by name behind a prefix, by number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from cnnviz.core.layers import ParamSpec
from cnnviz.core.types import Shape
from cnnviz.errors import CnnvizError
from cnnviz.files.weights.stored import Weights, by, shown

BOOKKEEPING = ("num_batches_tracked", "n_averaged")
"""What PyTorch's batch norm and averaged models count in training: inference does not care."""
LISTED = 6  # tensors on either side of a mismatch
TRIED = 8  # prefixes, and Sequentials: a file can hold any number

Reading = tuple[str, Mapping[str, str]]
"""A way to name a file's tensors: what to say of it, and the file's names by the pipeline's."""


class Renamed(Weights):
    """Some tensors of a file under a pipeline's names for them."""

    def __init__(self, weights: Weights, names: Mapping[str, str], note: str) -> None:
        self.path, self.note = weights.path, note
        self._weights, self._names = weights, names
        self.stored = {name: weights.stored[theirs] for name, theirs in names.items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return a tensor's numbers as they are stored."""
        return self._weights.read(self._names[name])


def check_weights(
    weights: Weights, specs: Mapping[str, ParamSpec], optional: frozenset[str], path: str
) -> Weights:
    """Return the weights by the pipeline's names, if they are just what it needs.

    Where the file's names do not fit as they are, a prefix comes off, or a Sequential's numbers are
    taken in order; `note` then tells so.

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
        Listing what is needed and not found, beside what is found and not needed.
    """
    found = {n: s for n, s in weights.shapes.items() if not n.endswith(BOOKKEEPING)}
    needed = {name: spec.shape for name, spec in specs.items()}
    wanted = [name for name in needed if name not in optional] or list(needed)
    faults = list[tuple[dict[str, Shape], dict[str, str]]]()
    for note, names in _readings(list(found), wanted):
        held = {name: found[theirs] for name, theirs in names.items()}
        lacks = {
            name: shape
            for name, shape in needed.items()
            if (name in held or name not in optional) and held.get(name) != shape
        }
        besides = {name: names[name] for name, shape in held.items() if needed.get(name) != shape}
        if not lacks and not besides:
            return Renamed(weights, names, note) if note else weights
        faults.append((lacks, besides))
    lacks, besides = min(
        faults, key=lambda fault: len(fault[0]) + len(fault[1])
    )  # the first of equals
    sides = []
    if lacks:
        sides.append(f"it lacks {_listed(lacks)}")
    if besides:
        sides.append(f"no stage takes {_listed({n: found[n] for n in besides.values()})}")
    inner = {found[name][1:] for name in besides.values()}
    gray = [shape[2:] for shape in lacks.values() if shape[1:2] == (1,)]
    if any((3, *rest) in inner for rest in gray):
        hint = "the file was trained on colour: --color rgb"
    elif lacks.keys() != besides.keys():
        hint = "names are STAGE.weight, STAGE.bias; name stages with 'as'"
    else:
        hint = "they were trained in layers, or on pictures, of other sizes"
    raise CnnvizError(f"{path} does not fit the pipeline: {'; '.join(sides)}", hint=hint)


def _listed(shapes: Mapping[str, Shape]) -> str:
    texts = [f"{shown(name)} {by(shape)}" for name, shape in shapes.items()]
    more = len(texts) - LISTED
    return ", ".join(texts[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _readings(found: Sequence[str], wanted: Sequence[str]) -> Iterator[Reading]:
    """Yield the ways to name a file's tensors: as they are, without a prefix, by number."""
    yield "", {name: name for name in found}
    if not wanted:
        return
    known = set(found)
    # Whatever comes off stands before the first name that is needed, and before all others.
    before = [name.removesuffix(wanted[0]) for name in found if name.endswith(f".{wanted[0]}")]
    whole = [prefix for prefix in before if all(prefix + name in known for name in wanted)]
    for prefix in whole[:TRIED] or sorted(before, key=len)[:1]:
        inside = {name.removeprefix(prefix): name for name in found if name.startswith(prefix)}
        yield f"names are taken without {shown(prefix)!r}{_unused(found, inside)}", inside
    stages = list(dict.fromkeys(name.rpartition(".")[0] for name in wanted))
    numbered = [layers for layers in _sequentials(found) if len(layers) == len(stages)]
    for layers in numbered[:TRIED]:
        order = list(zip(sorted(layers), stages, strict=True))
        names = {
            f"{stage}.{leaf}": theirs
            for number, stage in order
            for leaf, theirs in layers[number].items()
        }
        told = [f"{'.'.join(map(str, number))} is {stage}" for number, stage in order[:LISTED]]
        told += ["…"] * (len(order) > LISTED)
        yield f"numbers are taken in order: {', '.join(told)}{_unused(found, names)}", names


def _sequentials(found: Sequence[str]) -> Iterable[dict[tuple[int, ...], dict[str, str]]]:
    """Return the names ``PREFIX.NUMBERS.LEAF`` of each prefix, by numbers and leaf."""
    groups = defaultdict[str, dict[tuple[int, ...], dict[str, str]]](dict)
    for name in found:
        *stem, leaf = name.split(".")
        numbers = list[int]()
        while stem and stem[-1].isdecimal() and len(stem[-1]) < 10:
            numbers.insert(0, int(stem.pop()))
        if numbers:
            groups[".".join(stem)].setdefault(tuple(numbers), {})[leaf] = name
    return groups.values()


def _unused(found: Sequence[str], names: Mapping[str, str]) -> str:
    left = len(found) - len(names)
    return f"; {left:,} other tensors are not used" if left else ""
