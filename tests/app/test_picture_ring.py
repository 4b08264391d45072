"""Pictures on their way from the worker that restores to who shows them."""

from __future__ import annotations

import numpy as np
import pytest

from app.picture_reader import VIEWER, PictureReader
from capture.ring import RingLayout, RingMemory, RingRef
from inference import worker
from inference.outcomes import Result
from inference.restorers.picture import picture_of
from inference.worker import PictureWriter
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
