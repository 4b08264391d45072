"""AEDAT 2.0 and 3.1: a clock that is set back while recording, and stamps that are damaged."""

from __future__ import annotations

import itertools
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, TriggerEdges
from recordings.formats import aedat2
from recordings.formats.aedat2_times import NO_TIME_US, Counted, count_on
from recordings.formats.aedat_stretches import Span, shifts
from recordings.open import open_recording
from recordings.recording import Remark
from tests.recordings.make_aedat import frame, packet, polarity, special, write_aedat2, write_aedat3
from tests.recordings.reading import events_and_frames, same_events

SIZE = (346, 260)
OLD_US = 300_000_000
SET_BACK = "its clock was set back once while recording; what follows is placed behind it"


def events(t: np.ndarray) -> Events:
    n = np.arange(len(t))
    return Events(
        t.astype(np.int64), (n % 346).astype(np.uint16), (n % 260).astype(np.uint16), n % 3 == 0, *SIZE
    )


def nothing() -> np.ndarray:
    """What lies behind the file's end."""
    return np.empty(0, np.uint32)


def mark(kind: int) -> bytes:
    """A special event as cAER writes wraps (0) and resets (1): without a time."""
    return packet(0, struct.pack("<II", 1 | (kind << 1), 0x7FFFFFFF), 1)


BEFORE = OLD_US + np.arange(50) * 100
BEHIND = np.arange(100_000) * 20
EXPECTED = np.concatenate([BEFORE, BEFORE[-1] + 1 + BEHIND])


def behind_a_reset(*, frames: bool = False) -> bytes:
    """Events in packets of 20 ms from 0 on, each with a frame exposed in its first half and both edges."""
    e, out = events(BEHIND), b""
    for k in range(0, len(e), 1000):
        a = int(e.t[k])
        if frames:
            edges = TriggerEdges(np.array([a + 1, a + 10_000], np.int64), np.array([True, False]))
            out += packet(0, special(edges), 2)
        out += packet(1, polarity(e[k : k + 1000]), 1000)
        out += packet(2, frame(k % 7, SIZE, start=a, end=a + 10_000), 1) if frames else b""
    return out


@pytest.mark.parametrize("told", [True, False])
def test_aedat3_what_follows_a_reset_is_placed_behind_it(tmp_path: Path, told: bool) -> None:
    more = (mark(1) if told else b"") + behind_a_reset()
    with open_recording(write_aedat3(tmp_path / "a.aedat", events(BEFORE), more=more)) as r:
        got, _ = events_and_frames(r)
        assert np.array_equal(got.t, EXPECTED)
        assert (r.info.start_us, r.info.end_us) == (EXPECTED[0], EXPECTED[-1])
        assert r.info.problems == (SET_BACK,)
        assert isinstance(r.info.problems[0], Remark)
        assert r.report.events_rejected_decreasing == 0
        middle = int(EXPECTED[60_000])
        assert np.array_equal(events_and_frames(r, middle)[0].t, EXPECTED[60_000:])


def test_aedat3_frames_edges_and_events_lie_on_one_axis(tmp_path: Path) -> None:
    old = packet(2, frame(0, SIZE, start=OLD_US, end=OLD_US + 4_000), 1)
    path = write_aedat3(tmp_path / "a.aedat", events(BEFORE), more=old + mark(1) + behind_a_reset(frames=True))
    with open_recording(path) as r:
        items = list(r.items())
        times = r.frame_times_us()
    got = Events.concatenate([i.events for i in items if isinstance(i, EventPacket)])
    edges = np.concatenate([i.triggers.t for i in items if isinstance(i, EventPacket)])
    assert np.array_equal(got.t, EXPECTED)
    zero = int(BEFORE[-1]) + 1
    assert times == [(OLD_US, OLD_US + 4_000)] + [
        (zero + 20_000 * k, zero + 20_000 * k + 10_000) for k in range(100)
    ]
    assert [len(got.between(*t)) for t in times[1:] if t[1] is not None] == [500] * 100
    assert np.array_equal(edges[::2], [t[0] + 1 for t in times[1:]])


@pytest.mark.parametrize("kind", [0, 1])
def test_aedat3_a_mark_without_a_time_does_not_lengthen_the_recording(tmp_path: Path, kind: int) -> None:
    path = write_aedat3(tmp_path / "a.aedat", events(BEHIND[:0]), more=mark(kind) + behind_a_reset())
    with open_recording(path) as r:
        assert (r.info.start_us, r.info.end_us, r.info.problems) == (0, BEHIND[-1], ())
        assert np.array_equal(events_and_frames(r)[0].t, BEHIND)


