"""A stream that ended before the recording did: from the pace of its own arrivals."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capture.packets import EventPacket, Frame
from recordings.checking.findings import Verification
from recordings.checking.verify_own import verify_own
from recordings.formats.own_chunks import draft
from recordings.open import open_recording
from recordings.recorder.stream_ends import StreamEnds
from recordings.recorder.take import Limits, Take
from tests.recordings.own_sample import about_of
from tests.recordings.test_recorder_counts import RIG, frame, packet

S = 10**9


def heard(*at_s: float, gap_at: float | None = None) -> StreamEnds:
    ends = StreamEnds()
    for s in at_s:
        ends.heard("frames", round(s * S), after_gap=s == gap_at)
    return ends


@pytest.mark.parametrize(
    ("came", "now_s", "silent"),
    [
        ((10, 10.1, 10.2), 11.1, {}),  # less than a second
        ((10, 10.1, 10.2), 13.7, {"frames": 3.5}),
        ((10, 14, 18), 29, {}),  # a slow camera, or one that waits for its trigger
        ((10, 14, 18), 31, {"frames": 13.0}),
        ((10,), 14, {}),  # nobody knows its pace
        ((10,), 16, {"frames": 6.0}),
        ((0, 0), 16, {}),  # arrivals that are not known
        ((), 16, {}),
    ],
)
def test_silence_is_judged_by_the_pace_of_before(
    came: tuple[float, ...], now_s: float, silent: dict[str, float]
) -> None:
    assert heard(*came).silent_s(round(now_s * S)) == silent


def test_an_interruption_is_no_pace() -> None:
    assert heard(10, 10.1, 40, 40.1, gap_at=40).silent_s(45 * S) == {"frames": 4.9}


def made(folder: Path, items: list[tuple[float, EventPacket | Frame]], limits: Limits) -> dict[str, Any]:
    """A recording of items with the seconds since which they are there."""
    take = Take(folder, about_of(RIG), limits)
    now = time.monotonic_ns()
    for age_s, item in items:
        item = replace(item, host_ns=now - round(age_s * S))
        take.add(item, draft(item, take.watermark_us), 0)
    return take.finish()


def packets(until_s: float) -> list[tuple[float, EventPacket | Frame]]:
    """Four seconds of them, a tenth of a second each, up to so long ago."""
    return [(4 - k / 10, packet(100_000 * (k + 1), (100_000 * k,))) for k in range(round(10 * (4 - until_s)))]


def frames(until_s: float) -> list[tuple[float, EventPacket | Frame]]:
    return [(4 - k / 10, frame(k, 100_000 * k)) for k in range(round(10 * (4 - until_s)))]


@pytest.mark.parametrize(("events_s", "frames_s", "silent"), [(0, 3, "frames"), (3, 0, "events"), (0, 0, "")])
def test_a_camera_that_does_not_come_back_is_in_health_info_and_verify(
    tmp_path: Path, events_s: float, frames_s: float, silent: str
) -> None:
    items = sorted([*packets(events_s), *frames(frames_s)], key=lambda i: -i[0])
    health = made(tmp_path / "r", items, Limits(reserve=0))
    assert list(health["silent_s"]) == ([silent] if silent else [])
    with open_recording(tmp_path / "r") as r:
        said = [p for p in r.info.problems if "before the recording ended" in p]
    v = Verification(str(tmp_path / "r"))
    list(verify_own(tmp_path / "r", v))
    found = [f for f in v.findings if "before the recording ended" in str(f)]
    assert len(said) == len(found) == bool(silent)
    assert all(p.startswith(f"{silent} stopped 3.") for p in said)


def test_frames_that_were_counted_off_are_no_camera_that_went_away(tmp_path: Path) -> None:
    """The recorder waits for the events behind the last one, perhaps for seconds."""
    items = sorted([*packets(0), *frames(3)], key=lambda i: -i[0])
    assert made(tmp_path / "r", items, Limits(frames=5, reserve=0))["silent_s"] == {}
