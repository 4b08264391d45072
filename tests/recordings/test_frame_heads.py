"""Times of an AEDAT4 file's frames without decoding one, held against those the library gives."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from capture.packets import Frame
from recordings.formats import aedat4_frame_heads
from recordings.formats.aedat4_container import read_container
from recordings.formats.aedat4_frame_heads import NotSo, frame_heads
from recordings.open import open_recording
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.sample import START_US, sample_edges, sample_events, sample_frames


def by_heads(path: Path) -> list[tuple[int, int]]:
    return [f for f in frame_heads(path, read_container(path)) if f is not None]


def by_library(path: Path) -> list[tuple[int, int]]:
    with open_recording(path) as r:
        frames = [i for i in r.items() if isinstance(i, Frame)]
    starts = [(f.device_start_ns or 0) // 1000 for f in frames]
    return [
        (s, 0 if f.device_end_ns is None else f.device_end_ns // 1000 - s)
        for s, f in zip(starts, frames, strict=True)
    ]


def pictures() -> list[WrittenFrame]:
    """What LZ4 packs in all its ways: noise, one value, stripes, black."""
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, (48, 64), np.uint8), np.full((48, 64), 7, np.uint8),
        np.tile(np.arange(64, dtype=np.uint8) // 4, (48, 1)), np.zeros((48, 64), np.uint8),
    ]  # fmt: skip
    return [WrittenFrame(START_US + k * 10_007, None if k == 5 else 900 + k, images[k % 4]) for k in range(40)]


@pytest.mark.parametrize("compression", ["NONE", "LZ4"])
@pytest.mark.parametrize("colour", [False, True])
def test_they_are_those_of_the_library(tmp_path: Path, compression: str, colour: bool) -> None:
    frames = sample_frames(colour=True) if colour else pictures()
    path = write_aedat4(
        tmp_path / "a.aedat4", sample_events(3000), frames, sample_edges(), compression=compression
    )
    found = by_heads(path)
    assert len(found) == len(frames)
    assert [(t, max(e, 0)) for t, e in found] == by_library(path)
    assert [t for t, _ in found] == [f.start_us for f in frames]


def test_real_ones(shared_data: Path) -> None:
    path = shared_data / "event" / "davis346_street.aedat4"
    assert read_container(path).compression == 1
    found = by_heads(path)
    assert len(found) > 50
    assert found == by_library(path)


def test_the_list_is_made_of_them_and_else_by_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = []
    for compression in ("LZ4", "ZSTD"):
        path = write_aedat4(tmp_path / f"{compression}.aedat4", None, pictures(), compression=compression)
        with open_recording(path) as r:
            lists.append(r.frame_times_us())
    assert lists[0] == lists[1]
    assert lists[0][5] == (START_US + 5 * 10_007, None)
    assert lists[0][6] == (START_US + 6 * 10_007, START_US + 6 * 10_007 + 906)
    with pytest.raises(NotSo):
        by_heads(tmp_path / "ZSTD.aedat4")


def test_what_is_damaged_is_left_to_the_library(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "a.aedat4", None, pictures(), compression="LZ4")
    whole, container = path.read_bytes(), read_container(path)
    assert container.table is not None
    rng = np.random.default_rng(1)
    for _ in range(300):
        data = bytearray(whole)
        at = int(rng.integers(container.data_start, container.table))
        data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            assert len(by_heads(path)) <= len(whole)
        except NotSo:
            continue
    for cut in (container.data_start + 5, container.table - 100):
        path.write_bytes(whole[:cut])
        with pytest.raises(NotSo):
            by_heads(path)


def test_lz4_lengths_that_go_on() -> None:
    """A run of one byte: a literal, then a match of 4 + 15 + 255 + 2 that reaches back by one."""
    block = bytes([0x1F, 65, 1, 0, 255, 2, 0])
    frame = b"\x04\x22\x4d\x18\x40\x40\x00" + struct.pack("<I", len(block)) + block
    assert aedat4_frame_heads._lz4(frame) == b"A" * 256
    with pytest.raises(NotSo):
        aedat4_frame_heads._lz4(frame[:11] + bytes([0x1F, 65, 9, 0, 0]))
