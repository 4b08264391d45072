"""The camera contract over the wire: Aravis on a simulated Blackfly S."""

from __future__ import annotations

import pytest

from capture.errors import CameraError
from capture.genicam import aravis
from capture.genicam.driver import FLIR, GENICAM, GenicamDriver
from capture.simulated.gige.device import GigeDevice
from tests.capture.contract import (
    CameraCase,
    CameraContract,
    DriverCase,
    DriverContract,
    Plug,
    UnplugContract,
)
from tests.capture.genicam import wire

VALUES = {
    "exposure_us": 2500.0, "gain_db": 6.0, "rate_hz": 40.0, "width": 160, "height": 120, "offset_x": 32,
    "offset_y": 16, "pixel_format": "Mono8", "white_red": 1.5, "white_blue": 2.0, "trigger": "off",
    "strobe_line": "Line2", "stamp": "end", "stamp_offset_us": 12.5,
}  # fmt: skip


class TestGenicamCamera(CameraContract):
    @pytest.fixture(params=["packet socket", "udp socket", "no chunks"])
    def case(self, request: pytest.FixtureRequest, device: GigeDevice) -> CameraCase:
        settings = {"packet_socket": request.param == "packet socket", "chunks": request.param != "no chunks"}
        return CameraCase(lambda: wire.camera(device, **settings), 20, VALUES)


def _hide(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        raise CameraError(aravis.MISSING)

    monkeypatch.setattr(aravis, "load", nothing)


@pytest.mark.parametrize("driver", [GENICAM, FLIR], ids=["genicam", "flir"])
class TestGenicamDriver(DriverContract):
    @pytest.fixture
    def subject(self, driver: GenicamDriver) -> DriverCase:
        return DriverCase(driver, "127.0.0.1", {"exposure_us": 5000}, "127.0.0.300", _hide)


class TestGenicamPlug(UnplugContract):
    """Two ways to go: the power fails, or the cable is out and the camera never knows."""

    @pytest.fixture(params=["power", "cable"])
    def plug(self, request: pytest.FixtureRequest, device: GigeDevice) -> Plug:
        def pull(ask: object) -> None:
            if request.param == "power":
                device.stop()
            else:
                device.faults.mute = True

        def put_back() -> None:
            device.faults.mute = False
            device.start()

        def hang() -> None:
            device.faults.mute = True

        # What Aravis does for a camera that is gone (tell it to stop, let it go) ends by its time limits.
        return Plug(
            lambda: wire.camera(device), f"genicam:{device.address}", pull, put_back, hang=hang, gone_s=15.0
        )
