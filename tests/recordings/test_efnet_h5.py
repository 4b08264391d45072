"""EFNet's HDF5 files: what was written comes back; representations, objects and links are refused by name."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from recordings.open import open_recording
from recordings.recording import RecordingError
from tests.recordings.make_datasets import (
    EXPOSURE_US,
    FRAMES,
    exposure,
    made_events,
    made_image,
    write_efnet,
)
from tests.recordings.reading import events_and_frames, same_events

SIZE = (64, 48)


@pytest.mark.parametrize("unit", [1e-6, 1.0])
def test_a_sequence_with_exposures_comes_back(tmp_path: Path, unit: float) -> None:
    whole = made_events()
    path = write_efnet(tmp_path / "r.h5", whole, exposures=True, unit=unit)
    if unit == 1.0:  # whole microseconds
        with h5py.File(path, "r+") as f:
            del f["events/ts"]
            f["events/ts"] = whole.t
    with open_recording(path) as r:
        events, frames = events_and_frames(r)
        assert r.info.format == "efnet-h5"
        assert r.frame_times_us() == [exposure(k) for k in range(FRAMES)]
        later, some = events_and_frames(r, exposure(2)[0])
        facts = r.rig_facts()
    assert same_events(events, whole)
    assert all(np.array_equal(f.image, made_image(k, SIZE)) for k, f in enumerate(frames))
    assert np.array_equal(later.t, whole.t[whole.t >= exposure(2)[0]])
    assert [f.sequence for f in some] == [2, 3, 4]
    assert facts is not None
    assert facts.one_sensor


def test_without_exposures_frames_are_shown_and_a_stated_one_lies_around_the_stamp(tmp_path: Path) -> None:
    path = write_efnet(tmp_path / "g.h5", made_events(), exposures=False)
    with open_recording(path) as r:
        assert [e for _, e in r.frame_times_us()] == [None] * FRAMES
    with open_recording(path, exposure_us=EXPOSURE_US) as r:
        assert r.frame_times_us() == [exposure(k) for k in range(FRAMES)]


def test_what_cannot_be_replayed_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as f:
        f["voxels/voxel000000000"] = np.zeros((6, 8, 8), np.float32)
    with pytest.raises(RecordingError, match=r"representations .* and no images"):
        open_recording(path)
    with h5py.File(path, "w") as f:
        f["other"] = np.zeros(3)
    with pytest.raises(RecordingError, match="an HDF5 file with other, which is no layout"):
        open_recording(path)
    write_efnet(path, made_events(), exposures=True)
    with h5py.File(path, "r+") as f:
        del f["events/ps"]
        f.create_dataset("events/ps", data=["x"] * 9000, dtype=h5py.string_dtype())
    with pytest.raises(RecordingError, match="events/ps holds Python objects or text"):
        open_recording(path)
    with h5py.File(path, "r+") as f:
        del f["events/ps"]
        f["events/ps"] = h5py.ExternalLink("/etc/passwd", "/x")
    with pytest.raises(RecordingError, match=r"events/ps|no layout"):
        open_recording(path)


def test_an_absurd_picture_is_left_out_with_the_limit(tmp_path: Path) -> None:
    path = write_efnet(tmp_path / "r.h5", made_events(), exposures=True)
    with h5py.File(path, "r+") as f:
        old = dict(f["images/image000000002"].attrs)
        del f["images/image000000002"]
        d = f.create_dataset("images/image000000002", (1 << 20, 1 << 20, 3), np.uint8, chunks=(8, 8, 3))
        d.attrs.update(old)
    with open_recording(path) as r:
        _, frames = events_and_frames(r)
        assert any("of memory; at most 209.7 MB are read; it was left out" in p for p in r.report.problems)
    assert len(frames) == FRAMES - 1


def test_a_stated_unit_is_believed(tmp_path: Path) -> None:
    """Less than a second of microseconds as fractions looks like seconds."""
    whole = made_events()
    path = write_efnet(tmp_path / "r.h5", whole, exposures=True, unit=1.0)
    with h5py.File(path, "r+") as f:
        del f["events/ts"]
        f["events/ts"] = whole.t.astype(np.float64)
        f.attrs["time_unit"] = "us"
    with open_recording(path) as r:
        events, _ = events_and_frames(r)
        assert not any("does not say the unit" in p for p in r.info.problems)
    assert same_events(events, whole)
