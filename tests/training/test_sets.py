"""Data sets with truth: every layout read back, and what is wrong with them told by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch

from capture.errors import UsageError
from inference import models
from inference.representations import scer_numba
from inference.representations.coding import Mode
from inference.representations.normalise import by_maximum
from inference.representations.scer import published_bounds
from inference.restorers.sc_net import ScNetRestorer
from tests.training.made_sets import FRAMES, SIZE, clip, in_seconds, write_set
from training import recipe as recipes
from training import tasks
from training.data.cdvd_tsp import CdvdMaker, CdvdOptions
from training.data.efnet import EfnetMaker, EfnetOptions, represented
from training.data.items import FixedItems, Items
from training.data.loader import collate
from training.data.sc_net import ScNetMaker, ScNetOptions
from training.data.sets import highrev
from training.data.sets.facts import EVENTS, EXPOSURE, STREAM, TRUTH, Damaged, SequenceFacts
from training.data.sets.find import TEST, TRAIN, find
from training.errors import TrainingError
from training.protocols.pictures import exposures
from training.tasks.supervised import divided, usable

FORMATS = ("efnet-h5", "efnet-scer", "highrev", "msrbd", "frames")
EFNET = EfnetMaker(EfnetOptions(crop=16, mode=Mode.RELATIVE))


def one(path: Path, split: str = TRAIN) -> SequenceFacts:
    return next(s for s in find([path]).sequences if s.split == split)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_layout_gives_back_what_was_written(format_: str, tmp_path: Path) -> None:
    write_set(tmp_path / "set", format_, instants=3 if format_ == "msrbd" else 0)
    found = find([tmp_path / "set"])
    assert not found.skipped
    assert {s.format for s in found.sequences} == {format_}
    assert [s.split for s in found.sequences].count(TEST) == 1
    facts, made = one(tmp_path / "set"), clip(0, instants=3 if format_ == "msrbd" else 0)
    assert (facts.size, facts.frames) == ((SIZE, SIZE), FRAMES)
    reader = facts.reader()
    for k in range(FRAMES):
        np.testing.assert_array_equal(reader.blurred(k), made.frames[k])
        np.testing.assert_array_equal(reader.truth(k), made.truth[k])
    if format_ in ("efnet-h5", "msrbd", "highrev"):
        for k in (0, FRAMES - 1):
            window, inside = reader.window(k), made.events.between(*made.exposures[k])
            for name in "txyp":
                np.testing.assert_array_equal(getattr(window.events, name), getattr(inside, name))
    if format_ == "efnet-scer":
        grid, mask = reader.stored(2)
        np.testing.assert_array_equal(
            grid, scer_numba.scer(made.events, *made.exposures[2], mode=Mode.RELATIVE)
        )
        assert mask is not None
        np.testing.assert_array_equal(mask[0] != 0, np.asarray(EFNET.whole(reader, facts, 2)["mask"])[0] != 0)
    if STREAM in facts.carries:
        a, b = made.exposures[1][1], made.exposures[2][0]
        np.testing.assert_array_equal(reader.between(a, b).t, made.events.between(a, b).t)


def test_times_in_seconds_are_times(tmp_path: Path) -> None:
    """HighREV does not state the unit."""
    write_set(tmp_path / "set", "highrev")
    in_seconds(tmp_path / "set")
    reader, made = one(tmp_path / "set").reader(), clip(0)
    for k in (0, FRAMES - 1):
        np.testing.assert_array_equal(reader.window(k).events.t, made.events.between(*made.exposures[k]).t)


def test_a_damaged_event_file_costs_its_own_frame_alone(tmp_path: Path) -> None:
    """HighREV's unit is told by a file of another frame, if need be."""
    write_set(tmp_path / "set", "highrev")
    events = sorted((tmp_path / "set").rglob("event/train0_*.npz"))
    events[0].write_bytes(b"no archive")
    reader, made = one(tmp_path / "set").reader(), clip(0)
    with pytest.raises(Damaged, match=f"frame 0 .*{events[0].name}"):
        reader.window(0)
    np.testing.assert_array_equal(reader.window(1).events.t, made.events.between(*made.exposures[1]).t)


