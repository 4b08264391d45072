"""The timeline counts every event where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recordings import timeline
from recordings.recording import NotARecording
from tests.recordings.sample import EXPOSURE_US, FRAMES, PERIOD_US, START_US, sample_events


def test_rates_and_exposures(sample: Path) -> None:
    shares: list[float] = []
    got = timeline.build(sample, bins=50, progress=shares.append)
    t = sample_events().t
    assert (got.start_us, got.end_us) == (int(t[0]), int(t[-1]))
    span = got.end_us - got.start_us + 1
    expected = np.histogram((t - got.start_us) * 50 // span, np.arange(51))[0]
    assert np.array_equal(got.event_rate_hz, expected * (50 * 1e6 / span))
    assert got.event_rate_hz[25] == 0  # the pause
    starts = [START_US + 20_000 + k * PERIOD_US for k in range(FRAMES)]
    assert got.exposures == [(s, s + EXPOSURE_US) for s in starts]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_of_a_real_recording(shared_data: Path) -> None:
    got = timeline.build(shared_data / "event" / "davis346_blur_cups.aedat4", bins=100)
    width_s = (got.end_us - got.start_us + 1) / 1e6 / 100
    assert round(float(got.event_rate_hz.sum() * width_s)) == 1_572_110
    assert len(got.exposures) == 18


def test_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        timeline.build(tmp_path / "absent.aedat4")
