"""Training is run by hand and needs PyTorch: pytest looks into the tests of it alone."""

collect_ignore = ["data.py", "digits.py", "drawn.py", "measure.py"]
