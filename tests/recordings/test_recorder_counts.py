"""What the recorder counts and reserves, on items and disks made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from capture.ring import Item, RingLayout, RingMemory, RingReader, RingRef, RingWriter
from recordings.formats.own_chunks import draft
from recordings.recorder import disk
from recordings.recorder import take as take_module
from recordings.recorder.health import HealthWatch
from recordings.recorder.stream_file import StreamFile
from recordings.recorder.take import Limits, Take
from recordings.recorder.worker import DONE, RecorderSpec, run_recorder
from tests.capture.fake_link import FakeLink
from tests.inference.moving_scene import rig_for
from tests.recordings.own_sample import about_of

RIG = rig_for((8, 8))
LATENCY_US = round(1e3 * RIG.clock.host_latency_ms)


def packet(until_us: int, t: tuple[int, ...] = ()) -> EventPacket:
    n = len(t)
    events = Events(
        np.array(t, np.int64), np.zeros(n, np.uint16), np.zeros(n, np.uint16), np.ones(n, np.bool_), 8, 8
    )
    return EventPacket(events, TriggerEdges.empty(), until_us)


def frame(sequence: int, start_us: int = 0, length_us: int = 1000) -> Frame:
    stamps = (1000 * start_us, 1000 * (start_us + length_us))
    return Frame(np.zeros((8, 8), np.uint8), PixelLayout.GRAY, sequence, *stamps, FrameClock.EVENT)


def add(take: Take, item: EventPacket | Frame, lost: int = 0) -> None:
    take.add(item, draft(item, take.watermark_us), lost)


# -- the disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "stays"), [(4e12, 512 << 20), (1e9, 1e8)])
def test_half_a_gigabyte_stays_free_and_of_a_small_disk_a_tenth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: float, stays: float
) -> None:
    said = SimpleNamespace(f_blocks=int(size) // 1000, f_frsize=1000)
    monkeypatch.setattr("os.statvfs", lambda _: said)
    assert disk.reserve_of(tmp_path) == stays


def test_room_is_what_may_be_written_before_the_reserve_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Take(tmp_path / "r", about_of(RIG), Limits(reserve=1000))
    try:
        free = [5000]
        monkeypatch.setattr(take_module, "free_bytes", lambda _: free[0])
        monkeypatch.setattr(StreamFile, "queued", 300)
        assert take.figures()["room"] == 5000 - 1000 - 300
        free[0] = 1200
        assert take.figures()["room"] == 0
    finally:
        take.finish()


# -- which frames are of a counted sequence ----------------------------------------------------------------


def test_frames_lost_before_one_that_is_left_out_are_told_with_the_next(tmp_path: Path) -> None:
    take = Take(tmp_path / "r", about_of(RIG), Limits(frames=2, reserve=0))
    add(take, frame(5), lost=3)  # no events have come: not of the sequence
    add(take, packet(1_000_000))
    add(take, frame(8, 500_000), lost=2)  # begun before the events
    add(take, packet(1_500_000))
    add(take, frame(10, 1_200_000), lost=1)
    h = take.finish()
    assert (h["frames"], h["frames_left_out"]) == (1, 2)
    assert h["losses"]["ring frames"] == 6
    assert h["losses"]["camera frames"] == 0


def test_a_counted_sequence_begins_with_a_frame_whose_events_may_be_all_there(tmp_path: Path) -> None:
    """A frame comes up to `host_latency_ms` after its exposure: so much earlier it may have been."""
    take = Take(tmp_path / "r", about_of(RIG), Limits(frames=9, reserve=0))
    add(take, packet(1_000_000))
    add(take, packet(2_000_000))
    for n, since in enumerate((0, LATENCY_US - 1, LATENCY_US)):
        add(take, frame(n, 1_000_000 + since))
    h = take.finish()
    assert LATENCY_US > 1
    assert (h["frames"], h["frames_left_out"]) == (1, 2)


def test_the_peak_rate_is_of_the_busiest_10_ms_wherever_packets_end() -> None:
    watch = HealthWatch(RIG)
    for n in range(1, 7):  # of 4 ms each; their events come late in them
        t = tuple(4000 * n - 500 + i for i in range(50 if n == 4 else 10))
        watch.events(packet(4000 * n, t), t[0], 0)
    assert (watch.health.peak.hz, watch.health.peak.at_us) == ((10 + 50 + 10) / 0.01, 10_000)


# -- what the rings lose -------------------------------------------------------------------------------------


@pytest.fixture
def rings(tmp_path: Path) -> Any:
    made = [RingMemory.create(RingLayout(n, 1 << 14, 4, ("recorder",))) for n in ("events", "frames")]
    refs = [RingRef(m.name, n) for m, n in zip(made, ("events", "frames"), strict=True)]
    writers = [RingWriter(r, lease_wait_s=0.0) for r in refs]
    yield refs, writers
    for w in writers:
        w.close()
    for m in made:
        m.close()


def recorded(tmp_path: Path, refs: list[RingRef]) -> dict[str, Any]:
    """Run a recorder until nothing waits for it; its last `health.json`."""

    def stop(link: FakeLink) -> None:
        link.stopping = link.left < 4995

    link = FakeLink(stop)
    run_recorder(link, RecorderSpec(refs[0], refs[1], (tmp_path / "r",), about_of(RIG), Limits(reserve=0)))  # type: ignore[arg-type]
    (done,) = [body for topic, body in link.published if topic == DONE]
    health: dict[str, Any] = done["health"]
    return health


def test_items_torn_while_they_are_read_are_counted_once(
    tmp_path: Path, rings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs, (events, frames) = rings
    events.write_packet(packet(10**6))
    for n in range(6):  # of which two are gone before anybody looks
        frames.write_packet(frame(n))
    unpack, later = Item.packet, iter(range(6, 9))

    def overwritten(item: Item) -> Any:
        """The camera goes on while the first frame is packed."""
        if item.kind == "frame":
            for n in later:
                frames.write_packet(frame(n))
        return unpack(item)

    monkeypatch.setattr(Item, "packet", overwritten)
    h = recorded(tmp_path, refs)
    # Number 2 is torn, 3 and 4 are overwritten behind it.
    assert (h["frames"], h["losses"]["ring frames"], h["losses"]["camera frames"]) == (4, 5, 0)
    assert h["frame_gaps"] == [{"before": 5, "cause": "lost in the ring"}]


def test_unsound_items_are_counted_with_the_next(tmp_path: Path, rings: Any) -> None:
    refs, (events, frames) = rings
    events.write("events", {})
    events.write_packet(packet(10**6))
    frames.write_packet(frame(0))
    frames.write("frame", {})
    frames.write("frame", {"sequence": "two"})
    frames.write_packet(frame(3))
    h = recorded(tmp_path, refs)
    assert (h["frames"], h["event_packets"]) == (2, 1)
    assert (h["losses"]["ring frames"], h["losses"]["ring event packets"]) == (2, 1)
    assert h["losses"]["camera frames"] == 0


def test_no_reader_is_left_behind(tmp_path: Path, rings: Any) -> None:
    refs, _ = rings
    recorded(tmp_path, refs)
    for ref in refs:
        RingReader(ref, "recorder").close()


# -- the highest rate ----------------------------------------------------------------------------------------


def test_the_highest_rate_is_told_though_only_stamps_stay_in_memory(tmp_path: Path, rings: Any) -> None:
    refs, (events, frames) = rings
    events.write_packet(packet(30_000, (5_000, 12_000, 13_000, 14_000, 25_000)))
    events.write_packet(packet(60_000, (41_000, 42_000)))
    frames.write_packet(frame(0))
    h = recorded(tmp_path, refs)
    assert (h["event_rate_peak_hz"], h["event_rate_peak_at_us"]) == (300, 10_000)


@pytest.mark.parametrize(("back_us", "epoch"), [(9_000_000, 1), (9_000_000, 0), (5_000, 1), (-9_000_000, 1)])
def test_a_jump_of_the_time_axis_is_no_burst_of_events(back_us: int, epoch: int) -> None:
    watch = HealthWatch(RIG)
    hz, each = 10_000, 10_000
    at = 10_000_000
    for k in range(2000):
        if k == 1000:
            at -= back_us
        p = packet(at + each, tuple(range(at, at + each, 1_000_000 // hz)))
        watch.events(replace(p, epoch=epoch if k >= 1000 else 0), at, 0)
        at += each
    assert watch.health.peak.hz == hz
    assert watch.health.time_jump_count >= 1


def test_a_burst_after_a_jump_back_is_still_found() -> None:
    watch = HealthWatch(RIG)
    for start, n in ((5_000_000, 10), (5_010_000, 10), (0, 10), (10_000, 1000), (20_000, 10)):
        p = packet(start + 10_000, tuple(range(start, start + n)))
        watch.events(p, start, 0)
    assert (watch.health.peak.hz, watch.health.peak.at_us) == (100_000, 10_000)
