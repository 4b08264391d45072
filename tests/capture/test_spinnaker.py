"""`flir-spinnaker` by the camera contract, over a fake of the few calls into rotpy that it makes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from capture import spinnaker
from capture.errors import CameraError, CameraLost, UsageError
from capture.packets import Frame, FrameClock, PixelLayout
from capture.spinnaker import DRIVER, SpinnakerCamera
from tests.capture import fake_rotpy
from tests.capture.contract import (
    Ask,
    CameraCase,
    CameraContract,
    DriverCase,
    DriverContract,
    Plug,
    UnplugContract,
    read_items,
)
from tests.capture.fake_rotpy import SERIAL, Device


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fake_rotpy.install(monkeypatch)
    monkeypatch.setattr(spinnaker, "FIND_S", 0.3)
    yield
    if Device.hanging is not None:
        Device.hanging.set()


def make(rest: str = "", **settings: object) -> SpinnakerCamera:
    return DRIVER.frame_camera(DRIVER.configure(rest, settings))


class TestSpinnaker(CameraContract):
    @pytest.fixture
    def case(self) -> CameraCase:
        return CameraCase(make, values={"exposure_us": 5000.0, "gain_db": 3.0, "rate_hz": 40.0}, counts=True)


class TestSpinnakerDriver(DriverContract):
    @pytest.fixture
    def subject(self) -> DriverCase:
        return DriverCase(DRIVER, SERIAL, {"exposure_us": 4000.0}, "no/serial", fake_rotpy.hide)


class TestSpinnakerPlug(UnplugContract):
    @pytest.fixture(params=["silence", "hang"])
    def plug(self, request: pytest.FixtureRequest) -> Plug:
        def pull(ask: Ask) -> None:
            if request.param == "hang":
                hang()
            Device.plugged = False

        def hang() -> None:
            Device.hanging = threading.Event()

        def put_back() -> None:
            Device.plugged = True
            if Device.hanging is not None:
                Device.hanging.set()
                Device.hanging = None

        return Plug(make, "flir-spinnaker", pull, put_back, hang=hang)


def test_frames_say_when_and_how_they_were_exposed() -> None:
    c = make(SERIAL, exposure_us=4000.0, stamp="end", stamp_offset_us=-50.0)
    with c:
        c.start()
        first, second = read_items(c, 2)
        assert (c.info.model, c.info.serial, c.info.width, c.info.height) == ("Blackfly S", SERIAL, 64, 48)
        c.command("set", {"exposure_us": 6000.0})
        later = read_items(c, 1)[0]
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert isinstance(later, Frame)
    assert (first.layout, first.clock, first.sequence) == (PixelLayout.BAYER_RGGB, FrameClock.DEVICE, 0)
    assert (first.exposure_ns, later.exposure_ns) == (4_000_000, 6_000_000)
    assert first.image[3, 3] == 1
    assert second.image[3, 3] == 2


def test_an_incomplete_image_is_counted_and_shows_in_the_sequence() -> None:
    with make() as c:
        c.start()
        before = read_items(c, 2)
        Device.incomplete = 2
        after = read_items(c, 1)[0]
        counted = c.counters()
    assert isinstance(after, Frame)
    assert isinstance(before[-1], Frame)
    assert after.sequence - before[-1].sequence == 3
    assert (counted["incomplete"], counted["missing"], counted["delivered"]) == (2, 2, 3)


def test_another_serial_and_no_camera_are_one_line() -> None:
    with pytest.raises(
        CameraError, match=r"flir-spinnaker:1234: no camera of this serial number.*\[-1001\]\)$"
    ):
        make("1234").open()
    Device.plugged = False
    with pytest.raises(CameraError, match="flir-spinnaker: no camera was found; is it plugged in"):
        make().open()
    with pytest.raises(UsageError, match="serial number"):
        DRIVER.configure("a b", {})


def test_a_setting_beyond_the_camera_is_refused_when_it_is_opened() -> None:
    with pytest.raises(CameraError, match=r"gain_db = 99\.0 is not possible; give 0 to 47"):
        make(gain_db=99.0).open()


def test_a_format_that_nothing_here_understands() -> None:
    class Stubborn(fake_rotpy.Node):
        def set_node_value_from_str(self, value: str) -> None:
            raise RuntimeError("not writable")

    Device.values["PixelFormat"] = "Mono16"
    camera = make()
    original = fake_rotpy.Nodes.__getattr__
    fake_rotpy.Nodes.__getattr__ = lambda self, name: Stubborn(name)  # type: ignore[method-assign]
    try:
        with pytest.raises(CameraError, match="its pixel format Mono16 is none of BayerRG8"):
            camera.open()
    finally:
        fake_rotpy.Nodes.__getattr__ = original  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("offered", "set_to", "taken"),
    [
        (("BayerGB8", "BayerGB12p", "Mono8", "RGB8"), "BayerGB12p", "BayerGB8"),
        (("Mono8", "Mono16"), "Mono16", "Mono8"),
        (("RGB8", "Mono8"), "RGB8", "RGB8"),
    ],
)
def test_a_camera_that_was_left_at_more_bits_is_set_to_eight(
    offered: tuple[str, ...], set_to: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: Any, value: str) -> None:
        if self._name == "PixelFormat" and value not in offered:
            raise RuntimeError("Spinnaker: no such entry")
        self.set_node_value(value)

    monkeypatch.setattr(fake_rotpy.Node, "set_node_value_from_str", write)
    Device.values["PixelFormat"] = set_to
    with make() as c:
        assert Device.values["PixelFormat"] == taken
        assert c.info.pixel_bytes == (3 if taken == "RGB8" else 1)


def test_the_rate_that_the_camera_was_left_with_does_not_bound_the_exposure() -> None:
    Device.values.update(AcquisitionFrameRateEnable=True, AcquisitionFrameRate=60.0, TriggerMode="On")
    with make(exposure_us=20_000.0, rate_hz=30.0) as c:
        c.start()
        assert len(read_items(c, 2)) == 2  # nor does it wait for a trigger
        assert c.info.rate_hz == 30.0
    assert Device.values["ExposureTime"] == 20_000.0


def test_a_slow_rate_that_is_set_while_it_runs_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinnaker, "SILENT_S", 0.3)
    with make() as c:
        c.start()
        read_items(c, 2)
        assert c.command("set", {"rate_hz": 2.0})["rate_hz"] == 2.0
        assert len(read_items(c, 3)) == 3
        c.command("set", {"exposure_us": 5e5})
        Device.plugged = False
        with pytest.raises(CameraLost, match="no frame for"):
            for _ in range(40):
                c.read(0.1)
