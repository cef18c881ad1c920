"""Benchmarks are run by hand: they need quiet cores, minutes, and libraries tests do without."""

collect_ignore_glob = ["*.py"]
