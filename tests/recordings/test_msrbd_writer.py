"""MS-RBD's files: a pair holds all events from its first exposure to its second, however long it lasts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from recordings.export import msrbd
from recordings.export.grid import SharedGrid
from recordings.export.msrbd import MsRbdWriter
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig
from tests.capture.simulated_small import small_davis
from tests.recordings.own_sample import rig_of_config

SIZE = 16
PERIOD_US, LENGTH_US = 5_000_000, 10_000
GRID = SharedGrid(1, 0, 0, SIZE, SIZE, np.arange(SIZE * SIZE, dtype=np.int32).reshape(SIZE, SIZE))


@pytest.fixture(scope="module")
def rig() -> Rig:
    return rig_of_config(small_davis())


def frame(k: int, *, sequence: int | None = None, gap: bool = False) -> Frame:
    start = 1000 * k * PERIOD_US
    image = np.full((SIZE, SIZE), k, np.uint8)
    number = k if sequence is None else sequence
    return Frame(
        image, PixelLayout.GRAY, number, start, start + 1000 * LENGTH_US, FrameClock.EVENT, gap=gap
    )  # fmt: skip


def written(folder: Path, rig: Rig, frames: Iterable[Frame]) -> MsRbdWriter:
    """An event every ms, a packet every 100 ms, and each frame behind the packet that completes it."""
    folder.mkdir()
    writer = MsRbdWriter(folder, "n", "train", GRID, lambda f: f.image)
    due = [(f, (f.device_start_ns or 0) // 1000) for f in frames]
    ordinal, end = 0, 0
    while ordinal < len(due):
        t = np.arange(end, end + 100_000, 1000, dtype=np.int64)
        x = (t // 1000 % SIZE).astype(np.uint16)
        events, end = Events(t, x, x, np.ones(len(t), bool), SIZE, SIZE), end + 100_000
        writer.add_packet(EventPacket(events, TriggerEdges.empty(), end))
        f, start = due[ordinal]
        stop = start + LENGTH_US
        if stop <= end:
            exposure = Exposure(start, stop, ExposureSource.CHUNK, 1.0)
            own = events.between(start, stop)
            writer.add_exposure(AlignedExposure(f, exposure, own, start, stop, rig, ordinal))
            ordinal += 1
    writer.finish()
    return writer


def pairs(folder: Path) -> list[tuple[int, int, list[int]]]:
    """Where each begins and ends, and the times of its events."""
    found = []
    for path in sorted((folder / "plain").iterdir()):
        with np.load(path) as a:
            found.append((int(a["exp_start1_us"]), int(a["exp_end2_us"]), a["events_t_us"].tolist()))
    return found


def test_frames_that_are_slow_lose_no_events(tmp_path: Path, rig: Rig) -> None:
    w = written(tmp_path / "s", rig, [frame(k) for k in range(3)])
    assert (w.pairs, w.single) == (2, 0)
    for k, (start, end, times) in enumerate(pairs(tmp_path / "s")):
        assert (start, end) == (k * PERIOD_US, (k + 1) * PERIOD_US + LENGTH_US)
        assert times == list(range(start, end, 1000))


def test_a_pair_of_more_events_than_are_kept_is_none_and_counted(
    tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_a_second = 13 * 1000
    monkeypatch.setattr(msrbd, "RETAIN_BYTES", round(4.5 * bytes_a_second))
    w = written(tmp_path / "s", rig, [frame(k) for k in range(3)])
    assert (w.pairs, w.single, w.too_long) == (0, 3, 2)
    assert not pairs(tmp_path / "s")


@pytest.mark.parametrize("broken", ["lost", "interrupted"])
def test_frames_that_do_not_follow_one_another_are_no_pair(tmp_path: Path, rig: Rig, broken: str) -> None:
    lost = int(broken == "lost")
    frames = [frame(k, sequence=k + lost * (k > 1), gap=not lost and k == 2) for k in range(4)]
    w = written(tmp_path / "s", rig, frames)
    assert (w.pairs, w.single, w.too_long) == (2, 0, 0)
    assert [(a // PERIOD_US, b // PERIOD_US) for a, b, _ in pairs(tmp_path / "s")] == [(0, 1), (2, 3)]
