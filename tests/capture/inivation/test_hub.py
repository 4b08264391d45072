"""Events, edges and frames of one DAVIS stay on one time axis, whoever of them pauses."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from capture.camera import CameraRole, Control
from capture.inivation.batch import Batch, EventBatch, RawFrame
from capture.inivation.hub import Hub
from capture.packets import EventPacket, Frame

STEP = 10_000
HOURS = 7300 * 1_000_000
_NAMES = (f"hub-{k}" for k in itertools.count())


class Silent:
    """A DAVIS that has nothing by itself."""

    model = serial = "S"
    event_size = image_size = (8, 6)
    triggers = True

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}
        self.next = Batch()

    def open(self) -> None: ...

    def start(self, events: bool, frames: bool) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...

    def poll(self, host_ns: int) -> Batch:
        batch, self.next = self.next, Batch()
        return batch

    def names(self) -> tuple[str, ...]:
        return ()

    def change(self, name: str, value: Any) -> None: ...

    def values(self) -> dict[str, Any]:
        return {}

    def controls(self) -> tuple[Control, ...]:
        return ()


def made(now: int, *, events: bool = True, others: bool = True) -> Batch:
    """What the device gives at `now` µs: events of the last step, an exposure's two edges, and its frame."""
    batch = Batch()
    if events:
        t, x = np.array([now - STEP, now - 1], np.int64), np.array([1, 2], np.uint16)
        batch.events = [EventBatch(t, x, x, np.array([True, False]))]
    if others:
        batch.edges = [(now - 8000, True), (now - 3000, False)]
        batch.frames = [RawFrame(now - 8000, 5000, np.zeros((6, 8), np.uint8), False)]
    return batch


class Running:
    """Both cameras of a hub, whose host's clock is set rather than waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host_us = 5_000_000_000
        monkeypatch.setattr("capture.inivation.hub.time.monotonic_ns", lambda: self.host_us * 1000)
        self.source = Silent()
        self.hub = Hub(next(_NAMES), self.source)
        for role in CameraRole:
            self.hub.open(role)
            self.hub.start(role)

    def look(self, batch: Batch) -> tuple[list[EventPacket], list[Frame]]:
        """What both cameras deliver of it; the host looks 2 ms after it was made."""
        self.source.next = batch
        packets: list[EventPacket] = []
        frames: list[Frame] = []
        while (p := self.hub.read(CameraRole.EVENTS, 0)) is not None:
            assert isinstance(p, EventPacket)
            packets.append(p)
        while (f := self.hub.read(CameraRole.FRAMES, 0)) is not None:
            assert isinstance(f, Frame)
            frames.append(f)
        return packets, frames


@pytest.mark.parametrize("paused", ["events", "others"])
def test_who_pauses_for_hours_comes_back_beside_the_others(
    paused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = Running(monkeypatch)
    now = 1_000_000

    def go(step: int, **what: bool) -> tuple[list[EventPacket], list[Frame]]:
        nonlocal now
        now += step
        r.host_us += step
        return r.look(made(now, **what))

    for _ in range(50):
        go(STEP)
    for _ in range(HOURS // 10_000_000):
        go(10_000_000, **{paused: False})
    for k in range(200):
        packets, (frame,) = go(STEP)
        assert sum(len(p.events) for p in packets) == sum(len(p.triggers) for p in packets) == 2
        assert [t for p in packets for t in p.events.t.tolist()] == [now - STEP, now - 1]
        assert [t for p in packets for t in p.triggers.t.tolist()] == [now - 8000, now - 3000]
        assert frame.device_start_ns == 1000 * (now - 8000)
        assert not any(p.gap for p in packets), k
        assert not frame.gap
    assert r.hub.axis.resets == 0


def test_all_streams_go_over_to_a_clock_that_was_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Running(monkeypatch)
    for now in range(4_000_000_000, 4_002_000_000, STEP):
        r.host_us += STEP
        r.look(made(now))
    gaps = 0
    for now in range(STEP, 2_000_000, STEP):
        r.host_us += STEP
        packets, (frame,) = r.look(made(now))
        (shift,) = {
            *(p.events.t[0] - (now - STEP) for p in packets),
            *(p.triggers.t[0] - (now - 8000) for p in packets),
            (frame.device_start_ns or 0) // 1000 - (now - 8000),
        }
        assert shift == r.hub.axis.shift_us > 4_000_000_000
        gaps += sum(p.gap for p in packets)
    assert gaps == r.hub.axis.resets == 1
