"""AEDAT 2.0 and 3.1: what was written comes back; wraps, seeks, strange sensors, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, TriggerEdges
from recordings.open import open_recording
from recordings.recording import RecordingError
from tests.recordings.make_aedat import frame, gray, packet, polarity, write_aedat2, write_aedat3
from tests.recordings.make_datasets import FRAMES, START_US, exposure, made_events
from tests.recordings.reading import events_and_frames, same_events

SIZE = (346, 260)


def at(e: Events, t: np.ndarray) -> Events:
    return Events(t, e.x, e.y, e.p, *SIZE)


@pytest.mark.parametrize("kind", [2, 3])
def test_events_come_back_across_a_wrap_and_from_the_middle(tmp_path: Path, kind: int) -> None:
    """Times that pass 2^32 (2.0) and 2^31 (3.1)."""
    e = made_events(300_000, size=SIZE)
    e = at(e, np.sort(e.t * 3) + (1 << (32 if kind == 2 else 31)) - 3_500_000)
    path = (write_aedat2 if kind == 2 else write_aedat3)(tmp_path / "a.aedat", e)
    middle = int(e.t[200_000])
    with open_recording(path) as r:
        assert (r.info.event_size, r.info.format, r.info.image_size) == (SIZE, f"aedat{kind}", None)
        assert (r.info.start_us, r.info.end_us) == (int(e.t[0]), int(e.t[-1]))
        assert same_events(events_and_frames(r)[0], e)
        assert np.array_equal(events_and_frames(r, middle)[0].t, e.t[e.t >= middle])
        assert r.report.problems == []


def test_what_else_is_in_an_aedat2_is_counted(tmp_path: Path) -> None:
    e = made_events(5000, size=SIZE)
    with open_recording(write_aedat2(tmp_path / "a.aedat", e, imu=70)) as r:
        assert same_events(events_and_frames(r)[0], e)
        assert r.report.ignored == {"imu_words": 70}


@pytest.mark.parametrize(
    ("chip", "text"),
    [
        ("DVS128", "was recorded with the chip DVS128; only the addresses of DAVIS chips are known"),
        ("", "it does not name its sensor; state the size: --geometry"),
        ("DAVIS9000", "the size of its sensor 'DAVIS9000' is not known; state the size"),
    ],
)
def test_an_unknown_sensor_is_not_guessed(tmp_path: Path, chip: str, text: str) -> None:
    path = write_aedat2(tmp_path / "a.aedat", made_events(size=SIZE), chip=chip)
    with pytest.raises(RecordingError, match=text):
        open_recording(path)
    if chip != "DVS128":
        with open_recording(path, geometry=SIZE) as r:
            assert r.info.event_size == SIZE


def test_a_stated_size_wins_and_is_said(tmp_path: Path) -> None:
    with open_recording(write_aedat2(tmp_path / "a.aedat", made_events(size=SIZE)), geometry=(64, 48)) as r:
        assert r.info.event_size == (64, 48)
        assert "read as 64×48, as was asked" in r.info.problems[0]
        events_and_frames(r)
        assert r.report.events_rejected_outside > 0


def test_frames_edges_and_exposures_of_an_aedat3(tmp_path: Path) -> None:
    e = made_events(size=SIZE)
    edges = TriggerEdges(START_US + np.arange(0, 100_000, 10_000, dtype=np.int64), np.arange(10) % 2 == 0)
    with open_recording(write_aedat3(tmp_path / "a.aedat", e, edges=edges, frames=FRAMES)) as r:
        events, frames = events_and_frames(r)
        assert (r.info.has_triggers, r.info.image_size, r.info.camera) == (True, SIZE, "DAVIS346")
        assert r.frame_times_us() == [exposure(k) for k in range(FRAMES)]
        got = [i.triggers for i in r.items() if isinstance(i, EventPacket)]
        facts = r.rig_facts()
        assert not r.info.by_driver  # by the sensor itself
    assert same_events(events, e)
    assert [np.array_equal(f.image, gray(k, SIZE)) for k, f in enumerate(frames)] == [True] * FRAMES
    assert np.array_equal(np.concatenate([t.t for t in got]), edges.t)
    assert np.array_equal(np.concatenate([t.rising for t in got]), edges.rising)
    assert facts is not None
    assert facts.one_sensor


def test_two_sensors_in_one_file_the_first_is_read_and_said(tmp_path: Path) -> None:
    e = made_events(size=SIZE)
    other = packet(1, polarity(e[:700]), 700, source=2)
    with open_recording(write_aedat3(tmp_path / "a.aedat", e, more=other)) as r:
        assert same_events(events_and_frames(r)[0], e)
        assert r.info.problems == ("2 sensors are in it (sources 1, 2); source 1 is read",)


@pytest.mark.parametrize("end", [0, -20_000])
def test_an_exposure_of_no_length_is_shown_not_restored(tmp_path: Path, end: int) -> None:
    a, _ = exposure(1)
    bad = packet(2, frame(1, SIZE, end=a + end), 1)
    with open_recording(write_aedat3(tmp_path / "a.aedat", made_events(size=SIZE), more=bad)) as r:
        assert r.frame_times_us() == [(a, None)]
        assert any("no frame has an exposure in the file" in p for p in r.info.problems)


def test_time_that_runs_backwards_is_refused_and_counted(tmp_path: Path) -> None:
    e = made_events(4000, size=SIZE)
    t = e.t.copy()
    t[1000:1100] -= 150_000
    for kind, write in ((2, write_aedat2), (3, write_aedat3)):
        with open_recording(write(tmp_path / f"{kind}.aedat", at(e, t))) as r:
            events_and_frames(r)
            assert 0 < r.report.events_rejected_decreasing <= 100


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda b: b[:-5], "the file ends inside"),
        (lambda b: b[: len(b) // 2] + bytes(4), "the file ends inside"),
    ],
)
def test_a_cut_file_is_read_up_to_the_cut(tmp_path: Path, damage: object, text: str) -> None:
    e = made_events(4000, size=SIZE)
    for kind, write in ((2, write_aedat2), (3, write_aedat3)):
        path = write(tmp_path / f"{kind}.aedat", e)
        path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
        with open_recording(path) as r:
            assert len(events_and_frames(r)[0]) > 1500
            assert any(text in p for p in r.info.problems)


def test_packed_packets_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    e = made_events(size=SIZE)
    with pytest.raises(RecordingError, match="its packets are packed as SerializedTS, which is not read"):
        open_recording(write_aedat3(tmp_path / "a.aedat", e, form="SerializedTS"))
    with pytest.raises(RecordingError, match="holds no events"):
        open_recording(write_aedat3(tmp_path / "a.aedat", e[:0]))
    with pytest.raises(RecordingError, match="holds no events"):
        open_recording(write_aedat2(tmp_path / "a.aedat", e[:0]))


def test_the_real_aedat3_is_what_it_was_made_from(shared_data: Path) -> None:
    folder = shared_data / "event"
    with open_recording(folder / "davis346_blur_v31_transcoded.aedat") as r:
        events, frames = events_and_frames(r)
    with open_recording(folder / "davis346_blur_cups.aedat4") as r:
        source, source_frames = events_and_frames(r)
    n = len(events)
    assert n == 145_274
    for name in "xyp":
        assert np.array_equal(getattr(events, name), getattr(source, name)[:n])
    assert len(np.unique(events.t - source.t[:n])) == 1
    for a, b in zip(frames, source_frames[:2], strict=True):
        assert np.array_equal(a.image, b.image)


def test_the_real_aedat2(shared_data: Path) -> None:
    with open_recording(shared_data / "event" / "davis240c_translboxes_v2.aedat") as r:
        events, _ = events_and_frames(r)
        assert (len(events), r.info.event_size, r.info.camera) == (162_771, (240, 180), "DAVIS240C")
        assert r.report.ignored == {"imu_words": 33_837}
        assert (r.report.events_rejected_outside, r.report.events_rejected_decreasing) == (0, 0)
