"""The recording that every test here exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_edges, sample_events, sample_frames


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sensor, ten coloured frames with exposures, trigger edges, times since 1970."""
    path = tmp_path_factory.mktemp("in") / "cups.aedat4"
    return write_aedat4(path, sample_events(), sample_frames(colour=True), sample_edges())
