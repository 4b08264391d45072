"""MS-RBD's `.npz`, alone and as a sequence: what was written comes back; what is unsound is said in a line."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings.formats import npy_members
from recordings.formats.mapped_member import MappedMember
from recordings.open import open_recording
from recordings.pickle_steps import PickleRefused, hashable
from recordings.recording import RecordingError
from sync.rig import Rig
from tests.recordings.make_datasets import (
    EXPOSURE_US,
    FRAMES,
    GRID,
    SCALE,
    columns,
    exposure,
    made_events,
    made_image,
    pair,
    rewritten,
    write_msrbd,
)
from tests.recordings.reading import events_and_frames, same_events


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair") / "Toys_0000.npz"
    np.savez(path, **pair(0, made_events()))
    return path


@pytest.mark.parametrize("form", ["suggested", "signed", "column"])
def test_a_pair_comes_back_as_it_was_written(tmp_path: Path, form: str) -> None:
    path = tmp_path / "p.npz"
    np.savez_compressed(path, **pair(0, made_events(), form=form))
    with open_recording(path) as r:
        events, frames = events_and_frames(r)
        assert r.info.format == "msrbd"
        assert (r.info.event_size, r.info.image_size) == (GRID, (GRID[0] * SCALE, GRID[1] * SCALE))
        assert r.frame_times_us() == [exposure(0), exposure(1)]
        assert any("does not state its scale" in p for p in r.info.problems)
        facts = r.rig_facts()
    assert same_events(events, made_events().between(exposure(0)[0], exposure(1)[1]))
    assert [(f.device_start_ns, f.device_end_ns) for f in frames] == [
        (1000 * a, 1000 * b) for a, b in (exposure(0), exposure(1))
    ]
    assert all(np.array_equal(f.image, made_image(k)) for k, f in enumerate(frames))
    assert facts is not None
    # The middle of an event pixel's block of image pixels.
    assert np.allclose(facts.image_from_event @ [2.0, 3.0, 1.0], [2 * SCALE + 1.5, 3 * SCALE + 1.5, 1.0])
    assert Rig.from_facts("r", facts).scale == pytest.approx(SCALE)


@pytest.mark.parametrize(("step", "compressed"), [(1, True), (2, False)])
def test_a_folder_is_one_sequence_and_nothing_comes_twice(tmp_path: Path, step: int, compressed: bool) -> None:
    write_msrbd(tmp_path / "s", step, compressed, scale=SCALE)
    n = FRAMES if step == 1 else 4
    with open_recording(tmp_path / "s") as r:
        events, frames = events_and_frames(r)
        assert r.report.events_rejected_decreasing == 0
        assert [f.sequence for f in frames] == list(range(n))
        assert r.info.bytes == sum(f.stat().st_size for f in (tmp_path / "s").iterdir())
        assert ("between its pairs events are not in the files" in r.info.problems) == (step == 2)
        later, some = events_and_frames(r, exposure(2)[0])
        assert [f.sequence for f in some] == list(range(2, n))
    whole = made_events()
    if step == 2:
        keep = (whole.t < exposure(1)[1]) | (whole.t >= exposure(2)[0])
        assert np.array_equal(events.t, whole.t[keep & (whole.t < exposure(3)[1])])
    else:
        assert same_events(events, whole)
    assert np.array_equal(later.t, events.t[events.t >= exposure(2)[0]])
    assert all(np.array_equal(f.image, made_image(k)) for k, f in enumerate(frames))


def test_an_unreadable_file_of_a_sequence_is_left_out_and_named(tmp_path: Path) -> None:
    paths = write_msrbd(tmp_path / "s", scale=SCALE)
    paths[1].write_bytes(paths[1].read_bytes()[:5000])
    with open_recording(tmp_path / "s") as r:
        _, frames = events_and_frames(r)
        assert any(p.startswith("Toys_0001.npz: ") and p.endswith("left out") for p in r.info.problems)
    assert len(frames) == FRAMES


def test_two_sequences_in_a_folder_are_not_mixed(tmp_path: Path) -> None:
    paths = write_msrbd(tmp_path / "s")
    paths[2].rename(tmp_path / "s" / "Bag_0002.npz")
    with pytest.raises(RecordingError, match=r"holds 2 sequences \(Bag, Toys\)"):
        open_recording(tmp_path / "s")


def test_the_grid_is_stated_by_the_file_or_the_person_or_fits_a_published_scale(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, **pair(0, made_events(), scale=2))
    with open_recording(path) as r:
        assert r.info.event_size == (128, 96)
    with open_recording(path, geometry=(64, 48)) as r:
        assert r.info.event_size == (64, 48)
    np.savez(path, **pair(0, made_events(0 + 1).between(0, 0)))  # no events, no scale
    with pytest.raises(RecordingError, match="state the grid with --geometry"):
        open_recording(path)
    with open_recording(path, geometry=(64, 48)) as r:
        events, frames = events_and_frames(r)
        assert (len(events), len(frames)) == (0, 2)


class _Runs:
    """Unpickled, this makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_events_that_would_run_code_are_refused_by_name(one: Path, tmp_path: Path, protocol: int) -> None:
    import pickle

    made = tmp_path / "made"
    f = io.BytesIO()
    np.lib.format.write_array_header_1_0(f, {"descr": "|O", "fortran_order": False, "shape": ()})
    f.write(pickle.dumps({**columns(made_events(9)), "z": _Runs(made)}, protocol))
    path = rewritten(one, tmp_path / "evil.npz", events=f.getvalue())
    with pytest.raises(RecordingError, match=r"evil\.npz: .*it names (posix|os)\.mkdir.*nothing was run"):
        open_recording(path)
    assert not made.exists()


