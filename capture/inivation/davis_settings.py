"""Settings of a DAVIS346 by our names ↔ dv-processing's calls; applied at opening, changed and read back."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capture import native
from capture.camera import Control
from capture.errors import CameraError
from capture.inivation.config import DavisConfig

_FILTER_US = 250
BIASES = {
    "Photoreceptor": "pr", "PhotoreceptorSourceFollower": "prsf", "Diff": "diff", "On": "on", "Off": "off",
    "Refractory": "refr",
}  # fmt: skip
"""Pixel biases that decide what events there are: dv-processing's name and the short one of the literature."""
EDGES = ("both", "rising", "falling", "off")


@dataclass(frozen=True, slots=True)
class _Number:
    """A whole number: calls that read and write it, bounds, unit."""

    read: Callable[[Any], int]
    write: Callable[[Any, int], None]
    low: int
    high: int
    unit: str = ""
    step: int = 1


def _us(delta: datetime.timedelta) -> int:
    return round(delta / datetime.timedelta(microseconds=1))


def _span(us: int) -> datetime.timedelta:
    return datetime.timedelta(microseconds=us)


_NUMBERS = {
    "exposure_us": _Number(
        lambda c: _us(c.getExposureDuration()), lambda c, v: c.setExposureDuration(_span(v)), 1, 1_000_000, "µs"
    ),
    "frame_interval_us": _Number(
        lambda c: _us(c.getFrameInterval()), lambda c, v: c.setFrameInterval(_span(v)), 1000, 8_000_000, "µs"
    ),
    "batch_us": _Number(
        lambda c: _us(c.getTimeInterval()), lambda c, v: c.setTimeInterval(_span(v)), 500, 100_000, "µs"
    ),
    "early_packet_us": _Number(
        lambda c: _us(c.getUSBEarlyPacketDelay()), lambda c, v: c.setUSBEarlyPacketDelay(_span(v)),
        125, 1_000_000, "µs", 125,
    ),
    "background_filter_us": _Number(
        lambda c: _FILTER_US * int(c.getBackgroundActivityFilter()),
        lambda c, v: c.setBackgroundActivityFilter(v // _FILTER_US), 0, 1_000_000, "µs", _FILTER_US,
    ),
    "refractory_us": _Number(
        lambda c: _FILTER_US * int(c.getRefractoryPeriodFilter()),
        lambda c, v: c.setRefractoryPeriodFilter(v // _FILTER_US), 0, 1_000_000, "µs", _FILTER_US,
    ),
}  # fmt: skip


class DavisSettings:
    """Of one open camera.

    Args:
        name: of the camera, for messages.
        camera: dv-processing's object.
        dv: the module.
    """

    NAMES = (
        *_NUMBERS, "auto_exposure", "edges",
        *(f"bias_{short}_{part}" for short in BIASES.values() for part in ("coarse", "fine")),
    )  # fmt: skip

    def __init__(self, name: str, camera: Any, dv: Any) -> None:
        self._name, self._camera = name, camera
        kinds = dv.io.camera.DAVIS.Davis346BiasCF
        self._biases = {short: getattr(kinds, long) for long, short in BIASES.items()}

    def apply(self, config: DavisConfig) -> None:
        """Bring the camera into the state that the configuration asks for. Raises `CameraError`."""
        c = self._camera
        # Exposure is to be known and constant unless someone asks otherwise.
        self.change("auto_exposure", config.auto_exposure)
        self.change("edges", config.edges)
        for name in _NUMBERS:
            value = getattr(config, name)
            if value is not None:
                self.change(name, value)
        for name, (coarse, fine) in config.biases.items():
            if name not in self._biases:
                raise CameraError(f"{self._name}: no bias {name!r}; known: {', '.join(self._biases)}")
            self.change(f"bias_{name}_coarse", coarse)
            self.change(f"bias_{name}_fine", fine)
        for switch in (c.setImuRunningAccelerometer, c.setImuRunningGyroscope, c.setImuRunningTemperature):
            switch(config.imu)

    def change(self, name: str, value: Any) -> None:
        """Set one. Raises `CameraError`: out of range, or refused by the camera."""
        try:
            self._change(name, value)
        except CameraError:
            raise
        except Exception as e:
            raise CameraError(f"{self._name}: {name} cannot be set to {value!r} ({native.message(e)})") from e

    def _change(self, name: str, value: Any) -> None:
        c = self._camera
        if name == "auto_exposure":
            if not isinstance(value, bool):
                raise CameraError(f"{self._name}: {name} = {value!r} is not possible; give true or false")
            c.setAutoExposure(value)
        elif name == "edges":
            if value not in EDGES:
                raise CameraError(f"{self._name}: {name} = {value!r} is not possible; give {', '.join(EDGES)}")
            c.setDetectorRisingEdges(value in ("both", "rising"))
            c.setDetectorFallingEdges(value in ("both", "falling"))
            c.setDetectorRunning(value != "off")
        elif name in _NUMBERS:
            n = _NUMBERS[name]
            number = self._whole(name, value, n.low, n.high)
            if name == "exposure_us":
                c.setAutoExposure(False)
            n.write(c, number)
        else:
            _, short, part = name.split("_")
            bias = self._biases[short]
            coarse, fine = c.getDavis346BiasCoarseFine(bias)
            if part == "coarse":
                coarse = self._whole(name, value, 0, 7)
            else:
                fine = self._whole(name, value, 0, 255)
            c.setDavis346BiasCoarseFine(bias, coarse, fine)

    def _whole(self, name: str, value: Any, low: int, high: int) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise CameraError(f"{self._name}: {name} = {value!r} is not possible; give a whole number")
        if not low <= value <= high:
            raise CameraError(f"{self._name}: {name} {value} is out of range; it goes from {low} to {high}")
        return value

    def _edges(self) -> str:
        c = self._camera
        up, down = bool(c.getDetectorRisingEdges()), bool(c.getDetectorFallingEdges())
        return "both" if up and down else "rising" if up else "falling" if down else "off"

    def values(self) -> dict[str, Any]:
        """All as the camera says them now."""
        c = self._camera
        out: dict[str, Any] = {name: n.read(c) for name, n in _NUMBERS.items()}
        out["auto_exposure"] = bool(c.getAutoExposure())
        out["edges"] = self._edges()
        for short, bias in self._biases.items():
            out[f"bias_{short}_coarse"], out[f"bias_{short}_fine"] = map(int, c.getDavis346BiasCoarseFine(bias))
        return out

    def controls(self) -> tuple[Control, ...]:
        """The same with their bounds."""
        found = []
        for name, value in self.values().items():
            if name in _NUMBERS:
                n = _NUMBERS[name]
                found.append(Control(name, value, n.low, n.high, n.step, n.unit))
            elif name == "edges":
                found.append(Control(name, value, choices=EDGES))
            elif name == "auto_exposure":
                found.append(Control(name, value))
            else:
                found.append(Control(name, value, 0, 7 if name.endswith("coarse") else 255, 1))
        return tuple(found)
