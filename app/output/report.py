"""Reports as JSON, written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from app.output.atomic import staged_file, writing
from capture.documents import parse_json


def write_json(path: Path, report: Any, *, overwrite: bool = True) -> None:
    """Write `report` as indented UTF-8 JSON. NaN and infinity become null, since JSON knows neither.

    Raises:
        OutputError: the place cannot be written to. UsageError: it exists and `overwrite` is off.
    """
    text = json.dumps(plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with staged_file(path, overwrite=overwrite) as part, writing(path):
        # A name that is no UTF-8 comes as surrogates; escaped so, JSON reads them as it writes them.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; empty where there is nothing of the kind, whatever is there instead."""
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def plain(value: Any) -> Any:
    """`value` in JSON's own types: dataclasses, numpy scalars and arrays, paths and tuples are converted.

    Raises:
        TypeError: a type that has no plain form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        return str(value)  # a StrEnum as its plain text
    if value is None or isinstance(value, (bool, int)):
        return value
    raise TypeError(f"a {type(value).__name__} has no place in a JSON report")
