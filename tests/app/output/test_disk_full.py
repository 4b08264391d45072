"""Output on a disk that is really full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.output.atomic import OutputError, staged_file, staged_folder
from app.output.mp4 import Mp4Writer
from app.output.png import PngSequence, Stamp


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
