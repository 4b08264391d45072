"""Prophesee RAW and DAT: every event and edge as written, across wraps, from any place, in any encoding."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, TriggerEdges
from recordings.formats import evt_file
from recordings.open import open_recording, require_events, require_frames
from recordings.recording import NotARecording, ReadCancelled, Recording, RecordingError
from tests.recordings.make_prophesee import ENCODINGS, HEADERS, payload, write
from tests.recordings.test_real_recordings import read

WIDTH, HEIGHT = 300, 200
RAW = tuple(e for e in ENCODINGS if not e.startswith("dat"))


def made_events(n: int = 30_000, start_us: int = 16_000_000, span_us: int = 40_000_000) -> Events:
    """Random times over several of EVT3's wraps with a burst, and rows of pixels that fire together."""
    rng = np.random.default_rng(3)
    t = np.sort(
        np.concatenate([rng.integers(0, span_us, n // 2), span_us // 3 + rng.integers(0, 3000, n // 2)])
    )
    t = start_us + t
    x, y = rng.integers(0, WIDTH, n), rng.integers(0, HEIGHT, n)
    p = rng.random(n) < 0.4
    for k in rng.integers(0, n - 40, 200):
        run = int(rng.integers(3, 40))
        t[k : k + run], y[k : k + run], p[k : k + run] = t[k], y[k], p[k]
        x[k : k + run] = np.sort(rng.choice(WIDTH, run, replace=False)) if run % 2 else np.arange(run) + 5
    t = np.sort(t)
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), p, WIDTH, HEIGHT)


def made_edges(e: Events, n: int = 400) -> TriggerEdges:
    rng = np.random.default_rng(4)
    t = np.sort(rng.integers(int(e.t[0]), int(e.t[-1]), n))
    return TriggerEdges(t, np.arange(n) % 2 == 0)


def gathered(r: Recording, start_us: int | None = None) -> tuple[Events, TriggerEdges]:
    """All of a recording, with the promises of `items` checked."""
    packets, frames = read(r, start_us)
    assert frames == []
    edges = [p.triggers for p in packets]
    return Events.concatenate([p.events for p in packets]), TriggerEdges(
        np.concatenate([e.t for e in edges]), np.concatenate([e.rising for e in edges])
    )


def same(a: Events, b: Events) -> bool:
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in "txyp")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("vectors", [True, False])
def test_every_event_and_edge_comes_as_written(tmp_path: Path, encoding: str, vectors: bool) -> None:
    events = made_events()
    edges = made_edges(events) if encoding in RAW else TriggerEdges.empty()
    path = write(tmp_path / "e.raw", encoding, events, edges, channel=6, vectors=vectors)
    with open_recording(path) as r:
        got, got_edges = gathered(r)
        assert r.info.event_size == (WIDTH, HEIGHT)
        assert r.info.has_triggers == bool(len(edges))
        assert (r.info.start_us, r.info.end_us) == (events.t[0], events.t[-1])
        assert (r.report.events, r.report.edges) == (len(events), len(edges))
        assert r.report.problems == []
        assert r.report.ignored == {}
    assert same(got, events)
    assert np.array_equal(got_edges.t, edges.t)
    assert np.array_equal(got_edges.rising, edges.rising)


@pytest.mark.parametrize(
    ("encoding", "period"), [("evt3", 1 << 24), ("evt2", 1 << 34), ("evt2.1", 1 << 34), ("dat2", 1 << 32)]
)
def test_time_goes_on_where_the_field_wraps(tmp_path: Path, encoding: str, period: int) -> None:
    t = period - 3000 + np.arange(0, 6000, 7, dtype=np.int64)
    n = len(t)
    events = Events(t, np.full(n, 9, np.uint16), np.full(n, 8, np.uint16), t % 2 == 0, WIDTH, HEIGHT)
    with open_recording(write(tmp_path / "w.raw", encoding, events)) as r:
        assert same(gathered(r)[0], events)
        assert r.info.end_us == t[-1]


