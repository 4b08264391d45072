"""A run without a window: what it leaves, when it ends, how it fails."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from app.following import PipelineError
from app.headless import SHEET, SUMMARY, VIDEO, run_headless
from app.output.atomic import OutputError
from app.output.disk_room import RESERVE_BYTES, DiskRoom
from app.output.video_thread import VideoClock, VideoThread, middle
from app.session import SessionStatus, WorkerStatus
from capture.camera import CameraState
from tests.app.cli.fake_session import FakeSession, picture

ABOUT = {"source": "simulated", "network": "edi", "version": "1", "command": ["x"]}


def video_times(path: Path) -> list[int]:
    with av.open(str(path)) as f:
        stream = f.streams.video[0]
        return [round(float(x.pts * x.time_base) * 1e6) for x in f.decode(stream)]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = FakeSession([picture(i) for i in range(20)], is_recording=True)
    run = run_headless(session, None, seconds=None, about=ABOUT)
    assert (run.pictures, run.refused, run.video_frames) == (20, 0, 0)
    assert run.figures["contrast_on"] == pytest.approx(0.21)
    assert list(tmp_path.iterdir()) == []


def test_recording_runs_to_its_end_and_leaves_three_files(tmp_path: Path) -> None:
    session = FakeSession([picture(i) for i in range(20)], is_recording=True)
    run = run_headless(session, tmp_path, seconds=None, about=ABOUT)
    assert session.calls == ["start", "stop"]
    assert (run.pictures, run.refused, run.video_frames, run.video_dropped) == (20, 0, 20, 0)
    assert video_times(tmp_path / VIDEO) == [40_000 * i for i in range(20)]
    sheet = cv2.imread(str(tmp_path / SHEET))
    assert sheet is not None
    assert sheet.shape[1] == 2 * (128 + 8) + 8
    summary = json.loads((tmp_path / SUMMARY).read_text())
    assert summary["network"] == "edi"
    assert summary["pictures"] == {"shown": 20, "refused": 0, "unchanged": 0}
    assert summary["status"]["losses"] == {"camera frames": 2, "ring": 0}
    assert summary["figures_median"] == {"contrast_on": pytest.approx(0.21)}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([SHEET, SUMMARY, VIDEO])


def test_live_run_ends_after_its_seconds(tmp_path: Path) -> None:
    session = FakeSession([picture(i) for i in range(1000)], every_s=0.01)
    run = run_headless(session, tmp_path, seconds=0.5, about=ABOUT)
    assert run.seconds >= 0.5
    assert 1 < run.pictures < 1000
    assert run.video_frames + run.video_dropped == run.pictures


def test_seconds_count_from_the_first_picture(tmp_path: Path) -> None:
    session = FakeSession([picture(0)])
    session._next = time.monotonic() + 0.6  # a start that takes longer than the run itself
    run = run_headless(session, tmp_path, seconds=0.2, about=ABOUT)
    assert run.pictures == 1


def test_pictures_that_no_network_has_touched_are_stamped_in_the_video(tmp_path: Path) -> None:
    wide = np.full((200, 500, 3), 90, np.uint8)
    pictures = [
        replace(picture(i), blurred=wide, sharp=wide[None], network=network)
        for i, network in enumerate(["edi"] * 3 + ["none"] * 3)
    ]
    run = run_headless(FakeSession(pictures, is_recording=True), tmp_path, seconds=None, about=ABOUT)
    assert (run.unchanged, run.restored_by, run.back) == (3, {"edi": 3, "none": 3}, False)
    with av.open(str(tmp_path / VIDEO)) as f:
        spread = [float(x.to_ndarray(format="gray")[:, 500:].std()) for x in f.decode(f.streams.video[0])]
    assert max(spread[:3]) < 3 < 8 < min(spread[3:])


def test_refused_exposures_are_shown_and_counted(tmp_path: Path) -> None:
    pictures = [picture(0), picture(1, refusal="no events"), picture(2)]
    run = run_headless(FakeSession(pictures, is_recording=True), tmp_path, seconds=None, about=ABOUT)
    assert (run.pictures, run.refused, run.video_frames) == (3, 1, 3)


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(143), SystemExit(129)])
def test_interrupt_keeps_what_came(signal: BaseException, tmp_path: Path) -> None:
    """Who stops a run of hours by a service manager, or loses the terminal, wants it as much."""
    session = FakeSession([picture(i) for i in range(5)], error=signal)
    run = run_headless(session, tmp_path, seconds=60, about=ABOUT)
    assert run.interrupted
    assert session.calls[-1] == "stop"
    assert len(video_times(tmp_path / VIDEO)) == 5
    assert json.loads((tmp_path / SUMMARY).read_text())["interrupted"] is True


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(143)])
def test_interrupt_before_the_first_picture_is_only_that(signal: BaseException, tmp_path: Path) -> None:
    session = FakeSession([], error=signal)
    with pytest.raises(type(signal)):
        run_headless(session, tmp_path, seconds=60, about=ABOUT)
    assert session.calls[-1] == "stop"


def test_faulted_worker_is_named(tmp_path: Path) -> None:
    session = FakeSession([])
    session.workers = (WorkerStatus("frames", CameraState.FAULTED, detail="camera unplugged"),)
    with pytest.raises(PipelineError, match="frames: camera unplugged"):
        run_headless(session, tmp_path, seconds=1, about=ABOUT, fault_patience_s=0.4)
    assert session.calls[-1] == "stop"


def test_worker_that_recovers_is_no_reason_to_give_up(tmp_path: Path) -> None:
    session = FakeSession([picture(i) for i in range(5)], is_recording=True)
    session._next = time.monotonic() + 0.8
    session.workers = (WorkerStatus("frames", CameraState.FAULTED, detail="trying again"),)
    assert run_headless(session, tmp_path, seconds=None, about=ABOUT, fault_patience_s=30).pictures == 5


def test_a_recording_is_not_over_while_its_exposures_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some networks take longer for a picture than a recording may be silent."""
    monkeypatch.setattr("app.following._END_QUIET_S", 0.2)
    session = FakeSession([picture(i) for i in range(3)], is_recording=True, every_s=0.6)
    status = session.status
    monkeypatch.setattr(session, "status", lambda: replace(status(), waiting=len(session._pictures)))
    assert run_headless(session, tmp_path, seconds=None, about=ABOUT).pictures == 3


