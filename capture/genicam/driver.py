"""Opens GenICam cameras by name: `genicam:ADDRESS` any of them, `flir` and `flir:SERIAL` FLIR's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from capture.camera import CameraInfo, FrameCamera
from capture.errors import CameraError
from capture.genicam import finding
from capture.genicam.camera import GenicamCamera
from capture.genicam.config import FLIR as FLIR_NAME
from capture.genicam.config import GenicamConfig, configure
from capture.registry import FramesOnlyDriver


class GenicamDriver(FramesOnlyDriver):
    """See `capture.registry.Driver`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def configure(self, rest: str, settings: Mapping[str, Any]) -> GenicamConfig:
        """See `capture.genicam.config.configure`."""
        return configure(self.name, rest, settings)

    def discover(self) -> list[CameraInfo]:
        """Cameras that answer now; [] without Aravis."""
        return finding.infos(self.name)

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """The camera, closed."""
        if not isinstance(config, GenicamConfig):
            raise CameraError(f"{self.name}: expected its own configuration, got {type(config).__name__}")
        return GenicamCamera(config)


GENICAM = GenicamDriver("genicam")
FLIR = GenicamDriver(FLIR_NAME)
