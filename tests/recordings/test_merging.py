"""Streams merged: what is known before the first event, and what is done where events run back in time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame
from recordings.merging import Item, StreamMerger
from recordings.open import open_recording
from recordings.recording import ReadReport
from tests.recordings.make_aedat import frame, packet, polarity, write_aedat3
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.reading import events_and_frames
from tests.recordings.sample import PERIOD_US, START_US, sample_events, sample_frames

IMAGE = np.zeros((10, 10), np.uint8)
SPAN = (0, 3_000_000)


class Fed:
    """A merger of 10×10 pixels and all that it gave."""

    def __init__(self, start_us: int | None = None) -> None:
        self.report = ReadReport()
        self.merger = StreamMerger((10, 10), (10, 10), SPAN, self.report, start_us)
        self.items: list[Item] = []

    def take(self, items: Iterable[Item]) -> None:
        self.items += items

    def events(self, t: np.ndarray, key: int) -> None:
        z = np.zeros(len(t), np.uint16)
        self.take(self.merger.events(t.astype(np.int64), z, z, np.ones(len(t), bool), key))

    def frame(self, index: int, start: int, end: int, key: int | None = None) -> None:
        self.take(self.merger.frame(IMAGE, index, start, end - start, False, end if key is None else key))

    def finish(self) -> Fed:
        self.take(self.merger.finish())
        return self

    @property
    def packets(self) -> list[EventPacket]:
        return [i for i in self.items if isinstance(i, EventPacket)]

    @property
    def frames(self) -> list[int]:
        return [i.sequence for i in self.items if isinstance(i, Frame)]


def steady(a: int, b: int, step: int = 500) -> np.ndarray:
    return np.arange(a, b, step, dtype=np.int64)


def test_before_the_first_event_nothing_counts_as_complete() -> None:
    f = Fed()
    f.frame(0, 0, 30_000)
    f.frame(1, 100_000, 130_000)
    f.events(steady(500_000, 560_000), 500_000)
    f.finish()
    assert f.frames == [0, 1]
    assert isinstance(f.items[1], Frame)
    assert f.packets[0].complete_until_us == 520_000
    assert int(f.packets[0].events.t[0]) == 500_000


def test_a_frame_at_times_that_were_there_before_is_refused_and_counted() -> None:
    f = Fed()
    f.events(steady(900_000, 1_100_000), 900_000)
    f.frame(2, 1_050_000, 1_080_000)
    f.events(steady(900_000, 1_000_000), 1_100_000)
    f.frame(3, 950_000, 980_000, key=1_100_000)
    f.events(steady(1_000_000, 1_400_000), 1_100_000)
    f.frame(4, 1_200_000, 1_230_000)
    f.finish()
    assert f.frames == [2, 4]
    assert f.report.frames_rejected == 1
    assert f.report.problems == [
        "frame 3: its time 950000 µs was there twice (events ran back from 1100000 to 900000 µs), so nobody "
        "knows which events are its own; it was left out"
    ]
    gaps = [(p.complete_until_us, p.gap) for p in f.packets]
    assert not any(g for t, g in gaps if t <= 1_080_000)
    assert any(g for t, g in gaps if t <= 1_120_000)
    assert not any(g for t, g in gaps if t > 1_120_000)


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_a_step_is_found_however_the_file_is_cut_into_batches(pieces: int) -> None:
    f = Fed()
    t = np.concatenate([steady(900_000, 1_100_000), steady(900_000, 1_400_000)])
    key = 0
    for part in np.array_split(t, pieces):
        key = max(key, int(part[0]))
        f.events(part, key)
    f.frame(3, 950_000, 980_000, key=1_400_000)
    f.finish()
    assert f.frames == []
    assert f.report.events_rejected_decreasing == 399
    assert any(p.gap for p in f.packets)


def test_strays_are_counted_and_nothing_else_is_lost() -> None:
    t = steady(900_000, 1_400_000)
    t[300] -= 700_000
    f = Fed()
    f.events(t, 900_000)
    f.frame(3, 1_000_000, 1_080_000)
    f.finish()
    assert f.frames == [3]
    assert f.report.events_rejected_decreasing == 1
    assert not any(p.gap for p in f.packets)


def ends(items: Iterable[object]) -> list[int]:
    return [i.complete_until_us for i in items if isinstance(i, EventPacket)]


def late(path: Path, kind: str) -> Path:
    """Frames from the start on, events from half a second on."""
    if kind == "aedat4":
        e = sample_events(pause=None)
        return write_aedat4(path / "a.aedat4", e.between(START_US + 500_000, 1 << 61), sample_frames())
    t = START_AEDAT3 + steady(500_000, 1_000_000)
    e = Events(t, np.zeros(len(t), np.uint16), np.zeros(len(t), np.uint16), np.ones(len(t), bool), 346, 260)
    frames = b"".join(
        packet(2, frame(k, (346, 260), start=a, end=a + 60_000), 1)
        for k, a in enumerate(range(START_AEDAT3, START_AEDAT3 + 1_000_000, PERIOD_US))
    )
    return write_aedat3(path / "a.aedat", e, more=frames)


START_AEDAT3 = 1_000_000


@pytest.mark.parametrize("kind", ["aedat4", "aedat3"])
def test_a_seek_before_the_first_event_gives_what_a_read_from_the_start_gives(
    tmp_path: Path, kind: str
) -> None:
    begin = START_US if kind == "aedat4" else START_AEDAT3
    with open_recording(late(tmp_path, kind)) as r:
        whole = list(r.items())
        times = r.frame_times_us()
        assert isinstance(whole[0], Frame)
        assert ends(whole)[0] > begin + 500_000
        for k in (1, 4, 6):
            got = list(r.items(times[k][0]))
            expected = [t for t in ends(whole) if t > times[k][0]]
            assert ends(got) == expected
            assert [i.sequence for i in got if isinstance(i, Frame)] == list(range(k, 10))
            n = sum(len(i.events) for i in got if isinstance(i, EventPacket))
            whole_events, _ = events_and_frames(r)
            assert n == np.count_nonzero(whole_events.t >= times[k][0])


def test_what_is_refused_for_its_time_is_said(tmp_path: Path) -> None:
    e = sample_events()
    path = write_aedat3(
        tmp_path / "a.aedat", e[:0], more=packet(1, polarity(at_one_second(e, back=True)), 2000)
    )
    with open_recording(path) as r:
        events_and_frames(r)
        n = r.report.events_rejected_decreasing
        assert n > 0
        assert f"{n} events were left out: their times run back, or outside the recording" in (
            r.report.problems
        )


def at_one_second(e: Events, *, back: bool) -> Events:
    """2000 events from one second on, the last 200 half a second early."""
    t = 1_000_000 + np.arange(2000, dtype=np.int64) * 100
    t[-200:] -= 50_000 * back
    return Events(t, e.x[:2000], e.y[:2000], e.p[:2000], e.width, e.height)
