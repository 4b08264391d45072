"""EDI on real DAVIS346 recordings, through the same reader and synchroniser as everything else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from capture.packets import Frame
from inference import models
from inference.engine import Engine
from inference.quality import sharpness
from recordings.open import open_recording
from sync.exposure import AlignedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser


def exposures(path: Path, most: int) -> list[AlignedExposure]:
    """The first aligned exposures of a recording."""
    out: list[AlignedExposure] = []
    with open_recording(path) as recording:
        facts = recording.rig_facts()
        assert facts is not None
        sync = Synchroniser(Rig.from_facts(path.name, facts))
        for item in recording.items():
            if isinstance(item, Frame):
                sync.push_frame(item)
            else:
                sync.push_events(item)
            out += [a for a in sync.take() if isinstance(a, AlignedExposure)]
            if len(out) >= most:
                break
        out += [a for a in sync.finish() if isinstance(a, AlignedExposure)]
    return out[:most]


def test_the_cups_come_out_sharp(shared_data: Path) -> None:
    got = exposures(shared_data / "event" / "davis346_blur_cups.aedat4", 12)
    assert len(got) == 12
    engine = Engine(models.create("edi", got[0].rig, device="cpu"))
    gains, results = [], []
    for a in got:
        (r,) = engine.push(a, [0.5])
        # Median first: single noisy pixels must not pass for sharpness.
        gains.append(
            sharpness(cv2.medianBlur(r.images[0], 3)) / sharpness(cv2.medianBlur(np.array(a.frame.image), 3))
        )
        results.append(r)
        assert "no events: frame passed through" not in r.flags
    assert np.median(gains) > 1.5
    # With this contrast the star on the saucer, a streak in the frame, is a star (looked at: 0.35…0.5).
    assert 0.3 < results[-1].figures["contrast_on"] < 0.55
    assert results[-1].figures["contrast_samples"] == 5


def test_the_street_passes_unharmed(shared_data: Path) -> None:
    got = exposures(shared_data / "event" / "davis346_street.aedat4", 60)
    assert len(got) >= 50
    engine = Engine(models.create("edi", got[0].rig, device="cpu"))
    for a in got:
        (r,) = engine.push(a, [0.5])
        assert a.exposure.duration_us < 1000
        assert np.abs(r.images[0].astype(int) - a.frame.image).mean() < 0.05
