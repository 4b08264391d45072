"""Events of an AEDAT4 file as dv-processing gives them: stores, a text where a packet cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dv_processing as dv

from recordings.formats.aedat4_library import MAX_FAILURES, marked, robust
from recordings.formats.aedat4_stages import Stage
from recordings.sandbox_child import mark, one_line

# A file's packets are small: so many events, or so long a time of them, go over in one message.
GATHERED_EVENTS, GATHERED_US = 100_000, 100_000
# Windows of random access aim at this many events.
EVENTS_PER_WINDOW = 200_000
WINDOW_MIN_US, _WINDOW_MAX_US = 20_000, 2_000_000


def library_events(r: Any, stream: str | None, start_us: int | None, *, careful: bool) -> Iterator[Any]:
    """Stores of events from `start_us` (None: the start) on, small ones joined.

    Args:
        r: an open `MonoCameraRecording`.
        careful: in small steps, nothing joined, so that little is lost where reading breaks.
    """
    yield from _gathered(_found(r, stream, start_us, careful), careful)


def _gathered(found: Iterator[Any], careful: bool) -> Iterator[Any]:
    """Stores of events, small ones joined; not when careful: less is lost with this process then."""
    held = dv.EventStore()
    for e in found:
        if careful or isinstance(e, str):
            if held.size():
                yield held
                held = dv.EventStore()
            yield e
            continue
        try:
            held.add(e)
        except Exception:  # it runs back in time: who takes it counts that
            if held.size():
                yield held
            held = dv.EventStore()
            yield e
            continue
        if held.size() >= GATHERED_EVENTS or held.getHighestTime() - held.getLowestTime() >= GATHERED_US:
            yield held
            held = dv.EventStore()
    if held.size():
        yield held


def _found(r: Any, stream: str | None, start_us: int | None, careful: bool) -> Iterator[Any]:
    """Stores of events: packet by packet from the start, else in windows that follow the event rate."""
    if start_us is None:
        yield from robust(marked(Stage.EVENTS, lambda: r.getNextEventBatch(stream)))
        return
    at, width, end = start_us, WINDOW_MIN_US, int(r.getTimeRange()[1]) + 1
    failures = 0
    while at < end and failures < MAX_FAILURES:
        mark(Stage.EVENTS)
        try:
            e = r.getEventsTimeRange(at, at + width, stream)
        except Exception as error:
            if width > WINDOW_MIN_US:
                width = WINDOW_MIN_US  # lose no more than needed: again in small steps
                continue
            failures += 1
            yield one_line(error)
            at += width
            continue
        failures = 0
        at += width
        n = 0 if e is None else int(e.size())
        if n:
            yield e
            widest = WINDOW_MIN_US if careful else _WINDOW_MAX_US
            width = min(max(width * EVENTS_PER_WINDOW // n, WINDOW_MIN_US), widest)
        else:
            width = min(2 * width, 1 << 55)  # a pause, however long, costs few steps
