"""The whole pipeline with real processes, on a small simulated rig and on a small recording."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.live import LiveSession, make_session
from app.session import Picture, SessionStatus, WorkerStatus
from capture.camera import CameraState
from capture.errors import HalfmirrorError, UsageError
from inference import models
from tests.app import failing_network
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import FRAMES, sample_events, sample_frames

LIMIT_S = 60.0
EVENT_PLACES = {"ring event packets", "camera events", "rejected events"}
ONE_SENSOR = {
    "image_width": 64, "image_height": 48, "event_width": 64, "event_height": 48, "fine": 2, "loop_s": 0.6,
    "cache": False,
}  # fmt: skip
TWO_SENSORS = {
    "image_width": 96, "image_height": 64, "event_width": 24, "event_height": 16, "loop_s": 0.6, "cache": False,
    "rate_hz": 20.0, "exposure_us": 20_000,
}  # fmt: skip


def segments() -> set[str]:
    return {p.name for p in Path("/dev/shm").glob(f"hm{os.getpid()}_*")}


class Watch:
    """Polls a session as a viewer would."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.pictures: list[Picture] = []
        self.said: list[str] = []  # every message, also those that have gone from the screen
        say = session._say
        session._say = lambda text: (self.said.append(text), say(text))[1]  # type: ignore[func-returns-value]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while True:
            p = self.session.poll()
            if p is not None:
                self.pictures.append(p)
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"never: {what}; said {self.said}; {self.session.status()}"
            if p is None:
                time.sleep(0.003)

    def restored(self, n: int) -> list[Picture]:
        self.until(lambda: len([p for p in self.pictures if p.sharp is not None]) >= n, f"{n} sharp pictures")
        return [p for p in self.pictures if p.sharp is not None]

    def worker(self, name: str) -> WorkerStatus:
        return next(w for w in self.session.status().workers if w.name == name)

    def settled(self) -> SessionStatus:
        """A status after the workers have reported once more."""
        end = time.monotonic() + 0.5
        self.until(lambda: time.monotonic() > end, "half a second")
        return self.session.status()


@pytest.fixture(scope="module")
def davis() -> Iterator[Watch]:
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
    session.start()
    yield Watch(session)
    session.stop()


def test_two_cameras_become_sharp_pictures(davis: Watch) -> None:
    p = davis.restored(5)[-1]
    assert p.sharp is not None
    assert p.sharp.shape == (1, 48, 64)
    assert p.blurred.shape == (48, 64)
    assert (p.source, p.latents, p.network) == ("chunk", (0.5,), "edi")
    assert p.exposure_start_us is not None
    assert p.exposure_end_us is not None
    assert p.exposure_end_us - p.exposure_start_us == 30_000
    assert p.events is not None
    assert p.exposure_start_us <= p.events.t[0] <= p.events.t[-1] < p.exposure_end_us
    assert np.any(p.sharp[0] != p.blurred)
    assert "contrast_on" in p.figures


def test_every_exposure_is_accounted_for(davis: Watch) -> None:
    davis.restored(8)
    s = davis.settled()
    dropped = sum(n for place, n in s.losses.items() if place not in EVENT_PLACES)
    assert s.items_in == s.items_out + dropped + s.waiting
    # Ordinals that were not shown were lost in a named place, not in silence.
    stream = [p.ordinal for p in davis.pictures if not p.held]
    assert stream == sorted(set(stream))
    assert s.items_in >= stream[-1] + 1
    assert s.fps > 0
    assert {w.name: w.state for w in s.workers} == dict.fromkeys(
        ("events", "frames", "restore"), CameraState.RUNNING
    )


def test_latency_runs_from_the_end_of_the_exposure(davis: Watch) -> None:
    p = davis.restored(len(davis.pictures) + 1)[-1]
    assert 0 <= p.ready_host_ns - p.exposure_end_host_ns < 5e9
    assert davis.session.status().latency_p95_ms >= davis.session.status().latency_p50_ms > 0


def test_the_held_exposure_is_restored_at_other_instants(davis: Watch) -> None:
    last = davis.restored(len(davis.pictures) + 1)[-1]
    davis.session.hold(last.ordinal)
    at = tuple(i / 11 for i in range(12))  # more than fit into one part
    davis.session.request_latents(at)
    answer = davis.until(lambda: next((p for p in davis.pictures if p.held), None), "the answer")
    assert answer.ordinal == last.ordinal
    assert answer.sharp is not None
    assert answer.sharp.shape == (12, 48, 64)
    assert answer.latents == pytest.approx(at)
    assert np.any(answer.sharp[0] != answer.sharp[-1])
    davis.session.hold(None)
    n = len(davis.pictures)
    davis.until(lambda: len(davis.pictures) > n + 2, "the stream goes on")


