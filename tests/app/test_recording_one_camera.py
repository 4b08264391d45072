"""Recordings of one camera alone, with real processes: made, looked at, checked, shown again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import recording
from app.live import make_session
from app.recorder import RecordRequest
from app.recording import RecordingFailed, record
from app.sources import SourceRequest, resolve
from app.viewer import recording_words
from capture.camera import CameraRole, CameraState
from capture.errors import CameraError, UsageError
from capture.genicam import aravis
from capture.packets import EventPacket, Frame
from capture.simulated.loops import event_loop, frame_loop
from capture.simulated.rig import SimulatedRig
from recordings.checking.verify import verify
from recordings.open import open_recording
from recordings.recorder.take import Limits
from sync.rig import Rig
from tests.capture.genicam import wire
from tests.capture.simulated_small import SMALL, small


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path_factory.getbasetemp() / "simulated-cache"))


def rig_file(folder: Path, role: CameraRole) -> Path:
    """A rig file of the simulated rig's one camera."""
    c = small()
    if role is CameraRole.FRAMES:
        frame_loop(c, lambda share: None)
        rig = Rig.frames_only("simulated", (c.image_width, c.image_height))
        rig = rig.model_copy(update={"image": rig.image.model_copy(update={"settings": SMALL})})
    else:
        event_loop(c)
        rig = Rig.events_only("simulated", (c.event_width, c.event_height))
        rig = rig.model_copy(update={"events": rig.events.model_copy(update={"settings": SMALL})})
    rig.save(folder / "rig.toml")
    return folder / "rig.toml"


def made(folder: Path, rig: Path | str, limits: Limits) -> Path:
    take = folder / "take"
    result = record(
        SourceRequest.of(rig), RecordRequest(take, limits=limits), said=print, watch=lambda f, w: None
    )
    assert not result.interrupted
    health = json.loads((take / "health.json").read_text())
    assert health["state"] == "finished"
    assert not any(health["losses"].values())
    lines, wrong = recording_words.report(str(take), health)
    assert not wrong, lines
    return take


def needs_aravis() -> None:
    try:
        aravis.load()
    except CameraError as e:
        pytest.skip(str(e))


@pytest.mark.parametrize("limits", [Limits(frames=12), Limits(seconds=1.0)], ids=["frames", "seconds"])
def test_frames_alone_are_recorded_and_shown_again(tmp_path: Path, limits: Limits) -> None:
    take = made(tmp_path, rig_file(tmp_path, CameraRole.FRAMES), limits)
    with open_recording(take) as r:
        items = list(r.items())
        assert all(isinstance(i, Frame) for i in items)
        assert (r.info.event_size, r.info.image_size) == (None, (small().image_width, small().image_height))
        span = r.info.end_us - r.info.start_us
        starts = [a for a, _ in r.frame_times_us()]
        # A seek leads into the middle of it.
        later = list(r.items(starts[5]))
    assert [i.sequence for i in later if isinstance(i, Frame)] == [
        i.sequence for i in items[5:] if isinstance(i, Frame)
    ]
    assert starts == sorted(starts)
    period = small().period_us
    assert np.median(np.diff(starts)) == pytest.approx(period, rel=0.1)
    if limits.frames is not None:
        assert len(items) == limits.frames
    else:
        assert 1_000_000 <= span < 1_000_000 + 4 * period
    assert verify(take).grade == 0
    shown: set[int] = set()
    session = make_session(take, "none", replay_speed=1.0)
    session.start()
    try:
        deadline = time.monotonic() + 60
        while len(shown) < len(items) / 2 and time.monotonic() < deadline:
            picture = session.poll()
            shown |= set() if picture is None else {picture.ordinal}
            session.status()
            time.sleep(0.01)
    finally:
        session.stop()
    assert len(shown) >= len(items) / 2


def test_events_alone_are_recorded(tmp_path: Path) -> None:
    path = rig_file(tmp_path, CameraRole.EVENTS)
    take = made(tmp_path, path, Limits(seconds=0.5))
    with open_recording(take) as r:
        assert all(isinstance(i, EventPacket) for i in r.items())
        assert r.report.events > 1000
        assert r.info.image_size is None
    assert verify(take).grade == 0
    with pytest.raises(UsageError, match="has no frame camera; give --seconds"):
        what = RecordRequest(tmp_path / "other", limits=Limits(frames=3))
        record(SourceRequest.of(path), what, said=print, watch=lambda f, w: None)
    session = make_session(path, "none")
    session.start()
    try:
        deadline = time.monotonic() + 20
        (worker,) = session.status().workers
        while worker.state is CameraState.STARTING and time.monotonic() < deadline:
            time.sleep(0.01)
            (worker,) = session.status().workers
    finally:
        session.stop()
    assert worker.state is CameraState.FAULTED
    assert "no frame camera" in worker.detail


