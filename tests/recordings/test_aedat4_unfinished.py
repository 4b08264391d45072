"""AEDAT4 files that lack their index: read whole once, and the same however often they are read again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Frame
from recordings.formats.aedat4 import Aedat4Recording
from recordings.open import open_recording
from recordings.sandbox import has_read
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.own_sample import same
from tests.recordings.sample import START_US, sample_edges, sample_events, sample_frames

MIDDLE_US = START_US + 500_000
Item = EventPacket | Frame


def shares_read(path: Path) -> list[float]:
    """How much of it each step reads: open it, first item, times of all frames, a seek, the same again."""
    size = path.stat().st_size
    with open_recording(path) as r:
        assert isinstance(r, Aedat4Recording)
        pid = r.child_pid
        assert pid is not None
        read = [0, has_read(pid)]
        next(r.items())
        read.append(has_read(pid))
        r.frame_times_us()
        read.append(has_read(pid))
        for _ in range(2):
            next(r.items(MIDDLE_US + 350_000))
            read.append(has_read(pid))
    return [(b - a) / size for a, b in itertools.pairwise(read)]


def test_it_is_read_whole_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (60, 260, 346), np.uint8)
    frames = [WrittenFrame(START_US + 16_000 * k, 10_000, image) for k, image in enumerate(noise)]
    shares = []
    for name, finish in (("whole", True), ("killed", False)):
        path = tmp_path / f"{name}.aedat4"
        write_aedat4(path, sample_events(), frames, sample_edges(), compression="NONE", finish=finish)
        shares.append(shares_read(path))
    opened, first_item, times, seek, again = np.subtract(shares[1], shares[0])
    assert 0.9 < opened < 1.2
    assert times < 1.1  # its pictures are decoded for them
    assert max(first_item, seek, again) < 0.2


def all_of(path: Path) -> tuple[list[Item], list[Item], list[tuple[int, int | None]]]:
    """Each part by a reader of its own."""
    with open_recording(path) as a, open_recording(path) as b, open_recording(path) as c:
        return list(a.items()), list(b.items(MIDDLE_US)), c.frame_times_us()


def all_same(a: list[Item], b: list[Item]) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
@pytest.mark.parametrize("damaged", [False, True])
def test_one_reader_gives_the_same_as_many(tmp_path: Path, compression: str, damaged: bool) -> None:
    path = tmp_path / "killed.aedat4"
    write_aedat4(path, sample_events(), sample_frames(), sample_edges(), compression=compression, finish=False)
    if damaged:
        data = bytearray(path.read_bytes())
        at = len(data) * 2 // 3
        data[at : at + 40] = bytes(40)
        path.write_bytes(data)
    whole, part, times = all_of(path)
    assert len(whole) > len(part) > 10
    with open_recording(path) as r:
        assert all_same(list(r.items(MIDDLE_US)), part)
        assert len(list(itertools.islice(r.items(), 5))) == 5
        assert all_same(list(r.items()), whole)
        assert r.frame_times_us() == times
        assert all_same(list(r.items(MIDDLE_US)), part)
        assert all_same(list(r.items()), whole)
