"""Small recordings with known contents, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_edges, sample_events, sample_frames


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events with a pause, ten frames and their edges: 1 s."""
    path = tmp_path_factory.mktemp("sample") / "sample.aedat4"
    return write_aedat4(path, sample_events(), sample_frames(), sample_edges())


@pytest.fixture(scope="session")
def events_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No frame stream."""
    return write_aedat4(tmp_path_factory.mktemp("sample") / "events.aedat4", sample_events())


@pytest.fixture(scope="session")
def frames_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No event stream."""
    return write_aedat4(tmp_path_factory.mktemp("sample") / "frames.aedat4", frames=sample_frames())
