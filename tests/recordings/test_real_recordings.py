"""Real recordings: every item arrives, at the right time, in the right order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameClock
from recordings.open import open_recording, require_events, require_frames
from recordings.recording import Recording, RecordingError

CASES = {
    "davis346_blur_cups.aedat4": (1_572_110, 18, 104_000, (346, 260), {"camera_marks": 36}),
    "davis346_street.aedat4": (78_830, 59, 500, (346, 260), {"camera_marks": 236, "imu": 2363}),
    "dvxplorer_320x240.aedat4": (111_954, 0, None, (320, 240), {"imu": 475}),
}


def read(r: Recording, start_us: int | None = None) -> tuple[list[EventPacket], list[Frame]]:
    """All items, with the promises of `Recording.items` checked on the way."""
    packets: list[EventPacket] = []
    frames: list[Frame] = []
    until: int | None = None
    for item in r.items(start_us):
        if isinstance(item, EventPacket):
            if until is not None:
                assert item.complete_until_us > until
                assert not len(item.events) or item.events.t[0] >= until
                assert not len(item.triggers) or item.triggers.t[0] >= until
            assert not len(item.events) or item.events.t[-1] < item.complete_until_us
            until = item.complete_until_us
            packets.append(item)
        else:
            # Given exactly at the end of its exposure, behind a packet that is cut there if events have begun.
            assert until is None or item.device_end_ns == until * 1000
            frames.append(item)
    return packets, frames


@pytest.mark.parametrize("name", CASES)
def test_every_item_of_a_real_recording_arrives(shared_data: Path, name: str) -> None:
    n_events, n_frames, exposure, size, ignored = CASES[name]
    with open_recording(shared_data / "event" / name) as r:
        assert r.info.event_size == size
        assert r.info.image_size == (size if n_frames else None)
        assert r.info.problems == ()
        packets, frames = read(r)
        assert sum(len(p.events) for p in packets) == r.report.events == n_events
        assert len(frames) == r.report.frames == n_frames
        assert r.report.ignored == ignored
        assert r.report.problems == []
        assert [f.sequence for f in frames] == list(range(n_frames))
        # Both stamps of the cups' source are rounded to a microsecond, so lengths differ by one.
        assert all(abs(int(f.exposure_ns or 0) // 1000 - int(exposure or 0)) <= 1 for f in frames)
        assert all(f.clock is FrameClock.EVENT and f.image.shape == size[::-1] for f in frames)
        assert [(f.device_start_ns // 1000, f.device_end_ns // 1000) for f in frames] == r.frame_times_us()
        t = np.concatenate([p.events.t for p in packets])
        assert r.info.start_us <= t[0]
        assert t[-1] <= r.info.end_us
        facts = r.rig_facts()
        assert (facts is None) == (n_frames == 0)
        assert facts is None or (facts.one_sensor and np.array_equal(facts.image_from_event, np.eye(3)))


def test_reading_from_the_middle_gives_the_rest_of_a_whole_read(shared_data: Path) -> None:
    with open_recording(shared_data / "event" / "davis346_blur_cups.aedat4") as r:
        packets, frames = read(r)
        start = int(frames[9].device_start_ns) // 1000
        late_packets, late_frames = read(r, start)
    assert [f.sequence for f in late_frames] == list(range(9, 18))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames[9:], late_frames, strict=True))
    whole = Events.concatenate([p.events for p in packets]).between(start, 1 << 62)
    late = Events.concatenate([p.events for p in late_packets])
    assert all(np.array_equal(getattr(whole, k), getattr(late, k)) for k in "txyp")
    # After the first, cut one, the packets themselves are the same.
    ends = [p.complete_until_us for p in packets if p.complete_until_us > start]
    assert [p.complete_until_us for p in late_packets] == ends


def test_a_recording_without_frames_says_so(shared_data: Path) -> None:
    with open_recording(shared_data / "event" / "dvxplorer_320x240.aedat4") as r:
        assert require_events(r) is r
        with pytest.raises(RecordingError, match="has no frames, only events of DVXplorer"):
            require_frames(r)
