"""What an armed recorder keeps: so many seconds, so many bytes, nothing lost that was not asked for."""

from __future__ import annotations

import numpy as np
import pytest

from capture.codec import StreamEnd
from capture.packets import EventPacket, Events, TriggerEdges
from recordings.formats.own_chunks import draft
from recordings.recorder.preroll import MAX_SECONDS, PreRoll, Waiting, budget

EMPTY = Events.empty(8, 8)


def item(at_s: float, ring: int = 0, lost: int = 0, events: int = 0) -> Waiting:
    e = Events(
        np.zeros(events, np.int64), np.zeros(events, np.uint16), np.zeros(events, np.uint16),
        np.zeros(events, np.bool_), 8, 8,
    )  # fmt: skip
    p = EventPacket(e, TriggerEdges.empty(), round(at_s * 1e6))
    return Waiting(ring, round(at_s * 1e9), p, draft(p, None), lost)


def times(p: PreRoll) -> list[float]:
    return [w.written_ns / 1e9 for w in p.give()]


def test_the_last_seconds_are_kept() -> None:
    p = PreRoll(1.0)
    for k in range(100):
        p.add(item(k * 0.1))
    assert p.seconds == pytest.approx(1.0)
    assert times(p) == pytest.approx([8.9 + 0.1 * k for k in range(11)])
    assert (p.seconds, p.bytes, times(p)) == (0.0, 0, [])


def test_memory_is_bounded_and_the_newest_stay() -> None:
    p = PreRoll(50.0, most=10_000)
    for k in range(40):
        p.add(item(k, events=200))
        assert p.bytes <= 10_000
    kept = times(p)
    assert kept[-1] == 39
    assert 5 < len(kept) < 15
    assert 0 < budget() <= 1 << 30


def test_fewer_seconds_let_go_at_once_and_none_keeps_nothing() -> None:
    p = PreRoll(10.0)
    for k in range(10):
        p.add(item(k))
    p.resize(2.0)
    assert p.seconds == 2.0
    p.resize(0)
    assert (p.wanted, p.bytes, times(p)) == (False, 0, [])
    p.resize(1e9)
    for k in range(100):
        p.add(item(k))
    assert p.seconds == MAX_SECONDS


def test_what_was_lost_before_the_first_of_a_ring_is_no_loss_of_the_recording() -> None:
    p = PreRoll(10.0)
    for w in (item(1, lost=7), item(2, ring=1, lost=3), item(3, lost=2), item(4, ring=1)):
        p.add(w)
    p.add(Waiting(0, 5, StreamEnd(0), draft(StreamEnd(0), None), 0))
    assert [w.lost for w in p.give()] == [0, 0, 2, 0]
