"""The .safetensors format: a JSON header that says where each tensor lies, then the numbers.

::

    8 bytes          N bytes                                    the rest
    N, little end    {"conv1.weight": {"dtype": "F32",          all tensors, one after another,
    first            "shape": [8, 3, 5, 5],                     without gaps, rows first,
                     "data_offsets": [0, 2400]}, …}             little end first

Offsets count from the end of the header: begin, and end (the first byte no longer the tensor's).
``__metadata__`` in the header is no tensor. The format is described at
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.types import Params, Shape
from cnnviz.errors import CnnvizError
from cnnviz.files.weights.stored import (
    KINDS,
    RESERVED,
    Kind,
    MappedWeights,
    Stored,
    by,
    byte_count,
    shown,
)

LENGTH_BYTES = 8
HEADER_LIMIT = 4 * 2**20
"""Bytes of header: 40,000 tensors. The format allows 25 times more, which could be JSON that takes
seconds and gigabytes to read."""


class Entry(NamedTuple):
    """What the header says of a tensor."""

    shape: Shape
    kind: Kind
    begin: int
    end: int


class SafetensorsWeights(MappedWeights):
    """The tensors of a .safetensors file."""

    def find(self, file: BinaryIO) -> Mapping[str, Stored]:
        """Read the header, and map the file."""
        size = os.fstat(file.fileno()).st_size
        header = self._header(file, size)
        self._start = LENGTH_BYTES + len(header)  # of the numbers
        self._entries = self._read_entries(header, size - self._start)
        self.map(file)
        return {name: Stored(entry.shape, entry.kind.name) for name, entry in self._entries.items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return a tensor's numbers, where they lie in the file."""
        entry = self._entries[name]
        return self.numbers(entry.shape, entry.kind, self._start + entry.begin)

    def _header(self, file: BinaryIO, size: int) -> bytes:
        """Return the header's bytes, if there are as many as the file says, and not too many."""
        start = file.read(LENGTH_BYTES)
        if len(start) < LENGTH_BYTES:
            raise self.broken(f"it ends after {len(start)} bytes")
        length = int.from_bytes(start, "little")
        if length > size - LENGTH_BYTES:
            raise self.broken(f"it claims a header of {length:,} bytes, and has {size:,} in all")
        if length > HEADER_LIMIT:
            raise self.broken(f"its header of {length:,} bytes is over {HEADER_LIMIT:,}")
        header = file.read(length)
        if len(header) < length or not header.startswith(b"{"):
            raise self.broken("its header is not a JSON object")
        return header

    def _read_entries(self, header: bytes, room: int) -> dict[str, Entry]:
        """Return what the header says of each tensor, if they fill a room of so many bytes."""
        try:
            document = json.loads(header.decode("utf-8"), object_pairs_hook=self._unique)
        except CnnvizError:
            raise
        except RecursionError:
            raise self.broken("its header is nested too deeply") from None
        except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
            raise self.broken(f"its header is not JSON: {error}") from None
        entries = {
            name: self._entry(shown(name), entry, room)
            for name, entry in document.items()
            if name != RESERVED
        }
        self._check_layout(entries, room)
        return entries

    def _unique(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """Return a JSON object as a dict; of two equal names it would keep only one."""
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise self.broken(f"its header names {shown(twice)!r} twice")
        return found

    def _entry(self, where: str, entry: Any, room: int) -> Entry:
        """Check what the header says of one tensor, by itself."""
        if not isinstance(entry, Mapping) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
            raise self.broken(f"{where!r} lacks dtype, shape or data_offsets")
        name, sizes, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        kind = KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise self._unknown_kind(where, name)
        if not _are_sizes(sizes):
            raise self.broken(f"{where!r} has a shape that is no list of sizes")
        if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= room:
            raise self.broken(f"{where!r} has data_offsets that are no begin and end in the file")
        (begin, end), shape = offsets, tuple(sizes)
        needed = byte_count(shape, kind.dtype.itemsize)
        if needed is None:
            raise self.broken(f"{where!r} has a shape no array can have")
        if needed != end - begin:
            raise self.broken(
                f"{where!r} {by(shape)} of {name} takes {needed:,} bytes, "
                f"and its data_offsets give it {end - begin:,}"
            )
        return Entry(shape, kind, begin, end)

    def _unknown_kind(self, where: str, name: Any) -> CnnvizError:
        if not isinstance(name, str):
            return self.broken(f"{where!r} has a dtype that is no name")
        return CnnvizError(
            f"{self.path}: {where!r} is of type {shown(name)!r}, which is not read",
            hint=f"save it as one of {', '.join(KINDS)}",
        )

    def _check_layout(self, entries: Mapping[str, Entry], room: int) -> None:
        """Check that the tensors fill the room: no overlap, no gap, nothing after the last."""
        before, last = "the header", 0
        for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
            if entry.begin != last:
                fault = "overlaps" if entry.begin < last else "leaves a gap after"
                raise self.broken(f"{shown(name)!r} {fault} {shown(before)!r}")
            before, last = name, entry.end
        if last != room:
            raise self.broken(f"its tensors take {last:,} bytes, and {room:,} follow the header")


def _are_sizes(value: Any) -> bool:
    """Whether a JSON value is a list of whole numbers from 0; true and false are none."""
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def write_safetensors(file: BinaryIO, params: Params) -> None:
    """Write float32 tensors, sorted by name; the same tensors give the same bytes.

    The bytes are those that the reference implementation writes.
    """
    names = sorted(params)
    ends = [0]
    for name in names:
        ends.append(ends[-1] + params[name].nbytes)
    header = {
        name: {"dtype": "F32", "shape": list(params[name].shape), "data_offsets": offsets}
        for name, offsets in zip(names, pairwise(ends), strict=True)
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)  # so that the numbers are aligned
    file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
    for name in names:
        file.write(np.asarray(params[name], "<f4", order="C").data)
