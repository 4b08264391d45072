"""Configuration, pacing, faults and the cache of the simulated rig."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from capture.camera import EndOfStream
from capture.errors import CameraError, CameraLost, UsageError
from capture.packets import EventPacket, Frame
from capture.simulated import cache
from capture.simulated.driver import DRIVER, SimulatedEventCamera, SimulatedFrameCamera
from capture.simulated.loops import event_loop
from capture.simulated.presets import configure, names
from capture.simulated.rig import SimulatedRig
from tests.capture.simulated_small import SMALL, small


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))


# -- configuration --------------------------------------------------------------------------------------


def test_presets_are_sound_and_handheld_comes_first() -> None:
    assert names()[0] == "handheld"
    assert {"davis", "traffic", "night"} <= set(names())
    for n in names():
        assert configure(n).preset == n
    assert configure().preset == "handheld"


def test_settings_reach_their_place() -> None:
    c = configure("davis?seed=3&noise=false", {"event_sensor.threshold_on": 0.3, "frame_sensor": {"gain": 2.0}})
    assert (c.seed, c.noise, c.event_sensor.threshold_on, c.frame_sensor.gain) == (3, False, 0.3, 2.0)
    # The rest of the nested settings stays as the preset has it.
    assert c.event_sensor.threshold_off == configure("davis").event_sensor.threshold_off
    assert c.gray
    assert c.effective_events().threshold_sigma == 0.0


@pytest.mark.parametrize(
    ("rest", "settings", "words"),
    [
        ("handhold", {}, ["handhold", "did you mean 'handheld'", "davis"]),
        ("", {"sed": 1}, ["'sed'", "did you mean 'seed'"]),
        ("davis", {"event_sensor": {"treshold_on": 1}}, ["event_sensor.treshold_on", "threshold_on"]),
        ("davis?bayer=1", {}, ["'bayer'"]),
        ("", {"rate_hz": 1e9}, ["rate_hz", "less than or equal"]),
        ("", {"exposure_us": "long"}, ["exposure_us"]),
        ("", {"exposure_us": 80_000}, ["exposure_us 80000", "66667"]),
        ("davis", {"image_width": 100}, ["one_sensor"]),
        ("", {"faults": [{"kind": "explode"}]}, ["faults.0.kind"]),
        ("", {"frame_sensor": {"layout": "bayer_rggb"}, "image_width": 1151}, ["Bayer"]),
    ],
)
def test_a_wrong_configuration_is_named_in_one_line(
    rest: str, settings: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as e:
        configure(rest, settings)
    for word in words:
        assert word in str(e.value)
    assert "\n" not in str(e.value)


def test_the_loop_is_a_whole_number_of_frames() -> None:
    for n in names():
        c = configure(n)
        assert c.loop_us == c.loop_frames * c.period_us
        assert c.loop_us == pytest.approx(c.loop_s * 1e6, rel=0.02)


# -- pacing ---------------------------------------------------------------------------------------------


def opened(config: Any) -> Iterator[Any]:
    cameras = (SimulatedEventCamera(config), SimulatedFrameCamera(config))
    for c in cameras:
        c.open()
    yield from cameras


def drain(camera: Any, count: int) -> list[Any]:
    got = []
    deadline = time.monotonic() + 30.0
    while len(got) < count:
        assert time.monotonic() < deadline, "hangs"
        item = camera.read(0.5)
        if item is not None:
            got.append(item)
    return got


def test_both_cameras_keep_step_through_the_epoch() -> None:
    events, frames = opened(small())
    epoch = time.monotonic_ns()
    events.start(epoch)
    frames.start(epoch)
    for f in drain(frames, 4):
        end = SimulatedRig(small()).exposure_truth(f.sequence)[1]
        assert f.host_ns == epoch + end * 1000
    for p in drain(events, 10):
        assert p.host_ns == epoch + p.complete_until_us * 1000
        # Nothing is given before it has happened.
        assert p.host_ns <= time.monotonic_ns()
    events.close()
    frames.close()


def test_live_items_are_those_of_an_offline_run() -> None:
    offline = list(SimulatedRig(small()).items(0.3))
    for camera, kind in zip(opened(small()), (EventPacket, Frame), strict=True):
        want = [i for i in offline if isinstance(i, kind)]
        camera.start(time.monotonic_ns())
        for a, b in zip(drain(camera, len(want)), want, strict=True):
            if isinstance(a, Frame):
                assert np.array_equal(a.image, b.image)
                assert (a.sequence, a.device_end_ns) == (b.sequence, b.device_end_ns)
            else:
                assert np.array_equal(a.events.t, b.events.t)
                assert np.array_equal(a.triggers.t, b.triggers.t)
        camera.close()


def test_a_camera_started_again_goes_on_at_the_current_time() -> None:
    epoch = time.monotonic_ns() - 7_000_000_000
    events, frames = opened(small())
    events.start(epoch)
    frames.start(epoch)
    first = drain(events, 1)[0]
    assert first.gap
    assert first.dropped == 0
    assert first.complete_until_us > 6_900_000
    assert not drain(events, 1)[0].gap
    frame = drain(frames, 1)[0]
    assert SimulatedRig(small()).exposure_truth(frame.sequence)[1] > 6_900_000
    # Edges belong to the exposures of that time, rising before falling.
    edges = [t for p in drain(events, 20) for t in zip(p.triggers.t, p.triggers.rising, strict=True)]
    for t, rising in edges:
        k = int(t) // 40_000
        start, end = SimulatedRig(small()).exposure_truth(k)
        assert abs(int(t) - (start if rising else end)) <= 5
    events.close()
    frames.close()


def test_a_reader_that_lags_loses_the_oldest_and_is_told() -> None:
    config = small(buffer_s=0.2)
    events, frames = opened(config)
    events.start(time.monotonic_ns())
    frames.start(time.monotonic_ns())
    one, zero = drain(events, 1)[0], drain(frames, 1)[0]
    time.sleep(0.5)
    after, later = drain(events, 1)[0], drain(frames, 1)[0]
    assert after.gap
    assert later.sequence > zero.sequence + 1
    start = after.complete_until_us - config.packet_us
    every = np.concatenate([p.events.t for p in _packets(small(), after.complete_until_us / 1e6)])
    lost = np.count_nonzero((every >= one.complete_until_us) & (every < after.complete_until_us))
    assert after.dropped + len(after.events) == lost
    assert start > one.complete_until_us
    events.close()
    frames.close()


def _packets(config: Any, seconds: float) -> list[EventPacket]:
    return [i for i in SimulatedRig(config).items(seconds) if isinstance(i, EventPacket)]


def test_a_finite_stream_ends_for_both_cameras() -> None:
    config = small(paced=False, duration_s=0.2)
    for camera, count in zip(opened(config), (40, 5), strict=True):
        camera.start()
        assert len([camera.read(0.1) for _ in range(count)]) == count
        with pytest.raises(EndOfStream):
            camera.read(0.1)
        camera.close()


# -- faults ---------------------------------------------------------------------------------------------


def test_dropped_frames_are_seen_in_the_counter() -> None:
    config = small(faults=[{"kind": "drop_frame", "at_s": 0.1, "count": 2}])
    numbers = [i.sequence for i in SimulatedRig(config).items(0.4) if isinstance(i, Frame)]
    assert numbers == [0, 1, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("edge", "missing"), [("rising", [True]), ("falling", [False]), ("both", [True])])
def test_a_dropped_edge_is_one_edge(edge: str, missing: list[bool]) -> None:
    config = small(faults=[{"kind": "drop_edge", "at_s": 0.12, "edge": edge}])
    got = {
        (int(t), bool(r))
        for p in _packets(config, 0.4)
        for t, r in zip(p.triggers.t, p.triggers.rising, strict=True)
    }
    want = {
        (int(t), bool(r))
        for p in _packets(small(), 0.4)
        for t, r in zip(p.triggers.t, p.triggers.rising, strict=True)
    }
    assert got < want
    assert [r for _, r in want - got] == missing


def test_an_edge_is_not_dropped_before_its_time() -> None:
    # A long packet: the fault comes within it, behind its first rising edge.
    plain = small(trigger_jitter_us=0.0, packet_us=100_000)
    rising = [int(t) for t in _packets(plain, 0.2)[0].triggers.t[::2]]
    at_s = (rising[0] + 1000) / 1e6
    config = small(
        trigger_jitter_us=0.0, packet_us=100_000, faults=[{"kind": "drop_edge", "at_s": at_s, "edge": "rising"}]
    )
    got = [
        int(t) for p in _packets(config, 0.2) for t, r in zip(p.triggers.t, p.triggers.rising, strict=True) if r
    ]
    assert rising[0] in got
    assert rising[1] not in got


def test_a_burst_adds_events_and_the_read_out_drops_what_is_too_much() -> None:
    slow = {"read_rate_mev": 1.0, "read_delay_us": 500.0}
    burst = [{"kind": "burst", "at_s": 0.1, "seconds": 0.02, "events": 60_000}]
    calm = sum(len(p.events) for p in _packets(small(event_sensor=slow), 0.3))
    packets = _packets(small(event_sensor=slow, faults=burst), 0.3)
    got, dropped = sum(len(p.events) for p in packets), sum(p.dropped for p in packets)
    base = sum(p.dropped for p in _packets(small(event_sensor=slow), 0.3))
    assert got + dropped == calm + base + 60_000
    assert dropped > 30_000
    for p in packets:
        assert np.all(np.diff(p.events.t) >= 0)
        assert len(p.events) == 0 or p.events.t[-1] < p.complete_until_us


def test_what_is_lost_is_a_gap_with_a_count() -> None:
    for kind in ({"kind": "unplug"}, {"kind": "stall", "lose": True}):
        config = small(faults=[{**kind, "at_s": 0.1003, "seconds": 0.1}])
        packets = _packets(config, 0.4)
        gaps = [p for p in packets if p.gap]
        assert len(gaps) == 1
        every = np.concatenate([p.events.t for p in _packets(small(), 0.4)])
        assert gaps[0].dropped == np.count_nonzero((every >= 100_300) & (every < 200_300))
        assert sum(len(p.events) + p.dropped for p in packets) == len(every)
        numbers = [i.sequence for i in SimulatedRig(config).items(0.4) if isinstance(i, Frame)]
        away = [k for k in range(10) if 100_300 <= SimulatedRig(config).exposure_truth(k)[1] < 200_300]
        assert numbers == [k for k in range(10) if k not in away]


def test_a_stall_delays_and_loses_nothing() -> None:
    config = small()
    camera = SimulatedEventCamera(config)
    camera.open()
    camera.start(time.monotonic_ns())
    before = drain(camera, 2)[-1]
    camera.command("fault", {"kind": "stall", "seconds": 0.25})
    asked = time.monotonic_ns()
    after = drain(camera, 30)
    assert time.monotonic_ns() - asked >= 240_000_000
    assert [p.complete_until_us for p in after] == [
        before.complete_until_us + config.packet_us * (k + 1) for k in range(30)
    ]
    assert not any(p.gap or p.dropped for p in after)
    assert max(p.host_ns for p in after[:20]) >= asked + 200_000_000
    camera.close()


def test_stop_ends_a_read_that_waits_for_a_stalled_camera() -> None:
    camera = SimulatedFrameCamera(small())
    camera.open()
    camera.start(time.monotonic_ns())
    drain(camera, 1)
    camera.command("fault", {"kind": "stall", "seconds": 60.0})
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(camera.read(60.0)))
    thread.start()
    time.sleep(0.05)
    camera.stop()
    thread.join(2.0)  # the contract's limit
    assert not thread.is_alive()
    assert got == [None]
    camera.close()


def test_an_unplugged_camera_is_lost_then_comes_back() -> None:
    config = small(seed=9)
    event_loop(config)
    camera = SimulatedFrameCamera(config)
    camera.open()
    epoch = time.monotonic_ns()
    camera.start(epoch)
    drain(camera, 1)
    camera.command("fault", {"kind": "unplug", "seconds": 2.0})
    with pytest.raises(CameraLost, match="unplugged"):
        drain(camera, 50)
    camera.close()
    # A new object finds the plug pulled as well; the other camera of the rig does not.
    other = SimulatedEventCamera(config)
    other.open()
    other.close()
    again = SimulatedFrameCamera(config)
    with pytest.raises(CameraError, match="unplugged"):
        again.open()
    deadline = time.monotonic() + 30.0
    while True:
        try:
            again.open()
            break
        except CameraError:
            assert time.monotonic() < deadline, "never comes back"
            time.sleep(0.05)
    again.start(epoch)
    frame = drain(again, 1)[0]
    end = SimulatedRig(config).exposure_truth(frame.sequence)[1]
    assert end >= 2_000_000
    again.close()


@pytest.mark.parametrize("kind", [SimulatedEventCamera, SimulatedFrameCamera])
def test_without_pacing_a_camera_is_lost_once_and_goes_on_behind_the_loss(kind: Any) -> None:
    faults = [{"kind": "unplug", "at_s": 0.1, "seconds": 0.1}]
    camera = kind(small(seed=11, paced=False, duration_s=0.5, faults=faults))
    camera.open()
    camera.start()
    before: list[Any] = []
    with pytest.raises(CameraLost, match=r"for 0\.\d s"):
        while True:
            before += drain(camera, 1)
    time.sleep(0.15)
    camera.open()
    camera.start()
    after: list[Any] = []
    with pytest.raises(EndOfStream):
        while True:
            after += drain(camera, 1)
    assert [i.gap for i in (*before, *after)].index(True) == len(before)

    def end_us(item: Any) -> int:
        if isinstance(item, Frame):
            return SimulatedRig(camera.config).exposure_truth(item.sequence)[1]
        return int(item.complete_until_us)

    assert end_us(before[-1]) <= 100_000
    assert 200_000 < end_us(after[0]) < 245_000
    camera.close()


def test_the_event_camera_says_gap_after_it_was_unplugged() -> None:
    camera = SimulatedEventCamera(small(seed=9))
    camera.open()
    epoch = time.monotonic_ns()
    camera.start(epoch)
    drain(camera, 1)
    camera.command("fault", {"kind": "unplug", "seconds": 0.2})
    with pytest.raises(CameraLost):
        drain(camera, 500)
    time.sleep(0.25)
    camera.open()
    camera.start(epoch)
    first, second = drain(camera, 2)
    assert (first.gap, second.gap) == (True, False)
    camera.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "drop_edge"}, "other camera"),
        ({"kind": "drop_frame", "count": 0}, "count"),
        ({"kind": "drop_frame", "cuont": 1}, "cuont"),
        ({}, "kind"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(arguments: dict[str, Any], words: str) -> None:
    camera = SimulatedFrameCamera(small())
    camera.open()
    with pytest.raises(CameraError, match=words):
        camera.command("fault", arguments)
    camera.close()


def test_a_setting_out_of_range_is_refused() -> None:
    camera = SimulatedEventCamera(small())
    camera.open()
    with pytest.raises(CameraError, match="packet_us"):
        camera.command("set", {"packet_us": 1})
    assert camera.command("set", {"packet_us": 2500}) == {"packet_us": 2500}
    camera.close()


def test_what_is_not_open_does_not_read() -> None:
    with pytest.raises(CameraError, match="open the camera"):
        SimulatedEventCamera(small()).read(0.0)
    with pytest.raises(CameraError):
        DRIVER.event_camera(cast_wrong())


def cast_wrong() -> Any:
    return cache


def test_settings_of_the_helper_are_sound() -> None:
    assert configure("handheld", SMALL).event_width == 64


def test_a_dropped_frame_is_dropped_whatever_else_the_fault_says() -> None:
    """`lose` belongs to a stall."""
    config = small(faults=[{"kind": "drop_frame", "at_s": 0.1, "count": 2, "lose": True}])
    numbers = [i.sequence for i in SimulatedRig(config).items(0.4) if isinstance(i, Frame)]
    assert numbers == [0, 1, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("offset", [float("inf"), float("nan"), 1e300])
def test_a_clock_offset_that_is_no_time(offset: float) -> None:
    with pytest.raises(UsageError, match="clock_offset_ms"):
        small(clock_offset_ms=offset)