@pytest.mark.parametrize("exact", [True, False])
def test_aedat2_what_follows_a_reset_is_placed_behind_it(
    tmp_path: Path, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exact:
        monkeypatch.setattr(aedat2, "EXACT_BYTES", 0)
    t = np.concatenate([BEFORE, BEHIND, BEHIND + 2_000_000])
    expected = np.concatenate([EXPECTED, BEHIND + EXPECTED[50] + 2_000_000])
    source = aedat2.Aedat2Source(write_aedat2(tmp_path / "a.aedat", events(t)), None)
    assert source.facts.problems == [SET_BACK]
    assert (source.facts.start_us, source.facts.end_us) == (expected[0], expected[-1])
    pieces = [p for p in source.events(None) if isinstance(p, aedat2.Piece)]
    assert np.array_equal(np.concatenate([p.t for p in pieces]), expected)
    late = [p for p in source.events(int(expected[150_000])) if isinstance(p, aedat2.Piece)]
    assert len(late) == 1
    assert np.array_equal(late[0].t, expected[aedat2.BLOCK :])


@pytest.mark.parametrize("at", [0, 1, 50_000, 99_999, aedat2.BLOCK - 1, aedat2.BLOCK])
@pytest.mark.parametrize("off", [2**31 - 5, 3_000_000, -3_000_000 + 2**32])
def test_aedat2_a_damaged_stamp_costs_its_own_event(tmp_path: Path, at: int, off: int) -> None:
    t = 10_000_000 + np.arange(200_000, dtype=np.int64) * 20
    damaged = t.copy()
    damaged[at] = (t[at] + off) % 2**32
    e = events(t)
    path = write_aedat2(tmp_path / "a.aedat", Events(damaged, e.x, e.y, e.p, *SIZE))
    keep = np.arange(len(t)) != at
    with open_recording(path) as r:
        got, _ = events_and_frames(r)
        assert r.info.problems == ()
        assert r.report.events_rejected_decreasing == 1
        assert r.report.problems == ["1 event was left out: its time runs back, or outside the recording"]
    assert same_events(got, Events(t[keep], e.x[keep], e.y[keep], e.p[keep], *SIZE))


def test_counting_goes_on_across_blocks() -> None:
    rng = np.random.default_rng(3)
    t = np.cumsum(rng.integers(0, 40_000, 200_000)) + 5
    stamps = (t % 2**32).astype(np.uint32)
    now, parts = Counted(int(stamps[0]), int(stamps[0])), []
    cuts = [0, *np.sort(rng.integers(1, 199_999, 30)).tolist(), len(t)]
    for a, b in itertools.pairwise(cuts):
        got, now = count_on(now, stamps[a:b], partial(np.copy, stamps[b:]))
        parts.append(got)
    assert np.array_equal(np.concatenate(parts), t)
    assert now.set_back == 0
    assert NO_TIME_US not in parts[-1]


@pytest.mark.parametrize("frames_first", [True, False])
def test_aedat3_streams_that_lie_one_after_another_are_no_reset(tmp_path: Path, frames_first: bool) -> None:
    t = 1_000_000 + np.arange(100_000) * 50
    frames = b"".join(
        packet(2, frame(0, SIZE, start=a, end=a + 10_000), 1) for a in range(1_000_000, 6_000_000, 500_000)
    )
    first, more = (frames, b"") if frames_first else (b"", frames)
    path = write_aedat3(tmp_path / "a.aedat", events(t[:0]), more=first + packets_of(t) + more)
    with open_recording(path) as r:
        assert r.info.problems == ()
        assert r.frame_times_us() == [(a, a + 10_000) for a in range(1_000_000, 6_000_000, 500_000)]
        assert np.array_equal(events_and_frames(r)[0].t, t)


def packets_of(t: np.ndarray) -> bytes:
    e = events(t)
    return b"".join(packet(1, polarity(e[k : k + 1000]), 1000) for k in range(0, len(t), 1000))


def test_garbage_is_no_clock_that_was_set_back() -> None:
    stamps = np.random.default_rng(5).integers(0, 2**32, 50_000).astype(np.uint32)
    t, now = count_on(Counted(int(stamps[0]), int(stamps[0])), stamps, nothing)
    assert now.set_back < 5  # of 25 000 that run back
    assert int(t.max()) < 1 << 43


def test_one_packet_that_lies_back_begins_no_stretch() -> None:
    def last(k: int) -> int:
        return spans[k].last_us

    spans = [Span(0, 9), Span(10, 19), Span(-5_000_000, -4_999_991), Span(20, 29)]
    assert shifts(spans, last) == [0, 0, 0, 0]
    spans = [Span(400_000_000, 400_000_009), Span(300_000_000, 300_000_009), Span(300_000_010, 300_000_019)]
    assert shifts(spans, last) == [0, 0, 0]
    spans = [Span(7_000_000, 7_000_009), Span(0, 9), Span(10, 19, True), Span(0, 9, True), Span(10, 19)]
    assert shifts(spans, last) == [0, 7_000_010, 7_000_010, 7_000_030, 7_000_030]


@pytest.mark.parametrize("wild", [5, 400_000_000])
@pytest.mark.parametrize("many", [1, 2, 5])
def test_packets_that_are_damaged_begin_no_stretch(wild: int, many: int) -> None:
    begins = [20_000_000 + 10_000 * k for k in range(3_000)]
    begins[2_000 : 2_000 + many] = [wild + k for k in range(many)]
    assert not any(shifts([Span(t, t) for t in begins], lambda k: begins[k] + 9_000))


def test_time_that_walks_to_where_it_was_does_not_undo_a_reset() -> None:
    begins = [k * 100_000 for k in range(16)] * 2
    assert shifts([Span(t, t) for t in begins], lambda k: begins[k]) == [0] * 16 + [1_500_001] * 16


@pytest.mark.parametrize("exact", [True, False])
def test_aedat2_a_reset_that_a_quiet_block_makes_good_is_seen(
    tmp_path: Path, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exact:
        monkeypatch.setattr(aedat2, "EXACT_BYTES", 0)
    before = 5_000_000 + np.arange(2_000) * 1_000
    behind = np.arange(398_000) * 100
    path = write_aedat2(tmp_path / "a.aedat", events(np.concatenate([before, behind])))
    source = aedat2.Aedat2Source(path, None)
    assert source.facts.problems == [SET_BACK]
    t = np.concatenate([p.t for p in source.events(None) if isinstance(p, aedat2.Piece)])
    assert np.array_equal(t, np.concatenate([before, before[-1] + 1 + behind]))
    assert source.facts.end_us == t[-1]
