"""Timing contenders so that they do not disturb one another.

A library's worker threads spin for a while after a call and slow whatever runs next two to four
times; on a virtual machine a core that has slept takes a millisecond to come back. So contenders
take turns in blocks: rest until the other's threads sleep, call until warm, and only then time.
What counts is the ratio of two blocks of the same round: the machine's moods last longer than one.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from statistics import median, quantiles
from typing import Any

Call = Callable[[], Any]

REST = 0.010  # seconds: longer than most libraries' threads spin
WARM = 0.020  # seconds of calls before any is timed
CALLS = 5  # timed in a block
BLOCK = 0.4  # seconds of timed calls in a block of slow ones
SLOW, GLACIAL = 0.4, 2.0  # seconds a call: fewer rounds, and no warming at all
BEATEN = 4  # times another's seconds: no more needs to be known about so slow a contender


@dataclass(frozen=True)
class Rounds:
    """How often contenders take their turns."""

    usual: int = 7
    slow: int = 3
    glacial: int = 1

    def of(self, seconds: float, best: float = inf) -> int:
        """Return the rounds of a contender that takes so long a call, and another `best`."""
        if seconds > GLACIAL:
            return self.glacial
        beaten = seconds > max(BEATEN * best, BLOCK / CALLS)
        return self.slow if seconds > SLOW or beaten else self.usual


QUICK = Rounds(3, 2, 1)


def once(call: Call) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def block(call: Call, expected: float = 0.0) -> float:
    """Return the median seconds of a few warmed calls.

    Parameters
    ----------
    call : callable
        What to time.
    expected : float
        Seconds it takes, about: the slow ones are called less often.
    """
    time.sleep(REST)
    if expected > GLACIAL:
        return once(call)  # its own length is its warming
    until = time.perf_counter() + WARM
    call()
    while time.perf_counter() < until:
        call()
    calls = CALLS if expected * CALLS < BLOCK else max(int(BLOCK / expected), 1)
    return median(once(call) for _ in range(calls))


def interleave(
    contenders: Mapping[str, Call],
    expected: Mapping[str, float],
    rounds: Rounds,
    *,
    against: str,
) -> dict[str, list[float]]:
    """Return each contender's seconds, round by round; they all begin with the first round.

    Parameters
    ----------
    contenders : Mapping
        What to call, by name.
    expected : Mapping
        About how many seconds a call of each takes.
    rounds : Rounds
        How many there are of the quick and of the slow.
    against : str
        The contender that takes part in as many rounds as any other.
    """
    counts = {name: rounds.of(expected[name], expected[against]) for name in contenders}
    counts[against] = max(counts.values())
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(max(counts.values())):
        for name, call in contenders.items():
            if turn < counts[name]:
                seconds[name].append(block(call, expected[name]))
    return seconds


@dataclass(frozen=True)
class Ratio:
    """How long one contender takes beside another."""

    median: float
    low: float  # quartiles; of fewer than four rounds the extremes
    high: float

    @classmethod
    def of(cls, ours: list[float], theirs: list[float]) -> Ratio:
        """Pair the rounds that both took part in."""
        ratios = [one / other for one, other in zip(ours, theirs, strict=False)]
        if len(ratios) < 4:
            return cls(median(ratios), min(ratios), max(ratios))
        low, _, high = quantiles(ratios, n=4, method="inclusive")
        return cls(median(ratios), low, high)


def extra_memory(call: Call) -> int:
    """Return how many bytes a call had allocated at most, beyond those of its result."""
    tracemalloc.start()
    try:
        result = call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = 0
    with suppress(AttributeError):
        size = result.nbytes
    return max(peak - size, 0)