def test_patience_begins_anew_when_a_worker_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession([picture(0)], is_recording=True)
    session._next = time.monotonic() + 1.6
    states = itertools.cycle([CameraState.FAULTED, CameraState.RUNNING])
    status = session.status

    def flickering() -> SessionStatus:
        session.workers = (WorkerStatus("frames", next(states), detail="trying again"),)
        return status()

    monkeypatch.setattr(session, "status", flickering)
    assert run_headless(session, tmp_path, seconds=None, about=ABOUT, fault_patience_s=1.0).pictures == 1


def test_a_camera_that_is_tried_again_and_again_does_not_keep_one_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try takes seconds where nothing answers at an address; in between it is starting."""
    session = FakeSession([])
    states = itertools.cycle([CameraState.STARTING, CameraState.FAULTED])
    status, began = session.status, time.monotonic()

    def trying() -> SessionStatus:
        away = time.monotonic() - began
        session.workers = (WorkerStatus("frames", next(states), "no camera answers", pid=1, down_s=away),)
        return status()

    monkeypatch.setattr(session, "status", trying)
    with pytest.raises(PipelineError, match=r"a worker failed .frames: no camera answers"):
        run_headless(session, tmp_path, seconds=1, about=ABOUT, fault_patience_s=1.0, start_limit_s=10)


def test_a_worker_that_stays_down_ends_a_run_that_only_publishes(tmp_path: Path) -> None:
    """Nobody looks at it, and nobody is served any more."""
    session = FakeSession([picture(k) for k in range(3)])
    session.workers = (WorkerStatus("publish", CameraState.FAULTED, "given up after 5 restarts in 60 s"),)
    run = run_headless(session, None, seconds=None, about=ABOUT, fault_patience_s=0.6)
    assert (run.pictures, run.interrupted, session.calls) == (3, False, ["start", "stop"])


def test_a_camera_that_is_gone_does_not_end_a_run_that_only_publishes(tmp_path: Path) -> None:
    """Its worker lives and tries it again and again."""
    session = FakeSession([picture(0)])
    gone = WorkerStatus("frames", CameraState.FAULTED, "the camera does not answer any more", pid=1)
    session.workers = (gone,)
    run = run_headless(session, None, seconds=1.2, about=ABOUT, fault_patience_s=0.3)
    assert run.seconds >= 1.2


def test_no_picture_in_time_says_so(tmp_path: Path) -> None:
    session = FakeSession([])
    with pytest.raises(PipelineError, match="replay running"):
        run_headless(session, tmp_path, seconds=1, about=ABOUT, start_limit_s=0.3)
    assert session.calls[-1] == "stop"


def test_a_network_that_is_made_ready_has_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession([picture(i) for i in range(5)], is_recording=True)
    session._next = time.monotonic() + 0.9
    session.workers = (WorkerStatus("restore", CameraState.STARTING, "preparing gem"),)
    assert run_headless(session, tmp_path, seconds=None, about=ABOUT, start_limit_s=0.3).pictures == 5
    session = FakeSession([])
    session.workers = (WorkerStatus("restore", CameraState.STARTING, "preparing gem"),)
    monkeypatch.setattr("app.following.PREPARING_S", 0.2)
    with pytest.raises(PipelineError, match="restore starting, preparing gem"):
        run_headless(session, tmp_path, seconds=1, about=ABOUT, start_limit_s=0.3)


def test_recording_without_a_picture_says_so(tmp_path: Path) -> None:
    session = FakeSession([], is_recording=True)
    with pytest.raises(PipelineError, match="without one picture"):
        run_headless(session, tmp_path, seconds=None, about=ABOUT, start_limit_s=60)


def test_error_of_the_session_passes_through_and_stops_it(tmp_path: Path) -> None:
    session = FakeSession([picture(0)], error=OSError("odd"))
    with pytest.raises(OSError, match="odd"):
        run_headless(session, tmp_path, seconds=5, about=ABOUT)
    assert session.calls[-1] == "stop"


def test_video_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    session = FakeSession([picture(i) for i in range(1000)], every_s=0.01)
    with pytest.raises(OutputError, match="No such file"):
        run_headless(session, tmp_path / "gone", seconds=30, about=ABOUT)
    assert session.calls[-1] == "stop"


class Filling:
    """A disk that is nearly full after some pictures; nobody has to write so much."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
        self._looks = looks
        monkeypatch.setattr(
            "app.output.video_thread.DiskRoom", lambda folder: DiskRoom(folder, free=self, every_s=0.0)
        )

    def __call__(self, folder: Path) -> int:
        self._looks -= 1
        return 1 << 30 if self._looks >= 0 else RESERVE_BYTES


