"""Small recordings with known contents, written once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.capture.simulated_small import small
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.own_sample import Item, items_of, rig_of_config, write_own
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


@pytest.fixture(scope="session")
def given_items() -> list[Item]:
    """What a small rig of two cameras gave in a second."""
    return items_of(small(paced=False), 1.0)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, given_items: list[Item]) -> Path:
    """A recording of our own of these items; not to be changed."""
    folder = tmp_path_factory.mktemp("own") / "recording"
    write_own(folder, rig_of_config(small(paced=False)), given_items)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """One to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copy"))