def test_the_folder_of_all_event_files_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HighREV has ten thousand of them in one folder."""
    write_set(tmp_path / "set", "highrev")
    facts = one(tmp_path / "set")
    files, reader = (str(facts.files[0]), facts.files[1:]), facts.reader()
    listed: list[str] = []
    glob = Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda self, *a, **k: (listed.append(self.name), glob(self, *a, **k))[1]
    )  # fmt: skip
    assert highrev.probe(*files, "train0", "train").carries >= {EVENTS}
    assert listed == ["event"]
    for k in range(FRAMES):
        reader.window(k)
    assert listed == ["event"] * 2


def test_all_truths_of_pairs_come_as_often_as_the_files_have_them(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "msrbd", instants=3)
    reader = one(tmp_path / "set").reader()
    # Ends and middle; inner frames are in two files.
    assert [len(reader.instants(k)) for k in range(FRAMES)] == [3, *[6] * (FRAMES - 2), 3]
    t, picture = reader.instants(0)[-1]
    assert t == clip(0, instants=3).exposures[0][1]
    np.testing.assert_array_equal(picture, clip(0, instants=3).more[0][-1])


def test_windows_without_exposures_go_from_midpoint_to_midpoint(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-h5")
    path = tmp_path / "set/train/train0.h5"
    with h5py.File(path, "r+") as file:
        for group in ("images", "sharp_images"):
            for key in file[group]:
                for name in ("exposure_start", "exposure_end"):
                    del file[group][key].attrs[name]
    facts = one(tmp_path / "set")
    assert EXPOSURE not in facts.carries
    assert facts.items == list(range(1, FRAMES - 1))
    stamps = [(a + b) / 2 for a, b in clip(0).exposures]
    window = facts.reader().window(2)
    assert window.start_us == pytest.approx((stamps[1] + stamps[2]) / 2, abs=1)
    inside = clip(0).events.between(window.start_us, window.end_us)
    assert abs(len(window.events) - len(inside)) <= 2  # events within a microsecond of a limit
    # As published: from the stored times, absolute, in float32.
    expected = scer_numba.from_bounds(window.events, published_bounds(window.stored_t, 6))
    np.testing.assert_array_equal(represented(window, "scer", Mode.PUBLISHED), expected)


def test_a_frame_without_exposure_among_others_is_told_and_no_item(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-h5", train=1, test=0)
    with h5py.File(tmp_path / "set/train/train0.h5", "r+") as file:
        del file["images/image000000002"].attrs["exposure_start"]
    found = find([tmp_path / "set/train"])
    assert found.skipped == [f"train0: 1 of {FRAMES} frames have no exposure"]
    assert found.sequences[0].items == [0, 1, 3, 4, 5]
    assert EXPOSURE not in found.sequences[0].carries


def test_scer_is_normalised_before_the_crop_and_voxels_after_it(tmp_path: Path) -> None:
    write_set(tmp_path / "h5", "efnet-h5")
    facts = one(tmp_path / "h5")
    sample, whole = EFNET.middle(facts.reader(), facts, 2), EFNET.whole(facts.reader(), facts, 2)
    at = (SIZE - 16) // 2
    np.testing.assert_array_equal(sample["events"], whole["events"][:, at : at + 16, at : at + 16])
    assert np.abs(whole["events"]).max() == 1
    write_set(tmp_path / "highrev", "highrev")
    facts = one(tmp_path / "highrev")
    maker = EfnetMaker(EfnetOptions(crop=16, representation="voxel", channel_order="rgb"))
    sample = maker.middle(facts.reader(), facts, 2)
    assert "mask" not in sample
    values = sample["events"][sample["events"] != 0]
    assert (values.mean(), values.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_everything_in_a_sample_is_turned_alike(order: str, tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-scer")
    facts = one(tmp_path / "set")
    maker = EfnetMaker(EfnetOptions.model_validate({"crop": 16, "channel_order": order}))
    reader, whole = facts.reader(), maker.whole(facts.reader(), facts, 1)
    seen = set()
    for seed in range(12):
        sample, image = maker.make(reader, facts, 1, np.random.default_rng(seed)), whole["image"]
        # Where the picture's crop is found in the whole one, the others are found too.
        matches = [
            (top, left, turn)
            for top in range(SIZE - 15) for left in range(SIZE - 15) for turn in range(8)
            if np.array_equal(_turned(image[:, top : top + 16, left : left + 16], turn), sample["image"])
        ]  # fmt: skip
        assert matches
        top, left, turn = matches[0]
        for name in ("truth", "events", "mask"):
            part = whole[name][:, top : top + 16, left : left + 16]
            np.testing.assert_array_equal(_turned(part, turn), sample[name])
        seen.add(turn)
    assert len(seen) > 3
    assert (order == "bgr") == np.array_equal(whole["image"][0], reader.blurred(1)[..., 2])


def _turned(x: np.ndarray, turn: int) -> np.ndarray:
    x = x[..., ::-1] if turn & 1 else x
    x = x[..., ::-1, :] if turn & 2 else x
    return np.swapaxes(x, -1, -2) if turn & 4 else x


def test_counts_are_those_of_three_windows_in_a_row(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-h5")
    facts = one(tmp_path / "set")
    maker = ScNetMaker(ScNetOptions(crop=16, clip=2, steps=4))
    counts = maker.whole(facts.reader(), facts, 2)["events"][0]
    start, end = clip(0).exposures[2]
    e, length = clip(0).events, end - start
    for k, (a, b) in enumerate([(start - length, start), (start, end), (end, end + length)]):
        inside = (e.t >= a) & (e.t <= b)
        for polarity in (0, 1):
            assert counts[2 * k + polarity].sum() == (inside & (e.p == bool(polarity))).sum()
    cut = maker.make(facts.reader(), facts, 2, np.random.default_rng(3))
    assert cut["events"].shape == (2, 6, 16, 16, 4)
    assert maker.items(facts) == list(range(FRAMES - 1))


def test_the_last_rows_of_reblur_are_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the authors converted it: the rows are gone before the grid is normalised."""
    write_set(tmp_path / "set", "efnet-h5")
    facts = one(tmp_path / "set")
    whole = EFNET.whole(facts.reader(), facts, 2)
    monkeypatch.setattr("training.data.efnet._REBLUR_ROWS", SIZE)
    made = clip(0)
    grid = scer_numba.scer(made.events, *made.exposures[2], mode=Mode.RELATIVE)[:, : SIZE - 2]
    tall = EfnetMaker(EfnetOptions(crop=28, augmentation="none"))
    for sample in (tall.whole(facts.reader(), facts, 2), tall.middle(facts.reader(), facts, 2)):
        rows = sample["events"].shape[1]
        assert rows == 28
        assert {v.shape[1] for v in sample.values()} == {rows}
    shown = tall.whole(facts.reader(), facts, 2)["events"]
    np.testing.assert_allclose(shown, by_maximum(grid)[:, :28], atol=1e-6)
    np.testing.assert_array_equal(tall.whole(facts.reader(), facts, 2)["image"], whole["image"][:, :28])
    tops = {
        tall.make(facts.reader(), facts, 2, np.random.default_rng(k))["events"].tobytes() for k in range(40)
    }
    assert 1 < len(tops) <= 3 * 5  # rows 0, 1 and 2 of 30, columns 0 to 4 of 32


