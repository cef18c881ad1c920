"""``python -m tests.fuzz READER --count N``: mutate valid files and read what becomes of them."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.fuzz import weights
from tests.fuzz.fuzzing import fuzz, limit_memory

TARGETS = {"weights": weights.targets}


def main() -> None:
    """Fuzz every format of the readers that are named, and tell what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", choices=TARGETS)
    parser.add_argument("--count", type=int, default=10_000, help="inputs for each format")
    parser.add_argument("--seed", type=int, default=0, help="draws the mutations")
    parser.add_argument("--only", metavar="FORMAT", help="only this format, such as .npz")
    arguments = parser.parse_args()
    limit_memory()
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS[arguments.reader](Path(folder)):
            if arguments.only in (None, target.name):
                print(fuzz(target, arguments.count, arguments.seed))  # noqa: T201


if __name__ == "__main__":
    main()
