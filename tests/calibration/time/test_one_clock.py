"""Frames of a second camera that somebody else stamped on the events' clock: by how much they are off."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from app.cli.program import execute
from app.offline_input import open_input
from calibration.check import check
from calibration.time.result import TimeResult, Verdict
from calibration.time.solve import calibrate_time, calibrated_clock
from capture.packets import EventPacket, Events, Frame, FrameClock, FrameKind, TriggerEdges
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from inference import models
from inference.engine import Engine
from inference.quality import psnr
from sync.exposure import AlignedExposure
from sync.rig import Clock, Rig
from sync.synchroniser import Synchroniser
from tests.calibration.time.rigs import Arrived, arrived
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_events, sample_frames

Items = list[EventPacket | Frame]


def stamped(a: Arrived, off_us: int) -> Items:
    """Frames with the truth and a mistake, no edges."""
    out: Items = []
    for i in a.items:
        if isinstance(i, Frame):
            s, e = a.simulated.exposure_truth(i.sequence)
            ns = (1000 * (s + off_us), 1000 * (e + off_us))
            i = replace(i, device_start_ns=ns[0], device_end_ns=ns[1], clock=FrameClock.EVENT)
        else:
            i = replace(i, triggers=TriggerEdges.empty())
        out.append(i)
    return out


def with_clock(rig: Rig, **values: object) -> Rig:
    return rig.model_copy(update={"clock": rig.clock.model_copy(update={"relation": "same", **values})})


@pytest.mark.parametrize("off_us", [-18_000, 60_000])
def test_stamps_that_are_off_are_moved(off_us: int) -> None:
    a = arrived(host=False)
    items = stamped(a, off_us)
    r = calibrate_time(lambda: items, a.rig)
    assert r.relation == "same"
    assert r.shift_us == pytest.approx(-off_us, abs=r.shift_uncertainty_us)
    assert r.verdict is Verdict.PASS
    rig = a.rig.model_copy(update={"clock": calibrated_clock(r, a.rig)})
    assert rig.clock.relation == "same"
    sync = Synchroniser(rig)
    for i in items:
        (sync.push_events if isinstance(i, EventPacket) else sync.push_frame)(i)  # type: ignore[arg-type]
    found = [o for o in [*sync.take(), *sync.finish()] if isinstance(o, AlignedExposure)]
    assert len(found) > 80
    for o in found:
        start, end = a.simulated.exposure_truth(o.frame.sequence)
        assert abs(o.exposure.start_us - start) <= o.exposure.uncertainty_us
        assert o.exposure.duration_us == end - start
    # A second time there is nothing left to move.
    again = calibrate_time(lambda: items, rig)
    assert again.shift_us == pytest.approx(0.0, abs=again.shift_uncertainty_us)
    assert calibrated_clock(again, rig).delay_us == rig.clock.delay_us
    assert "stamps" not in {t.name for t in check(lambda: items, rig).troubles}
    said = {t.name: t.text for t in check(lambda: items, a.rig).troubles}
    assert "calibrate the rig again" in said["stamps"]


def test_stamps_that_are_right_stay() -> None:
    a = arrived(host=False)
    items = stamped(a, 0)
    c = calibrated_clock(calibrate_time(lambda: items, a.rig), a.rig)
    assert (c.relation, c.delay_us) == ("same", 0.0)
    assert c.delay_uncertainty_us is not None
    assert c.delay_measured_us == pytest.approx(0.0, abs=c.delay_uncertainty_us)


def test_a_delay_of_edges_is_none_of_stamps() -> None:
    a = arrived(host=False)
    strobe = a.rig.model_copy(update={"clock": a.rig.clock.model_copy(update={"delay_us": 900.0})})
    items = stamped(a, 0)
    assert calibrated_clock(calibrate_time(lambda: items, strobe), strobe).delay_us == 0.0


def test_what_pictures_cannot_tell_is_said() -> None:
    a = arrived(host=False, speed=0.0, reach=0.0)
    items = stamped(a, 0)
    (t,) = calibrate_time(lambda: items, a.rig).troubles
    assert (t.name, t.verdict) == ("no motion", Verdict.WARN)
    assert "nothing tells whether stamps of frames and events agree" in t.text
    unknown = [replace(i, device_end_ns=None) if isinstance(i, Frame) else i for i in items]
    (t,) = calibrate_time(lambda: unknown, a.rig).troubles
    assert t.name == "no exposures"
    assert "--exposure-us" in t.text


def test_a_bag_of_two_cameras_is_calibrated_and_deblurred(tmp_path: Path) -> None:
    """Stamped when they arrived, 21 ms late, as host drivers do; lengths of exposures are stated."""
    rosbag = pytest.importorskip("tests.recordings.make_rosbag", reason="rosbags is not installed")
    a = arrived(3.5, host=False)
    m, messages = rosbag.Maker("ros2-mcap"), []
    start_us = 1_700_000_000_000_000
    every = Events.concatenate([i.events for i in a.items if isinstance(i, EventPacket)])
    e = Events(every.t + start_us, every.x, every.y, every.p, every.width, every.height)
    for k in range(0, len(e), 5000):
        b = min(k + 5000, len(e))
        messages.append(("/dvs/events", rosbag.ARRAY, 1000 * int(e.t[b - 1]), m.array(e, k, b)))
    for i in a.items:
        if isinstance(i, Frame):
            middle = sum(a.simulated.exposure_truth(i.sequence)) // 2 + start_us + 21_000
            at = 1000 * (middle + 30_000)
            messages.append(("/cam/image", "sensor_msgs/msg/Image", at, m.image(middle, i.image, "rgb8")))
    bag = m.write(tmp_path / "bag", messages)
    rig, out = tmp_path / "rig.toml", tmp_path / "out"
    calibrate = ["calibrate", "rig", "--from", str(bag), "-o", str(rig), "--exposure-us", "25000", "--headless"]
    assert execute(calibrate) == 0
    made = Rig.load(rig)
    assert made.clock.relation == "same"
    assert made.clock.delay_us == pytest.approx(-21_000, abs=1_000)
    # The map was made with frames at their right times: 0.15 px otherwise.
    assert made.geometry.residual_px == pytest.approx(0.03, abs=0.03)
    assert execute(["calibrate", "check", str(rig), str(bag), "--exposure-us", "25000"]) == 0
    wished = ["--exposure-us", "25000", "--rig", str(rig), "-o", str(out), "--seconds", "2"]
    assert execute(["deblur", str(bag), *wished]) == 0
    with (out / "timestamps.csv").open() as f:
        rows = list(csv.DictReader(f))
    middles = {int(r["sequence"]): int(r["time_us"]) for r in rows}
    assert len(middles) > 20
    for k, i in enumerate(f for f in a.items if isinstance(f, Frame)):
        if k in middles:
            truth = sum(a.simulated.exposure_truth(i.sequence)) / 2 + start_us
            assert middles[k] == pytest.approx(truth, abs=1_000)


@cache
def davis() -> SimulatedRig:
    values = {
        "image_width": 173, "image_height": 130, "event_width": 173, "event_height": 130, "fine": 2,
        "loop_s": 1.5, "speed": 190.0, "exposure_us": 20_000,
    }  # fmt: skip
    made = SimulatedRig(configure("davis", values))
    made.prepare()
    return made


def late_pixels(by_us: int) -> tuple[Rig, Items]:
    items: Items = []
    for i in davis().items(4.0):
        if isinstance(i, EventPacket):
            e = i.events
            moved = Events(e.t + by_us, e.x, e.y, e.p, e.width, e.height)
            i = replace(i, events=moved, complete_until_us=i.complete_until_us + by_us)
        items.append(i)
    return Rig.from_facts("davis", davis().facts()), items


def test_pixels_of_one_sensor_that_are_late_are_compensated() -> None:
    rig, items = late_pixels(4_000)
    r = calibrate_time(lambda: items, rig)
    assert r.shift_us == pytest.approx(4_000, abs=r.shift_uncertainty_us)
    clock = calibrated_clock(r, rig)
    assert clock.delay_us == clock.delay_measured_us
    assert clock.uncertainty_us == clock.delay_uncertainty_us
    gains = []
    for used in (rig, rig.model_copy(update={"clock": clock})):
        engine, sync, db = Engine(models.create("edi", used, {"contrast": 0.15}, "cpu")), Synchroniser(used), []
        for i in items:
            (sync.push_events if isinstance(i, EventPacket) else sync.push_frame)(i)  # type: ignore[arg-type]
        for a in sync.take()[:12]:
            assert isinstance(a, AlignedExposure)
            (restored,) = engine.push(a, (0.5,))
            db.append(
                psnr(restored.images[0], davis().truth(sum(davis().exposure_truth(a.frame.sequence)) / 2))
            )
        gains.append(sum(db) / len(db))
    assert gains[1] > gains[0] + 2


def test_pixels_that_are_later_than_was_looked_for_are_said_to_be() -> None:
    rig, items = late_pixels(18_000)
    r = calibrate_time(lambda: items, rig)
    assert r.shift_us is None
    assert calibrated_clock(r, rig).delay_us == 0.0
    assert {t.name for t in r.troubles} == {"out of reach"}


def late_stamps(by_us: int) -> tuple[Rig, Items]:
    rig, items = late_pixels(0)
    frames = [i for i in items if isinstance(i, Frame)]
    late = {f.sequence: (f.device_start_ns + 1000 * by_us, f.device_end_ns + 1000 * by_us) for f in frames}
    return rig, [
        replace(i, device_start_ns=late[i.sequence][0], device_end_ns=late[i.sequence][1])
        if isinstance(i, Frame)
        else i
        for i in items
    ]


@pytest.mark.parametrize("late_us", [8_000, 60_000])
def test_stamps_of_a_driver_are_moved_on_one_grid_too(late_us: int) -> None:
    """Bags and folders of a DAVIS: whoever wrote them stamped frames when they arrived."""
    rig, items = late_stamps(late_us)
    r = calibrate_time(lambda: items, rig, by_driver=True)
    assert r.shift_us == pytest.approx(-late_us, abs=r.shift_uncertainty_us)
    assert r.troubles == []
    clock = calibrated_clock(r, rig)
    assert clock.delay_us == clock.delay_measured_us == pytest.approx(-late_us, abs=r.shift_uncertainty_us)
    assert clock.uncertainty_us == clock.delay_uncertainty_us
    assert "stamps" in {t.name for t in check(lambda: items, rig, by_driver=True).troubles}


def test_stamps_of_a_driver_that_nothing_tells_of_are_said_to_be() -> None:
    rig, items = late_pixels(0)
    (first,) = [i for i in items if isinstance(i, Frame)][:1]
    still = [replace(i, image=first.image) if isinstance(i, Frame) else i for i in items]
    (t,) = calibrate_time(lambda: still, rig, by_driver=True).troubles
    assert t.verdict is Verdict.WARN
    assert "nothing tells whether stamps of frames and events agree" in t.text


def test_what_was_not_measured_of_one_sensor_is_said() -> None:
    rig, items = late_pixels(0)
    (first,) = [i for i in items if isinstance(i, Frame)][:1]
    still = [replace(i, image=first.image) if isinstance(i, Frame) else i for i in items]
    r = calibrate_time(lambda: still, rig)
    assert r.verdict is Verdict.PASS
    assert "whether pixels are late was not measured" in r.summary()
    unknown = [replace(i, device_end_ns=None) if isinstance(i, Frame) else i for i in items]
    for by_driver in (False, True):
        (t,) = calibrate_time(lambda: unknown, rig, by_driver=by_driver).troubles
        assert (t.name, t.verdict) == ("no exposures", Verdict.WARN)
        assert "--exposure-us" in t.text
    drawn = [replace(i, kind=FrameKind.ACCUMULATOR) if isinstance(i, Frame) else i for i in unknown]
    (t,) = calibrate_time(lambda: drawn, rig).troubles
    assert "drawn from events" in t.text


def test_a_sensor_that_seems_to_stamp_late_is_not_believed_in_silence() -> None:
    rig, items = late_stamps(8_000)
    r = calibrate_time(lambda: items, rig)
    assert calibrated_clock(r, rig).delay_us == 0.0
    (t,) = r.troubles
    assert (t.name, t.verdict) == ("early pixels", Verdict.WARN)
    assert "which no late pixel explains: taken as 0" in t.text


def test_pixels_that_are_no_longer_late_are_not_called_early() -> None:
    """A rig file from the dark, a recording in the light: around 0 is no early pixel, whatever its sign."""
    rig, items = late_stamps(500)
    dark = Clock(relation="same", delay_us=3000.0, delay_measured_us=3000.0, delay_uncertainty_us=300.0)
    rig = rig.model_copy(update={"clock": dark})
    r = calibrate_time(lambda: items, rig)
    assert r.shift_us is not None
    assert -1_000 < 3_000 + r.shift_us < 0
    assert r.troubles == []
    assert calibrated_clock(r, rig).delay_us == 0.0


def test_pixels_of_one_sensor_that_are_not_late_stay() -> None:
    rig, items = late_pixels(0)
    clock = calibrated_clock(calibrate_time(lambda: items, rig), rig)
    assert (clock.relation, clock.delay_us) == ("same", 0.0)
    assert clock.uncertainty_us is None
    early = TimeResult("same", shift_us=-3_000.0, shift_uncertainty_us=400.0)
    assert calibrated_clock(early, rig).delay_us == 0.0


def test_a_rig_file_goes_with_a_recording_of_one_sensor(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "cups.aedat4", sample_events(), sample_frames())
    with open_input(str(path)) as source:
        rig = source.rig
    late = with_clock(rig, delay_us=1_500.0)
    late.save(tmp_path / "rig.toml")
    starts = []
    for file in (None, tmp_path / "rig.toml"):
        with open_input(str(path), rig=file) as source:
            sync = Synchroniser(source.rig)
            for i in source.items:
                (sync.push_events if isinstance(i, EventPacket) else sync.push_frame)(i)  # type: ignore[arg-type]
        starts.append([o.exposure.start_us for o in [*sync.take(), *sync.finish()] if o.exposure is not None])
    assert len(starts[0]) > 5
    assert [b - a for a, b in zip(*starts, strict=True)] == [1_500] * len(starts[0])


def test_what_files_do_not_say_is_for_recordings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert execute(["calibrate", "rig", "-o", str(tmp_path / "r.toml"), "--exposure-us", "9000"]) == 2
    assert "give one with --from" in capsys.readouterr().err