def seeks(path: Path, encoding: str, places: int = 12) -> None:
    """What is read from the middle is the rest of what is read from the start."""
    rng = np.random.default_rng(5)
    with open_recording(path) as r:
        whole, whole_edges = gathered(r)
        packets, _ = read(r)
        times = rng.integers(r.info.start_us - 5000, r.info.end_us, places).tolist()
        for start in [*times, r.info.start_us, r.info.end_us]:
            late, late_edges = gathered(r, start)
            assert same(late, whole.between(start, 1 << 62)), f"{encoding} from {start}"
            assert np.array_equal(late_edges.t, whole_edges.t[whole_edges.t >= start])
            late_packets, _ = read(r, start)
            ends = [p.complete_until_us for p in packets if p.complete_until_us > start]
            assert [p.complete_until_us for p in late_packets][-len(ends) :] == ends
            assert r.report.problems == []
            assert r.report.events_rejected_decreasing == 0


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_reading_from_the_middle(
    tmp_path: Path, encoding: str, sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evt_file, "BLOCK", 1 << 10)
    monkeypatch.setattr("recordings.formats.prophesee_raw.BLOCK", 1 << 10)
    if sampled:
        monkeypatch.setattr(evt_file, "EXACT_BYTES", 0)
        monkeypatch.setattr(evt_file, "SAMPLE_BYTES", 16 << 10)
    events = made_events()
    seeks(
        write(tmp_path / "s.raw", encoding, events, made_edges(events) if encoding in RAW else None), encoding
    )


def test_a_row_told_long_ago_still_holds_after_a_seek(tmp_path: Path) -> None:
    t = 1_000_000 + np.arange(0, 4_000_000, 4, dtype=np.int64)
    n = len(t)
    events = Events(t, (t % WIDTH).astype(np.uint16), np.full(n, 77, np.uint16), t % 3 == 0, WIDTH, HEIGHT)
    with open_recording(write(tmp_path / "row.raw", "evt3", events, vectors=False)) as r:
        assert same(gathered(r, 4_900_000)[0], events.between(4_900_000, 1 << 62))


def test_pauses_longer_than_a_wrap_are_found_by_the_sampled_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evt_file, "EXACT_BYTES", 0)
    e = made_events(4000, span_us=200_000)
    t = np.concatenate([e.t, e.t + 50_000_000, e.t + 170_000_000])
    events = Events(t, np.tile(e.x, 3), np.tile(e.y, 3), np.tile(e.p, 3), WIDTH, HEIGHT)
    with open_recording(write(tmp_path / "p.raw", "evt3", events)) as r:
        assert r.info.end_us == t[-1]
        assert same(gathered(r)[0], events)


def test_the_trigger_channel_does_not_depend_on_where_reading_begins(tmp_path: Path) -> None:
    n = np.arange(4000)
    z = np.zeros(len(n), np.uint16)
    events = Events(n * 100, z, z, np.ones(len(n), bool), 640, 480)
    t = 10_000 + 50_000 * np.arange(8, dtype=np.int64)
    words = np.frombuffer(payload("evt3", events, TriggerEdges(t, np.ones(8, bool))), "<u2").copy()
    edges = np.flatnonzero(words >> 12 == 0xA)
    words[edges[1::2]] |= 6 << 8
    path = write(tmp_path / "a.raw", "evt3", events[:0])
    path.write_bytes(path.read_bytes() + words.tobytes())
    for start in (None, 40_000, 200_000):
        with open_recording(path) as r:
            got = [int(v) for i in r.items(start) if isinstance(i, EventPacket) for v in i.triggers.t]
            assert got == [v for v in t[::2].tolist() if start is None or v >= start]


