"""Opens Prophesee cameras by name: `evk4[:SERIAL]`, `evk3[:SERIAL]`, `metavision[:SERIAL]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from capture.camera import CameraInfo, CameraRole, EventCamera, FrameCamera
from capture.errors import CameraError
from capture.prophesee import evk
from capture.prophesee.camera import PropheseeCamera, Sdk
from capture.prophesee.config import Model, PropheseeConfig, configure
from capture.prophesee.metavision import MetavisionSdk
from capture.registry import RigFacts


class PropheseeDriver:
    """See `capture.registry.Driver`."""

    def __init__(self, name: Model) -> None:
        self.name: Model = name

    def configure(self, rest: str, settings: Mapping[str, Any]) -> PropheseeConfig:
        """See `config.PropheseeConfig`."""
        return configure(self.name, rest, settings)

    def discover(self) -> list[CameraInfo]:
        """What neuromorphic-drivers lists; [] where it is not there, and for the vendor's SDK."""
        if self.name == "metavision":
            return []
        try:
            found = evk.listed(self.name, self.name, evk.library(self.name))
        except CameraError:
            return []
        kind = evk.KINDS[self.name]
        return [
            CameraInfo(
                CameraRole.EVENTS, f"{self.name}:{d.serial}" if d.serial else self.name, kind.model,
                d.serial or "", evk.WIDTH, evk.HEIGHT,
            )
            for d in found
        ]  # fmt: skip

    def event_camera(self, config: BaseModel) -> EventCamera:
        """The camera."""
        if not isinstance(config, PropheseeConfig):
            raise CameraError(f"{self.name}: expected its own configuration, got {type(config).__name__}")
        sdk: Sdk = MetavisionSdk(config) if self.name == "metavision" else evk.EvkSdk(config)
        size = (0, 0) if self.name == "metavision" else (evk.WIDTH, evk.HEIGHT)
        return PropheseeCamera(config, sdk, size)

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """None: they have no frames."""
        raise CameraError(f"{self.name}: an event camera has no frames; name a frame camera for the image")

    def pair(self, config: BaseModel) -> None:
        """None."""
        return

    def rig_facts(self, config: BaseModel) -> RigFacts | None:
        """None: one camera is not a rig."""
        return None


EVK4 = PropheseeDriver("evk4")
EVK3 = PropheseeDriver("evk3")
METAVISION = PropheseeDriver("metavision")
