"""MATLAB files: values come back in every form; what is no array of numbers is refused; eSL-Net's folders."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.packets import Events
from recordings.formats import mat_arrays
from recordings.formats.mat_arrays import MatFile
from recordings.open import open_recording
from recordings.recording import RecordingError
from recordings.sandbox_child import Refused
from tests.recordings.make_datasets import FRAMES, exposure, made_events, made_image
from tests.recordings.make_folders import SIZE
from tests.recordings.make_mat import CLASSES, columns, element, matrix, write_esl, write_mat, write_mat73
from tests.recordings.reading import events_and_frames, same_events


def made() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    kinds = {k: rng.integers(0, 100, (1, n + 1)).astype(k) for n, k in enumerate(CLASSES)}
    return {**kinds, "column": np.arange(7.0)[:, None], "one": np.array([[2.5]]), "none": np.zeros((1, 0))}


@pytest.mark.parametrize("form", ["packed", "plain", "big-endian", "7.3"])
def test_values_come_back(form: str, tmp_path: Path) -> None:
    path, values = tmp_path / "a.mat", made()
    if form == "7.3":
        write_mat73(path, values)
    else:
        write_mat(path, values, packed=form == "packed", order=">" if form == "big-endian" else "<")
    file = MatFile(path)
    assert file.names == set(values)
    for name, wanted in values.items():
        got = file.vector(name)
        assert got.dtype.str[1:] == wanted.dtype.str[1:] or not len(wanted[0])
        np.testing.assert_array_equal(got, wanted.reshape(-1))
    assert file.scalar("one") == 2.5


def test_values_kept_as_a_smaller_type(tmp_path: Path) -> None:
    """MATLAB stores doubles that are whole and small as bytes."""
    file = MatFile(write_mat(tmp_path / "a.mat", {"x": np.arange(1.0, 4.0), "y": np.arange(50.0)}, stored="u1"))
    np.testing.assert_array_equal(file.vector("x"), [1, 2, 3])
    np.testing.assert_array_equal(file.vector("y"), np.arange(50))


def refused(path: Path, name: str = "x") -> str:
    with pytest.raises(Refused) as caught:
        MatFile(path, path.name).vector(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("a.mat: ")
    return str(caught.value)


def test_what_is_no_list_of_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    assert "has no x" in refused(write_mat(path, {"y": 1.0}))
    assert "where a list of values is expected" in refused(write_mat(path, {"x": np.zeros((2, 3))}))
    for kind in (1, 2, 3, 4, 5, 17):
        assert "no real numbers" in refused(write_mat(path, {"x": 1.0}, kind=kind))
    assert "no real numbers" in refused(write_mat(path, {"x": 1.0}, flags=8))
    with pytest.raises(Refused, match="no single number"):
        MatFile(write_mat(path, {"x": np.nan})).scalar("x")
    for text in (b"", b"MATLAB 5.0", b"\0" * 200, b"PK\x03\x04".ljust(300)):
        path.write_bytes(text)
        assert "no MATLAB file" in refused(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    assert "is damaged" in refused(path)


def test_a_header_that_lies_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mat(tmp_path / "a.mat", {"x": np.arange(9.0)}, packed=False)
    good = path.read_bytes()
    shape = good.index(struct.pack("<ii", 1, 9))
    for rows, text in ((2, "declares"), (-1, "which is not read"), (1 << 30, "which is not read")):
        path.write_bytes(good[:shape] + struct.pack("<ii", rows, 9) + good[shape + 8 :])
        assert text in refused(path)
    path.write_bytes(good[:-8])
    assert "is cut off" in refused(path)
    # Packed: a stream that would unpack to far more than its variable is not followed to its end.
    bomb = zlib.compress(matrix("x", np.arange(9.0)[None]) + bytes(50_000_000))
    path.write_bytes(good[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    np.testing.assert_array_equal(MatFile(path).vector("x"), np.arange(9))
    path.write_bytes(good[:128] + struct.pack("<II", 15, 40) + b"no stream".ljust(40))
    assert "packed variable is damaged" in refused(path)
    monkeypatch.setattr(mat_arrays, "MAX_VARIABLES", 3)
    write_mat(path, {f"v{k}": 1.0 for k in range(4)})
    assert "more than 3 variables" in refused(path)
    monkeypatch.setattr(mat_arrays, "FILE_BYTES", 100)
    assert "at most 100 bytes are read" in refused(path)


def test_elements_that_are_no_variables_are_passed_over(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "a.mat", {"x": 1.0})
    good = path.read_bytes()
    path.write_bytes(good[:128] + element(2, b"something else") + good[128:])
    assert MatFile(path).scalar("x") == 1.0


# --- eSL-Net's folders ----------------------------------------------------------------------------------------


def exposed(e: Events) -> Events:
    """The events of all exposures; there are no others in the files."""
    keep = np.zeros(len(e), bool)
    for k in range(FRAMES):
        start, end = exposure(k)
        keep |= (e.t >= start) & (e.t < end)
    return Events(e.t[keep], e.x[keep], e.y[keep], e.p[keep], *SIZE)


@pytest.mark.parametrize("write", [write_mat, write_mat73])
def test_a_folder_comes_back(write: Any, tmp_path: Path) -> None:
    whole = made_events(9000, size=SIZE)
    with open_recording(write_esl(tmp_path / "set", whole, write)) as r:
        assert (r.info.format, r.info.event_size, r.info.image_size) == ("esl-mat", SIZE, SIZE)
        assert r.frame_times_us() == [exposure(k) for k in range(FRAMES)]
        events, frames = events_and_frames(r)
        assert any("it is taken as µs" in p for p in r.info.problems)
        facts = r.rig_facts()
    same_events(events, exposed(whole))
    assert [np.array_equal(f.image, made_image(k, SIZE)) for k, f in enumerate(frames)] == [True] * FRAMES
    assert facts is not None
    np.testing.assert_array_equal(facts.image_from_event, np.eye(3))


def test_seconds_and_files_without_an_end(tmp_path: Path) -> None:
    whole = made_events(9000, size=SIZE)

    def write(path: Path, values: dict[str, Any]) -> Path:
        values = {n: v * (1e-6 if "timestamp" in n else 1) for n, v in values.items() if n != "end_timestamp"}
        return write_mat(path, values)

    with open_recording(write_esl(tmp_path / "set", whole, write)) as r:
        assert r.frame_times_us() == [(exposure(k)[0], None) for k in range(FRAMES)]
        events, _ = events_and_frames(r)
    same_events(events, exposed(whole))


def test_a_damaged_file_is_named_and_its_picture_left_out(tmp_path: Path) -> None:
    folder = write_esl(tmp_path / "set", made_events(9000, size=SIZE))
    path = folder / "mat/event9.mat"
    path.write_bytes(path.read_bytes()[:200])
    with open_recording(folder) as r:
        assert r.info.frames == FRAMES - 1
        (line,) = (p for p in r.info.problems if "event9.mat" in p)
        assert line.endswith("01.png is left out with it")
        _, frames = events_and_frames(r)
    assert np.array_equal(frames[1].image, made_image(2, SIZE))


def test_folders_that_cannot_be_meant(tmp_path: Path) -> None:
    whole = made_events(9000, size=SIZE)
    folder = write_esl(tmp_path / "set", whole)
    (folder / "mat/event8.mat").unlink()
    with pytest.raises(RecordingError, match=f"{FRAMES} pictures and {FRAMES - 1} .mat files"):
        open_recording(folder)
    values = columns(whole, 0)
    values["section_event_x"] = values["section_event_x"] + SIZE[0]
    write_mat(folder / "mat/event8.mat", values)
    with pytest.raises(RecordingError, match="state the sensor's size: --geometry"):
        open_recording(folder)
    for path in (folder / "mat").iterdir():
        write_mat(path, {"something": 1.0})
    with pytest.raises(RecordingError, match=r"event8\.mat has no start_timestamp, but something"):
        open_recording(folder)
