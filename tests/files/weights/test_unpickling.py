"""Pickles that make no sense, and those that are made to take memory or time."""

import io
import resource

import pytest

from cnnviz.files.weights.unpickling import (
    DEEPEST,
    LONGEST,
    MOST_STEPS,
    MOST_TENSORS,
    NewerProtocolError,
    Pairs,
    UnknownGlobalError,
    tensors,
    unpickle,
)
from tests.files.weights.pickles import Call, Name, dumped, tensor


def read(data):
    return tensors(unpickle(io.BytesIO(data)))


def test_containers_and_numbers():
    value = {"a": [1, -(2**40), 2.5, None, True, ("x", ())], 3: {}}
    pairs = unpickle(io.BytesIO(dumped(value)))
    assert pairs == Pairs([("a", value["a"]), (3, Pairs([]))])
    assert unpickle(io.BytesIO(b"\x80\2K\1K\2K\0020\x86.")) == (1, 2)  # one of them popped
    assert unpickle(io.BytesIO(b"\x80\2K\1(K\0021.")) == 1
    assert unpickle(io.BytesIO(b"\x80\4\x8f(K\1K\2\x90.")) == [1, 2]  # a set
    assert unpickle(io.BytesIO(b"\x80\4(K\1\x91.")) == [1]


def test_what_asks_for_more_is_told_by_name():
    for data, name, whole in (
        (b"cposix\nsystem\n.", "posix.system", True),
        (b"(S'touch ran'\niposix\nsystem\n.", "posix.system", False),
        (b"(cposix\nsystem\nX\1\0\0\0xo.", "posix.system", False),
        (b"\x80\4\x8c\5posix\x8c\6system\x93\x8c\1x\x85R.", "posix.system", True),
        (b"\x80\4}\x8c\1a\x8c\5posix\x8c\6system\x93\x8c\1x\x85Rs.", "posix.system", False),
        (dumped([Name("torch._utils._rebuild_qtensor")]), "torch._utils._rebuild_qtensor", False),
    ):
        with pytest.raises(UnknownGlobalError) as caught:
            unpickle(io.BytesIO(data))
        assert (caught.value.name, caught.value.whole) == (name, whole)
    with pytest.raises(NewerProtocolError, match="6"):
        unpickle(io.BytesIO(b"\x80\6}."))


def rebuilt(*arguments):
    return dumped({"w": Call(Name("torch._utils._rebuild_tensor"), arguments)})


NONSENSE = {
    "extension": b"\x80\2\x82\1.",
    "new object with keywords": b"\x80\4ccollections\nOrderedDict\n)}\x92.",
    "persistent text": b"P0\n.",
    "text for arguments": b"\x80\2ccollections\nOrderedDict\nX\1\0\0\0xR.",
    "few arguments": rebuilt(1, 2),
    "many arguments": rebuilt(1, 2, 3, 4, 5, 6, 7),
    "very many arguments": dumped(Call(Name("torch.device"), (1,) * 9)),
    "numbers for a tensor": rebuilt(1, 2, 3, 4),
    "text for a storage": rebuilt("0", 0, (), ()),
    "a type for a storage": rebuilt(Name("torch.float32"), 0, (), ()),
    "a storage of no place": b"\x80\2K\1Q.",
    "a storage of a list": b"\x80\2]Q.",
    "text for pairs": dumped(Call(Name("collections.OrderedDict"), ("ab",))),
    "numbers for pairs": dumped(Call(Name("collections.OrderedDict"), ([1, 2],))),
    "a call of a type": dumped(Call(Name("torch.float32"), ())),
    "items of a list": b"\x80\2]X\1\0\0\0aK\1s.",
    "members of a dict": b"\x80\2}K\1a.",
    "odd items": b"\x80\2}(K\1u.",
    "no item to pop": b"\x80\0020.",
    "nothing": b"\x80\2.",
    "no end": b"\x80\2}",
    "no mark": b"\x80\2t.",
    "nothing put aside": b"\x80\2h\7.",
    "nothing to put aside": b"\x80\2q\7.",
    "nothing to build": b"\x80\2b.",
    "global of numbers": b"\x80\4K\1K\2\x93.",
    "four gigabytes of text": b"\x80\2X\xff\xff\xff\xffab.",
    "exabytes": b"\x80\5\x8e" + b"\xff" * 7 + b"\x7fab.",
    "a long number": b"\x80\2\x8b\xff\xff\xff\x7f\1.",
    "digits": b"I" + b"9" * 10_000 + b"\n.",
    "no utf-8": b"\x80\2X\1\0\0\0\xff.",
    "no instruction": b"\x80\2\xff.",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(name):
    with pytest.raises((ValueError, TypeError)):
        read(NONSENSE[name])


NUMBER = 2**61 - 1  # by which Python hashes integers: all multiples are alike
MANY = b"".join(b"\x8a\x0b" + (NUMBER * n).to_bytes(11, "little") + b"N" for n in range(200_000))
ROW = b"\x80\2" + dumped(tensor((2, 3)))[2:-1] + b"q\0"
BOMBS = {
    "a place far away": b"\x80\2Nr\xff\xff\xff\xff.",
    "keys that collide": b"\x80\2}(" + MANY + b"u.",
    "doubling": b"\x80\2)" + b"2\x86" * 30 + b".",
    "a doubled key": b"\x80\2})" + b"2\x86" * 200_000 + b"Ns.",
    "many copies": b"\x80\2](NN\x86q\1" + b"h\1" * 200_000 + b"eq\0ccollections\nCounter\nq\2"
    + b"]q\3(" + b"h\2h\0\x85R" * 50_000 + b"e.",
    "itself": b"\x80\2]q\0h\0a.",
    "itself in many places": b"\x80\2]q\0(" + b"h\0" * 400_000 + b"e.",
    "a number of a megabyte": b"\x80\2\x8b\0\0\x10\0" + b"\x7f" * 2**20 + b".",
    "small things": b"\x80\2(" + b"}" * (MOST_STEPS - 5) + b"t.",
    "marks": b"\x80\2" + b"(" * (MOST_STEPS - 5) + b"N.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_read_and_take_little(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read(BOMBS[name]) == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # kilobytes


LIMITS = {
    "takes over 524,288 steps": b"\x80\2" + b"N" * MOST_STEPS + b".",
    "is nested over 32 times": b"\x80\2"
    + b"](" * (DEEPEST + 1)
    + ROW[2:]
    + b"e" * (DEEPEST + 1)
    + b".",
    "is nested": b"\x80\2" + b"](" * 150_000 + b"e" * 150_000 + b".",
    "nested over": b"\x80\2)" + b"2\x86" * 200_000 + b".",
    "holds over 40,000 tensors": ROW + b"](" + b"h\0" * (MOST_TENSORS + 1) + b"e.",
    "characters": ROW
    + b"}X"
    + (LONGEST + 1).to_bytes(4, "little")
    + b"x" * (LONGEST + 1)
    + b"h\0s.",
}


@pytest.mark.parametrize("words", LIMITS)
def test_limits(words):
    with pytest.raises(ValueError, match=words):
        read(LIMITS[words])


def test_just_within_the_limits():
    assert len(read(b"\x80\2" + b"](" * DEEPEST + ROW[2:] + b"e" * DEEPEST + b".")) == 1
    assert len(read(ROW + b"](" + b"h\0" * MOST_TENSORS + b"e.")) == MOST_TENSORS
