"""Events in 4 bytes each: the same ones come back, and what does not fit is kept plainly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.packets import EventPacket, Events, Frame, Rejected, TriggerEdges
from recordings.formats import own_chunks as chunks
from recordings.formats.own import OwnRecording
from recordings.formats.own_chunks import HEADER, PACKED, RAW_TIMES, decode, draft, read_head
from recordings.formats.own_events import Packed, address_bits, pack, unpack
from tests.recordings import first_version
from tests.recordings.own_sample import same, write_own


def events_of(t: list[int] | NDArray[np.int64], width: int = 1280, height: int = 720, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    n = len(t)
    x, y = rng.integers(0, width, n).astype(np.uint16), rng.integers(0, height, n).astype(np.uint16)
    return Events(np.array(t, np.int64), x, y, rng.random(n) < 0.5, width, height)


def through(e: Events, complete_until_us: int | None = None) -> tuple[EventPacket, int, int]:
    """A packet of these events written and read again, its flags and its bytes."""
    until = int(e.t.max()) + 1 if complete_until_us is None else complete_until_us
    d = draft(EventPacket(e, TriggerEdges.empty(), until, 1), None)
    data = d.sealed(0) + d.meta + b"".join(bytes(p) for p in d.parts)
    back = decode(read_head(data), data[HEADER.size :])
    assert isinstance(back, EventPacket)
    return back, d.flags, d.size


def equal(a: Events, b: Events) -> bool:
    return all(
        getattr(a, n).dtype == getattr(b, n).dtype and np.array_equal(getattr(a, n), getattr(b, n))
        for n in "txyp"
    )


@given(
    sizes=st.tuples(st.integers(1, 4096), st.integers(1, 2048)),
    steps=st.lists(st.one_of(st.integers(0, 20), st.integers(0, 2**32 + 9)), max_size=60),
    base=st.integers(0, 2**50),
    seed=st.integers(0, 99),
)
def test_any_events_come_back(sizes: tuple[int, int], steps: list[int], base: int, seed: int) -> None:
    t = base + np.cumsum(np.array([0, *steps], np.int64))
    e = events_of(t, *sizes, seed)
    back, _, _ = through(e)
    assert equal(back.events, e)
    assert back.rejected == Rejected()


def test_a_busy_packet_takes_four_bytes_an_event() -> None:
    t = np.sort(np.random.default_rng(1).integers(0, 10_000, 5000))
    back, flags, size = through(events_of(t))
    assert flags == PACKED
    assert size - 4 * 5000 < 300
    assert equal(back.events, events_of(t))


def test_corners_of_a_sensor_come_back() -> None:
    for width, height in ((1, 1), (346, 260), (1280, 720), (2048, 1024), (65535, 2)):
        x, y = np.array([0, width - 1], np.uint16), np.array([height - 1, 0], np.uint16)
        e = Events(np.array([5, 5]), x, y, np.array([True, False]), width, height)
        back, flags, _ = through(e)
        assert flags == PACKED, (width, height)
        assert equal(back.events, e), (width, height)


@pytest.mark.parametrize("pause", [1023, 1024, 2**32 - 1])
def test_a_pause_stands_beside_the_words_where_it_must(pause: int) -> None:
    e = events_of([7, 7 + pause, 8 + pause, 9 + pause])
    packed = pack(e)
    assert packed is not None
    assert len(packed.far) == (pause > 1023)
    back, flags, _ = through(e)
    assert flags == PACKED
    assert equal(back.events, e)


def test_what_does_not_fit_is_kept_plainly() -> None:
    sparse = events_of([5000 * k for k in range(50)])
    assert pack(sparse) is None
    back, flags, _ = through(sparse)
    assert flags == 0
    assert equal(back.events, sparse)
    hours = events_of([0, 1, 2**32 + 1])
    back, flags, _ = through(hours)
    assert flags == RAW_TIMES
    assert equal(back.events, hours)
    vast = events_of([0, 1, 2], 65535, 32000)
    back, flags, _ = through(vast)
    assert flags == 0
    assert equal(back.events, vast)


def test_events_that_break_their_contract_are_kept_as_they_came_and_counted() -> None:
    good = events_of(list(range(20)))
    x = good.x.copy()
    x[3] = 1280
    outside, _, _ = through(replace(good, x=x))
    assert outside.rejected.outside == 1
    assert len(outside.events) == 19
    t = good.t.copy()
    t[8] = 2
    back, _, _ = through(replace(good, t=t), 20)
    assert back.rejected.decreasing == 1
    assert len(back.events) == 19


def test_words_outside_of_the_sensor_are_told() -> None:
    """1280 needs 11 bits, which hold 2047."""
    assert address_bits(1280, 720) == (11, 10)
    none = np.empty(0, np.uint32)
    _, sound = unpack(Packed(np.array([2047], np.uint32), none, none), 0, 1280, 720)
    assert not sound
    _, sound = unpack(Packed(np.array([1279 | 719 << 11], np.uint32), none, none), 0, 1280, 720)
    assert sound


def test_numbers_of_pauses_that_lead_nowhere_are_harmless() -> None:
    words = np.zeros(3, np.uint32)
    wild = Packed(words, np.array([9, 2, 0], np.uint32), np.full(3, 2**32 - 1, np.uint32))
    e, sound = unpack(wild, 0, 8, 8)
    assert sound
    assert len(e) == 3
    assert bool((np.diff(e.t) >= 0).all())


def test_empty_packets_come_back() -> None:
    for width, height in ((346, 260), (65535, 65535)):
        back, _, _ = through(events_of([], width, height), 10)
        assert len(back.events) == 0


def test_recordings_of_the_first_version_are_read() -> None:
    with OwnRecording(first_version.FOLDER) as r:
        found = list(r.items())
        assert {int(v) for v in r.rows["version"]} == {1}
    wanted = first_version.items()
    assert len(found) == len(wanted)
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))


def test_the_same_items_are_of_this_version_now(tmp_path: Path) -> None:
    write_own(tmp_path / "now", first_version.rig(), first_version.items())
    with OwnRecording(tmp_path / "now") as r:
        found = list(r.items())
        assert {int(v) for v in r.rows["version"]} == {chunks.VERSION}
    wanted = first_version.items()
    assert len(found) == len(wanted)
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))
    assert sum(isinstance(i, Frame) for i in found) == 1
