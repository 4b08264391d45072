"""`halfmirror export --to msrbd`: files in the published layout, verified, whole or not at all."""

from __future__ import annotations

import json
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest

from app.cli.program import execute
from capture.packets import Events
from capture.simulated.presets import configure
from recordings.export import msrbd
from recordings.export.array_pickle import npy_of_dict
from recordings.export.grid import shared_grid
from recordings.open import open_recording
from sync.rig import CameraEntry, EventEntry, Geometry, ImageEntry, Rig
from tests.capture.simulated_small import SMALL
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.make_datasets import SCALE, write_msrbd
from tests.recordings.own_sample import items_of, rig_of_config, write_own
from tests.recordings.reading import events_and_frames, same_events
from tests.recordings.sample import FRAMES, sample_events, sample_frames


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_aedat4(tmp_path_factory.mktemp("in") / "cups.aedat4", sample_events(), sample_frames())


def test_a_recording_becomes_pairs_that_numpy_reads(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert execute(["export", str(recording), "--to", "msrbd", "-o", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["export.json", "plain", "test", "train"]
    files = sorted((out / "train").iterdir())
    assert [f.name for f in files] == [f"cups_{k:06d}.npz" for k in range(FRAMES - 1)]
    sent = sample_frames()
    for k, file in enumerate(files):
        with np.load(file, allow_pickle=True) as a:
            start, end = int(a["exp_start1"]), int(a["exp_end2"])
            assert (start, end) == (sent[k].start_us, sent[k + 1].start_us + (sent[k + 1].exposure_us or 0))
            assert all(a[f"exp_{w}{n}"].dtype == np.int64 for w in ("start", "end") for n in (1, 2))
            assert np.array_equal(a["blur1"], np.repeat(sent[k].image[None, :48, :64], 3, axis=0))
            events = a["events"].item()
            want = sample_events().between(start, end)
            assert np.array_equal(events["t"], want.t)
            assert np.array_equal(events["x"], want.x)
            assert np.array_equal(events["y"], want.y)
            assert np.array_equal(events["p"], want.p)
            types = {k: str(v.dtype) for k, v in events.items()}
            assert types == {"x": "uint16", "y": "uint16", "t": "int64", "p": "int8"}
        with np.load(out / "plain" / file.name) as plain:
            assert np.array_equal(plain["events_t_us"], want.t)
            assert int(plain["exp_end2_us"]) == end
    report = json.loads((out / "export.json").read_text())
    assert (report["frames_in"], report["frames_written"], report["pairs"]) == (FRAMES, FRAMES, FRAMES - 1)
    assert report["exposure_sources"] == {"chunk": {"exposures": FRAMES, "worst_uncertainty_us": 1.0}}


def test_the_pickle_is_one_that_numpy_1_reads(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert execute(["export", str(recording), "--to", "msrbd", "-o", str(out), "--frames", "2"]) == 0
    with zipfile.ZipFile(next((out / "train").iterdir())) as z:
        data = z.read("events.npy")
    assert data[:8] == b"\x93NUMPY\x01\x00"
    text = data[10 + int.from_bytes(data[8:10], "little") :]
    steps = list(pickletools.genops(text))
    assert max(op.proto for op, _, _ in steps) == 2
    named = {arg for op, arg, _ in steps if op.name == "GLOBAL"}
    assert named == {
        "numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", "_codecs encode",
    }  # fmt: skip


def test_a_written_dictionary_is_the_one_that_was_given(tmp_path: Path) -> None:
    given = {"a": np.arange(300, dtype=np.int64) - 7, "b": np.array([], np.uint16), "c": np.array([1.5, -2.0])}
    (tmp_path / "d.npy").write_bytes(npy_of_dict(given))
    found = np.load(tmp_path / "d.npy", allow_pickle=True).item()
    assert list(found) == list(given)
    assert all(np.array_equal(found[k], v) and found[k].dtype == v.dtype for k, v in given.items())


def test_an_export_of_an_export_is_the_same(tmp_path: Path) -> None:
    write_msrbd(tmp_path / "s", scale=SCALE)
    for name, source in (("one", tmp_path / "s"), ("two", tmp_path / "one" / "train")):
        line = ["export", str(source), "--to", "msrbd", "-o", str(tmp_path / name), "--name", "Toys"]
        assert execute(line) == 0
    for sub in ("train", "plain"):
        one, two = (sorted((tmp_path / n / sub).iterdir()) for n in ("one", "two"))
        assert len(one) == 4
        assert [f.read_bytes() for f in one] == [f.read_bytes() for f in two]
    with open_recording(tmp_path / "s") as a, open_recording(tmp_path / "one" / "plain") as b:
        (ea, fa), (eb, fb) = events_and_frames(a), events_and_frames(b)
    assert same_events(ea, eb)
    assert all(np.array_equal(x.image, y.image) for x, y in zip(fa, fb, strict=True))


def test_times_and_frames_choose_what_is_written(recording: Path, tmp_path: Path) -> None:
    line = ["export", str(recording), "--to", "msrbd", "-o"]
    assert execute([*line, str(tmp_path / "a"), "--from", "0.2", "--until", "0.6"]) == 0
    report = json.loads((tmp_path / "a" / "export.json").read_text())
    assert report["frames_written"] == 4  # 0.22 … 0.58 s
    assert execute([*line, str(tmp_path / "b"), "--frames", "3"]) == 0
    assert json.loads((tmp_path / "b" / "export.json").read_text())["frames_written"] == 3


def test_what_does_not_read_back_leaves_nothing(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = msrbd.npy_of_dict
    monkeypatch.setattr(msrbd, "npy_of_dict", lambda a: whole({**a, "x": a["x"] // 2}))
    assert execute(["export", str(recording), "--to", "msrbd", "-o", str(tmp_path / "out")]) == 1
    assert "reads back as" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_words_and_taken_places_are_refused(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("x")
    base = ["export", str(recording), "-o"]
    for line, says in (
        ([*base, str(tmp_path / "o"), "--to", "tarot"], "the formats are msrbd"),
        ([*base, str(tmp_path / "o"), "--to", "msrbd", "--frames", "1"], "a pair needs 2 or more"),
        ([*base, str(tmp_path / "o"), "--to", "msrbd", "--until", "1", "--from", "2"], "does not lie behind"),
        ([*base, str(taken), "--to", "msrbd"], "exists already"),
        ([*base, str(taken), "--to", "msrbd", "--overwrite"], "did not write"),
        ([*base, str(tmp_path / "o"), "--to", "msrbd", "--scale", "9"], "give a smaller --scale"),
    ):
        assert execute(line) == 2, line
        assert says in " ".join(capsys.readouterr().err.split()), line
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("inside", ["streams.hmc", "link.aedat4", "elsewhere"])
def test_files_of_the_input_are_never_overwritten(
    inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    rig = rig_of_config(configure("handheld", SMALL))
    write_own(own, rig, items_of(configure("handheld", SMALL), 0.2))
    out = own / inside
    if inside.startswith("link"):
        out.symlink_to(tmp_path / "far")
        (tmp_path / "far").touch()
    if inside == "elsewhere":
        out = tmp_path / "in"
        out.symlink_to(own / "streams.hmc")
    before = {p.name: p.read_bytes() for p in own.iterdir()}
    assert execute(["export", str(own), "--to", "aedat4", "-o", str(out), "--overwrite"]) == 2
    assert "lies inside the input" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in own.iterdir()} == before
    assert (
        execute(["calibrate", "rig", "--from", str(own), "-o", str(own / "recording.toml"), "--overwrite"]) == 2
    )
    assert "lies inside the input" in capsys.readouterr().err


def test_the_simulated_rig_becomes_a_sequence(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # The default rig but for its size.
    rig = "simulated:handheld?image_width=384&image_height=256&event_width=96&event_height=64&loop_s=0.6"
    assert execute(["export", rig, "--to", "msrbd", "-o", str(out), "--frames", "2"]) == 0
    with open_recording(out / "train") as r:
        facts = r.rig_facts()
        assert facts is not None
        assert np.linalg.det(facts.image_from_event[:2, :2]) > 0  # the mirror is undone
        assert all(v % 16 == 0 for v in (r.info.event_size or ()))


def _rig(m: list[list[float]]) -> Rig:
    image = ImageEntry(camera="i", width=256, height=192)
    rows = tuple(tuple(r) for r in m)
    g = Geometry(image_from_event=rows, mirrored=m[0][0] < 0)  # type: ignore[arg-type]
    return Rig(events=EventEntry(camera="e", width=64, height=48), image=image, geometry=g)


def test_events_land_on_the_block_that_they_saw() -> None:
    """A mirrored, shifted rig of scale 4: every event pixel's middle lies in its block."""
    rig = _rig([[-4, 0, 4 * 63 + 1.5 + 8], [0, 4, 1.5 - 3], [0, 0, 1]])
    grid = shared_grid(rig)
    assert grid.scale == 4
    assert (grid.width % 64, grid.height % 64) == (0, 0)
    y, x = (v.ravel().astype(np.uint16) for v in np.mgrid[0:48, 0:64])
    e = Events(np.arange(len(x), dtype=np.int64), x, y, x % 2 == 0, 64, 48)
    out = grid.events(e)
    kept = out.t.astype(int)
    u = -4.0 * x[kept] + 4 * 63 + 1.5 + 8 - grid.left
    v = 4.0 * y[kept] + 1.5 - 3 - grid.top
    assert np.array_equal(out.x, np.floor((u + 0.5) / 4))
    assert np.array_equal(out.y, np.floor((v + 0.5) / 4))
    assert np.all(np.diff(out.x[out.y == 5].astype(int)) < 0)
    assert len(np.unique(out.y.astype(int) * grid.columns + out.x)) == grid.columns * grid.rows == len(out)
    assert isinstance(rig.events, CameraEntry)
