"""Recording with real processes: from the rings to the disk, and back to the same pictures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.live import LiveSession, make_session
from app.offline import deblur
from app.offline_input import open_input
from app.output.png import Stamp
from app.recorder import RecordRequest
from app.recording import RecordingFailed, record
from app.sources import SourceRequest
from capture.camera import CameraState
from capture.errors import UsageError
from capture.packets import EventPacket, Frame
from inference.engine import Engine
from inference.models import create
from recordings.formats.own import OwnRecording
from recordings.open import open_recording
from recordings.recorder.take import Limits
from sync.exposure import AlignedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser
from tests.app.live_watch import ONE_SENSOR, TWO_SENSORS
from tests.capture.simulated_small import small, small_davis
from tests.recordings.own_sample import Item, items_of, rig_of_config, write_own

Pictures = dict[int, np.ndarray[Any, Any]]


class Kept:
    """A sink that keeps the pictures by their exposure."""

    def __init__(self) -> None:
        self.by_sequence: Pictures = {}

    def add(self, image: np.ndarray[Any, Any], stamp: Stamp) -> None:
        self.by_sequence[stamp.sequence] = np.array(image)


def restored_from(folder: Path, options: dict[str, Any]) -> Pictures:
    kept = Kept()
    with open_input(str(folder)) as source:
        restorer = create("edi", source.rig, options=options, device="cpu")
        deblur(source, restorer, (0.5,), kept)
    return kept.by_sequence


def restored_at_once(rig: Rig, items: list[Item]) -> Pictures:
    """Synchronised and restored as they come, without a file between."""
    out: Pictures = {}
    sync, engine = Synchroniser(rig), Engine(create("edi", rig, device="cpu"))
    needs = engine.restorer.needs
    sync.set_margins(needs.margin_before_us, needs.margin_after_us)

    def restore(outcomes: list[Any]) -> None:
        for o in outcomes:
            if isinstance(o, AlignedExposure):
                for r in engine.push(o, (0.5,)):
                    out[o.frame.sequence] = np.array(r.images[0])

    for i in items:
        if isinstance(i, EventPacket):
            sync.push_events(i)
        else:
            sync.push_frame(i)
        restore(sync.take())
    restore(sync.finish())
    return out


@pytest.mark.parametrize("config", [small(paced=False), small_davis(paced=False)], ids=["two", "one"])
def test_restored_from_the_file_is_restored_at_once(tmp_path: Path, config: Any) -> None:
    """Bit for bit, and with what EDI learns about the contrast on its way."""
    items, rig = items_of(config, 1.5), rig_of_config(config)
    write_own(tmp_path / "r", rig, items)
    at_once, later = restored_at_once(rig, items), restored_from(tmp_path / "r", {})
    assert len(at_once) >= 20
    assert at_once.keys() == later.keys()
    assert all(np.array_equal(at_once[k], later[k]) for k in at_once)


def live_pictures(session: LiveSession, n: int) -> Pictures:
    """What a person saw, by the frame camera's count (which is the ordinal: nothing precedes the first)."""
    seen: Pictures = {}
    deadline = time.monotonic() + 90
    while len(seen) < n:
        p = session.poll()
        if p is not None and p.sharp is not None:
            seen[p.ordinal] = np.array(p.sharp[0])
        session.status()
        assert time.monotonic() < deadline, session.status()
        time.sleep(0.003)
    return seen


@pytest.mark.parametrize(
    ("source", "settings"), [("simulated:davis", ONE_SENSOR), ("simulated", TWO_SENSORS)], ids=["one", "two"]
)
def test_replay_equals_live(tmp_path: Path, source: str, settings: dict[str, Any]) -> None:
    """A live run of the simulated rig, recorded meanwhile, restored from the file: the same pictures."""
    options = {"contrast_on": 0.2, "contrast_off": 0.2}
    folder = tmp_path / "r"
    session = make_session(
        source, "edi", options=options, settings=settings, device="cpu",
        record=RecordRequest(folder, limits=Limits(reserve=0), network="edi"),
    )  # fmt: skip
    session.start()
    try:
        live = live_pictures(session, 12)
        session.finish_recording()
        deadline = time.monotonic() + 30
        while not session.recording.done:
            session.status()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        session.stop()
    later = restored_from(folder, options)
    with open_recording(folder) as r:
        assert isinstance(r, OwnRecording)
        assert r.about.network == "edi"
        frames = [i.sequence for i in r.items() if isinstance(i, Frame)]
    assert frames == list(range(len(frames)))  # so ordinals are sequence numbers
    common = live.keys() & later.keys()
    assert len(common) >= 10
    assert all(np.array_equal(live[k], later[k]) for k in common)


