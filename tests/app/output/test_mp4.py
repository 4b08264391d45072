"""Video: every picture, at its own time; errors are one sentence."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.output.atomic import OutputError
from app.output.mp4 import LONGEST_PAUSE_US, Mp4Writer, best_codec

CODECS = ["libx264", "mpeg4"]


def read(path: Path) -> tuple[list[int], list[np.ndarray]]:
    """Times in µs and RGB pictures of a video."""
    with av.open(str(path)) as f:
        stream = f.streams.video[0]
        frames = list(f.decode(stream))
        times = [round(float(x.pts * x.time_base) * 1e6) for x in frames]
        return times, [x.to_ndarray(format="rgb24") for x in frames]


@pytest.mark.parametrize("codec", CODECS)
def test_times_and_pictures_come_back(codec: str, tmp_path: Path) -> None:
    times = [5_000_000, 5_104_000, 5_104_020, 5_300_040, 9_000_000]
    levels = [20, 60, 120, 180, 240]
    path = tmp_path / "a.mp4"
    with Mp4Writer(path, codec=codec) as w:
        for t, level in zip(times, levels, strict=True):
            w.add(np.full((64, 96, 3), level, np.uint8), t)
    got, pictures = read(path)
    assert got == [t - times[0] for t in times]
    assert [round(float(p.mean()) / 20) * 20 for p in pictures] == levels
    assert (w.count, w.moved, w.first_us) == (5, 0, 5_000_000)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.integers(-2, 3_000_000), min_size=1, max_size=12))
def test_no_picture_is_ever_lost_and_times_increase(
    steps: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("v") / "a.mp4"
    times = np.cumsum([0, *steps]).tolist()
    with Mp4Writer(path) as w:
        for t in times:
            w.add(np.zeros((16, 16), np.uint8), int(t))
    got, _ = read(path)
    assert len(got) == len(times)
    assert all(b > a for a, b in itertools.pairwise(got))
    if all(s > 0 for s in steps):
        assert got == times
        assert w.moved == 0


def test_touching_instants_are_moved_by_one_tick_and_counted(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "a.mp4", codec="libx264") as w:
        for t in (0, 1000, 1000, 2000):
            w.add(np.zeros((16, 16, 3), np.uint8), t)
    assert read(tmp_path / "a.mp4")[0] == [0, 1000, 1001, 2000]
    assert w.moved == 1


def test_colours_are_rgb_and_odd_sizes_are_padded(tmp_path: Path) -> None:
    image = np.zeros((33, 47, 3), np.uint8)
    image[..., 0] = 200
    with Mp4Writer(tmp_path / "a.mp4") as w:
        w.add(image, 0)
    (picture,) = read(tmp_path / "a.mp4")[1]
    assert picture.shape == (34, 48, 3)
    assert picture[..., 0].mean() > 150
    assert picture[..., 2].mean() < 50


def test_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32×16"), Mp4Writer(tmp_path / "a.mp4") as w:
        w.add(np.zeros((16, 16), np.uint8), 0)
        w.add(np.zeros((16, 32), np.uint8), 1)


def noise(n: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)


@contextmanager
def file_size_limit(n: int) -> Iterator[None]:
    """No file may grow beyond n bytes: what the kernel does then is what it does on a full disk (EFBIG)."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("codec", CODECS)
def test_full_disk_while_writing(codec: str, tmp_path: Path) -> None:
    with (
        file_size_limit(200_000),
        pytest.raises(OutputError, match="disk full"),
        Mp4Writer(tmp_path / "a.mp4", codec=codec) as w,
    ):
        for i, image in enumerate(noise(60)):
            w.add(image, i * 1000)


def test_full_disk_at_the_very_end(tmp_path: Path) -> None:
    """The index is written by close: that must not pass in silence either."""
    w = Mp4Writer(tmp_path / "a.mp4")
    for i, image in enumerate(noise(5)):
        w.add(image, i * 1000)
    size = (tmp_path / "a.mp4").stat().st_size
    with file_size_limit(size + 1), pytest.raises(OutputError, match="disk full"):
        w.close()
    w.close()  # a second time is harmless


def test_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"), Mp4Writer(tmp_path / "x" / "a.mp4") as w:
        w.add(np.zeros((16, 16), np.uint8), 0)


def test_abandoned_video_is_closed_quietly_on_a_full_disk(tmp_path: Path) -> None:
    w = Mp4Writer(tmp_path / "a.mp4")
    for i, image in enumerate(noise(5)):
        w.add(image, i * 1000)
    with file_size_limit(100):
        w.abandon()


def test_codec_falls_back_and_says_when_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    real = av.codec.Codec
    missing = {"libx264"}

    def codec(name: str, mode: str) -> object:
        if name in missing:
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(av.codec, "Codec", codec)
    assert best_codec() == "mpeg4"
    missing.add("mpeg4")
    with pytest.raises(OutputError, match="reinstall"):
        best_codec()


@pytest.mark.parametrize("codec", CODECS)
def test_a_pause_longer_than_mp4_can_tell_is_cut_and_told(codec: str, tmp_path: Path) -> None:
    """Else the muxer loses the times of all that follows, and says nothing."""
    pause = 3 * LONGEST_PAUSE_US
    times = [0, 100_000, 100_000 + pause, 200_000 + pause]
    path = tmp_path / "a.mp4"
    with Mp4Writer(path, codec=codec) as w:
        for t in times:
            w.add(np.zeros((16, 16), np.uint8), t)
    assert w.cut_us == pause - LONGEST_PAUSE_US
    got, _ = read(path)
    assert got == [0, 100_000, 100_000 + LONGEST_PAUSE_US, 200_000 + LONGEST_PAUSE_US]
