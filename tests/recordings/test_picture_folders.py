"""Folders of pictures with events: what was written comes back; what is not told is asked for, not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from capture.packets import Events, Frame
from recordings.checking.verify import verify
from recordings.open import open_recording
from recordings.recording import NotARecording, RecordingError, Remark
from tests.recordings.make_aedat import write_aedat2
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.make_datasets import EXPOSURE_US, FRAMES, exposure, made_events, made_image
from tests.recordings.make_folders import (
    SIZE,
    npz,
    write_exposures,
    write_highrev,
    write_intervals,
    write_pictures,
    write_text_events,
)
from tests.recordings.make_hdf5 import write_dsec
from tests.recordings.make_prophesee import write as write_raw
from tests.recordings.reading import events_and_frames, same_events

EXPOSURES = [exposure(k) for k in range(FRAMES)]


def full(n: int = 9000) -> Events:
    """Events that reach all of the picture; the first one at the first exposure's start."""
    e = made_events(n, size=SIZE)
    t = e.t.copy()
    t[0] = EXPOSURES[0][0]
    return Events(t, e.x, e.y, e.p, *SIZE)


def right_pictures(frames: list[Frame], size: tuple[int, int] = SIZE) -> bool:
    return [np.array_equal(f.image, made_image(k, size)) for k, f in enumerate(frames)] == [True] * FRAMES


@pytest.mark.parametrize("fixed", [1, 32])
def test_hs_and_bs_ergb(tmp_path: Path, fixed: int) -> None:
    """Images, events of every interval, timestamps; BS-ERGB's coordinates are 32nds of a pixel."""
    whole = full()
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", whole, fixed=fixed)
    stamps = [a for a, _ in EXPOSURES]
    (tmp_path / "images" / "timestamp.txt").write_text("".join(f"{t}\n" for t in stamps))
    middle = EXPOSURES[2][0]
    with open_recording(tmp_path) as r:
        events, frames = events_and_frames(r)
        assert (r.info.event_size, r.info.image_size, r.info.format) == (SIZE, SIZE, "pictures")
        assert r.info.by_driver  # nothing tells what stamped them
        assert [s for s, _ in r.frame_times_us()] == stamps
        assert {e for _, e in r.frame_times_us()} == {None}
        assert any("32nds of a pixel" in p for p in r.info.problems) == (fixed == 32)
        assert any("µs is the one that fits the events" in p for p in r.info.problems)
        later, some = events_and_frames(r, middle)
        facts = r.rig_facts()
    assert same_events(events, whole)
    assert right_pictures(frames)
    assert np.array_equal(later.t, whole.t[whole.t >= middle])
    assert [f.sequence for f in some] == [2, 3, 4]
    assert facts is not None
    assert facts.one_sensor
    with open_recording(tmp_path, exposure_us=EXPOSURE_US) as r:
        assert r.frame_times_us() == EXPOSURES


def test_without_a_text_file_times_follow_from_the_intervals(tmp_path: Path) -> None:
    whole = full()
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", whole)
    with open_recording(tmp_path) as r:
        starts = [int(whole.t[whole.t >= a][0]) for a, _ in EXPOSURES]
        assert [s for s, _ in r.frame_times_us()] == starts
        assert any("where the events of each interval begin" in p for p in r.info.problems)
    (tmp_path / "events" / "000003.npz").unlink()
    (tmp_path / "events" / "000002.npz").unlink()
    with pytest.raises(RecordingError, match="3 event files, which is not one for each interval"):
        open_recording(tmp_path)


def test_dsec_takes_the_left_side_and_its_exposures(tmp_path: Path) -> None:
    whole = full()
    for side in ("left", "right"):
        (tmp_path / "events" / side).mkdir(parents=True)
        write_dsec(tmp_path / "events" / side / "events.h5", whole, 900_000)
        (tmp_path / "events" / side / "rectify_map.h5").write_bytes(b"")
        write_pictures(tmp_path / "images" / side / "rectified", size=(96, 72))
        write_exposures(tmp_path / "images" / side / "exposure_timestamps.txt")
    (tmp_path / "images" / "timestamps.txt").write_text("".join(f"{a}\n" for a, _ in EXPOSURES))
    with open_recording(tmp_path, geometry=SIZE) as r:
        events, frames = events_and_frames(r)
        assert (r.info.format, r.info.event_size, r.info.image_size) == ("pictures+dsec-h5", SIZE, (96, 72))
        assert r.frame_times_us() == EXPOSURES
        assert r.rig_facts() is None
        said = " | ".join(r.info.problems)
    assert same_events(events, whole)
    assert right_pictures(frames, (96, 72))
    assert said.count("two sensors are in it, left and right; the left is read") == 1
    assert "rectify_map.h5 beside it is not applied" in said
    needed = "nothing tells how events of 64×48 lie on pictures of 96×72: a rig file is needed (--rig)"
    assert needed in said
    with open_recording(tmp_path, geometry=SIZE, rig=tmp_path / "rig.toml") as r:
        assert not any("rig file" in p for p in r.info.problems)
        assert any("rectify_map.h5" in p for p in r.info.problems)


