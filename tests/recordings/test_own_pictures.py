"""The table of times that this program writes beside pictures is read back; others are not taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.output.png import PngSequence, Stamp
from capture.packets import Events
from recordings.open import open_recording
from recordings.recording import RecordingError, Remark
from tests.recordings.make_datasets import FRAMES, made_image
from tests.recordings.make_folders import SIZE, write_intervals, write_pictures
from tests.recordings.make_prophesee import write as write_raw
from tests.recordings.reading import events_and_frames, same_events
from tests.recordings.test_picture_folders import EXPOSURES, full, right_pictures


def write_own_pictures(folder: Path, known: int = FRAMES) -> None:
    """As `export --to png` and `deblur` write them; the exposures of the last ones are not known."""
    folder.mkdir()
    pictures = PngSequence(folder)
    for k, (a, b) in enumerate(EXPOSURES):
        told = (a, b) if k < known else (None, None)
        pictures.add(made_image(k, SIZE), Stamp(k, k, 0.5, (a + b) // 2, *told, "trigger", 1.0))
    pictures.close()


def test_pictures_that_this_program_wrote_are_read_back(tmp_path: Path) -> None:
    whole = full()
    write_own_pictures(tmp_path / "frames", FRAMES - 1)
    with open_recording(tmp_path) as r:
        assert any("no events are in the folder" in p for p in r.info.problems)
    (tmp_path / "frames" / "export.json").write_text('{"network": "none"}')
    write_raw(tmp_path / "events.raw", "evt3", whole, header="% evt 3.0\n% geometry 64x48\n% end\n")
    with open_recording(tmp_path, deadline_s=30.0) as r:
        events, frames = events_and_frames(r)
        a, b = EXPOSURES[-1]
        assert r.frame_times_us() == [*EXPOSURES[:-1], ((a + b) // 2, None)]
        assert [p for p in r.info.problems if not isinstance(p, Remark)] == []
    assert same_events(events, whole)
    assert right_pictures(frames)


def test_pictures_that_lie_beside_the_events_are_told_of(tmp_path: Path) -> None:
    whole = full()
    write_own_pictures(tmp_path / "frames")
    late = Events(whole.t + 10**9, whole.x, whole.y, whole.p, whole.width, whole.height)
    write_raw(tmp_path / "events.raw", "evt3", late, header="% evt 3.0\n% geometry 64x48\n% end\n")
    with open_recording(tmp_path, deadline_s=30.0) as r:
        (said,) = [p for p in r.info.problems if not isinstance(p, Remark)]
    assert "timestamps.csv: no picture lies among the events" in said


def test_pictures_that_were_restored_have_no_exposure(tmp_path: Path) -> None:
    write_own_pictures(tmp_path / "frames")
    (tmp_path / "frames" / "report.json").write_text('{"network": "edi"}')
    with open_recording(tmp_path) as r:
        assert r.frame_times_us() == [((a + b) // 2, None) for a, b in EXPOSURES]
        assert any("restored by edi" in p for p in r.info.problems)


def test_a_damaged_row_of_our_own_table_is_named(tmp_path: Path) -> None:
    write_own_pictures(tmp_path / "frames")
    table = tmp_path / "frames" / "timestamps.csv"
    table.write_text(table.read_text().replace(f",{EXPOSURES[1][0]},", ",here,"))
    with pytest.raises(RecordingError, match=r"timestamps\.csv, line 3: expected file, time_us"):
        open_recording(tmp_path)


@pytest.mark.parametrize("heading", ['"', "# " + "-" * 140_000], ids=["quote", "long"])
def test_other_tables_are_read_whatever_their_first_line_is(tmp_path: Path, heading: str) -> None:
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    rows = [f"{a} {b}" for a, b in EXPOSURES]
    (tmp_path / "exposures.txt").write_text("\n".join([heading, *rows, *("# more" for _ in range(30_000))]))
    with open_recording(tmp_path) as r:
        assert r.frame_times_us() == EXPOSURES


def test_a_quote_that_nothing_closes_is_named(tmp_path: Path) -> None:
    write_own_pictures(tmp_path / "frames")
    table = tmp_path / "frames" / "timestamps.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:2], '"' + "x" * 140_000, *lines[2:]]))
    with pytest.raises(RecordingError, match=r"timestamps\.csv, line 3: expected file, time_us"):
        open_recording(tmp_path)
