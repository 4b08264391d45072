"""Simulated cameras on the loopback network for tests, each at an address of its own."""

from __future__ import annotations

import itertools
import os
from typing import Any

from capture.genicam.camera import GenicamCamera
from capture.genicam.driver import GENICAM
from capture.packets import PixelLayout
from capture.simulated.gige.device import GigeDevice
from capture.simulated.gige.pictures import Pattern

_numbers = itertools.count(1)


def own_address() -> str:
    """A loopback address that no other test, here or in a process beside this one, uses."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 8) % 64}.{pid % 256}.{next(_numbers) % 250 + 1}"


def own_serial() -> str:
    """A serial number that no other test uses."""
    return f"T{os.getpid()}-{next(_numbers)}"


def device(pictures: Pattern | None = None, **more: Any) -> GigeDevice:
    """A small camera, not started: 320×240 Bayer at 50 fps."""
    address, serial = more.pop("address", own_address()), more.pop("serial", own_serial())
    return GigeDevice(pictures or pattern(), address, serial, **more)


def pattern(layout: PixelLayout = PixelLayout.BAYER_RGGB, **more: Any) -> Pattern:
    """What it sees."""
    return Pattern(320, 240, layout, **{"rate_hz": 50.0, "exposure_us": 4000.0, **more})


def camera(d: GigeDevice, **settings: Any) -> GenicamCamera:
    """A closed camera for a device."""
    return GenicamCamera(GENICAM.configure(d.address, settings))