def test_networks_switch_while_streaming(davis: Watch) -> None:
    davis.session.select_network("none")
    p = davis.until(
        lambda: next((p for p in davis.pictures if p.network == "none"), None), "a picture passed through"
    )
    assert np.array_equal(p.sharp[0], p.blurred)
    n = len(davis.pictures)
    davis.session.select_network("edi")
    davis.until(lambda: any(p.network == "edi" for p in davis.pictures[n:]), "EDI again")
    davis.settled()
    row = next(c for c in davis.session.networks() if c.name == "edi")
    assert row.usable
    assert row.last_ms is not None
    davis.session.select_network("magic")
    davis.until(lambda: "unknown network 'magic'" in davis.session.status().message, "the reason on screen")


def test_residuals_beside_the_stream_and_of_the_held_exposure(davis: Watch) -> None:
    n = len(davis.pictures)
    before = davis.settled().items_out
    davis.session.command("residual", on=True)
    p = davis.until(lambda: next((p for p in davis.pictures[n:] if p.residual is not None), None), "a residual")
    assert p.sharp is not None
    assert not p.held
    assert p.residual.map.shape == p.blurred.shape[:2]
    assert 0 <= p.residual.rms < 10
    n = len(davis.pictures)
    newest = davis.until(
        lambda: next((p for p in davis.pictures[n:] if p.residual is None), None), "the stream"
    )
    davis.session.hold(newest.ordinal)
    held = davis.until(
        lambda: next((p for p in davis.pictures[n:] if p.residual is not None and p.held), None),
        "of the held one",
    )
    assert (held.ordinal, held.sharp, held.refusal) == (newest.ordinal, None, "")
    davis.session.hold(None)
    davis.session.command("residual", on=False)
    s = davis.settled()
    stream = [q for q in davis.pictures if not q.held and q.residual is None and q.sharp is not None]
    assert s.items_out == len(stream) > before, "a residual counts for no exposure"


def test_workers_killed_while_live_come_back_and_the_loss_is_shown() -> None:
    before = segments()
    session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
    session.start()
    watch = Watch(session)
    try:
        watch.restored(3)
        session.command("residual", on=True)
        for name in ("restore", "events", "frames"):
            pid = watch.worker(name).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            watch.until(lambda n=name: watch.worker(n).restarts == 1, f"{name} restarted")
            watch.until(lambda n=name: watch.worker(n).state is CameraState.RUNNING, f"{name} running")
            seen = len(watch.pictures)
            watch.until(
                lambda s=seen: any(p.sharp is not None for p in watch.pictures[s:]), f"pictures after {name}"
            )
        seen = len(watch.pictures)
        watch.until(
            lambda: any(p.residual is not None for p in watch.pictures[seen:]), "the wish outlived the worker"
        )
        s = watch.settled()
        assert s.losses["camera frames"] > 0, f"the frame camera was away for some frames: {s}"
        assert s.losses["restart"] + s.losses["ring frames"] > 0, "the restore worker was away for some frames"
        dropped = sum(n for place, n in s.losses.items() if place not in EVENT_PLACES)
        assert s.items_in == s.items_out + dropped + s.waiting
        assert s.waiting < 10
    finally:
        session.stop()
    assert segments() == before


def test_a_network_without_memory_gives_way_and_the_cameras_notice_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(models._MODELS, failing_network.NAME, failing_network.ENTRY)
    monkeypatch.setattr("app.live.run_restore_worker", failing_network.run)
    session = make_session("simulated:davis", failing_network.NAME, settings=ONE_SENSOR)
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: any(p.network == "none" for p in watch.pictures), "frames pass through")
        s = watch.settled()
        shown = [p.network for p in watch.pictures if p.sharp is not None]
        assert set(shown) == {failing_network.NAME, "none"}
        assert s.message == "failing ran out of memory (MemoryError: 3 GB wanted); frames pass through"
        assert s.losses["failed"] == 1
        assert {w.name: (w.state, w.restarts) for w in s.workers} == dict.fromkeys(
            ("events", "frames", "restore"), (CameraState.RUNNING, 0)
        )
        assert s.losses["camera frames"] == s.losses["ring frames"] == s.losses["ring event packets"] == 0
        dropped = sum(n for place, n in s.losses.items() if place not in EVENT_PLACES)
        assert s.items_in == s.items_out + dropped + s.waiting
        failed = [p for p in watch.pictures if p.sharp is None]
        assert [p.refusal for p in failed] in ([], ["failing failed: MemoryError: 3 GB wanted"])
        session.select_network("edi")
        watch.until(lambda: any(p.network == "edi" for p in watch.pictures), "EDI after it")
        assert watch.settled().message == ""
    finally:
        session.stop()


