"""Opens a DAVIS346 by name: `davis346[:SERIAL]` on USB, `aedat4-tcp:HOST:PORT`, `aedat4-unix:PATH`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from capture.camera import CameraInfo, CameraRole, EventCamera, FrameCamera
from capture.errors import CameraError
from capture.inivation.cameras import DavisCamera
from capture.inivation.config import (
    HEIGHT,
    WIDTH,
    DavisConfig,
    StreamConfig,
    configure_davis,
    configure_stream,
)
from capture.inivation.hub import Hub
from capture.inivation.stream_source import StreamSource, known_size, looked_at
from capture.inivation.usb_source import UsbSource, connected
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts

_NOTE = "one sensor: events and frames come from the same pixels and the same clock"


def _pair(hub: Hub, sizes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[EventCamera, FrameCamera]:
    events: DavisCamera[EventPacket] = DavisCamera(hub, CameraRole.EVENTS, sizes)
    frames: DavisCamera[Frame] = DavisCamera(hub, CameraRole.FRAMES, sizes)
    return events, frames


class DavisDriver:
    """A DAVIS346 on USB. See `capture.registry.Driver`."""

    name = "davis346"

    def configure(self, rest: str, settings: Mapping[str, Any]) -> DavisConfig:
        """See `config.DavisConfig`."""
        return configure_davis(rest, settings)

    def discover(self) -> list[CameraInfo]:
        """Both cameras of every DAVIS346 that is connected; [] where dv-processing cannot say."""
        try:
            found = connected("davis346")
        except CameraError:
            return []
        return [
            CameraInfo(role, f"davis346:{d.serial}", d.model, d.serial, WIDTH, HEIGHT)
            for d in found
            for role in (CameraRole.EVENTS, CameraRole.FRAMES)
        ]

    def event_camera(self, config: BaseModel) -> EventCamera:
        """Its events and edges."""
        return self.pair(config)[0]

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """Its frames (APS)."""
        return self.pair(config)[1]

    def pair(self, config: BaseModel) -> tuple[EventCamera, FrameCamera]:
        """Both: one device, one process."""
        c = _davis(config)
        name = f"davis346:{c.serial}" if c.serial else "davis346"
        return _pair(Hub(name, UsbSource(name, c)), ((WIDTH, HEIGHT), (WIDTH, HEIGHT)))

    def rig_facts(self, config: BaseModel) -> RigFacts:
        """A DAVIS346 is a rig by itself."""
        size = WIDTH, HEIGHT
        return RigFacts(size, size, one_sensor=True, exact=True, note=_NOTE)


class StreamDriver:
    """AEDAT4 streams over sockets. See `capture.registry.Driver`."""

    def __init__(self, name: Literal["aedat4-tcp", "aedat4-unix"]) -> None:
        self.name: Literal["aedat4-tcp", "aedat4-unix"] = name

    def configure(self, rest: str, settings: Mapping[str, Any]) -> StreamConfig:
        """See `config.StreamConfig`."""
        return configure_stream(self.name, rest, settings)

    def discover(self) -> list[CameraInfo]:
        """None: nothing announces itself."""
        return []

    def event_camera(self, config: BaseModel) -> EventCamera:
        """Events and edges."""
        return self._both(config)[0]

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """Frames. Raises `CameraError` where the configuration names no stream of frames."""
        if _stream(config).frames is None:
            raise CameraError(
                f"{_stream(config).name}: has no frames; say where they come from (frames = PORT)"
            )
        return self._both(config)[1]

    def _both(self, config: BaseModel) -> tuple[EventCamera, FrameCamera]:
        c = _stream(config)
        places = c.places()
        sizes = known_size(places["EVTS"], "EVTS"), known_size(places.get("FRME"), "FRME")
        return _pair(Hub(c.name, StreamSource(c.name, c)), sizes)

    def pair(self, config: BaseModel) -> tuple[EventCamera, FrameCamera] | None:
        """Both where both are streamed, as from a camera itself."""
        return None if _stream(config).frames is None else self._both(config)

    def rig_facts(self, config: BaseModel) -> RigFacts | None:
        """One sensor's where events and frames are streamed in one size, which only the server can say.

        Raises:
            CameraError: it does not answer.
        """
        c = _stream(config)
        places = c.places()
        if "FRME" not in places:
            return None
        e, f = (looked_at(c.name, places[k], k) for k in ("EVTS", "FRME"))
        if (e.width, e.height) != (f.width, f.height):
            return None
        size = e.width, e.height
        return RigFacts(size, size, one_sensor=True, exact=True, note=_NOTE)


def _davis(config: BaseModel) -> DavisConfig:
    if not isinstance(config, DavisConfig):
        raise CameraError(f"davis346: expected its own configuration, got {type(config).__name__}")
    return config


def _stream(config: BaseModel) -> StreamConfig:
    if not isinstance(config, StreamConfig):
        raise CameraError(f"aedat4: expected its own configuration, got {type(config).__name__}")
    return config


DAVIS = DavisDriver()
TCP = StreamDriver("aedat4-tcp")
UNIX = StreamDriver("aedat4-unix")
