"""What pydantic found wrong with a file or a message, in one line for a person."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from capture.errors import UsageError


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


S = TypeVar("S", bound=Strict)


def camera_config(model: type[S], name: str, settings: Mapping[str, Any], named: Mapping[str, Any]) -> S:
    """A camera's configuration out of its settings and of what its name tells.

    Args:
        model: what comes out.
        name: of the camera, for messages.
        settings: as they stand in a rig file.
        named: what the name tells; no setting may say it again, since one of both would be passed over.

    Raises:
        UsageError: a misspelt setting (names the nearest), a value out of range, a setting that the name tells.
    """
    again = next((key for key in settings if key in named), None)
    if again is not None:
        raise UsageError(f"{name}: {again!r} is told by the camera's name; leave it out of the settings")
    try:
        return model.model_validate({**settings, **named})
    except ValidationError as e:
        first = min(e.errors(), key=lambda f: f["type"] != "extra_forbidden")
        key, told = ".".join(str(k) for k in first["loc"]), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            *parents, wrong = [str(k) for k in first["loc"]]
            known = [k for k in _keys(model, parents) if parents or k not in named]
            near = difflib.get_close_matches(wrong, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise UsageError(f"{name}: unknown setting {key!r}; {hint}") from e
        raise UsageError(f"{name}: {key}: {told}" if key else f"{name}: {told}") from e


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that one looks like, as a clause to stand before the list of all: `did you mean 'a'? `."""
    near = difflib.get_close_matches(word.lower(), list(known), 1)
    return f"did you mean {near[0]!r}? " if near else ""


def first_error(error: ValidationError, model: type[BaseModel], within: str = "") -> str:
    """One clause for the first of pydantic's findings, with the likely key where one looks misspelt.

    Args:
        error: as raised.
        model: what was validated.
        within: the table that it stands in, where it is a part of what a person writes.
    """
    # A misspelt key gives two findings, the unknown one and the missing one; the first says more.
    first = min(error.errors(), key=lambda f: f["type"] != "extra_forbidden")
    key = ".".join(str(k) for k in (*([within] if within else []), *first["loc"]))
    if first["type"] == "extra_forbidden":
        *parents, wrong = [str(k) for k in first["loc"]]
        known = _keys(model, parents)
        near = difflib.get_close_matches(wrong, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown key '{key}'; {hint}"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    told = first["msg"].removeprefix("Value error, ")
    return f"key '{key}': {told}" if key else told  # else of several keys together


def _keys(model: Any, parents: Sequence[str]) -> list[str]:
    """Names of the keys that may stand in a table of the file."""
    for name in parents:
        if name.isdigit():  # the place in a list of tables
            continue
        annotation = model.model_fields[name].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        model = next(a for a in candidates if hasattr(a, "model_fields"))
    return list(model.model_fields)