def test_a_video_ends_properly_before_the_disk_is_full_and_the_run_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty hours of video are not thrown away for the sixty-first."""
    Filling(monkeypatch, looks=10)
    session = FakeSession([picture(i) for i in range(10_000)], every_s=0.005)
    run = run_headless(session, tmp_path, seconds=60, about=ABOUT)
    assert run.seconds < 30
    assert session.calls[-1] == "stop"
    assert (run.video_frames, run.video_full_s) == (11, 0.4)
    assert len(video_times(tmp_path / VIDEO)) == 11
    assert run.video_frames + run.video_dropped + run.video_after_full == run.pictures
    video = json.loads((tmp_path / SUMMARY).read_text())["video"]
    assert (video["frames"], video["disk_full_after_s"]) == (11, 0.4)
    assert (tmp_path / SHEET).exists()


def test_publishing_goes_on_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Filling(monkeypatch, looks=10)
    said: list[str] = []
    session = FakeSession([picture(i) for i in range(300)], is_recording=True, every_s=0.001)
    run = run_headless(session, tmp_path, seconds=None, about=ABOUT, published=True, say=said.append)
    assert run.pictures == 300
    assert run.video_after_full + run.video_dropped == 289
    assert said == ["the video ends at 0:00:00, the disk is full; publishing goes on"]


def test_publishing_goes_on_when_the_video_fails_which_is_told_at_the_end(tmp_path: Path) -> None:
    said: list[str] = []
    session = FakeSession([picture(i) for i in range(300)], is_recording=True, every_s=0.002)
    with pytest.raises(OutputError, match="No such file"):
        run_headless(session, tmp_path / "gone", seconds=30, about=ABOUT, published=True, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("publishing goes on without a video: cannot write")
    assert session._given == 300, "none was kept from those who subscribe"


def test_a_disk_that_is_nearly_full_from_the_start_takes_a_short_video_all_the_same(tmp_path: Path) -> None:
    free = [40 << 20]
    room = DiskRoom(tmp_path, free=lambda _: free[0], every_s=0.0)
    assert not room.short(1)
    free[0] = 21 << 20
    assert not room.short(1000)
    free[0] = 19 << 20
    assert room.short(1)


def test_slow_encoder_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    go = threading.Event()
    video = VideoThread(tmp_path / "a.mp4", depth=2)
    add = video.writer.add

    def slow(*a: object) -> None:
        go.wait(20)
        add(*a)  # type: ignore[arg-type]

    monkeypatch.setattr(video.writer, "add", slow)
    taken = sum(video.offer(picture(i)) for i in range(10))
    go.set()
    video.close()
    assert taken + video.dropped == 10
    assert video.dropped >= 7
    assert video.writer.count == taken == len(video_times(tmp_path / "a.mp4"))


def test_pictures_of_another_size_are_fitted_into_the_video(tmp_path: Path) -> None:
    """Who publishes may open another source in mid-stream."""
    video = VideoThread(tmp_path / "a.mp4", depth=10)
    first = picture(0)
    for i in range(3):
        video.offer(replace(picture(i), blurred=first.blurred, sharp=first.sharp))
    larger = np.full((200, 100), 90, np.uint8)
    for i in range(3, 6):
        video.offer(replace(picture(i), blurred=larger, sharp=larger[None]))
    video.close()
    assert (video.writer.count, video.fitted) == (6, 3)
    assert len(video_times(tmp_path / "a.mp4")) == 6


def test_video_clock_runs_on_through_jumps() -> None:
    clock = VideoClock()
    ms = 1_000_000
    ends = [5_000_000, 5_040_000, None, 5_120_000, 100_000, 140_000]  # unknown, then a loop to the start
    hosts = [0, 40 * ms, 80 * ms, 120 * ms, 160 * ms, 200 * ms]
    got = [clock.time_us(e, h) for e, h in zip(ends, hosts, strict=True)]
    assert got == [0, 40_000, 80_000, 120_000, 160_000, 200_000]


def test_middle_is_the_latent_nearest_to_one_half() -> None:
    chosen = middle(picture(0, latents=(0.0, 0.4, 1.0)))
    assert chosen is not None
    assert chosen[0, 0, 0] == 80
    assert middle(picture(0, refusal="no")) is None