@pytest.mark.parametrize("kind", ["aedat4", "raw", "aedat", "txt"])
def test_pictures_beside_any_events_file(tmp_path: Path, kind: str) -> None:
    whole = full()
    path = tmp_path / f"events.{kind}"
    writers: dict[str, Any] = {
        "aedat4": lambda: write_aedat4(path, whole),
        "raw": lambda: write_raw(path, "evt3", whole, header="% evt 3.0\n% geometry 64x48\n% end\n"),
        "aedat": lambda: write_aedat2(path, whole, chip="DAVIS", size=SIZE),
        "txt": lambda: write_text_events(path, whole),
    }
    writers[kind]()
    write_pictures(tmp_path / "frames", "{:d}.png")
    write_exposures(tmp_path / "exposures.csv")
    with open_recording(tmp_path, geometry=SIZE if kind == "aedat" else None, deadline_s=30.0) as r:
        events, frames = events_and_frames(r)
        assert r.frame_times_us() == EXPOSURES
        later, _ = events_and_frames(r, EXPOSURES[3][0])
    assert same_events(events, whole)
    assert right_pictures(frames)
    assert np.array_equal(later.t, whole.t[whole.t >= EXPOSURES[3][0]])


@pytest.mark.parametrize("exchanged", [True, False])
def test_highrev_with_its_exchanged_coordinates(tmp_path: Path, exchanged: bool) -> None:
    whole = full(20_000)
    write_highrev(tmp_path, whole, exchanged=exchanged)
    with open_recording(tmp_path) as r:
        events, frames = events_and_frames(r)
        times = r.frame_times_us()
        assert r.info.format == "highrev"
        assert any("are not exchanged in these files" in p for p in r.info.problems) != exchanged
    inside = [int(whole.t[(whole.t >= a) & (whole.t < b)][0]) for a, b in EXPOSURES]
    assert [s for s, _ in times] == inside
    ends = [int(whole.t[whole.t >= b][0]) for _, b in EXPOSURES[:-1]]
    assert [e for _, e in times] == [*ends, None]  # nothing lies behind the last exposure
    assert same_events(events, whole)
    assert right_pictures(frames)


@pytest.mark.parametrize("damaged", [False, True])
def test_highrev_with_a_table_of_exposures(tmp_path: Path, damaged: bool) -> None:
    """As our export writes one: nothing came behind the last exposure, so the event files do not tell it."""
    write_highrev(tmp_path, full(20_000))
    rows = [f"SEQ_{k:05d}.png,{a},{b}" for k, (a, b) in enumerate(EXPOSURES[: 2 if damaged else None])]
    (tmp_path / "exposures.csv").write_text("\n".join(["file,exposure_start_us,exposure_end_us", *rows]) + "\n")
    with open_recording(tmp_path) as r:
        times = r.frame_times_us()
        named = [p for p in r.info.problems if "exposures.csv" in p]
        # µs stand in the table's heading, and its exposures lie among the events.
        assert any("event files do not say their unit" in p for p in r.info.problems) == damaged
    if damaged:
        assert times[-1][1] is None
        assert named == [f"exposures.csv has no time for SEQ_00002.png ({FRAMES - 2} of {FRAMES} pictures); "
                         "it is left out"]  # fmt: skip
    else:
        assert times == EXPOSURES
        assert not named


@pytest.mark.parametrize("heading", ["file,start,end", "file,start_us,end_us"])
def test_a_table_that_does_not_tell_the_events_unit_leaves_the_question(tmp_path: Path, heading: str) -> None:
    """Events in ns: a table in ns that does not say so, and one in µs that lies among the events by chance."""
    e = full(20_000)
    write_highrev(tmp_path, e)
    begin, scale = (0, 1000) if heading == "file,start,end" else (int(e.t[0]), 1)
    for path in (tmp_path / "event").iterdir():
        with np.load(path) as f:
            columns = {k: f[k] for k in f.files}
        t = columns["timestamp"].astype(np.int64)
        columns["timestamp"] = begin + (t - begin) * 1000
        np.savez(path, **columns)
    rows = [f"SEQ_{k:05d}.png,{a * scale},{b * scale}" for k, (a, b) in enumerate(EXPOSURES)]
    (tmp_path / "exposures.csv").write_text("\n".join([heading, *rows]) + "\n")
    with open_recording(tmp_path) as r:
        assert r.info.end_us - r.info.start_us > 500 * (EXPOSURES[-1][1] - EXPOSURES[0][0])
        assert any("event files do not say their unit; it is taken as µs" in p for p in r.info.problems)


