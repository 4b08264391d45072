"""Opens GenICam cameras by name: `genicam:ADDRESS` any of them, `flir` and `flir:SERIAL` FLIR's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from capture.camera import CameraInfo, EventCamera, FrameCamera
from capture.errors import CameraError
from capture.genicam import finding
from capture.genicam.camera import GenicamCamera
from capture.genicam.config import GenicamConfig, configure
from capture.registry import RigFacts


class GenicamDriver:
    """See `capture.registry.Driver`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def configure(self, rest: str, settings: Mapping[str, Any]) -> GenicamConfig:
        """See `capture.genicam.config.configure`."""
        return configure(self.name, rest, settings)

    def discover(self) -> list[CameraInfo]:
        """Cameras that answer now; [] without Aravis."""
        return finding.infos(self.name)

    def event_camera(self, config: BaseModel) -> EventCamera:
        """There is none."""
        raise CameraError(f"{self.name}: this is a frame camera; name an event camera for the events")

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """The camera, closed."""
        if not isinstance(config, GenicamConfig):
            raise CameraError(f"{self.name}: expected its own configuration, got {type(config).__name__}")
        return GenicamCamera(config)

    def pair(self, config: BaseModel) -> tuple[EventCamera, FrameCamera] | None:
        """None: a frame camera alone."""
        return None

    def rig_facts(self, config: BaseModel) -> RigFacts | None:
        """None: a rig file tells."""
        return None


GENICAM = GenicamDriver("genicam")
FLIR = GenicamDriver(finding.FLIR)
