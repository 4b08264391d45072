"""What can be set about a DAVIS346 before it is opened, and where AEDAT4 streams come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field

from capture.errors import UsageError
from capture.inivation.stream_head import Address
from capture.validation import Strict, camera_config

WIDTH, HEIGHT = 346, 260


class DavisConfig(Strict):
    """A DAVIS346 on USB. None leaves what dv-processing sets when it opens the camera."""

    serial: str = Field(default="", pattern=r"^[A-Za-z0-9]{0,16}$", description="empty: the only one there is")
    exposure_us: int | None = Field(default=None, ge=1, le=1_000_000, description="of frames")
    auto_exposure: bool = Field(default=False, description="the camera chooses the exposure of frames")
    frame_interval_us: int | None = Field(default=None, ge=1000, le=8_000_000, description="of frames")
    batch_us: int = Field(default=5000, ge=500, le=100_000, description="length of what is read at once")
    edges: Literal["both", "rising", "falling", "off"] = Field(default="both", description="external input")
    early_packet_us: int | None = Field(default=None, ge=125, le=1_000_000, description="USB sends so often")
    background_filter_us: int | None = Field(default=None, ge=0, le=1_000_000, description="noise filter")
    refractory_us: int | None = Field(default=None, ge=0, le=1_000_000, description="in the camera")
    imu: bool = Field(default=True, description="read the inertial sensor")
    biases: dict[str, tuple[int, int]] = Field(default_factory=dict, description="name: coarse 0-7, fine 0-255")


class StreamConfig(Strict):
    """AEDAT4 streams of one device: events, and beside them what other addresses send."""

    scheme: Literal["aedat4-tcp", "aedat4-unix"]
    events: str
    triggers: str | None = Field(default=None, description="of edges: PORT, HOST:PORT or PATH")
    frames: str | None = Field(default=None, description="where frames come from")
    imu: str | None = Field(default=None, description="where inertial samples come from")
    edge_wait_ms: float = Field(
        default=10.0, ge=0, le=1000, description="how long events wait for earlier edges"
    )

    silent_s: float = Field(default=5.0, ge=0, le=3600, description="silence that means lost; 0: never")

    @property
    def name(self) -> str:
        """As it was named."""
        return f"{self.scheme}:{self.events}"

    def places(self) -> dict[str, Address]:
        """Addresses by the streams' kinds."""
        found = {"EVTS": self.events, "TRIG": self.triggers, "FRME": self.frames, "IMUS": self.imu}
        return {k: _address(self, _KEYS[k], v) for k, v in found.items() if v is not None}


_KEYS = {"EVTS": "", "TRIG": "triggers: ", "FRME": "frames: ", "IMUS": "imu: "}
"""The settings that say where the streams come from, for messages; of the events it is the name."""


def _address(config: StreamConfig, key: str, text: str) -> Address:
    """PORT is on the host of the events."""
    if config.scheme == "aedat4-unix":
        if not text or "\0" in text or len(text.encode()) > 107:
            raise UsageError(f"{config.name}: {key}{text!r} cannot be the path of a socket (1 to 107 bytes)")
        return text
    if text.isdigit():
        text = f"{config.events.rpartition(':')[0]}:{text}"
    m = re.fullmatch(r"([A-Za-z0-9._-]+):(\d{1,5})", text)
    if m is None or not 1 <= int(m[2]) <= 65535:
        raise UsageError(f"{config.name}: {key}{text!r} is no HOST:PORT; for example aedat4-tcp:127.0.0.1:7777")
    return m[1], int(m[2])


def configure_davis(rest: str, settings: Mapping[str, Any]) -> DavisConfig:
    """Raises `UsageError`."""
    return camera_config(DavisConfig, f"davis346:{rest}" if rest else "davis346", settings, {"serial": rest})


def configure_stream(scheme: str, rest: str, settings: Mapping[str, Any]) -> StreamConfig:
    """`HOST:PORT` or a path, `?triggers=…&frames=…` behind it. Raises `UsageError`."""
    place, _, query = rest.partition("?")
    values = {**dict(parse_qsl(query, keep_blank_values=True)), **settings}
    for key in ("triggers", "frames", "imu"):
        if type(values.get(key)) is int:
            values[key] = str(values[key])
    config = camera_config(StreamConfig, f"{scheme}:{place}", values, {"scheme": scheme, "events": place})
    places = list(config.places().values())
    if len(set(places)) < len(places):
        raise UsageError(f"{config.name}: two streams have the same address; each stream has a port of its own")
    return config
