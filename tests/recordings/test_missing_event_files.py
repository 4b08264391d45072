"""Files of events that are damaged or not there: named, and the stream is interrupted in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket
from recordings.checking.verify import verify
from recordings.formats.highrev import _missing
from recordings.formats.names import skipped
from recordings.open import open_recording
from recordings.recording import Recording, RecordingError, Remark
from tests.recordings.make_folders import write_exposures, write_highrev, write_intervals, write_pictures
from tests.recordings.test_picture_folders import EXPOSURES, full

END_US = EXPOSURES[-1][1]


def losses(r: Recording) -> list[str]:
    return [p for p in r.info.problems if not isinstance(p, Remark)]


def gaps(r: Recording) -> list[tuple[int, int]]:
    """Times that packets cover whose stream was interrupted, joined where they touch."""
    found, before = list[tuple[int, int]](), r.info.start_us
    for p in (i for i in r.items() if isinstance(i, EventPacket)):
        if p.gap:
            joined = found and found[-1][1] == before
            found.append((found.pop()[0] if joined else before, p.complete_until_us))
        before = p.complete_until_us
    return found


def lie_around(found: list[tuple[int, int]], *lost: tuple[int, int]) -> bool:
    """As many gaps as losses, each of which covers its own, and no more than a packet or two around it."""
    near = 30_000
    return len(found) == len(lost) and all(
        c - near <= a <= c < d <= b <= d + near for (a, b), (c, d) in zip(found, lost, strict=True)
    )


def bs_ergb(path: Path) -> Path:
    write_pictures(path / "images")
    write_intervals(path / "events", full())
    write_exposures(path / "images" / "exposures.txt")
    return path


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_damaged_file_costs_its_own_events(tmp_path: Path, place: int) -> None:
    """As a broken copy leaves it; it made the whole folder unreadable."""
    path = bs_ergb(tmp_path)
    (path / "events" / f"{place:06d}.npz").write_bytes(b"")
    with open_recording(path) as r:
        (said,) = losses(r)
        assert said.startswith(f"{place:06d}.npz: its directory is damaged or cut off")
        assert said.endswith("; its events are missing")
        assert r.frame_times_us() == EXPOSURES
        if place:
            assert lie_around(gaps(r), (EXPOSURES[place][0], (EXPOSURES[place + 1 :] or [(END_US, 0)])[0][0]))
        else:
            assert r.info.start_us == EXPOSURES[0][0]
            list(r.items())
        assert [p for p in r.report.problems if not isinstance(p, Remark)] == [said]
    assert verify(path).grade == 1


def test_a_file_that_is_not_there_is_noticed(tmp_path: Path) -> None:
    path = bs_ergb(tmp_path)
    (path / "events" / "000002.npz").unlink()
    with open_recording(path) as r:
        assert losses(r) == ["1 file is missing between 000001.npz and 000003.npz, and their events"]
        assert lie_around(gaps(r), (EXPOSURES[2][0], EXPOSURES[3][0]))
    assert verify(path).grade == 1


def test_files_that_are_numbered_with_a_hole_lose_nothing(tmp_path: Path) -> None:
    path = bs_ergb(tmp_path)
    for k in (4, 3):
        (path / "events" / f"{k:06d}.npz").rename(path / "events" / f"{k + 1:06d}.npz")
    with open_recording(path) as r:
        assert losses(r) == []
        assert gaps(r) == []


def test_intervals_with_a_hole_tell_no_times(tmp_path: Path) -> None:
    """With one interval for each picture a missing one shifted all pictures behind it."""
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    file = tmp_path / "events" / "000002.npz"
    kept = file.read_bytes()
    file.write_bytes(b"")
    with pytest.raises(
        RecordingError, match=r"event files do not tell them: 000002\.npz: its directory is damaged"
    ):
        open_recording(tmp_path)
    file.unlink()
    with pytest.raises(RecordingError, match="numbers are left out in the names of its event files"):
        open_recording(tmp_path)
    file.write_bytes(kept)
    with open_recording(tmp_path) as r:
        assert len(r.frame_times_us()) == len(EXPOSURES)


def test_all_damaged_or_alone_is_refused(tmp_path: Path) -> None:
    path = bs_ergb(tmp_path)
    for file in (path / "events").iterdir():
        file.write_bytes(b"")
    with pytest.raises(RecordingError, match="its directory is damaged or cut off"):
        open_recording(path)


@pytest.mark.parametrize(("names", "found"), [
    ("000000 000001 000003", {2: 1}), ("0 2 4 6 12", {4: 2}), ("1 2 3", {}), ("1 5 90 91", {}), ("1 2", {}),
    ("a1 a2 b4", {}), ("1 2 x", {}), ("1000000 1040000 1120000", {2: 1}),
])  # fmt: skip
def test_numbers_that_are_left_out(names: str, found: dict[int, int]) -> None:
    assert skipped([Path(f"{n}.npz") for n in names.split()]) == found


@pytest.mark.parametrize(("gone", "said", "untold", "begin"), [
    ("02_01", "event files between SEQ_00002_00.npz and SEQ_00002_02.npz are missing", False, 20_000),
    ("02_00", "event files of SEQ_00002 before SEQ_00002_01.npz are missing", True, 0),
    ("02_03", "event files of SEQ_00002 behind SEQ_00002_02.npz are missing", True, 60_000),
])  # fmt: skip
def test_highrev_lacks_a_file(tmp_path: Path, gone: str, said: str, untold: bool, begin: int) -> None:
    write_highrev(tmp_path, full(20_000))
    (tmp_path / "event" / f"SEQ_000{gone}.npz").unlink()
    with open_recording(tmp_path) as r:
        assert losses(r) == [said]
        assert [e is None for _, e in r.frame_times_us()] == [False, False, untold, False, True]
        lost = EXPOSURES[2][0] + begin
        assert lie_around(gaps(r), (lost, min(lost + 20_000, EXPOSURES[3][0])))


@pytest.mark.parametrize(("counts", "lacking"), [
    ((4, 4, 3, 4, 4), [2]), ((5, 4, 5, 4, 5, 5), [1, 3]), ((3, 4, 5, 4, 4, 4), []), ((5, 4, 3, 4, 5, 5), []),
])  # fmt: skip
def test_highrev_lacks_the_last_files_of_frames(counts: tuple[int, ...], lacking: list[int]) -> None:
    """Of two frames in six nothing was told and their exposures were too short; numbers may vary by nature."""
    groups = [[Path(f"SEQ_{k:05d}_{i:02d}.npz") for i in range(n)] for k, n in enumerate(counts)]
    found, untold = _missing(groups)
    assert untold == {sum(counts[:k]) for k in lacking}
    assert [line.split(" behind ")[0] for line in found.values()] == [
        f"event files of SEQ_{k:05d}" for k in lacking
    ]


def test_highrev_with_files_of_other_names(tmp_path: Path) -> None:
    """Copies of files made the folder unreadable, with a message of Python's."""
    write_highrev(tmp_path, full(20_000))
    with open_recording(tmp_path) as r:
        before = r.frame_times_us()
    folder = tmp_path / "event"
    copied = (folder / "SEQ_00002_02.npz").read_bytes()
    for name in ("SEQ_00000_00 (1)", "SEQ_00002_02 (1)", "SEQ_00002_x"):
        (folder / f"{name}.npz").write_bytes(copied)
    with open_recording(tmp_path) as r:
        (said,) = [p for p in r.info.problems if "left out" in p]
        assert said == (
            "3 event files are not named as NAME_00001_02.npz and left out (the first: SEQ_00000_00 (1).npz)"
        )
        assert losses(r) == []
        assert r.frame_times_us() == before


def test_highrev_with_a_damaged_file(tmp_path: Path) -> None:
    write_highrev(tmp_path, full(20_000))
    (tmp_path / "event" / "SEQ_00001_00.npz").write_bytes(b"")
    (tmp_path / "event" / "SEQ_00003_01.npz").write_bytes(b"")
    with open_recording(tmp_path) as r:
        assert [s.split(":")[0] for s in losses(r)] == ["SEQ_00001_00.npz", "SEQ_00003_01.npz"]
        assert [e is None for _, e in r.frame_times_us()] == [False, True, False, False, True]
        first, second = EXPOSURES[1][0], EXPOSURES[3][0] + 20_000
        assert lie_around(gaps(r), (first, first + 20_000), (second, second + 20_000))


def test_an_empty_file_at_the_end_is_no_time_of_zero(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    last = tmp_path / "events" / "000004.npz"
    with np.load(last) as f:
        np.savez(last, **{k: f[k][:0] for k in f.files})
    with open_recording(tmp_path) as r:
        assert r.info.start_us == EXPOSURES[0][0]
        assert r.frame_times_us()[-1][0] >= EXPOSURES[3][1]
