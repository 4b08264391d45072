"""The DAVIS346 on USB, with a stand-in whose calls are dv-processing's; and for real: no camera."""

from __future__ import annotations

import sys
from typing import Any

import dv_processing as dv
import pytest

from capture import registry
from capture.camera import CameraRole
from capture.errors import CameraError, CameraLost
from capture.inivation import usb_source
from capture.inivation.davis_settings import DavisSettings
from capture.packets import EventPacket, Frame, FrameClock, PixelLayout
from tests.capture.contract import DriverCase, DriverContract
from tests.capture.inivation.fake_davis import FakeBus, FakeDavis, frame, store

LOCATION = (
    "/project/include/x.hpp(88): dv::io::camera::open(int)()\nRuntimeError: {}\nStacktrace:\n 0# 0x12 in so\n"
)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> FakeBus:
    b = FakeBus("00000A1")
    monkeypatch.setattr(usb_source, "dv_processing", lambda name: b)
    return b


def both(name: str = "davis346", **settings: Any) -> Any:
    d, config = registry.open_driver(name, settings)
    return d.pair(config)


def test_for_real_there_is_none_here() -> None:
    if dv.io.camera.discover():
        pytest.skip("a camera is connected to this machine")
    for name in ("davis346", "davis346:00000A1"):
        events, frames = both(name)
        for c in (events, frames):
            with pytest.raises(CameraError, match="no DAVIS346 is connected") as e:
                c.open()
            assert "\n" not in str(e.value)
    assert registry.driver("davis346").discover() == []


def test_two_of_the_same_and_a_wrong_serial(bus: FakeBus) -> None:
    with pytest.raises(CameraError, match="no DAVIS346 of this serial number is connected; there is 00000A1"):
        both("davis346:7")[0].open()
    bus.cameras["00000B2"] = FakeDavis("00000B2")
    with pytest.raises(CameraError, match=r"2 DAVIS346 are connected \(00000A1, 00000B2\); name one"):
        both()[0].open()
    events, _ = both("davis346:00000B2")
    events.open()
    assert events.info.serial == "00000B2"
    assert [c.name for c in registry.driver("davis346").discover()][::2] == [
        "davis346:00000A1",
        "davis346:00000B2",
    ]


def test_taken_by_another_program(bus: FakeBus) -> None:
    bus.refuse = LOCATION.format("Failed to claim USB interface, LIBUSB_ERROR_BUSY")
    with pytest.raises(CameraError, match="LIBUSB_ERROR_BUSY") as e:
        both()[0].open()
    assert "another program" in str(e.value)
    assert "\n" not in str(e.value)
    assert "Stacktrace" not in str(e.value)


def test_it_is_opened_as_configured(bus: FakeBus) -> None:
    events, frames = both(exposure_us=8000, frame_interval_us=33_000, batch_us=2000, biases={"on": [6, 80]})
    events.open()
    frames.open()
    camera = bus.cameras["00000A1"]
    assert camera.set["DetectorRunning"]
    assert camera.set["DetectorRisingEdges"]
    assert camera.set["DetectorFallingEdges"]
    assert not camera.set["EventsRunning"]  # not before it is started
    events.start()
    assert camera.set["EventsRunning"]
    assert not camera.set["FramesRunning"]
    frames.start()
    assert camera.set["FramesRunning"]
    state = events.command("state", {})
    assert state["settings"]["exposure_us"] == 8000
    assert state["settings"]["batch_us"] == 2000
    assert state["settings"]["background_filter_us"] == 2000
    assert state["settings"]["bias_on_coarse"] == 6
    assert not state["settings"]["auto_exposure"]
    assert state["clock_offset_us"] == 1_700_000_000_000_000
    assert state["usb_speed"] == "LIBUSB_SPEED_SUPER"
    assert state["firmware"] == 6
    events.close()
    assert camera.set["FramesRunning"]  # the other camera of it still runs
    frames.close()
    assert not camera.set["FramesRunning"]


