"""What is wrong with a file or a message, in one line for a person: as TOML, as JSON, as pydantic found it."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML document.

    Raises:
        tomllib.TOMLDecodeError: it is none; also where Python's reader gives up in ways of its own, on brackets
            nested too deep and on whole numbers of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("its brackets are nested too deep") from error
    except ValueError as error:
        raise tomllib.TOMLDecodeError("a number in it is too long") from error


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON document.

    Raises:
        ValueError: it is none, or its brackets are nested too deep for Python's reader.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error


def first_error(error: ValidationError, model: type[BaseModel], whole: str = "the file") -> str:
    """One clause for the first of pydantic's findings, with the likely key where one looks misspelt.

    Args:
        error: as raised.
        model: what was validated.
        whole: what to name where the fault is in no single key.
    """
    # A misspelt key gives two findings, the unknown one and the missing one; the first says more.
    first = min(error.errors(), key=lambda f: f["type"] != "extra_forbidden")
    key = ".".join(str(k) for k in first["loc"]) or whole
    if first["type"] == "extra_forbidden":
        *parents, wrong = [str(k) for k in first["loc"]]
        known = _keys(model, parents)
        near = difflib.get_close_matches(wrong, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown key '{key}'; {hint}"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    return f"key '{key}': {first['msg'].removeprefix('Value error, ')}"


def _keys(model: Any, parents: Sequence[str]) -> list[str]:
    """Names of the keys that may stand in a table of the file."""
    for name in parents:
        if name.isdigit():  # the place in a list of tables
            continue
        annotation = model.model_fields[name].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        model = next(a for a in candidates if hasattr(a, "model_fields"))
    return list(model.model_fields)
