"""The live pipeline on small recordings: with both streams, without frames, without events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.live import make_session
from capture.camera import CameraState
from tests.app.live_watch import EVENT_PLACES, Watch
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.sample import FRAMES, sample_events, sample_frames


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "sample.aedat4"
    return write_aedat4(path, sample_events(), sample_frames())


def offline(path: Path) -> dict[int, np.ndarray]:
    from capture.packets import Frame
    from inference import models
    from inference.engine import Engine
    from recordings.open import open_recording
    from sync.exposure import AlignedExposure
    from sync.rig import Rig
    from sync.synchroniser import Synchroniser

    out: dict[int, np.ndarray] = {}
    with open_recording(path) as r:
        facts = r.rig_facts()
        assert facts is not None
        rig = Rig.from_facts("sample", facts)
        sync, engine = Synchroniser(rig), Engine(models.create("edi", rig, None, "cpu"))
        for item in r.items():
            (sync.push_frame if isinstance(item, Frame) else sync.push_events)(item)  # type: ignore[operator]
        for o in sync.finish():
            if isinstance(o, AlignedExposure):
                out.update({q.ordinal: q.images for q in engine.push(o, (0.5,))})
    return out


def test_a_recording_replayed_gives_the_pictures_of_the_offline_path(recording: Path) -> None:
    session = make_session(recording, "edi", replay_speed=0.0)
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: session.status().ended, "the end of the recording")
        status = watch.settled()
    finally:
        session.stop()
    want = offline(recording)
    assert len(want) == FRAMES
    assert status.losses["superseded (restore)"] == 0, "as fast as possible passes over nothing"
    assert status.items_in == FRAMES
    got = {p.ordinal: p.sharp for p in watch.pictures if p.sharp is not None}
    assert got
    for ordinal, sharp in got.items():
        assert np.array_equal(sharp, want[ordinal]), f"exposure {ordinal} differs from the offline path"


def test_a_recording_can_be_paused_stepped_and_sought(recording: Path) -> None:
    session = make_session(recording, "none")
    session.start()
    watch = Watch(session)
    try:
        watch.restored(2)
        timeline = watch.until(session.timeline, "the timeline")
        assert len(timeline.exposures_us) == FRAMES
        session.command("pause")
        watch.settled()
        n = len(watch.pictures)
        watch.settled()
        assert len(watch.pictures) == n, "nothing comes while paused"
        session.command("seek", time_us=int(timeline.exposures_us[5, 0]) - 1000)
        session.command("step", frames=1)
        # A seek shows the frame that began last before that time; the step shows the next one and stands.
        wanted = [int(timeline.exposures_us[k, 1]) for k in (4, 5)]
        watch.until(lambda: watch.pictures[-1].exposure_end_us == wanted[1], "the frame stepped to")
        watch.settled()
        shown = [p.exposure_end_us for p in watch.pictures[n:]]
        assert shown in (wanted, wanted[1:])
    finally:
        session.stop()


def test_a_wish_while_the_source_opens_is_not_lost(recording: Path) -> None:
    session = make_session(recording, "none")
    session.start()
    session.command("pause")
    watch = Watch(session)
    try:
        watch.until(lambda: all(w.state is CameraState.RUNNING for w in session.status().workers), "running")
        watch.settled()
        n = len(watch.pictures)
        watch.settled()
        assert len(watch.pictures) == n < FRAMES
    finally:
        session.stop()


def test_a_recording_without_frames_is_said_where_the_picture_would_be(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "events.aedat4", sample_events(2000))
    session = make_session(path, "edi")
    session.start()
    try:
        watch = Watch(session)
        watch.until(lambda: session.status().workers[0].state is CameraState.FAULTED, "the fault of the source")
        assert "has no frames" in session.status().message
    finally:
        session.stop()


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames and no events."""
    return write_aedat4(tmp_path_factory.mktemp("tape") / "frames.aedat4", frames=sample_frames())


@pytest.mark.parametrize("speed", [0.0, 4.0])
def test_a_recording_of_frames_only_plays_with_a_network_that_needs_no_events(tape: Path, speed: float) -> None:
    session = make_session(tape, "none", replay_speed=speed)
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: session.status().ended, "the end of the recording")
        s = watch.settled()
        assert (
            s.items_in
            == FRAMES
            == s.items_out + sum(n for place, n in s.losses.items() if place not in EVENT_PLACES)
        )
        assert all(p.sharp is not None for p in watch.pictures)
        assert watch.pictures[-1].source == "chunk"
        rows = {c.name: c for c in session.networks()}
        assert rows["none"].usable
        assert not rows["edi"].usable
        assert rows["edi"].reason == "needs events, and this source has frames only"
        session.select_network("edi")
        watch.until(lambda: "needs events" in session.status().message, "the refusal on screen")
        # A seek back gives pictures again.
        n = len(watch.pictures)
        session.command("seek", time_us=sample_frames()[2].start_us)
        watch.until(lambda: len(watch.pictures) > n, "pictures after a seek")
        assert watch.pictures[-1].network == "none"
    finally:
        session.stop()


def test_events_that_nothing_places_are_not_said_to_be_missing(tmp_path: Path) -> None:
    wide = [WrittenFrame(f.start_us, f.exposure_us, np.zeros((96, 128), np.uint8)) for f in sample_frames()]
    two = write_aedat4(tmp_path / "two.aedat4", sample_events(), wide)
    session = make_session(two, "none")
    session.start()
    watch = Watch(session)
    try:
        watch.restored(1)
        (edi,) = (c for c in session.networks() if c.name == "edi")
        assert not edi.usable
        why = "needs events, and nothing tells how events lie on the pictures; open it with --rig RIG.toml"
        assert edi.reason.startswith(why)
        assert f"calibrate rig --from {two}" in edi.reason
        session.select_network("edi")
        watch.until(lambda: why in session.status().message, "the refusal on screen")
        watch.until(lambda: session.status().network == "none", "the worker's word that nothing has changed")
        assert "frames only" not in session.status().message
    finally:
        session.stop()


def test_a_network_that_lacks_events_is_said_and_another_one_begins(tape: Path) -> None:
    session = make_session(tape, "edi")
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: session.status().workers[0].state is CameraState.FAULTED, "the reason")
        assert session.status().message == (
            "network 'edi' needs events and the source has frames only; use none or cdvd-tsp"
        )
        session.select_network("none")
        assert watch.restored(1)[-1].network == "none"
    finally:
        session.stop()
