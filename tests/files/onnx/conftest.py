"""What the tests here import, and what pytest need not look into."""

collect_ignore = ["cases.py", "networks.py"]  # which need onnx and torch
