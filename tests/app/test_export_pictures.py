"""A part of a recording as pictures: what lies before it is neither read nor restored, and changes nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import offline_input
from app.cli.export import _shown
from app.cli.program import execute
from app.export import ExportRequest, NothingExported
from app.export_pictures import RUN_IN, export_pictures
from app.offline_input import Item, open_input
from capture.packets import Frame
from inference.engine import Engine
from tests.app.offline_source import PERIOD_US, START_US, exposure_of, items, rig, source
from tests.recordings.own_sample import write_own

FRAMES = 60


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sequence numbers of the frames that a network was run on."""
    seen: list[int] = []
    run = Engine._run

    def counted(self: Engine, *a: object) -> object:
        seen.append(a[1].frame.sequence - 100)  # type: ignore[attr-defined]
        return run(self, *a)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "_run", counted)
    return seen


def wish(folder: Path, first: int, last: int | None = None) -> ExportRequest:
    """The frames from one to the other."""
    until_us = None if last is None else exposure_of(last)[1] - START_US
    # The first event comes some µs after the stream's beginning.
    return ExportRequest(folder, "x", from_us=exposure_of(first)[0] - START_US - 2000, until_us=until_us)


def test_only_some_exposures_before_the_part_are_restored(tmp_path: Path, restored: list[int]) -> None:
    result, w = export_pictures(
        "png", source(items(FRAMES), FRAMES), wish(tmp_path / "a", 40, 45), "none", {}, "cpu"
    )
    assert [t // PERIOD_US for t in w.times_us] == [exposure_of(k)[0] // PERIOD_US for k in range(40, 46)]
    assert restored[0] == 40 - RUN_IN
    assert result.outside == 40 - RUN_IN
    assert w.skipped == FRAMES - 6
    assert result.frames_in == result.restored + result.outside + len(result.refused)


def test_refused_frames_of_before_count_as_outside_and_those_without_times_as_refused(tmp_path: Path) -> None:
    made = items(FRAMES, unexposed=(3, 42), events_until=None)
    result, w = export_pictures("png", source(made, FRAMES), wish(tmp_path / "a", 40), "none", {}, "cpu")
    assert result.frames_in == FRAMES == len(w.times_us) + w.skipped + len(result.refused) + result.dropped


def test_a_part_behind_the_end_is_said_to_hold_none(tmp_path: Path) -> None:
    with pytest.raises(NothingExported, match="none of 60 pictures lies between the times asked for"):
        export_pictures("png", source(items(FRAMES), FRAMES), wish(tmp_path / "a", 500), "none", {}, "cpu")
    assert not (tmp_path / "a").exists()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_own(tmp_path / "own", rig(), items(FRAMES))
    return tmp_path / "own"


def test_reading_begins_shortly_before_the_part(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = ["export", str(recording), "--to", "png", "--from", "1.8", "--until", "2.1"]
    assert execute([*part, "-o", str(tmp_path / "whole")]) == 0
    assert "frames in 60 " in capsys.readouterr().out
    monkeypatch.setattr(offline_input, "LEAD_US", 400_000)
    monkeypatch.setattr(offline_input, "LEAD_FRAMES", 5)
    assert execute([*part, "-o", str(tmp_path / "late")]) == 0
    assert "frames in 25 " in capsys.readouterr().out
    names = sorted(p.name for p in (tmp_path / "late").glob("*.png"))
    assert names == [f"exposure-{k:06d}-0.5000.png" for k in range(8)]
    tables = []
    for folder in ("whole", "late"):
        with (tmp_path / folder / "timestamps.csv").open(newline="") as f:
            tables.append(list(csv.DictReader(f)))
    assert tables[0] == tables[1]


def test_where_reading_begins_and_what_times_count_from(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_input, "LEAD_US", 400_000)
    monkeypatch.setattr(offline_input, "LEAD_FRAMES", 5)

    def firsts(
        from_us: int, zero_us: int | None = None, seconds: float | None = None
    ) -> tuple[int | None, int]:
        with open_input(str(recording), seconds, from_us=from_us, zero_us=zero_us) as s:
            frames = [i.sequence - 100 for i in s.items if isinstance(i, Frame)]
            return s.zero_us, frames[0]

    with open_input(str(recording)) as s:
        first = next(iter(s.items))
        whole_us = s.span_us
    assert firsts(300_000) == (None, 0), "not worth it"
    zero, frame = firsts(1_200_000)
    assert zero == int(first.events.t[0])  # type: ignore[union-attr]
    assert frame == 20
    assert firsts(1_200_000, START_US - 200_000) == (START_US - 200_000, 15)
    assert firsts(90_000_000)[1] == pytest.approx(50, abs=1), "behind the end: what is there of it"
    with open_input(str(recording), 2.0, from_us=1_200_000) as s:
        frames = [i for i in s.items if isinstance(i, Frame)]
        assert len(frames) == 30
        assert s.span_us == pytest.approx(1_200_000, abs=1000)
    assert whole_us > 2_300_000


def test_two_cameras_are_read_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells whose edge is whose may lie there."""
    monkeypatch.setattr(offline_input, "LEAD_US", 400_000)
    wired = rig().model_copy(update={"clock": rig().clock.model_copy(update={"relation": "trigger"})})
    write_own(tmp_path / "two", wired, items(FRAMES))
    with open_input(str(tmp_path / "two"), from_us=1_500_000) as s:
        assert s.zero_us is None
        assert sum(isinstance(i, Frame) for i in s.items) == FRAMES


def test_the_bar_goes_by_how_much_there_is() -> None:
    shares: list[float] = []

    def run(frames: int | None) -> Iterator[Item]:
        return _shown(items(FRAMES), FRAMES * PERIOD_US, frames, lambda _what, share: shares.append(share))

    assert len(list(run(None))) > FRAMES
    assert shares[-1] == 0.0, "reading back"
    assert shares[:-1] == sorted(shares[:-1])
    assert shares[-2] == pytest.approx(1.0, abs=0.03)
    shares.clear()
    list(run(5))
    assert set(shares) == {0.0}
