"""The table, as plain columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from tests.benchmarks.compare import Result

COLUMNS = (  # heading, width; names to the left, numbers to the right
    ("case", -34), ("peer", -26), ("ours ms", 9), ("peer ms", 9), ("ratio", 6), ("spread", 11),
    ("target", 6), ("met", 4), ("GF/s", 6), ("peak", 5), ("extra", 8), ("plan", -20),
)  # fmt: skip


def say(text: str, *, aside: bool = False) -> None:
    """Print at once; aside means to stderr."""
    stream = sys.stderr if aside else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def header(machine: Mapping[str, object], peak: float | None) -> str:
    """Return the lines above the table."""
    versions, settings = machine["packages"], machine["settings"]
    assert isinstance(versions, Mapping)
    assert isinstance(settings, Mapping)
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}",
        f"numpy {machine['numpy']}, BLAS for {machine['blas'] or 'an unknown core'}"
        + (f": {peak:.0f} GFLOP/s in a product of 2048² matrices" if peak else ""),
        ", ".join(f"{name} {number}" for name, number in versions.items()),
    ]
    if settings:
        lines.append("set: " + ", ".join(f"{name}={value}" for name, value in settings.items()))
    return "\n".join(lines)


def headings() -> str:
    """Return the table's first line."""
    return _line([name for name, _ in COLUMNS])


def line(result: Result) -> str:
    """Return a line of the table."""
    ratio = result.ratio
    peer = f"{result.peer} ({result.how})" if result.how else result.peer
    return _line(
        [
            result.case,
            peer if result.rounds > 1 else f"{peer}, once",
            milliseconds(result.ours),
            milliseconds(result.theirs),
            f"{ratio.median:.2f}",
            f"{ratio.low:.2f}–{ratio.high:.2f}",
            "" if result.target is None else f"{result.target:.2f}",
            {None: "", True: "yes", False: "NO"}[result.met],
            "" if result.gflops is None else f"{result.gflops:.0f}",
            "" if result.share is None else f"{result.share:.0%}",
            "" if result.extra is None else f"{result.extra / 2**20:.1f}MiB",
            result.plan,
        ]
    )


def summary(results: Sequence[Result]) -> str:
    """Return how many targets are met, and which are not."""
    asked = [each for each in results if each.met is not None]
    missed = [each for each in asked if not each.met]
    lines = [f"{len(asked) - len(missed)} of {len(asked)} targets met"]
    lines += [
        f"  missed: {each.case} / {each.peer}: {each.ratio.median:.2f}, not {each.target:.2f}"
        for each in missed
    ]
    return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    """Return three digits of milliseconds.

    >>> milliseconds(0.0123456), milliseconds(1.23456)
    ('12.3', '1235')
    """
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    padded = [
        cell.ljust(-width) if width < 0 else cell.rjust(width)
        for cell, (_, width) in zip(cells, COLUMNS, strict=True)
    ]
    return " ".join(padded).rstrip()
