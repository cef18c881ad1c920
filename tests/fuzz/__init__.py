"""Broken files by the hundred thousand: only CnnvizError may come out, soon and of little memory.

``python -m tests.fuzz weights --count 100000`` mutates valid files; see `tests.fuzz.fuzzing`.
"""
