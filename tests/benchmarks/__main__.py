"""``python -m tests.benchmarks``: the comparison; ``--gains`` for what each algorithm is worth."""

from __future__ import annotations

import argparse
import json

from tests.benchmarks import compare, gains, machine, processes, report
from tests.benchmarks.cases import Case, cases
from tests.benchmarks.timing import QUICK, Rounds


def main() -> None:
    """Read the arguments and list, compare or show gains."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="SUBSTRING", help="cases named so (or peers)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer problems")
    parser.add_argument("--list", action="store_true", help="name the cases and their targets")
    parser.add_argument("--json", action="store_true", help="print records instead of a table")
    parser.add_argument("--gains", action="store_true", help="time the cases without their plan")
    arguments = parser.parse_args()
    everything: list[Case | processes.Process] = [*cases(), *processes.processes()]
    chosen = [
        case
        for case in everything
        if not arguments.only or any(word in case.name for word in arguments.only)
    ]
    if arguments.list:
        for case in chosen:
            peers = ", ".join(
                name if target is None else f"{name} ≤ {target}"
                for name, target in case.targets.items()
            )
            report.say(f"{case.name}: {peers}")
        return
    if arguments.gains:
        for case in chosen:
            if isinstance(case, Case) and (found := gains.line(case, _rounds(arguments.quick))):
                report.say(found)
        return
    _compare(chosen, quick=arguments.quick, as_json=arguments.json)


def _rounds(quick: bool) -> Rounds:
    return QUICK if quick else Rounds()


def _compare(chosen: list[Case | processes.Process], *, quick: bool, as_json: bool) -> None:
    rounds = _rounds(quick)
    about, peak = machine.description(), machine.sgemm_peak()
    results, failures = [], 0
    if not as_json:
        report.say(f"{report.header(about, peak)}\n{report.headings()}")
    for case in chosen:
        lines = (
            compare.run(case, rounds, peak)
            if isinstance(case, Case)
            else processes.run(case, rounds)
        )
        try:
            for result in lines:
                results.append(result)
                if not as_json:
                    report.say(report.line(result))
        except Exception as error:  # noqa: BLE001 - the other cases still tell something
            failures += 1
            report.say(f"FAILED {case.name}: {type(error).__name__}: {error}", aside=True)
    if as_json:
        records = [result.record() for result in results]
        report.say(json.dumps({"machine": about, "sgemm": peak, "results": records}, indent=1))
    else:
        report.say(report.summary(results))
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
