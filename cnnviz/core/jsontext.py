"""JSON as cnnviz writes it: NaN and the infinities are null, every name can be written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def json_text(record: Mapping[str, object], *, indent: int | None = None) -> str:
    """Return a record as JSON, one line unless indented; the same record gives the same text.

    >>> json_text({"path": "Föhn.png", "min": float("nan")})
    '{"path": "Föhn.png", "min": null}'
    """
    text = json.dumps(json_ready(record), indent=indent, ensure_ascii=False, allow_nan=False)
    # A file name that is not UTF-8 holds lone surrogates, which no pipe takes: escape them.
    return text.encode("utf-8", "backslashreplace").decode()


def json_ready(value: Any) -> Any:
    """Return a value as JSON has it: plain numbers, lists and dicts."""
    # Through text and back: NaN and the infinities are read as null.
    return json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