def test_a_file_whose_time_runs_back_keeps_what_lies_before(tmp_path: Path) -> None:
    t = np.concatenate([np.arange(0, 600_000_000, 2000), np.arange(0, 200_000_000, 2000)])
    z = np.zeros(len(t), np.uint16)
    path = write(tmp_path / "a.dat", "dat2", Events(t, z, z, z == 0, 640, 480))
    with open_recording(path) as r:
        assert r.info.end_us == 599_998_000
        assert sum(len(i.events) for i in r.items() if isinstance(i, EventPacket)) == 300_000
        assert r.report.events_rejected_decreasing == 100_000


def test_of_several_trigger_channels_the_first_is_given(tmp_path: Path) -> None:
    events = made_events(1000, span_us=100_000)
    later = Events(events.t + 100_000, events.x, events.y, events.p, WIDTH, HEIGHT)
    edges = made_edges(events, 40)
    a = payload("evt3", events, edges, channel=3)
    b = payload("evt3", later, TriggerEdges(edges.t + 100_000, edges.rising), channel=5)
    path = tmp_path / "two.raw"
    path.write_bytes(HEADERS["evt3"].format(w=WIDTH, h=HEIGHT).encode() + a + b)
    with open_recording(path) as r:
        assert len(gathered(r)[1]) == 40
        assert r.report.ignored == {"edges_of_channel_5": 40}


def test_a_read_can_be_cancelled(tmp_path: Path) -> None:
    with open_recording(write(tmp_path / "c.raw", "evt2", made_events())) as r:
        items = iter(r.items())
        threading.Thread(target=r.cancel).start()
        with pytest.raises(ReadCancelled):
            for _ in range(1 << 20):
                next(items)
                r.cancel()
        assert sum(len(i.events) for i in r.items() if isinstance(i, EventPacket)) == 30_000
    with pytest.raises(RecordingError, match="is closed"):
        next(iter(r.items()))


# -- what a header tells ------------------------------------------------------------------------------------


def test_without_a_size_it_is_inferred_asked_for_or_stated(tmp_path: Path) -> None:
    events = made_events(500, span_us=100_000)
    known = "% Date 2020-09-25 07:48:31\n% plugin_name hal_plugin_gen3_fx3\n% system_ID 21\n% evt 2.0\n"
    unknown = "% evt 2.0\n% serial_number 1\n"
    with open_recording(write(tmp_path / "a.raw", "evt2", events, header=known)) as r:
        assert r.info.event_size == (640, 480)
        assert r.info.problems == (
            "the header has no sensor size; 640×480 follows from plugin_name hal_plugin_gen3_fx3",
        )
        assert same(gathered(r)[0], events)
    path = write(tmp_path / "b.raw", "evt2", events, header=unknown)
    with pytest.raises(
        RecordingError, match=r"b\.raw: nothing in it tells the sensor's size; state it: --geom"
    ):
        open_recording(path)
    with open_recording(path, geometry=(WIDTH, HEIGHT)) as r:
        assert r.info.event_size == (WIDTH, HEIGHT)
        assert r.info.problems == ()
    with open_recording(write(tmp_path / "c.raw", "evt2", events), geometry=(640, 480)) as r:
        assert r.info.event_size == (640, 480)
        assert r.info.problems == ("the header says 300×200; read as 640×480, as was asked",)