def test_several_sequences_of_highrev_are_named(tmp_path: Path) -> None:
    write_highrev(tmp_path, full(20_000))
    (tmp_path / "blur" / "OTHER_00001.png").write_bytes((tmp_path / "blur" / "SEQ_00001.png").read_bytes())
    with pytest.raises(
        RecordingError, match=r"holds 2 sequences \(OTHER, SEQ\); put one into a folder of its own"
    ):
        open_recording(tmp_path)


def test_the_grid_is_asked_for_when_events_do_not_fill_the_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", size=(256, 192))
    write_intervals(tmp_path / "events", full())
    with pytest.raises(RecordingError, match="do not fill the pictures of 256×192; state it: --geometry"):
        open_recording(tmp_path)
    with open_recording(tmp_path, geometry=SIZE) as r:
        assert (r.info.event_size, r.rig_facts()) == (SIZE, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join(f"{a / 1e6:.6f}" for a, _ in EXPOSURES), "s is the one that fits the events"),
        ("# ns\n" + "\n".join(f"{a * 1000}" for a, _ in EXPOSURES), ""),
        ("# the camera's stamps\n" + "\n".join(f"{a}" for a, _ in EXPOSURES), "µs is the one that fits"),
        ("# time of the camera’s exposure\n" + "\n".join(f"{a}" for a, _ in EXPOSURES), "µs is the one"),
        ("\n".join(f"{k} {a}" for k, (a, _) in enumerate(EXPOSURES)), "µs is the one that fits"),
        ("\n".join(f"{a / 1e6:.6f} images/{k:06d}.png" for k, (a, _) in enumerate(EXPOSURES)), "s is the one"),
    ],
)
def test_forms_and_units_of_times(tmp_path: Path, text: str, said: str) -> None:
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    (tmp_path / "images.txt").write_text(text)
    with open_recording(tmp_path) as r:
        assert [s for s, _ in r.frame_times_us()] == [a for a, _ in EXPOSURES]
        assert any(said in p for p in r.info.problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\n2\n3\n", "has 3 times for 5 pictures; they must agree"),
        ("\n".join(["123456789012345"] * 5), "does not say its unit, and in none"),
        ("1 2 3 4\n" * 5, "expected a time, or the start and the end of an exposure"),
        ("nothing\n", "is no list of times"),
    ],
)
def test_times_that_make_no_sense_are_refused(tmp_path: Path, text: str, said: str) -> None:
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    (tmp_path / "timestamps.txt").write_text(text)
    with pytest.raises(RecordingError, match=said):
        open_recording(tmp_path)


