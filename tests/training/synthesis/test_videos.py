"""Synthetic videos: one stream over all frames, the same bytes each time, sets that go on where they stop."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.errors import UsageError
from tests.training.made_sets import CONFIG, FRAMES, clip, photo
from training.data.sets import frames
from training.photos import open_photos
from training.synthesis import videos, writers
from training.synthesis.clip import ClipPlan, make_clip
from training.synthesis.writers import FORMATS


def test_a_video_is_drawn_again_bit_by_bit_and_another_differs() -> None:
    again = make_clip(CONFIG, ClipPlan(FRAMES, 0.9, 1, 0), photo, 4, 7, 0)
    first = clip(0)
    np.testing.assert_array_equal(again.frames, first.frames)
    for name in "txyp":
        np.testing.assert_array_equal(getattr(again.events, name), getattr(first.events, name))
    assert not np.array_equal(clip(1).frames, first.frames)


def test_frames_follow_one_another_and_events_go_on_between_them() -> None:
    made = clip(0)
    for (_, end), (start, _) in zip(made.exposures, made.exposures[1:], strict=False):
        assert end < start
        assert len(made.events.between(end, start))
    assert made.events.t[0] >= made.exposures[0][0] - 1
    # Neighbouring sharp pictures show the same scene, a little moved.
    near = np.abs(made.truth[1:].astype(int) - made.truth[:-1]).mean()
    far = np.abs(made.truth.astype(int) - clip(1).truth).mean()
    assert 0 < near < far


def test_a_frame_is_the_mean_of_its_exposure() -> None:
    made = clip(3, instants=33)
    light = made.more.astype(np.float64) / 255  # near linear enough for a bound
    error = np.abs(light.mean(1) - made.frames / 255).mean()
    sharp = np.abs(made.truth / 255 - made.frames / 255).mean()
    assert error < 0.5 * sharp


def test_coarser_events_cover_the_same_view() -> None:
    coarse = clip(0, scale=4)
    assert (coarse.events.width, coarse.events.height) == (8, 8)
    assert len(coarse.events) > 100


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(3):
        cv2.imwrite(str(folder / f"{k}.png"), np.repeat(np.repeat(photo(k), 2, 0), 2, 1))
    return folder


def test_a_set_goes_on_where_it_stopped_and_no_photo_serves_both_splits(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = videos.VideoOrder(
        tmp_path / "set", "frames", 2, 1, ClipPlan(3), CONFIG, 5, open_photos(str(photos)), 1
    )
    drawn: list[tuple[str, tuple[int, ...]]] = []

    class Here:  # the workers' work, in this process
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, work: object, *arguments: object) -> object:
            from concurrent.futures import Future

            done: Future[object] = Future()
            done.set_result(work(*arguments))  # type: ignore[operator]
            return done

    class Watched(videos.PhotoCache):
        def __init__(self, held: object, which: list[int], most: int) -> None:
            drawn.append(("", tuple(which)))
            super().__init__(held, which, most)

    monkeypatch.setattr(videos, "processes", Here)
    monkeypatch.setattr(videos, "PhotoCache", Watched)
    assert videos.make_videos(order) == 3
    train, test = set(drawn[0][1]), set(drawn[-1][1])
    assert train
    assert test
    assert not train & test
    before = (tmp_path / "set/train/blur/train0001/00001.png").read_bytes()
    for part in ("blur", "gt"):
        for file in (tmp_path / "set/train" / part / "train0001").iterdir():
            file.unlink()
        (tmp_path / "set/train" / part / "train0001").rmdir()
    assert videos.make_videos(order) == 1
    assert (tmp_path / "set/train/blur/train0001/00001.png").read_bytes() == before
    assert videos.make_videos(order) == 0
    with pytest.raises(UsageError, match="other photos, seed or settings"):
        videos.make_videos(videos.VideoOrder(
            order.folder, "frames", 2, 1, ClipPlan(3), CONFIG, 6, order.photos, 1
        ))  # fmt: skip
    about = order.folder / "synthesis.json"
    said = json.loads(about.read_text())
    older = {k: v for k, v in said.items() if k != "drawing"}
    about.write_text(json.dumps(older))
    assert videos.make_videos(order) == 0
    with pytest.raises(UsageError, match="drawn by an older version: they can be used, not added to"):
        videos.make_videos(replace(order, train=3))
    assert not (order.folder / "train/blur/train0002").exists()
    about.write_text(json.dumps(said))
    without = replace(order, test=0)
    with pytest.raises(UsageError, match="made with test videos, whose photos no other may show"):
        videos.make_videos(without)
    assert videos.make_videos(replace(order, test=2)) == 1
    assert not list((tmp_path / "set").rglob("*.part"))


def test_videos_of_a_spike_camera_are_drawn_as_before(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second drawing has other noise, which they have none of."""
    found = open_photos(str(photos))
    order = videos.VideoOrder(tmp_path / "set", "spikes", 1, 0, ClipPlan(3), CONFIG, 5, found, 1)
    monkeypatch.setattr(videos, "DRAWING", 1)
    videos._claim(order)
    monkeypatch.undo()
    assert not videos._claim(order)


def test_formats_and_folders_that_cannot_be_meant(photos: Path, tmp_path: Path) -> None:
    found = open_photos(str(photos))

    def order(folder: Path, format_: str) -> videos.VideoOrder:
        return videos.VideoOrder(folder, format_, 1, 1, ClipPlan(3), CONFIG, 5, found, 1)

    with pytest.raises(UsageError, match="known are pool, efnet-h5"):
        videos.make_videos(order(tmp_path / "set", "avi"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        videos.make_videos(order(tmp_path / "full", "frames"))
    assert set(FORMATS) == {"efnet-h5", "efnet-scer", "highrev", "msrbd", "frames"}


def test_a_video_of_frames_that_was_interrupted_between_its_parts_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, write = clip(0), writers._png

    def killed(path: Path, picture: np.ndarray) -> None:
        if "blur" in path.parts:
            raise KeyboardInterrupt
        write(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr(writers, "_png", killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed outright, nothing is put in order
        with pytest.raises(KeyboardInterrupt):
            FORMATS["frames"](tmp_path, "v", made)
    assert [name for name, _, _ in frames.videos(tmp_path)] == []
    FORMATS["frames"](tmp_path, "v", made)
    assert frames.videos(tmp_path) == [("v", tmp_path / "blur/v", tmp_path / "gt/v")]
    assert len(list((tmp_path / "blur/v").iterdir())) == len(list((tmp_path / "gt/v").iterdir())) == FRAMES
