"""A disk that is really full: a small tmpfs when this user may mount one, else a limit on file size."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.output.atomic import OutputError, staged_file, staged_folder
from app.output.mp4 import Mp4Writer
from app.output.png import PngSequence, Stamp

SIZE = 300_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)],
            capture_output=True, check=False,
        ).returncode
        == 0
    )  # fmt: skip
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    print("a tmpfs of its own" if mounted else "RLIMIT_FSIZE in place of a full disk (mount not allowed)")
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


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
