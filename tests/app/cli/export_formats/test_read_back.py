"""`halfmirror export` in every format but msrbd: read back elsewhere, what was in it and no more."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from app.cli import progress
from app.cli.export import EVENT_FORMATS
from app.cli.program import execute
from app.sources import rig_for
from capture.errors import UsageError
from recordings.export import writers
from recordings.formats.own import OwnRecording
from recordings.marks import Marks, save
from recordings.open import open_recording
from recordings.recording import Remark
from sync.rig import Clock, Rig
from tests.app.cli.export_formats.exports import EXPOSURES, FILES, everything, run, same, spans, target
from tests.capture.simulated_small import small
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.own_sample import items_of, rig_of_config, write_own
from tests.recordings.sample import (
    EXPOSURE_US,
    FRAMES,
    HEIGHT,
    START_US,
    WIDTH,
    sample_edges,
    sample_events,
    sample_frames,
)
from tests.recordings.test_ros_bag import of_one_size


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras behind a mirror, trigger edges."""
    folder = tmp_path_factory.mktemp("in") / "two"
    config = small(paced=False)
    write_own(folder, rig_of_config(config), items_of(config, 1.0))
    return folder


@pytest.mark.parametrize("kind", ["aedat4", "evt3", "hdf5"])
def test_streams_come_back_as_they_were(
    davis: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = target(tmp_path, kind)
    assert run(davis, kind, out) == 0
    told = capsys.readouterr()
    assert "read back and equal: checksum" in told.out
    events, edges, frames = everything(out)
    if kind == "evt3":
        assert f"counted from {int(sample_events().t[0])} µs" in told.err
    assert same(events, sample_events())
    assert np.array_equal(edges.t, sample_edges().t)
    assert np.array_equal(edges.rising, sample_edges().rising)
    if kind == "aedat4":
        assert spans(frames) == EXPOSURES
        assert all(
            np.array_equal(f.image, s.image) for f, s in zip(frames, sample_frames(colour=True), strict=True)
        )
    else:
        assert frames == []
        assert "no pictures" in told.err
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("part", [(), ("--from", "0.3")], ids=["whole", "part"])
def test_events_and_pictures_of_one_recording_are_one_again(
    davis: Path, tmp_path: Path, part: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """RAW and PNGs: EVT3 cannot hold times since 1970, so its header tells what they count from."""
    both = tmp_path / "both"
    both.mkdir()
    assert run(davis, "evt3", both / "events.raw", *part) == 0
    assert run(davis, "png", both / "frames", *part) == 0
    events, _, frames = everything(both)
    assert spans(frames) == EXPOSURES[-len(frames) :]
    want = sample_events()
    assert same(events, want[len(want) - len(events) :])
    with open_recording(both) as r:
        assert [p for p in r.info.problems if not isinstance(p, Remark)] == []
    capsys.readouterr()
    assert execute(["deblur", str(both), "-n", "edi", "-o", str(tmp_path / "d")]) == 0
    assert len(list((tmp_path / "d").glob("*.png"))) == len(frames) >= 6


@pytest.mark.parametrize("kind", ["aedat4", "dsec"])
def test_how_two_cameras_lie_stands_beside_what_cannot_tell_it(
    own: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = target(tmp_path, kind)
    rig = out.with_suffix(".rig.toml") if kind == "aedat4" else out / "rig.toml"
    assert run(own, kind, out) == 0
    assert f"add --rig {rig}" in capsys.readouterr().err.replace("\n", " ")
    with open_recording(own) as r:
        assert isinstance(r, OwnRecording)
        told = rig_for(r, "two", None)
    with open_recording(out) as r:
        with pytest.raises(UsageError, match=r"give --rig RIG\.toml"):
            rig_for(r, "out", None)
        again = rig_for(r, "out", rig)
    assert (again.geometry, again.clock) == (told.geometry, Clock())
    assert np.array_equal(again.image_from_event, told.image_from_event)
    assert run(own, kind, out) == 2
    assert run(own, kind, out, "--overwrite") == 0


def test_streams_as_they_came_need_no_map(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first.aedat4"
    assert run(own, "aedat4", first) == 0
    (tmp_path / "first.rig.toml").unlink()
    events, _, frames = everything(first)
    capsys.readouterr()
    for kind in ("aedat4", "dsec", "evt3", "png"):
        out = target(tmp_path / kind, kind)
        assert run(first, kind, out) == 0
        told = " ".join(capsys.readouterr().err.split())
        assert ("on the pictures is not known; measure it" in told) == (kind in ("aedat4", "dsec"))
        assert not list(out.parent.rglob("*rig.toml"))
    again = everything(target(tmp_path / "aedat4", "aedat4"))
    assert same(again[0], events)
    assert spans(again[2]) == spans(frames)
    for kind, more in (("msrbd", ()), ("efnet-h5", ()), ("png", ("--restored", "edi"))):
        assert run(first, kind, target(tmp_path / "not", kind), *more) == 2
        assert "measure one: halfmirror calibrate rig --from" in " ".join(capsys.readouterr().err.split())
    assert execute(["deblur", str(first), "-n", "none", "-o", str(tmp_path / "d")]) == 0
    assert len(list((tmp_path / "d").glob("*.png"))) == len(frames)
    assert execute(["deblur", str(first), "-o", str(tmp_path / "e")]) == 2


def test_a_delay_of_one_clock_counts_once(own: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "a.aedat4", tmp_path / "b.aedat4"
    assert run(own, "aedat4", first) == 0
    rig = Rig.load(tmp_path / "a.rig.toml")
    clock = Clock(relation="same", delay_us=5000.0, delay_measured_us=5000.0, delay_uncertainty_us=300.0)
    rig.model_copy(update={"clock": clock}).save(tmp_path / "late.toml")
    assert run(first, "aedat4", again, "--rig", str(tmp_path / "late.toml")) == 0
    shift = {
        b[0] - a[0] for a, b in zip(spans(everything(first)[2]), spans(everything(again)[2]), strict=False)
    }
    assert shift == {5000}
    assert Rig.load(tmp_path / "b.rig.toml").clock.delay_us == 0.0


def test_the_rig_file_is_nobody_elses(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(own, "aedat4", tmp_path / "two.aedat4") == 0
    for kind in ("evt3", "efnet-h5"):  # they write none
        assert run(own, kind, tmp_path / f"two.{FILES[kind]}") == 0
    mine = tmp_path / "new.rig.toml"
    mine.write_bytes((tmp_path / "two.rig.toml").read_bytes())
    more = ("--rig", str(mine), "--overwrite")
    assert run(tmp_path / "two.aedat4", "aedat4", tmp_path / "new.aedat4", *more) == 2
    assert "is the input itself" in capsys.readouterr().err
    assert not (tmp_path / "new.aedat4").exists()


@pytest.mark.parametrize("kind", ["png", "mp4", "aedat4"])
def test_no_more_is_read_than_the_frames_that_are_asked_for(
    davis: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(davis, kind, target(tmp_path, kind), "--frames", "2") == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert 2 <= int(re.findall(r"frames in (\d+)", said)[0]) < FRAMES, said


def test_efnets_layout_is_what_its_code_reads(davis: Path, tmp_path: Path) -> None:
    out = tmp_path / "cups.h5"
    assert run(davis, "efnet-h5", out) == 0
    want = sample_events()
    with h5py.File(out, "r") as f:
        assert f.attrs["sensor_resolution"].tolist() == [HEIGHT, WIDTH]
        assert (f.attrs["num_events"], f.attrs["num_imgs"]) == (len(want), FRAMES)
        assert f["events/ts"].dtype == np.float64
        assert f["events/ps"].dtype == np.bool_
        assert np.array_equal(np.round(f["events/ts"][()] * 1e6), want.t)
        assert list(f["images"])[:2] == ["image000000000", "image000000001"]
        for k, (start, end) in enumerate(EXPOSURES):
            image = f[f"images/image{k:09d}"]
            assert np.array_equal(image[()], sample_frames(colour=True)[k].image[..., ::-1])  # BGR
            a = image.attrs
            assert (a["exposure_start_us"], a["exposure_end_us"]) == (start, end)
            assert a["timestamp"] == pytest.approx((start + end) / 2e6, abs=1e-6)
            assert a["event_idx"] == np.searchsorted(want.t, (start + end) // 2)
    events, _, frames = everything(out)  # by the program's own reader
    assert same(events, want)
    assert spans(frames) == EXPOSURES


def test_dsecs_layout(davis: Path, tmp_path: Path) -> None:
    out = tmp_path / "cups"
    assert run(davis, "dsec", out) == 0
    names = ["events.h5", "export.json", "image_exposure_timestamps_us.txt", "images"]
    assert sorted(p.name for p in out.iterdir()) == names
    want = sample_events()
    with h5py.File(out / "events.h5", "r") as f:
        t, zero, ms = f["events/t"][()], int(f["t_offset"][()]), f["ms_to_idx"][()]
        assert t.dtype == np.uint32
        assert np.array_equal(t + np.int64(zero), want.t)
        assert np.array_equal(ms, np.searchsorted(t, 1000 * np.arange(len(ms))))
        assert len(ms) == int(t[-1]) // 1000 + 1
    events, _, _ = everything(out / "events.h5")
    assert same(events, want)
    lines = (out / names[2]).read_text().splitlines()
    assert lines[0] == "# exposure_start_timestamp_us, exposure_end_timestamp_us"
    assert [tuple(int(v) for v in line.split(",")) for line in lines[1:]] == EXPOSURES
    events, _, frames = everything(out)  # pictures and events together, by the program's own reader
    assert same(events, want)
    assert spans(frames) == EXPOSURES
    picture = cv2.imread(str(out / "images" / "000003.png"))
    assert np.array_equal(picture[..., ::-1], sample_frames(colour=True)[3].image)


@pytest.mark.parametrize("kind", ["msrbd", "evt3", "png"])
def test_the_bar_says_how_far_it_is(
    davis: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    @contextmanager
    def bar() -> Iterator[Callable[[str, float], None]]:
        yield lambda step, _share: told.append(step)

    monkeypatch.setattr(progress, "bar", bar)
    assert run(davis, kind, target(tmp_path, kind)) == 0
    assert told[0] == "preparing"
    assert told[-1] == "reading back"
    seconds = [float(step.removeprefix("writing, second ")) for step in told[1:-1]]
    assert seconds == sorted(seconds)
    assert seconds[-1] > 0.5


def test_highrev_of_a_recording_with_an_umlaut(davis: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(davis, "highrev", out, "--name", "Küche") == 0
    _, _, frames = everything(out)
    assert spans(frames) == EXPOSURES


def test_highrevs_layout(davis: Path, tmp_path: Path) -> None:
    out = tmp_path / "cups"
    assert run(davis, "highrev", out, "--name", "SEQ") == 0
    blur = sorted(p.name for p in (out / "blur").iterdir())
    assert blur == [f"SEQ_{k + 1:05d}.png" for k in range(FRAMES)]
    for k, (start, end) in enumerate(EXPOSURES):
        with np.load(out / "event" / f"SEQ_{k + 1:05d}_00.npz") as a:
            assert sorted(a) == ["polarity", "timestamp", "x", "y"]
            want = sample_events().between(start, end)
            assert a["timestamp"].shape == (len(want), 1)
            assert np.array_equal(a["timestamp"][:, 0], want.t)
            assert np.array_equal(a["y"][:, 0], want.x)  # exchanged, as in the published files
            assert np.array_equal(a["x"][:, 0], want.y)
        until = EXPOSURES[k + 1][0] if k + 1 < FRAMES else 1 << 62
        with np.load(out / "event" / f"SEQ_{k + 1:05d}_01.npz") as a:
            assert np.array_equal(a["timestamp"][:, 0], sample_events().between(end, until).t)
    events, _, frames = everything(out)
    assert same(events, sample_events().between(EXPOSURES[0][0], 1 << 62))
    assert spans(frames) == EXPOSURES
    with (out / "exposures.csv").open() as f:
        rows = list(csv.reader(f))
    assert rows[0] == ["file", "exposure_start_us", "exposure_end_us"]
    assert [(int(a), int(b)) for _, a, b in rows[1:]] == EXPOSURES


@pytest.mark.parametrize("kind", EVENT_FORMATS)
def test_two_cameras_behind_a_mirror(own: Path, tmp_path: Path, kind: str) -> None:
    """Frames on a clock of their own get their exposures from the edges, as live."""
    out = target(tmp_path, kind)
    assert run(own, kind, out) == 0
    if kind in ("evt3", "hdf5", "aedat4"):
        events, edges, _ = everything(out)
        want, want_edges, _ = everything(own)
        assert same(events, want)
        assert np.array_equal(edges.t, want_edges.t)
    if kind == "efnet-h5":
        with h5py.File(out, "r") as f:
            h, w = f.attrs["sensor_resolution"]
            assert f["images/image000000000"].shape == (h, w, 3)
            assert (h % 16, w % 16) == (0, 0)
            xs = f["events/xs"][()]
            assert xs.max() < w
            assert len(np.unique(xs)) > 8


@pytest.mark.parametrize("kind", EVENT_FORMATS)
def test_only_what_lies_between_the_times(davis: Path, tmp_path: Path, kind: str) -> None:
    out = target(tmp_path, kind)
    assert run(davis, kind, out, "--from", "0.2", "--until", "0.6") == 0
    start = int(sample_events().t[0])
    span = sample_events().between(start + 200_000, start + 600_000)
    inside = [(a, b) for a, b in EXPOSURES if a >= start + 200_000 and b <= start + 600_000]
    assert len(inside) == 4
    if kind == "highrev":
        assert len(list((out / "blur").iterdir())) == 4
        return
    path = out / "events.h5" if kind == "dsec" else out
    events, edges, frames = everything(path)
    assert same(events, span)
    if kind in ("aedat4", "efnet-h5"):
        assert spans(frames) == inside
    if kind == "aedat4":
        t = sample_edges().t
        assert np.array_equal(edges.t, t[(t >= start + 200_000) & (t < start + 600_000)])


@pytest.mark.parametrize("kind", ["evt3", "aedat4"])
def test_every_frame_is_accounted_for(
    davis: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those that the format does not hold."""
    assert run(davis, kind, target(tmp_path, kind), "--from", "0.2", "--until", "0.6") == 0
    said = capsys.readouterr().out.splitlines()[0]
    numbers = [int(n) for n in re.findall(r"\d+", said)]
    assert numbers[0] == sum(numbers[1:]), said
    assert ("not held 4" in said) == (kind == "evt3")


@pytest.mark.parametrize(("name", "stem"), [("my cups (2)", "my-cups-2-"), (" .", "recording")])
def test_a_recording_may_be_called_anything(davis: Path, tmp_path: Path, name: str, stem: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    called = folder / f"{name}.aedat4"
    called.symlink_to(davis)
    assert run(called, "evt3", target(tmp_path, "evt3")) == 0
    out = target(tmp_path, "highrev")
    assert run(called, "highrev", out) == 0
    assert {p.name.rpartition("_")[0] for p in (out / "blur").iterdir()} == {stem}


@pytest.mark.parametrize("kind", ["aedat4", "png"])
def test_the_marked_part_is_the_frames_that_were_marked(davis: Path, tmp_path: Path, kind: str) -> None:
    """Marks count from the start of all streams, which here is not the first event's time."""
    early = [WrittenFrame(START_US - 30_000, 20_000, sample_frames(colour=True)[0].image)]
    source = write_aedat4(tmp_path / "m.aedat4", sample_events(), early + sample_frames(colour=True))
    with open_recording(source) as r:
        start = r.info.start_us
    assert start == START_US - 30_000
    save(source, Marks(EXPOSURES[2][0] - start, EXPOSURES[5][1] - start))
    out = target(tmp_path, kind)
    assert run(source, kind, out, "--marked") == 0
    if kind == "png":
        assert len(list(out.glob("*.png"))) == 4
    else:
        assert spans(everything(out)[2]) == EXPOSURES[2:6]


def test_pictures_as_they_came_and_restored(
    davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(davis, "png", tmp_path / "blurred") == 0
    assert "10 pictures" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "blurred" / "timestamps.csv").open()))
    for row, frame in zip(rows, sample_frames(colour=True), strict=True):
        image = cv2.imread(str(tmp_path / "blurred" / row["file"]))
        assert np.array_equal(image[..., ::-1], frame.image)
        assert int(row["time_us"]) == frame.start_us + EXPOSURE_US // 2
    assert run(davis, "png", tmp_path / "sharp", "--restored", "edi", "--until", "0.5") == 0
    sharp = list(csv.DictReader((tmp_path / "sharp" / "timestamps.csv").open()))
    assert [r["file"] for r in sharp] == [r["file"] for r in rows[: len(sharp)]]
    assert 0 < len(sharp) < FRAMES
    a, b = (cv2.imread(str(tmp_path / d / sharp[1]["file"])) for d in ("blurred", "sharp"))
    assert not np.array_equal(a, b)
    report = json.loads((tmp_path / "sharp" / "export.json").read_text())
    assert report["network"] == "edi"
    assert report["exposure_sources"]["chunk"]["exposures"] == len(sharp)
    assert run(davis, "mp4", tmp_path / "v.mp4", "--restored", "edi") == 0
    assert "read back with the same times" in capsys.readouterr().out


def test_pngs_come_back(tmp_path: Path) -> None:
    for shape in ((5, 7), (5, 7, 3)):
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        writers.write_png(tmp_path / "a.png", image)
        assert np.array_equal(writers.read_png(tmp_path / "a.png"), image)


@pytest.mark.parametrize(
    ("topic", "by_driver", "one"), [("/dvs/events", True, True), ("/ev/events", True, False)]
)
def test_what_aedat4_has_no_word_for_is_kept(tmp_path: Path, topic: str, by_driver: bool, one: bool) -> None:
    """Who stamped the frames, and that they are of another camera though of the same size."""
    bag = of_one_size(tmp_path / "bag", topic, "/dvs/image_raw")
    again = tmp_path / "again.aedat4"
    assert run(bag, "aedat4", again, "--exposure-us", "9000") == 0
    for path in (bag, again):
        with open_recording(path, exposure_us=9000) as r:
            assert r.info.by_driver
            assert (r.rig_facts() is not None) == one
            assert not one or not r.rig_facts().exact, "nothing but sizes and topics tells it"
            assert sum("two cameras" in p for p in r.info.problems) == (not one)


def test_one_sensors_own_stamps_stay_so(davis: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.aedat4"
    assert run(davis, "aedat4", out) == 0
    with open_recording(out) as r:
        assert not r.info.by_driver
        assert r.rig_facts() is not None
        assert r.rig_facts().exact


@pytest.mark.parametrize("kind", ["aedat4", "efnet-h5"])
def test_the_name_of_the_recording_may_be_no_text(tmp_path: Path, kind: str) -> None:
    """It stands in the files: as the camera of a folder that names none, or as the source."""
    from tests.recordings.make_datasets import made_events
    from tests.recordings.make_folders import write_exposures, write_intervals, write_pictures

    write_pictures(tmp_path / "in" / "pictures")
    write_exposures(tmp_path / "in" / "exposures.csv")
    write_intervals(tmp_path / "in" / "events", made_events())
    folder = (tmp_path / "in").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert run(folder, kind, target(tmp_path, kind)) == 0