@pytest.mark.parametrize(("network", "steps"), [("stra", 1), ("sc-net", 4)])
def test_coarser_events_are_counted_as_the_restorer_counts_them(
    network: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_set(tmp_path / "set", "msrbd", train=1, test=0, scale=2) / "train"
    (facts,) = find([data]).sequences
    assert facts.grid != facts.size
    rig, _ = exposures(facts, "none")
    options = {"random_weights": True} | ({"steps": steps} if steps > 1 else {})
    restorer = models.create(network, rig, options, "cpu")
    assert isinstance(restorer, ScNetRestorer)
    restorer.prepare(*facts.size)
    seen: list[torch.Tensor] = []
    at = (lambda given: given[2]) if steps > 1 else (lambda given: given[0][:, 3:])
    restorer.net.register_forward_pre_hook(lambda _, given: seen.append(at(given)[0].clone()))
    with monkeypatch.context() as changed:
        changed.setattr("training.protocols.pictures.models.create", lambda *_: restorer)
        _, found = exposures(facts, network)
    restorer.restore([found[2]], [0.5])
    sample = ScNetMaker(ScNetOptions(crop=16, steps=steps)).whole(facts.reader(), facts, 2)["events"][0]
    assert sample.dtype == np.float16
    np.testing.assert_allclose(sample, seen[0].numpy(), atol=2e-3, rtol=1e-3)
    assert (sample % 1 != 0).any()


def test_sequences_of_both_kinds_make_one_batch(tmp_path: Path) -> None:
    for scale in (1, 2):
        write_set(tmp_path / f"set{scale}", "msrbd", train=2, test=0, scale=scale)
    changes = {
        "data.recordings": [str(tmp_path / "set1/train"), str(tmp_path / "set2/train")],
        "data.options": {"crop": 16, "clip": 2, "steps": 1}, "data.validation": 0,
    }  # fmt: skip
    recipe = recipes.load("stra", {"data.kind": "recorded", **changes})
    data, _ = tasks.create(recipe).datasets(recipe)
    assert {data[k]["events"].dtype for k in range(8)} == {np.dtype(np.float16)}
    collate([data[k] for k in range(8)])


def test_no_clip_runs_over_events_that_nobody_knows(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", "msrbd", train=1, test=0) / "train"
    (whole,) = find([data]).sequences
    assert ScNetMaker(ScNetOptions(clip=4)).items(whole) == [0, 1, 2]
    for k in (1, 3):
        (data / f"train0_{k:06d}.npz").unlink()
    (facts,) = find([data]).sequences
    assert facts.frames == FRAMES
    assert ScNetMaker(ScNetOptions(clip=1)).items(facts) == list(range(FRAMES))
    assert ScNetMaker(ScNetOptions(clip=2)).items(facts) == [0, 2, 4]
    assert ScNetMaker(ScNetOptions(clip=4)).needs(facts) == [
        "4 frames in a row with all events from one to the next"
    ]


def test_five_frames_and_the_sharp_ones_of_the_inner_three(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "frames")
    facts = one(tmp_path / "set")
    maker = CdvdMaker(CdvdOptions(crop=16))
    assert maker.items(facts) == [2, 3]
    sample = maker.whole(facts.reader(), facts, 3)
    np.testing.assert_array_equal(sample["frames"][0].transpose(1, 2, 0), clip(0).frames[1])
    np.testing.assert_array_equal(sample["truth"][2].transpose(1, 2, 0), clip(0).truth[4])
    assert CdvdMaker(CdvdOptions(frames_per_video=5)).items(facts) == [2]


# --- what is wrong --------------------------------------------------------------------------------------------


def test_a_damaged_file_is_named_counted_and_left_out(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-h5", train=3)
    middle = tmp_path / "set/train/train1.h5"
    middle.write_bytes(middle.read_bytes()[:3000])
    found = find([tmp_path / "set"])
    assert [s.name for s in found.sequences] == ["test0", "train0", "train2"]
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("train1.h5: ")


def test_a_frame_that_breaks_later_is_named_counted_and_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "set", "frames", train=1)
    broken = tmp_path / "set/train/blur/train0/00002.png"
    data = bytearray(broken.read_bytes())
    data[60:] = bytes(len(data) - 60)  # its head, by which it is measured, stays
    broken.write_bytes(data)
    sequences = find([tmp_path / "set"]).of(TRAIN)
    items = Items(sequences, CdvdMaker(CdvdOptions(crop=16)), 3)
    with pytest.raises(TrainingError, match="not one item"):
        _ = items[0]  # both windows hold the frame
    assert capsys.readouterr().err.count("skipped: train0 frame 2 (frames): 00002.png") == 2
    sequences += [s for s in find([tmp_path / "set"]).sequences if s.split == TEST]
    items = Items(sequences, CdvdMaker(CdvdOptions(crop=16)), 3)
    drawn = [float(items[i]["replaced"]) for i in range(len(items.items))]
    assert sum(drawn) == 2
    assert items.fingerprint() != Items(sequences[1:], CdvdMaker(CdvdOptions(crop=16)), 3).fingerprint()
    fixed = FixedItems(sequences, CdvdMaker(CdvdOptions(crop=16)), 10)
    assert (len(fixed), sum(float(fixed[k]["replaced"]) for k in range(4))) == (4, 2)


def test_a_file_of_another_size_is_no_part_of_a_sequence(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "frames", train=2)
    odd = tmp_path / "set/train/gt/train0/00003.png"
    cv2.imwrite(str(odd), np.zeros((SIZE, SIZE + 8, 3), np.uint8))
    found = find([tmp_path / "set"])
    assert [s.name for s in found.of(TRAIN)] == ["train1"]
    assert found.skipped == ["train0: train0/00003.png is 40×32, 00000.png 32×32"]


def test_an_odd_number_of_frames_is_told(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "frames", train=2)
    (tmp_path / "set/train/gt/train0/00005.png").unlink()
    found = find([tmp_path / "set"])
    assert found.skipped == ["train0: has 6 blurred and 5 sharp frames"]


def test_a_format_without_what_is_needed_is_refused_by_name(tmp_path: Path) -> None:
    write_set(tmp_path / "frames", "frames")
    write_set(tmp_path / "highrev", "highrev")
    with pytest.raises(UsageError, match=r"efnet needs events of each exposure.*\(frames\) has none"):
        usable(find([tmp_path / "frames"]), EFNET, "efnet")
    with pytest.raises(UsageError, match=r"sc-net needs one stream of events.*\(highrev\) has none"):
        usable(find([tmp_path / "highrev"]), ScNetMaker(ScNetOptions()), "sc-net")
    write_set(tmp_path / "pairs", "msrbd")
    with pytest.raises(UsageError, match=r"cdvd-tsp needs frames in a row.*\(msrbd\) has none"):
        usable(find([tmp_path / "pairs"]), CdvdMaker(CdvdOptions()), "cdvd-tsp")
    with h5py.File(_sharpless(tmp_path), "r") as file:
        assert "sharp_images" not in file
    with pytest.raises(UsageError, match=f"efnet needs {TRUTH}"):
        usable(find([tmp_path / "blind"]), EFNET, "efnet")


def _sharpless(folder: Path) -> Path:
    write_set(folder / "blind", "efnet-h5", train=1, test=0)
    path = folder / "blind/train/train0.h5"
    with h5py.File(path, "r+") as file:
        del file["sharp_images"]
    return path


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ({"train": 2, "test": 0}, "test split .* is empty or missing.*: --set data.validation=0"),
        ({"train": 0, "test": 2}, "no usable sequence in its train split"),
    ],
)
def test_an_empty_split_is_one_line(layout: dict[str, int], text: str, tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-scer", **layout)
    for split in (TRAIN, TEST):
        (tmp_path / "set" / split).mkdir(exist_ok=True)
    with pytest.raises(UsageError, match=text):
        divided(find([tmp_path / "set"]), validates=True)


def test_without_splits_no_sequence_is_trained_on_and_validated_with(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-scer", train=3, test=0)
    train, test = divided(find([tmp_path / "set/train"]), validates=True)
    assert ([s.name for s in train], [s.name for s in test]) == (["train0", "train1"], ["train2"])
    with pytest.raises(UsageError, match="none can be held out"):
        divided(find([tmp_path / "set/train/train0.h5"]), validates=True)
    assert len(divided(find([tmp_path / "set/train/train0.h5"]), validates=False)[0]) == 1


def test_splits_given_one_by_one_are_splits_as_well(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", "efnet-scer", train=2, test=1)
    one_by_one = [data / "train", data / "test"]
    train, test = divided(find(one_by_one, named=True), validates=True)
    assert ([s.name for s in train], [s.name for s in test]) == (["train0", "train1"], ["test0"])
    files = [data / "train/train0.h5", data / "test/test0.h5"]
    train, test = divided(find(files, named=True), validates=True)
    assert ([s.name for s in train], [s.name for s in test]) == (["train0"], ["test0"])
    # Beside no other split a name says nothing: evaluated is what is given, trained on as well.
    assert find([data / "train"], named=True).splits == find(one_by_one).splits == set()


def test_what_is_in_no_split_is_not_dropped_beside_what_is(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", "efnet-scer", train=1, test=1)
    other = write_set(tmp_path / "other", "efnet-scer", train=1, test=0) / "train"
    other.rename(bare := tmp_path / "bare")
    with pytest.raises(UsageError, match=r"train0 \(.*bare/train0\.h5\) is in no split, and others"):
        divided(find([data, bare], named=True), validates=True)
    bare.rename(other)
    train, test = divided(find([data, other], named=True), validates=True)
    assert ([s.split for s in train], len(test)) == ([TRAIN, TRAIN], 1)


def test_sequences_called_alike_are_told_apart(tmp_path: Path) -> None:
    paths = [write_set(tmp_path / n, "frames", train=0, test=1) for n in ("a", "b")]
    own = tmp_path / "c/test/test0"  # VIDEO/blur and VIDEO/sharp
    own.mkdir(parents=True)
    for part, name in (("blur", "blur"), ("gt", "sharp")):
        (paths[0] / f"test/{part}/test0").rename(own / name)
    write_set(paths[0], "frames", train=0, test=1)
    names = [s.name for s in find([*paths, tmp_path / "c", paths[1]]).sequences]
    assert names == ["a/test/blur/test0", "b/test/blur/test0", "c/test/test0/test0", "b/test/blur (2)/test0"]
    names = [s.name for s in find([paths[0], tmp_path / "c"]).sequences]
    assert names == ["test/blur/test0", "test/test0/test0"]


def test_each_path_holds_a_data_set(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", "efnet-scer", train=1, test=1)
    (tmp_path / "typo/train").mkdir(parents=True)
    for nothing in (tmp_path / "typo", tmp_path / "typo/train"):
        with pytest.raises(UsageError, match=f"{nothing} holds no data set of a known layout"):
            find([data, nothing])


def test_what_is_no_data_set_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no data set of a known layout"):
        find([tmp_path / "empty"])
    with pytest.raises(UsageError, match="does not exist"):
        find([tmp_path / "nowhere"])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2]
    with pytest.raises(
        UsageError, match=r"none of 1 sequences can be used; the first: other\.h5: .*known layout"
    ):
        find([tmp_path / "other.h5"])


def test_links_to_elsewhere_are_not_followed(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-h5", train=1, test=1)
    path = tmp_path / "set/train/train0.h5"
    with h5py.File(path, "r+") as file:
        del file["events/ts"]
        file["events/ts"] = h5py.ExternalLink(str(tmp_path / "set/test/test0.h5"), "events/ts")
    assert "which is not followed" in find([tmp_path / "set"]).skipped[0]


def test_a_crash_of_the_reading_process_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.data.sets import probing

    write_set(tmp_path / "set", "efnet-scer", train=3, test=1)
    real = probing._run

    def crashes(arguments: Any) -> Any:
        names = [a[1] for a in arguments]
        return real(arguments[: names.index("train1")] if "train1" in names else arguments)

    monkeypatch.setattr(probing, "_run", crashes)
    found = find([tmp_path / "set"])
    assert found.skipped == [f"train1.h5: {probing.CRASHED}"]
    assert [s.name for s in found.of(TRAIN)] == ["train0", "train2"]


def test_stored_values_that_are_not_finite_are_damage(tmp_path: Path) -> None:
    write_set(tmp_path / "set", "efnet-scer", train=1, test=0)
    with h5py.File(tmp_path / "set/train/train0.h5", "r+") as file:
        file["voxels/voxel000000001"][0, 0, 0] = np.nan
    facts = find([tmp_path / "set/train"]).sequences[0]
    with pytest.raises(Damaged, match=r"train0 frame 1 \(efnet-scer\): its voxel holds values"):
        facts.reader().stored(1)
