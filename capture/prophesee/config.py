"""What can be set about a Prophesee camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from capture.validation import Strict, camera_config

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
    limiter_period_us: int = Field(default=200, ge=1, le=1023, description="that the limit counts over")
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
    return camera_config(PropheseeConfig, name, settings, {"driver": driver, "serial": rest})
