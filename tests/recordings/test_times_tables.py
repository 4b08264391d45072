"""Tables of times as cameras, scripts and spreadsheets write them: read where it is certain, else refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.formats.stamps import Stamps, read_stamps
from recordings.open import open_recording
from recordings.recording import Remark
from recordings.sandbox_child import Refused
from tests.recordings.make_datasets import FRAMES
from tests.recordings.make_folders import write_exposures, write_intervals, write_pictures
from tests.recordings.test_picture_folders import EXPOSURES, full

STARTS = [a for a, _ in EXPOSURES]
PAIRS: list[tuple[float, ...]] = [(float(a), float(b)) for a, b in EXPOSURES]
TIMES: list[tuple[float, ...]] = [(float(a),) for a in STARTS]


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Stamps:
    path = tmp_path / "timestamps.csv"
    path.write_bytes(text.encode(encoding))
    return read_stamps(path)


def rows(form: str, heading: str = "", end: str = "\n") -> str:
    """Lines of a form with k, a (start), b (end), n (length)."""
    lines = [form.format(k=k, a=a, b=b, n=b - a, sa=a / 1e6, sb=b / 1e6) for k, (a, b) in enumerate(EXPOSURES)]
    return end.join([*([heading] if heading else []), *lines]) + end


def seconds(text: str) -> str:
    return text.replace(".", ",")


@pytest.mark.parametrize("text", [
    rows("1{k:02d},{a}", "frame_id,timestamp_us"),
    rows("1{k:02d} {a}", "# frame_id timestamp us"),
    rows("{k},{a},7.5", "idx,t_us,gain"),
    rows("{a};Frame {k}.png", "time_us;name"),
    rows("{k} {a}"),
    rows("1{k:02d} {a}", "# frame timestamps"),
])  # fmt: skip
def test_numbers_and_times(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, text).rows == TIMES


@pytest.mark.parametrize("text", [
    rows("1{k:02d},{a},{b}", "# frame_id, exposure_start_us, exposure_end_us"),
    rows("1{k:02d},{a},{b}", "# us"),
    rows("{k},{a},{b}", "# us"),
    rows("{a} {b}", "# us"),
    rows("{a} {b}", "# start end [us]"),
    rows("f{k}.png,{a},{n}", "name,timestamp_us,exposure_us"),
    rows("{a},{n}", "timestamp_us,exposure_us"),
    rows("{k},{a}000,{n}", "frameId,timestamp_ns,exposureTime_us"),
    rows("{a} {n}", "# image timestamp in us, exposure time in us"),
    rows("{a} {n}", "# in us\n# timestamp exposure"),
    rows("{a},{b}", "us"),
    # Titles, which name no columns.
    rows("{a} {b}", "# exposure times in us"),
    rows("{a} {b}", "# exposure timestamps"),
    rows("{a} {b}", "# frame exposures"),
    rows("{a} {b}", "# frame times"),
    rows("1{k:02d} {a} {b}", "# frame exposure times"),
    rows("{a},{b}", "# exposures of the frames, start and end in µs"),
    rows("1{k:02d} {a} {b}", "# us\n# exposure times here"),
    rows("{a},{b},{a}.png", "#start_us,end_us,filename"),
    rows("1{k:02d} {a} {b}", "# us\n# frame_id start end\n# 3 cameras used"),
    rows('"f{k}.png","{a}","{b}"', '"name","start_us","end_us"'),
    rows("f{k}.png,{a},{b},1.5,left", "name,start_us,end_us,gain,camera"),
    rows("{a}\t{b}", "exposureStart_us\texposureEnd_us", "\r\n"),
    "\ufeff" + rows("{a},{b}"),
])  # fmt: skip
def test_exposures(tmp_path: Path, text: str) -> None:
    found = table(tmp_path, text)
    scale = 1e-3 if found.unit == "ns" else 1.0
    assert [tuple(v * scale for v in r) for r in found.rows] == PAIRS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_as_spreadsheets_write_them(tmp_path: Path, encoding: str) -> None:
    """With names of spaces, a byte-order mark and the decimal comma of half of Europe."""
    text = seconds(rows("Frame {k};{sa:.6f};{sb:.6f}", "name;start [s];end [s]"))
    found = table(tmp_path, text, encoding)
    assert found.names == [f"Frame {k}" for k in range(FRAMES)]
    assert (found.unit, found.rows) == ("s", [(a / 1e6, b / 1e6) for a, b in PAIRS])
    with_folders = rows("C:\\frames\\Frame {k}.TIFF,{a},{b}", "filename,start_us,end_us")
    assert table(tmp_path, with_folders).names == [f"Frame {k}.TIFF" for k in range(FRAMES)]


@pytest.mark.parametrize(("text", "said"), [
    # Numbers that a camera counts, in front of times, that nothing names; they were restored as exposures.
    (rows("1{k:02d},{a}"), "its two columns overlap or run back; if the first is a number, or the second"),
    ("0,1000\n1,41000\n3,121000\n", "its two columns overlap or run back"),
    ("0 0.5\n1 1.5\n2 2.5\n", "may be the pictures' number or the start of an exposure"),
    (rows("{a},{n}"), "its two columns overlap or run back"),
    (rows("{a},{b},{b}1"), "nothing tells which of three numbers"),
    (rows("{k},{a},{n}"), "nothing tells which of three numbers"),
    (rows("{a} {b}", "# timestamp host_timestamp"), "does not tell whether a line is the start and the end"),
    (rows("{a} {b}", "# timestamps exposures"), "does not tell whether a line is the start and the end"),
    (rows("{a} {b}", "# frame time"), "does not tell whether a line is the start and the end"),
    ("# frame times\n0 0.5\n1 1.5\n2 2.5\n", "may be the pictures' number or the start of an exposure"),
    (rows("{a},{b}", "timestamp,host_timestamp"), "do not tell each exposure once; name the columns"),
    (rows("{n}", "exposure_us"), "holds lengths of exposures and no times; write a line START LENGTH"),
    # As a camera may give them: times in ns, lengths in µs.
    (rows("{a}000,{n}", "timestamp,exposure"), "does not say the unit of times and of lengths of exposures"),
    (rows("{a},{n}", "timestamp,exposure_us"), "nothing tells the unit of 'timestamp'"),
    (rows("{a},{b}", "start_us,end_ms"), "are in two units"),
    # Decimal commas between commas, and what may be one or not.
    (seconds(rows("{sa:.6f}", "time [s]")), "line 2: '1,000000' has decimal commas, or numbers with"),
    ("frame,t_us\n1,10\n10,100\n2,20\n", "the pictures' numbers in it do not increase; sort its lines"),
    (rows("{k},{a},{b}", "start,end"), "its heading 'start,end' names 2 columns, line 2 has 3"),
    ("1,010000\n1,050000\n1,090000\n", "line 1: '1,010000' has decimal commas, or numbers with zeros"),
    ("1,5\n1,6\n1,7\n", "its two columns overlap"),
    ("1,010;1,030\n1,050;1,070\n", "1,010 may be 1.010 or 1010; write it with a point"),
    (rows("my frame {k}.png {a}"), "put names with spaces between commas"),
    ("f1.png,1,2\nf2.png,3\n", "line 2: has 2 columns, line 1 has 3"),
    ("f1.png,1,2\nf2.png,3,x\n", "line 2: 'x' is no number"),
    ("f1.png,1\nf1.png,3\n", "line 2: f1.png has another time already"),
    ("1,2\n3,4\nend of file\n", "line 3: 'end of file' holds no time"),
])  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Refused) as e:
        table(tmp_path, text)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("heading", "name", "unit"), [
    ("# timestamps of 20 frames recorded in 2 s by cam", "timestamps", ""),
    ("# exposure 5 ms", "timestamps", ""),
    ("# exposure time: 5000 us", "timestamps", ""),
    ("# timestamps of the second camera, of a Jetson Nano", "timestamps", ""),
    ("# timestamps of the frames, exposure in ms", "timestamps", ""),
    ("", "timestamps_5ms", ""),
    ("# timestamps of 20 frames in ns", "timestamps", "ns"),
    ("# frame stamps (unit: s)", "timestamps", "s"),
    ("# exposure in ms", "exposures", "ms"),
    ("", "timestamps_left_ns", "ns"),
    ("", "frame_times_us", "µs"),
])  # fmt: skip
def test_a_unit_is_told_of_times_alone(tmp_path: Path, heading: str, name: str, unit: str) -> None:
    """Amounts and words of prose are none; frames were read a thousand times too far apart, silently."""
    path = tmp_path / f"{name}.txt"
    path.write_text(rows("{a}", heading))
    assert read_stamps(path).unit == unit


def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "images", "f{:d}.png")
    write_intervals(tmp_path / "events", full())
    return tmp_path


def test_a_time_whose_picture_is_not_there_is_told(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "timestamps.csv").write_text(rows("f{k}.png,{a},{b}", "name,start_us,end_us"))
    (path / "images" / "f3.png").unlink()
    with open_recording(path) as r:
        assert r.frame_times_us() == [e for k, e in enumerate(EXPOSURES) if k != 3]
        (said,) = [p for p in r.info.problems if not isinstance(p, Remark)]
    assert said == "timestamps.csv has times of 1 pictures that are not there (the first: f3.png)"


def test_names_without_their_endings(tmp_path: Path) -> None:
    path = folder(tmp_path)
    lines = rows("f{k},{a},{b}", "name,start_us,end_us").splitlines()
    (path / "timestamps.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    with open_recording(path) as r:
        assert r.frame_times_us() == EXPOSURES
        assert all(isinstance(p, Remark) for p in r.info.problems)


def test_exposures_of_minutes_are_a_mistake_of_unit(tmp_path: Path) -> None:
    path = folder(tmp_path)
    write_exposures(path / "timestamps.csv", "# start, end in ms")
    with pytest.raises(Exception, match=r"in ms an exposure lasts 60 s, which none does \(10 s at most\)"):
        open_recording(path)


def test_numbers_are_no_starts_of_exposures(tmp_path: Path) -> None:
    """With events from 0 s on frames were restored from exposures between a number and a time."""
    path = folder(tmp_path)
    (path / "timestamps.csv").write_text(rows("1{k:02d},{a}", "frame_id,timestamp_us"))
    with open_recording(path) as r:
        assert r.frame_times_us() == [(a, None) for a in STARTS]


def test_lengths_alone_are_no_times(tmp_path: Path) -> None:
    """All frames lay within a fraction of a millisecond, silently."""
    path = folder(tmp_path)
    lengths = "# exposure [us]\n" + "".join(f"{5000 + k % 2}\n" for k in range(FRAMES))
    for side in ("left", "right"):
        (path / f"image_exposures_{side}.txt").write_text(lengths)
    with pytest.raises(Exception, match=r"image_exposures_left\.txt holds lengths of exposures and no times"):
        open_recording(path)
    for side in ("left", "right"):
        (path / f"image_timestamps_{side}.txt").write_text(rows("{a}", "# timestamp [us]"))
    with open_recording(path) as r:
        assert r.frame_times_us() == [(a, None) for a in STARTS]
        assert any("image_exposures_left.txt holds lengths" in p for p in r.info.problems)
