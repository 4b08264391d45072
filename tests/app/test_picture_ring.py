"""Pictures on their way from the worker that restores to who shows them."""

from __future__ import annotations

import numpy as np
import pytest

from app.figures import Figures
from app.picture_reader import VIEWER, PictureReader
from capture.ring import ReaderStats, RingLayout, RingMemory, RingRef
from inference import worker
from inference.outcomes import Result
from inference.restorers.base import Restored
from inference.restorers.picture import picture_of
from inference.worker import PictureWriter
from sync.exposure import Refusal, RefusedExposure
from tests.inference.restorers.rigs import noise_exposure, one_grid


def test_more_events_than_fit_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the lights go on: the picture is what counts."""
    monkeypatch.setattr(worker, "FEWER_EVENTS", 500)
    rig = one_grid(16, 12)
    exposure = noise_exposure(rig, n=20_000)
    memory = RingMemory.create(RingLayout("pictures", 1 << 16, 8, (VIEWER,)))
    ref = RingRef(memory.name, "pictures")
    writer, reader = PictureWriter(ref), PictureReader(ref, rig)
    try:
        writer.publish(Result(exposure, None, "no network", 0))
        picture = reader.poll()
        assert picture is not None
        assert np.array_equal(picture.blurred, picture_of(exposure.frame))
        assert picture.events is not None
        assert 400 <= len(picture.events) <= 500
    finally:
        reader.close()
        writer.close()
        memory.close()


def frames_read(n: int) -> ReaderStats:
    return ReaderStats("restore", 1, n, 0, 0, 0, 0, 0, 0, False)


def test_refused_parts_and_answers_overwritten_are_no_lost_exposures() -> None:
    """The window was held up: of what the ring has lost only restored exposures count, each once."""
    rig = one_grid(16, 12)
    memory = RingMemory.create(RingLayout("pictures", 1 << 17, 8, (VIEWER,)))
    ref = RingRef(memory.name, "pictures")
    writer, reader = PictureWriter(ref), PictureReader(ref, rig)
    exposure = noise_exposure(rig, n=10)
    blurred = picture_of(exposure.frame)
    refused = RefusedExposure(exposure.frame, Refusal.NO_EXPOSURE, "none", 0)

    def restored(instants: int) -> Restored:
        at = tuple(k / instants for k in range(instants))
        return Restored(0, at, (0,) * instants, np.repeat(blurred[None], instants, axis=0), "none")

    try:
        for _ in range(30):
            writer.publish(Result(refused, None, "", 0))
        for _ in range(10):
            writer.publish(Result(exposure, restored(1), "", 0))
        writer.publish(Result(exposure, restored(12), "", 0))  # three parts
        for _ in range(5):
            writer.publish(Result(exposure, restored(1), "", 0, held=True, request=9))
        while reader.poll() is not None:
            pass
        figures = Figures()
        figures.take_report({"incarnation": 0, "stage": {"refused_by": {"no_exposure": 30}}, "sync": {}})
        figures.take_rings(reader, frames_read(41))
        s = figures.status(())
        assert s.losses["ring pictures"] + s.losses["superseded (viewer)"] + s.items_out == 11
        assert s.losses["ring pictures"] > 0
        assert (s.items_in, s.waiting) == (41, 0)
        writer.publish(Result(exposure, restored(1), "", 0))
        assert reader.poll() is not None
        before = s.losses["ring pictures"]
        figures.take_rings(reader, frames_read(42))
        assert figures.status(()).losses["ring pictures"] == before, "nothing more was lost"
    finally:
        reader.close()
        writer.close()
        memory.close()
