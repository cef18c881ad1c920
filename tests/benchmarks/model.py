"""``--regret`` and ``--fit``: measure the drawn problems, judge the plans, fit the costs."""

from __future__ import annotations

import time
from argparse import Namespace

from cnnviz.core.engine import plan
from cnnviz.core.engine.plan import blas_core
from tests.benchmarks import engine, fitting, machine, measuring, regret
from tests.benchmarks.drawing import drawn
from tests.benchmarks.measuring import Measured
from tests.benchmarks.report import say


def main(arguments: Namespace) -> None:
    """Do what the command line asks for."""
    measurements = (
        measuring.load(arguments.load) if arguments.load else _measure(quick=arguments.quick)
    )
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


def _measure(*, quick: bool) -> list[Measured]:
    started, found = time.perf_counter(), []
    problems = drawn(quick=quick)
    for number, problem in enumerate(problems, 1):
        found.append(measuring.measure(problem))
        if number % 50 == 0:
            say(f"{number} of {len(problems)}", aside=True)
    say(f"measured in {time.perf_counter() - started:.0f} s", aside=True)
    return found
