"""Mutating files and watching a reader: what it raises, how long it takes, how much it takes."""

from __future__ import annotations

import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnviz.errors import CnnvizError

SECONDS = 1.0  # a reader may take for one file
MEMORY = 256 * 2**20  # bytes it may take beside what the process had before
LONGEST = 1000  # characters of a message
EDGES = (0, 1, 2, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
         2**62, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
"""Numbers at which readers go wrong."""


@dataclass(frozen=True)
class Target:
    """A reader of one format, valid files for it, and bytes that mean something in it."""

    name: str
    path: Path
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    read: Callable[[str], object]
    repack: Callable[[random.Random], bytes] | None = None
    """Makes a whole file whose broken part is behind a checksum that holds."""


@dataclass
class Report:
    """What came of fuzzing a reader."""

    name: str
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    memory: int = 0  # bytes by which the process grew

    def __str__(self) -> str:
        total = self.accepted + self.refused.total()
        head = (
            f"{self.name}: {total:,} inputs, {self.accepted:,} read, "
            f"{self.refused.total():,} refused; slowest {self.slowest * 1000:.0f} ms; "
            f"the process grew by {self.memory / 2**20:.0f} MiB"
        )
        kinds = [f"  {count:9,}  {kind}" for kind, count in self.refused.most_common(12)]
        return "\n".join([head, *kinds])


def fuzz(target: Target, count: int, seed: int) -> Report:
    """Read `count` broken files.

    Raises
    ------
    AssertionError
        With the file kept as ``culprit.SUFFIX``: for any error but CnnvizError, and for a file
        that takes too long. Too much memory is an error where `limit_memory` was called.
    """
    rng = random.Random(seed)  # noqa: S311 - not secret
    report = Report(target.name)
    before = _peak()
    for index in range(count):
        data = mutated(rng, target)
        target.path.write_bytes(data)
        started = time.perf_counter()
        fault = _read(target, report)
        seconds = time.perf_counter() - started
        report.slowest = max(report.slowest, seconds)
        if fault is not None or seconds > SECONDS:
            culprit = Path(f"culprit{target.path.suffix}")
            culprit.write_bytes(data)
            raise AssertionError(
                f"input {index}, in {seconds:.1f} s: {fault!r}, see {culprit}"
            ) from fault
    report.memory = _peak() - before
    return report


def _read(target: Target, report: Report) -> Exception | None:
    """Have a file read, and return what should not have come of it."""
    signal.alarm(30)  # a reader that hangs is killed, and the process with it
    try:
        target.read(str(target.path))
    except CnnvizError as error:
        report.refused[_kind(str(error), target.path)] += 1
        return None if error.message and len(str(error)) < LONGEST else error
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        return error
    finally:
        signal.alarm(0)
    report.accepted += 1
    return None


def mutated(rng: random.Random, target: Target) -> bytes:
    """Return a valid file with one to four things wrong with it."""
    if target.repack is not None and rng.random() < 0.5:
        return target.repack(rng)
    return bytes(mutate(rng, rng.choice(target.seeds), target))


def mutate(rng: random.Random, data: bytes, target: Target, most: int = 4) -> bytearray:
    """Change bytes, mostly where formats keep what matters: at the beginning and at the end."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at = _place(rng, len(broken))
        match rng.randrange(8):
            case 0:
                broken[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                broken[at : at + 1] = bytes(
                    b ^ (1 << rng.randrange(8)) for b in broken[at : at + 1]
                )
            case 2:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(EDGES) % 2 ** (8 * size)
                broken[at : at + size] = number.to_bytes(size, "little")
            case 3:
                del broken[at : at + rng.choice((1, 2, 8, 64, 1024))]
            case 4:
                broken[at:at] = rng.choice(target.words)
            case 5:
                word = rng.choice(target.words)
                broken[at : at + len(word)] = word
            case 6:  # repeat, or move, a piece
                start = _place(rng, len(broken))
                broken[at:at] = broken[start : start + rng.choice((1, 8, 40, 200))]
            case 7:
                _change_number(rng, broken)
    return broken


def _place(rng: random.Random, length: int) -> int:
    near = rng.randrange(min(length, 256) + 1)
    return rng.choice((near, length - near, rng.randrange(length + 1)))


def _change_number(rng: random.Random, data: bytearray) -> None:
    """Put another number in the place of one that is written in digits."""
    digits = [at for at, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
    if digits:
        at = rng.choice(digits)
        number = rng.choice((str(rng.choice(EDGES)), "-1", "1e9", "0.5", "9" * 30, "9" * 5000))
        data[at : at + 1] = number.encode()


def _kind(message: str, path: Path) -> str:
    """Return a message without what differs from file to file, to count the like."""
    text = message.replace(str(path), "FILE")
    return "".join("#" if sign.isdigit() else sign for sign in text)[:72]


def limit_memory() -> None:
    """Have the system refuse this process more than MEMORY beside what it has."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
