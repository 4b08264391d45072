"""Real recordings of a DAVIS346 through the synchroniser: exposures on the event clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.packets import EventPacket, Events
from recordings.open import open_recording
from sync.exposure import AlignedExposure, ExposureSource, RefusedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser


@pytest.mark.parametrize(
    ("name", "length_us", "frames", "restorable"),
    [("davis346_blur_cups", 104_000, 18, 18), ("davis346_street", 500, 59, 58)],
)
def test_every_frame_gets_its_own_events(
    shared_data: Path, name: str, length_us: int, frames: int, restorable: int
) -> None:
    whole: list[Events] = []
    with open_recording(shared_data / "event" / f"{name}.aedat4") as recording:
        facts = recording.rig_facts()
        assert facts is not None
        y = Synchroniser(Rig.from_facts(name, facts))
        out = []
        for item in recording.items():
            if isinstance(item, EventPacket):
                y.push_events(item)
                whole.append(item.events)
            else:
                y.push_frame(item)
            out += y.take()
        out += y.finish()
    assert [o.ordinal for o in out] == list(range(frames))
    good = [o for o in out if isinstance(o, AlignedExposure)]
    assert len(good) == restorable
    # The street's first frame was exposed before its first event.
    assert [o.ordinal for o in out if isinstance(o, RefusedExposure)] == [0][: frames - restorable]
    all_events = Events.concatenate(whole)
    for o in good:
        assert o.exposure.source is ExposureSource.CHUNK
        assert abs(o.exposure.duration_us - length_us) <= 2
        assert o.complete
        want = all_events.between(o.exposure.start_us, o.exposure.end_us)
        assert o.events.t.tolist() == want.t.tolist()
        assert o.events.x.tolist() == want.x.tolist()