def npy(descr: str, shape: tuple[int, ...], data: bytes) -> bytes:
    f = io.BytesIO()
    np.lib.format.write_array_header_1_0(f, {"descr": descr, "fortran_order": False, "shape": shape})
    return f.getvalue() + data


@pytest.mark.parametrize(
    ("member", "data", "says"),
    [
        ("blur1", npy("|u1", (3, 1 << 40, 1 << 40), b"\0" * 99), "a picture's width of 1099511627776 pixels"),
        ("blur1", npy("|u1", (3, 16000, 16000), b"\0" * 99), r"frames differ in size"),
        ("exp_end1", npy("<f8", (), np.float64("nan").tobytes()), "'exp_end1' is nan"),
        ("exp_end1", npy("<i8", (9,), b"\0" * 72), "'exp_end1' holds 9 values where one is expected"),
        ("exp_end1", npy("|O", (), b"cos\nsystem\n(S'x'\ntR."), "'exp_end1' holds Python objects"),
        ("events", npy("|O", (), b"N."), "holds no dictionary of arrays"),
        ("events", npy("|O", (), b""), "structure is cut off"),
        ("events", npy("<i8", (4,), b"\0" * 32), "events is no pickled dictionary"),
        ("blur2", b"nonsense", "'blur2' is damaged or cut off"),
    ],
)
def test_absurd_members_are_refused_in_one_line(
    one: Path, tmp_path: Path, member: str, data: bytes, says: str
) -> None:
    path = rewritten(one, tmp_path / "bad.npz", **{member: data})
    with pytest.raises(RecordingError, match=says) as e:
        open_recording(path)
    assert "\n" not in str(e.value)


def test_a_zip_bomb_is_refused_with_the_limit_in_the_message(one: Path, tmp_path: Path) -> None:
    size = npy_members.WHOLE_BYTES + 100
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z, zipfile.ZipFile(one) as old:
        for info in old.infolist():
            if info.filename != "events.npy":
                z.writestr(info.filename, old.read(info))
        with z.open("events.npy", "w") as f:
            f.write(npy("|O", (), b""))
            for _ in range(size >> 20):
                f.write(bytes(1 << 20))
            f.write(bytes(100))
    assert path.stat().st_size < 4 << 20
    with pytest.raises(RecordingError, match=r"takes 1,073\.\d MB of memory; at most 1,073\.7 MB are read"):
        open_recording(path)


