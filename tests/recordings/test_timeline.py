"""The timeline counts every event where it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recordings import timeline
from recordings.formats.aedat4_container import read_container
from recordings.formats.aedat4_frame_heads import NotSo
from recordings.formats.aedat4_index import event_packets_listed
from recordings.recording import NotARecording
from recordings.sandbox import Sandbox
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import (
    EXPOSURE_US,
    FRAMES,
    PERIOD_US,
    START_US,
    sample_edges,
    sample_events,
    sample_frames,
)


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


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
def test_a_large_one_is_not_read_for_it_where_it_has_an_index(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_aedat4(
        tmp_path / "r.aedat4", sample_events(), sample_frames(), sample_edges(), compression=compression
    )
    exact = timeline.build(path, bins=10)
    monkeypatch.setattr(timeline, "INDEX_BYTES", 0)
    asked: list[str] = []
    real = Sandbox.request
    monkeypatch.setattr(Sandbox, "request", lambda s, verb, **a: asked.append(verb) or real(s, verb, **a))
    got = timeline.build(path, bins=10)
    assert ("items" in asked) == (compression == "ZSTD")  # whose index is packed likewise
    assert got.exposures == exact.exposures
    width_s = (got.end_us - got.start_us + 1) / 1e6 / 10
    assert round(float(got.event_rate_hz.sum() * width_s)) == len(sample_events())
    # Packets of 10 ms.
    assert np.abs(got.event_rate_hz - exact.event_rate_hz).max() < 0.02 * exact.event_rate_hz.max()


def test_an_index_that_lies_is_not_followed(tmp_path: Path) -> None:
    """Whatever stands there: refused, or numbers of events at times in order."""
    path = write_aedat4(tmp_path / "r.aedat4", sample_events(), sample_frames(), compression="NONE")
    whole, container = path.read_bytes(), read_container(path)
    assert container.table is not None
    assert int(event_packets_listed(path, container)[:, 2].sum()) == len(sample_events())
    rng = np.random.default_rng(1)
    for _ in range(400):
        data = bytearray(whole)
        for at in rng.integers(container.table, len(whole), 3):
            data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            rows = event_packets_listed(path, container)
        except NotSo:
            continue
        assert (rows[:, 0] <= rows[:, 1]).all()
        assert (rows[:, 2] >= 0).all()
    path.write_bytes(whole[: container.table + 30])
    with pytest.raises(NotSo):
        event_packets_listed(path, replace(container, size=container.table + 30))


def test_of_a_real_recording(shared_data: Path) -> None:
    got = timeline.build(shared_data / "event" / "davis346_blur_cups.aedat4", bins=100)
    width_s = (got.end_us - got.start_us + 1) / 1e6 / 100
    assert round(float(got.event_rate_hz.sum() * width_s)) == 1_572_110
    assert len(got.exposures) == 18


def test_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        timeline.build(tmp_path / "absent.aedat4")
