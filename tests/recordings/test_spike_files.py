"""Spike cameras' files: the spikes come back bit by bit; pictures are drawn and say so; sizes are asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.packets import Frame, FrameKind
from inference.representations.spikes import read_dat, to_dat
from recordings.formats.dataset import DatasetRecording
from recordings.formats.spike_files import DRAWN, PERIOD_US
from recordings.open import open_recording
from recordings.recording import NotARecording, Recording, RecordingError
from tests.recordings.make_datasets import made_events, rewritten, write_efnet

SIZE = (24, 16)


def made_spikes(n: int = 137) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.random((n, SIZE[1], SIZE[0])) < np.linspace(0, 1, SIZE[0])).astype(np.uint8)


def write(folder: Path, kind: str, spikes: np.ndarray) -> Path:
    path = folder / f"s.{kind}"
    if kind == "dat":
        path.write_bytes(to_dat(spikes))
    else:
        np.savez_compressed(path, spk=spikes.astype(bool), label=3, label_name=np.array(["x"], object))
    return path


def spikes_of(r: Recording, first: int = 0, count: int = 1 << 40) -> np.ndarray:
    assert isinstance(r, DatasetRecording)
    return np.concatenate(list(r.spikes(first, count)))


@pytest.mark.parametrize("kind", ["dat", "npz"])
def test_spikes_and_drawn_pictures(tmp_path: Path, kind: str) -> None:
    spikes = made_spikes()
    with open_recording(write(tmp_path, kind, spikes), geometry=SIZE) as r:
        assert (r.info.format, r.info.event_size, r.info.image_size) == (f"spikes-{kind}", None, SIZE)
        assert np.array_equal(spikes_of(r), spikes)
        assert np.array_equal(spikes_of(r, 90, 30), spikes[90:120])
        frames = [i for i in r.items() if isinstance(i, Frame)]
        later = [i for i in r.items(2 * DRAWN * PERIOD_US) if isinstance(i, Frame)]
        assert any("137 frames of spikes, not events" in p for p in r.info.problems)
        assert any("no clock: a spike frame counts as 50 µs" in p for p in r.info.problems)
    assert [f.kind for f in frames] == [FrameKind.ACCUMULATOR] * 3
    assert [f.sequence for f in later] == [2]
    for k, f in enumerate(frames):
        expected = np.rint(spikes[k * DRAWN : (k + 1) * DRAWN].mean(0) * 255).astype(np.uint8)
        assert np.array_equal(f.image, expected)


def test_a_stated_exposure_does_not_make_a_drawn_picture_an_exposed_one(tmp_path: Path) -> None:
    with open_recording(write(tmp_path, "npz", made_spikes()), exposure_us=500) as r:
        assert {e for _, e in r.frame_times_us()} == {None}


def test_the_size_is_asked_for_and_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "dat", made_spikes())
    with pytest.raises(
        RecordingError, match="has no header: if it is a spike camera's, state the sensor's size"
    ):
        open_recording(path)
    with pytest.raises(RecordingError, match=r"no whole spike frames of 25×16 \(50 bytes each, 26 over\)"):
        open_recording(path, geometry=(25, 16))
    with pytest.raises(RecordingError, match="must be a multiple of 8"):
        open_recording(path, geometry=(5, 5))
    np.savez(tmp_path / "s.npz", spk=np.zeros((4, 4), np.uint8))
    with pytest.raises(RecordingError, match=r"expected \(T, h, w\) of 0 and 1"):
        open_recording(tmp_path / "s.npz")
    (tmp_path / "e.dat").write_bytes(b"")
    with pytest.raises(NotARecording, match="is empty"):
        open_recording(tmp_path / "e.dat")


def test_other_recordings_have_no_spikes(tmp_path: Path) -> None:
    path = write_efnet(tmp_path / "r.h5", made_events(), exposures=True)
    with open_recording(path) as r, pytest.raises(RecordingError, match="is no recording of a spike camera"):
        spikes_of(r)


def test_the_real_files(shared_data: Path) -> None:
    folder = shared_data / "spike"
    path = folder / "200_part1_key_id151.dat"
    with open_recording(path, geometry=(400, 250)) as r:
        spikes = spikes_of(r)
        assert np.array_equal(spikes, read_dat(path.read_bytes(), 250, 400))
        frames = [i for i in r.items() if isinstance(i, Frame)]
    truth = cv2.imread(str(folder / "200_part1_key_id151.png"), cv2.IMREAD_GRAYSCALE)
    assert truth is not None
    # The sharp picture is that of spike frames 145 to 160: the fourth drawn picture holds frames 120 to 159.
    assert np.corrcoef(frames[3].image.ravel(), truth.ravel())[0, 1] > 0.9
    with open_recording(folder / "uhsr_helicopter.npz") as r:
        assert spikes_of(r).shape == (200, 250, 250)
        assert spikes_of(r).mean() == pytest.approx(0.031, abs=0.001)


def test_absurd_shapes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "npz", made_spikes())
    head = b"\x93NUMPY\x01\x00"
    for shape, text in (
        ("(1099511627776, 16, 24)", "at most 40000000 are read"),
        ("(1000000, 1600, 2400)", "declares 3,840,000.0 MB and 100 bytes are there"),
        ("(4, 99999, 99999)", "height of 99999 pixels"),
    ):
        told = f"{{'descr': '|b1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
        rewritten(path, tmp_path / "bad.npz", spk=head + len(told).to_bytes(2, "little") + told + bytes(100))
        with pytest.raises(RecordingError, match=text), open_recording(tmp_path / "bad.npz") as r:
            list(r.items())
            raise RecordingError(" ".join(r.report.problems))
