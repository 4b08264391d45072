"""A spike camera's data set: what is drawn, read, refused, and measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.errors import UsageError
from inference.representations import spikes
from tests.training.made_sets import CONFIG, SIZE, photo, shots, write_set, write_spikes
from training.data.items import Items
from training.data.s_sdm import Repeated, SdmMaker, SdmOptions
from training.data.sets.facts import EVENTS, SPIKES, TRUTH, Damaged
from training.data.sets.find import Found, find
from training.protocols.run import fitting
from training.protocols.table import protocol
from training.synthesis.spikes import make_shots


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_spikes(tmp_path / "set")


def spike_files(data: Path) -> list[Path]:
    return sorted((data / "train/spike_data/train0").iterdir())


# --- what is drawn --------------------------------------------------------------------------------------------


def test_spikes_are_of_what_the_picture_shows() -> None:
    for shot in shots():
        assert (shot.frames.shape, shot.blurred.shape) == ((137, SIZE // 4, SIZE // 4), (SIZE, SIZE, 3))
        # The long average is the blurred picture's gray, but for phases and one false spike in 140.
        long = shot.frames[spikes.FIRST : spikes.LAST + 1].mean(0)
        gray = spikes.gray(spikes.quarter(shot.blurred[:, :, ::-1].astype(np.float32) / 255))
        assert np.abs(long - gray).mean() < 0.015
        np.testing.assert_allclose(shot.light[spikes.FIRST : spikes.LAST + 1].mean(0), gray, atol=0.005)
        # Light of the centre is the middle sharp picture's, and no other's.
        centre = spikes.gray(spikes.quarter(shot.sharp[2][:, :, ::-1].astype(np.float32) / 255))
        np.testing.assert_allclose(shot.light[spikes.CENTRE], centre, atol=1e-6)
        assert np.abs(shot.sharp[0].astype(int) - shot.sharp[4]).mean() > 1


def test_a_video_is_drawn_again_bit_by_bit_and_goes_on() -> None:
    again = list(make_shots(CONFIG, 2, photo, 4, 7, 0))
    for a, b in zip(again, shots(), strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.blurred, b.blurred)
    # The second exposure begins 104 ticks after the first: 33 ticks of light are in both.
    first, second = again
    np.testing.assert_array_equal(first.light[104:], second.light[:33])
    other = next(make_shots(CONFIG, 2, photo, 4, 7, 1))
    assert not np.array_equal(other.blurred, first.blurred)


# --- what is read ---------------------------------------------------------------------------------------------


def test_a_set_reads_back_bit_by_bit(data: Path) -> None:
    found = find([data])
    assert [(s.name, s.split, s.frames) for s in found.sequences] == [
        ("test0", "test", 2), ("train0", "train", 2), ("train1", "train", 2),
    ]  # fmt: skip
    facts = found.sequences[1]
    assert facts.carries == {SPIKES, TRUTH}
    reader = facts.reader()
    for k, shot in enumerate(shots()):
        np.testing.assert_array_equal(reader.spikes(k), shot.frames)
        np.testing.assert_array_equal(reader.blurred(k), shot.blurred)
        np.testing.assert_array_equal(reader.truth(k), shot.sharp[2])
    with pytest.raises(Damaged, match=f"spikes holds no {EVENTS}"):
        reader.window(0)


def test_real_data_have_no_splits_no_truth_and_may_be_npz(data: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    shutil.copytree(data / "train", real)
    shutil.rmtree(real / "sharp_data")
    for path in real.rglob("*.dat"):
        np.savez_compressed(path.with_suffix(".npz"), spk=spikes.read_dat(path.read_bytes(), 8, 8).astype(bool))
        path.unlink()
    (facts, _) = find([real]).sequences
    assert facts.carries == {SPIKES}
    np.testing.assert_array_equal(facts.reader().spikes(1), shots()[1].frames)
    sample = SdmMaker(SdmOptions(crop=32), pictured=True).middle(facts.reader(), facts, 0)
    assert set(sample) == {"spikes", "image"}
    with pytest.raises(UsageError, match="no sharp pictures"):
        fitting(protocol("s-sdm"), find([real]))


def test_picture_and_spikes_are_cut_at_one_place(data: Path) -> None:
    facts = find([data]).sequences[1]
    reader, shot = facts.reader(), shots()[0]
    maker = SdmMaker(SdmOptions(crop=32, augmentation="turns"), pictured=True)
    gray = spikes.gray(spikes.quarter(shot.blurred[:, :, ::-1].astype(np.float32) / 255))
    for k in range(8):
        sample = maker.make(reader, facts, 0, np.random.default_rng(k))
        own = np.moveaxis(sample["image"], 0, 2).astype(np.float32) / 255
        turned = spikes.gray(spikes.quarter(own))
        long = sample["spikes"][spikes.FIRST : spikes.LAST + 1].mean(0)
        assert np.abs(long - turned).mean() < 0.02
    part = SdmMaker(SdmOptions(crop=32), pictured=True)
    part.options = SdmOptions.model_construct(crop=16, augmentation="none")
    seen = [part.make(reader, facts, 0, np.random.default_rng(k)) for k in range(6)]
    for sample in seen:
        image = np.moveaxis(sample["image"], 0, 2).astype(np.float32) / 255
        places = [
            (y, x) for y in range(5) for x in range(5)
            if np.allclose(gray[y : y + 4, x : x + 4], spikes.gray(spikes.quarter(image)), atol=1e-6)
        ]  # fmt: skip
        (y, x), *_ = places
        np.testing.assert_array_equal(sample["spikes"], shot.frames[:, y : y + 4, x : x + 4])
    assert len({s["image"].tobytes() for s in seen}) > 1


def test_each_batch_comes_once_for_each_instant(data: Path) -> None:
    train = [s for s in find([data]).sequences if s.split == "train"]
    items = Items(train, SdmMaker(SdmOptions(crop=32), pictured=False), 3)
    repeated = Repeated(items, 2, 5)
    for index in range(20):
        block, turn = divmod(index // 2, 5)
        sample = repeated[index]
        assert sample["turn"] == turn
        np.testing.assert_array_equal(sample["spikes"], items[block * 2 + index % 2]["spikes"])
    assert repeated.fingerprint() != Repeated(items, 4, 5).fingerprint()


# --- what is refused ------------------------------------------------------------------------------------------


def skipped(data: Path) -> tuple[Found, str]:
    found = find([data])
    (line,) = found.skipped
    assert "\n" not in line
    assert [s.name for s in found.sequences] == ["test0", "train1"]
    return found, line


def test_pictures_of_two_sizes_are_no_sequence(data: Path) -> None:
    path = data / "train/blur_data/train0/000032.png"
    cv2.imwrite(str(path), np.zeros((SIZE, SIZE + 4, 3), np.uint8))
    assert f"blur_data/000032.png is {SIZE + 4}×{SIZE}, 000019.png {SIZE}×{SIZE}" in skipped(data)[1]


def test_spikes_without_their_picture_are_named(data: Path) -> None:
    (data / "train/blur_data/train0/000032.png").unlink()
    assert "blur_data has no picture train0/000032.png" in skipped(data)[1]


def test_spikes_of_another_size_are_named(data: Path) -> None:
    for path in spike_files(data):
        path.write_bytes(path.read_bytes()[:-8])
    assert "none of its 2 spike files can be used: 000019.dat has 1088 bytes; 137 spike" in skipped(data)[1]


def test_sides_that_are_no_multiples_of_4_are_refused(data: Path) -> None:
    for path in (data / "train").rglob("train0/*.png"):
        cv2.imwrite(str(path), np.zeros((SIZE, SIZE + 2, 3), np.uint8))
    assert "both sides must be multiples of 4" in skipped(data)[1]


@pytest.mark.parametrize("fault", ["cut off", "too long", "no archive", "other size"])
def test_a_damaged_file_in_the_middle_is_named_and_replaced(
    data: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spike_files(data)[1]
    good = path.read_bytes()
    if fault in ("cut off", "too long"):
        path.write_bytes(good[:500] if fault == "cut off" else good + bytes(8))
    else:
        path.unlink()
        path = path.with_suffix(".npz")
        if fault == "no archive":
            path.write_bytes(b"PK\x03\x04 and nothing that follows")
        else:
            np.savez(path, spikes=np.zeros((137, 8, 4), np.uint8))
    found = find([data])
    assert not found.skipped
    train = [s for s in found.sequences if s.name == "train0"]
    items = Items(train, SdmMaker(SdmOptions(crop=32), pictured=True), 0)
    samples = [items[k] for k in range(4)]
    assert sorted(float(s["replaced"]) for s in samples) == [0, 0, 1, 1]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("skipped: train0 frame 1 (spikes):")


def test_a_protocol_that_does_not_fit_spikes(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"protocol gem does not fit .* no sharp pictures with times and no events"
    ):
        fitting(protocol("gem"), find([data]))
    shutil.rmtree(data / "test")
    (data / "test").mkdir()
    with pytest.raises(UsageError, match=r"the test split of .* is empty"):
        fitting(protocol("s-sdm"), find([data]))
    with pytest.raises(UsageError, match=f"no {EVENTS}"):
        fitting(protocol("s-sdm"), find([write_set(tmp_path / "videos", "frames", train=0)]))