def test_a_wrong_geometry_is_reported(tmp_path: Path) -> None:
    events = made_events(5000, span_us=100_000)
    outside = int(np.count_nonzero((events.x >= 200) | (events.y >= 100)))
    header = "% format EVT3;height=100;width=200\n% end\n"
    with open_recording(write(tmp_path / "g.raw", "evt3", events, header=header)) as r:
        got, _ = gathered(r)
        assert r.report.events_rejected_outside == outside == 5000 - len(got)
        assert any(p.startswith(f"{outside} events lie outside 200×100") for p in r.report.problems)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("% evt 4.0\n% geometry 640x480\n% end\n", "its encoding 'evt 4.0' is not known"),
        ("% format EVT1;width=9;height=9\n% end\n", "is not known; known: EVT2, EVT2.1, EVT3"),
        ("% format EVT3;width=99999;height=3\n% end\n", "claims a sensor of 99999×3 pixels"),
        ("% format EVT3;width=0;height=3\n% end\n", "claims a sensor of 0×3 pixels"),
        ("% Version 7\n% Width 9\n% Height 9\n", "DAT version '7' is not known"),
        ("% Version 2\n% Width 9\n% Height 9\n\x0e\x08", "holds triggers and no events"),
        ("% Version 2\n% Width 9\n% Height 9\n\x0c\x10", "holds items of type 0x0c with 16 bytes"),
        ("% Version 2\n% Width 9\n% Height 9\n", "ends inside its header"),
        ("% " + "x" * 5000, "its header is damaged"),
        ("% a b\n" * 20_000, "its header is longer than 64 KiB"),
        (HEADERS["evt3"].format(w=9, h=9), "holds no events; nothing can be read"),
        (HEADERS["evt2"].format(w=9, h=9) + "\x01\x02\x03", "holds no events; nothing can be read"),
    ],
)
def test_headers_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path, header: str, says: str) -> None:
    path = tmp_path / "h.raw"
    path.write_bytes(header.encode("latin-1"))
    with pytest.raises((RecordingError, NotARecording)) as e:
        open_recording(path)
    assert says in str(e.value)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_headers_that_contradict_themselves_are_reported(tmp_path: Path) -> None:
    events = made_events(500, span_us=100_000)
    header = "% evt 3.0\n% format EVT2;height=200;width=300\n% geometry odd\n"
    with open_recording(write(tmp_path / "h.raw", "evt2", events, header=header)) as r:
        assert same(gathered(r)[0], events)
        assert r.info.problems == (
            "the header names two encodings, format EVT2 and evt 3.0; read as evt2",
            "the header's geometry 'odd' is not of the form 1280x720; it was left out",
        )


def test_data_that_begin_like_a_header_line_are_data(tmp_path: Path) -> None:
    """EVT2 without `% end`, whose first word is a high time of 0x25 = "%" in its lowest byte."""
    high = 0x2025
    t = np.arange(64 * high, 64 * high + 640, 5, dtype=np.int64)
    n = len(t)
    events = Events(t, np.full(n, 10, np.uint16), np.full(n, 11, np.uint16), t % 2 == 0, WIDTH, HEIGHT)
    header = "% evt 2.0\n% geometry 300x200\n"
    path = write(tmp_path / "d.raw", "evt2", events, header=header)
    assert path.read_bytes()[len(header) :].startswith(b"% ")
    with open_recording(path) as r:
        assert same(gathered(r)[0], events)


# -- real files ---------------------------------------------------------------------------------------------

REAL = {
    "prophesee_imx636_evt3.raw": (878_027, 0, (1280, 720), (11_200, 17_301)),
    "prophesee_vga_evt3_triggers.raw": (343_474, 4157, (640, 480), (7_139, 9_218)),
    "prophesee_gen3_evt2.raw": (521_252, 0, (640, 480), (913_716, 913_812)),
    "prophesee_imx636_cd.dat": (350_615, 0, (1280, 720), (5, 1_199)),
    "prophesee_imx636_evt21_little_transcoded.raw": (76_845, 0, (1280, 720), (12_000, 12_399)),
    "prophesee_imx636_evt21_legacy_transcoded.raw": (76_845, 0, (1280, 720), (12_000, 12_399)),
}