def test_exposures_of_no_length_or_less_are_shown_and_said(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    rows = [[a, b] for a, b in EXPOSURES]
    rows[1][1] = rows[1][0]
    rows[3][1] = rows[3][0] - 500
    (tmp_path / "exposures.txt").write_text("# us\n" + "\n".join(f"{a} {b}" for a, b in rows))
    with open_recording(tmp_path) as r:
        assert [e is None for _, e in r.frame_times_us()] == [False, True, False, True, False]
        assert any("2 exposures end where they start, or before" in p for p in r.info.problems)


def test_frames_alone_events_alone_and_neither(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a" / "images")
    write_exposures(tmp_path / "a" / "exposures.txt")
    with open_recording(tmp_path / "a") as r:
        _, frames = [], [i for i in r.items() if isinstance(i, Frame)]
        assert (r.info.event_size, r.info.image_size) == (None, SIZE)
        assert any("no events are in the folder" in p for p in r.info.problems)
    assert right_pictures(frames)
    (tmp_path / "b").mkdir()
    npz(tmp_path / "b" / "000000.npz", full())
    with pytest.raises(RecordingError, match="holds event files and no pictures; give the folder with both"):
        open_recording(tmp_path / "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(NotARecording, match="is a folder, not a recording"):
        open_recording(tmp_path / "c")


def test_damaged_and_huge_pictures_are_left_out(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    (tmp_path / "images" / "000001.png").write_bytes(b"no picture")
    data = bytearray((tmp_path / "images" / "000002.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "images" / "000002.png").write_bytes(data)
    assert cv2.imwrite(str(tmp_path / "images" / "000003.png"), made_image(3, (32, 24)))
    with open_recording(tmp_path) as r:
        _, frames = events_and_frames(r)
        assert [f.sequence for f in frames] == [0, 4]
        assert r.report.frames_rejected == 3
        said = " | ".join(r.report.problems)
    assert "000001.png is no picture" in said
    assert "32×24 pixels in a stream of 64×48" in said


def test_pickled_members_run_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    write_pictures(tmp_path / "images")
    (tmp_path / "events").mkdir()
    np.savez(
        tmp_path / "events" / "000000.npz",
        x=np.array([Evil()], object), y=np.zeros(1), timestamp=np.zeros(1), polarity=np.zeros(1),
    )  # fmt: skip
    with pytest.raises(RecordingError, match="holds Python objects, which are not read"):
        open_recording(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_how_it_is_read_is_no_loss(tmp_path: Path) -> None:
    """Units and grids that were decided are remarks; a folder that is whole is sound."""
    write_pictures(tmp_path / "images")
    write_intervals(tmp_path / "events", full())
    write_exposures(tmp_path / "exposures.txt", heading="")
    with open_recording(tmp_path) as r:
        assert r.info.problems
        assert all(isinstance(p, Remark) for p in r.info.problems)
    assert verify(tmp_path).grade == 0
    (tmp_path / "images" / "000001.png").write_bytes(b"no picture")
    assert verify(tmp_path).grade == 1


@pytest.mark.parametrize(("suffix", "top", "said"), [
    ("png", 1023, "has 16 bits and no value above 1023"), ("tif", 4095, "if the camera has 10 or 12 bits"),
    ("png", 4096, ""), ("png", 65_535, ""), ("png", 15, "no value above 15"), ("png", 0, ""),
])  # fmt: skip
def test_pictures_of_16_bits_that_use_the_lower_ones_are_said(
    tmp_path: Path, suffix: str, top: int, said: str
) -> None:
    (tmp_path / "images").mkdir()
    ramp = np.linspace(0, top, 48 * 64).reshape(48, 64).astype(np.uint16)
    for k in range(FRAMES):
        assert cv2.imwrite(str(tmp_path / "images" / f"{k:06d}.{suffix}"), ramp)
    write_intervals(tmp_path / "events", full())
    write_exposures(tmp_path / "exposures.txt")
    with open_recording(tmp_path) as r:
        assert np.array_equal(events_and_frames(r)[1][0].image, ramp >> 8)
        about = [p for p in r.info.problems if "16 bits" in p]
    assert len(about) == bool(said)
    assert all(said in p and isinstance(p, Remark) for p in about)


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_dark_pictures_of_8_bits_are_just_dark(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "images").mkdir()
    for k in range(FRAMES):
        assert cv2.imwrite(str(tmp_path / "images" / f"{k:06d}.png"), np.full(shape, 9, np.uint8))
    write_intervals(tmp_path / "events", full())
    write_exposures(tmp_path / "exposures.txt")
    with open_recording(tmp_path) as r:
        assert not any("16 bits" in p for p in r.info.problems)


def test_a_folder_of_recordings_names_one_of_them(tmp_path: Path) -> None:
    for name in ("about", "train"):
        (tmp_path / name).mkdir()
    npz(tmp_path / "train" / "SEQ_000000.npz", full())
    with pytest.raises(NotARecording) as e:
        open_recording(tmp_path)
    assert str(e.value) == (
        f"{tmp_path}: is a folder, not a recording; give one that lies in it, such as {tmp_path / 'train'}"
    )


def test_a_text_file_that_ends_in_mid_line_loses_that_line(tmp_path: Path) -> None:
    """As a killed program leaves it; and with the line ends of Windows, also in its heading."""
    whole = full()
    path = tmp_path / "events.txt"
    write_text_events(path, whole)
    lines = path.read_text().splitlines()
    path.write_bytes("\r\n".join(["# one", "# two", "# three", *lines, "0.9 17 2"]).encode())
    write_pictures(tmp_path / "frames", "{:d}.png")
    write_exposures(tmp_path / "exposures.csv")
    with open_recording(tmp_path, deadline_s=30.0) as r:
        events, frames = events_and_frames(r)
        said = "\n".join(r.report.problems)
    assert same_events(events, whole)
    assert right_pictures(frames)
    assert "events.txt ends in the middle of a line, which is left out" in said


def test_the_unit_of_times_is_told_by_the_first_file_that_holds_some(tmp_path: Path) -> None:
    whole = full()
    write_intervals(tmp_path / "events", whole)
    for k, path in enumerate(sorted((tmp_path / "events").iterdir())):
        with np.load(path) as f:
            columns = {n: f[n][:0] if k == 0 else f[n] for n in f.files}
        columns["timestamp"] = columns["timestamp"] / 1e6
        np.savez(path, **columns)
    write_pictures(tmp_path / "images")
    write_exposures(tmp_path / "images" / "exposures.txt")
    with open_recording(tmp_path) as r:
        events, _ = events_and_frames(r)
        assert any("taken as s" in p for p in r.info.problems)
    assert np.array_equal(events.t, whole.t[whole.t >= EXPOSURES[1][0]])
