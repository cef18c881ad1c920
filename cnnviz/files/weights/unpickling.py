"""PyTorch's pickles: tensors, dicts, lists and numbers; nothing in them runs.

A pickle is a program for a small machine with a stack. The standard library's `pickletools`
decodes it, and this file carries out what checkpoints consist of, with classes of its own: no name
in a pickle is looked up in Python. Each instruction takes little time and memory, whatever the
ones before it made, and there are only so many.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pickletools import genops
from typing import IO, Any

from cnnviz.core.types import Shape
from cnnviz.files.weights.stored import KINDS, MOST_AXES, MOST_BYTES, Kind, shown

NEWEST = 5  # protocol
MOST_STEPS = 2**19  # of one pickle: those of 14,000 tensors, taken in a second
MOST_TENSORS = 40_000
MOST_ARGUMENTS = 8
DEEPEST = 32  # containers within each other
LONGEST = 1000  # characters of a name


class UnknownGlobalError(ValueError):
    """A pickle asks for something that is neither a tensor nor a plain container."""

    def __init__(self, name: str, *, whole: bool) -> None:
        super().__init__(name)
        self.name = name
        self.whole = whole  # it is what the pickle is of, not something within it


class NewerProtocolError(ValueError):
    """A pickle is of a protocol that this file does not know."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that lie together elsewhere in the file, by the name of their place."""

    key: str
    kind: Kind
    count: int

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        return self.count * self.kind.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Strided:
    """A tensor: where in a storage its numbers lie; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: Shape
    strides: tuple[int, ...]
    kind: Kind


@dataclass(slots=True)
class Pairs:
    """A dict, as the list of its items: keys of a stranger's choice need not be hashed."""

    items: list[Any]


def tensors(root: object) -> dict[str, Strided]:
    """Return the tensors in nested containers, by the keys that lead to them, joined by dots.

    A container that stands in several places is looked into once. ValueError and TypeError tell
    that they are none that PyTorch writes.
    """
    found, seen = dict[str, Strided](), set[int]()
    for name, tensor in _walk(root, (), seen):
        if name in found:
            raise ValueError(f"it holds {shown(name)!r} twice")
        if len(found) == MOST_TENSORS:
            raise ValueError(f"it holds over {MOST_TENSORS:,} tensors")
        if len(name) > LONGEST:
            raise ValueError(f"it names a tensor with {len(name):,} characters")
        found[name] = tensor
    return found


def _walk(item: object, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, Strided]]:
    if isinstance(item, Strided):
        yield ".".join(path), item
    if not isinstance(item, Pairs | list | tuple):
        return
    inside = item.items if isinstance(item, Pairs) else item
    if id(inside) in seen:
        return
    seen.add(id(inside))
    if len(path) == DEEPEST:
        raise ValueError(f"it is nested over {DEEPEST} times")
    for key, value in inside if isinstance(item, Pairs) else enumerate(inside):
        if isinstance(value, Strided | Pairs | list | tuple):
            called = str(key) if isinstance(key, str | int) else type(key).__name__
            yield from _walk(value, (*path, called), seen)


def unpickle(file: IO[bytes], storages: dict[str, Storage] | None = None) -> Any:
    """Read one pickle from a file, up to its end: Pairs, lists, tuples, tensors, numbers, text.

    The storages that it speaks of, whether or not their tensors are kept, go into `storages`.

    Raises
    ------
    UnknownGlobalError
        If it asks for anything else.
    NewerProtocolError
        If it is of a protocol beyond 5.
    ValueError, TypeError
        If it is no pickle, makes no sense, or takes too many steps.
    """
    machine = _Machine({} if storages is None else storages)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in text
            for step, (opcode, argument, _) in enumerate(genops(file)):
                if step == MOST_STEPS:
                    raise ValueError(f"its pickle takes over {MOST_STEPS:,} steps")
                if opcode.name == "STOP":
                    break
                machine.do(opcode.name, argument)
        return machine.stack.pop()
    except (IndexError, KeyError) as error:
        raise TypeError(f"its stack ends: {error}") from None