def test_edges_tell_the_exposures_of_two_cameras() -> None:
    before, children = segments(), {c.pid for c in multiprocessing.active_children()}
    session = make_session("simulated", "edi", settings=TWO_SENSORS)
    session.start()
    watch = Watch(session)
    try:
        p = watch.restored(4)[-1]
        assert p.source == "trigger"
        assert 0 < p.uncertainty_us < 1000
        assert p.sharp is not None
        assert p.sharp.shape == (1, 64, 96, 3)
        assert p.events is not None
        assert (p.events.width, p.events.height) == (24, 16)
        assert np.linalg.det(p.image_from_event[:2, :2]) < 0, "the mirror flips"
    finally:
        began = time.monotonic()
        session.stop()
    assert time.monotonic() - began < 4.0
    assert segments() == before
    assert {c.pid for c in multiprocessing.active_children()} <= children


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


@pytest.mark.parametrize(
    ("source", "network", "error"),
    [
        ("simulated:nowhere", "edi", "no preset 'nowhere'"),
        ("simulated", "magic", "unknown network 'magic'; known: edi, "),
        ("nikon", "edi", "unknown camera 'nikon'"),
        ("missing.toml", "edi", "missing.toml does not exist"),
        (Path("missing.aedat4"), "edi", "missing.aedat4"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_starts(
    source: str | Path, network: str, error: str
) -> None:
    with pytest.raises((UsageError, HalfmirrorError), match=error):
        make_session(source, network)


SETTINGS = (
    "image_width = 64, image_height = 48, event_width = 64, event_height = 48, loop_s = 0.4, cache = false"
)
RIG_FILE = """
name = "bench"
[events]
camera = "simulated:davis"
width = {width}
height = 48
settings = {{ {settings} }}
[image]
camera = "{camera}"
width = 64
height = 48
settings = {{ {settings} }}
[clock]
relation = "same"
"""


def test_a_rig_file_of_other_cameras_is_said_and_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(settings=SETTINGS, width=640, camera="simulated:davis"))
    session = make_session(path, "edi")
    session.start()
    watch = Watch(session)
    try:
        watch.until(lambda: any(w.state is CameraState.FAULTED for w in session.status().workers), "a fault")
        w = watch.worker("restore")
        assert "events are 64×48, but the rig 'bench' says 640×48" in w.detail
        assert w.restarts == 0
    finally:
        session.stop()


def test_a_rig_file_with_its_settings_runs(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(settings=SETTINGS, width=64, camera="simulated:davis"))
    session = make_session(path, "edi")
    session.start()
    try:
        assert Watch(session).restored(2)[-1].blurred.shape == (48, 64)
    finally:
        session.stop()


def test_a_rig_file_of_other_serial_numbers_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    text = RIG_FILE.format(settings=SETTINGS, width=64, camera="simulated:davis")
    path.write_text(text.replace("[image]", 'serial = "davis-7"\n[image]'))
    session = make_session(path, "none")
    watch = Watch(session)
    session.start()
    try:
        watch.until(
            lambda: session.status() and any("davis-7" in s and "davis-0" in s for s in watch.said), "a warning"
        )
        watch.restored(1)
    finally:
        session.stop()


def test_a_camera_that_a_rig_file_misspells_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(settings=SETTINGS, width=64, camera="simulatd:davis"))
    with pytest.raises(UsageError, match="unknown camera 'simulatd'"):
        make_session(path, "edi")


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


def test_a_rig_file_without_an_event_camera(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    text = RIG_FILE.format(settings=SETTINGS, width=64, camera="simulated:davis")
    path.write_text(text.replace('camera = "simulated:davis"', 'camera = "none"', 1))
    session = make_session(path, "none")
    session.start()
    try:
        watch = Watch(session)
        assert watch.restored(3)[-1].blurred.shape == (48, 64)
        assert {w.name for w in session.status().workers} == {"frames", "restore"}
    finally:
        session.stop()


def test_stopping_at_once_leaves_nothing() -> None:
    before = segments()
    for pause in (0.0, 0.3, 1.0):
        session = make_session("simulated:davis", "edi", settings=ONE_SENSOR)
        session.start()
        time.sleep(pause)
        session.stop()
        session.stop()
    deadline = time.monotonic() + 5
    while segments() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert segments() == before
