"""The survey of a recording: its peak is found by the windows that hold events, however far they lie apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from app.missing_events import MissingEvents
from capture.packets import EventPacket, Events, TriggerEdges
from recordings.recording import ReadReport, RecordingInfo
from recordings.survey import survey

FAR_US = 1 << 44


class Given:
    """A recording of given packets."""

    def __init__(self, times: list[list[int]]) -> None:
        self.report = ReadReport()
        last = times[-1][-1]
        self.info = RecordingInfo(Path("x"), "f", "", (10, 10), None, False, 0, last, 0, 1)
        self._times = times

    def items(self, start_us: int | None = None) -> list[EventPacket]:
        packets = []
        for row in self._times:
            t = np.array(row, np.int64)
            z = np.zeros(len(t), np.uint16)
            events = Events(t, z, z, np.ones(len(t), bool), 10, 10)
            packets.append(EventPacket(events, TriggerEdges.empty(), row[-1] + 1))
        return packets


def found(*times: list[int]) -> tuple[int, int]:
    s = survey(Given(list(times)))  # type: ignore[arg-type]
    return s.peak.events, s.peak.at_us


def test_the_busiest_window_may_span_packets() -> None:
    assert found([5, 9_000, 12_000], [13_000, 14_000, 31_000]) == (3, 10_000)
    assert found([25_000, 25_001], [40_000]) == (2, 20_000)


def test_one_wild_time_costs_no_memory() -> None:
    assert found([1, 2, 15_000, FAR_US]) == (2, 0)
    assert found([1, FAR_US], [FAR_US + 1, FAR_US + 2]) == (3, FAR_US // 10_000 * 10_000)


def test_what_the_camera_dropped_is_a_place_where_events_are_missing() -> None:
    given = Given([[5], [15], [25]])
    packets = given.items()
    marked = [packets[0], replace(packets[1], dropped=5000), replace(packets[2], dropped=3)]
    given.items = lambda start_us=None: marked  # type: ignore[method-assign]
    assert survey(given).gaps == 2  # type: ignore[arg-type]
    missing = MissingEvents()
    for p in marked:
        missing.packet(p, None, 0, None)
    assert (missing.gaps, missing.first_us) == (2, 15)