@pytest.mark.parametrize("name", REAL)
def test_every_item_of_a_real_file_arrives(shared_data: Path, name: str) -> None:
    n, edges, size, span_ms = REAL[name]
    with open_recording(shared_data / "event" / name) as r:
        got, got_edges = gathered(r)
        assert (len(got), len(got_edges)) == (n, edges)
        assert r.report.events_rejected_decreasing == r.report.events_rejected_outside == 0
        assert r.report.problems == list(r.info.problems)
        assert r.info.event_size == size
        assert r.info.has_triggers == bool(edges)
        assert (r.info.start_us // 1000, r.info.end_us // 1000) == span_ms
        times = np.concatenate([got.t, got_edges.t])
        assert (times.min(), times.max()) == (r.info.start_us, r.info.end_us)


def test_real_trigger_edges_rise_every_millisecond(shared_data: Path) -> None:
    with open_recording(shared_data / "event" / "prophesee_vga_evt3_triggers.raw") as r:
        _, edges = gathered(r)
    rising = np.diff(edges.t[edges.rising])
    assert abs(int(np.median(rising)) - 1000) <= 1
    assert abs(int(np.count_nonzero(edges.rising)) - len(edges) / 2) <= 1


@pytest.mark.parametrize("name", [n for n in REAL if "evt21" not in n])
def test_a_second_decoder_reads_the_same(shared_data: Path, name: str) -> None:
    """faery, another implementation; it sees the same events in the same order."""
    faery = pytest.importorskip("faery", reason="faery is not installed")
    path = shared_data / "event" / name
    with open_recording(path) as r:
        ours, _ = gathered(r)
        size = r.info.event_size
    parts = []
    if name.endswith(".dat"):
        with faery.dat.Decoder(str(path), size, "dat2") as d:
            parts = list(d)
    else:
        with faery.evt.Decoder(str(path), size, None) as d:
            parts = [p["events"] for p in d if p.get("events") is not None]
    theirs = np.concatenate(parts)
    assert np.array_equal(ours.t, theirs["t"].astype(np.int64))
    assert np.array_equal(ours.x, theirs["x"])
    assert np.array_equal(ours.y, theirs["y"])
    assert np.array_equal(ours.p, theirs["on" if "on" in theirs.dtype.names else "payload"].astype(bool))


def test_both_word_orders_give_the_same(shared_data: Path) -> None:
    names = [n for n in REAL if "evt21" in n]
    with (
        open_recording(shared_data / "event" / names[0]) as a,
        open_recording(shared_data / "event" / names[1]) as b,
    ):
        assert same(gathered(a)[0], gathered(b)[0])


@pytest.mark.parametrize("name", REAL)
def test_seeking_in_a_real_file(shared_data: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evt_file, "EXACT_BYTES", 0)
    monkeypatch.setattr(evt_file, "SAMPLE_BYTES", 64 << 10)
    path = shared_data / "event" / name
    rng = np.random.default_rng(1)
    with open_recording(path) as r:
        whole, edges = gathered(r)
        for start in rng.integers(r.info.start_us, r.info.end_us, 6).tolist():
            late, late_edges = gathered(r, start)
            assert same(late, whole.between(start, 1 << 62))
            assert np.array_equal(late_edges.t, edges.t[edges.t >= start])


def test_a_recording_without_frames_says_so(shared_data: Path) -> None:
    with open_recording(shared_data / "event" / "prophesee_imx636_evt3.raw") as r:
        assert require_events(r) is r
        assert r.rig_facts() is None
        assert r.frame_times_us() == []
        with pytest.raises(
            RecordingError, match="has no frames, only events of Prophesee imx636_evk4 00050567"
        ):
            require_frames(r)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    events = made_events(20_000, span_us=2_000_000)
    part = np.frombuffer(payload("evt2", events), "<u4")
    is_high = part >> 28 == 8
    peaks = []
    for laps in (10, 80):
        with (tmp_path / "m.raw").open("wb") as f:
            f.write(HEADERS["evt2"].format(w=WIDTH, h=HEIGHT).encode())
            for k in range(laps):
                # Each lap two seconds later.
                f.write((part + is_high * np.uint32(k * 2_000_000 // 64)).astype("<u4").tobytes())
        with open_recording(tmp_path / "m.raw") as r:
            n = 0
            tracemalloc.start()
            for item in r.items(r.info.start_us):
                n += len(item.events) if isinstance(item, EventPacket) else 0
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert n == laps * 20_000
    assert peaks[1] < 1.2 * peaks[0] + 1_000_000
    assert peaks[1] < (tmp_path / "m.raw").stat().st_size
