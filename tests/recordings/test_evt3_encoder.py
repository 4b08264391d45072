"""EVT3 as written here is read as it was, by this program's reader and by faery's."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from faery import evt

from capture.errors import UsageError
from capture.packets import Events, TriggerEdges
from recordings.export.evt3 import WRAP_US, Evt3Encoder, encode, header
from recordings.open import open_recording
from tests.recordings.test_prophesee import HEIGHT, WIDTH, gathered, made_edges, made_events, same


def written(path: Path, e: Events, edges: TriggerEdges, cuts: list[int], zero_us: int = 0) -> Path:
    """In chunks cut at these events, each with the edges up to its end."""
    encoder, done = Evt3Encoder(e.width, e.height, zero_us=zero_us, channel=6), 0
    with path.open("wb") as f:
        f.write(header(e.width, e.height, camera="made\nup", zero_us=zero_us))
        for a, b in zip([0, *cuts], [*cuts, len(e)], strict=True):
            upto = len(edges) if b == len(e) else int(np.searchsorted(edges.t, e.t[b]))
            f.write(encoder.encode(e[a:b], TriggerEdges(edges.t[done:upto], edges.rising[done:upto])))
            done = upto
    return path


@pytest.mark.parametrize("cuts", [[], [1, 2, 3000, 3000, 17_123, 29_999]], ids=["whole", "chunks"])
def test_events_and_edges_are_read_as_written(tmp_path: Path, cuts: list[int]) -> None:
    """Over two and a half wraps, with vectors, bursts and pauses."""
    e = made_events()
    edges = made_edges(e)
    path = written(tmp_path / "e.raw", e, edges, cuts)
    with open_recording(path) as r:
        got, got_edges = gathered(r)
        assert r.report.problems == []
        assert r.info.event_size == (WIDTH, HEIGHT)
    assert same(got, e)
    assert np.array_equal(got_edges.t, edges.t)
    assert np.array_equal(got_edges.rising, edges.rising)
    with evt.Decoder(str(path), None, None) as d:
        parts = [p["events"] for p in d if "events" in p]
    theirs = np.concatenate(parts)
    ours = (e.t, e.x, e.y, e.p)
    assert all(np.array_equal(theirs[k], a) for k, a in zip(("t", "x", "y", "on"), ours, strict=True))


def test_a_row_that_fires_together_is_a_few_words() -> None:
    x = np.arange(0, 240, dtype=np.uint16)
    n = len(x)
    e = Events(np.full(n, 5), x, np.full(n, 7, np.uint16), np.ones(n, np.bool_), WIDTH, HEIGHT)
    words = np.frombuffer(encode(e), "<u2")
    assert len(words) == 4 + n // 12
    assert words[:4].tolist() == [0x8000, 0x6005, 7, 0x3800]


def test_a_pause_longer_than_the_wrap_is_bridged(tmp_path: Path) -> None:
    t = np.array([3, 3 + 5 * WRAP_US, 3 + 5 * WRAP_US + 100])
    xy = np.zeros(3, np.uint16)
    e = Events(t, xy, xy, np.ones(3, np.bool_), WIDTH, HEIGHT)
    path = written(tmp_path / "e.raw", e, TriggerEdges.empty(), [1])
    with open_recording(path) as r:
        assert same(gathered(r)[0], e)


def test_times_since_1970_need_a_zero(tmp_path: Path) -> None:
    start = 1_700_000_000_000_000
    e = made_events(2000, start)
    with pytest.raises(UsageError, match="give another zero"):
        encode(e)
    path = written(tmp_path / "e.raw", e, TriggerEdges.empty(), [], zero_us=start)
    assert f"% time_zero_us {start}\n".encode() in path.read_bytes()[:200]
    with open_recording(path) as r:
        assert np.array_equal(gathered(r)[0].t, e.t)
        assert (r.info.start_us, r.info.end_us) == (int(e.t[0]), int(e.t[-1]))
        middle = int(e.t[1000])
        later = gathered(r, middle)[0]
        assert np.array_equal(later.t, e.t[e.t >= middle])


@pytest.mark.parametrize("zero", ["soon", "1e9", "9" * 18])
def test_a_damaged_zero_is_told_of_and_not_used(tmp_path: Path, zero: str) -> None:
    e = made_events(2000)
    path = written(tmp_path / "e.raw", e, TriggerEdges.empty(), [])
    path.write_bytes(f"% time_zero_us {zero}\n".encode() + path.read_bytes())
    with open_recording(path) as r:
        assert np.array_equal(gathered(r)[0].t, e.t)
        assert any(f"time_zero_us '{zero}' is no time" in p for p in r.info.problems)


def test_what_the_format_cannot_hold_is_refused() -> None:
    e = made_events(100)
    encoder = Evt3Encoder(WIDTH, HEIGHT)
    encoder.encode(e[50:])
    with pytest.raises(UsageError, match="in order of time"):
        encoder.encode(e[:50])
    with pytest.raises(UsageError, match="do not follow"):
        Evt3Encoder(WIDTH, HEIGHT + 1).encode(e)
    with pytest.raises(UsageError, match="outside of the"):
        encode(Events(e.t, e.x, e.y, e.p, 40, 40))
    with pytest.raises(UsageError, match="at most 2048"):
        Evt3Encoder(4096, 10)
    with pytest.raises(UsageError, match="channel 16"):
        Evt3Encoder(10, 10, channel=16)
    assert encode(e[:0]) == b""


def test_encoding_is_not_what_holds_an_export_up() -> None:
    e = made_events(400_000)
    encode(e[:10])
    took = []
    for _ in range(3):  # the cores are shared: the best is what the code can do
        began = time.process_time()
        data = encode(e)
        took.append(time.process_time() - began)
        assert len(data) > 400_000
    assert len(e) / min(took) > 5e6


def test_a_jump_of_weeks_is_refused_before_it_fills_the_memory() -> None:
    e = made_events(100)
    far = Events(e.t + 30 * 86_400_000_000, e.x, e.y, e.p, WIDTH, HEIGHT)
    encoder = Evt3Encoder(WIDTH, HEIGHT)
    encoder.encode(e)
    with pytest.raises(UsageError, match=r"times go on by 30\.0 days"):
        encoder.encode(far)