def test_exposures_that_are_none_are_shown_not_restored_unless_stated(tmp_path: Path) -> None:
    (s1, e1), (s2, _) = exposure(0), exposure(1)
    path = tmp_path / "p.npz"
    np.savez(path, **pair(0, made_events(), scale=SCALE, exp_end1=np.int64(s1 - 5), exp_end2=np.int64(s2)))
    with open_recording(path) as r:
        assert r.frame_times_us() == [(s1, None), (s2, None)]
        _, frames = events_and_frames(r)
        assert [f.device_end_ns for f in frames] == [None, None]
        assert "exposure 1 lasts -5 µs, which is none" in r.info.problems
        assert "exposure 2 lasts 0 µs, which is none" in r.info.problems
        assert any("no frame has an exposure in the file" in p for p in r.info.problems)
    with open_recording(path, exposure_us=EXPOSURE_US) as r:
        assert r.frame_times_us() == [(s1, e1), (s2, s2 + EXPOSURE_US)]
        assert any(f"exposed for {EXPOSURE_US} µs from its stamp on" in p for p in r.info.problems)


def test_time_that_runs_backwards_is_refused_and_counted(tmp_path: Path) -> None:
    e = made_events()
    t = e.t.copy()
    t[100:110] -= 50_000
    c = {**columns(e), "t": t}
    keep = slice(0, 2000)
    path = tmp_path / "p.npz"
    np.savez(path, **pair(0, e, scale=SCALE, events={k: v[keep] for k, v in c.items()}))
    with open_recording(path) as r:
        events, _ = events_and_frames(r)
        assert r.report.events_rejected_decreasing == 10
    assert len(events) == 1990


def test_events_outside_the_grid_and_of_no_number_are_counted(tmp_path: Path) -> None:
    e = made_events().between(*exposure(0))
    c: dict[str, Any] = {**columns(e), "x": e.x.astype(np.float64)}
    c["x"][[3, 5, 7]] = [np.nan, -2.0, 70_000.0]
    c["x"][9] = 4.4
    path = tmp_path / "p.npz"
    np.savez(path, **pair(0, e, scale=SCALE, events=c))
    with open_recording(path) as r:
        events, _ = events_and_frames(r)
        assert r.report.events_rejected_outside == 3
    assert 4 in events.x[:9]
    assert len(events) == len(e) - 3


@pytest.mark.parametrize("plain", [False, True])
def test_a_wrong_byte_among_stored_events_is_told_by_the_checksum(tmp_path: Path, plain: bool) -> None:
    """They are not copied out of the file, and looked at as a whole before the first one is given."""
    e = made_events(3000)
    arrays = pair(0, e, scale=SCALE)
    if plain:
        del arrays["events"]
        arrays |= {"events_x": e.x, "events_y": e.y, "events_t_us": e.t, "events_p": e.p}
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with open_recording(path) as r:
        got = events_and_frames(r)[0]
        assert len(got) > 1000
        assert same_events(got, e[: len(got)])
    data = path.read_bytes()
    at = data.index(e.t[500:520].tobytes()) + 16
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with open_recording(path) as r, pytest.raises(RecordingError, match="its checksum is wrong"):
        list(r.items())


def test_long_values_of_a_stored_member_are_views_and_short_ones_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    value = bytes(range(256)) * 100
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a", b"line\n" + value)
    with path.open("rb") as f:
        info = zipfile.ZipFile(path).getinfo("a")
        m = MappedMember(f, info)
        assert m.readline() == b"line\n"
        assert isinstance(m.read(10), bytes)
        assert bytes(m.read(20_000)) == value[10:20_010]
        assert isinstance(m.read(5000), memoryview)
        assert m.read(1 << 20) == value[25_010:]
        assert m.read(1) == b""
        info.file_size = 1 << 40
        with pytest.raises(EOFError):
            MappedMember(f, info)


def test_a_view_of_the_file_is_no_key() -> None:
    with pytest.raises(PickleRefused, match="memoryview as the key"):
        hashable(memoryview(b"x" * 5000))


def test_a_sequence_whose_first_file_is_damaged(tmp_path: Path) -> None:
    files = write_msrbd(tmp_path / "set", step=2)
    files[0].write_bytes(b"")
    with open_recording(tmp_path / "set") as r:
        assert any(p.startswith(f"{files[0].name}: its directory is damaged") for p in r.info.problems)
        assert r.info.frames == 2 * (len(files) - 1)
