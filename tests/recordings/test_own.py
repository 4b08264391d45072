"""Our own recordings: every item comes back as it was, whatever happened to the files' ends."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.live import make_session
from app.sources import rig_of
from capture.errors import UsageError
from capture.packets import (
    EventPacket,
    Events,
    Frame,
    FrameClock,
    FrameKind,
    Inertial,
    PixelLayout,
    Rejected,
    TriggerEdges,
)
from recordings import timeline
from recordings.formats import own_chunks as chunks
from recordings.formats.own import OwnRecording
from recordings.formats.own_about import ABOUT, HEALTH, INDEX_FILE, STREAMS
from recordings.formats.own_chunks import HEADER, INDEX, Damaged
from recordings.open import open_recording, recognise
from recordings.recording import NotARecording, ReadCancelled, RecordingError
from sync.rig import Rig
from tests.capture.simulated_small import small, small_davis
from tests.recordings.own_sample import Item, items_of, rig_of_config, same, write_own

MIRRORED = small(paced=False)


def packet(**changes: object) -> EventPacket:
    e = Events(
        np.array([5, 5, 9]), np.array([0, 3, 63], np.uint16), np.array([0, 47, 1], np.uint16),
        np.array([True, False, True]), 64, 48,
    )  # fmt: skip
    whole = EventPacket(e, TriggerEdges(np.array([4, 8]), np.array([True, False])), 20, 17, 3, True,
                        Rejected(2, 1), 5)  # fmt: skip
    return replace(whole, **changes)


def back(item: chunks.Item, watermark: int | None = None, lost: int = 0) -> chunks.Item:
    d = chunks.draft(item, watermark, lost)
    data = d.sealed(7) + d.meta + b"".join(d.parts)
    assert len(data) == d.size
    head = chunks.read_head(data)
    assert head.number == 7
    return chunks.decode(head, data[HEADER.size :])


def test_every_item_comes_back_in_order_to_the_last_bit(made: Path, given_items: list[Item]) -> None:
    with open_recording(made) as r:
        got = list(r.items())
        assert len(got) == len(given_items) > 50
        assert all(same(a, b) for a, b in zip(got, given_items, strict=True))
        assert r.report.events == sum(len(i.events) for i in given_items if isinstance(i, EventPacket))
        assert r.info.problems == ()
        assert r.info.frames == r.report.frames == sum(isinstance(i, Frame) for i in given_items)


def test_info_and_rig_are_those_of_the_recording(made: Path) -> None:
    with open_recording(made) as r:
        i = r.info
        assert (i.event_size, i.image_size, i.has_triggers) == ((64, 48), (128, 96), True)
        assert 0 <= i.start_us < i.end_us <= 1_100_000
        assert rig_of(r, "x") == rig_of_config(MIRRORED)
        facts = r.rig_facts()
        assert facts is not None
        # What the facts cannot carry is only lost by those who ask for no more.
        assert Rig.from_facts("sim", facts).geometry.image_from_event == r.rig.geometry.image_from_event


@pytest.mark.parametrize(
    "item",
    [
        packet(),
        packet(events=Events.empty(64, 48)),
        packet(triggers=TriggerEdges.empty(), gap=False),
        packet(imu=Inertial.of(np.array([5, 9]), np.arange(14, dtype=np.float32).reshape(2, 7) / 3)),
        packet(events=Events(np.array([-5, 2**40]), *(np.zeros(2, np.uint16),) * 2, np.ones(2, bool), 64, 48),
               imu=Inertial.of(np.array([5]), np.ones((1, 7), np.float32))),
        packet(events=Events(np.array([-5, 2**40]), *(np.zeros(2, np.uint16),) * 2, np.ones(2, bool), 64, 48)),
        packet(events=Events(np.array([1]), np.zeros(1, np.uint16), np.full(1, 40_000, np.uint16),
                             np.ones(1, bool), 64, 50_000)),  # y needs its highest bit
        Frame(np.arange(24, dtype=np.uint8).reshape(4, 6), PixelLayout.BAYER_GRBG, 3, 10, None,
              FrameClock.DEVICE, 99, FrameKind.SENSOR, 2),
        Frame(np.arange(72, dtype=np.uint8).reshape(4, 6, 3), PixelLayout.RGB, 3, None, None,
              FrameClock.EVENT, 0, FrameKind.ACCUMULATOR),
        Frame(np.zeros((4, 6), np.uint8), PixelLayout.GRAY, 0, 10, 20, FrameClock.DEVICE, gap=True),
    ],
)  # fmt: skip
def test_every_mark_survives(item: Item) -> None:
    got = back(item)
    assert not isinstance(got, chunks.StreamEnd)
    assert same(item, got)


def test_what_the_recorder_lost_is_a_gap_in_the_events() -> None:
    got = back(packet(gap=False), lost=2)
    assert isinstance(got, EventPacket)
    assert got.gap


def test_what_the_recorder_lost_is_a_gap_in_the_frames() -> None:
    frame = Frame(np.zeros((4, 6), np.uint8), PixelLayout.GRAY, 7, None, None, FrameClock.DEVICE)
    got = back(frame, lost=1)
    assert isinstance(got, Frame)
    assert got.gap


def test_a_frame_that_is_placed_anew_keeps_its_gap() -> None:
    frame = Frame(np.zeros((4, 6), np.uint8), PixelLayout.GRAY, 7, 10, 20, FrameClock.DEVICE, gap=True)
    d = chunks.draft(frame, None)
    chunks.place(d, frame, 50_000)
    assert d.flags == chunks.GAP


def test_a_frame_of_another_clock_is_placed_where_the_events_were() -> None:
    f = Frame(np.zeros((4, 6), np.uint8), PixelLayout.GRAY, 0, 10**12, 10**12 + 3_000_000, FrameClock.DEVICE)
    assert chunks.place_of(f, 50_000) == (47_000, 50_000)
    assert chunks.place_of(replace(f, clock=FrameClock.EVENT), 50_000) == (10**9, 10**9 + 3_000)
    assert chunks.place_of(f, None) == (chunks.UNKNOWN_US, None)


def test_a_seek_begins_with_the_packet_that_reaches_beyond(made: Path, given_items: list[Item]) -> None:
    with open_recording(made) as r:
        times = r.frame_times_us()
        start = times[5][0]
        got = list(r.items(start))
        first = next(
            n for n, i in enumerate(given_items) if isinstance(i, EventPacket) and i.complete_until_us > start
        )
        frames = [i for i in given_items if isinstance(i, Frame)]
        want = [i for i in given_items[first:] if not isinstance(i, Frame) or i.sequence >= frames[5].sequence]
        assert len(got) == len(want)
        assert all(same(a, b) for a, b in zip(got, want, strict=True))
        assert list(r.items(10**12)) == []


def test_the_timeline_places_the_exposures(made: Path) -> None:
    t = timeline.build(made)
    with open_recording(made) as r:
        assert t.exposures == r.frame_times_us()
    assert all(end is not None and 15_000 <= end - start <= 25_000 for start, end in t.exposures)
    assert t.event_rate_hz.sum() > 0


@pytest.mark.parametrize("bins", [1, 7, 50, 20_000])
def test_the_timeline_comes_from_the_index_alone(
    made: Path, given_items: list[Item], monkeypatch: pytest.MonkeyPatch, bins: int
) -> None:
    monkeypatch.setattr(OwnRecording, "_decode", None)
    got = timeline.build(made, bins=bins)
    width_s = (got.end_us - got.start_us + 1) / 1e6 / bins
    packets = [i.events.t for i in given_items if isinstance(i, EventPacket)]
    times = np.concatenate(packets) - got.start_us
    edges = np.linspace(0, width_s * bins * 1e6, bins + 1)
    true = np.searchsorted(times, edges)
    counted = np.concatenate([[0.0], np.cumsum(got.event_rate_hz * width_s)])
    assert counted[-1] == pytest.approx(len(times))
    # At no time is more of it elsewhere than one packet has, whose events may lie anywhere in it.
    assert np.abs(counted - true).max() <= max(map(len, packets))
    assert got.event_rate_hz.min() >= 0


def test_cancel_ends_a_read(made: Path) -> None:
    with open_recording(made) as r:
        items = r.items()
        next(items)
        r.cancel()
        with pytest.raises(ReadCancelled):
            next(items)
        assert len(list(r.items())) > 50


@pytest.mark.parametrize("loss", ["index gone", "index short", "index of another file", "index of garbage"])
def test_the_index_is_a_convenience(copy: Path, given_items: list[Item], loss: str) -> None:
    index = copy / INDEX_FILE
    rows = np.fromfile(index, INDEX)
    if loss == "index gone":
        index.unlink()
    elif loss == "index short":
        index.write_bytes(index.read_bytes()[: 20 * INDEX.itemsize + 11])
    elif loss == "index of garbage":
        index.write_bytes(bytes(range(256)) * 40)
    else:
        rows["body"][3:] += 8
        rows["offset"][4:] += 8
        rows.tofile(index)
    with open_recording(copy) as r:
        assert all(same(a, b) for a, b in zip(r.items(), given_items, strict=True))
        assert r.info.problems == ()


def test_a_torn_end_is_left_out_and_said(copy: Path, given_items: list[Item]) -> None:
    streams = copy / STREAMS
    streams.write_bytes(streams.read_bytes()[:-10])
    with open_recording(copy) as r:
        assert len(list(r.items())) == len(given_items) - 1
        assert "no whole chunk (cut short)" in r.info.problems[0]
        assert r.report.bytes_unread > 0


def test_wrong_bytes_cost_their_chunk_only_and_leave_a_gap(copy: Path, given_items: list[Item]) -> None:
    rows = np.fromfile(copy / INDEX_FILE, INDEX)
    n = next(n for n in range(20, 60) if isinstance(given_items[n], EventPacket))
    data = bytearray((copy / STREAMS).read_bytes())
    data[int(rows["offset"][n]) + HEADER.size + int(rows["meta"][n]) + 3] ^= 0x40
    (copy / STREAMS).write_bytes(data)
    with open_recording(copy) as r:
        got = list(r.items())
        assert len(got) == len(given_items) - 1
        after = next(i for i in got[n:] if isinstance(i, EventPacket))
        assert after.gap
        assert r.report.problems == [f"chunk {n} has wrong bytes; it was left out"]


def test_a_destroyed_header_is_passed_over(copy: Path, given_items: list[Item]) -> None:
    (copy / INDEX_FILE).unlink()
    data = bytearray((copy / STREAMS).read_bytes())
    with open_recording(copy) as r:
        assert isinstance(r, OwnRecording)
        at = int(r.rows["offset"][30])
    data[at + 40] ^= 1
    (copy / STREAMS).write_bytes(data)
    with open_recording(copy) as r:
        assert len(list(r.items())) == len(given_items) - 1
        assert "are damaged (a chunk's header has wrong bytes)" in r.info.problems[0]


@given(st.data())
def test_no_bytes_crash_the_decoder(data: st.DataObject) -> None:
    d = chunks.draft(packet(), None)
    raw = bytearray(d.sealed(0) + d.meta + b"".join(d.parts))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        head = chunks.read_head(bytes(raw))
        chunks.decode(head, bytes(raw[HEADER.size :]))
    except Damaged:
        pass


@given(st.binary(max_size=200), st.integers(1, 3), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_lies_with_a_right_checksum_are_refused(meta: bytes, kind: int, amount: int, edges: int) -> None:
    """Whoever makes the checksum right can still not make the program take more than is there."""
    d = chunks.Draft(kind, meta, (memoryview(b"\0" * 64),), 0, 0, amount, edges, 0, 0)
    raw = d.sealed(0) + d.meta + b"".join(d.parts)
    head = chunks.read_head(raw)
    with contextlib.suppress(Damaged):
        assert isinstance(chunks.decode(head, raw[HEADER.size :]), chunks.StreamEnd)


def test_events_outside_the_sensor_are_counted_not_given(tmp_path: Path) -> None:
    bad = packet(events=Events(np.array([1, 2, 0]), np.array([0, 99, 0], np.uint16), np.zeros(3, np.uint16),
                               np.ones(3, bool), 64, 48), rejected=Rejected())  # fmt: skip
    got = back(bad)
    assert isinstance(got, EventPacket)
    assert (len(got.events), got.rejected) == (1, Rejected(decreasing=1, outside=1))


def test_an_unfinished_recording_says_so(copy: Path) -> None:
    health = json.loads((copy / HEALTH).read_text())
    assert health["state"] == "finished"
    (copy / HEALTH).write_text(json.dumps({**health, "state": "recording"}))
    with open_recording(copy) as r:
        assert "did not come to an end" in r.info.problems[0]
    (copy / HEALTH).write_text("{")
    with open_recording(copy) as r:
        assert "health.json: missing or not readable" in r.info.problems[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: (f / ABOUT).write_text("x = ["), "is not valid TOML"),
        (lambda f: (f / ABOUT).write_text('format = "halfmirror recording"\nversion = 9\n'), "has version 9"),
        (lambda f: (f / ABOUT).write_text("version = 1\nstartd = 3\n"), "unknown key 'startd'"),
        (lambda f: (f / ABOUT).write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda f: (f / STREAMS).unlink(), "cannot be read (No such file"),
        (lambda f: [(f / n).write_bytes(b"") for n in (STREAMS, INDEX_FILE)], "nothing was recorded"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_one_line(copy: Path, change: object, text: str) -> None:
    change(copy)  # type: ignore[operator]
    with pytest.raises(RecordingError, match=r"^[^\n]+$") as e:
        open_recording(copy)
    assert text in str(e.value)


def test_another_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(NotARecording, match="is a folder, not a recording"):
        recognise(tmp_path)


def test_a_recording_is_no_rig_to_record(made: Path) -> None:
    from app.recorder import RecordRequest

    with pytest.raises(UsageError, match="is a recording already"):
        make_session(made, "edi", record=RecordRequest(made / "x"))


def test_one_sensor_stamps_place_its_frames(tmp_path: Path) -> None:
    config = small_davis(paced=False)
    items = items_of(config, 0.5)
    write_own(tmp_path / "d", rig_of_config(config), items)
    with open_recording(tmp_path / "d") as r:
        want = [
            (int(i.device_start_ns or 0) // 1000, int(i.device_end_ns or 0) // 1000)
            for i in items
            if isinstance(i, Frame)
        ]
        assert r.frame_times_us() == want
