"""The part of rotpy that `capture.spinnaker` calls, with a camera of 64×48 pixels at 40 Hz behind it.

Names, arguments and behaviour as of rotpy 0.2.1 with Spinnaker 2.6: an error or None on a time-out,
`ValueError` for an incomplete image, errors of several lines, a camera list that is empty at first.
"""

from __future__ import annotations

import sys
import threading
import time
from types import ModuleType
from typing import Any, ClassVar

import pytest

WIDTH, HEIGHT, PERIOD_S = 64, 48, 0.025
SERIAL = "19450123"


class Device:
    """The one camera that there is."""

    plugged: ClassVar[bool] = True
    hanging: ClassVar[threading.Event | None] = None
    incomplete: ClassVar[int] = 0
    asked: ClassVar[int] = 0
    values: ClassVar[dict[str, Any]] = {}

    @classmethod
    def reset(cls) -> None:
        cls.plugged, cls.hanging, cls.incomplete, cls.asked = True, None, 0, 0
        cls.values = {
            "ExposureTime": 8000.0, "Gain": 0.0, "AcquisitionFrameRate": 1 / PERIOD_S, "PixelFormat": "Mono8",
            "Width": WIDTH, "Height": HEIGHT, "DeviceModelName": "Blackfly S", "DeviceSerialNumber": SERIAL,
            "AcquisitionFrameRateEnable": False, "TriggerMode": "Off",
        }  # fmt: skip

    @classmethod
    def rate(cls) -> float:
        """At which frames come: as set, where that is switched on."""
        on = cls.values["AcquisitionFrameRateEnable"]
        return float(cls.values["AcquisitionFrameRate"]) if on else 1 / PERIOD_S

    @classmethod
    def call(cls) -> None:
        if cls.hanging is not None:
            cls.hanging.wait()
        if not cls.plugged:
            raise RuntimeError("Spinnaker: camera is gone [-1010]\n  at somewhere\n  in some file")


BOUNDS = {"ExposureTime": (10.0, 3e7), "Gain": (0.0, 47.0), "AcquisitionFrameRate": (1.0, 200.0)}


class Node:
    def __init__(self, name: str) -> None:
        self._name = name

    def get_node_value(self) -> Any:
        Device.call()
        return Device.rate() if self._name == "AcquisitionResultingFrameRate" else Device.values[self._name]

    def get_node_value_as_str(self) -> str:
        return str(self.get_node_value())

    def set_node_value(self, value: Any) -> None:
        Device.call()
        if self._name == "AcquisitionFrameRate" and not Device.values["AcquisitionFrameRateEnable"]:
            raise RuntimeError("Spinnaker: Node is not writable. [-2006]\n  at somewhere")
        Device.values[self._name] = value

    def set_node_value_from_str(self, value: str) -> None:
        self.set_node_value(value)

    def get_min_value(self) -> float:
        return BOUNDS[self._name][0]

    def get_max_value(self) -> float:
        if self._name == "ExposureTime" and Device.values["AcquisitionFrameRateEnable"]:
            return 1e6 / Device.rate()
        return BOUNDS[self._name][1]


class Nodes:
    def __getattr__(self, name: str) -> Node:
        return Node(name)


class Image:
    def __init__(self, number: int) -> None:
        self._number, self.released = number, False

    def get_frame_id(self) -> int:
        return self._number

    def get_frame_timestamp(self) -> int:
        return time.monotonic_ns()

    def get_pix_fmt(self) -> str:
        return str(Device.values["PixelFormat"])

    def get_width(self) -> int:
        return WIDTH

    def get_height(self) -> int:
        return HEIGHT

    def get_image_data(self) -> bytearray:
        assert not self.released
        return bytearray([self._number % 256]) * (WIDTH * HEIGHT)

    def release(self) -> None:
        self.released = True


class Camera:
    def __init__(self) -> None:
        self.camera_nodes, self._number, self._due = Nodes(), 0, 0.0
        self.open = self.streaming = False

    def init_cam(self) -> None:
        Device.call()
        self.open = True

    def begin_acquisition(self) -> None:
        Device.call()
        assert self.open
        self.streaming, self._due, self._number = True, time.monotonic(), 0

    def get_next_image(self, timeout: float | None = None, stream_id: int = 0) -> Image | None:
        assert self.streaming
        if Device.hanging is not None:
            Device.hanging.wait()
        if not Device.plugged:  # buffers simply stop
            time.sleep(timeout or 0.0)
            return None
        wait = self._due - time.monotonic() if Device.values["TriggerMode"] == "Off" else 1e3
        if timeout is not None and wait > timeout:
            time.sleep(timeout)
            raise RuntimeError("Spinnaker: Failed waiting for EventData on NEW_BUFFER_DATA event. [-1011]")
        time.sleep(max(0.0, wait))
        self._due += 1 / Device.rate()
        self._number += 1
        if Device.incomplete:
            Device.incomplete -= 1
            raise ValueError("Image incomplete")
        return Image(self._number)

    def end_acquisition(self) -> None:
        if not self.streaming:
            raise RuntimeError("not streaming")
        self.streaming = False

    def deinit_cam(self) -> None:
        assert not self.streaming
        self.open = False

    def release(self) -> None:
        assert not self.open


class CameraList:
    @staticmethod
    def create_from_system(system: Any, update_interfaces: bool, update_cams: bool) -> CameraList:
        Device.asked += 1
        return CameraList()

    def get_size(self) -> int:
        return int(Device.plugged and Device.hanging is None and Device.asked > 1)

    def create_camera_by_index(self, index: int) -> Camera:
        return Camera()

    def create_camera_by_serial(self, serial: str) -> Camera:
        if serial != SERIAL:
            raise RuntimeError("Spinnaker: no such camera [-1001]\n  at somewhere")
        return Camera()


class SpinSystem:
    pass


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the package."""
    Device.reset()
    for name, what in (("rotpy", {}), ("rotpy.system", {"SpinSystem": SpinSystem}),
                       ("rotpy.camera", {"CameraList": CameraList})):  # fmt: skip
        module = ModuleType(name)
        vars(module).update(what)
        monkeypatch.setitem(sys.modules, name, module)


def hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is not installed."""
    for name in ("rotpy", "rotpy.system", "rotpy.camera"):
        monkeypatch.setitem(sys.modules, name, None)
