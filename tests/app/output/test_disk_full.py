"""Output on a disk that is really full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.output.atomic import OutputError, staged_file, staged_folder
from app.output.disk_room import DiskRoom
from app.output.mp4 import Mp4Writer
from app.output.png import PngSequence, Stamp
from app.output.video_thread import VideoThread
from tests.app.cli.fake_session import picture


def pictures(n: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)


def test_video(small_disk: Path) -> None:
    final = small_disk / "a.mp4"
    with (
        pytest.raises(OutputError, match=r"disk full while writing .*a\.mp4 ") as e,
        staged_file(final) as part,
        Mp4Writer(part, final=final) as video,
    ):
        for i, image in enumerate(pictures(60)):
            video.add(image, i * 1000)
    assert "\n" not in str(e.value)
    assert ".part" not in str(e.value)
    assert list(small_disk.iterdir()) == []


def test_the_video_of_a_session_ends_before_it(small_disk: Path) -> None:
    import av

    path = small_disk / "a.mp4"
    video = VideoThread(path, depth=100, room=DiskRoom(small_disk, every_s=0.0))
    for i, image in enumerate(pictures(60)):
        assert video.offer(replace(picture(i), blurred=image, sharp=image[None]))
    video.close()
    assert video.full_s is not None
    assert video.writer.count + video.after_full == 60
    with av.open(str(path)) as f:
        assert sum(1 for _ in f.decode(f.streams.video[0])) == video.writer.count > 0


def test_pictures(small_disk: Path) -> None:
    final = small_disk / "out"
    with pytest.raises(OutputError, match=r"disk full while writing .*out "), staged_folder(final) as part:
        sequence = PngSequence(part, final=final)
        try:
            for i, image in enumerate(pictures(60)):
                sequence.add(image, Stamp(i, i, 0.5, i, i, i + 1, "trigger", 1.0))
        finally:
            sequence.discard()
    assert list(small_disk.iterdir()) == []