def recorded(tmp_path: Path, limits: Limits, **more: Any) -> tuple[Path, Any, list[str]]:
    request = SourceRequest.of("simulated:davis", ONE_SENSOR)
    said: list[str] = []
    result = record(
        request, RecordRequest(tmp_path / "r", limits=limits, **more), said=said.append, watch=lambda f, w: None
    )
    return tmp_path / "r", result, said


def test_a_run_leaves_a_recording_that_adds_up(tmp_path: Path) -> None:
    folder, result, _ = recorded(tmp_path, Limits(frames=10, reserve=0), split="test")
    (health,) = result.health.values()
    assert health == json.loads((folder / "health.json").read_text())
    assert (health["state"], health["frames"], sum(health["losses"].values())) == ("finished", 10, 0)
    with open_recording(folder) as r:
        assert isinstance(r, OwnRecording)
        about = r.about
        got = list(r.items())
        assert r.info.problems == ()
    assert about.split == "test"
    assert about.events.serial == "davis-0"
    assert (about.frames.model, about.frames.rate_hz) == ("simulated frame camera", 25.0)
    assert about.frames.settings["image_width"] == 64
    assert sum(len(i.events) for i in got if isinstance(i, EventPacket)) == health["events"] > 0
    packets = [i for i in got if isinstance(i, EventPacket)]
    assert not any(p.gap for p in packets)
    assert len([i for i in got if isinstance(i, Frame)]) == 10


def test_sequences_lie_side_by_side_and_each_is_whole(tmp_path: Path) -> None:
    folder, result, _ = recorded(tmp_path, Limits(frames=4, reserve=0), sequences=3)
    assert sorted(p.name for p in folder.iterdir()) == ["001", "002", "003"]
    assert [h["frames"] for h in result.health.values()] == [4, 4, 4]
    last = -1
    for n, name in enumerate(("001", "002", "003")):
        pictures = restored_from(folder / name, {})
        assert len(pictures) == 4
        assert min(pictures) > last
        last = max(pictures)
        with open_recording(folder / name) as r:
            assert isinstance(r, OwnRecording)
            assert (r.about.sequence, r.about.sequences) == (n + 1, 3)


def test_what_cannot_be_recorded_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "x").write_text("")
    with pytest.raises(UsageError, match="exists already; give another name with -o"):
        recorded(tmp_path, Limits(frames=1))
    with pytest.raises(UsageError, match="need --frames or --seconds"):
        RecordRequest(tmp_path / "n", sequences=2).check()
    with pytest.raises(UsageError, match="is no UTF-8; give another name with -o"):
        RecordRequest(tmp_path / "caf\udce9").check()


def test_a_recorder_that_cannot_write_is_told_in_one_line(tmp_path: Path) -> None:
    request = SourceRequest.of("simulated:davis", ONE_SENSOR)
    seen: list[str] = []

    def watch(figures: dict[str, Any], waiting: str) -> None:
        if not (tmp_path / "r").exists():  # somebody else makes it meanwhile
            (tmp_path / "r").mkdir()
            (tmp_path / "r" / "x").write_text("")
        seen.append(waiting)

    what = RecordRequest(tmp_path / "r", limits=Limits(frames=2))
    with pytest.raises(RecordingFailed, match=r"the recorder failed \(.*exists already.*nothing was recorded"):
        record(request, what, said=lambda _: None, watch=watch)
    assert seen


def test_a_full_disk_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingFailed, match=r"^recording ended early: .*disk full.*before that are kept$"):
        recorded(tmp_path, Limits(seconds=30, reserve=1 << 60))


def test_the_session_shows_its_recorder(tmp_path: Path) -> None:
    session = make_session(
        "simulated:davis", "edi", settings=ONE_SENSOR,
        record=RecordRequest(tmp_path / "r", limits=Limits(reserve=0)),
    )  # fmt: skip
    session.start()
    try:
        live_pictures(session, 3)
        states = {w.name: w.state for w in session.status().workers}
        assert states["recorder"] is CameraState.RUNNING
        deadline = time.monotonic() + 60
        while not session.recording.figures.get("frames"):
            session.status()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        session.stop()
    # Stopped with everything else, without a word to the recorder: it still closed its files.
    assert json.loads((tmp_path / "r" / "health.json").read_text())["state"] == "finished"
