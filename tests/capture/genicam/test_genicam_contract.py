"""The camera contract over the wire: Aravis on a simulated Blackfly S."""

from __future__ import annotations

import time

import pytest

from capture.errors import CameraError
from capture.genicam import aravis
from capture.genicam.driver import FLIR, GENICAM, GenicamDriver
from capture.ring import RingLayout, RingMemory, RingReader, RingRef
from capture.simulated.gige.device import GigeDevice
from capture.worker import CameraWorkerSpec, run_camera_worker
from tests.capture.contract import (
    CameraCase,
    CameraContract,
    DriverCase,
    DriverContract,
    Plug,
    UnplugContract,
)
from tests.capture.fake_link import FakeLink
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
        return CameraCase(lambda: wire.camera(device, **settings), 20, VALUES, counts=True)


def _hide(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        raise CameraError(aravis.MISSING)

    monkeypatch.setattr(aravis, "load", nothing)


@pytest.mark.parametrize("driver", [GENICAM, FLIR], ids=["genicam", "flir"])
class TestGenicamDriver(DriverContract):
    @pytest.fixture
    def subject(self, driver: GenicamDriver) -> DriverCase:
        return DriverCase(driver, "127.0.0.1", {"exposure_us": 5000}, "127.0.0.300", _hide)


def test_a_worker_tells_what_the_driver_counts(device: GigeDevice) -> None:
    """Losses by cause, over the camera's power failure too."""
    device.faults.loss, device.faults.resend = 0.02, False
    memory = RingMemory.create(RingLayout("frames", 8 << 20, 256, ("test",)))
    ref = RingRef(memory.name, "frames")
    reader, sequences, failed = RingReader(ref, "test"), [], []

    def script(link: FakeLink) -> None:
        while (item := reader.read()) is not None:
            sequences.append(item.packet().sequence)
        told = [body["frames"] for topic, body in link.published if topic == "counters"]
        if told and not failed:
            failed.append(len(told))
            device.stop()
            device.start()
        link.stopping |= len(told) >= 3 or time.monotonic() - began > 60

    began = time.monotonic()
    link = FakeLink(script, polls=10**9)
    try:
        name = f"genicam:{device.address}"
        run_camera_worker(link, CameraWorkerSpec(name, {"packet_size": 1400}, frames=ref))  # type: ignore[arg-type]
    finally:
        reader.close()
        memory.close()
    last = next(body["frames"] for topic, body in reversed(link.published) if topic == "counters")
    assert last["missing"] > 0
    assert last["timeout"] + last.get("missing packets", 0) > 0
    assert sequences.count(0) <= 2
    assert len(sequences) - 20 < last["delivered"] <= len(sequences)


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
