"""The index of recordings of days: mapped and looked at in blocks, and no different from one that is read."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket
from recordings.formats import own_index
from recordings.formats.own import OwnRecording
from recordings.formats.own_about import INDEX_FILE, STREAMS
from recordings.formats.own_chunks import INDEX
from tests.capture.simulated_small import small
from tests.recordings.own_sample import Item, items_of, rig_of_config, same, write_own

CONFIG = small(paced=False)


def epochs(items: list[Item]) -> Iterator[Item]:
    """The clocks begin anew twice; the second time the frames' does first."""
    a, b = len(items) // 3, 2 * len(items) // 3
    for n, i in enumerate(items):
        late = n >= b + 5 if isinstance(i, EventPacket) else n >= b
        yield replace(i, epoch=(n >= a) + late)


@pytest.fixture(scope="module", params=["one clock", "three"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    items = items_of(CONFIG, 0.5)
    to = tmp_path_factory.mktemp("long") / "r"
    write_own(to, rig_of_config(CONFIG), items if request.param == "one clock" else epochs(items))
    return to


@pytest.mark.parametrize("damaged", [False, True])
def test_mapped_and_in_blocks_it_says_the_same(
    damaged: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "r"
    shutil.copytree(folder, copy)
    if damaged:  # a row that does not follow the one before, right where a block ends
        rows = np.fromfile(copy / INDEX_FILE, INDEX)
        rows["offset"][14] += 1
        rows.tofile(copy / INDEX_FILE)
    with OwnRecording(copy) as whole:
        middle = (whole.info.start_us + whole.info.end_us) // 2
        expected, after = list(whole.items()), list(whole.items(middle))
        beyond = list(whole.items(whole.info.end_us + 1))
    monkeypatch.setattr(own_index, "MAP_FROM", 1)
    monkeypatch.setattr(own_index, "BLOCK_ROWS", 7)
    with OwnRecording(copy) as r:
        assert r.info == whole.info
        assert np.array_equal(r.rows, whole.rows)
        assert r.frame_times_us() == whole.frame_times_us()
        assert all(np.array_equal(a, b) for a, b in zip(r.packets(), whole.packets(), strict=True))
        for start, due in ((None, expected), (middle, after), (whole.info.end_us + 1, beyond)):
            got = list(r.items(start))
            assert len(got) == len(due)
            assert all(same(a, b) for a, b in zip(got, due, strict=True))


def test_a_row_takes_next_to_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three days of a DAVIS are 60 million rows."""
    short, folder = tmp_path / "short", tmp_path / "long"
    write_own(short, rig_of_config(CONFIG), items_of(CONFIG, 0.2))
    shutil.copytree(short, folder)
    rows, data = np.fromfile(short / INDEX_FILE, INDEX), (short / STREAMS).read_bytes()
    times = 300_000 // len(rows)
    turn = np.repeat(np.arange(times), len(rows))
    many = np.tile(rows, times)
    many["offset"] += (turn * len(data)).astype(np.uint64)
    many.tofile(folder / INDEX_FILE)
    with (folder / STREAMS).open("wb") as f:  # all holes but for its last chunk
        f.truncate(times * len(data))
        f.seek(int(many["offset"][-1]))
        f.write(data[int(rows["offset"][-1]) :])
    monkeypatch.setattr(own_index, "MAP_FROM", 1 << 20)
    n = len(many)
    del many, turn
    tracemalloc.start()
    try:
        with OwnRecording(folder) as r:
            assert len(r.rows) == n
            with pytest.raises(StopIteration):  # the holes are no chunks; finding the place took memory before
                next(r.items(r.info.end_us))
            stays, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * n
    assert stays < 4 * n


def test_an_empty_index_is_made_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_index, "MAP_FROM", 0)
    copy = tmp_path / "r"
    shutil.copytree(folder, copy)
    (copy / INDEX_FILE).write_bytes(b"")
    with OwnRecording(folder) as whole, OwnRecording(copy) as r:
        assert np.array_equal(r.rows, whole.rows)
