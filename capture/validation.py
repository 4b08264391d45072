"""What pydantic found wrong with a file or a message, in one line for a person."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator


class Strict(BaseModel):
    """What a person writes into a file: unknown keys are refused, values stay as read, and `true` is no 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Pydantic alone takes true for 1 wherever a number belongs; then a batch has one sample.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if _holds_truth(value) and not _may_hold_truth(annotation):
            raise ValueError("true and false have no meaning here")
        return value


def _holds_truth(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return isinstance(value, bool) or any(map(_holds_truth, inside))


def _may_hold_truth(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True  # it looks for itself
    return annotation is bool or annotation is Any or any(map(_may_hold_truth, get_args(annotation)))


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
