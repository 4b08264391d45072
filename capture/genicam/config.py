"""What can be set about a GenICam camera, before it is opened and while it runs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from capture.errors import UsageError
from capture.packets import PixelLayout
from capture.validation import Strict, camera_config

LAYOUTS: dict[str, PixelLayout] = {
    "BayerRG8": PixelLayout.BAYER_RGGB,
    "BayerGR8": PixelLayout.BAYER_GRBG,
    "BayerGB8": PixelLayout.BAYER_GBRG,
    "BayerBG8": PixelLayout.BAYER_BGGR,
    "RGB8": PixelLayout.RGB,
    "Mono8": PixelLayout.GRAY,
}
"""Pixel formats that are read, in order of preference, and what their pixels mean."""

FORMAT_NUMBERS: dict[int, str] = {
    0x01080009: "BayerRG8", 0x01080008: "BayerGR8", 0x0108000A: "BayerGB8", 0x0108000B: "BayerBG8",
    0x02180014: "RGB8", 0x01080001: "Mono8",
}  # fmt: skip
"""Their numbers in the stream (GenICam Pixel Format Naming Convention)."""

AUTO = "auto"
FLIR = "flir"
"""The driver's name by which cameras of this maker are opened."""


class GenicamConfig(Strict):
    """Which camera, and how it is set. None (or "") leaves exposure, gain and white as the camera has them,
    reads out the whole sensor, and sets no limit to the rate.

    Automatic exposure, gain and white balance are switched off and gamma is 1 in any case: a restorer needs
    pixel values that are proportional to light, and an exposure that is what was asked for.
    """

    driver: str = Field(default="genicam", description="the name that it was opened by")
    target: str = Field(default="", description="address, host name or serial number; empty: the only camera")
    serial: str = Field(default="", description="refuse any other camera at this address")

    exposure_us: float | None = Field(default=None, gt=0, le=60e6)
    gain_db: float | None = Field(default=None, ge=-20, le=100)
    rate_hz: float | None = Field(default=None, gt=0, le=5000, description="frames per second")
    width: int | None = Field(default=None, ge=1, le=65535, description="of the region that is read out")
    height: int | None = Field(default=None, ge=1, le=65535)
    offset_x: int = Field(default=0, ge=0, le=65535)
    offset_y: int = Field(default=0, ge=0, le=65535)
    pixel_format: str = Field(default=AUTO, description=f"auto or one of {', '.join(LAYOUTS)}")
    white_red: float | None = Field(default=None, gt=0, le=16, description="white balance: red against green")
    white_blue: float | None = Field(default=None, gt=0, le=16, description="white balance: blue against green")

    trigger: str = Field(
        default="off", description="off: free running; or the line (Line0 …) or Software that starts exposures"
    )
    trigger_edge: Literal["rising", "falling"] = "rising"
    strobe_line: str = Field(default="", description="line that is high while the shutter is open, e.g. Line2")
    strobe_inverted: bool = Field(default=False, description="low while the shutter is open")
    stamp: Literal["start", "end"] = Field(
        default="start", description="which end of the exposure the camera's time stamp marks"
    )
    stamp_offset_us: float = Field(
        default=0.0, ge=-1e6, le=1e6, description="added to the camera's stamp (read-out, line delay), measured"
    )
    chunks: bool = Field(default=True, description="exposure and stamp come with every frame where possible")

    packet_size: int | Literal["auto", "keep"] = Field(
        default="auto", description="GigE Vision: bytes of a packet; auto tries out what the network carries"
    )
    packet_delay_ns: int | None = Field(default=None, ge=0, le=1_000_000_000)
    link_bytes_per_s: int | None = Field(default=None, ge=1_000_000, le=2_000_000_000)
    packet_socket: bool = Field(
        default=True, description="read packets past the UDP stack where allowed (root)"
    )
    resend: bool = Field(default=True, description="ask again for packets that were lost")
    buffers: int = Field(default=24, ge=2, le=1000, description="frames that may wait for the reader")

    @model_validator(mode="after")
    def _sound(self) -> GenicamConfig:
        if self.pixel_format != AUTO and self.pixel_format not in LAYOUTS:
            raise ValueError(
                f"pixel format {self.pixel_format!r} is not read; choose {AUTO} or one of {', '.join(LAYOUTS)}"
            )
        if isinstance(self.packet_size, int) and not 220 <= self.packet_size <= 65535:
            raise ValueError(f"packet_size {self.packet_size} is out of range; give 220 to 65535, or auto")
        if self.exposure_us and self.rate_hz and self.trigger == "off":
            check_period(self.exposure_us, self.rate_hz)
        return self

    @property
    def pixel_bytes(self) -> int:
        """Of a frame; where the camera is to choose, what it will, or else the most there can be.

        Each FLIR camera has a Bayer or a gray format of 8 bits, and those come first.
        """
        if self.pixel_format == AUTO:
            return 1 if self.driver == FLIR else 3
        return LAYOUTS[self.pixel_format].pixel_bytes

    @property
    def name(self) -> str:
        """As it was opened: `genicam:127.0.0.1`."""
        return f"{self.driver}:{self.target}" if self.target else self.driver


def check_period(exposure_us: float, rate_hz: float) -> None:
    """Raises `ValueError` when an exposure does not fit between two frames."""
    period = 1e6 / rate_hz
    if exposure_us >= period:
        raise ValueError(
            f"exposure_us {exposure_us:g} does not fit into a frame period of {period:.0f} µs at rate_hz "
            f"{rate_hz:g}; lower one of them"
        )


def configure(driver: str, rest: str, settings: Mapping[str, Any]) -> GenicamConfig:
    """The configuration out of what follows the colon and of named settings.

    Raises:
        UsageError: a name that cannot be one, an unknown setting, a value out of range.
    """
    target = rest.strip()
    if target != rest or re.search(r"[\s/?#]", target):
        raise UsageError(f"{driver}:{rest}: give an address, a host name or a serial number after the colon")
    if re.fullmatch(r"[\d.]+\.[\d.]*", target):
        try:
            ipaddress.IPv4Address(target)
        except ValueError:
            raise UsageError(f"{driver}:{target}: {target!r} is not an IPv4 address") from None
    name = f"{driver}:{target}" if target else driver
    return camera_config(GenicamConfig, name, settings, {"driver": driver, "target": target})
