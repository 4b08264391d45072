"""What goes wrong with frame cameras on a network: each costs frames that are counted, or one sentence."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from capture.errors import CameraError, CameraLost, UsageError
from capture.genicam import gvcp
from capture.genicam.camera import GenicamCamera
from capture.genicam.driver import FLIR, GENICAM
from capture.packets import Frame, PixelLayout
from capture.simulated.gige.device import GigeDevice
from capture.simulated.gige.readout import FORMATS
from tests.capture.contract import read_items
from tests.capture.genicam import wire


@contextmanager
def running(device: GigeDevice, **settings: object) -> Iterator[GenicamCamera]:
    c = wire.camera(device, **settings)
    try:
        c.open()
        c.start()
        yield c
    finally:
        c.close()


def frames(camera: GenicamCamera, count: int) -> list[Frame]:
    got = [f for f in read_items(camera, count) if isinstance(f, Frame)]
    assert len(got) == count
    return got


def assert_pictures_are_whole(device: GigeDevice, got: list[Frame]) -> None:
    """Every picture is one of the camera's, to the last pixel."""
    for f in got:
        assert any(np.array_equal(f.image, image) for image in device.pictures.images)  # type: ignore[attr-defined]


# -- the wire -------------------------------------------------------------------------------------------------


def test_pictures_arrive_to_the_last_pixel(device: GigeDevice) -> None:
    with running(device, packet_size=1400) as c:
        got = frames(c, 20)
    assert_pictures_are_whole(device, got)
    assert {f.exposure_ns for f in got} == {4_000_000}
    assert c.counters()["missing"] == 0


@pytest.mark.parametrize("socket", [True, False], ids=["packet socket", "udp socket"])
def test_five_percent_of_packets_are_lost(device: GigeDevice, socket: bool) -> None:
    """Asked for again, most frames come whole; those that do not are counted."""
    device.faults.loss = 0.05
    with running(device, packet_size=1400, packet_socket=socket) as c:
        got = frames(c, 60)
        counters = c.counters()
    assert device.sender.lost > 100
    assert device.sender.resent > 0
    assert_pictures_are_whole(device, got)
    assert counters["delivered"] == 60
    assert got[-1].sequence + 1 == 60 + counters["missing"]
    assert counters["missing"] < 60, counters  # without asking again 19 of 20 frames would be lost


def test_lost_packets_that_are_not_sent_again_cost_frames_by_cause(device: GigeDevice) -> None:
    device.faults.loss, device.faults.resend = 0.01, False
    with running(device, packet_size=1400) as c:
        got = frames(c, 30)
        counters = c.counters()
    assert_pictures_are_whole(device, got)
    assert counters["missing"] > 0
    # A frame whose leader was lost has no buffer to be incomplete in; every other one has a cause.
    causes = counters.get("missing packets", 0) + counters.get("timeout", 0)
    assert causes > 0
    assert got[-1].sequence + 1 == 30 + counters["missing"]


def test_duplicate_and_reordered_packets_change_nothing(device: GigeDevice) -> None:
    device.faults.duplicate, device.faults.reorder = 0.2, 0.2
    with running(device, packet_size=1400) as c:
        got = frames(c, 50)
        counters = c.counters()
    assert_pictures_are_whole(device, got)
    assert [f.sequence for f in got] == list(range(got[0].sequence, got[0].sequence + 50))
    assert counters["missing"] == 0


def test_frame_ids_wrap(device: GigeDevice) -> None:
    """65535 is followed by 1: no frame is missing there."""
    with running(device) as c:
        for k in (25_000, 50_000, 65_510):  # ahead by less than half the range: further would be back
            frames(c, 3)
            device.streaming.next_block = k
        frames(c, 8)
        before = c.counters()
        got = frames(c, 40)
        after = c.counters()
    assert [b.sequence - a.sequence for a, b in itertools.pairwise(got)] == [1] * 39
    assert device.streaming.next_block < 100
    assert before["id jumps"] == after["id jumps"] == 3
    assert before["missing"] == after["missing"]


