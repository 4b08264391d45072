"""Settings by our names ↔ the camera's features: applied at opening, changed and read back while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capture.camera import Control
from capture.errors import CameraError
from capture.genicam.aravis import AravisError
from capture.genicam.config import AUTO, LAYOUTS, GenicamConfig
from capture.genicam.features import Features, Value

RESHAPING = ("pixel_format", "width", "height", "offset_x", "offset_y")
"""Settings that change what a frame is: the stream is set up anew."""

_REGION = {"width": "Width", "height": "Height", "offset_x": "OffsetX", "offset_y": "OffsetY"}
_WHITE = {"white_red": "Red", "white_blue": "Blue"}
_TICKS = "GevTimestampTickFrequency"
_RATE_SWITCH = ("AcquisitionFrameRateEnable", "AcquisitionFrameRateEnabled")
_OFF = "off"


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting: whether this camera has it, how it is read, written and shown."""

    there: Callable[[], bool]
    read: Callable[[], Value]
    write: Callable[[Any], None]
    control: Callable[[Value], Control]


class Settings:
    """The settings of one open camera. For the SDK's thread only.

    Args:
        features: of the camera.
        config: as configured; `stamp` and `stamp_offset_us` begin from it.

    Attributes:
        stamp, stamp_offset_us: see `GenicamConfig`; they live here, not in the camera.
    """

    def __init__(self, features: Features, config: GenicamConfig) -> None:
        self._f, self._config = features, config
        self.stamp, self.stamp_offset_us = config.stamp, config.stamp_offset_us
        self._strobe = ""
        self._all = self._settings()
        self.names = tuple(n for n, s in self._all.items() if s.there())

    # -- opening -------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Bring the camera into the state that the configuration asks for. Raises `CameraError`."""
        f, c = self._f, self._config
        for auto in ("ExposureAuto", "GainAuto", "BalanceWhiteAuto", "AcquisitionFrameRateAuto"):
            f.try_to(auto, "Off")
        f.try_to("ExposureMode", "Timed")
        f.try_to("AcquisitionMode", "Continuous")
        if not f.try_to("GammaEnable", False):
            f.try_to("Gamma", 1.0)
        self._write_format(c.pixel_format)
        self._apply_region()
        # The last one's rate must not stand in the way of this one's exposure.
        if (switch := f.first(*_RATE_SWITCH)) is not None:
            f.try_to(switch, False)
        self._write_trigger(c.trigger)
        for name in ("exposure_us", "gain_db", "rate_hz", "white_red", "white_blue"):
            value = getattr(c, name)
            if value is not None:
                self._write(name, value)
        if c.strobe_line:
            self._write_strobe(c.strobe_line)
        if c.link_bytes_per_s is not None:
            f.write_within("DeviceLinkThroughputLimit", c.link_bytes_per_s, "link_bytes_per_s")

    def _apply_region(self) -> None:
        """Offsets first to 0, so that any size fits; then the size; then the offsets."""
        f, c = self._f, self._config
        for feature in ("OffsetX", "OffsetY"):
            f.try_to(feature, 0)
        for name, feature in (("width", "Width"), ("height", "Height")):
            wanted = getattr(c, name)
            if not f.has(feature):
                continue
            if wanted is None:
                f.write(feature, int(f.bounds(feature, floating=False)[1]))
            else:
                f.write_within(feature, wanted, name)
        for name, feature in (("offset_x", "OffsetX"), ("offset_y", "OffsetY")):
            if getattr(c, name):
                f.write_within(feature, getattr(c, name), name)

    def chunk_features(self) -> dict[str, str]:
        """Switch chunks on; which feature tells what (`frame_id`, `exposure_us`, `stamp_ns`). {} without."""
        f = self._f
        if not self._config.chunks or not f.try_to("ChunkModeActive", True):
            return {}
        found: dict[str, str] = {}
        entries = f.entries("ChunkSelector")
        # Aravis makes nanoseconds of a buffer's stamp; a chunk's is in ticks, of 8 ns with some GigE cameras.
        stamps = ("Timestamp", "ImageTimestamp") if self._ticks_are_ns() else ()
        for what, names in (
            ("frame_id", ("FrameID",)), ("exposure_us", ("ExposureTime",)), ("stamp_ns", stamps),
        ):  # fmt: skip
            for name in names:
                if name in entries and f.try_to("ChunkSelector", name):
                    f.try_to("ChunkEnable", True)  # some cannot be switched off, and so not on
                    found[what] = f"Chunk{name}"
                    break
        return found

    def _ticks_are_ns(self) -> bool:
        """A tick of the camera's clock is a nanosecond, or it does not say how long one is."""
        f = self._f
        return not f.has(_TICKS) or f.whole(_TICKS) in (0, 1_000_000_000)

    def period_ns(self) -> float | None:
        """From frame to frame; None when frames come by a trigger, or the camera does not say."""
        f = self._f
        if self._read_trigger() != _OFF:
            return None
        feature = f.first("AcquisitionResultingFrameRate", "ResultingFrameRate", "AcquisitionFrameRate")
        rate = f.number(feature) if feature else 0.0
        return 1e9 / rate if rate > 0 else None

    # -- while it runs -------------------------------------------------------------------------------------

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Change settings by name. Raises `CameraError`: unknown, out of range, or refused by the camera."""
        for name in wanted:
            if name not in self.names:
                known = ", ".join(self.names)
                raise CameraError(f"{self._f.name}: no setting {name!r}; known: {known}")
        for name in self._in_order(wanted):
            self._write(name, wanted[name])

    def _in_order(self, wanted: Mapping[str, Any]) -> list[str]:
        """What makes room for another goes first: a shorter exposure before a higher rate, and so on."""
        names = list(wanted)
        for room, other in (("rate_hz", "exposure_us"), ("offset_x", "width"), ("offset_y", "height")):
            if room not in wanted or other not in wanted:
                continue
            smaller = _number(wanted[other]) <= _number(self._all[other].read())
            first, second = (other, room) if smaller else (room, other)
            names.remove(first)
            names.insert(names.index(second), first)
        return names

    def values(self) -> dict[str, Value]:
        """All settings as the camera says them now."""
        return {n: self._all[n].read() for n in self.names}

    def controls(self) -> tuple[Control, ...]:
        """The same with their bounds."""
        return tuple(self._all[n].control(self._all[n].read()) for n in self.names)

    def _write(self, name: str, value: Any) -> None:
        try:
            self._all[name].write(value)
        except AravisError as e:
            raise CameraError(f"{self._f.name}: {name} cannot be set to {value} ({e})") from e
        except (TypeError, ValueError) as e:
            raise CameraError(f"{self._f.name}: {name} = {value!r} is not possible ({e})") from e

    # -- one by one ----------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, _Setting]:
        f = self._f
        out: dict[str, _Setting] = {}

        def number(name: str, feature: str, unit: str, why: Callable[[], str] = lambda: "") -> None:
            out[name] = _Setting(
                lambda: f.has(feature),
                lambda: f.number(feature),
                lambda v: f.write_within(feature, float(_number(v)), name, why()),
                lambda v: Control(name, v, *f.bounds(feature), unit=unit),
            )

        number("exposure_us", "ExposureTime", "µs", self._why_exposure)
        number("gain_db", "Gain", "dB")
        rate = f.first("AcquisitionFrameRate") or ""
        out["rate_hz"] = _Setting(
            lambda: bool(rate), lambda: f.number(rate), self._write_rate,
            lambda v: Control("rate_hz", v, *f.bounds(rate), unit="Hz"),
        )  # fmt: skip
        for name, feature in _REGION.items():
            out[name] = self._region(name, feature)
        out["pixel_format"] = _Setting(
            lambda: f.has("PixelFormat"), lambda: f.text("PixelFormat"), self._write_format,
            lambda v: Control("pixel_format", v, choices=tuple(self._formats())),
        )  # fmt: skip
        for name, colour in _WHITE.items():
            out[name] = self._white(name, colour)
        out["trigger"] = _Setting(
            lambda: f.has("TriggerMode"), self._read_trigger, self._write_trigger,
            lambda v: Control("trigger", v, choices=(_OFF, *f.entries("TriggerSource"))),
        )  # fmt: skip
        out["strobe_line"] = _Setting(
            lambda: f.has("LineSource"), lambda: self._strobe, self._write_strobe,
            lambda v: Control("strobe_line", v, choices=("", *f.entries("LineSelector"))),
        )  # fmt: skip
        out["stamp"] = _Setting(
            lambda: True, lambda: self.stamp, self._write_stamp,
            lambda v: Control("stamp", v, choices=("start", "end")),
        )  # fmt: skip
        out["stamp_offset_us"] = _Setting(
            lambda: True, lambda: self.stamp_offset_us, self._write_stamp_offset,
            lambda v: Control("stamp_offset_us", v, -1e6, 1e6, unit="µs"),
        )  # fmt: skip
        return out

    def _region(self, name: str, feature: str) -> _Setting:
        f = self._f
        return _Setting(
            lambda: f.has(feature),
            lambda: f.whole(feature),
            lambda v: f.write_within(feature, _whole(v), name),
            lambda v: Control(name, v, *f.bounds(feature, floating=False), f.step(feature), "px"),
        )

    def _white(self, name: str, colour: str) -> _Setting:
        f = self._f

        def selected() -> None:
            f.write("BalanceRatioSelector", colour)

        def read() -> Value:
            selected()
            return f.number("BalanceRatio")

        def write(value: Any) -> None:
            selected()
            f.write_within("BalanceRatio", float(_number(value)), name)

        def control(value: Value) -> Control:
            selected()
            return Control(name, value, *f.bounds("BalanceRatio"))

        return _Setting(lambda: f.has("BalanceRatio") and f.has("BalanceRatioSelector"), read, write, control)

    def _why_exposure(self) -> str:
        switch = self._f.first(*_RATE_SWITCH)
        if switch is None or not self._f.switch(switch) or self._read_trigger() != _OFF:
            return ""
        return f"the frame period at rate_hz {self._f.number('AcquisitionFrameRate'):g}"

    def _write_rate(self, value: Any) -> None:
        f = self._f
        if (switch := f.first(*_RATE_SWITCH)) is not None:
            f.write(switch, True)
        exposure = f.number("ExposureTime") if f.has("ExposureTime") else 0.0
        f.write_within("AcquisitionFrameRate", float(_number(value)), "rate_hz", f"at exposure_us {exposure:g}")

    def _formats(self) -> list[str]:
        """Pixel formats that the camera has and this program reads, best first."""
        offered = self._f.entries("PixelFormat")
        return [name for name in LAYOUTS if name in offered]

    def _write_format(self, value: Any) -> None:
        usable = self._formats()
        if not usable:
            offered = ", ".join(self._f.entries("PixelFormat")) or "none"
            raise CameraError(
                f"{self._f.name}: the camera offers the pixel formats {offered}; none is read: set it to "
                f"8 bits with its maker's program, so that it offers one of {', '.join(LAYOUTS)}"
            )
        wanted = usable[0] if value == AUTO else str(value)
        if wanted not in usable:
            raise CameraError(
                f"{self._f.name}: pixel_format {wanted!r} is not possible; choose one of {', '.join(usable)}"
            )
        self._f.write("PixelFormat", wanted)

    def _read_trigger(self) -> str:
        f = self._f
        on = f.has("TriggerMode") and f.text("TriggerMode") == "On"
        return f.text("TriggerSource") if on else _OFF

    def _write_trigger(self, value: Any) -> None:
        f = self._f
        if value == _OFF:
            f.try_to("TriggerSelector", "FrameStart")
            f.try_to("TriggerMode", "Off")
            return
        f.try_to("TriggerSelector", "FrameStart")
        f.choose("TriggerSource", str(value), "trigger")
        edge = "RisingEdge" if self._config.trigger_edge == "rising" else "FallingEdge"
        f.try_to("TriggerActivation", edge)
        f.try_to("TriggerOverlap", "ReadOut")
        f.write("TriggerMode", "On")

    def _write_strobe(self, value: Any) -> None:
        """The line is high (or low) while the shutter is open."""
        f = self._f
        if self._strobe and self._strobe != value:
            f.write("LineSelector", self._strobe)
            f.try_to("LineSource", "Off")
        self._strobe = ""
        if value == "":
            return
        f.choose("LineSelector", str(value), "strobe_line")
        if f.has("LineMode") and f.text("LineMode") != "Output":
            f.choose("LineMode", "Output", f"strobe_line {value}")
        f.choose("LineSource", "ExposureActive", f"strobe_line {value}")
        if self._config.strobe_inverted or f.has("LineInverter"):
            f.write("LineInverter", self._config.strobe_inverted)
        self._strobe = str(value)

    def _write_stamp(self, value: Any) -> None:
        if value == "start":
            self.stamp = "start"
        elif value == "end":
            self.stamp = "end"
        else:
            raise ValueError("give start or end")

    def _write_stamp_offset(self, value: Any) -> None:
        offset = float(_number(value))
        if not abs(offset) <= 1e6:
            raise ValueError("give -1000000 to 1000000")
        self.stamp_offset_us = offset


def _number(value: Any) -> float | int:
    """A number of a request; numbers only, no words, no truth values."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("give a number")
    return value


def _whole(value: Any) -> int:
    """A whole number of a request, written with a fraction of 0 or without."""
    number = _number(value)
    if number != int(number):
        raise ValueError("give a whole number")
    return int(number)
