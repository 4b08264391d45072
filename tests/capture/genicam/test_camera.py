"""What the camera is told, and what its frames say: exposures, stamps, strobe, trigger, region."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from capture.errors import CameraError
from capture.genicam import camera as camera_module
from capture.genicam.camera import GenicamCamera
from capture.packets import FrameClock, PixelLayout
from capture.simulated.gige.device import GigeDevice
from tests.capture.genicam import wire
from tests.capture.genicam.test_bad_wire import frames, running


def test_automatic_functions_and_gamma_are_off(device: GigeDevice) -> None:
    r = device.registers
    assert [r.entry(n) for n in ("ExposureAuto", "GainAuto", "BalanceWhiteAuto")] == ["Continuous"] * 3
    with running(device):
        r = device.registers
        assert [r.entry(n) for n in ("ExposureAuto", "GainAuto", "BalanceWhiteAuto")] == ["Off"] * 3
        assert r.whole("GammaEnable") == 0


def test_the_strobe_is_high_while_the_shutter_is_open(device: GigeDevice) -> None:
    with running(device, strobe_line="Line2", strobe_inverted=True) as c:
        r = device.registers
        assert r.entry("LineMode", 2) == "Output"
        assert r.entry("LineSource", 2) == "ExposureActive"
        assert r.whole("LineInverter", 2) == 1
        c.command("set", {"strobe_line": "Line1"})
        assert (r.entry("LineSource", 1), r.entry("LineSource", 2)) == ("ExposureActive", "Off")
        assert c.command("controls", {})["strobe_line"]["value"] == "Line1"
        c.command("set", {"strobe_line": ""})
        assert [r.entry("LineSource", k) for k in range(4)] == ["Off"] * 4


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("at_end", [True, False])
def test_the_stamp_marks_the_end_of_the_exposure_that_the_setting_says(at_end: bool, chunks: bool) -> None:
    with wire.device(stamp_at_end=at_end) as d:
        with running(d, stamp="end" if at_end else "start", chunks=chunks, exposure_us=3000) as c:
            got = frames(c, 5)
            offset = c.command("set", {"stamp_offset_us": 250.0})["stamp_offset_us"]
            later = frames(c, 5)[-1]
        pattern = d.pictures
        clock = pattern._clock_ns  # type: ignore[attr-defined]
        for f in got:
            assert f.clock is FrameClock.DEVICE
            assert f.exposure_ns == 3_000_000
            # The frame arrives after its exposure, by the camera's clock and the host's alike.
            assert f.device_end_ns is not None
            assert 0 <= f.host_ns - (f.device_end_ns - clock) < 1_000_000_000
    assert offset == 250.0
    assert later.device_start_ns is not None
    steps = (later.device_start_ns - (got[0].device_start_ns or 0)) / 1e6
    assert round(steps / 20.0) * 20.0 == pytest.approx(steps - 0.25, abs=1e-6)


@pytest.mark.parametrize("rolling", [False, True])
def test_the_camera_says_how_its_shutter_works(rolling: bool) -> None:
    pictures = wire.pattern()
    pictures.rolling = rolling
    with wire.device(pictures) as d, running(d) as c:
        assert c.info.capabilities.shutter == ("rolling" if rolling else "global")


def test_a_new_exposure_is_that_of_the_frames(device: GigeDevice) -> None:
    with running(device) as c:
        frames(c, 2)
        assert c.command("set", {"exposure_us": 7000.4})["exposure_us"] == 7000.0  # the camera rounds
        lengths = [f.exposure_ns for f in frames(c, 6)]
    assert lengths[-1] == 7_000_000
    assert set(lengths) <= {4_000_000, 7_000_000}


def test_the_trigger_starts_exposures(device: GigeDevice) -> None:
    with running(device, trigger="Line0", trigger_edge="falling") as c:
        assert device.registers.entry("TriggerActivation") == "FallingEdge"
        assert c.read(0.6) is None  # silence is no loss
        assert "pulses at Line0" in c.waits_for()
        for _ in range(3):
            device.streaming.pulse()
            assert c.read(1.0) is not None
        with pytest.raises(CameraError, match="set trigger to Software"):
            c.command("trigger", {})
        assert c.command("set", {"trigger": "Software"})["trigger"] == "Software"
        assert "the request trigger" in c.waits_for()
        assert c.read(0.1) is None
        c.command("trigger", {})
        assert c.read(1.0) is not None


def test_a_triggered_camera_that_goes_is_noticed(device: GigeDevice) -> None:
    with running(device, trigger="Line0") as c:
        assert c.read(0.3) is None
        device.stop()
        began = time.monotonic()
        with pytest.raises(CameraError, match="does not answer"):
            while True:
                c.read(0.05)
        assert time.monotonic() - began < 1.0


def test_white_balance_and_gain_act_on_their_pixels(device: GigeDevice) -> None:
    with running(device, white_red=2.0, white_blue=1.0, gain_db=0.0) as c:
        f = frames(c, 1)[0]
        assert c.command("controls", {})["white_red"]["value"] == 2.0
    plain = device.pictures.images  # type: ignore[attr-defined]
    near = min(plain, key=lambda p: int(np.abs(f.image[1::2, 1::2].astype(int) - p[1::2, 1::2]).sum()))
    assert np.array_equal(f.image[1::2, 1::2], near[1::2, 1::2])
    assert np.array_equal(f.image[::2, 1::2], near[::2, 1::2])
    assert np.array_equal(f.image[::2, ::2], np.minimum(255, 2 * near[::2, ::2].astype(int)))


def test_a_region_is_cut_out_while_it_runs(device: GigeDevice) -> None:
    with running(device, width=64, height=48, offset_x=16, offset_y=8) as c:
        first = frames(c, 2)[-1]
        now = c.command("set", {"width": 128, "offset_x": 32})
        assert (now["width"], now["offset_x"], c.info.width, c.info.height) == (128, 32, 128, 48)
        second = frames(c, 2)[0]
    images = device.pictures.images  # type: ignore[attr-defined]
    assert any(np.array_equal(first.image, i[8:56, 16:80]) for i in images)
    assert any(np.array_equal(second.image, i[8:56, 32:160]) for i in images)
    assert second.sequence == first.sequence + 1


@pytest.mark.parametrize("layout", [PixelLayout.BAYER_GBRG, PixelLayout.RGB, PixelLayout.GRAY])
def test_other_pixel_formats(layout: PixelLayout) -> None:
    with wire.device(wire.pattern(layout)) as d, running(d) as c:
        f = frames(c, 1)[0]
        assert f.layout is layout
        assert any(np.array_equal(f.image, i) for i in d.pictures.images)  # type: ignore[attr-defined]


def test_a_killed_client_gives_the_camera_free_after_the_heartbeat(device: GigeDevice) -> None:
    device.registers.put(0x938, 300)
    c = wire.camera(device)
    c.open()
    device.registers.put(0x938, 300)
    assert device.taken
    device._owner = ("127.0.0.1", 9)  # a client that is no more
    time.sleep(0.6)
    assert not device.taken
    c.close()


def test_a_trigger_that_ends_after_a_long_silence_is_no_fault(
    device: GigeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_module, "NOTHING_S", 0.5)
    with running(device, trigger="Line0") as c:
        assert c.read(1.0) is None
        assert c.command("set", {"trigger": "off"})["trigger"] == "off"
        assert frames(c, 3)


def test_it_can_be_closed_while_another_thread_reads(device: GigeDevice) -> None:
    for _ in range(10):
        c = wire.camera(device)
        c.open()
        c.start()
        raised: list[BaseException] = []

        def reader(camera: GenicamCamera = c, told: list[BaseException] = raised) -> None:
            try:
                while camera.read(1.0) is not None:
                    pass
            except CameraError:
                pass
            except BaseException as e:
                told.append(e)

        thread = threading.Thread(target=reader)
        thread.start()
        time.sleep(0.05)
        c.close()
        thread.join(2)
        assert not thread.is_alive()
        assert not raised