class _Machine:
    """The stack, with the older ones below its marks, and what was put aside."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _ARGUMENT:
            self.push(argument)
        elif name in _CONSTANT:
            self.push(_CONSTANT[name])
        elif (action := _ACTIONS.get(name)) is not None:
            action(self, argument)
        else:
            raise ValueError(f"its pickle does {name}, which PyTorch's do not")

    def push(self, item: Any) -> None:
        self.stack.append(item)

    def proto(self, argument: int) -> None:
        if argument > NEWEST:
            raise NewerProtocolError(f"{argument}")

    def mark(self, _: None) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def popped(self, count: int) -> tuple[Any, ...]:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise IndexError
        del self.stack[-count:]
        return items

    def extend(self, items: Sequence[Any]) -> None:
        """Put items into the list on the stack."""
        if not isinstance(self.stack[-1], list):
            raise TypeError
        self.stack[-1].extend(items)

    def set_items(self, items: Sequence[Any]) -> None:
        """Put keys and values into the dict on the stack."""
        if not isinstance(self.stack[-1], Pairs) or len(items) % 2:
            raise TypeError
        self.stack[-1].items.extend(zip(items[::2], items[1::2], strict=False))

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def find(self, name: str) -> None:
        """Push what a name of another program means here."""
        known = name.replace("__builtin__", "builtins").replace("torch.cuda.", "torch.")
        if known not in _KNOWN:
            raise UnknownGlobalError(name, whole=not self.stack and not self.marked)
        self.push(_KNOWN[known])

    def call(self, _: None) -> None:
        """Call one of this file's functions: nothing else that can be called gets here."""
        function, arguments = self.popped(2)
        if not callable(function) or not isinstance(arguments, tuple):
            raise TypeError
        if len(arguments) > MOST_ARGUMENTS:  # each of many calls would copy them
            raise TypeError
        self.push(function(*arguments))

    def load_storage(self, _: None) -> None:
        where = self.stack.pop()
        if not isinstance(where, tuple) or len(where) not in (5, 6) or where[0] != "storage":
            raise TypeError
        kind, key, _device, count, *part = where[1:]
        if not isinstance(key, str) or not isinstance(kind, Kind):
            raise TypeError
        if any(part):
            raise ValueError("a storage is part of another one")
        storage = Storage(key, kind, *_sizes((count,)))
        self.storages.setdefault(key, storage)
        self.push(storage)


def _sizes(values: Any) -> tuple[int, ...]:
    """Return numbers that can be sizes of something in a file."""
    if not isinstance(values, tuple) or len(values) > MOST_AXES:
        raise TypeError
    if not all(type(value) is int and 0 <= value <= MOST_BYTES for value in values):
        raise TypeError
    return values


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, kind: Any = None) -> Strided:
    kind = kind or getattr(storage, "kind", None)
    if not isinstance(storage, Storage) or not isinstance(kind, Kind):
        raise TypeError
    (start,) = _sizes((offset,))
    if len(_sizes(shape)) != len(_sizes(strides)):
        raise TypeError
    return Strided(storage, start, shape, strides, kind)


def _mapping(items: Any = None) -> Pairs:
    """Return a dict: an empty one, that of a dict, or of pairs in a list, as Python 2 wrote it."""
    if isinstance(items, Pairs):
        return items
    if not isinstance(items, list | None):
        raise TypeError
    return Pairs([] if items is None else items)


def _nothing(*_: Any) -> None:
    """Stand for a value that holds no tensor."""


_STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32",
    "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL",
}  # fmt: skip
_KNOWN: Mapping[str, Any] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": lambda s, o, n, t, _grad, _hooks: _tensor(s, o, n, t),
    "torch._utils._rebuild_tensor_v3": lambda s, o, n, t, _grad, _hooks, kind: _tensor(
        s, o, n, t, kind
    ),
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch.nn.parameter.Parameter": lambda data, *_: data,
    "torch.Size": lambda sizes: sizes,
    **dict.fromkeys(
        (
            *("builtins.set", "builtins.frozenset", "builtins.complex", "builtins.bytearray"),
            *("_codecs.encode", "torch.device"),
        ),
        _nothing,
    ),
    **{f"torch.{name}Storage": KINDS[kind] for name, kind in _STORAGES.items()},
    "torch.storage.UntypedStorage": KINDS["U8"],
    **{f"torch.{kind.name}": kind for kind in KINDS.values()},
}
"""What is meant here by names in pickles."""

_ARGUMENT = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "INT", "LONG", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINSTRING", "SHORT_BINSTRING", "STRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Instructions that push their argument."""
_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ACTIONS: Mapping[str, Callable[[_Machine, Any], object]] = {
    "PROTO": _Machine.proto,
    "FRAME": _nothing,
    "MARK": _Machine.mark,
    "POP": lambda m, _: m.popped(1),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "EMPTY_DICT": lambda m, _: m.push(_mapping()),
    "SETITEM": lambda m, _: m.set_items(m.popped(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda m, _: m.push([])),
    "FROZENSET": lambda m, _: m.push(m.since_mark()),
    "APPEND": lambda m, _: m.extend(m.popped(1)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda m, _: m.extend(m.since_mark())),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.push(m.popped(1)),
    "TUPLE2": lambda m, _: m.push(m.popped(2)),
    "TUPLE3": lambda m, _: m.push(m.popped(3)),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda m, place: m.push(m.memo[place])),
    "GLOBAL": lambda m, name: m.find(name.replace(" ", ".")),
    "INST": lambda m, name: m.find(name.replace(" ", ".")),
    "STACK_GLOBAL": lambda m, _: m.find(".".join(m.popped(2))),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "BUILD": lambda m, _: m.popped(1),  # state: the attributes of dicts, the hooks of parameters
    "BINPERSID": _Machine.load_storage,
}
