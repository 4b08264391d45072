"""The networks by name: what can be chosen, whether it can run here, and how to make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capture.errors import UsageError
from inference.restorers.base import Restorer
from sync.rig import Rig

Factory = Callable[[Rig, Mapping[str, Any], str], Restorer]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A row of the network chooser.

    Attributes:
        name: what `create` takes.
        takes: what it needs, in words.
        weights: where its weights come from.
        usable: it can run here and now.
        reason: why not, one line; "" when usable.
        any_latent: gives any instant of the exposure; False: only fixed ones.
    """

    name: str
    takes: str
    weights: str
    usable: bool = True
    reason: str = ""
    any_latent: bool = True


def _edi(rig: Rig, options: Mapping[str, Any], device: str) -> Restorer:
    # Imported when chosen: numba and torch take a second that `--help` should not.
    from inference.restorers.edi import EdiRestorer

    return EdiRestorer(rig, options, device)


def _none(rig: Rig, options: Mapping[str, Any], device: str) -> Restorer:
    from inference.restorers.passthrough import PassThrough

    return PassThrough(rig, options, device)


_MODELS: dict[str, tuple[ModelChoice, Factory]] = {
    "edi": (ModelChoice("edi", "blurry frame + events", "none needed (physical model)"), _edi),
    "none": (ModelChoice("none", "blurry frame", "none needed (passes the frame through)"), _none),
}


def names() -> list[str]:
    """Names that `create` takes, in the order of the chooser."""
    return list(_MODELS)


def choices() -> list[ModelChoice]:
    """Rows of the chooser, in order."""
    return [choice for choice, _ in _MODELS.values()]


def create(name: str, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto") -> Restorer:
    """A restorer by name.

    Args:
        name: one of `names()`.
        rig: geometry, tone and thresholds.
        options: the restorer's own, see its `set`.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", "mps".

    Raises:
        UsageError: unknown network (lists the known ones), unknown option, or no such device.
    """
    found = _MODELS.get(name)
    if found is None:
        raise UsageError(f"unknown network {name!r}; known: {', '.join(_MODELS)}")
    return found[1](rig, options or {}, device)