@pytest.mark.parametrize("to", [5000, 3, 40_000])
def test_frame_ids_that_jump_are_not_taken_for_losses(device: GigeDevice, to: int) -> None:
    """The time between two frames says how many can have been lost at most."""
    with running(device) as c:
        before = frames(c, 10)
        device.streaming.next_block = to
        after = frames(c, 10)
        counters = c.counters()
    # Where the ids run back a little the library drops frames until they are new again.
    assert counters["id jumps"] + counters["skipped periods"] > 0
    assert after[-1].sequence - before[0].sequence <= 32
    assert after[-1].sequence + 1 == 20 + counters["missing"]
    assert all(b.sequence > a.sequence for a, b in itertools.pairwise([*before, *after]))


def test_the_clock_is_reset_in_mid_stream(device: GigeDevice) -> None:
    """Stamps run back and say so; the sequence goes on."""
    with running(device) as c:
        before = frames(c, 5)
        device.streaming.reset_clock()
        after = frames(c, 10)
        counters = c.counters()
    stamps = [f.device_start_ns or 0 for f in [*before, *after]]
    assert sum(b < a for a, b in itertools.pairwise(stamps)) == 1
    assert {f.exposure_ns for f in after} == {4_000_000}
    assert counters["clock resets"] == 1
    assert counters["missing"] == 0
    assert after[-1].sequence - before[0].sequence == 14


def test_a_network_that_carries_no_frame_is_named(device: GigeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera answers, and nothing of its frames comes: a firewall, or packets that are too large."""
    device.faults.loss = 1.0
    with running(device) as c, pytest.raises(CameraLost, match=r"answers but not one packet.*firewall"):
        while True:
            c.read(0.5)


def test_a_network_that_carries_no_frame_whole_says_what_is_wrong_with_them(device: GigeDevice) -> None:
    device.faults.loss, device.faults.resend = 0.4, False
    with (
        running(device, packet_size=1400) as c,
        pytest.raises(CameraLost, match=r"no complete frame.*missing|timeout"),
    ):
        while True:
            c.read(0.5)


# -- which camera ---------------------------------------------------------------------------------------------


def test_no_camera_at_an_address() -> None:
    c = GENICAM.frame_camera(GENICAM.configure(wire.own_address(), {}))
    with pytest.raises(CameraError, match=r"no camera answers at 127\."):
        c.open()


def test_no_camera_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gvcp.INTERFACES, "")
    with pytest.raises(CameraError, match="flir: no camera found; is it plugged in"):
        FLIR.frame_camera(FLIR.configure("", {})).open()


def test_a_camera_is_found_by_its_serial_number(device: GigeDevice) -> None:
    c = FLIR.frame_camera(FLIR.configure(device.serial, {}))
    c.open()
    assert (c.info.serial, c.info.model) == (device.serial, device.model)
    c.close()
    assert f"flir:{device.serial}" in [i.name for i in FLIR.discover()]


def test_a_search_on_the_loopback_network_does_not_leave_it() -> None:
    assert list(gvcp._targets(["lo"])) == [("127.0.0.1", "127.255.255.255")]


def test_two_of_the_same(device: GigeDevice) -> None:
    with wire.device(serial=device.serial) as twin:
        c = FLIR.frame_camera(FLIR.configure(device.serial, {}))
        with pytest.raises(CameraError, match=r"2 cameras fit") as told:
            c.open()
        assert device.address in str(told.value)
        assert twin.address in str(told.value)


def test_a_wrong_serial_number_lists_what_is_there(device: GigeDevice) -> None:
    c = FLIR.frame_camera(FLIR.configure("NOSUCH", {}))
    with pytest.raises(CameraError, match=f"no camera with serial number NOSUCH.*{device.serial}"):
        c.open()


def test_another_camera_at_the_same_address_is_refused(device: GigeDevice) -> None:
    with pytest.raises(CameraError, match=f"has serial number {device.serial}, not 22222"):
        wire.camera(device, serial="22222").open()
    assert not device.taken


def test_a_camera_that_another_program_controls(device: GigeDevice) -> None:
    with running(device) as first:
        second = wire.camera(device)
        with pytest.raises(CameraError, match="another program controls the camera"):
            second.open()
        assert frames(first, 5)  # undisturbed
    second.open()
    second.close()


def test_the_control_of_before_is_not_taken_for_another_program(device: GigeDevice) -> None:
    """A camera that comes back before its heartbeat's time is over still keeps whom it heard last."""
    first = wire.camera(device)
    first.open()
    device._owner = ("127.0.0.1", 1)  # as if the connection had broken with the lease still running
    device.registers.put(gvcp.Register.HEARTBEAT_MS, 60_000)
    device._heard = time.monotonic()
    first.close()
    with pytest.raises(CameraError, match="still keeps the control that this program had of it, for up to 3 s"):
        wire.camera(device).open()


# -- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"exposure_us": 0}, "exposure_us"),
        ({"exposure_us": "long"}, "exposure_us"),
        ({"pixel_format": "BayerRG16"}, "'BayerRG16' is not read; choose auto or one of BayerRG8"),
        ({"exposure_us": 50_000, "rate_hz": 25}, "does not fit into a frame period of 40000 µs"),
        ({"packet_size": 100}, "packet_size 100 is out of range"),
        ({"exposure": 5}, "did you mean 'exposure_us'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told) as e:
        GENICAM.configure("127.0.0.1", settings)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"exposure_us": 59e6}, r"exposure_us 5.9e\+07 is out of range; the camera takes 10 to 3e\+07 now"),
        ({"gain_db": 60}, r"gain_db 60 is out of range; the camera takes 0 to 47.99 now"),
        ({"width": 4000}, r"width 4000 is out of range"),
        ({"width": 101}, r"width 101 is not possible; the camera takes multiples of 2"),
        ({"pixel_format": "RGB8"}, r"pixel_format 'RGB8' is not possible; choose one of BayerRG8, Mono8"),
        ({"trigger": "Line9"}, r"trigger 'Line9' is not possible with this camera; it has Software, Line0"),
        ({"strobe_line": "Line7"}, r"strobe_line 'Line7' is not possible with this camera; it has Line0"),
    ],
)
def test_settings_that_this_camera_has_not(device: GigeDevice, settings: dict[str, object], told: str) -> None:
    with pytest.raises(CameraError, match=told) as e:
        wire.camera(device, **settings).open()
    assert "\n" not in str(e.value)
    assert not device.taken


