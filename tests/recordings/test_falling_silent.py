"""A camera that goes away while recording and is not back at the end."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capture.packets import EventPacket
from recordings.checking.verify import verify
from recordings.formats.own import OwnRecording
from recordings.formats.own_chunks import draft
from recordings.formats.own_health import read_health
from recordings.recorder import take as take_module
from recordings.recorder import worker as worker_module
from recordings.recorder.falling_silent import FallingSilent
from recordings.recorder.preroll import Waiting
from recordings.recorder.take import Limits, Take
from tests.capture.simulated_small import small
from tests.recordings.damage import change_health
from tests.recordings.own_sample import about_of, items_of, rig_of_config

CONFIG = small(paced=False)


def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, frames_until_s: float, wait_s: float = 0.0) -> Take:
    """Six seconds of items, of which the frames stop coming after so long; `wait_s`: closing is late."""
    began = time.monotonic()
    clock = SimpleNamespace(monotonic=lambda: began + now[0])
    now = [0.0]
    monkeypatch.setattr(take_module, "time", clock)
    take = Take(folder, about_of(rig_of_config(CONFIG)), Limits(reserve=0))
    half = list(items_of(CONFIG, 0.5))
    for n, item in enumerate(half):
        now[0] = 6.0 * n / len(half)  # twelve times slower than it is
        if isinstance(item, EventPacket) or now[0] < frames_until_s:
            take.add(item, draft(item, take.watermark_us), 0)
    take.stop()
    now[0] += wait_s
    take.finish()
    return take


def test_frames_that_stopped_are_told_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = recorded(tmp_path / "r", monkeypatch, 2.0)
    health = json.loads((take.folder / "health.json").read_text())
    early = health["ended_early"]
    assert set(early) == {"frames"}
    assert early["frames"] == pytest.approx(4.0, abs=0.5)
    line = f"frames stopped {early['frames']:.1f} s before the end"
    with OwnRecording(take.folder) as r:
        assert line in r.info.problems
    assert line in [f.text for f in verify(take.folder).findings]


def test_cameras_that_are_there_to_the_end_are_not_told_however_late_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = recorded(tmp_path / "r", monkeypatch, 6.0, wait_s=100.0)
    health = read_health(take.folder)
    assert health is not None
    assert health["ended_early"] == {}


@pytest.mark.parametrize("wrong", [None, {"frames": -1.0, "both": 3.0, "events": float("inf")}])
def test_recordings_that_do_not_have_the_entry_say_nothing(
    wrong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = recorded(tmp_path / "r", monkeypatch, 6.0)
    change_health(take.folder, ended_early=wrong)
    health = read_health(take.folder)
    assert health is not None
    assert health["ended_early"] == {}


def heard(stream: str, *at_s: float, broken_at: float | None = None) -> FallingSilent:
    out = FallingSilent()
    for at in at_s:
        out.heard(stream, at, broken=at == broken_at)
    return out


def test_a_stream_sets_its_own_pace() -> None:
    slow = heard("frames", 0.0, 5.0, 10.0)  # a slow camera, or triggers now and then
    assert slow.before(24.9) == {}
    assert slow.before(25.1) == {"frames": 15.1}
    assert heard("frames", 0.0, 5.0, broken_at=5.0).before(6.5) == {"frames": 1.5}
    once = heard("frames", 0.0)
    assert once.before(59.0) == {}
    assert once.before(61.0) == {"frames": 61.0}


def test_events_of_a_still_scene_may_be_silent_for_seconds() -> None:
    steady = heard("events", 0.0, 0.1)
    assert steady.before(5.5) == {}
    assert steady.before(7.1) == {"events": 7.0}
    assert FallingSilent().before(1e6) == {}


def test_one_camera_alone_is_held_against_the_end() -> None:
    assert heard("frames", *(n / 30 for n in range(30))).before(5.0).keys() == {"frames"}


def test_a_disk_that_takes_its_time_at_the_end_makes_no_camera_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to stop after three seconds, the recorder gets rid of the last one's items seconds later."""
    now, slow = [0.0], [8]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda _: now.__setitem__(0, now[0] + 0.5))
    monkeypatch.setattr(take_module, "time", clock)
    monkeypatch.setattr(worker_module, "time", clock)

    class Recorder(worker_module._Recorder):
        @property
        def _full(self) -> bool:
            slow[0] -= 1
            return slow[0] > 0

        def _report(self) -> None:
            """To nobody."""

    take = Take(tmp_path / "r", about_of(rig_of_config(CONFIG)), Limits(reserve=0))
    items = list(items_of(CONFIG, 0.5))
    waiting = [
        Waiting(int(not isinstance(i, EventPacket)), int(3e9 * n / len(items)), i, draft(i, None), 0)
        for n, i in enumerate(items)
    ]
    last = waiting[2 * len(items) // 3 :]
    r: Any = object.__new__(Recorder)
    r._take, r._items, r._ends, r._written_s, r._ending, r._backlog = take, 0, 0, None, False, deque()
    r.link = SimpleNamespace(poll=list, stopping=True, stop_given_s=None)
    r._incoming = SimpleNamespace(waiting=len(last), read=lambda _, sink: [sink(w) for w in last], backlog=0)
    r._closings = SimpleNamespace(queued=0)
    for w in waiting[: -len(last)]:
        now[0] = w.written_ns / 1e9
        r._record_one(w)
    now[0] = 3.0
    r._drain(take)
    assert now[0] > 5.0
    assert take.finish()["ended_early"] == {}