def test_every_setting_is_set_and_read_back(bus: FakeBus) -> None:
    events, _ = both()
    events.open()
    names = events.info.capabilities.settings
    assert set(names) == {c.name for c in events.info.capabilities.controls} == set(DavisSettings.NAMES)
    values: dict[str, Any] = {
        "exposure_us": 12_345, "frame_interval_us": 50_000, "batch_us": 3000, "early_packet_us": 250,
        "background_filter_us": 5000, "refractory_us": 500, "auto_exposure": True, "edges": "rising",
    }  # fmt: skip
    values |= {n: 5 if n.endswith("coarse") else 77 for n in names if n.startswith("bias_")}
    assert set(values) == set(names)
    for name, value in values.items():
        assert events.command("set", {name: value})[name] == value
    assert events.command("controls", {})["edges"]["choices"] == ("both", "rising", "falling", "off")
    # An exposure that is asked for is not left to the camera's automatic.
    assert not events.command("set", {"exposure_us": 100})["auto_exposure"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exposure_us", 0), ("exposure_us", 2_000_000), ("exposure_us", "long"), ("batch_us", True),
        ("edges", "some"), ("auto_exposure", 1), ("bias_on_coarse", 8), ("bias_on_fine", 256),
        ("refractory_us", 0.5), ("bias_x_fine", 1),
    ],
)  # fmt: skip
def test_out_of_range_is_refused_by_name(bus: FakeBus, name: str, value: Any) -> None:
    events, _ = both()
    events.open()
    before = events.command("state", {})["settings"]
    with pytest.raises(CameraError, match=name):
        events.command("set", {name: value})
    assert events.command("state", {})["settings"] == before


def test_an_unknown_bias_is_refused_at_opening(bus: FakeBus) -> None:
    with pytest.raises(CameraError, match="no bias 'nonsense'"):
        both(biases={"nonsense": [1, 1]})[0].open()


def test_streams_of_one_clock(bus: FakeBus) -> None:
    events, frames = both()
    events.open()
    frames.open()
    events.start()
    frames.start()
    camera = bus.cameras["00000A1"]
    kind = dv.TriggerType
    camera.events = [store([1000, 1500]), store([2000])]
    camera.triggers = [
        [dv.Trigger(1200, kind.EXTERNAL_SIGNAL_RISING_EDGE), dv.Trigger(1300, kind.APS_FRAME_START)]
    ]
    camera.frames = [frame(900, 600), frame(2000, 0), frame(3000, 10, (100, 100))]
    p = events.read(0.1)
    q = events.read(0.1)
    f = frames.read(0.1)
    unknown = frames.read(0.1)
    assert isinstance(p, EventPacket)
    assert p.triggers.t.tolist() == [1200]
    assert p.complete_until_us == 1500
    assert q.complete_until_us == 2000
    assert isinstance(f, Frame)
    assert (f.device_start_ns, f.device_end_ns) == (900_000, 1_500_000)
    assert f.clock is FrameClock.EVENT
    assert f.layout is PixelLayout.GRAY
    assert unknown.device_end_ns is None  # the camera does not say: refused later, not guessed
    assert frames.read(0.0) is None
    state = events.command("state", {})
    assert state["frames_refused"] == 1
    assert state["marks"] == 1
    camera.frames = [frame(5000, 10)]
    assert frames.read(0.1).sequence == 3  # the refused one is missing
    events.close()
    frames.close()


def test_unplugged_while_it_runs(bus: FakeBus) -> None:
    events, _ = both()
    events.open()
    events.start()
    camera = bus.cameras["00000A1"]
    camera.events, camera.running = [store([1000])], False
    assert events.read(0.1) is not None
    with pytest.raises(CameraLost, match="unplugged"):
        events.read(0.1)
    with pytest.raises(CameraLost):
        events.read(0.0)
    events.close()


def test_an_exception_of_the_library_is_a_loss_in_one_line(bus: FakeBus) -> None:
    events, _ = both()
    events.open()
    events.start()
    bus.cameras["00000A1"].fail = LOCATION.format("transfer failed")
    with pytest.raises(CameraLost, match="transfer failed") as e:
        events.read(0.1)
    assert "\n" not in str(e.value)
    events.close()


def test_events_alone_leave_the_frames_off(bus: FakeBus) -> None:
    d, config = registry.open_driver("davis346", {})
    c = d.event_camera(config)
    c.open()
    c.start()
    assert not bus.cameras["00000A1"].set["FramesRunning"]
    assert c.info.role is CameraRole.EVENTS
    c.close()


class TestDavisDriver(DriverContract):
    @pytest.fixture
    def subject(self) -> DriverCase:
        def hide(monkeypatch: pytest.MonkeyPatch) -> None:
            monkeypatch.setitem(sys.modules, "dv_processing", None)

        return DriverCase(registry.driver("davis346"), "", {}, "not a serial", hide)


def test_what_the_first_camera_has_is_not_thrown_away_by_the_second(bus: FakeBus) -> None:
    events, frames = both()
    events.open()
    frames.open()
    events.start()
    bus.cameras["00000A1"].events = [store([1000, 1500])]
    frames.start()
    p = events.read(0.1)
    assert isinstance(p, EventPacket)
    assert p.events.t[1] - p.events.t[0] == 500  # the clock goes on from test to test
    events.close()
    frames.close()
