"""HDF5 of Prophesee, of DSEC's kind and EFNet's SCER form: told apart by what is in them, read as written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from capture.packets import EventPacket, TriggerEdges
from recordings.formats.hdf5_arrays import slices
from recordings.formats.prophesee_h5 import PropheseeH5Source
from recordings.open import open_recording
from recordings.recording import Recording, RecordingError
from tests.recordings.make_datasets import FRAMES, GRID, START_US, made_events, made_image, write_efnet
from tests.recordings.make_hdf5 import CD, write_dsec, write_prophesee, write_scer
from tests.recordings.reading import events_and_frames, same_events

GEOMETRY = f"{GRID[0]}x{GRID[1]}"


def made_edges() -> TriggerEdges:
    t = START_US + np.arange(0, 200_000, 10_000, dtype=np.int64)
    return TriggerEdges(t, np.arange(len(t)) % 2 == 0)


def edges_of(r: Recording) -> TriggerEdges:
    packets = [i for i in r.items() if isinstance(i, EventPacket)]
    return TriggerEdges(
        np.concatenate([p.triggers.t for p in packets]), np.concatenate([p.triggers.rising for p in packets])
    )


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["a.hdf5", "a.h5"])
def test_prophesee_comes_back_with_its_triggers(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    whole, edges = made_events(), made_edges()
    path = write_prophesee(tmp_path / name, whole, edges, geometry=GEOMETRY, **options)
    middle = int(whole.t[5000])
    with open_recording(path) as r:
        assert (r.info.format, r.info.event_size, r.info.image_size) == ("prophesee-hdf5", GRID, None)
        assert (r.info.has_triggers, r.info.camera) == (True, "Prophesee 00001234")
        assert (r.info.start_us, r.info.end_us) == (START_US, int(whole.t[-1]))
        assert same_events(events_and_frames(r)[0], whole)
        got = edges_of(r)
        later, _ = events_and_frames(r, middle)
        assert r.report.problems == []
    assert np.array_equal(got.t, edges.t)
    assert np.array_equal(got.rising, edges.rising)
    assert np.array_equal(later.t, whole.t[whole.t >= middle])


@pytest.mark.parametrize("wrong", [0, 700, -700, 10**9])
def test_a_place_is_found_by_the_index_where_it_is_right(tmp_path: Path, wrong: int) -> None:
    whole = made_events()
    path = write_prophesee(tmp_path / "a.hdf5", whole, geometry=GEOMETRY, indexes=wrong)
    with h5py.File(path) as file:
        source = PropheseeH5Source(file, None)
        looked: list[int] = []
        for at in [0, 1, 2, 4999, 5000, 8998, len(whole) - 1]:
            for t in (int(whole.t[at]) - 1, int(whole.t[at]), int(whole.t[at]) + 1):
                assert source._first_event(t) == np.searchsorted(whole.t, t)
                low, high = source._by_index(t)
                looked.append(high - low)
    if wrong == 0:  # the events of a few milliseconds
        assert max(looked) < 4 * 2000 * len(whole) // int(whole.t[-1] - whole.t[0]) + 100
    with open_recording(path) as r:
        middle = int(whole.t[5000])
        assert np.array_equal(events_and_frames(r, middle)[0].t, whole.t[whole.t >= middle])


@pytest.mark.parametrize("index", [np.zeros(3), np.zeros((2, 2), [("id", "u8"), ("ts", "i8")]), None])
def test_an_index_of_another_kind_is_left_alone(tmp_path: Path, index: Any) -> None:
    whole = made_events()
    path = write_prophesee(tmp_path / "a.hdf5", whole, geometry=GEOMETRY)
    with h5py.File(path, "a") as file:
        if index is None:
            file.create_group("CD/indexes")
        else:
            file["CD/indexes"] = index
    with open_recording(path) as r:
        middle = int(whole.t[5000])
        assert np.array_equal(events_and_frames(r, middle)[0].t, whole.t[whole.t >= middle])


def test_prophesee_size_is_stated_or_asked_for(tmp_path: Path) -> None:
    path = write_prophesee(tmp_path / "a.hdf5", made_events())
    with pytest.raises(RecordingError, match="nothing in it tells the sensor's size; state it: --geometry"):
        open_recording(path)
    with open_recording(path, geometry=GRID) as r:
        assert r.info.event_size == GRID
    write_prophesee(path, made_events(), geometry="wide")
    with pytest.raises(RecordingError, match="state it: --geometry"):
        open_recording(path)
    write_prophesee(path, made_events(), geometry="32x24")
    with open_recording(path) as r:
        events_and_frames(r)
        assert r.report.events_rejected_outside > 0


def test_a_filter_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    with h5py.File(tmp_path / "e.hdf5", "w") as f:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((16,))
        plan.set_filter(0x8ECF, h5py.h5z.FLAG_OPTIONAL, (0,))
        f.create_group("CD")
        space = h5py.h5s.create_simple((32,))
        h5py.h5d.create(f["CD"].id, b"events", h5py.h5t.py_create(CD), space, dcpl=plan)
        f.attrs["geometry"] = GEOMETRY
    with pytest.raises(RecordingError, match=r"CD/events is packed with ECF.*convert the file to RAW"):
        open_recording(tmp_path / "e.hdf5")


def test_a_second_trigger_channel_is_counted_not_mixed_in(tmp_path: Path) -> None:
    path = write_prophesee(tmp_path / "a.hdf5", made_events(), made_edges(), geometry=GEOMETRY)
    with h5py.File(path, "r+") as f:
        rows = f["EXT_TRIGGER/events"][()]
        rows["id"][5:8] = 1
        f["EXT_TRIGGER/events"][...] = rows
    with open_recording(path) as r:
        assert len(edges_of(r).t) == len(made_edges().t) - 3
        assert r.report.ignored == {"edges_of_channel_1": 3}


def test_dsec_comes_back_on_the_pictures_clock(tmp_path: Path) -> None:
    whole = made_events()
    path = write_dsec(tmp_path / "events.h5", whole, 900_000, compression="gzip")
    middle = int(whole.t[5000])
    (tmp_path / "rectify_map.h5").write_bytes(b"not looked into")
    with open_recording(path) as r:
        assert (r.info.format, r.info.event_size) == ("dsec-h5", (640, 480))
        assert "640×480 is that of all recordings of DSEC" in r.info.problems[0]
        assert "rectify_map.h5 beside it is not applied" in r.info.problems[1]
    with open_recording(path, geometry=GRID) as r:
        assert (r.info.start_us, r.info.event_size) == (int(whole.t[0]), GRID)
        assert same_events(events_and_frames(r)[0], whole)
        assert np.array_equal(events_and_frames(r, middle)[0].t, whole.t[whole.t >= middle])


def test_without_the_data_sets_own_marks_the_size_is_asked_for(tmp_path: Path) -> None:
    path = write_dsec(tmp_path / "events.h5", made_events())
    with h5py.File(path, "r+") as f:
        del f["ms_to_idx"], f["t_offset"]
    with pytest.raises(RecordingError, match="nothing in it tells the sensor's size; state it: --geometry"):
        open_recording(path)
    with open_recording(path, geometry=GRID) as r:
        assert any("no t_offset" in p for p in r.info.problems)
    with h5py.File(path, "r+") as f:
        f.attrs["width"], f.attrs["height"] = GRID
    with open_recording(path) as r:
        assert r.info.event_size == GRID


def test_scer_files_show_their_frames_and_say_what_they_lack(tmp_path: Path) -> None:
    with open_recording(write_scer(tmp_path / "v.h5")) as r:
        assert (r.info.format, r.info.event_size, r.info.image_size) == ("efnet-h5-scer", None, (64, 48))
        frames = [i for i in r.items() if not isinstance(i, EventPacket)]
        assert any("voxels (SCER), from which events cannot be had back" in p for p in r.info.problems)
        assert any("holds no times; its frames are shown 40 ms apart" in p for p in r.info.problems)
    assert [np.array_equal(f.image, made_image(k, (64, 48))) for k, f in enumerate(frames)] == [True] * FRAMES


@pytest.mark.parametrize("name", ["CD/events", "events/p", "events/ps"])
def test_objects_and_links_are_refused_in_every_layout(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.h5"
    e = made_events()
    writers: dict[str, Any] = {
        "CD/events": lambda: write_prophesee(path, e, geometry=GEOMETRY),
        "events/p": lambda: write_dsec(path, e),
        "events/ps": lambda: write_efnet(path, e, exposures=True),
    }
    writers[name]()
    with h5py.File(path, "r+") as f:
        del f[name]
        if name == "CD/events":
            kind = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", h5py.string_dtype()), ("t", "<i8")])
            f.create_dataset(name, (len(e),), kind)
        else:
            f.create_dataset(name, data=["x"] * len(e), dtype=h5py.string_dtype())
    with pytest.raises(RecordingError, match=r"x\.h5: (CD/events|events/p).*not read"):
        open_recording(path)
    with h5py.File(path, "r+") as f:
        del f[name]
        f[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    with pytest.raises(RecordingError, match=r"a link to elsewhere|no layout that is known"):
        open_recording(path)


def test_an_absurd_length_of_events_is_refused_not_read_for_days(tmp_path: Path) -> None:
    path = write_dsec(tmp_path / "events.h5", made_events())
    with h5py.File(path, "r+") as f:
        for k in "xytp":
            kind = f[f"events/{k}"].dtype
            del f[f"events/{k}"]
            f.create_dataset(f"events/{k}", (1 << 40,), kind, chunks=(1 << 16,), compression="gzip")
    with pytest.raises(RecordingError, match=r"events/t declares 4,398,046.5 MB and 0 bytes are there"):
        open_recording(path, geometry=GRID)


def test_a_chunk_that_would_fill_the_memory_is_passed_over_with_the_limit(tmp_path: Path) -> None:
    path = write_dsec(tmp_path / "events.h5", made_events())
    with h5py.File(path, "r+") as f:
        del f["events/x"]
        n = len(f["events/t"])
        f.create_dataset("events/x", data=np.zeros(n, np.uint16), maxshape=(None,), chunks=(1 << 30,))
    with open_recording(path, geometry=GRID, deadline_s=20.0) as r:
        assert len(events_and_frames(r)[0]) in (0, n)  # whether it fits is the machine's business


def test_damage_without_end_is_given_up() -> None:
    """After a hundred broken parts in a row the rest is not tried; a sound one between them begins anew."""

    class Broken:
        def __getitem__(self, part: slice) -> Any:
            if part.start == 50 * 10:
                return np.zeros(10)
            raise OSError("filter returned failure during read")

    said = list(slices({"t": Broken()}, 0, 1_000_000, 10))
    assert len(said) == 50 + 1 + 100 + 1
    assert said[-1] == "nor could the 100 parts before; the rest of the events is not read"


def test_the_real_file_is_the_first_second_of_its_source(shared_data: Path) -> None:
    folder = shared_data / "event"
    with open_recording(folder / "prophesee_vga_transcoded.hdf5") as r:
        events, edges = events_and_frames(r)[0], edges_of(r)
    with open_recording(folder / "prophesee_vga_evt3_triggers.raw") as r:
        source, source_edges = events_and_frames(r)[0], edges_of(r)
    assert len(events) == 118_477
    assert same_events(events, source[: len(events)])
    assert np.array_equal(edges.t, source_edges.t[:2001])
    assert np.array_equal(edges.rising, source_edges.rising[:2001])
