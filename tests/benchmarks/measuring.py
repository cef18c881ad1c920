"""Measuring every algorithm on drawn problems, and keeping what was measured."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from cnnviz.core.engine.plan import Algorithm, blas_core, nanoseconds
from cnnviz.core.threads import thread_count
from tests.benchmarks.drawing import Drawn
from tests.benchmarks.engine import Subject

PATIENCE = 0.1  # seconds of timed calls of one algorithm, and of warming it up
WARM = 0.003
CALLS = 15  # timed, of those that are quick enough
HOPELESS = 6  # times the best: no second call
FORLORN = 25  # times the best, as predicted: not even a first one …
LONG = 0.3  # … if it is to take longer than this
THREADED = 1.5e-4  # seconds from which on more threads might pay


@dataclass
class Measured:
    """A problem and what each algorithm took: {name: {threads: seconds}}."""

    problem: Drawn
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    planning: float = 0.0  # seconds to choose, with nothing of the problem worked out

    @cached_property
    def subject(self) -> Subject:
        """What it was measured by; its arrays are made again after loading."""
        return self.problem.subject()

    @cached_property
    def stated(self) -> Any:
        """The problem as planned."""
        return self.subject.fresh()

    @cached_property
    def work(self) -> dict[str, dict[str, float]]:
        """The quantities each measured algorithm counts, by today's code."""
        table = self.subject.algorithms
        return {
            name: {key: float(count) for key, count in table[name].work(self.stated).items()}
            for name in self.seconds
            if name in table and table[name].supports(self.stated)
        }

    def best_of(self, other: Measured) -> Measured:
        """Return the smaller of what was measured at two times: nothing makes work quicker."""
        seconds = {name: dict(times) for name, times in self.seconds.items()}
        for name, times in other.seconds.items():
            mine = seconds.setdefault(name, {})
            for threads, taken in times.items():
                mine[threads] = min(taken, mine.get(threads, inf))
        return Measured(self.problem, seconds, min(self.planning, other.planning))

    def record(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return {
            "problem": self.problem.record(),
            "seconds": self.seconds,
            "planning": self.planning,
        }


def measure(problem: Drawn) -> Measured:
    """Measure every algorithm that supports a problem, but for the hopeless."""
    done = Measured(problem)
    subject = done.subject
    stated = subject.fresh()
    started = time.perf_counter()
    able = [each for each in subject.algorithms.values() if each.supports(stated)]
    expected = {each.name: _predicted(each, stated) for each in able}
    done.planning = time.perf_counter() - started
    best = inf
    for each in sorted(able, key=lambda one: expected[one.name]):
        if best < inf and expected[each.name] > max(FORLORN * best, LONG):
            continue
        times = done.seconds[each.name] = {}
        times[1] = timed(subject, each, 1, HOPELESS * thread_count() * best)
        if times[1] > THREADED and thread_count() > 1:
            times[thread_count()] = timed(subject, each, thread_count(), HOPELESS * best)
        best = min(best, *times.values())
    # Nothing of what measuring needed may stay alive for all problems.
    del done.__dict__["subject"]
    return done


def _predicted(algorithm: Algorithm[Any], problem: Any) -> float:
    """Return seconds of one thread; 0 where no cost is known yet: then it is tried first."""
    try:
        return nanoseconds(algorithm, problem) * 1e-9
    except KeyError:
        return 0.0


def timed(subject: Subject, algorithm: Algorithm[Any], threads: int, limit: float) -> float:
    """Return the median seconds of an algorithm's calls, each on a problem freshly planned.

    What planning works out and keeps is not counted: every algorithm is given it.
    """

    def call() -> float:
        stated = subject.fresh()
        algorithm.supports(stated)
        algorithm.work(stated)
        started = time.perf_counter()
        subject.call(algorithm, stated, threads)
        return time.perf_counter() - started

    first = call()
    if first > limit:
        return min(first, call()) if first < LONG else first
    until = time.perf_counter() + WARM
    while time.perf_counter() < until:
        call()
    times: list[float] = []
    until = time.perf_counter() + PATIENCE
    while len(times) < CALLS and (len(times) < 3 or time.perf_counter() < until):
        times.append(call())
    return median(times)


# --- files ---------------------------------------------------------------------------------------


def save(measurements: list[Measured], path: Path, machine: Mapping[str, object]) -> None:
    """Write measurements, and what they were made on."""
    records = [each.record() for each in measurements]
    path.write_text(json.dumps({"machine": machine, "measurements": records}, indent=1))


def load(path: Path) -> list[Measured]:
    """Read what `save` wrote.

    Raises
    ------
    SystemExit
        If it was measured with BLAS for another processor than this process has.
    """
    content = json.loads(path.read_text())
    if content["machine"]["blas"] != blas_core():
        core = content["machine"]["blas"]
        raise SystemExit(f"{path} was measured with OPENBLAS_CORETYPE={core}: set it to load")
    return [
        Measured(
            Drawn.read(each["problem"]),
            {
                name: {int(threads): seconds for threads, seconds in times.items()}
                for name, times in each["seconds"].items()
            },
            each["planning"],
        )
        for each in content["measurements"]
    ]