def test_msrbd_files_of_one_camera_are_refused(tmp_path: Path) -> None:
    path = rig_file(tmp_path, CameraRole.FRAMES)
    what = RecordRequest(tmp_path / "take", limits=Limits(frames=3), also_msrbd=True)
    with pytest.raises(UsageError, match="has no event camera; MS-RBD files need both"):
        record(SourceRequest.of(path), what, said=print, watch=lambda f, w: None)
    assert not (tmp_path / "take").exists()


def test_a_camera_alone_by_its_name(tmp_path: Path) -> None:
    needs_aravis()
    with wire.device() as device:
        name = f"genicam:{device.address}"
        rig = resolve(SourceRequest.of(name)).rig
        assert (rig.image.width, rig.image.height) == (320, 240)
        take = made(tmp_path, name, Limits(frames=5))
    with open_recording(take) as r:
        assert [isinstance(i, Frame) for i in r.items()] == [True] * 5
    with pytest.raises(CameraError, match="127"):
        resolve(SourceRequest.of(name))


def test_a_camera_that_is_not_there_ends_it_and_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing answers at its address, which takes seconds to find out, over and over."""
    needs_aravis()
    monkeypatch.setattr(recording, "FAULT_PATIENCE_S", 3.0)  # two tries
    Rig.frames_only(f"genicam:{wire.own_address()}", (320, 240)).save(tmp_path / "rig.toml")
    seen: list[bool] = []

    def watch(figures: dict[str, Any], waiting: str) -> None:
        seen.append((tmp_path / "take").exists())

    what = RecordRequest(tmp_path / "take", limits=Limits(frames=1))
    with pytest.raises(
        RecordingFailed, match=r"nothing was recorded, because a camera failed .*no camera answers"
    ):
        record(SourceRequest.of(tmp_path / "rig.toml"), what, said=print, watch=watch)
    assert any(seen)
    assert not (tmp_path / "take").exists()


def test_of_two_cameras_one_that_is_not_there_ends_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for ever for the frames that were asked for, and events alone are not what was wanted."""
    needs_aravis()
    monkeypatch.setattr(recording, "FAULT_PATIENCE_S", 3.0)
    event_loop(small())
    rig = Rig.from_facts("simulated", SimulatedRig(small()).facts())
    image = rig.image.model_copy(update={"camera": f"genicam:{wire.own_address()}", "settings": {}})
    events = rig.events.model_copy(update={"settings": SMALL})
    rig.model_copy(update={"image": image, "events": events}).save(tmp_path / "rig.toml")
    what = RecordRequest(tmp_path / "take", limits=Limits(frames=5))
    with pytest.raises(
        RecordingFailed, match=r"a camera failed .frames: .*no camera answers.*until then is kept"
    ):
        record(SourceRequest.of(tmp_path / "rig.toml"), what, said=print, watch=lambda f, w: None)
    with open_recording(tmp_path / "take") as r:
        assert any(isinstance(i, EventPacket) and len(i.events) for i in r.items())


def test_a_camera_that_sends_nothing_leaves_nothing_and_is_not_said_to(tmp_path: Path) -> None:
    """Its trigger never comes: it is there, and does not fail."""
    needs_aravis()
    with wire.device() as device:
        rig = Rig.frames_only(f"genicam:{device.address}", (320, 240))
        image = rig.image.model_copy(update={"settings": {"trigger": "Line0"}})
        rig.model_copy(update={"image": image}).save(tmp_path / "rig.toml")
        what = RecordRequest(tmp_path / "take", limits=Limits(seconds=1.0))
        with pytest.raises(RecordingFailed, match=r"^nothing was recorded: nothing came from the cameras$"):
            record(SourceRequest.of(tmp_path / "rig.toml"), what, said=print, watch=lambda f, w: None)
    assert not (tmp_path / "take").exists()
