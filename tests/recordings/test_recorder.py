"""The recorder's parts: when a recording is complete, what is counted, what a full or absent disk does."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capture.errors import UsageError
from capture.packets import EventPacket, Frame, Rejected, TriggerEdges
from recordings.formats.own_about import ABOUT, HEALTH, STREAMS, About
from recordings.formats.own_chunks import draft
from recordings.open import open_recording
from recordings.recorder import disk, stream_file
from recordings.recorder import take as take_module
from recordings.recorder.disk import DiskError, measure, too_slow
from recordings.recorder.stream_file import StreamFile
from recordings.recorder.take import TAIL_US, Limits, Take
from recordings.survey import survey
from sync.rig import Rig
from tests.capture.simulated_small import small
from tests.conftest import disk_of
from tests.recordings.own_sample import Item, about_of, items_of, rig_of_config, same, write_own

CONFIG = small(paced=False)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return items_of(CONFIG, 1.5)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return rig_of_config(CONFIG)


def health_of(folder: Path) -> dict[str, Any]:
    got: dict[str, Any] = json.loads((folder / HEALTH).read_text())
    return got


def feed(take: Take, items: list[Item]) -> int:
    """As the worker does: until it is complete; how many items were looked at."""
    for n, item in enumerate(items):
        if take.complete:
            return n
        take.add(item, draft(item, take.watermark_us), 0)
    return len(items)


def test_a_sequence_has_so_many_frames_and_all_their_events(
    tmp_path: Path, rig: Rig, items: list[Item]
) -> None:
    take = Take(tmp_path / "r", about_of(rig), Limits(frames=8, reserve=0))
    assert feed(take, items) < len(items)
    assert take.complete
    take.finish()
    with open_recording(tmp_path / "r") as r:
        got = list(r.items())
    frames = [i for i in got if isinstance(i, Frame)]
    assert [f.sequence for f in frames] == list(range(8))
    last = [i for i in got if isinstance(i, EventPacket)][-1]
    end = next(i for i in items if isinstance(i, Frame) and i.sequence == 7)
    # The frame camera's clock runs at an offset; the last exposure ended where the frame stands in the stream.
    before = items.index(end)
    mark = max(i.complete_until_us for i in items[:before] if isinstance(i, EventPacket))
    assert last.complete_until_us >= mark + TAIL_US


def test_a_later_sequence_begins_with_a_frame_whose_events_are_there(
    tmp_path: Path, rig: Rig, items: list[Item]
) -> None:
    """Begun in the middle of an exposure, that frame does not count, and is not recorded."""
    frame = next(n for n, i in enumerate(items) if isinstance(i, Frame) and i.sequence == 5)
    rest = items[frame - 1 :]
    assert isinstance(rest[0], EventPacket)
    take = Take(tmp_path / "r", about_of(rig), Limits(frames=3, reserve=0))
    feed(take, rest)
    last = take.finish()
    with open_recording(tmp_path / "r") as r:
        frames = [i.sequence for i in r.items() if isinstance(i, Frame)]
    assert frames == [6, 7, 8]
    assert (last["frames"], last["frames_left_out"]) == (3, 1 + 2)  # and two during the events at the end


def test_seconds_are_those_of_the_events(tmp_path: Path, rig: Rig, items: list[Item]) -> None:
    take = Take(tmp_path / "r", about_of(rig), Limits(seconds=0.5, reserve=0))
    feed(take, items)
    last = take.finish()
    assert 500_000 <= last["until_us"] - last["first_us"] < 520_000
    assert last["state"] == "finished"


def test_health_counts_what_the_items_say(tmp_path: Path, rig: Rig, items: list[Item]) -> None:
    changed: list[Item] = []
    for n, i in enumerate(items):
        if isinstance(i, EventPacket) and n == 10:
            i = replace(i, dropped=7, rejected=Rejected(1, 2))
        if isinstance(i, EventPacket) and n == 20:
            i = replace(i, gap=True)
        if isinstance(i, Frame) and i.sequence in (3, 4):
            continue
        if isinstance(i, Frame) and i.sequence == 8:
            i = replace(i, gap=True)
        changed.append(i)
    write_own(tmp_path / "r", rig, changed)
    h = health_of(tmp_path / "r")
    packets = [i for i in changed if isinstance(i, EventPacket)]
    assert h["events"] == sum(len(p.events) for p in packets)
    assert h["edges"] == sum(len(p.triggers) for p in packets)
    assert h["frames"] == len(changed) - len(packets)
    assert {k: v for k, v in h["losses"].items() if v} == {
        "camera events": 7, "rejected events": 3, "camera frames": 2,
    }  # fmt: skip
    assert [g["cause"] for g in h["gaps"]] == ["dropped in the camera", "interrupted"]
    assert h["frame_gaps"] == [{"before": 8, "cause": "interrupted"}]
    assert h["time_jump_count"] == 0
    # Two frames are missing, so four edges have none; the others are matched by the edges themselves.
    assert h["clock"]["locked"]
    assert h["clock"]["triggers_without_frame"] == 4
    assert h["clock"]["frames_without_trigger"] == 0
    assert h["clock"]["residual_us"] < 10


def test_health_names_frames_without_trigger_and_the_peak_rate(
    tmp_path: Path, rig: Rig, items: list[Item]
) -> None:
    def without(p: EventPacket) -> EventPacket:
        lost = (p.triggers.t > 700_000) & (p.triggers.t < 800_000)
        return replace(p, triggers=TriggerEdges(p.triggers.t[~lost], p.triggers.rising[~lost]))

    write_own(tmp_path / "r", rig, [without(i) if isinstance(i, EventPacket) else i for i in items])
    h = health_of(tmp_path / "r")
    assert h["clock"]["frames_without_trigger"] >= 2
    t = np.concatenate([i.events.t for i in items if isinstance(i, EventPacket)])
    counts = np.bincount(t // 10_000)
    assert h["event_rate_peak_hz"] == counts.max() * 100
    with open_recording(tmp_path / "r") as r:  # and `recordings info` says the same
        peak = survey(r).peak
    assert (peak.hz, peak.at_us) == (h["event_rate_peak_hz"], h["event_rate_peak_at_us"])


def test_losses_of_the_ring_are_told_with_the_next_item(tmp_path: Path, rig: Rig, items: list[Item]) -> None:
    take = Take(tmp_path / "r", about_of(rig), Limits(reserve=0))
    for n, i in enumerate(items):
        take.add(i, draft(i, take.watermark_us), 3 if n == 30 and isinstance(i, EventPacket) else 0)
    last = take.finish()
    assert isinstance(items[30], EventPacket)
    assert last["losses"]["ring event packets"] == 3
    with open_recording(tmp_path / "r") as r:
        got = list(r.items())
        assert got[30].gap  # type: ignore[union-attr]
        assert "lost while recording: 3 ring event packets" in r.info.problems


def test_whoever_reads_the_rings_does_not_wait_for_health_json(
    tmp_path: Path, rig: Rig, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy disk holds the renaming up for seconds; the rings hold not much more."""
    go, begun, save = threading.Event(), threading.Event(), take_module.save_text

    def slow(folder: Path, text: str) -> None:
        begun.set()
        assert go.wait(30)
        save(folder, text)

    monkeypatch.setattr(take_module, "HEALTH_S", 0.05)
    take = Take(tmp_path / "r", about_of(rig), Limits(reserve=0))
    take.tick()
    monkeypatch.setattr(take_module, "save_text", slow)
    guard = time.monotonic() + 30
    while not begun.is_set():
        assert time.monotonic() < guard
        take.tick()
        time.sleep(0.01)
    for i in items[:20]:  # the disk is stuck now
        take.add(i, draft(i, take.watermark_us), 0)
        take.tick()
    until = time.monotonic() + 20
    while take.file.chunks < 20:
        assert time.monotonic() < until
        time.sleep(0.01)
    go.set()
    take.finish()
    assert health_of(tmp_path / "r")["state"] == "finished"


