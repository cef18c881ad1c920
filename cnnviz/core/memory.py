"""Which tensors of a pipeline are alive at once, and whether there is memory for them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from cnnviz.core.node import INPUT, Node
from cnnviz.core.types import Samples, Tensor
from cnnviz.errors import CnnvizError

_LIMIT_FILES = ("memory.max", "memory.limit_in_bytes")  # of control groups, version 2 and 1


def readers_of(nodes: Iterable[Node]) -> Counter[str]:
    """Return how often each stage's output, and the input, is read."""
    return Counter(name for node in nodes for name in node.inputs)


def forgotten(node: Node, readers: Counter[str]) -> list[str]:
    """Count `node`'s reading off and return the tensors that are not read again."""
    for name in node.inputs:
        readers[name] -= 1
    gone = [name for name in dict.fromkeys(node.inputs) if not readers[name]]
    return gone if readers[node.name] else [*gone, node.name]


def peak_of(nodes: Iterable[Node], size: Mapping[str, int]) -> int:
    """Return the largest sum of sizes alive at once, given that of the input and of each stage."""
    nodes = list(nodes)
    readers = readers_of(nodes)
    live = peak = size[INPUT]
    for node in nodes:
        live += size[node.name]
        peak = max(peak, live)
        live -= sum(size[name] for name in forgotten(node, readers))
    return peak


def check_memory(needed: int) -> None:
    """Raise CnnvizError if so many bytes are more than this machine has, or this process may."""
    available, said = min(_rooms(), default=(needed, ""))
    if needed > available:
        raise CnnvizError(
            f"maps and weights alive at once take {needed / 2**30:,.2f} GiB, "
            + said.format(f"{max(available, 0) / 2**30:,.2f} GiB"),
            hint="resize the image (--resize), or use a stride or fewer filters",
        )


def _rooms() -> Iterator[tuple[int, str]]:
    """Yield what there is of memory, and what is so large, in words; not every system says."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        yield page * os.sysconf("SC_PHYS_PAGES"), "this machine has {}"
        import resource
    except (AttributeError, ImportError, OSError, ValueError):
        return
    try:  # of a process's seven sizes in pages: all, what is in memory, and the sixth, its data
        taken = [page * int(size) for size in Path("/proc/self/statm").read_text().split()]
    except OSError:
        taken = [0] * 7
    for limit, used in ((resource.RLIMIT_AS, taken[0]), (resource.RLIMIT_DATA, taken[5])):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            yield soft - used, "this process may have {} more"
    for most in group_limits():
        yield most - taken[1], "this process may have {} more"


def group_limits(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """Yield how many bytes each of Linux's control groups that hold this process may have.

    `groups` lists them, in a version of two, and files below `root` hold their limits. In a
    container its own group is the root.
    """
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top = root / "memory" if kinds else root
        for folder in (group := top / path.lstrip("/"), *group.parents):
            with suppress(OSError, ValueError):  # not there, or "max"
                yield int((folder / _LIMIT_FILES[bool(kinds)]).read_text())
            if folder == top:
                break


class Live:
    """The tensors that some later stage still reads."""

    def __init__(self, x: Tensor | Samples, nodes: Iterable[Node]) -> None:
        self._readers = readers_of(nodes)
        self._image = x.values if isinstance(x, Samples) else x
        self._tensors: dict[str, Tensor | Samples] = {INPUT: x}

    def tensor(self, name: str, *, samples: bool) -> Tensor:
        """Return a tensor, made of samples where the reader does not take them."""
        found = self._tensors[name]
        if isinstance(found, Samples) and not samples:
            found = self._tensors[name] = found.tensor()
        return found  # type: ignore[return-value]  # Samples only where the reader takes them

    def is_last(self, node: Node) -> bool:
        """Whether only `node` reads its one input, and memory that the input shares.

        Layers such as dropout hand their input on as it is; and the image is the caller's.
        """
        (name,) = node.inputs
        own = self._tensors[name]
        if isinstance(own, Samples) or self._readers[name] > 1 or not own.flags.c_contiguous:
            return False
        others = [tensor for key, tensor in self._tensors.items() if key != name]
        arrays = [other for other in others if not isinstance(other, Samples)]
        return not any(np.may_share_memory(own, other) for other in (self._image, *arrays))

    def add(self, node: Node, output: Tensor) -> None:
        """Keep a node's output for its readers, and forget what it was the last to read."""
        self._tensors[node.name] = output
        for name in forgotten(node, self._readers):
            del self._tensors[name]
