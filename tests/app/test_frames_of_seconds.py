"""The first seconds of a recording, with events and of frames alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from app.offline_input import until
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges


def frames(device: bool) -> Iterator[Frame]:
    for k in range(20):
        at = 7 * 10**12 + k * 100_000_000 if device else None
        gray = np.zeros((4, 4), np.uint8)
        yield Frame(gray, PixelLayout.GRAY, k, at, at, FrameClock.DEVICE, 10**12 + k * 100_000_000)


@pytest.mark.parametrize("device", [True, False])
def test_of_frames_alone_by_their_own_time(device: bool) -> None:
    assert len(list(until(frames(device), 500_000, events=False))) == 5


def test_with_events_by_theirs() -> None:
    packets = [EventPacket(Events.empty(4, 4), TriggerEdges.empty(), k * 100_000) for k in range(20)]
    both = [i for pair in zip(frames(True), packets, strict=True) for i in pair]
    got = list(until(iter(both), 500_000))
    assert sum(isinstance(i, EventPacket) for i in got) == 5
