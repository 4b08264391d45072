"""What can be set about a Prophesee camera."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from capture.errors import UsageError
from capture.validation import Strict

Model = Literal["evk4", "evk3", "metavision"]


class Region(Strict):
    """A rectangle of the sensor, pixels."""

    x: int = Field(ge=0, le=4095)
    y: int = Field(ge=0, le=4095)
    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)


class PropheseeConfig(Strict):
    """None leaves what the SDK sets when it opens the camera."""

    driver: Model
    serial: str = Field(default="", pattern=r"^[A-Za-z0-9_:.-]{0,32}$")
    biases: dict[str, int] = Field(default_factory=dict, description="by the SDK's names")
    roi: Region | None = Field(default=None, description="only these pixels")
    events_per_s: int | None = Field(default=None, ge=1000, le=2_000_000_000, description="limit")
    limiter_period_us: int = Field(default=200, ge=1, le=65_535, description="that the limit counts over")
    clock: Literal["internal", "master", "slave"] = Field(default="internal", description="with another camera")
    triggers: bool = Field(default=True, description="read the trigger input")
    trigger_channel: int = Field(default=0, ge=0, le=15)
    batch_us: int = Field(
        default=2000, ge=100, le=100_000, description="metavision: length of what is read at once"
    )

    @property
    def name(self) -> str:
        """As it was named."""
        return f"{self.driver}:{self.serial}" if self.serial else self.driver


def configure(driver: Model, rest: str, settings: Mapping[str, Any]) -> PropheseeConfig:
    """Raises `UsageError`: a name that cannot be one, an unknown setting, a value out of range."""
    name = f"{driver}:{rest}" if rest else driver
    try:
        return PropheseeConfig.model_validate({**settings, "driver": driver, "serial": rest})
    except ValidationError as e:
        first = min(e.errors(), key=lambda f: f["type"] != "extra_forbidden")
        key = ".".join(str(k) for k in first["loc"])
        if first["type"] == "extra_forbidden":
            known = [k for k in PropheseeConfig.model_fields if k not in ("driver", "serial")]
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise UsageError(f"{name}: unknown setting {key!r}; {hint}") from e
        raise UsageError(f"{name}: {key}: {first['msg']}") from e
