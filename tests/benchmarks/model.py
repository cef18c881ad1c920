"""``--regret`` and ``--fit``: measure the drawn problems, judge the plans, fit the costs."""

from __future__ import annotations

import time
from argparse import Namespace

from cnnviz.core.engine import plan
from cnnviz.core.engine.plan import blas_core
from tests.benchmarks import engine, fitting, machine, measuring, regret
from tests.benchmarks.drawing import SEED, Drawn, drawn
from tests.benchmarks.measuring import Measured
from tests.benchmarks.report import say


def main(arguments: Namespace) -> None:
    """Do what the command line asks for."""
    if arguments.load:
        measurements = [each for path in arguments.load for each in measuring.load(path)]
    else:
        measurements = _measure(drawn(quick=arguments.quick, seed=arguments.seed or SEED))
    about = machine.description()
    if arguments.save:
        measuring.save(measurements, arguments.save, about)
    say(f"{len(measurements)} problems, BLAS for {blas_core()}, {about['cores']} cores")
    if arguments.fit:
        fits = fitting.fit(measurements)
        say(fitting.report(fits))
        fitted = fitting.profile(fits)
        if arguments.dry:
            with engine.pricing({**engine.costs(), **fitted}):
                say(regret.report(measurements))
            return
        fitting.write(blas_core(), fitted)
        plan._costs.cache_clear()
        say(f"{fitting.COSTS} written")
    say(regret.report(measurements))


PASSES = 2  # over all problems: what slowed one of them has gone by the next


def _measure(problems: list[Drawn]) -> list[Measured]:
    started, found = time.perf_counter(), dict[Drawn, Measured]()
    for number in range(PASSES):
        for problem in problems:
            again = measuring.measure(problem)
            found[problem] = found[problem].best_of(again) if number else again
        say(f"pass {number + 1} of {PASSES}", aside=True)
    say(f"measured in {time.perf_counter() - started:.0f} s", aside=True)
    return list(found.values())
