"""`repair`: everything that is readable is kept, and the report is right about the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from capture.packets import EventPacket, Frame
from recordings.checking.findings import Grade
from recordings.checking.repair_aedat4 import repair_aedat4
from recordings.checking.repair_own import RepairReport, repair_own
from recordings.checking.verify import verify
from recordings.formats.own_about import ABOUT, HEALTH, INDEX_FILE, STREAMS
from recordings.formats.own_chunks import EVENTS, FRAME, HEADER
from recordings.formats.own_index import Rows
from recordings.open import open_recording
from recordings.recording import RecordingError
from tests.recordings.damage import (
    change_health,
    cut,
    flip,
    killed,
    nth,
    rows_of,
    wrong_data,
    wrong_header,
)
from tests.recordings.own_sample import Item, same


def repaired(copy: Path, about: Path | None = None) -> tuple[RepairReport, list[Item], Path]:
    out = copy.parent / "out"
    out.mkdir()
    report = repair_own(copy, out, about=about)
    with open_recording(out) as r:
        items = list(r.items())
        assert r.report.problems == list(r.info.problems)
    return report, items, out


def without_gap(i: Item) -> Iterator[object]:
    yield i.complete_until_us if isinstance(i, EventPacket) else i.sequence


def test_a_sound_recording_comes_back_complete(copy: Path, given_items: list[Item]) -> None:
    report, items, out = repaired(copy)
    assert (report.verdict, report.losses.any, report.bytes_unread, report.unfinished) == (
        "complete", False, 0, "",
    )  # fmt: skip
    assert all(same(a, b) for a, b in zip(items, given_items, strict=True))
    assert (out / STREAMS).read_bytes() == (copy / STREAMS).read_bytes()
    assert (out / INDEX_FILE).read_bytes() == (copy / INDEX_FILE).read_bytes()
    assert verify(out).grade == Grade.NOTE


def test_progress_goes_on_through_copying_and_reading_back(copy: Path) -> None:
    shares: list[float] = []
    out = copy.parent / "out"
    out.mkdir()
    report = repair_own(copy, out, progress=shares.append)
    assert shares == sorted(shares)
    told = (report.packets + report.frames) // 64
    for part in range(3):
        mine = [s for s in shares if part / 3 <= s < (part + 1) / 3]
        assert len(mine) >= told
        assert max(mine) > (part + 0.5) / 3


def test_damage_in_the_middle_costs_its_chunks_and_leaves_a_gap(copy: Path, given_items: list[Item]) -> None:
    rows = rows_of(copy)
    lost = [nth(rows, EVENTS, 10), nth(rows, EVENTS, 11), nth(rows, FRAME, 5), nth(rows, EVENTS, 60)]
    for n in lost[:-1]:
        wrong_data(copy, n)
    wrong_header(copy, lost[-1])
    report, items, out = repaired(copy)
    kept = [i for n, i in enumerate(given_items) if n not in lost]
    assert [list(without_gap(i)) for i in items] == [list(without_gap(i)) for i in kept]
    x = report.losses
    gone = rows[[n for n in lost if rows["kind"][n] == EVENTS]]
    assert (x.packets, x.events, x.frames, x.unknown) == (3, int(gone["amount"].sum()), 1, 0)
    assert report.verdict == "lossy"
    # Whoever reads it is told where: the packets behind the holes, and only these.
    gaps = [n for n, i in enumerate(items) if isinstance(i, EventPacket) and i.gap]
    want = [kept.index(next(i for i in given_items[n + 1 :] if isinstance(i, EventPacket) and i in kept))
            for n in (lost[1], lost[-1])]  # fmt: skip
    assert gaps == want
    v = verify(out)
    assert v.grade == Grade.LOSS
    found = {f"{f.where}: {f.text}" for f in v.findings}
    assert {"recorder: lost 3 damaged event packets", "recorder: lost 1 damaged frames"} <= found
    assert not any("camera frames" in f or HEALTH in f for f in found)


def test_without_the_index_a_destroyed_header_is_of_unknown_kind(copy: Path, given_items: list[Item]) -> None:
    """The number is missing; `health.json` tells what is."""
    rows = rows_of(copy)
    n = nth(rows, FRAME, 4)
    wrong_header(copy, n)
    (copy / INDEX_FILE).unlink()
    report, items, _ = repaired(copy)
    assert (report.losses.frames, report.losses.unknown) == (1, 0)
    assert len(items) == len(given_items) - 1
    (copy / HEALTH).unlink()
    out = copy.parent / "blind"
    out.mkdir()
    blind = repair_own(copy, out)
    assert (blind.losses.frames, blind.losses.unknown) == (0, 1)
    with open_recording(out) as r:
        after = [i for i in r.items() if isinstance(i, EventPacket) and i.gap]
    assert len(after) == 1  # what it was is not known, so it may have been events


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
@pytest.mark.parametrize("with_index", [True, False])
def test_a_cut_copy_keeps_what_is_there(
    copy: Path, given_items: list[Item], share: float, with_index: bool
) -> None:
    rows = rows_of(copy)
    cut(copy, share)
    whole = int((rows["offset"] + HEADER.size + rows["meta"] + rows["body"] <= _size(copy)).sum())
    if not with_index:
        (copy / INDEX_FILE).unlink()
    report, items, out = repaired(copy)
    assert len(items) == whole
    assert all(same(a, b) for a, b in zip(items, given_items, strict=False))
    gone = rows[whole:]
    assert_lost(report, gone)
    assert report.bytes_unread == _size(copy) - int(rows["offset"][whole])
    assert verify(out).grade == Grade.LOSS


def assert_lost(report: RepairReport, gone: Rows) -> None:
    events = gone[gone["kind"] == EVENTS]
    x = report.losses
    assert (x.packets, x.frames, x.unknown) == (len(events), int((gone["kind"] == FRAME).sum()), 0)
    assert (x.events, x.edges) == (int(events["amount"].sum()), int(events["edges"].sum()))


def _size(folder: Path) -> int:
    return (folder / STREAMS).stat().st_size


def test_a_killed_writer(copy: Path, given_items: list[Item]) -> None:
    killed(copy, 120, torn=100)
    report, items, out = repaired(copy)
    assert len(items) == 120
    assert report.verdict == "lossy"
    assert "at most about a second" in report.unfinished
    # The torn chunk's header is whole and tells what it was.
    assert report.losses.packets + report.losses.frames == 1
    health = json.loads((out / HEALTH).read_text())
    assert (health["state"], health["before"]) == ("repaired with losses", "recording")
    assert health["repair"]["kept"]["frames"] == report.frames == sum(isinstance(i, Frame) for i in items)


def test_what_the_recorder_had_counted_and_not_written_is_lost(copy: Path) -> None:
    """It was killed while items waited for the disk; the last health.json counts them."""
    health = json.loads((copy / HEALTH).read_text())
    killed(copy, 120, torn=0)
    change_health(copy, **{k: health[k] for k in ("frames", "events", "event_packets", "edges")})
    rows_before = health["event_packets"], health["frames"]
    report, _, _ = repaired(copy)
    assert (report.packets + report.losses.packets, report.frames + report.losses.frames) == rows_before


def test_a_full_disk_is_lossy_and_says_how_many(copy: Path) -> None:
    change_health(copy, state="stopped", message="disk full", losses={"disk items": 7})
    report, _, out = repaired(copy)
    assert report.verdict == "lossy"
    assert report.lines()[-1] == "not known: 7 items that a full or broken disk did not take any more"
    assert "lost while recording: 7 disk items" in open_recording(out).info.problems


def test_without_recording_toml_another_one_serves(copy: Path, made: Path, given_items: list[Item]) -> None:
    (copy / ABOUT).unlink()
    (copy.parent / "o").mkdir()
    with pytest.raises(RecordingError, match=r"without a recording\.toml .* --about FILE"):
        repair_own(copy, copy.parent / "o")
    report, items, _ = repaired(copy, about=made / ABOUT)
    assert (report.verdict, len(items)) == ("complete", len(given_items))


def test_nothing_is_nothing(copy: Path) -> None:
    (copy / STREAMS).write_bytes(bytes(10_000))
    (copy.parent / "out").mkdir()
    with pytest.raises(RecordingError, match="nothing can be saved; there is not one whole item"):
        repair_own(copy, copy.parent / "out")


def test_repairing_twice_changes_nothing_more(copy: Path) -> None:
    wrong_data(copy, 30)
    first, _, out = repaired(copy)
    again = copy.parent / "again"
    again.mkdir()
    second = repair_own(out, again)
    assert second.verdict == "complete"
    assert (second.packets, second.frames) == (first.packets, first.frames)
    assert (again / STREAMS).read_bytes() == (out / STREAMS).read_bytes()
    losses = [json.loads((f / HEALTH).read_text())["losses"] for f in (out, again)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("seed", range(20))
def test_random_wrong_bytes_never_cost_more_than_their_chunks(
    copy: Path, given_items: list[Item], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    places = rng.integers(0, _size(copy), 3).tolist()
    rows = rows_of(copy)
    for at in places:
        flip(copy, at)
    hit = set((np.searchsorted(rows["offset"], places, side="right") - 1).tolist())
    if seed % 2:
        (copy / INDEX_FILE).unlink()
    report, items, _ = repaired(copy)
    assert len(items) == len(given_items) - len(hit)
    assert report.losses.packets + report.losses.frames + report.losses.unknown == len(hit)


# -- AEDAT4 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_cut_aedat4_is_saved(sample: Path, tmp_path: Path, share: float) -> None:
    data = sample.read_bytes()
    broken = tmp_path / "broken.aedat4"
    broken.write_bytes(data[: int(len(data) * share)])
    with open_recording(broken) as r:
        before = sum(len(i.events) for i in r.items() if isinstance(i, EventPacket))
    report = repair_aedat4(broken, tmp_path / "out.aedat4")
    assert report.missing > 0
    v = verify(tmp_path / "out.aedat4")
    assert v.grade == Grade.NOTE
    assert v.counts["events"] == before > 0


def test_a_whole_aedat4_is_left_alone(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="there is nothing to mend"):
        repair_aedat4(sample, tmp_path / "out.aedat4")
    assert not (tmp_path / "out.aedat4").exists()
