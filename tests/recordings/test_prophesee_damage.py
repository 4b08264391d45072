"""Damaged Prophesee files: what is readable is read, what is not is counted, in one line, never a crash."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events
from recordings.open import open_recording
from recordings.recording import NotARecording, RecordingError
from tests.recordings.make_prophesee import ENCODINGS, HEADERS, payload, write
from tests.recordings.test_bad_recordings import mutated
from tests.recordings.test_prophesee import HEIGHT, RAW, WIDTH, gathered, made_edges, made_events, same


def header_length(encoding: str) -> int:
    return len(HEADERS[encoding].format(w=WIDTH, h=HEIGHT)) + (2 if encoding.startswith("dat") else 0)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_cut_file_gives_what_is_there(tmp_path: Path, encoding: str) -> None:
    events = made_events(5000, span_us=1_000_000)
    whole = write(tmp_path / "w.raw", encoding, events, vectors=False).read_bytes()
    word = {"evt3": 2, "evt2": 4}.get(encoding, 8)
    at = header_length(encoding) + (len(whole) - header_length(encoding)) // 2 // word * word
    (tmp_path / "c.raw").write_bytes(whole[: at + word - 1])
    with open_recording(tmp_path / "c.raw") as r:
        got, _ = gathered(r)
        assert r.report.bytes_unread == word - 1
        n = f"{word - 1} bytes are" if word > 2 else "1 byte is"
        assert r.report.problems == [f"the file ends inside a word; its last {n} not read"]
        assert r.info.end_us == got.t[-1]
    assert len(got) > 0.4 * len(events)
    assert same(got, events[: len(got)])


@pytest.mark.parametrize("encoding", RAW)
@pytest.mark.parametrize("bit", range(12))
def test_one_wrong_bit_in_a_high_time_costs_next_to_nothing(tmp_path: Path, encoding: str, bit: int) -> None:
    # Even rate, so that the camera tells the time often.
    t = 2_000_000 + np.arange(0, 2_000_000, 50, dtype=np.int64)
    events = Events(t, (t % WIDTH).astype(np.uint16), (t % HEIGHT).astype(np.uint16), t % 3 == 0, WIDTH, HEIGHT)
    path = write(tmp_path / "b.raw", encoding, events)
    data = bytearray(path.read_bytes())
    start = header_length(encoding)
    if encoding == "evt3":
        words = np.frombuffer(data, "<u2", offset=start)
        at = start + 2 * int(np.flatnonzero(words >> 12 == 8)[200])
    else:
        heads = np.frombuffer(data, "<u4", offset=start)
        at = start + 4 * int(np.flatnonzero(heads >> 28 == 8)[900])
    data[at + bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with open_recording(path) as r:
        got, _ = gathered(r)
        assert r.info.end_us == t[-1]
        assert any("damaged" in p for p in r.report.problems) or bit < 10
    # What lies behind one high time: 4.1 ms, or 64 µs; a step of up to 33 ms is not doubted.
    assert len(events) - len(got) <= 700
    assert got.t[-1] == t[-1]


@pytest.mark.parametrize("damaged", range(1, 6))
def test_a_busy_sensor_tells_the_time_rarely(tmp_path: Path, damaged: int) -> None:
    """The next high time, which judges a wrong one, lies tens of thousands of words further on."""
    each, steps = 50_000, 7
    words = []
    for high in range(steps):
        wrong = 0x200 if high == damaged else 0
        words.append(np.array([0x8000 | (high + 1) ^ wrong, 0x6000, 5], "<u2"))
        words.append(0x2000 | (np.arange(each) % WIDTH).astype("<u2"))
    path = tmp_path / "busy.raw"
    path.write_bytes(HEADERS["evt3"].format(w=WIDTH, h=HEIGHT).encode() + np.concatenate(words).tobytes())
    with open_recording(path) as r:
        got, _ = gathered(r)
        assert "1 time is damaged and was passed over" in r.report.problems
        assert r.info.end_us == 4096 * steps
    times, counts = np.unique(got.t, return_counts=True)
    # Those of the wrong time are taken for those before: 4 ms are off, nothing is lost.
    assert [int(t) // 4096 for t in times] == [h + 1 for h in range(steps) if h != damaged]
    assert len(got) == each * steps
    assert int(counts[damaged - 1]) == 2 * each


def test_a_wild_time_in_a_dat_file_costs_one_event(tmp_path: Path) -> None:
    events = made_events(5000, span_us=1_000_000)
    path = write(tmp_path / "d.dat", "dat2", events)
    data = bytearray(path.read_bytes())
    at = header_length("dat2") + 8 * 700
    struct.pack_into("<I", data, at, int(events.t[700]) + (1 << 29))
    path.write_bytes(data)
    with open_recording(path) as r:
        got, _ = gathered(r)
        assert r.report.problems == ["1 time is damaged and was passed over"]
        packets = [i for i in r.items() if isinstance(i, EventPacket)]
    assert np.array_equal(got.t, np.delete(events.t, 700))
    assert any(p.gap for p in packets)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_time_running_backwards_is_counted(tmp_path: Path, encoding: str) -> None:
    """Two recordings in one file: the second begins earlier."""
    a, b = made_events(5000, 5_000_000, 1_000_000), made_events(4000, 3_000_000, 1_000_000)
    path = write(tmp_path / "t.raw", encoding, a)
    second = payload(encoding, b)[2 if encoding.startswith("dat") else 0 :]
    path.write_bytes(path.read_bytes() + second)
    with open_recording(path) as r:
        got, _ = gathered(r)
        assert same(got, a)
        assert r.report.events_rejected_decreasing == 4000
        assert "time runs backwards at 1 place; events there were refused" in r.report.problems


@pytest.mark.parametrize("encoding", ["evt2", "evt3"])
def test_words_that_do_not_exist_are_counted(tmp_path: Path, encoding: str) -> None:
    events = made_events(500, span_us=100_000)
    path = write(tmp_path / "u.raw", encoding, events)
    bad = b"\x00\xb0" * 3 if encoding == "evt3" else b"\x00\x00\x00\x50" * 3
    path.write_bytes(path.read_bytes() + bad)
    with open_recording(path) as r:
        assert same(gathered(r)[0], events)
        assert r.report.problems == ["3 words are of types that do not exist"]


def test_a_file_that_shrinks_while_it_is_read_says_so(tmp_path: Path) -> None:
    events = made_events(300_000, span_us=3_000_000)
    path = write(tmp_path / "s.raw", "evt2", events)
    with open_recording(path) as r:
        items = r.items()
        next(items)
        with path.open("r+b") as f:
            f.truncate(header_length("evt2") + 4096)
        with pytest.raises(RecordingError, match=r"s\.raw: became shorter while it was read"):
            list(items)


def read_mutated(tmp_path: Path, encoding: str, seeds: range) -> None:
    events = made_events(3000, span_us=300_000)
    source = write(tmp_path / "s.raw", encoding, events, made_edges(events, 40) if encoding in RAW else None)
    data = source.read_bytes()
    path = tmp_path / "damaged.raw"
    refused = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        if seed % 5 == 4:  # cut, or the header itself
            damaged = bytearray(data[: int(rng.integers(1, len(data)))])
            for k in rng.integers(2, min(60, len(damaged)) + 1, 3):
                damaged[int(k) - 1] = int(rng.integers(256))
        else:
            damaged = bytearray(mutated(data, seed))
        path.write_bytes(damaged)
        begun = time.process_time()
        try:
            with open_recording(path) as r:
                got, _ = gathered(r)
                assert got.width * got.height > 0
                gathered(r, (r.info.start_us + r.info.end_us) // 2)
                assert all("\n" not in p for p in r.report.problems)
        except (RecordingError, NotARecording) as e:
            refused += 1
            if "\n" in str(e) or str(path) not in str(e):
                pytest.fail(f"seed {seed}: {e!r}")
        # The machine may be busy; a hang meets the time limit of the test.
        assert time.process_time() - begun < 10, f"seed {seed}"
    assert refused < len(seeds) // 2


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_mutated_files_cost_neither_life_nor_time(tmp_path: Path, encoding: str) -> None:
    read_mutated(tmp_path, encoding, range(20))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_many_mutated_files_cost_neither_life_nor_time(tmp_path: Path, encoding: str) -> None:
    read_mutated(tmp_path, encoding, range(1000, 1300))
