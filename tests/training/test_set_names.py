"""What the names of a data set's files say: order, pairs, missing frames, and files that are none of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from tests.training.made_sets import FRAMES, SIZE, clip, write_set, write_spikes
from training.data.cdvd_tsp import CdvdMaker, CdvdOptions
from training.data.sets.facts import TRUTH, SequenceFacts
from training.data.sets.find import Found, find
from training.data.sets.frame_names import in_a_row, unlike
from training.protocols.pictures import restored
from training.protocols.table import protocol


def video(folder: Path, blur: list[str], sharp: list[str]) -> Path:
    """One video with frames of these names; frame and truth number k are those of the made clip."""
    made = clip(0, frames=max(len(blur), len(sharp), FRAMES))
    for part, names, pictures in (("blur", blur, made.frames), ("gt", sharp, made.truth)):
        (folder / part / "vid").mkdir(parents=True)
        for name, picture in zip(names, pictures, strict=False):
            cv2.imwrite(str(folder / part / "vid" / name), picture[:, :, ::-1])
    return folder


def numbered(numbers: list[int], pattern: str = "{:06d}.png") -> list[str]:
    return [pattern.format(n) for n in numbers]


def without(folder: Path, blur: str, sharp: str) -> Found:
    (folder / "blur/vid" / blur).unlink()
    (folder / "gt/vid" / sharp).unlink()
    (folder / "other").mkdir(exist_ok=True)
    return find([folder, write_set(folder / "other", "frames", train=1, test=0)])


def windows(facts: SequenceFacts) -> list[int]:
    return CdvdMaker(CdvdOptions(crop=16)).items(facts)


def test_unpadded_numbers_are_numbers(tmp_path: Path) -> None:
    names = numbered(list(range(1, 12)), "{}.png")
    (facts,) = find([video(tmp_path / "set", names, names)]).sequences
    reader = facts.reader()
    made = clip(0, frames=11)
    for k in range(11):
        np.testing.assert_array_equal(reader.blurred(k), made.frames[k])
        np.testing.assert_array_equal(reader.truth(k), made.truth[k])


def test_unpadded_keys_of_hdf5_are_numbers(tmp_path: Path) -> None:
    from training.data.sets import hdf5

    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k in range(12):
            file[f"images/image{k}"] = 0
        assert hdf5.keys(file, "images", "image") == [f"image{k}" for k in range(12)]


def test_a_video_that_lost_a_frame_on_each_side_is_left_out(tmp_path: Path) -> None:
    names = numbered(list(range(1, 9)))
    found = without(video(tmp_path / "set", names, names), "000002.png", "000005.png")
    assert [s.name for s in found.sequences] == ["train0"]
    assert found.skipped == [
        "vid: its blurred frame 000003.png would be paired with the sharp one 000002.png; name both alike, and "
        "take away those of which the other is missing"
    ]


def test_a_frame_lost_at_either_end_is_no_pair_of_its_neighbour(tmp_path: Path) -> None:
    names = numbered(list(range(8)))
    found = without(video(tmp_path / "set", names, names), "000000.png", "000007.png")
    assert [s.name for s in found.sequences] == ["train0"]


@pytest.mark.parametrize(
    ("blur", "sharp"),
    [
        ("blur_{:04d}.png", "sharp_{:04d}.png"),
        ("{:04d}.png", "{:04d}_gt.png"),
        ("{:04d}_x4.png", "{:04d}.png"),
        ("{:04d}.png", "{}.jpg"),
    ],
)
def test_names_that_differ_around_their_numbers_are_alike(blur: str, sharp: str) -> None:
    def stems(pattern: str) -> list[str]:
        return [Path(n).stem for n in numbered([3, 4, 5, 12], pattern)]

    assert unlike(stems(blur), stems(sharp)) is None


def test_which_names_are_unlike() -> None:
    assert unlike(["a", "b", "c"], ["x", "y", "z"]) is None  # by place: nothing says otherwise
    assert unlike(["a", "b", "c"], ["a", "c", "d"]) == 1
    assert unlike(["s1_1", "s1_2", "s2_1"], ["s1_1_gt", "s1_2_gt", "s2_1_gt"]) is None
    assert unlike(["1", "2", "3"], ["0", "1", "2"]) == 0
    assert unlike(["7"], ["8"]) == 0
    assert unlike(["7"], ["sharp"]) == 0


def test_where_numbers_say_that_frames_are_missing() -> None:
    def row(*numbers: float) -> tuple[int, ...] | None:
        return in_a_row([f"image{n:09}" for n in numbers])

    assert row(0, 1, 2, 3) is None
    assert row(0, 1, 2, 4, 5) == (0, 1, 3)
    assert row(0, 2, 4, 6) is None  # every second one was kept
    assert row(0, 2, 4, 8, 10) == (0, 1, 3)
    assert row(1_000_021, 1_033_350, 1_066_702, 1_100_031, 1_133_390) is None  # times
    assert row(1, 3) is None
    for hz, unit in ((30, 1e3), (30, 1e6), (120, 1e3), (24, 1e3)):  # times of a regular camera, rounded
        assert row(*(round(k * unit / hz) for k in range(40))) is None
        assert row(*(round(k * unit / hz) for k in range(40) if k != 20)) == (*range(19), *range(20, 38))
    assert in_a_row(["a", "b", "c"]) is None
    assert in_a_row(["a1", "a2", "a3", "b1", "b2"]) is None  # two have one number


def test_no_window_goes_over_a_missing_frame(tmp_path: Path) -> None:
    names = numbered([n for n in range(12) if n != 5])
    found = find([video(tmp_path / "set", names, names)])
    (facts,) = found.sequences
    assert found.skipped == [
        "vid: frames are missing between 000004.png and 000006.png; those beside are no neighbours"
    ]
    assert windows(facts) == [2, 7, 8]
    counted = [o for o in restored(protocol("cdvd-tsp"), "none", facts, "cpu", {}) if not isinstance(o, str)]
    assert [c.name for c in counted] == ["00002-0.5000", "00007-0.5000", "00008-0.5000"]


def test_a_missing_image_widens_no_window(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-h5", train=1, test=0, frames=9)
    with h5py.File(tmp_path / "set/train/train0.h5", "r+") as file:
        for key in file["images"]:
            for name in ("exposure_start", "exposure_end"):
                del file[f"images/{key}"].attrs[name]
    whole = find([tmp_path / "set"]).sequences[0].spans
    with h5py.File(tmp_path / "set/train/train0.h5", "r+") as file:
        for group in ("images", "sharp_images"):
            del file[f"{group}/image000000004"]
    found = find([tmp_path / "set"])
    (facts,) = found.sequences
    assert found.skipped == [
        "train0: frames are missing between image000000003 and image000000005; those beside are no neighbours"
    ]
    kept = whole[:4] + whole[5:]
    assert [k for k in range(8) if facts.spans[k] is None] == [0, 3, 4, 7]
    assert all(facts.spans[k] == kept[k] for k in facts.items)
    assert facts.pair_starts == [1, 5]


@pytest.mark.parametrize("format_", ["efnet-h5", "efnet-scer", "highrev", "msrbd", "frames", "spikes"])
def test_what_macos_leaves_is_no_part_of_a_set(format_: str, tmp_path: Path) -> None:
    data = tmp_path / "set"
    if format_ == "spikes":
        write_spikes(data)
    else:
        write_set(data, format_)
    before = find([data])
    for path in list(data.rglob("*")):
        if path.is_file():
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(200))
    after = find([data])
    assert [s.name for s in after.sequences] == [s.name for s in before.sequences]
    assert after.skipped == before.skipped
    for facts in after.sequences:
        reader = facts.reader()
        for k in facts.items:
            reader.blurred(k)


def test_endings_in_upper_case_are_seen(tmp_path: Path) -> None:
    write_set(tmp_path / "h5", "efnet-h5", train=2, test=0)
    (tmp_path / "h5/train/train1.h5").rename(tmp_path / "h5/train/train1.H5")
    assert [s.name for s in find([tmp_path / "h5"]).sequences] == ["train0", "train1"]
    assert len(find([tmp_path / "h5/train/train1.H5"]).sequences) == 1
    write_set(tmp_path / "pairs", "msrbd", train=1, test=0)
    frames = find([tmp_path / "pairs"]).sequences[0].frames
    for path in (tmp_path / "pairs/train").glob("*.npz"):
        path.rename(path.with_suffix(".NPZ"))
    assert [s.frames for s in find([tmp_path / "pairs"]).sequences] == [frames]


def test_a_frame_that_lacks_event_files_is_no_item(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "highrev", train=1, test=0)
    events = tmp_path / "set/train/event"
    (events / "train0_00002_01.npz").unlink()
    (events / "train0_00004_00.npz").unlink()
    found = find([tmp_path / "set"])
    (facts,) = found.sequences
    assert facts.items == [0, 2, 4, 5]
    assert found.skipped == [
        "train0: 2 of 6 frames left out, whose event files are not all there (the first: train0_00002)"
    ]


def test_event_files_of_a_frame_go_by_their_numbers(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "highrev", train=1, test=0)
    facts = find([tmp_path / "set"]).sequences[0]
    wanted = facts.reader().window(1).events.t
    for k, to in ((1, 9), (0, 8), (2, 10)):
        for path in sorted((tmp_path / "set/train/event").glob(f"*_0{k}.npz")):
            path.rename(path.with_name(path.name.replace(f"_0{k}.npz", f"_{to}.npz")))
    facts = find([tmp_path / "set"]).sequences[0]
    np.testing.assert_array_equal(facts.reader().window(1).events.t, wanted)


def test_sequences_of_two_splits_called_alike(tmp_path: Path) -> None:
    for format_ in ("highrev", "spikes"):
        data = tmp_path / format_
        if format_ == "spikes":
            write_spikes(data, train=1, test=0)
        else:
            write_set(data, format_, train=1, test=0)
        shutil.copytree(data / "train", data / "val")
        names = [s.name for s in find([data]).sequences]
        assert names == [f"{format_}/train/train0", f"{format_}/val/train0"]


@pytest.mark.parametrize("part", ["blur", "gt"])
def test_pictures_of_16_bits_in_the_lower_ones_are_refused(part: str, tmp_path: Path) -> None:
    names = numbered([0, 1, 2, 3, 4])
    data = video(tmp_path / "set", names, names)
    write_set(tmp_path / "other", "frames", train=1, test=0)
    made = clip(0)
    for name, picture in zip(names, made.frames, strict=False):
        wide = (picture[:, :, ::-1].astype(np.uint16) << 4) | 3
        assert wide.max() < 4096
        cv2.imwrite(str(data / part / "vid" / name), wide)
    found = find([data, tmp_path / "other"])
    assert [s.name for s in found.sequences] == ["train0"]
    assert found.skipped[0].startswith("vid: 000000.png has 16 bits and no value above ")
    for name in names[2:3]:  # one that is bright: a scene with dark frames
        cv2.imwrite(str(data / part / "vid" / name), np.full((SIZE, SIZE, 3), 40_000, np.uint16))
    facts = find([data]).sequences[0]
    assert TRUTH in facts.carries