def test_an_exposure_beyond_the_frame_period_is_refused_while_it_runs(device: GigeDevice) -> None:
    with running(device, rate_hz=40) as c:
        with pytest.raises(CameraError, match=r"exposure_us 30000 is out of range.*rate_hz 40"):
            c.command("set", {"exposure_us": 30_000.0})
        with pytest.raises(CameraError, match=r"rate_hz 400 is out of range.*exposure_us 4000"):
            c.command("set", {"rate_hz": 400.0})
        with pytest.raises(CameraError, match=r"offset_x.*give a whole number"):
            c.command("set", {"offset_x": 2.5})
        with pytest.raises(CameraError, match=r"gain_db.*give a number"):
            c.command("set", {"gain_db": float("inf")})
        # Together they are possible, in whichever order they are given.
        now = c.command("set", {"exposure_us": 30_000.0, "rate_hz": 20.0})
        assert (now["exposure_us"], now["rate_hz"]) == (30_000.0, 20.0)
        now = c.command("set", {"rate_hz": 100.0, "exposure_us": 2000.0})
        assert (now["exposure_us"], now["rate_hz"]) == (2000.0, 100.0)


def test_a_camera_without_a_pixel_format_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, PixelLayout.BAYER_RGGB, ("BayerRG16",))
    with (
        wire.device() as d,
        pytest.raises(CameraError, match="offers the pixel formats BayerRG16; none is read"),
    ):
        wire.camera(d).open()


def test_a_pixel_format_that_changes_behind_our_back_is_counted(device: GigeDevice) -> None:
    with running(device) as c:
        frames(c, 2)
        device.registers.set("PixelFormat", "BayerRG16")
        deadline = time.monotonic() + 2
        while not c.counters().get("pixel format") and time.monotonic() < deadline:
            c.read(0.05)
        counters = c.counters()
    # Twice as many bytes as the buffers have: told one way or the other, never as a picture.
    assert counters.get("pixel format", 0) + counters.get("size mismatch", 0) > 0


def test_other_packets_on_the_network_are_no_underruns(device: GigeDevice) -> None:
    """A packet socket sees all that comes by until its filter is set, before there are buffers for anything."""
    ended = threading.Event()

    def talk() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not ended.is_set():
                for _ in range(50):
                    s.sendto(bytes(1000), (device.address, 9))
                time.sleep(0.001)

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        for _ in range(10):
            with running(device) as c:
                frames(c, 3)
                assert c.counters().get("underrun", 0) == 0
    finally:
        ended.set()
        talking.join()
