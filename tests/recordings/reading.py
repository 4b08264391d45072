"""Reading a recording through, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from capture.packets import EventPacket, Events, Frame
from recordings.open import open_recording
from recordings.recording import Recording


def events_and_frames(r: Recording, start_us: int | None = None) -> tuple[Events, list[Frame]]:
    """All events in one, and all frames."""
    items = list(r.items(start_us))
    packets = [i for i in items if isinstance(i, EventPacket)]
    assert r.info.event_size is not None
    events = Events.concatenate([p.events for p in packets]) if packets else Events.empty(*r.info.event_size)
    return events, [i for i in items if isinstance(i, Frame)]


def same_events(a: Events, b: Events) -> bool:
    """Equal in every column."""
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in "txyp")


def read_through(path: Path, deadline_s: float = 3.0, **options: Any) -> int:
    """Read everything and check what holds whatever the file holds; returns the number of items."""
    n = 0
    with open_recording(path, deadline_s=deadline_s, **options) as r:
        until = None
        for item in r.items():
            n += 1
            if isinstance(item, EventPacket):
                assert until is None or item.complete_until_us >= until
                assert not len(item.events) or until is None or item.events.t[0] >= until
                until = item.complete_until_us
        assert all("\n" not in p for p in (*r.info.problems, *r.report.problems))
    return n