def test_whoever_reads_the_rings_waits_for_no_file_to_be_safe(
    tmp_path: Path, rig: Rig, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, elsewhere, real = 0, 0, os.fsync

    def fsync(fd: int) -> None:
        nonlocal mine, elsewhere
        here = threading.current_thread() is threading.main_thread()
        mine, elsewhere = mine + here, elsewhere + (not here)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    take = Take(tmp_path / "r", about_of(rig), Limits(reserve=0))
    assert (tmp_path / "r" / ABOUT).exists()
    take.tick()
    assert health_of(tmp_path / "r")["state"] == "recording"
    take.describe(about_of(rig).model_copy(update={"note": "told later"}))
    assert mine == 0
    until = time.monotonic() + 20
    while not elsewhere:
        assert time.monotonic() < until
        time.sleep(0.01)
    take.describe(about_of(rig).model_copy(update={"note": "told last"}))
    assert mine == 0
    take.finish()
    assert About.load(tmp_path / "r").note == "told last"


def test_waiting_for_the_cameras_is_no_recording_time(
    tmp_path: Path, rig: Rig, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(take_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    take = Take(tmp_path / "r", about_of(rig), Limits(seconds=0.1, reserve=0))
    now[0] += take_module._STALLED_S
    assert not take.complete
    now[0] += 0.2
    assert take.complete  # as if the cameras had been silent all the time
    take.cameras_start()
    now[0] += 0.05
    assert not take.complete
    assert take.figures()["elapsed_s"] == pytest.approx(0.05)
    # What ends without one item is no success.
    last = take.finish()
    assert (last["state"], last["message"]) == ("stopped", "nothing came from the cameras")


def test_health_is_rewritten_while_recording(tmp_path: Path, rig: Rig, items: list[Item]) -> None:
    take = Take(tmp_path / "r", about_of(rig), Limits(reserve=0))
    take.add(items[0], draft(items[0], None), 0)
    take.tick()
    assert health_of(tmp_path / "r")["state"] == "recording"
    assert not list((tmp_path / "r").glob("*.part"))
    take.finish()


# -- the disk --------------------------------------------------------------------------------------------


def test_a_disk_at_its_reserve_stops_the_recording_and_keeps_it(
    tmp_path: Path, rig: Rig, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [10**9]

    def shrinking(folder: Path) -> int:
        left[0] -= 2 * 10**8
        return left[0]

    monkeypatch.setattr(stream_file, "free_bytes", shrinking)
    monkeypatch.setattr(stream_file, "_LOOK_S", -1.0)
    take = write_own(tmp_path / "r", rig, items, Limits(reserve=10**8))
    h = health_of(tmp_path / "r")
    assert h["state"] == "stopped"
    assert "disk full (100 MB stay free there)" in h["message"]
    assert h["losses"]["disk items"] == take.file.discarded == len(items) - h["disk"]["chunks"] > 0
    with open_recording(tmp_path / "r") as r:
        got = list(r.items())
    assert len(got) == h["disk"]["chunks"] == 4
    assert all(same(a, b) for a, b in zip(got, items, strict=False))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """4 MB of a disk of its own."""
    with disk_of(tmp_path / "disk", 4 << 20, 3 << 20) as folder:
        yield folder


@pytest.mark.parametrize("reserve", [0, 1_000_000])
def test_a_full_disk_ends_cleanly_and_everything_before_is_valid(
    small_disk: Path, rig: Rig, items: list[Item], reserve: int
) -> None:
    folder = small_disk / "r"
    take = Take(folder, about_of(rig), Limits(reserve=reserve))
    many = items * 4
    for i in many:
        while take.file.queued > 1 << 20:
            time.sleep(0.001)
        take.add(i, draft(i, None), 0)
    last = take.finish()
    assert last["state"] == "stopped"
    assert "disk full" in last["message"]
    assert "\n" not in last["message"]
    with open_recording(folder) as r:
        assert isinstance(r.report.problems, list)
        got = list(r.items())
        assert not [p for p in r.info.problems if "no whole chunk" in p]
    assert len(got) == last["disk"]["chunks"] > 100
    assert all(same(a, b) for a, b in zip(got, many, strict=False))
    if reserve:
        assert disk.free_bytes(small_disk) >= reserve - 200_000  # health.json and the index stand in it
        assert health_of(folder)["state"] == "stopped"


def test_a_disk_that_disappears_ends_cleanly(tmp_path: Path, rig: Rig, items: list[Item]) -> None:
    take = Take(tmp_path / "r", about_of(rig), Limits(reserve=0))
    for i in items[:20]:
        take.add(i, draft(i, None), 0)
    deadline = time.monotonic() + 20
    while take.file.queued and time.monotonic() < deadline:
        time.sleep(0.01)
    shutil.rmtree(tmp_path / "r")
    time.sleep(2 * stream_file._LOOK_S)
    for i in items[20:]:
        take.add(i, draft(i, None), 0)
    last = take.finish()
    assert last["state"] == "stopped"
    assert "No such file or directory" in last["message"]


def test_what_waits_for_a_slow_disk_is_bounded_and_then_written(
    tmp_path: Path, rig: Rig, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, begun, write = threading.Event(), threading.Event(), stream_file._write_whole

    def slow(fd: int, parts: list[memoryview]) -> None:
        begun.set()
        go.wait(30)
        write(fd, parts)

    monkeypatch.setattr(stream_file, "_write_whole", slow)
    (tmp_path / "r").mkdir()
    f = StreamFile(tmp_path / "r", reserve=0, queue_bytes=200_000)
    n = 0
    while not f.full:
        f.put(draft(items[n], None))
        n += 1
    assert f.queued < 200_000 + 10 * 128 * 96 * 3
    assert begun.wait(30)
    time.sleep(1.2 * stream_file.STALL_S)
    go.set()
    f.close()
    assert (f.chunks, f.queued, f.discarded) == (n, 0, 0)
    assert f.stalls >= 1
    assert f.longest_stall_s > stream_file.STALL_S


def test_an_existing_target_is_refused_and_left_alone(tmp_path: Path, rig: Rig) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("r", "file"):
        with pytest.raises(UsageError, match="exists already; give another name"):
            Take(tmp_path / name, about_of(rig), Limits())
    assert (tmp_path / "r" / "mine.txt").read_text() == "x"
    assert not (tmp_path / "r" / STREAMS).exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, rig: Rig) -> None:
    with pytest.raises(DiskError, match="cannot be made"):
        Take(Path("/proc/nowhere/r"), about_of(rig), Limits())
    with pytest.raises(DiskError, match="the disk cannot be written to"):
        measure(Path("/proc"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DiskError, match="Not a directory"):
        measure(tmp_path / "file")
    if os.geteuid() == 0:
        print("root may write anywhere: the refusal by permission is tried on /proc only")
        return
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(DiskError, match="Permission denied"):
        Take(tmp_path / "shut" / "r", about_of(rig), Limits())


def test_the_disk_is_tried_and_a_slow_one_is_named(tmp_path: Path) -> None:
    assert measure(tmp_path, 0.1) > 1e5
    assert list(tmp_path.iterdir()) == []
    frame = 1152 * 768 * 3
    assert too_slow(tmp_path, 200e6, frame, 60.0) == ""
    assert "beside the frames it holds 5.2 Mev/s" in too_slow(tmp_path, 180e6, frame, 60.0)
    assert "not even the frames fit" in too_slow(tmp_path, 100e6, frame, 60.0)
    assert too_slow(tmp_path, 1.0, frame, 0.0) == ""


@pytest.mark.parametrize("kind", [EventPacket, Frame])
def test_a_camera_that_comes_back_with_another_size_ends_the_recording(
    tmp_path: Path, rig: Rig, items: list[Item], kind: type
) -> None:
    """What came before it stays whole: nothing of another sensor or region is mixed into it."""
    other = items_of(small(paced=False, event_width=40, event_height=30, image_width=80, image_height=64), 0.2)
    strange = next(i for i in other if isinstance(i, kind))
    take = Take(tmp_path / "r", about_of(rig), Limits(reserve=0))
    feed(take, items)
    assert take.begun
    assert not take.changed
    take.add(strange, draft(strange, None), 0)
    assert f"{'events' if kind is EventPacket else 'frames'} are " in take.changed
    last = take.finish(take.changed)
    assert (last["state"], last["message"]) == ("stopped", take.changed)
    with open_recording(tmp_path / "r") as r:
        assert len(list(r.items())) == len(items)


def test_a_flush_that_fails_leaves_the_cutting_to_who_writes(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off while a chunk is being written, the file would get a hole where it goes on."""
    writing, failed = threading.Event(), threading.Event()
    write, cut_by = stream_file._write_whole, list[str]()

    def slow(fd: int, parts: list[memoryview]) -> None:
        writing.set()
        failed.wait(30)
        write(fd, parts)

    def broken(fd: int) -> None:
        assert writing.wait(30)
        failed.set()
        raise OSError(5, "Input/output error")

    def truncate(fd: int, size: int) -> None:
        cut_by.append(threading.current_thread().name)

    monkeypatch.setattr(stream_file, "FLUSH_S", 0.01)
    monkeypatch.setattr(stream_file, "_write_whole", slow)
    monkeypatch.setattr(stream_file.os, "fdatasync", broken)
    monkeypatch.setattr(stream_file.os, "ftruncate", truncate)
    (tmp_path / "r").mkdir()
    f = StreamFile(tmp_path / "r", reserve=0, queue_bytes=10_000_000)
    f.put(draft(items[0], None))
    deadline = time.monotonic() + 20
    while not f.stopped and time.monotonic() < deadline:
        time.sleep(0.01)
    f.close()
    assert "Input/output error" in f.stopped
    assert set(cut_by) == {"disk"}
