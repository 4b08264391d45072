"""A DAVIS346 that is none: the calls of dv-processing's class, kept and answered.

Whatever is called on it must exist on the real class; `FakeDavis.__getattr__` sees to that.
"""

from __future__ import annotations

import datetime
import types
from typing import Any

import dv_processing as dv
import numpy as np

REAL = dv.io.camera.DAVIS


class FakeDavis:
    def __init__(self, serial: str) -> None:
        self.serial = serial
        self.set: dict[str, Any] = {
            "ExposureDuration": datetime.timedelta(microseconds=4000),
            "FrameInterval": datetime.timedelta(microseconds=40_000),
            "TimeInterval": datetime.timedelta(microseconds=10_000),
            "USBEarlyPacketDelay": datetime.timedelta(microseconds=1000),
            "BackgroundActivityFilter": 8, "RefractoryPeriodFilter": 1, "AutoExposure": True,
            "DetectorRisingEdges": False, "DetectorFallingEdges": False,
        }  # fmt: skip
        self.biases: dict[Any, tuple[int, int]] = {}
        self.running = True
        self.events: list[Any] = []
        self.frames: list[Any] = []
        self.triggers: list[Any] = []
        self.imu: list[Any] = []
        self.fail = ""

    def __getattr__(self, name: str) -> Any:
        assert hasattr(REAL, name), f"dv-processing's DAVIS has no {name}"
        if name.startswith("set"):
            return lambda value: self.set.__setitem__(name[3:], value)
        if name.startswith("get"):
            return lambda: self.set[name[3:]]
        raise AttributeError(name)

    def getDavis346BiasCoarseFine(self, bias: Any) -> tuple[int, int]:
        return self.biases.get(bias, (4, 100))

    def setDavis346BiasCoarseFine(self, bias: Any, coarse: int, fine: int) -> None:
        self.biases[bias] = (coarse, fine)

    def getTimestampOffset(self) -> datetime.timedelta:
        return datetime.timedelta(seconds=1_700_000_000)

    def getConnectionSpeed(self) -> Any:
        return dv.io.camera.libusb_speed.LIBUSB_SPEED_SUPER

    def isMaster(self) -> bool:
        return True

    def getEventResolution(self) -> tuple[int, int]:
        return 346, 260

    getFrameResolution = getEventResolution

    def isRunning(self) -> bool:
        return self.running

    def _next(self, queue: list[Any]) -> Any:
        if self.fail:
            raise RuntimeError(self.fail)
        return queue.pop(0) if queue else None

    def getNextEventBatch(self) -> Any:
        return self._next(self.events)

    def getNextFrame(self) -> Any:
        return self._next(self.frames)

    def getNextTriggerBatch(self) -> Any:
        return self._next(self.triggers)

    def getNextImuBatch(self) -> Any:
        return self._next(self.imu)


class FakeBus:
    """What is plugged in; stands in for `dv_processing` where the driver imports it."""

    def __init__(self, *serials: str) -> None:
        self.cameras = {s: FakeDavis(s) for s in serials}
        self.refuse = ""
        self.io = types.SimpleNamespace(
            camera=types.SimpleNamespace(
                discover=self._discover, open=self._open, CameraModel=dv.io.camera.CameraModel, DAVIS=REAL
            )
        )

    def _discover(self) -> list[Any]:
        return [
            types.SimpleNamespace(cameraModel=dv.io.camera.CameraModel.DAVIS, serialNumber=s, firmwareVersion=6)
            for s in self.cameras
        ]

    def _open(self, descriptor: Any) -> FakeDavis:
        if self.refuse:
            raise RuntimeError(self.refuse)
        return self.cameras[descriptor.serialNumber]


def store(t: list[int]) -> dv.EventStore:
    s = dv.EventStore()
    for v in t:
        s.push_back((v, 3, 4, True))
    return s


def frame(t: int, exposure_us: int, shape: tuple[int, ...] = (260, 346)) -> dv.Frame:
    return dv.Frame(t, exposure_us, 0, 0, np.full(shape, 7, np.uint8), dv.FrameSource.SENSOR)
