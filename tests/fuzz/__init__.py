"""Broken files by the hundred thousand: only CnnvizError may come out, soon and of little memory.

``python -m tests.fuzz weights --count 100000`` mutates valid weights (see `tests.fuzz.fuzzing`),
``python -m tests.fuzz.onnx_models --count 100000`` models.
"""
