"""A restore worker that was held up for seconds: what waits in both rings is read as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from capture import codec
from capture.link import WorkerLink
from capture.packets import Frame
from capture.ring import RingLayout, RingMemory, RingRef, RingWriter
from capture.simulated.rig import SimulatedRig
from inference.worker import READER, RestoreWorkerSpec, _RestoreWorker
from sync.rig import Rig
from tests.capture.fake_link import FakeLink
from tests.capture.simulated_small import small

SECONDS = 3.0


@pytest.fixture
def rings() -> Iterator[tuple[RingRef, RingRef, RingRef]]:
    made = [
        RingMemory.create(RingLayout("events", 64 << 20, 4096, (READER,))),
        RingMemory.create(RingLayout("frames", 64 << 20, 256, (READER,))),
        RingMemory.create(RingLayout("pictures", 64 << 20, 64, ("viewer",))),
    ]
    refs = [RingRef(m.name, m.label) for m in made]
    yield refs[0], refs[1], refs[2]
    for m in made:
        m.close()


def test_frames_do_not_run_ahead_of_their_events(rings: tuple[RingRef, RingRef, RingRef]) -> None:
    """64 packets are a third of a second here, 64 frames two and a half: read in turn, events came too late."""
    config = small(paced=False)
    simulated = SimulatedRig(config)
    writers = RingWriter(rings[0]), RingWriter(rings[1])
    frames = 0
    for item in simulated.items(SECONDS):
        frames += isinstance(item, Frame)
        # The camera workers write as it comes; nobody reads yet.
        writers[isinstance(item, Frame)].write(*codec.encode(item))
    for w in writers:
        w.close()
    spec = RestoreWorkerSpec(Rig.from_facts("sim", simulated.facts()), "none", *rings)
    worker: list[_RestoreWorker] = []

    def each(link: FakeLink) -> None:
        link.stopping = worker[0].stage.sync.counters.frames_in >= frames and not waiting(worker[0])

    link = FakeLink(each)
    worker.append(_RestoreWorker(cast(WorkerLink, link), spec))
    worker[0].run()
    c = worker[0].stage.sync.counters
    assert c.frames_in == frames > 70
    assert c.frames_lapped == 0
    assert sum(c.refused.values()) == 0, c.refused
    # The last one's events may still be under way.
    assert c.aligned >= frames - 2


def waiting(worker: Any) -> int:
    return int(worker._events.waiting)
